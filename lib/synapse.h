/*
 * synapse.h - what a dump says about its homeserver, collected while it streams.
 *
 * Looks at small tables, and at one number in each row of those that have a sequence; table and
 * column names are Synapse's own (synapse/storage/schema). A homeserver is known by the tables
 * users, events and schema_version.
 */
#ifndef EMS_SYNAPSE_H
#define EMS_SYNAPSE_H

#include "sqlscan.h"

struct ems_synapse {
    bool has_users, has_events, has_schema_version; /* tables created */
    char server_name[256];  /* printable; of most users ("@alice:example.org"); "" if unknown */
    uint64_t users;         /* rows of users */
    uint64_t other_servers; /* rows of users whose name has another server */
    char other_server[256]; /* one of them */
    uint32_t schema_version, compat_version; /* 0 if unknown */
    uint64_t background_updates;             /* rows still pending */
    struct ems_event_samples *events; /* a few of its newest events (event_sample.h), or NULL */
    struct ems_media_rows *media;     /* rows of local_media_repository (media_rows.h), or NULL */
    /* internal */
    struct ems_synapse_row *row;     /* the row that is being put together */
    struct ems_synapse_state *state; /* what else is known */
};

/* Start with {0}. Give every event of the scanner. EMS_OK or EMS_NO_MEMORY. */
int ems_synapse_observe(struct ems_synapse *, const struct ems_sql_event *, struct ems_error *);

bool ems_synapse_is_homeserver(const struct ems_synapse *);

/* "1.151-1.160" for 94: the releases of Synapse that write this schema version; NULL if not
 * known. Static. (formats: SCHEMA_VERSION in synapse/storage/schema/__init__.py by release tag.) */
const char *ems_synapse_releases(uint32_t schema_version);

void ems_synapse_release(struct ems_synapse *);

#endif
