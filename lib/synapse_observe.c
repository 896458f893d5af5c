/*
 * synapse_observe.c - facts out of a dump as it streams; see synapse.h and synapse_state.h. Rows
 * are read in synapse_rows.c.
 *
 * The scanner has proven the text: statements have a known shape, rows their columns. So what is
 * read here again is read simply, and anything unexpected is passed over. Names are taken from the
 * text because the scanner keeps only those that a restore needs.
 */
#include "event_sample.h"
#include "media_rows.h"
#include "synapse_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 1600u /* the server's limit */

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

/* The first such word; texts are recognised to their end, so there is no other before it. */
static const char *behind(const char *text, const char *word)
{
    const char *found = strstr(text, word);

    return found != NULL ? found + strlen(word) : NULL;
}

/* The columns are kept, too, for INSERTs that do not name them. */
static int on_create_table(struct ems_synapse *s, const char *table, const char *const *columns,
                           size_t count, struct ems_error *err)
{
    struct ems_synapse_row *row = s->row;
    struct ems_synapse_columns wanted;

    if (strcmp(table, EMS_SYNAPSE_MEDIA_TABLE) == 0 && ems_synapse_media(s) == NULL)
        return ems_fail_memory(err);
    ems_synapse_columns_choose(table, columns, count, &wanted);
    if (wanted.count > 0 && row->table_count < EMS_SYNAPSE_WATCHED && strlen(table) < 64) {
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
static int on_insert(struct ems_synapse *s, const struct ems_synapse_columns *wanted,
                     const char *at, struct ems_error *err)
{
    struct ems_synapse_value values[EMS_SYNAPSE_WANTED];
    int rc = EMS_OK;

    at += strspn(at, " \n\t");
    while (*at == '(' && rc == EMS_OK) {
        unsigned found = 0;

        for (unsigned column = 0; *at == '(' || *at == ','; column++) {
            struct ems_synapse_value v;
            bool escapes;

            at += 1 + strspn(at + 1, " \n\t");
            escapes = *at == 'E';
            at += escapes;
            if (*at == '\'') {
                v.text = ++at;
                while (*at != '\0' && (*at != '\'' || at[1] == '\''))
                    at += (*at == '\'' || (escapes && *at == '\\')) && at[1] != '\0' ? 2 : 1;
                v = (struct ems_synapse_value){
                    .text = v.text, .size = (size_t)(at - v.text), .escapes = escapes};
                at += strcspn(at, ",)");
            } else {
                v = (struct ems_synapse_value){.text = at, .size = strcspn(at, ",) \n\t")};
                v.null = v.size == 4 && strncmp(at, "NULL", 4) == 0;
                at += strcspn(at, ",)");
            }
            for (; found < wanted->count && wanted->items[found].column == column; found++)
                values[found] = v;
        }
        if (found == wanted->count)
            rc = ems_synapse_see_values(s, wanted, values, err);
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

/* Without a list the values are in the order of CREATE TABLE. */
static int insert(struct ems_synapse *s, const struct ems_sql_statement *statement,
                  const char *table, struct ems_error *err)
{
    const char *values = behind(statement->text, " VALUES"), *open = strchr(statement->text, '(');
    struct ems_synapse_columns wanted = {.count = 0};
    const char *names[256];
    char room[4096];

    for (size_t i = 0; i < s->row->table_count; i++)
        if (strcmp(s->row->tables[i].name, table) == 0)
            wanted = s->row->tables[i].wanted;
    if (wanted.count == 0 || values == NULL)
        return EMS_OK;
    if (open != NULL && open < values && (size_t)(values - open) < sizeof room)
        ems_synapse_columns_choose(table, names, split_names(open + 1, false, room, names, 256),
                                   &wanted);
    return on_insert(s, &wanted, values, err);
}

/* Tables come before their rows, and keys, indexes and sequences after them, in every dump; nothing
 * here depends on it but INSERT without columns. */
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
        ems_synapse_columns_choose(table, statement->column_names, statement->columns,
                                   &s->row->wanted);
        if (s->events->server[0] != '\0' && ems_synapse_columns_own(&s->row->wanted))
            s->row->wanted.count = 0; /* known already */
        ems_synapse_columns_drop_texts(&s->row->wanted);
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
            return ems_synapse_see_data(s, event->data.data, event->data.size, err);
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
