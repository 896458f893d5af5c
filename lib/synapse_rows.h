/*
 * synapse_rows.h - the rows of a dump that say something about its homeserver: a few columns of a
 * few tables, out of COPY data or of the constants of INSERTs. Internal; used by synapse_observe.c.
 */
#ifndef EMS_SYNAPSE_ROWS_H
#define EMS_SYNAPSE_ROWS_H

#include "bytes.h"
#include "synapse_state.h"

#define EMS_SYNAPSE_MEDIA_TABLE "local_media_repository"
#define EMS_SYNAPSE_WANTED      8u  /* columns of one table */
#define EMS_SYNAPSE_WATCHED     64u /* tables */

/* A column that is looked at. */
struct ems_synapse_column {
    unsigned column;
    unsigned field;           /* what it is to synapse_rows.c */
    uint8_t sequence, source; /* HIGHEST */
};

/* The columns of one table that are looked at, in their order. */
struct ems_synapse_columns {
    struct ems_synapse_column items[EMS_SYNAPSE_WANTED];
    unsigned count;
};

struct ems_synapse_row {
    struct ems_buf bytes;
    bool cut;    /* its end was left out */
    bool events; /* in the rows of event_json, which others look at */
    struct ems_synapse_columns wanted;
    struct { /* as they were created: INSERT may name no columns */
        char name[64];
        struct ems_synapse_columns wanted;
    } tables[EMS_SYNAPSE_WATCHED];
    size_t table_count;
};

struct ems_synapse_value {
    const char *text;
    size_t size;
    bool null;
    bool escapes; /* it stood in E'...'; INSERT only */
};

/* Which of a table's columns are looked at; count 0: none. */
void ems_synapse_columns_choose(const char *table, const char *const *columns, size_t count,
                                struct ems_synapse_columns *);
/* Is it looked at only for the name of our own server? */
bool ems_synapse_columns_own(const struct ems_synapse_columns *);

/* The texts of events come as INSERTs one by one; out of COPY data they are sampled
 * (event_sample.h), so that column is not looked at. */
void ems_synapse_columns_drop_texts(struct ems_synapse_columns *);

/* A row's values, in the order of `wanted`. EMS_OK or EMS_NO_MEMORY. */
int ems_synapse_see_values(struct ems_synapse *, const struct ems_synapse_columns *wanted,
                           const struct ems_synapse_value *values, struct ems_error *);

/* COPY data, cut anywhere, for the columns in s->row->wanted. EMS_OK or EMS_NO_MEMORY. */
int ems_synapse_see_data(struct ems_synapse *, const uint8_t *data, size_t size,
                         struct ems_error *);

/* NULL allowed. */
void ems_synapse_row_free(struct ems_synapse_row *);

#endif
