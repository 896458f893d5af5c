/*
 * pgp_cfb.c - the ciphertext of the containers in CFB mode: packet 18 version 1 (RFC 9580, section
 * 5.13.1; its MDC is checked in pgp_mdc.c) and packet 9 (section 5.7).
 *
 * Plaintext of both: one block of random octets, its last two again (the "prefix"), packets. The
 * difference is in the middle: packet 9 starts the mode anew behind the prefix.
 *
 * Ciphertext is decrypted from the span it was lent in, straight into a block of our own.
 */
#include "pgp_cipher.h"

#include "bookmark.h"
#include "bytes.h"
#include "pgp_packet.h"

#include <stdlib.h>
#include <string.h>

struct cfb {
    struct ems_source base;
    struct ems_reader reader; /* of the body */
    const struct ems_pgp_unlock *unlock;
    bool mdc; /* packet 18: a version octet before, no new start behind the prefix */
    bool started;
    struct ems_pgp_prefix prefix;
    gcry_cipher_hd_t cipher;
    struct ems_pool pool;
    /* The last octets of ciphertext, for bookmarks. Behind the prefix, which is a block and two
     * octets, all pieces that are lent begin two octets behind the border of a block. */
    uint8_t recent[EMS_CFB_RECENT];
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
    uint8_t plain[EMS_PGP_PREFIX_MAX + 1];
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
    c->prefix.doubtful = best_fits == 1;
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
    gcry_error_t grc;
    int rc;

    if (cipher == NULL)
        return err->code;
    c->prefix.size = cipher->block_size + 2u;
    rc = ems_pgp_cipher_open(&c->cipher, cipher, GCRY_CIPHER_MODE_CFB,
                             c->mdc ? 0 : GCRY_CIPHER_ENABLE_SYNC, key->key, err);
    if (rc != EMS_OK)
        return rc;
    grc = gcry_cipher_setiv(c->cipher, NULL, 0);
    if (grc == 0)
        grc = gcry_cipher_decrypt(c->cipher, c->prefix.data, c->prefix.size, data, c->prefix.size);
    if (grc == 0 && !c->mdc)
        grc = gcry_cipher_sync(c->cipher);
    if (grc != 0)
        return ems_fail(err, EMS_INTERNAL, "cfb: %s", gcry_strerror(grc));
    memcpy(c->recent + EMS_CFB_RECENT - c->prefix.size, data, c->prefix.size);
    ems_reader_skip(&c->reader, c->prefix.size);
    ems_pgp_unlock_done(c->unlock, cipher, key);
    if (c->mdc && c->unlock->bookmarks != NULL)
        ems_bookmarks_key(c->unlock->bookmarks, key);
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
    rc = ems_reader_peek(&c->reader, EMS_PGP_PREFIX_MAX + 1, &data, &have, err);
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

/* The place in front of the next piece. */
static void leave_bookmark(struct cfb *c)
{
    struct ems_cfb_place place = {.packets = c->base.offset,
                                  .origin = ems_reader_origin(&c->reader)};

    if (!c->mdc || c->reader.held_used < c->reader.held_size || place.origin == EMS_NOWHERE)
        return;
    ems_pgp_body_place(c->base.below, c->reader.span.size, &place.body);
    if (place.body.kind == EMS_PGP_INDETERMINATE)
        return;
    memcpy(place.recent, c->recent, sizeof place.recent);
    ems_bookmarks_cfb(c->unlock->bookmarks, &place);
}

static void remember(struct cfb *c, const uint8_t *data, size_t size)
{
    size_t n = size < EMS_CFB_RECENT ? size : EMS_CFB_RECENT;

    memmove(c->recent, c->recent + n, EMS_CFB_RECENT - n);
    memcpy(c->recent + EMS_CFB_RECENT - n, data + size - n, n);
}

/*
 * CFB decryption of a block needs only the block before it as ciphertext, which the handle keeps:
 * pieces of any size can be given to it, and libgcrypt does many blocks side by side. Full spans
 * but for the last are what pgp_mdc.c relies on.
 */
static int cfb_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct cfb *c = (struct cfb *)src;
    struct ems_block *block;
    uint64_t origin = EMS_NOWHERE;
    size_t size = 0;
    int rc = EMS_OK;

    if (!c->started) {
        rc = start(c, err);
        if (rc != EMS_OK)
            return rc;
        c->started = true;
    }
    block = ems_pool_get(&c->pool);
    if (block == NULL)
        return ems_fail_memory(err);
    if (c->unlock != NULL && c->unlock->bookmarks != NULL)
        leave_bookmark(c);
    while (size < block->capacity) {
        struct ems_span in;
        gcry_error_t grc;

        rc = ems_reader_lend(&c->reader, block->capacity - size, &in, err);
        if (rc != EMS_OK)
            break;
        if (size == 0)
            origin = in.origin;
        grc = gcry_cipher_decrypt(c->cipher, block->data + size, in.size, in.data, in.size);
        if (grc != 0)
            return ems_fail(err, EMS_INTERNAL, "cfb: %s", gcry_strerror(grc));
        remember(c, in.data, in.size);
        size += in.size;
    }
    src->origin = ems_reader_origin(&c->reader);
    if (rc != EMS_OK && rc != EMS_END)
        return rc;
    if (size == 0)
        return EMS_END;
    *span = (struct ems_span){.data = block->data, .size = size, .origin = origin, .block = block};
    return EMS_OK;
}

static void cfb_free(struct ems_source *src)
{
    struct cfb *c = (struct cfb *)src;

    gcry_cipher_close(c->cipher);
    ems_pool_release(&c->pool);
}

static const struct ems_source_ops cfb_ops = {"openpgp", cfb_next, cfb_free};

const struct ems_pgp_prefix *ems_pgp_cfb_prefix(const struct ems_source *src)
{
    return &((const struct cfb *)src)->prefix;
}

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
    ems_pool_init(&c->pool, EMS_PGP_CFB_SPAN);
    return &c->base;
}

struct ems_source *ems_pgp_cfb_resume(struct ems_source *body,
                                      const struct ems_pgp_session_key *key,
                                      const struct ems_cfb_place *place, struct ems_error *err)
{
    const struct ems_pgp_cipher *cipher = ems_pgp_cipher_get(key->cipher, err);
    struct ems_source *src = ems_pgp_cfb_open(body, NULL, true, err);
    struct cfb *c = (struct cfb *)src;
    uint8_t passed[2];
    const uint8_t *recent;
    gcry_error_t grc;

    if (src == NULL || cipher == NULL)
        goto fail;
    /* The block before the border, and the two octets behind it once more. */
    recent = place->recent + EMS_CFB_RECENT - cipher->block_size - 2;
    if (ems_pgp_cipher_open(&c->cipher, cipher, GCRY_CIPHER_MODE_CFB, 0, key->key, err) != EMS_OK)
        goto fail;
    grc = gcry_cipher_setiv(c->cipher, recent, cipher->block_size);
    if (grc == 0)
        grc = gcry_cipher_decrypt(c->cipher, passed, 2, recent + cipher->block_size, 2);
    if (grc != 0) {
        ems_fail(err, EMS_INTERNAL, "cfb: %s", gcry_strerror(grc));
        goto fail;
    }
    c->started = true;
    return src;
fail:
    ems_source_free(src);
    return NULL;
}
