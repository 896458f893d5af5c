/*
 * parts.c - from paths to part sets; see parts.h.
 *
 * Files are collected (part_files.c), grouped by artifact here, and each group becomes a set
 * (part_build.c). The stream over a set is in parts_source.c.
 */
#include "parts.h"

#include "part_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DIFFERENCES 8u /* parts that differ between places and are named one by one */

/* By artifact; whole files, then parts; finished, then unfinished. */
static int compare_files(const void *a, const void *b)
{
    const struct ems_part_file *x = a, *y = b;
    int c = strcmp(x->artifact, y->artifact);

    if (c != 0)
        return c;
    if ((x->form == EMS_NAME_WHOLE) != (y->form == EMS_NAME_WHOLE))
        return x->form == EMS_NAME_WHOLE ? -1 : 1;
    return x->unfinished - y->unfinished;
}

void ems_part_release(struct ems_part *part)
{
    free(part->name);
    free(part->file);
    free(part->path);
    *part = (struct ems_part){0};
}

static void release_set(struct ems_part_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        ems_part_release(&set->parts[i]);
    for (size_t i = 0; i < set->other_count; i++)
        ems_part_release(&set->others[i]);
    free(set->parts);
    free(set->others);
    free(set->name);
    *set = (struct ems_part_set){0};
}

/* One attempt at an artifact, with what there is to say about it. */
struct attempt {
    struct ems_part_set set;
    struct ems_findings findings;
};

static void release_attempt(struct attempt *a)
{
    release_set(&a->set);
    ems_findings_release(&a->findings);
    a->findings = (struct ems_findings){0};
}

static int try(struct attempt *a, struct ems_part_file *files, size_t count, struct ems_error *err)
{
    struct ems_part_build b = {.set = &a->set, .files = files, .findings = &a->findings};

    a->set.name = strdup(files[0].artifact);
    if (a->set.name == NULL)
        return ems_fail_memory(err);
    while (b.count < count && !files[b.count].unfinished)
        b.count++;
    b.unfinished = files + b.count;
    b.unfinished_count = count - b.count;
    return files[0].form == EMS_NAME_WHOLE ? ems_part_build_whole(&b, err)
                                           : ems_part_build_split(&b, err);
}

/* The attempt becomes a set of the upload, and its findings are the upload's. */
static int keep(struct ems_upload *upload, struct attempt *a, struct ems_findings *findings,
                struct ems_error *err)
{
    ems_findings_move(findings, &a->findings);
    if (findings->out_of_memory)
        return ems_fail_memory(err);
    upload->sets[upload->count++] = a->set;
    a->set = (struct ems_part_set){0};
    return EMS_OK;
}

static bool has_conflict(const struct attempt *a)
{
    for (size_t i = 0; i < a->findings.count; i++)
        if (a->findings.items[i].code == EMS_PART_CONFLICT)
            return true;
    return false;
}

/* The same with the files of one place only. */
static int try_place(struct attempt *a, const struct ems_part_file *files, size_t count,
                     unsigned place, struct ems_error *err)
{
    struct ems_part_file *own = malloc((count + 1) * sizeof *own);
    size_t n = 0;
    int rc;

    if (own == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        if (files[i].source == place)
            own[n++] = files[i];
    rc = n > 0 ? try(a, own, n, err) : EMS_OK;
    free(own);
    return rc;
}

/* Two places hold a whole set each, of one size, and some parts differ. The last place's are used,
 * the others are at hand in case that they do not prove right. Where nearly all differ, one is a
 * new encryption: that is one thing to say. */
static void tell_differences(struct attempt *a)
{
    struct ems_findings *f = &a->findings;
    size_t ranks = 0;

    for (size_t i = 0; i < a->set.other_count; i++)
        ranks += i == 0 || a->set.others[i].rank != a->set.others[i - 1].rank;
    if (ranks <= MAX_DIFFERENCES)
        return;
    for (size_t i = f->count; i > 0; i--)
        if (f->items[i - 1].code == EMS_PART_CONFLICT)
            ems_findings_remove(f, i - 1, 1);
    ems_findings_add(f, EMS_PART_CONFLICT, EMS_SEVERITY_WARNING, a->set.name, NULL, EMS_NOWHERE,
                     "If the result is wrong, try each place by itself.",
                     "%zu parts of %s lie in several places and differ: those that were sent last "
                     "are used",
                     ranks, a->set.name);
}

/* Use the set of one place instead, and say so. */
static void prefer(struct attempt *a, struct attempt *alone, const char *which)
{
    struct attempt merged = *a;

    *a = *alone;
    *alone = merged;
    ems_findings_add(&a->findings, EMS_PART_DUPLICATE, EMS_SEVERITY_NOTE, a->set.name, NULL,
                     EMS_NOWHERE, NULL,
                     "the place named %s holds all parts of %s: what others hold of it is not used",
                     which, a->set.name);
}

/*
 * Parts from several places. They are merged, unless that gives nothing whole and the last place
 * holds a whole set of its own. A new encryption of the same data shares no byte with the old one:
 * where the beginnings state different lengths, there are two uploads, which are never mixed.
 */
static int try_parts(struct attempt *a, struct ems_part_file *files, size_t count,
                     struct ems_error *err)
{
    struct attempt alone = {0};
    unsigned first = files[0].source, last = files[0].source;
    bool mixed = false;
    int rc = try(a, files, count, err);

    for (size_t i = 1; i < count; i++) {
        first = files[i].source < first ? files[i].source : first;
        last = files[i].source > last ? files[i].source : last;
    }
    if (rc != EMS_OK || first == last || (a->set.whole && !has_conflict(a)))
        return rc;
    rc = try_place(&alone, files, count, last, err);
    if (rc == EMS_OK && alone.set.whole && a->set.whole && a->set.size == alone.set.size) {
        tell_differences(a);
    } else if (rc == EMS_OK && alone.set.whole) {
        prefer(a, &alone, "last");
    } else if (rc == EMS_OK && alone.set.expected > 0 && a->set.expected > 0) {
        mixed = alone.set.expected != a->set.expected;
        release_attempt(&alone);
        if (mixed)
            rc = try_place(&alone, files, count, first, err);
        if (rc == EMS_OK && mixed && alone.set.whole) {
            prefer(a, &alone, "first");
        } else if (rc == EMS_OK && mixed) {
            ems_findings_add(&a->findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, a->set.name, NULL,
                             EMS_NOWHERE, NULL,
                             "the places hold parts of two uploads of %s, none of them whole; they "
                             "are not mixed",
                             a->set.name);
            a->set.refused = true;
            a->set.whole = a->set.proven = false;
        }
    }
    release_attempt(&alone);
    return rc;
}

/* As far as can be told without decrypting. */
static bool is_right(const struct ems_part_set *set)
{
    return set->whole && (set->expected == 0 || set->expected == set->size);
}

/*
 * An artifact that lies here whole and in parts: the one whose size is right. Where neither is,
 * less is to be sent again if the parts are mended, unless nothing can mend them (two splits in
 * one).
 */
static int settle_both(struct ems_upload *upload, struct attempt *file, struct attempt *parts,
                       struct ems_findings *findings, struct ems_error *err)
{
    bool file_right = is_right(&file->set), parts_right = is_right(&parts->set);
    bool use_file = file_right || (!parts_right && parts->set.refused && file->set.whole);
    const char *name = file->set.name, *how = "neither is right, the parts are used";

    if (file_right && parts_right)
        how = "the whole file is used, the two are not compared";
    else if (file_right)
        how = "the whole file is used";
    else if (parts_right)
        how = "the whole file is not right, the parts are used";
    else if (use_file)
        how = "neither is right, the whole file is used";
    ems_findings_add(findings, EMS_PART_DUPLICATE, EMS_SEVERITY_WARNING, name, NULL, EMS_NOWHERE,
                     "Send either the whole file or its parts.",
                     "%s lies here whole and also in %zu parts; %s", name, parts->set.count, how);
    return keep(upload, use_file ? file : parts, findings, err);
}

/* files[0..n) are of one artifact. */
static int take_artifact(struct ems_upload *upload, struct ems_part_file *files, size_t n,
                         struct ems_findings *findings, struct ems_error *err)
{
    struct attempt file = {0}, parts = {0};
    size_t whole = 0;
    int rc = EMS_OK;

    while (whole < n && files[whole].form == EMS_NAME_WHOLE)
        whole++;
    if (whole > 0)
        rc = try(&file, files, whole, err);
    if (rc == EMS_OK && whole < n)
        rc = try_parts(&parts, files + whole, n - whole, err);
    if (rc == EMS_OK && whole > 0 && whole < n)
        rc = settle_both(upload, &file, &parts, findings, err);
    else if (rc == EMS_OK)
        rc = keep(upload, whole > 0 ? &file : &parts, findings, err);
    release_attempt(&file);
    release_attempt(&parts);
    return rc;
}

int ems_upload_resolve(struct ems_upload *upload, const char *const *paths, size_t count,
                       struct ems_findings *findings, struct ems_error *err)
{
    struct ems_part_files list = {0};
    size_t artifacts = 0, n;
    int rc;

    *upload = (struct ems_upload){0};
    rc = ems_part_files_collect(&list, paths, count, findings, err);
    if (rc != EMS_OK)
        goto out;
    if (list.count > 1)
        qsort(list.items, list.count, sizeof *list.items, compare_files);
    for (size_t i = 0; i < list.count; i++)
        artifacts += i == 0 || strcmp(list.items[i].artifact, list.items[i - 1].artifact) != 0;
    upload->sets = calloc(artifacts + 1, sizeof *upload->sets);
    if (upload->sets == NULL) {
        rc = ems_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < list.count && rc == EMS_OK; i += n) {
        for (n = 1;
             i + n < list.count && strcmp(list.items[i + n].artifact, list.items[i].artifact) == 0;
             n++)
            ;
        rc = take_artifact(upload, &list.items[i], n, findings, err);
    }
out:
    ems_part_files_release(&list);
    if (rc != EMS_OK)
        ems_upload_release(upload);
    return rc;
}

void ems_upload_release(struct ems_upload *upload)
{
    for (size_t i = 0; i < upload->count; i++)
        release_set(&upload->sets[i]);
    free(upload->sets);
    *upload = (struct ems_upload){0};
}

const char *ems_part_status_name(enum ems_part_status status)
{
    static const char *const names[] = {"ok",    "missing", "empty",      "truncated",
                                        "stale", "foreign", "unfinished", "conflict"};

    return names[status];
}

char *ems_part_set_scheme(const struct ems_part_set *set, char *out)
{
    static const char *const symbols[] = {"letters", "digits", "hex digits"};
    int n;

    if (!set->split || set->form == EMS_NAME_VOLUME) {
        snprintf(out, 64, "%s", set->split ? "7-Zip volumes" : "one file");
        return out;
    }
    n = snprintf(out, 64, "%s", symbols[set->alphabet]);
    if (!set->widening)
        n += snprintf(out + n, 64 - (size_t)n, ", %u wide", set->width);
    if (set->first > 0)
        snprintf(out + n, 64 - (size_t)n, ", from %llu", (unsigned long long)set->first);
    return out;
}
