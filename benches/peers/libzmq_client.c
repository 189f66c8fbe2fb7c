/* One round of load from a DEALER socket of libzmq: the same loops, requests and counting as src/load.rs has.
 *
 *   libzmq_client PORT REQUESTS_FILE REQUEST_BYTES IN_FLIGHT PER_SECOND WARM_UP_MS MEASURED_MS
 *
 * IN_FLIGHT > 0: closed loop. IN_FLIGHT = 0: open loop at PER_SECOND, latency counted from when a request was due.
 * Writes to stdout as native 64-bit integers: errors, CPU nanoseconds of this process, answers in all, count,
 * and count latencies in ns.
 * Build: cc -O2 libzmq_client.c -lzmq */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <zmq.h>

enum { SLOTS = 65536, ID_AT = 5, PATIENCE_MS = 5000, REPLY_BYTES = 4096 };
#define PATIENCE_NS ((int64_t)PATIENCE_MS * 1000000)

static void *socket_;
static uint8_t *requests;
static size_t request_bytes, request_count, turn;
static int64_t since[SLOTS]; /* when the request in each slot left, or was due; 0: the slot is free */
static uint32_t free_slots[SLOTS];
static size_t free_count, slot_count;
static int64_t begin, end;
static uint64_t errors, answered, recorded, capacity;
static uint64_t *latencies;

static void fail(const char *what)
{
    fprintf(stderr, "libzmq_client: %s: %s\n", what, zmq_strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void record(uint64_t ns)
{
    if (recorded == capacity) {
        capacity = capacity ? capacity * 2 : 1 << 20;
        latencies = realloc(latencies, capacity * sizeof *latencies);
        if (!latencies)
            fail("memory");
    }
    latencies[recorded++] = ns;
}

static int push(int64_t at)
{
    if (!free_count)
        return 0;
    uint32_t slot = free_slots[--free_count];
    uint8_t *request = requests + (turn++ % request_count) * request_bytes;
    since[slot] = at;
    request[ID_AT] = slot >> 24, request[ID_AT + 1] = slot >> 16, request[ID_AT + 2] = slot >> 8, request[ID_AT + 3] = slot;
    if (zmq_send(socket_, request, request_bytes, 0) < 0)
        fail("send");
    return 1;
}

static void settle(const uint8_t *reply, int length, int64_t now)
{
    static const uint8_t id_key[4] = {0xa2, 'i', 'd', 0xce}, ok_true[4] = {0xa2, 'o', 'k', 0xc3}, op_key[3] = {0xa2, 'o', 'p'};
    int at = length && reply[0] == 0xde ? 3 : 1;
    if (length < at + 12 || length > REPLY_BYTES || memcmp(reply + at, id_key, 4)) {
        errors++;
        return;
    }
    const uint8_t *id = reply + at + 4;
    uint32_t slot = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
    if (slot >= slot_count || !since[slot]) {
        errors++;
        return;
    }
    answered++;
    if (memcmp(id + 4, ok_true, 4) && memcmp(id + 4, op_key, 3))
        errors++;
    else if (since[slot] >= begin && since[slot] < end)
        record(now - since[slot]);
    since[slot] = 0;
    free_slots[free_count++] = slot;
}

/* Takes what is there; waits for the first with `flags` 0. */
static int take(int flags)
{
    static uint8_t reply[REPLY_BYTES];
    int length = zmq_recv(socket_, reply, sizeof reply, flags), any = length >= 0;
    int64_t now = now_ns();
    for (; length >= 0; length = zmq_recv(socket_, reply, sizeof reply, ZMQ_DONTWAIT))
        settle(reply, length, now);
    return any;
}

static void closed_loop(void)
{
    for (int64_t now = now_ns(); now < end; now = now_ns()) {
        while (push(now)) {
        }
        if (!take(0))
            fail("no answer");
    }
}

static void open_loop(int64_t per_second)
{
    int64_t start = now_ns(), sent = 0;
    for (int64_t now = start;; now = now_ns()) {
        for (int64_t due; (due = start + sent * 1000000000 / per_second) <= now && due < end && push(due);)
            sent++;
        if (now >= end)
            return;
        take(ZMQ_DONTWAIT);
    }
}

static void drain(void)
{
    int64_t deadline = now_ns() + PATIENCE_NS;
    while (free_count < slot_count && now_ns() < deadline && take(0)) {
    }
    errors += slot_count - free_count;
}

static void load_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail(path);
    long size = ftell(file);
    rewind(file);
    requests = malloc(size);
    if (!requests || !request_bytes || fread(requests, 1, size, file) != (size_t)size)
        fail(path);
    request_count = size / request_bytes;
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: libzmq_client PORT FILE BYTES IN_FLIGHT PER_SECOND WARM_UP_MS MEASURED_MS\n");
        return 2;
    }
    request_bytes = strtoul(argv[3], NULL, 10);
    load_requests(argv[2]);
    size_t in_flight = strtoul(argv[4], NULL, 10);
    slot_count = in_flight && in_flight < SLOTS ? in_flight : SLOTS;
    while (free_count < slot_count) {
        free_slots[free_count] = (uint32_t)free_count;
        free_count++;
    }
    char endpoint[64];
    int patience = PATIENCE_MS, no_limit = 0;
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%s", argv[1]);
    socket_ = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    if (!socket_ || zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &patience, sizeof patience) ||
        zmq_setsockopt(socket_, ZMQ_SNDHWM, &no_limit, sizeof no_limit) ||
        zmq_setsockopt(socket_, ZMQ_RCVHWM, &no_limit, sizeof no_limit) || zmq_connect(socket_, endpoint))
        fail(endpoint);
    begin = now_ns() + strtoll(argv[6], NULL, 10) * 1000000;
    end = begin + strtoll(argv[7], NULL, 10) * 1000000;
    if (in_flight)
        closed_loop();
    else
        open_loop(strtoll(argv[5], NULL, 10));
    drain();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t cpu = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
                   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    uint64_t head[4] = {errors, cpu, answered, recorded};
    if (fwrite(head, sizeof head, 1, stdout) != 1 || fwrite(latencies, sizeof *latencies, recorded, stdout) != recorded)
        fail("stdout");
    return 0;
}
