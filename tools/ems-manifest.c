/* ems-manifest - write or verify the checksum manifest of an upload. */
#include "cli.h"

#include "manifest.h"
#include "sink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_SIZE (4u * 1024u * 1024u) /* of --blocks */

static const struct cli_tool tool = {
    .name = "ems-manifest",
    .synopsis = "create [OPTION]... DIR\n  or:  ems-manifest verify [OPTION]... DIR",
    .purpose =
        "create: write the checksum manifest of the upload in DIR, DIR/ems-upload.sha256. With a\n"
        "passphrase or key it also tells what lies inside the encryption. sha256sum -c reads it.\n"
        "verify: compare the upload in DIR with its manifest: ours, or what sha256sum, shasum,\n"
        "openssl, Get-FileHash or certutil wrote.",
    .groups = CLI_SECRETS | CLI_OUTPUT | CLI_NAME | CLI_MANIFEST,
    .min_paths = 2,
    .max_paths = 2,
};

/* ---- what both do ---- */

static struct ems_artifact *add_row(struct cli *cli, const struct ems_part_set *set,
                                    enum ems_verdict verdict)
{
    struct ems_artifact *a = ems_report_add(&cli->report);

    if (a == NULL || (a->name = strdup(set->name)) == NULL) {
        cli->report.findings.out_of_memory = true;
        return NULL;
    }
    a->kind = ems_kind_of_name(set->name);
    a->set = set;
    a->verdict = verdict;
    return a;
}

/* The line for the ticket: told by another way than the upload, it vouches for the manifest. */
static void tell_fingerprint(struct cli *cli, const struct ems_manifest *m, const char *what)
{
    char *line;

    if (asprintf(&line, "%s; for the ticket: %s\n", what, m->fingerprint) >= 0)
        cli->epilogue = line;
}

static uint64_t total_size(const struct ems_upload *upload)
{
    uint64_t size = 0;

    for (size_t i = 0; i < upload->count; i++)
        size += upload->sets[i].size;
    return size;
}

static struct ems_digest_options digest_options(struct cli *cli)
{
    return (struct ems_digest_options){
        .threads = cli->jobs, .bytes_in = &cli->bytes_done, .tick = cli_tick, .tick_context = cli};
}

/* ---- create ---- */

struct creation {
    struct cli *cli;
    struct ems_upload *upload;
    struct ems_artifact_digests *digests; /* one a set; those left out stay empty */
    struct ems_manifest *manifest;
};

static bool ends(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);

    return n > k && strcmp(name + n - k, suffix) == 0;
}

static bool has_set(const struct ems_upload *upload, const char *name, const char *ending)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < upload->count; i++)
        if (strncmp(upload->sets[i].name, name, n) == 0 &&
            strcmp(upload->sets[i].name + n, ending) == 0)
            return true;
    return false;
}

/* The checksum of a file that is not meant for the upload (a passphrase, the dump before it was
 * encrypted) would let others test their guesses at it. */
static bool is_for_upload(struct cli *cli, const struct ems_upload *upload,
                          const struct ems_part_set *set)
{
    const char *reason = NULL;

    if (ems_manifest_is_name(set->name))
        return false;
    if (has_set(upload, set->name, ".gpg") || has_set(upload, set->name, ".pgp") ||
        has_set(upload, set->name, ".asc"))
        reason = "it lies here encrypted too, which is what should be sent";
    else if (ems_kind_of_name(set->name) == EMS_KIND_UNKNOWN && !set->split &&
             !ends(set->name, ".gpg") && !ends(set->name, ".pgp") && !ends(set->name, ".asc"))
        reason = "it is no part of an upload by its name";
    if (reason != NULL)
        ems_findings_add(&cli->report.findings, EMS_MANIFEST_EXTRA, EMS_SEVERITY_NOTE, set->name,
                         NULL, EMS_NOWHERE, "", "%s is left out: %s", set->name, reason);
    return reason == NULL;
}

/* All layers of every set, one after the other: what is inside is told too. */
static int read_inside(struct creation *c)
{
    struct ems_check_options options = cli_check_options(c->cli);

    for (size_t i = 0; i < c->upload->count; i++) {
        struct ems_part_set *set = &c->upload->sets[i];
        struct ems_artifact *a;

        if (c->digests[i].set.parts == NULL)
            continue;
        a = ems_report_add(&c->cli->report);
        options.digests = &c->digests[i];
        cli_progress(c->cli, set->name, "reading", set->size);
        if (a == NULL || ems_artifact_prove(a, set, &options, &c->cli->report.findings) != EMS_OK)
            return EMS_NO_MEMORY;
    }
    return EMS_OK;
}

/* Checksums of the outside, of those that were not read by the way of their layers. */
static int read_outside(struct creation *c, struct ems_error *err)
{
    struct ems_digest_options options = digest_options(c->cli);
    struct ems_digest_job *jobs = calloc(c->upload->count + 1, sizeof *jobs);
    size_t count = 0;
    int rc;

    if (jobs == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < c->upload->count; i++)
        if (c->digests[i].set.parts != NULL && c->upload->sets[i].whole &&
            !c->digests[i].set.whole.done)
            jobs[count++] =
                (struct ems_digest_job){.set = &c->upload->sets[i], .digests = &c->digests[i].set};
    rc = ems_digest_run(jobs, count, &options, err);
    for (size_t i = 0; i < count && rc == EMS_OK; i++)
        if (jobs[i].error.code != EMS_OK)
            ems_findings_add(&c->cli->report.findings, jobs[i].error.code, EMS_SEVERITY_ERROR,
                             jobs[i].set->name, NULL, EMS_NOWHERE, NULL, "%s", jobs[i].error.text);
    free(jobs);
    return rc;
}

/* The row of a set in the report, made by now if its layers were read. */
static struct ems_artifact *row_of(struct cli *cli, const struct ems_part_set *set)
{
    for (size_t i = 0; i < cli->report.count; i++)
        if (cli->report.artifacts[i].set == set)
            return &cli->report.artifacts[i];
    return add_row(cli, set, set->whole ? EMS_VERDICT_UNCHECKED : EMS_VERDICT_INCOMPLETE);
}

/* Rows of the report and lines of the manifest. What has a checksum and no error is as asked. */
static int describe(struct creation *c, struct ems_error *err)
{
    struct ems_manifest *m = c->manifest;
    int rc = EMS_OK;

    for (size_t i = 0; i < c->upload->count && rc == EMS_OK; i++) {
        const struct ems_artifact_digests *d = &c->digests[i];
        struct ems_artifact *a;

        if (d->set.parts == NULL)
            continue;
        a = row_of(c->cli, &c->upload->sets[i]);
        if (a == NULL)
            return ems_fail_memory(err);
        if (a->error != EMS_OK || !d->set.whole.done)
            continue;
        a->verdict = EMS_VERDICT_VERIFIED;
        rc = ems_manifest_add_set(m, a->set, &d->set, err);
        if (rc == EMS_OK)
            rc = ems_manifest_add_inside(m, a, d, err);
        if (rc == EMS_OK && a->synapse.server_name[0] != '\0' && m->server_name[0] == '\0')
            rc = ems_manifest_set(m, &m->server_name, a->synapse.server_name, err);
    }
    return rc;
}

static int set_head(struct creation *c, struct ems_error *err)
{
    const struct ems_part_set *before = ems_manifest_of_upload(c->upload);
    struct ems_manifest *m = c->manifest, *old = NULL;
    time_t now = time(NULL);
    char created[32];
    struct tm utc;
    int rc;

    if (gmtime_r(&now, &utc) == NULL ||
        strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        created[0] = '\0';
    rc = ems_manifest_set(m, &m->tool, tool.name, err);
    if (rc == EMS_OK)
        rc = ems_manifest_set(m, &m->tool_version, EMS_VERSION, err);
    if (rc == EMS_OK)
        rc = ems_manifest_set(m, &m->created, created, err);
    if (rc == EMS_OK && c->cli->server_name != NULL)
        rc = ems_manifest_set(m, &m->server_name, c->cli->server_name, err);
    if (rc != EMS_OK)
        return rc;
    /* The same migration as the manifest that is replaced: it keeps its id. */
    if (before != NULL && before->whole)
        ems_manifest_read(&old, ems_parts_open(before, NULL), before->name, NULL, NULL);
    rc = old != NULL && old->upload_id[0] != '\0'
             ? ems_manifest_set(m, &m->upload_id, old->upload_id, err)
             : ems_manifest_make_upload_id(m, err);
    ems_manifest_free(old);
    return rc;
}

static int read_all(struct creation *c, struct ems_error *err)
{
    struct cli *cli = c->cli;
    bool secrets =
        cli->passphrase_file != NULL || cli->passphrase_fd >= 0 || cli->secret_key_count > 0;
    size_t chosen = 0;
    int rc = EMS_OK;

    for (size_t i = 0; i < c->upload->count && rc == EMS_OK; i++) {
        const struct ems_part_set *set = &c->upload->sets[i];

        if (!is_for_upload(cli, c->upload, set))
            continue;
        rc = ems_set_digests_init(&c->digests[i].set, set, cli->blocks ? BLOCK_SIZE : 0, err);
        chosen++;
    }
    if (rc == EMS_OK && chosen == 0)
        rc = ems_fail(err, EMS_MANIFEST_MISSING, "%s holds nothing of an upload", cli->paths[0]);
    if (rc == EMS_OK && secrets && !cli->no_inner)
        rc = read_inside(c);
    if (rc == EMS_OK) {
        cli_progress(cli, cli->paths[0], "hashing", total_size(c->upload));
        rc = read_outside(c, err);
    }
    return rc;
}

/* Read everything, and write only if all of it was as it should be. */
static void create(struct cli *cli, struct ems_upload *upload, struct ems_sink *sink,
                   struct ems_error *err)
{
    struct creation c = {.cli = cli, .upload = upload};
    int rc;

    c.digests = calloc(upload->count + 1, sizeof *c.digests);
    c.manifest = ems_manifest_new(err);
    rc = c.digests == NULL ? ems_fail_memory(err) : err->code;
    if (rc == EMS_OK)
        rc = set_head(&c, err);
    if (rc == EMS_OK)
        rc = read_all(&c, err);
    if (rc == EMS_OK)
        rc = describe(&c, err);
    if (rc == EMS_OK && ems_report_exit(&cli->report) == 0) {
        rc = ems_manifest_write(c.manifest, sink, err);
        if (rc == EMS_OK)
            rc = ems_sink_commit(sink, err);
        if (rc == EMS_OK)
            tell_fingerprint(cli, c.manifest, "manifest written");
    } else if (rc == EMS_OK) {
        cli_message(cli, "no manifest was written");
    }
    if (rc == EMS_NO_MEMORY)
        cli->report.findings.out_of_memory = true;
    else if (rc != EMS_OK)
        cli_fail(cli, err);
    for (size_t i = 0; c.digests != NULL && i < upload->count; i++)
        ems_set_digests_release(&c.digests[i].set);
    free(c.digests);
    ems_manifest_free(c.manifest);
}

static void run_create(struct cli *cli, struct ems_upload *upload)
{
    struct ems_error err = {0};
    struct ems_sink *sink;
    char *path = NULL;

    if (cli->output == NULL &&
        asprintf(&path, "%s/%s", cli->paths[0], EMS_MANIFEST_FILE_NAME) < 0) {
        cli->report.findings.out_of_memory = true;
        return;
    }
    if (cli->output != NULL && strcmp(cli->output, "-") == 0)
        sink = ems_sink_fd_open(STDOUT_FILENO, "standard output", &err);
    else
        sink = ems_sink_file_open(path != NULL ? path : cli->output, cli->force, &err);
    if (sink == NULL)
        cli_fail(cli, &err);
    else if (cli_load_secrets(cli) == 0 && cli_resolve(cli, upload))
        create(cli, upload, sink, &err);
    ems_sink_free(sink);
    free(path);
}

/* ---- verify ---- */

static struct ems_manifest *read_manifest(struct cli *cli, const struct ems_part_set *set)
{
    struct ems_error err = {0};
    struct ems_manifest *m;

    if (set == NULL) {
        ems_fail(&err, EMS_MANIFEST_MISSING, "there is no %s in %s", EMS_MANIFEST_FILE_NAME,
                 cli->paths[0]);
        cli_fail(cli, &err);
        return NULL;
    }
    if (ems_manifest_read(&m, ems_parts_open(set, &err), set->name, &cli->report.findings, &err) !=
        EMS_OK) {
        struct ems_artifact *row = add_row(cli, set, ems_verdict_of(err.code));

        if (row != NULL)
            ems_artifact_fail(row, &err, &cli->report.findings);
    }
    return m;
}

static void verify_listing(struct cli *cli, struct ems_manifest *m)
{
    struct ems_error err = {0};
    struct ems_source *src;
    FILE *file = strcmp(cli->listing, "-") == 0 ? stdin : fopen(cli->listing, "re");

    if (file == NULL) {
        ems_fail(&err, EMS_IO_ERROR, "cannot open %s", cli->listing);
        cli_fail(cli, &err);
        return;
    }
    src = ems_source_fd_open(fileno(file), false, cli->listing, &err);
    if (ems_manifest_match_listing(m, src, &cli->report.findings, &err) != EMS_OK)
        cli_fail(cli, &err);
    if (file != stdin)
        fclose(file);
}

static void add_verdicts(struct cli *cli, const struct ems_upload *upload,
                         const struct ems_manifest_verdict *verdicts)
{
    for (size_t i = 0; i < upload->count; i++) {
        const struct ems_part_set *set = &upload->sets[i];
        struct ems_artifact *a;

        if (ems_manifest_is_name(set->name))
            continue;
        a = add_row(cli, set,
                    verdicts[i].bad > 0 ? EMS_VERDICT_DAMAGED
                    : verdicts[i].whole ? EMS_VERDICT_VERIFIED
                    : !set->whole       ? EMS_VERDICT_INCOMPLETE
                                        : EMS_VERDICT_UNCHECKED);
        if (a != NULL)
            a->in_manifest = verdicts[i].whole;
    }
}

static void verify_files(struct cli *cli, struct ems_upload *upload, struct ems_manifest *m,
                         struct ems_findings *resolved)
{
    struct ems_manifest_options options = {.fast = cli->fast, .digest = digest_options(cli)};
    struct ems_manifest_verdict *verdicts = calloc(upload->count + 1, sizeof *verdicts);
    struct ems_error err = {0};

    cli_progress(cli, cli->paths[0], "verifying", total_size(upload));
    if (verdicts == NULL)
        cli->report.findings.out_of_memory = true;
    else if (ems_manifest_settle(m, upload, &options.digest, resolved, &err) != EMS_OK)
        cli_fail(cli, &err);
    else if (ems_manifest_verify_upload(m, upload, resolved, &options, verdicts,
                                        &cli->report.findings, &err) != EMS_OK)
        cli_fail(cli, &err);
    else
        add_verdicts(cli, upload, verdicts);
    free(verdicts);
}

static void run_verify(struct cli *cli, struct ems_upload *upload)
{
    struct ems_findings resolved = {0};
    const struct ems_part_set *set;
    struct ems_error err = {0};
    struct ems_manifest *m = NULL;

    if (ems_upload_resolve(upload, cli->paths, cli->path_count, &resolved, &err) != EMS_OK)
        cli_fail(cli, &err);
    set = ems_manifest_of_upload(upload);
    if (err.code == EMS_OK)
        m = read_manifest(cli, set);
    if (m != NULL) {
        if (cli->listing != NULL)
            verify_listing(cli, m);
        else
            verify_files(cli, upload, m, &resolved);
        /* Level 1 proves itself. Where no contents were asked for, having compared is what counts.
         */
        add_row(cli, set,
                m->level > 0 || cli->fast || cli->listing != NULL ? EMS_VERDICT_VERIFIED
                                                                  : EMS_VERDICT_UNCHECKED);
        tell_fingerprint(cli, m,
                         cli->fast || cli->listing != NULL
                             ? "names and sizes are as in the manifest"
                             : "all files are as in the manifest");
    }
    ems_manifest_free(m);
    ems_findings_release(&resolved);
}

/* ---- */

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Which of the two, and only options of it. 0 or the status after a message. */
static int take_command(struct cli *cli, bool *creating)
{
    const char *command = cli->paths[0];
    bool secrets = cli->passphrase_file != NULL || cli->passphrase_fd >= 0 ||
                   cli->secret_key_count > 0 || cli->key_passphrase_file != NULL;

    *creating = strcmp(command, "create") == 0;
    if (!*creating && strcmp(command, "verify") != 0)
        return cli_usage(cli, "create or verify? '%s' is neither", command);
    if (*creating && (cli->fast || cli->listing != NULL))
        return cli_usage(cli, "--fast and --listing belong to verify");
    if (!*creating &&
        (cli->blocks || cli->no_inner || cli->output != NULL || cli->force || secrets))
        return cli_usage(cli, "--blocks, --no-inner, --output, --force and what decrypts belong to "
                              "create");
    cli->paths++;
    cli->path_count--;
    if (*creating && !is_directory(cli->paths[0]))
        return cli_usage(cli, "%s is no directory", cli->paths[0]);
    return 0;
}

int main(int argc, char **argv)
{
    struct ems_upload upload = {0};
    struct cli cli;
    bool creating;
    int status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    status = take_command(&cli, &creating);
    if (status != 0)
        return status;
    status = cli_take_stdout(&cli);
    if (status != 0)
        return status;
    if (creating)
        run_create(&cli, &upload);
    else
        run_verify(&cli, &upload);
    status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
