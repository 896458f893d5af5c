/*
 * server_synapse_ask.h - questions to a restored database; between server_synapse.c and
 * server_synapse_rows.c.
 */
#ifndef EMS_SERVER_SYNAPSE_ASK_H
#define EMS_SERVER_SYNAPSE_ASK_H

#include "server_synapse.h"
#include "synapse_state.h"

#include <libpq-fe.h>

struct ems_synapse_asker {
    PGconn *conn;
    struct ems_artifact *artifact;
    const struct ems_synapse_options *options;
    struct ems_findings *findings;
    struct ems_synapse db; /* what the database says */
    PGresult *columns;     /* table, column; ordered by table */
    uint64_t sequences_set;
    bool broken; /* the connection or the memory: err says why */
    struct ems_error *err;
};

/*
 * The first column of the only row; 0 if there is no answer: after trouble, then a->broken, or
 * because the server refused or took too long, then `what` could not be found out and a note says
 * so.
 */
bool ems_synapse_ask_number(struct ems_synapse_asker *, const char *what, const char *sql,
                            uint64_t *number);

/* Has the database this table, with this column (NULL: any)? */
bool ems_synapse_has(const struct ems_synapse_asker *, const char *table, const char *column);

/* A finding, if it is not there yet. */
void ems_synapse_tell(struct ems_synapse_asker *, int code, enum ems_severity, const char *advice,
                      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Rows that should have a partner and have none. */
void ems_synapse_ask_rows(struct ems_synapse_asker *);

/* Totals for the report. EMS_OK or EMS_NO_MEMORY. */
int ems_synapse_ask_totals(struct ems_synapse_asker *, struct ems_error *);

#endif
