/* upload_key.c - the signing key against the newest events; see upload_check.h */
#include "upload_check.h"

#include "event_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the samples say. */
struct witness {
    uint64_t newest;                         /* time of the newest event */
    unsigned events;                         /* of this server, with its signature */
    char newest_id[EMS_SIGNING_KEY_ID_SIZE]; /* that signed the newest of them */
    bool newest_known;                       /* ... with one of the keys at hand */
    char known_id[EMS_SIGNING_KEY_ID_SIZE];  /* of a key at hand that any of them names; "" */
    unsigned good, bad;                      /* signatures by keys at hand that could be verified */
};

/* A signature that cannot be verified for lack of the room's version is no witness against the key;
 * its id still is one for it. */
static void see_sample(struct witness *w, const struct ems_event_sample *sample, const char *server,
                       const struct ems_signing_keys *keys)
{
    struct ems_event_signature event;
    bool newest;

    if (!ems_event_signature_read(sample, server, &event))
        return;
    w->events++;
    newest = event.ts >= w->newest;
    if (newest) {
        w->newest = event.ts;
        w->newest_known = false;
        memcpy(w->newest_id, event.items[0].id, sizeof w->newest_id);
    }
    for (size_t i = 0; i < event.count; i++) {
        const struct ems_signing_key *key = ems_signing_keys_find(keys, event.items[i].id);

        if (key == NULL)
            continue;
        w->newest_known |= newest;
        if (w->known_id[0] == '\0')
            memcpy(w->known_id, key->id, sizeof w->known_id);
        if (event.message.size == 0)
            continue;
        if (event.items[i].has_bytes &&
            ems_signing_key_verify(key->public_key, event.message.data, event.message.size,
                                   event.items[i].bytes))
            w->good++;
        else
            w->bad++;
    }
    ems_buf_release(&event.message);
}

static void see_list(struct witness *w, const struct ems_event_list *list, const char *server,
                     const struct ems_signing_keys *keys)
{
    for (size_t i = 0; i < list->count; i++)
        see_sample(w, &list->items[i], server, keys);
}

/* Should the server get a new key, events signed with this one are verified by other servers with
 * what old_signing_keys says (synapse/config/key.py); the line is ready to be copied. */
static const char *advise_old_key(const struct ems_signing_keys *keys, const char *id, char *out,
                                  size_t size)
{
    const struct ems_signing_key *key = ems_signing_keys_find(keys, id);

    snprintf(out, size,
             "If the server gets a new key, list this one under old_signing_keys: \"%s\": {key: "
             "\"%s\", expired_ts: milliseconds of the last use}.",
             id, key != NULL ? key->public_text : "");
    return out;
}

/* There are keys and events: do they belong to each other? */
static void compare(const struct witness *w, const struct ems_signing_keys *keys, const char *name,
                    struct ems_findings *findings)
{
    char advice[400];

    if (w->known_id[0] == '\0') {
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_ERROR, name, NULL, EMS_NOWHERE,
                         NULL, "the newest events are signed with %s, but this is %s", w->newest_id,
                         keys->items[0].id);
        return;
    }
    if (w->bad > 0 && w->good == 0) {
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_ERROR, name, NULL, EMS_NOWHERE,
                         NULL,
                         "the newest events name %s, but this key of that name did not sign them "
                         "(%u signatures tried)",
                         w->known_id, w->bad);
        return;
    }
    if (!w->newest_known)
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_WARNING, name, NULL, EMS_NOWHERE,
                         "Ask for the key that the server used last.",
                         "older events are signed with %s, but the newest with %s", w->known_id,
                         w->newest_id);
    if (w->good > 0)
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_NOTE, name, NULL, EMS_NOWHERE,
                         advise_old_key(keys, w->known_id, advice, sizeof advice),
                         "this key signed the newest events: %u signatures of %s verified", w->good,
                         w->known_id);
    else
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_NOTE, name, NULL, EMS_NOWHERE, "",
                         "the newest events name %s; none of those looked at has a signature that "
                         "can be verified without knowing the room's version",
                         w->known_id);
}

/* No other tool looks at this: a homeserver that comes up with another key of
 * the same id looks sound to itself, and other servers refuse what it signs. */
void ems_upload_check_key(const struct ems_synapse *synapse, const char *server,
                          const struct ems_signing_keys *keys, const char *name, bool whole,
                          struct ems_findings *findings)
{
    const struct ems_event_samples *samples = synapse->events;
    struct witness w = {0};

    if (samples != NULL) {
        see_list(&w, &samples->messages, server, keys);
        see_list(&w, &samples->others, server, keys);
    }
    if (keys->count > 0 && w.events > 0)
        compare(&w, keys, name, findings);
    else if (keys->count > 0)
        ems_findings_add(findings, EMS_KEY_MISMATCH, EMS_SEVERITY_NOTE, name, NULL, EMS_NOWHERE, "",
                         "no event of %s was found in the database to compare the signing key with",
                         server);
    else if (whole && w.events > 0)
        ems_findings_add(
            findings, EMS_CONFIG_MISSING, EMS_SEVERITY_WARNING, NULL, NULL, EMS_NOWHERE,
            "Ask for the file *.signing.key of the server.",
            "there is no signing key in the upload; %s is needed, it signed the newest "
            "events",
            w.newest_id);
}
