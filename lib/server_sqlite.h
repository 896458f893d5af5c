/*
 * server_sqlite.h - an SQLite homeserver into the staging database.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SQLITE_H
#define EMS_SERVER_SQLITE_H

#include "artifact.h"
#include "server_schema.h"
#include "staging.h"

/*
 * Load `artifact`, an SQLite homeserver that was checked with keep_database, into the unfinished
 * database of `staging`, with the schema that was read for it: tables and sequences, the rows
 * converted to what the target's columns are, keys, indexes and foreign keys, and the sequences set
 * from the rows; all in one transaction. The database is opened anew and read once; nothing in it
 * is run (sqlite_open.h).
 *
 * The schema must be of the database's own schema version and hold the same changes of it (Synapse
 * notes both); what does not fit is a finding and EMS_SYNAPSE_SCHEMA. EMS_OK: findings say which
 * rows could not be stored and what was left out, and the artifact gets the rows of each table
 * (sql.tables) and what was left (left_out). EMS_RESTORE_FAILED names the table and the rowid;
 * EMS_SQLITE_CORRUPT, EMS_SQLITE_NOT_SYNAPSE, EMS_SERVER_ERROR, EMS_NO_MEMORY, or what check->tick
 * returned. Whoever called publishes or abandons the database.
 */
int ems_sqlite_restore(struct ems_artifact *artifact, const struct ems_schema *,
                       struct ems_staging *staging, const struct ems_check_options *check,
                       struct ems_findings *, struct ems_error *);

#endif
