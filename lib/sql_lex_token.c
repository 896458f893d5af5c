/*
 * sql_lex_token.c - see sql_lex.h and sql_lex_state.h: from a token's first byte to its last.
 *
 * Tokens are places in the statement's text. So a state needs to remember nothing but its kind and
 * where it began; even the tag of a dollar quote is compared with the text itself.
 */
#include "sql_lex_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- character classes (scan.l: ident_start, ident_cont, self, op_chars, space) ---- */

/* Every byte above ASCII counts as a letter, whatever character it is part of: the server does the
 * same (ident_start), so no space or quote of Unicode can separate or quote anything. */
static bool is_word_start(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* A dollar quote's tag, and what goes on a number: letters, digits, underscore, no dollar. */
static bool is_tag(uint8_t c)
{
    return is_word_start(c) || is_digit(c);
}

/* The vertical tab is a blank for servers from 16 on only, so it is none here: nothing that a dump
 * holds between tokens. */
bool ems_sql_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

bool ems_sql_is_operator(uint8_t c)
{
    switch (c) {
    case '~':
    case '!':
    case '@':
    case '#':
    case '^':
    case '&':
    case '|':
    case '`':
    case '?':
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '<':
    case '>':
    case '=':
        return true;
    default:
        return false;
    }
}

/* ---- text and tokens ---- */

int ems_sql_lex_put(struct ems_sql_lex *lex, const uint8_t *data, size_t size,
                    struct ems_error *err)
{
    char head[100];

    if (size > lex->text_limit - lex->text.size)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: statement of more than %zu bytes: %s",
                        (unsigned long long)lex->statement_line, lex->text_limit,
                        ems_sql_lex_head(lex, head, sizeof head));
    return ems_buf_append(&lex->text, data, size, err);
}

/* Comments and blanks are counted from the last token on, see EMS_SQL_BLANK_MAX. */
static int take(struct ems_sql_lex *lex, const struct ems_sql_token *token, struct ems_error *err)
{
    lex->run = 0;
    return lex->take(lex->context, lex, token, err);
}

/* A string waits after its end, because it may be continued on the next line. */
int ems_sql_lex_flush(struct ems_sql_lex *lex, struct ems_error *err)
{
    if (!lex->pending)
        return EMS_OK;
    lex->pending = false;
    return take(lex, &lex->string, err);
}

/* The statement, a comment or a meta line begins with the next byte. */
void ems_sql_lex_begin_here(struct ems_sql_lex *lex)
{
    lex->statement_line = lex->line;
    lex->own_line = lex->line_start;
}

/* Begin a token of this kind at the end of the text. */
void ems_sql_lex_begin(struct ems_sql_lex *lex, uint8_t kind)
{
    if (!lex->started) {
        lex->started = true;
        lex->text.size = 0;
        lex->words = 0;
        ems_sql_lex_begin_here(lex);
    }
    lex->token = (struct ems_sql_token){.start = (uint32_t)lex->text.size, .kind = kind};
}

int ems_sql_lex_end_token(struct ems_sql_lex *lex, struct ems_error *err)
{
    lex->state = EMS_LEX_PLAIN;
    lex->token.size = (uint32_t)lex->text.size - lex->token.start;
    return take(lex, &lex->token, err);
}

/* A string ends at the last byte read, perhaps: after a line end among the blanks that follow, a
 * quote goes on with it (scan.l: quotecontinue). Its token grows over them then. */
static void end_string(struct ems_sql_lex *lex)
{
    lex->state = EMS_LEX_PLAIN;
    lex->token.size = (uint32_t)lex->text.size - lex->token.start;
    lex->string = lex->token;
    lex->pending = true;
    lex->pending_newline = false;
}

/*
 * psql's way to see the body of CREATE FUNCTION ... BEGIN ATOMIC ... END: the first words decide
 * whether BEGIN, CASE and END are counted at all (psqlscan.l, rule {identifier}).
 */
static int end_word(struct ems_sql_lex *lex, struct ems_error *err)
{
    static const char *const first[] = {"CREATE", "FUNCTION", "PROCEDURE", "OR", "REPLACE"};
    const char *l = lex->leading;
    struct ems_sql_token *token = &lex->token;

    token->size = (uint32_t)lex->text.size - token->start;
    if (lex->words == 0)
        memset(lex->leading, 0, sizeof lex->leading);
    if (lex->words < sizeof lex->leading) {
        for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
            if (ems_sql_token_is(lex->text.data, token, first[i]))
                lex->leading[lex->words] = first[i][0];
        lex->words++;
    }
    if (lex->parens == 0 && l[0] == 'C' &&
        (l[1] == 'F' || l[1] == 'P' ||
         (l[1] == 'O' && l[2] == 'R' && (l[3] == 'F' || l[3] == 'P')))) {
        if (ems_sql_token_is(lex->text.data, token, "BEGIN"))
            lex->begins++;
        else if (lex->begins > 0 && ems_sql_token_is(lex->text.data, token, "CASE"))
            lex->begins++;
        else if (lex->begins > 0 && ems_sql_token_is(lex->text.data, token, "END"))
            lex->begins--;
    }
    return ems_sql_lex_end_token(lex, err);
}

/*
 * The server cuts + and - off the end of an operator, unless it has one of ~!@#^&|`?% in it, so
 * that "a=-1" is three tokens. What is cut off are operators of one byte each.
 */
int ems_sql_lex_end_operator(struct ems_sql_lex *lex, struct ems_error *err)
{
    const uint8_t *op = lex->text.data + lex->token.start;
    size_t size = lex->text.size - lex->token.start, keep = size;
    struct ems_sql_token token = lex->token;
    bool special = false;
    int rc;

    lex->state = EMS_LEX_PLAIN;
    if (size == 0)
        return EMS_OK;
    for (size_t i = 0; i < size; i++)
        special = special || strchr("~!@#^&|`?%", op[i]) != NULL;
    while (!special && keep > 1 && (op[keep - 1] == '+' || op[keep - 1] == '-'))
        keep--;
    token.size = (uint32_t)keep;
    rc = ems_sql_lex_flush(lex, err);
    if (rc == EMS_OK)
        rc = take(lex, &token, err);
    for (; rc == EMS_OK && keep < size; keep++) {
        token.start += token.size;
        token.size = 1;
        rc = take(lex, &token, err);
    }
    return rc;
}

/* The first byte of a token that is not complete with it. */
int ems_sql_lex_first(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    int rc;

    ems_sql_lex_begin(lex, EMS_TOKEN_JUNK);
    if (is_word_start(c)) {
        lex->token.kind = EMS_TOKEN_WORD;
        lex->state = EMS_LEX_WORD;
    } else if (is_digit(c)) {
        lex->token.kind = EMS_TOKEN_NUMBER;
        lex->state = EMS_LEX_NUMBER;
    } else if (c == '\'') {
        lex->token.kind = EMS_TOKEN_STRING;
        lex->state = EMS_LEX_QUOTE;
    } else if (c == '"') {
        lex->token.kind = EMS_TOKEN_QUOTED;
        lex->state = EMS_LEX_IDENTIFIER;
    } else if (c == '$') {
        lex->state = EMS_LEX_DOLLAR;
    } else if (c == ':') {
        lex->token.kind = EMS_TOKEN_PUNCT;
        lex->state = EMS_LEX_COLON;
    }
    rc = ems_sql_lex_put_byte(lex, c, err);
    return rc == EMS_OK && lex->state == EMS_LEX_PLAIN ? ems_sql_lex_end_token(lex, err) : rc;
}

/* ---- inside tokens; *again says that the byte was not taken ---- */

/* E'...', B'...', X'...', N'...' and the U& of U&'...' begin as words. */
static int step_word(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    bool single = lex->text.size - lex->token.start == 1;
    char first = (char)(lex->text.data[lex->token.start] | 0x20);

    if (is_word_start(c) || is_digit(c) || c == '$')
        return ems_sql_lex_put_byte(lex, c, err);
    if (single && c == '\'' && strchr("ebxn", first) != NULL) {
        lex->token.kind = first == 'e'   ? EMS_TOKEN_ESTRING
                          : first == 'n' ? EMS_TOKEN_JUNK
                                         : EMS_TOKEN_BITS;
        lex->state = EMS_LEX_QUOTE;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    if (single && c == '&' && first == 'u') {
        lex->state = EMS_LEX_UNICODE_PREFIX;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    *again = true;
    return end_word(lex, err);
}

/* U&'...' and U&"...": lexed to their end, so that what is in them is not taken for anything else,
 * and refused as junk, because an escape could spell any name. */
static int step_unicode_prefix(struct ems_sql_lex *lex, uint8_t c, bool *again,
                               struct ems_error *err)
{
    int rc;

    if (c == '\'' || c == '"') {
        lex->token.kind = EMS_TOKEN_JUNK;
        lex->state = c == '"' ? EMS_LEX_IDENTIFIER : EMS_LEX_QUOTE;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    lex->text.size--; /* it was the word u and an operator */
    rc = end_word(lex, err);
    ems_sql_lex_begin(lex, EMS_TOKEN_OPERATOR);
    lex->text.size++;
    lex->state = EMS_LEX_OPERATOR;
    *again = true;
    return rc;
}

/* Digits, letters and points; a sign only after an e. The recogniser is strict about the form. */
static int step_number(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    uint8_t last = lex->text.data[lex->text.size - 1];

    if (is_tag(c) || c == '.' || ((c == '+' || c == '-') && (last | 0x20) == 'e'))
        return ems_sql_lex_put_byte(lex, c, err);
    *again = true;
    return ems_sql_lex_end_token(lex, err);
}

/* $tag$ opens, $1 is a parameter, any other $ is junk by itself. */
static int step_dollar(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    if (c == '$') {
        lex->state = EMS_LEX_DOLLAR_BODY;
        lex->token.kind = EMS_TOKEN_DOLLAR;
        lex->tag_size = lex->text.size + 1 - lex->token.start;
        lex->tag_match = 0;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    if (lex->state == EMS_LEX_DOLLAR ? is_word_start(c) : is_tag(c)) {
        lex->state = EMS_LEX_DOLLAR_TAG;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    if (lex->state == EMS_LEX_DOLLAR && is_digit(c)) {
        lex->state = EMS_LEX_PARAMETER;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    *again = true;
    return ems_sql_lex_end_token(lex, err);
}

/* Looks for $tag$. The tag holds no $, so after a mismatch only that byte can begin it anew. */
static int step_dollar_body(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    const uint8_t *tag = lex->text.data + lex->token.start;
    int rc;

    if (c == tag[lex->tag_match])
        lex->tag_match++;
    else
        lex->tag_match = c == '$';
    rc = ems_sql_lex_put_byte(lex, c, err);
    return rc == EMS_OK && lex->tag_match == lex->tag_size ? ems_sql_lex_end_token(lex, err) : rc;
}

/* A quote within is written twice. Whether one ends the string shows with the next byte, and
 * whether the string ends there only behind the blanks (end_string). */
static int step_quoted(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    switch (lex->state) {
    case EMS_LEX_QUOTE:
        if (c == '\'')
            lex->state = EMS_LEX_QUOTE_END;
        else if (c == '\\' && lex->token.kind == EMS_TOKEN_ESTRING)
            lex->state = EMS_LEX_QUOTE_ESCAPE;
        break;
    case EMS_LEX_QUOTE_ESCAPE:
        lex->state = EMS_LEX_QUOTE;
        break;
    case EMS_LEX_QUOTE_END:
        if (c != '\'') {
            *again = true;
            end_string(lex);
            return EMS_OK;
        }
        lex->state = EMS_LEX_QUOTE;
        break;
    case EMS_LEX_IDENTIFIER:
        if (c == '"')
            lex->state = EMS_LEX_IDENTIFIER_END;
        break;
    default: /* EMS_LEX_IDENTIFIER_END */
        if (c != '"') {
            *again = true;
            return ems_sql_lex_end_token(lex, err);
        }
        lex->state = EMS_LEX_IDENTIFIER;
        break;
    }
    return ems_sql_lex_put_byte(lex, c, err);
}

/* All of these states are within a token; none can begin or end a statement or a comment. */
int ems_sql_lex_step_token(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    int rc;

    switch (lex->state) {
    case EMS_LEX_WORD:
        return step_word(lex, c, again, err);
    case EMS_LEX_NUMBER:
        return step_number(lex, c, again, err);
    case EMS_LEX_COLON:
        *again = c != ':';
        rc = *again ? EMS_OK : ems_sql_lex_put_byte(lex, c, err);
        return rc == EMS_OK ? ems_sql_lex_end_token(lex, err) : rc;
    case EMS_LEX_UNICODE_PREFIX:
        return step_unicode_prefix(lex, c, again, err);
    case EMS_LEX_DOLLAR:
    case EMS_LEX_DOLLAR_TAG:
        return step_dollar(lex, c, again, err);
    case EMS_LEX_DOLLAR_BODY:
        return step_dollar_body(lex, c, err);
    case EMS_LEX_PARAMETER:
        *again = !is_digit(c);
        return *again ? ems_sql_lex_end_token(lex, err) : ems_sql_lex_put_byte(lex, c, err);
    default:
        return step_quoted(lex, c, again, err);
    }
}

/* ---- tokens ---- */

/* Statements are limited in size, and so are their tokens: the array doubles a few times, and is
 * kept from one statement to the next. */
int ems_sql_tokens_add(struct ems_sql_tokens *tokens, const struct ems_sql_token *token,
                       struct ems_error *err)
{
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity > 0 ? 2 * tokens->capacity : 256;
        struct ems_sql_token *at = realloc(tokens->at, capacity * sizeof *at);

        if (at == NULL)
            return ems_fail_memory(err);
        tokens->at = at;
        tokens->capacity = capacity;
    }
    tokens->at[tokens->count++] = *token;
    return EMS_OK;
}

void ems_sql_tokens_release(struct ems_sql_tokens *tokens)
{
    free(tokens->at);
    *tokens = (struct ems_sql_tokens){0};
}

/* Folds ASCII only, as the server does for key words in every locale (ScanKeywordLookup). */
bool ems_sql_token_is(const uint8_t *text, const struct ems_sql_token *token, const char *word)
{
    size_t i = 0;

    if (token->kind != EMS_TOKEN_WORD)
        return false;
    for (; i < token->size && word[i] != '\0'; i++) {
        uint8_t c = text[token->start + i];

        if ((c >= 'a' && c <= 'z' ? c - 0x20 : c) != (uint8_t)word[i])
            return false;
    }
    return i == token->size && word[i] == '\0';
}
