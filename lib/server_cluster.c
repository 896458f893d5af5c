/*
 * server_cluster.c - see server_cluster.h
 *
 * Each step of ems_cluster_open looks at what is there and goes on from it, so that a run that was
 * killed anywhere is continued: DIR may be empty, hold half a cluster (data.new), a whole one, a
 * lock file without a server, or a server. DIR/lock is held from the first look to the end, so
 * nobody else changes any of it meanwhile.
 */
#include "server_cluster.h"

#include "bytes.h"
#include "server_settings.h"
#include "server_spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME ".s.PGSQL.5432"

enum {
    START_MS = 60000, /* until the server must accept connections */
    RETRY_MS = 10000, /* how long the rest of a killed server may stand in the way */
    INITDB_MS = 120000,
    STOP_MS = 300000, /* a fast shutdown writes out shared_buffers */
    POLL_MS = 20,
};

struct ems_cluster {
    struct ems_spawn_user user;
    char *dir; /* absolute, without symbolic links */
    char *data, *log;
    char bindir[4096];
    struct ems_buf conninfo;
    int dir_fd, lock_fd; /* -1: not open */
    pid_t server;        /* 0: not started here, or ended */
    bool started;        /* here */
    unsigned jobs;
};

/* ---- the directory ---- */

/* Is it empty, or ours? We make "lock" before anything else. Root is about to give the directory
 * away, so that it must not be somebody's home. */
static int check_content(struct ems_cluster *c, struct ems_error *err)
{
    DIR *dir;
    struct dirent *entry;
    int fd, rc = EMS_OK;

    if (faccessat(c->dir_fd, "lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return EMS_OK;
    fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        rc = ems_fail_errno(err, errno, "cannot read %s", c->dir);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == EMS_OK && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            rc = ems_fail(err, EMS_SERVER_ERROR,
                          "%s is not empty and holds no embedded server: use a new directory",
                          c->dir);
    closedir(dir);
    return rc;
}

/*
 * All through the descriptor, so that the name cannot be made to mean something else meanwhile. An
 * existing directory of a third user is refused: in /tmp anybody can make one in advance.
 */
static int own_directory(struct ems_cluster *c, struct ems_error *err)
{
    struct stat st;
    int rc;

    if (fstat(c->dir_fd, &st) != 0)
        return ems_fail_errno(err, errno, "cannot examine %s", c->dir);
    if (st.st_uid != geteuid() && st.st_uid != c->user.uid)
        return ems_fail(err, EMS_SERVER_ERROR, "%s belongs to another user", c->dir);
    rc = check_content(c, err);
    if (rc != EMS_OK)
        return rc;
    if ((c->user.change && fchown(c->dir_fd, c->user.uid, c->user.gid) != 0) ||
        fchmod(c->dir_fd, 0700) != 0)
        return ems_fail_errno(err, errno, "cannot make %s private", c->dir);
    return EMS_OK;
}

/* Open or make a file of ours in the directory. -1 and err on failure. */
static int open_file(struct ems_cluster *c, const char *name, int flags, struct ems_error *err)
{
    int fd = openat(c->dir_fd, name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        ems_fail_errno(err, errno, "cannot open %s/%s", c->dir, name);
    } else if (c->user.change && fchown(fd, c->user.uid, c->user.gid) != 0) {
        ems_fail_errno(err, errno, "cannot give %s/%s to user %s", c->dir, name, c->user.name);
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The kernel drops the lock with the process, however it ends. The server does not inherit it. */
static int lock_directory(struct ems_cluster *c, struct ems_error *err)
{
    c->lock_fd = open_file(c, "lock", O_RDWR, err);
    if (c->lock_fd < 0)
        return err->code;
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return EMS_OK;
    if (errno != EWOULDBLOCK)
        return ems_fail_errno(err, errno, "cannot lock %s/lock", c->dir);
    return ems_fail(err, EMS_SERVER_ERROR,
                    "%s is in use by another run: wait for its end, or use another directory",
                    c->dir);
}

/* The socket's path must fit into sun_path (108 bytes, unix(7)) on the client's side as well. */
static int open_directory(struct ems_cluster *c, const char *dir, struct ems_error *err)
{
    struct sockaddr_un address;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return ems_fail_errno(err, errno, "cannot make directory %s", dir);
    c->dir = realpath(dir, NULL);
    if (c->dir == NULL)
        return ems_fail_errno(err, errno, "cannot find %s", dir);
    if (strlen(c->dir) + sizeof "/" SOCKET_NAME > sizeof address.sun_path)
        return ems_fail(err, EMS_SERVER_ERROR,
                        "the path of the embedded server's directory is too long for a socket "
                        "(%zu bytes, at most %zu): use a shorter one",
                        strlen(c->dir), sizeof address.sun_path - sizeof "/" SOCKET_NAME);
    c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir_fd < 0)
        return ems_fail_errno(err, errno, "cannot open directory %s", c->dir);
    if (asprintf(&c->data, "%s/data", c->dir) < 0 || asprintf(&c->log, "%s/log", c->dir) < 0)
        return ems_fail_memory(err);
    return EMS_OK;
}

/* The last line of the log that tells why the program gave up, or the last line. */
static const char *log_reason(const struct ems_cluster *c, char *out, size_t out_size)
{
    char text[4097], *line, *next, *reason = NULL;
    int fd = openat(c->dir_fd, "log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof text - 1, end > 4096 ? end - 4096 : 0) : 0;

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (line = text; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (*line != '\0' && (reason == NULL || strstr(line, "FATAL") != NULL ||
                              strstr(line, "PANIC") != NULL || strstr(reason, "FATAL") == NULL))
            reason = line;
    }
    if (reason == NULL)
        return "its log is empty";
    if (strstr(reason, "FATAL:  ") != NULL)
        reason = strstr(reason, "FATAL:  ") + 8;
    return ems_printable(reason, strlen(reason), out, out_size);
}

/* ---- the cluster ---- */

/* For nftw, which goes depth first and does not follow symbolic links. */
static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

/* Settings that belong to the place, for every start, also by hand. ".." is DIR as seen from
 * DIR/data, so DIR may be moved. */
static int append_settings(struct ems_cluster *c, const char *data, struct ems_error *err)
{
    static const char settings[] = "\n# ems-intake: only a Unix socket, in the private directory\n"
                                   "listen_addresses = ''\n"
                                   "port = 5432\n"
                                   "unix_socket_directories = '..'\n"
                                   "unix_socket_permissions = 0700\n";
    char path[4200];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/postgresql.conf", data);
    fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    n = fd >= 0 ? write(fd, settings, sizeof settings - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n != (ssize_t)sizeof settings - 1)
        return ems_fail_errno(err, n < 0 ? errno : ENOSPC, "cannot write %s/postgresql.conf",
                              c->dir);
    return EMS_OK;
}

/*
 * The initdb of a run that was killed is told to end, but the server that it has started to fill
 * the directory may write for a moment longer. Both have the log as their output, and with it the
 * lock that this takes on it.
 */
static int await_orphans(const struct ems_cluster *c, int log_fd, struct ems_error *err)
{
    for (unsigned waited = 0; flock(log_fd, LOCK_EX | LOCK_NB) != 0; waited += POLL_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return ems_fail_errno(err, errno, "cannot lock %s/log", c->dir);
        if (waited >= RETRY_MS)
            return ems_fail(err, EMS_SERVER_ERROR,
                            "the initdb of a run that was killed still works in %s: end it",
                            c->dir);
        usleep(POLL_MS * 1000);
    }
    return EMS_OK;
}

/*
 * initdb works under another name, so that DIR/data is whole or not there. --no-sync: see the
 * header on syncing. --auth=trust: the directory is the guard.
 */
static int make_cluster(struct ems_cluster *c, int log_fd, struct ems_error *err)
{
    char fresh[4096], program[4200], reason[120], how[32];
    const char *argv[] = {program,           "-D",         fresh,          "-U",        "postgres",
                          "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync", NULL};
    int status, rc;
    pid_t pid;

    if (access(c->data, F_OK) == 0)
        return EMS_OK;
    snprintf(fresh, sizeof fresh, "%s/data.new", c->dir);
    snprintf(program, sizeof program, "%s/initdb", c->bindir);
    rc = await_orphans(c, log_fd, err);
    if (rc != EMS_OK)
        return rc;
    if (access(fresh, F_OK) == 0)
        nftw(fresh, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    rc = ems_spawn_start(&c->user, argv, log_fd, &pid, err);
    if (rc != EMS_OK)
        return rc;
    if (!ems_spawn_wait(pid, INITDB_MS, &status)) {
        kill(pid, SIGKILL);
        ems_spawn_wait(pid, STOP_MS, &status);
    }
    if (status != 0)
        return ems_fail(err, EMS_SERVER_ERROR, "initdb ended with %s: %s",
                        ems_spawn_describe(status, how), log_reason(c, reason, sizeof reason));
    rc = append_settings(c, fresh, err);
    if (rc != EMS_OK)
        return rc;
    if (rename(fresh, c->data) != 0)
        return ems_fail_errno(err, errno, "cannot rename %s", fresh);
    flock(log_fd, LOCK_UN); /* the server gets the log too */
    return EMS_OK;
}

/* "15", from DIR/data/PG_VERSION; empty if there is no cluster yet. */
static void read_version(const struct ems_cluster *c, char *out, size_t out_size)
{
    char path[4200];
    FILE *f;

    snprintf(path, sizeof path, "%s/PG_VERSION", c->data);
    f = fopen(path, "re");
    if (f == NULL || fgets(out, (int)out_size, f) == NULL)
        out[0] = '\0';
    if (f != NULL)
        fclose(f);
    out[strcspn(out, "\n")] = '\0';
}

/* ---- a server that is already there ---- */

/*
 * The process of DIR/data/postmaster.pid, or 0. The number may be old and belong to another process
 * by now. PostgreSQL copes with a number that nobody has, or somebody else's process; one of our
 * own, or a zombie, would keep it from starting, so that the file is removed here. The judge is
 * that a postmaster's working directory is its data directory.
 */
static pid_t find_postmaster(const struct ems_cluster *c)
{
    char path[4200], text[64] = "";
    struct stat data, cwd;
    long pid;
    FILE *f;

    snprintf(path, sizeof path, "%s/postmaster.pid", c->data);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    fclose(f);
    pid = strtol(text, NULL, 10);
    if (pid <= 1 || kill((pid_t)pid, 0) != 0)
        return 0;
    if (stat("/proc/self/cwd", &cwd) != 0 || stat(c->data, &data) != 0)
        return (pid_t)pid; /* no /proc: believe it */
    snprintf(text, sizeof text, "/proc/%ld/cwd", pid);
    if (stat(text, &cwd) == 0 ? cwd.st_dev == data.st_dev && cwd.st_ino == data.st_ino
                              : errno != ENOENT)
        return (pid_t)pid;
    unlink(path);
    return 0;
}

/* Is a server up? Waits for one that is starting or stopping (a killed run's server stops by
 * itself). EMS_OK and *running, or an error. */
static int look_for_server(struct ems_cluster *c, bool *running, struct ems_error *err)
{
    pid_t pid = 0;

    *running = false;
    for (unsigned waited = 0; waited < START_MS; waited += POLL_MS) {
        pid = find_postmaster(c);
        if (pid == 0)
            return EMS_OK;
        if (PQping(ems_cluster_conninfo(c)) == PQPING_OK) {
            *running = true;
            return EMS_OK;
        }
        usleep(POLL_MS * 1000);
    }
    return ems_fail(err, EMS_SERVER_ERROR,
                    "a server (process %d) runs in %s but does not answer: stop it first", (int)pid,
                    c->dir);
}

/* ---- start and stop ---- */

/* Start postgres and wait until it accepts connections or has ended (then *ended). */
static int try_start(struct ems_cluster *c, const struct ems_settings *s, int log_fd, bool *ended,
                     struct ems_error *err)
{
    char program[4200], reason[120], how[32];
    const char *argv[4 + 2 * EMS_SETTINGS_MAX] = {program, "-D", c->data};
    size_t argc = 3;
    int status, rc;

    *ended = false;
    snprintf(program, sizeof program, "%s/postgres", c->bindir);
    for (size_t i = 0; i < s->count; i++) {
        argv[argc++] = "-c";
        argv[argc++] = s->text[i];
    }
    rc = ems_spawn_start(&c->user, argv, log_fd, &c->server, err);
    if (rc != EMS_OK) {
        c->server = 0;
        return rc;
    }
    for (unsigned waited = 0; waited < START_MS; waited += POLL_MS) {
        if (ems_spawn_wait(c->server, POLL_MS, &status)) {
            c->server = 0;
            *ended = true;
            return ems_fail(err, EMS_SERVER_ERROR, "the embedded server ended with %s: %s",
                            ems_spawn_describe(status, how), log_reason(c, reason, sizeof reason));
        }
        if (PQping(ems_cluster_conninfo(c)) == PQPING_OK) {
            c->started = true;
            return EMS_OK;
        }
    }
    return ems_fail(err, EMS_SERVER_ERROR, "the embedded server did not start in %d s: %s",
                    START_MS / 1000, log_reason(c, reason, sizeof reason));
}

/* After kill -9 of a postmaster its children may live on for a moment, and PostgreSQL rightly
 * refuses to start beside them: try again for a while if an old lock file says so. */
static int start_server(struct ems_cluster *c, int log_fd, struct ems_error *err)
{
    struct ems_settings s = {.count = 0};
    char lock_file[4200];
    bool stale, ended;
    int rc;

    ems_settings_choose(&s, c->jobs);
    snprintf(lock_file, sizeof lock_file, "%s/postmaster.pid", c->data);
    stale = access(lock_file, F_OK) == 0;
    for (unsigned waited = 0;; waited += 10 * POLL_MS) {
        struct ems_error failure = {0};

        rc = try_start(c, &s, log_fd, &ended, &failure);
        if (rc == EMS_OK)
            return EMS_OK;
        if (!stale || !ended || waited >= RETRY_MS)
            return ems_fail(err, rc, "%s", failure.text);
        usleep(10 * POLL_MS * 1000);
    }
}

/* SIGINT: fast shutdown, which rolls back and writes out what is in memory; SIGQUIT: immediate
 * (PostgreSQL documentation, 19.5). Waiting also reaps it. */
static void stop_server(struct ems_cluster *c)
{
    int status;

    if (c->server == 0)
        return;
    kill(c->server, SIGINT);
    if (!ems_spawn_wait(c->server, STOP_MS, &status)) {
        kill(c->server, SIGQUIT); /* PostgreSQL: immediate shutdown */
        if (!ems_spawn_wait(c->server, RETRY_MS, &status)) {
            kill(c->server, SIGKILL);
            ems_spawn_wait(c->server, RETRY_MS, &status);
        }
    }
    c->server = 0;
}

/* ---- all of it ---- */

/* Says everything that libpq would otherwise take from the environment and that could lead
 * elsewhere. Quoting as in libpq's connection strings. */
static int build_conninfo(struct ems_cluster *c, struct ems_error *err)
{
    int rc = ems_buf_printf(&c->conninfo, err, "host='");

    for (const char *p = c->dir; *p != '\0' && rc == EMS_OK; p++)
        rc = ems_buf_printf(&c->conninfo, err, *p == '\'' || *p == '\\' ? "\\%c" : "%c", *p);
    if (rc == EMS_OK)
        rc = ems_buf_printf(&c->conninfo, err,
                            "' port=5432 user=postgres dbname=postgres hostaddr='' options='' "
                            "requirepeer='' sslmode=disable gssencmode=disable "
                            "target_session_attrs=any connect_timeout=10");
    return rc;
}

/* The lock comes before anything below it is looked at, the user's way to the directory before
 * anything is made there. */
static int open_cluster(struct ems_cluster *c, const char *dir, const char *run_as,
                        struct ems_error *err)
{
    char version[16] = "";
    bool running;
    int log_fd, rc;

    if ((rc = ems_spawn_user_find(run_as, &c->user, err)) != EMS_OK ||
        (rc = open_directory(c, dir, err)) != EMS_OK || (rc = own_directory(c, err)) != EMS_OK ||
        (rc = ems_spawn_check_path(&c->user, c->dir, err)) != EMS_OK ||
        (rc = lock_directory(c, err)) != EMS_OK || (rc = build_conninfo(c, err)) != EMS_OK)
        return rc;
    read_version(c, version, sizeof version);
    if ((rc = ems_spawn_bindir(version[0] != '\0' ? version : NULL, c->bindir, sizeof c->bindir,
                               err)) != EMS_OK ||
        (rc = look_for_server(c, &running, err)) != EMS_OK || running)
        return rc;
    log_fd = open_file(c, "log", O_WRONLY | O_APPEND | O_TRUNC, err);
    if (log_fd < 0)
        return err->code;
    rc = make_cluster(c, log_fd, err);
    if (rc == EMS_OK)
        rc = start_server(c, log_fd, err);
    close(log_fd);
    return rc;
}

/* Failures are collected apart, because closing a half-open cluster may wait for a server. */
int ems_cluster_open(const char *dir, const char *run_as, unsigned jobs,
                     struct ems_cluster **cluster, struct ems_error *err)
{
    struct ems_cluster *c = calloc(1, sizeof *c);
    struct ems_error failure = {0};
    int rc;

    *cluster = NULL;
    if (c == NULL)
        return ems_fail_memory(err);
    c->dir_fd = c->lock_fd = -1;
    c->jobs = jobs > 0 ? jobs : 1;
    rc = open_cluster(c, dir, run_as, &failure);
    if (rc != EMS_OK) {
        ems_cluster_close(c);
        return ems_fail(err, rc, "%s", failure.text);
    }
    *cluster = c;
    return EMS_OK;
}

void ems_cluster_close(struct ems_cluster *c)
{
    if (c == NULL)
        return;
    stop_server(c);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    if (c->dir_fd >= 0)
        close(c->dir_fd);
    ems_buf_release(&c->conninfo);
    free(c->dir);
    free(c->data);
    free(c->log);
    free(c);
}

bool ems_cluster_is_running(struct ems_cluster *c)
{
    int status;

    if (c->server != 0 && ems_spawn_wait(c->server, 0, &status))
        c->server = 0;
    return !c->started || c->server != 0;
}

const char *ems_cluster_conninfo(const struct ems_cluster *c)
{
    return (const char *)c->conninfo.data;
}

/* 'text' for a shell; a quote in it becomes '\''. Cut if it does not fit. */
static const char *shell_quote(const char *text, char *out, size_t out_size)
{
    size_t used = 0;

    out[used++] = '\'';
    for (; *text != '\0' && used + 6 < out_size; text++) {
        if (*text == '\'') {
            memcpy(out + used, "'\\'", 3);
            used += 3;
        }
        out[used++] = *text;
    }
    out[used++] = '\'';
    out[used] = '\0';
    return out;
}

/* In one line each, to be copied into a root or user shell as they are. */
void ems_cluster_howto(const struct ems_cluster *c, const char *database, char *out,
                       size_t out_size)
{
    char dir[512], data[512], log[512], name[160], program[4200], pg_ctl[4300], as[100] = "";
    char look[1024];

    shell_quote(c->dir, dir, sizeof dir);
    shell_quote(c->data, data, sizeof data);
    shell_quote(c->log, log, sizeof log);
    shell_quote(database, name, sizeof name);
    snprintf(program, sizeof program, "%s/pg_ctl", c->bindir);
    shell_quote(program, pg_ctl, sizeof pg_ctl);
    snprintf(look, sizeof look, "psql -h %s -p 5432 -U postgres -d %s\n", dir, name);
    /* pg_ctl wants a working directory that its user may enter. */
    if (c->user.change)
        snprintf(as, sizeof as, "cd / && runuser -u %s -- ", c->user.name);
    if (!c->started)
        snprintf(out, out_size, "%s", look);
    else
        snprintf(out, out_size, "%s%s -D %s -l %s start\n%s%s%s -D %s stop\n", as, pg_ctl, data,
                 log, look, as, pg_ctl, data);
}
