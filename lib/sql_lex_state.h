/*
 * sql_lex_state.h - shared by the two files of the lexer: sql_lex.c has statements, comments and
 * feeding, sql_lex_token.c what happens between a token's first byte and its last.
 */
#ifndef EMS_SQL_LEX_STATE_H
#define EMS_SQL_LEX_STATE_H

#include "sql_lex.h"

enum ems_sql_lex_state {
    EMS_LEX_PLAIN,
    EMS_LEX_WORD,
    EMS_LEX_NUMBER,
    EMS_LEX_OPERATOR,
    EMS_LEX_COLON,
    EMS_LEX_UNICODE_PREFIX, /* U& */
    EMS_LEX_QUOTE,          /* inside '...' of any kind */
    EMS_LEX_QUOTE_ESCAPE,   /* after a backslash in E'...' */
    EMS_LEX_QUOTE_END,      /* after a quote that ends the string or is doubled */
    EMS_LEX_IDENTIFIER,     /* inside "..." */
    EMS_LEX_IDENTIFIER_END,
    EMS_LEX_DOLLAR,     /* after $ */
    EMS_LEX_DOLLAR_TAG, /* in the tag of an opening $tag$ */
    EMS_LEX_DOLLAR_BODY,
    EMS_LEX_PARAMETER, /* $1 */
    EMS_LEX_LINE_COMMENT,
    EMS_LEX_BLOCK_COMMENT,
    EMS_LEX_META,
};

/* Blanks, and the characters of operators (scan.l: space, op_chars). */
bool ems_sql_is_blank(uint8_t c);
bool ems_sql_is_operator(uint8_t c);

/* Append to the statement's text, within its limit. */
int ems_sql_lex_put(struct ems_sql_lex *, const uint8_t *data, size_t size, struct ems_error *);

static inline int ems_sql_lex_put_byte(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    if (lex->text.size == lex->text.capacity || lex->text.size == lex->text_limit)
        return ems_sql_lex_put(lex, &c, 1, err);
    lex->text.data[lex->text.size++] = c;
    return EMS_OK;
}

/* A statement, comment or meta line begins with the next byte. */
void ems_sql_lex_begin_here(struct ems_sql_lex *);

/* Begin a token at the end of the text, and the statement with it if it is the first. */
void ems_sql_lex_begin(struct ems_sql_lex *, uint8_t kind);

/* It ends with the end of the text: hand it over. */
int ems_sql_lex_end_token(struct ems_sql_lex *, struct ems_error *);
int ems_sql_lex_end_operator(struct ems_sql_lex *, struct ems_error *);

/* Hand over the string that was waiting to be continued, if there is one. */
int ems_sql_lex_flush(struct ems_sql_lex *, struct ems_error *);

/* The first byte of a token that is not complete with it, and the further ones; *again says that
 * the byte was not taken because it belongs to what follows. */
int ems_sql_lex_first(struct ems_sql_lex *, uint8_t, struct ems_error *);
int ems_sql_lex_step_token(struct ems_sql_lex *, uint8_t, bool *again, struct ems_error *);

#endif
