/*
 * unpack.c - see unpack.h
 *
 * No path is ever given to the kernel whole: each name is opened from its directory's descriptor
 * with O_NOFOLLOW, so that neither ".." nor a link can lead away, whatever the checks before have
 * missed. Our directory is fresh and only ours (0700), and no symbolic link is made in it.
 *
 * The commit goes in two passes over what was unpacked, first looking whether every place is free,
 * then moving. What does not exist yet moves as a whole, with all that is below it: the usual case
 * is one rename.
 */
#include "unpack.h"

#include "bytes.h"
#include "tar_policy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLLOW_NOTHING (O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct ems_unpack {
    const struct ems_unpack_options *o;
    struct ems_unpack_facts facts;
    int target, top; /* the directory, and ours inside it */
    char name[32];   /* of ours */
    /* The directory of the last file: the next one is mostly in the same. */
    int parent;
    char parent_path[EMS_TAR_MAX_PATH + 1];
};

/* ---- directories ---- */

/* The path's directory below `at`, made where it is missing. A descriptor, or -1 with errno. */
static int walk_down(int at, const char *path, size_t size, bool make)
{
    int fd = fcntl(at, F_DUPFD_CLOEXEC, 0);
    unsigned depth = 0;

    while (fd >= 0 && size > 0) {
        const char *slash = memchr(path, '/', size);
        size_t n = slash != NULL ? (size_t)(slash - path) : size;
        char name[EMS_TAR_MAX_NAME + 1];
        int next = -1;

        if (n > EMS_TAR_MAX_NAME || ++depth > EMS_UNPACK_MAX_DEPTH) {
            close(fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, n);
        name[n] = '\0';
        if (!make || mkdirat(fd, name, 0755) == 0 || errno == EEXIST)
            next = openat(fd, name, O_RDONLY | FOLLOW_NOTHING);
        close(fd); /* close keeps errno when it succeeds, and here it does */
        fd = next;
        size -= n < size ? n + 1 : n;
        path += n + 1;
    }
    return fd;
}

/* A descriptor of the path's directory, kept by u until the next call, and the last name. */
static int enter_parent(struct ems_unpack *u, const char *path, const char **name,
                        struct ems_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) : 0;
    char shown[200];

    *name = slash != NULL ? slash + 1 : path;
    if (u->parent >= 0 && strlen(u->parent_path) == size && memcmp(u->parent_path, path, size) == 0)
        return EMS_OK;
    if (u->parent >= 0)
        close(u->parent);
    u->parent = walk_down(u->top, path, size, true);
    if (u->parent >= 0) {
        memcpy(u->parent_path, path, size);
        u->parent_path[size] = '\0';
        return EMS_OK;
    }
    ems_printable(path, strlen(path), shown, sizeof shown);
    if (errno == ENOTDIR || errno == ELOOP) /* ours, so an earlier member has put it there */
        return ems_fail(err, EMS_TAR_DUPLICATE, "member '%s': its directory is a file", shown);
    if (errno == ENAMETOOLONG)
        return ems_fail(err, EMS_TAR_UNSAFE_PATH, "member '%s' is more than %u directories deep",
                        shown, EMS_UNPACK_MAX_DEPTH);
    return ems_fail_errno(err, errno, "cannot make the directory of '%s'", shown);
}

/* ---- open ---- */

/* Our directory in the target, with a name that nobody has yet. */
static bool make_top(struct ems_unpack *u)
{
    uint64_t random;

    for (int i = 0; i < 100; i++) {
        if (getentropy(&random, sizeof random) != 0)
            return false;
        snprintf(u->name, sizeof u->name, ".ems-unpack-%016llx", (unsigned long long)random);
        if (mkdirat(u->target, u->name, 0700) == 0) {
            u->top = openat(u->target, u->name, O_RDONLY | FOLLOW_NOTHING);
            return u->top >= 0;
        }
        if (errno != EEXIST)
            break;
    }
    u->name[0] = '\0';
    return false;
}

struct ems_unpack *ems_unpack_open(const struct ems_unpack_options *o, struct ems_error *err)
{
    struct ems_unpack *u = calloc(1, sizeof *u);

    if (u == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    u->o = o;
    u->top = u->parent = -1;
    u->target = open(o->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (u->target < 0 || !make_top(u)) {
        ems_fail_errno(err, errno, "cannot unpack into %s", o->directory);
        ems_unpack_free(u);
        return NULL;
    }
    return u;
}

/* ---- members ---- */

/*
 * Where a path of the archive goes, below the target. False: nowhere (a directory of an export).
 * Of an export every directory is dropped from the names of its parts, so two directories could
 * meet in one place: the first pass refuses an archive of two exports (media_export_report.c), and
 * O_EXCL whatever else would.
 */
static bool place_of(const struct ems_unpack *u, const struct ems_tar_member *m, const char *path,
                     char *place, size_t size, bool *aside)
{
    char clean[EMS_TAR_MAX_PATH + 1];
    const char *base;

    *aside = false;
    if (ems_tar_clean_path(path, clean) == 0)
        return false;
    base = strrchr(clean, '/');
    base = base != NULL ? base + 1 : clean;
    if (u->o->media_export && m->type == EMS_TAR_DIRECTORY)
        return false;
    *aside = u->o->media_export && fnmatch("export-*.tgz", base, 0) != 0;
    snprintf(place, size, "%s%s", *aside ? EMS_UNPACK_ASIDE "/" : "",
             u->o->media_export && !*aside ? base : clean);
    return true;
}

/* write may take less than it was given, on a disk that is filling up for one. */
static int write_all(int fd, const struct ems_span *span)
{
    const uint8_t *data = span->data;
    size_t left = span->size;

    while (left > 0) {
        ssize_t n = write(fd, data, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        left -= (size_t)n;
    }
    return 0;
}

static int tick(const struct ems_unpack *u, struct ems_error *err)
{
    return u->o->tick != NULL ? u->o->tick(u->o->tick_context, err) : EMS_OK;
}

/* O_EXCL: nothing that was unpacked before is written to again. */
static int unpack_file(struct ems_unpack *u, struct ems_tar *tar, const struct ems_tar_member *m,
                       const char *name, const char *shown, struct ems_error *err)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)m->mtime_s}};
    struct ems_span span;
    int fd = openat(u->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    int rc;

    if (fd < 0 && errno == EEXIST)
        return ems_fail(err, EMS_TAR_DUPLICATE, "member '%s' comes twice", shown);
    if (fd < 0)
        return ems_fail_errno(err, errno, "cannot create '%s'", shown);
    while ((rc = ems_tar_data(tar, &span, err)) == EMS_OK) {
        if (write_all(fd, &span) != 0)
            rc = ems_fail_errno(err, errno, "cannot write '%s'", shown);
        else
            rc = tick(u, err);
        if (rc != EMS_OK)
            break;
        u->facts.bytes += span.size;
    }
    if (rc == EMS_END)
        futimens(fd, times); /* a file system that keeps no times is no failure */
    if (close(fd) != 0 && rc == EMS_END)
        rc = ems_fail_errno(err, errno, "cannot write '%s'", shown);
    u->facts.files++;
    return rc == EMS_END ? EMS_OK : rc;
}

/* To a file of the same archive, which therefore lies below u->top already. */
static int unpack_hard_link(struct ems_unpack *u, const struct ems_tar_member *m, const char *name,
                            const char *shown, struct ems_error *err)
{
    char target[EMS_TAR_MAX_PATH + sizeof EMS_UNPACK_ASIDE + 1];
    const char *slash;
    bool aside, made = false;
    struct stat st;
    int fd;

    if (!place_of(u, m, m->target, target, sizeof target, &aside))
        return ems_fail(err, EMS_TAR_UNSAFE_LINK, "member '%s' is a link to nothing", shown);
    slash = strrchr(target, '/');
    fd = walk_down(u->top, target, slash != NULL ? (size_t)(slash - target) : 0, false);
    if (fd >= 0) {
        const char *base = slash != NULL ? slash + 1 : target;

        made = fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               linkat(fd, base, u->parent, name, 0) == 0;
        close(fd);
    }
    if (!made)
        return ems_fail(err, EMS_TAR_UNSAFE_LINK,
                        "member '%s' is a link to no earlier file of the archive", shown);
    u->facts.files++;
    return EMS_OK;
}

/* What the policy says of this member on its own. */
static int refuse_unsafe(const struct ems_tar_member *m, const char *shown, struct ems_error *err)
{
    const char *why;

    if (ems_tar_check_path(m, &why) != EMS_OK)
        return ems_fail(err, EMS_TAR_UNSAFE_PATH, "member '%s': %s", shown, why);
    if (ems_tar_check_type(m, &why) != EMS_OK)
        return ems_fail(err, EMS_TAR_UNSAFE_TYPE, "member '%s': %s", shown, why);
    if (ems_tar_check_link(m) != EMS_OK)
        return ems_fail(err, EMS_TAR_UNSAFE_LINK, "member '%s' leads out of the archive", shown);
    return EMS_OK;
}

/* The first pass has judged all members; this is a second reading, so they are judged again. */
int ems_unpack_member(struct ems_unpack *u, struct ems_tar *tar, const struct ems_tar_member *m,
                      struct ems_error *err)
{
    char place[EMS_TAR_MAX_PATH + sizeof EMS_UNPACK_ASIDE + 1], shown[200];
    const char *name;
    bool aside;
    int rc;

    ems_printable(m->path, strlen(m->path), shown, sizeof shown);
    rc = refuse_unsafe(m, shown, err);
    if (rc != EMS_OK)
        return rc;
    if (m->type == EMS_TAR_SYMLINK) {
        if (u->facts.links++ == 0)
            snprintf(u->facts.first_link, sizeof u->facts.first_link, "%s", shown);
        return tick(u, err);
    }
    if (!place_of(u, m, m->path, place, sizeof place, &aside))
        return m->type == EMS_TAR_DIRECTORY
                   ? EMS_OK
                   : ems_fail(err, EMS_TAR_UNSAFE_PATH, "member '%s' has no name", shown);
    rc = enter_parent(u, place, &name, err);
    if (rc != EMS_OK)
        return rc;
    u->facts.aside += aside ? 1 : 0;
    if (m->type == EMS_TAR_HARDLINK)
        return unpack_hard_link(u, m, name, shown, err);
    if (m->type == EMS_TAR_FILE)
        return unpack_file(u, tar, m, name, shown, err);
    if (mkdirat(u->parent, name, 0755) != 0 && errno != EEXIST)
        return ems_fail_errno(err, errno, "cannot make the directory '%s'", shown);
    return EMS_OK;
}

/* ---- commit ---- */

enum pass { LOOK, MOVE, REMOVE };

static int move_entry(struct ems_unpack *u, enum pass pass, int from, int to, const char *name,
                      unsigned depth, struct ems_error *err);

/* Every entry of the directory `from`, which is closed. */
static int each_entry(struct ems_unpack *u, enum pass pass, int from, int to, unsigned depth,
                      struct ems_error *err)
{
    DIR *dir = fdopendir(from);
    struct dirent *entry;
    int rc = EMS_OK;

    if (dir == NULL) {
        close(from);
        return ems_fail_errno(err, errno, "cannot list what was unpacked");
    }
    rewinddir(dir); /* the offset is shared with whoever read the same open directory before */
    while (rc == EMS_OK && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = move_entry(u, pass, dirfd(dir), to, entry->d_name, depth, err);
    closedir(dir);
    return rc;
}

/*
 * One entry of what was unpacked: look whether its place is free, move it there, or remove it.
 * A directory that is there already is entered, a file that is there already needs force; anything
 * else in the way (a link, a device, a directory where a file goes) is a failure in any case.
 */
static int move_entry(struct ems_unpack *u, enum pass pass, int from, int to, const char *name,
                      unsigned depth, struct ems_error *err)
{
    struct stat mine, theirs;
    char shown[200];
    int inner, outer = -1, rc;

    ems_printable(name, strlen(name), shown, sizeof shown);
    if (fstatat(from, name, &mine, AT_SYMLINK_NOFOLLOW) != 0)
        return ems_fail_errno(err, errno, "cannot look at '%s'", shown);
    if (pass != REMOVE && fstatat(to, name, &theirs, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            return ems_fail_errno(err, errno, "cannot look for '%s'", shown);
        if (pass == LOOK || renameat2(from, name, to, name, RENAME_NOREPLACE) == 0 ||
            (errno == EINVAL && renameat(from, name, to, name) == 0))
            return EMS_OK;
        return ems_fail_errno(err, errno, "cannot put '%s' into its place", shown);
    }
    if (!S_ISDIR(mine.st_mode)) {
        if (pass == REMOVE)
            return unlinkat(from, name, 0) == 0
                       ? EMS_OK
                       : ems_fail_errno(err, errno, "cannot remove '%s'", shown);
        if (!S_ISREG(theirs.st_mode))
            return ems_fail(err, EMS_IO_ERROR, "'%s' exists already in %s and is no regular file",
                            shown, u->o->directory);
        if (!u->o->force)
            return ems_fail(err, EMS_IO_ERROR,
                            "'%s' exists already in %s, and only --force replaces it", shown,
                            u->o->directory);
        return pass == LOOK || renameat(from, name, to, name) == 0
                   ? EMS_OK
                   : ems_fail_errno(err, errno, "cannot replace '%s'", shown);
    }
    if (pass != REMOVE && !S_ISDIR(theirs.st_mode))
        return ems_fail(err, EMS_IO_ERROR, "'%s' exists already in %s and is no directory", shown,
                        u->o->directory);
    if (depth > EMS_UNPACK_MAX_DEPTH + 1)
        return ems_fail(err, EMS_INTERNAL, "directories deeper than any that was made");
    inner = openat(from, name, O_RDONLY | FOLLOW_NOTHING);
    if (pass != REMOVE)
        outer = openat(to, name, O_RDONLY | FOLLOW_NOTHING);
    if (inner < 0 || (pass != REMOVE && outer < 0)) {
        rc = ems_fail_errno(err, errno, "cannot enter '%s'", shown);
        if (inner >= 0)
            close(inner);
    } else {
        rc = each_entry(u, pass, inner, outer, depth + 1, err);
    }
    if (outer >= 0)
        close(outer);
    if (rc == EMS_OK && pass == REMOVE && unlinkat(from, name, AT_REMOVEDIR) != 0)
        rc = ems_fail_errno(err, errno, "cannot remove '%s'", shown);
    return rc;
}

/* Through "." and not a duplicate of u->top: fdopendir takes its descriptor over, and a directory's
 * offset is shared between duplicates. */
static int each_of_top(struct ems_unpack *u, enum pass pass, struct ems_error *err)
{
    int fd = openat(u->top, ".", O_RDONLY | FOLLOW_NOTHING);

    if (fd < 0)
        return ems_fail_errno(err, errno, "cannot list what was unpacked");
    return each_entry(u, pass, fd, u->target, 0, err);
}

/*
 * The data must be on the disk before a name says so, or a power cut leaves empty files under final
 * names: one syncfs instead of an fsync for each of a million files. What the second pass still can
 * meet is somebody else who puts a file there at the same time: then it stops, never overwrites
 * (RENAME_NOREPLACE), and what was moved before stays. EINVAL: a file system that lacks that flag
 * (NFS, older FUSE); the first pass has looked, so a plain rename is as good as can be had there.
 */
int ems_unpack_commit(struct ems_unpack *u, struct ems_error *err)
{
    int rc = each_of_top(u, LOOK, err);

    if (rc == EMS_OK && syncfs(u->top) != 0)
        rc = ems_fail_errno(err, errno, "cannot write to %s", u->o->directory);
    if (rc == EMS_OK)
        rc = each_of_top(u, MOVE, err);
    if (rc == EMS_OK && fsync(u->target) != 0 && errno != EINVAL)
        rc = ems_fail_errno(err, errno, "cannot write to %s", u->o->directory);
    return rc;
}

const struct ems_unpack_facts *ems_unpack_facts(const struct ems_unpack *u)
{
    return &u->facts;
}

/* On every way out, a signal's included (the tools end through their tick): the target holds either
 * all or nothing of the archive, and no directory of ours. */
void ems_unpack_free(struct ems_unpack *u)
{
    struct ems_error ignored = {0};

    if (u == NULL)
        return;
    if (u->parent >= 0)
        close(u->parent);
    if (u->top >= 0) { /* after a commit only empty directories are left in it */
        each_of_top(u, REMOVE, &ignored);
        close(u->top);
    }
    if (u->name[0] != '\0')
        unlinkat(u->target, u->name, AT_REMOVEDIR);
    if (u->target >= 0)
        close(u->target);
    free(u);
}
