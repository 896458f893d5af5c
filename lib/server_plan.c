/* server_plan.c - see server_plan.h */
#include "server_plan.h"

#include "server_copy.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "public."

/* A unit ends when it has got this long: small tables share a place in the upload, a connection's
 * transaction and the cost of both. Not too many of them: a transaction holds locks on each table,
 * its toast table and that one's index, and the server has room for 6400 by default
 * (max_locks_per_transaction times max_connections). */
#define UNIT_BYTES  (4u * 1024u * 1024u)
#define UNIT_TABLES 128u

/* Of everything that is kept. A Synapse dump has some 200 KiB outside its rows. */
#define PLAN_BYTES_MAX (16u * 1024u * 1024u)

static const char *bare_name(const char *table)
{
    return strncmp(table, SCHEMA, strlen(SCHEMA)) == 0 ? table + strlen(SCHEMA) : table;
}

/* FNV-1a, 64 bit. The scanner bounds the number of tables, so a bad hash costs little. */
static size_t hash_name(const char *name)
{
    uint64_t h = 14695981039346656037u;

    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 1099511628211u;
    return (size_t)h;
}

/* Where the name is in the buckets, or the free one where it would be. */
static size_t find_bucket(const struct ems_plan *p, const char *name)
{
    size_t at = hash_name(name) & (p->bucket_count - 1);

    while (p->buckets[at] != 0 && strcmp(p->tables[p->buckets[at] - 1].name, name) != 0)
        at = (at + 1) & (p->bucket_count - 1);
    return at;
}

/* Half full at most (add_table), so that find_bucket always ends at a free one. */
static int grow_buckets(struct ems_plan *p, struct ems_error *err)
{
    size_t count = p->bucket_count > 0 ? 2 * p->bucket_count : 512;
    size_t *buckets = calloc(count, sizeof *buckets);

    if (buckets == NULL)
        return ems_fail_memory(err);
    free(p->buckets);
    p->buckets = buckets;
    p->bucket_count = count;
    for (size_t i = 0; i < p->table_count; i++)
        p->buckets[find_bucket(p, p->tables[i].name)] = i + 1;
    return EMS_OK;
}

static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
    size_t wanted = *capacity > 0 ? 2 * *capacity : 64;
    void *grown = items;

    if (count < *capacity)
        return items;
    grown = realloc(items, wanted * size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

static int add_table(struct ems_plan *p, const char *name, struct ems_error *err)
{
    struct ems_plan_table *tables =
        grow(p->tables, p->table_count, &p->table_capacity, sizeof *tables);
    struct ems_plan_table *t;
    int rc = EMS_OK;

    if (tables == NULL)
        return ems_fail_memory(err);
    p->tables = tables;
    if (2 * (p->table_count + 1) > p->bucket_count)
        rc = grow_buckets(p, err);
    if (rc != EMS_OK)
        return rc;
    t = &p->tables[p->table_count];
    *t = (struct ems_plan_table){.name = strdup(name),
                                 .first = EMS_PLAN_NONE,
                                 .last = EMS_PLAN_NONE,
                                 .block = EMS_PLAN_NONE};
    if (t->name == NULL)
        return ems_fail_memory(err);
    p->buckets[find_bucket(p, name)] = ++p->table_count;
    return EMS_OK;
}

struct ems_plan_table *ems_plan_find(const struct ems_plan *p, const char *table)
{
    size_t at;

    if (table == NULL || p->bucket_count == 0)
        return NULL;
    at = find_bucket(p, bare_name(table));
    return p->buckets[at] != 0 ? &p->tables[p->buckets[at] - 1] : NULL;
}

/* Memory is bounded: what no honest dump has is not kept, and then nothing is. Gives false, and an
 * empty plan that is marked so. */
static bool has_room(struct ems_plan *p, size_t size)
{
    struct ems_plan empty = {.bookmarks = p->bookmarks, .keep_after = p->keep_after};

    p->bytes += size;
    if (p->bytes <= PLAN_BYTES_MAX)
        return true;
    ems_plan_release(p);
    *p = empty;
    p->unusable = true;
    return false;
}

/* A table's items form a list through `next`: their order is that of the dump, in which a key that
 * a foreign key needs comes first. */
static int add_item(struct ems_plan *p, const struct ems_sql_statement *s, struct ems_error *err)
{
    struct ems_plan_table *table = ems_plan_find(p, s->table);
    struct ems_plan_table *other = ems_plan_find(p, s->references);
    struct ems_plan_item *items = grow(p->items, p->count, &p->capacity, sizeof *items);
    struct ems_plan_item *item;

    if (items == NULL)
        return ems_fail_memory(err);
    p->items = items;
    if (table == NULL || (s->references != NULL && other == NULL))
        /* the scanner knows the tables: this would be its bug */
        return ems_fail(err, EMS_INTERNAL, "line %llu: a key or index of an unknown table",
                        (unsigned long long)s->line);
    item = &p->items[p->count];
    *item =
        (struct ems_plan_item){.shape = s->shape,
                               .text = strdup(s->text),
                               .name = s->name != NULL ? strdup(s->name) : NULL,
                               .line = s->line,
                               .table = (size_t)(table - p->tables),
                               .other = other != NULL ? (size_t)(other - p->tables) : EMS_PLAN_NONE,
                               .next = EMS_PLAN_NONE};
    if (item->text == NULL || (s->name != NULL && item->name == NULL)) {
        free(item->text);
        free(item->name);
        return ems_fail_memory(err);
    }
    if (table->first == EMS_PLAN_NONE)
        table->first = p->count;
    else
        p->items[table->last].next = p->count;
    table->last = p->count++;
    return EMS_OK;
}

/* ---- the program ---- */

/* What may stand in front of the rows: all that makes what they go into. */
static bool comes_before(enum ems_sql_shape shape)
{
    switch (shape) {
    case EMS_SQL_CREATE_TABLE:
    case EMS_SQL_CREATE_SEQUENCE:
    case EMS_SQL_ALTER_SEQUENCE:
    case EMS_SQL_ALTER_COLUMN:
    case EMS_SQL_CREATE_FUNCTION:
        return true;
    default:
        return false;
    }
}

bool ems_plan_comes_after(enum ems_sql_shape shape)
{
    switch (shape) {
    case EMS_SQL_COPY:
    case EMS_SQL_INSERT:
    case EMS_SQL_ADD_KEY:
    case EMS_SQL_CREATE_INDEX:
    case EMS_SQL_ADD_FOREIGN_KEY:
        return false;
    default:
        return !comes_before(shape);
    }
}

/* A statement that makes something behind the first rows is in no pg_dump's order: such a dump is
 * not taken apart, but restored as it stands. INSERTs too: they are rows, with no text to lie in.
 */
static int add_statement(struct ems_plan *p, const struct ems_sql_statement *s,
                         struct ems_error *err)
{
    bool before = comes_before(s->shape);
    struct ems_plan_statement **list = before ? &p->before : &p->after, *grown;
    size_t *count = before ? &p->before_count : &p->after_count;

    if (p->no_program || (p->bookmarks == NULL && !p->keep_after))
        return EMS_OK;
    if (p->bookmarks == NULL && !ems_plan_comes_after(s->shape))
        return EMS_OK;
    if (s->shape == EMS_SQL_INSERT || (before && p->block_count > 0))
        p->no_program = true;
    if (p->no_program || !has_room(p, s->size + sizeof **list))
        return EMS_OK;
    grown = grow(*list, *count, before ? &p->before_capacity : &p->after_capacity, sizeof *grown);
    if (grown == NULL)
        return ems_fail_memory(err);
    *list = grown;
    grown += *count;
    *grown = (struct ems_plan_statement){
        .shape = s->shape, .text = strdup(s->text), .size = s->size, .line = s->line};
    if (grown->text == NULL)
        return ems_fail_memory(err);
    ++*count;
    return EMS_OK;
}

static int add_block(struct ems_plan *p, const struct ems_sql_statement *s, struct ems_error *err)
{
    struct ems_plan_table *table = ems_plan_find(p, s->table);
    struct ems_plan_block *b = grow(p->blocks, p->block_count, &p->block_capacity, sizeof *b);

    if (b == NULL)
        return ems_fail_memory(err);
    p->blocks = b;
    if (table == NULL)
        return ems_fail(err, EMS_INTERNAL, "line %llu: rows of an unknown table",
                        (unsigned long long)s->line);
    b += p->block_count;
    *b = (struct ems_plan_block){.table = (size_t)(table - p->tables), .line = s->line};
    table->block = p->block_count++;
    b->text = strdup(s->text);
    b->columns = ems_copy_names(s->column_names, s->columns);
    b->column_count = s->columns;
    return b->text != NULL && b->columns != NULL ? EMS_OK : ems_fail_memory(err);
}

/* The first rows of the last block have come: they go on with the unit at hand, or begin one. */
static int begin_rows(struct ems_plan *p, const struct ems_sql_event *event, struct ems_error *err)
{
    struct ems_plan_block *b = &p->blocks[p->block_count - 1];
    struct ems_plan_unit *u = p->unit_count > 0 ? &p->units[p->unit_count - 1] : NULL;

    b->begin = event->begin;
    b->line = event->line;
    if (u == NULL || u->bytes >= UNIT_BYTES || u->count >= UNIT_TABLES) {
        u = grow(p->units, p->unit_count, &p->unit_capacity, sizeof *u);
        if (u == NULL)
            return ems_fail_memory(err);
        p->units = u;
        u += p->unit_count++;
        *u = (struct ems_plan_unit){.first = p->block_count - 1,
                                    .place = ems_bookmarks_pin(p->bookmarks, b->begin)};
        if (u->place == EMS_BOOKMARK_NONE)
            p->no_program = true;
    }
    u->count = p->block_count - u->first;
    return EMS_OK;
}

/* The CRC is what the second pass compares: it reads the rows again, but neither gzip's nor
 * OpenPGP's proof of the whole is heard there. */
static int observe_rows(struct ems_plan *p, const struct ems_sql_event *event,
                        struct ems_error *err)
{
    struct ems_plan_block *b;
    struct ems_plan_unit *u;
    int rc = EMS_OK;

    if (p->no_program || p->unusable || p->bookmarks == NULL)
        return EMS_OK;
    b = &p->blocks[p->block_count - 1];
    if (event->kind == EMS_SQL_COPY_END) {
        b->rows = event->rows;
        return EMS_OK;
    }
    if (b->bytes == 0)
        rc = begin_rows(p, event, err);
    if (rc != EMS_OK || p->no_program)
        return rc;
    u = &p->units[p->unit_count - 1];
    b->crc = ems_crc32(b->crc, event->data.data, event->data.size);
    b->bytes += event->data.size;
    u->bytes = b->begin + b->bytes - p->blocks[u->first].begin;
    return EMS_OK;
}

/* Not with CR LF: the binary form would take the CR for a part of the last column. */
bool ems_plan_is_program(const struct ems_plan *p, const struct ems_sql_facts *facts)
{
    return p->bookmarks != NULL && !p->no_program && !p->unusable && facts->complete &&
           !facts->crlf;
}

int ems_plan_observe(struct ems_plan *p, const struct ems_sql_event *event, struct ems_error *err)
{
    const struct ems_sql_statement *s = event->statement;
    int rc;

    if (event->kind != EMS_SQL_STATEMENT)
        return observe_rows(p, event, err);
    if (s->shape == EMS_SQL_SET && strstr(s->text, "search_path") != NULL &&
        strstr(s->text, "public") != NULL)
        p->unusable = true;
    if (s->action != EMS_SQL_SEND || p->unusable)
        return EMS_OK;
    switch (s->shape) {
    case EMS_SQL_CREATE_TABLE:
        if (!has_room(p, strlen(s->table) + sizeof *p->tables))
            return EMS_OK;
        rc = add_table(p, bare_name(s->table), err);
        return rc == EMS_OK ? add_statement(p, s, err) : rc;
    case EMS_SQL_ADD_KEY:
    case EMS_SQL_CREATE_INDEX:
    case EMS_SQL_ADD_FOREIGN_KEY:
        return has_room(p, s->size + sizeof *p->items) ? add_item(p, s, err) : EMS_OK;
    case EMS_SQL_COPY:
        if (p->no_program || p->bookmarks == NULL ||
            !has_room(p, 2 * s->size + s->columns * sizeof(char *) + sizeof *p->blocks))
            return EMS_OK;
        return add_block(p, s, err);
    default:
        return add_statement(p, s, err);
    }
}

/* Compared word for word: whatever is made by a worker is what the dump says now. */
int ems_plan_meet(struct ems_plan *p, const struct ems_sql_statement *s, struct ems_error *err)
{
    if (p->seen < p->count && strcmp(p->items[p->seen].text, s->text) == 0) {
        p->seen++;
        return EMS_OK;
    }
    return ems_fail(err, EMS_PART_UNFINISHED,
                    "line %llu: the dump is not what it was in the first pass",
                    (unsigned long long)s->line);
}

static void release_statements(struct ems_plan_statement *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].text);
    free(list);
}

void ems_plan_release(struct ems_plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].text);
        free(p->items[i].name);
    }
    for (size_t i = 0; i < p->table_count; i++)
        free(p->tables[i].name);
    for (size_t i = 0; i < p->block_count; i++) {
        free(p->blocks[i].columns);
        free(p->blocks[i].text);
    }
    release_statements(p->before, p->before_count);
    release_statements(p->after, p->after_count);
    free(p->blocks);
    free(p->units);
    free(p->items);
    free(p->tables);
    free(p->buckets);
    *p = (struct ems_plan){0};
}
