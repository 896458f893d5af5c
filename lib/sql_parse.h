/*
 * sql_parse.h - a cursor over the tokens of one statement, and what the recognised shapes are put
 * together from: words, names, constants, types, expressions.
 *
 * Every function answers whether the tokens at the cursor are what it looks for. If so it steps
 * behind them; if not it stays, or leaves the cursor at the token that does not fit: the statement
 * is then refused anyway, and `at` says where. A reason can be given with ems_sql_no.
 *
 * Nothing here evaluates or rewrites SQL. The server parses what is sent again; the point is that
 * it cannot be anything but one of the shapes.
 */
#ifndef EMS_SQL_PARSE_H
#define EMS_SQL_PARSE_H

#include "sql_catalog.h"
#include "sql_lex.h"

#define EMS_SQL_NAME_MAX  63u /* bytes of an identifier */
#define EMS_SQL_DEPTH_MAX 40u /* parentheses within expressions */

struct ems_sql_parse {
    const struct ems_sql_token *tokens;
    size_t count, at;
    size_t furthest; /* token that fitted least, for messages */
    uint8_t *text;
    struct ems_sql_catalog *catalog;
    struct ems_buf names; /* unquoted names of this statement; reserved for all of them */
    unsigned depth;
    int code;           /* EMS_SQL_REFUSED, or what a parser sets in its place */
    const char *reason; /* static: why not, if something better than "not expected" is known */
    char subject[80];   /* name that the reason is about, printable; or empty */
};

/* Begin with a statement. Keeps the memory of `names`. */
int ems_sql_parse_begin(struct ems_sql_parse *, const struct ems_sql_tokens *, struct ems_buf *text,
                        struct ems_error *);

/* Refuse with a reason; the first one stays. Returns false. */
bool ems_sql_no(struct ems_sql_parse *, const char *reason, const char *subject);

bool ems_sql_at_end(const struct ems_sql_parse *);

/* Is the cursor at this word, or at this operator or punctuation? Does not step. */
bool ems_sql_is(const struct ems_sql_parse *, const char *word);

/*
 * Words and signs, separated by one blank: "SET SCHEMA", "( )", "SELECT pg_catalog . setval". All
 * of them or none. Words in capitals are the grammar's and match only without quotes; those in
 * small letters are names that the server knows, which --quote-all-identifiers puts in quotes.
 */
bool ems_sql_words(struct ems_sql_parse *, const char *words);

/* Step to the end, whatever stands there. */
bool ems_sql_anything(struct ems_sql_parse *);

/* Any one of the words of a NULL-terminated list. */
bool ems_sql_one_of(struct ems_sql_parse *, const char *const *list);

/* Is the word one of a list: " a b c ", in small letters, a blank round each? fold: capitals count
 * as small letters, as outside quotes. */
bool ems_sql_in_list(const char *list, const uint8_t *text, size_t size, bool fold);

/* A name as the server sees it: folded or unquoted. Not a reserved word. */
bool ems_sql_name(struct ems_sql_parse *, const char **name);

/* public.NAME, or NAME where the search path says so; *full is "public.NAME" either way. */
bool ems_sql_full_name(struct ems_sql_parse *, const char **full);

/* The same for a table (sequence) that this dump has created. */
bool ems_sql_table(struct ems_sql_parse *, const char **full);
bool ems_sql_sequence(struct ems_sql_parse *, const char **full);

/* "(a, b)": names that are columns of the table, each once; *names may be NULL. */
bool ems_sql_column_list(struct ems_sql_parse *, const char *table, const char ***names,
                         uint32_t *count);
bool ems_sql_column(struct ems_sql_parse *, const char *table, const char **name);

/* public.t.c: a column of a table that this dump has created. */
bool ems_sql_dotted_column(struct ems_sql_parse *, const char **table);

/* Room for as many pointers; no more than one for every two tokens of the statement. */
const char **ems_sql_list(struct ems_sql_parse *, size_t room);

/* A string constant, decoded. Only 'text' in one piece. */
bool ems_sql_string(struct ems_sql_parse *, const char **value);

/* Any string constant; with a sign or without; whole numbers only. */
bool ems_sql_any_string(struct ems_sql_parse *);
bool ems_sql_number(struct ems_sql_parse *);
bool ems_sql_integer(struct ems_sql_parse *);
bool ems_sql_is_number(const uint8_t *text, const struct ems_sql_token *);

/* 'public.seq' of a sequence that this dump has created. */
bool ems_sql_sequence_string(struct ems_sql_parse *, const char **full);

/* "(...)" of storage parameters: fillfactor='70', autovacuum_enabled=false, n_distinct=-0.5. */
bool ems_sql_parameters(struct ems_sql_parse *);

/* A built-in type with modifiers and array brackets. */
bool ems_sql_type(struct ems_sql_parse *);

bool ems_sql_collation(struct ems_sql_parse *);

/* An expression over the columns of a row: constants, built-in operators, a list of functions that
 * only compute. */
bool ems_sql_expression(struct ems_sql_parse *);

#endif
