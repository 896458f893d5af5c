/* server.c - see server.h */
#include "server.h"

#include <string.h>

static struct ems_staging_options staging_options(const struct cli *cli)
{
    return (struct ems_staging_options){
        .conninfo = cli->dsn, .embedded = cli->embedded, .jobs = cli->jobs};
}

void server_close(struct server *server)
{
    ems_staging_close(server->staging);
    ems_ahead_free(server->ahead);
}

void server_restore(struct cli *cli, struct ems_artifact *artifact, struct ems_source *stream,
                    struct ems_plan *plan, struct ems_verify *verify, struct server *server)
{
    struct ems_ingest_options options = {
        .check = cli_check_options(cli),
        .server = staging_options(cli),
        .ahead = server->ahead,
        .database = cli->database,
        .server_name = cli->server_name,
        .schema_from = cli->schema_from,
        .replace = cli->force,
        .repair_sequences = cli->repair_sequences,
        .truncate_one_time_keys = cli->truncate_one_time_keys,
        .keep_failed = cli->keep_failed,
        .resume = cli->resume,
        .verify = verify,
        .plan = plan,
    };

    /* The rows of an SQLite homeserver are longer as COPY text than in the file: no total. */
    cli_progress(cli, artifact->name, "restoring",
                 artifact->set != NULL && artifact->database == NULL ? artifact->set->size : 0);
    if (ems_ingest_artifact(artifact, stream, &options, &server->staging, &cli->report.findings) ==
            EMS_OK &&
        artifact->staged != NULL && cli->epilogue == NULL)
        cli->epilogue = strdup(ems_staging_howto(server->staging, artifact->staged));
}

bool server_answers(struct cli *cli)
{
    const struct ems_staging_options options = staging_options(cli);
    struct ems_staging *staging = NULL;
    struct ems_error err = {0};
    bool exists = false;

    if (options.embedded != NULL)
        return true;
    if (ems_staging_open(&options, &staging, &err) == EMS_OK && cli->database != NULL &&
        !cli->force && ems_staging_exists(staging, cli->database, &exists, &err) == EMS_OK &&
        exists)
        ems_fail(&err, EMS_RESTORE_EXISTS, "database %s exists already", cli->database);
    ems_staging_close(staging);
    if (err.code != EMS_OK)
        cli_fail(cli, &err);
    return err.code == EMS_OK;
}

/* What the first pass leaves for the second. */
struct first_pass {
    struct cli *cli;
    struct server *server;
    struct ems_plan plan;
    bool wants_verify;
    struct ems_verify *verify;
    struct ems_error failure; /* of making it */
    struct ems_check_options options;
};

/*
 * An ems_check_options watch: the first pass tells the second what will be made of each table. And
 * with its first statement a dump has been decrypted and recognised: by the time that it is proven
 * an embedded server can be up.
 */
static int plan_ahead(void *context, const struct ems_sql_event *event, struct ems_error *err)
{
    struct first_pass *p = context;
    const struct ems_staging_options options = staging_options(p->cli);
    int rc;

    if (options.embedded != NULL && p->server->staging == NULL && p->server->ahead == NULL)
        p->server->ahead = ems_ahead_begin(&options);
    rc = ems_plan_observe(&p->plan, event, err);
    return rc == EMS_OK && p->verify != NULL ? ems_verify_observe(p->verify, event, err) : rc;
}

/* Its watch_again: what was left is of other bytes than those that will be restored. */
static void forget(void *context)
{
    struct first_pass *p = context;

    ems_plan_release(&p->plan);
    ems_bookmarks_free(p->options.bookmarks);
    p->options.bookmarks = ems_bookmarks_new();
    p->plan = (struct ems_plan){.bookmarks = p->options.bookmarks};
    ems_verify_free(p->verify);
    p->verify = p->wants_verify ? ems_verify_new(&p->failure) : NULL;
}

void server_check_and_restore(struct cli *cli, struct ems_part_set *set, enum server_job job,
                              struct server *server)
{
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct first_pass p = {.cli = cli,
                           .server = server,
                           .wants_verify = cli->verify,
                           .options = cli_check_options(cli)};

    if (job != SERVER_CHECK) {
        p.options.watch = plan_ahead;
        p.options.watch_again = forget;
        p.options.watch_context = &p;
        p.options.keep_database = true;
        forget(&p);
    }
    cli_progress(cli, set->name, "checking", set->size);
    if (artifact == NULL ||
        ems_artifact_prove(artifact, set, &p.options, &cli->report.findings) != EMS_OK) {
        cli->report.findings.out_of_memory = true;
        goto out;
    }
    if (job == SERVER_CHECK)
        goto out;
    if (p.wants_verify && p.verify == NULL) {
        cli_fail(cli, &p.failure);
        goto out;
    }
    if (artifact->verdict == EMS_VERDICT_VERIFIED &&
        (artifact->is_sql || artifact->database != NULL))
        server_restore(cli, artifact, NULL, &p.plan, p.verify, server);
    else if (job == SERVER_DEMAND && artifact->error == EMS_OK)
        ems_findings_add(
            &cli->report.findings, EMS_SQL_REFUSED, EMS_SEVERITY_ERROR, artifact->name, NULL,
            EMS_NOWHERE, "Name the database export.",
            "%s is neither an SQL dump nor an SQLite homeserver, so there is nothing to "
            "restore",
            artifact->name);
out:
    ems_plan_release(&p.plan);
    ems_verify_free(p.verify);
    ems_bookmarks_free(p.options.bookmarks);
}

void server_check_and_restore_stream(struct cli *cli, struct ems_source *stream, const char *name,
                                     struct server *server)
{
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct ems_check_options options = cli_check_options(cli);

    options.keep_database = true;
    cli_progress(cli, name, "checking", 0);
    if (artifact == NULL) {
        ems_source_free(stream);
        cli->report.findings.out_of_memory = true;
        return;
    }
    if (ems_artifact_check(artifact, NULL, stream, name, &options, &cli->report.findings) != EMS_OK)
        cli->report.findings.out_of_memory = true;
    else if (artifact->verdict == EMS_VERDICT_VERIFIED && artifact->database != NULL)
        server_restore(cli, artifact, NULL, NULL, NULL, server);
    else if (artifact->error == EMS_OK)
        ems_findings_add(&cli->report.findings, EMS_SQL_REFUSED, EMS_SEVERITY_ERROR, artifact->name,
                         NULL, EMS_NOWHERE, "Leave out --schema-from for a dump.",
                         "%s is no SQLite homeserver", artifact->name);
}
