/*
 * tar_policy.h - what a member of an archive may be called and may be.
 *
 * Archives come from customers and are unpacked here, so a name must stay below the directory that
 * it is unpacked in, on its own, without a link's help, and mean one file only. What GNU tar writes
 * with the guide's commands passes: relative names, "./" before them, repeated directories, set-id
 * bits of directories.
 */
#ifndef EMS_TAR_POLICY_H
#define EMS_TAR_POLICY_H

#include "finding.h"
#include "tar.h"

#define EMS_TAR_MAX_PATH    4096u
#define EMS_TAR_MAX_NAME    255u                /* bytes between slashes */
#define EMS_TAR_MAX_WATCHED (UINT64_C(1) << 24) /* members that are compared with each other */

/* EMS_OK if the path is relative, not empty, has no "..", no control bytes and no name that is too
 * long; else EMS_TAR_UNSAFE_PATH, and *why in words. */
int ems_tar_check_path(const struct ems_tar_member *, const char **why);

/* Does the target of a link stay inside? A hard link's is a path from the top of the archive, a
 * symbolic link's starts at the link's directory. EMS_OK or EMS_TAR_UNSAFE_LINK. */
int ems_tar_check_link(const struct ems_tar_member *);

/* EMS_OK, or EMS_TAR_UNSAFE_TYPE and *why: devices, fifos, unknown types, set-id files. */
int ems_tar_check_type(const struct ems_tar_member *, const char **why);

/*
 * The path without "." and empty components and without a slash at its end, into out (room for
 * EMS_TAR_MAX_PATH + 1). Only for paths that ems_tar_check_path accepts. Returns its length; 0 for
 * the top directory itself.
 */
size_t ems_tar_clean_path(const char *path, char *out);

/* Judges the members of one archive and remembers their names: 8 bytes each, half of them in use.
 */
struct ems_tar_policy;

struct ems_tar_policy *ems_tar_policy_new(const char *artifact, struct ems_findings *,
                                          struct ems_error *);
/* What is wrong with this member becomes findings (of each kind the first few, then a total at the
 * finish). *safe: nothing is. EMS_OK or EMS_NO_MEMORY. */
int ems_tar_policy_check(struct ems_tar_policy *, const struct ems_tar_member *, bool *safe,
                         struct ems_error *);
void ems_tar_policy_finish(struct ems_tar_policy *);
void ems_tar_policy_free(struct ems_tar_policy *);

#endif
