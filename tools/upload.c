/*
 * upload.c - from the paths of the command line to what the library works on: the sets of parts,
 * the manifest beside them, the order of the work, the options of a check; see cli.h
 */
#include "cli.h"

#include "manifest.h"
#include "upload_check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool cli_resolve(struct cli *cli, struct ems_upload *upload)
{
    struct ems_error err = {0};

    if (ems_upload_resolve(upload, cli->paths, cli->path_count, &cli->report.findings, &err) ==
        EMS_OK)
        return true;
    cli_fail(cli, &err);
    return false;
}

void cli_load_manifest(struct cli *cli, struct ems_upload *upload)
{
    const struct ems_digest_options digest = {.tick = cli_tick, .tick_context = cli};
    const struct ems_part_set *set = ems_manifest_of_upload(upload);
    struct ems_error err = {0};

    if (set == NULL)
        return;
    if (ems_manifest_read(&cli->manifest, ems_parts_open(set, &err), set->name,
                          &cli->report.findings, &err) != EMS_OK)
        ems_findings_add(&cli->report.findings, err.code, EMS_SEVERITY_ERROR, set->name, set->name,
                         EMS_NOWHERE, NULL, "%s", err.text);
    else if (ems_manifest_settle(cli->manifest, upload, &digest, &cli->report.findings, &err) !=
             EMS_OK)
        cli_fail(cli, &err);
}

struct ems_part_set *cli_one_artifact(struct cli *cli, struct ems_upload *upload, const char *verb,
                                      int *status)
{
    struct ems_part_set *only = NULL;
    size_t count = 0;

    *status = 0;
    if (!cli_resolve(cli, upload))
        return NULL;
    for (size_t i = 0; i < upload->count; i++) {
        if (ems_manifest_is_name(upload->sets[i].name) && upload->count > 1)
            continue;
        only = &upload->sets[i];
        count++;
    }
    if (count > 1 || (count == 0 && cli->report.findings.count == 0))
        *status = cli_usage(cli, "%zu artifacts are named: %s one at a time", count, verb);
    if (count != 1)
        return NULL;
    cli_load_manifest(cli, upload);
    return only;
}

void cli_end_manifest(struct cli *cli)
{
    if (cli->manifest != NULL)
        ems_manifest_match_end(cli->manifest, &cli->report.findings);
}

struct ems_part_set *cli_set_in_order(const struct ems_upload *upload, size_t i)
{
    for (int databases = 1; databases >= 0; databases--) {
        for (size_t k = 0; k < upload->count; k++) {
            enum ems_kind kind = ems_kind_of_name(upload->sets[k].name);

            if ((kind == EMS_KIND_PG_DUMP || kind == EMS_KIND_SQLITE) == (databases == 1) &&
                i-- == 0)
                return &upload->sets[k];
        }
    }
    return NULL;
}

/* Of the first database that was read. */
static const struct ems_media_rows *media_rows(const struct cli *cli)
{
    for (size_t i = 0; i < cli->report.count; i++)
        if (cli->report.artifacts[i].synapse.media != NULL)
            return cli->report.artifacts[i].synapse.media;
    return NULL;
}

void cli_check_together(struct cli *cli)
{
    struct ems_upload_check_options options = {.server_name = cli->server_name};
    struct stat st;

    for (size_t i = 0; i < cli->path_count; i++)
        options.whole |= stat(cli->paths[i], &st) == 0 && S_ISDIR(st.st_mode);
    ems_upload_check(&cli->report, &options);
}

struct ems_check_options cli_check_options(struct cli *cli)
{
    return (struct ems_check_options){.secrets = cli->secrets,
                                      .allow_no_integrity = cli->allow_no_integrity,
                                      .recipient = cli->recipient,
                                      .recipient_only =
                                          cli->recipient != NULL && cli->secret_key_count == 0 &&
                                          cli->passphrase_file == NULL && cli->passphrase_fd < 0,
                                      .no_threads = sysconf(_SC_NPROCESSORS_ONLN) < 2,
                                      .manifest = cli->manifest,
                                      .temporary = getenv("TMPDIR"),
                                      .media_rows = media_rows(cli),
                                      .max_media_bytes = cli->max_media,
                                      .thorough = cli->thorough,
                                      .bytes_in = &cli->bytes_done,
                                      .tick = cli_tick,
                                      .tick_context = cli};
}
