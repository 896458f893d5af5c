/*
 * server_sqlite_sequence.c - see server_sqlite_sequence.h
 *
 * Which columns a sequence counts for is Synapse's knowledge and stands in its code, not in the
 * schema (synapse_known.c). Columns that a release does not have are passed over.
 */
#include "server_sqlite_sequence.h"

#include "server_pq.h"
#include "server_wait.h"
#include "synapse_state.h"

#include <stdlib.h>
#include <string.h>

/* 18 digits: what always fits into a bigint. */
static const char max_user[] =
    ", (SELECT max(substr(name, 2, strpos(name, ':') - 2)::bigint) FROM public.users "
    "WHERE name ~ '^@[0-9]{1,18}:')";

/* The plan holds the target's columns, so this asks no server. */
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

/* ", (SELECT max(...) ...)": NULL for an empty table, which GREATEST passes over. */
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
    const struct ems_synapse_sequence *k = NULL;
    int rc = EMS_OK;

    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++)
        if (strcmp(ems_synapse_sequences[i].name, sequence) == 0)
            k = &ems_synapse_sequences[i];
    *found = k != NULL;
    if (k == NULL)
        return EMS_OK;
    for (size_t i = 0; i < EMS_SYNAPSE_SOURCES && k->sources[i].table != NULL && rc == EMS_OK;
         i++) {
        const char *table = k->sources[i].table, *column = k->sources[i].column;

        if (!has_column(plan, table, column))
            continue;
        if (k->sort == EMS_SEQUENCE_LOCALPART)
            rc = ems_buf_append(sql, max_user, sizeof max_user - 1, err);
        else
            rc = add_maximum(table, column, k->sort == EMS_SEQUENCE_DOWN, sql, err);
    }
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

/*
 * setval(sequence, greatest, true): the next one given out is one more (PostgreSQL documentation,
 * 9.17). A maximum of 0 leaves the sequence as it was made, because 0 is below its minimum.
 * `row` of the list: sequence, and the table and column that it belongs to, if any; and its name
 * as a text constant.
 */
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
