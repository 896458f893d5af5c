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

/* NULL and no error: the scheme has no such name. */
static char *name_of_rank(const struct ems_part_set *set, uint64_t rank, struct ems_error *err)
{
    char suffix[EMS_SUFFIX_MAX], *name;
    int n;

    if (rank == UINT64_MAX) /* of no numbering (report_scheme) */
        return NULL;
    if (!set->split)
        n = asprintf(&name, "%s", set->name);
    else if (set->form == EMS_NAME_VOLUME)
        n = asprintf(&name, "%s.%03" PRIu64, set->name, rank);
    else if (ems_suffix_text(set->alphabet, set->widening, set->width, rank, suffix))
        n = asprintf(&name, "%s.part-%s", set->name, suffix);
    else
        return NULL;
    if (n < 0)
        ems_fail_memory(err);
    return n < 0 ? NULL : name;
}

char *ems_part_set_name(const struct ems_part_set *set, uint64_t rank)
{
    return name_of_rank(set, rank, NULL);
}

/* Append; takes over the strings. The capacity is what the count says: powers of two. */
static int add_part(struct ems_part_set *set, struct ems_part *part, struct ems_error *err)
{
    if ((set->count & (set->count + 1)) == 0 || set->parts == NULL) {
        struct ems_part *parts = realloc(set->parts, (2 * set->count + 2) * sizeof *parts);

        if (parts == NULL) {
            ems_part_release(part);
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

/* The file as a part of its rank; false when out of memory. */
static bool describe(const struct ems_part_set *set, const struct ems_part_file *f,
                     enum ems_part_status status, struct ems_part *part)
{
    const char *file = ems_part_file_name(f);

    *part = (struct ems_part){.path = strdup(f->path),
                              .name = ems_part_set_name(set, f->rank),
                              .member = f->member,
                              .rank = f->rank,
                              .size = f->size,
                              .status = status,
                              .looks = f->looks,
                              .disk_size = f->disk_size,
                              .device = f->device,
                              .inode = f->inode,
                              .modified = f->modified};
    if (part->name == NULL) /* two splits: the rank means nothing */
        part->name = strdup(file);
    if (part->name != NULL && strcmp(part->name, file) != 0) {
        part->file = strdup(file);
        if (part->file == NULL)
            ems_part_release(part);
    }
    if (part->path != NULL && part->name != NULL)
        return true;
    ems_part_release(part);
    return false;
}

int ems_part_add_file(struct ems_part_build *b, const struct ems_part_file *f,
                      enum ems_part_status status, unsigned copies, struct ems_error *err)
{
    struct ems_part part;

    if (!describe(b->set, f, status, &part))
        return ems_fail_memory(err);
    part.copies = copies;
    if (part.file != NULL)
        ems_part_report_note(b, EMS_PART_RENAMED, part.name,
                             "%s is taken for %s: its name was changed on the way", part.file,
                             part.name);
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

/* ---- files that could all be right ---- */

/* More files than these for one part are not told apart: reading each against each would let an
 * upload ask for any amount of work. */
#define MAX_RIVALS 8u

struct rivals {
    struct ems_part_file *best;
    struct ems_part_file *file[MAX_RIVALS]; /* not the same as best, nor as each other */
    size_t count;
    bool conflict; /* of best's own place are several, and nothing says which is right */
};

static void add_rival(struct rivals *r, struct ems_part_file *f)
{
    if (r->count < MAX_RIVALS)
        r->file[r->count++] = f;
}

/*
 * One more file that could be right. Equal ones count once. What lies in a later place was sent
 * again, which decides (even between two of the first place that differ), though only a proof
 * decides for good.
 */
static void weigh(struct ems_part_build *b, struct rivals *r, struct ems_part_file *f)
{
    bool later = f->source > r->best->source;
    struct ems_part_file *same = is_same(r->best, f) ? r->best : NULL;
    size_t place = 0;

    for (size_t i = 0; i < r->count && same == NULL; i++)
        if (is_same(r->file[i], f)) {
            same = r->file[i];
            place = i;
        }
    if (same != NULL)
        ems_part_report_note(b, EMS_PART_DUPLICATE, ems_part_file_name(f),
                             "%s holds the same as %s: it counts once", f->path, same->path);
    if (same == r->best) {
        r->conflict &= !later;
    } else if (later) {
        if (same != NULL)
            r->file[place] = r->best;
        else
            add_rival(r, r->best);
        r->best = f;
        r->conflict = false;
    } else if (same == NULL) {
        add_rival(r, f);
        r->conflict = true;
    }
}

/* Keeps the others at hand for whoever can prove one right, and says that they are there. */
static int report_rivals(struct ems_part_build *b, const struct rivals *r, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    struct ems_part *others;
    struct ems_finding *f;
    char *name;

    if (r->count == 0)
        return EMS_OK;
    others = realloc(set->others, (set->other_count + r->count) * sizeof *others);
    if (others == NULL)
        return ems_fail_memory(err);
    set->others = others;
    for (size_t i = 0; i < r->count; i++) {
        if (!describe(set, r->file[i], EMS_PART_IS_OK, &others[set->other_count]))
            return ems_fail_memory(err);
        set->other_count++;
    }
    name = ems_part_set_name(set, r->best->rank);
    if (r->conflict) {
        f = ems_findings_add(
            b->findings, EMS_PART_CONFLICT, EMS_SEVERITY_ERROR, set->name, name, EMS_NOWHERE, NULL,
            "%s and %s differ, both could be right, and nothing here says which is", r->best->path,
            r->file[r->count - 1]->path);
        if (f != NULL)
            f->resend = true;
    } else {
        ems_findings_add(b->findings, EMS_PART_CONFLICT, EMS_SEVERITY_WARNING, set->name, name,
                         EMS_NOWHERE, "If the result is wrong, try without the second one.",
                         "%s and %s differ, and both could be right: the second one, which was "
                         "sent later, is used",
                         r->file[r->count - 1]->path, r->best->path);
    }
    free(name);
    return EMS_OK;
}

/* files[0..n) are all for one rank. */
int ems_part_take_rank(struct ems_part_build *b, struct ems_part_file *files, size_t n,
                       struct ems_error *err)
{
    uint64_t must, at_most;
    bool inside = ems_part_sizes_limits(b->set, files[0].rank, b->last, &must, &at_most);
    struct rivals r = {.best = &files[0]};
    enum ems_part_status status = inside ? status_of(b, r.best, must, at_most) : EMS_PART_IS_STALE;
    int rc;

    for (size_t i = 1; i < n && inside; i++) {
        struct ems_part_file *f = &files[i], *left = f;
        enum ems_part_status s = status_of(b, f, must, at_most);

        if (f->device == r.best->device && f->inode == r.best->inode && f->member == r.best->member)
            continue; /* one file, named twice */
        if (s == EMS_PART_IS_OK && status == EMS_PART_IS_OK) {
            weigh(b, &r, f);
            continue;
        }
        if (nearness(s) >= nearness(status)) {
            left = r.best;
            r.best = f;
            status = s;
        }
        ems_part_report_note(b, EMS_PART_DUPLICATE, ems_part_file_name(left),
                             "%s is left aside for %s (proven by %s)", left->path, r.best->path,
                             ems_part_is_plausible(left) ? "size" : "content");
    }
    rc = report_rivals(b, &r, err);
    if (rc == EMS_OK)
        rc = ems_part_add_file(b, r.best, r.conflict ? EMS_PART_IS_CONFLICT : status,
                               (unsigned)(n - 1), err);
    return rc;
}
