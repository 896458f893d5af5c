/*
 * kill_at.c - loaded with LD_PRELOAD into a tool that talks to PostgreSQL: at the N-th message from
 * or to the server it runs a command, which kills somebody.
 *
 * Counting messages instead of waiting spreads the moments evenly over what a restore does: making
 * a role and renaming a database take no time, and yet a kill between the two must be met.
 *
 *   EMS_KILL_AT=N        the message, from 1; none: only count
 *   EMS_KILL_COMMAND=... for sh -c; $PPID is the tool
 *   EMS_KILL_COUNT=FILE  where to write at the end how many messages there were
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_recv)(int, void *, size_t, int);
static atomic_ulong messages;
static unsigned long kill_at;
static const char *command, *count_file;

/* The commands that the tool starts are not meant. */
__attribute__((constructor)) static void start(void)
{
    const char *at = getenv("EMS_KILL_AT");

    real_send = (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    real_recv = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    kill_at = at != NULL ? strtoul(at, NULL, 10) : 0;
    command = getenv("EMS_KILL_COMMAND");
    count_file = getenv("EMS_KILL_COUNT");
    unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void finish(void)
{
    FILE *f = count_file != NULL ? fopen(count_file, "we") : NULL;

    if (f == NULL)
        return;
    fprintf(f, "%lu\n", atomic_load(&messages));
    fclose(f);
}

static void count(void)
{
    if (atomic_fetch_add(&messages, 1) + 1 == kill_at && command != NULL && system(command) < 0)
        _exit(70);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    count();
    return real_send(fd, data, size, flags);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    count();
    return real_recv(fd, data, size, flags);
}
