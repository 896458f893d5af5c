/* COPY rows: what is refused and where, and that both implementations agree on every cut. */
#include "harness.h"

#include "sql_rows.h"

/* What checking some bytes has come to. */
struct outcome {
    int code;
    struct ems_error err;
    struct ems_buf data; /* as it would be passed on */
    size_t used;
    uint64_t rows;
};

static struct outcome check(const void *text, size_t size, uint32_t columns, bool crlf,
                            size_t chunk, bool vector)
{
    struct outcome o = {.code = EMS_OK};
    struct ems_sql_rows r;

    ems_sql_rows_init(&r, "public.t", columns, crlf, 100);
    r.vector = r.vector && vector;
    while (o.code == EMS_OK && o.used < size) {
        size_t n = chunk > 0 && chunk < size - o.used ? chunk : size - o.used;
        struct ems_sql_rows_fed fed = {0};
        uint8_t *copy = malloc(n);

        memcpy(copy, (const uint8_t *)text + o.used, n);
        o.code = ems_sql_rows_feed(&r, copy, n, &fed, &o.err);
        if (fed.lead)
            ems_buf_append(&o.data, "\\", 1, NULL);
        ems_buf_append(&o.data, copy, fed.data, NULL);
        o.used += fed.used;
        if (o.code == EMS_OK)
            CU_ASSERT_EQUAL(fed.used, n);
        free(copy);
    }
    o.rows = r.rows;
    return o;
}

static bool holds(const struct ems_buf *buf, const void *data, size_t size)
{
    return buf->size == size && (size == 0 || memcmp(buf->data, data, size) == 0);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    if (a->code != b->code || strcmp(a->err.text, b->err.text) != 0 || a->rows != b->rows)
        return false;
    /* What was passed on before a failure depends on the cut; the verdict does not. */
    return a->code != EMS_END ||
           (a->used == b->used && holds(&a->data, b->data.data, b->data.size));
}

/* Both implementations and all cuts give the first outcome, which is returned. */
static struct outcome check_all_ways(const void *text, size_t size, uint32_t columns, bool crlf)
{
    struct outcome first = check(text, size, columns, crlf, 0, true);
    static const size_t chunks[] = {1, 2, 3, 7, 63, 64, 65, 511, 512, 513, 0};

    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        for (int vector = 0; vector < 2; vector++) {
            struct outcome o = check(text, size, columns, crlf, chunks[c], vector);

            if (!same(&first, &o))
                printf("\n    chunk %zu vector %d: %s \"%s\" against %s \"%s\"", chunks[c], vector,
                       ems_code_name(o.code), o.err.text, ems_code_name(first.code),
                       first.err.text);
            CU_ASSERT(same(&first, &o));
            ems_buf_release(&o.data);
        }
    }
    return first;
}

static void test_good_blocks(void)
{
    static const struct {
        const char *text, *data; /* what is passed on */
        uint32_t columns;
        bool crlf;
        uint64_t rows;
    } cases[] = {
        {"\\.\n", "", 1, false, 0},
        {"\\.\r\n", "", 1, true, 0},
        {"a\tb\n\\.\r\n", "a\tb\n", 2, false, 1},
        {"\n\n\\.\n", "\n\n", 1, false, 2},
        {"\n\n\\.\n", "\n\n", 0, false, 2},
        {"\t\n\\N\t\\N\n\\.\n", "\t\n\\N\t\\N\n", 2, false, 2},
        {"\\b\\f\\n\\r\\t\\v\\\\\t\\\\.\n\\\\\\\\N\tx\\\\\n\\.\n",
         "\\b\\f\\n\\r\\t\\v\\\\\t\\\\.\n\\\\\\\\N\tx\\\\\n", 2, false, 2},
        {"a\t\\N\r\n\\N\tb\r\n\\.\n", "a\t\\N\r\n\\N\tb\r\n", 2, true, 2},
        {"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\x01\x7f\n\\.\n",
         "\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\x01\x7f\n", 1, false, 1},
        {"a\n\\.\nSELECT 1;", "a\n", 1, false, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome o;

        o = check_all_ways(cases[i].text, strlen(cases[i].text), cases[i].columns, cases[i].crlf);
        ASSERT_CODE(o.code, EMS_END);
        CU_ASSERT_EQUAL(o.rows, cases[i].rows);
        CU_ASSERT(holds(&o.data, cases[i].data, strlen(cases[i].data)));
        ems_buf_release(&o.data);
    }
}

struct bad {
    const char *text;
    uint32_t columns;
    bool crlf;
    int code;
    const char *message;
    size_t size;
};

static const struct bad bads[] = {
    {"a\n", 2, false, EMS_SQL_MALFORMED, "(column 1): the row has 1 columns instead of 2", 0},
    {"a\tb\tc\n", 2, false, EMS_SQL_MALFORMED,
     "(column 2): the row has more columns than the COPY names", 0},
    {"\n", 2, false, EMS_SQL_MALFORMED, "(column 1): the row has 1 columns instead of 2", 0},
    {"\t", 0, false, EMS_SQL_MALFORMED, "more columns", 0},
    {"a\n", 0, false, EMS_SQL_MALFORMED, "data in a table without columns", 0},
    {"\\N\n", 0, false, EMS_SQL_MALFORMED, "data in a table without columns", 0},
    {"a\t\\.\n", 2, false, EMS_SQL_MALFORMED, "(column 2): end-of-data mark \\. inside a row", 0},
    {"a\\.\n", 1, false, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", 0},
    {"\\.x\n", 1, false, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", 0},
    {"\\.\t\n", 2, false, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", 0},
    {"\\.\rx", 1, false, EMS_SQL_MALFORMED, "end-of-data mark \\. inside a row", 0},
    {"a\\N\n", 1, false, EMS_SQL_MALFORMED, "\\N inside a column", 0},
    {"\\Nx\n", 1, false, EMS_SQL_MALFORMED, "\\N is followed by more text", 0},
    {"\\N\\N\n", 1, false, EMS_SQL_MALFORMED, "\\N is followed by more text", 0},
    {"\\N\r\n", 1, false, EMS_SQL_MALFORMED, "line end that the dump does not use elsewhere, 0D",
     0},
    {"\\x41\n", 1, false, EMS_SQL_MALFORMED, "a backslash stands before byte 78", 0},
    {"\\101\n", 1, false, EMS_SQL_MALFORMED, "a backslash stands before byte 31", 0},
    {"a\\\n", 1, false, EMS_SQL_MALFORMED, "a backslash stands before byte 0A (line feed)", 0},
    {"a\\\tb\n", 2, false, EMS_SQL_MALFORMED, "a backslash stands before byte 09", 0},
    {"a\\\xc3\xa9\n", 1, false, EMS_SQL_MALFORMED, "a backslash stands before byte C3", 0},
    {"a\rb\n", 1, false, EMS_SQL_MALFORMED, "0D (carriage return)", 0},
    {"a\r\n", 1, false, EMS_SQL_MALFORMED, "0D (carriage return)", 0},
    {"a\n", 1, true, EMS_SQL_MALFORMED, "0A (line feed)", 0},
    {"a\rb\r\n", 1, true, EMS_SQL_MALFORMED, "carriage return without line feed", 0},
    {"a\0b\n", 1, false, EMS_SQL_ENCODING, "NUL byte", 4},
    {"\\\0\n", 1, false, EMS_SQL_ENCODING, "NUL byte", 3},
    {"a\x80\n", 1, false, EMS_SQL_ENCODING, "not UTF-8: byte 80", 0},
    {"\xc0\x80\n", 1, false, EMS_SQL_ENCODING, "not UTF-8: byte C0", 0},
    {"\xc1\xbf\n", 1, false, EMS_SQL_ENCODING, "not UTF-8: byte C1", 0},
    {"\xe0\x9f\xbf\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 9F", 0},
    {"\xed\xa0\x80\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte A0", 0},
    {"\xf0\x8f\xbf\xbf\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 8F", 0},
    {"\xf4\x90\x80\x80\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 90", 0},
    {"\xf5\x80\x80\x80\n", 1, false, EMS_SQL_ENCODING, "not UTF-8: byte F5", 0},
    {"\xff\n", 1, false, EMS_SQL_ENCODING, "not UTF-8: byte FF", 0},
    {"\xc3\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 0A", 0},
    {"\xe4\xb8x\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 78", 0},
    {"\xc3\\n\n", 1, false, EMS_SQL_ENCODING, "inside a character, byte 5C", 0},
};

/* Each fault alone, and behind so many good bytes that it falls on every place of a block. */
static void test_faults_are_found_at_every_place(void)
{
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        const struct bad *b = &bads[i];
        size_t size = b->size > 0 ? b->size : strlen(b->text);

        for (size_t before = 0; before < 140; before += before < 56 || before > 72 ? 3 : 1) {
            struct ems_buf text = {0};
            struct outcome o;
            char row[64];

            for (uint32_t c = 0; b->columns > 0 && c < b->columns; c++)
                ems_buf_printf(&text, NULL, "%s%.*s", c > 0 ? "\t" : "", c == 0 ? (int)before : 1,
                               "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                               "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                               "xxxxxxxxxxxxxxxx");
            ems_buf_append(&text, b->crlf ? "\r\n" : "\n", b->crlf ? 2 : 1, NULL);
            ems_buf_append(&text, b->text, size, NULL);
            ems_buf_printf(&text, NULL, "%s",
                           "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                           "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
            o = check_all_ways(text.data, text.size, b->columns, b->crlf);
            ASSERT_CODE(o.code, b->code);
            if (strstr(o.err.text, b->message) == NULL)
                printf("\n    %s", o.err.text);
            CU_ASSERT_PTR_NOT_NULL(strstr(o.err.text, b->message));
            snprintf(row, sizeof row, "line 101, row 2 of public.t (column ");
            CU_ASSERT_EQUAL(strncmp(o.err.text, row, strlen(row)), 0);
            ems_buf_release(&o.data);
            ems_buf_release(&text);
        }
    }
}

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* Rows of every kind of text, with the end marker. */
static struct ems_buf random_rows(uint32_t columns, bool crlf)
{
    static const char *const pieces[] = {
        "a",
        "words of text ",
        "0123456789",
        "\\\\",
        "\\n",
        "\\t\\\\\\\\",
        "\xd0\xbf\xd1\x80",
        "\xe4\xb8\x96",
        "\xf0\x9f\x99\x82",
        "{\"k\":\"v\"}",
        "\x7f\x01",
        "\\\\\\\\N",
        "\\\\.",
    };
    struct ems_buf text = {0};

    for (uint32_t rows = 1 + random_below(12); rows > 0; rows--) {
        for (uint32_t c = 0; c < columns; c++) {
            if (c > 0)
                ems_buf_append(&text, "\t", 1, NULL);
            if (random_below(4) == 0)
                ems_buf_append(&text, "\\N", 2, NULL);
            else
                for (uint32_t n = random_below(9); n > 0; n--)
                    ems_buf_printf(&text, NULL, "%s",
                                   pieces[random_below(sizeof pieces / sizeof pieces[0])]);
        }
        ems_buf_printf(&text, NULL, "%s", crlf ? "\r\n" : "\n");
    }
    ems_buf_printf(&text, NULL, "\\.\n");
    return text;
}

static void test_random_rows_and_mutations(void)
{
    static const uint8_t bytes[] = {0,   '\t', '\n', '\r', '\\', '.',  'N',
                                    'x', 0x80, 0xc3, 0xe4, 0xed, 0xf0, 0xff};
    unsigned good = 0, failed = 0;

    for (int i = 0; i < 1500; i++) {
        uint32_t columns = 1 + random_below(6);
        bool crlf = random_below(4) == 0;
        struct ems_buf text = random_rows(columns, crlf);
        struct outcome o = check_all_ways(text.data, text.size, columns, crlf);

        ASSERT_CODE(o.code, EMS_END);
        CU_ASSERT(holds(&o.data, text.data, text.size - 3));
        ems_buf_release(&o.data);
        text.data[random_below((uint32_t)text.size)] = bytes[random_below(sizeof bytes)];
        o = check_all_ways(text.data, text.size, columns, crlf);
        good += o.code == EMS_END || o.code == EMS_OK;
        failed += o.code != EMS_END && o.code != EMS_OK;
        ems_buf_release(&o.data);
        ems_buf_release(&text);
    }
    CU_ASSERT(good > 50 && failed > 500); /* the mutations are worth something */
}

/* No proper prefix of a block is a block. */
static void test_prefixes(void)
{
    static const char text[] = "a\t\\N\nb\\\\\t\xc3\xa9\n\\.\n";

    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct outcome o = check_all_ways(text, n, 2, false);

        ASSERT_CODE(o.code, EMS_OK);
        ems_buf_release(&o.data);
    }
}

static void test_row_limit(void)
{
    struct ems_buf text = {0};
    struct ems_sql_rows r;
    struct ems_sql_rows_fed fed;
    struct ems_error err = {0};
    int rc = EMS_OK;

    for (int i = 0; i < 100; i++)
        ems_buf_printf(&text, NULL, "0123456789");
    for (int vector = 0; vector < 2; vector++) {
        ems_sql_rows_init(&r, "public.t", 1, false, 1);
        r.vector = r.vector && vector;
        r.row_max = 2500;
        err = (struct ems_error){0};
        for (int i = 0; i < 3; i++)
            ASSERT_CODE(ems_sql_rows_feed(&r, text.data, text.size, &fed, &err), EMS_OK);
        rc = ems_sql_rows_feed(&r, text.data, text.size, &fed, &err);
        ASSERT_CODE(rc, EMS_SQL_MALFORMED);
        CU_ASSERT_STRING_EQUAL(
            err.text,
            "line 1, row 1 of public.t (column 1): the row is longer than a server takes");
    }
    ems_buf_release(&text);
}

EMS_TESTS("sql_rows", {"good blocks", test_good_blocks},
          {"faults at every place", test_faults_are_found_at_every_place},
          {"random rows and mutations", test_random_rows_and_mutations},
          {"prefixes", test_prefixes}, {"row limit", test_row_limit})
