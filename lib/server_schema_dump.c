/*
 * server_schema_dump.c - the schema of a Synapse database, by pg_dump; see server_schema.h
 *
 * pg_dump knows what the catalogs of all releases mean, so it is asked, and what it prints goes the
 * way of every dump: the scanner, which refuses a dump without any rows, so those of Synapse's
 * three tables are in it and all other tables are named as to be dumped empty. The server is
 * reached by libpq first: that says in good words when it cannot be, lists the tables, and merges
 * conninfo, service file and environment into one list of options, so that pg_dump reaches the same
 * server.
 *
 * The password is the one thing that is not passed on in the arguments: everybody can read them. It
 * goes into a file in memory (memfd) that pg_dump's libpq reads as its password file.
 */
#include "server_schema.h"

#include "bytes.h"
#include "server_pq.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child is made of; all of it prepared before the fork. */
struct child {
    char path[4200];         /* of pg_dump */
    struct ems_buf conninfo; /* without the password */
    char **arguments;        /* NULL-terminated; those from own_from on are ours to free */
    size_t own_from, argument_count;
    char environment[5][512]; /* "NAME=value", the last ones may be "" */
    int passwords;            /* descriptor of the password file, or -1 */
    int output;               /* its standard output, read by us, or -1 */
    int messages;             /* descriptor of a file in memory with what it says */
    pid_t pid;                /* 0: not started */
};

/* ---- what to run ---- */

static bool try_program(struct child *c, const char *directory, size_t length)
{
    snprintf(c->path, sizeof c->path, "%.*s/pg_dump", (int)length, directory);
    return access(c->path, X_OK) == 0;
}

/* It must not be older than the server (pg_dump(1), notes), so the newest is the one. */
static int find_pg_dump(struct child *c, struct ems_error *err)
{
    enum { OLDEST = 10, NEWEST = 40 };
    const char *path = getenv("PATH");
    char directory[64];

    for (unsigned release = NEWEST; release >= OLDEST; release--) {
        int n = snprintf(directory, sizeof directory, "/usr/lib/postgresql/%u/bin", release);

        if (try_program(c, directory, (size_t)n))
            return EMS_OK;
    }
    for (; path != NULL && *path != '\0'; path += *path == ':') {
        size_t length = strcspn(path, ":");

        if (*path == '/' && length < sizeof c->path - 16 && try_program(c, path, length))
            return EMS_OK;
        path += length;
    }
    return ems_schema_fail(err, "CONNINFO: no pg_dump found to read the schema with: install the "
                                "package \"postgresql-client\", or name a dump");
}

/* keyword='value' of everything that was said, but for the password. */
static int build_conninfo(PGconn *conn, struct ems_buf *out, struct ems_error *err)
{
    PQconninfoOption *options = PQconninfo(conn);
    int rc = options != NULL ? EMS_OK : ems_fail_memory(err);

    for (PQconninfoOption *o = options; rc == EMS_OK && o->keyword != NULL; o++) {
        if (o->val == NULL || o->val[0] == '\0' || strcmp(o->keyword, "password") == 0 ||
            strcmp(o->keyword, "passfile") == 0 || strcmp(o->keyword, "sslpassword") == 0 ||
            strcmp(o->keyword, "service") == 0 || strcmp(o->keyword, "replication") == 0)
            continue;
        rc = ems_buf_printf(out, err, "%s='", o->keyword);
        for (const char *v = o->val; *v != '\0' && rc == EMS_OK; v++)
            rc = ems_buf_printf(out, err, *v == '\'' || *v == '\\' ? "\\%c" : "%c", *v);
        if (rc == EMS_OK)
            rc = ems_buf_printf(out, err, "' ");
    }
    PQconninfoFree(options);
    return rc;
}

/* host:port:database:user:password, each of the first four for any (libpq, "The Password File"):
 * the file is for this one connection. It must be closed to others. */
static int write_password(struct child *c, const char *password, struct ems_error *err)
{
    struct ems_buf line = {0};
    int rc = ems_buf_reserve(&line, 2 * strlen(password) + 64, err); /* grows no more: no copies */

    if (rc == EMS_OK)
        rc = ems_buf_printf(&line, err, "*:*:*:*:");
    for (; *password != '\0' && rc == EMS_OK; password++)
        rc = ems_buf_printf(&line, err, *password == ':' || *password == '\\' ? "\\%c" : "%c",
                            *password);
    if (rc == EMS_OK) {
        c->passwords = memfd_create("pgpass", 0); /* inherited */
        if (c->passwords < 0 || fchmod(c->passwords, 0600) != 0 ||
            write(c->passwords, line.data, line.size) != (ssize_t)line.size)
            rc = ems_fail_errno(err, errno, "cannot make a password file in memory");
    }
    ems_wipe(line.data, line.capacity);
    ems_buf_release(&line);
    return rc;
}

/* --exclude-table-data takes a pattern; in double quotes a name stands for itself. */
static int build_arguments(struct child *c, PGconn *conn, struct ems_error *err)
{
    char *first[] = {
        c->path,      (char *)"--no-owner",    (char *)"--no-privileges", (char *)"--no-password",
        (char *)"-d", (char *)c->conninfo.data};
    enum { FIRST = sizeof first / sizeof first[0] };
    PGresult *tables;
    int rc = ems_pq_query(conn, "list the tables",
                          "SELECT '--exclude-table-data=public.\"' || "
                          "pg_catalog.replace(relname, '\"', '\"\"') || '\"' "
                          "FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND "
                          "relnamespace = 'public'::pg_catalog.regnamespace AND relname NOT IN "
                          "('schema_version', 'schema_compat_version', 'applied_schema_deltas')",
                          0, NULL, &tables, err);

    if (rc != EMS_OK)
        return rc;
    c->arguments = calloc((size_t)PQntuples(tables) + FIRST + 1, sizeof *c->arguments);
    if (c->arguments == NULL) {
        PQclear(tables);
        return ems_fail_memory(err);
    }
    memcpy(c->arguments, first, sizeof first);
    c->own_from = c->argument_count = FIRST;
    for (int i = 0; i < PQntuples(tables) && rc == EMS_OK; i++) {
        c->arguments[c->argument_count] = strdup(PQgetvalue(tables, i, 0));
        if (c->arguments[c->argument_count++] == NULL)
            rc = ems_fail_memory(err);
    }
    PQclear(tables);
    return rc;
}

static int prepare(struct child *c, PGconn *conn, struct ems_error *err)
{
    const char *password = PQpass(conn), *home = getenv("HOME");
    int rc = find_pg_dump(c, err);

    if (rc == EMS_OK)
        rc = build_conninfo(conn, &c->conninfo, err);
    if (rc == EMS_OK)
        rc = build_arguments(c, conn, err);
    if (rc == EMS_OK && password != NULL && password[0] != '\0')
        rc = write_password(c, password, err);
    if (rc != EMS_OK)
        return rc;
    snprintf(c->environment[0], sizeof c->environment[0], "LC_ALL=C");
    snprintf(c->environment[1], sizeof c->environment[1], "PATH=/usr/bin:/bin");
    /* libpq looks for certificates in ~/.postgresql */
    snprintf(c->environment[2], sizeof c->environment[2], "HOME=%s", home != NULL ? home : "/");
    if (c->passwords >= 0)
        snprintf(c->environment[3], sizeof c->environment[3], "PGPASSFILE=/proc/self/fd/%d",
                 c->passwords);
    c->messages = memfd_create("pg_dump", MFD_CLOEXEC);
    return c->messages >= 0 ? EMS_OK : ems_fail_errno(err, errno, "cannot make a file in memory");
}

/* ---- running ---- */

/* In the child: system calls only (signal-safety(7)). The descriptors of the parent are all
 * close-on-exec but for the password file. */
static void run_child(const struct child *c, char *const *environment, int input, int output,
                      pid_t parent)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(c->messages, 2) >= 0 &&
        prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent)
        execve(c->path, c->arguments, environment);
    _exit(127);
}

static int start(struct child *c, struct ems_error *err)
{
    char *environment[] = {c->environment[0], c->environment[1], c->environment[2],
                           c->passwords >= 0 ? c->environment[3] : NULL, NULL};
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC), pipes[2];
    pid_t parent = getpid();

    if (input < 0 || pipe2(pipes, O_CLOEXEC) != 0) {
        if (input >= 0)
            close(input);
        return ems_fail_errno(err, errno, "cannot make a pipe");
    }
    c->pid = fork();
    if (c->pid == 0)
        run_child(c, environment, input, pipes[1], parent);
    close(input);
    close(pipes[1]);
    if (c->pid < 0) {
        close(pipes[0]);
        c->pid = 0;
        return ems_fail_errno(err, errno, "cannot start %s", c->path);
    }
    c->output = pipes[0];
    return EMS_OK;
}

/* The last line that it said. */
static const char *last_words(const struct child *c, char *out, size_t size)
{
    char text[2048];
    ssize_t n = pread(c->messages, text, sizeof text - 1, 0);
    char *line;

    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n > 0 ? n : 0] = '\0';
    line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    return ems_printable_text(line, strlen(line), out, size);
}

/* Its output is read to the end, or will not be read any more. */
static int finish(struct child *c, const struct ems_schema *schema, int rc, struct ems_error *err)
{
    char words[120];
    int status = 0;

    if (c->pid == 0)
        return rc;
    if (rc != EMS_OK)
        kill(c->pid, SIGTERM);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    c->pid = 0;
    if (status == 0 || (rc != EMS_OK && WIFSIGNALED(status)))
        return rc;
    /* Why it ended is the better reason than that its output is cut. */
    if (err != NULL)
        *err = (struct ems_error){0};
    return ems_schema_fail(err, "%s: %s failed: %s", schema->name, c->path,
                           last_words(c, words, sizeof words));
}

/* ---- the whole ---- */

static int read_schema(struct ems_schema *schema, struct child *c, PGconn *conn,
                       const struct ems_check_options *check, struct ems_error *err)
{
    struct ems_source *bottom;
    int rc = prepare(c, conn, err);

    if (rc == EMS_OK)
        rc = start(c, err);
    if (rc != EMS_OK)
        return rc;
    bottom = ems_source_fd_open(c->output, true, "pg_dump", err);
    rc = bottom != NULL ? ems_schema_read_source(schema, bottom, check, err) : err->code;
    return finish(c, schema, rc, err);
}

int ems_schema_read_database(struct ems_schema *schema, const char *conninfo,
                             const struct ems_check_options *check, struct ems_error *err)
{
    struct child c = {.passwords = -1, .output = -1, .messages = -1};
    PGconn *conn = PQconnectdb(conninfo);
    char why[160];
    int rc = EMS_OK;

    /* Not the conninfo itself: there may be a password in it. */
    snprintf(schema->name, sizeof schema->name, "database %.100s",
             conn != NULL && PQdb(conn) != NULL ? PQdb(conn) : "");
    if (conn == NULL)
        return ems_fail_memory(err);
    ems_pq_quiet(conn);
    if (PQstatus(conn) != CONNECTION_OK)
        rc = ems_schema_fail(err, "%s: %s", schema->name,
                             ems_printable_text(PQerrorMessage(conn),
                                                strcspn(PQerrorMessage(conn), "\n"), why,
                                                sizeof why));
    if (rc == EMS_OK)
        rc = read_schema(schema, &c, conn, check, err);
    PQfinish(conn);
    for (size_t i = c.own_from; i < c.argument_count; i++)
        free(c.arguments[i]);
    free(c.arguments);
    if (c.passwords >= 0)
        close(c.passwords);
    if (c.messages >= 0)
        close(c.messages);
    ems_buf_release(&c.conninfo);
    return rc;
}
