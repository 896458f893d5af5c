/*
 * server_load.h - a dump into PostgreSQL from what the first pass wrote down, several tables at a
 * time, largest first.
 *
 * Each unit of the plan is read from its bookmark, straight out of the encrypted, compressed, split
 * upload, compared with the first pass's digest, and loaded in a transaction of its own: the tables
 * are emptied in it, so that FREEZE is allowed and, with wal_level minimal, their rows are not
 * logged. Nothing of the dump is read for anything but its rows.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_LOAD_H
#define EMS_SERVER_LOAD_H

#include "restore.h"

/*
 * Like ems_restore_run, from a plan that is a program (ems_plan_is_program) over the parts that it
 * was made from. Besides its errors EMS_PART_UNFINISHED: the upload changed between the passes.
 */
int ems_load_run(struct ems_staging *, const struct ems_part_set *,
                 const struct ems_restore_options *, struct ems_restore_result *,
                 struct ems_error *);

#endif
