/* sqlite_synapse.c - see sqlite_synapse.h */
#include "sqlite_synapse.h"

#include "bytes.h"
#include "event_sample.h"
#include "synapse_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    sqlite3 *db;
    struct ems_synapse *s;
    struct ems_error *err;
    int failed; /* SQLite's code, or SQLITE_OK */
};

/* The same observer that reads a dump gets its facts from here (synapse_state.h): whatever is
 * judged of a PostgreSQL homeserver is judged of this one. Texts of rows are a stranger's. */
typedef int row_fn(struct reader *, sqlite3_stmt *);

/* Every row of a query to `see`. A query that cannot be prepared asks for what is not there. */
static bool each(struct reader *r, const char *sql, row_fn *see)
{
    sqlite3_stmt *statement = NULL;
    int rc;

    if (r->failed != SQLITE_OK || sqlite3_prepare_v2(r->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return false;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        if (see(r, statement) != EMS_OK) {
            rc = SQLITE_NOMEM;
            break;
        }
    sqlite3_finalize(statement);
    if (rc != SQLITE_DONE)
        r->failed = rc;
    return rc == SQLITE_DONE;
}

/* Never NULL. */
static const char *text(sqlite3_stmt *statement, int column)
{
    const char *value = (const char *)sqlite3_column_text(statement, column);

    return value != NULL ? value : "";
}

/* Columns are not looked at: SQLite's unique indexes were made by Synapse on this very file, and no
 * restore stands between. */
static int see_table(struct reader *r, sqlite3_stmt *row)
{
    return ems_synapse_see_table(r->s, text(row, 0), NULL, 0, r->err);
}

static int see_version(struct reader *r, sqlite3_stmt *row)
{
    r->s->schema_version = (uint32_t)sqlite3_column_int64(row, 0);
    return EMS_OK;
}

static int see_compat(struct reader *r, sqlite3_stmt *row)
{
    r->s->compat_version = (uint32_t)sqlite3_column_int64(row, 0);
    return EMS_OK;
}

/* Names of delta files tell exactly how far a schema was taken; versions alone are raised at the
 * end of an upgrade that may have stopped half-way. */
static int see_delta(struct reader *r, sqlite3_stmt *row)
{
    ems_synapse_see_delta(r->s->state, text(row, 0), strlen(text(row, 0)));
    return EMS_OK;
}

static int see_update(struct reader *r, sqlite3_stmt *row)
{
    return ems_synapse_see_update(r->s, text(row, 0), strlen(text(row, 0)), r->err);
}

/* The suffix of most users' names is the server's; other suffixes are told (synapse_judge.c). */
static int see_server(struct reader *r, sqlite3_stmt *row)
{
    const char *server = text(row, 0);
    char shown[256];

    ems_printable(server, strlen(server), shown, sizeof shown);
    ems_synapse_see_users(r->s, shown, (uint64_t)sqlite3_column_int64(row, 1));
    return EMS_OK;
}

/* People with no password sign in elsewhere (SSO, LDAP): EMS has to know before they cannot. */
static int see_people(struct reader *r, sqlite3_stmt *row)
{
    r->s->state->people = (uint64_t)sqlite3_column_int64(row, 0);
    r->s->state->passwordless = (uint64_t)sqlite3_column_int64(row, 1);
    return EMS_OK;
}

/* Numbers of rows that the rules of synapse_judge.c weigh against each other. */
static int see_total(struct reader *r, sqlite3_stmt *row)
{
    for (unsigned t = 0; t < EMS_TOTAL_COUNT; t++)
        if (strcmp(ems_synapse_total_table(t), text(row, 0)) == 0)
            r->s->state->totals[t] = (uint64_t)sqlite3_column_int64(row, 1);
    return EMS_OK;
}

/* From the newest on, so the first ones that fit are the ones that are kept. */
static int see_event(struct reader *r, sqlite3_stmt *row)
{
    const char *json = text(row, 0);

    return ems_event_samples_add(r->s->events, json, strlen(json), EMS_EVENT_PLAIN, r->err);
}

static int see_room(struct reader *r, sqlite3_stmt *row)
{
    ems_event_samples_room(r->s->events, text(row, 0), strlen(text(row, 0)), text(row, 1),
                           strlen(text(row, 1)));
    return EMS_OK;
}

/* Events of the server's own users that vouch for its key (event_sample.h). */
static void read_events(struct reader *r)
{
    static const char newest[] =
        "SELECT j.json FROM events e JOIN event_json j ON j.event_id = e.event_id"
        " WHERE e.sender LIKE '@%:%' AND substr(e.sender, instr(e.sender, ':') + 1) ="
        " (SELECT substr(name, instr(name, ':') + 1) FROM users WHERE name LIKE '@%:%'"
        " GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"
        " ORDER BY e.stream_ordering DESC LIMIT 50";

    r->s->events = calloc(1, sizeof *r->s->events);
    if (r->s->events == NULL) {
        ems_fail_memory(r->err);
        r->failed = SQLITE_NOMEM;
        return;
    }
    memcpy(r->s->events->server, r->s->server_name, sizeof r->s->events->server);
    each(r, newest, see_event);
    each(r, "SELECT room_id, room_version FROM rooms WHERE room_version IS NOT NULL", see_room);
}

/* There are no sequences in SQLite; Synapse counts on from the greatest number when it starts. */
int ems_sqlite_read_synapse(sqlite3 *db, struct ems_synapse *s, struct ems_error *err)
{
    /* Tables behind the full text search belong to SQLite. */
    static const char tables[] =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE "
        "'\\' AND name NOT GLOB 'event_search_*' AND name NOT GLOB 'user_directory_search_*'";
    static const char servers[] =
        "SELECT CASE WHEN name LIKE '@%:%' THEN substr(name, instr(name, ':') + 1) ELSE '' END,"
        " count(*) FROM users GROUP BY 1 ORDER BY 2 DESC";
    static const char people[] =
        "SELECT count(*), count(*) FILTER (WHERE coalesce(password_hash, '') = '') FROM users"
        " WHERE coalesce(is_guest, 0) = 0 AND coalesce(deactivated, 0) = 0"
        " AND appservice_id IS NULL";
    struct reader r = {.db = db, .s = s, .err = err};
    char sql[120];

    if (ems_synapse_state(s) == NULL) {
        ems_fail_memory(err);
        return SQLITE_NOMEM;
    }
    each(&r, tables, see_table);
    if (r.failed != SQLITE_OK || !ems_synapse_is_homeserver(s))
        return r.failed;
    each(&r, "SELECT max(version) FROM schema_version", see_version);
    each(&r, "SELECT max(compat_version) FROM schema_compat_version", see_compat);
    each(&r, "SELECT file FROM applied_schema_deltas", see_delta);
    each(&r, "SELECT update_name FROM background_updates", see_update);
    each(&r, servers, see_server);
    each(&r, people, see_people);
    /* The smallest index of a table is what is counted. */
    for (unsigned t = 0; t < EMS_TOTAL_COUNT; t++) {
        snprintf(sql, sizeof sql, "SELECT '%s', count(*) FROM %s", ems_synapse_total_table(t),
                 ems_synapse_total_table(t));
        if (each(&r, sql, see_total) && t == EMS_TOTAL_EVENT_JSON)
            s->state->has_totals = true;
    }
    if (r.failed == SQLITE_OK)
        read_events(&r);
    s->state->has_state_groups = true; /* only PostgreSQL's can be split */
    s->state->sqlite = true;
    return r.failed;
}
