/*
 * sql_rows.c - see sql_rows.h. The byte-wise machine, the portable fast path, and the guard of
 * both.
 *
 * The machine alone decides what an error is, where it is and how it is said. The fast paths take
 * only bytes that the machine would take too, and leave its state as it would have left it; what
 * they do not take, it looks at. So the two can differ in speed and in nothing else.
 *
 * A backslash that is a row's first byte may begin the end marker. If the span ends behind it, it
 * is held back, because the caller must not get a part of the marker: see ems_sql_rows_fed.
 */
#include "sql_rows.h"

#include "bytes.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define STEP 64 /* bytes that the byte-wise machine takes before the fast one is tried again */

void ems_sql_rows_init(struct ems_sql_rows *r, const char *table, uint32_t columns, bool crlf,
                       uint64_t first_line)
{
    *r = (struct ems_sql_rows){.table = table,
                               .columns = columns,
                               .crlf = crlf,
                               .vector = ems_sql_rows_has_avx2(),
                               .first_line = first_line,
                               .row_max = EMS_SQL_ROW_MAX,
                               .state = EMS_ROWS_ROW_START};
}

/* Where a person would look for it: the dump's line, the table's row, the column. */
static int fail(const struct ems_sql_rows *r, int code, const char *what, struct ems_error *err)
{
    char table[80];

    return ems_fail(
        err, code, "line %llu, row %llu of %s (column %u): %s",
        (unsigned long long)(r->first_line + r->rows), (unsigned long long)(r->rows + 1),
        ems_printable(r->table, strlen(r->table), table, sizeof table), r->tabs + 1, what);
}

static int fail_byte(const struct ems_sql_rows *r, int code, const char *what, uint8_t c,
                     struct ems_error *err)
{
    char text[80];
    const char *end = "";

    if (c == '\n' || c == '\r')
        end = c == '\n' ? " (line feed)" : " (carriage return)";
    snprintf(text, sizeof text, "%s %02X%s", what, c, end);
    return fail(r, code, text, err);
}

/* Too few columns show at the end of the row, too many at the tab. */
static int end_row(struct ems_sql_rows *r, struct ems_error *err)
{
    char text[64];

    if (r->columns > 0 && r->tabs + 1 != r->columns) {
        snprintf(text, sizeof text, "the row has %u columns instead of %u", r->tabs + 1,
                 r->columns);
        return fail(r, EMS_SQL_MALFORMED, text, err);
    }
    r->tabs = 0;
    r->rows++;
    r->state = EMS_ROWS_ROW_START;
    return EMS_OK;
}

/* The last column has no tab behind it. */
static int tab(struct ems_sql_rows *r, struct ems_error *err)
{
    if (r->tabs + 1 >= r->columns)
        return fail(r, EMS_SQL_MALFORMED, "the row has more columns than the COPY names", err);
    r->tabs++;
    r->state = EMS_ROWS_COLUMN_START;
    return EMS_OK;
}

/* A byte where a column can go on or end. */
static int step_column(struct ems_sql_rows *r, uint8_t c, struct ems_error *err)
{
    if (c == '\t')
        return tab(r, err);
    if (c == '\n' && !r->crlf)
        return end_row(r, err);
    if (c == '\r' && r->crlf) {
        r->state = EMS_ROWS_CR;
        return EMS_OK;
    }
    if (c == '\n' || c == '\r')
        return fail_byte(r, EMS_SQL_MALFORMED, "line end that the dump does not use elsewhere,", c,
                         err);
    if (c == '\\') {
        r->marker = 1;
        r->state = r->state == EMS_ROWS_ROW_START      ? EMS_ROWS_ESCAPE_ROW
                   : r->state == EMS_ROWS_COLUMN_START ? EMS_ROWS_ESCAPE_COLUMN
                                                       : EMS_ROWS_ESCAPE;
        return EMS_OK;
    }
    if (c == 0)
        return fail(r, EMS_SQL_ENCODING, "NUL byte", err);
    if (c >= 0x80 && !ems_utf8_step(&r->utf8, c))
        return fail_byte(r, EMS_SQL_ENCODING, "not UTF-8: byte", c, err);
    if (r->columns == 0)
        return fail(r, EMS_SQL_MALFORMED, "data in a table without columns", err);
    r->state = EMS_ROWS_COLUMN;
    return EMS_OK;
}

/* \. ends the data, as a whole line; servers before 18 take it for the end in any column, and drop
 * what follows. \N is NULL, as a whole column. pg_dump never writes octal or hex escapes. */
static int step_escape(struct ems_sql_rows *r, uint8_t c, struct ems_error *err)
{
    bool at_start = r->state != EMS_ROWS_ESCAPE;

    if (c == '.' && r->state == EMS_ROWS_ESCAPE_ROW) {
        r->marker++;
        r->state = EMS_ROWS_DOT;
        return EMS_OK;
    }
    if (c == '.')
        return fail(r, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", err);
    if (r->columns == 0)
        return fail(r, EMS_SQL_MALFORMED, "data in a table without columns", err);
    r->state = EMS_ROWS_COLUMN;
    if (c == 'N' && at_start) {
        r->state = EMS_ROWS_NULL;
        return EMS_OK;
    }
    if (c == 'N')
        return fail(r, EMS_SQL_MALFORMED, "\\N inside a column", err);
    if (c == 0)
        return fail(r, EMS_SQL_ENCODING, "NUL byte", err);
    if (c > 0x7f || strchr("bfnrtv\\", c) == NULL)
        return fail_byte(r, EMS_SQL_MALFORMED, "a backslash stands before byte", c, err);
    return EMS_OK;
}

/* The machine itself, one byte. EMS_END at the line feed of the end marker. */
static int step(struct ems_sql_rows *r, uint8_t c, struct ems_error *err)
{
    if (r->utf8.need > 0)
        return ems_utf8_step(&r->utf8, c)
                   ? EMS_OK
                   : fail_byte(r, EMS_SQL_ENCODING, "not UTF-8: inside a character, byte", c, err);
    switch (r->state) {
    case EMS_ROWS_ROW_START:
    case EMS_ROWS_COLUMN_START:
    case EMS_ROWS_COLUMN:
        return step_column(r, c, err);
    case EMS_ROWS_ESCAPE_ROW:
    case EMS_ROWS_ESCAPE_COLUMN:
    case EMS_ROWS_ESCAPE:
        return step_escape(r, c, err);
    case EMS_ROWS_NULL:
        if (c != '\t' && c != '\n' && c != '\r')
            return fail(r, EMS_SQL_MALFORMED, "\\N is followed by more text", err);
        return step_column(r, c, err);
    case EMS_ROWS_CR:
        if (c == '\n')
            return end_row(r, err);
        return fail(r, EMS_SQL_MALFORMED, "carriage return without line feed", err);
    default: /* DOT, DOT_CR */
        if (c == '\r' && r->state == EMS_ROWS_DOT) {
            r->marker++;
            r->state = EMS_ROWS_DOT_CR;
            return EMS_OK;
        }
        if (c == '\n') {
            r->marker++;
            r->state = EMS_ROWS_DONE;
            return EMS_END;
        }
        return fail(r, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", err);
    }
}

/* Nothing is pending, so that the fast paths can go on from here. */
static bool is_between(const struct ems_sql_rows *r)
{
    return r->state <= EMS_ROWS_COLUMN && r->utf8.need == 0;
}

/* How many bytes from here are ordinary column text, 20..7F without a backslash? Eight at a time.
 * A subtraction borrows from a byte's top bit where the byte was below what is subtracted; a false
 * hit can only stand above a true one, so the lowest hit is exact. */
static size_t ordinary_run(const uint8_t *data, size_t size)
{
    const uint64_t ones = 0x0101010101010101, highs = ones << 7;
    size_t n = 0;

    while (size - n >= sizeof ones) {
        uint64_t word, slash, hits;

        memcpy(&word, data + n, sizeof word);
        word = htole64(word);
        slash = word ^ ones * '\\';
        hits = (((word - ones * 0x20) & ~word) | ((slash - ones) & ~slash) | word) & highs;
        if (hits != 0)
            return n + (size_t)__builtin_ctzll(hits) / 8;
        n += sizeof ones;
    }
    return n;
}

/* Length of a whole character of two or more bytes, or 0 if it is cut or wrong. */
static size_t whole_character(const uint8_t *data, size_t size)
{
    struct ems_utf8 u = {0};
    size_t n = 0;

    do
        if (n == size || !ems_utf8_step(&u, data[n++]))
            return 0;
    while (u.need > 0);
    return n;
}

/* The common bytes of good rows, without the ceremony of step(): stops in front of anything else,
 * and of everything that is wrong. */
static size_t easy_run(struct ems_sql_rows *r, const uint8_t *data, size_t size)
{
    enum ems_sql_rows_state state = r->state;
    size_t i = 0, n;

    while (i < size) {
        uint8_t c = data[i];

        if (c == '\t' && r->tabs + 1 < r->columns) {
            r->tabs++;
            state = EMS_ROWS_COLUMN_START;
            i++;
        } else if (c == '\n' && !r->crlf && r->tabs + 1 == r->columns) {
            r->tabs = 0;
            r->rows++;
            state = EMS_ROWS_ROW_START;
            i++;
        } else if (c >= 0x80) {
            n = whole_character(data + i, size - i);
            if (n == 0)
                break;
            state = EMS_ROWS_COLUMN;
            i += n;
        } else if (c >= 0x20 && c != '\\') {
            state = EMS_ROWS_COLUMN;
            i++;
            i += ordinary_run(data + i, size - i);
        } else {
            break;
        }
    }
    r->state = state;
    return i;
}

/* Without vectors: easy runs, and the machine in between. With them: the machine only, for a block
 * that the vectors did not take, until nothing is pending. *used counts the bytes; on failure the
 * offending one is not counted. */
static int walk(struct ems_sql_rows *r, const uint8_t *data, size_t size, size_t *used,
                struct ems_error *err)
{
    size_t i = *used, until = r->vector && size - i > STEP ? i + STEP : size;
    int rc = EMS_OK;

    while (rc == EMS_OK && i < size && (i < until || !is_between(r))) {
        if (!r->vector && r->columns > 0 && is_between(r))
            i += easy_run(r, data + i, size - i);
        if (i < size)
            rc = step(r, data[i], err);
        if (i < size && (rc == EMS_OK || rc == EMS_END))
            i++;
    }
    *used = i;
    return rc;
}

/* Of the last `used` bytes, how many are the end marker or its beginning? */
static size_t marker_bytes(const struct ems_sql_rows *r, size_t used)
{
    bool in_marker = r->state == EMS_ROWS_ESCAPE_ROW || r->state >= EMS_ROWS_DOT;

    if (!in_marker)
        return 0;
    return r->marker < used ? r->marker : used;
}

/* Fast paths and machine in turns. The limit of a row is looked at between spans only: one row over
 * it by a span costs nothing, and a look at each byte would. */
int ems_sql_rows_feed(struct ems_sql_rows *r, const uint8_t *data, size_t size,
                      struct ems_sql_rows_fed *fed, struct ems_error *err)
{
    bool held = r->state == EMS_ROWS_ESCAPE_ROW;
    uint64_t rows = r->rows;
    size_t used = 0;
    int rc = EMS_OK;

    fed->used = 0;
    if (r->row_bytes > r->row_max)
        return fail(r, EMS_SQL_MALFORMED, "the row is longer than a server takes", err);
    while (rc == EMS_OK && used < size) {
        if (r->vector && r->columns > 0 && is_between(r))
            used += ems_sql_rows_avx2(r, data + used, size - used);
        if (used < size)
            rc = walk(r, data, size, &used, err);
    }
    fed->used = used;
    if (rc != EMS_OK && rc != EMS_END)
        return rc;
    r->row_bytes = rows == r->rows ? r->row_bytes + used : 0;
    fed->lead = held && size > 0 && data[0] != '.';
    fed->data = used - marker_bytes(r, used);
    return rc;
}
