/*
 * upload_check.h - what the artifacts of an upload say about each other, once each was checked.
 *
 * - The server name of the configuration, of the database, of the media export, of the key file's
 *   name and of the operator (--server-name) is one.
 * - The configuration, its files merged as Synapse merges them (config.h), is one that Synapse
 * starts with; its kind of database is the one that was sent; files that it names are in the
 * upload.
 * - The media of a media export or a media store are those of the database, with its sizes and,
 *   where both know them, its hashes.
 * - The signing key is the one that signed the server's newest events: its id stands in them, and
 *   one such signature is verified with the public half. No other tool compares them, and a server
 *   that comes up with another key is not believed by its peers.
 */
#ifndef EMS_UPLOAD_CHECK_H
#define EMS_UPLOAD_CHECK_H

#include "report.h"

struct ems_upload_check_options {
    const char *server_name; /* that everything must agree with; NULL: what the upload says */
    bool whole; /* all of an upload is there to be seen, so what is not here is missing */
};

/*
 * Adds findings to the report, and takes the verdict "verified" from artifacts that contradict. To
 * be called once, after the last artifact. Out of memory is noted in the findings.
 */
void ems_upload_check(struct ems_report *, const struct ems_upload_check_options *);

/* A media archive and the database that it belongs to. */
struct ems_upload_media {
    const char *artifact;              /* the archive's name */
    const struct ems_media_ids *files; /* what is in it, sorted */
    const char *database;              /* name of the dump or the SQLite database */
    const struct ems_media_rows *rows; /* of its local_media_repository, sorted */
    bool elsewhere;                    /* media_storage_providers: a file may be in S3 instead */
};

/* Findings about a media archive: rows without a file (media-db-missing), files without a row
 * (media-not-in-db), other sizes and hashes. Part of ems_upload_check, in upload_media.c. */
void ems_upload_check_media(const struct ems_upload_media *, struct ems_findings *);

/* Name what must be quarantined again after an import; nothing if nothing is. */
void ems_upload_list_quarantined(const struct ems_media_rows *, const char *database,
                                 struct ems_findings *);

/* Does the key fit the events of the dump? Findings for keys (of the artifact `name`; may be empty,
 * then only what is needed is said). Part of ems_upload_check, in upload_key.c. */
struct ems_signing_keys;
void ems_upload_check_key(const struct ems_synapse *, const char *server,
                          const struct ems_signing_keys *keys, const char *name, bool whole,
                          struct ems_findings *);

#endif
