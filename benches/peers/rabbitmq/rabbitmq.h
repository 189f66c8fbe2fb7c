/* A connection to RabbitMQ by librabbitmq, and what both ends of the RPC use of it (rabbitmq.com, "Direct Reply-to"). */
#ifndef RABBITMQ_H
#define RABBITMQ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

#define RPC_QUEUE "lamp"
#define REPLY_QUEUE "amq.rabbitmq.reply-to"

static void rabbit_fail(const char *what)
{
    fprintf(stderr, "rabbitmq: %s\n", what);
    exit(1);
}

static void rabbit_check(amqp_connection_state_t rabbit, const char *what)
{
    if (amqp_get_rpc_reply(rabbit).reply_type != AMQP_RESPONSE_NORMAL)
        rabbit_fail(what);
}

/* Connects, declares `declare` if there is one, and consumes from `consume` without acknowledgements. */
static amqp_connection_state_t rabbit_connect(int port, const char *declare, const char *consume)
{
    amqp_connection_state_t rabbit = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(rabbit);
    if (!socket || amqp_socket_open(socket, "127.0.0.1", port))
        rabbit_fail("connect");
    if (amqp_login(rabbit, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type != AMQP_RESPONSE_NORMAL)
        rabbit_fail("login");
    amqp_channel_open(rabbit, 1);
    rabbit_check(rabbit, "channel");
    if (declare) /* not durable, exclusive to this connection */
        amqp_queue_declare(rabbit, 1, amqp_cstring_bytes(declare), 0, 0, 0, 1, amqp_empty_table);
    rabbit_check(rabbit, "queue");
    amqp_basic_consume(rabbit, 1, amqp_cstring_bytes(consume), amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
    rabbit_check(rabbit, "consume");
    return rabbit;
}

/* Publishes a transient message by the default exchange. */
static void rabbit_publish(amqp_connection_state_t rabbit, amqp_bytes_t queue, const char *reply_to, const void *body,
                           size_t length)
{
    amqp_basic_properties_t properties = {0};
    amqp_bytes_t bytes = {.len = length, .bytes = (void *)(uintptr_t)body};
    if (reply_to)
        properties._flags = AMQP_BASIC_REPLY_TO_FLAG, properties.reply_to = amqp_cstring_bytes(reply_to);
    if (amqp_basic_publish(rabbit, 1, amqp_empty_bytes, queue, 0, 0, &properties, bytes))
        rabbit_fail("publish");
}

/* The next message: 1; 0: none within `wait_us` microseconds. */
static int rabbit_next(amqp_connection_state_t rabbit, int64_t wait_us, amqp_envelope_t *envelope)
{
    struct timeval wait = {wait_us / 1000000, wait_us % 1000000};
    amqp_maybe_release_buffers(rabbit);
    amqp_rpc_reply_t reply = amqp_consume_message(rabbit, envelope, wait_us < 0 ? NULL : &wait, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return 1;
    if (reply.reply_type != AMQP_RESPONSE_LIBRARY_EXCEPTION || reply.library_error != AMQP_STATUS_TIMEOUT)
        rabbit_fail("consume");
    return 0;
}

#endif
