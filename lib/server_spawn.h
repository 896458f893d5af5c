/*
 * server_spawn.h - PostgreSQL's own programs: where they are, as whom they run, and how they are
 * started: fork and exec, never a shell, with an environment of their own.
 */
#ifndef EMS_SERVER_SPAWN_H
#define EMS_SERVER_SPAWN_H

#include "error.h"

#include <sys/types.h>

/* As whom a program runs. PostgreSQL refuses to run as root, so root hands it to somebody else. */
struct ems_spawn_user {
    bool change; /* we are root: become uid and gid, without further groups */
    uid_t uid;
    gid_t gid;
    char name[64];
};

/* Who that is. `run_as` NULL: "postgres" if there is such a user, else "nobody". If we are not root
 * it is ourselves. EMS_SERVER_ERROR if there is no such user or it is root. */
int ems_spawn_user_find(const char *run_as, struct ems_spawn_user *, struct ems_error *);

/*
 * The directory that holds initdb and postgres: of release `version` ("15") if it is there, else
 * the newest one of the distributions' directories, else what PATH says. `version` NULL: any.
 * out_size bytes at out. EMS_SERVER_ERROR, saying what to install, if there is none.
 */
int ems_spawn_bindir(const char *version, char *out, size_t out_size, struct ems_error *);

/* Can that user pass through every directory of the absolute path? EMS_SERVER_ERROR names the first
 * that it cannot. */
int ems_spawn_check_path(const struct ems_spawn_user *, const char *path, struct ems_error *);

/*
 * Start argv[0] (a path): stdin empty, stdout and stderr to `output`, no other descriptor, a
 * session of its own (the terminal's Ctrl-C does not reach it), environment LC_ALL=C and a plain
 * PATH. The kernel sends it SIGINT, PostgreSQL's fast shutdown, when the thread that called this
 * ends, also by kill -9: start servers from a thread that lives as long as they must. A program
 * that cannot be executed exits with 127.
 */
int ems_spawn_start(const struct ems_spawn_user *, const char *const *argv, int output, pid_t *pid,
                    struct ems_error *);

/* Wait at most timeout_ms for the end of our child (0: just look). True, and *status as of waitpid,
 * if it ended; it is reaped then. */
bool ems_spawn_wait(pid_t pid, unsigned timeout_ms, int *status);

/* "exit status 1", "signal 9": for messages. out has room for 32. */
const char *ems_spawn_describe(int status, char *out);

#endif
