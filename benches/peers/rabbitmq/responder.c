/* Answers RPC over RabbitMQ: keeps 1,000 lamps, says how the switched one is now. Ends with its connection.
 *
 *   responder PORT
 *
 * Prints a line when it consumes. Build: cc -O2 rabbitmq/responder.c -lrabbitmq */
#include "../lamp.h"
#include "rabbitmq.h"

int main(int argc, char **argv)
{
    uint8_t reply[LAMP_REPLY_BYTES];
    amqp_envelope_t envelope;
    if (argc != 2)
        return 2;
    amqp_connection_state_t rabbit = rabbit_connect(atoi(argv[1]), RPC_QUEUE, RPC_QUEUE);
    puts("ready");
    fflush(stdout);
    while (rabbit_next(rabbit, -1, &envelope)) {
        size_t length = lamp_step(envelope.message.body.bytes, envelope.message.body.len, reply);
        if (length)
            rabbit_publish(rabbit, envelope.message.properties.reply_to, NULL, reply, length);
        amqp_destroy_envelope(&envelope);
    }
    return 0;
}
