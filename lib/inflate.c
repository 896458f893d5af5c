/*
 * inflate.c - see inflate.h: the gzip file format, RFC 1952.
 *
 *     member  = header, deflate data, trailer            a file is one member or more
 *     header  = 1f 8b, method, flags, mtime (4), xfl, os,
 *               [FEXTRA: length (2), bytes] [FNAME: text, 0] [FCOMMENT: text, 0] [FHCRC: crc16]
 *     trailer = CRC-32 of the plain bytes (4), their number modulo 2^32 (4); all little-endian
 */
#include "inflate.h"

#include "bookmark.h"
#include "bytes.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

/*
 * Room for one span. ISA-L decodes the first 32 KiB of each run into a buffer of its own and copies
 * them, and keeps a copy of the last 32 KiB, which 64 KiB spans feel (a third slower across a
 * relay); above 256 KiB nothing is gained, and the ring of a relay above holds ten of them.
 */
#define BLOCK_SIZE (256u * 1024u)

#define DEFAULT_MAX_RATIO   500u
#define DEFAULT_RATIO_FLOOR (256u * 1024u * 1024u)

#define HEADER_SIZE  10u
#define TRAILER_SIZE 8u

#define METHOD_DEFLATE 8u

#define FLAG_FHCRC    0x02u
#define FLAG_FEXTRA   0x04u
#define FLAG_FNAME    0x08u
#define FLAG_FCOMMENT 0x10u
#define FLAG_RESERVED 0xe0u /* "must be zero"; a decoder must give an error: RFC 1952, 2.3.1.2 */

struct gzip {
    struct ems_source base;
    enum { AT_HEADER, IN_DATA, AT_TRAILER, AFTER_MEMBER } state;
    struct ems_reader reader;
    struct ems_span in; /* lent by the reader, not decoded yet */
    struct ems_deflate *deflate;
    struct ems_pool pool;
    struct ems_inflate_options options; /* defaults filled in; facts never NULL */
    struct ems_inflate_facts own_facts;
    uint32_t header_crc;
    uint32_t crc;         /* of this member's plain bytes */
    uint64_t member_size; /* their number */
    uint64_t bookmarked;  /* where the last bookmark lies, or 0 */
};

/* Origin of the next byte to decode. */
static uint64_t position(const struct gzip *g)
{
    return g->in.size > 0 ? g->in.origin : ems_reader_origin(&g->reader);
}

static uint64_t bytes_consumed(const struct gzip *g)
{
    return g->reader.offset - g->in.size;
}

/* The number of the member at hand, from 1. */
static uint64_t member_number(const struct gzip *g)
{
    return g->options.facts->members + 1;
}

static int fail_truncated(struct gzip *g, const char *where, struct ems_error *err)
{
    return ems_fail(err, EMS_GZIP_TRUNCATED, "gzip data ends in the %s of member %" PRIu64, where,
                    member_number(g));
}

/* ---- header ---- */

/* Consume n header bytes and lend them until the next use of the reader. */
static int take(struct gzip *g, size_t n, const uint8_t **data, struct ems_error *err)
{
    size_t have;
    int rc = ems_reader_peek(&g->reader, n, data, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have < n)
        return fail_truncated(g, "header", err);
    ems_reader_skip(&g->reader, n);
    g->header_crc = (uint32_t)crc32(g->header_crc, *data, (uInt)n);
    return EMS_OK;
}

/* Skip a field of `size` bytes. */
static int skip_bytes(struct gzip *g, size_t size, struct ems_error *err)
{
    struct ems_span span;

    while (size > 0) {
        int rc = ems_reader_lend(&g->reader, size, &span, err);

        if (rc == EMS_END)
            return fail_truncated(g, "header", err);
        if (rc != EMS_OK)
            return rc;
        g->header_crc = (uint32_t)crc32(g->header_crc, span.data, (uInt)span.size);
        size -= span.size;
    }
    return EMS_OK;
}

/* Skip a text and the zero byte that ends it. */
static int skip_text(struct gzip *g, struct ems_error *err)
{
    const uint8_t *zero = NULL;
    struct ems_span span;

    while (zero == NULL) {
        int rc = ems_reader_lend(&g->reader, EMS_READ_SIZE, &span, err);

        if (rc == EMS_END)
            return fail_truncated(g, "header", err);
        if (rc != EMS_OK)
            return rc;
        zero = memchr(span.data, 0, span.size);
        if (zero != NULL) {
            size_t used = (size_t)(zero - span.data) + 1;

            ems_reader_unlend(&g->reader, span.size - used);
            span.size = used;
        }
        g->header_crc = (uint32_t)crc32(g->header_crc, span.data, (uInt)span.size);
    }
    return EMS_OK;
}

/* The ten bytes that every member starts with. What is there is judged before what is missing, so
 * that a short file of another kind is not called cut gzip. */
static int read_fixed_header(struct gzip *g, unsigned *flags, struct ems_error *err)
{
    const uint8_t *p;
    size_t have;
    int rc = ems_reader_peek(&g->reader, HEADER_SIZE, &p, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have == 0)
        return ems_fail(err, EMS_GZIP_EMPTY, "no data at all where gzip data is expected");
    if (p[0] != 0x1f || (have > 1 && p[1] != 0x8b))
        return ems_fail(err, EMS_GZIP_CORRUPT, "not gzip data: no gzip header");
    if (have > 2 && p[2] != METHOD_DEFLATE)
        return ems_fail(err, EMS_GZIP_CORRUPT, "member %" PRIu64 ": unknown compression method %u",
                        member_number(g), p[2]);
    if (have > 3 && (p[3] & FLAG_RESERVED) != 0)
        return ems_fail(err, EMS_GZIP_CORRUPT, "member %" PRIu64 ": reserved header flags 0x%02x",
                        member_number(g), p[3] & FLAG_RESERVED);
    rc = take(g, HEADER_SIZE, &p, err);
    if (rc == EMS_OK)
        *flags = p[3];
    return rc;
}

static int read_header(struct gzip *g, struct ems_error *err)
{
    unsigned flags = 0;
    const uint8_t *p;
    int rc;

    g->header_crc = 0;
    rc = read_fixed_header(g, &flags, err);
    if (rc == EMS_OK && (flags & FLAG_FEXTRA) != 0) {
        rc = take(g, 2, &p, err);
        if (rc == EMS_OK)
            rc = skip_bytes(g, (size_t)p[0] | (size_t)p[1] << 8, err);
    }
    if (rc == EMS_OK && (flags & FLAG_FNAME) != 0)
        rc = skip_text(g, err);
    if (rc == EMS_OK && (flags & FLAG_FCOMMENT) != 0)
        rc = skip_text(g, err);
    if (rc == EMS_OK && (flags & FLAG_FHCRC) != 0) {
        uint32_t expected = g->header_crc & 0xffff; /* of everything in front of the field */

        rc = take(g, 2, &p, err);
        if (rc == EMS_OK && (p[0] | (uint32_t)p[1] << 8) != expected)
            rc = ems_fail(err, EMS_GZIP_CRC, "member %" PRIu64 ": checksum of the header differs",
                          member_number(g));
    }
    return rc;
}

/* ---- data ---- */

/* Decode until the block is full or the member ends. EMS_OK: block full; EMS_END: the deflate data
 * is complete. In any case *size bytes were written. */
static int fill_block(struct gzip *g, struct ems_block *block, size_t *size, struct ems_error *err)
{
    int rc = EMS_OK;

    *size = 0;
    while (rc == EMS_OK && *size < block->capacity) {
        struct ems_span before;
        size_t produced;

        if (g->in.size == 0) {
            rc = ems_reader_lend(&g->reader, SIZE_MAX, &g->in, err);
            if (rc == EMS_END)
                return fail_truncated(g, "compressed data", err);
            if (rc != EMS_OK)
                return rc;
        }
        before = g->in;
        rc = ems_deflate_run(g->deflate, &g->in.data, &g->in.size, block->data + *size,
                             block->capacity - *size, &produced, &g->crc, err);
        if (g->in.origin != EMS_NOWHERE)
            g->in.origin += before.size - g->in.size;
        if (rc == EMS_OK && produced == 0 && g->in.size == before.size)
            rc = ems_fail(err, EMS_INTERNAL, "%s decoder stands still", g->options.facts->backend);
        *size += produced;
    }
    return rc;
}

/* Refuse what grows without end. */
static int check_limits(const struct gzip *g, struct ems_error *err)
{
    const struct ems_inflate_options *o = &g->options;
    uint64_t out = o->facts->bytes_out, in = o->facts->bytes_in;

    if (o->max_out > 0 && out > o->max_out)
        return ems_fail(err, EMS_GZIP_LIMIT, "gzip data holds more than %" PRIu64 " bytes",
                        o->max_out);
    if (out >= o->ratio_floor && out / o->max_ratio > in)
        return ems_fail(err, EMS_GZIP_LIMIT,
                        "gzip data expands more than %" PRIu64 " times: %" PRIu64
                        " bytes out of %" PRIu64,
                        o->max_ratio, out, in);
    return EMS_OK;
}

/* Between two spans the decoder holds no output back, so a copy of it and the numbers of octets on
 * both sides are the whole place. */
static void leave_bookmark(struct gzip *g)
{
    struct ems_inflate_place place = {
        .crc = g->crc, .member_size = g->member_size, .members = g->options.facts->members};

    place.deflate = ems_deflate_copy(g->deflate, NULL);
    if (place.deflate == NULL)
        return; /* an earlier one must do */
    g->bookmarked = g->base.offset;
    ems_bookmarks_inflate(g->options.bookmarks, g->base.offset, bytes_consumed(g), &place);
}

/* Lend what can be decoded. EMS_OK with span->size 0: the member was empty from here on. What was
 * decoded in front of an error is lent first (the layers above may see more clearly what is wrong);
 * the error comes back in the next call, because whoever gave it repeats it. */
static int lend_data(struct gzip *g, struct ems_span *span, struct ems_error *err)
{
    struct ems_error failure = {0};
    struct ems_block *block = ems_pool_get(&g->pool);
    uint64_t origin = position(g);
    size_t size;
    int rc;

    if (block == NULL)
        return ems_fail_memory(err);
    if (g->options.bookmarks != NULL &&
        (g->base.offset == 0 || g->base.offset - g->bookmarked >= EMS_BOOKMARK_SPACING))
        leave_bookmark(g);
    rc = fill_block(g, block, &size, &failure);
    g->member_size += size;
    g->options.facts->bytes_out += size;
    g->options.facts->bytes_in = bytes_consumed(g);
    if (rc == EMS_END) {
        ems_reader_unlend(&g->reader, g->in.size);
        g->in.size = 0;
        g->state = AT_TRAILER;
    } else if (rc != EMS_OK && size == 0) {
        *err = failure;
        return rc;
    }
    *span = (struct ems_span){.data = block->data, .size = size, .origin = origin, .block = block};
    return check_limits(g, err);
}

/* ---- trailer ---- */

static int check_trailer(struct gzip *g, struct ems_error *err)
{
    uint32_t crc, length;
    const uint8_t *p;
    size_t have;
    int rc = ems_reader_peek(&g->reader, TRAILER_SIZE, &p, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have < TRAILER_SIZE)
        return fail_truncated(g, "trailer", err);
    crc = ems_le32(p);
    length = ems_le32(p + 4);
    if (crc != g->crc)
        return ems_fail(err, EMS_GZIP_CRC,
                        "member %" PRIu64 ": CRC-32 of the data is %08" PRIx32
                        ", its trailer says %08" PRIx32,
                        member_number(g), g->crc, crc);
    if (length != (uint32_t)g->member_size)
        return ems_fail(err, EMS_GZIP_CRC,
                        "member %" PRIu64 ": %" PRIu64 " bytes of data, its trailer says %" PRIu32
                        " (modulo 2^32)",
                        member_number(g), g->member_size, length);
    ems_reader_skip(&g->reader, TRAILER_SIZE);
    g->options.facts->members++;
    g->options.facts->bytes_in = bytes_consumed(g);
    return EMS_OK;
}

/*
 * The end, another member, or something that does not belong here. gzip(1) ignores zero bytes here
 * (tapes were padded with them) and only warns of others; no tool that makes uploads pads, so both
 * are witnesses of a wrong assembly and refused.
 */
static int look_behind_member(struct gzip *g, struct ems_error *err)
{
    const uint8_t *p;
    size_t have;
    int rc = ems_reader_peek(&g->reader, 2, &p, &have, err);

    if (rc != EMS_OK)
        return rc;
    if (have == 0)
        return EMS_END;
    if (p[0] == 0x1f && have == 1)
        return fail_truncated(g, "header", err);
    if (p[0] == 0x1f && p[1] == 0x8b)
        return EMS_OK;
    return ems_fail(err, EMS_GZIP_TRAILING, "%s bytes behind the end of the gzip data",
                    p[0] == 0 && (have == 1 || p[1] == 0) ? "zero" : "other");
}

/* ---- stage ---- */

/* One step of the format. EMS_OK with span->size 0: go on. */
static int step(struct gzip *g, struct ems_span *span, struct ems_error *err)
{
    int rc;

    switch (g->state) {
    case AT_HEADER:
        rc = read_header(g, err);
        if (rc != EMS_OK)
            return rc;
        ems_deflate_reset(g->deflate);
        g->crc = 0;
        g->member_size = 0;
        g->state = IN_DATA;
        return EMS_OK;
    case IN_DATA:
        return lend_data(g, span, err);
    case AT_TRAILER:
        rc = check_trailer(g, err);
        if (rc == EMS_OK)
            g->state = AFTER_MEMBER;
        return rc;
    case AFTER_MEMBER:
        rc = look_behind_member(g, err);
        if (rc == EMS_OK)
            g->state = AT_HEADER;
        return rc;
    }
    return ems_fail(err, EMS_INTERNAL, "gzip: impossible state %d", (int)g->state);
}

static int gzip_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct gzip *g = (struct gzip *)src;
    int rc;

    do
        rc = step(g, span, err);
    while (rc == EMS_OK && span->size == 0);
    src->origin = position(g);
    return rc;
}

static void gzip_free(struct ems_source *src)
{
    struct gzip *g = (struct gzip *)src;

    ems_deflate_free(g->deflate);
    ems_pool_release(&g->pool);
}

static const struct ems_source_ops gzip_ops = {"gzip", gzip_next, gzip_free};

/* The stage without its decoder; options may be NULL. */
static struct gzip *new_stage(struct ems_source *below, const struct ems_inflate_options *options,
                              struct ems_error *err)
{
    struct gzip *g;

    if (below == NULL)
        return NULL;
    g = ems_source_alloc(sizeof *g, &gzip_ops, below, err);
    if (g == NULL)
        return NULL;
    ems_pool_init(&g->pool, options != NULL && options->span > 0 ? options->span : BLOCK_SIZE);
    g->reader.below = below;
    if (options != NULL)
        g->options = *options;
    if (g->options.max_ratio == 0)
        g->options.max_ratio = DEFAULT_MAX_RATIO;
    if (g->options.ratio_floor == 0)
        g->options.ratio_floor = DEFAULT_RATIO_FLOOR;
    if (g->options.facts == NULL)
        g->options.facts = &g->own_facts;
    return g;
}

struct ems_source *ems_inflate_open(struct ems_source *below,
                                    const struct ems_inflate_options *options,
                                    struct ems_error *err)
{
    struct gzip *g = new_stage(below, options, err);

    if (g == NULL)
        return NULL;
    g->deflate = ems_deflate_new(g->options.backend, err);
    if (g->deflate == NULL) {
        ems_source_free(&g->base);
        return NULL;
    }
    *g->options.facts = (struct ems_inflate_facts){.backend = ems_deflate_backend_name(g->deflate)};
    return &g->base;
}

/* ---- places ---- */

void ems_inflate_place_release(struct ems_inflate_place *place)
{
    ems_deflate_free(place->deflate);
    *place = (struct ems_inflate_place){0};
}

struct ems_source *ems_inflate_resume(struct ems_source *below,
                                      const struct ems_inflate_place *place, struct ems_error *err)
{
    struct gzip *g = new_stage(below, NULL, err);

    if (g == NULL)
        return NULL;
    g->deflate = ems_deflate_copy(place->deflate, err);
    if (g->deflate == NULL) {
        ems_source_free(&g->base);
        return NULL;
    }
    g->state = IN_DATA;
    g->crc = place->crc;
    g->member_size = place->member_size;
    g->own_facts = (struct ems_inflate_facts){.members = place->members,
                                              .backend = ems_deflate_backend_name(g->deflate)};
    return &g->base;
}
