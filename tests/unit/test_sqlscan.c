/* The dump scanner as a whole: good dumps on every cut, every prefix refused, the end, the limits.
 */
#include "sql_snippets.h"

#include <time.h>

/* ---- good dumps ---- */

static const char *const good[] = {"fixtures/sql/mini.sql", "fixtures/sql/old-inserts.sql",
                                   "fixtures/sql/pg96.sql", "fixtures/sql/pg12-create.sql",
                                   "fixtures/sql/pg18.sql"};

static void test_chunk_matrix(void)
{
    for (size_t g = 0; g < sizeof good / sizeof good[0]; g++) {
        struct ems_buf text = ems_test_file(good[g]), first = {0};

        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            struct ems_buf out = {0};
            struct ems_error err = {0};
            struct ems_sql_facts facts;

            ASSERT_CODE(scan(text.data, text.size, ems_test_chunks[c], &out, &facts, &err),
                        EMS_END);
            CU_ASSERT_STRING_EQUAL(err.text, "");
            if (c == 0)
                ems_buf_append(&first, out.data, out.size, NULL);
            CU_ASSERT(out.size == first.size && memcmp(out.data, first.data, out.size) == 0);
            ems_buf_release(&out);
        }
        ems_buf_release(&first);
        ems_buf_release(&text);
    }
}

static void test_what_comes_out(void)
{
    static const char *const expected[] = {
        "29 1 0 public.events - 0: CREATE TABLE public.events (\n",
        "\"json\" text COLLATE pg_catalog.\"C\",  \n     \n    depth", /* comments are gone */
        "CREATE UNLOGGED TABLE public.instance_map",
        "public.instance_map public.instance_map_instance_id_seq 0: ALTER SEQUENCE",
        "public.events public.events_stream_seq 0: ALTER TABLE public.events ALTER COLUMN",
        "how far it''s from the start;\n\"--\" and /* are no comments here'",
        " 6 0 public.events - 6: COPY public.events (stream_ordering, ",
        "3\t$three:example.org\tf\t\\\\.\t3\t\\N\n",
        "== public.events 5 rows\n",
        "== public.instance_map 0 rows\n",
        "== public.profiles 3 rows\n",
        "public.profiles profiles_lower_idx 0: CREATE UNIQUE INDEX",
        "btree (lower(user_id))      ", /* storage parameters are blanks */
        "        WHERE (user_id IS NOT NULL)",
        "ALTER TABLE public.events OWNER TO synapse",
    };
    struct ems_buf text = ems_test_file(good[0]), out = {0};
    struct ems_error err = {0};
    struct ems_sql_facts facts;
    struct ems_sqlscan *s =
        ems_sqlscan_open(ems_source_memory_open(text.data, text.size, 0, &err), &err);
    struct ems_sql_event event;
    const struct ems_sql_facts *f;

    ASSERT_CODE(scan(text.data, text.size, 100, &out, &facts, &err), EMS_END);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if (!contains(&out, expected[i]))
            printf("\n    missing: %s", expected[i]);
        CU_ASSERT(contains(&out, expected[i]));
    }
    CU_ASSERT(!contains(&out, "must not be sent"));
    CU_ASSERT(!contains(&out, "fillfactor"));

    while (ems_sqlscan_next(s, &event, &err) == EMS_OK)
        if (event.statement->shape == EMS_SQL_COPY && event.kind == EMS_SQL_STATEMENT &&
            event.statement->columns == 6)
            CU_ASSERT_STRING_EQUAL(event.statement->column_names[3], "json");
    f = ems_sqlscan_facts(s);
    CU_ASSERT(f->complete && f->restricted && !f->search_public);
    CU_ASSERT_STRING_EQUAL(f->server_version, "15.18 (Debian 15.18-0+deb12u1)");
    CU_ASSERT_STRING_EQUAL(f->dump_version, "15.18 (Debian 15.18-0+deb12u1)");
    CU_ASSERT_EQUAL(f->statements, 34);
    CU_ASSERT_EQUAL(f->sent, 20);
    CU_ASSERT_EQUAL(f->swallowed, 12);
    CU_ASSERT_EQUAL(f->skipped, 2);
    CU_ASSERT_EQUAL(f->rows, 8);
    CU_ASSERT_EQUAL_FATAL(f->table_count, 3);
    CU_ASSERT_STRING_EQUAL(f->tables[2].name, "public.profiles");
    CU_ASSERT_EQUAL(f->tables[2].rows, 3);
    CU_ASSERT(f->tables[1].has_data && f->tables[1].rows == 0 && f->tables[1].bytes == 0);
    CU_ASSERT_EQUAL(f->skip_reason_count, 1);
    CU_ASSERT_EQUAL(f->skip_counts[0], 2);
    ASSERT_CODE(ems_sqlscan_next(s, &event, &err), EMS_END); /* repeats */
    ems_sqlscan_free(s);
    ems_buf_release(&out);
    ems_buf_release(&text);
}

static void test_old_inserts(void)
{
    struct ems_buf text = ems_test_file(good[1]), out = {0};
    struct ems_error err = {0};
    struct ems_sqlscan *s =
        ems_sqlscan_open(ems_source_memory_open(text.data, text.size, 50, &err), &err);
    struct ems_sql_event event;
    const struct ems_sql_facts *f = ems_sqlscan_facts(s);

    while (ems_sqlscan_next(s, &event, &err) == EMS_OK)
        if (event.statement->table != NULL)
            CU_ASSERT_STRING_EQUAL(event.statement->table, "public.Rooms");
    CU_ASSERT(f->complete && f->search_public);
    CU_ASSERT_EQUAL(f->rows, 4);
    CU_ASSERT_EQUAL_FATAL(f->table_count, 1);
    CU_ASSERT_EQUAL(f->tables[0].rows, 4);
    ems_sqlscan_free(s);
    ems_buf_release(&out);
    ems_buf_release(&text);
}

/* Windows line ends and a byte order mark on the whole file: same statements, same rows. */
static void test_crlf_and_bom(void)
{
    struct ems_buf text = ems_test_file(good[0]), crlf = {0}, out = {0};
    struct ems_sql_facts facts;
    struct ems_error err = {0};

    ems_buf_append(&crlf, "\xef\xbb\xbf", 3, NULL);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\n')
            ems_buf_append(&crlf, "\r", 1, NULL);
        ems_buf_append(&crlf, text.data + i, 1, NULL);
    }
    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        out.size = 0;
        ASSERT_CODE(scan(crlf.data, crlf.size, ems_test_chunks[c], &out, &facts, &err), EMS_END);
        CU_ASSERT_STRING_EQUAL(err.text, "");
        CU_ASSERT_EQUAL(facts.rows, 8);
        CU_ASSERT(contains(&out, "\\\\.\t3\t\\N\r\n"));
    }
    /* One row converted in a plain dump, or one not converted in such a dump. */
    text.data[(uint8_t *)memmem(text.data, text.size, "\t\\N\n", 4) - text.data + 2] = '\r';
    ASSERT_CODE(scan(text.data, text.size, 0, NULL, NULL, &err), EMS_SQL_MALFORMED);
    ems_buf_release(&text);
    ems_buf_release(&crlf);
    ems_buf_release(&out);
}

static void test_every_prefix_fails(void)
{
    for (size_t g = 0; g < sizeof good / sizeof good[0]; g++) {
        struct ems_buf text = ems_test_file(good[g]);

        /* The last line feed is an empty line: without it nothing is missing. */
        for (size_t n = 0; n < text.size - 1; n++) {
            struct ems_error err = {0};
            int rc = scan(text.data, n, n % 3 == 0 ? 7 : 0, NULL, NULL, &err);

            if (rc != EMS_SQL_TRUNCATED && rc != EMS_SQL_EMPTY)
                printf("\n    %zu of %s: %s %s", n, good[g], ems_code_name(rc), err.text);
            CU_ASSERT(rc == EMS_SQL_TRUNCATED || (rc == EMS_SQL_EMPTY && n < 300));
            CU_ASSERT_NOT_EQUAL(err.text[0], '\0');
        }
        ems_buf_release(&text);
    }
}

/* Where a cut dump was cut is said. */
static void test_truncation_says_where(void)
{
    static const struct {
        const char *before, *message;
    } cases[] = {
        {"\n3\t$three",
         "line 101: the dump ends inside the data of public.events, after 2 whole rows"},
        {"\\.\n\n\nSELECT pg_catalog.setval",
         "line 119: the dump ends inside the data of public.profiles, after 3 whole rows"},
        {"CHECK ((event_id", "line 37: the dump ends inside a statement"},
        {"comments here'", "line 85: the dump ends inside a quoted string"},
        {"CREATE INDEX", "the closing comment is missing"},
        {"more */", "line 34: the dump ends inside a comment"},
        {"\\unrestrict", "the \\unrestrict line at the end is missing"},
    };
    struct ems_buf text = ems_test_file(good[0]);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_error err = {0};
        const uint8_t *at = memmem(text.data, text.size, cases[i].before, strlen(cases[i].before));

        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        ASSERT_CODE(
            scan(text.data, (size_t)(at - text.data) + (at[0] == '\n'), 0, NULL, NULL, &err),
            EMS_SQL_TRUNCATED);
        if (strstr(err.text, cases[i].message) == NULL)
            printf("\n    %s", err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].message));
        CU_ASSERT_STRING_EQUAL(err.stage, "sql");
    }
    ems_buf_release(&text);
}

static void test_failure_below(void)
{
    struct ems_buf text = ems_test_file(good[0]);

    for (unsigned k = 1; k < text.size / 100 + 2; k += 3) {
        struct ems_error err = {0}, again = {0};
        struct ems_sql_event event;
        struct ems_sqlscan *s = ems_sqlscan_open(
            ems_test_source_open(text.data, text.size, 100, k, EMS_GZIP_CRC), &err);
        int rc;

        while ((rc = ems_sqlscan_next(s, &event, &err)) == EMS_OK)
            ;
        ASSERT_CODE(rc, EMS_GZIP_CRC);
        CU_ASSERT_STRING_EQUAL(err.stage, "test");
        CU_ASSERT_EQUAL(err.origin, (k - 1) * 100);
        ASSERT_CODE(ems_sqlscan_next(s, &event, &again), EMS_GZIP_CRC);
        CU_ASSERT_STRING_EQUAL(again.text, "planned failure");
        ems_sqlscan_free(s);
    }
    CU_ASSERT_PTR_NULL(ems_sqlscan_open(NULL, NULL));
    ems_sqlscan_free(NULL);
    ems_buf_release(&text);
}

/* Our failure carries the origin of the span it was found in, and what is below can be drained. */
static void test_origin_and_drain(void)
{
    struct ems_buf text = ems_test_file(good[0]);
    uint8_t *bad = memmem(text.data, text.size, "$four", 5);
    struct ems_error err = {0}, below = {0};
    struct ems_sql_event event;
    struct ems_sqlscan *s;
    int rc;

    *bad = 0xff;
    s = ems_sqlscan_open(ems_test_source_open(text.data, text.size, 100, 0, EMS_OK), &err);
    while ((rc = ems_sqlscan_next(s, &event, &err)) == EMS_OK)
        ;
    ASSERT_CODE(rc, EMS_SQL_ENCODING);
    CU_ASSERT_EQUAL(err.origin / 100, (uint64_t)(bad - text.data) / 100);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "line 102, row 4 of public.events (column 2): not UTF-8: byte FF");
    ASSERT_CODE(ems_sqlscan_drain(s, &below), EMS_END);
    ems_sqlscan_free(s);
    ems_buf_release(&text);
}

static void test_the_end(void)
{
    static const char body[] = "CREATE TABLE public.t (a text);\nCOPY public.t (a) FROM stdin;\n"
                               "-- PostgreSQL database dump complete\n\\.\n";
    static const struct snippet ends[] = {
        {"--\n-- PostgreSQL database dump complete\n--\n", EMS_END, "", 0},
        {"--\n-- PostgreSQL database dump complete\n--\n \t\r\n\n", EMS_END, "", 0},
        {"-- Completed on 2026-01-01\n\n--\n-- PostgreSQL database dump complete\n--\n\n", EMS_END,
         "", 0},
        {"", EMS_SQL_TRUNCATED, "the closing comment is missing", 0},
        {"-- PostgreSQL database dump complete\n", EMS_SQL_TRUNCATED,
         "the closing comment is not complete", 0},
        {" -- PostgreSQL database dump complete\n--\n", EMS_SQL_TRUNCATED, "missing", 0},
        {"-- PostgreSQL database dump complete.\n--\n", EMS_SQL_TRUNCATED, "missing", 0},
        {"/*\n-- PostgreSQL database dump complete\n--\n*/", EMS_SQL_TRUNCATED, "missing", 0},
        {"COMMENT ON TABLE public.t IS '\n-- PostgreSQL database dump complete\n--\n';",
         EMS_SQL_TRUNCATED, "missing", 0},
        {"-- PostgreSQL database dump complete\n--\nSELECT 1;\n", EMS_SQL_MALFORMED,
         "line 7: a statement behind the end of the dump", 0},
        {"-- PostgreSQL database dump complete\n--\n-- x\n", EMS_SQL_MALFORMED,
         "line 7: a comment behind the end of the dump", 0},
        {"-- PostgreSQL database dump complete\n--\n/* */", EMS_SQL_MALFORMED, "a comment behind",
         0},
        {"-- PostgreSQL database dump complete\n--\nSELECT", EMS_SQL_TRUNCATED,
         "ends inside a statement", 0},
        {"-- PostgreSQL database dump complete\n--\n\\unrestrict K\n", EMS_SQL_REFUSED,
         "backslash command", 0},
        {"-- PostgreSQL database dump complete\n--\n\0", EMS_SQL_ENCODING, "line 7: NUL byte", 41},
        {"-- PostgreSQL database cluster dump complete\n", EMS_SQL_REFUSED, "whole cluster", 0},
    };

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct ems_buf text = {0};
        struct ems_error err = {0};

        ems_buf_append(&text, body, strlen(body), NULL);
        ems_buf_append(&text, ends[i].text, ends[i].size > 0 ? ends[i].size : strlen(ends[i].text),
                       NULL);
        ASSERT_CODE(scan(text.data, text.size, 1, NULL, NULL, &err), ends[i].code);
        if (strstr(err.text, ends[i].message) == NULL)
            printf("\n    %s", err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, ends[i].message));
        ems_buf_release(&text);
    }
}

static void test_not_a_dump(void)
{
    static const struct snippet cases[] = {
        {"", EMS_SQL_EMPTY, "the dump is empty", 0},
        {"\n\n", EMS_SQL_EMPTY, "the dump holds no statement", 0},
        {"--\n-- PostgreSQL database dump\n--\n", EMS_SQL_EMPTY, "no statement", 0},
        {"PGDMP\1\x0e", EMS_SQL_REFUSED, "custom-format", 0},
        {"PGDMP\1\x0e\0\4\10\1", EMS_SQL_REFUSED, "custom-format", 11},
        {"PGDMP\1\x0e\0\4\10\3", EMS_SQL_REFUSED, "directory-format", 11},
        {"--\n-- PostgreSQL database cluster dump\n--\n", EMS_SQL_REFUSED, "pg_dumpall", 0},
        {"-- MySQL dump 10.13\n", EMS_SQL_REFUSED, "MySQL", 0},
        {"/*!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19\n", EMS_SQL_REFUSED,
         "MariaDB", 0},
        {"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", EMS_SQL_REFUSED, "SQLite dump", 0},
        {"SQLite format 3\0xx", EMS_SQL_REFUSED, "SQLite database", 18},
        {"\xff\xfe-\0-\0", EMS_SQL_REFUSED, "UTF-16", 6},
        {"-\0-\0\n\0", EMS_SQL_REFUSED, "UTF-16", 6},
        {"\x1f\x8b\x08", EMS_SQL_REFUSED, "compressed twice", 0},
        {"PK\x03\x04xx", EMS_SQL_REFUSED, "zip", 0},
        {"<!DOCTYPE html><html>", EMS_SQL_REFUSED, "web page", 0},
        {"pg_dump: error: connection failed\n", EMS_SQL_REFUSED, "error message", 0},
        {"\xff\xd8\xff\xe0", EMS_SQL_ENCODING, "line 1: byte FF is not UTF-8", 0},
        {"hello world;", EMS_SQL_REFUSED, "line 1: not a statement that is accepted: hello world",
         0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t chunk = 0; chunk < 2; chunk++) {
            size_t size = cases[i].size > 0 ? cases[i].size : strlen(cases[i].text);
            struct ems_error err = {0};

            ASSERT_CODE(scan(cases[i].text, size, chunk, NULL, NULL, &err), cases[i].code);
            if (strstr(err.text, cases[i].message) == NULL)
                printf("\n    %s", err.text);
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].message));
            CU_ASSERT(strstr(err.text, "this is") == NULL || err.origin == 0);
        }
    }
}

/* Schema without data is not what a restore wants; empty tables are. */
static void test_schema_only(void)
{
    static const char text[] = "CREATE TABLE public.t (a text);\n"
                               "--\n-- PostgreSQL database dump complete\n--\n";
    static const char empty[] = "CREATE TABLE public.t (a text);\n-- Data for Name: t; Type: TABLE "
                                "DATA\n-- PostgreSQL database dump complete\n--\n";
    struct ems_error err = {0}, none = {0};

    ASSERT_CODE(scan(text, sizeof text - 1, 0, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--schema-only"));
    ASSERT_CODE(scan(empty, sizeof empty - 1, 0, NULL, NULL, &none), EMS_END);
}

static void test_limits(void)
{
    struct ems_buf text = {0};
    struct ems_error err = {0};
    struct ems_sql_facts facts;

    /* Many statements */
    for (int i = 0; i < 20001; i++)
        ems_buf_printf(&text, NULL, "SET lock_timeout = 0;\n");
    ASSERT_CODE(scan(text.data, text.size, 65536, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_STRING_EQUAL(err.text, "line 20001: more than 20000 statements");

    /* INSERTs do not count, and may be long */
    text.size = 0;
    ems_buf_printf(&text, NULL, "%s", head);
    for (int i = 0; i < 21000; i++)
        ems_buf_printf(&text, NULL, "INSERT INTO public.t VALUES ('%d', %d);\n", i, i);
    ems_buf_printf(&text, NULL, "INSERT INTO public.t VALUES ('");
    for (int i = 0; i < 100000; i++)
        ems_buf_printf(&text, NULL, "0123456789");
    ems_buf_printf(&text, NULL, "', 1);\n%s", foot);
    err = (struct ems_error){0};
    ASSERT_CODE(scan(text.data, text.size, 65536, NULL, &facts, &err), EMS_END);
    CU_ASSERT_EQUAL(facts.rows, 21002);

    /* ... but not without end */
    text.size = 0;
    ems_buf_printf(&text, NULL, "%sINSERT INTO public.t VALUES ('", head);
    for (int i = 0; i < 1700000; i++)
        ems_buf_append(&text, "0123456789", 10, NULL);
    ASSERT_CODE(scan(text.data, text.size, 65536, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "statement of more than 16777216 bytes"));

    /* and only INSERTs */
    text.size = 0;
    err = (struct ems_error){0};
    ems_buf_printf(&text, NULL, "%sCOMMENT ON TABLE public.t IS '", head);
    for (int i = 0; i < 7000; i++)
        ems_buf_append(&text, "0123456789", 10, NULL);
    ASSERT_CODE(scan(text.data, text.size, 65536, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 8: statement of more than 65536 bytes"));

    /* deep expressions */
    text.size = 0;
    err = (struct ems_error){0};
    ems_buf_printf(&text, NULL, "CREATE TABLE public.x (a text DEFAULT ");
    for (int i = 0; i < 30000; i++)
        ems_buf_append(&text, "(", 1, NULL);
    for (int i = 0; i < 30000; i++)
        ems_buf_append(&text, ")", 1, NULL);
    ems_buf_append(&text, ");", 2, NULL);
    ASSERT_CODE(scan(text.data, text.size, 0, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 1: expression too deep"));
    ems_buf_release(&text);
}

/* More columns than a server has, and more names than we keep. */
static void test_catalog_limits(void)
{
    struct ems_buf text = {0};
    struct ems_error err = {0};

    ems_buf_printf(&text, NULL, "CREATE TABLE public.x (c text");
    for (int i = 0; i < 1600; i++)
        ems_buf_printf(&text, NULL, ",c%d text", i);
    ems_buf_printf(&text, NULL, ");");
    ASSERT_CODE(scan(text.data, text.size, 0, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 1: too many columns"));

    text.size = 0;
    err = (struct ems_error){0};
    for (int t = 0; t < 1000; t++) {
        ems_buf_printf(&text, NULL, "CREATE TABLE public.t%d (c text", t);
        for (int i = 0; i < 1500; i++)
            ems_buf_printf(&text, NULL, ",column_%d text", i);
        ems_buf_printf(&text, NULL, ");");
    }
    ASSERT_CODE(scan(text.data, text.size, 0, NULL, NULL, &err), EMS_SQL_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "too many tables and columns"));
    ems_buf_release(&text);
}

/* CPU seconds for one unit again and again, between a beginning and what comes after it. */
static double cost(const char *begin, const char *unit, size_t unit_size, size_t size)
{
    struct ems_buf text = {0};
    struct ems_error err = {0};
    clock_t start;

    ems_buf_printf(&text, NULL, "%s%s", head, begin);
    while (text.size < size)
        ems_buf_append(&text, unit, unit_size, NULL);
    ems_buf_append(&text, foot, strlen(foot), NULL);
    start = clock();
    scan(text.data, text.size, 65536, NULL, NULL, &err);
    start = clock() - start;
    ems_buf_release(&text);
    return (double)start / CLOCKS_PER_SEC;
}

/* Four times the text takes four times as long, not sixteen: for everything that some lexer of SQL
 * is known to read twice, and for what is looked up here. */
static void test_linear(void)
{
    static const struct {
        const char *begin, *unit;
    } patterns[] = {
        {"", "/*"},
        {"SELECT ", "/**/"},
        {"", "--\n"},
        {"", "-- x */ /* 'a\n"},
        {"SELECT ", "("},
        {"CREATE TABLE public.x (a integer DEFAULT ", "1+"},
        {"CREATE TABLE public.x (a integer DEFAULT ", "-"},
        {"CREATE TABLE public.x (a text DEFAULT $a$", "$a"},
        {"SELECT $a$ $", "a$ $"},
        {"", "SELECT 1 UNION ALL "},
        {"COMMENT ON TABLE public.t IS 'a'", "\n'a'"},
        {"INSERT INTO public.t VALUES ", "('x''y', 1),"},
        {"INSERT INTO public.t VALUES (E'", "\\\\''"},
        {"INSERT INTO public.t VALUES ('a', 1)", " /* ' */\n"},
        {"", "INSERT INTO public.t VALUES ('a', 1);\n"},
        {"", "SET lock_timeout = 0;\n"},
        {"", "COMMENT ON TABLE public.t IS 'a';\n"},
        {"", "GRANT ALL ON TABLE public.t TO a;\n"},
        {"COPY public.t (a, b) FROM stdin;\n", "a\t1\n"},
        {"COPY public.t (a, b) FROM stdin;\n", "\\\\"},
        {"COPY public.u (c) FROM stdin;\n", "\\\\.\n"},
        {"COPY public.u (c) FROM stdin;\n", "\xf0\x9f\x98\x80"},
        {"COPY public.u (c) FROM stdin;\n", "\n"},
    };
    enum { SMALL = 256 * 1024 };

    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        const char *begin = patterns[i].begin, *unit = patterns[i].unit;
        double one = cost(begin, unit, strlen(unit), SMALL);
        double four = cost(begin, unit, strlen(unit), 4 * SMALL);

        if (four > 8 * one + 0.05)
            printf("\n    %s%s: %.3f s, four times as much: %.3f s", begin, unit, one, four);
        CU_ASSERT(four <= 8 * one + 0.05);
    }
}

/* The same for names: tables, each with an index, a comment and rows; columns that come sorted. */
static void test_linear_names(void)
{
    double seconds[2];

    for (size_t round = 0; round < 2; round++) {
        struct ems_buf text = {0};
        struct ems_error err = {0};
        clock_t start;

        for (int t = 0; t < (round == 0 ? 1000 : 4000); t++)
            ems_buf_printf(&text, NULL,
                           "CREATE TABLE public.t%07d (a1 text, a2 text, a3 text, a4 text);\n"
                           "CREATE INDEX i%d ON public.t%07d USING btree (a4, a3, a2, a1);\n"
                           "COPY public.t%07d (a1, a2) FROM stdin;\nx\ty\n\\.\n",
                           t, t, t, t);
        ems_buf_printf(&text, NULL, "--\n-- PostgreSQL database dump complete\n--\n");
        start = clock();
        ASSERT_CODE(scan(text.data, text.size, 65536, NULL, NULL, &err), EMS_END);
        seconds[round] = (double)(clock() - start) / CLOCKS_PER_SEC;
        ems_buf_release(&text);
    }
    CU_ASSERT(seconds[1] <= 8 * seconds[0] + 0.05);
}

EMS_TESTS("sqlscan", {"chunk matrix", test_chunk_matrix}, {"what comes out", test_what_comes_out},
          {"old dump with INSERTs", test_old_inserts},
          {"Windows line ends, byte order mark", test_crlf_and_bom},
          {"every prefix fails", test_every_prefix_fails},
          {"truncation says where", test_truncation_says_where},
          {"failure of the stage below", test_failure_below},
          {"origin of a failure", test_origin_and_drain}, {"the end of a dump", test_the_end},
          {"not a dump", test_not_a_dump}, {"schema only", test_schema_only},
          {"limits", test_limits}, {"limits of the catalog", test_catalog_limits},
          {"time is linear", test_linear}, {"time is linear in names", test_linear_names})
