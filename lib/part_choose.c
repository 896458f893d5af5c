/*
 * part_choose.c - which of the files for a rank becomes the part; see part_set.h.
 *
 * Right is what has the size, the content and the beginning that it must have. Equal files count
 * once; of the wrong ones the one that is nearest to being right stands for the part.
 */
#include "part_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list of parts ---- */

/* "X.part-ab", as the customer's split called it. NULL and no error: there is no such name. */
static char *name_of_rank(const struct ems_part_set *set, uint64_t rank, struct ems_error *err)
{
    char suffix[EMS_SUFFIX_MAX], *name;
    int n;

    if (rank == UINT64_MAX)
        return NULL;
    if (!set->split)
        return (name = strdup(set->name)) != NULL ? name : (ems_fail_memory(err), NULL);
    if (set->form == EMS_NAME_VOLUME)
        n = asprintf(&name, "%s.%03" PRIu64, set->name, rank);
    else if (ems_suffix_text(set->alphabet, set->widening, set->width, rank, suffix))
        n = asprintf(&name, "%s.part-%s", set->name, suffix);
    else
        return NULL;
    if (n < 0)
        ems_fail_memory(err);
    return n < 0 ? NULL : name;
}

/* Append; takes over the strings. The capacity is what the count says: powers of two. */
static int add_part(struct ems_part_set *set, const struct ems_part *part, struct ems_error *err)
{
    if ((set->count & (set->count + 1)) == 0 || set->parts == NULL) {
        struct ems_part *parts = realloc(set->parts, (2 * set->count + 2) * sizeof *parts);

        if (parts == NULL) {
            free(part->name);
            free(part->file);
            free(part->path);
            return ems_fail_memory(err);
        }
        set->parts = parts;
    }
    set->parts[set->count++] = *part;
    return EMS_OK;
}

/* Stand-ins for the ranks from `next` up to, not including, `until`. */
int ems_part_add_missing(struct ems_part_set *set, uint64_t next, uint64_t until,
                         struct ems_error *err)
{
    for (; next < until; next++) {
        struct ems_part part = {
            .rank = next, .member = EMS_PART_NO_MEMBER, .status = EMS_PART_IS_MISSING};

        part.name = name_of_rank(set, next, err);
        if (part.name == NULL) /* the customer's split ran out of names */
            return err->code;
        if (add_part(set, &part, err) != EMS_OK)
            return err->code;
    }
    return EMS_OK;
}

/* The file becomes the part of its rank. */
int ems_part_add_file(struct ems_part_build *b, const struct ems_part_file *f,
                      enum ems_part_status status, unsigned copies, struct ems_error *err)
{
    const char *file = ems_part_file_name(f);
    struct ems_part part = {.path = strdup(f->path),
                            .member = f->member,
                            .rank = f->rank,
                            .size = f->size,
                            .status = status,
                            .looks = f->looks,
                            .copies = copies,
                            .disk_size = f->disk_size,
                            .device = f->device,
                            .inode = f->inode,
                            .modified = f->modified};

    part.name = name_of_rank(b->set, f->rank, err);
    if (part.name == NULL) /* two splits: the rank means nothing */
        part.name = strdup(file);
    if (part.name != NULL && strcmp(part.name, file) != 0) {
        ems_part_report_note(b, EMS_PART_RENAMED, part.name,
                             "%s is taken for %s: its name was changed on the way", file,
                             part.name);
        part.file = strdup(file);
    }
    if (part.path == NULL || part.name == NULL ||
        (part.file == NULL && strcmp(part.name, file) != 0)) {
        free(part.name);
        free(part.path);
        free(part.file);
        return ems_fail_memory(err);
    }
    return add_part(b->set, &part, err);
}

/* ---- several files for one rank ---- */

/* Same bytes? A file that cannot be read is not the same as anything. */
static bool is_same(const struct ems_part_file *x, const struct ems_part_file *y)
{
    struct ems_part_reader rx = EMS_PART_READER_INIT, ry = EMS_PART_READER_INIT;
    size_t nx = 0, ny = 0, size = EMS_READ_SIZE;
    uint8_t *data = malloc(2 * size);
    bool same = data != NULL && x->size == y->size &&
                ems_part_reader_open(&rx, x->path, x->member, NULL) == EMS_OK &&
                ems_part_reader_open(&ry, y->path, y->member, NULL) == EMS_OK;

    while (same) {
        size_t done = 0;

        same = ems_part_reader_read(&rx, data, size, &nx, NULL) == EMS_OK;
        if (!same || nx == 0)
            break;
        for (ny = 1; same && done < nx && ny > 0; done += ny)
            same = ems_part_reader_read(&ry, data + size + done, nx - done, &ny, NULL) == EMS_OK;
        same = same && done == nx && memcmp(data, data + size, nx) == 0;
    }
    ems_part_reader_close(&rx);
    ems_part_reader_close(&ry);
    free(data);
    return same;
}

static enum ems_part_status status_of(const struct ems_part_build *b, const struct ems_part_file *f,
                                      uint64_t must, uint64_t at_most)
{
    if (f->size == 0)
        return EMS_PART_IS_EMPTY;
    if (!ems_part_is_plausible(f))
        return EMS_PART_IS_FOREIGN;
    if (b->wrong_first && b->set->split &&
        (f->rank == b->begins_at || (f->rank == b->set->first && f->looks == EMS_LOOKS_UNKNOWN)))
        return EMS_PART_IS_FOREIGN;
    if (must > 0 && f->size != must)
        return f->size < must ? EMS_PART_IS_TRUNCATED : EMS_PART_IS_FOREIGN;
    return at_most > 0 && f->size > at_most ? EMS_PART_IS_FOREIGN : EMS_PART_IS_OK;
}

/* Of two wrong files the one that is nearer to being right. */
static int nearness(enum ems_part_status status)
{
    return status == EMS_PART_IS_OK          ? 3
           : status == EMS_PART_IS_TRUNCATED ? 2
           : status == EMS_PART_IS_FOREIGN   ? 1
                                             : 0;
}

/* Two files could both be right and are not the same. In one place that is a conflict; a later
 * place is a re-send and wins, but only decryption proves it. */
static bool settle_conflict(struct ems_part_build *b, const struct ems_part_file *x,
                            const struct ems_part_file *y)
{
    char *name = name_of_rank(b->set, x->rank, NULL);
    struct ems_finding *f;

    if (x->source != y->source) {
        ems_findings_add(b->findings, EMS_PART_CONFLICT, EMS_SEVERITY_WARNING, b->set->name, name,
                         EMS_NOWHERE, "If the result is wrong, try without the second one.",
                         "%s and %s differ, and both could be right: the second one, which was "
                         "sent later, is used",
                         x->path, y->path);
        free(name);
        return true;
    }
    f = ems_findings_add(
        b->findings, EMS_PART_CONFLICT, EMS_SEVERITY_ERROR, b->set->name, name, EMS_NOWHERE, NULL,
        "%s and %s differ, both could be right, and nothing here says which is", x->path, y->path);
    if (f != NULL)
        f->resend = true;
    free(name);
    return false;
}

/* files[0..n) are all for one rank. */
int ems_part_take_rank(struct ems_part_build *b, struct ems_part_file *files, size_t n,
                       struct ems_error *err)
{
    uint64_t must, at_most;
    bool inside = ems_part_sizes_limits(b->set, files[0].rank, b->last, &must, &at_most);
    struct ems_part_file *best = &files[0];
    enum ems_part_status status = inside ? status_of(b, best, must, at_most) : EMS_PART_IS_STALE;

    for (size_t i = 1; i < n && inside; i++) {
        struct ems_part_file *f = &files[i];
        enum ems_part_status s = status_of(b, f, must, at_most);
        struct ems_part_file *left = f;

        if (f->device == best->device && f->inode == best->inode && f->member == best->member)
            continue; /* one file, named twice */
        if (status == EMS_PART_IS_CONFLICT)
            continue;
        if (s == EMS_PART_IS_OK && status == EMS_PART_IS_OK) {
            if (is_same(best, f)) {
                ems_part_report_note(b, EMS_PART_DUPLICATE, ems_part_file_name(f),
                                     "%s holds the same as %s: it counts once", f->path,
                                     best->path);
            } else if (settle_conflict(b, best, f)) {
                best = f;
            } else {
                status = EMS_PART_IS_CONFLICT;
            }
            continue;
        }
        if (nearness(s) >= nearness(status)) {
            left = best;
            best = f;
            status = s;
        }
        ems_part_report_note(b, EMS_PART_DUPLICATE, ems_part_file_name(left),
                             "%s is left aside for %s (proven by %s)", left->path, best->path,
                             ems_part_is_plausible(left) ? "size" : "content");
    }
    return ems_part_add_file(b, best, status, (unsigned)(n - 1), err);
}
