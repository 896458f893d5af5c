/*
 * part_set.h - inside of the resolver: what parts.c, part_sizes.c and part_report.c share while a
 * set is made. Not for other modules.
 */
#ifndef EMS_PART_SET_H
#define EMS_PART_SET_H

#include "part_copies.h"
#include "part_files.h"
#include "parts.h"

#define EMS_PART_MAX_MISSING                                                                       \
    100000u /* gaps beyond this are no gaps but names of something else                            \
             */

struct ems_part_build {
    struct ems_part_set *set;
    struct ems_part_file *files; /* finished ones, by rank, then in the order of the places */
    size_t count;
    struct ems_part_file *unfinished;
    size_t unfinished_count;
    struct ems_findings *findings;
    uint64_t last;       /* highest rank that is here or arriving */
    bool trusted;        /* part_size is more than a guess */
    bool wrong_first;    /* the first part does not begin like an artifact ... */
    uint64_t begins_at;  /* ... but the one of this rank does; EMS_NOWHERE: none */
    uint64_t other_size; /* mixed uploads: the part size of the other one */
    bool out_of_names;   /* the customer's split had no name for the next part */
    unsigned notes;      /* so far; all after the first few are only counted */
};

/* ---- part_build.c ---- */

/* A set of parts from its files. The fields set, files, unfinished and findings are given. */
int ems_part_build_split(struct ems_part_build *, struct ems_error *);
/* The same for the files that may be one whole artifact. */
int ems_part_build_whole(struct ems_part_build *, struct ems_error *);

/* ---- part_choose.c ---- */

/* Append stand-ins for the ranks from `next` up to, not including, `until`; ends early where the
 * scheme has no more names. */
int ems_part_add_missing(struct ems_part_set *, uint64_t next, uint64_t until, struct ems_error *);
/* Its strings; then it is empty. */
void ems_part_release(struct ems_part *);
/* Append the file as the part of its rank. */
int ems_part_add_file(struct ems_part_build *, const struct ems_part_file *, enum ems_part_status,
                      unsigned copies, struct ems_error *);
/* Append the right one of files[0..n), which are all for one rank; what could be right as well goes
 * to the set's others. */
int ems_part_take_rank(struct ems_part_build *, struct ems_part_file *files, size_t n,
                       struct ems_error *);

/* ---- part_framing.c ---- */

/* First bytes of a file into its `looks`; what cannot be read looks like nothing. */
void ems_part_look(struct ems_part_reader *, struct ems_part_file *);
/* Bytes that the message beginning in this file states; 0 if it does not. */
uint64_t ems_part_stated_size(const struct ems_part_file *);
/* Follow a chain of partial lengths through the parts as far as they are in order. Settles
 * `expected`, or `at_least`, and with them what lies behind the end. */
void ems_part_walk(struct ems_part_build *);

/* ---- part_sizes.c ---- */

/* Could these be bytes of the customer's file at all? */
bool ems_part_is_plausible(const struct ems_part_file *);

/* Sets part_size (0: nothing can be told), trusted and other_size, from the sizes of all files and
 * from `expected`. EMS_NO_MEMORY. */
int ems_part_sizes_find(struct ems_part_build *, struct ems_error *);

/* What the part of this rank must have: *must bytes exactly, or (must 0) at most *at_most, or (both
 * 0) anything. False: it lies behind the end. `last` is the highest rank that is here. */
bool ems_part_sizes_limits(const struct ems_part_set *, uint64_t rank, uint64_t last,
                           uint64_t *must, uint64_t *at_most);

/* With E bytes expected and nothing trusted: do the sizes add up? Otherwise marks the suspects. */
void ems_part_sizes_suspect(struct ems_part_build *);

/* ---- part_report.c ---- */

void ems_part_report_set(struct ems_part_build *);
/* A note: the first few are kept one by one. */
void ems_part_report_note(struct ems_part_build *, int code, const char *part, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
