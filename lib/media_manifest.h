/*
 * media_manifest.h - manifest.json of a media export, as a stream: bytes in, one call for each
 * media out. Memory does not depend on its size.
 *
 * The document (matrix-media-repo, archival/v2archive/manifest.go and reader.go):
 *
 *     {"version": 2, "entity_id": "example.org", "created_ts": 1600000000000, "media": {
 *         "mxc://example.org/ID": {"name": "cat.png", "file_name": "example.org__ID.png",
 *             "size_bytes": 123, "content_type": "image/png", "s3_url": "", "sha256": "hex",
 *             "origin": "example.org", "media_id": "ID", "created_ts": 1600000000000,
 *             "uploader": "@alice:example.org"}, ...}}
 *
 * Version 1 says user_id instead of entity_id. Other names are passed over. As in Go's reader the
 * case of names does not matter; one that comes twice in the same object is an error here, where
 * that reader would silently take the last.
 */
#ifndef EMS_MEDIA_MANIFEST_H
#define EMS_MEDIA_MANIFEST_H

#include "error.h"

#define EMS_MEDIA_TEXT_MAX 1024u /* bytes of each text of a media that are read */

/* Texts are UTF-8, may be empty, end in a NUL and have none inside; valid during the call. */
struct ems_media_entry {
    const char *uri;                                      /* "mxc://example.org/ID" */
    const char *file_name, *origin, *media_id, *uploader; /* "" if not there */
    uint64_t size;
    uint8_t sha256[32];
    uint64_t created_ms; /* EMS_NOWHERE if not there, or before 1970 */
    bool in_s3;          /* it has an s3_url */
    const char *problem; /* what is wrong with it, in words; NULL: nothing, all fields are good */
};

/* A code other than EMS_OK ends the parse with it. */
typedef int ems_media_entry_fn(void *context, const struct ems_media_entry *, struct ems_error *);

struct ems_media_manifest_facts {
    uint64_t version;
    char entity[EMS_MEDIA_TEXT_MAX + 1]; /* server (or, exported for one user, user id) */
    uint64_t created_ms;                 /* EMS_NOWHERE if not there */
    uint64_t entries;
};

struct ems_media_manifest;

struct ems_media_manifest *ems_media_manifest_new(ems_media_entry_fn *, void *context,
                                                  struct ems_error *);
/* EMS_OK; EMS_MEDIA_BAD_MANIFEST if it is not such a document; EMS_NO_MEMORY; or what the function
 * returned. Nothing more is read after that. */
int ems_media_manifest_feed(struct ems_media_manifest *, const void *data, size_t size,
                            struct ems_error *);
/* All of it has come: is it complete, of version 1 or 2, with an entity and with media? As above.
 */
int ems_media_manifest_finish(struct ems_media_manifest *, struct ems_error *);
/* Final after the finish. */
const struct ems_media_manifest_facts *ems_media_manifest_facts(const struct ems_media_manifest *);
void ems_media_manifest_free(struct ems_media_manifest *); /* NULL allowed */

#endif
