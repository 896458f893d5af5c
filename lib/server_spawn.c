/*
 * server_spawn.c - see server_spawn.h
 *
 * Between fork and exec only system calls: other threads of this process may hold any lock of the
 * C library at the moment of the fork (signal-safety(7)). So everything that allocates or looks up
 * users is done before.
 */
#include "server_spawn.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- who ---- */

/* From the password database, in the parent. */
static bool find_user(const char *name, struct ems_spawn_user *user)
{
    struct passwd entry, *found = NULL;
    char buf[4096];

    if (getpwnam_r(name, &entry, buf, sizeof buf, &found) != 0 || found == NULL)
        return false;
    user->uid = found->pw_uid;
    user->gid = found->pw_gid;
    snprintf(user->name, sizeof user->name, "%s", name);
    return true;
}

int ems_spawn_user_find(const char *run_as, struct ems_spawn_user *user, struct ems_error *err)
{
    *user = (struct ems_spawn_user){.uid = geteuid(), .gid = getegid()};
    if (user->uid != 0)
        return EMS_OK;
    user->change = true;
    if (run_as == NULL && !find_user("postgres", user))
        run_as = "nobody";
    if (run_as != NULL && !find_user(run_as, user))
        return ems_fail(err, EMS_SERVER_ERROR, "no user %s to run the embedded server as", run_as);
    if (user->uid == 0)
        return ems_fail(err, EMS_SERVER_ERROR,
                        "the embedded server cannot run as root: name another user");
    return EMS_OK;
}

/* ---- where ---- */

/* A client-only installation has psql and pg_config, but not these. */
static bool has_programs(const char *dir)
{
    static const char *const programs[] = {"initdb", "postgres"};
    char path[4200];

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, programs[i]);
        if (access(path, X_OK) != 0)
            return false;
    }
    return true;
}

/* Debian and its children, and the PGDG packages for Red Hat: one directory a release. */
static bool find_release(unsigned release, char *out, size_t out_size)
{
    snprintf(out, out_size, "/usr/lib/postgresql/%u/bin", release);
    if (has_programs(out))
        return true;
    snprintf(out, out_size, "/usr/pgsql-%u/bin", release);
    return has_programs(out);
}

/* Relative entries are left out: the child changes its directory. */
static bool find_in_path(char *out, size_t out_size)
{
    const char *path = getenv("PATH"); /* as execvp would */

    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");

        if (*path == '/' && length < out_size) {
            snprintf(out, out_size, "%.*s", (int)length, path);
            if (has_programs(out))
                return true;
        }
        path += length;
        path += *path == ':';
    }
    return false;
}

int ems_spawn_bindir(const char *version, char *out, size_t out_size, struct ems_error *err)
{
    enum { OLDEST = 13, NEWEST = 40 }; /* OLDEST: what a Synapse of today still accepts */

    if (version != NULL && find_release((unsigned)strtoul(version, NULL, 10), out, out_size))
        return EMS_OK;
    for (unsigned release = NEWEST; release >= OLDEST; release--)
        if (find_release(release, out, out_size))
            return EMS_OK;
    if (find_in_path(out, out_size))
        return EMS_OK;
    return ems_fail(err, EMS_SERVER_ERROR,
                    "no PostgreSQL server programs found (initdb, postgres): install the package "
                    "\"postgresql\", or name a server with --dsn");
}

/* ---- how ---- */

/* In the child, between fork and exec: system calls only. */
static bool become(const struct ems_spawn_user *user)
{
    return !user->change ||
           (setgroups(0, NULL) == 0 && setgid(user->gid) == 0 && setuid(user->uid) == 0);
}

int ems_spawn_check_path(const struct ems_spawn_user *user, const char *path, struct ems_error *err)
{
    char prefix[4096], shown[160];
    int status = 0;
    size_t length = 1;
    pid_t pid;

    if (!user->change)
        return EMS_OK; /* whoever made DIR can go there */
    for (;;) {
        length += strcspn(path + length, "/");
        snprintf(prefix, sizeof prefix, "%.*s", (int)length, path);
        /* Asked of the kernel, so that access lists and mount options count too. */
        pid = fork();
        if (pid < 0)
            return ems_fail_errno(err, errno, "cannot start a process");
        if (pid == 0)
            _exit(!become(user) || access(prefix, X_OK) != 0);
        if (!ems_spawn_wait(pid, 10000, &status) || status != 0)
            return ems_fail(err, EMS_SERVER_ERROR,
                            "user %s, who has to run the embedded server, cannot enter %s: use a "
                            "directory that everybody can reach, below /var/lib or /tmp",
                            user->name, ems_printable(prefix, strlen(prefix), shown, sizeof shown));
        if (path[length] == '\0')
            return EMS_OK;
        length++;
    }
}

/* In the child: never returns. */
static void run_child(const struct ems_spawn_user *user, const char *const *argv, int input,
                      int output, pid_t parent)
{
    /* A server's connections sort for one index after the other: memory that the C library has
     * given back in between comes back from the kernel page by page (glibc manual, "Memory
     * Allocation Tunables"). A sixth of a restore's time in the kernel. */
    static char *const environment[] = {
        (char *)"LC_ALL=C", (char *)"PATH=/usr/bin:/bin",
        (char *)"GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=1073741824:"
                "glibc.malloc.mmap_threshold=1073741824",
        NULL};
    static const char message[] = "the program cannot be executed\n";
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    setsid();
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || chdir("/") != 0)
        _exit(127);
    close_range(3, ~0u, 0);
    /* The death signal is forgotten at a change of user, so it comes after that; and the parent may
     * have died before. */
    if (become(user) && prctl(PR_SET_PDEATHSIG, SIGINT) == 0 && getppid() == parent)
        execve(argv[0], (char *const *)(uintptr_t)argv, environment);
    if (write(2, message, sizeof message - 1) < 0)
        _exit(126);
    _exit(127);
}

/* SIGCHLD stays as the program has it; whoever ignores it loses the exit status only. */
int ems_spawn_start(const struct ems_spawn_user *user, const char *const *argv, int output,
                    pid_t *pid, struct ems_error *err)
{
    pid_t parent = getpid();
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (input < 0)
        return ems_fail_errno(err, errno, "cannot open /dev/null");
    *pid = fork();
    if (*pid == 0)
        run_child(user, argv, input, output, parent);
    close(input);
    if (*pid < 0)
        return ems_fail_errno(err, errno, "cannot start %s", argv[0]);
    return EMS_OK;
}

/* Polls, because waitpid has no timeout and the program's signal handling is not ours to change. */
bool ems_spawn_wait(pid_t pid, unsigned timeout_ms, int *status)
{
    enum { STEP_MS = 5 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};

    for (unsigned waited = 0;; waited += STEP_MS) {
        pid_t got = waitpid(pid, status, WNOHANG);

        if (got == pid)
            return true;
        if (got < 0 && errno != EINTR) {
            *status = 0; /* reaped by somebody else, for example because SIGCHLD is ignored */
            return true;
        }
        if (waited >= timeout_ms)
            return false;
        nanosleep(&step, NULL);
    }
}

const char *ems_spawn_describe(int status, char *out)
{
    if (WIFSIGNALED(status))
        snprintf(out, 32, "signal %d", WTERMSIG(status));
    else
        snprintf(out, 32, "exit status %d", WEXITSTATUS(status));
    return out;
}
