/*
 * json.c - see json.h. RFC 8259; the state says what may come next, so that a document can be cut
 * anywhere. Depths are counted from 0 (the whole document), a bit each says what is open there.
 */
#include "json.h"

#include <inttypes.h>
#include <string.h>

enum state {
    AT_VALUE,       /* a value must come */
    AT_FIRST_VALUE, /* behind '[': a value or ']' */
    AT_FIRST_KEY,   /* behind '{': a key or '}' */
    AT_KEY,
    AT_COLON,
    AFTER_VALUE, /* ',' or the container's end; at depth 0 nothing but blanks */
    IN_STRING,
    IN_ESCAPE,
    IN_HEX,
    AT_LOW, /* behind a high surrogate: a backslash must come */
    AT_LOW_U,
    IN_WORD,
    /* numbers: minus, int, frac, exp (section 6) */
    AFTER_MINUS,
    AFTER_ZERO,
    IN_INTEGER,
    AFTER_POINT,
    IN_FRACTION,
    AFTER_E,
    AFTER_E_SIGN,
    IN_EXPONENT,
};

static int fail(struct ems_json *j, struct ems_error *err, const char *what)
{
    j->verdict = ems_fail(err, j->code, "byte %" PRIu64 ": %s", j->offset, what);
    return j->verdict;
}

static int emit(struct ems_json *j, enum ems_json_type type, struct ems_error *err)
{
    const struct ems_json_event event = {.type = type,
                                         .depth = j->depth,
                                         .text = j->text,
                                         .size = j->text_size,
                                         .cut = j->size > j->text_size};

    j->text[j->text_size] = '\0';
    j->verdict = j->fn(j->context, &event, err);
    return j->verdict;
}

/* ---- containers ---- */

/* Of the innermost container; the whole document is in none. */
static bool in_object(const struct ems_json *j)
{
    return j->depth > 0 && (j->objects >> (j->depth - 1) & 1) != 0;
}

/* The depth is checked before the event, so that no reader sees one that is too deep: whoever keeps
 * a bit a depth (as we do) needs no check of its own. */
static int open_container(struct ems_json *j, bool object, struct ems_error *err)
{
    uint64_t bit = UINT64_C(1) << j->depth;

    j->size = j->text_size = 0;
    if (j->depth == EMS_JSON_MAX_DEPTH)
        return fail(j, err, "too many values inside each other");
    if (emit(j, object ? EMS_JSON_OBJECT : EMS_JSON_ARRAY, err) != EMS_OK)
        return j->verdict;
    j->objects = object ? j->objects | bit : j->objects & ~bit;
    j->depth++;
    j->state = object ? AT_FIRST_KEY : AT_FIRST_VALUE;
    return EMS_OK;
}

static int close_container(struct ems_json *j, bool object, struct ems_error *err)
{
    if (j->depth == 0 || in_object(j) != object)
        return fail(j, err, object ? "'}' where nothing ends" : "']' where nothing ends");
    j->depth--;
    j->size = j->text_size = 0;
    j->state = AFTER_VALUE;
    return emit(j, object ? EMS_JSON_OBJECT_END : EMS_JSON_ARRAY_END, err);
}

/* ---- strings ---- */

static void start_string(struct ems_json *j, bool is_key)
{
    j->is_key = is_key;
    j->size = j->text_size = 0;
    j->utf8 = (struct ems_utf8){0};
    j->high = 0;
    j->state = IN_STRING;
}

/* Bytes of a string: what fits is kept, in front of a gap nothing more. */
static int take_text(struct ems_json *j, const char *data, size_t size, struct ems_error *err)
{
    size_t room = EMS_JSON_MAX_TEXT - j->text_size;

    if (j->text_size == j->size) {
        memcpy(j->text + j->text_size, data, size < room ? size : room);
        j->text_size += size < room ? size : room;
    }
    j->size += size;
    return j->size > EMS_JSON_MAX_STRING ? fail(j, err, "a string is too long") : EMS_OK;
}

/* A character from an escape, as UTF-8 (RFC 3629, section 3): the lead byte says how many follow,
 * six bits each. */
static int take_character(struct ems_json *j, uint32_t c, struct ems_error *err)
{
    char utf8[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n; --i > 0; c >>= 6)
        utf8[i] = (char)(0x80 | (c & 0x3f));
    utf8[0] = (char)(lead[n] | c);
    j->state = IN_STRING;
    return take_text(j, utf8, n, err);
}

/* The closing quote has come; it is known since the opening one whether this is a name. */
static int end_string(struct ems_json *j, struct ems_error *err)
{
    bool is_key = j->is_key;

    j->state = is_key ? AT_COLON : AFTER_VALUE;
    return emit(j, is_key ? EMS_JSON_KEY : EMS_JSON_STRING, err);
}

/* Behind a backslash. Both tables have the same order (section 7). */
static int escape(struct ems_json *j, char c, struct ems_error *err)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *at = c != '\0' ? strchr(names, c) : NULL;

    if (c == 'u') {
        j->hex_digits = 4;
        j->unit = 0;
        j->state = IN_HEX;
        return EMS_OK;
    }
    if (at == NULL)
        return fail(j, err, "an escape that JSON does not have");
    return take_character(j, (uint8_t)values[at - names], err);
}

/* One hexadecimal digit of \uXXXX; a pair of surrogates is one character (section 7). */
static int take_hex(struct ems_json *j, char c, struct ems_error *err)
{
    uint32_t digit, high = j->high;

    if (c >= '0' && c <= '9')
        digit = (uint32_t)(c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (uint32_t)((c | 0x20) - 'a' + 10);
    else
        return fail(j, err, "\\u without four hexadecimal digits");
    j->unit = j->unit << 4 | digit;
    if (--j->hex_digits > 0)
        return EMS_OK;
    j->high = 0;
    if (high != 0 && (j->unit < 0xdc00 || j->unit > 0xdfff))
        return fail(j, err, "half of a surrogate pair");
    if (high != 0)
        return take_character(j, 0x10000 + ((high - 0xd800) << 10) + (j->unit - 0xdc00), err);
    if (j->unit >= 0xdc00 && j->unit <= 0xdfff)
        return fail(j, err, "half of a surrogate pair");
    if (j->unit < 0xd800 || j->unit > 0xdfff)
        return take_character(j, j->unit, err);
    j->high = j->unit;
    j->state = AT_LOW;
    return EMS_OK;
}

/*
 * As much of a string as can be taken at once: most of a document. Returns how many bytes. The
 * loop is the speed of the whole parser: a manifest of 400 MB is nine tenths strings.
 */
static size_t run_string(struct ems_json *j, const char *data, size_t size, struct ems_error *err)
{
    size_t n = 0;

    while (n < size) {
        uint8_t c = (uint8_t)data[n];

        if (c < 0x20) {
            j->offset += n;
            fail(j, err, "a control byte in a string");
            return n;
        }
        if ((c == '"' || c == '\\') && j->utf8.need == 0)
            break;
        if ((c >= 0x80 || j->utf8.need > 0) && !ems_utf8_step(&j->utf8, c)) {
            j->offset += n;
            fail(j, err, "a string that is not UTF-8");
            return n;
        }
        n++;
    }
    take_text(j, data, n, err);
    return n;
}

/* ---- numbers and words ---- */

/* Kept as text: what range and precision a number needs is its reader's business (section 6). */
static void start_number(struct ems_json *j, char c)
{
    j->text[0] = c;
    j->size = j->text_size = 1;
    j->state = c == '-' ? AFTER_MINUS : c == '0' ? AFTER_ZERO : IN_INTEGER;
}

/* The state that c leads to inside a number, or -1 if it does not belong to it. */
static int number_state(int state, char c)
{
    bool digit = c >= '0' && c <= '9', e = c == 'e' || c == 'E';

    switch (state) {
    case AFTER_MINUS:
        return digit ? (c == '0' ? AFTER_ZERO : IN_INTEGER) : -1;
    case AFTER_ZERO:
        return c == '.' ? AFTER_POINT : e ? AFTER_E : -1;
    case IN_INTEGER:
        return digit ? IN_INTEGER : c == '.' ? AFTER_POINT : e ? AFTER_E : -1;
    case AFTER_POINT:
        return digit ? IN_FRACTION : -1;
    case IN_FRACTION:
        return digit ? IN_FRACTION : e ? AFTER_E : -1;
    case AFTER_E:
        return digit ? IN_EXPONENT : c == '+' || c == '-' ? AFTER_E_SIGN : -1;
    default: /* AFTER_E_SIGN, IN_EXPONENT */
        return digit ? IN_EXPONENT : -1;
    }
}

/* A number has no end of its own: what follows it ends it, and is read again as what it is. Four of
 * its states are places where it may end. */
static int end_number(struct ems_json *j, struct ems_error *err)
{
    if (j->state != AFTER_ZERO && j->state != IN_INTEGER && j->state != IN_FRACTION &&
        j->state != IN_EXPONENT)
        return fail(j, err, "a number that is not complete");
    j->state = AFTER_VALUE;
    return emit(j, EMS_JSON_NUMBER, err);
}

/* The first letter has been seen; the others must follow without a gap. */
static int start_word(struct ems_json *j, const char *word, enum ems_json_type type)
{
    j->word = word + 1;
    j->word_type = type;
    j->size = j->text_size = 0;
    j->state = IN_WORD;
    return EMS_OK;
}

/* ---- the machine ---- */

/* The first byte of a value says which kind it is. */
static int start_value(struct ems_json *j, char c, struct ems_error *err)
{
    switch (c) {
    case '{':
        return open_container(j, true, err);
    case '[':
        return open_container(j, false, err);
    case '"':
        start_string(j, false);
        return EMS_OK;
    case 't':
        return start_word(j, "true", EMS_JSON_TRUE);
    case 'f':
        return start_word(j, "false", EMS_JSON_FALSE);
    case 'n':
        return start_word(j, "null", EMS_JSON_NULL);
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return fail(j, err, "no value where one must be");
        start_number(j, c);
        return EMS_OK;
    }
}

/* Between values: blanks, and what holds containers together. In AT_FIRST_KEY a comma may not have
 * come yet, so an end is allowed; in AT_KEY one has, and another name must follow it. */
static int structure(struct ems_json *j, char c, struct ems_error *err)
{
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
        return EMS_OK;
    switch ((enum state)j->state) {
    case AT_FIRST_VALUE:
        return c == ']' ? close_container(j, false, err) : start_value(j, c, err);
    case AT_FIRST_KEY:
        if (c == '}')
            return close_container(j, true, err);
        /* fall through */
    case AT_KEY:
        if (c != '"')
            return fail(j, err, "no name where one must be");
        start_string(j, true);
        return EMS_OK;
    case AT_COLON:
        j->state = AT_VALUE;
        return c == ':' ? EMS_OK : fail(j, err, "no ':' behind a name");
    case AFTER_VALUE:
        if (c == '}' || c == ']')
            return close_container(j, c == '}', err);
        if (j->depth == 0)
            return fail(j, err, "something follows the document");
        j->state = in_object(j) ? AT_KEY : AT_VALUE;
        return c == ',' ? EMS_OK : fail(j, err, "no ',' between values");
    default:
        return start_value(j, c, err);
    }
}

/* One byte in any state but IN_STRING. *used: it was taken (a number ends in front of one). */
static int step(struct ems_json *j, char c, bool *used, struct ems_error *err)
{
    int next;

    *used = true;
    switch ((enum state)j->state) {
    case IN_ESCAPE:
        return escape(j, c, err);
    case IN_HEX:
        return take_hex(j, c, err);
    case AT_LOW:
    case AT_LOW_U:
        if (c != (j->state == AT_LOW ? '\\' : 'u'))
            return fail(j, err, "half of a surrogate pair");
        if (j->state == AT_LOW)
            j->state = AT_LOW_U;
        else
            return escape(j, 'u', err);
        return EMS_OK;
    case IN_WORD:
        if (c != *j->word++)
            return fail(j, err, "no value where one must be");
        if (*j->word != '\0')
            return EMS_OK;
        j->state = AFTER_VALUE;
        return emit(j, j->word_type, err);
    case AFTER_MINUS:
    case AFTER_ZERO:
    case IN_INTEGER:
    case AFTER_POINT:
    case IN_FRACTION:
    case AFTER_E:
    case AFTER_E_SIGN:
    case IN_EXPONENT:
        next = number_state(j->state, c);
        if (next < 0) {
            *used = false;
            return end_number(j, err);
        }
        if (j->size == EMS_JSON_MAX_NUMBER)
            return fail(j, err, "a number is too long");
        j->state = next;
        j->text[j->text_size++] = c;
        j->size++;
        return EMS_OK;
    default:
        return structure(j, c, err);
    }
}

void ems_json_init(struct ems_json *j, int code, ems_json_fn *fn, void *context)
{
    *j = (struct ems_json){.fn = fn, .context = context, .code = code, .state = AT_VALUE};
}

/* A verdict that is repeated comes without the words of the first time. */
static int repeat(const struct ems_json *j, struct ems_error *err)
{
    return ems_fail(err, j->verdict, "the document has failed before");
}

/* Strings are most of every document and are taken in runs; everything else goes byte by byte. A
 * quote inside of a character (utf8.need) is no end of the string but a fault that run_string
 * names. */
int ems_json_feed(struct ems_json *j, const void *data, size_t size, struct ems_error *err)
{
    const char *p = data;
    size_t n;
    bool used;

    if (j->verdict != EMS_OK)
        return repeat(j, err);
    while (size > 0 && j->verdict == EMS_OK) {
        if (j->state != IN_STRING) {
            step(j, *p, &used, err);
            n = used ? 1 : 0;
        } else if ((*p == '"' || *p == '\\') && j->utf8.need == 0) {
            j->state = IN_ESCAPE;
            if (*p == '"')
                end_string(j, err);
            n = 1;
        } else {
            n = run_string(j, p, size, err);
        }
        if (j->verdict == EMS_OK)
            j->offset += n;
        p += n;
        size -= n;
    }
    return j->verdict;
}

/* The end of the bytes is a token of its own here: it ends a number, and it is wrong anywhere but
 * behind one whole value. */
int ems_json_finish(struct ems_json *j, struct ems_error *err)
{
    if (j->verdict != EMS_OK)
        return repeat(j, err);
    /* Only at the top can a number end with the document. */
    if (j->state >= AFTER_MINUS && end_number(j, err) != EMS_OK)
        return j->verdict;
    if (j->state != AFTER_VALUE || j->depth > 0)
        return fail(j, err, j->offset == 0 ? "there is nothing" : "the document is cut");
    return EMS_OK;
}
