/*
 * pgp_maker.h - makes OpenPGP packets, messages and keys for tests, right or wrong, out of
 * libgcrypt alone. Shares no code with lib/pgp*.c, so that both must be wrong in the same way to
 * agree. Everything made is the same in each run.
 */
#ifndef EMS_PGP_MAKER_H
#define EMS_PGP_MAKER_H

#include "harness.h"
#include "pgp.h"

#include <gcrypt.h>
#include <zlib.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #call);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- bytes ---- */

static inline void put(struct ems_buf *b, const void *data, size_t size)
{
    MUST(ems_buf_append(b, data, size, NULL));
}

static inline void put_octet(struct ems_buf *b, unsigned octet)
{
    uint8_t o = (uint8_t)octet;

    put(b, &o, 1);
}

static inline void put_be(struct ems_buf *b, uint64_t value, unsigned octets)
{
    while (octets-- > 0)
        put_octet(b, (unsigned)(value >> (8 * octets)) & 255);
}

/* Octets that look random and are the same each time. */
static inline void put_noise(struct ems_buf *b, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        put_octet(b, seed >> 24);
    }
}

/* ---- packets ---- */

enum maker_framing { NEW_FORMAT, OLD_FORMAT, NEW_5, PARTIAL_512, PARTIAL_2, INDETERMINATE };

static inline void put_new_length(struct ems_buf *b, size_t size)
{
    if (size < 192) {
        put_octet(b, (unsigned)size);
    } else if (size < 8384) {
        put_octet(b, (unsigned)((size - 192) >> 8) + 192);
        put_octet(b, (size - 192) & 255);
    } else {
        put_octet(b, 255);
        put_be(b, size, 4);
    }
}

static inline void put_packet(struct ems_buf *b, unsigned tag, enum maker_framing framing,
                              const struct ems_buf *body)
{
    size_t at = 0;
    unsigned log = framing == PARTIAL_2 ? 1 : 9;

    switch (framing) {
    case OLD_FORMAT:
        put_octet(b, 0x80 | tag << 2 | (body->size < 256 ? 0 : 2));
        put_be(b, body->size, body->size < 256 ? 1 : 4);
        break;
    case INDETERMINATE:
        put_octet(b, 0x83 | tag << 2);
        break;
    case NEW_5:
        put_octet(b, 0xc0 | tag);
        put_octet(b, 255);
        put_be(b, body->size, 4);
        break;
    case PARTIAL_512:
    case PARTIAL_2:
        put_octet(b, 0xc0 | tag);
        while (body->size - at >= (size_t)1 << log) {
            put_octet(b, 0xe0 | log);
            put(b, body->data + at, (size_t)1 << log);
            at += (size_t)1 << log;
        }
        put_new_length(b, body->size - at);
        break;
    default:
        put_octet(b, 0xc0 | tag);
        put_new_length(b, body->size);
        break;
    }
    put(b, body->data + at, body->size - at);
}

static inline struct ems_buf make_literal(const void *data, size_t size, char mode,
                                          const char *name, enum maker_framing framing)
{
    struct ems_buf body = {0}, out = {0};

    put_octet(&body, (uint8_t)mode);
    put_octet(&body, (unsigned)strlen(name));
    put(&body, name, strlen(name));
    put_be(&body, 1000000000, 4);
    put(&body, data, size);
    put_packet(&out, 11, framing, &body);
    ems_buf_release(&body);
    return out;
}

/* Compressed packet around `inside`, algorithm 0, 1 or 2, with `padding` octets behind the stream.
 */
static inline struct ems_buf make_compressed(const struct ems_buf *inside, unsigned algorithm,
                                             size_t padding, enum maker_framing framing)
{
    struct ems_buf body = {0}, out = {0};
    z_stream z = {0};

    put_octet(&body, algorithm);
    if (algorithm == 0) {
        put(&body, inside->data, inside->size);
    } else {
        MUST(deflateInit2(&z, 6, Z_DEFLATED, algorithm == 1 ? -15 : 15, 8, Z_DEFAULT_STRATEGY));
        MUST(ems_buf_reserve(&body, deflateBound(&z, inside->size) + 64, NULL));
        z.next_in = inside->data;
        z.avail_in = (uInt)inside->size;
        z.next_out = body.data + body.size;
        z.avail_out = (uInt)(body.capacity - body.size);
        MUST(deflate(&z, Z_FINISH) != Z_STREAM_END);
        body.size += z.total_out;
        deflateEnd(&z);
    }
    put_noise(&body, padding, 7);
    put_packet(&out, 8, framing, &body);
    ems_buf_release(&body);
    return out;
}

/* ---- session keys ---- */

static const uint8_t maker_salt[16] = "saltSALTsalt1234";

static inline size_t maker_key_size(int cipher)
{
    return gcry_cipher_get_algo_keylen(cipher);
}

/* OpenPGP number to libgcrypt's. */
static inline int maker_cipher(unsigned id)
{
    return id >= 11 && id <= 13 ? GCRY_CIPHER_CAMELLIA128 + (int)id - 11 : (int)id;
}

/* S2K specifier of a type (0, 1, 3, 4) with SHA-256 and a small count, and what it gives. */
static inline struct ems_buf make_s2k(unsigned type, const char *pass, uint8_t *key, size_t size)
{
    static const int kdfs[] = {GCRY_KDF_SIMPLE_S2K, GCRY_KDF_SALTED_S2K, 0,
                               GCRY_KDF_ITERSALTED_S2K};
    struct ems_buf out = {0};

    put_octet(&out, type);
    if (type == 4) {
        const unsigned long parameters[4] = {size, 1, 16, 1};
        gcry_kdf_hd_t kdf;

        put(&out, maker_salt, 16);
        put(&out, "\1\1\4", 3); /* one pass, one lane, 2^4 KiB */
        MUST(gcry_kdf_open(&kdf, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID, parameters, 4, pass,
                           strlen(pass), maker_salt, 16, NULL, 0, NULL, 0));
        MUST(gcry_kdf_compute(kdf, NULL));
        MUST(gcry_kdf_final(kdf, size, key));
        gcry_kdf_close(kdf);
        return out;
    }
    put_octet(&out, 8);
    if (type != 0)
        put(&out, maker_salt, 8);
    if (type == 3)
        put_octet(&out, 0x00); /* 1024 octets */
    MUST(gcry_kdf_derive(pass, strlen(pass), kdfs[type], GCRY_MD_SHA256, maker_salt,
                         type == 0 ? 0 : 8, 1024, size, key));
    return out;
}

static inline gcry_cipher_hd_t maker_open(unsigned cipher, int mode, const uint8_t *key)
{
    gcry_cipher_hd_t h;

    MUST(gcry_cipher_open(&h, maker_cipher(cipher), mode, 0));
    MUST(gcry_cipher_setkey(h, key, maker_key_size(maker_cipher(cipher))));
    return h;
}

static inline void maker_hkdf(int algorithm, const uint8_t *ikm, size_t ikm_size,
                              const uint8_t *salt, size_t salt_size, const uint8_t *info,
                              size_t info_size, uint8_t *out, size_t out_size)
{
    size_t digest = gcry_md_get_algo_dlen(algorithm), done = 0;
    uint8_t prk[64], block[64], zeros[64] = {0};
    gcry_md_hd_t md;

    MUST(gcry_md_open(&md, algorithm, GCRY_MD_FLAG_HMAC));
    MUST(gcry_md_setkey(md, salt_size > 0 ? salt : zeros, salt_size > 0 ? salt_size : digest));
    gcry_md_write(md, ikm, ikm_size);
    memcpy(prk, gcry_md_read(md, algorithm), digest);
    for (uint8_t i = 1; done < out_size; i++) {
        gcry_md_reset(md);
        MUST(gcry_md_setkey(md, prk, digest));
        if (i > 1)
            gcry_md_write(md, block, digest);
        gcry_md_write(md, info, info_size);
        gcry_md_write(md, &i, 1);
        memcpy(block, gcry_md_read(md, algorithm), digest);
        memcpy(out + done, block, out_size - done < digest ? out_size - done : digest);
        done += digest;
    }
    gcry_md_close(md);
}

static const struct {
    int mode;
    unsigned nonce_size;
} maker_aeads[] = {[1] = {GCRY_CIPHER_MODE_EAX, 16},
                   [2] = {GCRY_CIPHER_MODE_OCB, 15},
                   [3] = {GCRY_CIPHER_MODE_GCM, 12}};

/* Append the encryption of data and its tag. */
static inline void put_sealed(struct ems_buf *out, gcry_cipher_hd_t h, unsigned aead,
                              const uint8_t *nonce, const uint8_t *ad, size_t ad_size,
                              const uint8_t *data, size_t size)
{
    uint8_t *sealed = malloc(size + 16);

    MUST(sealed == NULL);
    if (size > 0)
        memcpy(sealed, data, size);
    MUST(gcry_cipher_reset(h));
    MUST(gcry_cipher_setiv(h, nonce, maker_aeads[aead].nonce_size));
    MUST(gcry_cipher_authenticate(h, ad, ad_size));
    if (aead == 2)
        MUST(gcry_cipher_final(h));
    MUST(gcry_cipher_encrypt(h, sealed, size, NULL, 0));
    MUST(gcry_cipher_gettag(h, sealed + size, 16));
    put(out, sealed, size + 16);
    free(sealed);
}

/* SKESK version 4. With esk_cipher 0 the S2K's output goes to key and is the session key, else
 * `key` (for esk_cipher) is wrapped. */
static inline void put_skesk4(struct ems_buf *out, unsigned cipher, unsigned s2k_type,
                              const char *pass, unsigned esk_cipher, uint8_t *key)
{
    uint8_t kek[32], wrapped[33];
    size_t size = maker_key_size(maker_cipher(cipher));
    struct ems_buf body = {0}, s2k = make_s2k(s2k_type, pass, kek, size);

    put_octet(&body, 4);
    put_octet(&body, cipher);
    put(&body, s2k.data, s2k.size);
    if (esk_cipher == 0) {
        memcpy(key, kek, size);
    } else {
        gcry_cipher_hd_t h = maker_open(cipher, GCRY_CIPHER_MODE_CFB, kek);

        size = maker_key_size(maker_cipher(esk_cipher));
        wrapped[0] = (uint8_t)esk_cipher;
        memcpy(wrapped + 1, key, size);
        MUST(gcry_cipher_setiv(h, NULL, 0));
        MUST(gcry_cipher_encrypt(h, wrapped, size + 1, NULL, 0));
        gcry_cipher_close(h);
        put(&body, wrapped, size + 1);
    }
    put_packet(out, 3, NEW_FORMAT, &body);
    ems_buf_release(&body);
    ems_buf_release(&s2k);
}

/* SKESK version 5 or 6. */
static inline void put_skesk_aead(struct ems_buf *out, unsigned version, unsigned cipher,
                                  unsigned aead, unsigned s2k_type, const char *pass,
                                  const uint8_t *key)
{
    uint8_t kek[32], ad[4] = {0xc3, (uint8_t)version, (uint8_t)cipher, (uint8_t)aead};
    size_t size = maker_key_size(maker_cipher(cipher));
    struct ems_buf body = {0}, s2k = make_s2k(s2k_type, pass, kek, size);
    unsigned nonce_size = maker_aeads[aead].nonce_size;
    gcry_cipher_hd_t h;

    put_octet(&body, version);
    if (version == 6)
        put_octet(&body, 3 + (unsigned)s2k.size + nonce_size);
    put_octet(&body, cipher);
    put_octet(&body, aead);
    if (version == 6)
        put_octet(&body, (unsigned)s2k.size);
    put(&body, s2k.data, s2k.size);
    if (version == 6)
        maker_hkdf(GCRY_MD_SHA256, kek, size, NULL, 0, ad, 4, kek, size);
    put_noise(&body, nonce_size, 99);
    h = maker_open(cipher, maker_aeads[aead].mode, kek);
    put_sealed(&body, h, aead, body.data + body.size - nonce_size, ad, 4, key, size);
    gcry_cipher_close(h);
    put_packet(out, 3, NEW_FORMAT, &body);
    ems_buf_release(&body);
    ems_buf_release(&s2k);
}

/* ---- containers ---- */

/* Body of packet 18 version 1 (mdc) or of packet 9. */
static inline struct ems_buf make_cfb(unsigned cipher, const uint8_t *key,
                                      const struct ems_buf *inside, bool mdc)
{
    size_t bs = gcry_cipher_get_algo_blklen(maker_cipher(cipher));
    struct ems_buf plain = {0}, out = {0};
    gcry_cipher_hd_t h;
    uint8_t digest[20];

    put_noise(&plain, bs, 5);
    put(&plain, (uint8_t[2]){plain.data[bs - 2], plain.data[bs - 1]}, 2);
    put(&plain, inside->data, inside->size);
    if (mdc) {
        put(&plain, "\xd3\x14", 2);
        gcry_md_hash_buffer(GCRY_MD_SHA1, digest, plain.data, plain.size);
        put(&plain, digest, 20);
        put_octet(&out, 1);
    }
    MUST(gcry_cipher_open(&h, maker_cipher(cipher), GCRY_CIPHER_MODE_CFB,
                          mdc ? 0 : GCRY_CIPHER_ENABLE_SYNC));
    MUST(gcry_cipher_setkey(h, key, maker_key_size(maker_cipher(cipher))));
    MUST(gcry_cipher_setiv(h, NULL, 0));
    MUST(gcry_cipher_encrypt(h, plain.data, bs + 2, NULL, 0));
    if (!mdc)
        MUST(gcry_cipher_sync(h));
    if (plain.size > bs + 2)
        MUST(gcry_cipher_encrypt(h, plain.data + bs + 2, plain.size - bs - 2, NULL, 0));
    gcry_cipher_close(h);
    put(&out, plain.data, plain.size);
    ems_buf_release(&plain);
    return out;
}

/* Body of packet 20 (draft) or of packet 18 version 2. `empty_last`: as rnp once did, an empty
 * chunk before the final tag. */
static inline struct ems_buf make_aead(bool draft, unsigned cipher, unsigned aead, unsigned octet,
                                       const uint8_t *key, const struct ems_buf *inside,
                                       bool empty_last)
{
    size_t chunk = (size_t)1 << (octet + 6), at = 0,
           key_size = maker_key_size(maker_cipher(cipher));
    uint8_t iv[16] = {0}, nonce[16], derived[48], salt[32], ad[21];
    struct ems_buf out = {0}, noise = {0};
    unsigned n = maker_aeads[aead].nonce_size;
    gcry_cipher_hd_t h;
    uint64_t index = 0;
    bool final = false;

    empty_last = empty_last && inside->size > 0 && inside->size % chunk == 0;

    ad[0] = draft ? 0xd4 : 0xd2;
    ad[1] = draft ? 1 : 2;
    ad[2] = (uint8_t)cipher;
    ad[3] = (uint8_t)aead;
    ad[4] = (uint8_t)octet;
    put(&out, ad + 1, 4);
    put_noise(&noise, 32, 11);
    memcpy(salt, noise.data, 32);
    ems_buf_release(&noise);
    if (draft) {
        memcpy(iv, salt, n);
        put(&out, iv, n);
        h = maker_open(cipher, maker_aeads[aead].mode, key);
    } else {
        put(&out, salt, 32);
        maker_hkdf(GCRY_MD_SHA256, key, key_size, salt, 32, ad, 5, derived, key_size + n - 8);
        memcpy(iv, derived + key_size, n - 8);
        h = maker_open(cipher, maker_aeads[aead].mode, derived);
    }
    do {
        size_t size = inside->size - at < chunk ? inside->size - at : chunk, ad_size = 5;

        final = size == 0 && !empty_last;
        if (size == 0)
            empty_last = false;
        memcpy(nonce, iv, 16);
        for (unsigned i = 0; i < 8; i++)
            nonce[n - 8 + i] ^= (uint8_t)(index >> (56 - 8 * i));
        if (draft) {
            ems_put_be64(ad + 5, index);
            ad_size = 13;
        }
        if (final) {
            ems_put_be64(ad + ad_size, inside->size);
            ad_size += 8;
        }
        put_sealed(&out, h, aead, nonce, ad, ad_size, inside->data + at, size);
        at += size;
        index++;
    } while (!final);
    gcry_cipher_close(h);
    return out;
}

/* ---- whole messages ---- */

#define MAKER_PASS "correct horse"

/* The commonest message: SKESK 4 (AES256), SEIPD 1 around `inside` (packets). */
static inline struct ems_buf make_message(const struct ems_buf *inside, enum maker_framing framing)
{
    struct ems_buf out = {0}, body;
    uint8_t key[32];

    put_skesk4(&out, 9, 3, MAKER_PASS, 0, key);
    body = make_cfb(9, key, inside, true);
    put_packet(&out, 18, framing, &body);
    ems_buf_release(&body);
    return out;
}

static inline struct ems_buf make_simple(const void *data, size_t size)
{
    struct ems_buf literal = make_literal(data, size, 'b', "dump.sql.gz", NEW_FORMAT);
    struct ems_buf out = make_message(&literal, NEW_FORMAT);

    ems_buf_release(&literal);
    return out;
}

/* ---- reading ---- */

/* Secrets that know MAKER_PASS. */
static inline struct ems_pgp_secrets *maker_secrets(void)
{
    struct ems_error err = {0};
    struct ems_pgp_secrets *s;

    MUST(ems_pgp_library_init(&err));
    s = ems_pgp_secrets_new(NULL, NULL, &err);
    MUST(s == NULL);
    MUST(ems_pgp_secrets_add_passphrase(s, MAKER_PASS, strlen(MAKER_PASS), &err));
    return s;
}

/* Read a message; the code it ends with. out, facts and err may be NULL. */
static inline int maker_read(const struct ems_buf *message, struct ems_pgp_secrets *secrets,
                             bool allow_no_integrity, struct ems_buf *out,
                             struct ems_pgp_facts *facts, struct ems_error *err)
{
    struct ems_pgp_options options = {
        .secrets = secrets, .allow_no_integrity = allow_no_integrity, .facts = facts};
    struct ems_error own = {0};

    if (err == NULL)
        err = &own;
    return ems_test_slurp(
        ems_pgp_open(ems_test_source_open(message->data, message->size, 0, 0, 0), &options, err),
        out, err);
}

static inline bool same(const struct ems_buf *a, const void *data, size_t size)
{
    return a->size == size && (size == 0 || memcmp(a->data, data, size) == 0);
}

#endif
