/* server_ingest.c - see server_ingest.h */
#include "server_ingest.h"

#include "server_journal.h"
#include "server_load.h"
#include "server_session.h"
#include "server_sqlite.h"
#include "server_synapse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the restore shows to the facts as its events go by. */
struct watcher {
    struct ems_artifact *artifact;
    const struct ems_check_options *check;
    bool collect;              /* the artifact was not read before: its facts are collected now */
    struct ems_verify *verify; /* NULL: wants nothing of this reading */
};

static int tick(void *context, struct ems_error *err)
{
    const struct watcher *w = context;

    return w->check->tick != NULL ? w->check->tick(w->check->tick_context, err) : EMS_OK;
}

static int watch(void *context, const struct ems_sql_event *event, struct ems_error *err)
{
    struct watcher *w = context;
    int rc = EMS_OK;

    if (w->collect)
        rc = ems_synapse_observe(&w->artifact->synapse, event, err);
    if (rc == EMS_OK && w->verify != NULL)
        rc = ems_verify_observe(w->verify, event, err);
    return rc == EMS_OK ? tick(w, err) : rc;
}

/* The name the database gets: asked for, or after the homeserver. False: nothing to name it by. */
static bool choose_name(const struct ems_ingest_options *o, const struct ems_artifact *artifact,
                        char name[64])
{
    const char *server = o->server_name != NULL ? o->server_name : artifact->synapse.server_name;

    if (o->database != NULL)
        snprintf(name, 64, "%s", o->database);
    else if (server[0] != '\0')
        ems_staging_name(server, name);
    else
        return false;
    return true;
}

/* Can the dump be restored from what the first pass wrote down? */
static bool has_program(const struct ems_artifact *artifact, const struct ems_ingest_options *o)
{
    return o->plan != NULL && artifact->is_sql && ems_plan_is_program(o->plan, &artifact->sql);
}

/* A dump that is loaded table by table from the plan of its first pass can be resumed, any other
 * one is begun anew. `identity` is empty if this one can not. */
static int make_database(const struct ems_artifact *artifact, const struct ems_ingest_options *o,
                         struct ems_staging *staging, const char *name, char *identity,
                         bool *resumed, struct ems_error *err)
{
    int rc = EMS_OK;

    identity[0] = '\0';
    *resumed = false;
    if (has_program(artifact, o))
        rc = ems_journal_identity(o->plan, identity, err);
    if (rc == EMS_OK && o->resume && identity[0] != '\0')
        return ems_staging_resume(staging, name, o->replace, identity, resumed, err);
    return rc == EMS_OK ? ems_staging_create(staging, name, o->replace, err) : rc;
}

/* From what the first pass wrote down. */
static int run_load(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                    struct ems_staging *staging, const char *identity, bool resumed,
                    struct ems_error *err)
{
    struct watcher watcher = {artifact, &o->check, false, NULL};
    struct ems_restore_options restore = {.watch_context = &watcher,
                                          .tick = tick,
                                          .plan = o->plan,
                                          .jobs = o->server.jobs,
                                          .bytes_in = o->check.bytes_in,
                                          .identity = identity,
                                          .resumed = resumed};
    struct ems_restore_result result;

    return ems_load_run(staging, artifact->set, &restore, &result, err);
}

/* In one stream, from the beginning. */
static int run_restore(struct ems_artifact *artifact, struct ems_source *bottom,
                       const struct ems_ingest_options *o, struct ems_staging *staging,
                       bool collect, struct ems_error *err)
{
    struct ems_chain_options options = {.secrets = o->check.secrets,
                                        .allow_no_integrity = o->check.allow_no_integrity,
                                        .no_threads = o->check.no_threads,
                                        .bytes_in = o->check.bytes_in};
    struct watcher watcher = {artifact, &o->check, collect, collect ? o->verify : NULL};
    struct ems_restore_options restore = {.watch = watch,
                                          .watch_context = &watcher,
                                          .tick = tick,
                                          .plan = collect ? NULL : o->plan,
                                          .jobs = o->server.jobs};
    struct ems_restore_result result;
    struct ems_sqlscan *scan;
    struct ems_chain chain;
    int rc = ems_chain_open(&chain, bottom, &options, err);

    if (rc != EMS_OK)
        return rc;
    scan = ems_sqlscan_open(chain.top, err);
    if (scan == NULL) {
        chain.top = NULL;
        ems_chain_close(&chain);
        return err->code;
    }
    rc = ems_restore_run(scan, staging, &restore, &result, err);
    if (rc != EMS_OK && ems_code_exit(rc) == 1 && rc != EMS_RESTORE_FAILED)
        rc = ems_chain_settle(&chain, err);
    if (collect) {
        artifact->bytes_out = chain.top->offset;
        artifact->is_sql = true;
        artifact->kind = EMS_KIND_PG_DUMP;
        if (ems_artifact_take_facts(artifact, scan, err) != EMS_OK && rc == EMS_OK)
            rc = err->code;
        ems_artifact_take_chain(artifact, &chain);
    }
    ems_sqlscan_free(scan);
    chain.top = NULL;
    ems_chain_close(&chain);
    return rc;
}

static int read_schema(struct ems_schema *schema, const struct ems_ingest_options *o,
                       struct ems_error *err)
{
    if (o->schema_from == NULL)
        return ems_schema_fail(err, "is missing: an SQLite homeserver needs the PostgreSQL schema "
                                    "of a Synapse of its release");
    return ems_schema_read(schema, o->schema_from, &o->check, err);
}

/* What was given for the schema is ours: nobody sends anything again. */
static void fail_schema(struct ems_artifact *artifact, const struct ems_error *err,
                        struct ems_findings *findings)
{
    artifact->error = err->code;
    ems_findings_add(findings, err->code, EMS_SEVERITY_ERROR, artifact->name, NULL, EMS_NOWHERE,
                     "Name a full dump of a Synapse of the same release, or the connection string "
                     "of its database.",
                     "%s", err->text);
}

/* The name that was asked for is held against the one in the database: an upload of another server
 * must not end up under this one's name. */
static int check_name(const struct ems_artifact *artifact, const struct ems_ingest_options *o,
                      struct ems_findings *findings)
{
    const char *name = artifact->synapse.server_name;

    if (o->server_name == NULL || name[0] == '\0' || strcmp(o->server_name, name) == 0)
        return EMS_OK;
    ems_findings_add(findings, EMS_SYNAPSE_SERVER_NAME, EMS_SEVERITY_ERROR, artifact->name, NULL,
                     EMS_NOWHERE, NULL, "the database is of %s, but --server-name says %s", name,
                     o->server_name);
    return EMS_SYNAPSE_SERVER_NAME;
}

/* ---- compared with the dump ---- */

/* Another reading of the dump, for tables whose text is not the server's own. */
static int read_again(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                      struct ems_staging *staging, struct ems_error *err)
{
    struct ems_chain_options options = {.secrets = o->check.secrets,
                                        .allow_no_integrity = o->check.allow_no_integrity,
                                        .no_threads = o->check.no_threads};
    struct watcher watcher = {artifact, &o->check, false, NULL};
    struct ems_sqlscan *scan;
    struct ems_chain chain;
    int rc = ems_chain_open(&chain, ems_parts_open(artifact->set, err), &options, err);

    if (rc != EMS_OK)
        return rc;
    scan = ems_sqlscan_open(chain.top, err);
    rc = scan != NULL ? ems_verify_again(o->verify, staging, scan, tick, &watcher, err) : err->code;
    ems_sqlscan_free(scan);
    chain.top = NULL;
    ems_chain_close(&chain);
    return rc;
}

static int verify(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                  struct ems_staging *staging, struct ems_error *err)
{
    struct watcher watcher = {artifact, &o->check, false, NULL};
    const struct ems_verify_result *result;
    int rc;

    if (o->verify == NULL)
        return EMS_OK;
    rc = ems_verify_run(o->verify, staging, o->server.jobs, &artifact->sql, tick, &watcher, err);
    if (rc == EMS_OK && ems_verify_undecided(o->verify) != NULL) {
        if (artifact->set == NULL)
            return ems_fail(err, EMS_RESTORE_FAILED,
                            "verifying: the rows of %s are written otherwise than the server "
                            "writes them; whether they are the same cannot be told of a pipe: "
                            "restore from a file",
                            ems_verify_undecided(o->verify));
        rc = read_again(artifact, o, staging, err);
    }
    if (rc != EMS_OK)
        return rc;
    result = ems_verify_result(o->verify);
    artifact->compared.done = true;
    artifact->compared.tables = result->tables;
    artifact->compared.rows = result->rows;
    artifact->compared.counted = result->counted;
    artifact->compared.other_form = result->other_form;
    return EMS_OK;
}

/* Complete: from here on the database is changed on purpose (repairs), so that it must not be
 * resumed any more. In this order: a mark without a journal would be a lie. */
static int close_journal(struct ems_staging *staging, struct ems_error *err)
{
    PGconn *conn = NULL;
    int rc = ems_staging_mark(staging, NULL, err);

    if (rc == EMS_OK)
        rc = ems_session_open(staging, &conn, err);
    if (rc == EMS_OK)
        rc = ems_journal_remove(conn, err);
    PQfinish(conn);
    return rc;
}

/* ---- the end ---- */

/* The first failure is told by the caller, this is only where to find what there is. */
static void keep(struct ems_artifact *artifact, struct ems_staging *staging,
                 struct ems_findings *findings)
{
    struct ems_staging_kept kept;
    struct ems_error err = {0};
    char advice[300];

    if (ems_staging_keep(staging, &kept, &err) != EMS_OK) {
        ems_findings_add(findings, err.code, EMS_SEVERITY_WARNING, artifact->name, NULL,
                         EMS_NOWHERE, NULL, "the unfinished database could not be kept: %s",
                         err.text);
        return;
    }
    snprintf(advice, sizeof advice,
             "Look into it with psql, go on with --resume, or drop it: DROP DATABASE \"%s\"; "
             "DROP ROLE %s;",
             kept.database, kept.role);
    ems_findings_add(findings, EMS_RESTORE_FAILED, EMS_SEVERITY_NOTE, artifact->name, NULL,
                     EMS_NOWHERE, advice, "the unfinished database is kept as %s", kept.database);
    artifact->kept = strdup(kept.database);
    findings->out_of_memory |= artifact->kept == NULL;
}

/* What Synapse asks of the database; then it gets its name, or goes. */
static int publish(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                   struct ems_staging *staging, struct ems_findings *findings, int rc,
                   struct ems_error *err)
{
    struct ems_synapse_options options = {.repair_sequences = o->repair_sequences,
                                          .truncate_one_time_keys = o->truncate_one_time_keys,
                                          .tick = o->check.tick,
                                          .tick_context = o->check.tick_context};

    if (rc == EMS_OK)
        rc = check_name(artifact, o, findings);
    if (rc == EMS_OK)
        rc = ems_synapse_check_staged(artifact, staging, &options, findings, err);
    if (rc == EMS_OK)
        rc = ems_staging_publish(staging, err);
    if (rc != EMS_OK && (o->keep_failed || o->resume))
        keep(artifact, staging, findings);
    if (rc != EMS_OK)
        ems_staging_abandon(staging);
    return rc;
}

/* ---- one artifact ---- */

/* All that can be said before a server is asked for anything: the database's name, and for SQLite
 * the schema that it will be given. */
static int prepare(struct ems_artifact *artifact, bool from_pipe,
                   const struct ems_ingest_options *o, char name[64], struct ems_schema *schema,
                   struct ems_findings *findings, struct ems_error *err)
{
    int rc;

    if (!choose_name(o, artifact, name) && from_pipe)
        return ems_fail(err, EMS_RESTORE_FAILED,
                        "a dump from a pipe cannot be asked for its server name first: give "
                        "--database or --server-name");
    if (!choose_name(o, artifact, name))
        return ems_fail(err, EMS_RESTORE_FAILED,
                        "the %s names no homeserver to call the database after: give --database",
                        artifact->kind == EMS_KIND_SQLITE ? "database" : "dump");
    rc = check_name(artifact, o, findings);
    if (rc == EMS_OK && !from_pipe && artifact->kind == EMS_KIND_SQLITE)
        rc = read_schema(schema, o, err);
    return rc;
}

/* The server, and on it an unfinished database with the limits that this artifact gets. */
static int make_place(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                      struct ems_staging **staging, const char *name, char *identity, bool *resumed,
                      struct ems_error *err)
{
    int rc = EMS_OK;

    if (*staging == NULL)
        rc = o->ahead != NULL ? ems_ahead_take(o->ahead, staging, err)
                              : ems_staging_open(&o->server, staging, err);
    if (rc == EMS_OK)
        rc = make_database(artifact, o, *staging, name, identity, resumed, err);
    if (rc != EMS_OK || artifact->bytes_out == 0)
        return rc;
    rc = ems_staging_limit(*staging, artifact->bytes_out, err);
    if (rc != EMS_OK)
        ems_staging_abandon(*staging);
    return rc;
}

/* Table by table, from the plan of the first pass. */
static int fill_from_plan(struct ems_artifact *artifact, const struct ems_ingest_options *o,
                          struct ems_staging *staging, const char *identity, bool resumed,
                          struct ems_error *err)
{
    int rc = run_load(artifact, o, staging, identity, resumed, err);

    if (rc == EMS_OK)
        rc = verify(artifact, o, staging, err);
    return rc == EMS_OK ? close_journal(staging, err) : rc;
}

/* In one stream, which is taken over; NULL: from the artifact's parts, for the second time. */
static int fill_from_stream(struct ems_artifact *artifact, struct ems_source *stream,
                            const struct ems_ingest_options *o, struct ems_staging *staging,
                            struct ems_findings *findings, struct ems_error *err)
{
    const bool collect = stream != NULL;
    struct ems_source *bottom = collect ? stream : ems_parts_open(artifact->set, err);
    int rc = run_restore(artifact, bottom, o, staging, collect, err);

    if (rc == EMS_OK && collect)
        ems_artifact_judge_dump(artifact, findings);
    return rc == EMS_OK ? verify(artifact, o, staging, err) : rc;
}

static int fail_artifact(struct ems_artifact *artifact, int rc, const struct ems_error *err,
                         struct ems_findings *findings)
{
    const enum ems_verdict before = artifact->verdict;

    if (rc == EMS_SYNAPSE_SCHEMA || rc == EMS_SYNAPSE_SERVER_NAME)
        artifact->error = rc; /* told already, and no fault of the upload */
    else if (ems_schema_is_failure(err))
        fail_schema(artifact, err, findings);
    else
        ems_artifact_fail(artifact, err, findings);
    if (ems_code_exit(rc) == 75) /* the upload is as good as it was found to be */
        artifact->verdict = before;
    return rc;
}

int ems_ingest_artifact(struct ems_artifact *artifact, struct ems_source *stream,
                        const struct ems_ingest_options *o, struct ems_staging **staging,
                        struct ems_findings *findings)
{
    const bool from_pipe = stream != NULL;
    struct ems_schema schema = {0};
    struct ems_error err = {0};
    char name[64], identity[EMS_JOURNAL_IDENTITY];
    bool resumed = false;
    int rc = prepare(artifact, from_pipe, o, name, &schema, findings, &err);

    if (rc == EMS_OK)
        rc = make_place(artifact, o, staging, name, identity, &resumed, &err);
    if (rc == EMS_OK) {
        if (!from_pipe && artifact->kind == EMS_KIND_SQLITE)
            rc = ems_sqlite_restore(artifact, &schema, *staging, &o->check, findings, &err);
        else if (identity[0] != '\0')
            rc = fill_from_plan(artifact, o, *staging, identity, resumed, &err);
        else
            rc = fill_from_stream(artifact, stream, o, *staging, findings, &err);
        stream = NULL;
        rc = publish(artifact, o, *staging, findings, rc, &err);
    }
    ems_source_free(stream);
    ems_schema_release(&schema);
    if (rc != EMS_OK)
        return fail_artifact(artifact, rc, &err, findings);
    artifact->staged = strdup(name);
    artifact->verdict = EMS_VERDICT_VERIFIED;
    if (artifact->staged == NULL)
        findings->out_of_memory = true;
    return EMS_OK;
}
