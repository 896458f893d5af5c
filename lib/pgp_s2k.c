/*
 * pgp_s2k.c - see pgp_s2k.h
 *
 * Section numbers are of RFC 9580.
 */
#include "pgp_s2k.h"

#include "bytes.h"

#include <gcrypt.h>
#include <string.h>

/* ---- hashes (9.5) ---- */

static const struct {
    uint8_t id;
    int algorithm;
    uint8_t weight; /* time per octet, in units of SHA-1's where the processor has it */
    const char *name;
} hashes[] = {
    {1, GCRY_MD_MD5, 3, "MD5"},
    {2, GCRY_MD_SHA1, 1, "SHA1"},
    {3, GCRY_MD_RMD160, 4, "RIPEMD160"},
    {8, GCRY_MD_SHA256, 1, "SHA256"},
    {9, GCRY_MD_SHA384, 3, "SHA384"},
    {10, GCRY_MD_SHA512, 3, "SHA512"},
    {11, GCRY_MD_SHA224, 1, "SHA224"},
    {12, GCRY_MD_SHA3_256, 4, "SHA3-256"},
    {14, GCRY_MD_SHA3_512, 8, "SHA3-512"},
};

#define HASHES (sizeof hashes / sizeof hashes[0])

int ems_pgp_hash(unsigned id)
{
    /* Asking first matters: libgcrypt prints to stderr when an unknown one is opened. */
    for (size_t i = 0; i < HASHES; i++)
        if (hashes[i].id == id && gcry_md_test_algo(hashes[i].algorithm) == 0)
            return hashes[i].algorithm;
    return 0;
}

const char *ems_pgp_hash_name(unsigned id)
{
    for (size_t i = 0; i < HASHES; i++)
        if (hashes[i].id == id)
            return hashes[i].name;
    return "unknown";
}

static unsigned hash_weight(unsigned id)
{
    for (size_t i = 0; i < HASHES; i++)
        if (hashes[i].id == id)
            return hashes[i].weight;
    return 8;
}

/* ---- specifiers ---- */

const char *ems_pgp_s2k_name(unsigned type)
{
    switch (type) {
    case EMS_PGP_S2K_SIMPLE:
        return "simple";
    case EMS_PGP_S2K_SALTED:
        return "salted";
    case EMS_PGP_S2K_ITERATED:
        return "iterated";
    case EMS_PGP_S2K_ARGON2:
        return "argon2";
    default:
        return "unknown";
    }
}

/* What libgcrypt does not check, or only after it has computed sizes modulo 2^32 (until 1.11.1). */
static int check_argon2(const struct ems_pgp_s2k *s, struct ems_error *err)
{
    unsigned lanes_log = 0;

    while (1u << lanes_log < s->lanes)
        lanes_log++;
    if (s->passes == 0 || s->lanes == 0 || s->memory_log_kib < 3 + lanes_log ||
        s->memory_log_kib > 31)
        return ems_fail(err, EMS_PGP_MALFORMED,
                        "impossible Argon2 parameters: %u passes, %u lanes, 2^%u KiB", s->passes,
                        s->lanes, s->memory_log_kib);
    return EMS_OK;
}

/*
 *     0     hash                           simple: hash of the passphrase
 *     1     hash, salt of 8                salted
 *     3     hash, salt of 8, count         iterated, what everybody uses
 *     4     salt of 16, t, p, m            Argon2 (RFC 9106)
 *     101   hash, "GNU", mode              GnuPG: there is no secret here
 *
 * 2 was never used; 100 to 110 are private.
 */
int ems_pgp_s2k_parse(const uint8_t *data, size_t size, struct ems_pgp_s2k *s, size_t *used,
                      struct ems_error *err)
{
    static const char cut[] = "a key derivation specifier is cut short";
    size_t need = 0;

    memset(s, 0, sizeof *s);
    if (size < 2)
        return ems_fail(err, EMS_PGP_MALFORMED, "%s", cut);
    s->type = data[0];
    switch (s->type) {
    case EMS_PGP_S2K_SIMPLE:
        need = 2;
        break;
    case EMS_PGP_S2K_SALTED:
        need = 10;
        break;
    case EMS_PGP_S2K_ITERATED:
        need = 11;
        break;
    case EMS_PGP_S2K_ARGON2:
        need = 20;
        break;
    case EMS_PGP_S2K_GNU:
        need = 6;
        break;
    default:
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "key derivation (S2K) type %u", s->type);
    }
    if (size < need)
        return ems_fail(err, EMS_PGP_MALFORMED, "%s", cut);
    memcpy(s->raw, data, need);
    s->raw_size = need;
    *used = need;

    if (s->type == EMS_PGP_S2K_ARGON2) {
        memcpy(s->salt, data + 1, 16);
        s->passes = data[17];
        s->lanes = data[18];
        s->memory_log_kib = data[19];
        return check_argon2(s, err);
    }
    s->hash = data[1];
    if (s->type == EMS_PGP_S2K_GNU) {
        if (memcmp(data + 2, "GNU", 3) != 0)
            return ems_fail(err, EMS_PGP_UNSUPPORTED, "private key derivation (S2K) type 101");
        s->gnu_mode = data[5];
        return EMS_OK;
    }
    if (ems_pgp_hash(s->hash) == 0)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "hash algorithm %u (%s) in a key derivation",
                        s->hash, ems_pgp_hash_name(s->hash));
    if (s->type != EMS_PGP_S2K_SIMPLE)
        memcpy(s->salt, data + 2, 8);
    if (s->type == EMS_PGP_S2K_ITERATED) /* 3.7.1.3: a float of four bits each */
        s->octets = (16 + (uint32_t)(data[10] & 15)) << ((data[10] >> 4) + 6);
    return EMS_OK;
}

/* ---- deriving ---- */

/* A pass over a KiB takes 1.1 us with libgcrypt 1.10; getting that KiB from the system, zeroed, and
 * wiping it take one more. One pass over 2 GiB (section 4 of RFC 9106) is counted for less than it
 * costs, so that it is let through, once, and leaves something for public keys. */
static uint64_t argon2_cost(const struct ems_pgp_s2k *s)
{
    uint64_t kib = (uint64_t)1 << s->memory_log_kib, cost = s->passes * kib / 8 * 9 + kib;

    if (s->passes == 1 && s->memory_log_kib <= 21 && cost > EMS_PGP_COST_MAX)
        cost = EMS_PGP_COST_MAX / 8 * 7;
    return cost;
}

uint64_t ems_pgp_s2k_cost(const struct ems_pgp_s2k *s, size_t passphrase_size, size_t key_size)
{
    uint64_t octets = passphrase_size + sizeof s->salt;
    size_t digest;

    if (s->type == EMS_PGP_S2K_ARGON2)
        return argon2_cost(s);
    digest = gcry_md_get_algo_dlen(ems_pgp_hash(s->hash));
    if (s->octets > octets)
        octets = s->octets;
    /* One context for each digest's worth of key (3.7.1.1). SHA-1 does some 1500 octets in one
     * microsecond; counted are 1024, so that slower processors keep within two seconds too. */
    if (digest > 0)
        octets *= (key_size + digest - 1) / digest;
    return octets * hash_weight(s->hash) / 1024 + 1;
}

/*
 * Memory is allocated by libgcrypt as the message asks for it, so it is checked before:
 * until 1.11.1 the size was computed modulo 2^32 and too little was taken (check_argon2 has the
 * parameters that make no sense at all). The memory is not in the secure pool: it would not fit
 * there, and holds no secret that could be read off it.
 */
static int derive_argon2(const struct ems_pgp_s2k *s, const void *passphrase,
                         size_t passphrase_size, uint8_t *key, size_t key_size,
                         struct ems_error *err)
{
    const unsigned long parameters[4] = {key_size, s->passes, 1ul << s->memory_log_kib, s->lanes};
    gcry_kdf_hd_t kdf = NULL;
    gcry_error_t rc;

    if (s->memory_log_kib > 21 || s->lanes > 16)
        return ems_fail(err, EMS_PGP_LIMIT,
                        "Argon2 with 2^%u KiB of memory and %u lanes (limit 2^21 and 16)",
                        s->memory_log_kib, s->lanes);
    rc = gcry_kdf_open(&kdf, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID, parameters, 4, passphrase,
                       passphrase_size, s->salt, 16, NULL, 0, NULL, 0);
    if (rc == 0)
        rc = gcry_kdf_compute(kdf, NULL);
    if (rc == 0)
        rc = gcry_kdf_final(kdf, key_size, key);
    if (kdf != NULL)
        gcry_kdf_close(kdf);
    if (gcry_err_code(rc) == GPG_ERR_ENOMEM)
        return ems_fail(err, EMS_NO_MEMORY, "out of memory: Argon2 asks for 2^%u KiB",
                        s->memory_log_kib);
    if (rc != 0)
        return ems_fail(err, EMS_INTERNAL, "argon2: %s", gcry_strerror(rc));
    return EMS_OK;
}

#define REPEATED 4096u /* octets given to the hash at once; the unit may be longer */

/*
 * The octets that are hashed (3.7.1.1 to 3.7.1.3): salt and passphrase, of the iterated kind again
 * and again until `octets` are through, the last time perhaps only a part of them, but once at
 * least in full. Given to the hash in long runs: an expensive derivation is 130 MB in units of some
 * 20 octets, for which libgcrypt's own function takes three times as long.
 */
static uint8_t *repeat_unit(const struct ems_pgp_s2k *s, const void *passphrase,
                            size_t passphrase_size, size_t *unit, size_t *size)
{
    size_t salt = s->type == EMS_PGP_S2K_SIMPLE ? 0 : 8, times;
    uint8_t *run;

    *unit = salt + passphrase_size;
    times = s->octets > *unit && *unit < REPEATED ? REPEATED / *unit : 1;
    *size = times * *unit;
    run = gcry_malloc_secure(*size);
    for (size_t i = 0; run != NULL && i < times; i++) {
        memcpy(run + i * *unit, s->salt, salt);
        memcpy(run + i * *unit + salt, passphrase, passphrase_size);
    }
    return run;
}

int ems_pgp_s2k_derive(const struct ems_pgp_s2k *s, const void *passphrase, size_t passphrase_size,
                       uint8_t *key, size_t key_size, struct ems_error *err)
{
    static const uint8_t zeros[EMS_PGP_KEY_MAX];
    int algorithm = ems_pgp_hash(s->hash);
    size_t unit, size, digest = gcry_md_get_algo_dlen(algorithm);
    uint64_t octets;
    uint8_t *run;
    gcry_md_hd_t md;

    if (s->type == EMS_PGP_S2K_ARGON2)
        return derive_argon2(s, passphrase, passphrase_size, key, key_size, err);
    if (s->type == EMS_PGP_S2K_GNU)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "key derivation (S2K) type %u", s->type);
    if (passphrase_size == 0 || digest == 0 || key_size > EMS_PGP_KEY_MAX)
        return ems_fail(err, EMS_INTERNAL, "key derivation from nothing");
    run = repeat_unit(s, passphrase, passphrase_size, &unit, &size);
    if (run == NULL || gcry_md_open(&md, algorithm, GCRY_MD_FLAG_SECURE) != 0) {
        gcry_free(run);
        return ems_fail_memory(err);
    }
    octets = s->octets > unit ? s->octets : unit;
    /* Digest after digest until the key is long enough, each context begun with one zero octet more
     * than the one before. */
    for (size_t done = 0, i = 0; done < key_size; done += digest, i++) {
        gcry_md_reset(md);
        gcry_md_write(md, zeros, i);
        for (uint64_t left = octets, n; left > 0; left -= n) {
            n = left < size ? left : size;
            gcry_md_write(md, run, (size_t)n);
        }
        memcpy(key + done, gcry_md_read(md, algorithm),
               key_size - done < digest ? key_size - done : digest);
    }
    gcry_md_close(md);
    gcry_free(run); /* secure memory is wiped by its free */
    return EMS_OK;
}

/* ---- HKDF ---- */

struct piece {
    const uint8_t *data;
    size_t size;
};

/* Over up to three pieces, one behind the other; what is secret stays in secure memory. */
static gcry_error_t hmac(int algorithm, struct piece key, const struct piece pieces[3],
                         uint8_t *out)
{
    gcry_md_hd_t md;
    gcry_error_t rc = gcry_md_open(&md, algorithm, GCRY_MD_FLAG_HMAC | GCRY_MD_FLAG_SECURE);

    if (rc != 0)
        return rc;
    rc = gcry_md_setkey(md, key.data, key.size);
    for (int i = 0; i < 3 && rc == 0; i++)
        if (pieces[i].size > 0)
            gcry_md_write(md, pieces[i].data, pieces[i].size);
    if (rc == 0)
        memcpy(out, gcry_md_read(md, algorithm), gcry_md_get_algo_dlen(algorithm));
    gcry_md_close(md);
    return rc;
}

/* RFC 5869, 2.2 and 2.3. libgcrypt has it from 1.11 on. */
int ems_pgp_hkdf(int algorithm, const uint8_t *ikm, size_t ikm_size, const uint8_t *salt,
                 size_t salt_size, const uint8_t *info, size_t info_size, uint8_t *out,
                 size_t out_size, struct ems_error *err)
{
    static const uint8_t no_salt[64];
    size_t digest = gcry_md_get_algo_dlen(algorithm), done = 0, block_size = 0;
    uint8_t *prk = gcry_calloc_secure(2, 64), *block;
    uint8_t counter = 0;
    gcry_error_t rc;

    if (prk == NULL)
        return ems_fail_memory(err);
    block = prk + 64;
    /* Extract: HMAC under the salt, zeros of the digest's length if there is none. */
    rc = hmac(algorithm,
              salt_size > 0 ? (struct piece){salt, salt_size} : (struct piece){no_salt, digest},
              (struct piece[3]){{ikm, ikm_size}}, prk);
    /* Expand: T(i) = HMAC(T(i-1) || info || i). */
    while (rc == 0 && done < out_size) {
        size_t n = out_size - done < digest ? out_size - done : digest;

        counter++;
        rc = hmac(algorithm, (struct piece){prk, digest},
                  (struct piece[3]){{block, block_size}, {info, info_size}, {&counter, 1}}, block);
        block_size = digest;
        if (rc == 0)
            memcpy(out + done, block, n);
        done += n;
    }
    gcry_free(prk); /* secure memory is wiped by its free */
    if (rc != 0)
        return ems_fail(err, EMS_INTERNAL, "hkdf: %s", gcry_strerror(rc));
    return EMS_OK;
}
