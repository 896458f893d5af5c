/*
 * The database compared with the dump: what must be equal, what may differ in form, and what must
 * never pass. The rows are put there by hand, so that they can be wrong in every way.
 */
#include "postgres.h"

#include "server_verify.h"

#define HEAD                                                                                       \
    "--\n-- PostgreSQL database dump\n--\n\n"                                                      \
    "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"                       \
    "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
#define USERS                                                                                      \
    "CREATE TABLE public.users (\n    name text,\n    admin smallint,\n    key bytea\n);\n\n"
#define ROOMS "CREATE TABLE public.rooms (\n    room_id text NOT NULL,\n    n bigint\n);\n\n"
#define FOOT  "--\n-- PostgreSQL database dump complete\n--\n\n"

static const char dump[] =
    HEAD USERS ROOMS "COPY public.users (name, admin, key) FROM stdin;\n"
                     "@a:x\t1\t\\\\x00ff\n@b:x\t0\t\\N\n@c:x\t\\N\t\\\\x\n\\.\n\n\n" FOOT;
static const char same_rows[] = "INSERT INTO public.users VALUES ('@c:x', NULL, ''), "
                                "('@a:x', 1, '\\x00ff'), ('@b:x', 0, NULL)";

/* The scanner over a text in memory. */
static struct ems_sqlscan *scan_text(const char *text)
{
    struct ems_error err = {0};
    struct ems_sqlscan *scan =
        ems_sqlscan_open(ems_source_memory_open(text, strlen(text), 512, &err), &err);

    CU_ASSERT_PTR_NOT_NULL_FATAL(scan);
    return scan;
}

/* The verdict over a dump's text and a database that was filled with `fill`; `again`: whether a
 * second reading was necessary. */
static int judge(const char *text, const char *fill, bool *again, struct ems_verify_result *result,
                 struct ems_error *err)
{
    struct ems_staging *st = pg_open_shared();
    struct ems_verify *v = ems_verify_new(err);
    struct ems_sqlscan *scan = scan_text(text);
    struct ems_sql_event event;
    PGconn *conn;
    int rc;

    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    while ((rc = ems_sqlscan_next(scan, &event, err)) == EMS_OK)
        ASSERT_CODE(ems_verify_observe(v, &event, err), EMS_OK);
    ASSERT_CODE(rc, EMS_END);
    ASSERT_CODE(ems_staging_create(st, "verified", false, err), EMS_OK);
    ASSERT_CODE(ems_staging_connect(st, &conn, err), EMS_OK);
    pg_ask(conn, USERS);
    pg_ask(conn, ROOMS);
    pg_ask(conn, fill);
    PQfinish(conn);
    rc = ems_verify_run(v, st, 2, ems_sqlscan_facts(scan), NULL, NULL, err);
    ems_sqlscan_free(scan);
    *again = rc == EMS_OK && ems_verify_undecided(v) != NULL;
    if (*again) {
        CU_ASSERT_STRING_EQUAL(ems_verify_undecided(v), "public.users");
        scan = scan_text(text);
        rc = ems_verify_again(v, st, scan, NULL, NULL, err);
        ems_sqlscan_free(scan);
    }
    *result = *ems_verify_result(v);
    ems_verify_free(v);
    ems_staging_abandon(st);
    return rc;
}

static void test_equal(void)
{
    struct ems_verify_result result;
    struct ems_error err = {0};
    bool again;

    if (!pg_available("verify"))
        return;
    ASSERT_CODE(judge(dump, same_rows, &again, &result, &err), EMS_OK);
    CU_ASSERT_FALSE(again);
    CU_ASSERT(result.tables == 1 && result.rows == 3 && result.counted == 1 &&
              result.other_form == 0);
}

/* Each of these has the right number of rows but for the first two. */
static void test_damage(void)
{
    static const struct {
        const char *fill, *says;
    } cases[] = {
        {"INSERT INTO public.users VALUES ('@c:x', NULL, ''), ('@a:x', 1, '\\x00ff')",
         "3 rows of public.users, but the database 2"},
        {"WITH r AS (INSERT INTO public.rooms VALUES ('!r:x', 1)) "
         "INSERT INTO public.users VALUES ('@c:x', NULL, ''), ('@a:x', 1, '\\x00ff'), "
         "('@b:x', 0, NULL)",
         "0 rows of public.rooms, but the database 1"},
        {"INSERT INTO public.users VALUES ('@c:x', NULL, ''), ('@a:x', 1, '\\x00fe'), "
         "('@b:x', 0, NULL)",
         "public.users"}, /* a bit */
        {"INSERT INTO public.users VALUES ('@c:x', NULL, ''), ('@a:x', 0, '\\x00ff'), "
         "('@b:x', 1, NULL)",
         "public.users"}, /* values exchanged between rows */
        {"INSERT INTO public.users VALUES ('@a:x', 1, '\\x00ff'), ('@a:x', 1, '\\x00ff'), "
         "('@b:x', 0, NULL)",
         "public.users"}, /* one twice, one not at all */
        {"INSERT INTO public.users VALUES ('@c:x', NULL, NULL), ('@a:x', 1, '\\x00ff'), "
         "('@b:x', 0, NULL)",
         "public.users"}, /* NULL is not empty */
    };

    if (!pg_available("verify damage"))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_verify_result result;
        struct ems_error err = {0};
        bool again;

        ASSERT_CODE(judge(dump, cases[i].fill, &again, &result, &err), EMS_RESTORE_FAILED);
        CU_ASSERT_EQUAL(again, i > 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].says));
        if (strstr(err.text, cases[i].says) == NULL)
            printf("\n    %zu: %s", i, err.text);
    }
}

/* bytea_output = escape on the customer's server: another text of the same value. */
static void test_other_form(void)
{
    static const char escaped[] =
        HEAD USERS ROOMS "COPY public.users (name, admin, key) FROM stdin;\n"
                         "@a:x\t1\t\\\\000\\\\377\n@b:x\t0\t\\N\n@c:x\t\\N\t\n\\.\n\n\n" FOOT;
    struct ems_verify_result result;
    struct ems_error err = {0};
    bool again;

    if (!pg_available("verify another form"))
        return;
    ASSERT_CODE(judge(escaped, same_rows, &again, &result, &err), EMS_OK);
    CU_ASSERT(again);
    CU_ASSERT(result.other_form == 1 && result.rows == 3);
    ASSERT_CODE(judge(escaped,
                      "INSERT INTO public.users VALUES ('@c:x', NULL, ''), "
                      "('@a:x', 1, '\\x00fe'), ('@b:x', 0, NULL)",
                      &again, &result, &err),
                EMS_RESTORE_FAILED);
    CU_ASSERT(again);
}

static void test_inserts(void)
{
    static const char inserts[] =
        HEAD USERS ROOMS "INSERT INTO public.users VALUES ('@a:x', 1, NULL);\n"
                         "INSERT INTO public.users VALUES ('@b:x', 1, NULL);\n\n\n" FOOT;
    struct ems_verify_result result;
    struct ems_error err = {0};
    bool again;

    if (!pg_available("verify INSERT"))
        return;
    ASSERT_CODE(judge(inserts,
                      "INSERT INTO public.users VALUES ('@a:x', 1, NULL), ('@b:x', 1, NULL)",
                      &again, &result, &err),
                EMS_OK);
    CU_ASSERT(result.tables == 0 && result.counted == 2);
    ASSERT_CODE(
        judge(inserts, "INSERT INTO public.users VALUES ('@a:x', 1, NULL)", &again, &result, &err),
        EMS_RESTORE_FAILED);
}

static int give_up(void *context, struct ems_error *err)
{
    ++*(int *)context;
    return ems_fail(err, EMS_IO_ERROR, "stopped");
}

/* A signal ends it, whatever the threads are at. */
static void test_stopped(void)
{
    struct ems_sql_facts facts = {.table_count = 0};
    struct ems_error err = {0};
    struct ems_sqlscan *scan;
    struct ems_sql_event event;
    struct ems_staging *st;
    struct ems_verify *v;
    int asked = 0;
    PGconn *conn;

    if (!pg_available("verify stopped"))
        return;
    st = pg_open_shared();
    v = ems_verify_new(&err);
    scan = scan_text(dump);
    while (ems_sqlscan_next(scan, &event, &err) == EMS_OK)
        ASSERT_CODE(ems_verify_observe(v, &event, &err), EMS_OK);
    ems_sqlscan_free(scan);
    ASSERT_CODE(ems_staging_create(st, "verified", false, &err), EMS_OK);
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    pg_ask(conn, USERS);
    pg_ask(conn, ROOMS);
    pg_ask(conn, "BEGIN"); /* readers wait for ever */
    pg_ask(conn, "LOCK TABLE public.users, public.rooms IN ACCESS EXCLUSIVE MODE");
    ASSERT_CODE(ems_verify_run(v, st, 2, &facts, give_up, &asked, &err), EMS_IO_ERROR);
    CU_ASSERT_EQUAL(asked, 1);
    PQfinish(conn);
    ems_verify_free(v);
    ems_staging_abandon(st);
    pg_close_shared();
}

EMS_TESTS("verify", {"equal, in another order", test_equal}, {"every kind of damage", test_damage},
          {"the same in another form", test_other_form}, {"rows as INSERT", test_inserts},
          {"stopped", test_stopped})
