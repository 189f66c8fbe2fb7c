/* A ROUTER socket of libzmq that gives every message back: what a user of libzmq gets for no work at all.
 *
 * Prints the port that it listens on, and ends when its stdin is closed.
 * Build: cc -O2 -pthread libzmq_echo.c -lzmq */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static void *end_with_stdin(void *unused)
{
    char byte;
    (void)unused;
    while (read(0, &byte, 1) > 0) {
    }
    _exit(0);
}

static void fail(const char *what)
{
    fprintf(stderr, "libzmq_echo: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

int main(void)
{
    void *context = zmq_ctx_new();
    void *router = zmq_socket(context, ZMQ_ROUTER);
    char endpoint[64];
    size_t length = sizeof endpoint;
    int no_limit = 0; /* at its high-water mark a ROUTER drops replies, which the harness would count as errors */
    pthread_t watcher;

    if (!router || zmq_setsockopt(router, ZMQ_SNDHWM, &no_limit, sizeof no_limit) ||
        zmq_setsockopt(router, ZMQ_RCVHWM, &no_limit, sizeof no_limit) ||
        zmq_bind(router, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &length))
        fail("bind");
    if (pthread_create(&watcher, NULL, end_with_stdin, NULL))
        fail("thread");
    printf("%s\n", strrchr(endpoint, ':') + 1);
    fflush(stdout);
    for (;;) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, router, 0) < 0)
            fail("receive");
        if (zmq_msg_send(&part, router, zmq_msg_more(&part) ? ZMQ_SNDMORE : 0) < 0)
            fail("send");
    }
}
