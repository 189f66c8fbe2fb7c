/* Sends events to an order and prints the replies:  cc client.c -lzmq -o client && ./client [ADDRESS] [KEY] */

#include <stdio.h>
#include <zmq.h>

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "tcp://127.0.0.1:7400";
    const char *key = argc > 2 ? argv[2] : "c";
    const char *events[] = {"{\"type\":\"ADD\",\"price\":1500,\"quantity\":2}",
                            "{\"type\":\"PAY\",\"amount\":1000}", "{\"type\":\"PAY\",\"amount\":2000}"};
    char text[4096];
    int failed = 0, timeout_ms = 5000, linger_ms = 0;

    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_connect(socket, address);
    for (int i = 0; i < 3; i++) {
        int size = snprintf(text, sizeof text, "{\"op\":\"send\",\"id\":%d,\"machine\":\"order\",\"key\":\"%s\",\"event\":%s}",
                            i + 1, key, events[i]);
        zmq_send(socket, text, size, 0);
    }
    zmq_send(socket, text, snprintf(text, sizeof text, "{\"op\":\"get\",\"id\":4,\"machine\":\"order\",\"key\":\"%s\"}", key), 0);
    for (int replies = 0; replies < 4 && !failed; replies++) {
        int size = zmq_recv(socket, text, sizeof text, 0); /* in JSON, as asked; `id` says which request it answers */
        failed = size < 0 || size > (int)sizeof text;
        if (failed) fprintf(stderr, "no reply from %s: %s\n", address, zmq_strerror(zmq_errno()));
        else printf("%.*s\n", size, text);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return failed;
}
