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
            server_check_and_restore(&cli, set, false, &server);
        cli_end_manifest(&cli);
        cli_check_together(&cli);
    }
    server_close(&server);
    status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
