/*
 * artifact.h - one artifact of an upload: what it should be, what it is, and the verdict on it.
 */
#ifndef EMS_ARTIFACT_H
#define EMS_ARTIFACT_H

#include "archive_walk.h"
#include "chain.h"
#include "digest.h"
#include "media_ids.h"
#include "parts.h"
#include "sqlscan.h"
#include "synapse.h"

enum ems_kind {
    EMS_KIND_PG_DUMP,
    EMS_KIND_SQLITE,
    EMS_KIND_MEDIA_EXPORT,
    EMS_KIND_MEDIA_STORE,
    EMS_KIND_CONFIG,
    EMS_KIND_SIGNING_KEY,
    EMS_KIND_MANIFEST,
    EMS_KIND_UNKNOWN,
};

enum ems_verdict {
    EMS_VERDICT_VERIFIED,
    EMS_VERDICT_DAMAGED,
    EMS_VERDICT_INCOMPLETE,
    EMS_VERDICT_UNDECRYPTABLE,
    EMS_VERDICT_UNSUPPORTED,
    EMS_VERDICT_UNCHECKED, /* nothing here can check it (yet), or it was not got to */
};

/* A table of an SQLite homeserver that a restore did not copy. */
struct ems_left_out {
    char *table;
    uint64_t rows;
    const char *reason; /* static */
};

struct ems_artifact {
    char *name;
    enum ems_kind kind; /* what its name says it should be, or what its content is */
    enum ems_verdict verdict;
    int error; /* code of the failure that ended it, EMS_OK if none */
    uint64_t bytes_in, bytes_out;
    const struct ems_part_set *set; /* borrowed; NULL for standard input */
    uint64_t failed_at; /* byte of the assembled bytes that the failure points at, or EMS_NOWHERE */
    bool encrypted, gzipped, is_sql;
    bool in_manifest;   /* all of its bytes are as the manifest says */
    bool for_recipient; /* encrypted to the key asked for, and readable with no other */
    enum ems_content content;
    struct ems_pgp_facts pgp;
    struct ems_inflate_facts gzip;
    struct ems_sql_facts sql; /* of a dump, or of what a restore has stored of an SQLite homeserver
                                 (tables and rows only); tables owned by the artifact */
    struct ems_synapse synapse;
    bool is_archive;    /* a tar archive, or taken for one */
    bool archive_known; /* its content is of a kind that was checked */
    struct ems_walk_result archive;
    struct ems_facts facts;         /* of the archive's content; owned by the artifact */
    struct ems_media_ids media_ids; /* of a media store or export, for comparing with the dump */
    char media_server[256];         /* that a media export is of, printable; "" if unknown */
    struct ems_config *config;      /* of a file of Synapse's configuration (config.h), or NULL */
    struct ems_signing_keys *signing_keys; /* of a key file (signing_key.h), or NULL */
    /* Of an SQLite homeserver that was kept for a restore: where the file is (the upload itself, or
     * a private copy that is removed with the artifact), or NULL. */
    char *database;
    struct ems_sqlite_spool *database_copy;
    struct ems_left_out *left_out; /* of its tables, by the restore */
    size_t left_out_count;
    char *staged; /* database that it was restored into, or NULL */
    char *kept;   /* unfinished database that was kept after a failure, or NULL */
    /* The database was compared with the dump: tables and rows by value, tables of which only the
     * rows were counted, tables that the dump writes in another form than the server. */
    struct {
        bool done;
        uint64_t tables, rows, counted, other_form;
    } compared;
    struct ems_facts staged_facts; /* what was asked of that database; owned by the artifact */
    double elapsed_s;
};

/* What a manifest records of an artifact besides its facts (manifest.h). */
struct ems_artifact_digests {
    struct ems_set_digests set;           /* initialised and released by the caller */
    struct ems_sha256 unlocked, unpacked; /* of what OpenPGP and gzip gave; done at their end */
    bool no_inside;                       /* these two are not wanted: set by the caller */
};

struct ems_bookmarks;
struct ems_manifest;
struct ems_media_rows;
struct ems_sqlite_spool;

struct ems_check_options {
    struct ems_pgp_secrets *secrets;
    bool allow_no_integrity;
    const struct ems_pgp_recipient_keys *recipient; /* that the upload must be for, or NULL */
    bool recipient_only; /* nothing to decrypt with: look at the recipients and leave it at that */
    bool no_threads;
    struct ems_manifest
        *manifest; /* of the upload: what is read is compared with it; may be NULL */
    struct ems_bookmarks *bookmarks;      /* for a second reading (ems-restore); may be NULL */
    struct ems_artifact_digests *digests; /* to be filled in while it is read; may be NULL */
    _Atomic uint64_t *bytes_in;           /* progress; may be NULL */
    ems_tick_fn *tick;                    /* may be NULL */
    void *tick_context;
    /* Of a database that was read before, or NULL: media files are hashed that it has hashes of. */
    const struct ems_media_rows *media_rows;
    uint64_t max_media_bytes; /* that the target of a media export accepts; 0: any */
    const char *temporary;    /* directory for a database that must be unpacked; NULL: /tmp */
    bool thorough;            /* compare an SQLite database's indexes with its tables, big or not */
    bool keep_database;       /* it will be restored: leave it in artifact->database */
    /* Sees every event of a dump; may be NULL. A code other than EMS_OK ends the check with it. */
    int (*watch)(void *context, const struct ems_sql_event *, struct ems_error *);
    void *watch_context;
    /* The artifact is read again from its start, with another copy of a part: what watch has seen
     * does not count. May be NULL. */
    void (*watch_again)(void *watch_context);
};

/* What a name says: "customer_db_export.sql.gz.gpg" is EMS_KIND_PG_DUMP. */
enum ems_kind ems_kind_of_name(const char *name);
const char *ems_kind_name(enum ems_kind);
const char *ems_verdict_name(enum ems_verdict);
/* The verdict that a failure of this code means. */
enum ems_verdict ems_verdict_of(int code);

/*
 * Prove one artifact from its first part to its last layer. Fills in *artifact (released by
 * ems_artifact_release) and adds what there is to say to findings. `set` may be NULL when `stream`
 * is given: a bottom source that is read instead (standard input), taken over, named `name`.
 * EMS_OK if the artifact was looked at, whatever its verdict; EMS_NO_MEMORY.
 */
int ems_artifact_check(struct ems_artifact *, const struct ems_part_set *set,
                       struct ems_source *stream, const char *name,
                       const struct ems_check_options *, struct ems_findings *);

/*
 * The same for a set some of whose parts lie here in copies that differ (set->others): if it does
 * not prove right as it is, other choices of them are tried, a few, each a reading of its own. The
 * choice that proves right is left in the set, with a note; without one, the set and the verdict
 * are those of the first reading. Sets without copies are read once.
 */
int ems_artifact_prove(struct ems_artifact *, struct ems_part_set *,
                       const struct ems_check_options *, struct ems_findings *);

/*
 * A failure of this artifact as a finding: the part and offset that its origin points at, the
 * verdict, and whether the customer must send something again.
 */
void ems_artifact_fail(struct ems_artifact *, const struct ems_error *, struct ems_findings *);

/* The same for the outcome of pulling a chain's content oneself (ems-decrypt): facts to artifact.
 */
void ems_artifact_take_chain(struct ems_artifact *, const struct ems_chain *);

/*
 * For tools that read a set by themselves over ems_digest_open: compare with the manifest what was
 * hashed, and what was not read yet. Findings from `first` on are about this reading. Verdict as
 * ems_artifact_check has it. False if the artifact is not good (or when out of memory, noted in
 * findings).
 */
bool ems_artifact_match_read(struct ems_artifact *, struct ems_manifest *, struct ems_set_digests *,
                             size_t first, struct ems_findings *);

/* A dump that was read to its end: what it says of its homeserver, as findings. */
void ems_artifact_judge_dump(const struct ems_artifact *, struct ems_findings *);

/* What is worth knowing about its message, now that it has been read: key expired or revoked,
 * signed by whom, text mode, no integrity protection. ems_artifact_check does this itself. */
void ems_artifact_note_message(const struct ems_artifact *, struct ems_findings *);

/* Copies the scanner's facts, so that they outlive it. EMS_OK or EMS_NO_MEMORY. */
int ems_artifact_take_facts(struct ems_artifact *, const struct ems_sqlscan *, struct ems_error *);

void ems_artifact_release(struct ems_artifact *);

#endif
