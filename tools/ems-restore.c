/* ems-restore - restore an SQL dump or an SQLite homeserver into a staging PostgreSQL. */
#include "server.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_tool tool = {
    .name = "ems-restore",
    .synopsis = "[OPTION]... PATH",
    .purpose =
        "Restore the database export of an upload into a staging PostgreSQL. PATH is the\n"
        "artifact (whole or split), one of its parts, a directory that holds it, or - for\n"
        "standard input. A file is proven in a first pass and restored in a second. An SQLite\n"
        "homeserver needs --schema-from. The database gets its name only when everything is\n"
        "proven.",
    .groups = CLI_SECRETS | CLI_SERVER | CLI_NAME,
    .min_paths = 1,
    .max_paths = -1,
};

/* A pipe does not show first what is in it: --schema-from says that it is an SQLite homeserver. */
static void restore_stream(struct cli *cli, int fd, const char *name, struct server *server)
{
    struct ems_error err = {0};
    struct ems_source *stream = cli_open_stream(fd, name, &err);
    struct ems_artifact *artifact;
    struct ems_verify *verify = NULL;

    if (stream == NULL) {
        cli_fail(cli, &err);
        return;
    }
    if (cli->schema_from != NULL) {
        server_check_and_restore_stream(cli, stream, name, server);
        return;
    }
    artifact = ems_report_add(&cli->report);
    if (artifact == NULL || (artifact->name = strdup(name)) == NULL) {
        cli->report.findings.out_of_memory = true;
        ems_source_free(stream);
        return;
    }
    artifact->verdict = EMS_VERDICT_UNCHECKED;
    if (cli->verify && (verify = ems_verify_new(&err)) == NULL) {
        cli_fail(cli, &err);
        ems_source_free(stream);
        return;
    }
    server_restore(cli, artifact, stream, NULL, verify, server);
    ems_verify_free(verify);
}

/* The database among the artifacts that were named: by its name if there are several. */
static struct ems_part_set *choose(const struct ems_upload *upload, size_t *databases)
{
    struct ems_part_set *chosen = upload->count == 1 ? &upload->sets[0] : NULL;

    *databases = upload->count == 1;
    for (size_t i = 0; i < upload->count && upload->count > 1; i++) {
        enum ems_kind kind = ems_kind_of_name(upload->sets[i].name);

        if (kind == EMS_KIND_PG_DUMP || kind == EMS_KIND_SQLITE) {
            chosen = &upload->sets[i];
            ++*databases;
        }
    }
    return chosen;
}

/* -1, or the status after a wrong use. */
static int restore_upload(struct cli *cli, struct ems_upload *upload, struct server *server)
{
    size_t databases;
    struct ems_part_set *set = choose(upload, &databases);

    if (databases != 1 && cli->report.findings.count == 0)
        return cli_usage(cli, "%zu database exports are named: restore one at a time", databases);
    if (databases == 1 && ems_kind_of_name(set->name) == EMS_KIND_SQLITE &&
        cli->schema_from == NULL)
        return cli_usage(cli, "an SQLite homeserver needs --schema-from");
    if (databases == 1 && !server_answers(cli))
        return -1;
    cli_load_manifest(cli, upload);
    if (databases == 1)
        server_check_and_restore(cli, set, SERVER_DEMAND, server);
    return -1;
}

int main(int argc, char **argv)
{
    struct server server = {0};
    struct ems_upload upload = {0};
    struct cli cli;
    const char *name;
    int fd, wrong = -1, status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    if (cli_load_secrets(&cli) == 0) {
        if (cli_is_stream(&cli, &fd, &name))
            restore_stream(&cli, fd, name, &server);
        else if (cli_resolve(&cli, &upload))
            wrong = restore_upload(&cli, &upload, &server);
    }
    server_close(&server);
    if (wrong < 0)
        status = cli_finish(&cli);
    else
        cli_release(&cli);
    ems_upload_release(&upload);
    return wrong < 0 ? status : wrong;
}
