/*
 * server_sqlite_copy.h - rows of an SQLite homeserver into PostgreSQL, table by table with COPY.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SQLITE_COPY_H
#define EMS_SERVER_SQLITE_COPY_H

#include "digest.h"
#include "server_sqlite_plan.h"

struct ems_sqlite_copy {
    sqlite3 *db;
    PGconn *conn;      /* in the transaction that made the tables */
    ems_tick_fn *tick; /* may be NULL */
    void *tick_context;
    _Atomic uint64_t *bytes_done; /* progress; may be NULL */
    struct ems_buf piece;         /* internal; released by the caller */
};

/*
 * Copy a table that is not left out, and note in it what was read and stored. Rows with NUL
 * characters in their text are passed over and counted, as synapse_port_db does: PostgreSQL cannot
 * store them. Everything else that cannot be stored ends the copy: EMS_RESTORE_FAILED names the
 * table, the rowid and, where it is one column's fault, the column. Also EMS_SQLITE_CORRUPT,
 * EMS_SERVER_ERROR, EMS_NO_MEMORY, or what tick returned. Rows of event_search wait in a temporary
 * table for ems_sqlite_copy_search.
 */
int ems_sqlite_copy_table(struct ems_sqlite_copy *, struct ems_sqlite_table *, struct ems_error *);

/* When events is there too: the server makes the search vectors. */
int ems_sqlite_copy_search(struct ems_sqlite_copy *, struct ems_sqlite_table *, struct ems_error *);

/* How many rows has a table that is left out? Into its source_rows. */
int ems_sqlite_count_table(struct ems_sqlite_copy *, struct ems_sqlite_table *, struct ems_error *);

#endif
