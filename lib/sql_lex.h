/*
 * sql_lex.h - dump text, fed in pieces of any size, into statements and their tokens.
 *
 * The lexical rules are the server's (PostgreSQL src/backend/parser/scan.l) and where a statement
 * ends is psql's rule (src/fe_utils/psqlscan.l): a semicolon outside parentheses and outside the
 * BEGIN ... END of an SQL-standard function body. What psql adds to that (variables, \gexec, \;) is
 * not interpreted: a backslash outside quotes is handed to the caller as a line of its own, or is
 * an error inside a statement.
 *
 * Tokens are handed over as they are completed, with their place in the statement's text. The text
 * is the statement without its comments (each becomes one blank), otherwise as written.
 *
 * Every byte is looked at a bounded number of times, nothing recurses, and what is kept is limited:
 * see the constants. COPY data never comes here (sql_rows.h).
 */
#ifndef EMS_SQL_LEX_H
#define EMS_SQL_LEX_H

#include "bytes.h"
#include "error.h"
#include "utf8.h"

#define EMS_SQL_STATEMENT_MAX (64u * 1024u)
#define EMS_SQL_INSERT_MAX    (16u * 1024u * 1024u)
#define EMS_SQL_BLANK_MAX     (1024u * 1024u) /* comments and blanks between two tokens */
#define EMS_SQL_META_MAX      1024u

enum ems_sql_token_kind {
    EMS_TOKEN_WORD,     /* identifier or key word without quotes */
    EMS_TOKEN_QUOTED,   /* "identifier" */
    EMS_TOKEN_STRING,   /* 'text' */
    EMS_TOKEN_ESTRING,  /* E'text' */
    EMS_TOKEN_BITS,     /* B'01', X'1f' */
    EMS_TOKEN_DOLLAR,   /* $tag$text$tag$ */
    EMS_TOKEN_NUMBER,   /* begins with a digit; its form is not checked here */
    EMS_TOKEN_OPERATOR, /* as the server groups operator characters */
    EMS_TOKEN_PUNCT,    /* ( ) [ ] , . : ; or :: */
    EMS_TOKEN_JUNK,     /* lexed rightly, but in no dump: U&'', U&"", N'', $1, stray bytes */
};

struct ems_sql_token {
    uint32_t start, size; /* in the text; quotes and prefixes belong to the token */
    uint8_t kind;         /* enum ems_sql_token_kind */
    bool continued;       /* string in several pieces: 'a' LF 'b' */
};

/* What feeding has come to. */
enum ems_sql_lex_event {
    EMS_SQL_LEX_MORE,      /* all bytes are used */
    EMS_SQL_LEX_STATEMENT, /* text is a whole statement, its tokens were handed over */
    EMS_SQL_LEX_META,      /* meta is a line that begins with a backslash */
    EMS_SQL_LEX_COMMENT,   /* comment is one that stood between statements */
};

struct ems_sql_lex;

/* Takes a token; may raise lex->text_limit. A code other than EMS_OK ends the lexing. */
typedef int ems_sql_token_fn(void *context, struct ems_sql_lex *, const struct ems_sql_token *,
                             struct ems_error *);

struct ems_sql_lex {
    ems_sql_token_fn *take;
    void *context;
    struct ems_buf text; /* of the statement so far; NUL-terminated when it is whole */
    size_t text_limit;
    uint64_t line;           /* where the next byte stands, from 1 */
    uint64_t statement_line; /* of the first token, of the meta line or of the comment */
    bool started;            /* the statement has begun */
    bool whole;        /* a function body: semicolons are tokens, nothing ends before the end */
    bool line_start;   /* the next byte is the first of its line */
    bool own_line;     /* the comment or meta line began at a line's first byte */
    char comment[128]; /* its first bytes; of a block comment the first two */
    size_t comment_size;
    char meta[EMS_SQL_META_MAX];
    size_t meta_size;

    /* The rest is the lexer's own. */
    int state;
    struct ems_sql_token token;  /* the one being read */
    struct ems_sql_token string; /* pending: complete, unless a quote follows on a new line */
    bool pending, pending_newline;
    uint8_t previous;           /* block comment: last byte, if it can begin a pair */
    size_t tag_size, tag_match; /* dollar quote: bytes of $tag$, and how many were just seen */
    uint32_t parens, begins, comments; /* depths */
    uint32_t words;                    /* words so far in the statement */
    char leading[4]; /* first letters of CREATE OR REPLACE FUNCTION and the like */
    size_t run;      /* bytes since the last token */
    struct ems_utf8 utf8;
};

void ems_sql_lex_init(struct ems_sql_lex *, ems_sql_token_fn *, void *context);
void ems_sql_lex_release(struct ems_sql_lex *);

/*
 * Take bytes until an event or until all are used; *used says how many were. After a statement the
 * next call begins a new one. EMS_OK, EMS_SQL_ENCODING (NUL, not UTF-8), EMS_SQL_REFUSED (a limit,
 * a backslash inside a statement), EMS_NO_MEMORY, or what `take` returned.
 */
int ems_sql_lex_feed(struct ems_sql_lex *, const uint8_t *data, size_t size, size_t *used,
                     enum ems_sql_lex_event *, struct ems_error *);

/* No more bytes: hand over the last token of a function body (`whole`). */
int ems_sql_lex_finish(struct ems_sql_lex *, struct ems_error *);

/* Where the input would end if it ended now: NULL if between statements, else "a statement", "a
 * comment", "a quoted string", ... */
const char *ems_sql_lex_inside(const struct ems_sql_lex *);

/* Head of the statement so far, printable, for messages. Returns out. */
char *ems_sql_lex_head(const struct ems_sql_lex *, char *out, size_t out_size);

/* An array of tokens. Start with {0}. */
struct ems_sql_tokens {
    struct ems_sql_token *at;
    size_t count, capacity;
};

int ems_sql_tokens_add(struct ems_sql_tokens *, const struct ems_sql_token *, struct ems_error *);
void ems_sql_tokens_release(struct ems_sql_tokens *);

/* Is the token this word (given in capitals)? Never true for a quoted one. */
bool ems_sql_token_is(const uint8_t *text, const struct ems_sql_token *, const char *word);

#endif
