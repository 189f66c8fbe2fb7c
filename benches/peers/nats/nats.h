/* As much of the NATS client protocol as request and reply need (docs.nats.io, "Client Protocol"). */
#ifndef NATS_H
#define NATS_H

#include "../stream.h"

/* A message: where its answer goes (no end mark), and its payload. */
struct nats_message {
    const uint8_t *reply_to, *payload;
    size_t reply_to_length, payload_length;
};

static void nats_connect(struct stream *nats, int port, int patience_ms, const char *subject)
{
    char text[256];
    size_t length;
    stream_connect(nats, port, patience_ms);
    while (!stream_line(nats, &length)) /* INFO */
        if (!stream_fill(nats, 1))
            stream_fail("no greeting of nats-server");
    length = snprintf(text, sizeof text, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB %s 1\r\nPING\r\n", subject);
    stream_put(nats, text, length);
    stream_flush(nats);
    for (const uint8_t *line = NULL; !line || memcmp(line, "PONG", 4);)
        if (!(line = stream_line(nats, &length)) && !stream_fill(nats, 1))
            stream_fail("no PONG of nats-server");
}

static void nats_publish(struct stream *nats, const void *subject, size_t subject_length, const char *reply_to,
                         const void *payload, size_t payload_length)
{
    char size[32];
    int size_length = snprintf(size, sizeof size, "%s %zu\r\n", reply_to, payload_length);
    stream_put(nats, "PUB ", 4);
    stream_put(nats, subject, subject_length);
    stream_put(nats, " ", 1);
    stream_put(nats, size, size_length);
    stream_put(nats, payload, payload_length);
    stream_put(nats, "\r\n", 2);
}

/* The next message that is complete: 1; 0: there is none yet. Answers a PING. */
static int nats_next(struct stream *nats, struct nats_message *message)
{
    for (;;) {
        size_t before = nats->in_from, length;
        const uint8_t *line = stream_line(nats, &length);
        if (!line)
            return 0;
        if (length >= 4 && !memcmp(line, "PING", 4)) {
            stream_put(nats, "PONG\r\n", 6);
            continue;
        }
        if (length < 4 || memcmp(line, "MSG ", 4)) {
            if (length && line[0] == '-')
                stream_fail("nats-server refused");
            continue;
        }
        /* MSG subject sid [reply-to] #bytes: the size is the last word, the address the third of four. */
        const uint8_t *words[5];
        size_t count = 0;
        for (size_t i = 3; i < length && count < 5; i++)
            if (line[i] == ' ')
                words[count++] = line + i + 1;
        message->payload_length = strtoul((const char *)words[count - 1], NULL, 10);
        message->reply_to = words[2];
        message->reply_to_length = count == 4 ? words[3] - words[2] - 1 : 0;
        if (nats->in_to - nats->in_from < message->payload_length + 2) {
            nats->in_from = before;
            return 0;
        }
        message->payload = nats->in + nats->in_from;
        nats->in_from += message->payload_length + 2;
        return 1;
    }
}

#endif
