/* event_redact.c - see event_redact.h */
#include "event_redact.h"

#include <stdlib.h>
#include <string.h>

/*
 * Content that is kept, by type, and in which room versions. A row without a key: the type's
 * content is kept whole. What is signed is the event as redaction leaves it, without signatures
 * and unsigned, as canonical JSON (specification, "Signing events", "Redactions"). Redaction
 * differs between room versions, and the tables below are those of the specification's pages "Room
 * Version N".
 */
static const struct {
    const char *type, *key;
    unsigned first, last;
} kept[] = {
    {"m.room.member", "membership", 1, 99},
    {"m.room.member", "join_authorised_via_users_server", 9, 99},
    {"m.room.create", "creator", 1, 10},
    {"m.room.create", NULL, 11, 99},
    {"m.room.join_rules", "join_rule", 1, 99},
    {"m.room.join_rules", "allow", 8, 99},
    {"m.room.power_levels", "ban", 1, 99},
    {"m.room.power_levels", "events", 1, 99},
    {"m.room.power_levels", "events_default", 1, 99},
    {"m.room.power_levels", "kick", 1, 99},
    {"m.room.power_levels", "redact", 1, 99},
    {"m.room.power_levels", "state_default", 1, 99},
    {"m.room.power_levels", "users", 1, 99},
    {"m.room.power_levels", "users_default", 1, 99},
    {"m.room.power_levels", "invite", 11, 99},
    {"m.room.aliases", "aliases", 1, 5},
    {"m.room.history_visibility", "history_visibility", 1, 99},
    {"m.room.redaction", "redacts", 11, 99},
};

/* Top-level keys; the last three until version 11. */
static const char *const keys[] = {
    "auth_events", "depth",     "event_id", "hashes", "prev_events", "origin_server_ts", "room_id",
    "sender",      "state_key", "type",     "origin", "membership",  "prev_state",
};
#define KEYS     (sizeof keys / sizeof keys[0])
#define OLD_KEYS 3u

/* 1 to 12, or 0. */
static unsigned number_of(const char *version)
{
    char *end;
    unsigned long n;

    if (version == NULL || version[0] < '1' || version[0] > '9')
        return 0;
    n = strtoul(version, &end, 10);
    return *end == '\0' && n <= 12 ? (unsigned)n : 0;
}

/*
 * Without the version: is what redaction leaves the same in all of them? Not for the types of which
 * some content is kept, and not with the keys that versions up to 10 keep and later ones drop. (But
 * `origin`: Synapse has not written it since before version 11, so whoever has it is of an earlier
 * version.)
 */
static bool is_plain(const json_t *event, const char *type)
{
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (strcmp(type, kept[i].type) == 0)
            return false;
    return json_object_get(event, "membership") == NULL &&
           json_object_get(event, "prev_state") == NULL;
}

/* Since version 11 `signed` is kept within third_party_invite. */
static void keep_invite(const json_t *content, json_t *out)
{
    const json_t *invite = json_object_get(content, "third_party_invite");
    json_t *part, *is_signed;

    if (!json_is_object(invite))
        return;
    part = json_object();
    is_signed = json_object_get(invite, "signed");
    if (is_signed != NULL)
        json_object_set(part, "signed", is_signed);
    json_object_set_new(out, "third_party_invite", part);
}

static json_t *redact_content(const json_t *content, const char *type, unsigned version)
{
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        json_t *value;

        if (strcmp(type, kept[i].type) != 0 || version < kept[i].first || version > kept[i].last)
            continue;
        if (kept[i].key == NULL) {
            json_object_update(out, (json_t *)(uintptr_t)content);
        } else if ((value = json_object_get(content, kept[i].key)) != NULL) {
            json_object_set(out, kept[i].key, value);
        }
    }
    if (version >= 11 && strcmp(type, "m.room.member") == 0)
        keep_invite(content, out);
    return out;
}

static json_t *redact(const json_t *event, const char *type, unsigned version)
{
    size_t count = version >= 11 ? KEYS - OLD_KEYS : KEYS;
    json_t *out = json_object();

    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(event, keys[i]);

        /* A room of version 12 is named after its first event, which cannot hold that name. */
        if (value == NULL || (version == 12 && strcmp(type, "m.room.create") == 0 &&
                              strcmp(keys[i], "room_id") == 0))
            continue;
        json_object_set(out, keys[i], value);
    }
    json_object_set_new(out, "content",
                        redact_content(json_object_get(event, "content"), type, version));
    return out;
}

/* Is there a number with a fraction or an exponent? How it was written is not known any more. */
static bool has_real(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_real(value))
        return true;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (has_real(item))
            return true;
    }
    json_array_foreach(value, i, item)
    {
        if (has_real(item))
            return true;
    }
    return false;
}

/*
 * Canonical JSON (specification, appendix): jansson writes it, but for the hex digits of control
 * characters, which it has in capitals and everybody else in small letters.
 */
static void small_digits(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text != '\\')
            continue;
        if (*++text != 'u')
            continue;
        for (int i = 0; i < 4; i++)
            if (*++text >= 'A' && *text <= 'F')
                *text = (char)(*text - 'A' + 'a');
    }
}

/* Nothing is better than something else than what was signed: where the form cannot be known for
 * certain the message stays empty, and the signature is not looked at. */
void ems_event_redact(const json_t *event, const char *version, struct ems_buf *message)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    unsigned number = number_of(version);
    json_t *redacted;
    char *text = NULL;

    if (type == NULL || (number == 0 && !is_plain(event, type)))
        return;
    redacted = redact(event, type, number != 0 ? number : 10);
    if (!has_real(redacted))
        text = json_dumps(redacted, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(redacted);
    if (text == NULL)
        return;
    small_digits(text);
    ems_buf_append(message, text, strlen(text), NULL);
    free(text);
}
