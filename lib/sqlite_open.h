/*
 * sqlite_open.h - a stranger's SQLite database opened so that it can only be read, and none of its
 * code runs.
 *
 * Internal: shared by the check and by the restore into staging.
 */
#ifndef EMS_SQLITE_OPEN_H
#define EMS_SQLITE_OPEN_H

#include <sqlite3.h>
#include <stdbool.h>

/*
 * Open the database at path: no extensions, no views, no triggers, no functions with side effects
 * in its schema, double quotes are names only, rows of at most EMS_SQLITE_ROW bytes, no memory
 * mapping (a file that shrinks would be a SIGBUS).
 *
 * private_copy: the file is ours alone, so a -wal beside it is played back, for which SQLite must
 * be able to write. Without it SQLite is told that the file never changes: it takes no locks, looks
 * for no journals and writes nothing, not even beside a file of the customer's.
 *
 * SQLITE_OK or SQLite's code; *db is to be closed in either case (NULL allowed).
 */
int ems_sqlite_open(const char *path, bool private_copy, sqlite3 **db);

/* A request to Synapse holds at most 200 events of 64 KiB (its max_request_body_size), 12.5 MiB, so
 * no honest row is longer than this, and a hostile one does not fill our memory. */
#define EMS_SQLITE_ROW (13 * 1024 * 1024)

#endif
