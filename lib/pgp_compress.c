/* pgp_compress.c - see pgp_compress.h */
#include "pgp_compress.h"

#include "bytes.h"
#include "inflate.h"

#include <bzlib.h>
#include <stdlib.h>
#ifdef EMS_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

#define LENT          (128u * 1024u)
#define FLOOR_DEFLATE ((uint64_t)256 << 20)
#define FLOOR_BZIP2   ((uint64_t)64 << 20)
#define RATIO_MAX     500u

enum algorithm { UNCOMPRESSED, ZIP, ZLIB, BZIP2, UNKNOWN };

static const char *const names[] = {"none", "zip", "zlib", "bzip2"};

struct compress {
    struct ems_source base;
    enum algorithm algorithm; /* UNKNOWN until the first octet is here */
    const char **name;
    struct ems_pool pool;
    struct ems_span in; /* rest of what the body lent last */
    struct ems_pgp_growth *growth;
    bool stream_ended; /* the compressed stream; the body may go on */
    struct ems_deflate *deflate;
    enum { HEADER, DEFLATE, TRAILER } zlib_part;
    uint8_t edge[4]; /* of zlib's header or trailer */
    size_t edge_size;
    uint32_t adler; /* so far */
    bz_stream bzip2;
    bool bzip2_ready;
};

/*
 * The three codecs behind one shape: consume from c->in, write to out. EMS_OK to go on, EMS_END at
 * the end of the compressed stream, EMS_PGP_MALFORMED, EMS_NO_MEMORY.
 */
static int run_zip(struct compress *c, uint8_t *out, size_t room, size_t *produced,
                   struct ems_error *err)
{
    struct ems_error why = {0};
    uint32_t crc = 0;
    int rc = ems_deflate_run(c->deflate, &c->in.data, &c->in.size, out, room, produced, &crc, &why);

    if (rc == EMS_GZIP_CORRUPT)
        return ems_fail(err, EMS_PGP_MALFORMED, "the compressed data inside is not valid");
    if (rc != EMS_OK && rc != EMS_END)
        return ems_fail(err, rc, "%s", why.text);
    return rc;
}

/* Collect octets that may come in pieces: true when `size` are there. */
static bool take_edge(struct compress *c, size_t size)
{
    while (c->edge_size < size && c->in.size > 0) {
        c->edge[c->edge_size++] = *c->in.data++;
        c->in.size--;
    }
    return c->edge_size == size;
}

/* With the decoder that is used: ISA-L's is as much faster than zlib's as its inflate is. */
static uint32_t adler(uint32_t sum, const uint8_t *data, size_t size)
{
#ifdef EMS_HAVE_ISAL
    return isal_adler32(sum, data, size);
#else
    return (uint32_t)adler32(sum, data, (uInt)size);
#endif
}

/* zlib's format (RFC 1950) is two octets, deflate, and the Adler-32 of what comes out. */
static int run_zlib(struct compress *c, uint8_t *out, size_t room, size_t *produced,
                    struct ems_error *err)
{
    int rc;

    switch (c->zlib_part) {
    case HEADER:
        if (!take_edge(c, 2))
            return EMS_OK;
        /* Method 8 with a window of 32 KiB or less, no preset dictionary, a multiple of 31. */
        if ((c->edge[0] & 15) != 8 || c->edge[0] >> 4 > 7 || (c->edge[1] & 0x20) != 0 ||
            ems_be16(c->edge) % 31 != 0)
            return ems_fail(err, EMS_PGP_MALFORMED,
                            "the compressed data inside has no zlib header");
        c->edge_size = 0;
        c->zlib_part = DEFLATE;
        c->adler = 1;
        return EMS_OK;
    case DEFLATE:
        rc = run_zip(c, out, room, produced, err);
        if (rc == EMS_OK || rc == EMS_END)
            c->adler = adler(c->adler, out, *produced);
        if (rc != EMS_END)
            return rc;
        c->zlib_part = TRAILER;
        break;
    case TRAILER:
        break;
    }
    if (!take_edge(c, 4))
        return EMS_OK;
    if (ems_be32(c->edge) != c->adler)
        return ems_fail(err, EMS_PGP_MALFORMED, "the compressed data inside has a wrong checksum");
    return EMS_END;
}

/*
 * bzip2 hands unused input back, as zlib does. A stream of several members one behind the other, as
 * the command bzip2 reads it, does not exist in OpenPGP: what follows the first is padding.
 */
static int run_bzip2(struct compress *c, uint8_t *out, size_t room, size_t *produced,
                     struct ems_error *err)
{
    unsigned size = c->in.size < UINT32_MAX ? (unsigned)c->in.size : UINT32_MAX;
    int rc;

    c->bzip2.next_in = (char *)(uintptr_t)c->in.data;
    c->bzip2.avail_in = size;
    c->bzip2.next_out = (char *)out;
    c->bzip2.avail_out = (unsigned)room;
    rc = BZ2_bzDecompress(&c->bzip2);
    c->in.data += size - c->bzip2.avail_in;
    c->in.size -= size - c->bzip2.avail_in;
    *produced = room - c->bzip2.avail_out;
    if (rc == BZ_STREAM_END)
        return EMS_END;
    if (rc == BZ_OK)
        return EMS_OK;
    if (rc == BZ_MEM_ERROR)
        return ems_fail_memory(err);
    return ems_fail(err, EMS_PGP_MALFORMED, "the compressed data inside is not valid bzip2");
}

/*
 * One step, and what it costs. Progress is demanded of every call that had input: a codec that
 * neither reads nor writes would be asked for ever (CVE-2014-4617 was a loop of this kind in
 * GnuPG).
 *
 * The ratio is that of the whole message. Deflate grows data 1032 times at most, bzip2 more than a
 * million times: 785 octets make a GiB. SQL text grows ten to thirty times, so 500 is far from
 * anything honest, and below some total any ratio is harmless: deflate makes a GiB in a second,
 * bzip2 in six.
 */
static int run(struct compress *c, uint8_t *out, size_t room, size_t *produced,
               struct ems_error *err)
{
    uint64_t harmless = c->algorithm == BZIP2 ? FLOOR_BZIP2 : FLOOR_DEFLATE;
    size_t before = c->in.size;
    int rc;

    *produced = 0;
    if (c->algorithm == ZIP)
        rc = run_zip(c, out, room, produced, err);
    else if (c->algorithm == ZLIB)
        rc = run_zlib(c, out, room, produced, err);
    else
        rc = run_bzip2(c, out, room, produced, err);
    if (c->growth->outermost == &c->base)
        c->growth->bytes_in += before - c->in.size;
    c->growth->bytes_out += *produced;
    if (rc == EMS_OK && before > 0 && before == c->in.size && *produced == 0)
        return ems_fail(err, EMS_PGP_MALFORMED, "the compressed data inside stands still");
    if ((rc == EMS_OK || rc == EMS_END) && c->growth->bytes_out > harmless &&
        c->growth->bytes_out / RATIO_MAX > c->growth->bytes_in)
        return ems_fail(err, EMS_PGP_LIMIT,
                        "compressed data that grows more than %u times its size", RATIO_MAX);
    return rc;
}

/* Everything behind the compressed stream is padding, whatever its length (sq 0.27 writes it). */
static int pass_padding(struct compress *c, struct ems_error *err)
{
    return ems_source_drain(c->base.below, err);
}

static int fetch(struct compress *c, struct ems_error *err)
{
    int rc = ems_source_next(c->base.below, &c->in, err);

    c->base.origin = rc == EMS_OK ? c->in.origin : c->base.below->origin;
    if (rc == EMS_END)
        return ems_fail(err, EMS_PGP_MALFORMED, "the compressed data inside ends too early");
    return rc;
}

/* The algorithm octet (9.4). A level that says "uncompressed" is legal and passes its body as it
 * is; some senders make one for data that is compressed already. */
static int start(struct compress *c, struct ems_error *err)
{
    int rc = fetch(c, err);
    unsigned id;

    if (rc != EMS_OK)
        return rc;
    id = c->in.data[0];
    if (id > BZIP2)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "compression algorithm %u", id);
    c->in.data++;
    c->in.size--;
    if (c->in.origin != EMS_NOWHERE)
        c->in.origin++;
    switch (id) {
    case ZIP: /* deflate without any header (5.6) */
    case ZLIB:
        c->deflate = ems_deflate_new(EMS_DEFLATE_BEST, err);
        if (c->deflate == NULL)
            return ems_fail_memory(err);
        break;
    case BZIP2:
        c->bzip2_ready = BZ2_bzDecompressInit(&c->bzip2, 0, 0) == BZ_OK;
        if (!c->bzip2_ready)
            return ems_fail_memory(err);
        break;
    default:
        break;
    }
    c->algorithm = (enum algorithm)id;
    *c->name = names[id];
    return EMS_OK;
}

/* Uncompressed data passes as it is lent. */
static int pass(struct compress *c, struct ems_span *span, struct ems_error *err)
{
    int rc = EMS_OK;

    if (c->in.size > 0)
        *span = c->in;
    else
        rc = ems_source_next(c->base.below, span, err);
    c->in.size = 0;
    c->base.origin = c->base.below->origin;
    return rc;
}

/* Blocks of our pool are filled as far as they go, so that a relay above gets few large spans; the
 * origin is that of the input which the first octet came from. */
static int compress_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct compress *c = (struct compress *)src;
    struct ems_block *block;
    size_t size = 0, produced;
    uint64_t origin = EMS_NOWHERE;
    int rc = EMS_OK;

    if (c->algorithm == UNKNOWN) {
        rc = start(c, err);
        if (rc != EMS_OK)
            return rc;
    }
    if (c->algorithm == UNCOMPRESSED)
        return pass(c, span, err);
    if (c->stream_ended)
        return pass_padding(c, err);
    block = ems_pool_get(&c->pool);
    if (block == NULL)
        return ems_fail_memory(err);
    while (rc == EMS_OK && size < block->capacity) {
        /* What the codec holds back comes first: input is fetched only when it wrote nothing. */
        rc = run(c, block->data + size, block->capacity - size, &produced, err);
        if (produced > 0 && origin == EMS_NOWHERE)
            origin = src->origin;
        size += produced;
        if (rc == EMS_OK && c->in.size == 0 && produced == 0)
            rc = fetch(c, err);
    }
    if (rc != EMS_OK && rc != EMS_END)
        return rc;
    c->stream_ended = rc == EMS_END;
    if (size == 0)
        return pass_padding(c, err);
    *span = (struct ems_span){.data = block->data, .size = size, .origin = origin, .block = block};
    return EMS_OK;
}

static void compress_free(struct ems_source *src)
{
    struct compress *c = (struct compress *)src;

    ems_deflate_free(c->deflate);
    if (c->bzip2_ready)
        BZ2_bzDecompressEnd(&c->bzip2);
    ems_pool_release(&c->pool);
}

static const struct ems_source_ops compress_ops = {"openpgp", compress_next, compress_free};

struct ems_source *ems_pgp_compress_open(struct ems_source *body, const char **name,
                                         struct ems_pgp_growth *growth, struct ems_error *err)
{
    struct compress *c;

    if (body == NULL)
        return NULL;
    c = ems_source_alloc(sizeof *c, &compress_ops, body, err);
    if (c == NULL)
        return NULL;
    c->algorithm = UNKNOWN;
    c->name = name;
    c->growth = growth;
    if (growth->outermost == NULL)
        growth->outermost = &c->base;
    ems_pool_init(&c->pool, LENT);
    return &c->base;
}
