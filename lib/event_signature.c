/* event_signature.c - who signed an event, and what exactly was signed; see event_sample.h */
#include "event_sample.h"

#include "base64.h"
#include "event_redact.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "signatures": {SERVER: {KEY ID: BASE64 of 64 bytes}} (specification, "Signing events"). One is
 * usual; a server that changes keys never signs an event twice. The ids are a stranger's. */
static void read_signatures(const json_t *all, const char *server, struct ems_event_signature *out)
{
    const json_t *own = json_object_get(all, server), *value;
    const char *id, *text;

    json_object_foreach((json_t *)(uintptr_t)own, id, value)
    {
        if (out->count == EMS_EVENT_SIGNATURES || !json_is_string(value))
            continue;
        text = json_string_value(value);
        ems_printable(id, strlen(id), out->items[out->count].id, EMS_SIGNING_KEY_ID_SIZE);
        out->items[out->count].has_bytes =
            ems_base64_decode(text, strlen(text), out->items[out->count].bytes, 64);
        out->count++;
    }
}

/* A localpart has no colon, a server's name may have one for its port: the first one divides. */
static bool is_of_server(const char *sender, const char *server)
{
    const char *colon = strchr(sender, ':');

    return colon != NULL && strcmp(colon + 1, server) == 0;
}

/* Events are JSON of anybody's making, so: no object twice the same name, no type trusted; jansson
 * answers NULL to whatever is not what it was asked for, and its functions take NULL. An event
 * whose sender is elsewhere may carry our signature too (invitations), but proves less. */
bool ems_event_signature_read(const struct ems_event_sample *sample, const char *server,
                              struct ems_event_signature *out)
{
    const char *sender, *type;
    json_error_t ignored;
    json_t *event;

    *out = (struct ems_event_signature){0};
    event = json_loadb(sample->json, sample->size, JSON_REJECT_DUPLICATES, &ignored);
    sender = json_string_value(json_object_get(event, "sender"));
    type = json_string_value(json_object_get(event, "type"));
    if (sender != NULL && type != NULL && is_of_server(sender, server)) {
        snprintf(out->event_sender, sizeof out->event_sender, "%s", sender);
        out->ts = (uint64_t)json_integer_value(json_object_get(event, "origin_server_ts"));
        read_signatures(json_object_get(event, "signatures"), server, out);
        if (out->count > 0)
            ems_event_redact(event, sample->room_version, &out->message);
    }
    json_decref(event);
    return out->count > 0;
}

/* Rooms come after their events in a dump, and their versions with them: asked again for each
 * sample that might be meant, instead of keeping ids for all. */
bool ems_event_sample_is_in_room(const struct ems_event_sample *sample, const char *room,
                                 size_t size)
{
    json_error_t ignored;
    json_t *event = json_loadb(sample->json, sample->size, 0, &ignored);
    const json_t *id = json_object_get(event, "room_id");
    bool is = json_is_string(id) && json_string_length(id) == size &&
              memcmp(json_string_value(id), room, size) == 0;

    json_decref(event);
    return is;
}
