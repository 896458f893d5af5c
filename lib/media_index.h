/*
 * media_index.h - both sides of a media export, joined by file name: what manifest.json lists, and
 * the files that are there. Either side may come first.
 *
 * The records are those of media_ids.h; what is added here are about 25 bytes each. Names are
 * compared by a keyed hash of 64 bits (name_hash.h): that two of a million fall together happens
 * once in 30 million exports, and would be said to be a wrong file, never a right one.
 */
#ifndef EMS_MEDIA_INDEX_H
#define EMS_MEDIA_INDEX_H

#include "media_ids.h"
#include "media_manifest.h"

#define EMS_MEDIA_INDEX_MAX (UINT32_C(1) << 24) /* files and media that are accepted */

struct ems_media_index;

/* What was known of a file's name before. */
struct ems_media_seen {
    bool entry;    /* the manifest has listed it */
    bool file;     /* there was a file of that name already */
    bool useless;  /* the manifest lists it, but not what can be compared */
    uint64_t size; /* of the side that was there; if both were, the manifest's */
    uint8_t sha256[32];
};

/* How it stands with one of them. */
struct ems_media_state {
    bool entry, file, in_s3;
};

/* ids: empty, borrowed, filled; must outlive the index. */
struct ems_media_index *ems_media_index_new(struct ems_media_ids *ids, struct ems_error *);

/* A file was read. EMS_OK, EMS_NO_MEMORY, or EMS_MEDIA_BAD_MANIFEST: more than
 * EMS_MEDIA_INDEX_MAX. */
int ems_media_index_file(struct ems_media_index *, const char *name, uint64_t size,
                         const uint8_t *sha256, struct ems_media_seen *, struct ems_error *);
/* A media of the manifest (with or without a problem; one without a file_name is not kept). As
 * above. */
int ems_media_index_entry(struct ems_media_index *, const struct ems_media_entry *,
                          struct ems_media_seen *, struct ems_error *);

/* All of them, by position, in the order in which they came first. */
size_t ems_media_index_count(const struct ems_media_index *);
struct ems_media_state ems_media_index_state(const struct ems_media_index *, size_t i);
/* What it is called, made printable: the media id if the manifest lists it, else the file's name.
 */
char *ems_media_index_name(const struct ems_media_index *, size_t i, char *out, size_t out_size);

/* No more will come: ids keeps what the manifest lists, sorted. Positions mean nothing any more. */
void ems_media_index_finish(struct ems_media_index *);
void ems_media_index_free(struct ems_media_index *); /* NULL allowed */

#endif
