/* Many connections to one server, each a DEALER of ZMTP without libzmq, in an open loop: requests leave by the clock, one
 * connection after another, and latency counts from when a request was due. It polls, as a timer would be late.
 *
 *   many_client PORT CONNECTIONS
 *
 * Writes a result without latencies when all are connected, and one for each line of stdin; ends with it. A line is
 *   REQUESTS_FILE REQUEST_BYTES PER_SECOND WARM_UP_MS MEASURED_MS
 * and a result is what load.h says. Build: cc -O2 many_client.c */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lamp.h"

enum { GREETING_BYTES = 64, FRAME_BYTES = 2 + LAMP_REQUEST_BYTES, IN_BYTES = 4096, AT_ONCE = 256, PATIENCE_S = 5 };
enum { MORE_OR_LONG = 3, COMMAND = 4 };

struct connection {
    int socket;
    size_t held;
    uint8_t in[IN_BYTES];
};

static struct connection *connections;
static size_t connection_count;
static int poller;
static uint8_t *requests;
static size_t request_count;
static int64_t start, begin, end, per_second;
static uint64_t errors, answered, sent, recorded, capacity;
static uint64_t *latencies;

static void fail(const char *what)
{
    fprintf(stderr, "many_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t due(uint64_t request)
{
    return start + (int64_t)request * 1000000000 / per_second;
}

static void handshake(int socket)
{
    static const uint8_t signature[12] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};
    static const uint8_t ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06" "DEALER";
    uint8_t greeting[GREETING_BYTES] = {0}, theirs[256];
    memcpy(greeting, signature, sizeof signature);
    memcpy(greeting + sizeof signature, "NULL", 4);
    if (send(socket, greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting ||
        recv(socket, theirs, GREETING_BYTES, MSG_WAITALL) != GREETING_BYTES ||
        send(socket, ready, sizeof ready - 1, MSG_NOSIGNAL) != sizeof ready - 1 ||
        recv(socket, theirs, 2, MSG_WAITALL) != 2 || theirs[0] != 4 ||
        recv(socket, theirs + 2, theirs[1], MSG_WAITALL) != theirs[1])
        fail("handshake");
}

static void connect_all(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {PATIENCE_S, 0};
    int on = 1;
    connections = calloc(connection_count, sizeof *connections);
    if (!connections || (poller = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("memory");
    for (size_t i = 0; i < connection_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        int socket_ = connections[i].socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (socket_ < 0 || setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
            setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
            connect(socket_, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        handshake(socket_);
        if (epoll_ctl(poller, EPOLL_CTL_ADD, socket_, &event))
            fail("epoll");
    }
}

static void settle(const uint8_t *reply, size_t length, int64_t now)
{
    uint32_t id;
    int good = lamp_answer(reply, length, &id);
    if (good < 0 || id >= sent) {
        errors++;
        return;
    }
    answered++;
    if (!good)
        errors++;
    else if (due(id) >= begin && due(id) < end && recorded < capacity)
        latencies[recorded++] = now - due(id);
}

/* A command: the server asks whether we are still there (ZMTP 3.1, "PING": its name, a time to live, a context to return). */
static void answer_command(int socket, const uint8_t *body, size_t length)
{
    enum { NAME_BYTES = 5, TTL_BYTES = 2 };
    uint8_t pong[256] = {COMMAND, 0, 4, 'P', 'O', 'N', 'G'};
    if (length < NAME_BYTES + TTL_BYTES || memcmp(body, "\x04PING", NAME_BYTES))
        return;
    size_t context = length - NAME_BYTES - TTL_BYTES;
    pong[1] = NAME_BYTES + context;
    memcpy(pong + 2 + NAME_BYTES, body + NAME_BYTES + TTL_BYTES, context);
    if (send(socket, pong, 2u + pong[1], MSG_NOSIGNAL) != 2 + pong[1])
        fail("send");
}

static void take(struct connection *from)
{
    ssize_t came = recv(from->socket, from->in + from->held, IN_BYTES - from->held, MSG_DONTWAIT);
    int64_t now = now_ns();
    if (came <= 0) {
        if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        fail("the server closed a connection");
    }
    from->held += came;
    size_t at = 0;
    for (; from->held - at >= 2 && from->held - at >= 2u + from->in[at + 1]; at += 2u + from->in[at + 1]) {
        if (from->in[at] & MORE_OR_LONG)
            fail("a reply that is no short frame");
        if (from->in[at] & COMMAND)
            answer_command(from->socket, from->in + at + 2, from->in[at + 1]);
        else
            settle(from->in + at + 2, from->in[at + 1], now);
    }
    memmove(from->in, from->in + at, from->held -= at);
}

static void take_all(void)
{
    struct epoll_event events[AT_ONCE];
    int count = epoll_wait(poller, events, AT_ONCE, 0);
    for (int i = 0; i < count; i++)
        take(&connections[events[i].data.u64]);
}

static void send_next(void)
{
    uint8_t frame[FRAME_BYTES] = {0, LAMP_REQUEST_BYTES};
    memcpy(frame + 2, requests + sent % request_count * LAMP_REQUEST_BYTES, LAMP_REQUEST_BYTES);
    lamp_set_id(frame + 2, (uint32_t)sent);
    if (send(connections[sent % connection_count].socket, frame, sizeof frame, MSG_NOSIGNAL) != sizeof frame)
        fail("send");
    sent++;
}

static void run(int64_t warm_up_ms, int64_t measured_ms)
{
    start = now_ns();
    begin = start + warm_up_ms * 1000000, end = begin + measured_ms * 1000000;
    errors = answered = sent = recorded = 0;
    capacity = measured_ms * per_second / 1000 + 1;
    latencies = realloc(latencies, capacity * sizeof *latencies);
    if (!latencies)
        fail("memory");
    for (int64_t now = start; now < end; now = now_ns()) {
        while (due(sent) <= now && due(sent) < end)
            send_next();
        take_all();
    }
    for (int64_t deadline = end + (int64_t)PATIENCE_S * 1000000000; answered < sent && now_ns() < deadline;)
        take_all();
    errors += sent - answered;
}

static void load_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail(path);
    long size = ftell(file);
    rewind(file);
    free(requests);
    requests = malloc(size);
    request_count = size / LAMP_REQUEST_BYTES;
    if (!requests || !request_count || fread(requests, 1, size, file) != (size_t)size)
        fail(path);
    fclose(file);
}

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void write_result(uint64_t cpu)
{
    uint64_t head[4] = {errors, cpu, answered, recorded};
    if (fwrite(head, sizeof head, 1, stdout) != 1 ||
        (recorded && fwrite(latencies, sizeof *latencies, recorded, stdout) != recorded) || fflush(stdout))
        fail("stdout");
}

int main(int argc, char **argv)
{
    char path[4096];
    long long bytes, rate, warm_up_ms, measured_ms;
    if (argc != 3 || !(connection_count = strtoul(argv[2], NULL, 10))) {
        fprintf(stderr, "usage: many_client PORT CONNECTIONS\n");
        return 2;
    }
    connect_all(atoi(argv[1]));
    write_result(0);
    while (scanf("%4095s %lld %lld %lld %lld", path, &bytes, &rate, &warm_up_ms, &measured_ms) == 5) {
        if (bytes != LAMP_REQUEST_BYTES || rate <= 0)
            return 2;
        uint64_t cpu = cpu_ns();
        load_requests(path);
        per_second = rate;
        run(warm_up_ms, measured_ms);
        write_result(cpu_ns() - cpu);
    }
    return 0;
}
