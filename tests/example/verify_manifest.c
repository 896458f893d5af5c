/*
 * verify_manifest DIRECTORY - is every file of the upload as its checksum manifest says?
 *
 *     cc verify_manifest.c $(pkg-config --cflags --libs ems)
 *
 * Prints what is wrong, a line each, and exits with the status that ems-manifest verify would have.
 */
#include <ems/manifest.h>
#include <ems/pgp.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    struct ems_findings findings = {0};
    struct ems_error err = {0};
    int status;

    if (argc != 2)
        return 2;
    if (ems_pgp_library_init(&err) != EMS_OK ||
        ems_manifest_verify_directory(argv[1], NULL, &findings, &err) != EMS_OK)
        fprintf(stderr, "%s\n", err.text);
    for (size_t i = 0; i < findings.count; i++)
        printf("%s: %s\n", ems_code_name(findings.items[i].code), findings.items[i].message);
    status = ems_exit_worst(ems_findings_exit(&findings), ems_code_exit(err.code));
    ems_findings_release(&findings);
    return status;
}
