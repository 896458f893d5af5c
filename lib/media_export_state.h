/*
 * media_export_state.h - inside of the media export's walker: what media_export.c (the pass) and
 * media_export_report.c (what is said about it) share. Not for other modules.
 */
#ifndef EMS_MEDIA_EXPORT_STATE_H
#define EMS_MEDIA_EXPORT_STATE_H

#include "media_export.h"
#include "media_index.h"
#include "tar_policy.h"

#include <gcrypt.h>

#define EMS_MEDIA_ORIGINS 8u /* servers that are counted by name */

enum ems_media_complaint {
    EMS_MEDIA_C_ENTRY,   /* an entry of the manifest cannot be right */
    EMS_MEDIA_C_MISSING, /* an entry without a file */
    EMS_MEDIA_C_IN_S3,   /* the same, but the file is said to be elsewhere */
    EMS_MEDIA_C_EXTRA,   /* a file without an entry */
    EMS_MEDIA_C_TWICE,   /* a file that comes again */
    EMS_MEDIA_C_SIZE,
    EMS_MEDIA_C_DIGEST,
    EMS_MEDIA_C_LARGE,  /* more than the target accepts */
    EMS_MEDIA_C_GAP,    /* a part is missing */
    EMS_MEDIA_C_BROKEN, /* a part is no complete archive: has the code of its failure */
    EMS_MEDIA_C_ENTITY, /* of another server */
    EMS_MEDIA_C_UNSAFE, /* an id or a name that must not become a path */
    EMS_MEDIA_C_TYPE,   /* a member that is no plain file */
    EMS_MEDIA_COMPLAINTS,
};

struct ems_media_origin {
    char name[256]; /* printable */
    uint64_t media, bytes;
};

struct ems_media_export {
    struct ems_walker base;
    struct ems_artifact *artifact;
    const struct ems_check_options *options;
    struct ems_findings findings; /* kept until the finish */
    uint64_t complaints[EMS_MEDIA_COMPLAINTS];

    /* the outer archive */
    char inner[EMS_TAR_MAX_NAME + 1];  /* name of the inner archive at hand */
    char prefix[EMS_TAR_MAX_PATH + 1]; /* directory that the export lies in, with its slash */
    char stray[200];                   /* an inner archive elsewhere, printable; "" for none */
    uint32_t *parts;                   /* numbers of the parts that are there, as they come */
    size_t part_count, part_capacity;
    uint64_t member_size;  /* of the inner archive at hand */
    uint64_t others;       /* files that are no part of an export */
    char other_names[200]; /* the first few of them, printable */
    bool has_config, has_logs, has_manifest_file;

    /* the inner ones */
    gcry_md_hd_t md;
    uint64_t inflated; /* bytes of all inner archives; written by the thread that inflates */
    bool stopped;      /* a bomb: nothing more is inflated */
    uint64_t files, bytes, largest, empty;

    /* the manifest */
    struct ems_media_manifest *manifest; /* the first */
    char manifest_in[EMS_TAR_MAX_NAME + 1];
    uint8_t manifest_sha256[32];
    unsigned manifests;
    enum { MANIFEST_NONE, MANIFEST_BROKEN, MANIFEST_GOOD } manifest_state;
    struct ems_media_origin origins[EMS_MEDIA_ORIGINS];
    size_t origin_count;
    uint64_t other_origins; /* media of servers beyond those */

    struct ems_media_ids ids;
    struct ems_media_index *index; /* fills ids */
    uint64_t verified;             /* files whose size and digest are the manifest's */
};

/* Of each kind the first few are told, the others counted. */
void ems_media_export_complain(struct ems_media_export *, enum ems_media_complaint, int code,
                               const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Everything was read: what is missing on either side, and the facts. Part of the walker's finish.
 */
int ems_media_export_report(struct ems_media_export *, struct ems_findings *, struct ems_facts *,
                            struct ems_error *);

#endif
