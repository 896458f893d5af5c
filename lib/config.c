/*
 * config.c - YAML events to the values of config.h; judging is in config_check.c
 *
 * libyaml's event interface gives a file as a flat run of events; nothing is built from it. A small
 * stack of frames knows where in the top four levels the reader stands, which is as deep as
 * anything of interest lies. What is deeper is only counted through, so memory does not depend on
 * the file.
 */
#include "config.h"

#include "base64.h"
#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH   64u
#define MAX_EVENTS  1000000u
#define MAX_ALIASES 64u
#define KEPT_DEPTH  4u /* the deepest thing looked at: databases > label > name */
#define KEY_SIZE    80u

static const struct {
    const char *name;
    bool secret;
} known[] = {
#define KNOWN(constant, name, secret) {name, secret},
    EMS_SETTINGS(KNOWN)
#undef KNOWN
};

const char *ems_setting_name(enum ems_setting key)
{
    return known[key].name;
}

bool ems_setting_is_secret(enum ems_setting key)
{
    return known[key].secret;
}

/*
 * An open mapping or sequence. What is looked for, by depth: 1 top-level keys; 2
 * password_config.pepper, database.name, an id of old_signing_keys, a provider; 3
 * databases.*.name, a provider's module, an old key's fields.
 */
struct frame {
    bool map, want_value; /* in a mapping: the key has been read */
    char key[KEY_SIZE];   /* of the value that comes; "" for a key that is too long or no scalar */
    unsigned long items;  /* values begun so far */
};

/* What the event handlers share. frames[n] belongs to depth n; deeper ones have none. */
struct reader {
    struct ems_config *config;
    const char *name;
    struct frame frames[KEPT_DEPTH + 1]; /* [1] is the top level */
    unsigned depth;
    unsigned aliases;
    enum ems_setting top; /* of the value being read; EMS_SETTING_COUNT: not of interest */
};

/* ---- scalars ---- */

static bool is_word(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* YAML 1.1 as PyYAML's resolver has it, as far as it matters: is a plain scalar a string? */
static enum ems_yaml_type plain_type(const char *text, bool *truth)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"yes",  "Yes", "YES", "true", "True",
                                      "TRUE", "on",  "On",  "ON",   NULL};
    static const char *const no[] = {"no",    "No",  "NO",  "false", "False",
                                     "FALSE", "off", "Off", "OFF",   NULL};
    size_t digits, n = strlen(text), sign = text[0] == '-' || text[0] == '+';

    if (is_word(text, nulls))
        return EMS_YAML_NULL;
    *truth = is_word(text, yes);
    if (*truth || is_word(text, no))
        return EMS_YAML_BOOL;
    /* 12, -1_000, 0x1f, 1.5, 1e+3, 12:30 (base 60); two dots make an address, which is a string */
    if (strncmp(text + sign, "0x", 2) == 0)
        digits = 2 + strspn(text + sign + 2, "0123456789abcdefABCDEF_");
    else
        digits = strspn(text + sign, "0123456789_");
    if (digits == 0 || text[sign] == '_')
        return EMS_YAML_STRING;
    n -= sign;
    text += sign;
    if (digits < n && text[digits] == '.')
        digits += 1 + strspn(text + digits + 1, "0123456789_");
    while (digits < n && text[digits] == ':' && strspn(text + digits + 1, "0123456789") > 0)
        digits += 1 + strspn(text + digits + 1, "0123456789");
    return digits == n ? EMS_YAML_NUMBER : EMS_YAML_STRING;
}

/* What templates and guides leave in place of a value, in any case and anywhere in it; or all of it
 * in angle brackets. */
static bool is_placeholder(const char *text, size_t size)
{
    static const char *const words[] = {"CHANGEME",  "CHANGE_ME",  "CHANGE-ME", "CHANGE ME",
                                        "REPLACEME", "REPLACE_ME", "YOUR_",     NULL};

    for (size_t i = 0; words[i] != NULL; i++)
        if (size >= strlen(words[i]) && strcasestr(text, words[i]) != NULL)
            return true;
    return size >= 2 && text[0] == '<' && text[size - 1] == '>';
}

/* UTF-8 characters: bytes that do not continue one. People count those when they compare. */
static size_t characters(const uint8_t *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += (text[i] & 0xc0) != 0x80;
    return n;
}

/* Only a plain scalar without a tag can be anything but text; quotes make a string of all. */
static void take_scalar(const struct reader *r, const yaml_event_t *event, bool secret,
                        struct ems_config_value *value)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;

    *value = (struct ems_config_value){.file = r->name, .line = event->start_mark.line + 1};
    value->type = EMS_YAML_STRING;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.plain_implicit)
        value->type = plain_type(text, &value->truth);
    value->length = characters((const uint8_t *)text, size);
    value->placeholder = is_placeholder(text, size);
    if (!secret)
        ems_printable(text, size, value->text, sizeof value->text);
}

static void take_opening(const struct reader *r, const yaml_event_t *event,
                         struct ems_config_value *value)
{
    *value = (struct ems_config_value){.file = r->name, .line = event->start_mark.line + 1};
    value->type = event->type == YAML_MAPPING_START_EVENT    ? EMS_YAML_MAP
                  : event->type == YAML_SEQUENCE_START_EVENT ? EMS_YAML_LIST
                                                             : EMS_YAML_ALIAS;
}

static void take(const struct reader *r, const yaml_event_t *event, bool secret,
                 struct ems_config_value *value)
{
    if (event->type == YAML_SCALAR_EVENT)
        take_scalar(r, event, secret, value);
    else
        take_opening(r, event, value);
}

/* ---- what is below the top level ---- */

/* The database's `name` is Synapse's word for its engine. */
static void take_engine(const struct reader *r, const yaml_event_t *event,
                        struct ems_config_databases *databases)
{
    struct ems_config_value engine;

    take(r, event, false, &engine);
    if (strcmp(engine.text, "psycopg2") == 0)
        databases->postgres++;
    else if (strcmp(engine.text, "sqlite3") == 0)
        databases->sqlite++;
    else
        snprintf(databases->other, sizeof databases->other, "%.60s", engine.text);
}

/* old_signing_keys: a mapping of key id to {key, expired_ts}. Only public keys: nothing to hide. */
static void take_old_key(struct reader *r, const yaml_event_t *event)
{
    struct ems_config *c = r->config;
    struct ems_config_old_key *key;
    struct ems_config_value value;

    take(r, event, false, &value);
    if (r->depth == 2) {
        if (c->old_key_count == EMS_CONFIG_OLD_KEYS_MAX)
            return;
        key = &c->old_keys[c->old_key_count++];
        *key = (struct ems_config_old_key){0};
        ems_printable(r->frames[2].key, strlen(r->frames[2].key), key->id, sizeof key->id);
        key->is_ed25519 = strncmp(key->id, "ed25519:", 8) == 0;
        return;
    }
    if (r->depth != 3 || c->old_key_count == 0)
        return;
    key = &c->old_keys[c->old_key_count - 1];
    if (strcmp(r->frames[3].key, "key") == 0 && event->type == YAML_SCALAR_EVENT)
        key->has_key = ems_base64_decode(value.text, strlen(value.text), key->public_key, 32);
    if (strcmp(r->frames[3].key, "expired_ts") == 0 && value.type == EMS_YAML_NUMBER) {
        key->expired_ts = strtoull(value.text, NULL, 10);
        key->has_expired = true;
    }
}

/*
 * A value two or three levels down, under a top-level key of interest. The first provider alone is
 * named: one is enough to ask about. Which of them have store_local or store_remote does not
 * matter here, for an export can lack files either way.
 */
static void take_nested(struct reader *r, const yaml_event_t *event)
{
    struct ems_config *c = r->config;
    const char *key = r->frames[r->depth].map ? r->frames[r->depth].key : "";

    switch (r->top) {
    case EMS_SETTING_PASSWORD_CONFIG:
        if (r->depth == 2 && strcmp(key, "pepper") == 0)
            take(r, event, true, &c->pepper);
        break;
    case EMS_SETTING_DATABASE:
        if (r->depth == 2 && strcmp(key, "name") == 0)
            take_engine(r, event, &c->one);
        break;
    case EMS_SETTING_DATABASES:
        if (r->depth == 2)
            c->several.count++;
        if (r->depth == 3 && strcmp(key, "name") == 0)
            take_engine(r, event, &c->several);
        break;
    case EMS_SETTING_MEDIA_STORAGE_PROVIDERS:
        if (r->depth == 2)
            c->providers++;
        if (r->depth == 3 && strcmp(key, "module") == 0 && c->provider[0] == '\0') {
            struct ems_config_value module;

            take(r, event, false, &module);
            memcpy(c->provider, module.text, sizeof c->provider);
        }
        break;
    case EMS_SETTING_OLD_SIGNING_KEYS:
        take_old_key(r, event);
        break;
    default:
        break;
    }
}

/* ---- the top level ---- */

/* What was read below a top-level key that is given once more. */
static void forget_nested(struct ems_config *c, enum ems_setting key)
{
    switch (key) {
    case EMS_SETTING_PASSWORD_CONFIG:
        c->pepper = (struct ems_config_value){0};
        break;
    case EMS_SETTING_DATABASE:
        c->one = (struct ems_config_databases){0};
        break;
    case EMS_SETTING_DATABASES:
        c->several = (struct ems_config_databases){0};
        break;
    case EMS_SETTING_MEDIA_STORAGE_PROVIDERS:
        c->providers = 0;
        c->provider[0] = '\0';
        break;
    case EMS_SETTING_OLD_SIGNING_KEYS:
        c->old_key_count = 0;
        break;
    case EMS_SETTING_SIGNING_KEY:
        c->signing_keys.count = 0;
        c->signing_key_error = (struct ems_error){0};
        break;
    default:
        break;
    }
}

/* Of a key that is there twice the last one counts (PyYAML), and nothing of the first stays. */
static int take_top(struct reader *r, const yaml_event_t *event, struct ems_error *err)
{
    struct ems_config *c = r->config;
    const char *key = r->frames[1].key;

    c->keys++;
    for (r->top = 0; r->top < EMS_SETTING_COUNT; r->top++)
        if (strcmp(key, known[r->top].name) == 0)
            break;
    if (r->top == EMS_SETTING_COUNT)
        return EMS_OK;
    if (c->values[r->top].type != EMS_YAML_ABSENT && c->duplicate_line == 0)
        c->duplicate_line = event->start_mark.line + 1;
    forget_nested(c, r->top);
    take(r, event, known[r->top].secret, &c->values[r->top]);
    if (r->top == EMS_SETTING_DATABASE && event->type == YAML_MAPPING_START_EVENT)
        c->one.count = 1;
    if (r->top == EMS_SETTING_SIGNING_KEY && event->type == YAML_SCALAR_EVENT) {
        int rc = ems_signing_keys_parse(event->data.scalar.value, event->data.scalar.length,
                                        &c->signing_keys, &c->signing_key_error);

        if (rc == EMS_NO_MEMORY)
            return ems_fail_memory(err);
        if (rc != EMS_OK)
            c->signing_keys.count = 0;
    }
    return EMS_OK;
}

/* ---- events ---- */

static int refuse(const yaml_event_t *event, struct ems_error *err, const char *what)
{
    return ems_fail(err, EMS_CONFIG_MALFORMED, "line %zu: %s", event->start_mark.line + 1, what);
}

/* safe_load knows the tags of YAML itself; those that make Python objects and private ones it does
 * not, and Synapse does not start with them. */
static bool is_standard_tag(const yaml_char_t *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    static const char *const names[] = {"str", "int",  "float", "bool",   "null",      "seq", "map",
                                        "set", "omap", "pairs", "binary", "timestamp", NULL};
    const char *text = (const char *)tag;

    return tag == NULL || strcmp(text, "!") == 0 ||
           (strncmp(text, prefix, sizeof prefix - 1) == 0 &&
            is_word(text + sizeof prefix - 1, names));
}

/* A node (scalar, alias, start of a mapping or a sequence): a key of the mapping around it, or a
 * value somewhere. */
static int see_node(struct reader *r, const yaml_event_t *event, struct ems_error *err)
{
    struct frame *f = r->depth <= KEPT_DEPTH ? &r->frames[r->depth] : NULL;

    if (r->depth == 0) {
        r->config->is_mapping = event->type == YAML_MAPPING_START_EVENT;
        return EMS_OK;
    }
    if (f == NULL)
        return EMS_OK;
    if (f->map && !f->want_value) {
        f->want_value = true;
        f->key[0] = '\0';
        if (event->type == YAML_SCALAR_EVENT && event->data.scalar.length < sizeof f->key)
            memcpy(f->key, event->data.scalar.value, event->data.scalar.length + 1);
        return EMS_OK;
    }
    f->want_value = false;
    f->items++;
    if (!r->config->is_mapping)
        return EMS_OK;
    if (r->depth == 1)
        return take_top(r, event, err);
    if (r->top < EMS_SETTING_COUNT)
        take_nested(r, event);
    return EMS_OK;
}

/* The depth is the only thing of a file that could grow our stack, so it has a limit. */
static int open_frame(struct reader *r, const yaml_event_t *event, struct ems_error *err)
{
    if (r->depth == MAX_DEPTH)
        return refuse(event, err, "nested more than 64 levels deep");
    r->depth++;
    if (r->depth <= KEPT_DEPTH)
        r->frames[r->depth] = (struct frame){.map = event->type == YAML_MAPPING_START_EVENT};
    return EMS_OK;
}

/* One event. Anchors need no care: nothing is expanded, so the classic bomb of aliases of aliases
 * has no effect; the limit only tells it from an honest file. */
static int see_event(struct reader *r, const yaml_event_t *event, unsigned *documents,
                     struct ems_error *err)
{
    int rc;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1)
            return refuse(event, err, "a second document begins; Synapse takes only one a file");
        return EMS_OK;
    case YAML_ALIAS_EVENT:
        if (++r->aliases > MAX_ALIASES)
            return refuse(event, err, "more than 64 aliases");
        return see_node(r, event, err);
    case YAML_SCALAR_EVENT:
        if (!is_standard_tag(event->data.scalar.tag))
            return refuse(event, err, "a tag that Synapse does not take");
        return see_node(r, event, err);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (!is_standard_tag(event->type == YAML_MAPPING_START_EVENT
                                 ? event->data.mapping_start.tag
                                 : event->data.sequence_start.tag))
            return refuse(event, err, "a tag that Synapse does not take");
        rc = see_node(r, event, err);
        return rc == EMS_OK ? open_frame(r, event, err) : rc;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return EMS_OK;
    default:
        return EMS_OK;
    }
}

/* libyaml's problem texts are constants; none holds anything of the file. */
static int syntax_error(const yaml_parser_t *parser, struct ems_error *err)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return ems_fail_memory(err);
    if (parser->error == YAML_READER_ERROR)
        return ems_fail(err, EMS_CONFIG_MALFORMED, "byte %zu: %s", parser->problem_offset,
                        parser->problem != NULL ? parser->problem : "not readable");
    return ems_fail(err, EMS_CONFIG_MALFORMED, "line %zu: %s", parser->problem_mark.line + 1,
                    parser->problem != NULL ? parser->problem : "not YAML");
}

/* libyaml frees without wiping: the text of each scalar is wiped here, its input buffers at the
 * end. */
static void wipe_event(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        ems_wipe(event->data.scalar.value, event->data.scalar.length);
    yaml_event_delete(event);
}

/* libyaml's own memory is bounded by the file, which is bounded by EMS_CONFIG_MAX; time by
 * MAX_EVENTS: a document like "[[[[..." or one of commas costs a fixed number of calls. */
static int run(struct reader *r, yaml_parser_t *parser, struct ems_error *err)
{
    unsigned documents = 0, events = 0;
    bool end = false;
    int rc = EMS_OK;

    while (rc == EMS_OK && !end) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event))
            return syntax_error(parser, err);
        end = event.type == YAML_STREAM_END_EVENT;
        rc = ++events > MAX_EVENTS ? refuse(&event, err, "more than a million values")
                                   : see_event(r, &event, &documents, err);
        wipe_event(&event);
    }
    return rc;
}

/* Bytes that PyYAML's reader would refuse (NUL, most control characters, invalid UTF-8) libyaml's
 * refuses as well. UTF-16 it could read, but with the encoding set it does not: Synapse opens its
 * files as UTF-8. */
int ems_config_parse(const void *text, size_t size, const char *name, struct ems_config *config,
                     struct ems_error *err)
{
    struct reader r = {.config = config, .name = name, .top = EMS_SETTING_COUNT};
    const uint8_t *bytes = text;
    yaml_parser_t parser;
    int rc;

    *config = (struct ems_config){.name = name};
    if (size > EMS_CONFIG_MAX)
        return ems_fail(err, EMS_CONFIG_MALFORMED, "larger than 4 MiB: no configuration");
    config->bom = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0;
    config->crlf = memmem(text, size, "\r\n", 2) != NULL;
    if (!yaml_parser_initialize(&parser))
        return ems_fail_memory(err);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    if (config->bom) { /* with the encoding set libyaml takes the mark for text */
        bytes += 3;
        size -= 3;
    }
    yaml_parser_set_input_string(&parser, bytes, size);
    rc = run(&r, &parser, err);
    ems_wipe(parser.raw_buffer.start, (size_t)(parser.raw_buffer.end - parser.raw_buffer.start));
    ems_wipe(parser.buffer.start, (size_t)(parser.buffer.end - parser.buffer.start));
    yaml_parser_delete(&parser);
    return rc;
}

/* ---- several files ---- */

/* Keys that no other program of such an upload uses: `database` is in media-repo.yaml too. */
bool ems_config_is_synapse(const struct ems_config *c)
{
    static const enum ems_setting own[] = {EMS_SETTING_SERVER_NAME,      EMS_SETTING_SIGNING_KEY,
                                           EMS_SETTING_SIGNING_KEY_PATH, EMS_SETTING_MACAROON,
                                           EMS_SETTING_REGISTRATION,     EMS_SETTING_FORM,
                                           EMS_SETTING_MEDIA_STORE_PATH};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (c->values[own[i]].type != EMS_YAML_ABSENT)
            return true;
    return false;
}

/* Whole top-level values, never mixed: what hangs on a key goes with it. */
void ems_config_merge(struct ems_config *merged, const struct ems_config *later)
{
    for (int key = 0; key < EMS_SETTING_COUNT; key++)
        if (later->values[key].type != EMS_YAML_ABSENT)
            merged->values[key] = later->values[key];
    if (later->values[EMS_SETTING_PASSWORD_CONFIG].type != EMS_YAML_ABSENT)
        merged->pepper = later->pepper;
    if (later->values[EMS_SETTING_DATABASE].type != EMS_YAML_ABSENT)
        merged->one = later->one;
    if (later->values[EMS_SETTING_DATABASES].type != EMS_YAML_ABSENT)
        merged->several = later->several;
    if (later->values[EMS_SETTING_MEDIA_STORAGE_PROVIDERS].type != EMS_YAML_ABSENT) {
        merged->providers = later->providers;
        memcpy(merged->provider, later->provider, sizeof merged->provider);
    }
    if (later->values[EMS_SETTING_OLD_SIGNING_KEYS].type != EMS_YAML_ABSENT) {
        memcpy(merged->old_keys, later->old_keys, sizeof merged->old_keys);
        merged->old_key_count = later->old_key_count;
    }
    if (later->values[EMS_SETTING_SIGNING_KEY].type != EMS_YAML_ABSENT) {
        merged->signing_keys = later->signing_keys;
        merged->signing_key_error = later->signing_key_error;
    }
    if (merged->name == NULL)
        merged->name = later->name;
    merged->is_mapping |= later->is_mapping;
    merged->keys += later->keys;
}

const struct ems_config_value *ems_config_get(const struct ems_config *c, enum ems_setting key)
{
    const struct ems_config_value *value = &c->values[key];

    return value->type != EMS_YAML_ABSENT && value->type != EMS_YAML_NULL ? value : NULL;
}
