/*
 * sql_shape.c - see sql_shape.h. The list itself, and the shapes that are short.
 *
 * Deny by default: a statement is sent only if a function here has seen each of its tokens and knew
 * it. Where "anything" may follow, the statement is one that is never sent; it is recognised only
 * so that an honest dump is not refused because of it, and is counted under its reason.
 */
#include "sql_shape.h"

#include <string.h>

void ems_sql_shaper_release(struct ems_sql_shaper *s)
{
    ems_sql_catalog_release(&s->catalog);
    ems_sql_tokens_release(&s->tokens);
    ems_buf_release(&s->parse.names);
    ems_buf_release(&s->rendered);
}

/* Blanks of the same number: tokens that come later keep their places. */
void ems_sql_blank_out(struct ems_sql_parse *p, size_t from, size_t to)
{
    const struct ems_sql_token *first = p->tokens + from, *last = p->tokens + to - 1;

    memset(p->text + first->start, ' ', last->start + last->size - first->start);
}

/* ---- session settings ---- */

/* Lexing byte by byte is right only where no byte of a longer character looks like ASCII, and the
 * row checker wants UTF-8. */
static bool set_encoding(struct ems_sql_parse *p)
{
    const char *value;

    if (!ems_sql_string(p, &value) && !ems_sql_name(p, &value))
        return false;
    if (strcasecmp(value, "UTF8") == 0 || strcasecmp(value, "UTF-8") == 0)
        return true;
    p->code = EMS_SQL_ENCODING;
    return ems_sql_no(p, "dump again with pg_dump --encoding=UTF8, not", value);
}

/* Up to 10.2 and 9.6.7; names come without a schema from here on. */
static bool set_search_path(struct ems_sql_parse *p)
{
    if (ems_sql_words(p, "public , pg_catalog") || ems_sql_words(p, "public")) {
        p->catalog->search_public = true;
        return true;
    }
    return ems_sql_words(p, "pg_catalog") || ems_sql_no(p, "only schema public is accepted", NULL);
}

/* SET name = constant, for the names that pg_dump 9.6 to 18 sets. None is sent: the restore has its
 * own values. Those that change how the rest must be read are held to the usual value. */
static bool parse_set(struct ems_sql_shaper *s)
{
    static const char *const plain[] = {
        "STATEMENT_TIMEOUT",
        "LOCK_TIMEOUT",
        "IDLE_IN_TRANSACTION_SESSION_TIMEOUT",
        "TRANSACTION_TIMEOUT",
        "CHECK_FUNCTION_BODIES",
        "XMLOPTION",
        "CLIENT_MIN_MESSAGES",
        "ROW_SECURITY",
        "DEFAULT_TABLESPACE",
        "DEFAULT_TABLE_ACCESS_METHOD",
        "ESCAPE_STRING_WARNING",
        NULL,
    };
    struct ems_sql_parse *p = &s->parse;
    const char *value;

    /* --use-set-session-authorization, --role: whose objects these were; here they get one owner.
     */
    if (ems_sql_words(p, "SESSION AUTHORIZATION") || ems_sql_words(p, "ROLE"))
        return ems_sql_words(p, "DEFAULT") || ems_sql_string(p, NULL) || ems_sql_name(p, NULL);
    if (ems_sql_words(p, "CLIENT_ENCODING ="))
        return set_encoding(p);
    if (ems_sql_words(p, "SEARCH_PATH ="))
        return set_search_path(p);
    if (ems_sql_words(p, "STANDARD_CONFORMING_STRINGS ="))
        return ems_sql_words(p, "ON") ||
               ems_sql_no(p,
                          "the source server has standard_conforming_strings off: switch it on "
                          "there and dump again",
                          NULL);
    if (ems_sql_words(p, "DEFAULT_WITH_OIDS ="))
        return ems_sql_words(p, "FALSE") ||
               ems_sql_no(p, "tables with OIDs are not accepted", NULL);
    return ems_sql_one_of(p, plain) && ems_sql_words(p, "=") &&
           (ems_sql_words(p, "ON") || ems_sql_words(p, "FALSE") || ems_sql_words(p, "TRUE") ||
            ems_sql_integer(p) || ems_sql_string(p, &value) || ems_sql_name(p, &value));
}

/* set_config('search_path', '', false): names are qualified from here on (CVE-2018-1058). */
static bool parse_set_config(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char *name, *value;

    if (!ems_sql_string(p, &name) || strcmp(name, "search_path") != 0 || !ems_sql_words(p, ",") ||
        !ems_sql_string(p, &value) || value[0] != '\0')
        return false;
    p->catalog->search_public = false;
    return ems_sql_words(p, ", FALSE )");
}

/* Nothing may follow, or anything may: what is not sent cannot do harm. */
static bool parse_nothing(struct ems_sql_shaper *s)
{
    (void)s;
    return true;
}

static bool parse_anything(struct ems_sql_shaper *s)
{
    return ems_sql_anything(&s->parse);
}

/* ---- what --clean and --create add, before anything else ---- */

/* The restore begins with an empty database, so leaving these out changes nothing; as long as they
 * cannot take away what the dump itself has created. */
static bool parse_before(struct ems_sql_shaper *s)
{
    return !s->catalog.changed ? ems_sql_anything(&s->parse)
                               : ems_sql_no(&s->parse, "must not stand behind a CREATE", NULL);
}

/* --create also prints what roles have set for the database alone: ALTER ROLE r IN DATABASE d SET
 * parameter TO value. */
static bool parse_role_setting(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    return ems_sql_name(p, NULL) && ems_sql_words(p, "IN DATABASE") && ems_sql_name(p, NULL) &&
           ems_sql_words(p, "SET") && parse_before(s);
}

/* DROP kind [IF EXISTS] name ...; pg_dump names schemas, hand-made scripts often do not. */
static bool parse_drop(struct ems_sql_shaper *s)
{
    static const char *const kinds[] = {"TABLE",    "SEQUENCE",   "INDEX",
                                        "FUNCTION", "STATISTICS", NULL};
    struct ems_sql_parse *p = &s->parse;
    const char *name;

    if (ems_sql_words(p, "TRIGGER") || ems_sql_words(p, "RULE")) {
        ems_sql_words(p, "IF EXISTS");
        if (!ems_sql_name(p, NULL) || !ems_sql_words(p, "ON"))
            return false;
    } else if (!ems_sql_one_of(p, kinds)) {
        return (ems_sql_words(p, "SCHEMA") || ems_sql_words(p, "EXTENSION") ||
                ems_sql_words(p, "PUBLICATION") || ems_sql_words(p, "DATABASE")) &&
               parse_before(s);
    }
    ems_sql_words(p, "IF EXISTS");
    return ems_sql_full_name(p, &name) && parse_before(s);
}

/* ---- extensions, comments, owners ---- */

/* Those that leave no trace in tables; what a dump uses of others is refused where it is used. */
static bool parse_extension(struct ems_sql_shaper *s)
{
    static const char *const harmless[] = {"plpgsql",        "pg_trgm",     "pg_stat_statements",
                                           "pg_buffercache", "pgstattuple", "pg_repack",
                                           "pg_prewarm",     "amcheck"};
    struct ems_sql_parse *p = &s->parse;
    const char *name;

    ems_sql_words(p, "IF NOT EXISTS");
    if (!ems_sql_name(p, &name))
        return false;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
        if (strcmp(name, harmless[i]) == 0)
            return !ems_sql_words(p, "WITH SCHEMA") || ems_sql_name(p, NULL);
    return ems_sql_no(p, "extension that Synapse does not use:", name);
}

/* This one is left out after all. */
static bool skip(struct ems_sql_shaper *s, const char *reason)
{
    s->statement.action = EMS_SQL_SKIP;
    s->statement.reason = reason;
    return true;
}

/* NULL takes a comment away: pg_dump --clean --if-exists does not write it, some scripts do. */
static bool comment_text(struct ems_sql_parse *p)
{
    return ems_sql_words(p, "IS") && (ems_sql_words(p, "NULL") || ems_sql_any_string(p));
}

/* COMMENT ON kind name IS 'text' | NULL. On schemas, extensions and databases it needs an owner
 * that the restore is not. */
static bool parse_comment(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char **table = &s->statement.table, *function;

    if (ems_sql_words(p, "EXTENSION") || ems_sql_words(p, "SCHEMA") || ems_sql_words(p, "DATABASE"))
        return ems_sql_name(p, NULL) && comment_text(p) &&
               skip(s, "comments on schema, database and extensions");
    if (ems_sql_words(p, "TABLE")) {
        if (!ems_sql_table(p, table))
            return false;
    } else if (ems_sql_words(p, "SEQUENCE")) {
        if (!ems_sql_sequence(p, &s->statement.name))
            return false;
    } else if (ems_sql_words(p, "COLUMN")) {
        if (!ems_sql_dotted_column(p, table))
            return false;
    } else if (ems_sql_words(p, "INDEX")) {
        if (!ems_sql_full_name(p, &s->statement.name))
            return false;
    } else if (ems_sql_words(p, "CONSTRAINT") || ems_sql_words(p, "TRIGGER")) {
        if (!ems_sql_name(p, &s->statement.name) || !ems_sql_words(p, "ON") ||
            !ems_sql_table(p, table))
            return false;
    } else if (!ems_sql_words(p, "FUNCTION") || !ems_sql_full_name(p, &function) ||
               ems_sql_function_find(function) < 0 || !ems_sql_words(p, "( )")) {
        return false;
    }
    return comment_text(p);
}

/* ALTER anything OWNER TO role: only its end matters, because it is never sent. */
static bool parse_owner(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    size_t start = p->at, furthest = p->furthest;

    if (p->count >= start + 4) {
        p->at = p->count - 3;
        if (ems_sql_words(p, "OWNER TO") &&
            (p->tokens[p->at].kind == EMS_TOKEN_WORD || p->tokens[p->at].kind == EMS_TOKEN_QUOTED))
            return ems_sql_anything(p);
    }
    p->at = start;
    p->furthest = furthest;
    return false;
}

/* ---- data ---- */

/* COPY t (a, b) FROM stdin, no options: the rows that follow are what pg_dump's text format is. A
 * table without columns has no list, and two blanks in its place. */
static bool parse_copy(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    struct ems_sql_statement *st = &s->statement;
    struct ems_sql_relation *relation;
    const char **columns = NULL;

    if (!ems_sql_table(p, &st->table))
        return false;
    relation = ems_sql_catalog_find(p->catalog, st->table);
    if (ems_sql_is(p, "(") && !ems_sql_column_list(p, st->table, &columns, &st->columns))
        return false;
    if (columns == NULL && relation->column_count > 0)
        return ems_sql_no(p, "COPY without a list of columns", NULL);
    if (!ems_sql_words(p, "FROM STDIN"))
        return ems_sql_no(p, "COPY must be FROM stdin", NULL);
    if (relation->copied || relation->inserted)
        return ems_sql_no(p, "data for a table that already has some:", st->table);
    st->column_names = columns;
    relation->copied = true;
    return true;
}

/* setval('public.s', 42, true): the only function that a dump may call; the sequence is one that it
 * has created. */
static bool parse_setval(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    return ems_sql_sequence_string(p, &s->statement.name) && ems_sql_words(p, ",") &&
           ems_sql_integer(p) && ems_sql_words(p, ",") &&
           (ems_sql_words(p, "TRUE )") || ems_sql_words(p, "FALSE )"));
}

/* ---- the list ---- */

static const char settings[] = "session settings: the restore has its own";
static const char privileges[] = "owners and privileges";
const char ems_sql_reason_clean[] =
    "DROP, CREATE DATABASE and the like: the restore makes its own database";
static const char publication[] = "publications";
static const char statistics[] = "planner statistics: they are gathered anew";

/* In the order of trying: longer beginnings first. A reason stands where nothing is sent; it is
 * what the report says, and statements are counted by its address. */
static const struct {
    const char *words;
    bool (*parse)(struct ems_sql_shaper *);
    enum ems_sql_shape shape;
    const char *reason; /* for what is not sent */
} shapes[] = {
    {"SET", parse_set, EMS_SQL_SET, settings},
    {"RESET SESSION AUTHORIZATION", parse_nothing, EMS_SQL_SET, settings},
    {"SELECT pg_catalog . set_config (", parse_set_config, EMS_SQL_SET, settings},
    {"SELECT pg_catalog . setval (", parse_setval, EMS_SQL_SETVAL, NULL},
    {"SELECT * FROM pg_catalog . pg_restore_relation_stats (", parse_anything, EMS_SQL_OTHER,
     statistics},
    {"SELECT * FROM pg_catalog . pg_restore_attribute_stats (", parse_anything, EMS_SQL_OTHER,
     statistics},
    {"SELECT * FROM pg_catalog . pg_restore_extended_stats (", parse_anything, EMS_SQL_OTHER,
     statistics},
    {"COPY", parse_copy, EMS_SQL_COPY, NULL},
    {"CREATE TABLE", ems_sql_parse_create_table, EMS_SQL_CREATE_TABLE, NULL},
    {"CREATE UNLOGGED TABLE", ems_sql_parse_create_table, EMS_SQL_CREATE_TABLE, NULL},
    {"CREATE SEQUENCE", ems_sql_parse_create_sequence, EMS_SQL_CREATE_SEQUENCE, NULL},
    {"CREATE UNLOGGED SEQUENCE", ems_sql_parse_create_sequence, EMS_SQL_CREATE_SEQUENCE, NULL},
    {"CREATE INDEX", ems_sql_parse_create_index, EMS_SQL_CREATE_INDEX, NULL},
    {"CREATE UNIQUE INDEX", ems_sql_parse_create_index, EMS_SQL_CREATE_INDEX, NULL},
    {"CREATE TRIGGER", ems_sql_parse_create_trigger, EMS_SQL_CREATE_TRIGGER, NULL},
    {"CREATE RULE", ems_sql_parse_create_rule, EMS_SQL_CREATE_TRIGGER, NULL},
    {"CREATE FUNCTION", ems_sql_parse_create_function, EMS_SQL_CREATE_FUNCTION, NULL},
    {"CREATE EXTENSION", parse_extension, EMS_SQL_OTHER, "extensions that Synapse does not need"},
    {"CREATE SCHEMA public", parse_nothing, EMS_SQL_OTHER, "schema public is there already"},
    {"CREATE PUBLICATION", parse_anything, EMS_SQL_OTHER, publication},
    {"ALTER PUBLICATION", parse_anything, EMS_SQL_OTHER, publication},
    {"CREATE STATISTICS", parse_anything, EMS_SQL_OTHER, statistics},
    {"CREATE DATABASE", parse_before, EMS_SQL_OTHER, ems_sql_reason_clean},
    {"ALTER DEFAULT PRIVILEGES", parse_anything, EMS_SQL_OTHER, privileges},
    {"GRANT", parse_anything, EMS_SQL_OTHER, privileges},
    {"REVOKE", parse_anything, EMS_SQL_OTHER, privileges},
    {"ALTER", parse_owner, EMS_SQL_OTHER, privileges},
    {"ALTER SEQUENCE", ems_sql_parse_alter_sequence, EMS_SQL_ALTER_SEQUENCE, NULL},
    {"ALTER TABLE", ems_sql_parse_alter_table, EMS_SQL_ALTER_COLUMN, NULL},
    {"ALTER STATISTICS", parse_anything, EMS_SQL_OTHER, statistics},
    {"ALTER DATABASE", parse_before, EMS_SQL_OTHER, ems_sql_reason_clean},
    {"ALTER ROLE", parse_role_setting, EMS_SQL_OTHER, ems_sql_reason_clean},
    {"DROP", parse_drop, EMS_SQL_OTHER, ems_sql_reason_clean},
    {"COMMENT ON", parse_comment, EMS_SQL_COMMENT, NULL},
};

/* ALTER is tried twice: whatever ends in OWNER TO is skipped, then comes what ALTER it is. Other
 * beginnings decide. */
static bool recognise(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    bool begun = false;

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct ems_sql_statement *st = &s->statement;

        p->at = 0;
        if (!ems_sql_words(p, shapes[i].words))
            continue;
        begun = true;
        *st = (struct ems_sql_statement){.shape = shapes[i].shape, .reason = shapes[i].reason};
        st->action = st->reason == NULL       ? EMS_SQL_SEND
                     : st->reason == settings ? EMS_SQL_SWALLOW
                                              : EMS_SQL_SKIP;
        s->made = (struct ems_sql_made){.function = -1};
        if (shapes[i].parse(s) && ems_sql_at_end(p))
            return true;
        if (shapes[i].parse != parse_owner)
            break;
    }
    return begun ? false : ems_sql_no(p, "not a statement that is accepted", NULL);
}

/* "line 7: reason NAME: CREATE ..."; without a better reason, the first token that did not fit. The
 * head of the statement makes it easy to find with a pager. */
static int refuse(struct ems_sql_shaper *s, const struct ems_sql_lex *lex, struct ems_error *err)
{
    const struct ems_sql_parse *p = &s->parse;
    size_t where = p->at > p->furthest ? p->at : p->furthest;
    char head[110], at[48] = "its end";

    ems_sql_lex_head(lex, head, sizeof head);
    if (p->reason != NULL)
        return ems_fail(err, p->code, "line %llu: %s%s%s: %s",
                        (unsigned long long)lex->statement_line, p->reason,
                        p->subject[0] != '\0' ? " " : "", p->subject, head);
    if (where < p->count)
        ems_printable(p->text + p->tokens[where].start, p->tokens[where].size, at, sizeof at);
    return ems_fail(err, EMS_SQL_REFUSED, "line %llu: not accepted from \"%s\" on: %s",
                    (unsigned long long)lex->statement_line, at, head);
}

/* A function's body decides whether it may run, and how it is sent. */
static int note_function(struct ems_sql_shaper *s, const struct ems_sql_lex *lex,
                         struct ems_error *err)
{
    const struct ems_sql_token *token = s->made.body;
    const uint8_t *body = (const uint8_t *)s->made.string;
    struct ems_buf tokens = {0};
    size_t size, quote = 1;
    bool good, exact;
    int rc;

    if (token != NULL) {
        body = lex->text.data + token->start;
        while (body[quote] != '$')
            quote++;
        quote++;
        body += quote;
        size = token->size - 2 * quote;
    } else {
        size = strlen(s->made.string);
    }
    rc = ems_sql_function_check(ems_sql_function_at(s->made.function), body, size, &good, &exact,
                                &tokens, err);
    if (rc == EMS_OK && !good)
        rc = ems_fail(err, EMS_SQL_REFUSED,
                      "line %llu: %s is not the function that Synapse has under this name",
                      (unsigned long long)lex->statement_line, s->statement.name);
    if (rc == EMS_OK && (s->catalog.functions & 1u << s->made.function) != 0)
        rc = ems_fail(err, EMS_SQL_REFUSED, "line %llu: %s is created a second time",
                      (unsigned long long)lex->statement_line, s->statement.name);
    if (rc == EMS_OK && !exact) {
        rc = ems_buf_printf(
            &s->rendered, err,
            "CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql AS $ems$%.*s$ems$",
            s->statement.name, (int)tokens.size, (const char *)tokens.data);
        s->statement.text = (const char *)s->rendered.data;
        s->statement.size = s->rendered.size;
    }
    if (rc == EMS_OK) {
        s->catalog.functions |= 1u << s->made.function;
        s->catalog.changed = true;
    }
    ems_buf_release(&tokens);
    return rc;
}

/* A statement that is recognised is added to what later ones may refer to. */
static int note(struct ems_sql_shaper *s, const struct ems_sql_lex *lex, struct ems_error *err)
{
    const struct ems_sql_made *made = &s->made;
    struct ems_error failure = {0};
    int rc;

    if (made->function >= 0)
        return note_function(s, lex, err);
    if (made->relation == NULL)
        return EMS_OK;
    rc = ems_sql_catalog_add(&s->catalog, made->relation, made->is_table, made->columns,
                             made->column_count, &failure);
    if (rc == EMS_SQL_REFUSED)
        return ems_fail(err, rc, "line %llu: %s", (unsigned long long)lex->statement_line,
                        failure.text);
    return rc == EMS_OK ? rc : ems_fail(err, rc, "%s", failure.text);
}

/* ---- tokens in, statements out ---- */

/* The rows of an INSERT begin: its head must be in order, then its tokens are no longer kept. */
static int begin_rows(struct ems_sql_shaper *s, struct ems_sql_lex *lex, struct ems_error *err)
{
    int rc = ems_sql_parse_begin(&s->parse, &s->tokens, &lex->text, err);

    s->parse.catalog = &s->catalog;
    if (rc != EMS_OK)
        return rc;
    if (!ems_sql_insert_head(s))
        return refuse(s, lex, err);
    lex->text_limit = EMS_SQL_INSERT_MAX;
    return EMS_OK;
}

/* The lexer hands over a token. The word VALUES in a statement that begins with INSERT can only be
 * the key word: a column of that name stands in quotes, and nothing else may come before it. */
int ems_sql_shaper_take(void *context, struct ems_sql_lex *lex, const struct ems_sql_token *token,
                        struct ems_error *err)
{
    struct ems_sql_shaper *s = context;
    const uint8_t *text = lex->text.data;
    char head[100];
    int rc;

    if (s->insert.state != 0) {
        if (ems_sql_insert_token(&s->insert, text, token))
            return EMS_OK;
        return ems_fail(err, EMS_SQL_REFUSED,
                        "line %llu: row %llu of the INSERT is not %u constants: %s",
                        (unsigned long long)lex->line, (unsigned long long)(s->insert.rows + 1),
                        s->insert.columns, ems_sql_lex_head(lex, head, sizeof head));
    }
    rc = ems_sql_tokens_add(&s->tokens, token, err);
    if (rc == EMS_OK && s->tokens.count > 1 && ems_sql_token_is(text, token, "VALUES") &&
        ems_sql_token_is(text, s->tokens.at, "INSERT"))
        rc = begin_rows(s, lex, err);
    return rc;
}

/* COPY and INSERT into one table are not mixed: no pg_dump does that. */
static int finish_insert(struct ems_sql_shaper *s, const struct ems_sql_lex *lex,
                         struct ems_error *err)
{
    struct ems_sql_relation *relation = ems_sql_catalog_find(&s->catalog, s->statement.table);
    char head[100];

    if (!ems_sql_insert_end(&s->insert) || relation->copied)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: %s: %s",
                        (unsigned long long)lex->statement_line,
                        relation->copied ? "INSERT into a table that already has data"
                                         : "INSERT that ends too early",
                        ems_sql_lex_head(lex, head, sizeof head));
    relation->inserted = true;
    return EMS_OK;
}

/* On failure too everything is put back, but a caller goes on with none. */
int ems_sql_shaper_finish(struct ems_sql_shaper *s, struct ems_sql_lex *lex, struct ems_error *err)
{
    struct ems_sql_statement *st = &s->statement;
    int rc;

    s->rendered.size = 0;
    if (s->insert.state != 0) {
        rc = finish_insert(s, lex, err);
    } else if (s->tokens.count == 0) {
        rc = ems_fail(err, EMS_SQL_REFUSED, "line %llu: an empty statement",
                      (unsigned long long)lex->statement_line);
    } else {
        rc = ems_sql_parse_begin(&s->parse, &s->tokens, &lex->text, err);
        s->parse.catalog = &s->catalog;
        if (rc == EMS_OK && !recognise(s))
            rc = refuse(s, lex, err);
        if (rc == EMS_OK)
            rc = note(s, lex, err);
    }
    s->tokens.count = 0;
    s->insert.state = 0;
    lex->text_limit = EMS_SQL_STATEMENT_MAX;
    st->line = lex->statement_line;
    if (st->text == NULL) {
        st->text = (const char *)lex->text.data;
        st->size = lex->text.size;
    }
    return rc;
}
