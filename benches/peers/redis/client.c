/* Load from a blocking connection to Redis: INCR of one of 1,000 keys, commands of 64 bytes; many in flight are pipelined.
 * Redis answers in the order of the commands, so an answer belongs to the oldest.
 * Build: cc -O2 redis/client.c */
#include "../load.h"
#include "../stream.h"

#define HEAD "*2\r\n$4\r\nINCR\r\n$43\r\n"
enum { COMMAND_BYTES = 64, KEY_DIGITS = 43 };

static struct stream redis;
static char (*commands)[COMMAND_BYTES + 1];
static uint32_t asked[SLOTS]; /* a ring: slots in the order of the commands */
static size_t asked_from, asked_to;

static void client_connect(int port)
{
    stream_connect(&redis, port, PATIENCE_MS);
    commands = calloc(request_count, sizeof *commands);
    if (!commands)
        fail("memory");
    for (size_t i = 0; i < request_count; i++)
        snprintf(commands[i], sizeof *commands, HEAD "%0*u\r\n", KEY_DIGITS, lamp_key(requests + i * request_bytes));
}

static void client_push(const uint8_t *unused_request, size_t turn, uint32_t slot)
{
    (void)unused_request;
    asked[asked_to++ % SLOTS] = slot;
    stream_put(&redis, commands[turn % request_count], COMMAND_BYTES);
}

static void client_flush(void)
{
    stream_flush(&redis);
}

static int client_take(int wait)
{
    size_t length;
    int any = 0;
    if (!stream_fill(&redis, wait))
        return 0;
    int64_t now = now_ns();
    for (const uint8_t *line; (line = stream_line(&redis, &length)) && asked_from < asked_to; any = 1)
        settle(asked[asked_from++ % SLOTS], length > 1 && line[0] == ':', now);
    return any;
}
