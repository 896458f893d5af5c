/* server.h - what ems-restore and ems-ingest share; only they link libpq. */
#ifndef EMS_TOOL_SERVER_H
#define EMS_TOOL_SERVER_H

#include "cli.h"
#include "server_ingest.h"

/* Restore one artifact as the command line says (stream and plan: see server_ingest.h), and leave
 * the commands to look at it in cli->epilogue. *staging is opened at the first use. */
void server_restore(struct cli *, struct ems_artifact *, struct ems_source *stream,
                    struct ems_plan *plan, struct ems_staging **staging);

/* Prove an artifact in a first pass and, if it is a good dump, restore it in a second. */
void server_check_and_restore(struct cli *, struct ems_part_set *, bool only_dumps,
                              struct ems_staging **staging);

#endif
