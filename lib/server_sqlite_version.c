/*
 * server_sqlite_version.c - see server_sqlite_version.h
 *
 * A schema version is a range of releases, and each of them may have added files of changes
 * ("deltas") to it: 94 grew from 1.151 to 1.160. Tables that differ by such a file would mostly be
 * noticed by their columns; what a file did to the rows would not. So the files are compared too,
 * by name. Those that are for one kind of database only end in .sqlite or .postgres and have no
 * counterpart; and a database that was made by a newer Synapse starts from a snapshot and lacks the
 * oldest ones, so only versions are looked at that both sides have files of, from the second on.
 */
#include "server_sqlite_version.h"

#include "bytes.h"
#include "server_pq.h"
#include "server_schema.h"
#include "server_sqlite_plan.h"
#include "synapse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char advice[] = "Name a dump or a database of a Synapse of the same release with "
                             "--schema-from.";

/* One number of one row. EMS_OK; *there false if there is no such row. */
static int ask_target(PGconn *conn, const char *sql, long *number, bool *there,
                      struct ems_error *err)
{
    PGresult *answer;
    int rc = ems_pq_query(conn, "ask for the schema version", sql, 0, NULL, &answer, err);

    *there = rc == EMS_OK && PQntuples(answer) == 1 && !PQgetisnull(answer, 0, 0);
    *number = *there ? strtol(PQgetvalue(answer, 0, 0), NULL, 10) : 0;
    PQclear(answer);
    return rc;
}

static int ask_source(sqlite3 *db, const char *sql, long *number, struct ems_error *err)
{
    sqlite3_stmt *statement = NULL;
    int step = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (step == SQLITE_OK)
        step = sqlite3_step(statement);
    *number = step == SQLITE_ROW ? (long)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return step == SQLITE_ROW || step == SQLITE_DONE ? EMS_OK : ems_sqlite_fail(db, step, err);
}

/* 94: "1.151-1.160" */
static const char *releases(long version)
{
    const char *names = version > 0 ? ems_synapse_releases((uint32_t)version) : NULL;

    return names != NULL ? names : "of a release that is not known";
}

/* Read as the row stands there, not as the check has remembered it: both sides in one way. */
static int compare_version(sqlite3 *db, PGconn *conn, const char *name, const char *artifact,
                           struct ems_findings *findings, struct ems_error *err)
{
    static const char sql[] = "SELECT version FROM public.schema_version";
    long source, target;
    bool there;
    int rc = ask_source(db, "SELECT version FROM schema_version", &source, err);

    if (rc != EMS_OK)
        return rc;
    rc = ask_target(conn,
                    "SELECT 1 WHERE pg_catalog.to_regclass('public.schema_version') IS NOT "
                    "NULL",
                    &target, &there, err);
    if (rc == EMS_OK && there)
        rc = ask_target(conn, sql, &target, &there, err);
    if (rc != EMS_OK)
        return rc;
    if (!there)
        return ems_schema_fail(
            err, "%s: no row of schema_version in it, so it is no dump of a Synapse", name);
    if (source == target)
        return EMS_OK;
    ems_findings_add(findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_ERROR, artifact, NULL, EMS_NOWHERE,
                     advice,
                     "the database has schema version %ld (Synapse %s), the schema of %s has %ld "
                     "(Synapse %s)",
                     source, releases(source), name, target, releases(target));
    return ems_fail(err, EMS_SYNAPSE_SCHEMA, "schema version %ld is not %ld", source, target);
}

/* ---- the files of changes ---- */

struct files {
    char **names; /* sorted */
    size_t count, capacity;
};

/* A hundred or two. */
static int add_file(struct files *list, const char *name, struct ems_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 256;
        char **names = realloc(list->names, capacity * sizeof *names);

        if (names == NULL)
            return ems_fail_memory(err);
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count] = strdup(name);
    if (list->names[list->count] == NULL)
        return ems_fail_memory(err);
    list->count++;
    return EMS_OK;
}

static void release_files(struct files *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

/* In both: common to both kinds of database, and of versions above %ld. */
#define COMMON                                                                                     \
    "SELECT file FROM %sapplied_schema_deltas WHERE version > %ld AND file NOT LIKE '%%.sqlite' "  \
    "AND file NOT LIKE '%%.postgres' ORDER BY file"

static int read_source_files(sqlite3 *db, long above, struct files *list, struct ems_error *err)
{
    sqlite3_stmt *statement = NULL;
    char sql[300];
    int step, rc = EMS_OK;

    snprintf(sql, sizeof sql, COMMON, "", above);
    step = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (step == SQLITE_OK && rc == EMS_OK && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        rc = name != NULL ? add_file(list, name, err) : EMS_OK;
        step = SQLITE_OK;
    }
    if (rc == EMS_OK && step != SQLITE_DONE && step != SQLITE_OK)
        rc = ems_sqlite_fail(db, step, err);
    sqlite3_finalize(statement);
    return rc;
}

static int read_target_files(PGconn *conn, long above, struct files *list, struct ems_error *err)
{
    PGresult *answer;
    char sql[300];
    int rc;

    snprintf(sql, sizeof sql, COMMON, "public.", above);
    rc = ems_pq_query(conn, "ask for the changes of the schema", sql, 0, NULL, &answer, err);
    for (int i = 0; rc == EMS_OK && i < PQntuples(answer); i++)
        rc = add_file(list, PQgetvalue(answer, i, 0), err);
    PQclear(answer);
    return rc;
}

/* How many names only `a` has, and the first of them. Both sides sort by byte value: the target's
 * database has locale C, SQLite compares so by itself. */
static size_t only_in(const struct files *a, const struct files *b, const char **first)
{
    size_t only = 0, k = 0;

    *first = NULL;
    for (size_t i = 0; i < a->count; i++) {
        while (k < b->count && strcmp(b->names[k], a->names[i]) < 0)
            k++;
        if (k < b->count && strcmp(b->names[k], a->names[i]) == 0)
            continue;
        if (only++ == 0)
            *first = a->names[i];
    }
    return only;
}

/* `first` of either side is named as an example; both counts are told. */
static int compare_files(sqlite3 *db, PGconn *conn, const char *name, const char *artifact,
                         struct ems_findings *findings, struct ems_error *err)
{
    static const char lowest[] = "SELECT coalesce(min(version), 0) FROM %sapplied_schema_deltas";
    struct files source = {0}, target = {0};
    size_t missing, more;
    const char *first, *last;
    long source_low, target_low;
    char sql[120], shown[120];
    bool there;
    int rc;

    snprintf(sql, sizeof sql, lowest, "");
    rc = ask_source(db, sql, &source_low, err);
    snprintf(sql, sizeof sql, lowest, "public.");
    if (rc == EMS_OK)
        rc = ask_target(conn, sql, &target_low, &there, err);
    if (rc == EMS_OK && source_low < target_low)
        source_low = target_low;
    if (rc == EMS_OK)
        rc = read_source_files(db, source_low, &source, err);
    if (rc == EMS_OK)
        rc = read_target_files(conn, source_low, &target, err);
    if (rc == EMS_OK) {
        missing = only_in(&target, &source, &first);
        more = only_in(&source, &target, &last);
        first = first != NULL ? first : last;
        if (missing + more > 0) {
            ems_printable(first, strlen(first), shown, sizeof shown);
            ems_findings_add(findings, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_ERROR, artifact, NULL,
                             EMS_NOWHERE, advice,
                             "the schema version is the same, but the schema of %s has %zu changes "
                             "that the database has not, and the database %zu that the schema has "
                             "not, such as %s: they are of different releases",
                             name, missing, more, shown);
            rc = ems_fail(err, EMS_SYNAPSE_SCHEMA, "the changes of the schema differ");
        }
    }
    release_files(&source);
    release_files(&target);
    return rc;
}

int ems_sqlite_compare_versions(sqlite3 *db, PGconn *conn, const char *name, const char *artifact,
                                struct ems_findings *findings, struct ems_error *err)
{
    int rc = compare_version(db, conn, name, artifact, findings, err);

    return rc == EMS_OK ? compare_files(db, conn, name, artifact, findings, err) : rc;
}
