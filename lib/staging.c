/*
 * staging.c - see staging.h
 *
 * The admin connection makes, renames and drops; it never sees a word of the dump. The dump's SQL
 * runs as a role that owns one database and may do nothing else, because an allow list has holes
 * until proven otherwise. Statements here are built from names of ours (hex digits) or from quoted
 * identifiers.
 */
#include "staging.h"

#include "bytes.h"
#include "server_cluster.h"
#include "server_leftover.h"
#include "server_pq.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    NAME_BYTES = 63,        /* NAMEDATALEN - 1 */
    OLDEST_SERVER = 100000, /* the first with SCRAM */
    RECONNECT_MS = 5000,    /* a server that lost a process needs a moment to recover */
};

struct ems_staging {
    struct ems_cluster *cluster; /* NULL: somebody else's server */
    PGconn *admin;
    unsigned jobs;
    int version;
    bool superuser; /* is the admin one? */

    /* Between create and publish or abandon. */
    bool created; /* the role, and perhaps the database, exists */
    bool replace;
    char load[sizeof EMS_LOAD_PREFIX + 16]; /* role and database */
    char target[NAME_BYTES + 1];
    char password[65]; /* of the role, random */

    char howto[4096];
};

/* ---- the admin connection ---- */

/* What all queries here rely on; also after a reconnect. */
static int prepare_admin(struct ems_staging *st, struct ems_error *err)
{
    if (PQstatus(st->admin) != CONNECTION_OK)
        return ems_pq_fail(err, "staging", EMS_SERVER_ERROR, st->admin, NULL, "cannot connect");
    ems_pq_quiet(st->admin);
    return ems_pq_run(st->admin, "set up the connection", err,
                      "SELECT pg_catalog.set_config('search_path', '', false), "
                      "pg_catalog.set_config('statement_timeout', '0', false), "
                      "pg_catalog.set_config('client_encoding', 'UTF8', false), "
                      "pg_catalog.set_config('application_name', '%s', false)",
                      st->load[0] != '\0' ? st->load : "ems-intake");
}

/* Does libpq's environment say how long to wait for a connection? */
static bool has_connect_timeout(void)
{
    PQconninfoOption *defaults = PQconndefaults();
    bool has = false;

    for (PQconninfoOption *o = defaults; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "connect_timeout") == 0 && o->val != NULL && o->val[0] != '\0')
            has = true;
    PQconninfoFree(defaults);
    return has;
}

/* Refuses at once what would fail only after the restore. */
static int connect_admin(struct ems_staging *st, const char *conninfo, struct ems_error *err)
{
    /* dbname may be a whole conninfo; what is in it wins over what stands before it. */
    const char *const keywords[] = {"connect_timeout", "dbname", NULL};
    const char *const values[] = {has_connect_timeout() ? NULL : "10", conninfo, NULL};
    PGresult *answer;
    int rc;

    st->admin = PQconnectdbParams(keywords, values, 1);
    rc = prepare_admin(st, err);
    if (rc != EMS_OK)
        return rc;
    st->version = PQserverVersion(st->admin);
    if (st->version < OLDEST_SERVER)
        return ems_fail(err, EMS_SERVER_ERROR, "the server is PostgreSQL %d.%d: too old",
                        st->version / 10000, st->version / 100 % 100);
    rc = ems_pq_query(st->admin, "ask for the admin's rights",
                      "SELECT rolsuper, rolsuper OR (rolcreatedb AND rolcreaterole), rolname "
                      "FROM pg_catalog.pg_roles WHERE rolname = current_user",
                      0, NULL, &answer, err);
    if (rc != EMS_OK)
        return rc;
    st->superuser = PQntuples(answer) == 1 && PQgetvalue(answer, 0, 0)[0] == 't';
    if (PQntuples(answer) != 1 || PQgetvalue(answer, 0, 1)[0] != 't')
        rc = ems_fail(err, EMS_SERVER_ERROR,
                      "role \"%s\" may not make roles and databases: it needs CREATEROLE and "
                      "CREATEDB",
                      PQntuples(answer) == 1 ? PQgetvalue(answer, 0, 2) : "");
    PQclear(answer);
    return rc;
}

/* PostgreSQL ends all connections when one of its processes crashes, and comes back by itself. Is
 * the admin connection alive? If not, try to get it back. */
static bool revive_admin(struct ems_staging *st)
{
    enum { STEP_MS = 100 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    struct ems_error ignored = {0};

    for (unsigned waited = 0; waited < RECONNECT_MS; waited += STEP_MS) {
        PGresult *answer = PQexec(st->admin, "");
        bool alive = PQstatus(st->admin) == CONNECTION_OK;

        PQclear(answer);
        if (alive)
            return true;
        if (st->cluster != NULL && !ems_cluster_is_running(st->cluster))
            return false;
        PQreset(st->admin);
        if (PQstatus(st->admin) == CONNECTION_OK && prepare_admin(st, &ignored) == EMS_OK)
            return true;
        ignored = (struct ems_error){0};
        nanosleep(&step, NULL);
    }
    return false;
}

/* The failure is kept apart until the end: closing must not see a half-open object as good. */
int ems_staging_open(const struct ems_staging_options *options, struct ems_staging **staging,
                     struct ems_error *err)
{
    struct ems_staging *st = calloc(1, sizeof *st);
    struct ems_error failure = {0};
    const char *conninfo = options->conninfo != NULL ? options->conninfo : "";
    int rc = EMS_OK;

    *staging = NULL;
    if (st == NULL)
        return ems_fail_memory(err);
    st->jobs = options->jobs > 0 ? options->jobs : 1;
    if (options->embedded != NULL)
        rc = ems_cluster_open(options->embedded, options->run_as, st->jobs, &st->cluster, &failure);
    if (rc == EMS_OK && st->cluster != NULL)
        conninfo = ems_cluster_conninfo(st->cluster);
    if (rc == EMS_OK)
        rc = connect_admin(st, conninfo, &failure);
    if (rc == EMS_OK) {
        *staging = st;
        return EMS_OK;
    }
    ems_staging_close(st);
    rc = ems_fail(err, rc, "%s", failure.text);
    if (err != NULL && err->stage == NULL)
        err->stage = "staging";
    return rc;
}

void ems_staging_close(struct ems_staging *st)
{
    if (st == NULL)
        return;
    ems_staging_abandon(st);
    PQfinish(st->admin);
    ems_cluster_close(st->cluster);
    ems_wipe(st->password, sizeof st->password);
    free(st);
}

PGconn *ems_staging_admin(struct ems_staging *st)
{
    return st->admin;
}

int ems_staging_version(const struct ems_staging *st)
{
    return st->version;
}

/* ---- questions ---- */

/* One row, one column, as text into out; empty for no row or NULL. */
static int ask(struct ems_staging *st, const char *what, const char *sql, const char *parameter,
               char *out, size_t out_size, struct ems_error *err)
{
    PGresult *answer;
    int rc = ems_pq_query(st->admin, what, sql, parameter != NULL, &parameter, &answer, err);

    out[0] = '\0';
    if (rc == EMS_OK && PQntuples(answer) > 0)
        snprintf(out, out_size, "%s", PQgetvalue(answer, 0, 0));
    PQclear(answer);
    return rc;
}

int ems_staging_exists(struct ems_staging *st, const char *database, bool *exists,
                       struct ems_error *err)
{
    char found[8];
    int rc = ask(st, "look for the database",
                 "SELECT 'yes' FROM pg_catalog.pg_database WHERE datname = $1", database, found,
                 sizeof found, err);

    *exists = found[0] != '\0';
    return rc;
}

/* May `target` be made, or be replaced? What this tool did not make it does not drop. */
static int check_target(struct ems_staging *st, struct ems_error *err)
{
    char shown[100], state[16];
    int rc;

    ems_printable(st->target, strlen(st->target), shown, sizeof shown);
    if (strncmp(st->target, EMS_LOAD_PREFIX, strlen(EMS_LOAD_PREFIX)) == 0 ||
        strncmp(st->target, EMS_OLD_PREFIX, strlen(EMS_OLD_PREFIX)) == 0)
        return ems_fail(err, EMS_RESTORE_EXISTS,
                        "database name %s is kept for unfinished work: choose another", shown);
    rc = ask(st, "look for the database",
             "SELECT CASE WHEN pg_catalog.pg_get_userbyid(datdba) !~ " EMS_ROLE_PATTERN
             " THEN 'foreign' WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a "
             "WHERE a.datid = d.oid AND a.usesysid IS NOT NULL) THEN 'busy' ELSE 'idle' END "
             "FROM pg_catalog.pg_database d WHERE datname = $1",
             st->target, state, sizeof state, err);
    if (rc != EMS_OK || state[0] == '\0')
        return rc;
    if (!st->replace)
        return ems_fail(err, EMS_RESTORE_EXISTS, "database %s exists already", shown);
    if (strcmp(state, "foreign") == 0)
        return ems_fail(err, EMS_RESTORE_EXISTS,
                        "database %s was not made by this tool and is not replaced: drop it "
                        "yourself, or choose another name",
                        shown);
    if (strcmp(state, "busy") == 0)
        return ems_fail(err, EMS_SERVER_ERROR,
                        "database %s is in use and cannot be replaced: close the connections to it",
                        shown);
    return EMS_OK;
}

/* The server must have done what was asked: Synapse starts on nothing else. */
static int check_encoding(struct ems_staging *st, struct ems_error *err)
{
    char found[200];
    int rc = ask(st, "ask for the encoding",
                 st->version >= 150000
                     ? "SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_encoding_to_char(encoding), "
                       "datcollate, datctype, datlocprovider) "
                       "FROM pg_catalog.pg_database WHERE datname = $1"
                     : "SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_encoding_to_char(encoding), "
                       "datcollate, datctype, 'c') "
                       "FROM pg_catalog.pg_database WHERE datname = $1",
                 st->load, found, sizeof found, err);

    if (rc == EMS_OK && strcmp(found, "UTF8 C C c") != 0)
        rc = ems_fail(err, EMS_SERVER_ERROR,
                      "the server made a database with encoding and collation \"%s\" instead of "
                      "\"UTF8 C C c\"",
                      found);
    return rc;
}

/* ---- create ---- */

/* 64 bits in the name make a clash as unlikely as a guess; the password has 256. */
static int choose_secrets(struct ems_staging *st, struct ems_error *err)
{
    uint8_t random[8 + 32];
    char suffix[17];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return ems_fail_errno(err, errno, "no random numbers");
    ems_hex(random, 8, suffix);
    snprintf(st->load, sizeof st->load, EMS_LOAD_PREFIX "%s", suffix);
    ems_hex(random + 8, 32, st->password);
    ems_wipe(random, sizeof random);
    return EMS_OK;
}

/*
 * The role owns one database, is a member of nothing and may do nothing else. (Not NOINHERIT: from
 * 15 on the owner of a database may use its schema public through pg_database_owner.) Only a SCRAM
 * verifier of its password is sent, so that the password is in no log. A server that still asks for
 * md5 takes SCRAM then.
 */
static int create_role(struct ems_staging *st, struct ems_error *err)
{
    char *verifier = PQencryptPasswordConn(st->admin, st->password, st->load, "scram-sha-256");
    int rc;

    if (verifier == NULL)
        return ems_pq_fail(err, "staging", EMS_SERVER_ERROR, st->admin, NULL,
                           "cannot make a password");
    rc = ems_pq_run(st->admin, "make a role", err,
                    "CREATE ROLE %s LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT %u "
                    "PASSWORD '%s'",
                    st->load, st->jobs + 4, verifier);
    PQfreemem(verifier);
    if (rc != EMS_OK)
        return rc;
    st->created = true;
    /*
     * To make and later rename what the role owns, an admin who is not a superuser must be a member
     * of it. Up to 15 CREATEROLE may grant any role; from 16 on it is the admin option that the
     * maker of a role gets, and inheriting and SET ROLE are asked for by name.
     */
    if (!st->superuser)
        rc = ems_pq_run(st->admin, "become a member of the new role", err,
                        "GRANT %s TO CURRENT_USER%s", st->load,
                        st->version >= 160000 ? " WITH INHERIT TRUE, SET TRUE" : "");
    return rc;
}

/* LC_COLLATE C: Synapse refuses everything else, and a dump of another collation may hold rows that
 * are duplicates only here. template0 has no objects of the site's own. */
static int create_database(struct ems_staging *st, struct ems_error *err)
{
    int rc = ems_pq_run(st->admin, "make a database", err,
                        "CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8' "
                        "%sLC_COLLATE 'C' LC_CTYPE 'C'",
                        st->load, st->load, st->version >= 150000 ? "LOCALE_PROVIDER libc " : "");

    if (rc == EMS_OK)
        rc = ems_pq_run(st->admin, "make the database private", err,
                        "REVOKE ALL ON DATABASE %s FROM PUBLIC", st->load);
    return rc == EMS_OK ? check_encoding(st, err) : rc;
}

/* Order: say who we are (prepare_admin), then clean up, then make, so that at no moment another
 * run's clean-up can take ours for a leftover. */
int ems_staging_create(struct ems_staging *st, const char *target, bool replace,
                       struct ems_error *err)
{
    int rc;

    if (st->created)
        return ems_fail(err, EMS_INTERNAL, "staging: a restore is already under way");
    if (target[0] == '\0' || strlen(target) > NAME_BYTES)
        return ems_fail(err, EMS_SERVER_ERROR, "a database name has 1 to %d bytes", NAME_BYTES);
    snprintf(st->target, sizeof st->target, "%s", target);
    st->replace = replace;
    if ((rc = check_target(st, err)) != EMS_OK || (rc = choose_secrets(st, err)) != EMS_OK)
        return rc;
    if ((rc = prepare_admin(st, err)) == EMS_OK) { /* shows the new name to other runs */
        ems_leftover_drop_all(st->admin);
        rc = create_role(st, err);
    }
    if (rc == EMS_OK)
        rc = create_database(st, err);
    if (rc != EMS_OK)
        ems_staging_abandon(st);
    return rc;
}

int ems_staging_limit(struct ems_staging *st, uint64_t bytes, struct ems_error *err)
{
    const uint64_t kib = bytes / 512 + 1024 * 1024;

    if (!st->created || !st->superuser || kib > INT_MAX) /* the setting's own range */
        return EMS_OK;
    return ems_pq_run(st->admin, "limit temporary files", err,
                      "ALTER ROLE %s SET temp_file_limit = %llu", st->load,
                      (unsigned long long)kib);
}

/* ---- connect ---- */

/* The admin got in and the role did not: nearly always the server's pg_hba.conf. Say which line
 * lets it in, and only it where the server knows patterns (16). */
static int fail_login(struct ems_staging *st, PGconn *conn, struct ems_error *err)
{
    char why[90], address[64];
    const char *names = st->version >= 160000 ? "/^ems_load_ /^ems_load_" : "all all";
    const char *message = PQerrorMessage(conn), *fatal = strstr(message, "FATAL:  ");
    struct ems_error ignored = {0};

    if (fatal != NULL)
        message = fatal + 8;
    ems_printable(message, strcspn(message, "\n"), why, sizeof why);
    ask(st, "ask for our address", "SELECT pg_catalog.host(pg_catalog.inet_client_addr())", NULL,
        address, sizeof address, &ignored);
    if (address[0] == '\0')
        return ems_fail(err, EMS_SERVER_ERROR,
                        "the restore's own role may not log in (%s): put \"local %s "
                        "scram-sha-256\" on top of the server's pg_hba.conf and reload it, or "
                        "connect with host=127.0.0.1",
                        why, names);
    return ems_fail(err, EMS_SERVER_ERROR,
                    "the restore's own role may not log in (%s): put \"host %s %s/%s "
                    "scram-sha-256\" on top of the server's pg_hba.conf and reload it",
                    why, names, address, strchr(address, ':') != NULL ? "128" : "32");
}

int ems_staging_connect(struct ems_staging *st, PGconn **conn, struct ems_error *err)
{
    int rc;

    *conn = NULL;
    if (!st->created)
        return ems_fail(err, EMS_INTERNAL, "staging: nothing to connect to");
    rc = ems_pq_login(st->admin, st->load, st->password, st->load, conn, err);
    if (rc == EMS_OK && PQstatus(*conn) != CONNECTION_OK) {
        rc = fail_login(st, *conn, err);
        PQfinish(*conn);
        *conn = NULL;
    }
    return rc;
}

/* ---- publish and abandon ---- */

/* Names as SQL identifiers; freed with PQfreemem. */
static char *quote(struct ems_staging *st, const char *name)
{
    return PQescapeIdentifier(st->admin, name, strlen(name));
}

/* Renaming is transactional: at each moment the target name is the old database, or the new one. */
static int swap_names(struct ems_staging *st, const char *old, struct ems_error *err)
{
    char *target = quote(st, st->target);
    struct ems_error ignored = {0};
    int rc;

    if (target == NULL)
        return ems_fail_memory(err);
    rc = ems_pq_run(st->admin, "begin", err, "BEGIN");
    if (rc == EMS_OK && old != NULL)
        rc = ems_pq_run(st->admin, "put the old database aside", err,
                        "ALTER DATABASE %s RENAME TO %s", target, old);
    if (rc == EMS_OK)
        rc = ems_pq_run(st->admin, "give the database its name", err,
                        "ALTER DATABASE %s RENAME TO %s", st->load, target);
    if (rc == EMS_OK)
        rc = ems_pq_run(st->admin, "lock the role", err, "ALTER ROLE %s NOLOGIN PASSWORD NULL",
                        st->load);
    if (rc == EMS_OK)
        rc = ems_pq_run(st->admin, "commit", err, "COMMIT");
    else
        ems_pq_run(st->admin, "roll back", &ignored, "ROLLBACK");
    PQfreemem(target);
    return rc;
}

/* What the target was until now: drop it and, if it owns nothing else, the role that it had. */
static void drop_old(struct ems_staging *st, const char *old)
{
    char owner[NAME_BYTES + 1];
    struct ems_error ignored = {0};

    if (ask(st, "ask for the owner",
            "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database "
            "WHERE datname = $1 AND pg_catalog.pg_get_userbyid(datdba) ~ " EMS_ROLE_PATTERN,
            old, owner, sizeof owner, &ignored) == EMS_OK &&
        owner[0] != '\0' && ems_leftover_drop_database(st->admin, old, &ignored) == EMS_OK)
        ems_pq_run(st->admin, "drop a role", &ignored, "DROP ROLE IF EXISTS %s", owner);
}

/* The restore is over, one way or the other. */
static void forget(struct ems_staging *st)
{
    st->created = false;
    st->load[0] = '\0';
    ems_wipe(st->password, sizeof st->password);
}

/* The target is looked at again: hours may have passed. A lost connection during COMMIT leaves it
 * open which name holds; both states are whole, and abandon drops only the unfinished name. */
int ems_staging_publish(struct ems_staging *st, struct ems_error *err)
{
    char old[sizeof EMS_OLD_PREFIX + 16];
    bool exists;
    int rc;

    if (!st->created)
        return ems_fail(err, EMS_INTERNAL, "staging: nothing to publish");
    snprintf(old, sizeof old, EMS_OLD_PREFIX "%s", st->load + strlen(EMS_LOAD_PREFIX));
    rc = check_target(st, err);
    if (rc == EMS_OK)
        rc = ems_staging_exists(st, st->target, &exists, err);
    if (rc == EMS_OK)
        rc = swap_names(st, exists ? old : NULL, err);
    if (rc != EMS_OK)
        return rc;
    if (exists)
        drop_old(st, old);
    forget(st);
    ems_leftover_drop_all(st->admin);
    return EMS_OK;
}

/* By the unfinished name alone, so that it cannot hit anything that was published. Best effort:
 * what stays is found by the next run (server_leftover.h). */
void ems_staging_abandon(struct ems_staging *st)
{
    struct ems_error ignored = {0};

    if (st->created && revive_admin(st) &&
        ems_leftover_drop_database(st->admin, st->load, &ignored) == EMS_OK)
        ems_pq_run(st->admin, "drop the role", &ignored, "DROP ROLE IF EXISTS %s", st->load);
    forget(st);
}

/* ---- words ---- */

const char *ems_staging_howto(struct ems_staging *st, const char *database)
{
    const char *host = PQhost(st->admin);

    if (st->cluster != NULL)
        ems_cluster_howto(st->cluster, database, st->howto, sizeof st->howto);
    else
        snprintf(st->howto, sizeof st->howto, "psql \"host=%s port=%s user=%s dbname=%s\"\n",
                 host != NULL ? host : "", PQport(st->admin), PQuser(st->admin), database);
    return st->howto;
}

/* ASCII only and by hand: the locale must not decide how a database is called. */
void ems_staging_name(const char *server_name, char *out)
{
    size_t used = (size_t)sprintf(out, "staging_");

    for (; *server_name != '\0' && used < NAME_BYTES; server_name++) {
        char c = *server_name;

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        out[used++] = (char)((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_');
    }
    out[used] = '\0';
}
