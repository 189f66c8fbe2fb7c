/* Load by RPC over RabbitMQ: requests to one queue, answers by direct reply-to; the slot is in the payload already, which saves
 * a correlation id. Build: cc -O2 rabbitmq/client.c -lrabbitmq */
#include "../load.h"
#include "rabbitmq.h"

static amqp_connection_state_t rabbit;

static void client_connect(int port)
{
    rabbit = rabbit_connect(port, NULL, REPLY_QUEUE);
}

static void client_push(const uint8_t *request, size_t unused_turn, uint32_t unused_slot)
{
    (void)unused_turn, (void)unused_slot;
    rabbit_publish(rabbit, amqp_cstring_bytes(RPC_QUEUE), REPLY_QUEUE, request, request_bytes);
}

static void client_flush(void)
{
}

static int client_take(int wait)
{
    amqp_envelope_t envelope;
    int any = 0;
    for (; rabbit_next(rabbit, wait && !any ? PATIENCE_MS * 1000 : 0, &envelope); any = 1) {
        settle_reply(envelope.message.body.bytes, envelope.message.body.len, now_ns());
        amqp_destroy_envelope(&envelope);
    }
    return any;
}
