/* server.h - what ems-restore and ems-ingest share; only they link libpq. */
#ifndef EMS_TOOL_SERVER_H
#define EMS_TOOL_SERVER_H

#include "cli.h"
#include "server_ingest.h"

/* The staging server of a run. Start with {0}; opened when it is needed. */
struct server {
    struct ems_staging *staging;
    struct ems_ahead *ahead;
};

void server_close(struct server *);

/* Restore one artifact as the command line says (stream, plan and verify: see server_ingest.h), and
 * leave the commands to look at it in cli->epilogue. The server is opened at the first use. */
void server_restore(struct cli *, struct ems_artifact *, struct ems_source *stream,
                    struct ems_plan *plan, struct ems_verify *verify, struct server *);

/* Proving takes hours for a large upload: does the server of --dsn answer, and is the name given with
 * --database free (or --force given)? Said before, if not, and false. An embedded server is not
 * started for it. */
bool server_answers(struct cli *);

enum server_job {
    SERVER_CHECK,   /* only prove it */
    SERVER_RESTORE, /* a database is restored, anything else is just proven */
    SERVER_DEMAND,  /* anything else than a database is an error */
};

/* Prove an artifact in a first pass and, if it is a good database, restore it in a second. */
void server_check_and_restore(struct cli *, struct ems_part_set *, enum server_job,
                              struct server *);

/* The same of a stream (taken over) that is an SQLite homeserver: it is unpacked to be checked, so
 * one reading is enough. */
void server_check_and_restore_stream(struct cli *, struct ems_source *stream, const char *name,
                                     struct server *);

#endif
