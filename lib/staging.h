/*
 * staging.h - the PostgreSQL server that a dump is restored into: one that a conninfo names, or an
 * embedded one that this process makes, starts and stops.
 *
 * Part of libems-server (links libpq); not in libems.
 */
#ifndef EMS_STAGING_H
#define EMS_STAGING_H

#include "error.h"

#include <libpq-fe.h>

struct ems_staging;

struct ems_staging_options {
    const char *conninfo; /* admin connection; NULL or "": libpq's own environment */
    const char
        *embedded;      /* directory of a private cluster, made on first use; wins over conninfo */
    const char *run_as; /* user for the embedded server when we are root; default: "postgres" if
                           it exists, else "nobody" */
    unsigned jobs;      /* connections that will be used, for the server's tuning; at least 1 */
};

/*
 * Connect, or make and start the embedded cluster: Unix socket only, in a directory that only its
 * owner can enter, tuned as a throw-away server (wal_level minimal, fsync off, ...), log in
 * DIR/log. As root the server runs as `run_as`. A server already running in DIR is used and left
 * running; a DIR that another run is using is refused. EMS_SERVER_ERROR (with what to do),
 * EMS_IO_ERROR.
 *
 * The admin of a conninfo need not be a superuser: CREATEROLE and CREATEDB are enough. libpq's own
 * rules hold (service files, password files, environment); without a connect_timeout it is 10 s.
 *
 * An embedded server is shut down by the kernel's signal when the calling thread ends, so that
 * kill -9 leaves none behind: call this from a thread that lives until ems_staging_close.
 */
int ems_staging_open(const struct ems_staging_options *, struct ems_staging **, struct ems_error *);

/* Stops an embedded server that this process started (fast shutdown, waits), closes connections,
 * drops the role and the unfinished database of ems_staging_create unless it was published. */
void ems_staging_close(struct ems_staging *); /* NULL allowed */

/* The admin connection, for questions after the restore. Borrowed. */
PGconn *ems_staging_admin(struct ems_staging *);

/* 150018 for 15.18. */
int ems_staging_version(const struct ems_staging *);

/* Is there a database of this name? EMS_OK and *exists, or EMS_SERVER_ERROR. */
int ems_staging_exists(struct ems_staging *, const char *database, bool *exists,
                       struct ems_error *);

/*
 * Make what the restore goes into: a login role of its own that may do nothing else, and a
 * database with a temporary name ("ems_load_..."), owned by it, UTF8, collation C, from template0.
 * Nobody but that role and the admin may connect to it. What killed runs left is dropped first, and
 * once more after publishing (server_leftover.h).
 *
 * `target` is the final name: EMS_RESTORE_EXISTS if there is such a database, unless `replace`; and
 * even then if it was not made by this tool (its owner is none of our roles). One that is in use
 * cannot be replaced: EMS_SERVER_ERROR.
 */
int ems_staging_create(struct ems_staging *, const char *target, bool replace, struct ems_error *);

/*
 * A dump of this many bytes is coming: sessions of the restore's role that are opened from now on
 * may each hold temporary files of twice that and 1 GiB, which no sort of its rows needs. Only a
 * superuser can set such a limit so that the role cannot lift it; otherwise nothing is done.
 */
int ems_staging_limit(struct ems_staging *, uint64_t bytes, struct ems_error *);

/* A new connection to the unfinished database as the restore's own role, with a random password
 * that nobody else knows. The caller finishes it. EMS_SERVER_ERROR names the line that pg_hba.conf
 * lacks if the server does not let the role in. */
int ems_staging_connect(struct ems_staging *, PGconn **, struct ems_error *);

/*
 * The restore is proven: give the database its final name, in one transaction with taking it from
 * the old one if that is replaced (which is dropped afterwards), and make the role unable to log
 * in; it stays as the owner. All connections of ems_staging_connect must be finished. After an
 * error the target is as it was, and the unfinished database is still there: abandon it.
 */
int ems_staging_publish(struct ems_staging *, struct ems_error *);

/*
 * Like create, but go on in what a run for the same target left (killed, or kept), if `identity`,
 * up to 64 hex digits, is what that run gave to ems_staging_mark; otherwise a new one is made.
 * EMS_RESTORE_EXISTS also if there is only something of another identity. What could be
 * resumed for other targets stays. *resumed says which it was.
 */
int ems_staging_resume(struct ems_staging *, const char *target, bool replace, const char *identity,
                       bool *resumed, struct ems_error *);

/* Say in the unfinished database what it is of, for ems_staging_resume; NULL: it cannot be resumed
 * any more. To be done before publishing. */
int ems_staging_mark(struct ems_staging *, const char *identity, struct ems_error *);

/*
 * Instead of abandon: the unfinished database stays, under a name that says so and that did not
 * exist ("staging_example_org_failed_20261123_001502", in UTC). It is no leftover for other runs;
 * its role cannot log in any more. Both names go to `kept`. EMS_OK, or EMS_SERVER_ERROR: then
 * abandon.
 */
struct ems_staging_kept {
    char database[64], role[64];
};
int ems_staging_keep(struct ems_staging *, struct ems_staging_kept *kept, struct ems_error *);

/* Drop the unfinished database and its role. Nothing of the target name was touched. */
void ems_staging_abandon(struct ems_staging *);

/* How to look into the result, as shell commands for a human, one per line: psql, and for an
 * embedded server that we started how to start it again and stop it. The text belongs to the
 * staging object and lasts until the next call. */
const char *ems_staging_howto(struct ems_staging *, const char *database);

/* "staging_example_org" for "example.org": lower case, other bytes to '_', at most 63 bytes.
 * out has room for 64. */
void ems_staging_name(const char *server_name, char *out);

#endif
