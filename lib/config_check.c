/* config_check.c - what is wrong with a configuration in itself; see config.h. The rules are those
 * of synapse/config/{server,key,registration,auth,database,repository}.py. */
#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- server names ---- */

/* Python's int() would take more (blanks, underscores); nobody means that. */
static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");

    return n > 0 && n <= 5 && text[n] == '\0' && atol(text) <= 65535;
}

/* VALID_HOST_REGEX of Synapse: labels that are not empty, with dots between them. */
static bool is_host(const char *text, size_t size)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
    size_t at = 0;

    for (;;) {
        size_t n = strspn(text + at, allowed);

        if (n == 0)
            return false; /* an empty label, or a character that has no place there */
        at += n;
        if (at >= size)
            return at == size;
        if (text[at++] != '.')
            return false;
    }
}

bool ems_server_name_is_valid(const char *name)
{
    const char *end = name + strlen(name), *colon = strrchr(name, ':');
    struct in6_addr ignored;
    char address[64];

    if (end == name || (size_t)(end - name) > 255)
        return false;
    if (end[-1] != ']' && colon != NULL) { /* within brackets a colon begins no port */
        if (!is_port(colon + 1))
            return false;
        end = colon;
    }
    if (name[0] != '[')
        return is_host(name, (size_t)(end - name));
    if (end - name < 4 || end[-1] != ']' || (size_t)(end - name) > sizeof address)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)(end - name - 2), name + 1);
    return inet_pton(AF_INET6, address, &ignored) == 1;
}

/* ---- secrets ---- */

/* Each may be given as text or as the name of a file that holds it, but not both ways. */
static const struct {
    enum ems_setting value, path;
} secrets[] = {
    {EMS_SETTING_MACAROON, EMS_SETTING_MACAROON_PATH},
    {EMS_SETTING_FORM, EMS_SETTING_FORM_PATH},
    {EMS_SETTING_REGISTRATION, EMS_SETTING_REGISTRATION_PATH},
    {EMS_SETTING_TURN, EMS_SETTING_TURN_PATH},
    {EMS_SETTING_WORKER, EMS_SETTING_WORKER_PATH},
};
#define SECRETS (sizeof secrets / sizeof secrets[0])

/* The length is all that may be shown: enough to see that two files hold the same kind of thing,
 * and of no use to whoever reads a report. A list or a mapping has none. */
char *ems_config_secret_text(const struct ems_config_value *value,
                             const struct ems_config_value *path, char *out)
{
    if (value->type == EMS_YAML_ALIAS)
        snprintf(out, EMS_CONFIG_SECRET_SIZE, "set");
    else if (value->type > EMS_YAML_NULL && value->length > 0)
        snprintf(out, EMS_CONFIG_SECRET_SIZE, "set (%zu characters)", value->length);
    else if (path != NULL && path->type > EMS_YAML_NULL)
        snprintf(out, EMS_CONFIG_SECRET_SIZE, "from a file");
    else
        snprintf(out, EMS_CONFIG_SECRET_SIZE, "not set");
    return out;
}

static void warn(struct ems_findings *findings, const struct ems_config_value *value,
                 const char *name, const char *advice, const char *what)
{
    ems_findings_add(findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_WARNING, value->file, NULL,
                     EMS_NOWHERE, advice, "line %lu: %s %s", value->line, name, what);
}

static void fail(struct ems_findings *findings, const struct ems_config_value *value,
                 const char *name, const char *what)
{
    ems_findings_add(findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_ERROR, value->file, NULL,
                     EMS_NOWHERE, NULL, "line %lu: %s %s", value->line, name, what);
}

/* YAML makes a number of 1234 and a truth of yes; Synapse then fails on it in one place or another.
 */
static void judge_secret(const struct ems_config_value *value, const char *name,
                         struct ems_findings *findings)
{
    if (value->placeholder)
        warn(findings, value, name, "Ask whether this is the file that the server runs with.",
             "is still a placeholder");
    else if (value->type == EMS_YAML_NUMBER || value->type == EMS_YAML_BOOL ||
             value->type == EMS_YAML_MAP || value->type == EMS_YAML_LIST)
        warn(findings, value, name, "Put quotes around it.", "is not text");
}

/* Of those the pepper weighs most: it is mixed into every password's hash (synapse/config/auth.py),
 * and without the same one nobody can sign in any more. */
static void judge_secrets(const struct ems_config *c, struct ems_findings *findings)
{
    for (size_t i = 0; i < SECRETS; i++) {
        const struct ems_config_value *value = ems_config_get(c, secrets[i].value);

        if (value == NULL)
            continue;
        judge_secret(value, ems_setting_name(secrets[i].value), findings);
        if (ems_config_get(c, secrets[i].path) != NULL)
            fail(findings, value, ems_setting_name(secrets[i].value),
                 "and the same with _path are both set: Synapse does not start with that");
    }
    if (c->pepper.type > EMS_YAML_NULL)
        judge_secret(&c->pepper, "password_config.pepper", findings);
}

/* What signs macaroons if nothing is set for it. Access tokens have not depended on it since
 * Synapse 1.37. */
static void judge_macaroon(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *name = &c->values[EMS_SETTING_SERVER_NAME];
    bool registration = ems_config_get(c, EMS_SETTING_REGISTRATION) != NULL ||
                        ems_config_get(c, EMS_SETTING_REGISTRATION_PATH) != NULL;

    if (ems_config_get(c, EMS_SETTING_MACAROON) != NULL ||
        ems_config_get(c, EMS_SETTING_MACAROON_PATH) != NULL)
        return;
    ems_findings_add(findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_NOTE,
                     name->file != NULL ? name->file : c->name, NULL, EMS_NOWHERE, "",
                     "macaroon_secret_key is not set: Synapse uses %s",
                     registration ? "registration_shared_secret for it"
                                  : "a hash of the signing key for it");
}

/* ---- the rows ---- */

static void judge_server_name(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *name = ems_config_get(c, EMS_SETTING_SERVER_NAME);
    const char *what = NULL;

    if (name == NULL) {
        ems_findings_add(findings, EMS_CONFIG_SERVER_NAME, EMS_SEVERITY_ERROR, c->name, NULL,
                         EMS_NOWHERE, NULL, "server_name is not set");
        return;
    }
    if (name->type == EMS_YAML_ALIAS)
        return;
    if (name->placeholder)
        what = "is still a placeholder";
    else if (name->type != EMS_YAML_STRING)
        what = "is not text";
    else if (!ems_server_name_is_valid(name->text))
        what = "is not the name of a server";
    if (what != NULL)
        ems_findings_add(findings, EMS_CONFIG_SERVER_NAME, EMS_SEVERITY_ERROR, name->file, NULL,
                         EMS_NOWHERE, NULL, "line %lu: server_name '%s' %s", name->line, name->text,
                         what);
}

/* read_signing_keys and read_old_signing_keys of synapse/config/key.py: all of these are errors at
 * the start of a server. */
static void judge_keys(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *inside = ems_config_get(c, EMS_SETTING_SIGNING_KEY);
    const struct ems_config_value *old = ems_config_get(c, EMS_SETTING_OLD_SIGNING_KEYS);

    if (inside != NULL && inside->type == EMS_YAML_STRING && c->signing_keys.count == 0)
        ems_findings_add(findings, EMS_KEY_MALFORMED, EMS_SEVERITY_ERROR, inside->file, NULL,
                         EMS_NOWHERE, NULL, "line %lu: signing_key cannot be read: %s",
                         inside->line, c->signing_key_error.text);
    if (inside != NULL && inside->type != EMS_YAML_STRING && inside->type != EMS_YAML_ALIAS)
        fail(findings, inside, "signing_key", "is not text");
    if (old != NULL && old->type != EMS_YAML_MAP && old->type != EMS_YAML_ALIAS)
        fail(findings, old, "old_signing_keys", "is not a mapping of key ids");
    if (old != NULL && c->old_key_count > 0)
        ems_findings_add(findings, EMS_KEY_MALFORMED, EMS_SEVERITY_NOTE, old->file, NULL,
                         EMS_NOWHERE,
                         "Keep them in the new configuration: other servers still verify old "
                         "events with them.",
                         "line %lu: old_signing_keys lists %zu keys", old->line, c->old_key_count);
    for (size_t i = 0; old != NULL && i < c->old_key_count; i++) {
        const struct ems_config_old_key *key = &c->old_keys[i];
        const char *what = !key->is_ed25519    ? "is not of type ed25519"
                           : !key->has_key     ? "has no key of 43 characters of base64"
                           : !key->has_expired ? "has no expired_ts"
                                               : NULL;

        if (what != NULL)
            ems_findings_add(findings, EMS_KEY_MALFORMED, EMS_SEVERITY_ERROR, old->file, NULL,
                             EMS_NOWHERE, "Synapse does not start with that: correct it.",
                             "line %lu: old_signing_keys: %s %s", old->line, key->id, what);
    }
}

/* database, databases and the older database_path (synapse/config/database.py). */
static void judge_database(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *one = ems_config_get(c, EMS_SETTING_DATABASE);
    const struct ems_config_value *several = ems_config_get(c, EMS_SETTING_DATABASES);
    const struct ems_config_value *path = ems_config_get(c, EMS_SETTING_DATABASE_PATH);
    const struct ems_config_databases *said = several != NULL ? &c->several : &c->one;

    if (one != NULL && several != NULL)
        fail(findings, several, "databases",
             "and database are both set: Synapse does not start with that");
    if (path != NULL && several != NULL)
        fail(findings, path, "database_path",
             "and databases are both set: Synapse does not start with that");
    if ((one != NULL || several != NULL) && said->other[0] != '\0')
        ems_findings_add(findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_ERROR,
                         (several != NULL ? several : one)->file, NULL, EMS_NOWHERE, NULL,
                         "database engine '%s' is neither psycopg2 nor sqlite3", said->other);
    if (several != NULL && c->several.count > 1)
        ems_findings_add(findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_WARNING, several->file, NULL,
                         EMS_NOWHERE, "Ask for a dump of each of them.",
                         "line %lu: the homeserver has %u databases; one dump is not enough",
                         several->line, c->several.count);
}

/*
 * A provider with store_local and no local storage keeps the only copy: an export of the media
 * store then lacks files, which is not the archive's fault. S3 is what people have, by the module
 * s3_storage_provider; media then leave the disk after a while (s3_media_upload), and neither the
 * exporter nor tar can see them.
 */
static void judge_media(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *providers =
        ems_config_get(c, EMS_SETTING_MEDIA_STORAGE_PROVIDERS);
    const struct ems_config_value *local =
        ems_config_get(c, EMS_SETTING_ENABLE_LOCAL_MEDIA_STORAGE);

    if (providers != NULL && c->providers > 0)
        ems_findings_add(
            findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_WARNING, providers->file, NULL,
            EMS_NOWHERE, "Ask whether the media export holds what lies there.",
            "line %lu: media_storage_providers is set (%s): media may live in S3 or elsewhere, "
            "and not in the media store",
            providers->line, c->provider[0] != '\0' ? c->provider : "no module named");
    if (local != NULL && local->type == EMS_YAML_BOOL && !local->truth)
        warn(findings, local, "enable_local_media_storage",
             "The media must come from the storage provider.",
             "is off: there are no media files on the server's disk");
}

/* Aliases are not followed (config.h), so what they stand for is not known; that has to be said. */
static void judge_aliases(const struct ems_config *c, struct ems_findings *findings)
{
    const struct ems_config_value *merge = ems_config_get(c, EMS_SETTING_MERGE);

    for (int key = 0; key < EMS_SETTING_MERGE; key++)
        if (c->values[key].type == EMS_YAML_ALIAS)
            warn(findings, &c->values[key], ems_setting_name((enum ems_setting)key), "",
                 "is an alias and was not looked at");
    if (merge != NULL)
        warn(findings, merge, "<<", "Look at this file by hand.",
             "brings in keys that were not looked at");
}

/* Errors are what Synapse would not start with; the rest is warnings, and notes where it goes on
 * with something else than one would think. */
void ems_config_judge(const struct ems_config *c, struct ems_findings *findings)
{
    judge_server_name(c, findings);
    judge_keys(c, findings);
    judge_secrets(c, findings);
    judge_macaroon(c, findings);
    judge_database(c, findings);
    judge_media(c, findings);
    judge_aliases(c, findings);
}

/* A text that was edited on the way is no fault of the homeserver, and Synapse would read most of
 * them: warnings, all of them. */
void ems_config_judge_file(const struct ems_config *c, struct ems_findings *findings)
{
    struct ems_config_value whole = {.file = c->name, .line = 1};

    if (!c->is_mapping)
        warn(findings, &whole, "the file", "Send the file that the server runs with.",
             "holds no settings: Synapse would ignore it");
    if (c->bom)
        warn(findings, &whole, "the file", "It was edited on the way: ask for the original.",
             "begins with a byte order mark");
    if (c->crlf)
        warn(findings, &whole, "the file", "It was edited on the way: ask for the original.",
             "has line ends of Windows (CR LF)");
    whole.line = c->duplicate_line;
    if (whole.line > 0)
        warn(findings, &whole, "a setting", "Only the last one counts.", "is given a second time");
}
