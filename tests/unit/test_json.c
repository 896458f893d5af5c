/* JSON as a stream: what is JSON and what is not, the events, the limits; cut anywhere. */
#include "harness.h"

#include "json.h"

/* Events as text: a letter each, with the depth in front and the text behind. */
struct trace {
    struct ems_buf text;
    int fail_at; /* event number that is answered with EMS_NO_MEMORY; 0: none */
    int events;
};

static int take(void *context, const struct ems_json_event *e, struct ems_error *err)
{
    struct trace *t = context;

    CU_ASSERT_EQUAL(e->text[e->size], '\0');
    if (++t->events == t->fail_at)
        return ems_fail(err, EMS_NO_MEMORY, "planned");
    return ems_buf_printf(&t->text, err, "%u%c%.*s%s ", e->depth, "{}[]ksntf0"[e->type],
                          (int)e -> size, e -> text, e -> cut ? "..." : "");
}

static int parse(const void *data, size_t size, size_t piece, struct trace *t,
                 struct ems_error *err)
{
    struct ems_json j;
    const char *p = data;
    int rc = EMS_OK;

    ems_json_init(&j, EMS_MEDIA_BAD_MANIFEST, take, t);
    for (size_t n; size > 0 && rc == EMS_OK; p += n, size -= n) {
        n = piece > 0 && piece < size ? piece : size;
        rc = ems_json_feed(&j, p, n, err);
    }
    if (rc != EMS_OK) { /* and so it stays */
        struct ems_error again = {0};

        ASSERT_CODE(ems_json_feed(&j, "1", 1, &again), rc);
        again.code = EMS_OK;
        ASSERT_CODE(ems_json_finish(&j, &again), rc);
        return rc;
    }
    return ems_json_finish(&j, err);
}

static void test_good(void)
{
    static const struct {
        const char *text, *events;
    } table[] = {
        {"{}", "0{ 0} "},
        {" \t\r\n[ ] \n", "0[ 0] "},
        {"{\"a\":1,\"b\":[true,false,null],\"\":{\"c\":\"d\"}}",
         "0{ 1ka 1n1 1kb 1[ 2t 2f 20 1] 1k 1{ 2kc 2sd 1} 0} "},
        {"[0,-0,-1,12.50,1e5,1E+5,1.5e-30]", "0[ 1n0 1n-0 1n-1 1n12.50 1n1e5 1n1E+5 1n1.5e-30 0] "},
        {"17", "0n17 "},
        {"\"x\"", "0sx "},
        {"null", "00 "},
        {"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "0[ 1s\"\\/\b\f\n\r\t 0] "},
        {"[\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"]",
         "0[ 1sA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 0] "},
        {"[\"\xc3\xa9\xf4\x8f\xbf\xbf\"]", "0[ 1s\xc3\xa9\xf4\x8f\xbf\xbf 0] "},
        {"{\"a\":1,\"a\":2}", "0{ 1ka 1n1 1ka 1n2 0} "}, /* whose business this is: the reader's */
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t size = strlen(table[i].text);

        for (size_t piece = 0; piece < 5; piece++) {
            struct trace t = {0};
            struct ems_error err = {0};

            ASSERT_CODE(parse(table[i].text, strlen(table[i].text), piece, &t, &err), EMS_OK);
            CU_ASSERT_STRING_EQUAL((char *)t.text.data, table[i].events);
            ems_buf_release(&t.text);
        }
        while (strchr(" \n", table[i].text[size - 1]) != NULL)
            size--; /* blanks need not come */
        /* No beginning of it is a document of its own, but of a number. */
        for (size_t n = 0; n < size && i != 4; n++) {
            struct trace t = {0};
            struct ems_error err = {0};

            ASSERT_CODE(parse(table[i].text, n, 0, &t, &err), EMS_MEDIA_BAD_MANIFEST);
            ems_buf_release(&t.text);
        }
    }
}

static void test_bad(void)
{
    static const struct {
        const char *text;
        size_t size; /* 0: strlen */
        const char *message;
    } table[] = {
        {"", 0, "byte 0: there is nothing"},
        {" ", 0, "byte 1: the document is cut"},
        {"{", 0, "byte 1: the document is cut"},
        {"[1,]", 0, "byte 3: no value where one must be"},
        {"{\"a\":1,}", 0, "byte 7: no name where one must be"},
        {"{a:1}", 0, "byte 1: no name where one must be"},
        {"{\"a\" 1}", 0, "byte 5: no ':' behind a name"},
        {"[1 2]", 0, "byte 3: no ',' between values"},
        {"[1}", 0, "byte 2: '}' where nothing ends"},
        {"{\"a\":1]", 0, "byte 6: ']' where nothing ends"},
        {"]", 0, "byte 0: no value where one must be"},
        {"{} {}", 0, "byte 3: something follows the document"},
        {"1 x", 0, "byte 2: something follows the document"},
        {"\xef\xbb\xbf{}", 0, "byte 0: no value where one must be"},
        {"'a'", 0, "byte 0: no value where one must be"},
        {"NaN", 0, "byte 0: no value where one must be"},
        {"trve", 0, "byte 2: no value where one must be"},
        {"+1", 0, "byte 0: no value where one must be"},
        {"01", 0, "byte 1: something follows the document"},
        {"-", 0, "byte 1: a number that is not complete"},
        {"-a", 0, "byte 1: a number that is not complete"},
        {"[1.]", 0, "byte 3: a number that is not complete"},
        {"[1e+]", 0, "byte 4: a number that is not complete"},
        {".5", 0, "byte 0: no value where one must be"},
        {"\"a\nb\"", 0, "byte 2: a control byte in a string"},
        {"\"a\0b\"", 5, "byte 2: a control byte in a string"},
        {"[\0]", 3, "byte 1: no value where one must be"},
        {"\"\\x\"", 0, "byte 2: an escape that JSON does not have"},
        {"\"\\\0\"", 4, "byte 2: an escape that JSON does not have"},
        {"\"\\u12g4\"", 0, "byte 5: \\u without four hexadecimal digits"},
        {"\"\\ud83d\"", 0, "byte 7: half of a surrogate pair"},
        {"\"\\ud83d\\n\"", 0, "byte 8: half of a surrogate pair"},
        {"\"\\ud83d\\u0041\"", 0, "byte 12: half of a surrogate pair"},
        {"\"\\ude00\"", 0, "byte 6: half of a surrogate pair"},
        {"\"\xc0\x80\"", 0, "byte 1: a string that is not UTF-8"},
        {"\"\xed\xa0\x80\"", 0, "byte 2: a string that is not UTF-8"},
        {"\"\xe2\x82\"", 0, "byte 3: a string that is not UTF-8"},
        {"\"\x80\"", 0, "byte 1: a string that is not UTF-8"},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t size = table[i].size > 0 ? table[i].size : strlen(table[i].text);

        for (size_t piece = 0; piece < 3; piece++) {
            struct trace t = {0};
            struct ems_error err = {0};

            ASSERT_CODE(parse(table[i].text, size, piece, &t, &err), EMS_MEDIA_BAD_MANIFEST);
            if (strcmp(err.text, table[i].message) != 0)
                printf("\n    %s: %s", table[i].text, err.text);
            CU_ASSERT_STRING_EQUAL(err.text, table[i].message);
            ems_buf_release(&t.text);
        }
    }
}

/* n times one text, between two others. */
static struct ems_buf repeat(const char *head, const char *text, size_t n, const char *tail)
{
    struct ems_buf out = {0};

    ems_buf_append(&out, head, strlen(head), NULL);
    while (n-- > 0)
        ems_buf_append(&out, text, strlen(text), NULL);
    ems_buf_append(&out, tail, strlen(tail), NULL);
    return out;
}

static void limit(struct ems_buf document, int code, const char *message)
{
    struct trace t = {0};
    struct ems_error err = {0};

    ASSERT_CODE(parse(document.data, document.size, 0, &t, &err), code);
    if (message != NULL)
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, message));
    ems_buf_release(&t.text);
    ems_buf_release(&document);
}

static void test_limits(void)
{
    struct ems_buf deep = repeat("", "[", EMS_JSON_MAX_DEPTH, "");
    struct trace t = {0};
    struct ems_error err = {0};

    for (unsigned i = 0; i < EMS_JSON_MAX_DEPTH; i++)
        ems_buf_append(&deep, "]", 1, NULL);
    limit(deep, EMS_OK, NULL);
    limit(repeat("", "[", EMS_JSON_MAX_DEPTH + 1, ""), EMS_MEDIA_BAD_MANIFEST, "inside each other");
    limit(repeat("", "{\"a\":", 1000000, ""), EMS_MEDIA_BAD_MANIFEST, "inside each other");
    limit(repeat("[", "9", EMS_JSON_MAX_NUMBER, "]"), EMS_OK, NULL);
    limit(repeat("[", "9", EMS_JSON_MAX_NUMBER + 1, "]"), EMS_MEDIA_BAD_MANIFEST,
          "number is too long");
    limit(repeat("\"", "x", EMS_JSON_MAX_STRING, "\""), EMS_OK, NULL);
    limit(repeat("\"", "x", EMS_JSON_MAX_STRING + 1, "\""), EMS_MEDIA_BAD_MANIFEST,
          "string is too long");
    limit(repeat("\"", "\\n", EMS_JSON_MAX_STRING + 1, "\""), EMS_MEDIA_BAD_MANIFEST,
          "string is too long");
    limit(repeat("[0", ",0", 300000, "]"), EMS_OK, NULL);
    /* A long text is handed out cut, with nothing behind the cut. */
    for (size_t piece = 0; piece < 3; piece++) {
        struct ems_buf text = repeat("\"", "\xc3\xa9", EMS_JSON_MAX_TEXT / 2, "\"");
        struct ems_buf longer = repeat("\"x", "\xc3\xa9", EMS_JSON_MAX_TEXT / 2, "\\u0041b\"");

        t.text.size = 0;
        ASSERT_CODE(parse(text.data, text.size, piece, &t, &err), EMS_OK);
        CU_ASSERT_EQUAL(t.text.size, EMS_JSON_MAX_TEXT + 3);
        t.text.size = 0;
        ASSERT_CODE(parse(longer.data, longer.size, piece, &t, &err), EMS_OK);
        CU_ASSERT_EQUAL(t.text.size, EMS_JSON_MAX_TEXT + 3 + 3);
        ems_buf_release(&text);
        ems_buf_release(&longer);
    }
    ems_buf_release(&t.text);
}

/* What the reader says ends the parse, at every event. */
static void test_reader_fails(void)
{
    static const char text[] = "{\"a\":[1,true,\"s\"],\"b\":{}}";

    for (int k = 1; k <= 12; k++) {
        struct trace t = {.fail_at = k};
        struct ems_error err = {0};

        ASSERT_CODE(parse(text, strlen(text), 0, &t, &err), k < 12 ? EMS_NO_MEMORY : EMS_OK);
        CU_ASSERT_EQUAL(t.events, k < 12 ? k : 11);
        ems_buf_release(&t.text);
    }
}

EMS_TESTS("json", {"documents", test_good}, {"no documents", test_bad}, {"limits", test_limits},
          {"a reader that fails", test_reader_fails})
