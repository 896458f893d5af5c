/*
 * config.h - what a Synapse configuration says that a migration depends on.
 *
 * The YAML is read with libyaml, whose author and grammar are those of PyYAML, which Synapse uses
 * (yaml.safe_load). What safe_load refuses is refused here: tags of one's own, several documents.
 * Several files are merged as synapse/config/_base.py does it: in order, a later top-level key
 * takes the place of the earlier one, whole.
 *
 * Secrets are measured, not kept: all that stays of them is how long they are. What libyaml holds
 * of them in its buffers and events is wiped before it is freed.
 *
 * Limits: EMS_CONFIG_MAX bytes a file, 64 levels, 1 million events, 64 aliases. Aliases are not
 * expanded: a value that is one counts as set, without anything known of it.
 */
#ifndef EMS_CONFIG_H
#define EMS_CONFIG_H

#include "finding.h"
#include "signing_key.h"

#define EMS_CONFIG_MAX  (4u * 1024 * 1024) /* bytes of one file */
#define EMS_CONFIG_TEXT 256u               /* of a value that is kept, with the NUL */

/* Top-level keys that are looked at: X(constant, name, is it a secret?). */
#define EMS_SETTINGS(X)                                                                            \
    X(SERVER_NAME, "server_name", false)                                                           \
    X(SIGNING_KEY, "signing_key", true)                                                            \
    X(SIGNING_KEY_PATH, "signing_key_path", false)                                                 \
    X(OLD_SIGNING_KEYS, "old_signing_keys", false)                                                 \
    X(MACAROON, "macaroon_secret_key", true)                                                       \
    X(MACAROON_PATH, "macaroon_secret_key_path", false)                                            \
    X(FORM, "form_secret", true)                                                                   \
    X(FORM_PATH, "form_secret_path", false)                                                        \
    X(REGISTRATION, "registration_shared_secret", true)                                            \
    X(REGISTRATION_PATH, "registration_shared_secret_path", false)                                 \
    X(TURN, "turn_shared_secret", true)                                                            \
    X(TURN_PATH, "turn_shared_secret_path", false)                                                 \
    X(WORKER, "worker_replication_secret", true)                                                   \
    X(WORKER_PATH, "worker_replication_secret_path", false)                                        \
    X(PASSWORD_CONFIG, "password_config", false)                                                   \
    X(DATABASE, "database", false)                                                                 \
    X(DATABASES, "databases", false)                                                               \
    X(DATABASE_PATH, "database_path", false)                                                       \
    X(MEDIA_STORE_PATH, "media_store_path", false)                                                 \
    X(MEDIA_STORAGE_PROVIDERS, "media_storage_providers", false)                                   \
    X(ENABLE_LOCAL_MEDIA_STORAGE, "enable_local_media_storage", false)                             \
    X(MERGE, "<<", false)

enum ems_setting {
#define EMS_SETTING_ENUM(constant, name, secret) EMS_SETTING_##constant,
    EMS_SETTINGS(EMS_SETTING_ENUM)
#undef EMS_SETTING_ENUM
        EMS_SETTING_COUNT
};

enum ems_yaml_type {
    EMS_YAML_ABSENT, /* the key is not there */
    EMS_YAML_NULL,   /* there without a value; Synapse mostly treats it as absent */
    EMS_YAML_STRING,
    EMS_YAML_BOOL,
    EMS_YAML_NUMBER,
    EMS_YAML_MAP,
    EMS_YAML_LIST,
    EMS_YAML_ALIAS, /* *name: not followed */
};

struct ems_config_value {
    enum ems_yaml_type type;
    const char *file;   /* that it comes from: the name given to ems_config_parse; borrowed */
    unsigned long line; /* of the value, from 1 */
    size_t length;      /* characters (not bytes) of a scalar */
    bool truth;         /* of a BOOL */
    bool placeholder;   /* left as a template has it: CHANGEME, <...> */
    char text[EMS_CONFIG_TEXT]; /* a scalar's text, cut; always "" for secrets */
};

/* A key that the server used before: old_signing_keys. */
struct ems_config_old_key {
    char id[EMS_SIGNING_KEY_ID_SIZE]; /* printable */
    uint8_t public_key[32];
    uint64_t expired_ts; /* milliseconds; 0 if it is not given */
    bool has_key, has_expired, is_ed25519;
};
#define EMS_CONFIG_OLD_KEYS_MAX 16u

/* What `database` or `databases` say. */
struct ems_config_databases {
    unsigned count, postgres, sqlite;
    char other[64]; /* an engine that Synapse does not know, printable */
};

struct ems_config {
    struct ems_config_value values[EMS_SETTING_COUNT];
    struct ems_config_value pepper;           /* of password_config */
    struct ems_config_databases one, several; /* of database, of databases */
    struct ems_signing_keys signing_keys;     /* of signing_key; count 0 if they cannot be read */
    struct ems_error signing_key_error;       /* why not */
    struct ems_config_old_key old_keys[EMS_CONFIG_OLD_KEYS_MAX];
    size_t old_key_count;
    unsigned providers;             /* of media_storage_providers */
    char provider[EMS_CONFIG_TEXT]; /* module of the first, printable */

    /* of the text */
    const char *name; /* of the file; of the first one when they are merged */
    bool is_mapping;  /* false: Synapse ignores the file */
    bool crlf, bom;
    unsigned long duplicate_line; /* of a top-level key that is there already; 0: none */
    size_t keys;                  /* top-level keys */
};

/* "server_name" for EMS_SETTING_SERVER_NAME. */
const char *ems_setting_name(enum ems_setting);
bool ems_setting_is_secret(enum ems_setting);

/*
 * Read one file. `name` is for findings and borrowed as long as the config. EMS_OK (also for a file
 * that is no mapping: see is_mapping); EMS_CONFIG_MALFORMED, the message says the line and quotes
 * nothing; EMS_NO_MEMORY. The caller wipes text.
 */
int ems_config_parse(const void *text, size_t size, const char *name, struct ems_config *,
                     struct ems_error *);

/* Does this look like Synapse's configuration, and not like some other program's YAML? */
bool ems_config_is_synapse(const struct ems_config *);

/* What `later` sets takes the place of what `merged` holds. */
void ems_config_merge(struct ems_config *merged, const struct ems_config *later);

/* The value if it is there and not null, else NULL. */
const struct ems_config_value *ems_config_get(const struct ems_config *, enum ems_setting);

/*
 * A server name as Synapse accepts it (synapse/util/stringutils.py,
 * parse_and_validate_server_name): labels of letters, digits and hyphens, or an IPv6 address in
 * brackets, and perhaps a port.
 */
bool ems_server_name_is_valid(const char *name);

/* Findings about one file as a text: line ends, marks, keys given twice (config_check.c). */
void ems_config_judge_file(const struct ems_config *, struct ems_findings *);

/* Findings about a merged configuration for itself, without the rest of the upload: what Synapse
 * would not start with, what is left from a template, what falls back to what. */
void ems_config_judge(const struct ems_config *, struct ems_findings *);

/* What stands for a secret in reports: "set (50 characters)", "not set", "from a file". */
#define EMS_CONFIG_SECRET_SIZE 48u
char *ems_config_secret_text(const struct ems_config_value *value,
                             const struct ems_config_value *path, char *out);

#endif
