/*
 * name_hash.h - names as 64 bits, for tables that watch very many of them.
 *
 * Keyed, so that nobody can send names that all fall into one place or two that look the same: the
 * key is random and lives as long as one table.
 */
#ifndef EMS_NAME_HASH_H
#define EMS_NAME_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

struct ems_name_key {
    uint64_t word[2];
};

static inline bool ems_name_key_init(struct ems_name_key *key)
{
    return getrandom(key, sizeof *key, 0) == (ssize_t)sizeof *key;
}

/* Spreads each bit over the word (multiply and shift; the constant is odd and of no pattern). */
static inline uint64_t ems_name_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static inline uint64_t ems_name_hash(const struct ems_name_key *key, const char *name, size_t size)
{
    uint64_t hash = key->word[0] ^ size, word;

    for (; size >= sizeof word; name += sizeof word, size -= sizeof word) {
        memcpy(&word, name, sizeof word);
        hash = ems_name_mix((hash ^ word) + key->word[1]);
    }
    word = 0;
    memcpy(&word, name, size);
    return ems_name_mix((hash ^ word) + key->word[1]);
}

#endif
