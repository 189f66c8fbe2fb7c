/* The cheapest server that a ZeroMQ client can have: it says hello, and from then on gives every byte back as it came, without
 * looking for messages. How fast a client is with it is how fast that client can be with any server.
 *
 * Prints the port that it listens on, and ends when its stdin is closed.
 * Build: cc -O2 -pthread byte_echo.c */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GREETING_BYTES = 64, BUFFER_BYTES = 64 * 1024, LONG_FLAG = 2 };

static void *end_with_stdin(void *unused)
{
    char byte;
    (void)unused;
    while (read(0, &byte, 1) > 0) {
    }
    _exit(0);
}

static int write_all(int socket, const uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t sent = send(socket, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return 0;
        bytes += sent, length -= sent;
    }
    return 1;
}

static int read_all(int socket, uint8_t *bytes, size_t length)
{
    return recv(socket, bytes, length, MSG_WAITALL) == (ssize_t)length;
}

/* ZMTP 3.0 (rfc.zeromq.org/spec/23): both greetings, security NULL, both READY commands; ours is of a ROUTER. */
static int handshake(int socket)
{
    static const uint8_t signature[12] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};
    static const uint8_t ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";
    uint8_t greeting[GREETING_BYTES] = {0}, theirs[256];
    memcpy(greeting, signature, sizeof signature);
    memcpy(greeting + sizeof signature, "NULL", 4);
    if (!write_all(socket, greeting, sizeof greeting) || !read_all(socket, theirs, GREETING_BYTES) ||
        !write_all(socket, ready, sizeof ready - 1) || !read_all(socket, theirs, 2))
        return 0;
    return !(theirs[0] & LONG_FLAG) && read_all(socket, theirs, theirs[1]);
}

static void *serve(void *argument)
{
    int socket = (int)(intptr_t)argument, on = 1;
    uint8_t *buffer = malloc(BUFFER_BYTES);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (buffer && handshake(socket))
        for (ssize_t came; (came = recv(socket, buffer, BUFFER_BYTES, 0)) > 0 && write_all(socket, buffer, came);) {
        }
    close(socket);
    free(buffer);
    return NULL;
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16) ||
        getsockname(listener, (struct sockaddr *)&address, &length) || pthread_create(&thread, NULL, end_with_stdin, NULL)) {
        perror("byte_echo");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int client; (client = accept(listener, NULL, NULL)) >= 0;)
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)client))
            close(client);
    return 1;
}
