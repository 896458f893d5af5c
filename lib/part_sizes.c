/*
 * part_sizes.c - what the sizes of parts say; see part_set.h.
 *
 * split gives all parts but the last one size S. S is the size that explains most of the files;
 * among sizes that explain equally many the rounder one, for people say 100m and not 104857597.
 * With the length E of the whole known, the last part's size follows, and S even from an intact
 * last part.
 */
#include "part_set.h"

#include <stdlib.h>

#define MAX_CANDIDATES 12u
#define ROUND_ENOUGH   9u /* a multiple of 512 or of 1000 */

bool ems_part_is_plausible(const struct ems_part_file *f)
{
    return f->size > 0 && f->looks != EMS_LOOKS_PAGE && f->looks != EMS_LOOKS_JSON &&
           f->looks != EMS_LOOKS_ZIP;
}

/* Bits of roundness: binary zeros at the end, or decimal ones at 10/3 bits each. */
static unsigned roundness(uint64_t size)
{
    unsigned binary = 0, decimal = 0;

    for (uint64_t s = size; s > 0 && s % 2 == 0; s /= 2)
        binary++;
    for (uint64_t s = size; s > 0 && s % 10 == 0; s /= 10)
        decimal++;
    return binary > decimal * 10 / 3 ? binary : decimal * 10 / 3;
}

bool ems_part_sizes_limits(const struct ems_part_set *set, uint64_t rank, uint64_t last,
                           uint64_t *must, uint64_t *at_most)
{
    uint64_t number = rank - set->first, parts;

    *must = *at_most = 0;
    if (set->part_size == 0)
        return true;
    if (set->expected == 0) {
        if (rank < last)
            *must = set->part_size;
        else
            *at_most = set->part_size;
        return true;
    }
    parts = (set->expected + set->part_size - 1) / set->part_size;
    if (number >= parts)
        return false;
    *must = number + 1 < parts ? set->part_size : set->expected - number * set->part_size;
    return true;
}

/* ---- the candidates and what they explain ---- */

struct candidate {
    uint64_t size;
    bool derived;      /* no file has it: it follows from the length of the whole */
    size_t fits, full; /* ranks that it explains; of them without the last */
};

struct candidates {
    struct candidate items[MAX_CANDIDATES];
    size_t count;
};

static bool is_suggested(const struct candidates *c, uint64_t size)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].size == size)
            return true;
    return false;
}

static void suggest(struct candidates *c, uint64_t size, bool derived)
{
    if (size > 0 && c->count < MAX_CANDIDATES && !is_suggested(c, size))
        c->items[c->count++] = (struct candidate){.size = size, .derived = derived};
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The most frequent sizes: the first rounds of picking the longest run of a sorted list. */
static void suggest_frequent(struct candidates *c, const uint64_t *sizes, size_t n)
{
    for (unsigned round = 0; round < 8; round++) {
        size_t best = 0;
        uint64_t size = 0;

        for (size_t i = 0, run; i < n; i += run) {
            for (run = 1; i + run < n && sizes[i + run] == sizes[i]; run++)
                ;
            if (run >= best && !is_suggested(c, sizes[i])) {
                best = run;
                size = sizes[i];
            }
        }
        if (size == 0)
            return;
        suggest(c, size, false);
    }
}

/* How many ranks have a file of the size that S (set->part_size) asks for. *full: without the last,
 * whose size says little. */
static size_t support(const struct ems_part_build *b, size_t *full)
{
    size_t fits = 0;

    *full = 0;
    for (size_t i = 0; i < b->count;) {
        uint64_t rank = b->files[i].rank, must, at_most;
        bool inside = ems_part_sizes_limits(b->set, rank, b->last, &must, &at_most), fit = false;

        for (; i < b->count && b->files[i].rank == rank; i++)
            fit |= inside && ems_part_is_plausible(&b->files[i]) &&
                   (must > 0 ? b->files[i].size == must : b->files[i].size <= at_most);
        fits += fit;
        *full += fit && must > 0;
    }
    return fits;
}

/*
 * split -n N: N parts whose sizes differ by one, or whose last has the remainder on top. Only the
 * length of the whole can show that.
 */
static bool is_even_split(const struct ems_part_build *b)
{
    uint64_t sum = 0, least = UINT64_MAX, most = 0, last = b->files[b->count - 1].size;

    for (size_t i = 0; i < b->count; i++) {
        const struct ems_part_file *f = &b->files[i];

        if (f->rank != b->set->first + i || !ems_part_is_plausible(f))
            return false;
        sum += f->size;
        if (i + 1 < b->count && f->size < least)
            least = f->size;
        if (i + 1 < b->count && f->size > most)
            most = f->size;
    }
    if (b->count < 2 || sum != b->set->expected || most - least > 1)
        return false;
    return last + 1 >= most && last < most + b->count;
}

/* Two splits in one place: several parts that do not fit have another round size in common. */
static void find_other_size(struct ems_part_build *b, const uint64_t *sizes, size_t n)
{
    uint64_t must, at_most;

    for (size_t i = 0, run; i < n; i += run) {
        size_t misfits = 0;

        for (run = 1; i + run < n && sizes[i + run] == sizes[i]; run++)
            ;
        if (run < 2 || sizes[i] == b->set->part_size || roundness(sizes[i]) < ROUND_ENOUGH)
            continue;
        for (size_t k = 0; k < b->count; k++)
            misfits += b->files[k].size == sizes[i] &&
                       ems_part_sizes_limits(b->set, b->files[k].rank, b->last, &must, &at_most) &&
                       must != sizes[i];
        if (misfits >= 2)
            b->other_size = sizes[i];
    }
}

/* Is x, with what it explains, to be preferred to y? A round size is worth one file: two parts cut
 * at the same byte are likelier than a split -b 104857597. */
static bool is_better(const struct candidate *x, const struct candidate *y)
{
    unsigned rx = roundness(x->size), ry = roundness(y->size);
    size_t wx = x->fits + (rx >= ROUND_ENOUGH), wy = y->fits + (ry >= ROUND_ENOUGH);

    if (wx != wy)
        return wx > wy;
    if ((rx >= ROUND_ENOUGH) != (ry >= ROUND_ENOUGH))
        return rx >= ROUND_ENOUGH;
    if (x->derived != y->derived)
        return y->derived;
    return rx != ry ? rx > ry : x->size > y->size;
}

/* Picks the size that explains most. */
static struct candidate choose(struct ems_part_build *b, struct candidates *c)
{
    struct candidate best = {0};

    for (size_t i = 0; i < c->count; i++) {
        b->set->part_size = c->items[i].size;
        c->items[i].fits = support(b, &c->items[i].full);
        if (best.size == 0 || is_better(&c->items[i], &best))
            best = c->items[i];
    }
    b->set->part_size = best.size;
    b->trusted = best.full >= 2 || (best.full >= 1 && roundness(best.size) >= ROUND_ENOUGH);
    return best;
}

/* Does the chosen size, though nothing but a guess, explain every file and the length of the whole?
 */
static bool explains_all(const struct ems_part_build *b, size_t fits)
{
    uint64_t parts = (b->set->expected + b->set->part_size - 1) / b->set->part_size;

    return fits == parts && b->last - b->set->first + 1 == parts;
}

int ems_part_sizes_find(struct ems_part_build *b, struct ems_error *err)
{
    struct ems_part_set *set = b->set;
    uint64_t *sizes = malloc((b->count + 1) * sizeof *sizes);
    const struct ems_part_file *low = NULL, *high = NULL;
    struct candidates c = {0};
    size_t n = 0, fits;

    if (sizes == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < b->count; i++) {
        const struct ems_part_file *f = &b->files[i];

        if (!ems_part_is_plausible(f))
            continue;
        sizes[n++] = f->size;
        low = low != NULL ? low : f;
        high = f;
    }
    set->part_size = 0;
    if (n == 0 || (set->expected > 0 && is_even_split(b))) {
        free(sizes);
        return EMS_OK;
    }
    qsort(sizes, n, sizeof *sizes, compare_sizes);
    suggest(&c, low->size, false);
    suggest(&c, high->size, false);
    suggest_frequent(&c, sizes, n);
    if (set->expected > high->size && high->rank > set->first) {
        uint64_t before = set->expected - high->size, parts = high->rank - set->first;

        if (before % parts == 0 && before / parts >= high->size)
            suggest(&c, before / parts, true);
    }
    fits = choose(b, &c).fits;
    if (b->trusted)
        find_other_size(b, sizes, n);
    else if (set->expected > 0 && !explains_all(b, fits))
        set->part_size = 0;
    free(sizes);
    return EMS_OK;
}

void ems_part_sizes_suspect(struct ems_part_build *b)
{
    struct ems_part_set *set = b->set;
    bool gaps = false;

    for (size_t i = 0; i < set->count; i++)
        gaps |= set->parts[i].status != EMS_PART_IS_OK;
    if (!gaps && set->size == set->expected)
        return;
    for (size_t i = 0; i < set->count; i++)
        if (set->parts[i].status == EMS_PART_IS_OK) {
            set->parts[i].status =
                set->size < set->expected ? EMS_PART_IS_TRUNCATED : EMS_PART_IS_FOREIGN;
            set->parts[i].suspect = set->count > 1;
        }
}
