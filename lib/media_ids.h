/*
 * media_ids.h - media ids with what is known of their files, kept compactly: about the id's own
 * length and fifteen bytes each, and fifty more where digests are known, so that a million fit into
 * tens of megabytes.
 *
 * There are two sorts of lists: of the files in an archive, and of the rows of a database's
 * local_media_repository. Each is filled while its artifact passes and sorted once; upload_media.c
 * holds one against the other.
 */
#ifndef EMS_MEDIA_IDS_H
#define EMS_MEDIA_IDS_H

#include "bytes.h"
#include "error.h"

#define EMS_MEDIA_ID_MAX    255u
#define EMS_MEDIA_IDS_BYTES (512u << 20) /* of records: room for 6 million rows with digests */

struct ems_media_id {
    const char *id; /* not terminated; valid until the list changes */
    size_t id_size;
    uint64_t size;    /* bytes of the file; EMS_NOWHERE if not known (a hard link), or, in a row, if
                         the upload was never finished */
    bool url_cache;   /* of the preview cache: no user misses it */
    bool quarantined; /* rows only: nobody may see it */
    const uint8_t *sha256; /* 32 bytes, or NULL (then the next two are not kept) */
    uint64_t created_ms;   /* since 1970; EMS_NOWHERE if not known (a media store) */
    uint32_t uploader;     /* ems_media_uploader of the uploader's user id ("" for none); 0 if not
                              known */
};

/* Start with {0}; release with ems_media_ids_release. */
struct ems_media_ids {
    struct ems_buf records;
    uint32_t *order; /* offsets of the records; sorted by id after ems_media_ids_sort */
    size_t count, capacity;
};

/* A user id as 32 bits (FNV-1a): enough to see that two differ, not to prove them equal. */
uint32_t ems_media_uploader(const char *user_id, size_t size);

/* Are there EMS_MEDIA_IDS_BYTES already? For lists that a stranger could make endless. */
bool ems_media_ids_is_full(const struct ems_media_ids *);

/* EMS_OK, EMS_NO_MEMORY, or EMS_INTERNAL when 4 GiB of records are full. id_size up to
 * EMS_MEDIA_ID_MAX. */
int ems_media_ids_add(struct ems_media_ids *, const struct ems_media_id *, struct ems_error *);
/* Puts another record into the place of this one: over it if its id begins with the new one and
 * both or neither have a digest, else behind all others. As ems_media_ids_add. */
int ems_media_ids_replace(struct ems_media_ids *, size_t i, const struct ems_media_id *,
                          struct ems_error *);
/* Takes one out; the last of the list takes its place. */
void ems_media_ids_drop(struct ems_media_ids *, size_t i);
void ems_media_ids_sort(struct ems_media_ids *);
/* By position (after the sort in the order of the ids). */
struct ems_media_id ems_media_ids_get(const struct ems_media_ids *, size_t i);
/* Position of an id in a sorted list, or SIZE_MAX. */
size_t ems_media_ids_find(const struct ems_media_ids *, const char *id, size_t id_size);
void ems_media_ids_release(struct ems_media_ids *);

#endif
