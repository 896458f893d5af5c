/*
 * restore.h - scan events into PostgreSQL, in one stream; server_load.h is the other way.
 *
 * Part of libems-server. The dump must have been proven in an earlier pass where it can be read
 * twice; this pass proves it again as it goes, and whoever calls publishes the database only after
 * EMS_OK.
 *
 * Each statement goes through the extended protocol, which refuses a second command in one string;
 * several are on their way at a time (libpq's pipeline mode), so that INSERTs and a distant server
 * cost little. COPY data is passed on in pieces of at least 64 KiB, a big block as several COPY
 * commands, and each block's rows are compared with the number that the server reports. The dump's
 * own settings are never used.
 */
#ifndef EMS_RESTORE_H
#define EMS_RESTORE_H

#include "server_plan.h"
#include "sqlscan.h"
#include "staging.h"

/* Called for every event before it is acted on; a code other than EMS_OK ends the restore. */
typedef int ems_restore_watch_fn(void *context, const struct ems_sql_event *, struct ems_error *);

struct ems_restore_options {
    ems_restore_watch_fn *watch; /* may be NULL */
    void *watch_context;
    /* Called about ten times a second while keys and indexes are waited for, with watch_context;
     * may be NULL. A code other than EMS_OK ends the restore. */
    int (*tick)(void *context, struct ems_error *);
    struct ems_plan *plan; /* of the first pass; NULL: there was none */
    unsigned jobs;         /* connections for keys and indexes; below 2: one, everything in order */
    _Atomic uint64_t *rows_done; /* may be NULL; for progress */
    _Atomic uint64_t *bytes_in;  /* ems_load_run: bytes of the upload, about; may be NULL */
    /* ems_load_run, to be resumed if it is killed: of the dump (server_journal.h); NULL: no
     * journal. `resumed`: go on from the journal that is there. */
    const char *identity;
    bool resumed;
};

struct ems_restore_result {
    uint64_t statements;          /* of the dump that were sent, COPY included */
    uint64_t tables, rows, bytes; /* made; counted by the server; of COPY data */
};

/*
 * Run the scanner to EMS_END into the unfinished database of `staging`: on one connection in one
 * transaction, committed only after EMS_END; or with several table by table, each table's keys and
 * indexes on other connections as soon as its rows are in, if a plan tells what they are, or else
 * after the end. The caller drops the database on any
 * failure. EMS_OK; EMS_RESTORE_FAILED if the server refuses something (the text holds the dump's
 * line, the table and the server's own message), EMS_SERVER_ERROR if it cannot be reached any more,
 * or the scanner's error.
 */
int ems_restore_run(struct ems_sqlscan *, struct ems_staging *, const struct ems_restore_options *,
                    struct ems_restore_result *, struct ems_error *);

#endif
