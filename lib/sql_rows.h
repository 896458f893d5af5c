/*
 * sql_rows.h - the rows of a COPY block, checked at memory speed.
 *
 * Text format as pg_dump writes it (PostgreSQL src/backend/commands/copyto.c, CopyAttributeOutText;
 * read by copyfromparse.c): columns end in a tab, rows in LF (or in CR LF, when the whole dump was
 * converted), escapes are \b \f \n \r \t \v \\ and \N for a whole NULL column, and a line \. ends
 * the block. Everything else that the server would take in some other way is an error here: other
 * escapes, \. anywhere else (servers before 18 silently drop the rest of the data there), a bare
 * carriage return, NUL, bytes that are not UTF-8, and a row with a wrong number of columns.
 *
 * There are two implementations, AVX2 and portable, which give the same answers: the fast one stops
 * in front of anything out of the ordinary and the byte-wise machine goes on from there.
 */
#ifndef EMS_SQL_ROWS_H
#define EMS_SQL_ROWS_H

#include "error.h"
#include "utf8.h"

#define EMS_SQL_ROW_MAX ((uint64_t)1 << 30) /* the server's limit; enforced between spans */

enum ems_sql_rows_state {
    EMS_ROWS_ROW_START, /* the first three: between characters, nothing pending */
    EMS_ROWS_COLUMN_START,
    EMS_ROWS_COLUMN,
    EMS_ROWS_ESCAPE_ROW,    /* after a backslash that is a row's first byte */
    EMS_ROWS_ESCAPE_COLUMN, /* ... a column's */
    EMS_ROWS_ESCAPE,
    EMS_ROWS_NULL, /* after \N */
    EMS_ROWS_CR,   /* CR LF dumps: after CR */
    EMS_ROWS_DOT,  /* after the \. of the end marker */
    EMS_ROWS_DOT_CR,
    EMS_ROWS_DONE,
};

struct ems_sql_rows {
    const char *table;   /* for messages; borrowed */
    uint32_t columns;    /* that each row must have; 0 is a table without columns */
    bool crlf;           /* rows end in CR LF */
    bool vector;         /* use AVX2 */
    uint64_t first_line; /* of the dump, where the first row is */
    uint64_t row_max;

    enum ems_sql_rows_state state;
    uint32_t tabs;      /* in this row so far */
    uint64_t rows;      /* complete ones */
    uint64_t row_bytes; /* of a row that began in an earlier span */
    uint8_t marker;     /* bytes of what is or may become the end marker */
    struct ems_utf8 utf8;
};

/* What a span was: `lead`, if set, is one backslash held back from the span before, to be passed on
 * first; then the first `data` bytes of the span; `used` bytes are consumed. After an error only `used`
 * means something: about where it was. */
struct ems_sql_rows_fed {
    bool lead;
    size_t data, used;
};

void ems_sql_rows_init(struct ems_sql_rows *, const char *table, uint32_t columns, bool crlf,
                       uint64_t first_line);

/* Take a span, up to the end marker and its line end at most. EMS_OK; EMS_END when the block is
 * complete; EMS_SQL_ENCODING, EMS_SQL_MALFORMED. */
int ems_sql_rows_feed(struct ems_sql_rows *, const uint8_t *data, size_t size,
                      struct ems_sql_rows_fed *, struct ems_error *);

/* For sql_rows_avx2.c: whole 64-byte blocks from the start of the span that are in order. Returns
 * how many bytes it took. Needs a state of the first three and no character begun. */
size_t ems_sql_rows_avx2(struct ems_sql_rows *, const uint8_t *data, size_t size);
bool ems_sql_rows_has_avx2(void);

#endif
