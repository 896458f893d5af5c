/*
 * parts.c - from paths to part sets; see parts.h. The stream over a set is in parts_source.c.
 *
 * Three steps: collect the directory entries that the paths stand for, group them by artifact, and
 * judge each group by ranks, by sizes, and by the length that its own first bytes state.
 */
#include "parts.h"

#include "pgp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_MISSING 100000u /* gaps beyond this are not gaps but names of something else */

/* One regular file that belongs to an artifact. */
struct entry {
    char *artifact; /* name of the artifact that it is (part of) */
    char *name;
    char *path;
    const char *suffix; /* in name; "" for a whole file */
    struct stat st;
};

struct entries {
    struct entry *items;
    size_t count, capacity;
    char *scanned; /* directory and artifact of the last scan: a shell's X.part-* names one set
                      often */
};

static void entries_release(struct entries *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].artifact);
        free(list->items[i].name);
        free(list->items[i].path);
    }
    free(list->items);
    free(list->scanned);
}

/* "X.part-ab": where the suffix begins in name, and the length of "X"; NULL if it is no part. */
static const char *part_suffix(const char *name, size_t *artifact_length)
{
    const char *at = NULL, *suffix;

    for (const char *p = name; (p = strstr(p, ".part-")) != NULL; p++)
        at = p;
    if (at == NULL || at == name)
        return NULL;
    suffix = at + strlen(".part-");
    if (*suffix == '\0' || strlen(suffix) >= EMS_SUFFIX_MAX ||
        strspn(suffix, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(suffix))
        return NULL;
    *artifact_length = (size_t)(at - name);
    return suffix;
}

/* Endings that browsers, rclone, aria2 and curl give to what they have not finished. ".part" alone
 * is Firefox; ".part-aa" is ours. */
static bool is_unfinished(const char *name, size_t *length)
{
    static const char *const endings[] = {".crdownload", ".partial", ".part",    ".download",
                                          ".aria2",      ".tmp",     ".filepart"};
    size_t size = strlen(name);

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t n = strlen(endings[i]);

        if (size > n && strcmp(name + size - n, endings[i]) == 0) {
            *length = size - n;
            return true;
        }
    }
    return false;
}

static int entry_add(struct entries *list, const char *directory, const char *name,
                     const struct stat *st, struct ems_error *err)
{
    struct entry e = {.st = *st};
    size_t length = strlen(name);
    const char *suffix = part_suffix(name, &length);
    int n;

    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        struct entry *items = realloc(list->items, capacity * sizeof *items);

        if (items == NULL)
            return ems_fail_memory(err);
        list->items = items;
        list->capacity = capacity;
    }
    e.name = strdup(name);
    e.artifact = strndup(name, length);
    n = strcmp(directory, ".") == 0 ? asprintf(&e.path, "%s", name)
                                    : asprintf(&e.path, "%s/%s", directory, name);
    if (n < 0)
        e.path = NULL;
    if (e.name != NULL)
        e.suffix = suffix != NULL ? e.name + (suffix - name) : e.name + strlen(name);
    list->items[list->count++] = e;
    if (e.name == NULL || e.artifact == NULL || e.path == NULL)
        return ems_fail_memory(err);
    return EMS_OK;
}

static bool entry_known(const struct entries *list, const struct stat *st)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].st.st_dev == st->st_dev && list->items[i].st.st_ino == st->st_ino)
            return true;
    return false;
}

/* Entries of `directory` that belong to `artifact` (NULL: all). *found counts them. */
static int scan_directory(struct entries *list, const char *directory, const char *artifact,
                          size_t *found, struct ems_findings *findings, struct ems_error *err)
{
    DIR *dir = opendir(directory);
    bool fresh = list->count == 0; /* only then can nothing be known yet */
    struct dirent *d;
    int rc = EMS_OK;

    *found = 0;
    if (dir == NULL)
        return ems_fail_errno(err, errno, "cannot open directory %s", directory);
    while (rc == EMS_OK && (errno = 0, d = readdir(dir)) != NULL) {
        size_t length = strlen(d->d_name);
        struct stat st;

        if (d->d_name[0] == '.')
            continue;
        if (part_suffix(d->d_name, &length) == NULL && is_unfinished(d->d_name, &length)) {
            char *name = strndup(d->d_name, length);

            if (name == NULL) {
                rc = ems_fail_memory(err);
                break;
            }
            part_suffix(name, &length);
            if (artifact == NULL ||
                (strlen(artifact) == length && strncmp(name, artifact, length) == 0)) {
                name[length] = '\0';
                ems_findings_add(findings, EMS_PART_UNFINISHED, EMS_SEVERITY_ERROR, name, d->d_name,
                                 EMS_NOWHERE, NULL, "%s is an unfinished download", d->d_name);
                (*found)++;
            }
            free(name);
            continue;
        }
        if (artifact != NULL &&
            (strlen(artifact) != length || strncmp(d->d_name, artifact, length) != 0))
            continue;
        if (fstatat(dirfd(dir), d->d_name, &st, 0) != 0) {
            rc = ems_fail_errno(err, errno, "cannot look at %s/%s", directory, d->d_name);
            break;
        }
        if (!S_ISREG(st.st_mode))
            continue;
        (*found)++;
        if (fresh || !entry_known(list, &st))
            rc = entry_add(list, directory, d->d_name, &st, err);
    }
    if (rc == EMS_OK && d == NULL && errno != 0)
        rc = ems_fail_errno(err, errno, "cannot read directory %s", directory);
    closedir(dir);
    return rc;
}

static int collect(struct entries *list, const char *path, struct ems_findings *findings,
                   struct ems_error *err)
{
    char *copy = strdup(path), *slash, *name;
    struct stat st;
    size_t found, length;
    bool here = stat(path, &st) == 0;
    int rc;

    if (copy == NULL)
        return ems_fail_memory(err);
    if (here && S_ISDIR(st.st_mode)) {
        while (copy[1] != '\0' && copy[strlen(copy) - 1] == '/')
            copy[strlen(copy) - 1] = '\0';
        rc = scan_directory(list, copy, NULL, &found, findings, err);
        if (rc == EMS_OK && found == 0)
            rc = ems_fail(err, EMS_IO_ERROR, "directory %s holds no files", path);
        free(copy);
        return rc;
    }
    slash = strrchr(copy, '/');
    name = slash != NULL ? slash + 1 : copy;
    if (part_suffix(name, &length) != NULL)
        name[length] = '\0';
    if (list->scanned != NULL && strcmp(list->scanned, copy) == 0) {
        free(copy);
        return EMS_OK;
    }
    free(list->scanned);
    list->scanned = strdup(copy);
    if (slash != NULL)
        *slash = '\0';
    rc = scan_directory(list,
                        slash == NULL   ? "."
                        : slash == copy ? "/"
                                        : copy,
                        name, &found, findings, err);
    if (rc == EMS_OK && found == 0)
        rc = ems_fail(err, EMS_IO_ERROR, "no such file: %s, and no parts %s.part-*", path, name);
    free(copy);
    return rc;
}

/* ---- scheme ---- */

/* The scheme is a property of the whole set: which symbols occur, and how long the suffixes are. */
static bool find_scheme(struct ems_part_set *set, const struct entry *entries, size_t count)
{
    bool digits = false, low = false, high = false, same_width = true, last_first = false;
    size_t width = strlen(entries[0].suffix);
    uint64_t rank;

    for (size_t i = 0; i < count; i++) {
        const char *s = entries[i].suffix;

        same_width &= strlen(s) == width;
        for (; *s != '\0'; s++) {
            digits |= *s <= '9';
            low |= *s >= 'a' && *s <= 'f';
            high |= *s > 'f';
        }
    }
    if (digits && high)
        return false;
    /* A hex set without a single digit cannot be: its first part is "00". */
    set->alphabet = !digits ? EMS_PART_LETTERS : low ? EMS_PART_HEX : EMS_PART_DIGITS;
    for (size_t i = 0; i < count; i++)
        last_first |= entries[i].suffix[0] == (set->alphabet == EMS_PART_LETTERS  ? 'z'
                                               : set->alphabet == EMS_PART_DIGITS ? '9'
                                                                                  : 'f');
    set->width = (unsigned)width;
    set->widening = !same_width || (width == 2 && !last_first);
    for (size_t i = 0; i < count; i++)
        if (!ems_suffix_rank(set->alphabet, set->widening, set->width, entries[i].suffix, &rank))
            return false;
    return true;
}

/* ---- what the content says ---- */

struct measuring {
    const struct ems_part_set *set;
    const struct ems_part *open_part;
    int fd;
};

/* pread over the parts as far as they follow each other without a gap. */
static int64_t measure_read(void *context, void *buffer, size_t size, uint64_t offset)
{
    struct measuring *m = context;
    uint64_t begin = 0;
    size_t done = 0;

    for (size_t i = 0; i < m->set->count && done < size; i++) {
        const struct ems_part *part = &m->set->parts[i];
        ssize_t n;

        if (part->path == NULL)
            break;
        if (offset + done >= begin + part->size) {
            begin += part->size;
            continue;
        }
        if (m->open_part != part) {
            if (m->fd >= 0)
                close(m->fd);
            m->fd = open(part->path, O_RDONLY | O_CLOEXEC);
            m->open_part = part;
        }
        if (m->fd < 0)
            return -1;
        n = pread(m->fd, (uint8_t *)buffer + done, size - done, (off_t)(offset + done - begin));
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
        begin += part->size;
    }
    return (int64_t)done;
}

static bool begins_like_an_artifact(const char *path)
{
    uint8_t head[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : -1;

    if (fd >= 0)
        close(fd);
    if (n < 4)
        return false;
    return ems_pgp_probe(head, (size_t)n) == 1 || (head[0] == 0x1f && head[1] == 0x8b);
}

static void measure(struct ems_part_set *set)
{
    struct measuring m = {.set = set, .fd = -1};
    uint8_t head[16];
    int64_t n = measure_read(&m, head, sizeof head, 0);
    struct ems_error ignored = {0};
    uint64_t total = 0;

    if (n > 0 && ems_pgp_probe(head, (size_t)n) == 1 &&
        ems_pgp_measure(measure_read, &m, &total, &ignored) == EMS_OK)
        set->expected = total;
    if (m.fd >= 0)
        close(m.fd);
}

/* ---- building a set ---- */

static int compare_parts(const void *a, const void *b)
{
    const struct ems_part *x = a, *y = b;

    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int add_part(struct ems_part_set *set, const struct ems_part *part, struct ems_error *err)
{
    /* Doubling at the powers of two needs no capacity field. */
    if ((set->count & (set->count + 1)) == 0 || set->parts == NULL) {
        struct ems_part *parts = realloc(set->parts, (2 * set->count + 2) * sizeof *parts);

        if (parts == NULL)
            return ems_fail_memory(err);
        set->parts = parts;
    }
    set->parts[set->count++] = *part;
    return EMS_OK;
}

static int add_missing(struct ems_part_set *set, uint64_t rank, struct ems_error *err)
{
    struct ems_part part = {
        .rank = rank, .member = EMS_PART_NO_MEMBER, .status = EMS_PART_IS_MISSING};
    char suffix[EMS_SUFFIX_MAX];

    if (!ems_suffix_text(set->alphabet, set->widening, set->width, rank, suffix))
        return EMS_OK; /* the scheme has no name for it: the customer's split ran out of them */
    if (asprintf(&part.name, "%s.part-%s", set->name, suffix) < 0)
        return ems_fail_memory(err);
    if (add_part(set, &part, err) != EMS_OK) {
        free(part.name);
        return err->code;
    }
    return EMS_OK;
}

static int take_entries(struct ems_part_set *set, struct entry *entries, size_t count,
                        struct ems_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct ems_part part = {.size = (uint64_t)entries[i].st.st_size,
                                .disk_size = (uint64_t)entries[i].st.st_size,
                                .member = EMS_PART_NO_MEMBER,
                                .device = entries[i].st.st_dev,
                                .inode = entries[i].st.st_ino,
                                .modified = entries[i].st.st_mtim};
        int rc;

        if (set->split)
            ems_suffix_rank(set->alphabet, set->widening, set->width, entries[i].suffix,
                            &part.rank);
        part.name = entries[i].name;
        part.path = entries[i].path;
        rc = add_part(set, &part, err);
        if (rc != EMS_OK)
            return rc;
        entries[i].name = entries[i].path = NULL; /* moved */
    }
    qsort(set->parts, set->count, sizeof *set->parts, compare_parts);
    return EMS_OK;
}

/* Stand-ins for the ranks that nobody sent, in between and (if `up_to` is beyond) at the end. */
static int fill_gaps(struct ems_part_set *set, uint64_t first, uint64_t up_to,
                     struct ems_error *err)
{
    size_t present = set->count;
    uint64_t next = first;
    int rc = EMS_OK;

    for (size_t i = 0; i <= present && rc == EMS_OK; i++) {
        uint64_t until = i < present ? set->parts[i].rank : up_to;

        for (; next < until && rc == EMS_OK; next++)
            rc = add_missing(set, next, err);
        if (i < present)
            next = until + 1;
    }
    qsort(set->parts, set->count, sizeof *set->parts, compare_parts);
    return rc;
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The size of all parts but the last: what most of them have; of two parts, the first one's. */
static int find_part_size(struct ems_part_set *set, struct ems_error *err)
{
    size_t n = 0, best = 0;
    uint64_t *sizes = malloc((set->count + 1) * sizeof *sizes);

    if (sizes == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < set->count; i++)
        if (set->parts[i].path != NULL && (i + 1 < set->count || n == 0))
            sizes[n++] = set->parts[i].size;
    qsort(sizes, n, sizeof *sizes, compare_sizes);
    for (size_t i = 0; i < n;) {
        size_t run = 1;

        while (i + run < n && sizes[i + run] == sizes[i])
            run++;
        if (run >= best) { /* ">=": of two equally common sizes the larger */
            best = run;
            set->part_size = sizes[i];
        }
        i += run;
    }
    /* A last part that is larger than all before it shows that they were cut. */
    if (set->count > 1 && set->parts[set->count - 1].path != NULL &&
        set->parts[set->count - 1].size > set->part_size && n < 3)
        set->part_size = set->parts[set->count - 1].size;
    free(sizes);
    return EMS_OK;
}

/* Ranks and sizes are known: say of each part what it is. */
static void judge(struct ems_part_set *set, uint64_t first)
{
    uint64_t offset = 0, parts_expected = 0;

    if (set->split && set->expected > 0 && set->part_size > 0)
        parts_expected = (set->expected + set->part_size - 1) / set->part_size;
    set->whole = true;
    set->size = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct ems_part *part = &set->parts[i];
        uint64_t number = part->rank - first; /* 0 for the first part */
        bool last = parts_expected > 0 ? number + 1 == parts_expected : i + 1 == set->count;
        uint64_t must = !set->split          ? set->expected
                        : !last              ? set->part_size
                        : parts_expected > 0 ? set->expected - number * set->part_size
                                             : 0;

        part->offset = offset;
        set->size += part->size;
        if (part->path == NULL)
            part->status = EMS_PART_IS_MISSING;
        else if (parts_expected > 0 && number >= parts_expected)
            part->status = EMS_PART_IS_STALE;
        else if (part->size == 0 && set->split)
            part->status = EMS_PART_IS_EMPTY;
        else if (set->split && part->size < must)
            part->status = EMS_PART_IS_TRUNCATED;
        else if (set->split && !last && part->size > must)
            part->status = EMS_PART_IS_FOREIGN;
        offset += part->size;
        if (part->status != EMS_PART_IS_OK && part->status != EMS_PART_IS_STALE)
            set->whole = false;
    }
}

static void report_set(const struct ems_part_set *set, struct ems_findings *findings)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct ems_part *part = &set->parts[i];
        struct ems_finding *f = NULL;

        if (part->status == EMS_PART_IS_OK)
            continue;
        switch (part->status) {
        case EMS_PART_IS_MISSING:
            f = ems_findings_add(findings, EMS_PART_MISSING, EMS_SEVERITY_ERROR, set->name,
                                 part->name, EMS_NOWHERE, NULL, "%s is missing", part->name);
            break;
        case EMS_PART_IS_EMPTY:
            f = ems_findings_add(findings, EMS_PART_EMPTY, EMS_SEVERITY_ERROR, set->name,
                                 part->name, 0, NULL, "%s is empty", part->name);
            break;
        case EMS_PART_IS_TRUNCATED:
            f = ems_findings_add(findings, EMS_PART_TRUNCATED, EMS_SEVERITY_ERROR, set->name,
                                 part->name, part->size, NULL,
                                 "%s is cut: it has %llu bytes, less than it must have", part->name,
                                 (unsigned long long)part->size);
            break;
        case EMS_PART_IS_FOREIGN:
            f = ems_findings_add(
                findings, EMS_PART_FOREIGN, EMS_SEVERITY_ERROR, set->name, part->name,
                set->part_size, NULL, "%s has %llu bytes, more than the parts beside it (%llu)",
                part->name, (unsigned long long)part->size, (unsigned long long)set->part_size);
            break;
        case EMS_PART_IS_STALE:
            ems_findings_add(findings, EMS_PART_STALE, EMS_SEVERITY_WARNING, set->name, part->name,
                             EMS_NOWHERE, NULL,
                             "%s lies behind the end of the message, so it is left over from an "
                             "earlier split; it is not used",
                             part->name);
            break;
        default:
            break;
        }
        if (f != NULL)
            f->resend = true;
    }
}

static int build_set(struct ems_part_set *set, struct entry *entries, size_t count,
                     struct ems_findings *findings, struct ems_error *err)
{
    uint64_t first = 0, missing;
    int rc;

    set->name = strdup(entries[0].artifact);
    if (set->name == NULL)
        return ems_fail_memory(err);
    set->split = entries[0].suffix[0] != '\0';
    if (set->split && !find_scheme(set, entries, count)) {
        ems_findings_add(findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, set->name, NULL,
                         EMS_NOWHERE, NULL,
                         "the parts of %s do not follow one numbering, so they are of several "
                         "splits",
                         set->name);
        return take_entries(set, entries, count, err);
    }
    rc = take_entries(set, entries, count, err);
    if (rc != EMS_OK)
        return rc;
    /* split --numeric-suffixes=1 counts from 1: believed if that part begins like a first one. */
    if (set->split && set->alphabet != EMS_PART_LETTERS && set->parts[0].rank == 1 &&
        begins_like_an_artifact(set->parts[0].path)) {
        first = 1;
        set->widening = false;
    }
    missing = set->parts[set->count - 1].rank + 1 - first - set->count;
    if (set->split && missing > MAX_MISSING) {
        ems_findings_add(findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, set->name, NULL,
                         EMS_NOWHERE, NULL, "%llu parts of %s would be missing before %s",
                         (unsigned long long)missing, set->name, set->parts[set->count - 1].name);
        return EMS_OK;
    }
    if (set->split) {
        rc = fill_gaps(set, first, 0, err);
        if (rc == EMS_OK)
            rc = find_part_size(set, err);
    }
    if (rc != EMS_OK)
        return rc;
    measure(set);
    if (set->split && set->expected > 0 && set->part_size > 0) {
        uint64_t want = (set->expected + set->part_size - 1) / set->part_size;

        if (want > set->count && want - set->count <= MAX_MISSING)
            rc = fill_gaps(set, first, first + want, err);
    }
    judge(set, first);
    report_set(set, findings);
    return rc;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(x->artifact, y->artifact);

    if (c != 0)
        return c;
    return (x->suffix[0] != '\0') - (y->suffix[0] != '\0');
}

int ems_upload_resolve(struct ems_upload *upload, const char *const *paths, size_t count,
                       struct ems_findings *findings, struct ems_error *err)
{
    struct entries list = {0};
    int rc = EMS_OK;

    *upload = (struct ems_upload){0};
    for (size_t i = 0; i < count && rc == EMS_OK; i++)
        rc = collect(&list, paths[i], findings, err);
    if (rc != EMS_OK)
        goto out;
    if (list.count > 0)
        qsort(list.items, list.count, sizeof *list.items, compare_entries);
    upload->sets = calloc(list.count + 1, sizeof *upload->sets);
    if (upload->sets == NULL) {
        rc = ems_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < list.count && rc == EMS_OK;) {
        struct entry *e = &list.items[i];
        bool whole = e->suffix[0] == '\0';
        size_t n = 1;

        while (!whole && i + n < list.count && strcmp(e[n].artifact, e->artifact) == 0)
            n++;
        rc = build_set(&upload->sets[upload->count++], e, n, findings, err);
        i += n;
        if (whole && i < list.count && strcmp(list.items[i].artifact, e->artifact) == 0) {
            size_t extra = 0;

            while (i < list.count && strcmp(list.items[i].artifact, e->artifact) == 0) {
                i++;
                extra++;
            }
            ems_findings_add(findings, EMS_PART_DUPLICATE, EMS_SEVERITY_WARNING, e->artifact, NULL,
                             EMS_NOWHERE, "Send either the whole file or its parts.",
                             "%s lies here whole and also in %zu parts; the whole file is used",
                             e->artifact, extra);
        }
    }
out:
    entries_release(&list);
    if (rc != EMS_OK)
        ems_upload_release(upload);
    return rc;
}

void ems_upload_release(struct ems_upload *upload)
{
    for (size_t i = 0; i < upload->count; i++) {
        struct ems_part_set *set = &upload->sets[i];

        for (size_t k = 0; k < set->count; k++) {
            free(set->parts[k].name);
            free(set->parts[k].path);
        }
        free(set->parts);
        free(set->name);
    }
    free(upload->sets);
    *upload = (struct ems_upload){0};
}

const char *ems_part_status_name(enum ems_part_status status)
{
    static const char *const names[] = {"ok",    "missing", "empty",      "truncated",
                                        "stale", "foreign", "unfinished", "conflict"};

    return names[status];
}
