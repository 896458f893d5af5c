/* ems-decrypt - take the OpenPGP layer off an artifact. */
#include "cli.h"
#include "proof.h"

#include "part_copies.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_tool tool = {
    .name = "ems-decrypt",
    .synopsis = "[OPTION]... PATH...",
    .purpose = "Decrypt an artifact, whole or split. PATH is its name without .part-*, one or\n"
               "several of its parts, or - for standard input. Without -o the file gets the\n"
               "artifact's name without .gpg, in the current directory. Files are proven in a\n"
               "first pass; the output appears only after the integrity check.",
    .groups = CLI_SECRETS | CLI_OUTPUT,
    .min_paths = 1,
    .max_paths = -1,
};

/* Where the result goes when nobody said: the name without the ending that gpg gave. */
static char *default_output(const char *name)
{
    static const char *const endings[] = {".gpg", ".pgp", ".asc"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (length > 4 && strcmp(name + length - 4, endings[i]) == 0)
            return strndup(name, length - 4);
    return NULL;
}

/* One pass: source, openpgp, and what comes out to sink. Takes over bottom. With a proof, the first
 * pass makes it and the second one uses it; without one, this is the only pass. */
static int run(struct cli *cli, struct ems_artifact *artifact, struct ems_source *bottom,
               struct ems_proof *proof, struct ems_sink *sink, struct ems_error *err)
{
    struct ems_chain_options options = {.secrets = cli->secrets,
                                        .allow_no_integrity = cli->allow_no_integrity,
                                        .keep_gzip = true,
                                        .split_decryption =
                                            proof != NULL && !ems_proof_is_sealed(proof),
                                        .proof = proof,
                                        .no_threads = cli_check_options(cli).no_threads,
                                        .bytes_in = &cli->bytes_done};
    struct ems_chain chain;
    struct ems_span span;
    int rc = ems_chain_open(&chain, bottom, &options, err);

    if (rc == EMS_OK && !chain.encrypted)
        rc = ems_fail(err, EMS_PGP_NOT_OPENPGP, "%s is not an OpenPGP message", artifact->name);
    while (rc == EMS_OK && (rc = ems_source_next(chain.top, &span, err)) == EMS_OK) {
        rc = ems_sink_write(sink, span.data, span.size, err);
        if (rc == EMS_OK)
            rc = cli_tick(cli, err);
    }
    if (rc == EMS_END) {
        artifact->bytes_out = chain.top->offset;
        rc = options.split_decryption ? ems_proof_seal(proof, err) : EMS_OK;
        if (rc == EMS_OK)
            rc = ems_sink_commit(sink, err);
    }
    artifact->bytes_in = atomic_load(&cli->bytes_done);
    ems_artifact_take_chain(artifact, &chain);
    ems_chain_close(&chain);
    return rc;
}

/* A pass without output: is the set right as it is now? With a manifest, its parts are compared.
 * What is wrong goes to findings. *proof: for the second pass. */
static bool prove(struct cli *cli, struct ems_artifact *artifact, struct ems_proof **proof,
                  struct ems_error *err)
{
    const struct ems_part_set *set = artifact->set;
    struct ems_findings *findings = &cli->report.findings;
    size_t first = findings->count;
    struct ems_sink *nothing = ems_sink_null_open(err);
    struct ems_set_digests digests = {0};
    int rc = nothing != NULL ? ems_set_digests_init(&digests, set, 0, err) : err->code;

    ems_proof_free(*proof);
    *proof = ems_proof_new(set->size, err);
    if (*proof == NULL)
        rc = err->code;
    cli_progress(cli, set->name, "proving", set->size);
    if (rc == EMS_OK)
        rc = run(cli, artifact,
                 cli->manifest != NULL ? ems_digest_open(set, &digests, false, err)
                                       : ems_parts_open(set, err),
                 *proof, nothing, err);
    artifact->error = rc;
    if (rc != EMS_OK)
        ems_artifact_fail(artifact, err, findings);
    if (digests.parts != NULL && cli->manifest != NULL)
        ems_artifact_match_read(artifact, cli->manifest, &digests, first, findings);
    ems_set_digests_release(&digests);
    ems_sink_free(nothing);
    return artifact->error == EMS_OK;
}

/* Where copies of a part differ, the choice that proves right is used, or else the first one, and
 * then its failure is what counts. */
static bool prove_any(struct cli *cli, struct ems_artifact *artifact, struct ems_part_set *set,
                      struct ems_proof **proof)
{
    struct ems_findings *findings = &cli->report.findings;
    struct ems_artifact *a = artifact, at_first;
    struct ems_part_tries tries = {0};
    struct ems_error err = {0};
    size_t start = findings->count, said;
    bool good = prove(cli, a, proof, &err);

    if (set->other_count == 0)
        return good;
    at_first = *a;
    said = findings->count;
    while (!good && ems_code_exit(a->error) < 70 && ems_part_try_next(set, &tries, err.origin)) {
        err = (struct ems_error){0};
        good = prove(cli, a, proof, &err);
        if (!good)
            ems_findings_remove(findings, said, findings->count - said);
    }
    if (good) {
        ems_findings_remove(findings, start, said - start);
        ems_part_tell_proven(set, NULL, "with it the message decrypts to its end", findings);
    } else {
        *a = at_first;
    }
    return good;
}

/*
 * Files: prove, then write. The second pass reads the same parts again; that they are still the
 * proven bytes the proof says (proof.h), so the MDC is not hashed a second time. If the parts have
 * changed in between, nothing of the output is kept.
 */
static void decrypt(struct cli *cli, struct ems_part_set *set, struct ems_source *stream,
                    const char *name, const char *output)
{
    struct ems_artifact *artifact = ems_report_add(&cli->report);
    struct ems_proof *proof = NULL;
    struct ems_error err = {0};
    struct ems_sink *sink;
    int rc = EMS_OK;

    if (artifact == NULL || (artifact->name = strdup(name)) == NULL) {
        cli->report.findings.out_of_memory = true;
        ems_source_free(stream);
        return;
    }
    artifact->set = set;
    artifact->kind = ems_kind_of_name(name);
    artifact->verdict = EMS_VERDICT_INCOMPLETE;
    artifact->error = EMS_PART_MISSING;
    if (set != NULL && !set->whole) /* the findings are there already */
        return;
    /* The output is opened first: who cannot write should know before the long pass. */
    sink = cli_open_output(cli, output, &err);
    if (sink == NULL)
        rc = err.code;
    if (rc == EMS_OK && set != NULL && !prove_any(cli, artifact, set, &proof))
        rc = artifact->error;
    if (rc == EMS_OK) {
        cli_progress(cli, name, "decrypting", set != NULL ? set->size : 0);
        rc =
            run(cli, artifact, set != NULL ? ems_parts_open(set, &err) : stream, proof, sink, &err);
        stream = NULL;
    }
    if (rc == EMS_OK) {
        artifact->verdict = EMS_VERDICT_VERIFIED;
        ems_artifact_note_message(artifact, &cli->report.findings);
        artifact->error = EMS_OK;
    } else if (err.code != EMS_OK) {
        ems_artifact_fail(artifact, &err, &cli->report.findings);
    }
    ems_source_free(stream);
    ems_sink_free(sink);
    ems_proof_free(proof);
}

/*
 * The one artifact that the command line names; 0, or the exit status after a message.
 *
 * A pipe cannot be read twice, so it gets one pass: with -o FILE nothing is lost, since the file
 * has its name only after the integrity check; to standard output the bytes go out unproven, which
 * is the operator's own choice, and only the exit status says what they were worth.
 */
static int work(struct cli *cli, struct ems_upload *upload)
{
    const char *name, *output = cli->output;
    struct ems_error err = {0};
    struct ems_part_set *set;
    char *chosen = NULL;
    int fd, status;

    if (cli_is_stream(cli, &fd, &name)) {
        struct ems_source *stream = cli_open_stream(fd, name, &err);

        if (stream == NULL)
            cli_fail(cli, &err);
        else
            decrypt(cli, NULL, stream, name, output != NULL ? output : "-");
        return 0;
    }
    set = cli_one_artifact(cli, upload, "decrypt", &status);
    if (set == NULL)
        return status;
    if (output == NULL)
        output = chosen = default_output(set->name);
    if (output == NULL)
        return cli_usage(cli, "where to? The name has no .gpg to take off: give -o FILE");
    decrypt(cli, set, NULL, set->name, output);
    free(chosen);
    return 0;
}

int main(int argc, char **argv)
{
    struct ems_upload upload = {0};
    struct cli cli;
    int status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    if (cli.output == NULL && cli.path_count == 1 && strcmp(cli.paths[0], "-") == 0)
        cli.output = "-";
    status = cli_take_stdout(&cli);
    if (status != 0)
        return status;
    status = cli_load_secrets(&cli) == 0 ? work(&cli, &upload) : 0;
    if (status == 0)
        status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
