/* sqlite_spool.c - a private directory for a database; see sqlite_check.h */
#include "sqlite_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "ems-sqlite-"
#define NAME   "homeserver.db"

/* In the order of enum ems_sqlite_file, then what SQLite makes itself (-shm). SQLite finds journals
 * by these names alone, so they must lie beside the copy of the database as they did at the
 * customer's. */
static const char *const suffixes[] = {"", "-wal", "-journal", "-shm"};

struct ems_sqlite_spool {
    int directory_fd;          /* locked while we live */
    int fds[EMS_SQLITE_FILES]; /* -1: not made */
    size_t directory_size;     /* length of the directory in path */
    char path[];               /* of the database */
};

/* ---- what a killed run has left ---- */

/* Only our own names in a directory of this user, and only if nobody holds its lock, which the
 * kernel takes away from a process however it ends. */
static void remove_leftover(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char file[64];
    struct stat st;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            snprintf(file, sizeof file, NAME "%s", suffixes[i]);
            unlinkat(fd, file, 0);
        }
        unlinkat(parent, name, AT_REMOVEDIR);
    }
    close(fd);
}

/* Best effort: a database of a customer's is not to lie about because the power failed. */
static void remove_leftovers(const char *parent)
{
    DIR *dir = opendir(parent);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
            remove_leftover(dirfd(dir), entry->d_name);
    if (dir != NULL)
        closedir(dir);
}

/* ---- a new one ---- */

/* Between its making and its lock another run may take it for a leftover: then it has no link any
 * more, and another one is made. */
static int make_directory(struct ems_sqlite_spool *spool, const char *parent, struct ems_error *err)
{
    char *suffix = spool->path + spool->directory_size - 6;
    struct stat st = {.st_nlink = 0};

    while (st.st_nlink == 0) {
        if (spool->directory_fd >= 0)
            close(spool->directory_fd);
        memcpy(suffix, "XXXXXX", 6);
        if (mkdtemp(spool->path) == NULL) { /* mode 0700 */
            spool->directory_fd = -1;
            return ems_fail_errno(err, errno,
                                  "cannot make a directory in %s to unpack the database", parent);
        }
        spool->directory_fd = open(spool->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (spool->directory_fd < 0 && errno == ENOENT)
            continue;
        if (spool->directory_fd < 0 || flock(spool->directory_fd, LOCK_EX) != 0 ||
            fstat(spool->directory_fd, &st) != 0) {
            ems_fail_errno(err, errno, "cannot lock %s", spool->path);
            rmdir(spool->path);
            return EMS_IO_ERROR;
        }
    }
    return EMS_OK;
}

/*
 * Why a directory and not a file without a name: SQLite opens paths, and /proc/self/fd is closed to
 * a process that, like our tools, may not be dumped. So kill -9 leaves it behind, for the next run.
 */
struct ems_sqlite_spool *ems_sqlite_spool_open(const char *parent, struct ems_error *err)
{
    static const char directory[] = "/" PREFIX "XXXXXX", name[] = "/" NAME;
    size_t size = strlen(parent) + sizeof directory + sizeof name + 16;
    struct ems_sqlite_spool *spool = malloc(sizeof *spool + size);

    if (spool == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    remove_leftovers(parent);
    for (int i = 0; i < EMS_SQLITE_FILES; i++)
        spool->fds[i] = -1;
    spool->directory_fd = -1;
    spool->directory_size = (size_t)snprintf(spool->path, size, "%s%s", parent, directory);
    if (make_directory(spool, parent, err) != EMS_OK) {
        if (spool->directory_fd >= 0)
            close(spool->directory_fd);
        free(spool);
        return NULL;
    }
    strcat(spool->path, name);
    return spool;
}

static void path_of(const struct ems_sqlite_spool *spool, size_t file, char *out, size_t size)
{
    snprintf(out, size, "%s%s", spool->path, suffixes[file]);
}

/* O_EXCL and O_NOFOLLOW although nobody else can enter the directory: TMPDIR may be one that
 * another user owns. */
int ems_sqlite_spool_write(struct ems_sqlite_spool *spool, enum ems_sqlite_file file,
                           const void *data, size_t size, struct ems_error *err)
{
    const char *at = data;
    char path[4096];

    path_of(spool, file, path, sizeof path);
    if (spool->fds[file] < 0)
        spool->fds[file] = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (spool->fds[file] < 0)
        return ems_fail_errno(err, errno, "cannot make %s", path);
    while (size > 0) {
        ssize_t n = write(spool->fds[file], at, size);

        if (n < 0 && errno != EINTR)
            return ems_fail_errno(err, errno, "cannot unpack the database to %s", path);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
    return EMS_OK;
}

const char *ems_sqlite_spool_path(const struct ems_sqlite_spool *spool)
{
    return spool->path;
}

/* A database of a homeserver holds messages and password hashes in the clear: it goes on every
 * path, after failures and signals too. Names are tried that were never made; that costs nothing.
 */
void ems_sqlite_spool_free(struct ems_sqlite_spool *spool)
{
    char path[4096];

    if (spool == NULL)
        return;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        path_of(spool, i, path, sizeof path);
        unlink(path);
    }
    for (int i = 0; i < EMS_SQLITE_FILES; i++)
        if (spool->fds[i] >= 0)
            close(spool->fds[i]);
    spool->path[spool->directory_size] = '\0';
    rmdir(spool->path);
    close(spool->directory_fd);
    free(spool);
}
