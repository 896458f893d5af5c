/*
 * postgres.h - a real embedded server for the tests that need one, in a directory of its own that
 * is made once a program and removed at its end.
 *
 * Works as root (the server runs as another user) and as a normal user. Without PostgreSQL's server
 * programs such a test says "skipped: ..." and does nothing.
 */
#ifndef EMS_TEST_POSTGRES_H
#define EMS_TEST_POSTGRES_H

#include "harness.h"

#include "server_spawn.h"
#include "staging.h"

#include <dirent.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char pg_dir[256]; /* the embedded server's directory; empty until first needed */

static int pg_remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void pg_remove_tree(const char *path)
{
    nftw(path, pg_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void pg_clean_up(void)
{
    if (pg_dir[0] != '\0')
        pg_remove_tree(pg_dir);
}

/* A new private directory; path has room for 256. */
static inline void pg_make_dir(char *path)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(path, 256, "%s/ems-pg-XXXXXX", tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (mkdtemp(path) == NULL)
        abort();
}

/* Is there a PostgreSQL to test with? Then pg_dir is set. */
static inline bool pg_available(const char *test)
{
    struct ems_error err = {0};
    char bindir[4096];

    if (ems_spawn_bindir(NULL, bindir, sizeof bindir, &err) != EMS_OK) {
        printf("\nskipped: %s: %s\n", test, err.text);
        return false;
    }
    if (pg_dir[0] == '\0') {
        pg_make_dir(pg_dir);
        atexit(pg_clean_up);
    }
    return true;
}

static inline struct ems_staging *pg_open(void)
{
    struct ems_staging_options options = {.embedded = pg_dir, .jobs = 1};
    struct ems_staging *st;
    struct ems_error err = {0};

    ASSERT_CODE(ems_staging_open(&options, &st, &err), EMS_OK);
    if (st == NULL)
        printf("\n    %s\n", err.text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(st);
    return st;
}

/* The same for tests that do not stop it: one server for all of them, until pg_close_shared. */
static struct ems_staging *pg_shared;

static inline struct ems_staging *pg_open_shared(void)
{
    if (pg_shared == NULL)
        pg_shared = pg_open();
    return pg_shared;
}

static inline void pg_close_shared(void)
{
    ems_staging_close(pg_shared);
    pg_shared = NULL;
}

/* A connection to the embedded server, as the superuser or somebody else. */
static inline PGconn *pg_connect(const char *user, const char *password, const char *database)
{
    char conninfo[1100];
    PGconn *conn;

    snprintf(conninfo, sizeof conninfo, "host=%s port=5432 user=%s password='%s' dbname=%s", pg_dir,
             user, password, database);
    conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        printf("\n    %s", PQerrorMessage(conn));
    CU_ASSERT_EQUAL_FATAL(PQstatus(conn), CONNECTION_OK);
    return conn;
}

/* Run SQL that must work; the first value of the first row, "" if there is none. */
static inline const char *pg_ask(PGconn *conn, const char *sql)
{
    static char value[512];
    PGresult *answer = PQexec(conn, sql);

    value[0] = '\0';
    if (PQresultStatus(answer) != PGRES_TUPLES_OK && PQresultStatus(answer) != PGRES_COMMAND_OK) {
        printf("\n    %s: %s", sql, PQerrorMessage(conn));
        CU_FAIL("SQL failed");
    } else if (PQntuples(answer) > 0) {
        snprintf(value, sizeof value, "%s", PQgetvalue(answer, 0, 0));
    }
    PQclear(answer);
    return value;
}

/* Drop a published database and the role that owns it. */
static inline void pg_drop(PGconn *admin, const char *database)
{
    char *name = PQescapeIdentifier(admin, database, strlen(database));
    char *literal = PQescapeLiteral(admin, database, strlen(database));
    char sql[1100], owner[512];

    snprintf(sql, sizeof sql, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s",
             literal);
    snprintf(owner, sizeof owner, "%s", pg_ask(admin, sql));
    snprintf(sql, sizeof sql, "DROP DATABASE %s", name);
    pg_ask(admin, sql);
    snprintf(sql, sizeof sql, "DROP ROLE %s", owner);
    pg_ask(admin, sql);
    PQfreemem(name);
    PQfreemem(literal);
}

/* What a failed or finished restore must not leave: unfinished databases, roles that may log in. */
static inline void pg_assert_nothing_left(PGconn *admin)
{
    CU_ASSERT_STRING_EQUAL(pg_ask(admin, "SELECT count(*) FROM pg_database WHERE datname ~ "
                                         "'^ems_(load|old)_'"),
                           "0");
    CU_ASSERT_STRING_EQUAL(
        pg_ask(admin,
               "SELECT count(*) FROM pg_roles r WHERE rolname ~ '^ems_load_' AND (rolcanlogin"
               " OR NOT EXISTS (SELECT 1 FROM pg_database d WHERE d.datdba = r.oid))"),
        "0");
}

/* The postmaster's process number from its lock file, or 0. */
static inline pid_t pg_postmaster(void)
{
    char path[300], line[32] = "";
    FILE *f;

    snprintf(path, sizeof path, "%s/data/postmaster.pid", pg_dir);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    fclose(f);
    return (pid_t)strtol(line, NULL, 10);
}

/* Processes that work in DIR/data: a running server's, all of them. Sends them `sig` if not 0. */
static inline unsigned pg_processes(int sig)
{
    char path[300], link[64];
    struct stat data, cwd;
    struct dirent *entry;
    unsigned count = 0;
    DIR *proc = opendir("/proc");

    snprintf(path, sizeof path, "%s/data", pg_dir);
    if (proc == NULL || stat(path, &data) != 0)
        abort();
    while ((entry = readdir(proc)) != NULL) {
        snprintf(link, sizeof link, "/proc/%.20s/cwd", entry->d_name);
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || stat(link, &cwd) != 0 ||
            cwd.st_dev != data.st_dev || cwd.st_ino != data.st_ino)
            continue;
        count++;
        if (sig != 0)
            kill((pid_t)strtol(entry->d_name, NULL, 10), sig);
    }
    closedir(proc);
    return count;
}

/* No server, no zombie. */
static inline void pg_assert_no_process(void)
{
    CU_ASSERT_EQUAL(pg_processes(0), 0);
    CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
}

#endif
