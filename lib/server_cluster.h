/*
 * server_cluster.h - a private PostgreSQL server in a directory: made on first use, started,
 * stopped.
 *
 *     DIR/        0700, owned by the user that the server runs as; the socket is here
 *     DIR/data    the cluster (initdb; UTF8, C), superuser "postgres", no passwords: who can enter
 *                 DIR may do everything
 *     DIR/log     what initdb and postgres said in the last run
 *     DIR/lock    locked (flock) by the run that uses DIR
 *
 * It is a throw-away server: nothing is synced to the disk, so a power failure may lose all of it.
 */
#ifndef EMS_SERVER_CLUSTER_H
#define EMS_SERVER_CLUSTER_H

#include "error.h"

struct ems_cluster;

/*
 * Use the server in `dir`: make the directory (its last component), the cluster and the server if
 * they are not there. An existing directory must be empty or made by an earlier run. `run_as`: see
 * ems_spawn_user_find. `jobs`: connections that will work at the same time, for the settings.
 *
 * A server that already runs there is used, and left running at the end. What a killed run left
 * behind (a lock file, half a cluster) is no obstacle. A directory that another run is using is
 * EMS_SERVER_ERROR, and so is everything that keeps the server from starting: the message holds the
 * last line of its log. EMS_IO_ERROR if the directory cannot be made.
 *
 * The server gets SIGINT (fast shutdown) when the calling thread ends: see ems_spawn_start.
 */
int ems_cluster_open(const char *dir, const char *run_as, unsigned jobs, struct ems_cluster **,
                     struct ems_error *);

/* Stops the server if it was started here, and waits for its end. NULL allowed. */
void ems_cluster_close(struct ems_cluster *);

/* False if the server was started here and has ended by itself. */
bool ems_cluster_is_running(struct ems_cluster *);

/* How to connect to it as its superuser. Owned by the cluster. */
const char *ems_cluster_conninfo(const struct ems_cluster *);

/* How a human starts the server, looks into the database and stops the server again, one shell
 * command a line. Cut if it does not fit. */
void ems_cluster_howto(const struct ems_cluster *, const char *database, char *out,
                       size_t out_size);

#endif
