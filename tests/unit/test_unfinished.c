/* What stays of a restore that failed or was killed, and how it is found again; on a real server.
 */
#include "postgres.h"

static const char dump[] = "00112233445566778899aabbccddeeff";
static const char other_dump[] = "ff112233445566778899aabbccddeeff";

static struct ems_staging *pg_open_second(void)
{
    static char conninfo[512];
    struct ems_staging_options options = {.conninfo = conninfo, .jobs = 1};
    struct ems_staging *st = NULL;
    struct ems_error err = {0};

    snprintf(conninfo, sizeof conninfo, "host='%s' user=postgres dbname=postgres", pg_dir);
    ASSERT_CODE(ems_staging_open(&options, &st, &err), EMS_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(st);
    return st;
}

/* In the unfinished database. */
static void run(struct ems_staging *st, const char *sql)
{
    struct ems_error err = {0};
    PGconn *conn;

    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    pg_ask(conn, sql);
    PQfinish(conn);
}

/* kill -9 of a run in the middle: a child makes, marks and fills a database. */
static void die_in(const char *target, const char *identity)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct ems_staging *st = pg_open_second();
        struct ems_error err = {0};

        if (ems_staging_create(st, target, false, &err) != EMS_OK ||
            ems_staging_mark(st, identity, &err) != EMS_OK)
            _exit(1);
        run(st, "CREATE TABLE public.half AS SELECT 1 AS a");
        kill(getpid(), SIGKILL);
    }
    CU_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    for (int i = 0; i < 500; i++) { /* until the server has noticed */
        PGconn *admin = pg_connect("postgres", "", "postgres");
        bool gone = pg_ask(admin, "SELECT count(*) FROM pg_stat_activity JOIN pg_database d ON "
                                  "d.datname = application_name")[0] == '0';

        PQfinish(admin);
        if (gone)
            return;
        usleep(10000);
    }
    CU_FAIL("a dead run's connection stays");
}

static const char count_unfinished[] =
    "SELECT count(*) FROM pg_database WHERE datname ~ '^ems_load_'";
static const char count_roles[] = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^ems_load_'";

static void test_keep(void)
{
    static const char target[] =
        "st\xc3\xa4ging \"that's\" long enough to be cut somewhere \xc3\xa4";
    struct ems_error err = {0};
    struct ems_staging *st;
    struct ems_staging_kept kept, second;
    const char *name = kept.database;
    char role[64];
    PGconn *conn, *admin;
    bool exists;

    if (!pg_available("keep"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    ASSERT_CODE(ems_staging_keep(st, &kept, &err), EMS_SERVER_ERROR);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, target, false, &err), EMS_OK);
    run(st, "CREATE TABLE public.half AS SELECT 7 AS a");
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK); /* even if somebody is connected */
    ASSERT_CODE(ems_staging_keep(st, &kept, &err), EMS_OK);
    PQfinish(conn);
    CU_ASSERT(strlen(name) <= 63);
    CU_ASSERT(strncmp(name, "st\xc3\xa4ging ", 9) == 0 && strstr(name, "_failed_20") != NULL);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "0");
    ASSERT_CODE(ems_staging_exists(st, target, &exists, &err), EMS_OK);
    CU_ASSERT_FALSE(exists);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname "
                                         "~ '^ems_load_'"),
                           "f");
    snprintf(role, sizeof role, "%s",
             pg_ask(admin, "SELECT rolname FROM pg_roles WHERE rolname ~ '^ems_load_'"));
    CU_ASSERT_STRING_EQUAL(role, kept.role);

    /* In the same second another one; neither is a leftover. */
    ASSERT_CODE(ems_staging_create(st, target, false, &err), EMS_OK);
    ASSERT_CODE(ems_staging_exists(st, name, &exists, &err), EMS_OK);
    CU_ASSERT(exists);
    ASSERT_CODE(ems_staging_keep(st, &second, &err), EMS_OK);
    CU_ASSERT(strcmp(name, second.database) != 0);
    ASSERT_CODE(ems_staging_create(st, "next", false, &err), EMS_OK);
    ems_staging_abandon(st);
    ASSERT_CODE(ems_staging_exists(st, name, &exists, &err), EMS_OK);
    CU_ASSERT(exists);
    ASSERT_CODE(ems_staging_exists(st, second.database, &exists, &err), EMS_OK);
    CU_ASSERT(exists);
    pg_drop(admin, name);
    pg_drop(admin, second.database);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_roles), "0");
}

static void test_resume_after_kill(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn, *admin;
    bool resumed = false;

    if (!pg_available("resume after a kill"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    die_in("target", dump);
    die_in("elsewhere", dump); /* a run that resumes leaves what others may want */
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "1"); /* create dropped the first */
    ASSERT_CODE(ems_staging_resume(st, "target", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT_FALSE(resumed);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "2");
    ems_staging_abandon(st);
    die_in("target", dump);
    ASSERT_CODE(ems_staging_resume(st, "target", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT(resumed);
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT a FROM public.half"), "1");
    PQfinish(conn);
    ASSERT_CODE(ems_staging_mark(st, NULL, &err), EMS_OK);
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, "SELECT shobj_description(oid, 'pg_database') FROM "
                                         "pg_database WHERE datname = 'target'"),
                           "");
    pg_drop(admin, "target");
    pg_assert_nothing_left(admin);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_roles), "0");
}

static void test_resume_nothing(void)
{
    struct ems_error err = {0};
    struct ems_staging *st, *second;
    PGconn *admin;
    bool resumed = true;

    if (!pg_available("resume nothing"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    ASSERT_CODE(ems_staging_resume(st, "target", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT_FALSE(resumed);
    /* What a living run works on is not taken from it. */
    second = pg_open_second();
    resumed = true;
    ASSERT_CODE(ems_staging_resume(second, "target", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT_FALSE(resumed);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "2");
    ems_staging_close(second);
    ems_staging_abandon(st);
    pg_assert_nothing_left(admin);
}

static void test_resume_other_dump(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *admin;
    bool resumed = true;

    if (!pg_available("resume another dump"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    die_in("target", other_dump);
    ASSERT_CODE(ems_staging_resume(st, "target", false, dump, &resumed, &err), EMS_RESTORE_EXISTS);
    CU_ASSERT_FALSE(resumed);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another dump"));
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "1"); /* it is still there */
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, "target", false, &err), EMS_OK); /* as the message says */
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_unfinished), "1");
    ems_staging_abandon(st);
    pg_assert_nothing_left(admin);
}

static void test_resume_kept(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    struct ems_staging_kept kept;
    PGconn *conn, *admin;
    bool resumed = false, exists;

    if (!pg_available("resume what was kept"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    ASSERT_CODE(ems_staging_create(st, "a \"b\"", false, &err), EMS_OK);
    ASSERT_CODE(ems_staging_mark(st, dump, &err), EMS_OK);
    run(st, "CREATE TABLE public.half AS SELECT 3 AS a");
    ASSERT_CODE(ems_staging_keep(st, &kept, &err), EMS_OK);
    ASSERT_CODE(ems_staging_resume(st, "a", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT_FALSE(resumed); /* another target */
    ems_staging_abandon(st);
    ASSERT_CODE(ems_staging_resume(st, "a \"b\"", false, dump, &resumed, &err), EMS_OK);
    CU_ASSERT(resumed);
    ASSERT_CODE(ems_staging_exists(st, kept.database, &exists, &err), EMS_OK);
    CU_ASSERT_FALSE(exists);
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT a FROM public.half"), "3");
    PQfinish(conn);
    ems_staging_abandon(st);
    pg_assert_nothing_left(admin);
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, count_roles), "0");
}

EMS_TESTS("unfinished", {"kept under a name of its own", test_keep},
          {"resumed after a kill", test_resume_after_kill},
          {"nothing to resume", test_resume_nothing}, {"of another dump", test_resume_other_dump},
          {"resumed after it was kept", test_resume_kept})
