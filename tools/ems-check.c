/* ems-check - verify an upload as far as that goes without a server. */
#include "cli.h"

static const struct cli_tool tool = {
    .name = "ems-check",
    .synopsis = "[OPTION]... PATH...",
    .purpose = "Verify an upload for an EMS import: parts, encryption, compression and content.\n"
               "PATH is an artifact (whole or split), one of its parts, or a directory.\n"
               "- reads standard input. Nothing is written.",
    .groups = CLI_SECRETS | CLI_NAME | CLI_RECIPIENT | CLI_MEDIA,
    .min_paths = 1,
    .max_paths = -1,
};

/* A set, or a stream of this name. */
static bool check_one(struct cli *cli, struct ems_part_set *set, struct ems_source *stream,
                      const char *name)
{
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct ems_check_options options = cli_check_options(cli);
    struct ems_findings *findings = &cli->report.findings;
    int rc = EMS_NO_MEMORY;

    cli_progress(cli, name, "checking", set != NULL ? set->size : 0);
    if (artifact != NULL && set != NULL)
        rc = ems_artifact_prove(artifact, set, &options, findings);
    else if (artifact != NULL)
        rc = ems_artifact_check(artifact, NULL, stream, name, &options, findings);
    findings->out_of_memory |= rc != EMS_OK;
    return rc == EMS_OK;
}

int main(int argc, char **argv)
{
    struct ems_part_set *set;
    struct ems_upload upload = {0};
    struct ems_error err = {0};
    struct cli cli;
    const char *name;
    int fd, status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    if (cli_load_secrets(&cli) == 0) {
        if (cli_is_stream(&cli, &fd, &name)) {
            struct ems_source *stream = cli_open_stream(fd, name, &err);

            if (stream == NULL)
                cli_fail(&cli, &err);
            else
                check_one(&cli, NULL, stream, name);
        } else if (cli_resolve(&cli, &upload)) {
            cli_load_manifest(&cli, &upload);
            for (size_t i = 0; (set = cli_set_in_order(&upload, i)) != NULL; i++)
                if (!check_one(&cli, set, NULL, set->name))
                    break;
            cli_end_manifest(&cli);
            cli_check_together(&cli);
        }
    }
    status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
