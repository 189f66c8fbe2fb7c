/* The work, as src/work.rs makes it: a 64-byte MessagePack request that begins with its id and names one of 1,000 keys; and
 * what a responder does for it that is no daemon of ours: it keeps a lamp for each key, switches it, and says how it is now. */
#ifndef LAMP_H
#define LAMP_H

#include <stdint.h>
#include <string.h>

enum { LAMP_ID_AT = 5, LAMP_KEY_AT = 35, LAMP_KEY_BYTES = 12, LAMP_REQUEST_BYTES = 64, LAMP_REPLY_BYTES = 64, LAMPS = 1000 };

static inline void lamp_set_id(uint8_t *request, uint32_t id)
{
    request[LAMP_ID_AT] = id >> 24, request[LAMP_ID_AT + 1] = id >> 16;
    request[LAMP_ID_AT + 2] = id >> 8, request[LAMP_ID_AT + 3] = id;
}

/* Reads a reply as far as a client has to: 1 if it says `ok` or is the request itself, as an echo gives it back; 0 if it is an
 * error; -1 if it is no reply. */
static inline int lamp_answer(const uint8_t *reply, size_t length, uint32_t *id)
{
    static const uint8_t id_key[4] = {0xa2, 'i', 'd', 0xce}, ok_true[4] = {0xa2, 'o', 'k', 0xc3}, op_key[3] = {0xa2, 'o', 'p'};
    size_t at = length && reply[0] == 0xde ? 3 : 1;
    if (length < at + 12 || memcmp(reply + at, id_key, 4))
        return -1;
    const uint8_t *number = reply + at + 4;
    *id = (uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 | (uint32_t)number[2] << 8 | number[3];
    return !memcmp(number + 4, ok_true, 4) || !memcmp(number + 4, op_key, 3);
}

/* The number that the key of a request is; it has LAMP_KEY_BYTES digits. */
static inline uint32_t lamp_key(const uint8_t *request)
{
    uint32_t key = 0;
    for (int i = 0; i < LAMP_KEY_BYTES; i++)
        key = key * 10 + (request[LAMP_KEY_AT + i] - '0') % 10;
    return key;
}

/* Switches the request's lamp and writes the reply, which has LAMP_REPLY_BYTES at most. Gives its length; 0 if the request is
 * none of ours. */
static inline size_t lamp_step(const uint8_t *request, size_t length, uint8_t *reply)
{
    static uint32_t counts[LAMPS];
    static const uint8_t head[] = "\x84\xa2id\xce";
    static const uint8_t high[] = "\xa2ok\xc3\xa5value\x81\xa2on\xa4high\xa3seq\xce", low[] = "\xa2ok\xc3\xa5value\x81\xa2on\xa3low\xa3seq\xce";
    if (length != LAMP_REQUEST_BYTES || request[0] != 0x85)
        return 0;
    uint32_t count = ++counts[lamp_key(request) % LAMPS];
    size_t state_length = (count % 2 ? sizeof high : sizeof low) - 1;
    uint8_t *at = reply;
    memcpy(at, head, sizeof head - 1), at += sizeof head - 1;
    memcpy(at, request + LAMP_ID_AT, 4), at += 4;
    memcpy(at, count % 2 ? high : low, state_length), at += state_length;
    *at++ = count >> 24, *at++ = count >> 16, *at++ = count >> 8, *at++ = count;
    return at - reply;
}

#endif
