/*
 * event_redact.h - the bytes that a Matrix event's signature is over. Internal.
 *
 * Server-server API, "Signing Events": the event is redacted, `unsigned` and `signatures` are taken
 * away, and what remains is written as canonical JSON. What redaction leaves depends on the room
 * version (specification, "Room Versions", each version's "Redactions"; the same rules in
 * synapse/events/utils.py, prune_event_dict).
 */
#ifndef EMS_EVENT_REDACT_H
#define EMS_EVENT_REDACT_H

#include "bytes.h"

#include <jansson.h>

/*
 * version: of the room, "1" to "12"; another one or NULL: only events that every version leaves the
 * same are written. The message stays empty where nothing certain can be said: an unknown version,
 * numbers that are not whole, out of memory.
 */
void ems_event_redact(const json_t *event, const char *version, struct ems_buf *message);

#endif
