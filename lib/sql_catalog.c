/*
 * sql_catalog.c - see sql_catalog.h.
 *
 * The tree is libc's (tsearch), which is balanced: names chosen to collide or to come sorted cost
 * nothing. A relation is never removed, because a dump that drops what it has created is refused.
 */
#include "sql_catalog.h"

#include "bytes.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Tables and sequences share one name space, as in the server. */
static int compare_relations(const void *a, const void *b)
{
    const struct ems_sql_relation *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Of pointers to names, for qsort and bsearch. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A relation is one allocation, so free is enough for a node. */
void ems_sql_catalog_release(struct ems_sql_catalog *catalog)
{
    tdestroy(catalog->relations, free);
    *catalog = (struct ems_sql_catalog){0};
}

struct ems_sql_relation *ems_sql_catalog_find(const struct ems_sql_catalog *catalog,
                                              const char *name)
{
    struct ems_sql_relation key = {.name = name};
    void *node = tfind(&key, &catalog->relations, compare_relations);

    return node != NULL ? *(struct ems_sql_relation **)node : NULL;
}

/* One allocation: the relation, its column pointers, all names. */
static struct ems_sql_relation *make(const char *name, const char *const *columns, size_t count,
                                     size_t size)
{
    struct ems_sql_relation *relation = malloc(size);
    char *at;

    if (relation == NULL)
        return NULL;
    *relation =
        (struct ems_sql_relation){.columns = (const char **)(relation + 1), .column_count = count};
    at = (char *)(relation->columns + count);
    for (size_t i = 0; i < count; i++) {
        relation->columns[i] = at;
        at = stpcpy(at, columns[i]) + 1;
    }
    relation->name = at;
    strcpy(at, name);
    if (count > 0)
        qsort(relation->columns, count, sizeof relation->columns[0], compare_names);
    return relation;
}

/* The server would refuse the same things, but only while it restores. */
int ems_sql_catalog_add(struct ems_sql_catalog *catalog, const char *name, bool is_table,
                        const char *const *columns, size_t column_count, struct ems_error *err)
{
    struct ems_sql_relation *relation;
    size_t size = sizeof *relation + column_count * sizeof(char *) + strlen(name) + 1;
    void *node;
    char text[80];

    for (size_t i = 0; i < column_count; i++)
        size += strlen(columns[i]) + 1;
    /* Room is taken into account before any is allocated. */
    if (column_count > EMS_SQL_COLUMNS_MAX || size > EMS_SQL_CATALOG_MAX - catalog->bytes)
        return ems_fail(err, EMS_SQL_REFUSED, "too many tables and columns");
    relation = make(name, columns, column_count, size);
    if (relation == NULL)
        return ems_fail_memory(err);
    relation->is_table = is_table;
    relation->number = catalog->tables;
    /* Sorted now, so equal names are neighbours. */
    for (size_t i = 1; i < column_count; i++) {
        if (strcmp(relation->columns[i - 1], relation->columns[i]) == 0) {
            ems_printable(relation->columns[i], strlen(relation->columns[i]), text, sizeof text);
            free(relation);
            return ems_fail(err, EMS_SQL_REFUSED, "column %s stands there twice", text);
        }
    }
    /* tsearch gives back the node that is there already, if there is one. */
    node = tsearch(relation, &catalog->relations, compare_relations);
    if (node == NULL || *(struct ems_sql_relation **)node != relation) {
        free(relation);
        if (node == NULL)
            return ems_fail_memory(err);
        return ems_fail(err, EMS_SQL_REFUSED, "%s is created a second time",
                        ems_printable(name, strlen(name), text, sizeof text));
    }
    catalog->bytes += size;
    catalog->tables += is_table;
    catalog->changed = true;
    return EMS_OK;
}

/* Exact: what was folded or unquoted was so on both sides. */
bool ems_sql_relation_has(const struct ems_sql_relation *relation, const char *column)
{
    return relation->column_count > 0 && bsearch(&column, relation->columns, relation->column_count,
                                                 sizeof column, compare_names) != NULL;
}
