/*
 * media_rows.h - the rows of Synapse's local_media_repository, out of a dump or an SQLite database.
 *
 * Columns (synapse/storage/schema): media_id, media_length (NULL until an upload is finished),
 * created_ts, user_id, quarantined_by, url_cache (not NULL: a preview), and since schema 91
 * (Synapse 1.128) sha256, in hex. A database that lacks the last one is compared by sizes.
 *
 * Internal.
 */
#ifndef EMS_MEDIA_ROWS_H
#define EMS_MEDIA_ROWS_H

#include "media_ids.h"

enum ems_media_column {
    EMS_MEDIA_COLUMN_ID,
    EMS_MEDIA_COLUMN_LENGTH,
    EMS_MEDIA_COLUMN_CREATED,
    EMS_MEDIA_COLUMN_USER,
    EMS_MEDIA_COLUMN_QUARANTINED,
    EMS_MEDIA_COLUMN_URL_CACHE,
    EMS_MEDIA_COLUMN_SHA256,
    EMS_MEDIA_COLUMNS,
};

/* "media_id"; static. */
const char *ems_media_column_name(enum ems_media_column);

struct ems_media_value {
    const char *text; /* not terminated; still escaped, which nothing valid here is */
    size_t size;
    bool null;
};

/* Start with {0}. */
struct ems_media_rows {
    struct ems_media_ids ids; /* sorted by ems_media_rows_finish; when they are full, further rows
                                 are left out, and nothing can be compared */
    uint64_t rows;            /* all of them */
    uint64_t odd;             /* rows whose media_id is none of Synapse's; not in ids */
    uint64_t pending;         /* uploads that were never finished */
    uint64_t previews;        /* of the URL cache */
    uint64_t quarantined, hashed;
};

/* A row: its values by column, null where the table has no such column. EMS_OK or EMS_NO_MEMORY. */
int ems_media_rows_add(struct ems_media_rows *, const struct ems_media_value *values,
                       struct ems_error *);
void ems_media_rows_finish(struct ems_media_rows *);
void ems_media_rows_release(struct ems_media_rows *);

#endif
