/*
 * server_synapse.c - see server_synapse.h. Here: what the catalogs and the small tables say, and
 * the repairs; rows and totals are in server_synapse_rows.c.
 *
 * Old schemas lack tables and columns, so nothing is asked that was not seen in the catalog. Names
 * are Synapse's own constants, or come from the catalog through quote_ident.
 */
#include "server_synapse.h"

#include "bytes.h"
#include "server_pq.h"
#include "server_session.h"
#include "server_synapse_ask.h"
#include "server_wait.h"
#include "sql_shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 60000u

/* ---- asking ---- */

void ems_synapse_tell(struct ems_synapse_asker *a, int code, enum ems_severity severity,
                      const char *advice, const char *fmt, ...)
{
    char message[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (!ems_findings_has(a->findings, code, a->artifact->name, message))
        ems_findings_add(a->findings, code, severity, a->artifact->name, NULL, EMS_NOWHERE, advice,
                         "%s", message);
}

/* 57014: cancelled, here by statement_timeout. */
static bool is_timeout(const PGresult *answer)
{
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);

    return state != NULL && strcmp(state, "57014") == 0;
}

/*
 * The answer, which the caller clears. NULL if there is none: after trouble, then a->broken, or
 * because the server refused or took too long, then `what` could not be found out and a note says
 * so.
 */
static PGresult *ask(struct ems_synapse_asker *a, const char *what, const char *sql)
{
    PGresult *answer = NULL;

    if (a->broken)
        return NULL;
    if (ems_pq_wait(a->conn, sql, a->options->tick, a->options->tick_context, &answer, a->err) !=
        EMS_OK) {
        a->broken = true;
        return NULL;
    }
    if (PQresultStatus(answer) == PGRES_TUPLES_OK || PQresultStatus(answer) == PGRES_COMMAND_OK)
        return answer;
    if (is_timeout(answer)) {
        ems_synapse_tell(a, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, "",
                         "not found out, for it took too long: %s", what);
    } else if (PQstatus(a->conn) != CONNECTION_OK) {
        ems_pq_refused(a->conn, answer, a->err, "cannot ask for %s", what);
        a->broken = true;
    } else {
        const char *why = PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY);

        ems_synapse_tell(a, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, "", "not found out: %s: %s",
                         what, why != NULL ? why : "the server gave no reason");
    }
    PQclear(answer);
    return NULL;
}

bool ems_synapse_ask_number(struct ems_synapse_asker *a, const char *what, const char *sql,
                            uint64_t *number)
{
    PGresult *answer = ask(a, what, sql);
    bool is_there = answer != NULL && PQntuples(answer) > 0 && !PQgetisnull(answer, 0, 0);

    *number = is_there ? strtoull(PQgetvalue(answer, 0, 0), NULL, 10) : 0;
    PQclear(answer);
    return is_there;
}

bool ems_synapse_has(const struct ems_synapse_asker *a, const char *table, const char *column)
{
    for (int i = 0; i < PQntuples(a->columns); i++)
        if (strcmp(PQgetvalue(a->columns, i, 0), table) == 0 &&
            (column == NULL || strcmp(PQgetvalue(a->columns, i, 1), column) == 0))
            return true;
    return false;
}

/* What the functions of synapse_state.h return: EMS_OK, or there is no memory. */
static void note(struct ems_synapse_asker *a, int rc)
{
    if (rc != EMS_OK) {
        ems_fail_memory(a->err);
        a->broken = true;
    }
}

/* ---- catalogs ---- */

/* First of all, because nothing is asked of a column that is not there. Sorted by table: the names
 * stay where libpq has put them. */
static void ask_tables(struct ems_synapse_asker *a)
{
    const char *columns[1600];
    int n;

    a->columns =
        ask(a, "its tables",
            "SELECT c.relname, t.attname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid"
            " WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p')"
            " AND t.attnum > 0 AND NOT t.attisdropped ORDER BY c.relname, t.attnum");
    n = a->columns != NULL ? PQntuples(a->columns) : 0;
    for (int i = 0; i < n && !a->broken;) {
        const char *table = PQgetvalue(a->columns, i, 0);
        size_t count = 0;

        for (; i < n && strcmp(PQgetvalue(a->columns, i, 0), table) == 0; i++)
            if (count < 1600)
                columns[count++] = PQgetvalue(a->columns, i, 1);
        note(a, ems_synapse_see_table(&a->db, table, columns, count, a->err));
    }
}

/* Columns of the key alone: what an index merely includes makes nothing unique. */
static void ask_indexes(struct ems_synapse_asker *a)
{
    PGresult *answer = ask(
        a, "its unique indexes",
        "SELECT c.relname, i.indpred IS NOT NULL, pg_catalog.string_agg(t.attname, ',')"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"
        " JOIN LATERAL pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY k (attnum, place)"
        " ON k.place <= i.indnkeyatts"
        " JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attnum = k.attnum"
        " WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND i.indisunique"
        " AND i.indisvalid AND i.indexprs IS NULL GROUP BY i.indexrelid, c.relname, i.indpred");

    for (int i = 0; answer != NULL && i < PQntuples(answer); i++) {
        char *list = PQgetvalue(answer, i, 2), *save = NULL;
        const char *columns[32]; /* INDEX_MAX_KEYS */
        size_t count = 0;

        for (char *c = strtok_r(list, ",", &save); c != NULL && count < 32;
             c = strtok_r(NULL, ",", &save))
            columns[count++] = c;
        ems_synapse_see_unique(a->db.state, PQgetvalue(answer, i, 0), columns, count,
                               PQgetvalue(answer, i, 1)[0] == 't');
    }
    PQclear(answer);
}

/* An index that is not valid is what a CREATE INDEX CONCURRENTLY leaves that failed. */
static void ask_validity(struct ems_synapse_asker *a)
{
    struct ems_synapse_names invalid = {.count = 0};
    char names[700];
    PGresult *answer =
        ask(a, "constraints that are not validated",
            "SELECT c.relname, n.conname FROM pg_catalog.pg_constraint n"
            " JOIN pg_catalog.pg_class c ON c.oid = n.conrelid"
            " WHERE NOT n.convalidated AND n.connamespace = 'public'::pg_catalog.regnamespace"
            " ORDER BY 1, 2");

    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        note(a, ems_synapse_see_unvalidated(a->db.state, PQgetvalue(answer, i, 0),
                                            PQgetvalue(answer, i, 1), a->err));
    PQclear(answer);
    answer = ask(a, "indexes that are not valid",
                 "SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c"
                 " ON c.oid = i.indexrelid WHERE NOT i.indisvalid"
                 " AND c.relnamespace = 'public'::pg_catalog.regnamespace ORDER BY 1");
    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        note(a, ems_synapse_names_add(&invalid, PQgetvalue(answer, i, 0), a->err));
    PQclear(answer);
    if (invalid.count > 0)
        ems_synapse_tell(a, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "REINDEX INDEX each of them.",
                         "indexes that PostgreSQL does not use: %s",
                         ems_synapse_names_text(&invalid, names, sizeof names));
    for (size_t i = 0; i < EMS_SYNAPSE_LISTED; i++)
        free(invalid.items[i]);
}

/* Only tables, indexes and sequences, and the functions of Synapse's triggers, which run with the
 * rights of whoever writes the row. */
static void ask_code(struct ems_synapse_asker *a)
{
    PGresult *answer = ask(a, "functions and views",
                           "SELECT 'public.' || proname, prosecdef FROM pg_catalog.pg_proc"
                           " WHERE pronamespace = 'public'::pg_catalog.regnamespace"
                           " UNION ALL SELECT relname, true FROM pg_catalog.pg_class"
                           " WHERE relnamespace = 'public'::pg_catalog.regnamespace"
                           " AND relkind NOT IN ('r', 'i', 'S') ORDER BY 1");

    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        if (ems_sql_function_find(PQgetvalue(answer, i, 0)) < 0 ||
            PQgetvalue(answer, i, 1)[0] == 't')
            note(a, ems_synapse_names_add(&a->db.state->foreign_code, PQgetvalue(answer, i, 0),
                                          a->err));
    PQclear(answer);
}

/* Synapse compares with exactly these (storage/engines/postgres.py, check_database). The staging
 * database is made that way; a managed server may still report it in other words. */
static void ask_locale(struct ems_synapse_asker *a)
{
    PGresult *answer =
        ask(a, "its locale",
            "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype"
            " FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()");
    const char *encoding, *collate, *ctype;

    if (answer == NULL || PQntuples(answer) == 0) {
        PQclear(answer);
        return;
    }
    encoding = PQgetvalue(answer, 0, 0);
    collate = PQgetvalue(answer, 0, 1);
    ctype = PQgetvalue(answer, 0, 2);
    if (strcmp(encoding, "UTF8") != 0)
        ems_synapse_tell(a, EMS_SYNAPSE_ENCODING, EMS_SEVERITY_WARNING,
                         "Use another server: Synapse refuses this one.",
                         "the staging database is in %s, not in UTF8", encoding);
    if (strcmp(collate, "C") != 0 || strcmp(ctype, "C") != 0)
        ems_synapse_tell(a, EMS_SYNAPSE_COLLATION, EMS_SEVERITY_WARNING,
                         "Synapse starts on it only with allow_unsafe_locale: true in the database "
                         "section of homeserver.yaml.",
                         "the staging database's collation is %s and its character type %s, not C",
                         collate, ctype);
    PQclear(answer);
}

/* ---- small tables ---- */

/* One row each in the first two, as their unique column `lock` sees to. */
static void ask_schema(struct ems_synapse_asker *a)
{
    PGresult *answer;
    uint64_t number;

    if (ems_synapse_has(a, "schema_version", "version") &&
        ems_synapse_ask_number(a, "the schema version",
                               "SELECT max(version) FROM public.schema_version", &number))
        a->db.schema_version = (uint32_t)number;
    if (ems_synapse_has(a, "schema_compat_version", "compat_version") &&
        ems_synapse_ask_number(a, "the compat version",
                               "SELECT max(compat_version) FROM public.schema_compat_version",
                               &number))
        a->db.compat_version = (uint32_t)number;
    if (ems_synapse_has(a, "applied_schema_deltas", "file")) {
        answer = ask(a, "the deltas", "SELECT file FROM public.applied_schema_deltas");
        for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
            ems_synapse_see_delta(a->db.state, PQgetvalue(answer, i, 0),
                                  (size_t)PQgetlength(answer, i, 0));
        PQclear(answer);
    }
    if (ems_synapse_has(a, "background_updates", "update_name")) {
        answer = ask(a, "background updates", "SELECT update_name FROM public.background_updates");
        for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
            note(a, ems_synapse_see_update(&a->db, PQgetvalue(answer, i, 0),
                                           (size_t)PQgetlength(answer, i, 0), a->err));
        PQclear(answer);
    }
}

/* All of them, by server: Synapse itself looks at one user only (check_database_before_upgrade). */
static void ask_users(struct ems_synapse_asker *a)
{
    /* users: guests, of an application service or deactivated ones need no password */
    static const char whole[] =
        "SELECT CASE WHEN name LIKE '@%:%' THEN pg_catalog.substr(name, pg_catalog.strpos(name, "
        "':') + 1) ELSE '' END, count(*), count(*) FILTER (WHERE p),"
        " count(*) FILTER (WHERE p AND COALESCE(password_hash, '') = '')"
        " FROM (SELECT name, password_hash, COALESCE(is_guest, 0) = 0"
        " AND COALESCE(deactivated, 0) = 0 AND appservice_id IS NULL AS p FROM public.users) u"
        " GROUP BY 1 ORDER BY 2 DESC";
    static const char *const columns[] = {"name", "password_hash", "is_guest", "deactivated",
                                          "appservice_id"};
    char server[256];
    PGresult *answer;

    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        if (!ems_synapse_has(a, "users", columns[i]))
            return;
    answer = ask(a, "the users", whole);
    for (int i = 0; answer != NULL && i < PQntuples(answer); i++) {
        ems_printable(PQgetvalue(answer, i, 0), strlen(PQgetvalue(answer, i, 0)), server,
                      sizeof server);
        ems_synapse_see_users(&a->db, server, strtoull(PQgetvalue(answer, i, 1), NULL, 10));
        a->db.state->people += strtoull(PQgetvalue(answer, i, 2), NULL, 10);
        a->db.state->passwordless += strtoull(PQgetvalue(answer, i, 3), NULL, 10);
    }
    PQclear(answer);
}

/* ---- sequences ---- */

/* Which of the known ones are there, and where they are. */
static void ask_sequences(struct ems_synapse_asker *a)
{
    struct ems_buf sql = {0};
    PGresult *answer = ask(a, "its sequences",
                           "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'S'"
                           " AND relnamespace = 'public'::pg_catalog.regnamespace");

    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        for (size_t k = 0; k < EMS_SYNAPSE_SEQUENCES; k++)
            if (strcmp(ems_synapse_sequences[k].name, PQgetvalue(answer, i, 0)) == 0)
                note(a,
                     ems_buf_printf(&sql, a->err,
                                    "%sSELECT '%s', last_value - (NOT is_called)::int"
                                    " FROM public.%s",
                                    sql.size > 0 ? " UNION ALL " : "",
                                    ems_synapse_sequences[k].name, ems_synapse_sequences[k].name));
    PQclear(answer);
    answer = sql.size > 0 ? ask(a, "where its sequences are", (const char *)sql.data) : NULL;
    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        ems_synapse_see_sequence(a->db.state, PQgetvalue(answer, i, 0),
                                 strtoll(PQgetvalue(answer, i, 1), NULL, 10));
    PQclear(answer);
    ems_buf_release(&sql);
}

static void ask_positions(struct ems_synapse_asker *a)
{
    PGresult *answer;

    if (!ems_synapse_has(a, "stream_positions", "stream_id") ||
        !ems_synapse_has(a, "stream_positions", "stream_name"))
        return;
    answer = ask(a, "stream positions",
                 "SELECT stream_name, max(stream_id) FROM public.stream_positions"
                 " GROUP BY stream_name");
    for (int i = 0; answer != NULL && i < PQntuples(answer); i++)
        ems_synapse_see_position(a->db.state, PQgetvalue(answer, i, 0),
                                 strtoll(PQgetvalue(answer, i, 1), NULL, 10));
    PQclear(answer);
}

/* Most of these columns have an index, whose end is the answer. */
static void ask_highest(struct ems_synapse_asker *a, size_t sequence)
{
    const struct ems_synapse_sequence *q = &ems_synapse_sequences[sequence];
    char what[120], value[120], sql[300];
    uint64_t number;

    for (size_t k = 0; k < EMS_SYNAPSE_SOURCES && q->sources[k].table != NULL; k++) {
        if (!ems_synapse_has(a, q->sources[k].table, q->sources[k].column))
            continue;
        snprintf(what, sizeof what, "the greatest %s of %s", q->sources[k].column,
                 q->sources[k].table);
        if (q->sort == EMS_SEQUENCE_UP)
            snprintf(value, sizeof value, "max(%s)", q->sources[k].column);
        else if (q->sort == EMS_SEQUENCE_DOWN)
            snprintf(value, sizeof value, "-min(%s)", q->sources[k].column);
        else
            snprintf(value, sizeof value,
                     "max(pg_catalog.substring(%s, '^@([0-9]{1,18}):')::bigint)",
                     q->sources[k].column);
        snprintf(sql, sizeof sql, "SELECT GREATEST(%s, 0) FROM public.%s", value,
                 q->sources[k].table);
        if (ems_synapse_ask_number(a, what, sql, &number))
            ems_synapse_see_highest(a->db.state, sequence, k, (int64_t)number);
    }
}

/* ---- repairs ---- */

/* setval is not undone by anything, which is as well: this database has no name yet. What the check
 * of the dump has said of this sequence is settled and taken back. */
static void repair_sequence(struct ems_synapse_asker *a, size_t sequence)
{
    const char *name = ems_synapse_sequences[sequence].name;
    int64_t wanted = ems_synapse_sequence_wanted(a->db.state, sequence);
    char sql[200], said[120];
    PGresult *answer = NULL;

    if (wanted == 0 || a->broken)
        return;
    snprintf(sql, sizeof sql, "SELECT pg_catalog.setval('public.%s', %lld, true)", name,
             (long long)wanted);
    if (ems_pq_query(a->conn, "set a sequence", sql, 0, NULL, &answer, a->err) != EMS_OK) {
        a->broken = true;
        return;
    }
    PQclear(answer);
    snprintf(said, sizeof said, "sequence %s is at ", name);
    ems_findings_take_back(a->findings, EMS_SYNAPSE_SEQUENCE, a->artifact->name, said);
    ems_synapse_tell(a, EMS_SYNAPSE_SEQUENCE, EMS_SEVERITY_NOTE, "",
                     "sequence %s was at %lld and has been set to %lld, as asked", name,
                     (long long)a->db.state->sequences[sequence].value, (long long)wanted);
    ems_synapse_see_sequence(a->db.state, name, wanted);
    a->sequences_set++;
}

/* ONLY: nothing that inherits from it, which no table of Synapse's does. */
static void truncate_keys(struct ems_synapse_asker *a)
{
    static const char table[] = "e2e_one_time_keys_json";
    uint64_t *keys = &a->db.state->totals[EMS_TOTAL_ONE_TIME_KEYS];

    if (!a->options->truncate_one_time_keys || !ems_synapse_has(a, table, NULL) || a->broken)
        return;
    if (ems_pq_run(a->conn, "empty the one-time keys", a->err, "TRUNCATE ONLY public.%s", table) !=
        EMS_OK) {
        a->broken = true;
        return;
    }
    ems_findings_take_back(a->findings, EMS_SYNAPSE_SCHEMA, a->artifact->name, " one-time keys: ");
    ems_synapse_tell(a, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, "",
                     "%llu one-time keys were removed from the staging database, as asked",
                     (unsigned long long)*keys);
    *keys = 0;
}

/* ---- the whole ---- */

/* Repairs come before the verdict, so that what they settle is not said; questions about rows come
 * last, because they alone can take long. */
static void ask_all(struct ems_synapse_asker *a)
{
    ask_tables(a);
    if (a->broken || !ems_synapse_is_homeserver(&a->db))
        return;
    ems_synapse_take_totals(&a->db, &a->artifact->sql);
    ask_locale(a);
    ask_indexes(a);
    ask_validity(a);
    ask_code(a);
    ask_schema(a);
    ask_users(a);
    ask_sequences(a);
    ask_positions(a);
    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++)
        if (a->db.state->sequences[i].known)
            ask_highest(a, i);
    truncate_keys(a);
    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES && a->options->repair_sequences; i++)
        repair_sequence(a, i);
    if (!a->broken)
        ems_synapse_judge(&a->db, a->artifact->name, a->findings);
    ems_synapse_ask_rows(a);
    if (!a->broken && ems_synapse_ask_totals(a, a->err) != EMS_OK)
        a->broken = true;
}

int ems_synapse_check_staged(struct ems_artifact *artifact, struct ems_staging *staging,
                             const struct ems_synapse_options *options,
                             struct ems_findings *findings, struct ems_error *err)
{
    struct ems_synapse_asker a = {
        .artifact = artifact, .options = options, .findings = findings, .err = err};
    int rc = ems_synapse_state(&a.db) != NULL ? EMS_OK : ems_fail_memory(err);

    if (rc == EMS_OK)
        rc = ems_session_open(staging, &a.conn, err);
    if (rc == EMS_OK)
        rc = ems_pq_run(a.conn, "set a time limit", err,
                        "SELECT pg_catalog.set_config('statement_timeout', '%u', false),"
                        " pg_catalog.set_config('work_mem', '64MB', false),"
                        " pg_catalog.set_config('jit', 'off', false)",
                        options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS);
    if (rc == EMS_OK)
        ask_all(&a);
    PQclear(a.columns);
    PQfinish(a.conn);
    ems_synapse_release(&a.db);
    return a.broken ? err->code : rc;
}
