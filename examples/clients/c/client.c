/* Sends events to an order and prints the replies:  cc client.c -lzmq -o client && ./client [ADDRESS,...] [KEY] */

#include <stdio.h>
#include <string.h>
#include <zmq.h>

int main(int argc, char **argv) {
    char usual[] = "tcp://127.0.0.1:7400", *addresses = argc > 1 ? argv[1] : usual, text[4096];
    const char *key = argc > 2 ? argv[2] : "c";
    const char *requests[] = {"\"send\",\"event\":{\"type\":\"ADD\",\"price\":1500,\"quantity\":2}",
                              "\"send\",\"event\":{\"type\":\"PAY\",\"amount\":1000}",
                              "\"send\",\"event\":{\"type\":\"PAY\",\"amount\":2000}", "\"get\""};
    int failed = 0, timeout_ms = 5000, linger_ms = 0, immediate = 1;

    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &immediate, sizeof immediate); /* nothing waits for a daemon that is not there */
    for (char *address = strtok(addresses, ","); address; address = strtok(NULL, ",")) zmq_connect(socket, address);
    /* One after the other: of several daemons each gets the next request, and only an answer says that one was done. */
    for (int i = 0; i < 4 && !failed; i++) {
        int size = snprintf(text, sizeof text, "{\"id\":%d,\"machine\":\"order\",\"key\":\"%s\",\"op\":%s}", i + 1, key, requests[i]);
        zmq_send(socket, text, size, 0);
        size = zmq_recv(socket, text, sizeof text, 0); /* in JSON, as asked; `id` says which request it answers */
        failed = size < 0 || size > (int)sizeof text;
        if (failed) fprintf(stderr, "no reply: %s\n", zmq_strerror(zmq_errno()));
        else printf("%.*s\n", size, text);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return failed;
}
