/*
 * part_copies.c - see part_copies.h
 *
 * A choice is one number a part that has copies: 0 for the file that the resolver chose, i for the
 * i-th of the others. An exchange puts the resolver's file into the place of the one taken, so a
 * choice is undone by the same exchange.
 */
#include "part_copies.h"

#include "part_set.h"

#include <stdlib.h>
#include <string.h>

/* The part with the same rank as this one of the others; NULL if it is no part of the set now. */
static struct ems_part *part_of_rank(const struct ems_part_set *set, uint64_t rank)
{
    size_t low = 0, high = set->count;

    while (low < high) { /* parts are sorted by rank */
        size_t middle = low + (high - low) / 2;

        if (set->parts[middle].rank == rank)
            return &set->parts[middle];
        if (set->parts[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t ems_part_others(const struct ems_part_set *set, const struct ems_part *part,
                       struct ems_part **first)
{
    size_t n = 0;

    *first = NULL;
    for (size_t i = 0; i < set->other_count; i++)
        if (set->others[i].rank == part->rank && n++ == 0)
            *first = &set->others[i];
    return n;
}

void ems_part_exchange(struct ems_part *part, struct ems_part *other)
{
    struct ems_part before = *part;

    *part = *other;
    *other = before;
    /* What belongs to the rank and not to the file stays. */
    part->offset = before.offset;
    part->copies = before.copies;
    part->status = before.status;
    other->status = EMS_PART_IS_OK;
}

void ems_part_drop_others(struct ems_part_set *set, const struct ems_part *part)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->other_count; i++) {
        if (set->others[i].rank == part->rank)
            ems_part_release(&set->others[i]);
        else
            set->others[kept++] = set->others[i];
    }
    set->other_count = kept;
}

/* ---- one choice after the other ---- */

/* The parts that can be chosen: where each one's others begin, and how many they are. */
struct places {
    size_t count;
    struct {
        struct ems_part *part, *others;
        uint8_t others_count;
    } at[EMS_PART_TRIED_PLACES];
};

/* False if there are too many to try them one by one. */
static bool find_places(const struct ems_part_set *set, struct places *p)
{
    p->count = 0;
    for (size_t i = 0, n; i < set->other_count; i += n) {
        struct ems_part *part = part_of_rank(set, set->others[i].rank);

        for (n = 1; i + n < set->other_count && set->others[i + n].rank == set->others[i].rank; n++)
            ;
        if (part == NULL || part->path == NULL) /* its end was found before it */
            continue;
        if (p->count == EMS_PART_TRIED_PLACES)
            return false;
        p->at[p->count].part = part;
        p->at[p->count].others = &set->others[i];
        p->at[p->count++].others_count = (uint8_t)n;
    }
    return true;
}

/* From one choice to another, by way of the first. */
static void choose(const struct places *p, const uint8_t *from, const uint8_t *to)
{
    for (size_t i = 0; i < p->count; i++) {
        if (from[i] == to[i])
            continue;
        if (from[i] > 0)
            ems_part_exchange(p->at[i].part, &p->at[i].others[from[i] - 1]);
        if (to[i] > 0)
            ems_part_exchange(p->at[i].part, &p->at[i].others[to[i] - 1]);
    }
}

static bool was_tried(const struct ems_part_tries *t, const struct places *p, const uint8_t *choice)
{
    for (unsigned i = 0; i < t->count; i++)
        if (memcmp(t->tried[i], choice, p->count) == 0)
            return true;
    return false;
}

/* Another copy of the part that holds the byte, or of the nearest one in front of it: a decoder
 * stumbles at the damage or behind it. */
static void turn_located(const struct ems_part_set *set, const struct places *p, uint64_t origin,
                         uint8_t *choice)
{
    uint64_t offset;
    const struct ems_part *hit = ems_parts_locate(set, origin, &offset);

    for (size_t i = p->count; i > 0 && hit != NULL; i--)
        if (p->at[i - 1].part->rank <= hit->rank) {
            choice[i - 1] = (uint8_t)((choice[i - 1] + 1) % (p->at[i - 1].others_count + 1));
            return;
        }
}

/* Counts up, the first part fastest; false after the last. */
static bool count_up(const struct places *p, uint8_t *choice)
{
    for (size_t i = 0; i < p->count; i++) {
        if (choice[i] < p->at[i].others_count) {
            choice[i]++;
            return true;
        }
        choice[i] = 0;
    }
    return false;
}

static bool next_choice(const struct ems_part_set *set, const struct ems_part_tries *t,
                        const struct places *p, uint64_t origin, uint8_t *choice)
{
    memcpy(choice, t->tried[t->count - 1], EMS_PART_TRIED_PLACES);
    turn_located(set, p, origin, choice);
    if (!was_tried(t, p, choice))
        return true;
    memset(choice, 1, EMS_PART_TRIED_PLACES);
    if (!was_tried(t, p, choice))
        return true;
    memset(choice, 0, EMS_PART_TRIED_PLACES);
    while (was_tried(t, p, choice))
        if (!count_up(p, choice))
            return false;
    return true;
}

/* With too many for single ones: the first other of each part at once, and back. */
static bool swap_all(struct ems_part_set *set, struct ems_part_tries *t)
{
    for (size_t i = 0; i < set->other_count; i++) {
        struct ems_part *part = part_of_rank(set, set->others[i].rank);

        if (part != NULL && part->path != NULL &&
            (i == 0 || set->others[i].rank != set->others[i - 1].rank))
            ems_part_exchange(part, &set->others[i]);
    }
    ems_part_set_settle(set);
    t->swapped = !t->swapped;
    return t->swapped;
}

bool ems_part_try_next(struct ems_part_set *set, struct ems_part_tries *t, uint64_t origin)
{
    static const uint8_t first[EMS_PART_TRIED_PLACES];
    uint8_t choice[EMS_PART_TRIED_PLACES];
    struct places p;
    bool more;

    if (!find_places(set, &p))
        return swap_all(set, t);
    if (t->count == 0) /* the resolver's own choice */
        t->count = 1;
    if (p.count == 0)
        return false;
    more = t->count < EMS_PART_TRIES && next_choice(set, t, &p, origin, choice);
    choose(&p, t->tried[t->count - 1], more ? choice : first);
    if (more)
        memcpy(t->tried[t->count++], choice, sizeof choice);
    ems_part_set_settle(set);
    return more;
}

/* ---- what is said about it ---- */

void ems_part_tell_proven(const struct ems_part_set *set, const struct ems_part *only,
                          const char *proof, struct ems_findings *findings)
{
    size_t next = 0;

    for (size_t i = 0; i < findings->count; i++) {
        const struct ems_finding *f = &findings->items[i];
        const struct ems_part *part = only;

        if (f->code != EMS_PART_CONFLICT || f->artifact == NULL ||
            strcmp(f->artifact, set->name) != 0)
            continue;
        if (f->part == NULL) {
            if (only == NULL)
                ems_findings_reword(findings, i, EMS_SEVERITY_NOTE, "",
                                    "parts of %s lie in several places and differ: one choice of "
                                    "them is right (proven: %s)",
                                    set->name, proof);
            continue;
        }
        /* Findings come in the order of the parts. */
        for (; only == NULL && next < set->count && part == NULL; next++)
            if (strcmp(set->parts[next].name, f->part) == 0)
                part = &set->parts[next];
        if (part != NULL && strcmp(part->name, f->part) == 0)
            ems_findings_reword(findings, i, EMS_SEVERITY_NOTE, "",
                                "copies of %s differ: %s is used (proven: %s)", part->name,
                                part->path, proof);
    }
}
