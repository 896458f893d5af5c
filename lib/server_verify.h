/*
 * server_verify.h - is every row of the dump in the database, and nothing else? Not by counting,
 * but by value.
 *
 * While the dump is read for the first time, the rows of each COPY block are hashed (row_hash.h,
 * order does not matter). After the restore each table is read back with COPY ... TO STDOUT and the
 * same column list, on several connections, and hashed the same way. Both are pg_dump's own form,
 * so for a dump that was just made by a server like ours they are equal byte by byte.
 *
 * Where they are not, the text may still mean the same: an old server prints floating point numbers
 * with other digits, one with bytea_output = escape prints other escapes. That is decided by the
 * server itself: the rows are read from the dump once more, into a temporary table, and that one is
 * hashed as the restored one was. Only if these two differ is something wrong.
 *
 * Rows that came as INSERT have no such text: their number is compared, as is that of tables that
 * must be empty.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_VERIFY_H
#define EMS_SERVER_VERIFY_H

#include "sqlscan.h"
#include "staging.h"

struct ems_verify;

struct ems_verify_result {
    uint64_t tables, rows; /* compared by value */
    uint64_t counted;      /* tables of which only the number of rows was compared */
    uint64_t other_form;   /* tables whose text in the dump is not the server's own form */
};

/* With a random key of its own. NULL on failure (EMS_NO_MEMORY, EMS_IO_ERROR). */
struct ems_verify *ems_verify_new(struct ems_error *);
void ems_verify_free(struct ems_verify *); /* NULL allowed */

/* Every event of the first reading. EMS_OK or EMS_NO_MEMORY. */
int ems_verify_observe(struct ems_verify *, const struct ems_sql_event *, struct ems_error *);

/*
 * Compare with the unfinished database, on `jobs` connections. `facts` are the scanner's, complete.
 * `tick` is called now and then (may be NULL) and can give up with a code. EMS_OK;
 * EMS_RESTORE_FAILED names the table; EMS_SERVER_ERROR.
 *
 * After EMS_OK there may be tables that have to be looked at again.
 */
int ems_verify_run(struct ems_verify *, struct ems_staging *, unsigned jobs,
                   const struct ems_sql_facts *facts,
                   int (*tick)(void *context, struct ems_error *), void *context,
                   struct ems_error *);

/* Tables whose text differs: the dump must be read again, or for a pipe: it cannot be decided.
 * NULL: none, all is well. Otherwise the first one's name, printable, which lives as long as the
 * object. */
const char *ems_verify_undecided(const struct ems_verify *);

/* Decide: another reading of the same dump, to its end, over this scanner (not taken over). EMS_OK;
 * EMS_RESTORE_FAILED names the table; EMS_SERVER_ERROR; the scanner's errors. */
int ems_verify_again(struct ems_verify *, struct ems_staging *, struct ems_sqlscan *,
                     int (*tick)(void *context, struct ems_error *), void *context,
                     struct ems_error *);

const struct ems_verify_result *ems_verify_result(const struct ems_verify *);

#endif
