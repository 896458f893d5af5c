/*
 * server_staging.h - what staging.c and server_target.c share: the one has the server and the admin
 * connection, the other what is made on it.
 */
#ifndef EMS_SERVER_STAGING_H
#define EMS_SERVER_STAGING_H

#include "server_leftover.h"
#include "staging.h"

enum { EMS_NAME_BYTES = 63 }; /* NAMEDATALEN - 1 */

struct ems_staging {
    struct ems_cluster *cluster; /* NULL: somebody else's server */
    PGconn *admin;
    unsigned jobs;
    int version;
    bool superuser; /* is the admin one? */

    /* Between create and publish, keep or abandon. */
    bool created; /* the role, and perhaps the database, exists */
    bool replace;
    bool resuming;                          /* what other runs could resume is not dropped */
    char load[sizeof EMS_LOAD_PREFIX + 16]; /* role and database */
    char target[EMS_NAME_BYTES + 1];
    char password[65]; /* of the role, random */

    char howto[4096];
};

/* Settings of the admin connection, and its application_name (server_leftover.h). EMS_OK or
 * EMS_SERVER_ERROR. */
int ems_staging_prepare(struct ems_staging *, struct ems_error *);

/* PostgreSQL ends all connections when one of its processes crashes, and comes back by itself. Is
 * the admin connection alive? If not, try for a while to get it back. */
bool ems_staging_revive(struct ems_staging *);

/* One row, one column, as text into out; empty for no row or NULL. `parameter` is $1, or NULL.
 * EMS_OK or EMS_SERVER_ERROR. */
int ems_staging_ask(struct ems_staging *, const char *what, const char *sql, const char *parameter,
                    char *out, size_t out_size, struct ems_error *);

#endif
