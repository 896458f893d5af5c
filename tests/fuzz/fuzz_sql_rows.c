/*
 * The row checker on any bytes, fast path against byte-wise machine and whole against cut: the same
 * verdict, the same words, the same bytes passed on. The first byte says how many columns, the
 * second the line ends and the size of the pieces.
 */
#include "fuzz.h"

#include "bytes.h"
#include "sql_rows.h"

#include <string.h>

struct outcome {
    int code;
    struct ems_error err;
    struct ems_buf data;
    uint64_t rows;
    size_t used;
};

static void run(const uint8_t *data, size_t size, uint8_t columns, bool crlf, bool vector,
                size_t piece, struct outcome *o)
{
    struct ems_sql_rows r;

    ems_sql_rows_init(&r, "public.t", columns, crlf, 1);
    r.vector = r.vector && vector;
    while (o->code == EMS_OK && o->used < size) {
        size_t n = size - o->used < piece ? size - o->used : piece;
        struct ems_sql_rows_fed fed = {0};

        o->code = ems_sql_rows_feed(&r, data + o->used, n, &fed, &o->err);
        if (o->code != EMS_OK && o->code != EMS_END)
            break;
        fuzz_check(fed.used <= n && fed.data <= fed.used && (o->code == EMS_END || fed.used == n));
        if (fed.lead)
            ems_buf_append(&o->data, "\\", 1, NULL);
        ems_buf_append(&o->data, data + o->used, fed.data, NULL);
        o->used += fed.used;
    }
    /* Good rows are the bytes themselves without the end marker. */
    if (o->code == EMS_END)
        fuzz_check(o->data.size + 3 <= o->used &&
                   (o->data.size == 0 || memcmp(o->data.data, data, o->data.size) == 0) &&
                   ems_is_utf8(o->data.data, o->data.size));
    o->rows = r.rows;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome o[4] = {0};

    if (size < 2)
        return 0;
    for (int way = 0; way < 4; way++) {
        size_t piece = way < 2 ? SIZE_MAX : 1 + data[1] / 2u;

        run(data + 2, size - 2, data[0] % 8, data[1] & 1, way % 2 == 0, piece, &o[way]);
        fuzz_check(o[way].code == o[0].code && o[way].rows == o[0].rows);
        fuzz_check(strcmp(o[way].err.text, o[0].err.text) == 0);
        fuzz_check(o[way].code != EMS_END || o[way].used == o[0].used);
    }
    for (int way = 0; way < 4; way++)
        ems_buf_release(&o[way].data);
    return 0;
}
