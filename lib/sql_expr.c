/*
 * sql_expr.c - types and expressions; see sql_parse.h.
 *
 * Expressions come as the server prints them (src/backend/utils/adt/ruleutils.c): parentheses round
 * everything, casts as ::type, LIKE as ~~, IN as = ANY (ARRAY[...]), BETWEEN taken apart. They are
 * recognised, not understood: precedence does not matter here.
 */
#include "sql_parse.h"

#include <string.h>

/* ---- types ---- */

/* Whole names; longer ones first where one begins another. Capitals: words of the grammar. */
static const char *const plain_types[] = {
    "BIGINT",    "INTEGER",   "SMALLINT",  "BOOLEAN",  "bytea",
    "text",      "jsonb",     "json",      "jsonpath", "tsvector",
    "tsquery",   "uuid",      "date",      "REAL",     "DOUBLE PRECISION",
    "oid",       "inet",      "cidr",      "macaddr8", "macaddr",
    "name",      "xml",       "money",     "point",    "lseg",
    "line",      "box",       "path",      "polygon",  "circle",
    "pg_lsn",    "int4range", "int8range", "numrange", "tsrange",
    "tstzrange", "daterange", NULL,
};

/* With an optional (n) or (n,m). */
static const char *const sized_types[] = {
    "CHARACTER VARYING", "CHARACTER", "bpchar",  "BIT VARYING", "BIT",
    "VARCHAR",           "CHAR",      "NUMERIC", NULL,
};

static const char *const interval_fields[] = {
    "YEAR TO MONTH",
    "DAY TO HOUR",
    "DAY TO MINUTE",
    "DAY TO SECOND",
    "HOUR TO MINUTE",
    "HOUR TO SECOND",
    "MINUTE TO SECOND",
    "YEAR",
    "MONTH",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    NULL,
};

/* Type modifiers are whole numbers; numeric may have a negative scale from server 15 on. */
static bool optional_size(struct ems_sql_parse *p)
{
    if (!ems_sql_words(p, "("))
        return true;
    if (!ems_sql_integer(p) || (ems_sql_words(p, ",") && !ems_sql_integer(p)))
        return false;
    return ems_sql_words(p, ")");
}

/* Types by name would be looked up in schema public too if the dump had created any there: it
 * cannot, only tables have row types, and those no dump of Synapse uses. */
static bool base_type(struct ems_sql_parse *p)
{
    static const char *const zones[] = {"WITH TIME ZONE", "WITHOUT TIME ZONE", NULL};
    static const char *const times[] = {"TIMESTAMP", "TIME", NULL};
    const struct ems_sql_token *token = p->tokens + p->at;

    if (ems_sql_one_of(p, sized_types))
        return optional_size(p);
    if (ems_sql_one_of(p, times)) {
        if (!optional_size(p))
            return false;
        ems_sql_one_of(p, zones);
        return true;
    }
    if (ems_sql_words(p, "INTERVAL")) {
        ems_sql_one_of(p, interval_fields);
        return optional_size(p);
    }
    if (ems_sql_one_of(p, plain_types))
        return true;
    if (!ems_sql_at_end(p) && token->kind == EMS_TOKEN_QUOTED && token->size == 6 &&
        memcmp(p->text + token->start, "\"char\"", 6) == 0) {
        p->at++;
        return true;
    }
    return ems_sql_no(p, "not a built-in type", NULL);
}

/* Brackets are array dimensions; the server ignores how many and how long, and so do we. */
bool ems_sql_type(struct ems_sql_parse *p)
{
    if (!base_type(p))
        return false;
    while (ems_sql_words(p, "[")) {
        ems_sql_integer(p);
        if (!ems_sql_words(p, "]"))
            return false;
    }
    return true;
}

/* Those that every server has and that do not depend on its operating system. */
bool ems_sql_collation(struct ems_sql_parse *p)
{
    static const char *const known[] = {"C", "POSIX", "default", "ucs_basic"};
    const char *name;

    ems_sql_words(p, "pg_catalog .");
    if (!ems_sql_name(p, &name))
        return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return ems_sql_no(p, "collation that a staging server may not have:", name);
}

/* ---- expressions ---- */

/*
 * Functions that compute from their arguments, or read the clock or random numbers, and no more: no
 * files, no locks, no sleep, no dynamic SQL, no regular expression (substring is one with two
 * arguments), no result much longer than the arguments (replace). What Synapse's schema uses is
 * among them, and what other tables commonly do.
 */
static const char functions[] =
    " now lower upper abs length char_length character_length octet_length substr strpos "
    " btrim ltrim rtrim left right md5 round floor ceil date_part date_trunc "
    "timezone clock_timestamp statement_timestamp transaction_timestamp to_tsvector "
    "setweight jsonb_typeof json_typeof array_length cardinality gen_random_uuid random "
    "to_timestamp date ";

/* Written like functions, but the grammar's own (gram.y: func_expr_common_subexpr): in quotes they
 * would be others. */
static const char *const grammar_functions[] = {"COALESCE", "NULLIF", "GREATEST", "LEAST", NULL};

/* Constants and clock readings that are words. CURRENT_USER and its like are not among them. */
static const char *const keyword_values[] = {
    "TRUE",           "FALSE",     "NULL", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME",
    "LOCALTIMESTAMP", "LOCALTIME", NULL,
};

/*
 * With search_path empty the server finds operators in pg_catalog only; with the old search_path it
 * would look in public too, where a dump cannot create any. Regular expressions (~) are left out:
 * their cost is not bounded.
 */
static const char *const binary_operators[] = {
    "=",
    "<>",
    "<",
    ">",
    "<=",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "->",
    "->>",
    "#>",
    "#>>",
    "@>",
    "<@",
    "?",
    "AND",
    "OR",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "AT TIME ZONE",
    NULL,
};

/* Behind an operand; OPERATOR(schema.op), which could name another, is not among them. */
static const char *const tests[] = {
    "IS NULL",      "IS NOT NULL", "IS TRUE",        "IS NOT TRUE", "IS FALSE",
    "IS NOT FALSE", "IS UNKNOWN",  "IS NOT UNKNOWN", NULL,
};

/* Also what stands in parentheses alone: a list of one; (a, b) is a row constructor. */
static bool expression_list(struct ems_sql_parse *p, const char *close)
{
    if (ems_sql_words(p, close))
        return true;
    do
        if (!ems_sql_expression(p))
            return false;
    while (ems_sql_words(p, ","));
    return ems_sql_words(p, close);
}

/* EXTRACT(epoch FROM x); from server 14 on the field may be quoted. */
static bool extract(struct ems_sql_parse *p)
{
    return (ems_sql_name(p, NULL) || ems_sql_string(p, NULL)) && ems_sql_words(p, "FROM") &&
           ems_sql_expression(p) && ems_sql_words(p, ")");
}

/* CASE [x] WHEN y THEN z ... [ELSE e] END. Words like WHEN are reserved, so none of the expressions
 * can swallow them as a column. */
static bool case_when(struct ems_sql_parse *p)
{
    if (!ems_sql_is(p, "WHEN") && !ems_sql_expression(p))
        return false;
    while (ems_sql_words(p, "WHEN"))
        if (!ems_sql_expression(p) || !ems_sql_words(p, "THEN") || !ems_sql_expression(p))
            return false;
    if (ems_sql_words(p, "ELSE") && !ems_sql_expression(p))
        return false;
    return ems_sql_words(p, "END");
}

/* nextval('public.s'::regclass): the only function with a memory. */
static bool nextval(struct ems_sql_parse *p)
{
    const char *sequence;

    if (!ems_sql_sequence_string(p, &sequence) || !ems_sql_words(p, ":: regclass"))
        return false;
    ems_sql_words(p, ":: text"); /* servers of long ago */
    return ems_sql_words(p, ")");
}

/* Does not look at what follows: a column may have such a name too. */
static bool listed_function(struct ems_sql_parse *p)
{
    const struct ems_sql_token *token = p->tokens + p->at;
    bool quoted = !ems_sql_at_end(p) && token->kind == EMS_TOKEN_QUOTED;

    if (ems_sql_at_end(p) || (!quoted && token->kind != EMS_TOKEN_WORD) ||
        !ems_sql_in_list(functions, p->text + token->start + quoted, token->size - 2u * quoted,
                         !quoted))
        return false;
    p->at++;
    return true;
}

/*
 * A name before a parenthesis is a function and must be on the list; anything else is a column. No
 * other dotted name passes: t.f could be a function call in the notation of attributes.
 */
static bool call_or_column(struct ems_sql_parse *p)
{
    size_t at = p->at;
    const char *name;

    if (ems_sql_words(p, "nextval (") || ems_sql_words(p, "pg_catalog . nextval ("))
        return nextval(p);
    ems_sql_words(p, "pg_catalog .");
    if ((ems_sql_one_of(p, grammar_functions) || listed_function(p)) && ems_sql_words(p, "("))
        return expression_list(p, ")");
    p->at = at;
    if (!ems_sql_name(p, &name))
        return false;
    if (ems_sql_is(p, "("))
        return ems_sql_no(p, "not one of the functions that may be used:", name);
    return !ems_sql_is(p, ".");
}

/* An operand. What is missing here is refused: subselects above all, which could read other tables;
 * also parameters, row and table references, and every kind of aggregate. */
static bool primary(struct ems_sql_parse *p)
{
    if (ems_sql_number(p) || ems_sql_any_string(p) || ems_sql_one_of(p, keyword_values))
        return true;
    if (ems_sql_words(p, "("))
        return expression_list(p, ")");
    if (ems_sql_words(p, "ARRAY ["))
        return expression_list(p, "]");
    if (ems_sql_words(p, "ANY (") || ems_sql_words(p, "ALL ("))
        return ems_sql_expression(p) && ems_sql_words(p, ")");
    if (ems_sql_words(p, "EXTRACT ("))
        return extract(p);
    if (ems_sql_words(p, "CASE"))
        return case_when(p);
    return call_or_column(p);
}

/* x::type, x[1], x COLLATE "C", x IS NULL: any number of them. */
static bool postfixes(struct ems_sql_parse *p)
{
    for (;;) {
        if (ems_sql_words(p, "::")) {
            if (!ems_sql_type(p))
                return false;
        } else if (ems_sql_words(p, "[")) {
            if (!ems_sql_expression(p) || !ems_sql_words(p, "]"))
                return false;
        } else if (ems_sql_words(p, "COLLATE")) {
            if (!ems_sql_collation(p))
                return false;
        } else if (!ems_sql_one_of(p, tests)) {
            return true;
        }
    }
}

/*
 * Recursion is by parentheses only, and limited; chains of operators are a loop. The server's own
 * parser recurses for chains too (1+1+1+...), but a statement is too short to exhaust its stack:
 * it has a limit of its own (max_stack_depth) and would say so.
 */
bool ems_sql_expression(struct ems_sql_parse *p)
{
    bool good;

    if (p->depth == EMS_SQL_DEPTH_MAX)
        return ems_sql_no(p, "expression too deep", NULL);
    p->depth++;
    do {
        while (ems_sql_words(p, "NOT") || ems_sql_words(p, "-"))
            ;
        good = primary(p) && postfixes(p);
    } while (good && ems_sql_one_of(p, binary_operators));
    p->depth--;
    return good;
}
