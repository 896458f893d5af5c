/*
 * server_journal.h - what of a dump is in the unfinished database already, written down in that
 * database itself, so that a restore that was killed can be resumed.
 *
 * A table in a schema of its own, ems_journal, which no dump can name (everything in a dump is in
 * public). It is made when everything that comes before the rows is there, and gets a line for each
 * table in the same transaction as the table's rows: a crash can neither lose the one nor the
 * other. Keys and indexes need no line; each is made in one statement, so it is there or not, and
 * can only have been made from the text of the same dump (ems_journal_identity). What comes after
 * them is one transaction with a line of its own.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_JOURNAL_H
#define EMS_SERVER_JOURNAL_H

#include "server_plan.h"

#include <libpq-fe.h>

#define EMS_JOURNAL_IDENTITY 65u /* hex digits and NUL */
#define EMS_JOURNAL_AFTER    ""  /* instead of a table: what comes after the rows */

/* The dump, as the first pass saw it: every statement, and of the rows of each table their number,
 * bytes and checksum. EMS_OK or EMS_NO_MEMORY. */
int ems_journal_identity(const struct ems_plan *, char hex[EMS_JOURNAL_IDENTITY],
                         struct ems_error *);

/* What comes before the rows is committed. EMS_OK or EMS_SERVER_ERROR. */
int ems_journal_create(PGconn *, struct ems_error *);

/* In the caller's transaction: this table is loaded. EMS_OK or EMS_SERVER_ERROR. */
int ems_journal_record(PGconn *, const char *table, uint64_t rows, uint32_t crc,
                       struct ems_error *);

/*
 * Mark in the plan what is in the database: blocks (loaded), items (made), *after if what comes
 * after them is. EMS_OK; EMS_RESTORE_EXISTS if the journal is missing or does not fit the plan;
 * EMS_SERVER_ERROR.
 */
int ems_journal_read(PGconn *, struct ems_plan *, bool *after, struct ems_error *);

/* The restore is complete. EMS_OK or EMS_SERVER_ERROR. */
int ems_journal_remove(PGconn *, struct ems_error *);

#endif
