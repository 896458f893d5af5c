/* Restore: dumps into a real server, and everything that may go wrong on the way. */
#include "postgres.h"

#include "restore.h"
#include "server_session.h"

#include <stdatomic.h>
#include <time.h>

/* A small dump in pg_dump's words. Line 14 is the first after the head. */
#define HEAD                                                                                       \
    "--\n-- PostgreSQL database dump\n--\n\n"                                                      \
    "-- Dumped from database version 15.18\n-- Dumped by pg_dump version 15.18\n\n"                \
    "SET statement_timeout = 0;\nSET transaction_timeout = 0;\n"                                   \
    "SET client_encoding = 'UTF8';\n"                                                              \
    "SET standard_conforming_strings = on;\n"                                                      \
    "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
#define USERS      "CREATE TABLE public.users (\n    name text,\n    admin smallint NOT NULL\n);\n\n"
#define ROOMS      "CREATE TABLE public.rooms (\n    room_id text NOT NULL,\n    n bigint\n);\n\n"
#define COPY_USERS "COPY public.users (name, admin) FROM stdin;\n"
#define END        "\\.\n\n\n"
#define FOOT       "--\n-- PostgreSQL database dump complete\n--\n\n"

static const char good[] = /* */
    HEAD USERS ROOMS "CREATE SEQUENCE public.user_id_seq\n    START WITH 1\n    INCREMENT BY 1\n"
                     "    NO MINVALUE\n    NO MAXVALUE\n    CACHE 1;\n\n" COPY_USERS
                     "@a:example.org\t0\n@\xc3\xa4\\tb\\\\:example.org\t1\n\\N\t0\n" END
                     "INSERT INTO public.rooms VALUES ('!x:example.org', 7);\n"
                     "INSERT INTO public.rooms VALUES ('!y''s:example.org', -1), ('!z', NULL);\n\n"
                     "SELECT pg_catalog.setval('public.user_id_seq', 42, true);\n\n"
                     "ALTER TABLE ONLY public.rooms\n"
                     "    ADD CONSTRAINT rooms_pkey PRIMARY KEY (room_id);\n\n"
                     "CREATE INDEX users_admin ON public.users USING btree (admin);\n\n" FOOT;

struct run {
    struct ems_restore_options options;
    struct ems_restore_result result;
    struct ems_error err;
    size_t chunk;
};

/* Restore into an unfinished database and leave it so. */
static int restore(struct ems_staging *st, const char *dump, size_t size, struct run *run)
{
    struct ems_sqlscan *scan;
    int rc;

    run->err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, "restored", false, &run->err), EMS_OK);
    scan = ems_sqlscan_open(ems_test_source_open(dump, size, run->chunk, 0, EMS_OK), &run->err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(scan);
    rc = ems_restore_run(scan, st, &run->options, &run->result, &run->err);
    CU_ASSERT_EQUAL(run->err.code, rc);
    ems_sqlscan_free(scan);
    return rc;
}

/* A restore that must fail with this code and text, and leave nothing. */
static void fails(const char *dump, int code, const char *text)
{
    struct ems_staging *st = pg_open_shared();

    for (unsigned jobs = 1; jobs < 4; jobs += 2) {
        struct run run = {.chunk = 100, .options = {.jobs = jobs}};

        ASSERT_CODE(restore(st, dump, strlen(dump), &run), code);
        if (strstr(run.err.text, text) == NULL)
            printf("\n    \"%s\" is not in \"%s\"", text, run.err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(run.err.text, text));
        ems_staging_abandon(st);
        pg_assert_nothing_left(ems_staging_admin(st));
    }
}

/* ---- what works ---- */

/* The restore's sessions have the project's settings, whatever the server's or the dump's are. */
static void test_session(void)
{
    static const char *const settings[][2] = {
        {"search_path", ""},
        {"client_encoding", "UTF8"},
        {"standard_conforming_strings", "on"},
        {"check_function_bodies", "off"},
        {"row_security", "off"},
        {"xmloption", "content"},
        {"synchronous_commit", "off"},
        {"statement_timeout", "1d"},
        {"lock_timeout", "12h"},
        {"idle_in_transaction_session_timeout", "1d"},
        {"default_tablespace", ""},
    };
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn;
    char sql[100];

    if (!pg_available("session"))
        return;
    st = pg_open_shared();
    ASSERT_CODE(ems_staging_create(st, "session", false, &err), EMS_OK);
    ASSERT_CODE(ems_session_open(st, &conn, &err), EMS_OK);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        snprintf(sql, sizeof sql, "SHOW %s", settings[i][0]);
        CU_ASSERT_STRING_EQUAL(pg_ask(conn, sql), settings[i][1]);
    }
    ASSERT_CODE(ems_session_phase(conn, EMS_SESSION_SCHEMA, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SHOW statement_timeout"), "10min");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SHOW lock_timeout"), "1min");
    ASSERT_CODE(ems_session_phase(conn, EMS_SESSION_TABLES, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SHOW statement_timeout"), "1d");
    PQfinish(conn);
    ems_staging_abandon(st);
}

static void test_good_dump(void)
{
    static const size_t chunks[] = {1, 513, 0};
    enum { CHUNKS = sizeof chunks / sizeof chunks[0] };
    _Atomic uint64_t rows_done = 0;
    struct ems_staging *st;
    PGconn *conn;

    if (!pg_available("good dump"))
        return;
    st = pg_open_shared();
    for (size_t i = 0; i < 2 * CHUNKS; i++) { /* on one connection, on several */
        struct run run = {.chunk = chunks[i % CHUNKS],
                          .options = {.rows_done = &rows_done, .jobs = i < CHUNKS ? 1 : 3}};

        rows_done = 0;
        ASSERT_CODE(restore(st, good, sizeof good - 1, &run), EMS_OK);
        if (run.err.code != EMS_OK)
            printf("\n    %s", run.err.text);
        CU_ASSERT_EQUAL(run.result.rows, 6);
        CU_ASSERT_EQUAL(rows_done, 6);
        CU_ASSERT_EQUAL(run.result.tables, 2);
        CU_ASSERT_EQUAL(run.result.statements, 9); /* without the settings */
        if (i + 1 < 2 * CHUNKS)
            ems_staging_abandon(st);
    }
    ASSERT_CODE(ems_staging_publish(st, NULL), EMS_OK);
    conn = pg_connect("postgres", "", "restored");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT string_agg(concat_ws('=', coalesce(name, 'NULL'), "
                                        "admin), ' ' ORDER BY admin, name) FROM users"),
                           "@a:example.org=0 NULL=0 @\xc3\xa4\tb\\:example.org=1");
    CU_ASSERT_STRING_EQUAL(
        pg_ask(conn, "SELECT string_agg(room_id, ' ' ORDER BY room_id) FROM rooms"),
        "!x:example.org !y's:example.org !z");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT nextval('user_id_seq')"), "43");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM pg_indexes WHERE schemaname = "
                                        "'public'"),
                           "2");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT reltuples FROM pg_class WHERE relname = 'users'"),
                           "3"); /* analyzed */
    PQfinish(conn);
    pg_drop(ems_staging_admin(st), "restored");
}

/* Up to pg_dump 10.2 names have no schema. */
static void test_names_without_schema(void)
{
    static const char dump[] =
        "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n"
        "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n"
        "SET search_path = public, pg_catalog;\n\n"
        "CREATE TABLE users (\n    name text\n);\n\nCOPY users (name) FROM stdin;\nx\n" END FOOT;
    struct ems_staging *st;

    if (!pg_available("names without schema"))
        return;
    st = pg_open_shared();
    for (unsigned jobs = 1; jobs < 3; jobs++) {
        struct run run = {.chunk = 0, .options = {.jobs = jobs}};

        ASSERT_CODE(restore(st, dump, sizeof dump - 1, &run), EMS_OK);
        CU_ASSERT_EQUAL(run.result.rows, 1);
        ems_staging_abandon(st);
    }
}

/* ---- what the server refuses ---- */

static void test_refused_rows(void)
{
    if (!pg_available("refused rows"))
        return;
    /* Line 20 is COPY, 21 its first row. */
    fails(HEAD USERS COPY_USERS "a\t0\nb\t1\nc\tx y\nd\t2\n" END FOOT, EMS_RESTORE_FAILED,
          "line 22: a row of public.users, column admin: invalid input syntax for type smallint: "
          "\"x y\"");
    fails(HEAD USERS COPY_USERS "a\t0\nb\t\\N\n" END FOOT, EMS_RESTORE_FAILED,
          "line 21: a row of public.users: null value in column");
    fails(HEAD USERS ROOMS "COPY public.rooms (room_id, n) FROM stdin;\n" END
                           "INSERT INTO public.users VALUES ('a', 1);\n\n"
                           "INSERT INTO public.users VALUES ('b', 99999);\n\n"
                           "INSERT INTO public.users VALUES ('c', 1);\n\n" FOOT,
          EMS_RESTORE_FAILED,
          "line 30: INSERT INTO public.users VALUES ('b', 99999): smallint out of range");
}

static void test_refused_statements(void)
{
    if (!pg_available("refused statements"))
        return;
    fails(HEAD ROOMS "COPY public.rooms (room_id, n) FROM stdin;\nx\t1\nx\t2\n" END
                     "ALTER TABLE ONLY public.rooms\n    ADD CONSTRAINT rooms_pkey PRIMARY KEY "
                     "(room_id);\n\n" FOOT,
          EMS_RESTORE_FAILED, "could not create unique index \"rooms_pkey\"");
    fails(HEAD USERS COPY_USERS "a\t0\n" END "CREATE INDEX i ON public.users USING gin (name);\n\n"
                                "CREATE INDEX j ON public.users USING btree (name);\n\n" FOOT,
          EMS_RESTORE_FAILED, "line 24: CREATE INDEX i ON public.users USING gin (name)");
}

/* The scanner's own verdicts come out unchanged. */
static void test_cut_dump(void)
{
    if (!pg_available("cut dump"))
        return;
    fails(HEAD USERS COPY_USERS "a\t0\nb\t1", EMS_SQL_TRUNCATED, "");
    fails(HEAD USERS COPY_USERS "a\t0\nb\t1\n" END, EMS_SQL_TRUNCATED, "");
    fails(HEAD USERS COPY_USERS "a\t0\nb\n" END FOOT, EMS_SQL_MALFORMED, "");
    fails(HEAD USERS "ALTER SYSTEM SET fsync = off;\n" FOOT, EMS_SQL_REFUSED, "");
}

/* A server that takes fewer rows than it was given and calls that a success: a trigger, put there
 * behind the restore's back, that drops one row. */
static void test_lost_rows(void)
{
    static const char sabotage[] =
        "CREATE FUNCTION pg_catalog.ems_drop_row() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF NEW.name = 'b' THEN RETURN NULL; END IF; RETURN NEW; END$$;"
        "CREATE FUNCTION pg_catalog.ems_add() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN CREATE TRIGGER t BEFORE INSERT ON public.users FOR EACH ROW "
        "EXECUTE FUNCTION pg_catalog.ems_drop_row(); END$$;"
        "CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
        "EXECUTE FUNCTION pg_catalog.ems_add()";
    static const char *const dumps[] = {
        HEAD USERS COPY_USERS "a\t0\nb\t1\nc\t1\n" END FOOT,
        HEAD USERS "INSERT INTO public.users VALUES ('a', 0), ('b', 1), ('c', 1);\n\n" FOOT,
        HEAD USERS "INSERT INTO public.users VALUES ('b', 0);\n\n" FOOT,
    };
    static const char *const texts[] = {
        "the dump holds 3 rows of public.users, but the server took 2",
        "the dump holds 3 rows, but the server took 2",
        "the server took no row",
    };
    struct ems_restore_options options = {0};
    struct ems_restore_result result;
    struct ems_staging *st;

    if (!pg_available("lost rows"))
        return;
    st = pg_open_shared();
    for (size_t i = 0; i < 3; i++) {
        struct ems_error err = {0};
        struct ems_sqlscan *scan =
            ems_sqlscan_open(ems_test_source_open(dumps[i], strlen(dumps[i]), 0, 0, EMS_OK), &err);
        char name[512];
        PGconn *conn;

        ASSERT_CODE(ems_staging_create(st, "lossy", false, &err), EMS_OK);
        snprintf(name, sizeof name, "%s",
                 pg_ask(ems_staging_admin(st),
                        "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"));
        conn = pg_connect("postgres", "", name);
        pg_ask(conn, "SET allow_system_table_mods = on");
        pg_ask(conn, sabotage);
        PQfinish(conn);
        ASSERT_CODE(ems_restore_run(scan, st, &options, &result, &err), EMS_RESTORE_FAILED);
        if (strstr(err.text, texts[i]) == NULL)
            printf("\n    %s", err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, texts[i]));
        ems_sqlscan_free(scan);
        ems_staging_abandon(st);
    }
    pg_assert_nothing_left(ems_staging_admin(st));
}

/* ---- big ---- */

/* A block of more than one COPY command (64 MiB each), with a row that the server refuses near its
 * end: the rows before count, and the line is the dump's. */
static void test_big_block(void)
{
    enum { ROWS = 67000, ROW_TEXT = 1000 };
    struct ems_buf dump = {0};
    struct ems_staging *st;
    struct run run = {.chunk = 200000};
    char text[ROW_TEXT + 1];

    if (!pg_available("big block"))
        return;
    st = pg_open_shared();
    memset(text, 'x', ROW_TEXT);
    text[ROW_TEXT] = '\0';
    for (int bad = 0; bad < 2; bad++) {
        dump.size = 0;
        ems_buf_printf(&dump, NULL, "%s", HEAD USERS COPY_USERS);
        for (int i = 0; i < ROWS; i++)
            ems_buf_printf(&dump, NULL, "%s\t%s\n", text, bad && i == ROWS - 10 ? "bad" : "1");
        ems_buf_printf(&dump, NULL, "%s", END FOOT);
        if (bad) {
            char line[64];

            ASSERT_CODE(restore(st, (const char *)dump.data, dump.size, &run), EMS_RESTORE_FAILED);
            snprintf(line, sizeof line, "line %d: a row of public.users", 20 + ROWS - 10);
            if (strstr(run.err.text, line) == NULL)
                printf("\n    %s is not in %s", line, run.err.text);
            CU_ASSERT_PTR_NOT_NULL(strstr(run.err.text, line));
        } else {
            ASSERT_CODE(restore(st, (const char *)dump.data, dump.size, &run), EMS_OK);
            CU_ASSERT_EQUAL(run.result.rows, ROWS);
        }
        ems_staging_abandon(st);
    }
    ems_buf_release(&dump);
}

static void test_many_inserts(void)
{
    enum { ROWS = 1000 };
    struct ems_buf dump = {0};
    struct ems_staging *st;
    struct run run = {.chunk = 5000};

    if (!pg_available("many inserts"))
        return;
    st = pg_open_shared();
    ems_buf_printf(&dump, NULL, "%s", HEAD USERS);
    for (int i = 0; i < ROWS; i++)
        ems_buf_printf(&dump, NULL, "INSERT INTO public.users VALUES ('user %d', %d);\n", i, i % 2);
    ems_buf_printf(&dump, NULL, "\n\n%s", FOOT);
    ASSERT_CODE(restore(st, (const char *)dump.data, dump.size, &run), EMS_OK);
    CU_ASSERT_EQUAL(run.result.rows, ROWS);
    ems_staging_abandon(st);
    ems_buf_release(&dump);
}

/* ---- trouble with the server ---- */

struct trouble {
    enum { STOP, TERMINATE, KILL_SERVER } what;
    PGconn *admin;
};

/* Strikes in the middle of the rows. */
static int make_trouble(void *context, const struct ems_sql_event *ev, struct ems_error *err)
{
    struct trouble *t = context;

    if (ev->kind != EMS_SQL_ROWS)
        return EMS_OK;
    if (t->what == STOP)
        return ems_fail(err, EMS_PART_CONFLICT, "the watcher says stop");
    if (t->what == KILL_SERVER)
        pg_processes(SIGKILL);
    else
        pg_ask(t->admin, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
                         "usename ~ '^ems_load_'");
    return EMS_OK;
}

static void test_watcher_stops(void)
{
    struct trouble trouble = {.what = STOP};
    struct run run = {.options = {.watch = make_trouble, .watch_context = &trouble}};
    struct ems_staging *st;

    if (!pg_available("watcher stops"))
        return;
    st = pg_open_shared();
    ASSERT_CODE(restore(st, good, sizeof good - 1, &run), EMS_PART_CONFLICT);
    CU_ASSERT_STRING_EQUAL(run.err.text, "the watcher says stop");
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
}

static void test_connection_lost(void)
{
    struct trouble trouble = {.what = TERMINATE};
    struct run run = {.options = {.watch = make_trouble, .watch_context = &trouble}};
    struct ems_staging *st;

    if (!pg_available("connection lost"))
        return;
    st = pg_open_shared();
    trouble.admin = ems_staging_admin(st);
    ASSERT_CODE(restore(st, good, sizeof good - 1, &run), EMS_SERVER_ERROR);
    CU_ASSERT_STRING_EQUAL(run.err.stage, "restore");
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
}

static void test_server_killed(void)
{
    struct ems_buf dump = {0};
    struct trouble trouble = {.what = KILL_SERVER};
    struct run run = {.options = {.watch = make_trouble, .watch_context = &trouble},
                      .chunk = 100000};
    struct ems_staging *st;
    time_t start = time(NULL);

    if (!pg_available("server killed"))
        return;
    st = pg_open_shared();
    ems_buf_printf(&dump, NULL, "%s", HEAD USERS COPY_USERS);
    for (int i = 0; i < 300000; i++)
        ems_buf_printf(&dump, NULL, "somebody\t1\n");
    ems_buf_printf(&dump, NULL, "%s", END FOOT);
    ASSERT_CODE(restore(st, (const char *)dump.data, dump.size, &run), EMS_SERVER_ERROR);
    pg_close_shared(); /* abandons what it cannot reach any more */
    CU_ASSERT(time(NULL) - start < 10);
    ems_buf_release(&dump);
    pg_assert_no_process();
    pg_open_shared(); /* recovers */
    pg_close_shared();
    pg_assert_no_process();
}

EMS_TESTS("restore", {"settings of the sessions", test_session},
          {"good dump in chunks", test_good_dump},
          {"names without schema", test_names_without_schema}, {"refused rows", test_refused_rows},
          {"refused statements", test_refused_statements}, {"cut dump", test_cut_dump},
          {"lost rows", test_lost_rows}, {"big block", test_big_block},
          {"many inserts", test_many_inserts}, {"watcher stops", test_watcher_stops},
          {"connection lost", test_connection_lost}, {"server killed", test_server_killed})
