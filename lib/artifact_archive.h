/* artifact_archive.h - an artifact that is a tar archive; part of artifact.c. */
#ifndef EMS_ARTIFACT_ARCHIVE_H
#define EMS_ARTIFACT_ARCHIVE_H

#include "artifact.h"

/* Is it one, by its content or by what its name promises? */
bool ems_artifact_is_archive(const struct ems_artifact *, const struct ems_chain *);

/* Walks it to its end: EMS_END, or the failure (settled with the layers below). What is wrong with
 * the content is in findings and in a->archive.refused. */
int ems_artifact_check_archive(struct ems_artifact *, struct ems_chain *,
                               const struct ems_check_options *, struct ems_findings *,
                               struct ems_error *);

#endif
