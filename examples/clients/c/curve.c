/* Pays an order over CURVE, by the first daemon that can be reached:  cc curve.c -lzmq -o curve
 *
 *     ./curve tcp://HOST:PORT,tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]
 */

#include <stdio.h>
#include <string.h>
#include <zmq.h>

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: curve ADDRESSES SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]\n"), 2;
    char text[4096];
    int timeout_ms = 5000, linger_ms = 0, immediate = 1;

    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &immediate, sizeof immediate); /* nothing waits for a daemon that is not there */
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, argv[2], strlen(argv[2]) + 1);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, argv[3], strlen(argv[3]) + 1);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, argv[4], strlen(argv[4]) + 1);
    for (char *address = strtok(argv[1], ","); address; address = strtok(NULL, ",")) zmq_connect(socket, address);
    int size = snprintf(text, sizeof text, "{\"op\":\"send\",\"id\":1,\"machine\":\"order\",\"key\":\"%s\","
                        "\"event\":{\"type\":\"PAY\",\"amount\":3}}", argc > 5 ? argv[5] : "curve-c");
    zmq_send(socket, text, size, 0);
    size = zmq_recv(socket, text, sizeof text, 0);
    int failed = size < 0 || size > (int)sizeof text;
    if (failed) fprintf(stderr, "no reply: %s\n", zmq_strerror(zmq_errno()));
    else printf("%.*s\n", size, text);
    zmq_close(socket);
    zmq_ctx_term(context);
    return failed;
}
