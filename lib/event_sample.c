/* event_sample.c - picking rows; what they say is read in event_signature.c; see event_sample.h */
#include "event_sample.h"

#include <stdlib.h>
#include <string.h>

/*
 * event_json is mostly the largest table of a homeserver, and searching each row for
 * our own signature would cost as much as scanning it. Synapse writes events in the order of their
 * arrival, but pg_dump's order is that of the table's pages, which updates and a port
 * from SQLite may have changed: so a few rows are looked at everywhere, and the ends more closely.
 */
#define DENSE  (1024u * 1024u) /* bytes at the start of which every row is looked at */
#define STRIDE (32u * 1024u)   /* then one row in so many bytes */
#define TAIL   (16u * 1024u)   /* and all that is whole in the last bytes */

/* The digits behind the first "origin_server_ts": of the row, 0 if there are none. Content may hold
 * such a key too, so this is a guess that only ranks samples. */
static uint64_t guess_time(const char *json, size_t size)
{
    static const char key[] = "\"origin_server_ts\":";
    const char *found = memmem(json, size, key, sizeof key - 1);
    uint64_t ts = 0;

    if (found == NULL)
        return 0;
    found += sizeof key - 1;
    for (unsigned i = 0; i < 15 && found < json + size; i++, found++) {
        if (*found < '0' || *found > '9')
            break;
        ts = 10 * ts + (uint64_t)(*found - '0');
    }
    return ts;
}

/*
 * Does "sender":"@...:SERVER" occur? Cheap and on the raw text; what passes is parsed later, by
 * which the few mistakes are sorted out.
 */
static bool seems_own(const struct ems_event_samples *s, const char *json, size_t size)
{
    static const char key[] = "\"sender\":\"@";
    const char *end = json + size, *at = memmem(json, size, key, sizeof key - 1);
    size_t n = strlen(s->server);

    if (at == NULL)
        return false;
    at += sizeof key - 1;
    while (at < end && *at != ':' && *at != '"')
        at++;
    return (size_t)(end - at) > n + 1 && *at == ':' && memcmp(at + 1, s->server, n) == 0 &&
           at[n + 1] == '"';
}

/* Messages as people send them; redaction leaves nothing of them, whatever the room's version. */
static bool seems_message(const char *json, size_t size)
{
    static const char *const types[] = {"\"type\":\"m.room.message\"",
                                        "\"type\":\"m.room.encrypted\""};

    return memmem(json, size, types[0], strlen(types[0])) != NULL ||
           memmem(json, size, types[1], strlen(types[1])) != NULL;
}

/*
 * The text as the database has it; NULL when out of memory. The scanner has checked the escapes.
 * COPY escapes with backslashes (PostgreSQL manual, COPY, text format), INSERT doubles quotes and,
 * in E'' strings, uses backslashes too. Octal and hex escapes pg_dump does not write.
 */
static char *unescape(const char *text, size_t size, enum ems_event_text form, size_t *out_size)
{
    static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
    bool backslashes = form == EMS_EVENT_COPY || form == EMS_EVENT_ESTRING;
    char *out = malloc(size + 1);
    size_t n = 0;

    for (size_t i = 0; out != NULL && i < size; i++) {
        const char *found = NULL;

        if (form != EMS_EVENT_PLAIN && form != EMS_EVENT_COPY && text[i] == '\'' && i + 1 < size)
            i++;
        else if (backslashes && text[i] == '\\' && i + 1 < size)
            found = strchr(from, text[++i]);
        out[n++] = found != NULL && *found != '\0' ? to[found - from] : text[i];
    }
    *out_size = n;
    return out;
}

/* Insert by time, newest first; the oldest falls out. */
static int keep(struct ems_event_list *list, uint64_t ts, const char *json, size_t size,
                enum ems_event_text form, struct ems_error *err)
{
    size_t at = list->count;
    char *copy;

    while (at > 0 && list->items[at - 1].ts < ts)
        at--;
    if (at == EMS_EVENT_SAMPLES)
        return EMS_OK;
    copy = unescape(json, size, form, &size);
    if (copy == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < list->count; i++) { /* the tail is looked at again */
        if (list->items[i].ts == ts && list->items[i].size == size &&
            memcmp(list->items[i].json, copy, size) == 0) {
            free(copy);
            return EMS_OK;
        }
    }
    if (list->count == EMS_EVENT_SAMPLES)
        free(list->items[--list->count].json);
    memmove(&list->items[at + 1], &list->items[at], (list->count - at) * sizeof list->items[0]);
    list->items[at] = (struct ems_event_sample){.ts = ts, .json = copy, .size = size};
    list->count++;
    return EMS_OK;
}

static bool is_too_old(const struct ems_event_list *list, uint64_t ts)
{
    return list->count == EMS_EVENT_SAMPLES && ts < list->items[list->count - 1].ts;
}

int ems_event_samples_add(struct ems_event_samples *s, const char *json, size_t size,
                          enum ems_event_text form, struct ems_error *err)
{
    uint64_t ts = guess_time(json, size);

    if (s->server[0] == '\0' || size > EMS_EVENT_SAMPLE_MAX || ts == 0 ||
        (is_too_old(&s->messages, ts) && is_too_old(&s->others, ts)) || !seems_own(s, json, size))
        return EMS_OK;
    return keep(seems_message(json, size) ? &s->messages : &s->others, ts, json, size, form, err);
}

/* May it be of this room? JSON writes what is not ASCII in several ways: then it may. */
static bool names_room(const struct ems_event_sample *sample, const char *room, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)room[i] >= 0x80)
            return true;
    return memmem(sample->json, sample->size, room, size) != NULL;
}

static void note_room(struct ems_event_list *list, const char *room, size_t room_size,
                      const char *version, size_t size)
{
    for (size_t i = 0; i < list->count; i++) {
        struct ems_event_sample *sample = &list->items[i];

        if (size < sizeof sample->room_version && names_room(sample, room, room_size) &&
            ems_event_sample_is_in_room(sample, room, room_size)) {
            memcpy(sample->room_version, version, size);
            sample->room_version[size] = '\0';
        }
    }
}

void ems_event_samples_room(struct ems_event_samples *s, const char *room, size_t room_size,
                            const char *version, size_t size)
{
    note_room(&s->messages, room, room_size, version, size);
    note_room(&s->others, room, room_size, version, size);
}

/* A whole row, without its line end. */
static int see_row(struct ems_event_samples *s, const char *row, size_t size, struct ems_error *err)
{
    const char *value = row, *tab;
    size_t length;

    for (unsigned c = 0; c < s->column; c++) {
        tab = memchr(value, '\t', size - (size_t)(value - row));
        if (tab == NULL)
            return EMS_OK;
        value = tab + 1;
    }
    length = size - (size_t)(value - row);
    tab = memchr(value, '\t', length);
    if (tab != NULL)
        length = (size_t)(tab - value);
    return ems_event_samples_add(s, value, length, EMS_EVENT_COPY, err);
}

void ems_event_samples_begin(struct ems_event_samples *s, unsigned column)
{
    s->column = column;
    s->position = s->next = 0;
    s->skipping = false;
    s->row.size = s->tail.size = 0;
}

/* The last TAIL bytes of all that has come. */
static int keep_tail(struct ems_event_samples *s, const uint8_t *data, size_t size,
                     struct ems_error *err)
{
    if (size >= TAIL) {
        s->tail.size = 0;
        data += size - TAIL;
        size = TAIL;
    } else if (s->tail.size + size > TAIL) {
        size_t surplus = s->tail.size + size - TAIL;

        memmove(s->tail.data, s->tail.data + surplus, s->tail.size - surplus);
        s->tail.size -= surplus;
    }
    return ems_buf_append(&s->tail, data, size, err);
}

/*
 * One row from the place to look at: the row that begins there, or, between rows, the first one
 * that begins behind it. A row that the span cuts is put together in s->row.
 */
int ems_event_samples_rows(struct ems_event_samples *s, const uint8_t *data, size_t size,
                           struct ems_error *err)
{
    uint64_t start = s->position;
    size_t at = 0;
    int rc;

    if (s->server[0] == '\0')
        return EMS_OK;
    s->position += size;
    rc = keep_tail(s, data, size, err);
    while (rc == EMS_OK && (s->row.size > 0 || s->next < s->position)) {
        const uint8_t *from, *end;

        if (s->row.size == 0 && s->next > start + at)
            at = (size_t)(s->next - start);
        from = data + at;
        end = memchr(from, '\n', size - at);
        if (s->skipping) { /* in the middle of a row: the next one it is */
            s->skipping = end == NULL;
            s->next = end != NULL ? start + (uint64_t)(end - data) + 1 : s->position;
            at = (size_t)(s->next - start);
            continue;
        }
        if (s->row.size > 0 || end == NULL) {
            size_t n = end != NULL ? (size_t)(end - from) : size - at;

            if (s->row.size + n <= EMS_EVENT_SAMPLE_MAX) {
                rc = ems_buf_append(&s->row, from, n, err);
            } else { /* too long to be of use */
                s->row.size = 0;
                s->skipping = end == NULL;
            }
            if (end == NULL) {
                s->next = s->position;
                break;
            }
            if (rc == EMS_OK && s->row.size > 0)
                rc = see_row(s, (const char *)s->row.data, s->row.size, err);
            s->row.size = 0;
        } else {
            rc = see_row(s, (const char *)from, (size_t)(end - from), err);
        }
        at = (size_t)(end - data) + 1;
        s->next = start + at;
        if (s->next > DENSE) {
            s->next += STRIDE;
            s->skipping = true;
        }
    }
    return rc;
}

int ems_event_samples_end(struct ems_event_samples *s, struct ems_error *err)
{
    const char *at = (const char *)s->tail.data, *end = at + s->tail.size, *line;
    int rc = EMS_OK;

    /* What begins before the tail is cut: behind its line end all rows are whole. */
    if (s->position > DENSE && s->tail.size > 0) {
        at = memchr(at, '\n', s->tail.size);
        for (at = at != NULL ? at + 1 : end; rc == EMS_OK && at < end; at = line + 1) {
            line = memchr(at, '\n', (size_t)(end - at));
            if (line == NULL)
                break;
            rc = see_row(s, at, (size_t)(line - at), err);
        }
    }
    ems_buf_release(&s->tail);
    ems_buf_release(&s->row);
    return rc;
}

static void release_list(struct ems_event_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].json);
}

void ems_event_samples_release(struct ems_event_samples *s)
{
    release_list(&s->messages);
    release_list(&s->others);
    ems_buf_release(&s->tail);
    ems_buf_release(&s->row);
    *s = (struct ems_event_samples){0};
}
