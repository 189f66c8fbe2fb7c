/* Load by request and reply over nats-server: a request goes to the subject of its key and names an inbox for the answer. One
 * connection, one inbox with a wildcard, as the clients of NATS do it; the slot is in the payload already.
 * Build: cc -O2 nats/client.c */
#include "../load.h"
#include "nats.h"

enum { SUBJECT_BYTES = 5 + LAMP_KEY_BYTES };
static struct stream nats;

static void client_connect(int port)
{
    nats_connect(&nats, port, PATIENCE_MS, "_INBOX.bench");
}

static void client_push(const uint8_t *request, size_t unused_turn, uint32_t unused_slot)
{
    char subject[SUBJECT_BYTES] = "lamp.";
    (void)unused_turn, (void)unused_slot;
    memcpy(subject + 5, request + LAMP_KEY_AT, LAMP_KEY_BYTES);
    nats_publish(&nats, subject, sizeof subject, "_INBOX.bench", request, request_bytes);
}

static void client_flush(void)
{
    stream_flush(&nats);
}

static int client_take(int wait)
{
    struct nats_message message;
    int any = 0;
    if (!stream_fill(&nats, wait))
        return 0;
    for (int64_t now = now_ns(); nats_next(&nats, &message); any = 1)
        settle_reply(message.payload, message.payload_length, now);
    /* Half a message is no answer yet, but there will be one. */
    return any || (wait && client_take(wait));
}
