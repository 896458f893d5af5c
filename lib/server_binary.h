/*
 * server_binary.h - rows of COPY text into rows of COPY's binary format.
 *
 * The server reads its binary format in about half the time of the text: no search for the ends of
 * lines and columns, no escapes, no digits. That work is done here at memory speed, on the tool's
 * processor.
 *
 * Only what pg_dump prints is translated, for the types of Synapse's tables; anything else
 * (ems_binary_feed says so) is for the server to judge, as text.
 *
 * Sources: PostgreSQL src/backend/commands/copyfromparse.c (NextCopyFrom, CopyReadBinaryAttribute),
 * documentation of COPY, "Binary Format"; the receive functions of the types: int8recv, boolrecv,
 * bytearecv, jsonb_recv, tsvectorrecv.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_BINARY_H
#define EMS_SERVER_BINARY_H

#include "bytes.h"

#include <libpq-fe.h>

#define EMS_BINARY_ROW_MAX (4u * 1024u * 1024u) /* a longer row is passed on as text */

struct ems_binary {
    uint8_t *types; /* of the columns */
    size_t columns;
    struct ems_buf rest;  /* a row whose end has not come yet */
    struct ems_buf value; /* one column without escapes */
};

/* Can rows of these types (as PQftype gives them), at least one, be translated? Start with {0}; EMS_OK and *known,
 * or EMS_NO_MEMORY. */
int ems_binary_init(struct ems_binary *, const Oid *types, size_t columns, bool *known,
                    struct ems_error *);
void ems_binary_release(struct ems_binary *);

/* What stands in front of the first row and behind the last one. */
int ems_binary_header(struct ems_buf *out, struct ems_error *);
int ems_binary_trailer(struct ems_buf *out, struct ems_error *);

/*
 * Append the whole rows of data to out; data may be cut anywhere, the rest is kept for the next
 * call. EMS_OK; EMS_SQL_MALFORMED if a row is not what pg_dump prints, in which case the rows of
 * this call are worth nothing; EMS_NO_MEMORY.
 */
int ems_binary_feed(struct ems_binary *, const uint8_t *data, size_t size, struct ems_buf *out,
                    struct ems_error *);

/* Nothing is left of a row whose end did not come? */
bool ems_binary_is_whole(const struct ems_binary *);

#endif
