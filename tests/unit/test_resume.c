/*
 * A restore that failed half way is gone on with: what is there is not made again, what is missing
 * is, and another dump is not mistaken for this one.
 */
#include "postgres.h"

#include "chain.h"
#include "server_journal.h"
#include "server_load.h"

#include <zlib.h>

#define HEAD                                                                                       \
    "--\n-- PostgreSQL database dump\n--\n\n"                                                      \
    "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"                       \
    "SELECT pg_catalog.set_config('search_path', '', false);\n\n"                                  \
    "CREATE TABLE public.users (\n    name text NOT NULL,\n    admin smallint\n);\n\n"             \
    "CREATE TABLE public.rooms (\n    room_id text NOT NULL,\n    n bigint\n);\n\n"                \
    "CREATE SEQUENCE public.user_id_seq\n    START WITH 1\n    INCREMENT BY 1\n"                   \
    "    NO MINVALUE\n    NO MAXVALUE\n    CACHE 1;\n\n"
#define FOOT                                                                                       \
    "SELECT pg_catalog.setval('public.user_id_seq', 41, true);\n\n"                                \
    "ALTER TABLE ONLY public.rooms\n    ADD CONSTRAINT rooms_pkey PRIMARY KEY (room_id);\n\n"      \
    "ALTER TABLE ONLY public.users\n    ADD CONSTRAINT users_name_key UNIQUE (name);\n\n"          \
    "CREATE INDEX users_admin ON public.users USING btree (admin);\n\n"                            \
    "--\n-- PostgreSQL database dump complete\n--\n\n"

enum { USERS = 70000 }; /* more than a unit of the plan (4 MiB), so that rooms are in another one */

/* In the unfinished database as soon as it has the table: a row of it cannot be stored. */
static const char obstacle[] =
    "CREATE FUNCTION public.obstruct() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS "
    "'BEGIN IF EXISTS (SELECT 1 FROM pg_event_trigger_ddl_commands() WHERE object_identity = "
    "''public.rooms'') THEN ALTER TABLE public.rooms ADD CONSTRAINT obstacle CHECK (n <> 7); "
    "END IF; END'";

struct upload {
    char dir[64], path[80];
    struct ems_upload upload;
    struct ems_findings findings;
    struct ems_bookmarks *bookmarks;
    struct ems_plan plan;
    char identity[EMS_JOURNAL_IDENTITY];
    struct ems_error err;
};

/* A dump whose last room has the number `n`, written and read for the first time. */
static void first_pass(struct upload *u, int n)
{
    struct ems_chain_options options = {0};
    struct ems_sql_event event;
    struct ems_sqlscan *scan;
    struct ems_chain chain;
    const char *paths[] = {u->path};
    gzFile gz;
    int rc;

    *u = (struct upload){.dir = "/tmp/ems-test-resume-XXXXXX"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(u->dir));
    snprintf(u->path, sizeof u->path, "%s/x.sql.gz", u->dir);
    gz = gzopen(u->path, "wb1");
    CU_ASSERT_PTR_NOT_NULL_FATAL(gz);
    gzprintf(gz, HEAD "COPY public.users (name, admin) FROM stdin;\n");
    for (int i = 0; i < USERS; i++)
        gzprintf(gz, "@a user whose name is long enough to fill a line %d:example.org\t%d\n", i,
                 i % 2);
    gzprintf(
        gz, "\\.\n\n\nCOPY public.rooms (room_id, n) FROM stdin;\n!a:x\t1\n!b:x\t%d\n\\.\n\n\n", n);
    gzprintf(gz, FOOT);
    CU_ASSERT_EQUAL(gzclose(gz), Z_OK);
    ASSERT_CODE(ems_upload_resolve(&u->upload, paths, 1, &u->findings, &u->err), EMS_OK);
    u->bookmarks = u->plan.bookmarks = options.bookmarks = ems_bookmarks_new();
    ASSERT_CODE(
        ems_chain_open(&chain, ems_parts_open(&u->upload.sets[0], &u->err), &options, &u->err),
        EMS_OK);
    scan = ems_sqlscan_open(chain.top, &u->err);
    while ((rc = ems_sqlscan_next(scan, &event, &u->err)) == EMS_OK)
        ASSERT_CODE(ems_plan_observe(&u->plan, &event, &u->err), EMS_OK);
    ASSERT_CODE(rc, EMS_END);
    CU_ASSERT_FATAL(ems_plan_is_program(&u->plan, ems_sqlscan_facts(scan)));
    CU_ASSERT_EQUAL(u->plan.unit_count, 2);
    ems_sqlscan_free(scan);
    ASSERT_CODE(ems_journal_identity(&u->plan, u->identity, &u->err), EMS_OK);
}

static void release(struct upload *u)
{
    ems_plan_release(&u->plan);
    ems_bookmarks_free(u->bookmarks);
    ems_upload_release(&u->upload);
    ems_findings_release(&u->findings);
    unlink(u->path);
    rmdir(u->dir);
}

static int second_pass(struct upload *u, struct ems_staging *st, bool resumed)
{
    struct ems_restore_options options = {
        .plan = &u->plan, .jobs = 1, .identity = u->identity, .resumed = resumed};
    struct ems_restore_result result;

    u->err = (struct ems_error){0};
    return ems_load_run(st, &u->upload.sets[0], &options, &result, &u->err);
}

/* As the superuser, to the database that is not finished, or was kept. */
static PGconn *look(struct ems_staging *st)
{
    char name[80];

    snprintf(name, sizeof name, "%s",
             pg_ask(ems_staging_admin(st), "SELECT datname FROM pg_database WHERE datname ~ "
                                           "'^ems_load_|^resumed'"));
    return pg_connect("postgres", "", name);
}

/* A restore that got as far as the keys and indexes of the large table, and was kept. */
static void fail_half_way(struct upload *u, struct ems_staging *st)
{
    struct ems_staging_kept kept;
    PGconn *conn;

    ASSERT_CODE(ems_staging_create(st, "resumed", false, &u->err), EMS_OK);
    conn = look(st);
    pg_ask(conn, obstacle);
    pg_ask(conn, "CREATE EVENT TRIGGER obstruct ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
                 "EXECUTE FUNCTION public.obstruct()");
    PQfinish(conn);
    ASSERT_CODE(second_pass(u, st, false), EMS_RESTORE_FAILED);
    CU_ASSERT_PTR_NOT_NULL(strstr(u->err.text, "rooms"));
    u->err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_keep(st, &kept, &u->err), EMS_OK);
    conn = look(st);
    pg_ask(conn, "DROP EVENT TRIGGER obstruct");
    pg_ask(conn, "DROP FUNCTION public.obstruct()");
    pg_ask(conn, "ALTER TABLE public.rooms DROP CONSTRAINT obstacle");
    PQfinish(conn);
}

static const char files[] = "SELECT string_agg(relname || relfilenode, ' ' ORDER BY relname) FROM "
                            "pg_class WHERE relname IN ('users', 'users_name_key', 'users_admin')";

static void test_resume(void)
{
    struct ems_staging *st;
    struct upload u;
    char before[512];
    bool resumed = false;
    PGconn *conn;

    if (!pg_available("resume"))
        return;
    st = pg_open_shared();
    first_pass(&u, 7);
    fail_half_way(&u, st);
    conn = look(st);
    snprintf(before, sizeof before, "%s", pg_ask(conn, files));
    CU_ASSERT_PTR_NOT_NULL(strstr(before, "users_admin"));
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT string_agg(name, ' ') FROM ems_journal.loaded"),
                           "users");
    PQfinish(conn);

    ASSERT_CODE(ems_staging_resume(st, "resumed", false, u.identity, &resumed, &u.err), EMS_OK);
    CU_ASSERT_FATAL(resumed);
    ASSERT_CODE(second_pass(&u, st, true), EMS_OK);
    if (u.err.code != EMS_OK)
        printf("\n    %s", u.err.text);
    conn = look(st);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, files), before); /* not loaded, not built again */
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM public.users"), "70000");
    CU_ASSERT_STRING_EQUAL(
        pg_ask(conn, "SELECT string_agg(room_id || n, ' ' ORDER BY n) FROM public.rooms"),
        "!a:x1 !b:x7");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT last_value FROM public.user_id_seq"), "41");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM pg_constraint WHERE conname = "
                                        "'rooms_pkey'"),
                           "1");
    ASSERT_CODE(ems_journal_remove(conn, &u.err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT to_regnamespace('ems_journal') IS NULL"), "t");
    PQfinish(conn);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
    release(&u);
}

/* Everything was there, and the tool was killed before it could say so. */
static void test_resume_complete(void)
{
    struct ems_staging_kept kept;
    struct ems_staging *st;
    struct upload u, again;
    bool resumed = false;
    PGconn *conn;

    if (!pg_available("resume what is complete"))
        return;
    st = pg_open_shared();
    first_pass(&u, 7);
    first_pass(&again, 7);
    CU_ASSERT_STRING_EQUAL(u.identity, again.identity);
    ASSERT_CODE(ems_staging_create(st, "resumed", false, &u.err), EMS_OK);
    ASSERT_CODE(second_pass(&u, st, false), EMS_OK);
    ASSERT_CODE(ems_staging_keep(st, &kept, &u.err), EMS_OK);
    ASSERT_CODE(ems_staging_resume(st, "resumed", false, again.identity, &resumed, &u.err), EMS_OK);
    CU_ASSERT(resumed);
    ASSERT_CODE(second_pass(&again, st, true), EMS_OK);
    conn = look(st);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM public.rooms"), "2");
    PQfinish(conn);
    ems_staging_abandon(st);
    release(&u);
    release(&again);
}

/* One number in one row is another dump. */
static void test_other_dump(void)
{
    struct ems_staging *st;
    struct upload u, other;
    bool resumed = false;

    if (!pg_available("resume with another dump"))
        return;
    st = pg_open_shared();
    first_pass(&u, 7);
    first_pass(&other, 8);
    CU_ASSERT_STRING_NOT_EQUAL(u.identity, other.identity);
    fail_half_way(&u, st);
    ASSERT_CODE(ems_staging_resume(st, "resumed", false, other.identity, &resumed, &other.err),
                EMS_RESTORE_EXISTS);

    /* Even if the identity were the same, the journal does not fit; nor is none at all good. */
    other.err = (struct ems_error){0};
    other.plan.blocks[0].crc ^= 1;
    ASSERT_CODE(ems_staging_resume(st, "resumed", false, u.identity, &resumed, &other.err), EMS_OK);
    ASSERT_CODE(second_pass(&other, st, true), EMS_RESTORE_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(other.err.text, "users"));
    {
        PGconn *conn = look(st);

        ASSERT_CODE(ems_journal_remove(conn, &u.err), EMS_OK);
        PQfinish(conn);
    }
    ASSERT_CODE(second_pass(&u, st, true), EMS_RESTORE_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(u.err.text, "journal"));
    ems_staging_abandon(st);
    release(&u);
    release(&other);
    pg_close_shared();
}

EMS_TESTS("resume", {"what is missing is loaded", test_resume},
          {"nothing is missing", test_resume_complete}, {"another dump", test_other_dump})
