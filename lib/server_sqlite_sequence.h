/*
 * server_sqlite_sequence.h - PostgreSQL's sequences, of which SQLite has none, set from the rows.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SQLITE_SEQUENCE_H
#define EMS_SERVER_SQLITE_SEQUENCE_H

#include "server_sqlite_copy.h"

/*
 * Set each sequence of the target to the greatest value that its columns, Synapse's stream
 * positions, and SQLite's own counters (AUTOINCREMENT) know of; one for which there is no value
 * stays at its start. Synapse refuses to start on a sequence that is behind its stream's position.
 * *set is how many were set. A sequence that is not known is a warning (synapse-sequence). After
 * keys and indexes are made, so that the maxima cost nothing.
 */
int ems_sqlite_set_sequences(struct ems_sqlite_copy *, const struct ems_sqlite_plan *,
                             const char *artifact, struct ems_findings *, uint64_t *set,
                             struct ems_error *);

#endif
