/* ems-join - prove that a set of parts is whole, and write the assembled file. */
#include "cli.h"

#include <string.h>

static const struct cli_tool tool = {
    .name = "ems-join",
    .synopsis = "[OPTION]... PATH...",
    .purpose = "Put the parts that split(1) made together again. PATH is the artifact's name\n"
               "without .part-*, one or several of its parts, or a directory that holds one\n"
               "artifact. Without -o the file gets the artifact's name, in the current directory.\n"
               "It appears only when it is complete.",
    .groups = CLI_OUTPUT,
    .min_paths = 1,
    .max_paths = -1,
};

/* Every byte of the parts to the sink; EMS_END. Takes over parts. */
static int copy(struct cli *cli, struct ems_source *parts, struct ems_sink *sink,
                struct ems_error *err)
{
    struct ems_span span;
    int rc;

    if (parts == NULL)
        return err->code;
    while ((rc = ems_source_next(parts, &span, err)) == EMS_OK) {
        atomic_fetch_add(&cli->bytes_done, span.size);
        rc = ems_sink_write(sink, span.data, span.size, err);
        if (rc == EMS_OK)
            rc = cli_tick(cli, err);
        if (rc != EMS_OK)
            break;
    }
    ems_source_free(parts);
    return rc;
}

/* Parts to sink, with the verdict of the set's own ends, and of the manifest where there is one. */
static int write_joined(struct cli *cli, struct ems_artifact *artifact, struct ems_sink *sink,
                        struct ems_error *err)
{
    const struct ems_part_set *set = artifact->set;
    struct ems_findings *findings = &cli->report.findings;
    size_t first = findings->count;
    struct ems_set_digests digests;
    int rc = ems_set_digests_init(&digests, set, 0, err);

    if (rc != EMS_OK)
        return rc;
    cli_progress(cli, set->name, "joining", set->size);
    rc = copy(cli,
              cli->manifest != NULL ? ems_digest_open(set, &digests, false, err)
                                    : ems_parts_open(set, err),
              sink, err);
    artifact->error = EMS_OK;
    if (rc == EMS_END && cli->manifest != NULL &&
        !ems_artifact_match_read(artifact, cli->manifest, &digests, first, findings))
        rc = EMS_MANIFEST_DIGEST; /* said already */
    else if (rc == EMS_END)
        rc = ems_sink_commit(sink, err);
    ems_set_digests_release(&digests);
    return rc;
}

static void join(struct cli *cli, const struct ems_part_set *set)
{
    const char *path = cli->output != NULL ? cli->output : set->name;
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct ems_error err = {0};
    struct ems_sink *sink = NULL;
    int rc;

    if (artifact == NULL || (artifact->name = strdup(set->name)) == NULL) {
        cli->report.findings.out_of_memory = true;
        return;
    }
    artifact->set = set;
    artifact->kind = ems_kind_of_name(set->name);
    artifact->verdict = EMS_VERDICT_INCOMPLETE;
    artifact->error = EMS_PART_MISSING;
    if (!set->whole) /* the findings are there already */
        return;
    if (set->expected > 0 && set->expected != set->size) {
        ems_fail(&err, set->size < set->expected ? EMS_PGP_TRUNCATED : EMS_PGP_TRAILING,
                 "the message states %llu bytes, the file has %llu",
                 (unsigned long long)set->expected, (unsigned long long)set->size);
        err.origin = set->size;
        ems_artifact_fail(artifact, &err, &cli->report.findings);
        return;
    }
    sink = cli_open_output(cli, path, &err);
    rc = sink != NULL ? write_joined(cli, artifact, sink, &err) : err.code;
    ems_sink_free(sink);
    if (rc != EMS_OK && err.code != EMS_OK)
        ems_artifact_fail(artifact, &err, &cli->report.findings);
    if (rc != EMS_OK)
        return;
    artifact->verdict = EMS_VERDICT_VERIFIED;
    artifact->bytes_in = artifact->bytes_out = set->size;
    if (set->tail_open && !artifact->in_manifest) /* here nobody decrypts it, which would tell */
        ems_findings_add(&cli->report.findings, EMS_PART_MISSING, EMS_SEVERITY_WARNING, set->name,
                         NULL, EMS_NOWHERE,
                         "Check the file with ems-check, which reads it to its end.",
                         "the last part, %s, is as large as the others: there may be more behind "
                         "it",
                         set->parts[set->count - 1].name);
}

int main(int argc, char **argv)
{
    struct ems_upload upload = {0};
    const struct ems_part_set *set;
    struct cli cli;
    int status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    status = cli_take_stdout(&cli);
    if (status != 0)
        return status;
    set = cli_one_artifact(&cli, &upload, "join", &status);
    if (set != NULL)
        join(&cli, set);
    if (status == 0)
        status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
