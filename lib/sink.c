/* sink.c - see sink.h */
#include "sink.h"

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the contract ---- */

int ems_sink_write(struct ems_sink *sink, const void *data, size_t size, struct ems_error *err)
{
    if (sink->failed != EMS_OK)
        return ems_fail(err, sink->failed, "output failed before");
    if (sink->done)
        return ems_fail(err, EMS_INTERNAL, "output written after its end");
    sink->failed = sink->ops->write(sink, data, size, err);
    if (sink->failed == EMS_OK)
        sink->size += size;
    return sink->failed;
}

int ems_sink_commit(struct ems_sink *sink, struct ems_error *err)
{
    if (sink->failed != EMS_OK)
        return ems_fail(err, sink->failed, "output failed before");
    if (sink->done)
        return ems_fail(err, EMS_INTERNAL, "output ended twice");
    sink->failed = sink->ops->commit(sink, err);
    if (sink->failed == EMS_OK)
        sink->done = true;
    return sink->failed;
}

void ems_sink_abort(struct ems_sink *sink)
{
    if (sink->done)
        return;
    sink->ops->abort(sink);
    sink->done = true;
}

void ems_sink_free(struct ems_sink *sink)
{
    if (sink == NULL)
        return;
    ems_sink_abort(sink);
    sink->ops->free(sink);
    free(sink);
}

int ems_pump(struct ems_source *src, struct ems_sink *sink, struct ems_error *err)
{
    struct ems_span span;
    int rc;

    while ((rc = ems_source_next(src, &span, err)) == EMS_OK) {
        rc = ems_sink_write(sink, span.data, span.size, err);
        if (rc != EMS_OK)
            break;
    }
    if (rc == EMS_END)
        rc = ems_sink_commit(sink, err);
    if (rc != EMS_OK)
        ems_sink_abort(sink);
    return rc;
}

static int write_all(int fd, const uint8_t *data, size_t size, const char *name,
                     struct ems_error *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ems_fail_errno(err, errno, "cannot write %s", name);
        data += n;
        size -= (size_t)n;
    }
    return EMS_OK;
}

/* ---- file ---- */

struct file_sink {
    struct ems_sink base;
    int fd, directory;
    bool replace;
    char *path;         /* as given, for messages */
    char *name;         /* last component */
    char temporary[64]; /* "" while the file has no name (O_TMPFILE) */
};

/* What linkat takes to give a file without a name its first one (open(2), O_TMPFILE). */
static const char *unnamed_path(const struct file_sink *f, char path[32])
{
    snprintf(path, 32, "/proc/self/fd/%d", f->fd);
    return path;
}

/* A file without a name, if there is such a thing here and, later, a way to name it: through /proc,
 * which need not be there and which a process without core dumps may not enter. */
static bool make_unnamed(struct file_sink *f)
{
    char path[32];

    f->fd = openat(f->directory, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return false;
    if (access(unnamed_path(f, path), F_OK) == 0)
        return true;
    close(f->fd);
    f->fd = -1;
    return false;
}

/* A name beside the target that nothing else uses: for the file without a name, if there is one,
 * else for a new file. */
static int make_temporary(struct file_sink *f, struct ems_error *err)
{
    bool link_unnamed = f->fd >= 0;
    char from[32];

    unnamed_path(f, from);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(f->temporary, sizeof f->temporary, ".ems-%ld-%u.tmp", (long)getpid(), i);
        if (link_unnamed) {
            if (linkat(AT_FDCWD, from, f->directory, f->temporary, AT_SYMLINK_FOLLOW) == 0)
                return EMS_OK;
        } else {
            f->fd = openat(f->directory, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            if (f->fd >= 0)
                return EMS_OK;
        }
        if (errno != EEXIST)
            break;
    }
    f->temporary[0] = '\0';
    return ems_fail_errno(err, errno, "cannot create a file beside %s", f->path);
}

static int file_write(struct ems_sink *sink, const uint8_t *data, size_t size,
                      struct ems_error *err)
{
    struct file_sink *f = (struct file_sink *)sink;

    return write_all(f->fd, data, size, f->path, err);
}

/*
 * Give the finished file its name, replacing nothing. RENAME_NOREPLACE also works where there are
 * no hard links (FAT on a USB disk); link works where that flag is not known (NFS).
 */
static int name_new(struct file_sink *f)
{
    char from[32];

    if (f->temporary[0] == '\0')
        return linkat(AT_FDCWD, unnamed_path(f, from), f->directory, f->name, AT_SYMLINK_FOLLOW);
    if (renameat2(f->directory, f->temporary, f->directory, f->name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (linkat(f->directory, f->temporary, f->directory, f->name, 0) != 0)
        return -1;
    unlinkat(f->directory, f->temporary, 0);
    return 0;
}

static int file_commit(struct ems_sink *sink, struct ems_error *err)
{
    struct file_sink *f = (struct file_sink *)sink;
    int rc;

    if (fsync(f->fd) != 0 && errno != EINVAL)
        return ems_fail_errno(err, errno, "cannot write %s", f->path);
    if (f->replace) {
        if (f->temporary[0] == '\0') {
            rc = make_temporary(f, err); /* only a name can be renamed over another */
            if (rc != EMS_OK)
                return rc;
        }
        rc = renameat(f->directory, f->temporary, f->directory, f->name);
    } else {
        rc = name_new(f);
    }
    if (rc != 0)
        return ems_fail_errno(err, errno, "cannot name the finished output %s", f->path);
    f->temporary[0] = '\0';
    fsync(f->directory); /* some file systems cannot: the file itself is synced */
    return EMS_OK;
}

static void file_abort(struct ems_sink *sink)
{
    struct file_sink *f = (struct file_sink *)sink;

    if (f->temporary[0] != '\0')
        unlinkat(f->directory, f->temporary, 0);
    f->temporary[0] = '\0';
}

static void file_free(struct ems_sink *sink)
{
    struct file_sink *f = (struct file_sink *)sink;

    if (f->fd >= 0)
        close(f->fd);
    if (f->directory >= 0)
        close(f->directory);
    free(f->path);
    free(f->name);
}

static const struct ems_sink_ops file_ops = {file_write, file_commit, file_abort, file_free};

/* Directory descriptor and last component of f->path. */
static int split_path(struct file_sink *f, struct ems_error *err)
{
    char *slash = strrchr(f->path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(f->path, (size_t)(slash - f->path) + 1);
    int rc = EMS_OK;

    f->name = strdup(slash == NULL ? f->path : slash + 1);
    if (directory == NULL || f->name == NULL) {
        rc = ems_fail_memory(err);
    } else if (f->name[0] == '\0') {
        rc = ems_fail(err, EMS_IO_ERROR, "%s is a directory, not a file name", f->path);
    } else {
        f->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->directory < 0)
            rc = ems_fail_errno(err, errno, "cannot open directory %s", directory);
    }
    free(directory);
    return rc;
}

/* May the path be taken? Only a file, or a link to one, is ever replaced: a name put over a device
 * would replace the device (-f -o /dev/null, as root). */
static int check_target(const struct file_sink *f, struct ems_error *err)
{
    struct stat st;
    bool leads_nowhere;

    if (fstatat(f->directory, f->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? EMS_OK : ems_fail_errno(err, errno, "cannot look at %s", f->path);
    leads_nowhere = S_ISLNK(st.st_mode) && fstatat(f->directory, f->name, &st, 0) != 0;
    if (!leads_nowhere && S_ISDIR(st.st_mode))
        return ems_fail(err, EMS_IO_ERROR, "%s is a directory", f->path);
    if (!leads_nowhere && !S_ISREG(st.st_mode)) /* said first: --force would not help */
        return ems_fail(err, EMS_IO_ERROR, "%s is not a regular file", f->path);
    if (!f->replace)
        return ems_fail(err, EMS_IO_ERROR, "%s exists already, and only --force replaces it",
                        f->path);
    return EMS_OK;
}

struct ems_sink *ems_sink_file_open(const char *path, bool replace, struct ems_error *err)
{
    struct file_sink *f = calloc(1, sizeof *f);

    if (f == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    f->base.ops = &file_ops;
    f->fd = f->directory = -1;
    f->replace = replace;
    f->path = strdup(path);
    if (f->path == NULL) {
        ems_fail_memory(err);
        goto fail;
    }
    if (split_path(f, err) != EMS_OK)
        goto fail;
    if (check_target(f, err) != EMS_OK)
        goto fail;
    if (!make_unnamed(f) && make_temporary(f, err) != EMS_OK)
        goto fail;
    return &f->base;
fail:
    ems_sink_free(&f->base);
    return NULL;
}

/* ---- descriptor, null ---- */

struct fd_sink {
    struct ems_sink base;
    int fd;
    const char *name;
};

static int fd_write(struct ems_sink *sink, const uint8_t *data, size_t size, struct ems_error *err)
{
    struct fd_sink *f = (struct fd_sink *)sink;

    return write_all(f->fd, data, size, f->name, err);
}

static int null_write(struct ems_sink *sink, const uint8_t *data, size_t size,
                      struct ems_error *err)
{
    (void)sink, (void)data, (void)size, (void)err;
    return EMS_OK;
}

static int plain_commit(struct ems_sink *sink, struct ems_error *err)
{
    (void)sink, (void)err;
    return EMS_OK;
}

static void plain_nothing(struct ems_sink *sink)
{
    (void)sink;
}

static const struct ems_sink_ops fd_ops = {fd_write, plain_commit, plain_nothing, plain_nothing};
static const struct ems_sink_ops null_ops = {null_write, plain_commit, plain_nothing,
                                             plain_nothing};

struct ems_sink *ems_sink_fd_open(int fd, const char *name, struct ems_error *err)
{
    struct fd_sink *f = calloc(1, sizeof *f);

    if (f == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    f->base.ops = &fd_ops;
    f->fd = fd;
    f->name = name;
    return &f->base;
}

struct ems_sink *ems_sink_null_open(struct ems_error *err)
{
    struct ems_sink *sink = calloc(1, sizeof *sink);

    if (sink == NULL)
        ems_fail_memory(err);
    else
        sink->ops = &null_ops;
    return sink;
}
