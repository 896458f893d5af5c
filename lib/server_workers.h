/*
 * server_workers.h - connections that make keys, indexes and statistics of tables whose rows are in
 * and committed, while the rows of others are still coming.
 *
 * Order within a table: its keys one after the other (they lock it), then its indexes at the same
 * time on as many connections as there are, then ANALYZE. Between tables there is none; large
 * tables go first.
 *
 * Part of libems-server. All functions are called by the one thread that owns the restore.
 */
#ifndef EMS_SERVER_WORKERS_H
#define EMS_SERVER_WORKERS_H

#include "server_plan.h"
#include "staging.h"

struct ems_workers;

/* Open `count` connections with a thread each. The plan is borrowed. NULL on failure, with
 * EMS_SERVER_ERROR or EMS_NO_MEMORY. */
struct ems_workers *ems_workers_start(struct ems_staging *, const struct ems_plan *, unsigned count,
                                      struct ems_error *);

/* The rows of this table are committed: `bytes` of them. EMS_OK, EMS_NO_MEMORY, or what a worker
 * has failed with meanwhile. */
int ems_workers_add(struct ems_workers *, struct ems_plan_table *, uint64_t bytes,
                    struct ems_error *);

/* Wait until all that was added is done. `tick` is called about ten times a second (may be NULL)
 * and can give up with a code. EMS_OK or the first failure: EMS_RESTORE_FAILED (names the line),
 * EMS_SERVER_ERROR. */
int ems_workers_wait(struct ems_workers *, int (*tick)(void *, struct ems_error *), void *context,
                     struct ems_error *);

/* Cancels what still runs, ends the threads, closes the connections. NULL allowed. */
void ems_workers_free(struct ems_workers *);

#endif
