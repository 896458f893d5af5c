/*
 * sql_lex.c - see sql_lex.h.
 *
 * One state for each place that a byte can stand in, so that the input may be cut anywhere. The
 * states of tokens are in sql_lex_token.c; here are statements, comments and backslash lines.
 *
 * An operator is the one token that can turn out to be something else: its characters are put into
 * the text as they come, and taken out again when they open a comment.
 */
#include "sql_lex_state.h"

#include <string.h>

/* scan.l: self, without what has states of its own (the semicolon, the colon) and without operator
 * characters. */
static bool is_punct(uint8_t c)
{
    return c == '(' || c == ')' || c == '[' || c == ']' || c == ',' || c == '.';
}

/* ---- comments and meta lines ---- */

/* The last two bytes, of which the first is the end of the text, open a comment. */
static int begin_comment(struct ems_sql_lex *lex, int state, struct ems_error *err)
{
    int rc;

    lex->text.size--;
    rc = ems_sql_lex_end_operator(lex, err); /* what stood before them */
    if (rc == EMS_OK && state == EMS_LEX_BLOCK_COMMENT)
        rc = ems_sql_lex_flush(lex, err); /* only -- may stand inside a continued string */
    lex->state = state;
    lex->comments = 1;
    lex->previous = 0;
    if (lex->text.size == 0) {
        lex->started = false;
        memcpy(lex->comment, state == EMS_LEX_BLOCK_COMMENT ? "/*" : "--", 2);
        lex->comment_size = 2;
    }
    return rc;
}

/* Within a statement a comment separates like a blank; between statements the caller may read it.
 */
static int end_comment(struct ems_sql_lex *lex, enum ems_sql_lex_event *event,
                       struct ems_error *err)
{
    lex->state = EMS_LEX_PLAIN;
    if (!lex->started) {
        *event = EMS_SQL_LEX_COMMENT;
        return EMS_OK;
    }
    return ems_sql_lex_put_byte(lex, ' ', err);
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

/* psql acts on a backslash wherever it stands outside quotes, also in the middle of a statement. */
static int begin_meta(struct ems_sql_lex *lex, struct ems_error *err)
{
    char head[100];

    if (lex->started)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: backslash inside a statement: %s",
                        (unsigned long long)lex->line, ems_sql_lex_head(lex, head, sizeof head));
    ems_sql_lex_begin_here(lex);
    lex->state = EMS_LEX_META;
    lex->meta[0] = '\\';
    lex->meta_size = 1;
    return EMS_OK;
}

/* The line up to its end, without it. A key or a name is short; more is refused. */
static int step_meta(struct ems_sql_lex *lex, uint8_t c, enum ems_sql_lex_event *event,
                     struct ems_error *err)
{
    if (c == '\n') {
        lex->state = EMS_LEX_PLAIN;
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

/* psql's rule: not within parentheses (CREATE RULE ... DO (a; b)), not within BEGIN ATOMIC ... END.
 */
static int step_semicolon(struct ems_sql_lex *lex, enum ems_sql_lex_event *event,
                          struct ems_error *err)
{
    int rc;

    if (lex->whole || lex->parens > 0 || lex->begins > 0) {
        ems_sql_lex_begin(lex, EMS_TOKEN_PUNCT);
        rc = ems_sql_lex_put_byte(lex, ';', err);
        return rc == EMS_OK ? ems_sql_lex_end_token(lex, err) : rc;
    }
    if (!lex->started) { /* an empty statement */
        lex->text.size = 0;
        ems_sql_lex_begin_here(lex);
    }
    lex->started = false;
    *event = EMS_SQL_LEX_STATEMENT;
    rc = ems_buf_reserve(&lex->text, 1, err);
    if (rc == EMS_OK)
        lex->text.data[lex->text.size] = '\0';
    return rc;
}

/* Only round parentheses hold a semicolon back; a closing one too many is not counted, as in psql.
 */
static int step_punct(struct ems_sql_lex *lex, uint8_t c, struct ems_error *err)
{
    int rc;

    ems_sql_lex_begin(lex, EMS_TOKEN_PUNCT);
    if (c == '(')
        lex->parens++;
    else if (c == ')' && lex->parens > 0)
        lex->parens--;
    rc = ems_sql_lex_put_byte(lex, c, err);
    return rc == EMS_OK ? ems_sql_lex_end_token(lex, err) : rc;
}

/* Between tokens. */
static int step_plain(struct ems_sql_lex *lex, uint8_t c, enum ems_sql_lex_event *event,
                      struct ems_error *err)
{
    int rc;

    if (ems_sql_is_blank(c)) {
        if (c == '\n' || c == '\r')
            lex->pending_newline = true;
        return lex->started ? ems_sql_lex_put_byte(lex, c, err) : EMS_OK;
    }
    if (ems_sql_is_operator(c)) { /* or a comment, so a pending string stays pending */
        ems_sql_lex_begin(lex, EMS_TOKEN_OPERATOR);
        lex->state = EMS_LEX_OPERATOR;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    if (c == '\'' && lex->pending && lex->pending_newline) {
        lex->pending = false;
        lex->token = lex->string;
        lex->token.continued = true;
        lex->state = EMS_LEX_QUOTE;
        return ems_sql_lex_put_byte(lex, c, err);
    }
    rc = ems_sql_lex_flush(lex, err);
    if (rc != EMS_OK)
        return rc;
    if (c == ';')
        return step_semicolon(lex, event, err);
    if (is_punct(c))
        return step_punct(lex, c, err);
    if (c == '\\' && !lex->whole)
        return begin_meta(lex, err);
    return ems_sql_lex_first(lex, c, err);
}

/* Two dashes, or a slash and a star, open a comment also at the end of a longer operator. */
static int step_operator(struct ems_sql_lex *lex, uint8_t c, bool *again, struct ems_error *err)
{
    uint8_t last = lex->text.data[lex->text.size - 1];

    if (last == '-' && c == '-')
        return begin_comment(lex, EMS_LEX_LINE_COMMENT, err);
    if (last == '/' && c == '*')
        return begin_comment(lex, EMS_LEX_BLOCK_COMMENT, err);
    if (ems_sql_is_operator(c))
        return ems_sql_lex_put_byte(lex, c, err);
    *again = true;
    return ems_sql_lex_end_operator(lex, err);
}

/* One byte, one state. *again: the byte was not taken, the new state must see it. A state that sets
 * it has moved on, so a byte is looked at twice or three times at most. */
static int step(struct ems_sql_lex *lex, uint8_t c, bool *again, enum ems_sql_lex_event *event,
                struct ems_error *err)
{
    switch (lex->state) {
    case EMS_LEX_PLAIN:
        return step_plain(lex, c, event, err);
    case EMS_LEX_OPERATOR:
        return step_operator(lex, c, again, err);
    case EMS_LEX_LINE_COMMENT:
        if (c == '\n' || c == '\r') { /* as for the server, not as for psql */
            *again = true;
            return end_comment(lex, event, err);
        }
        if (!lex->started && lex->comment_size < sizeof lex->comment)
            lex->comment[lex->comment_size++] = (char)c;
        return EMS_OK;
    case EMS_LEX_BLOCK_COMMENT:
        return step_block_comment(lex, c, event, err);
    case EMS_LEX_META:
        return step_meta(lex, c, event, err);
    default:
        return ems_sql_lex_step_token(lex, c, again, err);
    }
}

/* ---- feeding ---- */

/* How many bytes the state takes without a look at its rules. None is a line feed. */
static size_t plain_run(const struct ems_sql_lex *lex, const uint8_t *data, size_t size)
{
    size_t n = 0;

    switch (lex->state) {
    case EMS_LEX_WORD: /* what can make the first letter a prefix comes later */
        while (n < size && ((uint8_t)((data[n] | 0x20) - 'a') < 26 || data[n] == '_'))
            n++;
        return n;
    case EMS_LEX_QUOTE:
        while (n < size && data[n] != '\'' && data[n] != '\\' && data[n] != '\n')
            n++;
        return n;
    case EMS_LEX_IDENTIFIER:
        while (n < size && data[n] != '"' && data[n] != '\n')
            n++;
        return n;
    case EMS_LEX_DOLLAR_BODY:
        while (lex->tag_match == 0 && n < size && data[n] != '$' && data[n] != '\n')
            n++;
        return n;
    default:
        return 0;
    }
}

/* Eight bytes of ASCII without NUL: no top bit before or after taking one from each. */
static bool is_ascii(const uint8_t *data)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t word;

    memcpy(&word, data, sizeof word);
    return ((word | (word - ones)) & ones << 7) == 0;
}

/* NUL is no character of a dump either. */
static int check_encoding(struct ems_sql_lex *lex, const uint8_t *data, size_t size, uint64_t line,
                          struct ems_error *err)
{
    size_t i = 0;

    while (i < size) {
        if (lex->utf8.need == 0 && size - i >= 8 && is_ascii(data + i)) {
            i += 8;
            continue;
        }
        if (data[i] == 0 || !ems_utf8_step(&lex->utf8, data[i]))
            break;
        i++;
    }
    if (i == size)
        return EMS_OK;
    for (size_t before = 0; before < i; before++)
        line += data[before] == '\n';
    if (data[i] == 0)
        return ems_fail(err, EMS_SQL_ENCODING, "line %llu: NUL byte", (unsigned long long)line);
    return ems_fail(err, EMS_SQL_ENCODING, "line %llu: byte %02X is not UTF-8",
                    (unsigned long long)line, data[i]);
}

/*
 * The encoding is checked of what was used, after the fact: so each byte is checked once, in long
 * runs, and an event ends the check where it ends the lexing. The line that a bad byte is named
 * with is counted from where this feed began.
 */
int ems_sql_lex_feed(struct ems_sql_lex *lex, const uint8_t *data, size_t size, size_t *used,
                     enum ems_sql_lex_event *event, struct ems_error *err)
{
    struct ems_error failure = {0};
    uint64_t line = lex->line;
    size_t i = 0, seen = 0; /* used, and looked at */
    int rc = EMS_OK;

    *event = EMS_SQL_LEX_MORE;
    while (rc == EMS_OK && i < size && *event == EMS_SQL_LEX_MORE) {
        size_t n = plain_run(lex, data + i, size - i);
        bool again = false;

        if (n > 0) {
            rc = ems_sql_lex_put(lex, data + i, n, &failure);
            seen = i += n;
            lex->line_start = false;
            continue;
        }
        seen = i + 1;
        rc = step(lex, data[i], &again, event, &failure);
        if (again)
            continue;
        lex->line_start = data[i] == '\n';
        lex->line += data[i] == '\n';
        i++;
        if (lex->state == EMS_LEX_PLAIN || lex->state == EMS_LEX_LINE_COMMENT ||
            lex->state == EMS_LEX_BLOCK_COMMENT)
            lex->run++;
        if (rc == EMS_OK && lex->run > EMS_SQL_BLANK_MAX)
            rc = ems_fail(&failure, EMS_SQL_REFUSED,
                          "line %llu: more than %u bytes of comments and blanks",
                          (unsigned long long)lex->line, EMS_SQL_BLANK_MAX);
    }
    *used = i;
    /* Bad bytes say more than what the lexer made of them. */
    if (check_encoding(lex, data, rc != EMS_OK ? seen : i, line, err) != EMS_OK)
        return EMS_SQL_ENCODING;
    if (rc != EMS_OK && failure.code != EMS_OK)
        return ems_fail(err, failure.code, "%s", failure.text);
    return rc;
}

/* A line feed ends every token that is not within quotes. */
int ems_sql_lex_finish(struct ems_sql_lex *lex, struct ems_error *err)
{
    static const uint8_t blank = '\n';
    enum ems_sql_lex_event event;
    size_t used;
    int rc = ems_sql_lex_feed(lex, &blank, 1, &used, &event, err);

    return rc == EMS_OK ? ems_sql_lex_flush(lex, err) : rc;
}

/* Words and numbers are parts of a statement to whoever reads the message. */
const char *ems_sql_lex_inside(const struct ems_sql_lex *lex)
{
    switch (lex->state) {
    case EMS_LEX_QUOTE:
    case EMS_LEX_QUOTE_ESCAPE:
        return "a quoted string";
    case EMS_LEX_IDENTIFIER:
        return "a quoted name";
    case EMS_LEX_DOLLAR_BODY:
        return "a dollar-quoted string";
    case EMS_LEX_BLOCK_COMMENT:
    case EMS_LEX_LINE_COMMENT:
        return "a comment";
    case EMS_LEX_META:
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

        if (!ems_sql_is_blank((uint8_t)c))
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
