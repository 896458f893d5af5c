/*
 * proof.c - see proof.h
 *
 * A segment is taken for an OCB ciphertext: what it decrypts to is thrown away, and the tag that
 * would have to come with it is kept. That no other ciphertext can be made to fit the same nonce
 * and tag is what OCB promises. (Its associated data would be the more obvious place for the
 * segment, but libgcrypt's bulk decryption is twice as fast as that.)
 */
#include "proof.h"

#include "bytes.h"

#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TAG          16u
#define BLOCK        16u
#define SCRATCH      (16u * 1024u)       /* stays in the processor's first cache */
#define SEGMENTS_MAX ((uint64_t)1 << 19) /* 8 MiB of tags */

struct ems_proof {
    gcry_cipher_hd_t ocb;
    size_t segment;      /* octets of a full one, a power of two */
    struct ems_buf tags; /* TAG octets for each segment */
    uint64_t total;      /* octets recorded */
    enum { EMPTY, RECORDED, SEALED } state;
};

struct ems_proof *ems_proof_new(uint64_t size, struct ems_error *err)
{
    struct ems_proof *p = calloc(1, sizeof *p);
    bool ready = false;
    uint8_t key[16];

    if (p == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    /* The bottom source's reads are segments of their own while the file is not too large. */
    p->segment = EMS_READ_SIZE;
    while (size / p->segment >= SEGMENTS_MAX)
        p->segment *= 2;
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        ems_fail(err, EMS_IO_ERROR, "the system gives no random numbers");
    else if (gcry_cipher_open(&p->ocb, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_OCB,
                              GCRY_CIPHER_SECURE) != 0 ||
             gcry_cipher_setkey(p->ocb, key, sizeof key) != 0)
        ems_fail_memory(err);
    else
        ready = true;
    ems_wipe(key, sizeof key);
    if (ready)
        return p;
    ems_proof_free(p);
    return NULL;
}

void ems_proof_free(struct ems_proof *p)
{
    if (p == NULL)
        return;
    gcry_cipher_close(p->ocb);
    ems_buf_release(&p->tags);
    free(p);
}

bool ems_proof_is_sealed(const struct ems_proof *p)
{
    return p != NULL && p->state == SEALED;
}

/* Only a recording that has seen the end of the data can be sealed: the caller says that everything
 * above has ended well, this says that it has seen all of it. */
int ems_proof_seal(struct ems_proof *p, struct ems_error *err)
{
    if (p->state != RECORDED)
        return ems_fail(err, EMS_INTERNAL, "proof: sealed before its end");
    p->state = SEALED;
    return EMS_OK;
}

/* ---- both stages ---- */

struct stage {
    struct ems_source base;
    struct ems_proof *proof;
    uint64_t index;     /* of the current segment */
    size_t done;        /* octets of it seen so far */
    struct ems_span in; /* comparing: rest of what was lent to us */
    uint8_t *held;      /* comparing: a segment that comes in pieces, until it is whole */
    size_t held_size;
    bool ended;
    uint8_t rest[BLOCK]; /* of the segment, not a whole block yet */
    size_t rest_size;
    uint8_t scratch[SCRATCH];
};

/* A segment begins: its number is the nonce, so that none is ever used for two segments. */
static int begin(struct stage *s, struct ems_error *err)
{
    uint8_t nonce[12] = {0};

    ems_put_be64(nonce + 4, s->index);
    if (gcry_cipher_setiv(s->proof->ocb, nonce, sizeof nonce) != 0)
        return ems_fail(err, EMS_INTERNAL, "proof: ocb takes no nonce");
    return EMS_OK;
}

/* What comes out is of no use to anybody; a small buffer that stays in the cache makes this twice
 * as fast as one of the segment's size. */
static int decrypt(struct stage *s, const uint8_t *data, size_t size, struct ems_error *err)
{
    while (size > 0) {
        size_t n = size < sizeof s->scratch ? size : sizeof s->scratch;

        if (gcry_cipher_decrypt(s->proof->ocb, s->scratch, n, data, n) != 0)
            return ems_fail(err, EMS_INTERNAL, "proof: ocb takes no data");
        data += n;
        size -= n;
    }
    return EMS_OK;
}

/* Whole blocks go through, the rest waits: only the last piece of a text may be none. */
static int add(struct stage *s, const uint8_t *data, size_t size, struct ems_error *err)
{
    size_t n = 0;
    int rc = EMS_OK;

    s->done += size;
    if (s->rest_size > 0) {
        n = BLOCK - s->rest_size < size ? BLOCK - s->rest_size : size;
        memcpy(s->rest + s->rest_size, data, n);
        s->rest_size += n;
        data += n;
        size -= n;
        if (s->rest_size < BLOCK)
            return EMS_OK;
        rc = decrypt(s, s->rest, BLOCK, err);
        s->rest_size = 0;
    }
    if (rc == EMS_OK)
        rc = decrypt(s, data, size - size % BLOCK, err);
    s->rest_size = size % BLOCK;
    memcpy(s->rest, data + size - s->rest_size, s->rest_size);
    return rc;
}

/* The segment has ended: the tag that fits it. OCB wants to be told so before the last piece, and
 * to see that even if it is empty. */
static int end(struct stage *s, uint8_t tag[TAG], struct ems_error *err)
{
    gcry_cipher_hd_t ocb = s->proof->ocb;

    if (gcry_cipher_final(ocb) != 0 ||
        gcry_cipher_decrypt(ocb, s->scratch, s->rest_size, s->rest, s->rest_size) != 0 ||
        gcry_cipher_gettag(ocb, tag, TAG) != 0)
        return ems_fail(err, EMS_INTERNAL, "proof: ocb gives no tag");
    s->index++;
    s->done = s->rest_size = 0;
    return EMS_OK;
}

/* ---- recording ---- */

static int record_tag(struct stage *s, struct ems_error *err)
{
    uint8_t tag[TAG];
    int rc = end(s, tag, err);

    return rc == EMS_OK ? ems_buf_append(&s->proof->tags, tag, TAG, err) : rc;
}

static int record_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct stage *s = (struct stage *)src;
    struct ems_proof *p = s->proof;
    int rc = ems_source_next(src->below, span, err);

    src->origin = src->below->origin;
    if (rc == EMS_END) {
        rc = s->done > 0 ? record_tag(s, err) : EMS_OK;
        p->state = RECORDED;
        return rc == EMS_OK ? EMS_END : rc;
    }
    for (size_t at = 0; rc == EMS_OK && at < span->size;) {
        size_t n = p->segment - s->done;

        if (n > span->size - at)
            n = span->size - at;
        if (s->done == 0)
            rc = begin(s, err);
        if (rc == EMS_OK)
            rc = add(s, span->data + at, n, err);
        at += n;
        if (rc == EMS_OK && s->done == p->segment)
            rc = record_tag(s, err);
    }
    return rc;
}

/* ---- comparing ---- */

static int differs(struct ems_error *err)
{
    return ems_fail(err, EMS_PART_UNFINISHED,
                    "the data changed between the two passes: still arriving, or being replaced");
}

/* Is this segment (its last octet has come, or the data has ended) the one that was proven? */
static int check(struct stage *s, const uint8_t *data, size_t size, struct ems_error *err)
{
    const struct ems_proof *p = s->proof;
    const uint8_t *expected;
    uint8_t tag[TAG];
    int rc;

    if (s->index * TAG >= p->tags.size)
        return differs(err);
    expected = p->tags.data + s->index * TAG;
    rc = begin(s, err);
    if (rc == EMS_OK)
        rc = add(s, data, size, err);
    if (rc == EMS_OK)
        rc = end(s, tag, err);
    if (rc == EMS_OK && !ems_equal_ct(tag, expected, TAG))
        rc = differs(err);
    return rc;
}

/* Add to the segment that comes in pieces. */
static int hold(struct stage *s, size_t n, struct ems_error *err)
{
    if (s->held == NULL)
        s->held = malloc(s->proof->segment);
    if (s->held == NULL)
        return ems_fail_memory(err);
    memcpy(s->held + s->held_size, s->in.data, n);
    s->held_size += n;
    s->in.data += n;
    s->in.size -= n;
    s->in.origin += n;
    return EMS_OK;
}

/* Lend what is held, all of it proven. Origins of raw bytes are consecutive. */
static int lend_held(struct stage *s, struct ems_span *span, struct ems_error *err)
{
    size_t size = s->held_size;
    uint64_t end = s->base.origin;
    int rc;

    *span = (struct ems_span){.data = s->held, .size = size, .origin = end - size};
    s->base.origin = span->origin; /* of what check may complain about */
    rc = check(s, s->held, size, err);
    s->held_size = 0;
    if (rc == EMS_OK)
        s->base.origin = end;
    return rc;
}

/* Spans of the bottom source are segments of their own as long as parts begin at multiples of their
 * size (split -b 100m): these pass where they lie. Others are gathered first. */
static int compare_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct stage *s = (struct stage *)src;
    size_t segment = s->proof->segment, room;
    int rc = EMS_OK;

    for (;;) {
        if (s->in.size == 0 && !s->ended) {
            rc = ems_source_next(src->below, &s->in, err);
            s->ended = rc == EMS_END;
            if (rc != EMS_OK && rc != EMS_END)
                return rc;
        }
        if (s->ended) {
            if (s->held_size > 0)
                return lend_held(s, span, err);
            src->origin = src->below->origin;
            return s->index * TAG == s->proof->tags.size ? EMS_END : differs(err);
        }
        src->origin = s->in.origin;
        if (s->held_size == 0 && s->in.size >= segment) { /* whole, where it lies */
            *span = s->in;
            span->size = segment;
            s->in.data += segment;
            s->in.size -= segment;
            s->in.origin += segment;
            return check(s, span->data, segment, err);
        }
        room = segment - s->held_size;
        rc = hold(s, s->in.size < room ? s->in.size : room, err);
        src->origin = s->in.origin;
        if (rc != EMS_OK)
            return rc;
        if (s->held_size == segment)
            return lend_held(s, span, err);
    }
}

/* ---- the stage ---- */

static void stage_free(struct ems_source *src)
{
    free(((struct stage *)src)->held);
}

static const struct ems_source_ops record_ops = {"proof", record_next, stage_free};
static const struct ems_source_ops compare_ops = {"proof", compare_next, stage_free};

struct ems_source *ems_proof_open(struct ems_source *below, struct ems_proof *proof,
                                  struct ems_error *err)
{
    bool compare = ems_proof_is_sealed(proof);
    struct stage *s;

    if (below == NULL)
        return NULL;
    s = ems_source_alloc(sizeof *s, compare ? &compare_ops : &record_ops, below, err);
    if (s == NULL)
        return NULL;
    s->proof = proof;
    if (!compare) {
        proof->state = EMPTY;
        proof->tags.size = 0;
    }
    return &s->base;
}
