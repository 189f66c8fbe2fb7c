/* One round of load: the same loops, requests and counting as benches/load has, over whatever protocol the client that includes
 * this file speaks. It is included once by each client, so it defines what it declares.
 *
 *   CLIENT PORT REQUESTS_FILE REQUEST_BYTES IN_FLIGHT PER_SECOND WARM_UP_MS MEASURED_MS
 *
 * IN_FLIGHT > 0: closed loop. IN_FLIGHT = 0: open loop at PER_SECOND, latency counted from when a request was due.
 * Writes to stdout as native 64-bit integers: errors, CPU nanoseconds of this process, answers in all, count,
 * and count latencies in ns.
 *
 * A client defines
 *   client_connect(port)               connects, and ends the program if it cannot;
 *   client_push(request, turn, slot)   queues a request whose id is `slot`;
 *   client_flush()                     sends what was queued;
 *   client_take(wait)                  takes the answers that are there, each with `settle` or `settle_reply`; waits at most
 *                                      PATIENCE_MS for the first if `wait`. Says whether there was any. */
#ifndef LOAD_H
#define LOAD_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "lamp.h"

enum { SLOTS = 65536, PATIENCE_MS = 5000 };
#define PATIENCE_NS ((int64_t)PATIENCE_MS * 1000000)

static void client_connect(int port);
static void client_push(const uint8_t *request, size_t turn, uint32_t slot);
static void client_flush(void);
static int client_take(int wait);

static uint8_t *requests;
static size_t request_bytes, request_count, turn;
static int64_t since[SLOTS]; /* when the request in each slot left, or was due; 0: the slot is free */
static uint32_t free_slots[SLOTS];
static size_t free_count, slot_count;
static int64_t begin, end;
static uint64_t errors, answered, recorded, capacity;
static uint64_t *latencies;

static void fail_with(const char *what, const char *why)
{
    fprintf(stderr, "client: %s: %s\n", what, why);
    exit(1);
}

static void fail(const char *what)
{
    fail_with(what, strerror(errno));
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

/* An answer to the request in `slot` came at `now`. */
static void settle(uint32_t slot, int good, int64_t now)
{
    if (slot >= slot_count || !since[slot]) {
        errors++;
        return;
    }
    answered++;
    if (!good)
        errors++;
    else if (since[slot] >= begin && since[slot] < end)
        record(now - since[slot]);
    since[slot] = 0;
    free_slots[free_count++] = slot;
}

/* A reply as the daemon makes it, or a request that an echo gave back, came at `now`. */
static inline void settle_reply(const uint8_t *reply, size_t length, int64_t now)
{
    uint32_t slot;
    int good = lamp_answer(reply, length, &slot);
    if (good < 0)
        errors++;
    else
        settle(slot, good, now);
}

static int push(int64_t at)
{
    if (!free_count)
        return 0;
    uint32_t slot = free_slots[--free_count];
    uint8_t *request = requests + (turn % request_count) * request_bytes;
    since[slot] = at;
    lamp_set_id(request, slot);
    client_push(request, turn++, slot);
    return 1;
}

static void closed_loop(void)
{
    for (int64_t now = now_ns(); now < end; now = now_ns()) {
        while (push(now)) {
        }
        client_flush();
        if (!client_take(1))
            fail_with("closed loop", "no answer");
    }
}

static void open_loop(int64_t per_second)
{
    int64_t start = now_ns(), sent = 0;
    for (int64_t now = start;; now = now_ns()) {
        for (int64_t due; (due = start + sent * 1000000000 / per_second) <= now && due < end && push(due);)
            sent++;
        client_flush();
        if (now >= end)
            return;
        client_take(0);
    }
}

static void drain(void)
{
    int64_t deadline = now_ns() + PATIENCE_NS;
    while (free_count < slot_count && now_ns() < deadline && client_take(1)) {
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

static void write_result(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t cpu = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
                   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    uint64_t head[4] = {errors, cpu, answered, recorded};
    if (fwrite(head, sizeof head, 1, stdout) != 1 || fwrite(latencies, sizeof *latencies, recorded, stdout) != recorded)
        fail("stdout");
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: %s PORT FILE BYTES IN_FLIGHT PER_SECOND WARM_UP_MS MEASURED_MS\n", argv[0]);
        return 2;
    }
    request_bytes = strtoul(argv[3], NULL, 10);
    load_requests(argv[2]);
    size_t in_flight = strtoul(argv[4], NULL, 10);
    slot_count = in_flight && in_flight < SLOTS ? in_flight : SLOTS;
    for (; free_count < slot_count; free_count++)
        free_slots[free_count] = (uint32_t)free_count;
    client_connect(atoi(argv[1]));
    begin = now_ns() + strtoll(argv[6], NULL, 10) * 1000000;
    end = begin + strtoll(argv[7], NULL, 10) * 1000000;
    if (in_flight)
        closed_loop();
    else
        open_loop(strtoll(argv[5], NULL, 10));
    drain();
    write_result();
    return 0;
}

#endif
