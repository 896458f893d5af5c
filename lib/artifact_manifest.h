/* artifact_manifest.h - internal: an artifact that was read, against the upload's manifest. */
#ifndef EMS_ARTIFACT_MANIFEST_H
#define EMS_ARTIFACT_MANIFEST_H

#include "artifact.h"
#include "manifest.h"

/*
 * Compare the artifact's set with the manifest of the options, reading what the chain has not read
 * (it never ran, or stopped early), so that one run names every bad part; and then what the
 * manifest says about the inside, if the outside is good. findings from `first` on are this
 * artifact's: a proven bad part takes the place of a suspect one in what is to be sent again.
 * EMS_OK, EMS_NO_MEMORY, or the tick's code.
 */
int ems_artifact_match_all(struct ems_artifact *, struct ems_artifact_digests *,
                           const struct ems_check_options *, size_t first, struct ems_findings *);

/*
 * The same for the manifest itself, which has proven itself if its level has an end line, and for
 * an encrypted copy of it ("ems-upload.sha256.gpg"), which must be the same text: who could write
 * it knew the passphrase. Signatures are noted, not checked. Returns as above.
 */
int ems_artifact_match_copy(struct ems_artifact *, const struct ems_check_options *,
                            struct ems_findings *);

#endif
