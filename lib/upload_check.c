/* upload_check.c - see upload_check.h */
#include "upload_check.h"

#include "artifact_text.h"
#include "config.h"
#include "media_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * After all artifacts: what they say about each other. Nothing is read again. An artifact that was
 * not read to its end says nothing here: half a list would accuse the other half.
 */
struct upload {
    struct ems_report *report;
    const struct ems_upload_check_options *options;
    struct ems_findings *findings;
    struct ems_config config; /* merged */
    bool has_config;
    const struct ems_artifact *dump, *sqlite; /* the first of each that was read to its end */
};

/* ---- one configuration of all files ---- */

/* As Synapse is started on Debian: homeserver.yaml first, then the others in the order of their
 * names, which is that of the report. */
static void merge_configs(struct upload *u)
{
    for (int others = 0; others < 2; others++) {
        for (size_t i = 0; i < u->report->count; i++) {
            const struct ems_artifact *a = &u->report->artifacts[i];

            if (a->config == NULL || (strncmp(a->name, "homeserver.y", 12) != 0) != others)
                continue;
            ems_config_merge(&u->config, a->config);
            u->has_config = true;
        }
    }
}

/* The text of a setting that is no secret; NULL if it is not there. */
static const char *config_text(const struct upload *u, enum ems_setting key)
{
    const struct ems_config_value *value = ems_config_get(&u->config, key);

    return u->has_config && value != NULL && value->text[0] != '\0' ? value->text : NULL;
}

/* ---- what is not there ---- */

/* Paths in a configuration are those of the customer's machine: only the last component counts. */
static bool has_file(const struct upload *u, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t n = strlen(name);

    for (size_t i = 0; i < u->report->count; i++) {
        const char *have = u->report->artifacts[i].name;

        if (strncmp(have, name, n) == 0 && (have[n] == '\0' || strcmp(have + n, ".gpg") == 0))
            return true;
    }
    return false;
}

/* A broken homeserver.yaml is not a missing one; that it is broken has been said. */
static void check_missing(struct upload *u)
{
    static const enum ems_setting paths[] = {
        EMS_SETTING_MACAROON_PATH, EMS_SETTING_FORM_PATH,   EMS_SETTING_REGISTRATION_PATH,
        EMS_SETTING_TURN_PATH,     EMS_SETTING_WORKER_PATH, EMS_SETTING_SIGNING_KEY_PATH};
    bool broken = false, database = false;

    for (size_t i = 0; i < u->report->count; i++) {
        const struct ems_artifact *a = &u->report->artifacts[i];

        broken |= a->kind == EMS_KIND_CONFIG && ems_artifact_is_homeserver_yaml(a);
        database |= a->kind == EMS_KIND_PG_DUMP || a->kind == EMS_KIND_SQLITE;
    }
    if (!u->has_config && !broken && database)
        ems_findings_add(u->findings, EMS_CONFIG_MISSING, EMS_SEVERITY_WARNING, NULL, NULL,
                         EMS_NOWHERE, NULL, "there is no homeserver.yaml in the upload");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const char *path = config_text(u, paths[i]);

        if (path == NULL || has_file(u, path) ||
            (paths[i] == EMS_SETTING_SIGNING_KEY_PATH &&
             ems_config_get(&u->config, EMS_SETTING_SIGNING_KEY) != NULL))
            continue;
        ems_findings_add(u->findings, EMS_CONFIG_MISSING, EMS_SEVERITY_WARNING,
                         u->config.values[paths[i]].file, NULL, EMS_NOWHERE,
                         "Ask for that file too.", "%s names %s, which is not in the upload",
                         ems_setting_name(paths[i]), path);
    }
}

/* ---- names ---- */

/* Whose name is wrong nobody knows: both are told, and the one to blame is chosen in is_at_fault.
 */
static void check_name(struct upload *u, const char *name, const char *whose, const char *artifact,
                       int code, const char *expected, const char *by)
{
    char message[800];

    if (name == NULL || name[0] == '\0' || expected == NULL || strcmp(name, expected) == 0)
        return;
    snprintf(message, sizeof message, "%s is of %s, but %s says %s", whose, name, by, expected);
    if (!ems_findings_has(u->findings, code, artifact, message)) /* a restore has asked before */
        ems_findings_add(u->findings, code, EMS_SEVERITY_ERROR, artifact, NULL, EMS_NOWHERE, NULL,
                         "%s", message);
}

/* "example.org.signing.key", where the first part looks like a server's name: Debian's file is
 * called homeserver.signing.key everywhere. */
static void check_key_name(struct upload *u, const struct ems_artifact *a, const char *expected)
{
    const char *end = strstr(a->name, ".signing.key");
    size_t n = end != NULL ? (size_t)(end - a->name) : 0;
    const char *path = config_text(u, EMS_SETTING_SIGNING_KEY_PATH);

    if (a->signing_keys == NULL || memchr(a->name, '.', n) == NULL || expected == NULL ||
        (strlen(expected) == n && memcmp(expected, a->name, n) == 0))
        return;
    if (path != NULL && strlen(path) >= strlen(a->name) &&
        strcmp(path + strlen(path) - strlen(a->name), a->name) == 0)
        return; /* the configuration calls it so */
    ems_findings_add(u->findings, EMS_KEY_MISMATCH, EMS_SEVERITY_WARNING, a->name, NULL,
                     EMS_NOWHERE, "Check that it is the key of the right server.",
                     "by its name this is not the key of %s", expected);
}

/* What a media export is of: the importer gives all media that name. */
static void check_exports(struct upload *u, const char *expected, const char *by)
{
    for (size_t i = 0; i < u->report->count; i++) {
        const struct ems_artifact *a = &u->report->artifacts[i];
        bool usual = strcmp(a->media_server, "localhost") == 0; /* without -serverName */

        check_name(u, a->media_server,
                   usual ? "the media export, made without -serverName," : "the media export",
                   a->name, EMS_MEDIA_ENTITY, expected, by);
    }
}

/* The name that all must have; NULL if nobody says one. */
static const char *check_names(struct upload *u)
{
    const struct ems_artifact *database = u->dump != NULL ? u->dump : u->sqlite;
    const char *asked = u->options->server_name;
    const char *config = config_text(u, EMS_SETTING_SERVER_NAME);
    const char *stored = database != NULL ? database->synapse.server_name : NULL;
    const char *expected = asked != NULL ? asked : config;

    if (u->has_config && config != NULL)
        check_name(u, config, "the configuration", u->config.values[EMS_SETTING_SERVER_NAME].file,
                   EMS_CONFIG_SERVER_NAME, asked, "--server-name");
    for (size_t i = 0; i < u->report->count; i++) {
        const struct ems_artifact *a = &u->report->artifacts[i];

        if (asked != NULL)
            check_name(u, a->synapse.server_name, "the database", a->name, EMS_SYNAPSE_SERVER_NAME,
                       asked, "--server-name");
        else if (config != NULL)
            check_name(u, a->synapse.server_name, "the database", a->name, EMS_CONFIG_SERVER_NAME,
                       config, "the configuration");
    }
    if (expected == NULL && stored != NULL && stored[0] != '\0')
        expected = stored;
    check_exports(u, expected,
                  asked != NULL    ? "--server-name"
                  : config != NULL ? "the configuration"
                                   : "the database");
    for (size_t i = 0; i < u->report->count; i++)
        check_key_name(u, &u->report->artifacts[i], expected);
    return expected;
}

/* ---- database ---- */

/* The setting that says what the database is. database_path means SQLite, but only where the other
 * two are silent: beside `database` Synapse warns and ignores it (synapse/config/database.py). */
static enum ems_setting database_setting(const struct ems_config *c)
{
    static const enum ems_setting in_order[] = {EMS_SETTING_DATABASES, EMS_SETTING_DATABASE,
                                                EMS_SETTING_DATABASE_PATH};

    for (size_t i = 0; i < sizeof in_order / sizeof in_order[0]; i++)
        if (ems_config_get(c, in_order[i]) != NULL)
            return in_order[i];
    return EMS_SETTING_COUNT;
}

/* Both kinds in one upload happen after a move to PostgreSQL: then nothing contradicts. */
static void check_database(struct upload *u)
{
    static const struct ems_config_databases by_path = {.count = 1, .sqlite = 1};
    enum ems_setting where = u->has_config ? database_setting(&u->config) : EMS_SETTING_COUNT;
    const struct ems_config_databases *said = where == EMS_SETTING_DATABASES  ? &u->config.several
                                              : where == EMS_SETTING_DATABASE ? &u->config.one
                                                                              : &by_path;
    const char *file;

    if (where == EMS_SETTING_COUNT)
        return;
    file = u->config.values[where].file;
    if (said->postgres > 0 && said->sqlite == 0 && u->sqlite != NULL && u->dump == NULL)
        ems_findings_add(u->findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_ERROR, file, NULL,
                         EMS_NOWHERE, "Ask for a dump of the PostgreSQL database.",
                         "the server uses PostgreSQL, but the upload holds an SQLite database (%s)",
                         u->sqlite->name);
    if (said->sqlite > 0 && said->postgres == 0 && u->dump != NULL && u->sqlite == NULL)
        ems_findings_add(u->findings, EMS_CONFIG_MALFORMED, EMS_SEVERITY_ERROR, file, NULL,
                         EMS_NOWHERE, "Ask for homeserver.db, or for the right configuration.",
                         "the server uses SQLite, but the upload holds a PostgreSQL dump (%s)",
                         u->dump->name);
}

/* ---- media ---- */

static bool has_providers(const struct upload *u)
{
    const struct ems_config_value *local =
        ems_config_get(&u->config, EMS_SETTING_ENABLE_LOCAL_MEDIA_STORAGE);

    return u->has_config && (u->config.providers > 0 ||
                             (local != NULL && local->type == EMS_YAML_BOOL && !local->truth));
}

/* The last name of a path, without the slashes behind it. */
static const char *last_name(const char *path, size_t *size)
{
    size_t end = strlen(path), at;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (at = end; at > 0 && path[at - 1] != '/'; at--)
        ;
    *size = end - at;
    return path + at;
}

/* The guide packs media_store_path as it is, so the archive's prefix ends like it. Another name may
 * be a copy of it or an old store: worth a question, not more. */
static void check_store_path(struct upload *u, const struct ems_artifact *a)
{
    const char *path = config_text(u, EMS_SETTING_MEDIA_STORE_PATH);
    const struct ems_fact *prefix = ems_facts_find(&a->facts, "prefix");
    const char *said, *packed;
    size_t said_size, packed_size;

    if (path == NULL || prefix == NULL || prefix->text == NULL)
        return;
    said = last_name(path, &said_size);
    packed = last_name(prefix->text, &packed_size);
    if (said_size == 0 || packed_size == 0 ||
        (said_size == packed_size && memcmp(said, packed, said_size) == 0))
        return;
    ems_findings_add(u->findings, EMS_MEDIA_EXTRA, EMS_SEVERITY_NOTE, a->name, NULL, EMS_NOWHERE,
                     "Ask whether it is the store that the server uses.",
                     "the media store was packed from %s, but media_store_path is %s", prefix->text,
                     path);
}

/* Each archive of media that was read to its end, and whose list is therefore whole. An export
 * without a manifest that can be read has none; that was said. */
static void check_media(struct upload *u)
{
    const struct ems_artifact *database = u->dump != NULL ? u->dump : u->sqlite;

    for (size_t i = 0; i < u->report->count; i++)
        if (u->report->artifacts[i].kind == EMS_KIND_MEDIA_STORE)
            check_store_path(u, &u->report->artifacts[i]);
    if (database == NULL || database->synapse.media == NULL)
        return;
    for (size_t i = 0; i < u->report->count; i++) {
        const struct ems_artifact *a = &u->report->artifacts[i];
        struct ems_upload_media m = {.artifact = a->name,
                                     .files = &a->media_ids,
                                     .database = database->name,
                                     .rows = database->synapse.media,
                                     .elsewhere = has_providers(u)};

        if (a->archive_known && (a->kind == EMS_KIND_MEDIA_STORE ||
                                 (a->kind == EMS_KIND_MEDIA_EXPORT && a->media_server[0] != '\0')))
            ems_upload_check_media(&m, u->findings);
    }
    ems_upload_list_quarantined(database->synapse.media, database->name, u->findings);
}

/* ---- signing keys ---- */

/* Without an event nothing can be compared, without a name no event is known to be ours. */
static void check_keys(struct upload *u, const char *server)
{
    static const struct ems_signing_keys none;
    const struct ems_artifact *database = u->dump != NULL ? u->dump : u->sqlite;
    bool any = false;

    if (database == NULL || server == NULL)
        return;
    if (u->config.signing_keys.count > 0) { /* a file would not be read */
        ems_upload_check_key(&database->synapse, server, &u->config.signing_keys,
                             u->config.values[EMS_SETTING_SIGNING_KEY].file, u->options->whole,
                             u->findings);
        return;
    }
    for (size_t i = 0; i < u->report->count; i++) {
        const struct ems_artifact *a = &u->report->artifacts[i];

        any |= a->kind == EMS_KIND_SIGNING_KEY;
        if (a->signing_keys != NULL)
            ems_upload_check_key(&database->synapse, server, a->signing_keys, a->name,
                                 u->options->whole, u->findings);
    }
    if (!any)
        ems_upload_check_key(&database->synapse, server, &none, NULL, u->options->whole,
                             u->findings);
}

/* ---- verdicts ---- */

/* Is the finding about this artifact's own content? Of two names that differ nobody knows whose
 * fault it is, but for the small text files and for what the importer of media believes. */
static bool is_at_fault(const struct ems_artifact *a, int code)
{
    return ems_artifact_is_text(a) || code == EMS_MEDIA_ENTITY || code == EMS_MEDIA_DB_MISSING ||
           code == EMS_MEDIA_SIZE || code == EMS_MEDIA_DIGEST;
}

/* An artifact that contradicts the others is not verified, whatever was proven of its bytes. */
static void apply(struct upload *u, size_t first)
{
    for (size_t i = first; i < u->findings->count; i++) {
        struct ems_finding *f = &u->findings->items[i];

        for (size_t k = 0; k < u->report->count && f->severity == EMS_SEVERITY_ERROR; k++) {
            struct ems_artifact *a = &u->report->artifacts[k];

            if (f->artifact == NULL || strcmp(f->artifact, a->name) != 0 ||
                !is_at_fault(a, f->code))
                continue;
            f->resend = true;
            if (a->verdict == EMS_VERDICT_VERIFIED) {
                a->error = f->code;
                a->verdict = EMS_VERDICT_DAMAGED;
            }
        }
    }
}

void ems_upload_check(struct ems_report *report, const struct ems_upload_check_options *options)
{
    struct upload u = {.report = report, .options = options, .findings = &report->findings};
    size_t first = report->findings.count;
    const char *server;

    for (size_t i = 0; i < report->count; i++) {
        const struct ems_artifact *a = &report->artifacts[i];

        if (a->is_sql && u.dump == NULL && a->sql.complete)
            u.dump = a;
        if (a->kind == EMS_KIND_SQLITE && u.sqlite == NULL && a->verdict == EMS_VERDICT_VERIFIED)
            u.sqlite = a;
    }
    merge_configs(&u);
    if (u.has_config)
        ems_config_judge(&u.config, u.findings);
    if (options->whole)
        check_missing(&u);
    server = check_names(&u);
    check_database(&u);
    check_media(&u);
    check_keys(&u, server);
    apply(&u, first);
}
