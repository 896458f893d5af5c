/*
 * pgp_aead.c - the containers encrypted in chunks, each with a tag of its own: packet 18 version 2
 * (RFC 9580, section 5.13.2) and packet 20 (draft-ietf-openpgp-rfc4880bis-10, section 5.16; GnuPG
 * and rnp).
 *
 * Both are a header, chunks of 2^(octet+6) octets with 16 octets of tag behind each, the last one
 * perhaps shorter, and one more tag over nothing that proves how much there was. Where the last
 * chunk ends shows only at the end of the body: 16 octets are always withheld. Nothing of a chunk
 * is lent before its tag has been checked.
 *
 * Small chunks are gathered to batches; in the buffer they are decrypted in place and moved
 * together over their tags.
 */
#include "pgp_aead.h"

#include "pgp_packet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TAG                   EMS_PGP_AEAD_TAG
#define LENT                  EMS_AEAD_LENT
#define CHUNK_OCTET_MAX_DRAFT 21u /* 128 MiB: default of GnuPG 2.3.0 to 2.3.2 */
#define CHUNK_OCTET_MAX       16u /* 4 MiB, by RFC 9580 */

/* ---- one chunk ---- */

/* Chunks may be as small as 64 octets; lent one by one they would cost a call through all stages
 * each. */
static size_t batch_chunks(const struct ems_aead *a)
{
    return a->chunk + TAG < LENT ? LENT / (a->chunk + TAG) : 1;
}

/* Packet 20: the counter is XORed into the end of the nonce. Version 2: it is the end of the nonce.
 * Either way no two chunks have the same, and none can be swapped with another. */
static size_t make_nonce(const struct ems_aead *a, uint64_t index, uint8_t nonce[16])
{
    uint8_t counter[8];
    size_t n = a->mode->nonce_size;

    ems_put_be64(counter, index);
    memcpy(nonce, a->iv, 16);
    for (size_t i = 0; i < 8; i++) {
        if (a->draft)
            nonce[n - 8 + i] ^= counter[i];
        else
            nonce[n - 8 + i] = counter[i];
    }
    return n;
}

/* Associated data: the header; in packet 20 the index; behind the last chunk the total. */
static size_t make_ad(const struct ems_aead *a, uint64_t index, bool final, uint8_t ad[21])
{
    size_t n = sizeof a->header;

    memcpy(ad, a->header, n);
    if (a->draft) {
        ems_put_be64(ad + n, index);
        n += 8;
    }
    if (final) {
        ems_put_be64(ad + n, a->total);
        n += 8;
    }
    return n;
}

void ems_aead_place(const struct ems_aead *a, uint64_t index, bool final,
                    struct ems_aead_place *place, struct ems_pgp_aead_text *text)
{
    *text = (struct ems_pgp_aead_text){.nonce = place->nonce, .ad = place->ad};
    text->nonce_size = make_nonce(a, index, place->nonce);
    text->ad_size = make_ad(a, index, final, place->ad);
}

/* Decrypt chunk `index` in place and check the tag behind it: EMS_OK, EMS_PGP_MODIFIED (without a
 * text), EMS_INTERNAL. */
static int open_chunk(struct ems_aead *a, uint64_t index, bool final, uint8_t *data, size_t size,
                      struct ems_error *err)
{
    struct ems_aead_place place;
    struct ems_pgp_aead_text text;

    ems_aead_place(a, index, final, &place, &text);
    text.data = data;
    text.size = size;
    text.tag = data + size;
    return ems_pgp_aead_decrypt(a->handle, a->mode, &text, err);
}

/* The final tag authenticates no text but the total: without it a message cut behind a whole chunk
 * would look complete. */
int ems_aead_check_final(struct ems_aead *a, uint8_t *tag, struct ems_error *err)
{
    int rc = open_chunk(a, a->index, true, tag, 0, err);

    if (rc == EMS_PGP_MODIFIED)
        return ems_fail(err, rc, "the final tag does not fit: the data was altered or damaged");
    return rc;
}

int ems_aead_fail_cut(struct ems_error *err)
{
    return ems_fail(err, EMS_PGP_TRUNCATED, "the encrypted data ends inside a tag");
}

int ems_aead_fail_chunk(const struct ems_aead *a, struct ems_error *err)
{
    return ems_fail(err, EMS_PGP_MODIFIED,
                    "chunk %" PRIu64 " does not fit its tag: altered or damaged", a->index + 1);
}

/* ---- input ---- */

/* Fill the buffer to a whole batch and 16 octets, or to the end of the body. */
static int fill(struct ems_aead *a, struct ems_error *err)
{
    size_t mark = batch_chunks(a) * (a->chunk + TAG), target = mark + TAG;
    struct ems_span in;
    int rc;

    while (a->buffer.size < target && !a->ended) {
        rc = ems_reader_lend(&a->reader, target - a->buffer.size, &in, err);
        a->base.origin = ems_reader_origin(&a->reader);
        if (rc == EMS_END) {
            a->ended = true;
            break;
        }
        if (rc != EMS_OK)
            return rc;
        if (a->buffer.size == 0)
            a->buffer_origin = in.origin;
        if (a->buffer.size <= mark && a->buffer.size + in.size > mark)
            a->carry_origin =
                in.origin == EMS_NOWHERE ? EMS_NOWHERE : in.origin + (mark - a->buffer.size);
        rc = ems_buf_append(&a->buffer, in.data, in.size, err);
        if (rc != EMS_OK)
            return rc;
    }
    return EMS_OK;
}

/* Octets of the buffer that are chunks and their tags; the 16 behind them are the final tag, or the
 * beginning of the next chunk. */
static int chunked_size(const struct ems_aead *a, size_t *size, struct ems_error *err)
{
    size_t rest;

    *size = 0;
    if (a->buffer.size >= TAG) {
        *size = a->buffer.size - TAG;
        rest = *size % (a->chunk + TAG);
        if (rest == 0 || rest >= TAG)
            return EMS_OK;
    }
    return ems_aead_fail_cut(err);
}

/* ---- choosing the key ---- */

/* Set up the cipher with a candidate; version 2 derives key and IV from it and the salt. */
static int set_key(struct ems_aead *a, const struct ems_pgp_session_key *key, struct ems_error *err)
{
    size_t iv_size = a->mode->nonce_size - 8u;
    uint8_t *derived;
    int rc;

    gcry_cipher_close(a->handle);
    a->handle = NULL;
    if (a->draft)
        return ems_pgp_cipher_open(&a->handle, a->cipher, a->mode->mode, 0, key->key, err);
    derived = gcry_calloc_secure(1, EMS_PGP_KEY_MAX + 16);
    if (derived == NULL)
        return ems_fail_memory(err);
    rc = ems_pgp_hkdf(GCRY_MD_SHA256, key->key, key->size, a->salt, sizeof a->salt, a->header,
                      sizeof a->header, derived, a->cipher->key_size + iv_size, err);
    if (rc == EMS_OK)
        rc = ems_pgp_cipher_open(&a->handle, a->cipher, a->mode->mode, 0, derived, err);
    if (rc == EMS_OK)
        memcpy(a->iv, derived + a->cipher->key_size, iv_size);
    gcry_free(derived);
    return rc;
}

/*
 * Does the key fit the first chunk (or the final tag, if there is none)? If not, the chunk is
 * encrypted again, which gives back what was there.
 */
static int try_key(struct ems_aead *a, bool *fits, struct ems_error *err)
{
    struct ems_aead_place place;
    struct ems_pgp_aead_text text;
    uint8_t tag[TAG];
    size_t size, n;
    int rc;

    if (a->chunk > EMS_AEAD_HELD) {
        rc = ems_aead_large_try(a, err);
        *fits = rc == EMS_OK;
        return rc == EMS_PGP_MODIFIED ? EMS_OK : rc;
    }
    rc = chunked_size(a, &size, err);
    if (rc != EMS_OK)
        return rc;
    n = size >= a->chunk + TAG ? a->chunk : size >= TAG ? size - TAG : 0;
    rc = open_chunk(a, 0, size == 0, a->buffer.data, n, err);
    *fits = rc == EMS_OK;
    if (rc == EMS_OK || rc == EMS_PGP_MODIFIED) {
        ems_aead_place(a, 0, size == 0, &place, &text);
        text.data = a->buffer.data;
        text.size = n;
        text.tag = tag;
        rc = ems_pgp_aead_encrypt(a->handle, a->mode, &text, err);
    }
    return rc;
}

/* What trying a key on the first chunk costs, in microseconds: so many octets of it are decrypted
 * and encrypted again in one. libgcrypt has AES and most of Camellia in vector code; Twofish and
 * whatever is chained block by block (EAX) are slow. */
static uint64_t try_cost(const struct ems_aead *a)
{
    uint64_t octets = a->chunk > EMS_AEAD_HELD ? a->file_size : a->buffer.size;
    bool eax = a->mode->mode == GCRY_CIPHER_MODE_EAX;

    switch (a->cipher->algorithm) {
    case GCRY_CIPHER_AES128:
    case GCRY_CIPHER_AES192:
    case GCRY_CIPHER_AES256:
        return octets / (eax ? 300 : 1000);
    case GCRY_CIPHER_CAMELLIA128:
    case GCRY_CIPHER_CAMELLIA192:
    case GCRY_CIPHER_CAMELLIA256:
        return octets / (eax ? 40 : 250);
    default:
        return octets / 40;
    }
}

/* The first chunk decides. Trying spoils nothing, see try_key; how much is tried is limited, since
 * a message may bring 64 session keys and chunks of 128 MiB: but for the first, each is paid from
 * the same purse as what it took to get the keys. */
int ems_aead_choose_key(struct ems_aead *a, struct ems_error *err)
{
    struct ems_pgp_session_key *key = gcry_calloc_secure(1, sizeof *key);
    bool fits = false, damaged = false, first = true;
    uint64_t *spent = a->unlock->spent;
    int rc = EMS_OK;

    if (key == NULL)
        return ems_fail_memory(err);
    while (!fits && (rc = a->unlock->next(a->unlock->context, key, err)) == EMS_OK) {
        struct ems_error why = {0};

        if (key->size != a->cipher->key_size)
            continue;
        if (!first && *spent + try_cost(a) > EMS_PGP_COST_MAX) {
            rc = ems_fail(err, EMS_PGP_LIMIT, "too many session keys to try on so large chunks");
            break;
        }
        *spent += try_cost(a);
        first = false;
        rc = set_key(a, key, &why);
        if (rc == EMS_PGP_MODIFIED) /* a weak key: not this one */
            continue;
        if (rc == EMS_OK)
            rc = try_key(a, &fits, &why);
        if (rc != EMS_OK) {
            ems_fail(err, rc, "%s", why.text);
            break;
        }
        damaged |= key->sure;
    }
    if (fits)
        ems_pgp_unlock_done(a->unlock, a->cipher, key);
    else if (rc == EMS_END)
        rc = a->unlock->refuse(a->unlock->context, damaged, err);
    gcry_free(key);
    return rc;
}

/* ---- the header ---- */

/*
 *     packet 20:    1, cipher, mode, chunk octet, nonce of 15 (OCB) or 16 (EAX) octets
 *     version 2:    2, cipher, mode, chunk octet, salt of 32 octets
 *
 * The cipher is this one, not the one that an old session-key packet may name. RFC 9580 has chunks
 * of at most 4 MiB; GnuPG 2.3.0 to 2.3.2 made packet 20 with 128 MiB.
 */
static int read_header(struct ems_aead *a, struct ems_error *err)
{
    unsigned octet_max = a->draft ? CHUNK_OCTET_MAX_DRAFT : CHUNK_OCTET_MAX;
    const uint8_t *data;
    size_t have, iv_size;
    int rc = ems_reader_peek(&a->reader, 4 + sizeof a->salt, &data, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have < 4)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the encrypted data ends inside its header");
    memcpy(a->header + 1, data, 4);
    a->header[0] = 0xc0 | (uint8_t)(a->draft ? EMS_PGP_TAG_AEAD : EMS_PGP_TAG_SEIPD);
    a->cipher = ems_pgp_cipher_get(a->header[2], err);
    if (a->cipher == NULL)
        return err->code;
    a->mode = ems_pgp_aead_find(a->header[3]);
    if (a->mode == NULL)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "AEAD algorithm %u", a->header[3]);
    if (a->cipher->block_size != 16)
        return ems_fail(err, EMS_PGP_MALFORMED, "%s in a mode that needs blocks of 16 bytes",
                        a->cipher->name);
    if (a->header[4] > octet_max)
        return ems_fail(err, EMS_PGP_LIMIT, "chunks of 2^%u bytes (limit 2^%u)", a->header[4] + 6u,
                        octet_max + 6u);
    a->chunk = (size_t)1 << (a->header[4] + 6);
    iv_size = a->draft ? a->mode->nonce_size : sizeof a->salt;
    if (have < 4 + iv_size)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the encrypted data ends inside its header");
    memcpy(a->draft ? a->iv : a->salt, data + 4, iv_size);
    ems_reader_skip(&a->reader, 4 + iv_size);
    a->unlock->facts->integrity = a->mode->name;
    return EMS_OK;
}

/* ---- the stage ---- */

/* Check and decrypt everything in the buffer; what comes out stands at ready. */
static int open_batch(struct ems_aead *a, struct ems_error *err)
{
    size_t size, done = 0, out = 0;
    int rc = chunked_size(a, &size, err);

    while (rc == EMS_OK && done < size) {
        size_t n = size - done >= a->chunk + TAG ? a->chunk : size - done - TAG;

        rc = open_chunk(a, a->index, false, a->buffer.data + done, n, err);
        if (rc == EMS_PGP_MODIFIED)
            return ems_aead_fail_chunk(a, err);
        if (out != done)
            memmove(a->buffer.data + out, a->buffer.data + done, n);
        done += n + TAG;
        out += n;
        a->total += n;
        a->index++;
    }
    if (rc == EMS_OK && a->ended)
        rc = ems_aead_check_final(a, a->buffer.data + size, err);
    a->ready = a->buffer.data;
    a->ready_size = out;
    return rc;
}

/* What was lent is not needed any more: 16 octets move to the front. */
static void carry(struct ems_aead *a)
{
    if (a->buffer.size >= TAG) {
        memmove(a->buffer.data, a->buffer.data + a->buffer.size - TAG, TAG);
        a->buffer.size = TAG;
        a->buffer_origin = a->carry_origin;
    }
}

/* Large batches are lent in pieces: they are proven already, and what is above need not hold them.
 */
static int aead_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct ems_aead *a = (struct ems_aead *)src;
    int rc = EMS_OK;

    if (a->state == EMS_AEAD_START)
        rc = read_header(a, err);
    if (rc == EMS_OK && a->chunk > EMS_AEAD_HELD)
        return ems_aead_large_next(a, span, err);
    while (rc == EMS_OK && a->ready_size == 0) {
        if (a->state == EMS_AEAD_DONE)
            return EMS_END;
        if (a->state == EMS_AEAD_DATA)
            carry(a);
        rc = fill(a, err);
        if (rc == EMS_OK && a->state == EMS_AEAD_START)
            rc = ems_aead_choose_key(a, err);
        if (rc == EMS_OK)
            rc = open_batch(a, err);
        a->state = a->ended ? EMS_AEAD_DONE : EMS_AEAD_DATA;
    }
    if (rc != EMS_OK)
        return rc;
    *span =
        (struct ems_span){.data = a->ready, .size = a->ready_size < LENT ? a->ready_size : LENT};
    span->origin = a->buffer_origin;
    if (span->origin != EMS_NOWHERE)
        span->origin += (uint64_t)(a->ready - a->buffer.data);
    a->ready += span->size;
    a->ready_size -= span->size;
    return EMS_OK;
}

static void aead_free(struct ems_source *src)
{
    struct ems_aead *a = (struct ems_aead *)src;

    gcry_cipher_close(a->handle);
    ems_buf_release(&a->buffer);
    ems_aead_large_release(a);
}

static const struct ems_source_ops aead_ops = {"openpgp", aead_next, aead_free};

struct ems_source *ems_pgp_aead_open(struct ems_source *body, const struct ems_pgp_unlock *unlock,
                                     bool draft, struct ems_error *err)
{
    struct ems_aead *a;

    if (body == NULL)
        return NULL;
    a = ems_source_alloc(sizeof *a, &aead_ops, body, err);
    if (a == NULL)
        return NULL;
    a->reader.below = body;
    a->unlock = unlock;
    a->draft = draft;
    a->file = -1;
    return &a->base;
}
