/*
 * server_leftover.h - what runs that were killed left on a server: unfinished databases, replaced
 * ones that were not dropped yet, and roles.
 *
 * A run makes a role and a database of one random name. Its admin connection carries that name as
 * its application_name from before they exist until they are published or dropped: a name that no
 * admin connection carries belongs to a run that is dead, whoever else is still connected (a
 * backend that builds an index does not notice for a long time that its client is gone).
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_LEFTOVER_H
#define EMS_SERVER_LEFTOVER_H

#include "error.h"

#include <libpq-fe.h>

#define EMS_LOAD_PREFIX "ems_load_" /* and 16 hex digits: role and unfinished database */
#define EMS_OLD_PREFIX  "ems_old_"  /* the same digits: a database that is being replaced */

/* In SQL: made by this tool, because the owner is a role of ours, also of what was published. */
#define EMS_ROLE_PATTERN "'^ems_load_[0-9a-f]{16}$'"

/* Drop a database of ours if it is there, whoever is connected to it. EMS_OK or
 * EMS_SERVER_ERROR. */
int ems_leftover_drop_database(PGconn *admin, const char *name, struct ems_error *);

/* Drop all that dead runs left. In a run that resumes, `resumed_target` is what it is for, and what
 * could be resumed for other targets stays; NULL: nothing stays. Whatever goes wrong is left for
 * another time. */
void ems_leftover_drop_all(PGconn *admin, const char *resumed_target);

/* Rename a database; both names may be anything. EMS_OK or EMS_SERVER_ERROR. */
int ems_leftover_rename(PGconn *admin, const char *from, const char *to, struct ems_error *);

/* End all connections of a role of ours, and wait until they are gone. EMS_OK or
 * EMS_SERVER_ERROR. */
int ems_leftover_disconnect(PGconn *admin, const char *role, struct ems_error *);

/* ---- resuming ---- */

/* What is unfinished says so, and of what, in a comment on the database, which stays when it is
 * renamed and goes when it is published. `identity` is of the dump, hex digits. */
int ems_leftover_mark(PGconn *admin, const char *database, const char *identity, const char *target,
                      struct ems_error *);

struct ems_leftover {
    char database[64]; /* "" if there is none */
    char role[64];
};

/*
 * The newest marked database of a dead run, or kept after a failure, for this dump and target. If
 * there are only those for the same target of another dump, EMS_RESTORE_EXISTS says so: going on
 * would mix two dumps. EMS_SERVER_ERROR.
 */
int ems_leftover_find(PGconn *admin, const char *identity, const char *target,
                      struct ems_leftover *, struct ems_error *);

#endif
