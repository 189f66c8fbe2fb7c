/* The well-behaved client: one event in flight, one every half millisecond, over libzmq (and CURVE, when given keys).
 *
 *     probe tcp://HOST:PORT SECONDS [SERVER_KEY PUBLIC_KEY SECRET_KEY]
 *
 * Prints "COUNT P50_US P99_US MAX_US". Ends with 1 if an answer is missing for two seconds or is no success. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { MAX_SAMPLES = 200000, PATIENCE_MS = 2000, PAUSE_NS = 500000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    static double samples[MAX_SAMPLES];
    if (argc != 3 && argc != 6) return 2;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int patience = PATIENCE_MS, linger = 0;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    if (argc == 6) {
        zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, argv[3], strlen(argv[3]) + 1);
        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, argv[4], strlen(argv[4]) + 1);
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, argv[5], strlen(argv[5]) + 1);
    }
    if (zmq_connect(socket, argv[1])) return 2;
    const char *request = "{\"op\":\"send\",\"id\":1,\"machine\":\"counter\",\"key\":\"probe\",\"event\":{\"type\":\"ADD\"}}";
    char reply[4096];
    double end = now_us() + atof(argv[2]) * 1e6;
    int count = 0;
    while (count < MAX_SAMPLES) {
        double before = now_us();
        if (count > 0 && before > end) break;
        zmq_send(socket, request, strlen(request), 0);
        int got = zmq_recv(socket, reply, sizeof reply - 1, 0);
        double after = now_us();
        if (got < 0) {
            fprintf(stderr, "no answer within %d ms, after %d answers\n", PATIENCE_MS, count);
            return 1;
        }
        reply[got < (int)sizeof reply - 1 ? got : (int)sizeof reply - 1] = 0;
        if (!strstr(reply, "\"ok\":true")) {
            fprintf(stderr, "refused: %s\n", reply);
            return 1;
        }
        samples[count++] = after - before;
        struct timespec pause = {0, PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    qsort(samples, count, sizeof *samples, ascending);
    printf("%d %.1f %.1f %.1f\n", count, samples[count / 2], samples[count * 99 / 100], samples[count - 1]);
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
