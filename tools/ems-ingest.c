/* ems-ingest - the whole upload: check everything, restore the database, one report. */
#include "server.h"

static const struct cli_tool tool = {
    .name = "ems-ingest",
    .synopsis = "[OPTION]... UPLOAD_DIR",
    .purpose = "Check every artifact of an upload, restore its database export into a staging\n"
               "PostgreSQL, and report on all of it. A bad artifact does not hide the others.",
    .groups = CLI_SECRETS | CLI_SERVER | CLI_NAME | CLI_MEDIA,
    .min_paths = 1,
    .max_paths = -1,
};

static const struct ems_part_set *find(const struct ems_upload *upload, enum ems_kind kind)
{
    for (size_t i = 0; i < upload->count; i++)
        if (ems_kind_of_name(upload->sets[i].name) == kind)
            return &upload->sets[i];
    return NULL;
}

/* A homeserver has one database. Where a customer has sent an old SQLite file beside the dump, the
 * dump is it; whoever wants the file says so by giving it a schema. */
static enum server_job choose_job(struct cli *cli, const struct ems_upload *upload,
                                  const struct ems_part_set *set)
{
    const bool sqlite = cli->schema_from != NULL;
    const enum ems_kind passed = sqlite ? EMS_KIND_PG_DUMP : EMS_KIND_SQLITE;
    const struct ems_part_set *other = find(upload, sqlite ? EMS_KIND_SQLITE : EMS_KIND_PG_DUMP);

    if (other == NULL || ems_kind_of_name(set->name) != passed)
        return SERVER_RESTORE;
    ems_findings_add(
        &cli->report.findings, EMS_RESTORE_FAILED, EMS_SEVERITY_WARNING, set->name, NULL,
        EMS_NOWHERE,
        sqlite ? "Without --schema-from the dump is restored."
               : "With --schema-from the SQLite homeserver is restored.",
        "only checked, not restored: the upload holds %s too, and a homeserver has one "
        "database",
        other->name);
    return SERVER_CHECK;
}

int main(int argc, char **argv)
{
    struct ems_part_set *set;
    struct server server = {0};
    struct ems_upload upload = {0};
    struct cli cli;
    int status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    if (cli_load_secrets(&cli) == 0 && cli_resolve(&cli, &upload)) {
        cli_load_manifest(&cli, &upload);
        for (size_t i = 0;
             (set = cli_set_in_order(&upload, i)) != NULL && !cli.report.findings.out_of_memory;
             i++)
            server_check_and_restore(&cli, set, choose_job(&cli, &upload, set), &server);
        cli_end_manifest(&cli);
        cli_check_together(&cli);
    }
    server_close(&server);
    status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
