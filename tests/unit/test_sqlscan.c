/* The dump scanner as a whole: good dumps on every cut, every prefix refused, every threat named.
 */
#include "harness.h"

#include "sql_shape.h"
#include "sqlscan.h"

#include <gcrypt.h>

/* Run a dump; what came out as text, if wanted: statements, rows joined, row counts. */
static int scan(const void *text, size_t size, size_t chunk, struct ems_buf *out,
                struct ems_sql_facts *facts, struct ems_error *err)
{
    struct ems_sqlscan *s =
        ems_sqlscan_open(ems_test_source_open(text, size, chunk, 0, EMS_OK), err);
    struct ems_sql_event event;
    int rc;

    while ((rc = ems_sqlscan_next(s, &event, err)) == EMS_OK) {
        const struct ems_sql_statement *st = event.statement;

        if (out == NULL)
            continue;
        if (event.kind == EMS_SQL_ROWS)
            ems_buf_append(out, event.data.data, event.data.size, NULL);
        else if (event.kind == EMS_SQL_COPY_END)
            ems_buf_printf(out, NULL, "== %s %llu rows\n", st->table,
                           (unsigned long long)event.rows);
        else
            ems_buf_printf(out, NULL, "%llu %d %d %s %s %u: %.*s\n", (unsigned long long)st->line,
                           (int)st->shape, (int)st->action, st->table != NULL ? st->table : "-",
                           st->name != NULL ? st->name : "-", st->columns, (int)st->size, st->text);
        CU_ASSERT(event.kind == EMS_SQL_ROWS || strlen(st->text) == st->size);
    }
    if (facts != NULL)
        *facts = *ems_sqlscan_facts(s);
    ems_sqlscan_free(s);
    return rc;
}

static bool contains(const struct ems_buf *buf, const char *text)
{
    return memmem(buf->data, buf->size, text, strlen(text)) != NULL;
}

/* ---- good dumps ---- */

static const char *const good[] = {"fixtures/sql/mini.sql", "fixtures/sql/old-inserts.sql"};

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
    CU_ASSERT_EQUAL(err.origin, (uint64_t)(bad - text.data) / 100 * 100);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "line 102, row 4 of public.events (column 2): not UTF-8: byte FF");
    ASSERT_CODE(ems_sqlscan_drain(s, &below), EMS_END);
    ems_sqlscan_free(s);
    ems_buf_release(&text);
}

/* ---- bad dumps ---- */

/* What stands before and behind the snippet of a case. */
static const char head[] = "--\n-- PostgreSQL database dump\n--\n"
                           "SELECT pg_catalog.set_config('search_path', '', false);\n"
                           "CREATE TABLE public.t (a text, b integer);\n"
                           "CREATE TABLE public.u (c text);\n"
                           "CREATE SEQUENCE public.s;\n";
static const char foot[] = "\nCOPY public.u (c) FROM stdin;\nx\n\\.\n"
                           "--\n-- PostgreSQL database dump complete\n--\n\n";

struct snippet {
    const char *text;
    int code;
    const char *message; /* part of it */
    size_t size;         /* of a text with NUL */
};

static void run_snippets(const struct snippet *snippets, size_t count, const char *before)
{
    for (size_t i = 0; i < count; i++) {
        const struct snippet *c = &snippets[i];

        for (int way = 0; way < 2; way++) {
            struct ems_buf text = {0};
            struct ems_error err = {0};

            ems_buf_append(&text, before, strlen(before), NULL);
            ems_buf_append(&text, c->text, c->size > 0 ? c->size : strlen(c->text), NULL);
            ems_buf_append(&text, foot, strlen(foot), NULL);
            ASSERT_CODE(scan(text.data, text.size, way ? 1 : 0, NULL, NULL, &err), c->code);
            if (c->message != NULL ? strstr(err.text, c->message) == NULL : err.text[0] != '\0')
                printf("\n    %s\n    %s", c->text, err.text);
            CU_ASSERT(c->message != NULL ? strstr(err.text, c->message) != NULL
                                         : err.text[0] == '\0');
            ems_buf_release(&text);
        }
    }
}

#define RUN(snippets, before) run_snippets(snippets, sizeof snippets / sizeof snippets[0], before)

/* What could do harm, or could do something that we did not look at. */
static void test_threats(void)
{
    static const struct snippet cases[] = {
        /* psql's commands, wherever they stand (CVE-2025-8714, CVE-2026-18408) */
        {"\\! id\n", EMS_SQL_REFUSED, "line 8: backslash command: \\! id", 0},
        {" \\restrict K\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\restrict K\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\unrestrict K\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\unrestrict `id`\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\connect evil\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\i /etc/passwd\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\copy t from program 'id'\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"SELECT 1 \\gexec\n", EMS_SQL_REFUSED, "line 8: backslash inside a statement: SELECT 1",
         0},
        {"INSERT INTO public.t VALUES ('a', 1\\;);\n", EMS_SQL_REFUSED, "backslash inside", 0},
        {"-- Name: x\r\\! id\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\\0! id\n", EMS_SQL_ENCODING, "NUL byte", 8},
        /* SQL hidden in a name with a line end (CVE-2025-8715) */
        {"-- Name: x\nDROP TABLE public.t; Type: TABLE\n", EMS_SQL_REFUSED,
         "line 9: must not stand behind a CREATE", 0},
        {"-- x\rALTER ROLE postgres SUPERUSER;\n", EMS_SQL_REFUSED, "ALTER ROLE", 0},
        /* files and programs */
        {"COPY public.t (a, b) FROM PROGRAM 'id';\n", EMS_SQL_REFUSED, "COPY must be FROM stdin",
         0},
        {"COPY public.t (a, b) FROM '/etc/passwd';\n", EMS_SQL_REFUSED, "COPY must be FROM stdin",
         0},
        {"COPY public.t (a, b) TO stdout;\n", EMS_SQL_REFUSED, "COPY must be FROM stdin", 0},
        {"COPY public.t (a, b) FROM stdin WITH (FORMAT binary);\n", EMS_SQL_REFUSED, "\"WITH\"", 0},
        {"COPY public.t (a, b) FROM stdin WHERE f();\n", EMS_SQL_REFUSED, "\"WHERE\"", 0},
        {"COPY (SELECT 1) TO PROGRAM 'id';\n", EMS_SQL_REFUSED, "\"(\"", 0},
        {"COPY public.t (a, b) FROM stdin; DROP TABLE public.t;\n", EMS_SQL_REFUSED,
         "line 8: text behind COPY", 0},
        {"LOAD 'x';\n", EMS_SQL_REFUSED, "not a statement that is accepted: LOAD 'x'", 0},
        {"SELECT lo_import('/etc/passwd');\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SELECT pg_catalog.lo_create('1');\n", EMS_SQL_REFUSED, "not a statement", 0},
        /* code */
        {"DO $$BEGIN END$$;\n", EMS_SQL_REFUSED, "not a statement that is accepted: DO", 0},
        {"CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN END$$;\n",
         EMS_SQL_REFUSED, "line 8: function that Synapse does not have: public.f: CREATE FUNC", 0},
        {"CREATE FUNCTION public.check_partial_state_events() RETURNS trigger LANGUAGE plpgsql "
         "AS $$BEGIN RETURN NEW; END$$;\n",
         EMS_SQL_REFUSED,
         "line 8: public.check_partial_state_events is not the function that Synapse has", 0},
        {"CREATE FUNCTION public.check_partial_state_events() RETURNS trigger LANGUAGE plpgsql "
         "SECURITY DEFINER AS $$ $$;\n",
         EMS_SQL_REFUSED, "from \"SECURITY\" on", 0},
        {"CREATE OR REPLACE FUNCTION public.f() RETURNS int BEGIN ATOMIC SELECT 1; END;\n",
         EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();\n",
         EMS_SQL_REFUSED, "trigger on a function that the dump has not created: public.f", 0},
        {"CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION "
         "public.check_partial_state_events();\n",
         EMS_SQL_REFUSED, "trigger on a function that the dump has not created", 0},
        {"CREATE RULE r AS ON INSERT TO public.t DO ALSO (DELETE FROM public.u; NOTHING);\n",
         EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f();\n", EMS_SQL_REFUSED,
         "not a statement", 0},
        {"CREATE INDEX i ON public.t USING btree (public.f(a));\n", EMS_SQL_REFUSED,
         "no column public", 0},
        {"CREATE INDEX i ON public.t USING btree (f(a));\n", EMS_SQL_REFUSED,
         "not one of the functions that may be used: f:", 0},
        {"CREATE INDEX i ON public.t USING btree (a) WHERE (pg_sleep(1) IS NULL);\n",
         EMS_SQL_REFUSED, "not one of the functions that may be used: pg_sleep", 0},
        {"CREATE TABLE public.x (a text DEFAULT pg_read_file('/etc/passwd'));\n", EMS_SQL_REFUSED,
         "not one of the functions", 0},
        {"CREATE TABLE public.x (a text, CHECK ((SELECT 1)));\n", EMS_SQL_REFUSED, "\"CHECK\"", 0},
        {"CREATE TABLE public.x (a text, CONSTRAINT k CHECK ((SELECT 1 FROM t)));\n",
         EMS_SQL_REFUSED, "\"SELECT\"", 0},
        {"CREATE TABLE public.x (a text DEFAULT (a).f);\n", EMS_SQL_REFUSED, "\".\"", 0},
        {"CREATE TABLE public.x (a public.evil);\n", EMS_SQL_REFUSED, "not a built-in type", 0},
        {"CREATE TABLE public.x (a regclass);\n", EMS_SQL_REFUSED, "not a built-in type", 0},
        {"CREATE TABLE public.x (LIKE public.t);\n", EMS_SQL_REFUSED, "\"LIKE\"", 0},
        {"CREATE TABLE public.x (a text) INHERITS (public.t);\n", EMS_SQL_REFUSED,
         "partitions and inherited", 0},
        {"CREATE TABLE public.x AS SELECT 1;\n", EMS_SQL_REFUSED, "\"AS\"", 0},
        {"CREATE TABLE public.x (a text) TABLESPACE evil;\n", EMS_SQL_REFUSED, "TABLESPACE", 0},
        {"CREATE TABLE pg_catalog.x (a text);\n", EMS_SQL_REFUSED,
         "only schema public is accepted, not pg_catalog", 0},
        {"CREATE VIEW public.users AS SELECT 1;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE MATERIALIZED VIEW public.v AS SELECT 1;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE OPERATOR public.= (FUNCTION = f);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE CAST (text AS int) WITH INOUT;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE EXTENSION pgcrypto;\n", EMS_SQL_REFUSED,
         "extension that Synapse does not use: pgcrypto", 0},
        {"CREATE EXTENSION plpgsql WITH SCHEMA public VERSION 'x';\n", EMS_SQL_REFUSED, "VERSION",
         0},
        /* the server and other databases */
        {"ALTER ROLE postgres PASSWORD 'x';\n", EMS_SQL_REFUSED, "from \"ROLE\" on", 0},
        {"ALTER SYSTEM SET x = 1;\n", EMS_SQL_REFUSED, "ALTER SYSTEM", 0},
        {"ALTER DATABASE d SET search_path = evil;\n", EMS_SQL_REFUSED, "must not stand behind", 0},
        {"DROP DATABASE d;\n", EMS_SQL_REFUSED, "must not stand behind a CREATE", 0},
        {"DROP TABLE public.t;\n", EMS_SQL_REFUSED, "must not stand behind a CREATE", 0},
        {"TRUNCATE public.t;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"DELETE FROM public.t;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"UPDATE public.t SET a = 'x';\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"BEGIN;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"COMMIT;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {";\n", EMS_SQL_REFUSED, "line 8: an empty statement", 0},
        {"REINDEX SYSTEM d;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SELECT pg_catalog.pg_terminate_backend(1);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SELECT 1;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SET session_replication_role = replica;\n", EMS_SQL_REFUSED, "session_replication_role",
         0},
        {"SET work_mem = '1TB';\n", EMS_SQL_REFUSED, "\"work_mem\"", 0},
        {"SET statement_timeout = (SELECT 1);\n", EMS_SQL_REFUSED, "\"(\"", 0},
        {"SET search_path = evil, public;\n", EMS_SQL_REFUSED, "only schema public", 0},
        {"SELECT pg_catalog.set_config('search_path', 'evil', false);\n", EMS_SQL_REFUSED,
         "from \",\" on", 0},
        {"SELECT pg_catalog.set_config('role', '', false);\n", EMS_SQL_REFUSED, "set_config", 0},
        {"SELECT pg_catalog.setval('public.s', 1, true), pg_sleep(9);\n", EMS_SQL_REFUSED, "\",\"",
         0},
        {"SELECT pg_catalog.setval('public.nope', 1, true);\n", EMS_SQL_REFUSED,
         "the dump has not created public.nope", 0},
        {"SELECT pg_catalog.setval('pg_catalog.s', 1, true);\n", EMS_SQL_REFUSED,
         "not the name of a sequence: pg_catalog.s", 0},
        /* lexical tricks: other quotes, other encodings, hidden ends */
        {"SET standard_conforming_strings = off;\n", EMS_SQL_REFUSED,
         "standard_conforming_strings off", 0},
        {"SET client_encoding = 'SJIS';\n", EMS_SQL_REFUSED, "--encoding=UTF8, not SJIS", 0},
        {"SET client_encoding = 'SQL_ASCII';\n", EMS_SQL_REFUSED, "not SQL_ASCII", 0},
        {"COMMENT ON TABLE public.t IS U&'\\0041';\n", EMS_SQL_REFUSED, "U&", 0},
        {"COMMENT ON TABLE public.t IS 'a'\n'b'; DROP TABLE public.t;\n", EMS_SQL_REFUSED,
         "line 9: must not stand", 0},
        {"COMMENT ON TABLE public.t IS E'a'\n'\\'; DROP TABLE public.t; --';\n", EMS_END, NULL, 0},
        {"COMMENT ON TABLE public.t IS 'a' || 'b';\n", EMS_SQL_REFUSED, "\"||\"", 0},
        {"COMMENT ON TABLE public.t IS $$a$$;\n", EMS_SQL_REFUSED, "\"$$a$$\"", 0},
        {"COMMENT ON TABLE public.t IS 'a', 'b';\n", EMS_SQL_REFUSED, "\",\"", 0},
        {"/* /* */ DROP TABLE public.t; */ COMMENT ON TABLE public.t IS NULL;\n", EMS_END, NULL, 0},
        {"INSERT INTO public.t VALUES ('a', 1); -- '\nDROP TABLE public.t;\n", EMS_SQL_REFUSED,
         "line 9: must not stand", 0},
        {"INSERT INTO public.t VALUES ('a', f());\n", EMS_SQL_REFUSED,
         "line 8: row 1 of the INSERT is not 2 constants: INSERT", 0},
        {"INSERT INTO public.t VALUES ('a', 1), ('b', (SELECT 1));\n", EMS_SQL_REFUSED,
         "row 2 of the INSERT", 0},
        {"INSERT INTO public.t VALUES ('a');\n", EMS_SQL_REFUSED, "is not 2 constants", 0},
        {"INSERT INTO public.t VALUES ('a', 1, 2);\n", EMS_SQL_REFUSED, "is not 2 constants", 0},
        {"INSERT INTO public.t (a) VALUES ('a') RETURNING a;\n", EMS_SQL_REFUSED, "INSERT", 0},
        {"INSERT INTO public.t (a) VALUES ('a') ON CONFLICT DO UPDATE SET a = f();\n",
         EMS_SQL_REFUSED, "INSERT", 0},
        {"INSERT INTO public.t SELECT * FROM public.u;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"INSERT INTO public.t VALUES ('a', 1e);\n", EMS_SQL_REFUSED, "is not 2 constants", 0},
        {"INSERT INTO public.t VALUES ('a', 1) ON CONFLICT;\n", EMS_SQL_REFUSED, "too early", 0},
        {"INSERT INTO public.t (a, nope) VALUES ('a', 1);\n", EMS_SQL_REFUSED,
         "the table has no column nope", 0},
    };

    RUN(cases, head);
}

/* Data that does not fit the dump's own tables, and what psql loses without a word. */
static void test_data(void)
{
    static const struct snippet cases[] = {
        {"COPY public.t (a, b) FROM stdin;\nx\t1\ny\0z\t2\n\\.\n", EMS_SQL_ENCODING,
         "line 10, row 2 of public.t (column 1): NUL byte", 44},
        {"COPY public.t (a, b) FROM stdin;\n\\.\t1\nx\t2\n\\.\n", EMS_SQL_MALFORMED,
         "line 9, row 1 of public.t (column 1): end-of-data mark", 0},
        {"COPY public.t (a, b) FROM stdin;\nx\t\\.\nx\t2\n\\.\n", EMS_SQL_MALFORMED,
         "end-of-data mark \\. inside a row", 0},
        {"COPY public.t (a, b) FROM stdin;\nx\n\\.\n", EMS_SQL_MALFORMED,
         "the row has 1 columns instead of 2", 0},
        {"COPY public.t (a, b) FROM stdin;\r\nx\t1\n\\.\r\n", EMS_END, NULL, 0},
        {"COPY public.t (a, b) FROM stdin; \t\n\\.\nDROP TABLE public.t;\n", EMS_SQL_REFUSED,
         "line 10: must not stand", 0},
        {"COPY public.nope (a) FROM stdin;\nx\n\\.\n", EMS_SQL_REFUSED,
         "the dump has not created public.nope", 0},
        {"COPY public.t (a, nope) FROM stdin;\n", EMS_SQL_REFUSED, "the table has no column nope",
         0},
        {"COPY public.t (a, a) FROM stdin;\n", EMS_SQL_REFUSED, "a list names a column twice: a",
         0},
        {"COPY public.t FROM stdin;\n", EMS_SQL_REFUSED, "COPY without a list of columns", 0},
        {"COPY public.t (a) FROM stdin;\n\\.\nCOPY public.t (b) FROM stdin;\n\\.\n",
         EMS_SQL_REFUSED, "line 10: data for a table that already has some: public.t", 0},
        {"COPY public.t (a) FROM stdin;\n\\.\nINSERT INTO public.t (a) VALUES ('x');\n",
         EMS_SQL_REFUSED, "INSERT into a table that already has data", 0},
        {"CREATE TABLE public.z (\n);\nCOPY public.z  FROM stdin;\n\n\n\\.\n", EMS_END, NULL, 0},
        {"CREATE TABLE public.z (\n);\nINSERT INTO public.z DEFAULT VALUES;\n", EMS_END, NULL, 0},
        {"INSERT INTO public.t DEFAULT VALUES;\n", EMS_SQL_REFUSED, "\"DEFAULT\"", 0},
        {"CREATE TABLE public.t (x text);\n", EMS_SQL_REFUSED,
         "line 8: public.t is created a second", 0},
        {"CREATE SEQUENCE public.t;\n", EMS_SQL_REFUSED, "public.t is created a second time", 0},
        {"CREATE TABLE public.x (a text, a text);\n", EMS_SQL_REFUSED,
         "column a stands there twice", 0},
        {"CREATE INDEX i ON public.nope USING btree (a);\n", EMS_SQL_REFUSED, "has not created", 0},
        {"CREATE INDEX i ON public.t USING btree (nope);\n", EMS_SQL_REFUSED, "no column nope", 0},
        {"ALTER TABLE ONLY public.t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES public.u(nope);\n",
         EMS_SQL_REFUSED, "no column nope", 0},
        {"CREATE TABLE x (a text);\n", EMS_SQL_REFUSED, "a name without schema", 0},
        {"CREATE TABLE public.\"\" (a text);\n", EMS_SQL_REFUSED, "a name must have 1 to 63 bytes",
         0},
        {"CREATE TABLE public.a12345678901234567890123456789012345678901234567890123456789012345 "
         "(a text);\n",
         EMS_SQL_REFUSED, "a name must have 1 to 63 bytes", 0},
    };

    RUN(cases, head);
}

/* What a good dump may hold beyond the fixtures. */
static void test_accepted(void)
{
    static const struct snippet cases[] = {
        {"CREATE TABLE public.x (a smallint, b bigint[], c character varying(10)[], d \"char\", "
         "e timestamp(3) with time zone, f time without time zone, g numeric(10,2), h real, "
         "i double precision, j interval day to second(3), k bit varying(5), l uuid, m inet, "
         "n date, o xml, p oid, q name, r json, s interval, t text[][], u character(1));\n",
         EMS_END, NULL, 0},
        {"CREATE TABLE public.x (a bigint CONSTRAINT x_a_not_null NOT NULL, b text GENERATED "
         "ALWAYS "
         "AS (lower(a)) STORED, c timestamp without time zone DEFAULT CURRENT_TIMESTAMP, d text "
         "DEFAULT NULL::character varying, e integer DEFAULT '-1'::integer, f integer DEFAULT "
         "(-1), "
         "g boolean DEFAULT (NOT true), h text[] DEFAULT ARRAY['a'::text, 'b'::text]);\n",
         EMS_END, NULL, 0},
        {"CREATE TABLE public.x (a text, CONSTRAINT k CHECK (((a)::text = ANY "
         "((ARRAY['x'::character "
         "varying, 'y'::character varying])::text[]))), CONSTRAINT l CHECK ((a ~~ 'x%'::text) AND "
         "(length(a) > 0) OR (CASE WHEN (a IS NULL) THEN 1 ELSE 0 END = 1)));\n",
         EMS_END, NULL, 0},
        {"ALTER TABLE ONLY public.t ADD CONSTRAINT p PRIMARY KEY (a, b) INCLUDE (a) WITH "
         "(fillfactor='90') DEFERRABLE;\n",
         EMS_END, NULL, 0},
        {"ALTER TABLE ONLY public.t ADD CONSTRAINT p UNIQUE NULLS NOT DISTINCT (a);\n", EMS_END,
         NULL, 0},
        {"ALTER TABLE ONLY public.t ALTER COLUMN a SET STATISTICS 1000;\n", EMS_END, NULL, 0},
        {"ALTER TABLE ONLY public.t ALTER COLUMN a SET STORAGE EXTERNAL;\n", EMS_END, NULL, 0},
        {"ALTER TABLE ONLY public.t ALTER COLUMN a SET COMPRESSION lz4;\n", EMS_END, NULL, 0},
        {"ALTER TABLE ONLY public.t REPLICA IDENTITY FULL;\n", EMS_END, NULL, 0},
        {"ALTER TABLE public.t CLUSTER ON t_pkey;\n", EMS_END, NULL, 0},
        {"CREATE PUBLICATION p FOR TABLE public.t;\n", EMS_END, NULL, 0},
        {"ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA public GRANT SELECT ON TABLES TO b;\n",
         EMS_END, NULL, 0},
        {"SET SESSION AUTHORIZATION 'synapse';\nRESET SESSION AUTHORIZATION;\n", EMS_END, NULL, 0},
        {"SELECT * FROM pg_catalog.pg_restore_relation_stats(\n'version', '180006'::integer,\n"
         "'schemaname', 'public');\n",
         EMS_END, NULL, 0},
        {"CREATE INDEX i ON public.t USING btree (a COLLATE \"C\" text_pattern_ops DESC NULLS "
         "LAST, "
         "lower(a), ((a || 'x'::text))) INCLUDE (b) WHERE ((a <> ''::text) AND (b IS NOT NULL));\n",
         EMS_END, NULL, 0},
        {"COMMENT ON INDEX public.i IS E'a\\'b';\nCOMMENT ON SCHEMA public IS '';\n"
         "COMMENT ON CONSTRAINT k ON public.t IS 'x';\n",
         EMS_END, NULL, 0},
        {"INSERT INTO public.t VALUES ('a', -1.5e-07), (NULL, DEFAULT), (E'\\\\', B'01'), (X'1f', "
         "false) ON CONFLICT DO NOTHING;\n",
         EMS_END, NULL, 0},
        {"INSERT INTO public.t (b, a) OVERRIDING SYSTEM VALUE VALUES (1, 'x');\n", EMS_END, NULL,
         0},
        {"ALTER SEQUENCE public.s OWNED BY public.t.b;\n", EMS_END, NULL, 0},
        {"ALTER FUNCTION public.f(integer) OWNER TO \"some role\";\n", EMS_END, NULL, 0},
    };
    static const struct snippet early[] = {
        /* before anything is created */
        {"DROP TABLE IF EXISTS public.t;\nALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT k;\n"
         "DROP INDEX public.i;\nDROP TRIGGER IF EXISTS x ON public.t;\nDROP SCHEMA public;\n"
         "CREATE SCHEMA public;\nALTER SCHEMA public OWNER TO a;\n"
         "CREATE TABLE public.u (c text);\n",
         EMS_END, NULL, 0},
        {"\\restrict a1\nDROP DATABASE d;\nCREATE DATABASE d WITH TEMPLATE = template0 ENCODING = "
         "'UTF8';\n\\unrestrict a1\n\\connect d\n\\restrict a1\nSET lock_timeout = 0;\n"
         "CREATE TABLE public.u (c text);\nCOPY public.u (c) FROM stdin;\n\\.\n--\n"
         "-- PostgreSQL database dump complete\n--\n\n\\unrestrict a1\n",
         EMS_SQL_MALFORMED, "a statement behind the end",
         0}, /* only because of the snippets' own foot */
        {"\\connect a\n\\connect b\n", EMS_SQL_REFUSED, "backslash command: \\connect b", 0},
        {"\\restrict a\n\\restrict b\n", EMS_SQL_REFUSED, "backslash command", 0},
        {"\\restrict a-b\n", EMS_SQL_REFUSED, "backslash command: \\restrict a-b", 0},
        {"\\restrict a\n\\unrestrict b\n", EMS_SQL_REFUSED, "backslash command: \\unrestrict b", 0},
        {"\\restrict a\nCREATE TABLE public.u (c text);\n\\unrestrict a\n", EMS_SQL_REFUSED,
         "line 3: backslash command: \\unrestrict a", 0},
        {"\\restrict a\nCREATE TABLE public.u (c text);\n", EMS_SQL_TRUNCATED,
         "\\unrestrict line at the end is missing", 0},
        {"DROP TABLE t;\n", EMS_SQL_REFUSED, "line 1: a name without schema", 0},
        {"COPY public.t (a) FROM stdin;\n", EMS_SQL_REFUSED,
         "a full dump is needed (not --data-only): it does not create public.t", 0},
        {"ALTER TABLE public.t DISABLE TRIGGER ALL;\n", EMS_SQL_REFUSED, "not --data-only", 0},
    };

    RUN(cases, head);
    RUN(early, "");
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

/* A function is known by its bytes, or by its tokens; then its tokens are what is sent. */
static void test_function_bodies(void)
{
    static const char body[] = "\nBEGIN\n  -- say 'why'\n  RETURN NEW; END",
                      tokens[] = "BEGIN RETURN NEW ; END";
    static const struct {
        const char *body;
        bool good, exact;
    } cases[] = {
        {body, true, true},
        {"begin return new; end", false, false}, /* case matters: quoted names could differ */
        {"BEGIN RETURN NEW;END", true, false},
        {"/* x */ BEGIN\r\nRETURN/**/NEW--\r;\tEND\n--", true, false},
        {"BEGIN RETURN NEW; END 'open", true, false},
        {"BEGIN RETURN NEW; DELETE FROM users; END", false, false},
        {"BEGIN RETURN NEW; END;", false, false},
        {"BEGIN RETURN N EW; END", false, false},
        {"BEGIN RETURN 'NEW'; END", false, false},
        {"", false, false},
    };
    char exact_hex[65], tokens_hex[65];
    uint8_t digest[32];
    struct ems_sql_function function = {"f", exact_hex, tokens_hex};
    struct ems_buf rendered = {0};

    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, body, strlen(body));
    ems_hex(digest, 32, exact_hex);
    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, tokens, strlen(tokens));
    ems_hex(digest, 32, tokens_hex);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool is_good, exact;
        struct ems_error err = {0};

        rendered.size = 0;
        ASSERT_CODE(ems_sql_function_check(&function, (const uint8_t *)cases[i].body,
                                           strlen(cases[i].body), &is_good, &exact, &rendered,
                                           &err),
                    EMS_OK);
        CU_ASSERT_EQUAL(is_good, cases[i].good);
        CU_ASSERT_EQUAL(exact, cases[i].exact);
        if (is_good && !exact)
            CU_ASSERT(rendered.size == strlen(tokens) &&
                      memcmp(rendered.data, tokens, rendered.size) == 0);
    }
    CU_ASSERT(ems_sql_function_find("public.check_event_stream_ordering") >= 0);
    CU_ASSERT(ems_sql_function_find("check_event_stream_ordering") < 0);
    ems_buf_release(&rendered);
}

EMS_TESTS("sqlscan", {"chunk matrix", test_chunk_matrix}, {"what comes out", test_what_comes_out},
          {"old dump with INSERTs", test_old_inserts},
          {"Windows line ends, byte order mark", test_crlf_and_bom},
          {"every prefix fails", test_every_prefix_fails},
          {"truncation says where", test_truncation_says_where},
          {"failure of the stage below", test_failure_below},
          {"origin of a failure", test_origin_and_drain}, {"threats", test_threats},
          {"data that does not fit", test_data}, {"accepted statements", test_accepted},
          {"the end of a dump", test_the_end}, {"not a dump", test_not_a_dump},
          {"schema only", test_schema_only}, {"limits", test_limits},
          {"limits of the catalog", test_catalog_limits}, {"function bodies", test_function_bodies})
