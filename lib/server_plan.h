/*
 * server_plan.h - what the first pass over a dump tells the second: each table's keys and indexes,
 * so that they can be made as soon as the table's rows are in, on other connections.
 *
 * In a dump all of these come after the last row (pg_dump's post-data section). They depend on
 * nothing but their own table.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_PLAN_H
#define EMS_SERVER_PLAN_H

#include "sqlscan.h"

struct ems_plan_item {
    enum ems_sql_shape shape; /* EMS_SQL_ADD_KEY or EMS_SQL_CREATE_INDEX */
    char *text;               /* as the scanner gave it */
    uint64_t line;
    size_t table; /* index in tables */
    size_t next;  /* of the same table, in the order of the dump; SIZE_MAX: none */
};

struct ems_plan_table {
    char *name;         /* without its schema, unquoted; all are in public */
    size_t first, last; /* items, SIZE_MAX if none */
    bool begun;         /* given to the workers */
};

/* Start with {0}. */
struct ems_plan {
    struct ems_plan_item *items;
    size_t count, capacity;
    struct ems_plan_table *tables;
    size_t table_count, table_capacity;
    size_t *buckets; /* hash of table names: index + 1, open addressing */
    size_t bucket_count;
    size_t seen;   /* items that the second pass has met again */
    bool unusable; /* names without a schema (pg_dump before 10.3): one connection in order */
};

/* Give every event of the first pass. EMS_OK or EMS_NO_MEMORY. */
int ems_plan_observe(struct ems_plan *, const struct ems_sql_event *, struct ems_error *);

/* "public.events" -> its table, or NULL. */
struct ems_plan_table *ems_plan_find(const struct ems_plan *, const char *table);

/* The second pass meets a key or index: it must be the one that comes next in the plan. EMS_OK, or
 * EMS_PART_UNFINISHED: the dump changed between the passes. */
int ems_plan_meet(struct ems_plan *, const struct ems_sql_statement *, struct ems_error *);

void ems_plan_release(struct ems_plan *);

#endif
