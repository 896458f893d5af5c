/* sql_parse.c - see sql_parse.h. Words, names, constants; types and expressions are in sql_expr.c.
 */
#include "sql_parse.h"

#include <stdlib.h>
#include <string.h>

int ems_sql_parse_begin(struct ems_sql_parse *p, const struct ems_sql_tokens *tokens,
                        struct ems_buf *text, struct ems_error *err)
{
    p->tokens = tokens->at;
    p->count = tokens->count;
    p->at = p->furthest = 0;
    p->text = text->data;
    p->depth = 0;
    p->code = EMS_SQL_REFUSED;
    p->reason = NULL;
    p->names.size = 0;
    /* Decoded names and strings are no longer than their tokens, a sequence's name stands in a
     * string; plus "public." and a NUL for each, and pointers for lists. So no name ever moves. */
    return ems_buf_reserve(&p->names, 2 * text->size + tokens->count * 32 + 64, err);
}

/* Shapes are tried one inside the other, so the innermost reason comes first, and it is the most
 * exact one. */
bool ems_sql_no(struct ems_sql_parse *p, const char *reason, const char *subject)
{
    if (p->reason == NULL) {
        p->reason = reason;
        if (subject != NULL)
            ems_printable(subject, strlen(subject), p->subject, sizeof p->subject);
        else
            p->subject[0] = '\0';
    }
    return false;
}

bool ems_sql_at_end(const struct ems_sql_parse *p)
{
    return p->at == p->count;
}

bool ems_sql_anything(struct ems_sql_parse *p)
{
    p->at = p->count;
    return true;
}

/* ---- words ---- */

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 0x20) : c;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 0x20) : c;
}

/* Words of the grammar match only without quotes: "select" in quotes is a name. Names match in
 * quotes too, if they are written there as the server folds them: "Text" is not text. */
static bool token_is(const struct ems_sql_parse *p, size_t at, const char *word, size_t size)
{
    const struct ems_sql_token *token = p->tokens + at;

    if (at >= p->count)
        return false;
    if (token->kind == EMS_TOKEN_QUOTED)
        return word[0] >= 'a' && word[0] <= 'z' && token->size == size + 2 &&
               memcmp(p->text + token->start + 1, word, size) == 0;
    if (token->size != size || (token->kind != EMS_TOKEN_WORD && token->kind != EMS_TOKEN_PUNCT &&
                                token->kind != EMS_TOKEN_OPERATOR))
        return false;
    for (size_t i = 0; i < size; i++)
        if (upper(p->text[token->start + i]) != upper((uint8_t)word[i]))
            return false;
    return true;
}

bool ems_sql_is(const struct ems_sql_parse *p, const char *word)
{
    return token_is(p, p->at, word, strlen(word));
}

/* Where the longest of several possibilities ended is where a person should look: `furthest`. */
bool ems_sql_words(struct ems_sql_parse *p, const char *words)
{
    size_t at = p->at;

    while (*words != '\0') {
        size_t size = strcspn(words, " ");

        if (!token_is(p, at, words, size)) {
            p->furthest = at > p->furthest ? at : p->furthest;
            return false;
        }
        at++;
        words += size;
        words += *words == ' ';
    }
    p->at = at;
    return true;
}

/* The first that fits wins, so a list has longer ones before their beginnings. */
bool ems_sql_one_of(struct ems_sql_parse *p, const char *const *list)
{
    for (; *list != NULL; list++)
        if (ems_sql_words(p, *list))
            return true;
    return false;
}

/*
 * Words that are never a name without quotes: the server's reserved ones, and those reserved except
 * for functions and types (src/include/parser/kwlist.h of 9.6 to 18). pg_dump quotes them. Each
 * stands between blanks, which are in no word.
 */
static const char reserved[] =
    " all analyse analyze and any array as asc asymmetric authorization binary both case "
    "cast check collate collation column concurrently constraint create cross "
    "current_catalog current_date current_role current_schema current_time "
    "current_timestamp current_user default deferrable desc distinct do else end except "
    "false fetch for foreign freeze from full grant group having ilike in initially inner "
    "intersect into is isnull join lateral leading left like limit localtime localtimestamp "
    "natural not notnull null offset on only or order outer overlaps placing primary "
    "references returning right select session_user similar some symmetric system_user "
    "table tablesample then to trailing true union unique user using variadic verbose when "
    "where window with ";

/* A word of the list would fit into the buffer, so a longer one is not in it. */
bool ems_sql_in_list(const char *list, const uint8_t *text, size_t size, bool fold)
{
    char word[32] = " ";

    if (size > sizeof word - 3)
        return false;
    for (size_t i = 0; i < size; i++)
        word[i + 1] = (char)(fold ? lower(text[i]) : text[i]);
    word[size + 1] = ' ';
    return strstr(list, word) != NULL;
}

/* ---- names ---- */

/* Room that ems_sql_parse_begin has reserved. */
static char *put_names(struct ems_sql_parse *p, const char *prefix, size_t size)
{
    char *start = (char *)p->names.data + p->names.size;

    memcpy(start, prefix, size);
    p->names.size += size;
    return start;
}

/*
 * The name at the cursor to the end of the names, with a NUL; nothing on failure. In quotes a quote
 * is written twice. A name with more bytes than the server keeps would be cut there: refused. So is
 * one with a line end: in the staging database it would wait for a pg_dump that writes it into a
 * comment (CVE-2025-8715).
 */
static bool append_name(struct ems_sql_parse *p)
{
    const struct ems_sql_token *token = p->tokens + p->at;
    const uint8_t *in = p->text + token->start;
    size_t size = 0, names_size = p->names.size;

    if (ems_sql_at_end(p))
        return false;
    if (token->kind == EMS_TOKEN_WORD) {
        if (ems_sql_in_list(reserved, in, token->size, true))
            return false;
        for (; size < token->size; size++) { /* folded as the server does for UTF-8: ASCII only */
            char c = (char)lower(in[size]);

            put_names(p, &c, 1);
        }
    } else if (token->kind == EMS_TOKEN_QUOTED) {
        for (size_t i = 1; i + 1 < token->size; i++, size++) {
            if (in[i] < ' ' || in[i] == 0x7f) {
                p->names.size = names_size;
                return ems_sql_no(p, "a name must not have control characters", NULL);
            }
            put_names(p, (const char *)in + i, 1);
            i += in[i] == '"';
        }
    } else {
        return false;
    }
    put_names(p, "", 1);
    if (size == 0 || size > EMS_SQL_NAME_MAX) {
        p->names.size = names_size;
        return ems_sql_no(p, "a name must have 1 to 63 bytes", NULL);
    }
    p->at++;
    return true;
}

/* Names lie one behind the other in p->names, each with its NUL. */
bool ems_sql_name(struct ems_sql_parse *p, const char **name)
{
    char *start = put_names(p, "", 0);

    if (!append_name(p))
        return false;
    if (name != NULL)
        *name = start;
    return true;
}

/*
 * Only one schema, so that a dump can shadow nothing of pg_catalog. "public." is put in front of
 * what may turn out to be the schema itself; it is written a second time then, the first stays
 * unused.
 */
bool ems_sql_full_name(struct ems_sql_parse *p, const char **full)
{
    char *start = put_names(p, "public.", 7);
    const char *schema = start + 7;

    if (!append_name(p)) {
        p->names.size -= 7;
        return false;
    }
    *full = start;
    if (!ems_sql_words(p, "."))
        return p->catalog->search_public ||
               ems_sql_no(p, "a name without schema, and the dump sets no search_path", NULL);
    if (strcmp(schema, "public") != 0)
        return ems_sql_no(p, "only schema public is accepted, not", schema);
    *full = put_names(p, "public.", 7);
    return append_name(p);
}

/*
 * What a statement is about must have been created before it, in this dump. If no table was at all,
 * the dump is one of data only, and that is what the message should say.
 */
static bool is_known(struct ems_sql_parse *p, const char *full, bool is_table)
{
    struct ems_sql_relation *relation = ems_sql_catalog_find(p->catalog, full);

    if (relation != NULL && relation->is_table == is_table)
        return true;
    if (p->catalog->tables == 0)
        return ems_sql_no(p, "a full dump is needed (not --data-only): it does not create", full);
    return ems_sql_no(p, "the dump has not created", full);
}

bool ems_sql_table(struct ems_sql_parse *p, const char **full)
{
    return ems_sql_full_name(p, full) && is_known(p, *full, true);
}

bool ems_sql_sequence(struct ems_sql_parse *p, const char **full)
{
    return ems_sql_full_name(p, full) && is_known(p, *full, false);
}

/* The table is known to be in the catalog. */
bool ems_sql_column(struct ems_sql_parse *p, const char *table, const char **name)
{
    const char *column;

    if (!ems_sql_name(p, &column))
        return false;
    if (!ems_sql_relation_has(ems_sql_catalog_find(p->catalog, table), column))
        return ems_sql_no(p, "the table has no column", column);
    if (name != NULL)
        *name = column;
    return true;
}

/* public.t.c, or t.c where the search path says so. */
bool ems_sql_dotted_column(struct ems_sql_parse *p, const char **table)
{
    size_t at = p->at;
    bool qualified = ems_sql_name(p, NULL) && ems_sql_words(p, ".") && ems_sql_name(p, NULL) &&
                     ems_sql_is(p, ".");

    p->at = at;
    if (qualified)
        return ems_sql_table(p, table) && ems_sql_words(p, ".") && ems_sql_column(p, *table, NULL);
    if (!p->catalog->search_public)
        return ems_sql_no(p, "a name without schema, and the dump sets no search_path", NULL);
    *table = put_names(p, "public.", 7);
    return append_name(p) && is_known(p, *table, true) && ems_sql_words(p, ".") &&
           ems_sql_column(p, *table, NULL);
}

/* Of pointers to names, for qsort. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Among the names, behind those that are there, at an address where pointers may lie. */
const char **ems_sql_list(struct ems_sql_parse *p, size_t room)
{
    size_t start = (p->names.size + sizeof(char *) - 1) / sizeof(char *) * sizeof(char *);

    p->names.size = start + room * sizeof(char *);
    return (const char **)(void *)(p->names.data + start);
}

bool ems_sql_column_list(struct ems_sql_parse *p, const char *table, const char ***names,
                         uint32_t *count)
{
    const char **list, **sorted;
    uint32_t n = 0;
    size_t room = 0;

    if (!ems_sql_words(p, "("))
        return false;
    while (p->at + room < p->count && !token_is(p, p->at + room, ")", 1))
        room++;
    room = room / 2 + 1;
    list = ems_sql_list(p, room);
    sorted = ems_sql_list(p, room);
    do {
        if (n == room || !ems_sql_column(p, table, &list[n]))
            return false;
        sorted[n] = list[n];
        n++;
    } while (ems_sql_words(p, ","));
    if (!ems_sql_words(p, ")"))
        return false;
    /* The server would refuse a column named twice, but only when rows are on their way. */
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (uint32_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return ems_sql_no(p, "a list names a column twice:", sorted[i]);
    if (names != NULL)
        *names = list;
    *count = n;
    return true;
}

/* ---- constants ---- */

/* No escapes: standard_conforming_strings is on, or the dump was refused where it says otherwise. A
 * string in pieces is one that no pg_dump writes where its value matters. */
bool ems_sql_string(struct ems_sql_parse *p, const char **value)
{
    const struct ems_sql_token *token = p->tokens + p->at;
    const uint8_t *in = p->text + token->start;
    char *start = put_names(p, "", 0);

    if (ems_sql_at_end(p) || token->kind != EMS_TOKEN_STRING || token->continued)
        return false;
    for (size_t i = 1; i + 1 < token->size; i++) {
        put_names(p, (const char *)in + i, 1);
        i += in[i] == '\'';
    }
    put_names(p, "", 1);
    if (value != NULL)
        *value = start;
    p->at++;
    return true;
}

/* Their content is the server's business: a constant cannot do anything. */
bool ems_sql_any_string(struct ems_sql_parse *p)
{
    uint8_t kind = ems_sql_at_end(p) ? EMS_TOKEN_JUNK : p->tokens[p->at].kind;

    if (kind != EMS_TOKEN_STRING && kind != EMS_TOKEN_ESTRING && kind != EMS_TOKEN_BITS)
        return false;
    p->at++;
    return true;
}

static size_t digits(const uint8_t *text, size_t at, size_t size)
{
    while (at < size && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

/* digits [. digits] [e [sign] digits]: how every server prints numbers. The lexer takes more for
 * one token than that, on purpose: what is glued to a number is refused with it. */
bool ems_sql_is_number(const uint8_t *text, const struct ems_sql_token *token)
{
    const uint8_t *in = text + token->start;
    size_t at = digits(in, 0, token->size), before;

    if (token->kind != EMS_TOKEN_NUMBER)
        return false;
    if (at < token->size && in[at] == '.') {
        before = ++at;
        at = digits(in, at, token->size);
        if (at == before)
            return false;
    }
    if (at < token->size && (in[at] | 0x20) == 'e') {
        at++;
        at += at < token->size && (in[at] == '+' || in[at] == '-');
        before = at;
        at = digits(in, at, token->size);
        if (at == before)
            return false;
    }
    return at == token->size;
}

/* A sign before a number is an operator for the lexer, two of them are one: "- -1" is refused. */
bool ems_sql_number(struct ems_sql_parse *p)
{
    size_t at = p->at;

    if (!ems_sql_words(p, "-"))
        ems_sql_words(p, "+");
    if (ems_sql_at_end(p) || !ems_sql_is_number(p->text, p->tokens + p->at)) {
        p->at = at;
        return false;
    }
    p->at++;
    return true;
}

/* Of any length: what does not fit the server refuses. */
bool ems_sql_integer(struct ems_sql_parse *p)
{
    size_t at = p->at;

    if (ems_sql_number(p)) {
        const struct ems_sql_token *token = p->tokens + p->at - 1;

        if (digits(p->text + token->start, 0, token->size) == token->size)
            return true;
    }
    p->at = at;
    return false;
}

/* Inside the string stands a name as in a statement: public.seq, public."Seq", seq; everything in
 * quotes with --quote-all-identifiers. */
static const char *name_in_string(struct ems_sql_parse *p, const char *value)
{
    char *full = put_names(p, "public.", 7);
    bool quoted = false;

    if (strncmp(value, "public.", 7) == 0)
        value += 7;
    else if (strncmp(value, "\"public\".", 9) == 0)
        value += 9;
    else if (!p->catalog->search_public)
        return NULL;
    for (; *value != '\0'; value++) {
        char c = *value;

        if (c == '"' && quoted && value[1] == '"')
            value++;
        else if (c == '"') {
            quoted = !quoted;
            continue;
        } else if (!quoted && c >= 'A' && c <= 'Z') {
            c = (char)(c + 0x20);
        } else if (!quoted && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' &&
                   c != '$' && (unsigned char)c < 0x80) {
            return NULL;
        }
        put_names(p, &c, 1);
    }
    put_names(p, "", 1);
    return quoted ? NULL : full;
}

/* The server looks such a name up when the statement runs (regclass), so it is held to the catalog
 * like a name outside quotes. */
bool ems_sql_sequence_string(struct ems_sql_parse *p, const char **full)
{
    const char *value;

    if (!ems_sql_string(p, &value))
        return false;
    *full = name_in_string(p, value);
    if (*full == NULL)
        return ems_sql_no(p, "not the name of a sequence:", value);
    return is_known(p, *full, false);
}

/* The list is checked so that nothing can hide in it, though it is mostly not sent. */
bool ems_sql_parameters(struct ems_sql_parse *p)
{
    static const char *const values[] = {"TRUE", "FALSE", "ON", "OFF", "AUTO", NULL};

    if (!ems_sql_words(p, "("))
        return false;
    do {
        ems_sql_words(p, "toast .");
        if (!ems_sql_name(p, NULL))
            return false;
        if (ems_sql_words(p, "=") && !ems_sql_string(p, NULL) && !ems_sql_number(p) &&
            !ems_sql_one_of(p, values))
            return false;
    } while (ems_sql_words(p, ","));
    return ems_sql_words(p, ")");
}
