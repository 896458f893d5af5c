/* What only a database can tell of Synapse's conditions, asked of real unfinished ones; and the
 * questions themselves: that old schemas are no obstacle, time is limited, and an end is an end. */
#include "postgres.h"

#include "server_synapse.h"
#include "server_session.h"

/* An unfinished database made by these statements, asked; left open for more questions. */
struct run {
    struct ems_staging *st;
    struct ems_artifact artifact;
    struct ems_findings findings;
    struct ems_error err;
    int rc;
};

static struct run begin(const char *const *statements)
{
    struct run r = {.st = pg_open_shared()};
    PGconn *conn;

    r.artifact.name = strdup("export.sql");
    ASSERT_CODE(ems_staging_create(r.st, "asked", false, &r.err), EMS_OK);
    ASSERT_CODE(ems_session_open(r.st, &conn, &r.err), EMS_OK);
    for (size_t i = 0; statements[i] != NULL; i++) {
        PGresult *answer = PQexec(conn, statements[i]);

        if (PQresultStatus(answer) == PGRES_FATAL_ERROR &&
            strstr(statements[i], "CONCURRENTLY") == NULL) {
            printf("    %s\n    %s", statements[i], PQerrorMessage(conn));
            CU_FAIL("statement");
        }
        PQclear(answer);
    }
    PQfinish(conn);
    return r;
}

static void ask(struct run *r, const struct ems_synapse_options *options)
{
    r->rc = ems_synapse_check_staged(&r->artifact, r->st, options, &r->findings, &r->err);
}

/* One finding of that code and severity that holds the text. */
static void has(const struct run *r, int code, enum ems_severity severity, const char *text)
{
    size_t found = 0;

    for (size_t i = 0; i < r->findings.count; i++)
        found += r->findings.items[i].code == code && r->findings.items[i].severity == severity &&
                 strstr(r->findings.items[i].message, text) != NULL;
    CU_ASSERT_EQUAL(found, 1);
    if (found == 1)
        return;
    printf("    \"%s\" is not among:\n", text);
    for (size_t i = 0; i < r->findings.count; i++)
        printf("    %s\n", r->findings.items[i].message);
}

static void end(struct run *r)
{
    ems_staging_abandon(r->st);
    pg_assert_nothing_left(ems_staging_admin(r->st));
    ems_findings_release(&r->findings);
    ems_artifact_release(&r->artifact);
}

static const char *name_of_unfinished(struct run *r)
{
    return pg_ask(ems_staging_admin(r->st),
                  "SELECT datname FROM pg_database WHERE datname LIKE 'ems\\_load%'");
}

/* ---- */

static const char *const smallest[] = {"CREATE TABLE public.users (name text)",
                                       "INSERT INTO public.users VALUES ('@a:b.c'), ('a')",
                                       "CREATE TABLE public.events (event_id text)",
                                       "CREATE TABLE public.schema_version (version int)",
                                       "INSERT INTO public.schema_version VALUES (54)",
                                       NULL};

/* Nothing is asked that is not there. */
static void test_old_schema(void)
{
    static const struct ems_synapse_options all = {.repair_sequences = true,
                                                   .truncate_one_time_keys = true};
    struct run r;

    if (!pg_available("an old schema"))
        return;
    r = begin(smallest);
    ask(&r, &all);
    ASSERT_CODE(r.rc, EMS_OK);
    CU_ASSERT_EQUAL(r.findings.count, 2);
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, "version 54 is that of Synapse 0.99.4-0.99.5");
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "no table state_groups");
    CU_ASSERT_STRING_EQUAL(r.artifact.staged_facts.layer, "synapse");
    end(&r);
}

/* Somebody else's database is left alone. */
static void test_not_synapse(void)
{
    static const char *const other[] = {"CREATE TABLE public.users (name text)",
                                        "CREATE VIEW public.v AS SELECT 1 AS one", NULL};
    static const struct ems_synapse_options none;
    struct run r;

    if (!pg_available("not Synapse"))
        return;
    r = begin(other);
    ask(&r, &none);
    ASSERT_CODE(r.rc, EMS_OK);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    CU_ASSERT_PTR_NULL(r.artifact.staged_facts.layer);
    end(&r);
}

#define SMALLEST                                                                                   \
    "CREATE TABLE public.users (name text)", "CREATE TABLE public.events (event_id text)",         \
        "CREATE TABLE public.schema_version (version int)",                                        \
        "CREATE TABLE public.state_groups (id bigint PRIMARY KEY)",                                \
        "CREATE TABLE public.schema_compat_version (compat_version int)",                          \
        "INSERT INTO public.schema_version VALUES (94)",                                           \
        "INSERT INTO public.schema_compat_version VALUES (84)"

/* An index that failed to be made, code that runs by itself, and keys that only seem unique. */
static void test_catalog(void)
{
    static const char *const bad[] = {
        SMALLEST,
        "INSERT INTO public.users VALUES ('@a:b.c'), ('@a:b.c')",
        "CREATE UNIQUE INDEX CONCURRENTLY half ON public.users (name)",
        "CREATE UNIQUE INDEX lower ON public.events (lower(event_id))",
        "CREATE UNIQUE INDEX \"odd one\" ON public.events (event_id) WHERE event_id > 'a'",
        "CREATE VIEW public.\"v w\" AS SELECT 1 AS one",
        "CREATE FUNCTION public.check_partial_state_events() RETURNS trigger SECURITY DEFINER "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION public.check_event_stream_ordering() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        NULL};
    static const struct ems_synapse_options none;
    struct run r;

    if (!pg_available("catalog"))
        return;
    r = begin(bad);
    ask(&r, &none);
    ASSERT_CODE(r.rc, EMS_OK);
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "indexes that PostgreSQL does not use: half");
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "users_name_key is missing");
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "events_event_id_key is missing");
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
        "not Synapse's: public.check_partial_state_events, public.mine, v w");
    CU_ASSERT_EQUAL(r.findings.count, 4);
    end(&r);
}

/* A server that reports its locale in other words than "C". */
static void test_locale(void)
{
    static const char *const good[] = {
        SMALLEST, "INSERT INTO public.users VALUES ('@a:b.c')",
        "CREATE UNIQUE INDEX u ON public.users (name)",
        "CREATE UNIQUE INDEX e ON public.events (event_id) INCLUDE (event_id)", NULL};
    static const struct ems_synapse_options none;
    struct run r;
    char sql[700];

    if (!pg_available("locale"))
        return;
    r = begin(good);
    ask(&r, &none);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    snprintf(sql, sizeof sql, "UPDATE pg_database SET datcollate = 'POSIX' WHERE datname = '%s'",
             name_of_unfinished(&r));
    PQclear(PQexec(ems_staging_admin(r.st), sql));
    ask(&r, &none);
    ASSERT_CODE(r.rc, EMS_OK);
    has(&r, EMS_SYNAPSE_COLLATION, EMS_SEVERITY_WARNING, "collation is POSIX");
    CU_ASSERT_EQUAL(r.findings.count, 1);
    end(&r);
}

/* A question that waits for somebody else's lock is given up, the others are not. */
static void test_time_limit(void)
{
    static const char *const good[] = {SMALLEST,
                                       "INSERT INTO public.users VALUES ('@a:b.c')",
                                       "CREATE UNIQUE INDEX u ON public.users (name)",
                                       "CREATE UNIQUE INDEX e ON public.events (event_id)",
                                       "CREATE TABLE public.state_events (event_id text UNIQUE)",
                                       NULL};
    static const struct ems_synapse_options hasty = {.timeout_ms = 200};
    struct run r;
    PGconn *other;

    if (!pg_available("time limit"))
        return;
    r = begin(good);
    ASSERT_CODE(ems_session_open(r.st, &other, &r.err), EMS_OK);
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other, "LOCK TABLE public.events"));
    ask(&r, &hasty);
    ASSERT_CODE(r.rc, EMS_OK);
    has(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
        "took too long: rows of state_events without events");
    CU_ASSERT_PTR_NOT_NULL(r.artifact.staged_facts.layer);
    PQfinish(other);
    end(&r);
}

static int stop(void *count, struct ems_error *err)
{
    int *n = count;

    return ++*n > 1 ? ems_fail(err, EMS_IO_ERROR, "enough") : EMS_OK;
}

static void test_cancelled(void)
{
    int count = 0;
    const struct ems_synapse_options options = {.tick = stop, .tick_context = &count};
    struct run r;
    PGconn *other;

    if (!pg_available("cancelled"))
        return;
    r = begin(smallest);
    ASSERT_CODE(ems_session_open(r.st, &other, &r.err), EMS_OK);
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other, "LOCK TABLE public.schema_version"));
    ask(&r, &options);
    ASSERT_CODE(r.rc, EMS_IO_ERROR);
    PQfinish(other);
    end(&r);
}

/* The repair is made by us or not at all: a sequence that cannot be set ends the restore. */
static void test_repair_fails(void)
{
    static const char *const bad[] = {SMALLEST,
                                      "CREATE SEQUENCE public.state_group_id_seq MAXVALUE 10",
                                      "INSERT INTO public.state_groups VALUES (12)", NULL};
    static const struct ems_synapse_options repair = {.repair_sequences = true}, none;
    struct run r;

    if (!pg_available("repair fails"))
        return;
    r = begin(bad);
    ask(&r, &none);
    ASSERT_CODE(r.rc, EMS_OK);
    has(&r, EMS_SYNAPSE_SEQUENCE, EMS_SEVERITY_NOTE,
        "state_group_id_seq is at 0, but table "
        "state_groups is at 12");
    ask(&r, &repair);
    ASSERT_CODE(r.rc, EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.err.text, "set a sequence"));
    end(&r);
}

EMS_TESTS("server_synapse", {"old schema", test_old_schema}, {"not Synapse", test_not_synapse},
          {"catalog", test_catalog}, {"locale", test_locale}, {"time limit", test_time_limit},
          {"cancelled", test_cancelled}, {"repair fails", test_repair_fails})
