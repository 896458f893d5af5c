/*
 * server_sqlite_sequence.c - see server_sqlite_sequence.h
 *
 * Which columns a sequence counts for is Synapse's knowledge and stands in its code, not in the
 * schema: the modules of synapse/storage/databases/main, where MultiWriterIdGenerator and
 * build_sequence_generator are made. Columns that a release does not have are passed over.
 */
#include "server_sqlite_sequence.h"

#include "server_pq.h"
#include "server_wait.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_COLUMNS = 6 };

static const struct known {
    const char *sequence;
    const char *stream; /* in stream_positions, or NULL */
    bool backwards;     /* counts down from 0 in the columns, up in the sequence */
    struct {
        const char *table, *column;
    } columns[MAX_COLUMNS];
} known[] = {
    {"events_stream_seq",
     "events",
     false,
     {{"events", "stream_ordering"},
      {"current_state_delta_stream", "stream_id"},
      {"ex_outlier_stream", "event_stream_ordering"}}},
    {"events_backfill_stream_seq",
     "backfill",
     true,
     {{"events", "stream_ordering"}, {"ex_outlier_stream", "event_stream_ordering"}}},
    {"account_data_sequence",
     "account_data",
     false,
     {{"room_account_data", "stream_id"},
      {"room_tags_revisions", "stream_id"},
      {"account_data", "stream_id"}}},
    {"cache_invalidation_stream_seq",
     "caches",
     false,
     {{"cache_invalidation_stream_by_instance", "stream_id"}}},
    {"device_inbox_sequence",
     "to_device",
     false,
     {{"device_inbox", "stream_id"}, {"device_federation_outbox", "stream_id"}}},
    {"device_lists_sequence",
     "device_lists_stream",
     false,
     {{"device_lists_stream", "stream_id"},
      {"user_signature_stream", "stream_id"},
      {"device_lists_outbound_pokes", "stream_id"},
      {"device_lists_changes_in_room", "stream_id"},
      {"device_lists_remote_pending", "stream_id"},
      {"device_lists_changes_converted_stream_position", "stream_id"}}},
    {"e2e_cross_signing_keys_sequence",
     "e2e_cross_signing_keys",
     false,
     {{"e2e_cross_signing_keys", "stream_id"}}},
    {"presence_stream_sequence", "presence_stream", false, {{"presence_stream", "stream_id"}}},
    {"push_rules_stream_sequence",
     "push_rules_stream",
     false,
     {{"push_rules_stream", "stream_id"}}},
    {"pushers_sequence", "pushers", false, {{"pushers", "id"}, {"deleted_pushers", "stream_id"}}},
    {"receipts_sequence", "receipts", false, {{"receipts_linearized", "stream_id"}}},
    {"un_partial_stated_event_stream_sequence",
     "un_partial_stated_event_stream",
     false,
     {{"un_partial_stated_event_stream", "stream_id"}}},
    {"un_partial_stated_room_stream_sequence",
     "un_partial_stated_room_stream",
     false,
     {{"un_partial_stated_room_stream", "stream_id"}}},
    {"quarantined_media_id_seq",
     "quarantined_media",
     false,
     {{"quarantined_media_changes", "stream_id"}}},
    {"thread_subscriptions_sequence",
     "thread_subscriptions",
     false,
     {{"thread_subscriptions", "stream_id"}}},
    {"sticky_events_sequence", "sticky_events", false, {{"sticky_events", "stream_id"}}},
    {"profile_updates_sequence", "profile_updates", false, {{"profile_updates", "stream_id"}}},
    {"state_group_id_seq", NULL, false, {{"state_groups", "id"}}},
    {"event_auth_chain_id", NULL, false, {{"event_auth_chains", "chain_id"}}},
    /* The last one that was used is remembered when the transactions themselves are long gone, and
     * an application service passes over numbers that it has seen. */
    {"application_services_txn_id_seq",
     NULL,
     false,
     {{"application_services_txns", "txn_id"}, {"application_services_state", "last_txn"}}},
    /* Users who were given a number for a name: see max_user below. */
    {"user_id_seq", NULL, false, {{NULL, NULL}}},
};

/* 18 digits: what always fits into a bigint. */
static const char max_user[] =
    ", (SELECT max(substr(name, 2, strpos(name, ':') - 2)::bigint) FROM public.users "
    "WHERE name ~ '^@[0-9]{1,18}:')";

static bool has_column(const struct ems_sqlite_plan *plan, const char *table, const char *column)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct ems_sqlite_table *t = &plan->tables[i];

        for (size_t k = 0; strcmp(t->name, table) == 0 && k < t->column_count; k++)
            if (strcmp(t->columns[k].name, column) == 0)
                return true;
    }
    return false;
}

static int add_maximum(const char *table, const char *column, bool backwards, struct ems_buf *sql,
                       struct ems_error *err)
{
    int rc = ems_buf_printf(sql, err, backwards ? ", -(SELECT min(" : ", (SELECT max(");

    if (rc == EMS_OK)
        rc = ems_sqlite_quote(sql, column, err);
    if (rc == EMS_OK)
        rc = ems_buf_printf(sql, err, ") FROM public.");
    if (rc == EMS_OK)
        rc = ems_sqlite_quote(sql, table, err);
    return rc == EMS_OK ? ems_buf_append(sql, ")", 1, err) : rc;
}

/* By name, for a sequence of Synapse's own. *found false: it is not known. */
static int add_known(const struct ems_sqlite_plan *plan, const char *sequence, bool *found,
                     struct ems_buf *sql, struct ems_error *err)
{
    const struct known *k = NULL;
    int rc = EMS_OK;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].sequence, sequence) == 0)
            k = &known[i];
    *found = k != NULL;
    if (k == NULL)
        return EMS_OK;
    for (size_t i = 0; i < MAX_COLUMNS && k->columns[i].table != NULL && rc == EMS_OK; i++)
        if (has_column(plan, k->columns[i].table, k->columns[i].column))
            rc = add_maximum(k->columns[i].table, k->columns[i].column, k->backwards, sql, err);
    if (rc == EMS_OK && k->columns[0].table == NULL && has_column(plan, "users", "name"))
        rc = ems_buf_append(sql, max_user, sizeof max_user - 1, err);
    if (rc == EMS_OK && k->stream != NULL && has_column(plan, "stream_positions", "stream_name"))
        rc = ems_buf_printf(sql, err,
                            ", (SELECT max(stream_id) FROM public.stream_positions "
                            "WHERE stream_name = '%s')",
                            k->stream);
    return rc;
}

/* The highest number that SQLite has given away in a table, also to rows that are gone; 0 if it
 * keeps no count. */
static int64_t autoincrement(sqlite3 *db, const char *table)
{
    sqlite3_stmt *statement = NULL;
    int64_t seq = 0;

    if (sqlite3_prepare_v2(db, "SELECT seq FROM sqlite_sequence WHERE lower(name) = lower(?1)", -1,
                           &statement, NULL) == SQLITE_OK &&
        sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        seq = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return seq;
}

/* Of an answer: sequence, and the table and column that it belongs to, if any. */
static int set_sequence(struct ems_sqlite_copy *copy, const struct ems_sqlite_plan *plan,
                        const PGresult *list, int row, bool *found, bool *set,
                        struct ems_error *err)
{
    const char *sequence = PQgetvalue(list, row, 0), *table = PQgetvalue(list, row, 1);
    struct ems_buf sql = {0};
    PGresult *answer = NULL;
    int rc =
        ems_buf_printf(&sql, err, "SELECT pg_catalog.setval(%s, v, true) FROM (SELECT GREATEST(0",
                       PQgetvalue(list, row, 3));

    *found = true;
    if (rc == EMS_OK && table[0] != '\0')
        rc = add_maximum(table, PQgetvalue(list, row, 2), false, &sql, err);
    else if (rc == EMS_OK)
        rc = add_known(plan, sequence, found, &sql, err);
    if (rc == EMS_OK && table[0] != '\0')
        rc = ems_buf_printf(&sql, err, ", %lld::bigint", (long long)autoincrement(copy->db, table));
    if (rc == EMS_OK)
        rc = ems_buf_printf(&sql, err, ") AS v) AS q WHERE v > 0");
    if (rc == EMS_OK && *found)
        rc = ems_pq_wait(copy->conn, (const char *)sql.data, copy->tick, copy->tick_context,
                         &answer, err);
    if (rc == EMS_OK && *found && PQresultStatus(answer) != PGRES_TUPLES_OK)
        rc = ems_pq_refused(copy->conn, answer, err, "sequence %s", sequence);
    *set = rc == EMS_OK && *found && PQntuples(answer) > 0;
    PQclear(answer);
    ems_buf_release(&sql);
    return rc;
}

int ems_sqlite_set_sequences(struct ems_sqlite_copy *copy, const struct ems_sqlite_plan *plan,
                             const char *artifact, struct ems_findings *findings, uint64_t *set,
                             struct ems_error *err)
{
    /* deptype a: serial, or OWNED BY; i: identity (PostgreSQL documentation, pg_depend) */
    static const char sql[] =
        "SELECT s.relname, t.relname, a.attname, "
        "pg_catalog.quote_literal('public.' || pg_catalog.quote_ident(s.relname)) "
        "FROM pg_catalog.pg_class s "
        "LEFT JOIN pg_catalog.pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i') "
        "AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
        "AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass "
        "LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid "
        "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = "
        "d.refobjsubid "
        "WHERE s.relkind = 'S' AND s.relnamespace = 'public'::pg_catalog.regnamespace "
        "ORDER BY 1";
    PGresult *list;
    int rc = ems_pq_query(copy->conn, "ask for the sequences", sql, 0, NULL, &list, err);

    for (int i = 0; rc == EMS_OK && i < PQntuples(list); i++) {
        bool found, is_set;

        rc = set_sequence(copy, plan, list, i, &found, &is_set, err);
        *set += is_set;
        if (rc == EMS_OK && !found)
            ems_findings_add(
                findings, EMS_SYNAPSE_SEQUENCE, EMS_SEVERITY_WARNING, artifact, NULL, EMS_NOWHERE,
                "Find out which columns it numbers, and set it behind their greatest "
                "value before Synapse is started.",
                "sequence %s is not known: it was left at its start", PQgetvalue(list, i, 0));
    }
    PQclear(list);
    return rc;
}
