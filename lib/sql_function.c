/*
 * sql_function.c - the trigger functions that Synapse itself creates, known by digest.
 *
 * Code in a dump would run on the staging server, so only bodies that Synapse shipped are let
 * through. A body whose bytes are the known ones is sent as it is. One that differs in comments,
 * blanks or line ends only is sent as its bare tokens, the very ones that were compared: what runs
 * is what was checked.
 */
#include "sql_shape.h"

#include <gcrypt.h>
#include <string.h>

static const struct ems_sql_function functions[] = {
    /* synapse/storage/schema/main/delta/74/04_membership_tables_event_stream_ordering_triggers.py
     */
    {"check_event_stream_ordering",
     "2ec72669a2c39dd55eac4c8a7acf4bea1aeabf531dbe6729eb64b4b4b65e6d7e",
     "4a158fc8ad89da57c584f85adc1308b7ddfb080319e824e0af13402fce1d09d8"},
    {"check_partial_state_events",
     "f85d1faef34d52ef7ad7dae060c9574622b5243d4dfde5834c3dea9348a84df2",
     "e3f3b0b844a6bbcc76defee4ccb7eaf8f0d59f0ade62c86ebc9fcee478f423db"},
    {"delete_read_write_lock_parent",
     "18ddfc3a68dc4f6819512116d23e41d4c219c09567f5832dcbd3d11b2b32cf96",
     "6119c2d3e9faedc15f41595e927b5a799740f86b8b2214ee58e876827ba6fc12"},
    {"upsert_read_write_lock_parent",
     "e7f779b66e78fa47317a89571554b997f33723c5e60a8413154cb51c760c6fa0",
     "3c0ffcb21803e08e1ecc9f897bc7aa1363586c8777338594b2071e3eade943ca"},
};

const struct ems_sql_function *ems_sql_function_at(int function)
{
    return &functions[function];
}

int ems_sql_function_find(const char *name)
{
    if (strncmp(name, "public.", 7) != 0)
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(name + 7, functions[i].name) == 0)
            return (int)i;
    return -1;
}

static bool is_digest_of(const char *hex, const uint8_t *data, size_t size)
{
    uint8_t digest[32];
    char text[65];

    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, data, size);
    ems_hex(digest, sizeof digest, text);
    return strcmp(hex, text) == 0;
}

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

int ems_sql_function_check(const struct ems_sql_function *function, const uint8_t *body,
                           size_t size, bool *good, bool *exact, struct ems_buf *rendered,
                           struct ems_error *err)
{
    struct ems_sql_lex lex;
    enum ems_sql_lex_event event;
    size_t used;
    int rc = EMS_OK;

    *exact = *good = is_digest_of(function->exact, body, size);
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
        *good = is_digest_of(function->tokens, rendered->data, rendered->size);
    ems_sql_lex_release(&lex);
    return rc;
}
