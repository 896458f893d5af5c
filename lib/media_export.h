/*
 * media_export.h - the walker of a media export: what matrix-media-repo's export_synapse_for_import
 * writes, in a tar archive (customer_media_export.tar.gz).
 *
 *     export-part-1.tgz ... export-part-N.tgz   archives of the media, about 100 MB each
 *     export-manifest.tgz                       manifest.json (media_manifest.h) and index.html
 *     logs/, media-repo.yaml                    of exporters up to v1.2, if moved in as told
 *
 * All in one pass over the outer archive: each inner one is inflated and walked on its way, each
 * file in it measured and hashed (SHA-256), the manifest parsed wherever it comes, and both sides
 * are joined at the end. The official importer checks none of this: it leaves out silently what is
 * missing, takes damaged files as they are, and dies on files that are not its own.
 *
 * Memory: about a hundred bytes a media (media_index.h), whatever their sizes.
 */
#ifndef EMS_MEDIA_EXPORT_H
#define EMS_MEDIA_EXPORT_H

#include "artifact.h"

/* Fills in the artifact's media_ids (of the manifest's media, with digests) and media_server; both
 * arguments are borrowed and must outlive the walker. */
struct ems_walker *ems_media_export_open(struct ems_artifact *, const struct ems_check_options *,
                                         struct ems_error *);

#endif
