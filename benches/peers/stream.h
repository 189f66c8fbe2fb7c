/* A blocking TCP connection with buffers of its own: what is queued leaves with one write, what came is taken with one read. */
#ifndef STREAM_H
#define STREAM_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { STREAM_BYTES = 16 << 20 };

struct stream {
    int socket;
    uint8_t *in, *out;
    size_t in_from, in_to, out_to;
};

static void stream_fail(const char *what)
{
    fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* `patience_ms`: how long a read waits; 0: for ever. */
static void stream_connect(struct stream *stream, int port, int patience_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {patience_ms / 1000, patience_ms % 1000 * 1000};
    int on = 1;
    memset(stream, 0, sizeof *stream);
    stream->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stream->in = malloc(STREAM_BYTES), stream->out = malloc(STREAM_BYTES);
    if (stream->socket < 0 || !stream->in || !stream->out ||
        setsockopt(stream->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        setsockopt(stream->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
        connect(stream->socket, (struct sockaddr *)&address, sizeof address))
        stream_fail("connect");
}

static void stream_flush(struct stream *stream)
{
    for (size_t sent = 0; sent < stream->out_to;) {
        ssize_t now = send(stream->socket, stream->out + sent, stream->out_to - sent, MSG_NOSIGNAL);
        if (now < 0)
            stream_fail("send");
        sent += now;
    }
    stream->out_to = 0;
}

static void stream_put(struct stream *stream, const void *bytes, size_t length)
{
    if (STREAM_BYTES - stream->out_to < length)
        stream_flush(stream);
    memcpy(stream->out + stream->out_to, bytes, length);
    stream->out_to += length;
}

/* Reads what is there; waits for it if `wait`. Says whether anything came. */
static int stream_fill(struct stream *stream, int wait)
{
    if (stream->in_from == stream->in_to)
        stream->in_from = stream->in_to = 0;
    if (stream->in_to == STREAM_BYTES) {
        memmove(stream->in, stream->in + stream->in_from, stream->in_to - stream->in_from);
        stream->in_to -= stream->in_from, stream->in_from = 0;
    }
    ssize_t came = recv(stream->socket, stream->in + stream->in_to, STREAM_BYTES - stream->in_to, wait ? 0 : MSG_DONTWAIT);
    if (came == 0 || (came < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
        stream_fail(came ? "receive" : "the other side closed");
    if (came > 0)
        stream->in_to += came;
    return came > 0;
}

/* The next line that is complete, without its CRLF, with its length; NULL: there is none yet. */
static const uint8_t *stream_line(struct stream *stream, size_t *length)
{
    const uint8_t *from = stream->in + stream->in_from;
    const uint8_t *line_end = memchr(from, '\n', stream->in_to - stream->in_from);
    if (!line_end)
        return NULL;
    *length = line_end - from;
    stream->in_from += *length + 1;
    if (*length && from[*length - 1] == '\r')
        --*length;
    return from;
}

#endif
