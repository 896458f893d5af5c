/*
 * tar.h - a tar archive member by member, down to its proven end.
 *
 * In: plain tar bytes from a stage below (no compression is looked for). Formats: v7, ustar, pax,
 * GNU and old GNU with long names and sparse files (POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU tar's
 * manual, "Basic Tar Format"). The format is libarchive's work; what it forgives is judged here:
 *
 * - EMS_END from ems_tar_next means: two blocks of zeros came behind the last member, nothing but
 *   zeros after them, and the stage below has ended too. (libarchive takes a missing end marker for
 *   an end, swallows read errors at the second zero block, and stops reading early.)
 * - A failure of the stage below comes out unchanged, whatever libarchive makes of it.
 * - A member has exactly the bytes that its header declares; what is no file has none.
 * - All headers of one member together take at most EMS_TAR_MAX_HEADER.
 *
 * What a member is called and what it may be is not judged here: see tar_policy.h.
 *
 *     while ((rc = ems_tar_next(tar, &member, &err)) == EMS_OK)
 *         while ((rc = ems_tar_data(tar, &span, &err)) == EMS_OK)
 *             use(span.data, span.size);
 */
#ifndef EMS_TAR_H
#define EMS_TAR_H

#include "source.h"

#define EMS_TAR_BLOCK      512u
#define EMS_TAR_MAX_HEADER (1u << 20) /* bytes of a member's headers, long names included */
#define EMS_TAR_MAX_HOLES  (UINT64_C(1) << 34) /* bytes that sparse files may add to an archive */

enum ems_tar_type {
    EMS_TAR_FILE,
    EMS_TAR_DIRECTORY,
    EMS_TAR_SYMLINK,
    EMS_TAR_HARDLINK,
    EMS_TAR_OTHER, /* device, fifo, or a type that extracts to something else elsewhere */
};

/* Strings are raw bytes of the archive, valid until the next ems_tar_next. */
struct ems_tar_member {
    const char *path;   /* as stored; never NULL, may be empty */
    const char *target; /* of a link, else NULL */
    enum ems_tar_type type;
    char flag;       /* the header's type byte */
    bool hidden_nul; /* a long name goes on behind a NUL byte */
    bool sparse;
    uint32_t mode;   /* permission and set-id bits: 07777 */
    uint64_t size;   /* bytes that ems_tar_data lends, holes of sparse files included */
    int64_t mtime_s; /* since 1970; 0 if none is stored */
    uint64_t offset; /* of the first header block, in the tar stream */
    uint64_t origin; /* of the same, in the upload; EMS_NOWHERE if unknown */
};

struct ems_tar_facts {
    uint64_t members;
    uint64_t files;      /* of the members: regular files, hard links not counted */
    uint64_t file_bytes; /* in them */
};

struct ems_tar;

/* Does this begin like a header block: the magic of ustar, or a checksum that is right (v7)?
 * size: at least EMS_TAR_BLOCK for the answer to be yes. */
bool ems_tar_probe(const uint8_t *head, size_t size);

/* Takes over below, on failure too; NULL passes through. */
struct ems_tar *ems_tar_open(struct ems_source *below, struct ems_error *);

/* The next member: EMS_OK, EMS_END (see above), EMS_TAR_CORRUPT, EMS_TAR_TRUNCATED, or what the
 * stage below said. Data of the last member that nobody pulled is passed over, but must be there.
 */
int ems_tar_next(struct ems_tar *, const struct ems_tar_member **, struct ems_error *);

/* Lends the member's bytes without copying: EMS_OK, EMS_END after the last one, or an error as
 * above. Holes are lent as zeros. */
int ems_tar_data(struct ems_tar *, struct ems_span *, struct ems_error *);

const struct ems_tar_facts *ems_tar_facts(const struct ems_tar *);

/* The stage below, for whoever must settle a failure with it (chain.h). */
struct ems_source *ems_tar_below(const struct ems_tar *);

/* Frees the chain below as well; NULL allowed. */
void ems_tar_free(struct ems_tar *);

#endif
