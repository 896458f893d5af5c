/*
 * media_manifest.c - see media_manifest.h
 *
 * Three depths matter: the document's fields (1), the media's names (2), their fields (3). What
 * lies deeper belongs to fields that nobody reads.
 */
#include "media_manifest.h"

#include "bytes.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, MEDIA };

enum root_field { VERSION, ENTITY_ID, USER_ID, ROOT_CREATED, ROOT_MEDIA, ROOT_FIELDS };
enum field { FILE_NAME, ORIGIN, MEDIA_ID, UPLOADER, SHA256, S3_URL, SIZE, CREATED, FIELDS };
#define TEXTS SIZE /* fields before it are texts */

struct field_row {
    const char *name;
    enum kind kind;
    const char *missing; /* what to say when it is not there; NULL: it need not be */
};

static const struct field_row root_fields[ROOT_FIELDS] = {
    [VERSION] = {"version", NUMBER, NULL}, [ENTITY_ID] = {"entity_id", TEXT, NULL},
    [USER_ID] = {"user_id", TEXT, NULL},   [ROOT_CREATED] = {"created_ts", NUMBER, NULL},
    [ROOT_MEDIA] = {"media", MEDIA, NULL},
};

static const struct field_row entry_fields[FIELDS] = {
    [FILE_NAME] = {"file_name", TEXT, "it has no file_name"},
    [ORIGIN] = {"origin", TEXT, "it has no origin"},
    [MEDIA_ID] = {"media_id", TEXT, "it has no media_id"},
    [UPLOADER] = {"uploader", TEXT, NULL},
    [SHA256] = {"sha256", TEXT, "it has no sha256"},
    [S3_URL] = {"s3_url", TEXT, NULL},
    [SIZE] = {"size_bytes", NUMBER, "it has no size_bytes"},
    [CREATED] = {"created_ts", NUMBER, NULL},
};

struct text {
    char data[EMS_MEDIA_TEXT_MAX + 1];
    size_t size;
};

struct ems_media_manifest {
    struct ems_json json;
    ems_media_entry_fn *fn;
    void *context;
    struct ems_media_manifest_facts facts;
    size_t root_field, field; /* whose value comes; the number of fields: of none */
    unsigned root_seen;       /* bit n: field n has come */
    bool has_media, has_version, in_media;
    struct text entity_id, user_id;
    /* the media at hand */
    unsigned seen;
    const char *problem;
    struct text uri, texts[TEXTS];
    uint64_t size, created_ms;
};

/* ---- values ---- */

/* The number of rows if it is none of ours. Go matches the names of fields without regard to case,
 * so a "SHA256" would count there: it counts here too. */
static size_t find_field(const struct field_row *rows, size_t count, const struct ems_json_event *e)
{
    for (size_t i = 0; i < count; i++)
        if (e->size == strlen(rows[i].name) && strncasecmp(e->text, rows[i].name, e->size) == 0)
            return i;
    return count;
}

/* False if it cannot be one of ours: too long, or with a NUL in it. */
static bool take_text(struct text *to, const struct ems_json_event *e)
{
    if (e->cut || e->size > EMS_MEDIA_TEXT_MAX || memchr(e->text, '\0', e->size) != NULL)
        return false;
    memcpy(to->data, e->text, e->size + 1);
    to->size = e->size;
    return true;
}

/* As Go reads an int64: digits only, no fraction, no exponent. Negative ones are EMS_NOWHERE. */
static bool take_number(uint64_t *to, const struct ems_json_event *e)
{
    bool negative = e->text[0] == '-';
    uint64_t value = 0;

    for (size_t i = negative ? 1 : 0; i < e->size; i++) {
        uint64_t digit = (uint64_t)(e->text[i] - '0');

        if (e->text[i] < '0' || e->text[i] > '9' || value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *to = negative ? EMS_NOWHERE : value;
    return true;
}

/* Digits of both cases are in one table; those behind the sixteenth are capitals, six further on.
 */
static bool take_hex(uint8_t *to, size_t size, const char *text)
{
    for (size_t i = 0; i < 2 * size; i++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *at = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        uint8_t digit = (uint8_t)(at == NULL         ? 0
                                  : at - digits > 15 ? at - digits - 6
                                                     : at - digits);

        if (at == NULL)
            return false;
        to[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : to[i / 2] | digit);
    }
    return text[2 * size] == '\0';
}

/* ---- a media ---- */

/* Nothing of the media before may be left: a field that is missing must be seen to be. */
static void start_entry(struct ems_media_manifest *m)
{
    m->seen = 0;
    m->field = FIELDS;
    m->problem = NULL;
    m->size = m->created_ms = EMS_NOWHERE;
    for (size_t i = 0; i < TEXTS; i++) {
        m->texts[i].data[0] = '\0';
        m->texts[i].size = 0;
    }
}

/* The first thing that is wrong is the one to tell. */
static void complain(struct ems_media_manifest *m, const char *what)
{
    if (m->problem == NULL)
        m->problem = what;
}

/* A value of the field at hand; null is as good as none (in Go it leaves a value as it is). */
static void take_field(struct ems_media_manifest *m, const struct ems_json_event *e)
{
    enum kind kind = entry_fields[m->field].kind;

    if (e->type == EMS_JSON_NULL)
        return;
    if (e->type != (kind == TEXT ? EMS_JSON_STRING : EMS_JSON_NUMBER)) {
        complain(m, "a field of it is of the wrong type");
        return;
    }
    if (kind == NUMBER) {
        if (!take_number(m->field == SIZE ? &m->size : &m->created_ms, e))
            complain(m, "a number in it is no integer of 64 bits");
    } else if (!take_text(&m->texts[m->field], e)) {
        complain(m, "a text in it is too long or has a NUL in it");
    }
}

/*
 * All fields of a media have come. A media with a problem is handed on with what it has: its file
 * is then known to belong to it, which keeps one fault from being told as three. The name must be
 * "mxc://ORIGIN/MEDIA_ID"; compared piece by piece, for all three can be a kilobyte long.
 */
static int end_entry(struct ems_media_manifest *m, struct ems_error *err)
{
    struct ems_media_entry entry = {.uri = m->uri.data,
                                    .file_name = m->texts[FILE_NAME].data,
                                    .origin = m->texts[ORIGIN].data,
                                    .media_id = m->texts[MEDIA_ID].data,
                                    .uploader = m->texts[UPLOADER].data,
                                    .size = m->size,
                                    .created_ms = m->created_ms,
                                    .in_s3 = m->texts[S3_URL].size > 0};
    size_t uri = 6 + m->texts[ORIGIN].size + 1;

    for (size_t i = 0; i < FIELDS; i++)
        if (entry_fields[i].missing != NULL &&
            (i < TEXTS ? m->texts[i].size == 0 : m->size == EMS_NOWHERE))
            complain(m, entry_fields[i].missing);
    if (m->texts[SHA256].size > 0 && !take_hex(entry.sha256, 32, m->texts[SHA256].data))
        complain(m, "its sha256 is not 64 hexadecimal digits");
    if (m->uri.size != uri + m->texts[MEDIA_ID].size || memcmp(m->uri.data, "mxc://", 6) != 0 ||
        memcmp(m->uri.data + 6, entry.origin, m->texts[ORIGIN].size) != 0 ||
        m->uri.data[uri - 1] != '/' ||
        memcmp(m->uri.data + uri, entry.media_id, m->texts[MEDIA_ID].size) != 0)
        complain(m, "its origin and media_id are not those of its name, and the importer would "
                    "skip it");
    entry.problem = m->problem;
    m->facts.entries++;
    return m->fn(m->context, &entry, err);
}

/* ---- the document ---- */

/* Twice the same field in one object: Go takes the last, others the first. Whoever sends such a
 * document wants two readers to see two things. */
static int root_key(struct ems_media_manifest *m, const struct ems_json_event *e,
                    struct ems_error *err)
{
    m->root_field = find_field(root_fields, ROOT_FIELDS, e);
    if (m->root_field == ROOT_FIELDS)
        return EMS_OK;
    if ((m->root_seen & 1u << m->root_field) != 0)
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "it says twice what its %s is",
                        root_fields[m->root_field].name);
    m->root_seen |= 1u << m->root_field;
    return EMS_OK;
}

/* A field of the document itself. Its media are the only container that is looked into; the end of
 * any container at this depth is therefore the end of that. */
static int root_value(struct ems_media_manifest *m, const struct ems_json_event *e,
                      struct ems_error *err)
{
    static const enum ems_json_type types[] = {EMS_JSON_STRING, EMS_JSON_NUMBER, EMS_JSON_OBJECT};
    bool good = true;

    if (e->type == EMS_JSON_OBJECT_END || e->type == EMS_JSON_ARRAY_END) {
        m->in_media = false;
        return EMS_OK;
    }
    if (m->root_field == ROOT_FIELDS || e->type == EMS_JSON_NULL)
        return EMS_OK;
    if (e->type != types[root_fields[m->root_field].kind])
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "its %s is of the wrong type",
                        root_fields[m->root_field].name);
    switch ((enum root_field)m->root_field) {
    case VERSION:
        good = m->has_version = take_number(&m->facts.version, e);
        break;
    case ENTITY_ID:
        good = take_text(&m->entity_id, e);
        break;
    case USER_ID:
        good = take_text(&m->user_id, e);
        break;
    case ROOT_CREATED:
        good = take_number(&m->facts.created_ms, e);
        break;
    default:
        m->has_media = m->in_media = true;
    }
    return good ? EMS_OK
                : ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "its %s cannot be right",
                           root_fields[m->root_field].name);
}

/* The name of a media's field; the value comes with the next event. */
static void entry_key(struct ems_media_manifest *m, const struct ems_json_event *e)
{
    m->field = find_field(entry_fields, FIELDS, e);
    if (m->field == FIELDS)
        return;
    if ((m->seen & 1u << m->field) != 0)
        complain(m, "a field of it comes twice");
    m->seen |= 1u << m->field;
}

/* A media's name, and what comes behind it: an object, or something that should be one. */
static int media_value(struct ems_media_manifest *m, const struct ems_json_event *e,
                       struct ems_error *err)
{
    switch (e->type) {
    case EMS_JSON_KEY:
        start_entry(m);
        if (!take_text(&m->uri, e)) {
            m->uri.data[m->uri.size = 0] = '\0';
            complain(m, "its name is too long or has a NUL in it");
        }
        return EMS_OK;
    case EMS_JSON_OBJECT:
        return EMS_OK;
    case EMS_JSON_OBJECT_END:
        return end_entry(m, err);
    default:
        complain(m, "it is no object");
        return e->type == EMS_JSON_ARRAY ? EMS_OK : end_entry(m, err);
    }
}

/* Where in the document an event stands follows from its depth alone, as long as depth 1 remembers
 * whether it is in the media. */
static int take_event(void *context, const struct ems_json_event *e, struct ems_error *err)
{
    struct ems_media_manifest *m = context;

    if (e->depth == 0 && e->type != EMS_JSON_OBJECT && e->type != EMS_JSON_OBJECT_END)
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "it is no object");
    if (e->depth == 1)
        return e->type == EMS_JSON_KEY ? root_key(m, e, err) : root_value(m, e, err);
    if (e->depth == 2 && m->in_media)
        return media_value(m, e, err);
    if (e->depth == 3 && m->in_media && e->type == EMS_JSON_KEY)
        entry_key(m, e);
    else if (e->depth == 3 && m->in_media && m->field < FIELDS && e->type != EMS_JSON_OBJECT_END &&
             e->type != EMS_JSON_ARRAY_END)
        take_field(m, e);
    return EMS_OK;
}

struct ems_media_manifest *ems_media_manifest_new(ems_media_entry_fn *fn, void *context,
                                                  struct ems_error *err)
{
    struct ems_media_manifest *m = calloc(1, sizeof *m);

    if (m == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    m->fn = fn;
    m->context = context;
    m->facts.created_ms = EMS_NOWHERE;
    ems_json_init(&m->json, EMS_MEDIA_BAD_MANIFEST, take_event, m);
    return m;
}

int ems_media_manifest_feed(struct ems_media_manifest *m, const void *data, size_t size,
                            struct ems_error *err)
{
    return ems_json_feed(&m->json, data, size, err);
}

/* What Go's reader demands (reader.go, TryGetManifestFrom), in its order. */
int ems_media_manifest_finish(struct ems_media_manifest *m, struct ems_error *err)
{
    const struct text *entity = &m->entity_id;
    int rc = ems_json_finish(&m->json, err);

    if (rc != EMS_OK)
        return rc;
    if (!m->has_version || (m->facts.version != 1 && m->facts.version != 2))
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST,
                        m->has_version ? "it is of another version than 1 and 2"
                                       : "it does not say of which version it is");
    if (m->facts.version == 1 && entity->size == 0) /* the reader upgrades it so */
        entity = &m->user_id;
    memcpy(m->facts.entity, entity->data, entity->size + 1);
    if (entity->size == 0)
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST,
                        "it does not say which server it is of "
                        "(entity_id)");
    if (!m->has_media)
        return ems_fail(err, EMS_MEDIA_BAD_MANIFEST, "it has no list of media");
    return EMS_OK;
}

const struct ems_media_manifest_facts *ems_media_manifest_facts(const struct ems_media_manifest *m)
{
    return &m->facts;
}

void ems_media_manifest_free(struct ems_media_manifest *m)
{
    free(m);
}
