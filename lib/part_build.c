/*
 * part_build.c - one set from the files of an artifact; see part_set.h.
 *
 * Order of work: ranks, first bytes, length of the whole, part size; then for each rank the file
 * that is right; then gaps, the tail and what is still arriving.
 */
#include "part_set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Pages and errors of servers are small: larger files are looked at only if they are odd. */
#define LOOK_ALWAYS (1u << 20)
#define LOOK_ENOUGH 1000u /* files of the usual size, until the rest of them is trusted */

/* ---- scheme and ranks ---- */

static int compare_files(const void *a, const void *b)
{
    const struct ems_part_file *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    if (x->renamed != y->renamed)
        return x->renamed - y->renamed;
    return strcmp(x->path, y->path);
}

static void sort_files(struct ems_part_build *b)
{
    if (b->count > 1)
        qsort(b->files, b->count, sizeof *b->files, compare_files);
}

/* The scheme is a property of the whole set: which symbols occur, and how long the suffixes are. */
static bool find_scheme(struct ems_part_set *set, struct ems_part_file *files, size_t count)
{
    bool digits = false, low = false, high = false, mixed = false, same_width = true, all = true;

    set->form = files[0].form;
    set->width = (unsigned)strlen(files[0].suffix);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(files[i].suffix), numbers = strspn(files[i].suffix, "0123456789");

        if (files[i].form != set->form)
            return false;
        same_width &= n == set->width;
        digits |= strcspn(files[i].suffix, "0123456789") < n;
        low |= strcspn(files[i].suffix, "abcdef") < n;
        high |= strcspn(files[i].suffix, "ghijklmnopqrstuvwxyz") < n;
        mixed |= n == 1 || (numbers < n && strcspn(files[i].suffix, "0123456789") < n);
    }
    /* Hex digits come together in some names; where they never do, there are two runs of split. */
    if (digits && (high || (low && !mixed)))
        return false;
    /* A hex set without a single digit cannot be: its first part is "00". */
    set->alphabet = !digits ? EMS_PART_LETTERS : low ? EMS_PART_HEX : EMS_PART_DIGITS;
    if (set->form == EMS_NAME_VOLUME) {
        set->first = 1;
        for (size_t i = 0; i < count; i++) {
            files[i].rank = strtoull(files[i].suffix, NULL, 10);
            if (files[i].rank == 0)
                set->first = 0;
        }
        return true;
    }
    /* Names that widen, if they all can be such; otherwise of one width. */
    set->widening = true;
    for (size_t i = 0; i < count && all; i++)
        all = ems_suffix_rank(set->alphabet, true, 0, files[i].suffix, &files[i].rank);
    if (all)
        return true;
    set->widening = false;
    for (size_t i = 0; i < count; i++)
        if (!same_width ||
            !ems_suffix_rank(set->alphabet, false, set->width, files[i].suffix, &files[i].rank))
            return false;
    return true;
}

static int report_scheme(struct ems_part_build *b, struct ems_error *err)
{
    int rc = EMS_OK;

    ems_findings_add(
        b->findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, b->set->name, NULL, EMS_NOWHERE, NULL,
        "the parts of %s do not follow one numbering, so they are of several splits", b->set->name);
    for (size_t i = 0; i < b->count && rc == EMS_OK; i++) {
        b->files[i].rank = UINT64_MAX;
        rc = ems_part_add_file(b, &b->files[i], EMS_PART_IS_CONFLICT, 0, err);
    }
    return rc;
}

/* ---- first bytes ---- */

/* Encrypted or packed by its name: then the first part begins accordingly. */
static bool has_known_beginning(const char *name)
{
    static const char *const endings[] = {".gpg", ".pgp", ".gz", ".tgz"};
    size_t n = strlen(name);

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t m = strlen(endings[i]);

        if (n > m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

/* The size that most files have stands for "as it should be"; the rest is looked at. */
static uint64_t usual_size(const struct ems_part_build *b)
{
    uint64_t usual = 0;
    size_t votes = 0;

    for (size_t i = 0; i < b->count; i++) { /* majority vote in one pass */
        if (votes == 0)
            usual = b->files[i].size;
        votes += b->files[i].size == usual ? 1 : (size_t)-1;
    }
    return usual;
}

static bool begins_well(const struct ems_part_file *f)
{
    return f->looks != EMS_LOOKS_UNKNOWN && ems_part_is_plausible(f);
}

/* First bytes are read where they can tell something: of the first and the last part, of files of
 * another size than most, and of small ones, until a thousand of them were in order. */
static void look_at_files(struct ems_part_build *b)
{
    struct ems_part_reader reader = EMS_PART_READER_INIT;
    uint64_t usual = usual_size(b), lowest = b->files[0].rank;
    unsigned in_order = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct ems_part_file *f = &b->files[i];
        bool odd = f->rank == lowest || f->rank == b->last || f->size != usual;

        if (!odd && (f->size > LOOK_ALWAYS || in_order >= LOOK_ENOUGH))
            continue;
        ems_part_look(&reader, f);
        if (!odd)
            in_order = ems_part_is_plausible(f) ? in_order + 1 : 0;
    }
    ems_part_reader_close(&reader);
}

/* Would a message of this length have as many parts as there are, of the size that most have? */
static bool fits_set(const struct ems_part_build *b, uint64_t stated)
{
    uint64_t size = usual_size(b), parts = b->last - b->files[0].rank + 1;

    return size > 0 && (stated + size - 1) / size == parts;
}

/*
 * The one file that begins with session keys and a container of a stated length though it is not
 * called the first part; NULL if there is none, or several of which not exactly one states a length
 * that fits. A message that is not longer than the part itself would not have been split: that, of
 * all chances, leaves random bytes one in 2^24.
 */
static const struct ems_part_file *find_misplaced(struct ems_part_build *b, uint64_t *stated)
{
    const struct ems_part_file *found = NULL;
    struct ems_part_reader reader = EMS_PART_READER_INIT;
    size_t rivals = 0, fitting = 0;

    *stated = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct ems_part_file *f = &b->files[i];
        uint64_t size;
        bool fits;

        if (f->rank == b->files[0].rank)
            continue;
        if (!f->looked)
            ems_part_look(&reader, f);
        size = f->looks == EMS_LOOKS_OPENPGP ? ems_part_stated_size(f) : 0;
        if (size <= f->size || (found != NULL && found->rank == f->rank))
            continue;
        fits = fits_set(b, size);
        rivals++;
        fitting += fits;
        if (found == NULL || (fits && fitting == 1)) {
            found = f;
            *stated = size;
        }
    }
    ems_part_reader_close(&reader);
    return rivals == 1 || fitting == 1 ? found : NULL;
}

/* Where the set begins, and what the beginning says about the length of the whole. */
static void find_beginning(struct ems_part_build *b)
{
    struct ems_part_set *set = b->set;
    const struct ems_part_file *misplaced, *first = NULL;
    uint64_t lowest = b->files[0].rank, stated;
    bool from = set->form == EMS_NAME_PART && set->alphabet != EMS_PART_LETTERS && lowest > 0 &&
                strlen(b->files[0].suffix) == set->width;
    bool here = false;

    b->begins_at = EMS_NOWHERE;
    for (size_t i = 0; i < b->count && b->files[i].rank == lowest && first == NULL; i++) {
        here |= ems_part_is_plausible(&b->files[i]);
        if (begins_well(&b->files[i]) || !has_known_beginning(set->name))
            first = &b->files[i];
    }
    misplaced = here && first == NULL ? find_misplaced(b, &stated) : NULL;
    /* split --numeric-suffixes=FROM: believed if that part begins like a first one, or has changed
     * its name with one that does. */
    if (from && (misplaced != NULL || (first != NULL && begins_well(first)))) {
        set->first = lowest;
        set->widening = false;
    }
    if (lowest != set->first)
        return;
    if (first != NULL && first->looks == EMS_LOOKS_OPENPGP)
        set->expected = ems_part_stated_size(first);
    b->wrong_first = here && first == NULL;
    if (misplaced != NULL) {
        b->begins_at = misplaced->rank;
        set->expected = stated;
    }
}

/*
 * Numbers that were believed to begin at the lowest one that is here, only because the beginning of
 * the message lies under another name. If the message has as many parts as the highest number says,
 * they begin at 1, and what lies before the lowest one is lost. Where the lowest is 1 and one
 * number is too few, 00 may be lost as well as the last one: nothing tells, and 1 stays the first.
 */
static bool begins_at_one(const struct ems_part_build *b)
{
    const struct ems_part_set *set = b->set;

    if (set->form != EMS_NAME_PART || set->first < 2 || b->begins_at == EMS_NOWHERE ||
        set->part_size == 0)
        return false;
    return b->last == (set->expected + set->part_size - 1) / set->part_size;
}

static int find_sizes(struct ems_part_build *b, struct ems_error *err)
{
    int rc = ems_part_sizes_find(b, err);

    if (rc != EMS_OK || !begins_at_one(b))
        return rc;
    /* What each part must have hangs on how many lie before it. */
    b->set->first = 1;
    b->other_size = 0;
    return ems_part_sizes_find(b, err);
}

/* ---- the tail, and what is still arriving ---- */

/* Appends what the length of the whole asks for. */
static int add_tail(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    uint64_t want = set->expected > 0 ? set->expected : set->at_least;
    uint64_t until = set->part_size > 0 ? (want + set->part_size - 1) / set->part_size : 0;
    uint64_t next = set->count > 0 ? set->parts[set->count - 1].rank + 1 : set->first;

    if (want == 0 || set->first + until <= next)
        return EMS_OK;
    until += set->first;
    if (until - next > EMS_PART_MAX_MISSING)
        until = next + EMS_PART_MAX_MISSING;
    return ems_part_add_missing(set, next, until, err);
}

/* Then it is no last part, whatever it is called. */
static bool begins_message(const struct ems_part *part)
{
    return part->looks == EMS_LOOKS_OPENPGP || part->looks == EMS_LOOKS_GZIP;
}

/* A fixed width has an end, and BSD's and BusyBox's split stop there, as GNU's with -a. */
static void find_end_of_names(struct ems_part_build *b)
{
    struct ems_part_set *set = b->set;
    const struct ems_part *last = &set->parts[set->count - 1];
    char suffix[EMS_SUFFIX_MAX];

    if (set->widening || set->form != EMS_NAME_PART || last->status != EMS_PART_IS_OK ||
        last->size != set->part_size || last->rank != b->last || begins_message(last) ||
        ems_suffix_text(set->alphabet, false, set->width, last->rank + 1, suffix))
        return;
    b->out_of_names = set->expected == 0 || set->expected > set->size;
}

static int take_unfinished(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;

    for (size_t i = 0; i < b->unfinished_count; i++) {
        struct ems_part_file *f = &b->unfinished[i];
        struct ems_part *part = NULL;

        for (size_t low = 0, high = set->count; low < high && part == NULL;) {
            size_t middle = low + (high - low) / 2;

            if (set->parts[middle].rank == f->rank)
                part = &set->parts[middle];
            else if (set->parts[middle].rank < f->rank)
                low = middle + 1;
            else
                high = middle;
        }
        if (part == NULL || part->status == EMS_PART_IS_UNFINISHED)
            continue;
        if (!f->in_place && part->status != EMS_PART_IS_MISSING &&
            part->status != EMS_PART_IS_EMPTY) {
            ems_part_report_note(b, EMS_PART_UNFINISHED, ems_part_file_name(f),
                                 "%s is left over from a download; %s itself is here", f->path,
                                 part->name);
            continue;
        }
        free(part->path);
        free(part->file);
        part->path = NULL;
        part->size = 0;
        part->status = EMS_PART_IS_UNFINISHED;
        part->file = strdup(ems_part_file_name(f));
        if (part->file == NULL)
            return ems_fail_memory(err);
    }
    return EMS_OK;
}

void ems_part_set_settle(struct ems_part_set *set)
{
    set->size = 0;
    set->whole = set->count > 0 && !set->refused;
    for (size_t i = 0; i < set->count; i++) {
        struct ems_part *part = &set->parts[i];

        part->offset = set->size;
        if (part->status == EMS_PART_IS_STALE)
            continue;
        set->size += part->size;
        set->whole &= part->status == EMS_PART_IS_OK;
    }
    set->proven = set->whole && set->expected > 0 && set->size == set->expected;
    set->tail_open = set->whole && set->split && !set->proven && set->count > 1 &&
                     set->parts[set->count - 1].size == set->part_size;
}

/* ---- sets ---- */

static int take_all(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    uint64_t next = set->first, end = EMS_NOWHERE;
    int rc = EMS_OK;

    if (set->expected > 0 && set->part_size > 0) /* behind that nothing is missed */
        end = set->first + (set->expected + set->part_size - 1) / set->part_size;
    for (size_t i = 0, n; i < b->count && rc == EMS_OK; i += n) {
        uint64_t rank = b->files[i].rank;

        for (n = 1; i + n < b->count && b->files[i + n].rank == rank; n++)
            ;
        rc = ems_part_add_missing(set, next, rank < end ? rank : end, err);
        if (rc == EMS_OK)
            rc = ems_part_take_rank(b, &b->files[i], n, err);
        next = rank + 1;
    }
    /* What arrives behind the last one; with a length stated, that says more. */
    if (rc == EMS_OK && set->expected == 0)
        rc = ems_part_add_missing(set, next, b->last + 1, err);
    return rc;
}

static int judge(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    int rc;

    ems_part_set_settle(set);
    if (set->expected == 0 && b->count > 0)
        ems_part_walk(b);
    else if (set->expected > 0 && set->part_size == 0 && set->split)
        ems_part_sizes_suspect(b);
    ems_part_set_settle(set);
    rc = add_tail(b, err);
    if (rc == EMS_OK)
        rc = take_unfinished(b, err);
    ems_part_set_settle(set);
    find_end_of_names(b);
    set->refused = b->out_of_names || b->other_size > 0;
    ems_part_set_settle(set);
    return rc;
}

int ems_part_build_split(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    size_t all = b->count + b->unfinished_count;
    uint64_t present = 0;
    int rc;

    set->split = true;
    /* Finished and unfinished files lie behind each other in one array. */
    if (!find_scheme(set, b->files, all))
        return report_scheme(b, err);
    sort_files(b);
    for (size_t i = 0; i < all; i++)
        if (b->files[i].rank > b->last)
            b->last = b->files[i].rank;
    for (size_t i = 0; i < b->count; i++)
        present += i == 0 || b->files[i].rank != b->files[i - 1].rank;
    if (b->count > 0) {
        look_at_files(b);
        find_beginning(b);
    }
    if (b->last + 1 - set->first > present + EMS_PART_MAX_MISSING) {
        ems_findings_add(b->findings, EMS_PART_SCHEME, EMS_SEVERITY_ERROR, set->name, NULL,
                         EMS_NOWHERE, NULL, "%" PRIu64 " parts of %s would be missing before %s",
                         b->last + 1 - set->first - present, set->name,
                         ems_part_file_name(&b->files[b->count > 0 ? b->count - 1 : 0]));
        return EMS_OK;
    }
    rc = b->count > 0 ? find_sizes(b, err) : EMS_OK;
    if (rc == EMS_OK)
        rc = take_all(b, err);
    if (rc == EMS_OK)
        rc = judge(b, err);
    if (rc == EMS_OK)
        ems_part_report_set(b);
    return rc;
}

/* Safari unpacks what it downloads and keeps the name, or most of it. The content is read as it is.
 */
static void note_lost_gzip(struct ems_part_build *b)
{
    const char *name = b->set->name;
    size_t n = strlen(name);

    if (b->count == 0 || n < 4 ||
        (strcmp(name + n - 3, ".gz") != 0 && strcmp(name + n - 4, ".tgz") != 0))
        return;
    if (b->files[0].looks == EMS_LOOKS_TAR || b->files[0].looks == EMS_LOOKS_SQL ||
        b->files[0].looks == EMS_LOOKS_SQLITE)
        ems_part_report_note(b, EMS_PART_RENAMED, name,
                             "%s is not compressed: a browser has unpacked it on the way", name);
}

int ems_part_build_whole(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    struct ems_part_reader reader = EMS_PART_READER_INIT;
    bool ours = false;
    int rc = EMS_OK;

    sort_files(b);
    b->begins_at = EMS_NOWHERE;
    for (size_t i = 0; i < b->count; i++) {
        struct ems_part_file *f = &b->files[i];

        ours |= f->known || ems_part_name_is_archive(set->name);
        ems_part_look(&reader, f);
        if (set->expected == 0 && f->looks == EMS_LOOKS_OPENPGP)
            set->expected = ems_part_stated_size(f);
    }
    ems_part_reader_close(&reader);
    note_lost_gzip(b);
    /* Of several files the one that has the stated length; a single one is judged where it is read,
     * which knows more about it. */
    set->part_size = b->count > 1 ? set->expected : 0;
    if (b->count > 0)
        rc = ems_part_take_rank(b, b->files, b->count, err);
    else
        rc = ems_part_add_missing(set, 0, 1, err);
    set->part_size = 0;
    if (rc != EMS_OK)
        return rc;
    /* A stranger's empty file or web page beside the upload is nobody's fault. */
    if (!ours && b->count > 0 && set->parts[0].status != EMS_PART_IS_CONFLICT)
        set->parts[0].status = EMS_PART_IS_OK;
    if (ours && b->count > 0 && set->parts[0].status == EMS_PART_IS_FOREIGN &&
        set->parts[0].looks == EMS_LOOKS_ZIP)
        set->parts[0].status = EMS_PART_IS_OK;
    if (set->parts[0].status == EMS_PART_IS_TRUNCATED ||
        (set->parts[0].status == EMS_PART_IS_FOREIGN && ems_part_is_plausible(b->files)))
        set->parts[0].status = EMS_PART_IS_OK;
    rc = take_unfinished(b, err);
    ems_part_set_settle(set);
    if (rc == EMS_OK)
        ems_part_report_set(b);
    return rc;
}
