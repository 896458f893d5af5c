/* artifact_text.h - the small text files of an upload: configuration and signing key; part of
 * artifact.c. */
#ifndef EMS_ARTIFACT_TEXT_H
#define EMS_ARTIFACT_TEXT_H

#include "artifact.h"

/* Is it one, as its name says? */
bool ems_artifact_is_text(const struct ems_artifact *);

/*
 * Reads it to its end: EMS_END, or the failure (settled with the layers below). Sets a->config or
 * a->signing_keys, and a->facts. YAML that is not Synapse's leaves a->config NULL: nothing is said
 * about it. How the values fit each other and the rest of the upload: upload_check.h.
 */
int ems_artifact_check_text(struct ems_artifact *, struct ems_chain *,
                            const struct ems_check_options *, struct ems_findings *,
                            struct ems_error *);

/* Is this file part of Synapse's configuration by its name and place: homeserver.yaml, or a file in
 * conf.d? */
bool ems_artifact_is_homeserver_yaml(const struct ems_artifact *);

#endif
