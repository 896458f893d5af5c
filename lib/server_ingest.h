/*
 * server_ingest.h - a proven dump artifact into the staging database: the "use" pass.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_INGEST_H
#define EMS_SERVER_INGEST_H

#include "artifact.h"
#include "restore.h"
#include "server_ahead.h"
#include "server_verify.h"
#include "staging.h"

struct ems_ingest_options {
    struct ems_check_options check;
    struct ems_staging_options server;
    const char *database;    /* NULL: staging_<server name> */
    const char *server_name; /* NULL: what the first pass found in the dump */
    const char *schema_from; /* for an SQLite homeserver: see server_schema.h */
    bool replace;            /* an existing database of that name */
    bool repair_sequences;   /* see server_synapse.h */
    bool truncate_one_time_keys;
    struct ems_ahead *ahead;   /* that opens the server already; may be NULL */
    bool keep_failed;          /* what was restored before a failure stays (ems_staging_keep) */
    bool resume;               /* go on in what another run left; implies keep_failed */
    struct ems_verify *verify; /* compare the database with the dump; it has seen the events of the
                                  first pass. NULL: rows are only counted */
    struct ems_plan *plan; /* that ems_plan_observe made in the first pass; NULL: no parallelism */
};

/*
 * Restore `artifact`, a dump or an SQLite homeserver. With a set: it must have been verified by
 * ems_artifact_check before; its parts are read a second time and compared with the first (an
 * SQLite homeserver was kept by the check, server_sqlite.h). With a stream (taken over): read once;
 * the artifact is filled in as ems_artifact_check does. Before the database gets its name, what
 * Synapse asks of it is looked at (server_synapse.h). It gets the name only at the very end; on any
 * failure, which another server name than server_name is too, nothing of that name was made or
 * touched.
 *
 * `staging` stays open for questions (ems_staging_howto) and is closed by the caller; it is opened
 * here, or taken from `ahead`. Sets artifact->staged on success. Returns
 * EMS_OK or the code of the failure, which is also a finding by then.
 */
int ems_ingest_artifact(struct ems_artifact *artifact, struct ems_source *stream,
                        const struct ems_ingest_options *, struct ems_staging **staging,
                        struct ems_findings *);

#endif
