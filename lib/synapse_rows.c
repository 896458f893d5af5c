/*
 * synapse_rows.c - see synapse_rows.h
 *
 * Most rows that pass here are of events and event_json, millions of them, so a row costs its line
 * feed, the tabs as far as the last column that is wanted, and a hash; nothing is copied unless the
 * row comes in pieces.
 */
#include "synapse_rows.h"

#include "event_sample.h"
#include "media_rows.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ROW (64u * 1024u) /* of a row that comes in pieces */

enum field {
    USER_NAME,
    USER_PASSWORD,
    USER_GUEST,
    USER_DEACTIVATED,
    USER_APPSERVICE,
    VERSION,
    COMPAT,
    UPDATE,
    DELTA,
    POSITION_STREAM,
    POSITION,
    EVENT,   /* ids of events */
    CONTENT, /* and of event_json */
    OWN,     /* a user of this server, in tables that come before its events */
    ROOM,
    ROOM_VERSION,
    EVENT_TEXT,
    HIGHEST,
    MEDIA, /* and so on, in the order of media_rows.h */
    FIELDS = MEDIA + EMS_MEDIA_COLUMNS,
};

static const struct {
    const char *table, *column;
    enum field field;
} watches[] = {
    {"users", "name", USER_NAME},
    {"users", "password_hash", USER_PASSWORD},
    {"users", "is_guest", USER_GUEST},
    {"users", "deactivated", USER_DEACTIVATED},
    {"users", "appservice_id", USER_APPSERVICE},
    {"schema_version", "version", VERSION},
    {"schema_compat_version", "compat_version", COMPAT},
    {"background_updates", "update_name", UPDATE},
    {"applied_schema_deltas", "file", DELTA},
    {"stream_positions", "stream_name", POSITION_STREAM},
    {"stream_positions", "stream_id", POSITION},
    {"events", "event_id", EVENT},
    {"event_json", "event_id", CONTENT},
    {"access_tokens", "user_id", OWN},
    {"account_data", "user_id", OWN},
    {"devices", "user_id", OWN},
    {"rooms", "room_id", ROOM},
    {"rooms", "room_version", ROOM_VERSION},
    {"event_json", "json", EVENT_TEXT},
};

/* ---- which columns ---- */

static void want(struct ems_synapse_columns *w, unsigned column, enum field field, size_t sequence,
                 size_t source)
{
    unsigned at = w->count;

    if (w->count == EMS_SYNAPSE_WANTED)
        return;
    while (at > 0 && w->items[at - 1].column > column) {
        w->items[at] = w->items[at - 1];
        at--;
    }
    w->items[at] = (struct ems_synapse_column){column, field, (uint8_t)sequence, (uint8_t)source};
    w->count++;
}

/* Once a table. A column may be wanted twice: users.name as a name and as a number. */
void ems_synapse_columns_choose(const char *table, const char *const *columns, size_t count,
                                struct ems_synapse_columns *w)
{
    w->count = 0;
    for (unsigned c = 0; c < count; c++) {
        for (size_t i = 0; i < sizeof watches / sizeof watches[0]; i++)
            if (strcmp(table, watches[i].table) == 0 && strcmp(columns[c], watches[i].column) == 0)
                want(w, c, watches[i].field, 0, 0);
        for (int i = 0; strcmp(table, EMS_SYNAPSE_MEDIA_TABLE) == 0 && i < EMS_MEDIA_COLUMNS; i++)
            if (strcmp(columns[c], ems_media_column_name((enum ems_media_column)i)) == 0)
                want(w, c, (enum field)(MEDIA + i), 0, 0);
        for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++)
            for (size_t k = 0; k < EMS_SYNAPSE_SOURCES; k++)
                if (ems_synapse_sequences[i].sources[k].table != NULL &&
                    strcmp(table, ems_synapse_sequences[i].sources[k].table) == 0 &&
                    strcmp(columns[c], ems_synapse_sequences[i].sources[k].column) == 0)
                    want(w, c, HIGHEST, i, k);
    }
}

void ems_synapse_columns_drop_texts(struct ems_synapse_columns *w)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < w->count; i++)
        if (w->items[i].field != EVENT_TEXT)
            w->items[kept++] = w->items[i];
    w->count = kept;
}

bool ems_synapse_columns_own(const struct ems_synapse_columns *w)
{
    return w->count == 1 && w->items[0].field == OWN;
}

/* ---- rows ---- */

/* Columns that are wanted as numbers hold plain ones; anything else is 0 or what leads it. */
static int64_t number_of(const struct ems_synapse_value *v)
{
    char text[24];

    if (v->null || v->size >= sizeof text)
        return 0;
    memcpy(text, v->text, v->size);
    text[v->size] = '\0';
    return strtoll(text, NULL, 10);
}

/* boolean is t or f, smallint 1 or 0; INSERT writes true and false. */
static bool is_true(const struct ems_synapse_value *v)
{
    return !v->null && v->size > 0 && (v->text[0] == 't' || v->text[0] == '1');
}

/* What is behind the colon of "@alice:example.org", printable. */
static const char *server_of(const struct ems_synapse_value *v, char *out, size_t size)
{
    const char *colon = v->null ? NULL : memchr(v->text, ':', v->size);

    out[0] = '\0';
    if (colon != NULL && v->text[0] == '@')
        ems_printable(colon + 1, v->size - (size_t)(colon + 1 - v->text), out, size);
    return out;
}

/* "@123:example.org" */
static int64_t localpart_of(const struct ems_synapse_value *v)
{
    struct ems_synapse_value digits = {.text = v->text + 1};

    if (v->null || v->size < 3 || v->text[0] != '@')
        return 0;
    while (digits.size + 1 < v->size && digits.text[digits.size] >= '0' &&
           digits.text[digits.size] <= '9')
        digits.size++;
    if (digits.size + 1 >= v->size || digits.text[digits.size] != ':' || digits.size > 18)
        return 0;
    return number_of(&digits);
}

static void see_highest(struct ems_synapse *s, const struct ems_synapse_column *w,
                        const struct ems_synapse_value *v)
{
    int64_t number = ems_synapse_sequences[w->sequence].sort == EMS_SEQUENCE_LOCALPART
                         ? localpart_of(v)
                         : number_of(v);

    if (ems_synapse_sequences[w->sequence].sort == EMS_SEQUENCE_DOWN)
        number = -number;
    ems_synapse_see_highest(s->state, w->sequence, w->source, number);
}

/* Eight bytes at a time, each mixed into all that follow: a collision among a few million ids is as
 * good as impossible, and nobody gains anything by making one. */
static uint64_t hash_of(const struct ems_synapse_value *v)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u; /* 2^64 divided by the golden ratio */
    uint64_t h = v->size, word;

    for (size_t at = 0; at < v->size; at += sizeof word) {
        word = 0;
        memcpy(&word, v->text + at, v->size - at < sizeof word ? v->size - at : sizeof word);
        h = (h ^ word) * odd;
        h ^= h >> 32;
    }
    return h * odd;
}

static void see_id(struct ems_synapse *s, bool content, const struct ems_synapse_value *v)
{
    s->state->ids[content].count++;
    s->state->ids[content].sum += hash_of(v);
}

/* The first of our own users says whose events are wanted; users itself comes too late. */
static void see_own(struct ems_synapse *s, const struct ems_synapse_value *v)
{
    if (s->events->server[0] == '\0')
        server_of(v, s->events->server, sizeof s->events->server);
}

/* v: by field; those that the table lacks are null. */
static void see_user(struct ems_synapse *s, const struct ems_synapse_value *v)
{
    char server[256];

    server_of(&v[USER_NAME], server, sizeof server);
    ems_synapse_see_users(s, server, 1);
    if (is_true(&v[USER_GUEST]) || is_true(&v[USER_DEACTIVATED]) || !v[USER_APPSERVICE].null)
        return;
    s->state->people++;
    s->state->passwordless += v[USER_PASSWORD].null || v[USER_PASSWORD].size == 0;
}

static int see_media(struct ems_synapse *s, const struct ems_synapse_value *v,
                     struct ems_error *err)
{
    struct ems_media_value values[EMS_MEDIA_COLUMNS];

    if (ems_synapse_media(s) == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < EMS_MEDIA_COLUMNS; i++)
        values[i] =
            (struct ems_media_value){v[MEDIA + i].text, v[MEDIA + i].size, v[MEDIA + i].null};
    return ems_media_rows_add(s->media, values, err);
}

static int see_event(struct ems_synapse *s, const struct ems_synapse_value *json,
                     struct ems_error *err)
{
    if (json->null)
        return EMS_OK;
    return ems_event_samples_add(s->events, json->text, json->size,
                                 json->escapes ? EMS_EVENT_ESTRING : EMS_EVENT_STRING, err);
}

/* One row: its values in the order of `wanted`. */
int ems_synapse_see_values(struct ems_synapse *s, const struct ems_synapse_columns *wanted,
                           const struct ems_synapse_value *values, struct ems_error *err)
{
    struct ems_synapse_value by_field[FIELDS];
    char name[64];
    bool seen[FIELDS] = {false};

    for (size_t i = 0; i < FIELDS; i++)
        by_field[i] = (struct ems_synapse_value){.null = true};
    for (unsigned i = 0; i < wanted->count; i++) {
        by_field[wanted->items[i].field] = values[i];
        seen[wanted->items[i].field] = true;
        if (wanted->items[i].field == HIGHEST)
            see_highest(s, &wanted->items[i], &values[i]);
    }
    if (seen[EVENT] || seen[CONTENT]) {
        see_id(s, seen[CONTENT], &by_field[seen[CONTENT] ? CONTENT : EVENT]);
        return seen[EVENT_TEXT] ? see_event(s, &by_field[EVENT_TEXT], err) : EMS_OK;
    }
    if (seen[ROOM] && seen[ROOM_VERSION] && !by_field[ROOM_VERSION].null)
        ems_event_samples_room(s->events, by_field[ROOM].text, by_field[ROOM].size,
                               by_field[ROOM_VERSION].text, by_field[ROOM_VERSION].size);
    if (seen[USER_NAME])
        see_user(s, by_field);
    if (seen[VERSION])
        s->schema_version = (uint32_t)number_of(&by_field[VERSION]);
    if (seen[COMPAT])
        s->compat_version = (uint32_t)number_of(&by_field[COMPAT]);
    if (seen[DELTA] && !by_field[DELTA].null)
        ems_synapse_see_delta(s->state, by_field[DELTA].text, by_field[DELTA].size);
    if (seen[OWN])
        see_own(s, &by_field[OWN]);
    if (seen[POSITION] && seen[POSITION_STREAM] && !by_field[POSITION_STREAM].null) {
        ems_printable(by_field[POSITION_STREAM].text, by_field[POSITION_STREAM].size, name,
                      sizeof name);
        ems_synapse_see_position(s->state, name, number_of(&by_field[POSITION]));
    }
    if (seen[MEDIA])
        return see_media(s, by_field, err);
    if (seen[UPDATE] && !by_field[UPDATE].null)
        return ems_synapse_see_update(s, by_field[UPDATE].text, by_field[UPDATE].size, err);
    return EMS_OK;
}

/* A row of COPY data, without its line feed; `cut`: only the beginning of it. Columns are separated
 * by tabs, which are never data ("\t" is two bytes in them), and NULL is \N (PostgreSQL, COPY). */
static int see_row(struct ems_synapse *s, const char *row, size_t size, bool cut,
                   struct ems_error *err)
{
    const struct ems_synapse_columns *wanted = &s->row->wanted;
    struct ems_synapse_value values[EMS_SYNAPSE_WANTED];
    const char *at = row, *end = row + size, *tab;
    unsigned column = 0;

    if (size > 0 && end[-1] == '\r')
        end--;
    for (unsigned i = 0; i < wanted->count; i++) {
        for (; column < wanted->items[i].column; column++) {
            tab = memchr(at, '\t', (size_t)(end - at));
            if (tab == NULL)
                return EMS_OK;
            at = tab + 1;
        }
        tab = memchr(at, '\t', (size_t)(end - at));
        if (tab == NULL && cut)
            return EMS_OK;
        values[i].text = at;
        values[i].size = (size_t)((tab != NULL ? tab : end) - at);
        values[i].null = values[i].size == 2 && at[0] == '\\' && at[1] == 'N';
    }
    return ems_synapse_see_values(s, wanted, values, err);
}

/* Rows come cut anywhere: put them together, long ones as far as MAX_ROW. */
int ems_synapse_see_data(struct ems_synapse *s, const uint8_t *data, size_t size,
                         struct ems_error *err)
{
    struct ems_buf *row = &s->row->bytes;
    int rc = EMS_OK;

    while (size > 0 && rc == EMS_OK) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end != NULL ? (size_t)(end - data) : size;

        if (end != NULL && row->size == 0) {
            rc = see_row(s, (const char *)data, n, false, err);
        } else {
            size_t room = MAX_ROW - row->size;

            s->row->cut |= n > room;
            rc = ems_buf_append(row, data, n < room ? n : room, err);
            if (rc == EMS_OK && end != NULL)
                rc = see_row(s, (const char *)row->data, row->size, s->row->cut, err);
            if (end != NULL) {
                row->size = 0;
                s->row->cut = false;
            }
        }
        n += end != NULL;
        data += n;
        size -= n;
    }
    return rc;
}

void ems_synapse_row_free(struct ems_synapse_row *row)
{
    if (row != NULL)
        ems_buf_release(&row->bytes);
    free(row);
}
