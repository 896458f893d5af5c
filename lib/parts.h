/*
 * parts.h - file names to part sets, and a part set to one stream of bytes.
 *
 * An artifact lies in an upload whole ("customer_db_export.sql.gz.gpg") or cut by split(1) into
 * "NAME.part-SUFFIX", or by 7-Zip into NAME.001. The suffix gives each part its rank; nothing else
 * does (not the directory order, not times). GNU split widens its suffixes so that names keep
 * sorting: after "yz" comes "zaaa" (coreutils src/split.c, next_file_name; letters, -d digits,
 * -x hex). Others (split -a, BSD, BusyBox) keep one width and stop at its end.
 *
 * All parts but the last are of one size. From that, from the ranks, and from the length that an
 * OpenPGP message states in its first bytes follow missing, cut and left-over parts before anything
 * is decrypted. What was done to names on the way is undone in the mind only (part_name.h): the
 * customer's files are never renamed or written.
 *
 * Several files may stand for one part: downloads made twice, a re-sent part in a second directory.
 * Size, content and framing say which one is right; equal copies count once; files that differ and
 * could both be right are a conflict if they lie in one place, and the later place wins otherwise
 * (with a warning: only a manifest or decryption proves it).
 */
#ifndef EMS_PARTS_H
#define EMS_PARTS_H

#include "finding.h"
#include "source.h"

#include <time.h>

#define EMS_SUFFIX_MAX     32u        /* a part's suffix, with the NUL */
#define EMS_PART_NO_MEMBER UINT64_MAX /* a part that is a file of its own, not one in a zip */

enum ems_name_form {
    EMS_NAME_WHOLE,  /* not a part */
    EMS_NAME_PART,   /* X.part-ab, split(1) as the guide has it */
    EMS_NAME_VOLUME, /* X.001, 7-Zip and Total Commander: decimal, from 1, at least three digits */
};

/* What the first bytes of a file say that it is, whatever its name says. */
enum ems_looks {
    EMS_LOOKS_UNKNOWN, /* bytes: the middle of an encrypted file, or anything else */
    EMS_LOOKS_OPENPGP, /* the beginning of a message, binary or armoured */
    EMS_LOOKS_GZIP,
    EMS_LOOKS_TAR,
    EMS_LOOKS_SQL, /* text that begins like a dump */
    EMS_LOOKS_SQLITE,
    EMS_LOOKS_PACKED, /* xz, bzip2, zstd */
    EMS_LOOKS_ZIP,
    EMS_LOOKS_PAGE, /* HTML or XML: what a web server says in place of a file */
    EMS_LOOKS_JSON, /* an error of some interface, as text */
};

enum ems_part_status {
    EMS_PART_IS_OK,
    EMS_PART_IS_MISSING,
    EMS_PART_IS_EMPTY,
    EMS_PART_IS_TRUNCATED,  /* shorter than it must be */
    EMS_PART_IS_STALE,      /* of an earlier split: behind the end */
    EMS_PART_IS_FOREIGN,    /* longer than it must be, or not the customer's data */
    EMS_PART_IS_UNFINISHED, /* a download tool is still writing it */
    EMS_PART_IS_CONFLICT,   /* several files, and nothing says which one is right */
};

struct ems_part {
    char *name;      /* without directory, as it was at the customer's: what is to be sent again */
    char *file;      /* what it is called here if that is not `name`, or NULL */
    char *path;      /* to open: the file, or the zip that it lies in; NULL for a missing part */
    uint64_t member; /* index in that zip, or EMS_PART_NO_MEMBER */
    uint64_t rank;
    uint64_t size;   /* bytes of the part */
    uint64_t offset; /* of its first byte in the assembled stream */
    enum ems_part_status status;
    enum ems_looks looks; /* what its first bytes say */
    bool suspect;         /* status is the best guess of several; otherwise it is proven */
    unsigned copies;      /* further files for this part that are not used */
    /* Identity of what lies at path when it was looked at: a file that changes afterwards is still
     * arriving. */
    uint64_t disk_size, device, inode;
    struct timespec modified;
};

enum ems_part_alphabet { EMS_PART_LETTERS, EMS_PART_DIGITS, EMS_PART_HEX };

/* Told about the bytes of each part as ems_parts_open's source reads them, ranks in order, from the
 * thread that pulls it: for digests in the one pass. A code other than EMS_OK ends the stream. */
struct ems_part_watch {
    void *context;
    int (*bytes)(void *context, size_t index, const void *data, size_t size, struct ems_error *);
    int (*end)(void *context, size_t index, struct ems_error *); /* the part is complete */
};

struct ems_part_set {
    char *name; /* of the artifact, without directory */
    bool split; /* false: one file, not cut */
    enum ems_name_form form;
    enum ems_part_alphabet alphabet;
    bool widening;          /* GNU automatic suffixes (two symbols, then four, ...) */
    unsigned width;         /* of fixed-width suffixes */
    uint64_t first;         /* rank of the first part (split --numeric-suffixes=FROM) */
    uint64_t part_size;     /* of all parts but the last; 0 if unknown or not split */
    uint64_t size;          /* bytes of all parts that are here */
    uint64_t expected;      /* bytes that the content says there must be; 0 if it does not say */
    uint64_t at_least;      /* the same if only a lower bound is known, 0 otherwise */
    struct ems_part *parts; /* by rank; missing ones stand in the list too */
    size_t count;
    bool whole;     /* nothing is missing, cut or left over, as far as can be told */
    bool proven;    /* whole, and the framing ends at the last byte; otherwise only plausible */
    bool refused;   /* never whole: two splits lie together, or split ran out of names */
    bool tail_open; /* whole as it seems, but the last part is full and nothing proves the end */
    const struct ems_part_watch *watch; /* borrowed; NULL: nobody watches */
    /* Files that could as well be the part of their rank, but hold other bytes; by rank. What
     * proves right is used in the end (artifact.h, ems_artifact_prove; manifest.h,
     * ems_manifest_settle). */
    struct ems_part *others;
    size_t other_count;
};

/* Everything that a list of paths stands for. */
struct ems_upload {
    struct ems_part_set *sets; /* by name */
    size_t count;
};

/*
 * Resolve what a user named. Each path is an artifact (whole, or its parts lie beside each other
 * under that name), one of its parts (the set it belongs to is taken whole), a zip of such files,
 * or a directory (everything in it, what is meant for us three levels deeper). Several directories
 * are merged; what the later ones hold counts as sent again.
 *
 * What is wrong with the sets goes to findings, each with `resend` on exactly the files that mend
 * it; a path that cannot be read at all is an error: EMS_IO_ERROR, EMS_NO_MEMORY.
 */
int ems_upload_resolve(struct ems_upload *, const char *const *paths, size_t count,
                       struct ems_findings *, struct ems_error *);
void ems_upload_release(struct ems_upload *);

/*
 * The assembled bytes as a bottom source, ranks in order. `set` must outlive it. Each part is
 * opened once, must still be the file that was resolved, and must give exactly its size: else
 * EMS_PART_UNFINISHED. A set that is not whole fails with EMS_PART_MISSING at open.
 */
struct ems_source *ems_parts_open(const struct ems_part_set *, struct ems_error *);

/* The part that holds byte `origin` of the assembled stream, and the offset in it. NULL for
 * EMS_NOWHERE or behind the end (then *offset is EMS_NOWHERE). */
const struct ems_part *ems_parts_locate(const struct ems_part_set *, uint64_t origin,
                                        uint64_t *offset);

/* Suffix arithmetic, for tests and messages. Rank of a suffix, false if it is not one of this
 * scheme; and the suffix of a rank (out has room for EMS_SUFFIX_MAX). */
bool ems_suffix_rank(enum ems_part_alphabet, bool widening, unsigned width, const char *suffix,
                     uint64_t *rank);
bool ems_suffix_text(enum ems_part_alphabet, bool widening, unsigned width, uint64_t rank,
                     char *out);

/* What the part of this rank is called, as its scheme has it ("X.part-ab", "X.002"). The caller
 * frees it; NULL if the scheme has no such name, or when out of memory. */
char *ems_part_set_name(const struct ems_part_set *, uint64_t rank);

/* "ok", "missing", ... for JSON. */
const char *ems_part_status_name(enum ems_part_status);
/* "letters", "digits, 3 wide, from 1", "7-Zip volumes", "one file"; out has room for 64. */
char *ems_part_set_scheme(const struct ems_part_set *, char *out);

#endif
