/*
 * server_workers.h - the connections of a restore, each with a thread: they load tables, and make
 * keys, indexes, foreign keys and statistics of those whose rows are in and committed.
 *
 * Order within a table: its rows; its keys one after the other (they lock it); its indexes at the
 * same time on as many connections as there are. A foreign key when both its tables are that far,
 * one at a time, because each locks two tables. ANALYZE at last. Between tables there is no order
 * but that large ones go first.
 *
 * Part of libems-server. All functions are called by the one thread that owns the restore.
 */
#ifndef EMS_SERVER_WORKERS_H
#define EMS_SERVER_WORKERS_H

#include "server_plan.h"
#include "staging.h"

struct ems_workers;

/* Load a unit of the plan, in a transaction of its own, on an idle connection. EMS_OK: committed.
 */
typedef int ems_load_fn(void *context, PGconn *, const struct ems_plan_unit *, struct ems_error *);

/* Open up to `count` connections with a thread each, as many as the server has room for. The plan
 * is borrowed; load may be NULL if no unit will be given. NULL on failure, with EMS_SERVER_ERROR or
 * EMS_NO_MEMORY. */
struct ems_workers *ems_workers_start(struct ems_staging *, const struct ems_plan *, unsigned count,
                                      ems_load_fn *load, void *context, struct ems_error *);

/* Load this unit, then all that follows for its tables. EMS_OK, EMS_NO_MEMORY, or what a worker has
 * failed with meanwhile. */
int ems_workers_load(struct ems_workers *, const struct ems_plan_unit *, struct ems_error *);

/* The rows of this table are committed: `bytes` of them. As above. */
int ems_workers_add(struct ems_workers *, struct ems_plan_table *, uint64_t bytes,
                    struct ems_error *);

/* Wait until all that was added is done. `tick` is called about ten times a second (may be NULL)
 * and can give up with a code. EMS_OK or the first failure: EMS_RESTORE_FAILED (names the line),
 * EMS_SERVER_ERROR, or the load function's. */
int ems_workers_wait(struct ems_workers *, int (*tick)(void *, struct ems_error *), void *context,
                     struct ems_error *);

/* Cancels what still runs, ends the threads, closes the connections. NULL allowed. */
void ems_workers_free(struct ems_workers *);

#endif
