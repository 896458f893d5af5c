/*
 * sql_function.c - the trigger functions that Synapse itself creates, known by digest, and the
 * triggers that call them.
 *
 * Code in a dump would run on the staging server, so only bodies that Synapse shipped are let
 * through. A body whose bytes are the known ones is sent as it is, so that a dump of the restored
 * database is the same again. One that differs in comments, blanks or line ends only is sent as its
 * bare tokens, the very ones that were compared: what runs is what was checked.
 */
#include "sql_shape.h"

#include <gcrypt.h>
#include <string.h>

/* Those of one name stand together, the newest first; where a schema version gave a function a new
 * body, dumps of the versions before still hold the old one. Paths are below
 * synapse/storage/schema/main/delta of matrix-org/synapse, the last of element-hq/synapse. */
static const struct ems_sql_function functions[] = {
    /* 74/04_membership_tables_event_stream_ordering_triggers.py */
    {"check_event_stream_ordering",
     "2ec72669a2c39dd55eac4c8a7acf4bea1aeabf531dbe6729eb64b4b4b65e6d7e",
     "4a158fc8ad89da57c584f85adc1308b7ddfb080319e824e0af13402fce1d09d8"},
    /* 68/05partial_state_rooms_triggers.py */
    {"check_partial_state_events",
     "f85d1faef34d52ef7ad7dae060c9574622b5243d4dfde5834c3dea9348a84df2",
     "e3f3b0b844a6bbcc76defee4ccb7eaf8f0d59f0ade62c86ebc9fcee478f423db"},
    /* 80/04_read_write_locks_deadlock, 79/03_read_write_locks_triggers, 78/04 of the same name */
    {"delete_read_write_lock_parent",
     "18ddfc3a68dc4f6819512116d23e41d4c219c09567f5832dcbd3d11b2b32cf96",
     "6119c2d3e9faedc15f41595e927b5a799740f86b8b2214ee58e876827ba6fc12"},
    {"delete_read_write_lock_parent",
     "3437c5345906a9831e59261cdc9a362caeb4fd50fa06e160b55459a87310a416",
     "581b9796aa955d6ffedc599ea308610f91d6356e47b706fd414ae3997c74c4a3"},
    {"delete_read_write_lock_parent",
     "b95c62144ae6fcf1eab798b830a132573ad8912e29c46f0b99ff9e1523a98a17",
     "9fd4523ecda65f37c70ed74d140682c4e34827ccd42bb36454960d3dc76a6c8a"},
    /* 80/02_read_write_locks_deadlock, taken back by 80/04 */
    {"delete_read_write_lock_parent_before",
     "bf3f256e3458f482aaf92aab144874c49d3262f6ab4848a2fc85b7c21575d699",
     "ae61aa86ed5b062d47425f803b90066afec6a3aafbd8cd01dacf8e8370b6f293"},
    /* 80/03_read_write_locks_triggers, 79/03, 78/04 */
    {"upsert_read_write_lock_parent",
     "e7f779b66e78fa47317a89571554b997f33723c5e60a8413154cb51c760c6fa0",
     "3c0ffcb21803e08e1ecc9f897bc7aa1363586c8777338594b2071e3eade943ca"},
    {"upsert_read_write_lock_parent",
     "4429fee27466441d4664a72429d7320f72084fa2d94759e7b59dd299eee8606c",
     "56cdebfd37f33118facfe05199351d7bf96ea5a639bb9c9c188bb8c43edfc4c3"},
    {"upsert_read_write_lock_parent",
     "db8867953a2f143a532e5fe26216e693af057d982539c20d27ac3e1162d1cd40",
     "b80cd7236f78974407dba11bc204b516bee8e57a453f2cc50e78385cc39894cc"},
    /* 61/03recreate_min_depth.py, there until its background update is done */
    {"populate_min_depth2", "8718e8473c273e7a6953974b0ecc1dcb275ffe738633614057829ff11a364147",
     "f45344c8a4026d843d83a415d0b2d8c1d78482caee832a84d5b898a46f433958"},
    /* 90/02_event_triggers.py, taken back by 92/01_remove_trigger */
    {"event_stats_increment_counts",
     "6fba23d6d8da742c4a206843f85aacfcd10086a422c54279ff1faef9e1f244c0",
     "40fc5fad3a87c2988a73ea78467ab2238e4c7813602f0c6ee35252b87b5dfcb8"},
    {NULL, NULL, NULL},
};

/* Where Synapse has them called, in the words of pg_get_triggerdef. Elsewhere a function could only
 * be in the way of who works with the tables later. */
static const struct {
    const char *function, *when, *table;
} triggers[] = {
    {"check_event_stream_ordering", "BEFORE INSERT OR UPDATE ON", "public.current_state_events"},
    {"check_event_stream_ordering", "BEFORE INSERT OR UPDATE ON",
     "public.local_current_membership"},
    {"check_event_stream_ordering", "BEFORE INSERT OR UPDATE ON", "public.room_memberships"},
    {"check_partial_state_events", "BEFORE INSERT OR UPDATE ON", "public.partial_state_events"},
    {"delete_read_write_lock_parent", "AFTER DELETE ON", "public.worker_read_write_locks"},
    {"delete_read_write_lock_parent_before", "BEFORE DELETE ON", "public.worker_read_write_locks"},
    {"upsert_read_write_lock_parent", "BEFORE INSERT ON", "public.worker_read_write_locks"},
    {"populate_min_depth2", "BEFORE INSERT OR UPDATE ON", "public.room_depth"},
    {"event_stats_increment_counts", "AFTER INSERT OR DELETE ON", "public.events"},
};

int ems_sql_function_find(const char *name)
{
    if (strncmp(name, "public.", 7) != 0)
        return -1;
    for (size_t i = 0; functions[i].name != NULL; i++)
        if (strcmp(name + 7, functions[i].name) == 0)
            return (int)i;
    return -1;
}

const struct ems_sql_function *ems_sql_function_at(int function)
{
    return &functions[function];
}

bool ems_sql_function_trigger(struct ems_sql_parse *p, int function, const char *table)
{
    size_t start = p->at;

    for (size_t i = 0; i < sizeof triggers / sizeof triggers[0]; i++) {
        p->at = start;
        if (strcmp(triggers[i].function, functions[function].name) == 0 &&
            strcmp(triggers[i].table, table) == 0 && ems_sql_words(p, triggers[i].when))
            return true;
    }
    return false;
}

/* SHA-256, so that nobody can write another body that passes. */
static bool is_digest_of(const char *hex, const uint8_t *data, size_t size)
{
    uint8_t digest[32];
    char text[65];

    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, data, size);
    ems_hex(digest, sizeof digest, text);
    return strcmp(hex, text) == 0;
}

/* For the lexer: tokens with one blank between them, none dropped. Comments are no tokens. */
static int render_token(void *context, struct ems_sql_lex *lex, const struct ems_sql_token *token,
                        struct ems_error *err)
{
    struct ems_buf *out = context;
    int rc = EMS_OK;

    if (out->size > 0)
        rc = ems_buf_append(out, " ", 1, err);
    if (rc == EMS_OK)
        rc = ems_buf_append(out, lex->text.data + token->start, token->size, err);
    return rc;
}

/* Against every body that the function has had. */
static bool is_known(const struct ems_sql_function *function, bool tokens, const uint8_t *data,
                     size_t size)
{
    const char *name = function->name;

    for (; function->name != NULL && strcmp(function->name, name) == 0; function++)
        if (is_digest_of(tokens ? function->tokens : function->exact, data, size))
            return true;
    return false;
}

int ems_sql_function_check(const struct ems_sql_function *function, const uint8_t *body,
                           size_t size, bool *good, bool *exact, struct ems_buf *rendered,
                           struct ems_error *err)
{
    struct ems_sql_lex lex;
    enum ems_sql_lex_event event;
    size_t used;
    int rc = EMS_OK;

    *exact = *good = is_known(function, false, body, size);
    if (*good)
        return EMS_OK;
    ems_sql_lex_init(&lex, render_token, rendered);
    lex.whole = true;
    rendered->size = 0;
    while (rc == EMS_OK && size > 0) { /* a comment at the very start ends a feed */
        rc = ems_sql_lex_feed(&lex, body, size, &used, &event, err);
        body += used;
        size -= used;
    }
    if (rc == EMS_OK)
        rc = ems_sql_lex_finish(&lex, err);
    if (rc == EMS_OK) /* a quote or comment left open is not among the tokens, so it is not sent */
        *good = is_known(function, true, rendered->data, rendered->size);
    ems_sql_lex_release(&lex);
    return rc;
}
