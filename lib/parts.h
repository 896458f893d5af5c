/*
 * parts.h - file names to part sets, and a part set to one stream of bytes.
 *
 * An artifact lies in an upload whole ("customer_db_export.sql.gz.gpg") or cut by split(1) into
 * "NAME.part-SUFFIX". The suffix gives each part its rank; nothing else does (not the directory
 * order, not times). GNU split widens its suffixes so that names keep sorting: after "yz" comes
 * "zaaa" (coreutils src/split.c, next_file_name; formats: letters, -d digits, -x hex).
 *
 * All parts but the last are of one size. From that, from the ranks, and from the length that an
 * OpenPGP message states in its first bytes follow missing, cut and left-over parts before anything
 * is decrypted.
 */
#ifndef EMS_PARTS_H
#define EMS_PARTS_H

#include "finding.h"
#include "source.h"

#include <time.h>

enum ems_part_status {
    EMS_PART_IS_OK,
    EMS_PART_IS_MISSING,
    EMS_PART_IS_EMPTY,
    EMS_PART_IS_TRUNCATED, /* shorter than it must be */
    EMS_PART_IS_STALE,     /* of an earlier split: behind the end */
    EMS_PART_IS_FOREIGN,   /* longer than it must be, or not the customer's data */
};

struct ems_part {
    char *name; /* without directory; what the customer knows it by */
    char *path; /* to open; NULL for a missing part */
    uint64_t rank;
    uint64_t size;   /* bytes on disk */
    uint64_t offset; /* of its first byte in the assembled stream */
    enum ems_part_status status;
    /* Identity when it was looked at: a file that changes afterwards is still arriving. */
    uint64_t device, inode;
    struct timespec modified;
};

enum ems_part_alphabet { EMS_PART_LETTERS, EMS_PART_DIGITS, EMS_PART_HEX };

struct ems_part_set {
    char *name; /* of the artifact, without directory */
    bool split; /* false: one file, not cut */
    enum ems_part_alphabet alphabet;
    bool widening;      /* GNU automatic suffixes (two symbols, then four, ...) */
    unsigned width;     /* of fixed-width suffixes */
    uint64_t part_size; /* of all parts but the last; 0 if unknown or not split */
    uint64_t size;      /* bytes of all parts that are here */
    uint64_t expected;  /* bytes that the content says there must be; 0 if it does not say */
    struct ems_part *parts; /* by rank; missing ones stand in the list too */
    size_t count;
    bool whole; /* nothing is missing, cut or left over, as far as can be told */
};

/* Everything that a list of paths stands for. */
struct ems_upload {
    struct ems_part_set *sets; /* by name */
    size_t count;
};

/*
 * Resolve what a user named. Each path is an artifact (whole, or its parts lie beside each other
 * under that name), one of its parts (the set it belongs to is taken whole), or a directory
 * (everything in it; names that begin with a dot and sub-directories are left alone).
 * What is wrong with the sets goes to findings; a path that cannot be read at all is an error:
 * EMS_IO_ERROR, EMS_NO_MEMORY.
 */
int ems_upload_resolve(struct ems_upload *, const char *const *paths, size_t count,
                       struct ems_findings *, struct ems_error *);
void ems_upload_release(struct ems_upload *);

/*
 * The assembled bytes as a bottom source, ranks in order. `set` must outlive it. Each part is opened
 * once, must still be the file that was resolved, and must give exactly its size: else
 * EMS_PART_UNFINISHED. A set that is not whole fails with EMS_PART_MISSING at open.
 */
struct ems_source *ems_parts_open(const struct ems_part_set *, struct ems_error *);

/* The part that holds byte `origin` of the assembled stream, and the offset in it. NULL for
 * EMS_NOWHERE or behind the end (then *offset is EMS_NOWHERE). */
const struct ems_part *ems_parts_locate(const struct ems_part_set *, uint64_t origin,
                                        uint64_t *offset);

/* Suffix arithmetic, for tests and messages. Rank of a suffix, false if it is not one of this
 * scheme; and the suffix of a rank (out has room for EMS_SUFFIX_MAX). */
#define EMS_SUFFIX_MAX 32u
bool ems_suffix_rank(enum ems_part_alphabet, bool widening, unsigned width, const char *suffix,
                     uint64_t *rank);
bool ems_suffix_text(enum ems_part_alphabet, bool widening, unsigned width, uint64_t rank,
                     char *out);

const char *ems_part_status_name(enum ems_part_status);

#endif
