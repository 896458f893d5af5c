/*
 * The JSON tokenizer and the reader of manifest.json on any bytes: no crash, the same outcome
 * whatever the pieces. jansson is the judge of what is JSON; where the two differ, a limit of one
 * of them must be the reason.
 */
#include "fuzz.h"

#include "json.h"
#include "media_manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct outcome {
    int code;
    uint64_t events, sum; /* of all that was handed out */
    char text[256];
};

static void add(struct outcome *o, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        o->sum = (o->sum ^ (uint8_t)text[i]) * 0x100000001b3u;
}

static int take_event(void *context, const struct ems_json_event *e, struct ems_error *err)
{
    struct outcome *o = context;

    (void)err;
    fuzz_check(e->depth <= EMS_JSON_MAX_DEPTH && e->size <= EMS_JSON_MAX_TEXT);
    fuzz_check(e->text[e->size] == '\0');
    o->events++;
    o->sum += (uint64_t)e->type * 31 + e->depth;
    add(o, e->text, e->size);
    return EMS_OK;
}

static int take_entry(void *context, const struct ems_media_entry *e, struct ems_error *err)
{
    struct outcome *o = context;

    (void)err;
    o->events++;
    add(o, e->uri, strlen(e->uri));
    add(o, e->file_name, strlen(e->file_name));
    add(o, e->problem != NULL ? e->problem : (const char *)e->sha256,
        e->problem != NULL ? strlen(e->problem) : sizeof e->sha256);
    if (e->problem == NULL) { /* then it is what it says */
        char uri[3 * EMS_MEDIA_TEXT_MAX];

        snprintf(uri, sizeof uri, "mxc://%s/%s", e->origin, e->media_id);
        fuzz_check(strcmp(uri, e->uri) == 0 && e->file_name[0] != '\0' && e->size != EMS_NOWHERE);
    }
    return EMS_OK;
}

static struct outcome parse(const uint8_t *data, size_t size, size_t piece, bool manifest)
{
    struct outcome o = {0};
    struct ems_error err = {0};
    static struct ems_json json;
    struct ems_media_manifest *m = manifest ? ems_media_manifest_new(take_entry, &o, &err) : NULL;

    ems_json_init(&json, EMS_MEDIA_BAD_MANIFEST, take_event, &o);
    while (size > 0 && o.code == EMS_OK) {
        size_t n = piece > 0 && piece < size ? piece : size;

        o.code = manifest ? ems_media_manifest_feed(m, data, n, &err)
                          : ems_json_feed(&json, data, n, &err);
        data += n;
        size -= n;
    }
    if (o.code == EMS_OK)
        o.code = manifest ? ems_media_manifest_finish(m, &err) : ems_json_finish(&json, &err);
    fuzz_check(o.code == EMS_OK || o.code == EMS_MEDIA_BAD_MANIFEST);
    fuzz_check(o.code == err.code);
    memcpy(o.text, err.text, sizeof o.text);
    ems_media_manifest_free(m);
    return o;
}

static void judge(const uint8_t *data, size_t size, const struct outcome *ours)
{
    json_error_t error;
    json_t *theirs;

    if (size > 0 &&
        memchr(data, 0, size) != NULL) /* jansson takes a NUL behind a number for a blank */
        return;
    theirs = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

    if (theirs != NULL && ours->code != EMS_OK)
        fuzz_check(strstr(ours->text, "too long") != NULL ||
                   strstr(ours->text, "too many") != NULL);
    if (theirs == NULL && ours->code == EMS_OK)
        fuzz_check(strstr(error.text, "overflow") != NULL || strstr(error.text, "too big") != NULL);
    json_decref(theirs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int manifest = 0; manifest < 2; manifest++) {
        struct outcome whole = parse(data, size, 0, manifest);
        struct outcome pieces = parse(data, size, 1 + size % 7, manifest);

        fuzz_check(whole.code == pieces.code && whole.events == pieces.events &&
                   whole.sum == pieces.sum && strcmp(whole.text, pieces.text) == 0);
        if (manifest == 0)
            judge(data, size, &whole);
    }
    return 0;
}
