/*
 * server_synapse.h - what Synapse asks of its database, asked of the one that was just restored,
 * while it has no name yet.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SYNAPSE_H
#define EMS_SERVER_SYNAPSE_H

#include "artifact.h"
#include "staging.h"

struct ems_synapse_options {
    bool repair_sequences;       /* set those that are behind to the greatest value of all */
    bool truncate_one_time_keys; /* empty e2e_one_time_keys_json */
    unsigned timeout_ms;         /* for each question; 0: a minute */
    ems_tick_fn *tick;           /* about ten times a second; may be NULL */
    void *tick_context;
};

/*
 * Ask the unfinished database of `staging`, which holds `artifact`: everything of synapse_state.h
 * by SQL, and what only a database can tell: locale, indexes that are not valid, rows that point
 * nowhere. Findings that are there already are not repeated; those that a repair has settled are
 * taken back, and what was done instead is a note. artifact->staged_facts gets totals for the
 * report (layer "synapse"). A database that is not Synapse's is left alone.
 *
 * Nothing that is found is a failure: Synapse's conditions destroy no restore. A question that
 * takes too long is given up with a note. EMS_OK; EMS_SERVER_ERROR if the server cannot
 * be reached or a repair fails; EMS_NO_MEMORY; what tick returned.
 */
int ems_synapse_check_staged(struct ems_artifact *artifact, struct ems_staging *staging,
                             const struct ems_synapse_options *, struct ems_findings *,
                             struct ems_error *);

#endif
