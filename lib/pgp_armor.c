/* pgp_armor.c - see pgp_armor.h */
#include "pgp_armor.h"

#include "bytes.h"

#include <gcrypt.h>
#include <string.h>

#define OUT_SIZE      (16u * 1024u)
#define TEXT_MAX      (64u * 1024u) /* before the block */
#define LINE_LIMIT    (64u * 1024u) /* a line in the block; by RFC 9580 it has 76 characters */
#define LINE_MAX_KEPT 128u          /* of a line that is looked at as a whole */

struct armor {
    struct ems_source base;
    enum ems_pgp_armor_kind kind;
    bool *armored;
    enum {
        SNIFF,   /* nothing seen yet */
        PASS,    /* binary */
        SEEK,    /* text before the block */
        HEADERS, /* "Version: ..." up to an empty line */
        DATA,
        CHECKSUM, /* the line "=XXXX" */
        TAIL,     /* the END line */
        AFTER,    /* text behind the block */
    } state;
    struct ems_span in;       /* unread rest */
    char line[LINE_MAX_KEPT]; /* the current line's beginning, where lines matter */
    size_t line_size;         /* its whole size so far */
    size_t text_size;         /* bytes before the block */
    size_t column;            /* in the data: bytes since the last line end */
    uint32_t bits;            /* of the current group of four characters */
    unsigned group;           /* how many of the four have come, padding included */
    unsigned padding;
    bool line_start;
    uint8_t *out;
};

/* ---- lines ---- */

/* The line so far without white space at both ends, which some senders add. */
static const char *trimmed(struct armor *a, size_t *size)
{
    size_t n = a->line_size < LINE_MAX_KEPT ? a->line_size : LINE_MAX_KEPT, skip = 0;

    if (n >= 3 && memcmp(a->line, "\xef\xbb\xbf", 3) == 0)
        skip = 3;
    while (skip < n && (a->line[skip] == ' ' || a->line[skip] == '\t'))
        skip++;
    while (n > skip && (a->line[n - 1] == ' ' || a->line[n - 1] == '\t' || a->line[n - 1] == '\r'))
        n--;
    *size = n - skip;
    return a->line + skip;
}

/* "-----BEGIN PGP LABEL-----" or END: where LABEL begins, NULL if the line is no such. */
static const char *marker_label(const char *line, size_t size, const char *marker,
                                size_t *label_size)
{
    size_t n = strlen(marker);

    if (size < n + 5 || memcmp(line, marker, n) != 0 || memcmp(line + size - 5, "-----", 5) != 0)
        return NULL;
    *label_size = size - n - 5;
    return line + n;
}

static bool label_is(const char *label, size_t size, const char *wanted)
{
    return size == strlen(wanted) && memcmp(label, wanted, size) == 0;
}

/* "MESSAGE, PART x/y" is of RFC 4880 and earlier; nobody has been seen to write it. A clear-signed
 * text is the commonest thing that is armoured and not encrypted. */
static int check_label(const struct armor *a, const char *label, size_t size, struct ems_error *err)
{
    bool is_key = label_is(label, size, "PRIVATE KEY BLOCK") ||
                  label_is(label, size, "PUBLIC KEY BLOCK") ||
                  label_is(label, size, "SECRET KEY BLOCK");
    char text[64];

    if (a->kind == EMS_PGP_ARMOR_KEYS ? is_key : label_is(label, size, "MESSAGE"))
        return EMS_OK;
    ems_printable(label, size, text, sizeof text);
    if (a->kind == EMS_PGP_ARMOR_MESSAGE && size > 8 && memcmp(label, "MESSAGE,", 8) == 0)
        return ems_fail(err, EMS_PGP_UNSUPPORTED, "a message armoured in several parts: \"%s\"",
                        text);
    if (a->kind == EMS_PGP_ARMOR_MESSAGE && label_is(label, size, "SIGNED MESSAGE"))
        return ems_fail(err, EMS_NOT_ENCRYPTED, "signed text, not encrypted");
    return ems_fail(err, EMS_PGP_NOT_OPENPGP, "armoured \"%s\" where a %s is needed", text,
                    a->kind == EMS_PGP_ARMOR_KEYS ? "key" : "message");
}

/* A whole line outside the data. The line's end has been read, or the file's. */
static int take_line(struct armor *a, struct ems_error *err)
{
    size_t size, label_size;
    const char *line = trimmed(a, &size), *label;
    int rc = EMS_OK;

    switch (a->state) {
    case SEEK:
    case AFTER:
        label = marker_label(line, size, "-----BEGIN PGP ", &label_size);
        if (label == NULL)
            break;
        if (a->state == AFTER && a->kind == EMS_PGP_ARMOR_MESSAGE)
            return ems_fail(err, EMS_PGP_TRAILING, "a second armoured block follows the message");
        rc = check_label(a, label, label_size, err);
        a->state = HEADERS;
        *a->armored = true;
        break;
    case HEADERS:
        if (size == 0) {
            a->state = DATA;
            a->column = 0;
        } else if (memchr(line, ':', size) == NULL)
            rc = ems_fail(err, EMS_PGP_MALFORMED, "no empty line behind the headers of the armour");
        break;
    case TAIL:
        if (marker_label(line, size, "-----END PGP ", &label_size) == NULL)
            rc = ems_fail(err, EMS_PGP_MALFORMED, "the END line of the armour is damaged");
        a->state = AFTER;
        break;
    default:
        break;
    }
    a->line_size = 0;
    a->bits = a->group = a->padding = 0;
    a->line_start = true;
    return rc;
}

/* Nothing is gained by endless lines, and nothing is held of them; but GnuPG's parser was broken
 * with such (CVE-2025-68973), and no sender makes them. */
static int check_line(size_t size, struct ems_error *err)
{
    if (size <= LINE_LIMIT)
        return EMS_OK;
    return ems_fail(err, EMS_PGP_LIMIT, "a line of more than %u bytes in the armour", LINE_LIMIT);
}

/* Bytes of lines: consumes up to and including one line end. */
static int eat_line(struct armor *a, struct ems_error *err)
{
    const uint8_t *end = memchr(a->in.data, '\n', a->in.size);
    size_t n = end != NULL ? (size_t)(end - a->in.data) : a->in.size;
    size_t used = end != NULL ? n + 1 : n;

    if (a->line_size < LINE_MAX_KEPT) {
        size_t room = LINE_MAX_KEPT - a->line_size;

        memcpy(a->line + a->line_size, a->in.data, n < room ? n : room);
    }
    a->line_size += n;
    a->in.data += used;
    a->in.size -= used;
    a->in.origin += used;
    a->base.origin = a->in.origin;
    if (a->state == SEEK) {
        a->text_size += used;
        if (a->text_size > TEXT_MAX)
            return ems_fail(err, EMS_PGP_NOT_OPENPGP, "not an OpenPGP message");
    } else if (a->state != AFTER && check_line(a->line_size, err) != EMS_OK) {
        return EMS_PGP_LIMIT;
    }
    return end != NULL ? take_line(a, err) : EMS_OK;
}

/* ---- data ---- */

/* Value of a base64 digit, or -1. RFC 4648, section 4: the alphabet with + and /, and no other. */
static int digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/*
 * One character that is no digit. "=" is the checksum's line (RFC 9580, section 6.1) where a line
 * begins between two groups, and padding behind at least two digits; a padding that a sender's line
 * width has put at a line's beginning is still padding, since its group is not complete. "-" can
 * only begin the END line. Anything else is refused rather than passed over, as readers for mail
 * do: a quoted or mangled block would decode to other octets.
 */
static int take_other(struct armor *a, uint8_t c, struct ems_error *err)
{
    if (c == '=' && a->line_start && a->group == 0) {
        a->state = CHECKSUM;
    } else if (c == '=' && a->group >= 2) {
        a->padding++;
        a->bits <<= 6;
        a->group++;
    } else if (c == '-' && a->line_start && a->group == 0) {
        a->state = TAIL;
        a->line[0] = '-';
        a->line_size = 1;
    } else {
        return ems_fail(
            err, EMS_PGP_MALFORMED,
            c > 0x20 && c < 0x7f ? "'%c' inside the armour" : "byte 0x%02x inside the armour", c);
    }
    return EMS_OK;
}

/* One character of the data; what comes out of it is added to out. */
static int take_character(struct armor *a, uint8_t c, size_t *n, struct ems_error *err)
{
    int value = digit(c), rc = EMS_OK;

    if (c == '\n') {
        a->line_start = true;
        a->column = 0;
        return EMS_OK;
    }
    rc = check_line(a->column + 1, err);
    if (rc != EMS_OK)
        return rc;
    a->column++;
    if (c == '\r' || c == ' ' || c == '\t')
        return EMS_OK;
    if (value >= 0 && a->padding == 0) {
        a->bits = a->bits << 6 | (uint32_t)value;
        a->group++;
    } else {
        rc = take_other(a, c, err);
        if (rc != EMS_OK) {
            a->column--; /* it may be looked at once more */
            return rc;
        }
    }
    a->line_start = false;
    if (a->group == 4) {
        for (unsigned i = 0; i < 3 - (a->padding > 2 ? 2 : a->padding); i++)
            a->out[(*n)++] = (uint8_t)(a->bits >> (16 - 8 * i));
        a->bits = a->group = 0;
    }
    return EMS_OK;
}

/* Decode up to the end of the span, the end of the data or OUT_SIZE bytes. What stands in front of
 * a wrong character is lent first: whether that is told before or after what is wrong in the data
 * itself shall not depend on how large the spans are. */
static int eat_data(struct armor *a, size_t *produced, struct ems_error *err)
{
    const uint8_t *p = a->in.data, *end = p + a->in.size;
    struct ems_error why = {0};
    size_t n = 0;
    int rc = EMS_OK;

    while (p < end && n + 3 <= OUT_SIZE && a->state == DATA) {
        rc = take_character(a, *p, &n, &why);
        if (rc != EMS_OK)
            break;
        p++;
    }
    a->in.origin += (uint64_t)(p - a->in.data);
    a->in.size = (size_t)(end - p);
    a->in.data = p;
    a->base.origin = a->in.origin;
    *produced = n;
    if (rc == EMS_OK || n > 0)
        return EMS_OK;
    return ems_fail(err, rc, "%s", why.text);
}

/* The checksum line: anything up to its end. Its CRC-24 is not looked at: RFC 9580 lets it be left
 * out, senders write wrong ones, and nobody who alters a message would forget to fit it. What the
 * data is worth, the MDC or the tags inside say. */
static int eat_checksum(struct armor *a, struct ems_error *err)
{
    const uint8_t *end = memchr(a->in.data, '\n', a->in.size);
    size_t used = end != NULL ? (size_t)(end - a->in.data) + 1 : a->in.size;

    a->in.data += used;
    a->in.size -= used;
    a->in.origin += used;
    a->column += end != NULL ? used - 1 : used;
    if (end != NULL) {
        a->state = TAIL;
        a->line_size = 0;
    }
    return check_line(a->column, err);
}

/* ---- the stage ---- */

/* The stage below has ended: right behind the END line (or in binary data, whose end others know),
 * too early anywhere else. A block without its END line was cut, even if all of the message should
 * be there. */
static int finish(struct armor *a, struct ems_error *err)
{
    int rc = EMS_OK;

    if (a->line_size > 0)
        rc = take_line(a, err); /* a last line without its line end */
    if (rc != EMS_OK)
        return rc;
    switch (a->state) {
    case SNIFF:
    case PASS:
    case AFTER:
        return EMS_END;
    case SEEK:
        return ems_fail(err, EMS_PGP_NOT_OPENPGP, "not an OpenPGP message");
    default:
        return ems_fail(err, EMS_PGP_TRUNCATED, "the data ends before the END line of the armour");
    }
}

/* Lines are looked at one by one outside the data, and characters inside it: line length, white
 * space and the line width that a mailer chose do not matter there. */
static int armor_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct armor *a = (struct armor *)src;
    size_t produced = 0;
    int rc = EMS_OK;

    while (rc == EMS_OK) {
        uint64_t origin;

        if (a->in.size == 0 || a->state == PASS) {
            rc = ems_source_next(src->below, &a->in, err);
            src->origin = rc == EMS_OK ? a->in.origin : src->below->origin;
            if (rc == EMS_END)
                return finish(a, err);
            if (rc != EMS_OK)
                return rc;
        }
        /* Packets begin with the highest bit set, text does not; 0xEF begins a byte order mark. */
        if (a->state == SNIFF)
            a->state = a->in.data[0] >= 0x80 && a->in.data[0] != 0xef ? PASS : SEEK;
        origin = a->in.origin;
        switch (a->state) {
        case PASS:
            *span = a->in;
            return EMS_OK;
        case DATA:
            rc = eat_data(a, &produced, err);
            break;
        case CHECKSUM:
            rc = eat_checksum(a, err);
            break;
        default:
            rc = eat_line(a, err);
            break;
        }
        if (rc == EMS_OK && produced > 0) {
            *span = (struct ems_span){.data = a->out, .size = produced, .origin = origin};
            return EMS_OK;
        }
    }
    return rc;
}

static void armor_free(struct ems_source *src)
{
    struct armor *a = (struct armor *)src;

    gcry_free(a->out);
}

static const struct ems_source_ops armor_ops = {"armour", armor_next, armor_free};

struct ems_source *ems_pgp_armor_open(struct ems_source *below, enum ems_pgp_armor_kind kind,
                                      bool secure, bool *armored, struct ems_error *err)
{
    struct armor *a;

    if (below == NULL)
        return NULL;
    a = ems_source_alloc(sizeof *a, &armor_ops, below, err);
    if (a == NULL)
        return NULL;
    a->kind = kind;
    a->armored = armored;
    a->out = secure ? gcry_malloc_secure(OUT_SIZE) : gcry_malloc(OUT_SIZE);
    if (a->out == NULL) {
        ems_source_free(&a->base);
        ems_fail_memory(err);
        return NULL;
    }
    return &a->base;
}
