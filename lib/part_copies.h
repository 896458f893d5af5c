/*
 * part_copies.h - several files for one part that differ, and could all be right: changing between
 * them. Internal; who proves is manifest_settle.c (by checksum) and artifact_prove.c (by reading).
 */
#ifndef EMS_PART_COPIES_H
#define EMS_PART_COPIES_H

#include "parts.h"

#define EMS_PART_TRIES        8u  /* choices of copies that are proven for one set, at most */
#define EMS_PART_TRIED_PLACES 16u /* parts with copies of which single ones are tried */

/* The choices that were made so far. Start with {0}. */
struct ems_part_tries {
    unsigned count;
    bool swapped;                                         /* all parts at once were */
    uint8_t tried[EMS_PART_TRIES][EMS_PART_TRIED_PLACES]; /* a copy for each part; 0 is the first */
};

/* The others of this part: their number, and the first of them (NULL if there is none). */
size_t ems_part_others(const struct ems_part_set *, const struct ems_part *, struct ems_part **);

/* The file of `other` becomes the part, and the part's becomes the other. Settle afterwards. */
void ems_part_exchange(struct ems_part *, struct ems_part *other);

/* Offsets and state of a set after exchanges and changes of status (part_build.c). */
void ems_part_set_settle(struct ems_part_set *);

/* This part is proven: its others are wrong, and forgotten. */
void ems_part_drop_others(struct ems_part_set *, const struct ems_part *);

/*
 * The present choice failed, at byte `origin` of the assembled stream or EMS_NOWHERE: choose other
 * copies. The part that the failure points at comes first, then all parts at once (two uploads),
 * then what was not tried yet, up to EMS_PART_TRIES in all. False: nothing is left to try, and the
 * set is as it was at first.
 */
bool ems_part_try_next(struct ems_part_set *, struct ems_part_tries *, uint64_t origin);

/* Findings that copies of this part (NULL: of any part of the set) differ become notes that say
 * which one is used and why: "its SHA-256 is the one in the manifest". */
void ems_part_tell_proven(const struct ems_part_set *, const struct ems_part *, const char *proof,
                          struct ems_findings *);

#endif
