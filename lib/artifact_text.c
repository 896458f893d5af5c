/* artifact_text.c - see artifact_text.h */
#include "artifact_text.h"

#include "bytes.h"
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool ems_artifact_is_text(const struct ems_artifact *a)
{
    return a->kind == EMS_KIND_CONFIG || a->kind == EMS_KIND_SIGNING_KEY;
}

bool ems_artifact_is_homeserver_yaml(const struct ems_artifact *a)
{
    const char *path = a->set != NULL && a->set->count > 0 ? a->set->parts[0].path : NULL;

    return strncmp(a->name, "homeserver.y", 12) == 0 ||
           (path != NULL && strstr(path, "conf.d/") != NULL);
}

/* All of it into text, whose memory is never moved: nothing secret is left behind by realloc. */
static int read_all(struct ems_chain *chain, size_t max, const struct ems_check_options *o,
                    struct ems_buf *text, struct ems_error *err)
{
    struct ems_span span;
    int rc = ems_buf_reserve(text, max, err);

    while (rc == EMS_OK && (rc = ems_source_next(chain->top, &span, err)) == EMS_OK) {
        if (span.size > max - text->size)
            return ems_fail(err, max == EMS_CONFIG_MAX ? EMS_CONFIG_MALFORMED : EMS_KEY_MALFORMED,
                            "larger than %zu KiB: not what its name says", max / 1024);
        rc = ems_buf_append(text, span.data, span.size, err);
        if (rc == EMS_OK && o->tick != NULL)
            rc = o->tick(o->tick_context, err);
    }
    return rc;
}

static int add_secret(struct ems_facts *facts, const struct ems_config *c, enum ems_setting value,
                      enum ems_setting path, struct ems_error *err)
{
    char shown[EMS_CONFIG_SECRET_SIZE];

    return ems_facts_text(
        facts, ems_setting_name(value),
        ems_config_secret_text(&c->values[value], path != value ? &c->values[path] : NULL, shown),
        err);
}

/* What the configuration says the database is; database_path alone means SQLite. */
static const char *engine_of(const struct ems_config *c)
{
    const struct ems_config_databases *d =
        ems_config_get(c, EMS_SETTING_DATABASES) != NULL ? &c->several : &c->one;

    if (d->postgres > 0)
        return "psycopg2";
    if (d->sqlite > 0 || ems_config_get(c, EMS_SETTING_DATABASE_PATH) != NULL)
        return "sqlite3";
    return NULL;
}

/* What a file of the configuration says, for the report: names and numbers, no secret. */
static int config_facts(const struct ems_config *c, struct ems_facts *facts, struct ems_error *err)
{
    static const enum ems_setting shown[] = {EMS_SETTING_SERVER_NAME, EMS_SETTING_SIGNING_KEY_PATH,
                                             EMS_SETTING_MEDIA_STORE_PATH};
    char pepper[EMS_CONFIG_SECRET_SIZE];
    const char *engine = engine_of(c);
    int rc = EMS_OK;

    facts->layer = "config";
    for (size_t i = 0; i < sizeof shown / sizeof shown[0] && rc == EMS_OK; i++)
        if (ems_config_get(c, shown[i]) != NULL)
            rc = ems_facts_text(facts, ems_setting_name(shown[i]), c->values[shown[i]].text, err);
    if (rc == EMS_OK && engine != NULL)
        rc = ems_facts_text(facts, "database", engine, err);
    if (rc == EMS_OK)
        rc = add_secret(facts, c, EMS_SETTING_SIGNING_KEY, EMS_SETTING_SIGNING_KEY_PATH, err);
    if (rc == EMS_OK)
        rc = add_secret(facts, c, EMS_SETTING_MACAROON, EMS_SETTING_MACAROON_PATH, err);
    if (rc == EMS_OK)
        rc = add_secret(facts, c, EMS_SETTING_FORM, EMS_SETTING_FORM_PATH, err);
    if (rc == EMS_OK)
        rc = add_secret(facts, c, EMS_SETTING_REGISTRATION, EMS_SETTING_REGISTRATION_PATH, err);
    ems_config_secret_text(&c->pepper, NULL, pepper);
    if (rc == EMS_OK)
        rc = ems_facts_text(facts, "password_pepper", pepper, err);
    if (rc == EMS_OK && c->signing_keys.count > 0)
        rc = ems_facts_text(facts, "key_id", c->signing_keys.items[0].id, err);
    if (rc == EMS_OK && c->signing_keys.count > 0)
        rc = ems_facts_text(facts, "public_key", c->signing_keys.items[0].public_text, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(facts, "old_signing_keys", c->old_key_count, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(facts, "media_storage_providers", c->providers, err);
    snprintf(facts->summary, sizeof facts->summary, "%.120s%s%s, password pepper %s",
             c->values[EMS_SETTING_SERVER_NAME].text[0] != '\0'
                 ? c->values[EMS_SETTING_SERVER_NAME].text
                 : "no server_name",
             engine != NULL ? ", " : "", engine != NULL ? engine : "", pepper);
    return rc;
}

/* A file called homeserver.yaml is held to be one; any other that does not look like it is left
 * alone, broken or not. */
static int check_config(struct ems_artifact *a, const struct ems_buf *text,
                        struct ems_findings *findings, struct ems_error *err)
{
    struct ems_config *config = calloc(1, sizeof *config);
    int rc;

    if (config == NULL)
        return ems_fail_memory(err);
    rc = ems_config_parse(text->data, text->size, a->name, config, err);
    if (!ems_artifact_is_homeserver_yaml(a) &&
        (rc == EMS_CONFIG_MALFORMED || !ems_config_is_synapse(config))) {
        free(config); /* some other program's YAML */
        *err = (struct ems_error){0};
        return EMS_OK;
    }
    if (rc != EMS_OK) {
        free(config);
        return rc;
    }
    a->config = config;
    ems_config_judge_file(config, findings);
    return config_facts(config, &a->facts, err);
}

/* Who can read the file here can act as the customer's server. */
static void warn_of_mode(const struct ems_artifact *a, struct ems_findings *findings)
{
    const struct ems_part *part = a->set != NULL && !a->encrypted ? &a->set->parts[0] : NULL;
    struct stat st;

    if (part == NULL || part->path == NULL || part->member != EMS_PART_NO_MEMBER ||
        stat(part->path, &st) != 0 || (st.st_mode & S_IROTH) == 0)
        return;
    ems_findings_add(findings, EMS_KEY_MALFORMED, EMS_SEVERITY_WARNING, a->name, part->name,
                     EMS_NOWHERE, "Take that right away with chmod, here and at the customer's.",
                     "the signing key can be read by every user of this machine");
}

/* Only the first key signs; the others are kept for peers that ask (synapse/config/key.py). */
static int check_key(struct ems_artifact *a, const struct ems_buf *text,
                     struct ems_findings *findings, struct ems_error *err)
{
    struct ems_signing_keys *keys = calloc(1, sizeof *keys);
    int rc;

    if (keys == NULL)
        return ems_fail_memory(err);
    rc = ems_signing_keys_parse(text->data, text->size, keys, err);
    if (rc != EMS_OK) {
        free(keys);
        return rc;
    }
    a->signing_keys = keys;
    warn_of_mode(a, findings);
    if (keys->crlf)
        ems_findings_add(findings, EMS_KEY_MALFORMED, EMS_SEVERITY_WARNING, a->name, NULL,
                         EMS_NOWHERE, "It was edited on the way: ask for the original.",
                         "the key file has line ends of Windows (CR LF)");
    a->facts.layer = "signing-key";
    rc = ems_facts_text(&a->facts, "key_id", keys->items[0].id, err);
    if (rc == EMS_OK)
        rc = ems_facts_text(&a->facts, "public_key", keys->items[0].public_text, err);
    if (rc == EMS_OK)
        rc = ems_facts_number(&a->facts, "keys", keys->count, err);
    snprintf(a->facts.summary, sizeof a->facts.summary, "%s, public key %s", keys->items[0].id,
             keys->items[0].public_text);
    return rc;
}

int ems_artifact_check_text(struct ems_artifact *a, struct ems_chain *chain,
                            const struct ems_check_options *o, struct ems_findings *findings,
                            struct ems_error *err)
{
    bool is_config = a->kind == EMS_KIND_CONFIG;
    struct ems_buf text = {0};
    int rc = read_all(chain, is_config ? EMS_CONFIG_MAX : EMS_SIGNING_KEY_FILE_MAX, o, &text, err);

    a->encrypted = chain->encrypted;
    a->bytes_out = chain->top->offset;
    if (rc == EMS_END) {
        rc = is_config ? check_config(a, &text, findings, err) : check_key(a, &text, findings, err);
        rc = rc == EMS_OK ? EMS_END : rc;
    } else if (ems_code_exit(rc) != 75) {
        rc = ems_chain_settle(chain, err);
    }
    ems_wipe(text.data, text.size);
    ems_buf_release(&text);
    if (err->code == EMS_CONFIG_MALFORMED || err->code == EMS_KEY_MALFORMED)
        err->origin = EMS_NOWHERE; /* the message names the line */
    return rc;
}
