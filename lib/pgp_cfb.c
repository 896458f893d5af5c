/*
 * pgp_cfb.c - the containers encrypted in CFB mode: packet 18 version 1 with its MDC (RFC 9580,
 * section 5.13.1) and packet 9 without (section 5.7).
 *
 * Plaintext of both: one block of random octets, its last two again (the "prefix"), packets. The
 * MDC is D3 14 and the SHA-1 of everything before it, prefix, D3 14 included. Where it begins shows
 * only at the end of the body, so the last 22 octets decrypted are always withheld.
 *
 * Ciphertext is decrypted from the span it was lent in, straight into a block of our own, in pieces
 * that are still in the nearest cache when they are hashed.
 */
#include "pgp_cipher.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define MDC_SIZE   22u
#define PREFIX_MAX 18u            /* 16 + 2 */
#define PIECE      (32u * 1024u)  /* decrypted, then hashed */
#define LENT       (128u * 1024u) /* most that is lent at once */
#define HEADROOM   64u            /* before the decrypted bytes: room for what was withheld */

struct cfb {
    struct ems_source base;
    struct ems_reader reader; /* of the body */
    const struct ems_pgp_unlock *unlock;
    bool mdc;
    bool doubtful; /* the key passed the quick check, but no packet followed */
    enum { START, DATA, DONE } state;
    gcry_cipher_hd_t cipher;
    gcry_md_hd_t md; /* NULL without MDC */
    struct ems_pool pool;
    size_t withhold; /* 22 or 0 */
    uint8_t held[MDC_SIZE];
    uint64_t held_origin[MDC_SIZE]; /* of each: they may come from as many spans */
    size_t held_size;
};

/* ---- choosing the key ---- */

/*
 * Does the key decrypt a prefix whose last two octets repeat? Right keys always do, one wrong key
 * in 65536 too, so the octet behind it is looked at as well: 0 no, 1 perhaps, 2 a packet that can
 * stand there follows. Offline there is nobody whom this answer could help (section 13.4).
 */
static int try_key(const struct ems_pgp_cipher *cipher, const struct ems_pgp_session_key *key,
                   bool mdc, const uint8_t *data, int *fits, struct ems_error *err)
{
    uint8_t plain[PREFIX_MAX + 1];
    size_t bs = cipher->block_size;
    gcry_cipher_hd_t handle;
    gcry_error_t grc;
    unsigned tag;
    int rc;

    *fits = 0;
    rc = ems_pgp_cipher_open(&handle, cipher, GCRY_CIPHER_MODE_CFB,
                             mdc ? 0 : GCRY_CIPHER_ENABLE_SYNC, key->key, err);
    if (rc != EMS_OK)
        return rc;
    grc = gcry_cipher_setiv(handle, NULL, 0);
    if (grc == 0)
        grc = gcry_cipher_decrypt(handle, plain, bs + 2, data, bs + 2);
    if (grc == 0 && !mdc)
        grc = gcry_cipher_sync(handle);
    if (grc == 0)
        grc = gcry_cipher_decrypt(handle, plain + bs + 2, 1, data + bs + 2, 1);
    gcry_cipher_close(handle);
    if (grc != 0)
        return ems_fail(err, EMS_INTERNAL, "cfb: %s", gcry_strerror(grc));
    if (plain[bs - 2] == plain[bs] && plain[bs - 1] == plain[bs + 1]) {
        tag = plain[bs + 2] & 0x40 ? plain[bs + 2] & 63 : plain[bs + 2] >> 2 & 15;
        *fits = (plain[bs + 2] & 0x80) && tag != 0 && tag <= 21 ? 2 : 1;
    }
    ems_wipe(plain, sizeof plain);
    return EMS_OK;
}

/* Ask for candidates until one fits; of several that perhaps fit the first. *best is in secure
 * memory. */
static int choose_key(struct cfb *c, const uint8_t *data, size_t have,
                      struct ems_pgp_session_key *best, struct ems_error *err)
{
    struct ems_pgp_session_key *key = gcry_calloc_secure(1, sizeof *key);
    const struct ems_pgp_cipher *cipher;
    bool damaged = false, too_short = false;
    int rc, fits, best_fits = 0;

    if (key == NULL)
        return ems_fail_memory(err);
    while (best_fits < 2 && (rc = c->unlock->next(c->unlock->context, key, err)) == EMS_OK) {
        struct ems_error ignored = {0};

        cipher = ems_pgp_cipher_get(key->cipher, &ignored);
        if (cipher == NULL || key->size != cipher->key_size)
            continue;
        if (have < cipher->block_size + 3u) {
            too_short = true;
            continue;
        }
        rc = try_key(cipher, key, c->mdc, data, &fits, &ignored);
        if (rc == EMS_NO_MEMORY || rc == EMS_INTERNAL) {
            ems_fail(err, rc, "%s", ignored.text);
            break;
        }
        damaged |= key->sure;
        if (fits > best_fits) {
            best_fits = fits;
            *best = *key;
        }
        rc = EMS_OK;
    }
    gcry_free(key);
    c->doubtful = best_fits == 1;
    if (best_fits > 0 && (rc == EMS_OK || rc == EMS_END))
        return EMS_OK;
    if (rc == EMS_END && too_short)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the encrypted data is only %zu bytes long", have);
    if (rc == EMS_END)
        return c->unlock->refuse(c->unlock->context, damaged, err);
    return rc;
}

/* Open the cipher with the chosen key and pass the prefix. */
static int set_up(struct cfb *c, const struct ems_pgp_session_key *key, const uint8_t *data,
                  struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_get(key->cipher, err);
    uint8_t prefix[PREFIX_MAX];
    gcry_error_t grc;
    size_t size;
    int rc;

    if (cipher == NULL)
        return err->code;
    size = cipher->block_size + 2u;
    rc = ems_pgp_cipher_open(&c->cipher, cipher, GCRY_CIPHER_MODE_CFB,
                             c->mdc ? 0 : GCRY_CIPHER_ENABLE_SYNC, key->key, err);
    if (rc != EMS_OK)
        return rc;
    grc = gcry_cipher_setiv(c->cipher, NULL, 0);
    if (grc == 0)
        grc = gcry_cipher_decrypt(c->cipher, prefix, size, data, size);
    if (grc == 0 && c->mdc)
        grc = gcry_md_open(&c->md, GCRY_MD_SHA1, 0);
    else if (grc == 0)
        grc = gcry_cipher_sync(c->cipher);
    if (grc != 0)
        return ems_fail(err, gcry_err_code(grc) == GPG_ERR_ENOMEM ? EMS_NO_MEMORY : EMS_INTERNAL,
                        "cfb: %s", gcry_strerror(grc));
    if (c->mdc)
        gcry_md_write(c->md, prefix, size);
    ems_reader_skip(&c->reader, size);
    ems_pgp_unlock_done(c->unlock, cipher, key);
    return EMS_OK;
}

static int start(struct cfb *c, struct ems_error *err)
{
    struct ems_pgp_session_key *key;
    const uint8_t *data;
    size_t have;
    int rc;

    if (c->mdc) { /* the version octet, which our caller has looked at */
        rc = ems_reader_peek(&c->reader, 1, &data, &have, err);
        if (rc != EMS_OK)
            return rc;
        ems_reader_skip(&c->reader, have);
    }
    rc = ems_reader_peek(&c->reader, PREFIX_MAX + 1, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    key = gcry_calloc_secure(1, sizeof *key);
    if (key == NULL)
        return ems_fail_memory(err);
    rc = choose_key(c, data, have, key, err);
    if (rc == EMS_OK)
        rc = set_up(c, key, data, err);
    gcry_free(key);
    return rc;
}

/* ---- data ---- */

/* Remember the origins of the last bytes of `in`, as many as are withheld. */
static void hold_origins(struct cfb *c, const struct ems_span *in)
{
    size_t n = in->size < MDC_SIZE ? in->size : MDC_SIZE;

    memmove(c->held_origin, c->held_origin + n, (MDC_SIZE - n) * sizeof c->held_origin[0]);
    for (size_t i = 0; i < n; i++)
        c->held_origin[MDC_SIZE - n + i] =
            in->origin == EMS_NOWHERE ? EMS_NOWHERE : in->origin + in->size - n + i;
}

/* Decrypt `in` to `out`, and hash behind it everything that is certainly not the MDC. `pending` are
 * the bytes before out that are not hashed yet. */
static int decrypt(struct cfb *c, const struct ems_span *in, uint8_t *out, size_t pending,
                   struct ems_error *err)
{
    size_t done = 0;

    while (done < in->size) {
        size_t n = in->size - done < PIECE ? in->size - done : PIECE;
        gcry_error_t grc = gcry_cipher_decrypt(c->cipher, out + done, n, in->data + done, n);

        if (grc != 0)
            return ems_fail(err, EMS_INTERNAL, "cfb: %s", gcry_strerror(grc));
        done += n;
        pending += n;
        if (c->md != NULL && pending > MDC_SIZE) {
            gcry_md_write(c->md, out + done - pending, pending - MDC_SIZE);
            pending = MDC_SIZE;
        }
    }
    return EMS_OK;
}

/* The body has ended: what is withheld must be the MDC (section 5.13.1). */
static int check_mdc(struct cfb *c, const uint8_t *mdc, size_t size, struct ems_error *err)
{
    if (c->md == NULL)
        return EMS_OK;
    if (size < MDC_SIZE)
        return ems_fail(err, EMS_PGP_TRUNCATED,
                        "the encrypted data ends before its integrity check");
    gcry_md_write(c->md, mdc, 2);
    if (mdc[0] != 0xd3 || mdc[1] != 0x14 ||
        !ems_equal_ct(gcry_md_read(c->md, GCRY_MD_SHA1), mdc + 2, 20))
        return ems_fail(err, EMS_PGP_MODIFIED,
                        "the integrity check (MDC) failed: the data was altered or damaged%s",
                        c->doubtful ? ", or the passphrase is wrong" : "");
    return EMS_OK;
}

static int cfb_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct cfb *c = (struct cfb *)src;
    struct ems_block *block;
    struct ems_span in;
    uint64_t origin;
    uint8_t *begin, *end;
    int rc = EMS_OK;

    if (c->state == START) {
        rc = start(c, err);
        if (rc != EMS_OK)
            return rc;
        c->state = DATA;
    }
    if (c->state == DONE)
        return EMS_END;

    block = ems_pool_get(&c->pool);
    if (block == NULL)
        return ems_fail_memory(err);
    end = block->data + HEADROOM;
    begin = end - c->held_size;
    memcpy(begin, c->held, c->held_size);
    origin = c->held_size > 0 ? c->held_origin[MDC_SIZE - c->held_size] : EMS_NOWHERE;
    while (end < block->data + HEADROOM + LENT) {
        size_t pending = (size_t)(end - begin);

        rc = ems_reader_lend(&c->reader, (size_t)(block->data + HEADROOM + LENT - end), &in, err);
        if (rc != EMS_OK)
            break;
        if (pending == 0)
            origin = in.origin;
        rc = decrypt(c, &in, end, pending < c->withhold ? pending : c->withhold, err);
        if (rc != EMS_OK)
            break;
        hold_origins(c, &in);
        end += in.size;
    }
    src->origin = ems_reader_origin(&c->reader);
    if (rc != EMS_OK && rc != EMS_END)
        return rc;
    c->held_size = (size_t)(end - begin) < c->withhold ? (size_t)(end - begin) : c->withhold;
    end -= c->held_size;
    memcpy(c->held, end, c->held_size);
    if (rc == EMS_END) {
        rc = check_mdc(c, c->held, c->held_size, err);
        if (rc != EMS_OK)
            return rc;
        c->state = DONE;
        if (begin == end)
            return EMS_END;
    }
    *span = (struct ems_span){
        .data = begin, .size = (size_t)(end - begin), .origin = origin, .block = block};
    return EMS_OK;
}

static void cfb_free(struct ems_source *src)
{
    struct cfb *c = (struct cfb *)src;

    gcry_cipher_close(c->cipher);
    gcry_md_close(c->md);
    ems_pool_release(&c->pool);
    ems_wipe(c->held, sizeof c->held);
}

static const struct ems_source_ops cfb_ops = {"openpgp", cfb_next, cfb_free};

struct ems_source *ems_pgp_cfb_open(struct ems_source *body, const struct ems_pgp_unlock *unlock,
                                    bool mdc, struct ems_error *err)
{
    struct cfb *c;

    if (body == NULL)
        return NULL;
    c = ems_source_alloc(sizeof *c, &cfb_ops, body, err);
    if (c == NULL)
        return NULL;
    c->reader.below = body;
    c->unlock = unlock;
    c->mdc = mdc;
    c->withhold = mdc ? MDC_SIZE : 0;
    ems_pool_init(&c->pool, HEADROOM + LENT);
    return &c->base;
}
