/* server.c - see server.h */
#include "server.h"

#include <string.h>

void server_restore(struct cli *cli, struct ems_artifact *artifact, struct ems_source *stream,
                    struct ems_plan *plan, struct ems_staging **staging)
{
    struct ems_ingest_options options = {
        .check = cli_check_options(cli),
        .server = {.conninfo = cli->dsn, .embedded = cli->embedded, .jobs = cli->jobs},
        .database = cli->database,
        .server_name = cli->server_name,
        .schema_from = cli->schema_from,
        .replace = cli->force,
        .plan = plan,
    };

    cli_progress(cli, artifact->name, "restoring", artifact->set != NULL ? artifact->set->size : 0);
    if (ems_ingest_artifact(artifact, stream, &options, staging, &cli->report.findings) == EMS_OK &&
        artifact->staged != NULL && cli->epilogue == NULL)
        cli->epilogue = strdup(ems_staging_howto(*staging, artifact->staged));
}

/* An ems_check_options watch: the first pass tells the second what will be made of each table. */
static int plan_ahead(void *plan, const struct ems_sql_event *event, struct ems_error *err)
{
    return ems_plan_observe(plan, event, err);
}

void server_check_and_restore(struct cli *cli, const struct ems_part_set *set, bool only_dumps,
                              struct ems_staging **staging)
{
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct ems_check_options options = cli_check_options(cli);
    struct ems_plan plan = {.bookmarks = ems_bookmarks_new()};
    struct ems_bookmarks *bookmarks = plan.bookmarks;

    options.watch = plan_ahead;
    options.watch_context = &plan;
    options.bookmarks = bookmarks;
    options.keep_database = true;
    cli_progress(cli, set->name, "checking", set->size);
    if (artifact == NULL ||
        ems_artifact_check(artifact, set, NULL, NULL, &options, &cli->report.findings) != EMS_OK) {
        cli->report.findings.out_of_memory = true;
        goto out;
    }
    if (artifact->verdict == EMS_VERDICT_VERIFIED &&
        (artifact->is_sql || artifact->database != NULL))
        server_restore(cli, artifact, NULL, &plan, staging);
    else if (only_dumps && artifact->error == EMS_OK)
        ems_findings_add(
            &cli->report.findings, EMS_SQL_REFUSED, EMS_SEVERITY_ERROR, artifact->name, NULL,
            EMS_NOWHERE, "Name the database export.",
            "%s is neither an SQL dump nor an SQLite homeserver, so there is nothing to "
            "restore",
            artifact->name);
out:
    ems_plan_release(&plan);
    ems_bookmarks_free(bookmarks);
}
