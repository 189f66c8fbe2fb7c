/* Answers requests that come over nats-server: keeps 1,000 lamps, says how the switched one is now. Ends with its connection.
 *
 *   responder PORT
 *
 * Prints a line when it has subscribed. Build: cc -O2 nats/responder.c */
#include "../lamp.h"
#include "nats.h"

int main(int argc, char **argv)
{
    struct stream nats;
    struct nats_message message;
    uint8_t reply[LAMP_REPLY_BYTES];
    if (argc != 2)
        return 2;
    nats_connect(&nats, atoi(argv[1]), 0, "lamp.*");
    puts("ready");
    fflush(stdout);
    for (;;) {
        stream_fill(&nats, 1);
        while (nats_next(&nats, &message)) {
            size_t length = lamp_step(message.payload, message.payload_length, reply);
            if (length && message.reply_to_length)
                nats_publish(&nats, message.reply_to, message.reply_to_length, "", reply, length);
        }
        stream_flush(&nats);
    }
}
