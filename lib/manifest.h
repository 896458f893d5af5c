/*
 * manifest.h - the checksum manifest of an upload: reading, writing, and comparing with files.
 *
 * Level 0 is what a customer makes with coreutils alone: the text of sha256sum. Read are also
 * `sha256sum --tag`, perl shasum, `openssl dgst`, PowerShell's Get-FileHash (list and table) and
 * certutil. Level 1, "#%ems-manifest 1", is written by ems-manifest: a valid sha256sum file whose
 * "#%" comment lines tell sizes, parts, inner layers and row counts, and whose last line proves it
 * complete. Both may have come through an editor: CRLF, a byte order mark and UTF-16 are read, with
 * a warning.
 *
 * A program that wants nothing but a verdict on a directory:
 *
 *     struct ems_findings findings = {0};
 *     struct ems_error err = {0};
 *
 *     if (ems_pgp_library_init(&err) != EMS_OK ||
 *         ems_manifest_verify_directory(directory, NULL, &findings, &err) != EMS_OK)
 *         return complain(err.text);
 *     for (size_t i = 0; i < findings.count; i++)
 *         puts(findings.items[i].message);
 *     status = ems_findings_exit(&findings);   (0: every byte is as the manifest says)
 *     ems_findings_release(&findings);
 *
 * A struct ems_manifest is used by one thread at a time. Names in it are raw bytes without NUL and
 * slash, at most EMS_MANIFEST_NAME_MAX long; ems_printable makes them fit for a terminal.
 */
#ifndef EMS_MANIFEST_H
#define EMS_MANIFEST_H

#include "digest.h"
#include "finding.h"
#include "sink.h"
#include "source.h"

#define EMS_MANIFEST_VERSION   1u /* newest level that is understood */
#define EMS_MANIFEST_FILE_NAME "ems-upload.sha256"

/* Limits; beyond them EMS_MANIFEST_MALFORMED. */
#define EMS_MANIFEST_LINE_MAX  65536u
#define EMS_MANIFEST_NAME_MAX  1024u
#define EMS_MANIFEST_MAX_LINES 5000000u

/* ---- what a manifest says ---- */

/* One named file: a checksum line, a size, or both. */
struct ems_manifest_entry {
    const char *name;
    const char *of;           /* of a part: the artifact it belongs to; else NULL */
    uint64_t line;            /* where it was first named, from 1; 0 if it was not read */
    uint64_t size;            /* EMS_NOWHERE if the manifest does not say */
    uint64_t index;           /* of a part with `of`: its place, from 0 */
    uint64_t offset;          /* and its first byte in the assembled stream */
    struct ems_sha256 sha256; /* not done if the manifest has no checksum of it */
    size_t parts; /* parts of this name that are listed too: it stands for their assembled bytes */
    enum { EMS_MANIFEST_UNSEEN, EMS_MANIFEST_GOOD, EMS_MANIFEST_BAD } state; /* of the comparison */
};

/* "#% artifact". Strings are "" where the manifest does not say. */
struct ems_manifest_artifact {
    const char *name, *kind, *suffix, *enc;
    uint64_t size, parts, part_size; /* 0 if not said */
};

/* "#% inner": the bytes after `layer` ("gpg", "gzip") is removed. */
struct ems_manifest_inner {
    const char *name, *layer;
    uint64_t size;
    struct ems_sha256 sha256;
};

/* "#% sqldump" and the "#% table" lines behind it. */
struct ems_manifest_sqldump {
    const char *of, *server, *dump, *encoding;
    bool complete;
    size_t first_table, table_count; /* in tables */
};
struct ems_manifest_table {
    const char *name;
    uint64_t rows;
};

/* "#% media" */
struct ems_manifest_media {
    const char *of, *entity;
    uint64_t count, bytes, missing;
};

/* "#% block": bytes index*size and following of a file that is not split. */
struct ems_manifest_block {
    const char *name;
    uint64_t size, index;
    struct ems_sha256 sha256;
};

struct ems_manifest {
    unsigned level; /* 0: plain checksum list, 1: ems-manifest 1 */
    /* single values; "" where not said */
    const char *tool, *tool_version, *created, *server_name, *upload_id;
    struct ems_manifest_entry *entries; /* in the order of the file */
    struct ems_manifest_artifact *artifacts;
    struct ems_manifest_inner *inners;
    struct ems_manifest_sqldump *sqldumps;
    struct ems_manifest_table *tables;
    struct ems_manifest_media *media;
    struct ems_manifest_block *blocks;
    size_t entry_count, artifact_count, inner_count, sqldump_count, table_count, media_count,
        block_count;
    uint64_t lines, ignored; /* lines read; directives of kinds that are not known */
    char fingerprint[17];    /* first digits of the SHA-256 of the file, as sha256sum shows them */
    struct ems_manifest_store *store; /* internal: strings and the table of names */
};

/*
 * Read one. Takes over src. *out is NULL after an error. Warnings (encoding, line ends, no end
 * mark) go to findings (may be NULL) under `name`. Memory grows with the names, within the limits
 * above. EMS_OK, or EMS_MANIFEST_MALFORMED, EMS_MANIFEST_TRUNCATED (level 1 without its end line,
 * or a file that ends within a line), EMS_MANIFEST_UNSUPPORTED (a newer level, or a directive that
 * must be understood), EMS_NO_MEMORY, or what the source gave; every message names the line.
 */
int ems_manifest_read(struct ems_manifest **out, struct ems_source *src, const char *name,
                      struct ems_findings *, struct ems_error *);

/* An empty one of level 1, to be filled with the functions below. NULL when out of memory. */
struct ems_manifest *ems_manifest_new(struct ems_error *);
void ems_manifest_free(struct ems_manifest *); /* NULL allowed */

/* The entry of this name, or NULL. The name may have directories in front: only what follows the
 * last slash counts. */
struct ems_manifest_entry *ems_manifest_find(const struct ems_manifest *, const char *name);

/* ---- making one ---- */

/*
 * Each copies what it is given. EMS_OK, EMS_NO_MEMORY, or EMS_MANIFEST_MALFORMED for a name that no
 * manifest can hold (empty, "..", control characters, too long) or that is there with other values.
 */
int ems_manifest_add(struct ems_manifest *, const char *name, uint64_t size,
                     const struct ems_sha256 *, struct ems_error *);
int ems_manifest_add_part(struct ems_manifest *, const char *name, const char *of, uint64_t index,
                          uint64_t offset, uint64_t size, const struct ems_sha256 *,
                          struct ems_error *);
int ems_manifest_add_artifact(struct ems_manifest *, const struct ems_manifest_artifact *,
                              struct ems_error *);
int ems_manifest_add_inner(struct ems_manifest *, const struct ems_manifest_inner *,
                           struct ems_error *);
int ems_manifest_add_sqldump(struct ems_manifest *, const struct ems_manifest_sqldump *,
                             struct ems_error *);
/* Of the dump that was added last. */
int ems_manifest_add_table(struct ems_manifest *, const struct ems_manifest_table *,
                           struct ems_error *);
int ems_manifest_add_media(struct ems_manifest *, const struct ems_manifest_media *,
                           struct ems_error *);
int ems_manifest_add_block(struct ems_manifest *, const struct ems_manifest_block *,
                           struct ems_error *);
/* A single value; which: the address of a member, as in (m, &m->created, "..."). */
int ems_manifest_set(struct ems_manifest *, const char **which, const char *value,
                     struct ems_error *);

/* A new random upload-id (a UUID of version 4, RFC 9562), from libgcrypt's nonces. */
int ems_manifest_make_upload_id(struct ems_manifest *, struct ems_error *);

/* Everything that the outside of a set tells: its artifact line (how it is encrypted is read from
 * its first bytes), parts, checksums, and blocks as far as digests has them. The set is whole and
 * hashed. */
int ems_manifest_add_set(struct ems_manifest *, const struct ems_part_set *,
                         const struct ems_set_digests *, struct ems_error *);

/* What a proven artifact tells of its inside: the bytes under each layer, the dump's versions and
 * rows. */
struct ems_artifact;
struct ems_artifact_digests;
int ems_manifest_add_inside(struct ems_manifest *, const struct ems_artifact *,
                            const struct ems_artifact_digests *, struct ems_error *);

/*
 * Write it as level 1, and fill in m->fingerprint and m->lines. The sink is neither committed nor
 * freed. EMS_OK or what the sink gave.
 */
int ems_manifest_write(struct ems_manifest *, struct ems_sink *, struct ems_error *);

/* ---- comparing ---- */

/*
 * Compare one file with its entry: size and, unless sha256 is NULL or not done, content. What
 * differs becomes a finding (EMS_MANIFEST_SIZE, EMS_MANIFEST_DIGEST; to be sent again) of
 * `artifact`, and the entry's state is set. True if nothing spoke against the file; one that the
 * manifest does not list is EMS_MANIFEST_EXTRA: an error if it claims to be a part of something
 * listed, else a warning.
 */
bool ems_manifest_match(struct ems_manifest *, const char *artifact, const char *name,
                        uint64_t size, const struct ems_sha256 *, struct ems_findings *);

/*
 * Where copies of a part differ (ems_part_set.others) and the manifest's checksum, or its size,
 * speaks for one of them, that one becomes the part, and the finding about it a note. Reads only
 * such copies. Before anything of the upload is read. options may be NULL. EMS_OK, EMS_NO_MEMORY,
 * or the tick's code.
 */
int ems_manifest_settle(const struct ems_manifest *, struct ems_upload *,
                        const struct ems_digest_options *, struct ems_findings *,
                        struct ems_error *);

/* What ems_manifest_match_set found of a set. */
struct ems_manifest_verdict {
    size_t listed; /* files of it (or their assembled bytes) that the manifest lists */
    size_t proven; /* files whose SHA-256 is the one listed */
    size_t bad;    /* files proven bad */
    bool whole;    /* all of its bytes are proven, by its parts or by the assembled digest */
};

/*
 * The same for all parts of a set and for its assembled bytes. digests NULL: names and sizes only.
 * When the whole file of a split artifact is here, its parts are not missed, and the other way
 * round. EMS_OK or EMS_NO_MEMORY.
 */
int ems_manifest_match_set(struct ems_manifest *, const struct ems_part_set *,
                           const struct ems_set_digests *, struct ems_manifest_verdict *,
                           struct ems_findings *);

/* After everything was matched: entries that nothing was compared with are EMS_MANIFEST_MISSING,
 * to be sent again. Returns how many. */
size_t ems_manifest_match_end(struct ems_manifest *, struct ems_findings *);

/*
 * Compare with a listing made by `rclone lsjson --hash` (a JSON array) that is read from src (taken
 * over): nothing need be downloaded. Two files of one name, which Google Drive permits, are
 * EMS_PART_CONFLICT, or EMS_PART_DUPLICATE when they are equal. A file whose listing has no SHA-256
 * is compared by size. Missing ones included. EMS_OK, or EMS_MANIFEST_MALFORMED for a text that is
 * no such listing.
 */
int ems_manifest_match_listing(struct ems_manifest *, struct ems_source *src, struct ems_findings *,
                               struct ems_error *);

/* Is this the name of the manifest of an upload ("ems-upload.sha256", or with ".txt" behind it), or
 * of a signature or encrypted copy of it? */
bool ems_manifest_is_name(const char *name);

/* The set of the upload that is its manifest; NULL if there is none. */
const struct ems_part_set *ems_manifest_of_upload(const struct ems_upload *);

/* Zeros mean the default in each field. */
struct ems_manifest_options {
    bool fast;                        /* names and sizes only */
    struct ems_digest_options digest; /* threads, progress */
};

/*
 * All of it: find the manifest in the directory, read it, hash every file, tell what is bad,
 * missing and extra. EMS_OK if the comparison could be made, whatever it found;
 * EMS_MANIFEST_MISSING if there is no manifest; the errors of ems_manifest_read; EMS_IO_ERROR,
 * EMS_NO_MEMORY. options may be NULL.
 */
int ems_manifest_verify_directory(const char *directory, const struct ems_manifest_options *,
                                  struct ems_findings *, struct ems_error *);

/*
 * The same for an upload that was resolved already, with a verdict for each of its sets (room given
 * by the caller). `resolved`, which may be NULL, is what ems_upload_resolve found: it is repeated
 * in findings, but for what it says of files that the manifest knows better.
 */
int ems_manifest_verify_upload(struct ems_manifest *, const struct ems_upload *,
                               const struct ems_findings *resolved,
                               const struct ems_manifest_options *,
                               struct ems_manifest_verdict *verdicts, struct ems_findings *,
                               struct ems_error *);

#endif
