/* synapse.c - see synapse.h */
#include "synapse.h"

#include "bytes.h"
#include "event_sample.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ROW                                                                                    \
    (64u * 1024u) /* rows of the tables watched here are short; longer ones are skipped */

enum {
    WATCH_NONE,
    WATCH_USERS,
    WATCH_VERSION,
    WATCH_COMPAT,
    WATCH_UPDATES,
    WATCH_OWN, /* users of this server, in tables that come before its events */
    WATCH_EVENTS,
};

static const struct {
    const char *table, *column;
    int watch;
} watches[] = {
    {"public.users", "name", WATCH_USERS},
    {"public.schema_version", "version", WATCH_VERSION},
    {"public.schema_compat_version", "compat_version", WATCH_COMPAT},
    {"public.background_updates", "update_name", WATCH_UPDATES},
    {"public.access_tokens", "user_id", WATCH_OWN},
    {"public.account_data", "user_id", WATCH_OWN},
    {"public.devices", "user_id", WATCH_OWN},
    {"public.event_json", "json", WATCH_EVENTS},
};

static void begin_table(struct ems_synapse *s, const struct ems_sql_statement *statement)
{
    s->watched = WATCH_NONE;
    for (size_t i = 0; i < sizeof watches / sizeof watches[0]; i++) {
        if (statement->table == NULL || strcmp(statement->table, watches[i].table) != 0)
            continue;
        for (unsigned c = 0; c < statement->columns; c++) {
            if (strcmp(statement->column_names[c], watches[i].column) == 0) {
                s->watched = watches[i].watch;
                s->column = c;
            }
        }
    }
    if (s->watched == WATCH_EVENTS)
        ems_event_samples_begin(s->events, s->column);
    if (s->watched == WATCH_OWN && s->events->server[0] != '\0')
        s->watched = WATCH_NONE;
}

/* The first of our own users says whose events are wanted; users itself comes too late. */
static void see_own(struct ems_synapse *s, const uint8_t *name, size_t size)
{
    const uint8_t *colon = memchr(name, ':', size);

    if (s->events->server[0] == '\0' && colon != NULL && name[0] == '@')
        ems_printable(colon + 1, size - (size_t)(colon + 1 - name), s->events->server,
                      sizeof s->events->server);
}

static void see_user(struct ems_synapse *s, const uint8_t *name, size_t size)
{
    const uint8_t *colon = memchr(name, ':', size);
    char server[256];

    s->users++;
    if (colon == NULL || name[0] != '@')
        return;
    ems_printable(colon + 1, size - (size_t)(colon + 1 - name), server, sizeof server);
    if (s->server_name[0] == '\0') {
        memcpy(s->server_name, server, sizeof server);
    } else if (strcmp(s->server_name, server) != 0) {
        s->other_servers++;
        memcpy(s->other_server, server, sizeof server);
    }
}

/* A whole row, without its line end. */
static void see_row(struct ems_synapse *s, const uint8_t *row, size_t size)
{
    const uint8_t *value = row, *tab;
    char number[12] = "";
    size_t length;

    if (s->watched == WATCH_UPDATES) {
        s->background_updates++;
        return;
    }
    for (unsigned c = 0; c < s->column; c++) {
        tab = memchr(value, '\t', size - (size_t)(value - row));
        if (tab == NULL)
            return;
        value = tab + 1;
    }
    length = size - (size_t)(value - row);
    tab = memchr(value, '\t', length);
    if (tab != NULL)
        length = (size_t)(tab - value);
    if (length > 0 && value[length - 1] == '\r')
        length--;
    if (s->watched == WATCH_USERS) {
        see_user(s, value, length);
        return;
    }
    if (s->watched == WATCH_OWN) {
        see_own(s, value, length);
        return;
    }
    if (length >= sizeof number)
        return;
    memcpy(number, value, length);
    if (s->watched == WATCH_VERSION)
        s->schema_version = (uint32_t)strtoul(number, NULL, 10);
    else
        s->compat_version = (uint32_t)strtoul(number, NULL, 10);
}

/* Rows come cut anywhere: put them together. */
static int see_data(struct ems_synapse *s, const uint8_t *data, size_t size, struct ems_error *err)
{
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end != NULL ? (size_t)(end - data) : size;
        int rc = EMS_OK;

        if (end != NULL && s->row->size == 0) {
            see_row(s, data, n);
        } else {
            if (s->row->size + n <= MAX_ROW)
                rc = ems_buf_append(s->row, data, n, err);
            else
                s->row->size = MAX_ROW; /* too long to be looked at: passed over */
            if (rc != EMS_OK)
                return rc;
            if (end != NULL && s->row->size < MAX_ROW)
                see_row(s, s->row->data, s->row->size);
            if (end != NULL)
                s->row->size = 0;
        }
        n += end != NULL;
        data += n;
        size -= n;
    }
    return EMS_OK;
}

/* `INSERT INTO public.users ... VALUES ('@alice:example.org', ...)`: name is the table's first column
 * in every release. Names hold no quotes (Matrix specification, appendix "User Identifiers"). */
static void see_insert(struct ems_synapse *s, const struct ems_sql_statement *statement)
{
    const char *values, *name;

    if (statement->table == NULL || strcmp(statement->table, "public.users") != 0)
        return;
    values = strstr(statement->text, "VALUES (");
    for (; values != NULL; values = strstr(name, "\n\t(")) { /* --rows-per-insert: a row a line */
        name = strchr(values, '(') + 1;
        if (*name == '\'')
            see_user(s, (const uint8_t *)name + 1, strcspn(name + 1, "'"));
    }
}

int ems_synapse_observe(struct ems_synapse *s, const struct ems_sql_event *event,
                        struct ems_error *err)
{
    const struct ems_sql_statement *statement = event->statement;

    if (s->row == NULL) {
        s->row = calloc(1, sizeof *s->row);
        if (s->row == NULL)
            return ems_fail_memory(err);
    }
    if (s->events == NULL) {
        s->events = calloc(1, sizeof *s->events);
        if (s->events == NULL)
            return ems_fail_memory(err);
    }
    switch (event->kind) {
    case EMS_SQL_STATEMENT:
        if (statement->shape == EMS_SQL_CREATE_TABLE && statement->table != NULL) {
            s->has_users |= strcmp(statement->table, "public.users") == 0;
            s->has_events |= strcmp(statement->table, "public.events") == 0;
            s->has_schema_version |= strcmp(statement->table, "public.schema_version") == 0;
        }
        if (statement->shape == EMS_SQL_COPY)
            begin_table(s, statement);
        if (statement->shape == EMS_SQL_INSERT)
            see_insert(s, statement);
        break;
    case EMS_SQL_ROWS:
        if (s->watched == WATCH_EVENTS)
            return ems_event_samples_rows(s->events, event->data.data, event->data.size, err);
        if (s->watched == WATCH_OWN && s->events->server[0] != '\0')
            s->watched = WATCH_NONE;
        if (s->watched != WATCH_NONE)
            return see_data(s, event->data.data, event->data.size, err);
        break;
    case EMS_SQL_COPY_END: {
        bool events = s->watched == WATCH_EVENTS;

        s->watched = WATCH_NONE;
        s->row->size = 0;
        return events ? ems_event_samples_end(s->events, err) : EMS_OK;
    }
    }
    return EMS_OK;
}

bool ems_synapse_is_homeserver(const struct ems_synapse *s)
{
    return s->has_users && s->has_events && s->has_schema_version;
}

const char *ems_synapse_releases(uint32_t schema_version)
{
    static const struct {
        uint32_t version;
        const char *releases;
    } known[] = {
        {53, "0.99.0-0.99.3"}, {54, "0.99.4-0.99.5"}, {55, "1.0-1.2"},     {56, "1.3-1.8"},
        {57, "1.9-1.12"},      {58, "1.13-1.25"},     {59, "1.26-1.37"},   {60, "1.38"},
        {61, "1.39-1.40"},     {63, "1.41-1.43"},     {64, "1.44-1.45"},   {65, "1.46-1.48"},
        {66, "1.49"},          {67, "1.50-1.51"},     {68, "1.52-1.56"},   {69, "1.57-1.59"},
        {70, "1.60"},          {71, "1.61"},          {72, "1.62-1.67"},   {73, "1.68-1.76"},
        {74, "1.77-1.82"},     {76, "1.83-1.84"},     {77, "1.85"},        {78, "1.86-1.88"},
        {79, "1.89"},          {80, "1.90-1.91"},     {81, "1.92"},        {82, "1.93-1.95"},
        {83, "1.96-1.99"},     {84, "1.100-1.106"},   {85, "1.107-1.111"}, {86, "1.112-1.113"},
        {87, "1.114-1.115"},   {88, "1.116-1.123"},   {89, "1.124-1.127"}, {91, "1.128"},
        {92, "1.129-1.142"},   {93, "1.143-1.150"},   {94, "1.151-1.160"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].version == schema_version)
            return known[i].releases;
    return NULL;
}

void ems_synapse_release(struct ems_synapse *s)
{
    if (s->row != NULL) {
        ems_buf_release(s->row);
        free(s->row);
    }
    if (s->events != NULL) {
        ems_event_samples_release(s->events);
        free(s->events);
    }
    *s = (struct ems_synapse){0};
}
