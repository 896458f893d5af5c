/* Staging: the embedded server's life, and what a restore may and may not do on any server. */
#include "postgres.h"

#include "server_session.h"

#include <fcntl.h>
#include <time.h>

/* ---- without a server ---- */

static void test_names(void)
{
    static const struct {
        const char *server, *database;
    } cases[] = {
        {"example.org", "staging_example_org"},
        {"Matrix.Example.ORG:8448", "staging_matrix_example_org_8448"},
        {"[2001:db8::1]", "staging__2001_db8__1_"},
        {"a-b\";DROP", "staging_a_b__drop"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "staging_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];

        ems_staging_name(cases[i].server, out);
        CU_ASSERT_STRING_EQUAL(out, cases[i].database);
        CU_ASSERT(strlen(out) <= 63);
    }
}

static int open_with(const char *conninfo, const char *embedded, const char *run_as,
                     struct ems_error *err)
{
    struct ems_staging_options options = {
        .conninfo = conninfo, .embedded = embedded, .run_as = run_as, .jobs = 1};
    struct ems_staging *st;
    int rc;

    *err = (struct ems_error){0};
    rc = ems_staging_open(&options, &st, err);
    CU_ASSERT((rc == EMS_OK) == (st != NULL));
    ems_staging_close(st);
    return rc;
}

static void test_unreachable_server(void)
{
    struct ems_error err;
    time_t start = time(NULL);

    ASSERT_CODE(open_with("host=127.0.0.1 port=1", NULL, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "127.0.0.1"));
    CU_ASSERT_STRING_EQUAL(err.stage, "staging");
    ASSERT_CODE(open_with("host=/nonexistent", NULL, NULL, &err), EMS_SERVER_ERROR);
    ASSERT_CODE(open_with("no-such-option=1", NULL, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT(time(NULL) - start < 5);
}

static void test_bad_directories(void)
{
    struct ems_error err;
    char dir[256], path[512];
    struct stat st;
    FILE *f;

    if (!pg_available("bad directories"))
        return;
    pg_make_dir(dir);
    snprintf(path, sizeof path, "%s/precious", dir);
    f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fclose(f);

    ASSERT_CODE(open_with(NULL, dir, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "not empty"));
    CU_ASSERT(stat(dir, &st) == 0 && st.st_uid == geteuid());
    ASSERT_CODE(open_with(NULL, path, NULL, &err), EMS_IO_ERROR);
    snprintf(path, sizeof path, "%s/no/such/parent", dir);
    ASSERT_CODE(open_with(NULL, path, NULL, &err), EMS_IO_ERROR);
    snprintf(path, sizeof path, "%s/%0110d", dir, 0);
    ASSERT_CODE(open_with(NULL, path, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "too long"));
    if (geteuid() == 0) { /* mkdtemp's mode keeps the server's user out */
        snprintf(path, sizeof path, "%s/inner", dir);
        ASSERT_CODE(open_with(NULL, path, NULL, &err), EMS_SERVER_ERROR);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "cannot enter"));
        ASSERT_CODE(open_with(NULL, path, "root", &err), EMS_SERVER_ERROR);
        ASSERT_CODE(open_with(NULL, path, "no-such-user-here", &err), EMS_SERVER_ERROR);
    }
    pg_remove_tree(dir);
}

/* ---- a restore's life ---- */

static void test_publish_and_replace(void)
{
    static const char awkward[] = "stage \"1\"";
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn, *admin;
    bool exists = true;

    if (!pg_available("publish and replace"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    CU_ASSERT(ems_staging_version(st) >= 130000);
    for (int round = 0; round < 2; round++) {
        ASSERT_CODE(ems_staging_create(st, awkward, round > 0, &err), EMS_OK);
        ASSERT_CODE(ems_staging_exists(st, awkward, &exists, &err), EMS_OK);
        CU_ASSERT_EQUAL(exists, round > 0);
        ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
        pg_ask(conn, round == 0 ? "CREATE TABLE public.first (a int)"
                                : "CREATE TABLE public.second (a int)");
        CU_ASSERT_STRING_EQUAL(
            pg_ask(conn,
                   "SELECT concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype)"
                   " FROM pg_database WHERE datname = current_database()"),
            "UTF8 C C");
        PQfinish(conn);
        ASSERT_CODE(ems_staging_publish(st, &err), EMS_OK);
        ASSERT_CODE(ems_staging_exists(st, awkward, &exists, &err), EMS_OK);
        CU_ASSERT(exists);
        pg_assert_nothing_left(admin);
        CU_ASSERT_STRING_EQUAL(
            pg_ask(admin, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^ems_load_'"), "1");
        CU_ASSERT_STRING_EQUAL(pg_ask(admin, "SELECT count(*) FROM pg_authid WHERE rolname ~ "
                                             "'^ems_load_' AND rolpassword IS NOT NULL"),
                               "0");
    }
    ASSERT_CODE(ems_staging_create(st, awkward, false, &err), EMS_RESTORE_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(ems_staging_howto(st, "stage"), pg_dir));
    CU_ASSERT_PTR_NOT_NULL(strstr(ems_staging_howto(st, "stage"), "pg_ctl"));

    conn = pg_connect("postgres", "", "'stage \"1\"'");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT to_regclass('second')"), "second");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT to_regclass('first')"), "");
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, awkward, true, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in use"));
    PQfinish(conn);
    pg_drop(admin, awkward);
}

/* Connections on which nothing happens, for hours in a restore, are not ended by the server's own
 * settings (idle_session_timeout, from 14 on). */
static void test_idle_connections(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn = NULL, *other;

    if (!pg_available("idle connections"))
        return;
    st = pg_open_shared();
    if (ems_staging_version(st) < 140000) {
        printf("\nskipped: idle connections: PostgreSQL 13 does not end them\n");
        return;
    }
    other = pg_connect("postgres", "", "postgres");
    pg_ask(other, "SET idle_session_timeout = 0");
    pg_ask(other, "ALTER SYSTEM SET idle_session_timeout = '100ms'");
    pg_ask(other, "SELECT pg_reload_conf()");
    ASSERT_CODE(ems_staging_create(st, "idle", false, &err), EMS_OK);
    ASSERT_CODE(ems_session_open(st, &conn, &err), EMS_OK);
    usleep(400000);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT 'alive'"), "alive");
    PQfinish(conn);
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_OK);
    pg_ask(other, "ALTER SYSTEM RESET idle_session_timeout");
    pg_ask(other, "SELECT pg_reload_conf()");
    PQfinish(other);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
    pg_drop(ems_staging_admin(st), "idle");
}

/* Whatever was not made by this tool stays. */
static void test_names_that_are_refused(void)
{
    static const char *const names[] = {"postgres", "template1", "somebodys", "ems_load_x",
                                        "ems_old_x"};
    struct ems_error err = {0};
    struct ems_staging *st;

    if (!pg_available("names that are refused"))
        return;
    st = pg_open_shared();
    pg_ask(ems_staging_admin(st), "CREATE DATABASE somebodys");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int replace = 0; replace < 2; replace++) {
            err = (struct ems_error){0};
            ASSERT_CODE(ems_staging_create(st, names[i], replace, &err), EMS_RESTORE_EXISTS);
        }
    }
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, "", false, &err), EMS_SERVER_ERROR);
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_SERVER_ERROR); /* first failure wins */
    pg_ask(ems_staging_admin(st), "DROP DATABASE somebodys");
    pg_assert_nothing_left(ems_staging_admin(st));
}

/* The target appears while the restore runs: it is not touched. */
static void test_target_appears(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;

    if (!pg_available("target appears"))
        return;
    st = pg_open_shared();
    ASSERT_CODE(ems_staging_create(st, "late", false, &err), EMS_OK);
    pg_ask(ems_staging_admin(st), "CREATE DATABASE late");
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_RESTORE_EXISTS);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
    pg_ask(ems_staging_admin(st), "DROP DATABASE late");
}

static void test_abandon(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn, *admin;

    if (!pg_available("abandon"))
        return;
    st = pg_open_shared();
    admin = pg_connect("postgres", "", "postgres");
    ASSERT_CODE(ems_staging_create(st, "never", false, &err), EMS_OK);
    ASSERT_CODE(ems_staging_create(st, "never", false, &err), EMS_INTERNAL);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK); /* still open: no obstacle */
    ems_staging_abandon(st);
    pg_assert_nothing_left(admin);
    ems_staging_abandon(st);
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_INTERNAL);
    PQfinish(conn);

    /* The admin connection breaks: it is made again. */
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, "never", false, &err), EMS_OK);
    pg_ask(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                  "pg_backend_pid() AND backend_type = 'client backend'");
    ems_staging_abandon(st);
    pg_assert_nothing_left(admin);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT count(*) FROM pg_database WHERE datname = 'never'"), "0");
    PQfinish(admin);
}

static void test_rights_of_the_role(void)
{
    static const char *const denied[] = {
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/ems-must-not-exist'",
        "SELECT pg_catalog.pg_read_file('PG_VERSION')",
        "SELECT pg_catalog.lo_import('/etc/hostname')",
        "CREATE DATABASE another",
        "CREATE ROLE another",
        "ALTER ROLE postgres PASSWORD 'x'",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER SYSTEM SET fsync = on",
        "DROP DATABASE bystander",
        "ALTER DATABASE bystander RENAME TO mine",
        "CREATE EXTENSION file_fdw",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE c AS 'x', 'y'",
        "SELECT rolpassword FROM pg_catalog.pg_authid",
        "SET session_replication_role = replica",
        "SET temp_file_limit = -1",
        "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
    };
    struct ems_error err = {0};
    struct ems_staging *st;
    PGconn *conn, *admin;

    if (!pg_available("rights of the role"))
        return;
    st = pg_open_shared();
    admin = ems_staging_admin(st);
    pg_ask(admin, "CREATE DATABASE bystander");
    ASSERT_CODE(ems_staging_create(st, "rights", false, &err), EMS_OK);
    ASSERT_CODE(ems_staging_limit(st, (uint64_t)1 << 30, &err), EMS_OK);
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SHOW temp_file_limit"), "3GB");
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        PGresult *answer = PQexec(conn, denied[i]);
        const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);

        if (state == NULL)
            printf("\n    allowed: %s", denied[i]);
        CU_ASSERT_PTR_NOT_NULL(state);
        /* insufficient privilege; 0A000: file_fdw is not installed; 58P01: nor its library */
        if (state != NULL && strcmp(state, "42501") != 0 && strcmp(state, "0A000") != 0)
            printf("\n    %s: %s", denied[i], PQerrorMessage(conn));
        CU_ASSERT(state != NULL && (strcmp(state, "42501") == 0 || strcmp(state, "0A000") == 0));
        PQclear(answer);
    }
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON "
                                        "r.oid = m.member WHERE r.rolname = current_user"),
                           "0");
    CU_ASSERT_STRING_EQUAL(pg_ask(admin,
                                  "SELECT has_database_privilege('pg_monitor', datname, "
                                  "'CONNECT') FROM pg_database WHERE datname ~ '^ems_load_'"),
                           "f");
    PQfinish(conn);
    ems_staging_abandon(st);
    pg_ask(admin, "DROP DATABASE bystander");
}

/* ---- a server that is not ours: an admin who is no superuser, and passwords ---- */

static void write_hba(const char *text)
{
    char path[300];
    PGconn *conn;
    FILE *f;

    snprintf(path, sizeof path, "%s/data/pg_hba.conf", pg_dir);
    f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    conn = pg_connect("postgres", "", "postgres");
    pg_ask(conn, "SELECT pg_reload_conf()");
    PQfinish(conn);
    usleep(100000); /* the postmaster reads it when it gets around to it */
}

static void limited_restore(struct ems_staging *st, const char *target, bool replace)
{
    struct ems_error err = {0};
    PGconn *conn;

    ASSERT_CODE(ems_staging_create(st, target, replace, &err), EMS_OK);
    ASSERT_CODE(ems_staging_limit(st, 1, &err), EMS_OK); /* not in this admin's power */
    ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_OK);
    if (conn != NULL)
        pg_ask(conn, "CREATE TABLE public.t (a int)");
    PQfinish(conn);
    ASSERT_CODE(ems_staging_publish(st, &err), EMS_OK);
    if (err.code != EMS_OK)
        printf("\n    %s", err.text);
}

static void test_limited_admin(void)
{
    struct ems_staging_options options = {.jobs = 2};
    struct ems_staging *server, *st;
    struct ems_error err = {0};
    PGconn *admin, *conn;
    char conninfo[512];

    if (!pg_available("limited admin"))
        return;
    server = pg_open_shared();
    admin = ems_staging_admin(server);
    pg_ask(admin, "CREATE ROLE \"the admin\" LOGIN CREATEDB CREATEROLE PASSWORD 'pw\\'''");
    pg_ask(admin, "CREATE ROLE nobody_special LOGIN");
    write_hba("local all postgres trust\nlocal all all scram-sha-256\n");
    snprintf(conninfo, sizeof conninfo,
             "host='%s' user='the admin' password='pw\\\\\\'' dbname=postgres", pg_dir);
    options.conninfo = conninfo;
    ASSERT_CODE(ems_staging_open(&options, &st, &err), EMS_OK);
    if (st != NULL) {
        limited_restore(st, "limited", false);
        limited_restore(st, "limited", true);
        pg_assert_nothing_left(admin);
        CU_ASSERT_PTR_NOT_NULL(strstr(ems_staging_howto(st, "limited"), pg_dir));

        /* Which line of pg_hba.conf is missing. */
        write_hba("local all postgres trust\nlocal all \"the admin\" scram-sha-256\n"
                  "local all all reject\n");
        ASSERT_CODE(ems_staging_create(st, "refused", false, &err), EMS_OK);
        ASSERT_CODE(ems_staging_connect(st, &conn, &err), EMS_SERVER_ERROR);
        CU_ASSERT_PTR_NULL(conn);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "put \"local"));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "scram-sha-256\" on top of"));
        ems_staging_abandon(st);
        pg_assert_nothing_left(admin);
        pg_drop(ems_staging_admin(st), "limited");
    }
    ems_staging_close(st);

    write_hba("local all all trust\n");
    snprintf(conninfo, sizeof conninfo, "host='%s' user=nobody_special dbname=postgres", pg_dir);
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_open(&options, &st, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "CREATEROLE"));
    pg_ask(admin, "DROP ROLE \"the admin\", nobody_special");
}

/* A child makes an unfinished database and ends without a word, while the server still works for it
 * and will not notice for a long time. */
static void leave_something(const char *conninfo)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct ems_staging_options options = {.conninfo = conninfo, .jobs = 1};
        struct ems_error err = {0};
        struct ems_staging *st;
        PGconn *conn;

        _exit(ems_staging_open(&options, &st, &err) != EMS_OK ||
              ems_staging_create(st, "leftover", false, &err) != EMS_OK ||
              ems_staging_connect(st, &conn, &err) != EMS_OK ||
              PQsendQuery(conn, "SELECT pg_catalog.pg_sleep(60)") != 1);
    }
    CU_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_leftovers(void)
{
    struct ems_staging_options options = {.jobs = 1};
    struct ems_staging *server, *other;
    struct ems_error err = {0};
    char conninfo[512], mine[512];
    PGconn *admin;

    if (!pg_available("leftovers"))
        return;
    server = pg_open_shared();
    admin = pg_connect("postgres", "", "postgres");
    snprintf(conninfo, sizeof conninfo, "host='%s' user=postgres dbname=postgres", pg_dir);
    options.conninfo = conninfo;
    leave_something(conninfo);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT count(*) FROM pg_database WHERE datname ~ '^ems_load_'"), "1");
    for (int i = 0; i < 500; i++) { /* its admin connection is known to be gone soon */
        if (pg_ask(admin, "SELECT count(*) FROM pg_stat_activity WHERE "
                          "application_name ~ '^ems_load_' AND usename = 'postgres'")[0] == '0')
            break;
        usleep(10000);
    }

    /* The next run removes what nobody works on, and nothing else. */
    ASSERT_CODE(ems_staging_create(server, "one", false, &err), EMS_OK);
    snprintf(mine, sizeof mine, "%s",
             pg_ask(admin, "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"));
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT count(*) FROM pg_database WHERE datname ~ '^ems_load_'"), "1");
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^ems_load_'"), "1");
    ASSERT_CODE(ems_staging_open(&options, &other, &err), EMS_OK);
    ASSERT_CODE(ems_staging_create(other, "two", false, &err), EMS_OK);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT count(*) FROM pg_database WHERE datname ~ '^ems_load_'"), "2");
    ems_staging_close(other);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin, "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"), mine);
    ems_staging_abandon(server);
    pg_assert_nothing_left(admin);
    PQfinish(admin);
}

/* ---- the embedded server's life ---- */

static void test_second_open(void)
{
    struct ems_error err;
    struct ems_staging *st;

    if (!pg_available("second open"))
        return;
    st = pg_open_shared();
    ASSERT_CODE(open_with(NULL, pg_dir, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in use by another run"));
    CU_ASSERT_STRING_EQUAL(pg_ask(ems_staging_admin(st), "SELECT 1"), "1");
    pg_close_shared();
    pg_assert_no_process();
    ASSERT_CODE(open_with(NULL, pg_dir, NULL, &err), EMS_OK);
    pg_assert_no_process();
}

/* Start the server as a human would, with the cluster's own settings. */
static pid_t start_by_hand(void)
{
    char bindir[4096], program[4200], data[300];
    const char *const argv[] = {program, "-D", data, NULL};
    struct ems_spawn_user user;
    struct ems_error err = {0};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = 0;

    ASSERT_CODE(ems_spawn_user_find(NULL, &user, &err), EMS_OK);
    ASSERT_CODE(ems_spawn_bindir(NULL, bindir, sizeof bindir, &err), EMS_OK);
    snprintf(program, sizeof program, "%s/postgres", bindir);
    snprintf(data, sizeof data, "%s/data", pg_dir);
    ASSERT_CODE(ems_spawn_start(&user, argv, null, &pid, &err), EMS_OK);
    close(null);
    return pid;
}

static void test_running_server_is_left_running(void)
{
    struct ems_staging *st;
    pid_t pid;
    int status;

    if (!pg_available("running server"))
        return;
    ems_staging_close(pg_open()); /* so that there is a cluster */
    pid = start_by_hand();
    usleep(50000);
    st = pg_open();
    CU_ASSERT_EQUAL(pg_postmaster(), pid);
    CU_ASSERT_PTR_NULL(strstr(ems_staging_howto(st, "x"), "pg_ctl"));
    ems_staging_close(st);
    CU_ASSERT_EQUAL(kill(pid, 0), 0);
    PQfinish(pg_connect("postgres", "", "postgres"));
    kill(pid, SIGINT);
    CU_ASSERT(ems_spawn_wait(pid, 10000, &status));
    pg_assert_no_process();
}

static void test_killed_postmaster(void)
{
    struct ems_error err = {0};
    struct ems_staging *st;
    char path[300];
    FILE *f;

    if (!pg_available("killed postmaster"))
        return;
    st = pg_open();
    ASSERT_CODE(ems_staging_create(st, "killed", false, &err), EMS_OK);
    kill(pg_postmaster(), SIGKILL);
    ASSERT_CODE(open_with(NULL, pg_dir, NULL, &err), EMS_SERVER_ERROR); /* the lock is still ours */
    ems_staging_close(st);
    st = pg_open(); /* the lock file is stale, the children may still be there */
    err = (struct ems_error){0};
    ASSERT_CODE(ems_staging_create(st, "again", false, &err), EMS_OK);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
    ems_staging_close(st);

    /* A lock file of before a reboot, whose number now belongs to somebody else: to us. */
    snprintf(path, sizeof path, "%s/data/postmaster.pid", pg_dir);
    f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fprintf(f, "%d\n%s/data\n1700000000\n5432\n..\n\n 1 1\nready\n", (int)getpid(), pg_dir);
    fclose(f);
    ems_staging_close(pg_open());
    pg_assert_no_process();
}

/* kill -9 of the tool: its server must not stay behind, and the next run must not be hindered. */
static void test_killed_tool(void)
{
    struct ems_staging *st;
    int pipe_fds[2], status;
    char byte;
    pid_t pid;

    if (!pg_available("killed tool"))
        return;
    CU_ASSERT_EQUAL_FATAL(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        struct ems_error err = {0};

        st = pg_open();
        byte = ems_staging_create(st, "orphan", false, &err) == EMS_OK ? 'y' : 'n';
        if (write(pipe_fds[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(1);
    }
    CU_ASSERT_EQUAL(read(pipe_fds[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(byte, 'y');
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    st = pg_open();
    CU_ASSERT(pg_postmaster() > 0);
    {
        struct ems_error err = {0};

        ASSERT_CODE(ems_staging_create(st, "next", false, &err), EMS_OK);
        CU_ASSERT_STRING_EQUAL(pg_ask(ems_staging_admin(st), "SELECT count(*) FROM pg_database "
                                                             "WHERE datname ~ '^ems_load_'"),
                               "1");
    }
    ems_staging_close(st);
    pg_assert_no_process();
}

/* A server that cannot start says why. */
static void test_broken_cluster(void)
{
    struct ems_error err;
    char path[300], aside[320];

    if (!pg_available("broken cluster"))
        return;
    ems_staging_close(pg_open());
    snprintf(path, sizeof path, "%s/data/global/pg_control", pg_dir);
    snprintf(aside, sizeof aside, "%s.aside", path);
    CU_ASSERT_EQUAL_FATAL(rename(path, aside), 0);
    ASSERT_CODE(open_with(NULL, pg_dir, NULL, &err), EMS_SERVER_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the embedded server ended with exit status"));
    CU_ASSERT_EQUAL_FATAL(rename(aside, path), 0);

    /* An initdb that was killed: its half cluster is thrown away and made again. */
    snprintf(path, sizeof path, "%s/data", pg_dir);
    snprintf(aside, sizeof aside, "%s/data.new", pg_dir);
    CU_ASSERT_EQUAL_FATAL(rename(path, aside), 0);
    ems_staging_close(pg_open());
    CU_ASSERT_EQUAL(access(aside, F_OK), -1);
    pg_assert_no_process();
}

EMS_TESTS("staging", {"names", test_names}, {"unreachable server", test_unreachable_server},
          {"bad directories", test_bad_directories},
          {"publish and replace", test_publish_and_replace},
          {"names that are refused", test_names_that_are_refused},
          {"target appears meanwhile", test_target_appears},
          {"idle connections", test_idle_connections}, {"abandon", test_abandon},
          {"rights of the role", test_rights_of_the_role},
          {"limited admin and pg_hba.conf", test_limited_admin}, {"leftovers", test_leftovers},
          {"second open", test_second_open},
          {"running server is left running", test_running_server_is_left_running},
          {"killed postmaster", test_killed_postmaster}, {"killed tool", test_killed_tool},
          {"broken cluster", test_broken_cluster})
