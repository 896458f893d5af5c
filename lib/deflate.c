/*
 * deflate.c - see inflate.h: raw deflate (RFC 1951) through ISA-L or zlib.
 *
 * Both libraries read ahead into a bit buffer. zlib hands whole unused bytes back by itself; ISA-L
 * does not, so that is done here, see isal_return_unused.
 */
#include "bookmark.h"
#include "inflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#ifdef EMS_HAVE_ISAL
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#endif

/*
 * All state of a stream is in here, so that a copy of it in mid-stream is a place to resume from:
 * for ISA-L a copy of the struct (next_in and next_out are set by every run, nothing else points),
 * for zlib inflateCopy.
 */
struct ems_deflate {
    enum ems_deflate_backend backend; /* never EMS_DEFLATE_BEST */
    int verdict;                      /* EMS_OK while running, then what every run repeats */
    const char *reason;               /* of a verdict that is an error; static */
    union {
        z_stream zlib;
#ifdef EMS_HAVE_ISAL
        struct inflate_state isal;
#endif
    } u;
};

/* What one run works on: the caller's pointers, cut to what the libraries can count. */
struct job {
    const uint8_t *in;
    uint32_t in_size;
    uint8_t *out;
    uint32_t out_size;
};

/* ---- ISA-L ---- */

#ifdef EMS_HAVE_ISAL

static const char *isal_reason(int rc)
{
    switch (rc) {
    case ISAL_INVALID_BLOCK:
        return "invalid block header";
    case ISAL_INVALID_SYMBOL:
        return "invalid code";
    case ISAL_INVALID_LOOKBACK:
        return "invalid distance too far back";
    default:
        return "invalid data";
    }
}

/*
 * Hand bytes that sit unused in the bit buffer back to the caller.
 *
 * Done when the final block is complete (what is left belongs to somebody else) and when the output
 * is full: the next run may find the end of the stream in the bit buffer alone, and by then the
 * bytes behind it could no longer be given back. In all other cases the run stopped because a
 * symbol is incomplete; then every bit held is in front of the end of the stream and the decoder
 * keeps them. So what is returned always came from the input of this run.
 *
 * In the middle of a block header (BLOCK_HDR) the bytes after the bit buffer are in ISA-L's own
 * tmp_in_buffer: the header is incomplete, all of it is needed, nothing is returned.
 */
static void isal_return_unused(struct inflate_state *s, uint32_t in_size)
{
    uint32_t unused = (uint32_t)s->read_in_length / 8;
    uint32_t taken = in_size - s->avail_in;

    if (s->block_state == ISAL_BLOCK_HDR ||
        (s->block_state != ISAL_BLOCK_FINISH && s->avail_out > 0))
        return;
    if (unused > taken)
        unused = taken;
    if (unused == 0)
        return;
    s->next_in -= unused;
    s->avail_in += unused;
    s->read_in_length -= (int32_t)(unused * 8);
    s->read_in &= ((uint64_t)1 << s->read_in_length) - 1;
}

static int isal_run(struct ems_deflate *d, struct job *job)
{
    struct inflate_state *s = &d->u.isal;
    int rc;

    s->next_in = (uint8_t *)job->in; /* only read */
    s->avail_in = job->in_size;
    s->next_out = job->out;
    s->avail_out = job->out_size;
    rc = isal_inflate(s);
    if (rc != ISAL_DECOMP_OK) {
        /* On failure avail_in may have been counted below zero. The pointer is right; it says how
         * far ISA-L had read, a few bytes behind the damage. */
        job->in_size -= (uint32_t)(s->next_in - job->in);
        job->out_size = s->avail_out;
        d->reason = isal_reason(rc);
        return EMS_GZIP_CORRUPT;
    }
    isal_return_unused(s, job->in_size);
    job->in_size = s->avail_in;
    job->out_size = s->avail_out;
    return s->block_state == ISAL_BLOCK_FINISH ? EMS_END : EMS_OK;
}

#endif

/* ---- zlib ---- */

static int zlib_run(struct ems_deflate *d, struct job *job)
{
    z_stream *z = &d->u.zlib;
    int rc;

    z->next_in = (uint8_t *)job->in; /* only read */
    z->avail_in = job->in_size;
    z->next_out = job->out;
    z->avail_out = job->out_size;
    rc = inflate(z, Z_NO_FLUSH);
    job->in_size = z->avail_in;
    job->out_size = z->avail_out;
    switch (rc) {
    case Z_OK:
    case Z_BUF_ERROR: /* nothing to do without more input or room */
        return EMS_OK;
    case Z_STREAM_END:
        return EMS_END;
    case Z_MEM_ERROR: /* the window is allocated late */
        d->reason = "out of memory";
        return EMS_NO_MEMORY;
    default:
        d->reason = z->msg != NULL ? z->msg : "invalid data";
        return EMS_GZIP_CORRUPT;
    }
}

/* ---- both ---- */

struct ems_deflate *ems_deflate_new(enum ems_deflate_backend backend, struct ems_error *err)
{
    struct ems_deflate *d;

#ifdef EMS_HAVE_ISAL
    if (backend == EMS_DEFLATE_BEST)
        backend = EMS_DEFLATE_ISAL;
#else
    if (backend == EMS_DEFLATE_BEST)
        backend = EMS_DEFLATE_ZLIB;
    if (backend == EMS_DEFLATE_ISAL) {
        ems_fail(err, EMS_INTERNAL, "built without isa-l");
        return NULL;
    }
#endif
    d = calloc(1, sizeof *d);
    if (d == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    d->backend = backend;
#ifdef EMS_HAVE_ISAL
    if (backend == EMS_DEFLATE_ISAL) {
        isal_inflate_init(&d->u.isal);
        return d;
    }
#endif
    if (inflateInit2(&d->u.zlib, -MAX_WBITS) != Z_OK) { /* negative: raw deflate */
        ems_fail_memory(err);
        free(d);
        return NULL;
    }
    return d;
}

void ems_deflate_reset(struct ems_deflate *d)
{
    d->verdict = EMS_OK;
    d->reason = NULL;
#ifdef EMS_HAVE_ISAL
    if (d->backend == EMS_DEFLATE_ISAL) {
        isal_inflate_reset(&d->u.isal);
        return;
    }
#endif
    inflateReset(&d->u.zlib);
}

void ems_deflate_free(struct ems_deflate *d)
{
    if (d == NULL)
        return;
    if (d->backend == EMS_DEFLATE_ZLIB)
        inflateEnd(&d->u.zlib);
    free(d);
}

struct ems_deflate *ems_deflate_copy(const struct ems_deflate *d, struct ems_error *err)
{
    struct ems_deflate *copy = malloc(sizeof *copy);

    if (copy != NULL)
        *copy = *d;
    if (copy != NULL && d->backend == EMS_DEFLATE_ZLIB &&
        inflateCopy(&copy->u.zlib, (z_streamp)&d->u.zlib) != Z_OK) { /* only read */
        free(copy);
        copy = NULL;
    }
    if (copy == NULL)
        ems_fail_memory(err);
    return copy;
}

const char *ems_deflate_backend_name(const struct ems_deflate *d)
{
    return d->backend == EMS_DEFLATE_ISAL ? "isa-l" : "zlib";
}

static int backend_run(struct ems_deflate *d, struct job *job)
{
#ifdef EMS_HAVE_ISAL
    if (d->backend == EMS_DEFLATE_ISAL)
        return isal_run(d, job);
#endif
    return zlib_run(d, job);
}

/* ISA-L's runs at 12 GB/s where zlib's does 3.3. */
uint32_t ems_crc32(uint32_t crc, const uint8_t *data, size_t size)
{
#ifdef EMS_HAVE_ISAL
    return crc32_gzip_refl(crc, data, size);
#else
    return (uint32_t)crc32_z(crc, data, size);
#endif
}

int ems_deflate_run(struct ems_deflate *d, const uint8_t **in, size_t *in_size, uint8_t *out,
                    size_t out_size, size_t *produced, uint32_t *crc, struct ems_error *err)
{
    struct job job = {.in = *in,
                      .in_size = *in_size < INT_MAX ? (uint32_t)*in_size : INT_MAX,
                      .out = out,
                      .out_size = out_size < INT_MAX ? (uint32_t)out_size : INT_MAX};
    const struct job before = job;

    *produced = 0;
    if (d->verdict == EMS_OK) {
        d->verdict = backend_run(d, &job);
        *in += before.in_size - job.in_size;
        *in_size -= before.in_size - job.in_size;
        *produced = before.out_size - job.out_size;
        if (*produced > 0)
            *crc = ems_crc32(*crc, out, *produced);
    }
    if (d->verdict == EMS_OK || d->verdict == EMS_END)
        return d->verdict;
    return ems_fail(err, d->verdict, "deflate data cannot be decoded: %s", d->reason);
}
