/* The accept list: what a dump may hold, what it must not, and what is done with functions. */
#include "sql_snippets.h"

#include "sql_shape.h"

#include <gcrypt.h>

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
         EMS_SQL_REFUSED, "from \"r\" on", 0},
        {"CREATE RULE populate_stream_ordering2 AS ON INSERT TO public.t DO NOTHING;\n",
         EMS_SQL_REFUSED, "from \"DO\" on", 0},
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
        {"CREATE TABLE public.x (a text DEFAULT replace('aa', 'a', 'aaa'));\n", EMS_SQL_REFUSED,
         "not one of the functions that may be used: replace", 0},
        {"CREATE INDEX i ON public.t USING btree (\"substring\"(a, '(x+x+)+y'));\n",
         EMS_SQL_REFUSED, "not one of the functions that may be used: substring", 0},
        {"CREATE TABLE public.\"x\nDROP TABLE public.t; --\" (a text);\n", EMS_SQL_REFUSED,
         "line 8: a name must not have control characters", 0},
        {"CREATE TABLE public.x (\"a\r\" text);\n", EMS_SQL_REFUSED, "control characters", 0},
        {"CREATE INDEX \"\x7f\" ON public.t USING btree (a);\n", EMS_SQL_REFUSED,
         "control characters", 0},
        {"CREATE POLICY p ON public.t USING (true);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;\n", EMS_SQL_REFUSED, "\"ENABLE\"", 0},
        {"ALTER TABLE public.t ADD COLUMN x text DEFAULT f();\n", EMS_SQL_REFUSED, "ALTER TABLE",
         0},
        {"CREATE TABLE public.x (a text, b text GENERATED ALWAYS AS (public.f(a)) STORED);\n",
         EMS_SQL_REFUSED, "\".\"", 0},
        {"CREATE TABLE public.x (a text, b text GENERATED ALWAYS AS (pg_read_file(a)) STORED);\n",
         EMS_SQL_REFUSED, "not one of the functions that may be used: pg_read_file", 0},
        {"CREATE TABLE public.x (a text, CONSTRAINT k CHECK (pg_catalog.pg_ls_dir(a) = 'x'));\n",
         EMS_SQL_REFUSED, "\"pg_ls_dir\"", 0},
        {"CREATE TABLE public.x (a text DEFAULT \"coalesce\"('a', 'b'));\n", EMS_SQL_REFUSED,
         "not one of the functions that may be used: coalesce", 0},
        {"CREATE TABLE public.x (a \"Text\");\n", EMS_SQL_REFUSED, "not a built-in type", 0},
        {"CREATE \"table\" public.x (a text);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p;\n", EMS_SQL_REFUSED,
         "not a statement", 0},
        {"CREATE SERVER s FOREIGN DATA WRAPPER w;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE TYPE public.text AS (a text);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE DOMAIN public.d AS text CHECK (f());\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"CREATE SCHEMA evil;\n", EMS_SQL_REFUSED, "CREATE SCHEMA evil", 0},
        /* the server and other databases */
        {"ALTER ROLE ALL SET role = postgres;\n", EMS_SQL_REFUSED, "ALTER ROLE ALL", 0},
        {"CREATE ROLE r SUPERUSER;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"NOTIFY x;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"PREPARE p AS SELECT 1;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"LOCK TABLE public.t;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"VACUUM;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"ALTER ROLE postgres PASSWORD 'x';\n", EMS_SQL_REFUSED, "from \"PASSWORD\" on", 0},
        {"ALTER ROLE a IN DATABASE d SET work_mem TO '1';\n", EMS_SQL_REFUSED, "must not stand", 0},
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
        {"SELECT pg_catalog.set_config('search_path', '', true);\n", EMS_SQL_REFUSED, "set_config",
         0},
        {"SELECT public.setval('public.s', 1, true);\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SET lock_timeout TO DEFAULT;\n", EMS_SQL_REFUSED, "\"TO\"", 0},
        {"SET LOCAL search_path = '';\n", EMS_SQL_REFUSED, "\"LOCAL\"", 0},
        {"RESET ALL;\n", EMS_SQL_REFUSED, "not a statement", 0},
        {"SELECT pg_catalog.setval('public.s', 1, true), pg_sleep(9);\n", EMS_SQL_REFUSED, "\",\"",
         0},
        {"SELECT pg_catalog.setval('public.nope', 1, true);\n", EMS_SQL_REFUSED,
         "the dump has not created public.nope", 0},
        {"SELECT pg_catalog.setval('pg_catalog.s', 1, true);\n", EMS_SQL_REFUSED,
         "not the name of a sequence: pg_catalog.s", 0},
        /* lexical tricks: other quotes, other encodings, hidden ends */
        {"SET standard_conforming_strings = off;\n", EMS_SQL_REFUSED,
         "standard_conforming_strings off", 0},
        {"SET client_encoding = 'SJIS';\n", EMS_SQL_ENCODING, "--encoding=UTF8, not SJIS", 0},
        {"SET client_encoding = 'SQL_ASCII';\n", EMS_SQL_ENCODING, "not SQL_ASCII", 0},
        {"CREATE TABLE public.U&\"\\0061\" (a text);\n", EMS_SQL_REFUSED, "U&", 0},
        {"CREATE TABLE public.\"a\\\"b\" (a text);\n", EMS_SQL_TRUNCATED, "inside a quoted name",
         0},
        {"CREATE TABLE public.\"a\"\"b\" (a text);\nCOPY public.\"a\"\"b\" (a) FROM stdin;\n\\.\n",
         EMS_END, NULL, 0},
        {"COPY public.\xd1\x82 (a, b) FROM stdin;\n", EMS_SQL_REFUSED, /* Cyrillic, looks like t */
         "the dump has not created public.\xd1\x82", 0},
        {"CREATE FUNCTION public.ch\xd0\xb5"
         "ck_partial_state_events() RETURNS trigger LANGUAGE "
         "plpgsql AS $$ $$;\n",
         EMS_SQL_REFUSED, "function that Synapse does not have", 0},
        {"SELECT 1 AS \xef\xbc\x9b DROP TABLE public.t;\n", EMS_SQL_REFUSED, "not a statement", 0},
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
        /* --quote-all-identifiers */
        {"CREATE TABLE \"public\".\"x\" (\n \"a\" \"text\"[] DEFAULT ARRAY['a'::\"text\"],\n"
         "\"b\" character(1) DEFAULT 'X'::\"bpchar\" NOT NULL,\n"
         "\"c\" bigint DEFAULT (EXTRACT(epoch FROM \"now\"()) * (1000)::numeric),\n"
         "\"d\" \"text\" COLLATE \"pg_catalog\".\"C\",\n"
         "CONSTRAINT \"k\" CHECK ((\"lower\"(\"d\") = 'x'::\"text\")));\n"
         "SELECT pg_catalog.setval('\"public\".\"s\"', 1, true);\n"
         "ALTER TABLE ONLY \"public\".\"t\" ALTER COLUMN \"b\" SET DEFAULT "
         "\"nextval\"('\"public\".\"s\"'::\"regclass\");\n"
         "CREATE INDEX \"i\" ON \"public\".\"t\" USING \"btree\" (\"lower\"(\"a\"), \"a\" "
         "\"text_pattern_ops\");\nSET default_table_access_method = \"heap\";\n",
         EMS_END, NULL, 0},
        {"CREATE STATISTICS public.st (dependencies) ON a, b FROM public.t;\n"
         "ALTER STATISTICS public.st SET STATISTICS 100;\n",
         EMS_END, NULL, 0},
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
        {"DROP STATISTICS IF EXISTS public.st;\nDROP RULE IF EXISTS r ON public.events;\n"
         "\\connect d\nALTER DATABASE d SET x TO '0';\nALTER ROLE a IN DATABASE d SET x TO 'b';\n"
         "\\connect d\nCREATE TABLE public.u (c text);\n",
         EMS_END, NULL, 0},
        {"\\connect a\n\\connect a\n\\connect a\n", EMS_SQL_REFUSED,
         "line 3: backslash command: \\connect a", 0},
        {"ALTER TABLE ONLY public.t ADD CONSTRAINT k PRIMARY KEY (a);\n", EMS_SQL_REFUSED,
         "not --data-only", 0},
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
    const struct ems_sql_function known[] = {
        {"f", "", ""}, {"f", exact_hex, tokens_hex}, {"g", "", ""}, {NULL, NULL, NULL}};
    struct ems_buf rendered = {0};
    struct ems_error err = {0};
    bool is_good, exact;

    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, body, strlen(body));
    ems_hex(digest, 32, exact_hex);
    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, tokens, strlen(tokens));
    ems_hex(digest, 32, tokens_hex);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rendered.size = 0;
        ASSERT_CODE(ems_sql_function_check(known, (const uint8_t *)cases[i].body,
                                           strlen(cases[i].body), &is_good, &exact, &rendered,
                                           &err),
                    EMS_OK);
        CU_ASSERT_EQUAL(is_good, cases[i].good);
        CU_ASSERT_EQUAL(exact, cases[i].exact);
        if (is_good && !exact)
            CU_ASSERT(rendered.size == strlen(tokens) &&
                      memcmp(rendered.data, tokens, rendered.size) == 0);
    }
    /* The body of another function is not this one's. */
    ASSERT_CODE(ems_sql_function_check(known + 2, (const uint8_t *)body, strlen(body), &is_good,
                                       &exact, &rendered, &err),
                EMS_OK);
    CU_ASSERT(!is_good);
    CU_ASSERT(ems_sql_function_find("public.check_event_stream_ordering") >= 0);
    CU_ASSERT(ems_sql_function_find("check_event_stream_ordering") < 0);
    ems_buf_release(&rendered);
}

/* What Synapse's own background updates have left in a database of its time, and nothing like it.
 */
static void test_functions(void)
{
#define FUNCTION(quote, body)                                                                      \
    "CREATE FUNCTION public.populate_min_depth2() RETURNS trigger\n    LANGUAGE plpgsql\n    "     \
    "AS " quote body quote ";\n"
#define BODY   "begin_ new.min_depth2 := new.min_depth; RETURN NEW; END;"
#define GOOD   "BEGIN new.min_depth2 := new.min_depth; RETURN NEW; END;"
#define DEPTHS "CREATE TABLE public.room_depth (min_depth integer, min_depth2 bigint);\n"
#define EVENTS "CREATE TABLE public.events (stream_ordering integer, stream_ordering2 bigint);\n"
#define RULE(table, where)                                                                         \
    "CREATE RULE populate_stream_ordering2 AS\n    ON INSERT TO " table " DO  UPDATE " table       \
    " SET stream_ordering2 = new.stream_ordering\n  WHERE (" where ");\n"
#define TRIGGER(when, table)                                                                       \
    "CREATE TRIGGER x " when " ON public." table " FOR EACH ROW EXECUTE FUNCTION "                 \
    "public.populate_min_depth2();\n"
    static const struct snippet cases[] = {
        {FUNCTION("$$", GOOD) DEPTHS TRIGGER("BEFORE INSERT OR UPDATE", "room_depth"), EMS_END,
         NULL, 0},
        {FUNCTION("'", GOOD) DEPTHS TRIGGER("BEFORE INSERT OR UPDATE", "room_depth"), EMS_END, NULL,
         0},
        {FUNCTION("$x$", "\r\n" GOOD "\r\n"), EMS_END, NULL, 0},
        {FUNCTION("$$", BODY), EMS_SQL_REFUSED, "not the function that Synapse has", 0},
        {FUNCTION("'", BODY), EMS_SQL_REFUSED, "not the function that Synapse has", 0},
        {FUNCTION("'", GOOD " ''x''"), EMS_SQL_REFUSED, "not the function that Synapse has", 0},
        {FUNCTION("$$", GOOD) FUNCTION("$$", GOOD), EMS_SQL_REFUSED, "created a second time", 0},
        {FUNCTION("$$", GOOD) TRIGGER("BEFORE INSERT OR UPDATE", "t"), EMS_SQL_REFUSED,
         "not where Synapse has this function called: public.populate_min_depth2", 0},
        {FUNCTION("$$", GOOD) DEPTHS TRIGGER("AFTER INSERT OR UPDATE", "room_depth"),
         EMS_SQL_REFUSED, "not where Synapse has this function called", 0},
        {FUNCTION("$$", GOOD) DEPTHS TRIGGER("BEFORE INSERT", "room_depth"), EMS_SQL_REFUSED,
         "not where Synapse has this function called", 0},
        {EVENTS RULE("public.events", "events.stream_ordering = new.stream_ordering"), EMS_END,
         NULL, 0},
        {RULE("public.t", "events.stream_ordering = new.stream_ordering"), EMS_SQL_REFUSED,
         "CREATE RULE", 0},
        {EVENTS RULE("public.events", "true"), EMS_SQL_REFUSED, "CREATE RULE", 0},
    };

    RUN(cases, head);
}

EMS_TESTS("sql_shapes", {"threats", test_threats}, {"data that does not fit", test_data},
          {"accepted statements", test_accepted}, {"functions, triggers, the rule", test_functions},
          {"function bodies", test_function_bodies})
