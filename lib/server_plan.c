/* server_plan.c - see server_plan.h */
#include "server_plan.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "public."

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
    *t = (struct ems_plan_table){.name = strdup(name), .first = SIZE_MAX, .last = SIZE_MAX};
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

static int add_item(struct ems_plan *p, const struct ems_sql_statement *s, struct ems_error *err)
{
    struct ems_plan_table *table = ems_plan_find(p, s->table);
    struct ems_plan_item *items = grow(p->items, p->count, &p->capacity, sizeof *items);
    struct ems_plan_item *item;

    if (items == NULL)
        return ems_fail_memory(err);
    p->items = items;
    if (table == NULL) /* the scanner knows the tables: this would be its bug */
        return ems_fail(err, EMS_INTERNAL, "line %llu: a key or index of an unknown table",
                        (unsigned long long)s->line);
    item = &p->items[p->count];
    *item = (struct ems_plan_item){.shape = s->shape,
                                   .text = strdup(s->text),
                                   .line = s->line,
                                   .table = (size_t)(table - p->tables),
                                   .next = SIZE_MAX};
    if (item->text == NULL)
        return ems_fail_memory(err);
    if (table->first == SIZE_MAX)
        table->first = p->count;
    else
        p->items[table->last].next = p->count;
    table->last = p->count++;
    return EMS_OK;
}

int ems_plan_observe(struct ems_plan *p, const struct ems_sql_event *event, struct ems_error *err)
{
    const struct ems_sql_statement *s = event->statement;

    if (event->kind != EMS_SQL_STATEMENT)
        return EMS_OK;
    switch (s->shape) {
    case EMS_SQL_SET:
        if (strstr(s->text, "search_path") != NULL && strstr(s->text, "public") != NULL)
            p->unusable = true;
        return EMS_OK;
    case EMS_SQL_CREATE_TABLE:
        return add_table(p, bare_name(s->table), err);
    case EMS_SQL_ADD_KEY:
    case EMS_SQL_CREATE_INDEX:
        return s->action == EMS_SQL_SEND ? add_item(p, s, err) : EMS_OK;
    default:
        return EMS_OK;
    }
}

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

void ems_plan_release(struct ems_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->items[i].text);
    for (size_t i = 0; i < p->table_count; i++)
        free(p->tables[i].name);
    free(p->items);
    free(p->tables);
    free(p->buckets);
    *p = (struct ems_plan){0};
}
