/*
 * pgp_mdc.c - packet 18 version 1: the modification detection code (RFC 9580, section 5.13.1)
 *
 * The plaintext ends in D3 14 and the SHA-1 of everything before it: prefix, packets, and D3 14
 * itself. Where that begins shows only at the end, so a span is lent when the next one has come.
 * The decrypting stage below gives full spans but for the last, so that at most two hold the MDC.
 *
 * Hashing takes longer than decrypting. With a relay between the two they run side by side.
 */
#include "pgp_cipher.h"

#include "bytes.h"
#include "relay.h"

#include <string.h>

#define MDC_SIZE 22u

struct mdc {
    struct ems_source base;
    const struct ems_source *cfb; /* below, or below the relay */
    enum { START, DATA, DONE } state;
    gcry_md_hd_t md; /* NULL: proven before */
    bool proven;
    struct ems_span lent; /* kept for whoever looks at it until the next call */
    struct ems_span last; /* kept; may hold the MDC's beginning */
    uint8_t tail[MDC_SIZE];
    size_t tail_size; /* octets in it, of a last span shorter than the MDC */
};

/* Pull the first span; then the prefix is known. */
static int start(struct mdc *m, struct ems_error *err)
{
    const struct ems_pgp_prefix *prefix;
    int rc = ems_source_next(m->base.below, &m->last, err);

    if (rc == EMS_END)
        return ems_fail(err, EMS_PGP_TRUNCATED,
                        "the encrypted data ends before its integrity check");
    if (rc != EMS_OK)
        return rc;
    if (!ems_span_keep(&m->last)) {
        m->last = (struct ems_span){0};
        return ems_fail(err, EMS_INTERNAL, "mdc: a span that cannot be kept");
    }
    m->state = DATA;
    if (m->proven)
        return EMS_OK;
    if (gcry_md_open(&m->md, GCRY_MD_SHA1, 0) != 0)
        return ems_fail_memory(err);
    prefix = ems_pgp_cfb_prefix(m->cfb);
    gcry_md_write(m->md, prefix->data, prefix->size);
    return EMS_OK;
}

/* Not hashed where the bytes below are known to be those of a message that was proven before: then
 * the MDC is only found and taken off, and its position checked. */
static void hash(struct mdc *m, const uint8_t *data, size_t size)
{
    if (!m->proven)
        gcry_md_write(m->md, data, size);
}

/* Pull the span behind `last`. EMS_OK with *in: `last` holds nothing of the MDC. EMS_END: all is
 * here. */
static int look_ahead(struct mdc *m, struct ems_span *in, struct ems_error *err)
{
    int rc = ems_source_next(m->base.below, in, err);

    m->base.origin = m->base.below->origin;
    if (rc == EMS_OK && in->size < MDC_SIZE) {
        memcpy(m->tail, in->data, in->size);
        m->tail_size = in->size;
        rc = ems_source_next(m->base.below, in, err);
        if (rc == EMS_OK)
            rc = ems_fail(err, EMS_INTERNAL, "mdc: a short span in the middle");
    }
    if (rc == EMS_OK && !ems_span_keep(in))
        rc = ems_fail(err, EMS_INTERNAL, "mdc: a span that cannot be kept");
    return rc;
}

/* All is here: the last 22 octets, of `last` and the tail, must be the MDC. They are taken off. */
static int check(struct mdc *m, struct ems_error *err)
{
    size_t from_last = MDC_SIZE - m->tail_size;
    uint8_t mdc[MDC_SIZE];

    if (m->last.size < from_last)
        return ems_fail(err, EMS_PGP_TRUNCATED,
                        "the encrypted data ends before its integrity check");
    m->last.size -= from_last;
    memcpy(mdc, m->last.data + m->last.size, from_last);
    memcpy(mdc + from_last, m->tail, m->tail_size);
    hash(m, m->last.data, m->last.size);
    hash(m, mdc, 2);
    if (mdc[0] != 0xd3 || mdc[1] != 0x14 ||
        (!m->proven && !ems_equal_ct(gcry_md_read(m->md, GCRY_MD_SHA1), mdc + 2, 20)))
        return ems_fail(err, EMS_PGP_MODIFIED,
                        "the integrity check (MDC) failed: the data was altered or damaged%s",
                        ems_pgp_cfb_prefix(m->cfb)->doubtful ? ", or the passphrase is wrong" : "");
    m->state = DONE;
    return EMS_OK;
}

/* One span behind what has come, so that nothing of the MDC is ever lent as data. */
static int mdc_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct mdc *m = (struct mdc *)src;
    struct ems_span in = {0};
    int rc;

    ems_span_drop(&m->lent);
    m->lent = (struct ems_span){0};
    if (m->state == DONE)
        return EMS_END;
    if (m->state == START) {
        rc = start(m, err);
        src->origin = src->below->origin;
        if (rc != EMS_OK)
            return rc;
    }
    rc = look_ahead(m, &in, err);
    if (rc == EMS_OK)
        hash(m, m->last.data, m->last.size);
    else if (rc == EMS_END)
        rc = check(m, err);
    if (rc != EMS_OK)
        return rc;
    m->lent = m->last;
    m->last = in;
    if (m->lent.size == 0)
        return EMS_END;
    *span = m->lent;
    return EMS_OK;
}

static void mdc_free(struct ems_source *src)
{
    struct mdc *m = (struct mdc *)src;

    ems_span_drop(&m->lent);
    ems_span_drop(&m->last);
    gcry_md_close(m->md);
    ems_wipe(m->tail, sizeof m->tail);
}

static const struct ems_source_ops mdc_ops = {"openpgp", mdc_next, mdc_free};

struct ems_source *ems_pgp_mdc_open(struct ems_source *body, const struct ems_pgp_unlock *unlock,
                                    bool threads, bool proven, struct ems_error *err)
{
    struct ems_source *cfb = ems_pgp_cfb_open(body, unlock, true, err), *below = cfb;
    struct mdc *m;

    if (cfb != NULL && threads)
        below = ems_relay_open(cfb, err);
    if (below == NULL)
        return NULL;
    m = ems_source_alloc(sizeof *m, &mdc_ops, below, err);
    if (m == NULL)
        return NULL;
    m->cfb = cfb;
    m->proven = proven;
    return &m->base;
}
