/* observe.c - see observe.h */
#include "observe.h"

#include <gcrypt.h>
#include <string.h>

/* ---- any observer ---- */

struct observer {
    struct ems_source base;
    ems_observe_fn *look;
    void *context;
};

static int observe_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct observer *o = (struct observer *)src;
    int rc = ems_source_next(src->below, span, err);

    if (rc != EMS_OK)
        return rc;
    src->origin = span->origin; /* of what look may complain about */
    rc = o->look(o->context, span, err);
    if (rc == EMS_OK)
        src->origin = src->below->origin;
    return rc;
}

static void observe_free(struct ems_source *src)
{
    (void)src;
}

static const struct ems_source_ops observe_ops = {"observer", observe_next, observe_free};

struct ems_source *ems_observe_open(struct ems_source *below, ems_observe_fn *look, void *context,
                                    struct ems_error *err)
{
    struct observer *o;

    if (below == NULL)
        return NULL;
    o = ems_source_alloc(sizeof *o, &observe_ops, below, err);
    if (o == NULL)
        return NULL;
    o->look = look;
    o->context = context;
    return &o->base;
}

static int count_bytes(void *context, const struct ems_span *span, struct ems_error *err)
{
    _Atomic uint64_t *count = context;

    (void)err;
    atomic_fetch_add_explicit(count, span->size, memory_order_relaxed);
    return EMS_OK;
}

struct ems_source *ems_observe_count_open(struct ems_source *below, _Atomic uint64_t *count,
                                          struct ems_error *err)
{
    return ems_observe_open(below, count_bytes, count, err);
}

/* ---- digest ---- */

struct digester {
    struct ems_source base;
    gcry_md_hd_t md;
    int algorithm;
    uint8_t *digest;
    bool *done;
};

static int digest_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct digester *d = (struct digester *)src;
    int rc = ems_source_next(src->below, span, err);

    src->origin = src->below->origin;
    if (rc == EMS_OK) {
        gcry_md_write(d->md, span->data, span->size);
    } else if (rc == EMS_END) {
        memcpy(d->digest, gcry_md_read(d->md, d->algorithm), gcry_md_get_algo_dlen(d->algorithm));
        *d->done = true;
    }
    return rc;
}

static void digest_free(struct ems_source *src)
{
    gcry_md_close(((struct digester *)src)->md);
}

static const struct ems_source_ops digest_ops = {"digest", digest_next, digest_free};

struct ems_source *ems_observe_digest_open(struct ems_source *below, int algorithm, uint8_t *digest,
                                           bool *done, struct ems_error *err)
{
    struct digester *d;
    gcry_error_t gerr;

    if (below == NULL)
        return NULL;
    d = ems_source_alloc(sizeof *d, &digest_ops, below, err);
    if (d == NULL)
        return NULL;
    gerr = gcry_md_open(&d->md, algorithm, 0);
    if (gerr != 0) {
        ems_fail(err, EMS_INTERNAL, "digest %d cannot be opened: %s", algorithm,
                 gcry_strerror(gerr));
        ems_source_free(&d->base);
        return NULL;
    }
    d->algorithm = algorithm;
    d->digest = digest;
    d->done = done;
    *done = false;
    return &d->base;
}
