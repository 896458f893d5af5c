/*
 * synapse_observe.c - facts out of a dump as it streams; see synapse.h and synapse_state.h.
 *
 * The scanner has proven the text: statements have a known shape, rows their columns. So what is
 * read here again is read simply, and anything unexpected is passed over.
 */
#include "bytes.h"
#include "event_sample.h"
#include "media_rows.h"
#include "synapse_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROW     (64u * 1024u) /* of a row that comes in pieces */
#define MAX_WANTED  8u
#define MAX_COLUMNS 1600u /* the server's limit */
#define MAX_WATCHED 64u

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
    HIGHEST,
    MEDIA, /* and so on, in the order of media_rows.h */
    FIELDS = MEDIA + EMS_MEDIA_COLUMNS,
};

static const char media_table[] = "local_media_repository";

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
};

/* A column that is looked at. */
struct wanted {
    unsigned column;
    enum field field;
    uint8_t sequence, source; /* HIGHEST */
};

/* The columns of one table that are looked at, in their order. */
struct wanted_columns {
    struct wanted items[MAX_WANTED];
    unsigned count;
};

struct ems_synapse_row {
    struct ems_buf bytes;
    bool cut;    /* its end was left out */
    bool events; /* in the rows of event_json, which others look at */
    struct wanted_columns wanted;
    struct { /* as they were created: INSERT may name no columns */
        char name[64];
        struct wanted_columns wanted;
    } tables[MAX_WATCHED];
    size_t table_count;
};

struct value {
    const char *text;
    size_t size;
    bool null;
};

/* ---- which columns ---- */

static void want(struct wanted_columns *w, unsigned column, enum field field, size_t sequence,
                 size_t source)
{
    unsigned at = w->count;

    if (w->count == MAX_WANTED)
        return;
    while (at > 0 && w->items[at - 1].column > column) {
        w->items[at] = w->items[at - 1];
        at--;
    }
    w->items[at] = (struct wanted){column, field, (uint8_t)sequence, (uint8_t)source};
    w->count++;
}

static void choose(const char *table, const char *const *columns, size_t count,
                   struct wanted_columns *w)
{
    w->count = 0;
    for (unsigned c = 0; c < count; c++) {
        for (size_t i = 0; i < sizeof watches / sizeof watches[0]; i++)
            if (strcmp(table, watches[i].table) == 0 && strcmp(columns[c], watches[i].column) == 0)
                want(w, c, watches[i].field, 0, 0);
        for (int i = 0; strcmp(table, media_table) == 0 && i < EMS_MEDIA_COLUMNS; i++)
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

/* ---- rows ---- */

static int64_t number_of(const struct value *v)
{
    char text[24];

    if (v->null || v->size >= sizeof text)
        return 0;
    memcpy(text, v->text, v->size);
    text[v->size] = '\0';
    return strtoll(text, NULL, 10);
}

static bool is_true(const struct value *v)
{
    return !v->null && v->size > 0 && (v->text[0] == 't' || v->text[0] == '1');
}

/* What is behind the colon of "@alice:example.org", printable. */
static const char *server_of(const struct value *v, char *out, size_t size)
{
    const char *colon = v->null ? NULL : memchr(v->text, ':', v->size);

    out[0] = '\0';
    if (colon != NULL && v->text[0] == '@')
        ems_printable(colon + 1, v->size - (size_t)(colon + 1 - v->text), out, size);
    return out;
}

/* "@123:example.org" */
static int64_t localpart_of(const struct value *v)
{
    struct value digits = {.text = v->text + 1};

    if (v->null || v->size < 3 || v->text[0] != '@')
        return 0;
    while (digits.size + 1 < v->size && digits.text[digits.size] >= '0' &&
           digits.text[digits.size] <= '9')
        digits.size++;
    if (digits.size + 1 >= v->size || digits.text[digits.size] != ':' || digits.size > 18)
        return 0;
    return number_of(&digits);
}

static void see_highest(struct ems_synapse *s, const struct wanted *w, const struct value *v)
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
static uint64_t hash_of(const struct value *v)
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

static void see_id(struct ems_synapse *s, bool content, const struct value *v)
{
    s->state->ids[content].count++;
    s->state->ids[content].sum += hash_of(v);
}

/* The first of our own users says whose events are wanted; users itself comes too late. */
static void see_own(struct ems_synapse *s, const struct value *v)
{
    if (s->events->server[0] == '\0')
        server_of(v, s->events->server, sizeof s->events->server);
}

/* v: by field; those that the table lacks are null. */
static void see_user(struct ems_synapse *s, const struct value *v)
{
    char server[256];

    server_of(&v[USER_NAME], server, sizeof server);
    ems_synapse_see_users(s, server, 1);
    if (is_true(&v[USER_GUEST]) || is_true(&v[USER_DEACTIVATED]) || !v[USER_APPSERVICE].null)
        return;
    s->state->people++;
    s->state->passwordless += v[USER_PASSWORD].null || v[USER_PASSWORD].size == 0;
}

static int see_media(struct ems_synapse *s, const struct value *v, struct ems_error *err)
{
    struct ems_media_value values[EMS_MEDIA_COLUMNS];

    if (ems_synapse_media(s) == NULL)
        return ems_fail_memory(err);
    for (size_t i = 0; i < EMS_MEDIA_COLUMNS; i++)
        values[i] =
            (struct ems_media_value){v[MEDIA + i].text, v[MEDIA + i].size, v[MEDIA + i].null};
    return ems_media_rows_add(s->media, values, err);
}

/* One row: its values in the order of `wanted`. */
static int see_values(struct ems_synapse *s, const struct wanted_columns *wanted,
                      const struct value *values, struct ems_error *err)
{
    struct value by_field[FIELDS];
    char name[64];
    bool seen[FIELDS] = {false};

    for (size_t i = 0; i < FIELDS; i++)
        by_field[i] = (struct value){.null = true};
    for (unsigned i = 0; i < wanted->count; i++) {
        by_field[wanted->items[i].field] = values[i];
        seen[wanted->items[i].field] = true;
        if (wanted->items[i].field == HIGHEST)
            see_highest(s, &wanted->items[i], &values[i]);
    }
    if (seen[EVENT] || seen[CONTENT]) {
        see_id(s, seen[CONTENT], &by_field[seen[CONTENT] ? CONTENT : EVENT]);
        return EMS_OK;
    }
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

/* A row of COPY data, without its line feed; `cut`: only the beginning of it. */
static int see_row(struct ems_synapse *s, const char *row, size_t size, bool cut,
                   struct ems_error *err)
{
    const struct wanted_columns *wanted = &s->row->wanted;
    struct value values[MAX_WANTED];
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
    return see_values(s, wanted, values, err);
}

/* Rows come cut anywhere: put them together, long ones as far as MAX_ROW. */
static int see_data(struct ems_synapse *s, const uint8_t *data, size_t size, struct ems_error *err)
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

/* ---- statements ---- */

/* "a, b, "c"" up to the closing parenthesis; each item's first word, unquoted, into `names`, whose
 * bytes are in `room`. Items that are no plain name (an expression) give "". With `definitions` the
 * items are those of CREATE TABLE: words behind the name are left out, constraints too. */
static size_t split_names(const char *at, bool definitions, char *room, const char **names,
                          size_t max)
{
    size_t count = 0;

    while (*at != '\0' && *at != ')' && count < max) {
        bool quoted, plain = true;
        unsigned depth = 0;
        char *name = room;

        at += strspn(at, " \n\t");
        quoted = *at == '"';
        at += quoted;
        while (*at != '\0' && (quoted ? *at != '"' || at[1] == '"' : !strchr(" \n\t,()", *at))) {
            at += quoted && *at == '"';
            *room++ = *at++;
        }
        at += quoted && *at == '"';
        *room++ = '\0';
        for (bool text = false; *at != '\0'; at++) { /* to the end of the item */
            text ^= *at == '\'';
            if (!text && depth == 0 && (*at == ',' || *at == ')'))
                break;
            plain &= *at != '(';
            depth += !text && *at == '(';
            depth -= !text && *at == ')';
        }
        at += *at == ',';
        if (definitions && !quoted && strcmp(name, "CONSTRAINT") == 0)
            continue;
        if (!definitions && !plain)
            *name = '\0';
        names[count++] = name;
    }
    return count;
}

static const char *behind(const char *text, const char *word)
{
    const char *found = strstr(text, word);

    return found != NULL ? found + strlen(word) : NULL;
}

static int on_create_table(struct ems_synapse *s, const char *table, const char *const *columns,
                           size_t count, struct ems_error *err)
{
    struct ems_synapse_row *row = s->row;
    struct wanted_columns wanted;

    if (strcmp(table, media_table) == 0 && ems_synapse_media(s) == NULL)
        return ems_fail_memory(err);
    choose(table, columns, count, &wanted);
    if (wanted.count > 0 && row->table_count < MAX_WATCHED && strlen(table) < 64) {
        strcpy(row->tables[row->table_count].name, table);
        row->tables[row->table_count++].wanted = wanted;
    }
    return ems_synapse_see_table(s, table, columns, count, err);
}

/*
 * "INSERT INTO public.users [(name, ...)] VALUES ('@alice:example.org', ...), (...)": constants
 * only, as the scanner has seen to. Strings are taken without undoing their quotes: nothing that is
 * wanted has any.
 */
static int on_insert(struct ems_synapse *s, const struct wanted_columns *wanted, const char *at,
                     struct ems_error *err)
{
    struct value values[MAX_WANTED];
    int rc = EMS_OK;

    at += strspn(at, " \n\t");
    while (*at == '(' && rc == EMS_OK) {
        unsigned found = 0;

        for (unsigned column = 0; *at == '(' || *at == ','; column++) {
            struct value v;
            bool escapes;

            at += 1 + strspn(at + 1, " \n\t");
            escapes = *at == 'E';
            at += escapes;
            if (*at == '\'') {
                v.text = ++at;
                while (*at != '\0' && (*at != '\'' || at[1] == '\''))
                    at += (*at == '\'' || (escapes && *at == '\\')) && at[1] != '\0' ? 2 : 1;
                v = (struct value){.text = v.text, .size = (size_t)(at - v.text)};
                at += strcspn(at, ",)");
            } else {
                v = (struct value){.text = at, .size = strcspn(at, ",) \n\t")};
                v.null = v.size == 4 && strncmp(at, "NULL", 4) == 0;
                at += strcspn(at, ",)");
            }
            for (; found < wanted->count && wanted->items[found].column == column; found++)
                values[found] = v;
        }
        if (found == wanted->count)
            rc = see_values(s, wanted, values, err);
        at += *at == ')';
        at += strspn(at, ", \n\t");
    }
    return rc;
}

/* SELECT pg_catalog.setval('public.x', 5, true): what a sequence that was not called yet gives next
 * is 5, else it gave 5 last. */
static void on_setval(struct ems_synapse *s, const char *text)
{
    const char *name = behind(text, "'"), *end = name != NULL ? strchr(name, '\'') : NULL, *comma;
    const char *dot = end != NULL ? memchr(name, '.', (size_t)(end - name)) : NULL;
    char *rest, shown[64];
    int64_t value;

    if (end == NULL)
        return;
    name = dot != NULL ? dot + 1 : name;
    ems_printable(name, (size_t)(end - name), shown, sizeof shown);
    comma = strchr(end, ',');
    if (comma == NULL)
        return;
    value = strtoll(comma + 1, &rest, 10);
    if (strcasestr(rest, "false") != NULL)
        value--;
    ems_synapse_see_sequence(s->state, shown, value);
}

/* Of pg_dump -C: CREATE DATABASE synapse WITH TEMPLATE = template0 ENCODING = 'UTF8' ... LOCALE =
 * 'en_US.UTF-8', or LC_COLLATE and LC_CTYPE. Otherwise a dump says nothing about it. */
static void on_create_database(struct ems_synapse *s, const char *text)
{
    static const char *const words[] = {"ENCODING = '", " LOCALE = '", "LC_COLLATE = '",
                                        "LC_CTYPE = '"};
    struct ems_synapse_state *state = s->state;
    size_t used = 0;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *value = behind(text, words[i]);
        size_t size = value != NULL ? strcspn(value, "'") : 0;
        char shown[40];

        if (size == 0)
            continue;
        ems_printable(value, size, shown, sizeof shown);
        if (i == 0)
            state->bad_encoding |= strcmp(shown, "UTF8") != 0;
        else
            state->bad_locale |= strcmp(shown, "C") != 0;
        used += (size_t)snprintf(state->database + used, sizeof state->database - used, "%s%s",
                                 used > 0 ? ", " : "", shown);
        if (used >= sizeof state->database)
            break;
    }
}

/* Names are split in place of their text, so room for that and as many pointers is enough. */
static int with_names(struct ems_synapse *s, const struct ems_sql_statement *statement,
                      const char *table, struct ems_error *err)
{
    const char *text = statement->text, *open, **names;
    size_t count;
    char *room;
    int rc = EMS_OK;

    if (statement->shape == EMS_SQL_CREATE_INDEX)
        open = behind(text, " USING ");
    else
        open = statement->shape == EMS_SQL_CREATE_TABLE ? text : behind(text, " ADD CONSTRAINT ");
    open = open != NULL ? strchr(open, '(') : NULL;
    if (open == NULL)
        return EMS_OK;
    room = malloc(statement->size + 1);
    names = calloc(MAX_COLUMNS, sizeof *names);
    if (room == NULL || names == NULL) {
        rc = ems_fail_memory(err);
    } else {
        count = split_names(open + 1, statement->shape == EMS_SQL_CREATE_TABLE, room, names,
                            MAX_COLUMNS);
        if (statement->shape == EMS_SQL_CREATE_TABLE)
            rc = on_create_table(s, table, names, count, err);
        else
            ems_synapse_see_unique(s->state, table, names, count, strstr(open, " WHERE ") != NULL);
    }
    free(names);
    free(room);
    return rc;
}

static int insert(struct ems_synapse *s, const struct ems_sql_statement *statement,
                  const char *table, struct ems_error *err)
{
    const char *values = behind(statement->text, " VALUES"), *open = strchr(statement->text, '(');
    struct wanted_columns wanted = {.count = 0};
    const char *names[256];
    char room[4096];

    for (size_t i = 0; i < s->row->table_count; i++)
        if (strcmp(s->row->tables[i].name, table) == 0)
            wanted = s->row->tables[i].wanted;
    if (wanted.count == 0 || values == NULL)
        return EMS_OK;
    if (open != NULL && open < values && (size_t)(values - open) < sizeof room)
        choose(table, names, split_names(open + 1, false, room, names, 256), &wanted);
    return on_insert(s, &wanted, values, err);
}

static int on_statement(struct ems_synapse *s, const struct ems_sql_statement *statement,
                        struct ems_error *err)
{
    const char *dot = statement->table != NULL ? strchr(statement->table, '.') : NULL;
    const char *table = dot != NULL ? dot + 1 : statement->table;

    if (statement->shape == EMS_SQL_SETVAL)
        on_setval(s, statement->text);
    if (strncmp(statement->text, "CREATE DATABASE ", 16) == 0)
        on_create_database(s, statement->text);
    if (table == NULL)
        return EMS_OK;
    switch (statement->shape) {
    case EMS_SQL_CREATE_TABLE:
    case EMS_SQL_ADD_KEY:
        return with_names(s, statement, table, err);
    case EMS_SQL_CREATE_INDEX:
        return strncmp(statement->text, "CREATE UNIQUE ", 14) == 0
                   ? with_names(s, statement, table, err)
                   : EMS_OK;
    case EMS_SQL_COPY:
        choose(table, statement->column_names, statement->columns, &s->row->wanted);
        if (s->row->wanted.count == 1 && s->row->wanted.items[0].field == OWN &&
            s->events->server[0] != '\0')
            s->row->wanted.count = 0;
        for (unsigned c = 0; c < statement->columns && strcmp(table, "event_json") == 0; c++) {
            if (strcmp(statement->column_names[c], "json") == 0) {
                s->row->events = true;
                ems_event_samples_begin(s->events, c);
            }
        }
        return EMS_OK;
    case EMS_SQL_INSERT:
        return insert(s, statement, table, err);
    case EMS_SQL_ADD_CHECK:
    case EMS_SQL_ADD_FOREIGN_KEY:
        if (statement->size > 10 &&
            strcmp(statement->text + statement->size - 10, " NOT VALID") == 0)
            return ems_synapse_see_unvalidated(s->state, table, statement->name, err);
        return EMS_OK;
    default:
        return EMS_OK;
    }
}

int ems_synapse_observe(struct ems_synapse *s, const struct ems_sql_event *event,
                        struct ems_error *err)
{
    if (s->row == NULL)
        s->row = calloc(1, sizeof *s->row);
    if (s->events == NULL)
        s->events = calloc(1, sizeof *s->events);
    if (s->row == NULL || s->events == NULL || ems_synapse_state(s) == NULL)
        return ems_fail_memory(err);
    switch (event->kind) {
    case EMS_SQL_STATEMENT:
        return on_statement(s, event->statement, err);
    case EMS_SQL_ROWS:
        if (s->row->events &&
            ems_event_samples_rows(s->events, event->data.data, event->data.size, err) != EMS_OK)
            return err->code;
        if (s->row->wanted.count > 0)
            return see_data(s, event->data.data, event->data.size, err);
        return EMS_OK;
    case EMS_SQL_COPY_END: {
        bool events = s->row->events;

        s->row->events = false;
        s->row->wanted.count = 0;
        s->row->bytes.size = 0;
        s->row->cut = false;
        return events ? ems_event_samples_end(s->events, err) : EMS_OK;
    }
    }
    return EMS_OK;
}

void ems_synapse_row_free(struct ems_synapse_row *row)
{
    if (row != NULL)
        ems_buf_release(&row->bytes);
    free(row);
}
