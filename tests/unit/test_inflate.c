/* gzip: framing and both decoders, over the chunk matrix, every prefix, every flipped bit, and each
 * other. */
#include "harness.h"

#include "inflate.h"

#include <unistd.h>
#include <zlib.h>

static const enum ems_deflate_backend backends[] = {
    EMS_DEFLATE_ZLIB,
#ifdef EMS_HAVE_ISAL
    EMS_DEFLATE_ISAL,
#endif
};
#define BACKENDS (sizeof backends / sizeof backends[0])

/* ---- making gzip data ---- */

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static void append(struct ems_buf *buf, const void *data, size_t size)
{
    if (ems_buf_append(buf, data, size, NULL) != EMS_OK)
        abort();
}

static void append_le32(struct ems_buf *buf, uint32_t value)
{
    uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                    (uint8_t)(value >> 24)};

    append(buf, b, 4);
}

/* Lines that look like a dump: words, numbers, now and then something random. */
static struct ems_buf text(size_t size)
{
    static const char *const words[] = {"$event", "!room:example.org", "m.room.message", "\\N",
                                        "{\"body\": \"hello\"}"};
    struct ems_buf buf = {0};

    while (buf.size < size)
        if (ems_buf_printf(&buf, NULL, "%s\t%u%c", words[next_random() % 5], next_random(),
                           next_random() % 4 == 0 ? '\n' : '\t') != EMS_OK)
            abort();
    buf.size = size;
    return buf;
}

/* Raw deflate, appended to out. flush: Z_FINISH, or Z_SYNC_FLUSH for a piece without an end. With
 * memory 1 blocks are short and many, 8 is what gzip(1) uses. */
static void append_deflate_with(struct ems_buf *out, const void *data, size_t size, int level,
                                int strategy, int flush, int memory)
{
    z_stream z = {0};
    size_t bound = size + size / 4 + 1000;

    if (deflateInit2(&z, level, Z_DEFLATED, -MAX_WBITS, memory, strategy) != Z_OK ||
        ems_buf_reserve(out, bound, NULL) != EMS_OK)
        abort();
    z.next_in = (uint8_t *)data;
    z.avail_in = (uInt)size;
    z.next_out = out->data + out->size;
    z.avail_out = (uInt)bound;
    deflate(&z, flush);
    if (z.avail_in > 0 || z.avail_out == 0)
        abort();
    out->size += z.total_out;
    deflateEnd(&z);
}

static void append_deflate(struct ems_buf *out, const void *data, size_t size, int level,
                           int strategy, int flush)
{
    append_deflate_with(out, data, size, level, strategy, flush, 8);
}

/* One gzip member with the given header flags, each of their fields filled in. */
static void append_member(struct ems_buf *out, const void *data, size_t size, int level,
                          int strategy, uint8_t flags)
{
    size_t start = out->size;
    uint8_t head[10] = {0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3};

    append(out, head, 10);
    if (flags & 4)
        append(out,
               "\x05\x00"
               "ex\0tra",
               7);
    if (flags & 8)
        append(out, "customer_db_export.sql", 23);
    if (flags & 16)
        append(out, "a comment", 10);
    if (flags & 2) {
        uint32_t crc = (uint32_t)crc32(0, out->data + start, (uInt)(out->size - start));
        uint8_t b[2] = {(uint8_t)crc, (uint8_t)(crc >> 8)};

        append(out, b, 2);
    }
    append_deflate(out, data, size, level, strategy, Z_FINISH);
    append_le32(out, (uint32_t)crc32(0, data, (uInt)size));
    append_le32(out, (uint32_t)size);
}

/* ---- reading it ---- */

struct result {
    int code;
    struct ems_buf out;
    struct ems_error err;
    struct ems_inflate_facts facts;
};

static struct result inflate_from(struct ems_source *below, enum ems_deflate_backend backend,
                                  bool relay)
{
    struct result r = {0};
    struct ems_inflate_options options = {.backend = backend, .facts = &r.facts};
    struct ems_source *src = below;

    if (relay)
        src = ems_relay_open(src, &r.err);
    src = ems_inflate_open(src, &options, &r.err);
    if (relay)
        src = ems_relay_open(src, &r.err);
    r.code = ems_test_slurp(src, &r.out, &r.err);
    return r;
}

static struct result inflate_bytes(const void *data, size_t size, size_t chunk,
                                   enum ems_deflate_backend backend, bool relay)
{
    return inflate_from(ems_test_source_open(data, size, chunk, 0, EMS_OK), backend, relay);
}

static bool same(const struct ems_buf *a, const struct ems_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Through everything: each backend, chunk size, with and without relays. */
static void check_good(const struct ems_buf *gz, const struct ems_buf *plain, uint64_t members)
{
    for (size_t b = 0; b < BACKENDS; b++) {
        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            for (int relay = 0; relay < 2; relay++) {
                struct result r;

                if (relay && ems_test_chunks[c] > 0 && gz->size / ems_test_chunks[c] > 5000)
                    continue; /* a relay of single bytes says nothing new about big data */
                r = inflate_bytes(gz->data, gz->size, ems_test_chunks[c], backends[b], relay);
                ASSERT_CODE(r.code, EMS_END);
                CU_ASSERT(same(&r.out, plain));
                CU_ASSERT_EQUAL(r.facts.members, members);
                CU_ASSERT_EQUAL(r.facts.bytes_in, gz->size);
                CU_ASSERT_EQUAL(r.facts.bytes_out, plain->size);
                ems_buf_release(&r.out);
            }
        }
    }
}

/* One verdict for all backends, fed at once and byte by byte; the same one, from the same place,
 * with relays. */
static void check_bad(const struct ems_buf *gz, int code, const char *what)
{
    for (size_t b = 0; b < BACKENDS; b++) {
        for (size_t chunk = 0; chunk < 2; chunk++) {
            struct result r = inflate_bytes(gz->data, gz->size, chunk, backends[b], false);
            struct result relayed = inflate_bytes(gz->data, gz->size, chunk, backends[b], true);

            if (r.code != code)
                printf("\n    %s, %s:", what, r.facts.backend);
            ASSERT_CODE(r.code, code);
            CU_ASSERT_NOT_EQUAL(r.err.text[0], '\0');
            CU_ASSERT_STRING_EQUAL(r.err.stage, "gzip");
            CU_ASSERT(r.err.origin <= gz->size);
            ASSERT_CODE(relayed.code, code);
            CU_ASSERT_STRING_EQUAL(relayed.err.text, r.err.text);
            CU_ASSERT_EQUAL(relayed.err.origin, r.err.origin);
            ems_buf_release(&r.out);
            ems_buf_release(&relayed.out);
        }
    }
}

/* ---- good files ---- */

static void test_chunk_matrix(void)
{
    struct ems_buf plain = text(150000), gz = {0};

    append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, 8);
    check_good(&gz, &plain, 1);
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

static void test_block_types(void)
{
    static const struct {
        int level, strategy;
        uint8_t type; /* of the first deflate block, in bits 1-2 of its first byte */
    } kinds[] = {
        {0, Z_DEFAULT_STRATEGY, 0}, {6, Z_FIXED, 1},
        {9, Z_DEFAULT_STRATEGY, 2}, {6, Z_HUFFMAN_ONLY, 2},
        {1, Z_DEFAULT_STRATEGY, 2},
    };
    struct ems_buf plain = text(40000);

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct ems_buf gz = {0};

        append_member(&gz, plain.data, plain.size, kinds[i].level, kinds[i].strategy, 0);
        CU_ASSERT_EQUAL(gz.data[10] >> 1 & 3, kinds[i].type);
        check_good(&gz, &plain, 1);
        ems_buf_release(&gz);
    }
    ems_buf_release(&plain);
}

static void test_header_fields(void)
{
    struct ems_buf plain = text(100);

    for (unsigned flags = 0; flags < 32; flags++) {
        struct ems_buf gz = {0};

        append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, (uint8_t)flags);
        check_good(&gz, &plain, 1);
        ems_buf_release(&gz);
    }
    ems_buf_release(&plain);
}

static void test_members(void)
{
    struct ems_buf plain = {0}, gz = {0};

    for (size_t i = 0; i < 40; i++) {
        struct ems_buf piece = text(i % 5 == 3 ? 0 : i * i * 7);

        append(&plain, piece.data, piece.size);
        append_member(&gz, piece.data, piece.size, (int)(i % 10), Z_DEFAULT_STRATEGY,
                      (uint8_t)(i % 32));
        ems_buf_release(&piece);
    }
    check_good(&gz, &plain, 40);
    ems_buf_release(&gz);
    ems_buf_release(&plain);

    append_member(&gz, "", 0, 6, Z_DEFAULT_STRATEGY, 0);
    check_good(&gz, &plain, 1);
    ems_buf_release(&gz);
}

/* Long matches and runs across the borders of spans and of the 32 KiB window. */
static void test_big_and_repetitive(void)
{
    struct ems_buf plain = text(32000), gz = {0};

    if (ems_buf_reserve(&plain, 2500000, NULL) != EMS_OK)
        abort();
    for (; plain.size < 1000000; plain.size++) /* all matches at nearly the greatest distance */
        plain.data[plain.size] = plain.data[plain.size - 32000];
    memset(plain.data + plain.size, 'x', 1500000);
    plain.size += 1500000;
    append_member(&gz, plain.data, plain.size, 9, Z_DEFAULT_STRATEGY, 0);
    check_good(&gz, &plain, 1);
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

/* A stream longer than 2^32 bytes: counters of 32 bits, in the libraries and in the trailer, wrap.
 * One deflate piece, repeated by a source, with a distance of nearly 32 KiB in each match. */
struct repeater {
    struct ems_source base;
    const struct ems_buf *head, *piece, *tail;
    unsigned sent, pieces;
};

static int repeat_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct repeater *r = (struct repeater *)src;
    const struct ems_buf *from = r->sent == 0 ? r->head : r->sent <= r->pieces ? r->piece : r->tail;

    (void)err;
    if (r->sent == r->pieces + 2)
        return EMS_END;
    r->sent++;
    span->data = from->data;
    span->size = from->size;
    span->origin = src->origin;
    src->origin += from->size;
    return EMS_OK;
}

static void repeat_free(struct ems_source *src)
{
    (void)src;
}

static void test_more_than_four_gigabytes(void)
{
    static const struct ems_source_ops ops = {"repeater", repeat_next, repeat_free};
    enum { PIECE = 4000037, PIECES = 1100 };
    struct ems_buf plain = {0}, head = {0}, piece = {0}, tail = {0};
    struct ems_error err = {0};
    struct ems_inflate_facts facts = {0};
    struct ems_inflate_options options = {.facts = &facts, .max_ratio = 2000};
    struct repeater *r = ems_source_alloc(sizeof *r, &ops, NULL, &err);
    uint32_t crc = 0, piece_crc;

    if (r == NULL || ems_buf_reserve(&plain, PIECE, NULL) != EMS_OK)
        abort();
    for (size_t i = 0; i < PIECE; i++)
        plain.data[i] = i < 32000 ? (uint8_t)next_random() : plain.data[i - 32000];
    append(&head, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
    append_deflate(&piece, plain.data, PIECE, 1, Z_DEFAULT_STRATEGY, Z_SYNC_FLUSH);
    append_deflate(&tail, "", 0, 6, Z_DEFAULT_STRATEGY, Z_FINISH);
    piece_crc = (uint32_t)crc32(0, plain.data, PIECE);
    for (int i = 0; i < PIECES; i++)
        crc = (uint32_t)crc32_combine(crc, piece_crc, PIECE);
    append_le32(&tail, crc);
    append_le32(&tail, (uint32_t)((uint64_t)PIECE * PIECES));
    r->head = &head;
    r->piece = &piece;
    r->tail = &tail;
    r->pieces = PIECES;
    ASSERT_CODE(ems_test_slurp(ems_inflate_open(&r->base, &options, &err), NULL, &err), EMS_END);
    CU_ASSERT_EQUAL(facts.bytes_out, (uint64_t)PIECE * PIECES);
    ems_buf_release(&plain);
    ems_buf_release(&head);
    ems_buf_release(&piece);
    ems_buf_release(&tail);
}

/* ---- bad files ---- */

static void test_every_prefix(void)
{
    struct ems_buf plain = text(600), gz = {0};
    size_t first;

    append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, 31);
    first = gz.size;
    append_member(&gz, plain.data, 9, 0, Z_DEFAULT_STRATEGY, 0);
    for (size_t n = 0; n < gz.size; n++) {
        struct ems_buf cut = {.data = gz.data, .size = n};

        if (n == 0)
            check_bad(&cut, EMS_GZIP_EMPTY, "nothing");
        else if (n != first) /* a cut between two members is a shorter, whole file */
            check_bad(&cut, EMS_GZIP_TRUNCATED, "prefix");
    }
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

static void test_every_flipped_bit(void)
{
    for (int level = 0; level < 10; level += 6) {
        struct ems_buf plain = text(500), gz = {0};

        append_member(&gz, plain.data, 300, level, Z_DEFAULT_STRATEGY, 2 | 8);
        append_member(&gz, plain.data + 300, 200, level, Z_FIXED, 0);
        for (size_t bit = 0; bit < gz.size * 8; bit++) {
            gz.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            for (size_t b = 0; b < BACKENDS; b++) {
                struct result r = inflate_bytes(gz.data, gz.size, bit % 3, backends[b], false);

                CU_ASSERT(r.code != EMS_END || same(&r.out, &plain));
                CU_ASSERT(r.code == EMS_END || ems_code_exit(r.code) == 1);
                ems_buf_release(&r.out);
            }
            gz.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        ems_buf_release(&gz);
        ems_buf_release(&plain);
    }
}

static void test_each_refusal(void)
{
    static const struct {
        const char *what;
        int at; /* byte to change: from the front, or from the end if negative */
        uint8_t change;
        int code;
    } cases[] = {
        {"first magic byte", 0, 1, EMS_GZIP_CORRUPT},
        {"second magic byte", 1, 1, EMS_GZIP_CORRUPT},
        {"method", 2, 1, EMS_GZIP_CORRUPT},
        {"reserved flag 5", 3, 0x20, EMS_GZIP_CORRUPT},
        {"reserved flag 6", 3, 0x40, EMS_GZIP_CORRUPT},
        {"reserved flag 7", 3, 0x80, EMS_GZIP_CORRUPT},
        {"time, so the header's checksum", 5, 1, EMS_GZIP_CRC},
        {"block type 3", 12, 0x06, EMS_GZIP_CORRUPT},
        {"CRC", -8, 1, EMS_GZIP_CRC},
        {"CRC", -5, 0x80, EMS_GZIP_CRC},
        {"length", -4, 1, EMS_GZIP_CRC},
        {"length", -1, 0x80, EMS_GZIP_CRC},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_buf gz = {0};
        size_t at;

        append_member(&gz, "plain bytes", 11, 6, Z_FIXED, 2);
        at = cases[i].at >= 0 ? (size_t)cases[i].at : gz.size - (size_t)-cases[i].at;
        if (cases[i].change == 0x06)
            gz.data[at] |= 0x06;
        else
            gz.data[at] ^= cases[i].change;
        check_bad(&gz, cases[i].code, cases[i].what);
        ems_buf_release(&gz);
    }
}

static void test_trailing_bytes(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } tails[] = {{"\0", 1},       {"\0\0\0\0\0\0\0\0\0\0\0\0", 12},
                 {"\n", 1},       {"more", 4},
                 {"\x1f\x8c", 2}, {"\x8b\x1f", 2}};

    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        struct ems_buf gz = {0};

        append_member(&gz, "plain", 5, 6, Z_DEFAULT_STRATEGY, 0);
        append(&gz, tails[i].bytes, tails[i].size);
        check_bad(&gz, EMS_GZIP_TRAILING, "trailing bytes");
        ems_buf_release(&gz);
    }
}

/* A failure below comes out unchanged, wherever it happens, and never as an end. The memory source
 * of `chunk` bytes has size/chunk + 1 calls, of which the last gives EMS_END. */
static void test_failure_at_every_call(void)
{
    struct ems_buf plain = text(500), gz = {0};
    unsigned calls;

    append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, 31);
    append_member(&gz, plain.data, 3, 6, Z_DEFAULT_STRATEGY, 0);
    calls = (unsigned)((gz.size + 1) / 2 + 1);
    for (unsigned k = 1; k <= calls + 1; k++) {
        for (size_t b = 0; b < BACKENDS; b++) {
            for (int relay = 0; relay < 2; relay++) {
                struct result r =
                    inflate_from(ems_test_source_open(gz.data, gz.size, 2, k, EMS_PGP_MODIFIED),
                                 backends[b], relay);

                ASSERT_CODE(r.code, k <= calls ? EMS_PGP_MODIFIED : EMS_END);
                if (k <= calls) {
                    CU_ASSERT_STRING_EQUAL(r.err.stage, "test");
                    CU_ASSERT_EQUAL(r.err.origin, k < calls ? (k - 1) * 2 : gz.size);
                }
                ems_buf_release(&r.out);
            }
        }
    }
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

/* What was decoded in front of the damage is lent before the error. */
static void test_good_bytes_before_the_error(void)
{
    for (size_t b = 0; b < BACKENDS; b++) {
        struct ems_buf plain = text(5000), gz = {0};
        struct result r;

        append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, 0);
        gz.size -= 20;
        r = inflate_bytes(gz.data, gz.size, 0, backends[b], false);
        ASSERT_CODE(r.code, EMS_GZIP_TRUNCATED);
        CU_ASSERT(r.out.size > 4000 && memcmp(r.out.data, plain.data, r.out.size) == 0);
        CU_ASSERT_EQUAL(r.err.origin, gz.size);
        ems_buf_release(&r.out);
        ems_buf_release(&gz);
        ems_buf_release(&plain);
    }
}

static int limited(const struct ems_buf *gz, struct ems_inflate_options options)
{
    struct ems_error err = {0};

    return ems_test_slurp(
        ems_inflate_open(ems_test_source_open(gz->data, gz->size, 0, 0, EMS_OK), &options, &err),
        NULL, &err);
}

static void test_limits(void)
{
    struct ems_buf zeros = {0}, gz = {0};

    if (ems_buf_reserve(&zeros, 3000000, NULL) != EMS_OK)
        abort();
    memset(zeros.data, 0, 3000000);
    append_member(&gz, zeros.data, 3000000, 9, Z_DEFAULT_STRATEGY, 0);
    for (size_t b = 0; b < BACKENDS; b++) {
        struct ems_inflate_options o = {.backend = backends[b]};

        ASSERT_CODE(limited(&gz, o), EMS_END); /* about 1000:1, but small */
        o.max_out = 2999999;
        ASSERT_CODE(limited(&gz, o), EMS_GZIP_LIMIT);
        o.max_out = 3000000;
        ASSERT_CODE(limited(&gz, o), EMS_END);
        o.ratio_floor = 3000001;
        ASSERT_CODE(limited(&gz, o), EMS_END);
        o.ratio_floor = 2000000;
        ASSERT_CODE(limited(&gz, o), EMS_GZIP_LIMIT);
        o.max_ratio = 1100;
        ASSERT_CODE(limited(&gz, o), EMS_END);
    }
    ems_buf_release(&gz);
    ems_buf_release(&zeros);
}

/* A bomb as a source makes it: the default limit stops it, however long it would go on. */
static void test_bomb(void)
{
    static const struct ems_source_ops ops = {"repeater", repeat_next, repeat_free};
    struct ems_buf zeros = {0}, head = {0}, piece = {0};
    struct ems_error err = {0};
    struct ems_inflate_facts facts = {0};
    struct ems_inflate_options options = {.facts = &facts};
    struct repeater *r = ems_source_alloc(sizeof *r, &ops, NULL, &err);

    if (r == NULL || ems_buf_reserve(&zeros, 1 << 20, NULL) != EMS_OK)
        abort();
    memset(zeros.data, 0, 1 << 20);
    append(&head, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
    append_deflate(&piece, zeros.data, 1 << 20, 9, Z_DEFAULT_STRATEGY, Z_SYNC_FLUSH);
    r->head = &head;
    r->piece = &piece;
    r->pieces = UINT32_MAX - 2;
    ASSERT_CODE(ems_test_slurp(ems_inflate_open(&r->base, &options, &err), NULL, &err),
                EMS_GZIP_LIMIT);
    CU_ASSERT(facts.bytes_out >= 256u << 20 && facts.bytes_out < 258u << 20);
    ems_buf_release(&zeros);
    ems_buf_release(&head);
    ems_buf_release(&piece);
}

/* ---- spans ---- */

static void test_spans_can_be_kept_and_know_their_origin(void)
{
    struct ems_buf plain = text(2000000), gz = {0};

    append_member(&gz, plain.data, plain.size, 6, Z_DEFAULT_STRATEGY, 8);
    for (size_t chunk = 0; chunk < 2000; chunk += 1000) {
        struct ems_error err = {0};
        struct ems_span span;
        struct ems_source *src =
            ems_inflate_open(ems_test_source_open(gz.data, gz.size, chunk, 0, EMS_OK), NULL, &err);
        uint64_t origin = 0;
        size_t spans = 0;

        while (ems_source_next(src, &span, &err) == EMS_OK) {
            CU_ASSERT_PTR_NOT_NULL(span.block);
            if (spans == 0) /* behind the header: ten bytes and the name with its zero */
                CU_ASSERT_EQUAL(span.origin, 33);
            CU_ASSERT(span.origin > origin && span.origin < gz.size);
            CU_ASSERT(span.origin <= src->origin);
            origin = span.origin;
            spans++;
        }
        CU_ASSERT_EQUAL(err.code, EMS_OK);
        CU_ASSERT(spans > 5 && spans < 50);
        ems_source_free(src);
    }
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

/* ---- the decoders by themselves ---- */

/* Everything that follows the deflate stream stays with the caller, whatever the pieces of input
 * and output: compared with zlib, which hands unused bytes back by itself. */
static void run_pieces(enum ems_deflate_backend backend, const struct ems_buf *in, size_t in_piece,
                       size_t out_piece, size_t stream_size, const struct ems_buf *plain)
{
    struct ems_deflate *d = ems_deflate_new(backend, NULL);
    uint8_t *out = malloc(out_piece);
    size_t used = 0, written = 0, produced;
    bool sane = true;
    unsigned turn = 0;
    uint32_t crc = 0;
    int rc = EMS_OK;

    while (rc == EMS_OK) {
        size_t n = in->size - used < in_piece ? in->size - used : in_piece, left = n;
        size_t room = turn++ % 3 == 1 ? 0 : out_piece; /* none is allowed, too */
        uint8_t *copy = malloc(n > 0 ? n : 1);         /* of its exact size: overreads show */
        const uint8_t *p = copy;

        if (n > 0)
            memcpy(copy, in->data + used, n);
        rc = ems_deflate_run(d, &p, &left, out, room, &produced, &crc, NULL);
        sane = sane && left <= n && (size_t)(p - copy) == n - left &&
               (rc != EMS_OK || left == 0 || produced == room) &&
               written + produced <= plain->size &&
               (produced == 0 || memcmp(out, plain->data + written, produced) == 0);
        free(copy);
        used += n - left;
        written += produced;
        if (n == 0 && produced == 0 && room > 0)
            break;
    }
    CU_ASSERT(sane);
    ASSERT_CODE(rc, EMS_END);
    CU_ASSERT_EQUAL(used, stream_size);
    CU_ASSERT_EQUAL(written, plain->size);
    CU_ASSERT_EQUAL(crc, (uint32_t)crc32(0, plain->data, (uInt)plain->size));
    free(out);
    ems_deflate_free(d);
}

/* What the kinds are for: [0-3] tiny, ends in the first bytes; [4] blocks of 128 symbols, so that
 * headers and pauses meet, with long distances; [5] the same stored and fixed in turn; [6] a run
 * that makes kilobytes out of each byte, so that the output is full near the end; [7] big. */
static struct ems_buf make_kind(size_t kind, struct ems_buf *in)
{
    struct ems_buf plain = text(kind < 4 ? kind * kind * 30 : kind == 7 ? 80000 : 5000);

    if (kind == 4 || kind == 5) {
        struct ems_buf copy = text(4000);

        append(&copy, plain.data, plain.size);
        append(&plain, copy.data, copy.size);
        ems_buf_release(&copy);
    }
    if (kind == 6) {
        if (ems_buf_reserve(&plain, 300000, NULL) != EMS_OK)
            abort();
        memset(plain.data + plain.size, 'x', 300000);
        plain.size += 300000;
    }
    append_deflate_with(in, plain.data, plain.size, kind == 2 ? 0 : 9,
                        kind == 1 || kind == 5 ? Z_FIXED : Z_DEFAULT_STRATEGY, Z_FINISH,
                        kind == 4 || kind == 5 ? 1 : 8);
    return plain;
}

static void test_nothing_behind_the_stream_is_consumed(void)
{
    static const size_t in_pieces[] = {1, 2, 3, 5, 8, 9, 64, 100000};
    static const size_t out_pieces[] = {1, 2, 3, 7, 258, 4096, 10007, 1000000};

    for (size_t kind = 0; kind < 8; kind++) {
        struct ems_buf in = {0}, plain = make_kind(kind, &in);
        size_t stream = in.size;

        append(&in, "\0\1\2\3\4\5\6\7\x1f\x8b\x0a\x0b\x0c\x0d\x0e\x0f", 16);
        for (size_t i = 0; i < sizeof in_pieces / sizeof in_pieces[0]; i++) {
            for (size_t o = 0; o < sizeof out_pieces / sizeof out_pieces[0]; o++) {
                if (plain.size > 50000 && out_pieces[o] < 100)
                    continue;
                for (size_t b = 0; b < BACKENDS; b++)
                    run_pieces(backends[b], &in, in_pieces[i], out_pieces[o], stream, &plain);
            }
        }
        ems_buf_release(&plain);
        ems_buf_release(&in);
    }
}

static void test_decoder_repeats_its_verdict_until_reset(void)
{
    static const uint8_t bad[] = {0x07}, good[] = {0x03, 0x00, 0x55};

    for (size_t b = 0; b < BACKENDS; b++) {
        struct ems_deflate *d = ems_deflate_new(backends[b], NULL);
        const uint8_t *in = bad;
        size_t in_size = 1, produced;
        uint32_t crc = 0;
        uint8_t out[8];

        for (int i = 0; i < 2; i++) {
            struct ems_error err = {0};

            ASSERT_CODE(ems_deflate_run(d, &in, &in_size, out, 8, &produced, &crc, &err),
                        EMS_GZIP_CORRUPT);
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "invalid block"));
        }
        ems_deflate_reset(d);
        in = good;
        in_size = 3;
        for (int i = 0; i < 2; i++) {
            ASSERT_CODE(ems_deflate_run(d, &in, &in_size, out, 8, &produced, &crc, NULL), EMS_END);
            CU_ASSERT_EQUAL(in_size, 1);
            CU_ASSERT_EQUAL(produced, 0);
        }
        ems_deflate_free(d);
    }
    ems_deflate_free(NULL);
#ifndef EMS_HAVE_ISAL
    struct ems_error err = {0};

    CU_ASSERT_PTR_NULL(ems_deflate_new(EMS_DEFLATE_ISAL, &err));
    ASSERT_CODE(err.code, EMS_INTERNAL);
#endif
}

/* ---- peers ---- */

#ifdef EMS_HAVE_ISAL

static bool is_damage(int code)
{
    return code == EMS_GZIP_CORRUPT || code == EMS_GZIP_TRUNCATED || code == EMS_GZIP_CRC;
}

/*
 * Damage at random. If zlib comes to an end, so does ISA-L, with the same bytes. If only ISA-L
 * does, the damage was in an unused corner of a code table (it takes incomplete tables that zlib
 * refuses) and its bytes are the true ones, as the CRC says. How they call damage may differ.
 */
static void test_backends_agree_on_damage(void)
{
    struct ems_buf plain = text(3000);
    unsigned ended = 0;

    for (unsigned i = 0; i < 3000; i++) {
        struct ems_buf gz = {0};
        struct result z, isal;
        size_t chunk = i % 4 == 0 ? 1 : 0, size = i % 7 == 0 ? plain.size : 60 + i % 50;

        append_member(&gz, plain.data, size, (int)(i % 10),
                      i % 3 == 0 ? Z_FIXED : Z_DEFAULT_STRATEGY, (uint8_t)(i % 32));
        for (unsigned k = next_random() % 4; k > 0; k--)
            gz.data[next_random() % gz.size] ^= (uint8_t)(1u << next_random() % 8);
        if (next_random() % 4 == 0)
            gz.size = next_random() % gz.size;
        z = inflate_bytes(gz.data, gz.size, chunk, EMS_DEFLATE_ZLIB, false);
        isal = inflate_bytes(gz.data, gz.size, chunk, EMS_DEFLATE_ISAL, false);
        if (z.code == EMS_END) {
            ASSERT_CODE(isal.code, EMS_END);
            ended++;
        }
        if (isal.code == EMS_END)
            CU_ASSERT(isal.out.size == size && memcmp(isal.out.data, plain.data, size) == 0);
        CU_ASSERT(z.code == isal.code || (is_damage(z.code) && is_damage(isal.code)) ||
                  (z.code == EMS_GZIP_CORRUPT && isal.code == EMS_END));
        ems_buf_release(&z.out);
        ems_buf_release(&isal.out);
        ems_buf_release(&gz);
    }
    CU_ASSERT(ended > 250 && ended < 2750);
    ems_buf_release(&plain);
}

#endif

/* gzip(1) itself, if it is there: two runs of it, one behind the other. */
static void test_gzip_program(void)
{
    char path[] = "/tmp/ems-test-XXXXXX", command[200];
    struct ems_buf plain = text(60000), twice = {0}, gz = {0};
    int fd = mkstemp(path);
    FILE *f;

    if (system("command -v gzip >/dev/null 2>&1") == 0) {
        CU_ASSERT_EQUAL(write(fd, plain.data, plain.size), (ssize_t)plain.size);
        snprintf(command, sizeof command, "gzip -c %s; gzip -1 -n -c < %s", path, path);
        f = popen(command, "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        do {
            if (ems_buf_reserve(&gz, 65536, NULL) != EMS_OK)
                abort();
            gz.size += fread(gz.data + gz.size, 1, 65536, f);
        } while (!feof(f) && !ferror(f));
        CU_ASSERT_EQUAL(pclose(f), 0);
        append(&twice, plain.data, plain.size);
        append(&twice, plain.data, plain.size);
        check_good(&gz, &twice, 2);
    }
    close(fd);
    unlink(path);
    ems_buf_release(&twice);
    ems_buf_release(&gz);
    ems_buf_release(&plain);
}

EMS_TESTS("inflate", {"chunk matrix, both decoders, relays", test_chunk_matrix},
          {"stored, fixed and dynamic blocks", test_block_types},
          {"all header fields", test_header_fields}, {"members, empty ones too", test_members},
          {"long matches and runs", test_big_and_repetitive},
          {"more than 2^32 bytes", test_more_than_four_gigabytes},
          {"every prefix", test_every_prefix}, {"every flipped bit", test_every_flipped_bit},
          {"each refusal", test_each_refusal}, {"trailing bytes", test_trailing_bytes},
          {"failure at the k-th call", test_failure_at_every_call},
          {"good bytes come before the error", test_good_bytes_before_the_error},
          {"limits", test_limits}, {"a bomb", test_bomb},
          {"spans: kept, with origin", test_spans_can_be_kept_and_know_their_origin},
          {"nothing behind the stream is consumed", test_nothing_behind_the_stream_is_consumed},
          {"a decoder repeats its verdict", test_decoder_repeats_its_verdict_until_reset},
#ifdef EMS_HAVE_ISAL
          {"backends agree on damage", test_backends_agree_on_damage},
#endif
          {"gzip(1) itself", test_gzip_program})
