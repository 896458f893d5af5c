/*
 * part_files.c - see part_files.h
 *
 * A shell gives X.part-* as a hundred thousand paths. So paths are first reduced to requests
 * (directory, artifact), sorted and made unique, and each directory is read once.
 */
#include "part_files.h"

#include "part_zip.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MAX_DEPTH 3 /* folders below one that was named */

/* What to look for in a directory. */
struct request {
    char *directory;
    char *artifact; /* canonical name; NULL: everything */
    char *file;     /* as given */
    unsigned source;
    bool found;
};

struct collecting {
    struct ems_part_files *files;
    struct request *requests; /* of the directory being read */
    size_t request_count;
    bool everything;
    unsigned source;
    struct ems_findings *findings;
    /* Litter is said once. */
    size_t litter;
    char first_litter[EMS_NAME_SIZE];
    /* Bundles of Drive, to find gaps in their numbers. */
    char **bundles;
    size_t bundle_count;
};

const char *ems_part_file_name(const struct ems_part_file *file)
{
    const char *slash;

    if (file->member_name != NULL)
        return file->member_name;
    slash = strrchr(file->path, '/');
    return slash != NULL ? slash + 1 : file->path;
}

void ems_part_files_release(struct ems_part_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].path);
        free(files->items[i].member_name);
        free(files->items[i].artifact);
    }
    free(files->items);
    *files = (struct ems_part_files){0};
}

static char *join(const char *directory, const char *name)
{
    char *path;

    if (strcmp(directory, ".") == 0)
        return strdup(name);
    return asprintf(&path, "%s%s%s", directory,
                    directory[0] != '\0' && directory[strlen(directory) - 1] == '/' ? "" : "/",
                    name) < 0
               ? NULL
               : path;
}

static int add(struct collecting *c, const char *path, const char *member_name, uint64_t member,
               uint64_t size, const struct ems_part_name *name, const struct stat *st,
               struct ems_error *err)
{
    struct ems_part_files *files = c->files;
    struct ems_part_file *f;

    if (files->count == files->capacity) {
        size_t capacity = files->capacity > 0 ? 2 * files->capacity : 64;
        struct ems_part_file *items = realloc(files->items, capacity * sizeof *items);

        if (items == NULL)
            return ems_fail_memory(err);
        files->items = items;
        files->capacity = capacity;
    }
    f = &files->items[files->count++];
    *f = (struct ems_part_file){.path = strdup(path),
                                .member_name = member_name != NULL ? strdup(member_name) : NULL,
                                .member = member,
                                .artifact = strdup(name->artifact),
                                .form = name->form,
                                .known = name->known,
                                .renamed = name->renamed,
                                .unfinished = name->kind == EMS_NAME_UNFINISHED,
                                .in_place = name->in_place,
                                .source = c->source,
                                .size = size,
                                .disk_size = (uint64_t)st->st_size,
                                .device = st->st_dev,
                                .inode = st->st_ino,
                                .modified = st->st_mtim};
    memcpy(f->suffix, name->suffix, sizeof f->suffix);
    if (f->path == NULL || f->artifact == NULL || (member_name != NULL && f->member_name == NULL))
        return ems_fail_memory(err);
    return EMS_OK;
}

/* ---- what is asked for ---- */

static int compare_requests(const void *a, const void *b)
{
    const struct request *x = a, *y = b;
    int c = x->source < y->source ? -1 : x->source > y->source;

    if (c == 0)
        c = strcmp(x->directory, y->directory);
    if (c != 0 || (x->artifact == NULL && y->artifact == NULL))
        return c;
    if (x->artifact == NULL || y->artifact == NULL)
        return x->artifact == NULL ? -1 : 1;
    return strcmp(x->artifact, y->artifact);
}

/* The request that asks for this artifact by name, or NULL. */
static struct request *requested(const struct collecting *c, const char *artifact)
{
    size_t low = 0, high = c->request_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *name = c->requests[middle].artifact;
        int order = name == NULL ? -1 : strcmp(name, artifact);

        if (order == 0)
            return &c->requests[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Is the artifact wanted? Marks whoever asked. */
static bool wanted(struct collecting *c, const char *artifact)
{
    struct request *r = requested(c, artifact);

    if (r != NULL)
        r->found = true;
    return r != NULL || c->everything;
}

/* ---- zips ---- */

static void note_bundle(struct collecting *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t series;
    unsigned number;
    char **bundles;

    if (!ems_part_name_is_bundle(slash != NULL ? slash + 1 : path, &series, &number))
        return;
    bundles = realloc(c->bundles, (c->bundle_count + 1) * sizeof *bundles);
    if (bundles == NULL ||
        (bundles[c->bundle_count] = strdup(slash != NULL ? slash + 1 : path)) == NULL) {
        c->findings->out_of_memory = true;
        if (bundles != NULL)
            c->bundles = bundles;
        return;
    }
    c->bundles = bundles;
    c->bundle_count++;
}

/* Members that belong to the upload. *taken counts them; a zip without any is none of ours. */
static int scan_zip(struct collecting *c, const char *path, bool explicit, size_t *taken,
                    struct ems_error *err)
{
    struct stat st;
    struct ems_zip *zip = ems_zip_open(path, &st, err);
    struct ems_error bad = {0};
    struct ems_zip_member m;
    int rc = EMS_OK;

    *taken = 0;
    if (zip == NULL)
        return err->code;
    while (rc == EMS_OK && (rc = ems_zip_next(zip, &m, &bad)) == EMS_OK) {
        const char *slash = strrchr(m.path, '/'), *base = slash != NULL ? slash + 1 : m.path;
        struct ems_part_name name;

        if (!m.regular || strstr(m.path, "__MACOSX/") != NULL ||
            !ems_part_name_parse(base, &name) || name.kind != EMS_NAME_FILE)
            continue;
        if (!name.known && !ems_part_name_is_archive(base))
            continue;
        if (!explicit && !wanted(c, name.artifact))
            continue;
        if (m.encrypted) {
            ems_findings_add(c->findings, EMS_PGP_UNSUPPORTED, EMS_SEVERITY_ERROR, NULL, base,
                             EMS_NOWHERE, "Send the files as they are, without a zip.",
                             "%s lies in a zip with a password", base);
            continue;
        }
        (*taken)++;
        rc = add(c, path, base, m.index, m.size, &name, &st, err);
    }
    ems_zip_close(zip);
    if (rc == EMS_PART_TRUNCATED || rc == EMS_PART_FOREIGN) {
        const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
        struct ems_finding *f =
            ems_findings_add(c->findings, rc, EMS_SEVERITY_ERROR, NULL, base, EMS_NOWHERE,
                             "Download this zip again.", "%s: %s", base, bad.text);

        if (f != NULL)
            f->resend = true;
        (*taken)++;
        rc = EMS_END;
    }
    return rc == EMS_END ? EMS_OK : ems_fail(err, rc, "%s", bad.text);
}

static bool is_zip(const char *path)
{
    uint8_t head[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : -1;

    if (fd >= 0)
        close(fd);
    return n == 4 && memcmp(head, "PK\3\4", 4) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Gaps in the numbers of a series of bundles: a hint where missing files may be. */
static void report_bundles(struct collecting *c)
{
    size_t series, before_series = 0;
    unsigned number, before = 0;

    if (c->bundle_count > 1)
        qsort(c->bundles, c->bundle_count, sizeof *c->bundles, compare_names);
    for (size_t i = 0; i < c->bundle_count; i++) {
        const char *name = c->bundles[i];

        ems_part_name_is_bundle(name, &series, &number);
        if (i == 0 || series != before_series || strncmp(c->bundles[i - 1], name, series) != 0)
            before = 0;
        for (unsigned n = before + 1; n < number; n++)
            ems_findings_add(c->findings, EMS_PART_MISSING, EMS_SEVERITY_WARNING, NULL, NULL,
                             EMS_NOWHERE, "Look for this zip in the download folder.",
                             "%.*s-%03u.zip is not here, but %s is", (int)series, name, n, name);
        before = number;
        before_series = series;
    }
}

/* ---- directories ---- */

static void set_aside(struct collecting *c, const char *name)
{
    if (c->litter++ == 0)
        snprintf(c->first_litter, sizeof c->first_litter, "%s", name);
}

/* A piece of Synapse's configuration as Debian lays it out: conf.d/NAME.yaml. */
static bool is_setting(const char *path)
{
    static const char folder[] = "/conf.d", ending[] = ".yaml";
    const char *name = strrchr(path, '/');
    size_t n = strlen(path);

    return name != NULL && (size_t)(name - path) >= sizeof folder - 1 &&
           memcmp(name - (sizeof folder - 1), folder, sizeof folder - 1) == 0 &&
           strcmp(path + n - (sizeof ending - 1), ending) == 0;
}

/* A regular file (or a link to one) at path. */
static int take_file(struct collecting *c, const char *path, const char *base, int depth,
                     const struct stat *st, struct ems_error *err)
{
    struct ems_part_name name;
    struct request *by_name;
    size_t taken = 0, series;
    unsigned number;
    int rc;

    if (!ems_part_name_parse(base, &name))
        return EMS_OK;
    if (name.kind == EMS_NAME_LITTER || name.kind == EMS_NAME_HIDDEN) {
        if (name.kind == EMS_NAME_LITTER && c->everything)
            set_aside(c, base);
        return EMS_OK;
    }
    by_name = requested(c, name.artifact);
    if (name.kind == EMS_NAME_FILE &&
        (c->everything || by_name != NULL || ems_part_name_is_bundle(base, &series, &number)) &&
        strlen(base) > 4 && strcasecmp(base + strlen(base) - 4, ".zip") == 0 && is_zip(path)) {
        rc = scan_zip(c, path, by_name != NULL, &taken, err);
        if (rc != EMS_OK || taken > 0) {
            note_bundle(c, path);
            if (by_name != NULL)
                by_name->found = true;
            return rc;
        }
    }
    /* Deep in the folders of an export or a media store only what is meant for us counts. */
    if (depth > 0 && !name.known && !ems_part_name_is_archive(base) && !is_setting(path))
        return EMS_OK;
    if (!wanted(c, name.artifact))
        return EMS_OK;
    return add(c, path, NULL, EMS_PART_NO_MEMBER, (uint64_t)st->st_size, &name, st, err);
}

static int scan_directory(struct collecting *c, const char *directory, int depth,
                          struct ems_error *err);

static int take_entry(struct collecting *c, int dir, const char *directory, const char *base,
                      int depth, struct ems_error *err)
{
    struct stat st;
    char *path;
    int rc = EMS_OK;

    if (fstatat(dir, base, &st, 0) != 0) {
        if (errno == ENOENT || errno == ELOOP) /* a link that leads nowhere, or gone meanwhile */
            return EMS_OK;
        return ems_fail_errno(err, errno, "cannot look at %s/%s", directory, base);
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return EMS_OK;
    path = join(directory, base);
    if (path == NULL)
        return ems_fail_memory(err);
    if (S_ISREG(st.st_mode)) {
        rc = take_file(c, path, base, depth, &st, err);
    } else if (c->everything) {
        struct ems_part_name name;

        if (!ems_part_name_parse(base, &name) || name.kind == EMS_NAME_HIDDEN)
            ;
        else if (name.kind == EMS_NAME_LITTER)
            set_aside(c, base);
        else if (name.kind == EMS_NAME_UNFINISHED) /* Safari downloads into a folder X.download */
            rc = add(c, path, NULL, EMS_PART_NO_MEMBER, 0, &name, &st, err);
        else if (depth < MAX_DEPTH && fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISDIR(st.st_mode))
            rc = scan_directory(c, path, depth + 1, err);
    }
    free(path);
    return rc;
}

static int scan_directory(struct collecting *c, const char *directory, int depth,
                          struct ems_error *err)
{
    DIR *dir = opendir(directory);
    struct dirent *d;
    int rc = EMS_OK;

    if (dir == NULL)
        return ems_fail_errno(err, errno, "cannot open directory %s", directory);
    while (rc == EMS_OK && (errno = 0, d = readdir(dir)) != NULL)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            rc = take_entry(c, dirfd(dir), directory, d->d_name, depth, err);
    if (rc == EMS_OK && errno != 0)
        rc = ems_fail_errno(err, errno, "cannot read directory %s", directory);
    closedir(dir);
    return rc;
}

/* ---- requests ---- */

static void release_request(struct request *r)
{
    free(r->directory);
    free(r->artifact);
    free(r->file);
    *r = (struct request){0};
}

/* One path: a directory as it is, anything else as the artifact that its name belongs to. */
static int make_request(struct request *r, const char *path, struct ems_error *err)
{
    struct ems_part_name name;
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        r->directory = strdup(path);
        r->file = strdup(path);
        if (r->directory == NULL || r->file == NULL)
            return ems_fail_memory(err);
        for (size_t n = strlen(r->directory); n > 1 && r->directory[n - 1] == '/';)
            r->directory[--n] = '\0';
        return EMS_OK;
    }
    if (!ems_part_name_parse(slash != NULL ? slash + 1 : path, &name))
        return ems_fail(err, EMS_IO_ERROR, "no such file: %s", path);
    r->directory = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    r->artifact = strdup(name.artifact);
    r->file = strdup(path);
    if (r->directory == NULL || r->artifact == NULL || r->file == NULL)
        return ems_fail_memory(err);
    return EMS_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct request *x = a, *y = b;
    int c = strcmp(x->directory, y->directory);

    return c != 0 ? c : x->source < y->source ? -1 : x->source > y->source;
}

/* The requests of a command line, sorted. A place is numbered by the first path in it. */
static int make_requests(struct request **out, size_t *out_count, const char *const *paths,
                         size_t count, struct ems_error *err)
{
    struct request *requests = calloc(count + 1, sizeof *requests);
    size_t n = 0;

    *out = requests;
    *out_count = 0;
    if (requests == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct request *r = &requests[n];
        int rc = make_request(r, paths[i], err);

        *out_count = n + 1;
        if (rc != EMS_OK)
            return rc;
        r->source = n > 0 ? r[-1].source : 0; /* parts of one set follow each other */
        if (n > 0 && compare_requests(r, r - 1) == 0) {
            release_request(r);
            *out_count = n;
            continue;
        }
        r->source = (unsigned)i;
        n++;
    }
    if (n > 1)
        qsort(requests, n, sizeof *requests, compare_places);
    for (size_t i = 1; i < n; i++)
        if (strcmp(requests[i].directory, requests[i - 1].directory) == 0)
            requests[i].source = requests[i - 1].source;
    if (n > 1)
        qsort(requests, n, sizeof *requests, compare_requests);
    return EMS_OK;
}

/* All requests for one directory, which is read once for them. */
static int serve(struct collecting *c, struct ems_error *err)
{
    size_t before = c->files->count;
    struct request *first = c->requests;
    int rc;

    c->everything = first->artifact == NULL;
    c->source = first->source;
    rc = scan_directory(c, first->directory, 0, err);
    if (rc != EMS_OK)
        return rc;
    if (c->everything && c->files->count == before)
        return ems_fail(err, EMS_IO_ERROR, "directory %s holds no files", first->file);
    for (size_t i = 0; i < c->request_count; i++)
        if (c->requests[i].artifact != NULL && !c->requests[i].found)
            return ems_fail(err, EMS_IO_ERROR, "no such file: %s, and no parts %s.part-*",
                            c->requests[i].file, c->requests[i].artifact);
    return EMS_OK;
}

int ems_part_files_collect(struct ems_part_files *files, const char *const *paths, size_t count,
                           struct ems_findings *findings, struct ems_error *err)
{
    struct collecting c = {.files = files, .findings = findings};
    struct request *requests = NULL;
    size_t total = 0;
    int rc;

    *files = (struct ems_part_files){0};
    rc = make_requests(&requests, &total, paths, count, err);
    for (size_t i = 0; i < total && rc == EMS_OK; i += c.request_count) {
        c.requests = requests + i;
        c.request_count = 1;
        while (i + c.request_count < total &&
               strcmp(requests[i + c.request_count].directory, requests[i].directory) == 0)
            c.request_count++;
        rc = serve(&c, err);
    }
    if (rc == EMS_OK)
        report_bundles(&c);
    if (rc == EMS_OK && c.litter > 0)
        ems_findings_add(findings, EMS_PART_FOREIGN, EMS_SEVERITY_NOTE, NULL, NULL, EMS_NOWHERE,
                         NULL, "left alone: %zu files that a desktop made (%s%s)", c.litter,
                         c.first_litter, c.litter > 1 ? ", ..." : "");
    for (size_t i = 0; i < c.bundle_count; i++)
        free(c.bundles[i]);
    free(c.bundles);
    for (size_t i = 0; i < total; i++)
        release_request(&requests[i]);
    free(requests);
    return rc;
}
