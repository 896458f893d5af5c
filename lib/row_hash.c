/* row_hash.c - see row_hash.h */
#include "row_hash.h"

#include <string.h>

/* Little endian by definition; compilers make one load of it. */
static inline uint64_t load64(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* ---- SipHash ---- */

/* One SipRound: additions, rotations and exclusive ors only, the same time for all values. */
static inline void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* "somepseudorandomlygeneratedbytes", and 0xee for the form with 128 bits. */
static inline void begin(uint64_t v[4], const uint64_t key[2])
{
    v[0] = key[0] ^ 0x736f6d6570736575u;
    v[1] = key[1] ^ 0x646f72616e646f6du ^ 0xee;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;
}

/* Two rounds a word, four at the end: that is the 2-4 in the name. */
static inline void take_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    mix(v);
    v[0] ^= word;
}

/* size: of the whole string, its lowest byte goes into the last word. */
static inline void end(uint64_t v[4], uint64_t tail, uint64_t size, uint64_t out[2])
{
    take_word(v, tail | size << 56);
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++)
        mix(v);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++)
        mix(v);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The last size % 8 bytes. */
static inline uint64_t load_tail(const uint8_t *data, size_t size)
{
    uint64_t tail = 0;

    for (size_t i = size & 7; i > 0; i--)
        tail = tail << 8 | data[(size & ~(size_t)7) + i - 1];
    return tail;
}

static inline void hash(const uint64_t key[2], const uint8_t *data, size_t size, uint64_t out[2])
{
    uint64_t v[4];

    begin(v, key);
    for (size_t i = 0; i + 8 <= size; i += 8)
        take_word(v, load64(data + i));
    end(v, load_tail(data, size), size, out);
}

void ems_row_hash_one(const uint8_t key[EMS_ROW_HASH_KEY], const uint8_t *data, size_t size,
                      uint8_t out[16])
{
    const uint64_t words[2] = {load64(key), load64(key + 8)};
    uint64_t result[2];

    hash(words, data, size, result);
    for (unsigned i = 0; i < 16; i++)
        out[i] = (uint8_t)(result[i / 8] >> 8 * (i % 8));
}

/* ---- lines ---- */

void ems_row_hash_init(struct ems_row_hash *h, const uint8_t key[EMS_ROW_HASH_KEY])
{
    *h = (struct ems_row_hash){.key = {load64(key), load64(key + 8)}};
}

/* Modulo 2^128, with the carry by hand: unsigned __int128 is no C11. */
static inline void add(struct ems_row_hash *h, const uint64_t value[2])
{
    h->sum[0] += value[0];
    h->sum[1] += value[1] + (h->sum[0] < value[0]);
    h->rows++;
}

/* Bytes of a line that is not all here: whole words at once, the rest kept for later. */
static void feed_part(struct ems_row_hash *h, const uint8_t *data, size_t size)
{
    if (!h->begun)
        begin(h->v, h->key);
    h->begun = true;
    while (size > 0) {
        if (h->size % 8 == 0 && size >= 8) {
            take_word(h->v, load64(data));
            h->size += 8;
            data += 8;
            size -= 8;
            continue;
        }
        h->tail |= (uint64_t)*data++ << 8 * (h->size++ % 8);
        size--;
        if (h->size % 8 == 0) {
            take_word(h->v, h->tail);
            h->tail = 0;
        }
    }
}

/* A CR at the end of a piece belongs to the line only if no LF comes next. */
static void keep(struct ems_row_hash *h, const uint8_t *data, size_t size)
{
    static const uint8_t cr = '\r';

    if (size == 0)
        return;
    if (h->after_cr)
        feed_part(h, &cr, 1);
    h->after_cr = data[size - 1] == '\r';
    feed_part(h, data, size - h->after_cr);
}

/* The LF has come; the CR that may have been kept before it is not part of the line. */
static void end_part(struct ems_row_hash *h)
{
    uint64_t value[2];

    end(h->v, h->tail, h->size, value);
    add(h, value);
    h->begun = h->after_cr = false;
    h->size = h->tail = 0;
}

/* Most lines lie whole in a piece and are hashed where they are. */
void ems_row_hash_feed(struct ems_row_hash *h, const uint8_t *data, size_t size)
{
    const uint8_t *stop = data + size, *lf;

    while (data < stop && (lf = memchr(data, '\n', (size_t)(stop - data))) != NULL) {
        if (h->begun) {
            keep(h, data, (size_t)(lf - data));
            end_part(h);
        } else {
            uint64_t value[2];

            hash(h->key, data, (size_t)(lf - data) - (lf > data && lf[-1] == '\r'), value);
            add(h, value);
        }
        data = lf + 1;
    }
    keep(h, data, (size_t)(stop - data));
}

bool ems_row_hash_equal(const struct ems_row_hash *a, const struct ems_row_hash *b)
{
    return !a->begun && !b->begun && a->rows == b->rows && a->sum[0] == b->sum[0] &&
           a->sum[1] == b->sum[1];
}
