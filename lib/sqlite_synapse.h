/*
 * sqlite_synapse.h - what an SQLite homeserver says about itself, into the same state as a dump's.
 * Internal.
 */
#ifndef EMS_SQLITE_SYNAPSE_H
#define EMS_SQLITE_SYNAPSE_H

#include "synapse.h"

#include <sqlite3.h>

/*
 * Read the small tables and count the rows of the big ones. The database was found to be sound and
 * is open in a way that runs nothing of its own (sqlite_open.h). SQLITE_OK, SQLite's own code for a
 * failure, or SQLITE_NOMEM with err set. What an old schema does not have is passed over.
 */
int ems_sqlite_read_synapse(sqlite3 *, struct ems_synapse *, struct ems_error *);

#endif
