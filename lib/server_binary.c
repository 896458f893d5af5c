/*
 * server_binary.c - see server_binary.h
 *
 *     file   = "PGCOPY\n\377\r\n\0", flags (4), length of what follows (4), rows, -1 (2)
 *     row    = number of columns (2), columns          all numbers big-endian
 *     column = length (4), or -1 for NULL, and so many octets in the type's own form
 */
#include "server_binary.h"

#include "error.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static void put_be16(uint8_t *p, uint16_t value)
{
    value = htobe16(value);
    memcpy(p, &value, sizeof value);
}

static void put_be32(uint8_t *p, uint32_t value)
{
    value = htobe32(value);
    memcpy(p, &value, sizeof value);
}

enum type { TEXT, INT8, INT4, INT2, BOOL, BYTEA, JSONB, TSVECTOR };

/* PostgreSQL's src/include/catalog/pg_type.dat; these never change. */
static const struct {
    Oid oid;
    enum type type;
} known_types[] = {
    {25, TEXT},  {1043, TEXT},  {1042, TEXT}, /* text, varchar, char(n) */
    {20, INT8},  {23, INT4},    {21, INT2},       {16, BOOL},
    {17, BYTEA}, {3802, JSONB}, {3614, TSVECTOR},
};

int ems_binary_init(struct ems_binary *b, const Oid *types, size_t columns, bool *known,
                    struct ems_error *err)
{
    *known = true;
    b->types = calloc(columns + 1, 1);
    if (b->types == NULL)
        return ems_fail_memory(err);
    b->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        size_t k = 0, count = sizeof known_types / sizeof known_types[0];

        while (k < count && known_types[k].oid != types[i])
            k++;
        if (k == count)
            *known = false;
        else
            b->types[i] = (uint8_t)known_types[k].type;
    }
    *known &= columns > 0; /* rows of no column are line feeds, which put_row would not take */
    return EMS_OK;
}

void ems_binary_release(struct ems_binary *b)
{
    free(b->types);
    ems_buf_release(&b->rest);
    ems_buf_release(&b->value);
    *b = (struct ems_binary){0};
}

int ems_binary_header(struct ems_buf *out, struct ems_error *err)
{
    static const char header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";

    return ems_buf_append(out, header, sizeof header, err);
}

int ems_binary_trailer(struct ems_buf *out, struct ems_error *err)
{
    return ems_buf_append(out, "\377\377", 2, err);
}

bool ems_binary_is_whole(const struct ems_binary *b)
{
    return b->rest.size == 0;
}

/* ---- columns ---- */

/*
 * Copy up to the next tab, line feed or backslash: how many octets. Sixteen at a time, so out has
 * room for 15 more than in holds; nothing is read behind the end.
 */
static size_t copy_plain(uint8_t *out, const uint8_t *in, size_t size)
{
    size_t n = 0;

#ifdef __SSE2__
    const __m128i tab = _mm_set1_epi8('\t'), feed = _mm_set1_epi8('\n'),
                  backslash = _mm_set1_epi8('\\');

    for (; size - n >= 16; n += 16) {
        __m128i octets = _mm_loadu_si128((const __m128i *)(in + n));
        int found = _mm_movemask_epi8(
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(octets, tab), _mm_cmpeq_epi8(octets, feed)),
                         _mm_cmpeq_epi8(octets, backslash)));

        _mm_storeu_si128((__m128i *)(out + n), octets);
        if (found != 0)
            return n + (size_t)__builtin_ctz((unsigned)found);
    }
#endif
    while (n < size && in[n] != '\t' && in[n] != '\n' && in[n] != '\\') {
        out[n] = in[n];
        n++;
    }
    return n;
}

/* The letter behind a backslash: what it stands for, or 0. */
static uint8_t unescape(uint8_t letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

/* One column without its escapes. Returns the octets of in that it took, not its end mark; SIZE_MAX
 * if it is not in pg_dump's words. *size: what it gave. */
static size_t take_text(uint8_t *out, const uint8_t *in, size_t in_size, size_t *size)
{
    size_t at = 0, n = 0;

    for (;;) {
        size_t plain = copy_plain(out + n, in + at, in_size - at);

        at += plain;
        n += plain;
        if (at == in_size || in[at] != '\\')
            break;
        if (at + 1 == in_size || (out[n] = unescape(in[at + 1])) == 0)
            return SIZE_MAX;
        n++;
        at += 2;
    }
    *size = n;
    return at;
}

/* Decimal digits as the server prints them, to `octets` octets. Returns what it took, or SIZE_MAX.
 */
static size_t take_number(uint8_t *out, const uint8_t *in, size_t size, size_t octets)
{
    const uint64_t limit = (uint64_t)1 << (8 * octets - 1);
    bool negative = size > 0 && in[0] == '-';
    size_t at = negative, first = at;
    uint64_t value = 0;

    while (at < size && in[at] >= '0' && in[at] <= '9') {
        if (at - first == 19)
            return SIZE_MAX;
        value = 10 * value + (uint64_t)(in[at++] - '0');
    }
    if (at == first || value > limit - !negative)
        return SIZE_MAX;
    if (negative)
        value = ~value + 1;
    for (size_t i = octets; i > 0; i--) {
        out[i - 1] = (uint8_t)value;
        value >>= 8;
    }
    return at;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\\x68656c6c6f": the backslash of bytea's hex form is itself escaped. */
static size_t take_bytea(uint8_t *out, const uint8_t *in, size_t in_size, size_t *size)
{
    size_t at = 3, n = 0;

    if (in_size < 3 || memcmp(in, "\\\\x", 3) != 0)
        return SIZE_MAX;
    while (at + 1 < in_size) {
        int high = hex_value(in[at]), low = hex_value(in[at + 1]);

        if (high < 0 || low < 0)
            break;
        out[n++] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *size = n;
    return at;
}

/* ---- tsvector ---- */

/* "'lexeme':3A,7 'other'" in, a pointer behind it out, or NULL. Quotes and backslashes inside a
 * lexeme are doubled (tsvectorout). */
static const uint8_t *take_lexeme(const uint8_t *p, const uint8_t *end, uint8_t **out)
{
    if (p == end || *p++ != '\'')
        return NULL;
    while (p < end) {
        uint8_t c = *p++;

        if (c == '\'' && (p == end || *p != '\'')) {
            *(*out)++ = '\0';
            return p;
        }
        if (c == '\'' || c == '\\') {
            if (p == end || *p != c)
                return NULL;
            p++;
        }
        if (c == '\0')
            return NULL;
        *(*out)++ = c;
    }
    return NULL;
}

/* ":3A,7": a position has 14 bits, its weight 2, and there are at most 255. */
static const uint8_t *take_positions(const uint8_t *p, const uint8_t *end, uint8_t **out)
{
    uint8_t *count = *out;
    unsigned n = 0, before = 0;

    *out += 2;
    for (; p < end && *p == (n == 0 ? ':' : ','); n++) {
        unsigned position = 0, weight = 0;
        const uint8_t *first = ++p;

        while (p < end && *p >= '0' && *p <= '9' && position < (1u << 14))
            position = 10 * position + (unsigned)(*p++ - '0');
        if (p == first || position <= before || position >= (1u << 14) || n == 255)
            return NULL;
        before = position;
        if (p < end && *p >= 'A' && *p <= 'D')
            weight = (unsigned)('D' - *p++);
        put_be16(*out, (uint16_t)(weight << 14 | position));
        *out += 2;
    }
    put_be16(count, (uint16_t)n);
    return p;
}

/*
 * Number of lexemes (4); of each the text, 0, number of positions (2), positions (2 each).
 *
 * tsvectorin sorts lexemes and positions and makes one of equal ones; tsvectorrecv keeps equal
 * lexemes, and refuses unsorted positions. So only what is in tsvectorout's order is taken: octet
 * by octet (tsCompareString), the shorter one first, which is strcmp's, since no lexeme holds a 0.
 */
static bool put_tsvector(const uint8_t *p, size_t size, uint8_t *out, size_t *out_size)
{
    const uint8_t *end = p + size;
    const char *before = "";
    uint8_t *at = out + 4;
    uint32_t lexemes = 0;

    while (p < end) {
        const char *lexeme = (const char *)at;

        if (lexemes++ > 0 && *p++ != ' ')
            return false;
        p = take_lexeme(p, end, &at);
        if (p == NULL || strcmp(before, lexeme) >= 0)
            return false;
        before = lexeme;
        p = take_positions(p, end, &at);
        if (p == NULL)
            return false;
    }
    put_be32(out, lexemes);
    *out_size = (size_t)(at - out);
    return true;
}

static size_t take_tsvector(struct ems_binary *b, uint8_t *out, const uint8_t *in, size_t in_size,
                            size_t *size)
{
    size_t text, used;

    if (ems_buf_reserve(&b->value, in_size + 16, NULL) != EMS_OK)
        return SIZE_MAX;
    used = take_text(b->value.data, in, in_size, &text);
    if (used == SIZE_MAX || !put_tsvector(b->value.data, text, out, size))
        return SIZE_MAX;
    return used;
}

/* ---- rows ---- */

static size_t take_column(struct ems_binary *b, enum type type, uint8_t *out, const uint8_t *in,
                          size_t in_size, size_t *size)
{
    size_t used;

    switch (type) {
    case TEXT:
        return take_text(out, in, in_size, size);
    case INT8:
        *size = 8;
        return take_number(out, in, in_size, 8);
    case INT4:
        *size = 4;
        return take_number(out, in, in_size, 4);
    case INT2:
        *size = 2;
        return take_number(out, in, in_size, 2);
    case BOOL:
        *size = 1;
        out[0] = in_size > 0 && in[0] == 't';
        return in_size > 0 && (in[0] == 't' || in[0] == 'f') ? 1 : SIZE_MAX;
    case BYTEA:
        return take_bytea(out, in, in_size, size);
    case JSONB:
        out[0] = 1; /* the format's version; then the text */
        used = take_text(out + 1, in, in_size, size);
        ++*size;
        return used;
    case TSVECTOR:
        return take_tsvector(b, out, in, in_size, size);
    }
    return SIZE_MAX;
}

/* One row at *in, which its line feed ends. False: not in pg_dump's words. */
static bool put_row(struct ems_binary *b, const uint8_t **in, const uint8_t *end, uint8_t **out)
{
    const uint8_t *p = *in;
    uint8_t *o = *out;

    put_be16(o, (uint16_t)b->columns);
    o += 2;
    for (size_t i = 0; i < b->columns; i++) {
        size_t size = 0, used;

        if (end - p > 2 && p[0] == '\\' && p[1] == 'N') {
            put_be32(o, UINT32_MAX);
            used = 2;
        } else {
            used = take_column(b, b->types[i], o + 4, p, (size_t)(end - p), &size);
            if (used == SIZE_MAX)
                return false;
            put_be32(o, (uint32_t)size);
        }
        o += 4 + size;
        p += used;
        if (p == end || *p++ != (i + 1 < b->columns ? '\t' : '\n'))
            return false;
    }
    *in = p;
    *out = o;
    return true;
}

static int put_rows(struct ems_binary *b, const uint8_t *data, size_t size, struct ems_buf *out,
                    struct ems_error *err)
{
    /* The most that can become of an octet: of the empty column of a row of one, "\n", 2 + 4; of a
     * digit and its tab 4 + 8; and the number of a tsvector's lexemes. */
    int rc = ems_buf_reserve(out, 10 * size + 64, err);
    const uint8_t *end = data + size;
    uint8_t *at;

    if (rc != EMS_OK)
        return rc;
    at = out->data + out->size;
    while (data < end)
        if (!put_row(b, &data, end, &at))
            return ems_fail(err, EMS_SQL_MALFORMED, "a row that pg_dump would write otherwise");
    out->size = (size_t)(at - out->data);
    return EMS_OK;
}

int ems_binary_feed(struct ems_binary *b, const uint8_t *data, size_t size, struct ems_buf *out,
                    struct ems_error *err)
{
    const uint8_t *first = memchr(data, '\n', size), *last;
    int rc = EMS_OK;

    if (b->rest.size > 0 || first == NULL) { /* the end of the row that was begun */
        size_t head = first != NULL ? (size_t)(first + 1 - data) : size;

        if (b->rest.size + head > EMS_BINARY_ROW_MAX)
            return ems_fail(err, EMS_SQL_MALFORMED, "a row of more than %u bytes",
                            EMS_BINARY_ROW_MAX);
        rc = ems_buf_append(&b->rest, data, head, err);
        if (rc != EMS_OK || first == NULL)
            return rc;
        rc = put_rows(b, b->rest.data, b->rest.size, out, err);
        b->rest.size = 0;
        data += head;
        size -= head;
    }
    last = size > 0 ? memrchr(data, '\n', size) : NULL;
    if (rc == EMS_OK && last != NULL) {
        size_t whole = (size_t)(last + 1 - data);

        rc = put_rows(b, data, whole, out, err);
        data += whole;
        size -= whole;
    }
    return rc == EMS_OK ? ems_buf_append(&b->rest, data, size, err) : rc;
}
