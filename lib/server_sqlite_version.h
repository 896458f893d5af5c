/*
 * server_sqlite_version.h - is the schema that was given the one that the database was written
 * with?
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SQLITE_VERSION_H
#define EMS_SERVER_SQLITE_VERSION_H

#include "finding.h"

#include <libpq-fe.h>
#include <sqlite3.h>

/*
 * Compare what Synapse notes in schema_version and applied_schema_deltas on both sides: the target
 * `conn` holds the rows that came with the schema `name`. Differences are findings of `artifact`
 * (synapse-schema) with the two versions and the releases that they belong to, or the changes that
 * only one side has. EMS_OK, EMS_SYNAPSE_SCHEMA, EMS_SERVER_ERROR, EMS_SQLITE_CORRUPT.
 */
int ems_sqlite_compare_versions(sqlite3 *, PGconn *conn, const char *name, const char *artifact,
                                struct ems_findings *, struct ems_error *);

#endif
