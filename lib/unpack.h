/*
 * unpack.h - the members of a proven archive into a directory, all or nothing.
 *
 * Everything is written below a fresh directory of ours inside the target (".ems-unpack-XXXXXX",
 * mode 0700), each path walked name by name from its descriptor without following links, so that no
 * name can lead elsewhere. Only commit moves the result to where it belongs; until then, and after
 * any failure, the target is as it was.
 *
 * Files get mode 0644 and directories 0755, less the umask; owners, set-id bits and extended
 * attributes are dropped, modification times of files are kept. Hard links to earlier members are
 * made. Symbolic links are not made: they are counted.
 */
#ifndef EMS_UNPACK_H
#define EMS_UNPACK_H

#include "digest.h"
#include "tar.h"

#define EMS_UNPACK_MAX_DEPTH 100u
#define EMS_UNPACK_ASIDE     ".aside"

struct ems_unpack_options {
    const char *directory; /* must exist */
    bool force;            /* replace files that are there already */
    /* For the media importer, which stumbles over any other file: export-*.tgz right into the
     * directory, whatever was before their names, and the rest below EMS_UNPACK_ASIDE. */
    bool media_export;
    ems_tick_fn *tick; /* may be NULL */
    void *tick_context;
};

struct ems_unpack_facts {
    uint64_t files, bytes;
    uint64_t aside;       /* of the files */
    uint64_t links;       /* symbolic links that were not made */
    char first_link[200]; /* printable */
};

struct ems_unpack;

/* options is borrowed. NULL after an error: EMS_IO_ERROR or EMS_NO_MEMORY. */
struct ems_unpack *ems_unpack_open(const struct ems_unpack_options *, struct ems_error *);

/* One member with its data. EMS_OK; a name or type that tar_policy.h refuses; EMS_TAR_DUPLICATE if
 * something of that name was unpacked before; what tar or the disk said. */
int ems_unpack_member(struct ems_unpack *, struct ems_tar *, const struct ems_tar_member *,
                      struct ems_error *);

/* After EMS_END of the archive: to disk, then to its place. Without force EMS_IO_ERROR if any file
 * is there already; then nothing was moved. */
int ems_unpack_commit(struct ems_unpack *, struct ems_error *);

const struct ems_unpack_facts *ems_unpack_facts(const struct ems_unpack *);

/* Removes what was not committed; NULL allowed. */
void ems_unpack_free(struct ems_unpack *);

#endif
