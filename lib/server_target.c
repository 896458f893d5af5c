/*
 * server_target.c - the life of an unfinished database (staging.h): made, connected to, and
 * published, kept or dropped.
 *
 * Statements here are built from names of ours (hex digits) or from quoted identifiers.
 */
#include "staging.h"

#include "bytes.h"
#include "server_leftover.h"
#include "server_pq.h"
#include "server_staging.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- what it will be called ---- */

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
    rc = ems_staging_ask(
        st, "look for the database",
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
    int rc = ems_staging_ask(
        st, "ask for the encoding",
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

/* The role's password: 256 bits that nobody else knows. */
static int choose_password(struct ems_staging *st, struct ems_error *err)
{
    uint8_t random[32];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return ems_fail_errno(err, errno, "no random numbers");
    ems_hex(random, sizeof random, st->password);
    ems_wipe(random, sizeof random);
    return EMS_OK;
}

/* 64 bits make a clash as unlikely as a guess. */
static int choose_name(struct ems_staging *st, struct ems_error *err)
{
    uint8_t random[8];
    char suffix[17];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return ems_fail_errno(err, errno, "no random numbers");
    ems_hex(random, sizeof random, suffix);
    snprintf(st->load, sizeof st->load, EMS_LOAD_PREFIX "%s", suffix);
    return EMS_OK;
}

/* Only a SCRAM verifier of the password is sent, so that it is in no log; a server that still asks
 * for md5 takes SCRAM then. `verb` is CREATE, or ALTER for a role that is there. */
static int set_role(struct ems_staging *st, const char *verb, struct ems_error *err)
{
    char *verifier = PQencryptPasswordConn(st->admin, st->password, st->load, "scram-sha-256");
    int rc;

    if (verifier == NULL)
        return ems_pq_fail(err, "staging", EMS_SERVER_ERROR, st->admin, NULL,
                           "cannot make a password");
    rc = ems_pq_run(st->admin, "make a role", err,
                    "%s ROLE %s LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT %u PASSWORD '%s'",
                    verb, st->load, st->jobs + 4, verifier);
    PQfreemem(verifier);
    return rc;
}

/* The role owns one database, is a member of nothing and may do nothing else. (Not NOINHERIT: from
 * 15 on the owner of a database may use its schema public through pg_database_owner.) */
static int create_role(struct ems_staging *st, struct ems_error *err)
{
    int rc = set_role(st, "CREATE", err);

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

/* The restore is over, one way or the other. */
static void forget(struct ems_staging *st)
{
    st->created = false;
    st->load[0] = '\0';
    ems_wipe(st->password, sizeof st->password);
}

/* What create and resume begin with. */
static int begin(struct ems_staging *st, const char *target, bool replace, struct ems_error *err)
{
    int rc;

    if (st->created)
        return ems_fail(err, EMS_INTERNAL, "staging: a restore is already under way");
    if (target[0] == '\0' || strlen(target) > EMS_NAME_BYTES)
        return ems_fail(err, EMS_SERVER_ERROR, "a database name has 1 to %d bytes", EMS_NAME_BYTES);
    snprintf(st->target, sizeof st->target, "%s", target);
    st->replace = replace;
    st->resuming = false;
    /* Takes the name of an earlier restore off the connection: it is not worked on any more. */
    rc = ems_staging_prepare(st, err);
    return rc == EMS_OK ? check_target(st, err) : rc;
}

/* Order: say who we are (ems_staging_prepare), then clean up, then make, so that at no moment
 * another run's clean-up can take ours for a leftover. */
static int create(struct ems_staging *st, struct ems_error *err)
{
    int rc = choose_name(st, err);

    if (rc == EMS_OK)
        rc = choose_password(st, err);
    if (rc == EMS_OK)
        rc = ems_staging_prepare(st, err); /* shows the new name to other runs */
    if (rc == EMS_OK) {
        ems_leftover_drop_all(st->admin, st->resuming ? st->target : NULL);
        rc = create_role(st, err);
    }
    if (rc == EMS_OK)
        rc = create_database(st, err);
    if (rc != EMS_OK)
        ems_staging_abandon(st);
    return rc;
}

int ems_staging_create(struct ems_staging *st, const char *target, bool replace,
                       struct ems_error *err)
{
    int rc = begin(st, target, replace, err);

    return rc == EMS_OK ? create(st, err) : rc;
}

int ems_staging_mark(struct ems_staging *st, const char *identity, struct ems_error *err)
{
    if (!st->created)
        return ems_fail(err, EMS_INTERNAL, "staging: nothing to mark");
    if (identity == NULL)
        return ems_pq_run(st->admin, "take the mark off", err, "COMMENT ON DATABASE %s IS NULL",
                          st->load);
    return ems_leftover_mark(st->admin, st->load, identity, st->target, err);
}

/* Its old password is nobody's any more; what its dead run still has connected goes. */
static int adopt(struct ems_staging *st, const struct ems_leftover *left, struct ems_error *err)
{
    int rc = choose_password(st, err);

    if (rc == EMS_OK)
        rc = ems_leftover_disconnect(st->admin, left->role, err);
    if (rc == EMS_OK)
        rc = set_role(st, "ALTER", err);
    if (rc == EMS_OK && strcmp(left->database, left->role) != 0)
        rc = ems_leftover_rename(st->admin, left->database, left->role, err);
    st->created = rc == EMS_OK;
    return rc;
}

/* A failure here must not drop what was found. */
int ems_staging_resume(struct ems_staging *st, const char *target, bool replace,
                       const char *identity, bool *resumed, struct ems_error *err)
{
    struct ems_leftover left;
    int rc = begin(st, target, replace, err);

    *resumed = false;
    if (rc != EMS_OK)
        return rc;
    st->resuming = true;
    rc = ems_leftover_find(st->admin, identity, target, &left, err);
    if (rc != EMS_OK)
        return rc;
    if (left.database[0] == '\0')
        return create(st, err);
    snprintf(st->load, sizeof st->load, "%.25s", left.role);
    rc = ems_staging_prepare(st, err); /* shows other runs that it is somebody's again */
    if (rc == EMS_OK)
        rc = adopt(st, &left, err);
    *resumed = rc == EMS_OK;
    if (rc != EMS_OK)
        forget(st);
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
    ems_staging_ask(st, "ask for our address",
                    "SELECT pg_catalog.host(pg_catalog.inet_client_addr())", NULL, address,
                    sizeof address, &ignored);
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
    char owner[EMS_NAME_BYTES + 1];
    struct ems_error ignored = {0};

    if (ems_staging_ask(
            st, "ask for the owner",
            "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database "
            "WHERE datname = $1 AND pg_catalog.pg_get_userbyid(datdba) ~ " EMS_ROLE_PATTERN,
            old, owner, sizeof owner, &ignored) == EMS_OK &&
        owner[0] != '\0' && ems_leftover_drop_database(st->admin, old, &ignored) == EMS_OK)
        ems_pq_run(st->admin, "drop a role", &ignored, "DROP ROLE IF EXISTS %s", owner);
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
    ems_leftover_drop_all(st->admin, st->resuming ? st->target : NULL);
    return EMS_OK;
}

/* A name that tells what it is and does not exist. Two runs in one second, or a name that was cut,
 * get a number behind it. */
static void choose_kept_name(struct ems_staging *st, unsigned number, char name[64])
{
    char suffix[40], date[20];
    time_t now = time(NULL);
    struct tm utc;
    size_t room;

    strftime(date, sizeof date, "%Y%m%d_%H%M%S", gmtime_r(&now, &utc));
    snprintf(suffix, sizeof suffix, number > 0 ? "_failed_%s_%u" : "_failed_%s", date, number);
    room = EMS_NAME_BYTES - strlen(suffix);
    if (room > strlen(st->target))
        room = strlen(st->target);
    while (room > 0 && ((uint8_t)st->target[room] & 0xc0) == 0x80)
        room--; /* not in the middle of a character */
    snprintf(name, EMS_NAME_BYTES + 1, "%.*s%s", (int)room, st->target, suffix);
}

int ems_staging_keep(struct ems_staging *st, struct ems_staging_kept *kept, struct ems_error *err)
{
    bool exists = true;
    int rc;

    *kept = (struct ems_staging_kept){.database = ""};
    if (!st->created || !ems_staging_revive(st))
        return ems_fail(err, EMS_SERVER_ERROR, "the server is gone");
    rc = ems_leftover_disconnect(st->admin, st->load, err);
    for (unsigned i = 0; rc == EMS_OK && exists && i < 100; i++) {
        choose_kept_name(st, i, kept->database);
        rc = ems_staging_exists(st, kept->database, &exists, err);
    }
    if (rc == EMS_OK)
        rc = ems_pq_run(st->admin, "lock the role", err, "ALTER ROLE %s NOLOGIN PASSWORD NULL",
                        st->load);
    if (rc == EMS_OK)
        rc = ems_leftover_rename(st->admin, st->load, kept->database, err);
    if (rc == EMS_OK) {
        snprintf(kept->role, sizeof kept->role, "%s", st->load);
        forget(st);
    }
    return rc;
}

/* By the unfinished name alone, so that it cannot hit anything that was published. Best effort:
 * what stays is found by the next run (server_leftover.h). */
void ems_staging_abandon(struct ems_staging *st)
{
    struct ems_error ignored = {0};

    if (st->created && ems_staging_revive(st) &&
        ems_leftover_drop_database(st->admin, st->load, &ignored) == EMS_OK)
        ems_pq_run(st->admin, "drop the role", &ignored, "DROP ROLE IF EXISTS %s", st->load);
    forget(st);
}
