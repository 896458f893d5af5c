/* ems-unpack - unpack an archive of an upload, after it was proven. */
#include "cli.h"

#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct cli_tool tool = {
    .name = "ems-unpack",
    .synopsis = "[OPTION]... -C DIR PATH...",
    .purpose = "Unpack a tar artifact, whole or split, into the existing directory DIR. It is\n"
               "checked first, as ems-check does it; nothing appears in DIR before all of it is\n"
               "unpacked. Of a media export only export-*.tgz goes to DIR itself, as the media\n"
               "importer needs it; everything else goes to DIR/.aside.",
    .groups = CLI_SECRETS | CLI_DIRECTORY,
    .min_paths = 1,
    .max_paths = -1,
};

/* Was the first pass content with it? An archive whose content no check knows may be unpacked. */
static bool is_proven(const struct ems_artifact *a)
{
    return a->is_archive && a->error == EMS_OK &&
           (a->verdict == EMS_VERDICT_VERIFIED || a->verdict == EMS_VERDICT_UNSUPPORTED ||
            a->verdict == EMS_VERDICT_UNCHECKED);
}

/*
 * The second pass: every member into u. EMS_OK after the archive's end. Twice through the whole
 * chain: what has to be proven lies at the end (MDC, CRC, end blocks), and nothing may be written
 * before. A file that changes in between is caught by the same proofs and by the checks of each
 * member, which do not rely on the first pass.
 */
static int unpack_members(struct cli *cli, const struct ems_part_set *set, struct ems_unpack *u,
                          struct ems_error *err)
{
    struct ems_chain_options options = {.secrets = cli->secrets,
                                        .allow_no_integrity = cli->allow_no_integrity,
                                        .no_threads = cli_check_options(cli).no_threads,
                                        .bytes_in = &cli->bytes_done};
    const struct ems_tar_member *member;
    struct ems_chain chain;
    struct ems_tar *tar;
    int rc = ems_chain_open(&chain, ems_parts_open(set, err), &options, err);

    if (rc != EMS_OK)
        return rc;
    tar = ems_tar_open(chain.top, err); /* owns it from here on */
    while (tar != NULL && (rc = ems_tar_next(tar, &member, err)) == EMS_OK) {
        rc = ems_unpack_member(u, tar, member, err);
        if (rc != EMS_OK)
            break;
    }
    ems_tar_free(tar);
    chain.top = NULL;
    ems_chain_close(&chain);
    return tar == NULL ? err->code : rc == EMS_END ? EMS_OK : rc;
}

/* What the user would miss otherwise: a tree that looks complete and is not quite what was packed.
 */
static void add_notes(struct ems_artifact *a, const struct ems_unpack_facts *f,
                      struct ems_findings *findings)
{
    if (f->links > 0)
        ems_findings_add(findings, EMS_TAR_UNSAFE_LINK, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, "Look whether anything is missing without them.",
                         "%llu symbolic links were left out, for example %s",
                         (unsigned long long)f->links, f->first_link);
    if (f->aside > 0)
        ems_findings_add(findings, EMS_MEDIA_EXTRA, EMS_SEVERITY_NOTE, a->name, NULL, EMS_NOWHERE,
                         "", "%llu files are no part of the export: they are in %s",
                         (unsigned long long)f->aside, EMS_UNPACK_ASIDE);
}

/* The verdict stays the first pass's unless writing fails: then it is the environment's, and
 * nothing is left in DIR. */
static void unpack(struct cli *cli, struct ems_artifact *a, const struct ems_part_set *set)
{
    const struct ems_unpack_options options = {.directory = cli->directory,
                                               .force = cli->force,
                                               .media_export = a->kind == EMS_KIND_MEDIA_EXPORT,
                                               .tick = cli_tick,
                                               .tick_context = cli};
    struct ems_error err = {0};
    struct ems_unpack *u = ems_unpack_open(&options, &err);
    int rc = u != NULL ? EMS_OK : err.code;

    cli_progress(cli, set->name, "unpacking", set->size);
    if (rc == EMS_OK)
        rc = unpack_members(cli, set, u, &err);
    if (rc == EMS_OK)
        rc = ems_unpack_commit(u, &err);
    if (rc == EMS_OK) {
        add_notes(a, ems_unpack_facts(u), &cli->report.findings);
        a->verdict = EMS_VERDICT_VERIFIED;
    } else {
        ems_artifact_fail(a, &err, &cli->report.findings);
    }
    ems_unpack_free(u);
}

/* Proving may take hours: what is wrong with -C is said before. ems_unpack_open looks again. */
static bool can_unpack_into(struct cli *cli, const char *directory)
{
    struct ems_error err = {0};
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0) {
        close(fd);
        return true;
    }
    ems_fail_errno(&err, errno, "cannot unpack into %s", directory);
    cli_fail(cli, &err);
    if (fd >= 0)
        close(fd);
    return false;
}

/* Where nothing was proven nothing is unpacked, and the first pass has said why. What is no archive
 * at all may be whole and proven (a dump): that alone is told here.
 *
 * The one artifact that the command line names; 0, or the exit status after a message. */
static int work(struct cli *cli, struct ems_upload *upload)
{
    int status;
    struct ems_part_set *set = cli_one_artifact(cli, upload, "unpack", &status);
    struct ems_check_options options;
    struct ems_artifact *artifact;

    if (set == NULL)
        return status;
    options = cli_check_options(cli);
    artifact = ems_report_add(&cli->report);
    cli_progress(cli, set->name, "proving", set->size);
    if (artifact == NULL ||
        ems_artifact_prove(artifact, set, &options, &cli->report.findings) != EMS_OK) {
        cli->report.findings.out_of_memory = true;
        return 0;
    }
    if (is_proven(artifact))
        unpack(cli, artifact, set);
    else if (artifact->error == EMS_OK && !artifact->is_archive)
        ems_findings_add(&cli->report.findings, EMS_TAR_WRONG_CONTENT, EMS_SEVERITY_ERROR,
                         artifact->name, NULL, EMS_NOWHERE, "Only tar archives can be unpacked.",
                         "this is not a tar archive");
    return 0;
}

int main(int argc, char **argv)
{
    struct ems_upload upload = {0};
    struct cli cli;
    int status = cli_start(&cli, &tool, argc, argv);

    if (status >= 0)
        return status;
    if (cli.directory == NULL)
        return cli_usage(&cli, "where to? Give -C DIR");
    if (cli.path_count == 1 && strcmp(cli.paths[0], "-") == 0)
        return cli_usage(&cli, "a stream cannot be read twice: give a file");
    status = can_unpack_into(&cli, cli.directory) && cli_load_secrets(&cli) == 0
                 ? work(&cli, &upload)
                 : 0;
    if (status == 0)
        status = cli_finish(&cli);
    ems_upload_release(&upload);
    return status;
}
