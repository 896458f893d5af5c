/* The dump lexer: tokens, where statements end, what is refused; the same for every cut. */
#include "harness.h"

#include "sql_lex.h"

#include <time.h>

/* What the lexer makes of a text, written out: tokens as kind:text, events as lines. */
struct transcript {
    struct ems_buf out;
    bool tokens;
};

static void add(struct ems_buf *out, const void *data, size_t size)
{
    if (ems_buf_append(out, data, size, NULL) != EMS_OK)
        abort();
}

static int note_token(void *context, struct ems_sql_lex *lex, const struct ems_sql_token *token,
                      struct ems_error *err)
{
    static const char kinds[] = "WQSEBDNOPJ"; /* in the order of enum ems_sql_token_kind */
    struct transcript *t = context;

    (void)err;
    if (!t->tokens)
        return EMS_OK;
    add(&t->out, &kinds[token->kind], 1);
    add(&t->out, token->continued ? "+" : ":", 1);
    add(&t->out, lex->text.data + token->start, token->size);
    add(&t->out, "|", 1);
    return EMS_OK;
}

static int lex_all(const void *text, size_t size, size_t chunk, bool tokens, bool whole,
                   struct ems_buf *out, struct ems_error *err)
{
    struct transcript t = {.tokens = tokens};
    struct ems_sql_lex lex;
    const uint8_t *data = text;
    size_t at = 0;
    int rc = EMS_OK;

    ems_sql_lex_init(&lex, note_token, &t);
    lex.whole = whole;
    while (rc == EMS_OK && at < size) {
        enum ems_sql_lex_event event;
        size_t n = chunk > 0 && chunk < size - at ? chunk : size - at, used;
        uint8_t *copy = malloc(n); /* its own memory: reading past the span shows */

        memcpy(copy, data + at, n);
        rc = ems_sql_lex_feed(&lex, copy, n, &used, &event, err);
        free(copy);
        at += used;
        if (rc != EMS_OK)
            break;
        if (event == EMS_SQL_LEX_STATEMENT) {
            add(&t.out, "{", 1);
            add(&t.out, lex.text.data, lex.text.size);
            add(&t.out, "}", 1);
        } else if (event == EMS_SQL_LEX_META) {
            add(&t.out, "[", 1);
            add(&t.out, lex.meta, lex.meta_size);
            add(&t.out, "]", 1);
        } else if (event == EMS_SQL_LEX_COMMENT) {
            add(&t.out, "<", 1);
            add(&t.out, lex.comment, lex.comment_size);
            add(&t.out, ">", 1);
        }
    }
    if (rc == EMS_OK && whole)
        rc = ems_sql_lex_finish(&lex, err);
    if (rc == EMS_OK && !whole && ems_sql_lex_inside(&lex) != NULL) {
        add(&t.out, "...", 3);
        add(&t.out, ems_sql_lex_inside(&lex), strlen(ems_sql_lex_inside(&lex)));
    }
    add(&t.out, "", 1);
    ems_sql_lex_release(&lex);
    *out = t.out;
    return rc;
}

static void expect(const char *text, bool tokens, bool whole, const char *expected)
{
    for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
        struct ems_buf out;
        struct ems_error err = {0};

        ASSERT_CODE(lex_all(text, strlen(text), ems_test_chunks[c], tokens, whole, &out, &err),
                    EMS_OK);
        if (strcmp((char *)out.data, expected) != 0)
            printf("\n    %s\n    gives    %s\n    expected %s", text, (char *)out.data, expected);
        CU_ASSERT_STRING_EQUAL((char *)out.data, expected);
        ems_buf_release(&out);
    }
}

static void test_tokens(void)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"Select a_1$b, \xc3\xa9", "W:Select|W:a_1$b|P:,|W:\xc3\xa9|"},
        {"\"a \"\"q\"\" b\".c", "Q:\"a \"\"q\"\" b\"|P:.|W:c|"},
        {"'it''s' 'x'", "S:'it''s'|S:'x'|"},
        {"'a\\' b", "S:'a\\'|W:b|"},
        {"E'a\\'b' e'\\\\' x", "E:E'a\\'b'|E:e'\\\\'|W:x|"},
        {"B'01' x'1F' be'q'", "B:B'01'|B:x'1F'|W:be|S:'q'|"},
        {"N'n' U&'u' u&\"i\" $1 u & v u&w",
         "J:N'n'|J:U&'u'|J:u&\"i\"|J:$1|W:u|O:&|W:v|W:u|O:&|W:w|"},
        {"$$a;$b$$ $t$ $$ $tt$ $t$", "D:$$a;$b$$|D:$t$ $$ $tt$ $t$|"},
        {"$a$$a$a$ x$y$z $_1$q$_1$", "D:$a$$a$|W:a$|W:x$y$z|D:$_1$q$_1$|"},
        {"$a b $ $-", "J:$a|W:b|J:$|J:$|O:-|"},
        {"1 2.5 3e-7 4E+10 5.e", "N:1|N:2.5|N:3e-7|N:4E+10|N:5.e|"},
        {"a::text :b c:=d", "W:a|P:::|W:text|P::|W:b|W:c|P::|O:=|W:d|"},
        {"n=-0.5 a->>b c@-d x<=+1 -(2)",
         "W:n|O:=|O:-|N:0.5|W:a|O:->>|W:b|W:c|O:@-|W:d|W:x|O:<=|O:+|"
         "N:1|O:-|P:(|N:2|P:)|"},
        {"a+/*c*/b -- c\n-c*/**/d", "W:a|O:+|W:b|O:-|W:c|O:*|W:d|"},
        {"'a'\n'b' 'c' \t\n\r\n --x\n 'd'", "S+'a'\n'b'|S+'c' \t\n\r\n  \n 'd'|"},
        {"'a' 'b'\n/* c */'d'", "S:'a'|S:'b'|S:'d'|"},
        {"'a' --x\r'b'", "S+'a'  \r'b'|"},
        {"E'a'\n'\\'b'", "E+E'a'\n'\\'b'|"},
        {"'a'\n-'b'", "S:'a'|O:-|S:'b'|"},
        {"a\x0b"
         "b \x01",
         "W:a|J:\x0b|W:b|J:\x01|"},
        {"/* a /* b */ 'c */ d", "</*>W:d|"},
        {"f(a)[1];x\\y", "W:f|P:(|W:a|P:)|P:[|N:1|P:]|P:;|W:x|J:\\|W:y|"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i].text, true, true, cases[i].expected);
}

static void test_statements(void)
{
    expect("a;b ; c", false, false, "{a}{b }...a statement");
    expect(" a -- x;y\n /* ; */ b;", false, false, "{a  \n   b}");
    expect("-- one\n--\ra;/* two */;", false, false, "<-- one><-->{a}</*>{}");
    expect("CREATE RULE r AS (a; b;) x; y;", false, false, "{CREATE RULE r AS (a; b;) x}{y}");
    expect("x ')' (';') \";\" $$;$$; y;", false, false, "{x ')' (';') \";\" $$;$$}{y}");
    expect("\\restrict K\n\\!\r\na;\\x\n", false, false, "[\\restrict K][\\!]{a}[\\x]");
    expect("create or replace function f() begin atomic a; case b; end; end; c;", false, false,
           "{create or replace function f() begin atomic a; case b; end; end}{c}");
    expect("CREATE PROCEDURE f() BEGIN a; END; b; BEGIN; c; END;", false, false,
           "{CREATE PROCEDURE f() BEGIN a; END}{b}{BEGIN}{c}{END}");
    expect("CREATE TABLE t (begin int); b;", false, false, "{CREATE TABLE t (begin int)}{b}");
    expect("'a", false, false, "...a quoted string");
    expect("\"a", false, false, "...a quoted name");
    expect("$q$ $", false, false, "...a dollar-quoted string");
    expect("/* /* */", false, false, "...a comment");
    expect("--", false, false, "...a comment");
    expect("\\restrict", false, false, "...a backslash command");
    expect("'a'", false, false, "...a statement");
    expect("a -", false, false, "...a statement");
    expect(" \n", false, false, "");
}

/* The line of what was found, and whether it began at a line's first byte. */
static void test_lines(void)
{
    static const char text[] = "\n -- c\na\n;\\x\n'\n\n'\n;";
    struct transcript t = {.tokens = false};
    struct ems_sql_lex lex;
    struct ems_error err = {0};
    uint64_t lines[8];
    bool own[8];
    size_t at = 0, n = 0, used;

    ems_sql_lex_init(&lex, note_token, &t);
    while (at < sizeof text - 1) {
        enum ems_sql_lex_event event;

        ASSERT_CODE(ems_sql_lex_feed(&lex, (const uint8_t *)text + at, 1, &used, &event, &err),
                    EMS_OK);
        at += used;
        if (event != EMS_SQL_LEX_MORE) {
            lines[n] = lex.statement_line;
            own[n++] = lex.own_line;
        }
    }
    CU_ASSERT_EQUAL_FATAL(n, 4);
    CU_ASSERT(lines[0] == 2 && !own[0]); /* comment */
    CU_ASSERT(lines[1] == 3 && own[1]);
    CU_ASSERT(lines[2] == 4 && !own[2]); /* \x */
    CU_ASSERT(lines[3] == 5 && own[3]);
    CU_ASSERT_EQUAL(lex.line, 8);
    ems_sql_lex_release(&lex);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
        size_t size;
        int code;
    } cases[] = {
        {"\n a \\! id\n", "line 2: backslash inside a statement: a", 0, EMS_SQL_REFUSED},
        {"a (\\g", "line 1: backslash inside a statement: a (", 0, EMS_SQL_REFUSED},
        {"-- \n a\0b", "line 2: NUL byte", 8, EMS_SQL_ENCODING},
        {"\n--\xff", "line 2: byte FF is not UTF-8", 0, EMS_SQL_ENCODING},
        {"'\xc3(", "line 1: byte 28 is not UTF-8", 0, EMS_SQL_ENCODING},
        {"\"\xed\xa0\x80\"", "line 1: byte A0 is not UTF-8", 0, EMS_SQL_ENCODING},
        {"/*\n\xf4\x90\x80\x80*/", "line 2: byte 90 is not UTF-8", 0, EMS_SQL_ENCODING},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = cases[i].size > 0 ? cases[i].size : strlen(cases[i].text);

        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            struct ems_buf out;
            struct ems_error err = {0};

            ASSERT_CODE(lex_all(cases[i].text, size, ems_test_chunks[c], false, false, &out, &err),
                        cases[i].code);
            if (strncmp(err.text, cases[i].message, strlen(cases[i].message)) != 0)
                printf("\n    %s", err.text);
            CU_ASSERT_EQUAL(strncmp(err.text, cases[i].message, strlen(cases[i].message)), 0);
            ems_buf_release(&out);
        }
    }
}

/* `prefix`, then `count` times `unit`. */
static struct ems_buf repeated(const char *prefix, const char *unit, size_t count)
{
    struct ems_buf text = {0};

    add(&text, prefix, strlen(prefix));
    for (size_t i = 0; i < count; i++)
        add(&text, unit, strlen(unit));
    return text;
}

static void test_limits(void)
{
    static const struct {
        const char *prefix, *unit, *message;
        size_t count;
    } cases[] = {
        {"a", " b", "line 1: statement of more than 65536 bytes: a b b", 32768},
        {"'", "x", "line 1: statement of more than 65536 bytes: 'xxx", 65536},
        {"", "-- c\n", "line 262145: more than 1048576 bytes of comments", 300000},
        {"a /*", "x", "line 1: more than 1048576 bytes of comments", 1100000},
        {"", " \n", "line 524289: more than 1048576 bytes of comments", 600000},
        {"\\", "x", "line 1: backslash command of more than 1023 bytes", 1100},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ems_buf text = repeated(cases[i].prefix, cases[i].unit, cases[i].count), out;
        struct ems_error err = {0};

        ASSERT_CODE(lex_all(text.data, text.size, 4096, false, false, &out, &err), EMS_SQL_REFUSED);
        if (strncmp(err.text, cases[i].message, strlen(cases[i].message)) != 0)
            printf("\n    %s", err.text);
        CU_ASSERT_EQUAL(strncmp(err.text, cases[i].message, strlen(cases[i].message)), 0);
        ems_buf_release(&text);
        ems_buf_release(&out);
    }
}

/* Patterns that make the server's lexer, psql or a naive one quadratic: at once and byte by byte
 * they must take no longer than bytes take. */
static void test_hostile_patterns_are_linear(void)
{
    static const struct {
        const char *prefix, *unit;
    } cases[] = {
        {"", "/*"},      {"", "/**/"},     {"", "--"},    {"a ", "/*"},     {"$a$", "$a"},
        {"$aa$", "$a$"}, {"'", "''"},      {"E'", "\\'"}, {"\"", "\"\""},   {"'a'", "\n--\n"},
        {"", "$"},       {"", "("},        {"", "+-"},    {"", "u&"},       {"", "*/"},
        {"/*", "*/*/"},  {"", "\xc3\xa9"}, {"$", "a"},    {"'a'", "\n'a'"}, {"", "begin "},
    };
    clock_t start = clock();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int whole = 0; whole < 2; whole++) {
            struct ems_buf text = repeated(cases[i].prefix, cases[i].unit,
                                           (whole ? 1u << 16 : 1u << 19) / strlen(cases[i].unit));
            struct ems_buf out;
            struct ems_error err = {0};
            int rc = lex_all(text.data, text.size, whole ? 1 : 4096, false, whole, &out, &err);

            CU_ASSERT(rc == EMS_OK || rc == EMS_SQL_REFUSED);
            ems_buf_release(&text);
            ems_buf_release(&out);
        }
    }
    CU_ASSERT((clock() - start) / CLOCKS_PER_SEC <
              30); /* some 0.5 s; quadratic would be many minutes */
}

EMS_TESTS("sql_lex", {"tokens", test_tokens}, {"statements", test_statements},
          {"line numbers", test_lines}, {"refused bytes", test_refused}, {"limits", test_limits},
          {"hostile patterns take linear time", test_hostile_patterns_are_linear})
