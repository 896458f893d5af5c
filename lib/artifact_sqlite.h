/* artifact_sqlite.h - an SQLite homeserver, in an archive or by itself; part of artifact.c. */
#ifndef EMS_ARTIFACT_SQLITE_H
#define EMS_ARTIFACT_SQLITE_H

#include "archive_walk.h"
#include "artifact.h"

/* The walker of homeserver.db.tar.gz: unpacks the database and its journals to a private directory
 * (a note says where), and checks it after the archive is proven. a and o are borrowed. */
struct ems_walker *ems_sqlite_walker_open(struct ems_artifact *a, const struct ems_check_options *o,
                                          struct ems_error *);

/* Is it a database that is no archive? */
bool ems_artifact_is_sqlite(const struct ems_artifact *, const struct ems_chain *);

/*
 * Reads it to its end, then checks it: where it lies if that is a plain file, else in a private
 * directory. EMS_END, or the failure (settled with the layers below); the first error that was
 * found in the database is in a->archive.refused.
 */
int ems_artifact_check_sqlite(struct ems_artifact *, struct ems_chain *,
                              const struct ems_check_options *, struct ems_findings *,
                              struct ems_error *);

#endif
