/*
 * pgp_packet.c - see pgp_packet.h
 *
 * Section numbers are of RFC 9580.
 */
#include "pgp_packet.h"

#include "bookmark.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- headers ---- */

/*
 * A new-format length (4.2.1): 1, 2 or 5 octets, or one octet that says 2^n and "more follows".
 * Returns the octets used, 0 if more are needed.
 */
static int parse_length(const uint8_t *p, size_t n, enum ems_pgp_length *kind, uint64_t *size)
{
    *kind = EMS_PGP_DEFINITE;
    if (n < 1)
        return 0;
    if (p[0] < 192) {
        *size = p[0];
        return 1;
    }
    if (p[0] < 224) {
        if (n < 2)
            return 0;
        *size = ((uint64_t)(p[0] - 192) << 8) + p[1] + 192;
        return 2;
    }
    if (p[0] == 255) {
        if (n < 5)
            return 0;
        *size = ems_be32(p + 1);
        return 5;
    }
    *kind = EMS_PGP_PARTIAL;
    *size = (uint64_t)1 << (p[0] & 31);
    return 1;
}

/*
 * The first octet: 1 always, 1 for the new format, then six bits of tag; or 0, four bits of tag and
 * two that say how many octets of length follow (1, 2, 4, or none: to the end of everything). GnuPG
 * writes the old format for tags below 16, except where lengths are partial.
 */
int ems_pgp_header_parse(const uint8_t *data, size_t size, struct ems_pgp_header *h)
{
    static const uint8_t old_octets[] = {1, 2, 4, 0};
    int used;

    if (size < 1)
        return 0;
    if ((data[0] & 0x80) == 0)
        return -1;
    if (data[0] & 0x40) {
        h->tag = data[0] & 63;
        used = parse_length(data + 1, size - 1, &h->kind, &h->size);
        if (used == 0)
            return 0;
    } else {
        /* Old format (4.2.2): the tag has four bits, the length type two. */
        h->tag = (data[0] >> 2) & 15;
        h->kind = (data[0] & 3) == 3 ? EMS_PGP_INDETERMINATE : EMS_PGP_DEFINITE;
        used = old_octets[data[0] & 3];
        if (size < (size_t)used + 1)
            return 0;
        h->size = 0;
        for (int i = 1; i <= used; i++)
            h->size = h->size << 8 | data[i];
    }
    if (h->tag == 0)
        return -1;
    h->header_size = (size_t)used + 1;
    return used + 1;
}

/* The packets whose size their sender need not know beforehand. A session key in partial lengths is
 * not honest, and would be a way to make us gather it without end. */
static bool holds_data(unsigned tag)
{
    return tag == EMS_PGP_TAG_COMPRESSED || tag == EMS_PGP_TAG_SED || tag == EMS_PGP_TAG_LITERAL ||
           tag == EMS_PGP_TAG_SEIPD || tag == EMS_PGP_TAG_AEAD;
}

int ems_pgp_header_next(struct ems_reader *reader, struct ems_pgp_header *h, struct ems_error *err)
{
    const uint8_t *data;
    size_t have;
    int rc, used;

    rc = ems_reader_peek(reader, EMS_PGP_HEADER_MAX, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    h->origin = ems_reader_origin(reader);
    if (have == 0)
        return EMS_END;
    used = ems_pgp_header_parse(data, have, h);
    if (used == 0)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the data ends inside a packet header");
    if (used < 0)
        return ems_fail(err, EMS_PGP_MALFORMED, "byte 0x%02x where a packet should begin", data[0]);
    if (h->kind != EMS_PGP_DEFINITE && !holds_data(h->tag))
        return ems_fail(err, EMS_PGP_MALFORMED, "a %s packet (tag %u) without a definite length",
                        ems_pgp_tag_name(h->tag), h->tag);
    ems_reader_skip(reader, (size_t)used);
    return EMS_OK;
}

const char *ems_pgp_tag_name(unsigned tag)
{
    static const char *const names[] = {
        [EMS_PGP_TAG_PKESK] = "public-key session key",
        [EMS_PGP_TAG_SIGNATURE] = "signature",
        [EMS_PGP_TAG_SKESK] = "passphrase session key",
        [EMS_PGP_TAG_ONE_PASS] = "one-pass signature",
        [EMS_PGP_TAG_SECRET_KEY] = "secret key",
        [EMS_PGP_TAG_PUBLIC_KEY] = "public key",
        [EMS_PGP_TAG_SECRET_SUBKEY] = "secret subkey",
        [EMS_PGP_TAG_COMPRESSED] = "compressed data",
        [EMS_PGP_TAG_SED] = "encrypted data without integrity protection",
        [EMS_PGP_TAG_MARKER] = "marker",
        [EMS_PGP_TAG_LITERAL] = "literal data",
        [EMS_PGP_TAG_TRUST] = "trust",
        [EMS_PGP_TAG_USER_ID] = "user id",
        [EMS_PGP_TAG_PUBLIC_SUBKEY] = "public subkey",
        [EMS_PGP_TAG_USER_ATTRIBUTE] = "user attribute",
        [EMS_PGP_TAG_SEIPD] = "encrypted data",
        [EMS_PGP_TAG_MDC] = "modification detection code",
        [EMS_PGP_TAG_AEAD] = "AEAD encrypted data",
        [EMS_PGP_TAG_PADDING] = "padding",
    };

    if (tag < sizeof names / sizeof names[0] && names[tag] != NULL)
        return names[tag];
    return "unknown";
}

/* ---- bodies ---- */

struct body {
    struct ems_source base;
    struct ems_reader *reader;
    enum ems_pgp_length kind; /* DEFINITE also in the last chunk of a partial body */
    bool chunked;             /* began with a partial length: the end is not known beforehand */
    uint64_t left;            /* of the definite body or of the current chunk */
    unsigned tiny;            /* chunks so far that were smaller than a first one may be */
};

/* Partial chunks of less than 512 octets are not allowed at the beginning of a body (4.2.1.4), make
 * no sense later, and are read all the same; but a body of nothing else takes a hundred times as
 * long as its size says. */
#define TINY     512u
#define TINY_MAX 65536u

/* Chunks of a partial body: 2^n octets each, 1 to 2^30, and a last one of definite length, perhaps
 * 0. GnuPG's are 8 KiB, sq's 4 MiB. */
static int next_chunk(struct body *b, struct ems_error *err)
{
    const uint8_t *data;
    size_t have;
    int rc, used;

    rc = ems_reader_peek(b->reader, EMS_PGP_HEADER_MAX - 1, &data, &have, err);
    if (rc != EMS_OK)
        return rc;
    b->base.origin = ems_reader_origin(b->reader);
    used = parse_length(data, have, &b->kind, &b->left);
    if (used == 0)
        return ems_fail(err, EMS_PGP_TRUNCATED,
                        "the data ends early, where the next chunk of a packet should begin");
    ems_reader_skip(b->reader, (size_t)used);
    if (b->kind == EMS_PGP_PARTIAL && b->left < TINY && ++b->tiny > TINY_MAX)
        return ems_fail(err, EMS_PGP_LIMIT, "a packet in more than %u tiny pieces", TINY_MAX);
    return EMS_OK;
}

/* An indeterminate body ends where the level does: at the container's end, of which the container
 * has already taken the integrity check away. All others know their end, and miss it when it is cut
 * off. */
static int body_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct body *b = (struct body *)src;
    uint64_t max = SIZE_MAX;
    int rc;

    if (b->kind != EMS_PGP_INDETERMINATE) {
        while (b->left == 0) {
            if (b->kind == EMS_PGP_DEFINITE)
                return EMS_END;
            rc = next_chunk(b, err);
            if (rc != EMS_OK)
                return rc;
        }
        max = b->left;
    }
    rc = ems_reader_lend(b->reader, max < SIZE_MAX ? (size_t)max : SIZE_MAX, span, err);
    src->origin = ems_reader_origin(b->reader);
    if (rc == EMS_END && b->kind != EMS_PGP_INDETERMINATE)
        return ems_fail(err, EMS_PGP_TRUNCATED, "the data ends %s%" PRIu64 " bytes early",
                        b->chunked && b->kind == EMS_PGP_PARTIAL ? "at least " : "", b->left);
    if (rc == EMS_OK && b->kind != EMS_PGP_INDETERMINATE)
        b->left -= span->size;
    return rc;
}

static void body_free(struct ems_source *src)
{
    (void)src;
}

static const struct ems_source_ops body_ops = {"openpgp", body_next, body_free};

static void body_init(struct body *b, struct ems_reader *reader, const struct ems_pgp_header *h)
{
    b->reader = reader;
    b->kind = h->kind;
    b->chunked = h->kind == EMS_PGP_PARTIAL;
    b->left = h->size;
    b->base.ops = &body_ops;
    b->base.origin = ems_reader_origin(reader);
}

struct ems_source *ems_pgp_body_open(struct ems_reader *reader, const struct ems_pgp_header *h,
                                     struct ems_error *err)
{
    struct body *b = ems_source_alloc(sizeof *b, &body_ops, NULL, err);

    if (b == NULL)
        return NULL;
    body_init(b, reader, h);
    return &b->base;
}

/* What is pending comes from one span, and a span never crosses the end of a chunk. */
void ems_pgp_body_place(const struct ems_source *src, uint64_t pending,
                        struct ems_body_place *place)
{
    const struct body *b = (const struct body *)src;

    *place = (struct ems_body_place){
        .kind = (uint8_t)b->kind, .chunked = b->chunked, .left = b->left + pending};
}

struct ems_source *ems_pgp_body_resume(struct ems_reader *reader,
                                       const struct ems_body_place *place, struct ems_error *err)
{
    struct body *b = ems_source_alloc(sizeof *b, &body_ops, NULL, err);

    if (b == NULL)
        return NULL;
    b->reader = reader;
    b->kind = place->kind;
    b->chunked = place->chunked;
    b->left = place->left;
    return &b->base;
}

/* The limit is checked before a byte is read where the length is said, and as bytes come where it
 * is not: nothing is allocated for a length that is only claimed. */
int ems_pgp_body_read(struct ems_reader *reader, const struct ems_pgp_header *h, size_t max,
                      struct ems_buf *out, struct ems_error *err)
{
    struct body b = {.left = 0};
    struct ems_span span;
    int rc;

    out->size = 0;
    if (h->size > max)
        return ems_fail(err, EMS_PGP_LIMIT, "a %s packet of %" PRIu64 " bytes (limit %zu)",
                        ems_pgp_tag_name(h->tag), h->size, max);
    body_init(&b, reader, h);
    while ((rc = ems_source_next(&b.base, &span, err)) == EMS_OK) {
        if (span.size > max - out->size)
            return ems_fail(err, EMS_PGP_LIMIT, "a %s packet of more than %zu bytes",
                            ems_pgp_tag_name(h->tag), max);
        rc = ems_buf_append(out, span.data, span.size, err);
        if (rc != EMS_OK)
            return rc;
    }
    return rc == EMS_END ? EMS_OK : rc;
}

int ems_pgp_body_skip(struct ems_reader *reader, const struct ems_pgp_header *h,
                      struct ems_error *err)
{
    struct body b = {.left = 0};
    int rc;

    body_init(&b, reader, h);
    rc = ems_source_drain(&b.base, err);
    return rc == EMS_END ? EMS_OK : rc;
}
