/*
 * sql_catalog.h - what a dump has created so far, so that later statements can be held to it: a
 * COPY goes to a table of this dump, once, with columns that the table has; an index, a constraint
 * or a trigger belongs to such a table.
 *
 * Names are full and without quotes ("public.events"). Look-ups take logarithmic time whatever the
 * names are. Memory is limited by EMS_SQL_CATALOG_MAX.
 */
#ifndef EMS_SQL_CATALOG_H
#define EMS_SQL_CATALOG_H

#include "error.h"

#define EMS_SQL_CATALOG_MAX ((size_t)16 << 20) /* bytes of names; a real dump has some 60 KiB */
#define EMS_SQL_COLUMNS_MAX 1600u              /* the server's limit for one table */

struct ems_sql_relation {
    const char *name;
    bool is_table;        /* else a sequence */
    size_t number;        /* of the table, in the order of creation, from 0 */
    const char **columns; /* sorted */
    size_t column_count;
    bool copied, inserted;
};

struct ems_sql_catalog {
    void *relations; /* search tree */
    size_t tables, bytes;
    uint32_t functions; /* bit i: known function i was created */
    bool search_public; /* SET search_path = public, ...: names come without a schema */
    bool changed;       /* something was created: too late for DROP and \connect */
};

/* Zeroed at the start. */
void ems_sql_catalog_release(struct ems_sql_catalog *);

struct ems_sql_relation *ems_sql_catalog_find(const struct ems_sql_catalog *, const char *name);

/* Names are copied. EMS_OK, EMS_SQL_REFUSED (the name exists, a column twice, too much),
 * EMS_NO_MEMORY. */
int ems_sql_catalog_add(struct ems_sql_catalog *, const char *name, bool is_table,
                        const char *const *columns, size_t column_count, struct ems_error *);

bool ems_sql_relation_has(const struct ems_sql_relation *, const char *column);

#endif
