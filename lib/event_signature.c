/* event_signature.c - who signed an event, and what exactly was signed; see event_sample.h */
#include "event_sample.h"

#include "base64.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* COPY's escapes undone, in place of a copy; the scanner has already checked them. */
static char *unescape(const char *text, size_t size, size_t *out_size)
{
    static const char from[] = "bfnrtv\\", to[] = "\b\f\n\r\t\v\\";
    char *out = malloc(size + 1);
    size_t n = 0;

    for (size_t i = 0; out != NULL && i < size; i++) {
        const char *found;

        if (text[i] == '\\' && i + 1 < size && (found = strchr(from, text[i + 1])) != NULL) {
            out[n++] = to[found - from];
            i++;
        } else {
            out[n++] = text[i];
        }
    }
    *out_size = n;
    return out;
}

/*
 * Is what redaction leaves of this event the same in every room version? Not for the types of which
 * some content is kept, and not with the keys that versions up to 10 keep and later ones drop.
 */
static bool is_plain_event(const json_t *event, const char *type)
{
    static const char *const kept_types[] = {"m.room.member",
                                             "m.room.create",
                                             "m.room.join_rules",
                                             "m.room.power_levels",
                                             "m.room.history_visibility",
                                             "m.room.aliases",
                                             "m.room.redaction"};
    static const char *const kept_keys[] = {"membership", "prev_state"};

    for (size_t i = 0; i < sizeof kept_types / sizeof kept_types[0]; i++)
        if (strcmp(type, kept_types[i]) == 0)
            return false;
    for (size_t i = 0; i < sizeof kept_keys / sizeof kept_keys[0]; i++)
        if (json_object_get(event, kept_keys[i]) != NULL)
            return false;
    return true;
}

/*
 * Canonical JSON (specification, appendix "Canonical JSON") of the redacted event. jansson writes
 * it but for control characters, whose hex digits it has in capitals: an event with one that has no
 * short form is not used.
 */
static void write_message(const json_t *event, const char *const *keys, struct ems_buf *message)
{
    json_t *redacted = json_object();
    char *text;

    for (; *keys != NULL; keys++) {
        json_t *value = json_object_get(event, *keys);

        if (value != NULL)
            json_object_set(redacted, *keys, value);
    }
    json_object_set_new(redacted, "content", json_object());
    text = json_dumps(redacted, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(redacted);
    if (text != NULL && strstr(text, "\\u") == NULL)
        ems_buf_append(message, text, strlen(text), NULL);
    free(text);
}

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

static bool is_of_server(const char *sender, const char *server)
{
    const char *colon = strchr(sender, ':');

    return colon != NULL && strcmp(colon + 1, server) == 0;
}

bool ems_event_signature_read(const struct ems_event_sample *sample, const char *server,
                              struct ems_event_signature *out)
{
    /* `origin` was dropped from what redaction keeps in room version 11, and Synapse has not
     * written it since before that: whoever still has it is of a room of an earlier version. */
    static const char *const keys[] = {
        "auth_events",      "depth",   "event_id", "hashes",    "origin", "prev_events",
        "origin_server_ts", "room_id", "sender",   "state_key", "type",   NULL};
    const char *sender, *type;
    json_error_t ignored;
    size_t size;
    char *text;
    json_t *event;

    *out = (struct ems_event_signature){0};
    text = unescape(sample->json, sample->size, &size);
    if (text == NULL)
        return false;
    event = json_loadb(text, size, JSON_REJECT_DUPLICATES, &ignored);
    free(text);
    sender = json_string_value(json_object_get(event, "sender"));
    type = json_string_value(json_object_get(event, "type"));
    if (sender != NULL && type != NULL && is_of_server(sender, server)) {
        snprintf(out->event_sender, sizeof out->event_sender, "%s", sender);
        out->ts = (uint64_t)json_integer_value(json_object_get(event, "origin_server_ts"));
        read_signatures(json_object_get(event, "signatures"), server, out);
        if (out->count > 0 && is_plain_event(event, type))
            write_message(event, keys, &out->message);
    }
    json_decref(event);
    return out->count > 0;
}
