/*
 * sql_rows_avx2.c - COPY rows 64 bytes at a time; see sql_rows.h.
 *
 * A block is turned into bit masks, bit i for byte i: tabs, line ends, backslashes. Everything a
 * row must obey is then arithmetic on masks. A block that breaks a rule, or might, is not taken:
 * the byte-wise machine looks at it and finds the exact place and words. So nothing here needs to
 * know what the error is.
 *
 * UTF-8 is checked by three table look-ups on the nibbles of neighbouring bytes (Keiser and Lemire,
 * "Validating UTF-8 in less than one instruction per byte", 2020), where a set bit that survives
 * the three names a rule that is broken.
 */
#include "sql_rows.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi,popcnt"), always_inline)) static inline

#define EVEN 0x5555555555555555u

/* ---- UTF-8 ---- */

enum {                   /* a pair of bytes is ... */
       TOO_SHORT = 1,    /* a lead without its continuation */
       TOO_LONG = 2,     /* ASCII and a continuation */
       OVERLONG_3 = 4,   /* E0 80..9F */
       TOO_LARGE = 8,    /* F4 90..BF, F5..FF 90..BF */
       SURROGATE = 16,   /* ED A0..BF */
       OVERLONG_2 = 32,  /* C0..C1 80..BF */
       OVERLONG_4 = 64,  /* F0 80..8F; F5..FF 80..8F is too large with the same bits */
       TWO_FOLLOW = 128, /* two continuations: right only as third and fourth byte */
       ANY = TOO_SHORT | TOO_LONG | TWO_FOLLOW /* what the low nibble says nothing about */
};

#define TABLE(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))
#define B(x)       (char)(x)

struct utf8_state {
    __m256i last;       /* the 32 bytes before */
    __m256i incomplete; /* nonzero if they end inside a character */
};

/* Bits of broken rules in these 32 bytes. */
AVX2 __m256i utf8_errors(__m256i in, __m256i last)
{
    const __m256i first_high =
        TABLE(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
              B(TWO_FOLLOW), B(TWO_FOLLOW), B(TWO_FOLLOW), B(TWO_FOLLOW), TOO_SHORT | OVERLONG_2,
              TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | OVERLONG_4);
    const __m256i first_low =
        TABLE(B(ANY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), B(ANY | OVERLONG_2), B(ANY), B(ANY),
              B(ANY | TOO_LARGE), B(ANY | TOO_LARGE | OVERLONG_4), B(ANY | TOO_LARGE | OVERLONG_4),
              B(ANY | TOO_LARGE | OVERLONG_4), B(ANY | TOO_LARGE | OVERLONG_4),
              B(ANY | TOO_LARGE | OVERLONG_4), B(ANY | TOO_LARGE | OVERLONG_4),
              B(ANY | TOO_LARGE | OVERLONG_4), B(ANY | TOO_LARGE | OVERLONG_4),
              B(ANY | TOO_LARGE | OVERLONG_4 | SURROGATE), B(ANY | TOO_LARGE | OVERLONG_4),
              B(ANY | TOO_LARGE | OVERLONG_4));
    const __m256i second_high =
        TABLE(TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
              TOO_SHORT, B(TOO_LONG | OVERLONG_2 | TWO_FOLLOW | OVERLONG_3 | OVERLONG_4),
              B(TOO_LONG | OVERLONG_2 | TWO_FOLLOW | OVERLONG_3 | TOO_LARGE),
              B(TOO_LONG | OVERLONG_2 | TWO_FOLLOW | SURROGATE | TOO_LARGE),
              B(TOO_LONG | OVERLONG_2 | TWO_FOLLOW | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT,
              TOO_SHORT, TOO_SHORT);
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    __m256i shifted = _mm256_permute2x128_si256(last, in, 0x21);
    __m256i before1 = _mm256_alignr_epi8(in, shifted, 15);
    __m256i before2 = _mm256_alignr_epi8(in, shifted, 14);
    __m256i before3 = _mm256_alignr_epi8(in, shifted, 13);
    __m256i pair = _mm256_and_si256(
        _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(before1, 4), nibble)),
        _mm256_shuffle_epi8(first_low, _mm256_and_si256(before1, nibble)));
    __m256i third, fourth;

    pair = _mm256_and_si256(
        pair, _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(in, 4), nibble)));
    /* Two continuations in a row are right exactly where a lead of 3 or 4 stands two or three
     * bytes before. */
    third = _mm256_subs_epu8(before2, _mm256_set1_epi8(0xe0 - 0x80));
    fourth = _mm256_subs_epu8(before3, _mm256_set1_epi8(0xf0 - 0x80));
    third = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(B(0x80)));
    return _mm256_xor_si256(third, pair);
}

/* Nonzero if the last bytes begin a character that they do not end. */
AVX2 __m256i utf8_incomplete(__m256i in)
{
    const __m256i most = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                          -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                          -1, B(0xf0 - 1), B(0xe0 - 1), B(0xc0 - 1));

    return _mm256_subs_epu8(in, most);
}

/* True if the block is UTF-8 in the light of what came before. A pair of bytes is judged with its
 * second, so of the last byte it must be said separately that it can begin anything at all: the
 * block may be the last one that is looked at here. */
AVX2 bool utf8_block(struct utf8_state *u, __m256i a, __m256i b, uint8_t last)
{
    __m256i errors;

    if (_mm256_movemask_epi8(_mm256_or_si256(a, b)) == 0) {
        if (!_mm256_testz_si256(u->incomplete, u->incomplete))
            return false;
        u->last = b;
        return true;
    }
    if (last == 0xc0 || last == 0xc1 || last > 0xf4)
        return false;
    errors = _mm256_or_si256(utf8_errors(a, u->last), utf8_errors(b, a));
    u->last = b;
    u->incomplete = utf8_incomplete(b);
    return _mm256_testz_si256(errors, errors);
}

/* ---- rows ---- */

AVX2 uint64_t equal(__m256i a, __m256i b, char c)
{
    __m256i v = _mm256_set1_epi8(c);

    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, v)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, v)) << 32;
}

/* Which bytes may follow a backslash: b f n r t v \ N. One bit for each high nibble in use. */
AVX2 uint64_t escapable(__m256i a, __m256i b)
{
    const __m256i low = TABLE(0, 0, 3, 0, 2, 0, 3, 0, 0, 0, 0, 0, 4, 0, 1 | 8, 0);
    const __m256i high = TABLE(0, 0, 0, 0, 8, 4, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i nibble = _mm256_set1_epi8(0x0f), zero = _mm256_setzero_si256();
    __m256i x = _mm256_and_si256(
        _mm256_shuffle_epi8(low, _mm256_and_si256(a, nibble)),
        _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(a, 4), nibble)));
    __m256i y = _mm256_and_si256(
        _mm256_shuffle_epi8(low, _mm256_and_si256(b, nibble)),
        _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble)));
    uint64_t not_in = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, zero)) |
                      (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(y, zero)) << 32;

    return ~not_in;
}

/* What one block tells the next; all bits 0 or 1. */
struct carry {
    uint64_t escaped;       /* the next byte stands behind a backslash */
    uint64_t escaped_start; /* ... and that backslash is a column's first byte */
    uint64_t null;          /* the last byte was the N of \N */
    uint64_t column_start;  /* the next byte is a column's first */
    uint64_t cr;            /* the last byte was CR */
    uint32_t tabs;
    uint64_t rows;
};

/* Backslashes: each escape must be one of ours, and \N a whole column. */
AVX2 bool check_escapes(struct carry *k, __m256i a, __m256i b, uint64_t slashes, uint64_t ends,
                        uint64_t row_ends)
{
    uint64_t starts, even, escapes, escaped, nulls, column_starts, null_starts;

    slashes &= ~k->escaped;
    /* In a run of backslashes every other one escapes, from the first. Adding a run's first bit to
     * the run clears it; runs that begin at even and odd places are told apart that way. */
    starts = slashes & ~(slashes << 1);
    even = slashes & ~(slashes + (starts & EVEN));
    escapes = (even & EVEN) | ((slashes ^ even) & ~(uint64_t)EVEN);
    escaped = escapes << 1 | k->escaped;
    if (escaped & ~escapable(a, b))
        return false;
    nulls = escaped & equal(a, b, 'N');
    column_starts = escapes & (ends << 1 | k->column_start);
    null_starts = column_starts << 1 | k->escaped_start;
    if (nulls & ~null_starts)
        return false;
    if ((nulls << 1 | k->null) & ~row_ends)
        return false;
    k->escaped = escapes >> 63;
    k->escaped_start = column_starts >> 63;
    k->null = nulls >> 63;
    return true;
}

/* One block; false if it is not taken, and then the carry means nothing. */
AVX2 bool take_block(const struct ems_sql_rows *r, struct carry *k, __m256i a, __m256i b)
{
    uint64_t slashes = equal(a, b, '\\'), tabs = equal(a, b, '\t'), lines = equal(a, b, '\n');
    uint64_t returns = equal(a, b, '\r'), ends = tabs | lines, left;

    if (equal(a, b, '\0') != 0)
        return false;
    if (r->crlf ? (returns << 1 | k->cr) != lines : returns != 0)
        return false;
    k->cr = returns >> 63;
    if ((slashes | k->escaped | k->null) != 0 &&
        !check_escapes(k, a, b, slashes, ends, ends | returns))
        return false;
    k->column_start = ends >> 63;
    for (left = lines; left != 0; left &= left - 1) {
        uint64_t row = left ^ (left - 1); /* everything up to this line end */

        if (k->tabs + (uint32_t)__builtin_popcountll(tabs & row) + 1 != r->columns)
            return false;
        tabs &= ~row;
        k->tabs = 0;
        k->rows++;
    }
    k->tabs += (uint32_t)__builtin_popcountll(tabs);
    return k->tabs < r->columns;
}

/* The byte-wise machine's state after `taken` bytes that end at `end`. */
static void leave(struct ems_sql_rows *r, const struct carry *k, const uint8_t *end)
{
    size_t back = 0;

    r->tabs = k->tabs;
    r->rows += k->rows;
    if (k->escaped) {
        r->marker = 1;
        r->state = end[-2] == '\n'   ? EMS_ROWS_ESCAPE_ROW
                   : end[-2] == '\t' ? EMS_ROWS_ESCAPE_COLUMN
                                     : EMS_ROWS_ESCAPE;
        return;
    }
    if (k->null)
        r->state = EMS_ROWS_NULL;
    else if (k->cr)
        r->state = EMS_ROWS_CR;
    else
        r->state = end[-1] == '\n'   ? EMS_ROWS_ROW_START
                   : end[-1] == '\t' ? EMS_ROWS_COLUMN_START
                                     : EMS_ROWS_COLUMN;
    /* The blocks are valid up to here, so the last lead byte is at most three back. */
    while (back < 3 && (end[-1 - (ptrdiff_t)back] & 0xc0) == 0x80)
        back++;
    r->utf8 = (struct ems_utf8){0};
    if (end[-1 - (ptrdiff_t)back] >= 0xc0)
        for (const uint8_t *p = end - 1 - back; p < end; p++)
            ems_utf8_step(&r->utf8, *p);
}

__attribute__((target("avx2,bmi,popcnt"))) size_t
ems_sql_rows_avx2(struct ems_sql_rows *r, const uint8_t *data, size_t size)
{
    struct utf8_state u = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    struct carry k = {.column_start = r->state != EMS_ROWS_COLUMN, .tabs = r->tabs};
    size_t n = 0;

    for (; size - n >= 64; n += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(data + n));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(data + n + 32));
        struct utf8_state next_u = u;
        struct carry next = k;

        if (!utf8_block(&next_u, a, b, data[n + 63]) || !take_block(r, &next, a, b))
            break;
        u = next_u;
        k = next;
    }
    if (n > 0)
        leave(r, &k, data + n);
    return n;
}

bool ems_sql_rows_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("popcnt");
}

#else

size_t ems_sql_rows_avx2(struct ems_sql_rows *r, const uint8_t *data, size_t size)
{
    (void)r, (void)data, (void)size;
    return 0;
}

bool ems_sql_rows_has_avx2(void)
{
    return false;
}

#endif
