/*
 * media_store.h - the walker of a media store backup: Synapse's media_store directory in a tar
 * archive (customer_backup_media_export.tar.gz).
 *
 * Layout, below any one prefix (synapse/media/filepath.py):
 *
 *     local_content/AA/BB/rest                        media id AABBrest
 *     url_cache/YYYY-MM-DD/rest                       media id YYYY-MM-DD_rest
 *     url_cache/AA/BB/rest                            the same before 2017: AABBrest
 *     remote_content/SERVER/AA/BB/rest                somebody else's media; can be fetched again
 *     local_thumbnails/AA/BB/rest/W-H-TYPE-SUBTYPE-METHOD
 *     remote_thumbnail/SERVER/AA/BB/rest/W-H-TYPE-SUBTYPE[-METHOD]
 *     url_cache_thumbnails/YYYY-MM-DD/rest/... or AA/BB/rest/...
 *
 * A media id says nothing about its file's content: that all of the bytes came is the archive's
 * proof. What can be compared with the database is collected (upload_media.c): ids and sizes, and
 * the hashes of those files that the database, read before, has hashes of.
 */
#ifndef EMS_MEDIA_STORE_H
#define EMS_MEDIA_STORE_H

#include "archive_walk.h"
#include "media_ids.h"

enum ems_store_class {
    EMS_STORE_LOCAL,
    EMS_STORE_URL_CACHE,
    EMS_STORE_REMOTE,
    EMS_STORE_LOCAL_THUMBNAIL,
    EMS_STORE_REMOTE_THUMBNAIL,
    EMS_STORE_URL_CACHE_THUMBNAIL,
    EMS_STORE_CLASSES,
};

struct ems_store_path {
    enum ems_store_class class;
    size_t prefix_size; /* bytes before the store's own top directory, with the last slash */
    bool fits;          /* Synapse can have put a file there */
    bool safe;          /* only characters that Synapse uses in such names */
    char id[EMS_MEDIA_ID_MAX + 1]; /* of local media and the URL cache, if it fits */
};

/* Is this (a clean path, tar_policy.h) a file in a media store? */
bool ems_store_path_read(const char *path, struct ems_store_path *);

struct ems_media_rows;

/* ids: filled with local media and the URL cache, sorted at the end. rows: of the database, sorted,
 * or NULL: no file is hashed. Both are borrowed and must outlive the walker. */
struct ems_walker *ems_media_store_open(struct ems_media_ids *ids,
                                        const struct ems_media_rows *rows, struct ems_error *);

#endif
