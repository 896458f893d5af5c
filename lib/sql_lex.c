/* sql_lex.c - see sql_lex.h */
#include "sql_lex.h"

#include <stdlib.h>
#include <string.h>

enum state {
    PLAIN,
    WORD,
    NUMBER,
    OPERATOR,
    COLON,
    UNICODE_PREFIX, /* U& */
    QUOTE,          /* inside '...' of any kind */
    QUOTE_ESCAPE,   /* after a backslash in E'...' */
    QUOTE_END,      /* after a quote that ends the string or is doubled */
    IDENTIFIER,     /* inside "..." */
    IDENTIFIER_END,
    DOLLAR,     /* after $ */
    DOLLAR_TAG, /* in the tag of an opening $tag$ */
    DOLLAR_BODY,
    PARAMETER, /* $1 */
    LINE_COMMENT,
    BLOCK_COMMENT,
    META,
};

/* ---- character classes (scan.l: ident_start, ident_cont, self, op_chars, space) ---- */

static bool is_word_start(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_tag(uint8_t c)
{
    return is_word_start(c) || is_digit(c);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_operator(uint8_t c)
{
    return c != '\0' && strchr("~!@#^&|`?+-*/%<>=", c) != NULL;
}

static bool is_punct(uint8_t c)
{
    return c != '\0' && strchr("()[],.", c) != NULL;
}

/* ---- text and tokens ---- */

static int put(struct ems_sql_lex *lex, const uint8_t *data, size_t size, struct ems_error *err)
{
    char head[100];

    if (size > lex->text_limit - lex->text.size)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: statement of more than %zu bytes: %s",
                        (unsigned long long)lex->statement_line, lex->text_limit,
                        ems_sql_lex_head(lex, head, sizeof head));
    return ems_buf_append(&lex->text, data, size, err);
}

static int take(struct ems_sql_lex *lex, const struct ems_sql_token *token, struct ems_error *err)
{
    lex->run = 0;
    return lex->take(lex->context, lex, token, err);
}

/* A string waits after its end, because it may be continued on the next line. */
static int flush(struct ems_sql_lex *lex, struct ems_error *err)
{
    if (!lex->pending)
        return EMS_OK;
    lex->pending = false;
    return take(lex, &lex->string, err);
}

/* The statement, a comment or a meta line begins with the next byte. */
static void begin_here(struct ems_sql_lex *lex)
{
    lex->statement_line = lex->line;
    lex->own_line = lex->line_start;
}

/* Begin a token of this kind at the end of the text. */
static void begin(struct ems_sql_lex *lex, uint8_t kind)
{
    if (!lex->started) {
        lex->started = true;
        lex->text.size = 0;
        lex->words = 0;
        begin_here(lex);
    }
    lex->token = (struct ems_sql_token){.start = (uint32_t)lex->text.size, .kind = kind};
}

static int end_token(struct ems_sql_lex *lex, struct ems_error *err)
{
    lex->state = PLAIN;
    lex->token.size = (uint32_t)lex->text.size - lex->token.start;
    return take(lex, &lex->token, err);
}

/* A string ends at the last byte read, perhaps. */
static void end_string(struct ems_sql_lex *lex)
{
    lex->state = PLAIN;
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
    return end_token(lex, err);
}

/* The server cuts + and - off the end of an operator, unless it has one of ~!@#^&|`?% in it. */
static int end_operator(struct ems_sql_lex *lex, struct ems_error *err)
{
    const uint8_t *op = lex->text.data + lex->token.start;
    size_t size = lex->text.size - lex->token.start, keep = size;
    struct ems_sql_token token = lex->token;
    bool special = false;
    int rc;

    lex->state = PLAIN;
    if (size == 0)
        return EMS_OK;
    for (size_t i = 0; i < size; i++)
        special = special || strchr("~!@#^&|`?%", op[i]) != NULL;
    while (!special && keep > 1 && (op[keep - 1] == '+' || op[keep - 1] == '-'))
        keep--;
    token.size = (uint32_t)keep;
    rc = flush(lex, err);
    if (rc == EMS_OK)
        rc = take(lex, &token, err);
    for (; rc == EMS_OK && keep < size; keep++) {
        token.start += token.size;
        token.size = 1;
        rc = take(lex, &token, err);
    }
    return rc;
}

/* ---- comments and meta lines ---- */

/* The last two bytes, of which the first is the end of the text, open a comment. */
static int begin_comment(struct ems_sql_lex *lex, int state, struct ems_error *err)
{
    int rc;

    lex->text.size--;
    rc = end_operator(lex, err); /* what stood before them */
    if (rc == EMS_OK && state == BLOCK_COMMENT)
        rc = flush(lex, err); /* only -- may stand inside a continued string */
    lex->state = state;
    lex->comments = 1;
    lex->previous = 0;
    if (lex->text.size == 0) {
        lex->started = false;
        memcpy(lex->comment, state == BLOCK_COMMENT ? "/*" : "--", 2);
        lex->comment_size = 2;
    }
    return rc;
}

static int end_comment(struct ems_sql_lex *lex, enum ems_sql_lex_event *event,
                       struct ems_error *err)
{
    lex->state = PLAIN;
    if (!lex->started) {
        *event = EMS_SQL_LEX_COMMENT;
        return EMS_OK;
    }
    return put(lex, (const uint8_t *)" ", 1, err);
}

/* Nested, with a counter; a byte can belong to one pair only. */
static int step_block_comment(struct ems_sql_lex *lex, uint8_t c, enum ems_sql_lex_event *event,
                              struct ems_error *err)
{
    uint8_t before = lex->previous;

    lex->previous = c;
    if (before == '/' && c == '*') {
        lex->comments++;
        lex->previous = 0;
    } else if (before == '*' && c == '/') {
        lex->previous = 0;
        if (--lex->comments == 0)
            return end_comment(lex, event, err);
    }
    return EMS_OK;
}

static int begin_meta(struct ems_sql_lex *lex, struct ems_error *err)
{
    char head[100];

    if (lex->started)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: backslash inside a statement: %s",
                        (unsigned long long)lex->line, ems_sql_lex_head(lex, head, sizeof head));
    begin_here(lex);
    lex->state = META;
    lex->meta[0] = '\\';
    lex->meta_size = 1;
    return EMS_OK;
}

static int step_meta(struct ems_sql_lex *lex, uint8_t c, enum ems_sql_lex_event *event,
                     struct ems_error *err)
{
    if (c == '\n') {
        lex->state = PLAIN;
        if (lex->meta[lex->meta_size - 1] == '\r')
            lex->meta_size--;
        lex->meta[lex->meta_size] = '\0';
        *event = EMS_SQL_LEX_META;
        return EMS_OK;
    }
    if (lex->meta_size == sizeof lex->meta - 1)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: backslash command of more than %u bytes",
                        (unsigned long long)lex->line, EMS_SQL_META_MAX - 1);
    lex->meta[lex->meta_size++] = (char)c;
    return EMS_OK;
}

/* ---- outside quotes and comments ---- */

static int step_semicolon(struct ems_sql_lex *lex, enum ems_sql_lex_event *event,
                          struct ems_error *err)
{
    int rc;

    if (lex->whole || lex->parens > 0 || lex->begins > 0) {
        begin(lex, EMS_TOKEN_PUNCT);
        rc = put(lex, (const uint8_t *)";", 1, err);
        return rc == EMS_OK ? end_token(lex, err) : rc;
    }
    if (!lex->started) { /* an empty statement */
        lex->text.size = 0;
        begin_here(lex);
    }
    lex->started = false;
    *event = EMS_SQL_LEX_STATEMENT;
    rc = ems_buf_reserve(&lex->text, 1, err);
    if (rc == EMS_OK)
        lex->text.data[lex->text.size] = '\0';
    return rc;
}

static int step_punct(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    int rc;

    begin(lex, EMS_TOKEN_PUNCT);
    if (c == '(')
        lex->parens++;
    else if (c == ')' && lex->parens > 0)
        lex->parens--;
    rc = put(lex, &c, 1, err);
    return rc == EMS_OK ? end_token(lex, err) : rc;
}

/* The first byte of a token that is not complete with it. */
static int step_first(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    int rc;

    begin(lex, EMS_TOKEN_JUNK);
    if (is_word_start(c)) {
        lex->token.kind = EMS_TOKEN_WORD;
        lex->state = WORD;
    } else if (is_digit(c)) {
        lex->token.kind = EMS_TOKEN_NUMBER;
        lex->state = NUMBER;
    } else if (c == '\'') {
        lex->token.kind = EMS_TOKEN_STRING;
        lex->state = QUOTE;
    } else if (c == '"') {
        lex->token.kind = EMS_TOKEN_QUOTED;
        lex->state = IDENTIFIER;
    } else if (c == '$') {
        lex->state = DOLLAR;
    } else if (c == ':') {
        lex->token.kind = EMS_TOKEN_PUNCT;
        lex->state = COLON;
    }
    rc = put(lex, &c, 1, err);
    return rc == EMS_OK && lex->state == PLAIN ? end_token(lex, err) : rc;
}

static int step_plain(struct ems_sql_lex *lex, uint8_t c, enum ems_sql_lex_event *event,
                      struct ems_error *err)
{
    int rc;

    if (is_blank(c)) {
        if (c == '\n' || c == '\r')
            lex->pending_newline = true;
        return lex->started ? put(lex, &c, 1, err) : EMS_OK;
    }
    if (is_operator(c)) { /* or a comment, so a pending string stays pending */
        begin(lex, EMS_TOKEN_OPERATOR);
        lex->state = OPERATOR;
        return put(lex, &c, 1, err);
    }
    if (c == '\'' && lex->pending && lex->pending_newline) {
        lex->pending = false;
        lex->token = lex->string;
        lex->token.continued = true;
        lex->state = QUOTE;
        return put(lex, &c, 1, err);
    }
    rc = flush(lex, err);
    if (rc != EMS_OK)
        return rc;
    if (c == ';')
        return step_semicolon(lex, event, err);
    if (is_punct(c))
        return step_punct(lex, c, err);
    if (c == '\\' && !lex->whole)
        return begin_meta(lex, err);
    return step_first(lex, c, err);
}

/* ---- inside tokens; *again says that the byte was not taken ---- */

/* E'...', B'...', X'...', N'...' and the U& of U&'...' begin as words. */
static int step_word(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    bool single = lex->text.size - lex->token.start == 1;
    char first = (char)(lex->text.data[lex->token.start] | 0x20);

    if (is_word_start(c) || is_digit(c) || c == '$')
        return put(lex, &c, 1, err);
    if (single && c == '\'' && strchr("ebxn", first) != NULL) {
        lex->token.kind = first == 'e'   ? EMS_TOKEN_ESTRING
                          : first == 'n' ? EMS_TOKEN_JUNK
                                         : EMS_TOKEN_BITS;
        lex->state = QUOTE;
        return put(lex, &c, 1, err);
    }
    if (single && c == '&' && first == 'u') {
        lex->state = UNICODE_PREFIX;
        return put(lex, &c, 1, err);
    }
    *again = true;
    return end_word(lex, err);
}

static int step_unicode_prefix(struct ems_sql_lex *lex, uint8_t c, bool *again,
                               struct ems_error *err)
{
    int rc;

    if (c == '\'' || c == '"') {
        lex->token.kind = EMS_TOKEN_JUNK;
        lex->state = c == '"' ? IDENTIFIER : QUOTE;
        return put(lex, &c, 1, err);
    }
    lex->text.size--; /* it was the word u and an operator */
    rc = end_word(lex, err);
    begin(lex, EMS_TOKEN_OPERATOR);
    lex->text.size++;
    lex->state = OPERATOR;
    *again = true;
    return rc;
}

/* Digits, letters and points; a sign only after an e. The recogniser is strict about the form. */
static int step_number(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    uint8_t last = lex->text.data[lex->text.size - 1];

    if (is_tag(c) || c == '.' || ((c == '+' || c == '-') && (last | 0x20) == 'e'))
        return put(lex, &c, 1, err);
    *again = true;
    return end_token(lex, err);
}

static int step_operator(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    uint8_t last = lex->text.data[lex->text.size - 1];

    if (last == '-' && c == '-')
        return begin_comment(lex, LINE_COMMENT, err);
    if (last == '/' && c == '*')
        return begin_comment(lex, BLOCK_COMMENT, err);
    if (is_operator(c))
        return put(lex, &c, 1, err);
    *again = true;
    return end_operator(lex, err);
}

/* $tag$ opens, $1 is a parameter, any other $ is junk by itself. */
static int step_dollar(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    if (c == '$') {
        lex->state = DOLLAR_BODY;
        lex->token.kind = EMS_TOKEN_DOLLAR;
        lex->tag_size = lex->text.size + 1 - lex->token.start;
        lex->tag_match = 0;
        return put(lex, &c, 1, err);
    }
    if (lex->state == DOLLAR ? is_word_start(c) : is_tag(c)) {
        lex->state = DOLLAR_TAG;
        return put(lex, &c, 1, err);
    }
    if (lex->state == DOLLAR && is_digit(c)) {
        lex->state = PARAMETER;
        return put(lex, &c, 1, err);
    }
    *again = true;
    return end_token(lex, err);
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
    rc = put(lex, &c, 1, err);
    return rc == EMS_OK && lex->tag_match == lex->tag_size ? end_token(lex, err) : rc;
}

static int step_quoted(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    switch (lex->state) {
    case QUOTE:
        if (c == '\'')
            lex->state = QUOTE_END;
        else if (c == '\\' && lex->token.kind == EMS_TOKEN_ESTRING)
            lex->state = QUOTE_ESCAPE;
        break;
    case QUOTE_ESCAPE:
        lex->state = QUOTE;
        break;
    case QUOTE_END:
        if (c != '\'') {
            *again = true;
            end_string(lex);
            return EMS_OK;
        }
        lex->state = QUOTE;
        break;
    case IDENTIFIER:
        if (c == '"')
            lex->state = IDENTIFIER_END;
        break;
    default: /* IDENTIFIER_END */
        if (c != '"') {
            *again = true;
            return end_token(lex, err);
        }
        lex->state = IDENTIFIER;
        break;
    }
    return put(lex, &c, 1, err);
}

static int step(struct ems_sql_lex *lex, uint8_t c, bool *again, enum ems_sql_lex_event *event,
                struct ems_error *err)
{
    int rc;

    switch (lex->state) {
    case PLAIN:
        return step_plain(lex, c, event, err);
    case WORD:
        return step_word(lex, c, again, err);
    case NUMBER:
        return step_number(lex, c, again, err);
    case OPERATOR:
        return step_operator(lex, c, again, err);
    case COLON:
        *again = c != ':';
        rc = *again ? EMS_OK : put(lex, &c, 1, err);
        return rc == EMS_OK ? end_token(lex, err) : rc;
    case UNICODE_PREFIX:
        return step_unicode_prefix(lex, c, again, err);
    case DOLLAR:
    case DOLLAR_TAG:
        return step_dollar(lex, c, again, err);
    case DOLLAR_BODY:
        return step_dollar_body(lex, c, err);
    case PARAMETER:
        *again = !is_digit(c);
        return *again ? end_token(lex, err) : put(lex, &c, 1, err);
    case LINE_COMMENT:
        if (c == '\n' || c == '\r') {
            *again = true;
            return end_comment(lex, event, err);
        }
        if (!lex->started && lex->comment_size < sizeof lex->comment)
            lex->comment[lex->comment_size++] = (char)c;
        return EMS_OK;
    case BLOCK_COMMENT:
        return step_block_comment(lex, c, event, err);
    case META:
        return step_meta(lex, c, event, err);
    default:
        return step_quoted(lex, c, again, err);
    }
}

/* ---- feeding ---- */

/* How many bytes the state takes without a look at each of them. None is a line feed. */
static size_t plain_run(const struct ems_sql_lex *lex, const uint8_t *data, size_t size)
{
    size_t n = 0;

    switch (lex->state) {
    case QUOTE:
        while (n < size && data[n] != '\'' && data[n] != '\\' && data[n] != '\n')
            n++;
        return n;
    case IDENTIFIER:
        while (n < size && data[n] != '"' && data[n] != '\n')
            n++;
        return n;
    case DOLLAR_BODY:
        while (lex->tag_match == 0 && n < size && data[n] != '$' && data[n] != '\n')
            n++;
        return n;
    default:
        return 0;
    }
}

/* NUL is no character of a dump either. */
static int check_encoding(struct ems_sql_lex *lex, const uint8_t *data, size_t size, uint64_t line,
                          struct ems_error *err)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t c = data[i];

        if (c - 1u < 0x7f && lex->utf8.need == 0) {
            line += c == '\n';
            continue;
        }
        if (c == 0)
            return ems_fail(err, EMS_SQL_ENCODING, "line %llu: NUL byte", (unsigned long long)line);
        if (!ems_utf8_step(&lex->utf8, c))
            return ems_fail(err, EMS_SQL_ENCODING, "line %llu: byte %02X is not UTF-8",
                            (unsigned long long)line, c);
    }
    return EMS_OK;
}

int ems_sql_lex_feed(struct ems_sql_lex *lex, const uint8_t *data, size_t size, size_t *used,
                     enum ems_sql_lex_event *event, struct ems_error *err)
{
    struct ems_error failure = {0};
    uint64_t line = lex->line;
    size_t i = 0;
    int rc = EMS_OK;

    *event = EMS_SQL_LEX_MORE;
    while (rc == EMS_OK && i < size && *event == EMS_SQL_LEX_MORE) {
        size_t n = plain_run(lex, data + i, size - i);
        bool again = false;

        if (n > 0) {
            rc = put(lex, data + i, n, &failure);
            i += n;
            lex->line_start = false;
            continue;
        }
        rc = step(lex, data[i], &again, event, &failure);
        if (again)
            continue;
        lex->line_start = data[i] == '\n';
        lex->line += data[i] == '\n';
        i++;
        if (lex->state == PLAIN || lex->state == LINE_COMMENT || lex->state == BLOCK_COMMENT)
            lex->run++;
        if (rc == EMS_OK && lex->run > EMS_SQL_BLANK_MAX)
            rc = ems_fail(&failure, EMS_SQL_REFUSED,
                          "line %llu: more than %u bytes of comments and blanks",
                          (unsigned long long)lex->line, EMS_SQL_BLANK_MAX);
    }
    *used = i;
    /* Bad bytes say more than what the lexer made of them. */
    if (check_encoding(lex, data, i < size && rc != EMS_OK ? i + 1 : i, line, err) != EMS_OK)
        return EMS_SQL_ENCODING;
    if (rc != EMS_OK && failure.code != EMS_OK)
        return ems_fail(err, failure.code, "%s", failure.text);
    return rc;
}

int ems_sql_lex_finish(struct ems_sql_lex *lex, struct ems_error *err)
{
    static const uint8_t blank = '\n';
    enum ems_sql_lex_event event;
    size_t used;
    int rc = ems_sql_lex_feed(lex, &blank, 1, &used, &event, err);

    return rc == EMS_OK ? flush(lex, err) : rc;
}

const char *ems_sql_lex_inside(const struct ems_sql_lex *lex)
{
    switch (lex->state) {
    case QUOTE:
    case QUOTE_ESCAPE:
        return "a quoted string";
    case IDENTIFIER:
        return "a quoted name";
    case DOLLAR_BODY:
        return "a dollar-quoted string";
    case BLOCK_COMMENT:
    case LINE_COMMENT:
        return "a comment";
    case META:
        return "a backslash command";
    default:
        return lex->started ? "a statement" : NULL;
    }
}

char *ems_sql_lex_head(const struct ems_sql_lex *lex, char *out, size_t out_size)
{
    char line[200];
    size_t size = 0;

    /* One line, blanks folded: what a person recognises the statement by. */
    for (size_t i = 0; i < lex->text.size && size < sizeof line; i++) {
        char c = (char)lex->text.data[i];

        if (!is_blank((uint8_t)c))
            line[size++] = c;
        else if (size > 0 && line[size - 1] != ' ')
            line[size++] = ' ';
    }
    return ems_printable(line, size, out, out_size);
}

void ems_sql_lex_init(struct ems_sql_lex *lex, ems_sql_token_fn *taker, void *context)
{
    *lex = (struct ems_sql_lex){.take = taker,
                                .context = context,
                                .text_limit = EMS_SQL_STATEMENT_MAX,
                                .line = 1,
                                .line_start = true};
}

void ems_sql_lex_release(struct ems_sql_lex *lex)
{
    ems_buf_release(&lex->text);
}

/* ---- tokens ---- */

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
