/* Load from a DEALER socket of libzmq; load.h says how.
 * Build: cc -O2 libzmq_client.c -lzmq */
#include "load.h"

#include <zmq.h>

enum { REPLY_BYTES = 4096 };
static void *dealer;

static void client_connect(int port)
{
    char endpoint[64];
    int patience = PATIENCE_MS, no_limit = 0;
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", port);
    dealer = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    if (!dealer || zmq_setsockopt(dealer, ZMQ_RCVTIMEO, &patience, sizeof patience) ||
        zmq_setsockopt(dealer, ZMQ_SNDHWM, &no_limit, sizeof no_limit) ||
        zmq_setsockopt(dealer, ZMQ_RCVHWM, &no_limit, sizeof no_limit) || zmq_connect(dealer, endpoint))
        fail_with(endpoint, zmq_strerror(zmq_errno()));
}

static void client_push(const uint8_t *request, size_t unused_turn, uint32_t unused_slot)
{
    (void)unused_turn, (void)unused_slot;
    if (zmq_send(dealer, request, request_bytes, 0) < 0)
        fail_with("send", zmq_strerror(zmq_errno()));
}

static void client_flush(void)
{
}

static int client_take(int wait)
{
    static uint8_t reply[REPLY_BYTES];
    int length = zmq_recv(dealer, reply, sizeof reply, wait ? 0 : ZMQ_DONTWAIT), any = length >= 0;
    int64_t now = now_ns();
    for (; length >= 0; length = zmq_recv(dealer, reply, sizeof reply, ZMQ_DONTWAIT))
        settle_reply(reply, length <= REPLY_BYTES ? length : 0, now);
    return any;
}
