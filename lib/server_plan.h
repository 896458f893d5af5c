/*
 * server_plan.h - what the first pass over a dump tells the second.
 *
 * Two things. Each table's keys, indexes and foreign keys, so that they can be made as soon as the
 * rows they need are in, on several connections; in a dump all of these come after the last row
 * (pg_dump's post-data section). And, if the upload can be entered in the middle (bookmark.h), the
 * whole dump as a program: its statements, and where the rows of each table lie, so that several
 * tables can be loaded at the same time and nothing is read twice for them.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_PLAN_H
#define EMS_SERVER_PLAN_H

#include "bookmark.h"
#include "sqlscan.h"

#define EMS_PLAN_NONE SIZE_MAX

/* Of post-data: what depends on nothing but tables. */
struct ems_plan_item {
    enum ems_sql_shape shape; /* EMS_SQL_ADD_KEY, _CREATE_INDEX or _ADD_FOREIGN_KEY */
    char *text;               /* as the scanner gave it */
    char *name;               /* of the index or constraint, unquoted; NULL if not known */
    uint64_t line;
    size_t table; /* index in tables */
    size_t other; /* foreign key: the table that it references, else EMS_PLAN_NONE */
    size_t next;  /* of the same table, in the order of the dump */
    bool made;    /* by the restore that is resumed (server_journal.h) */
};

struct ems_plan_table {
    char *name;         /* without its schema, unquoted; all are in public */
    size_t first, last; /* items */
    size_t block;       /* its rows, or EMS_PLAN_NONE */
    uint64_t bytes;     /* of its rows, as far as they were loaded in order */
    bool begun;         /* given to the workers */
};

/* Every other statement that is sent, in order. */
struct ems_plan_statement {
    enum ems_sql_shape shape;
    char *text;
    size_t size;
    uint64_t line;
};

/* The rows of a table. */
struct ems_plan_block {
    size_t table;
    char *text;     /* the COPY statement */
    char **columns; /* one piece of memory */
    size_t column_count;
    uint64_t line;         /* of its first row */
    uint64_t begin, bytes; /* in the text of the dump */
    uint64_t rows;
    uint32_t crc; /* of the bytes */
    bool loaded;  /* by the restore that is resumed */
};

/* Blocks with rows, one behind the other, that are loaded together. */
struct ems_plan_unit {
    size_t first, count; /* blocks; those without a row among them are passed over */
    size_t place;        /* bookmark */
    uint64_t bytes;      /* of text, from the first row to the last one */
};

/* Start with {0}, or with {.bookmarks = ...}. */
struct ems_plan {
    struct ems_plan_item *items;
    size_t count, capacity;
    struct ems_plan_table *tables;
    size_t table_count, table_capacity;
    size_t *buckets; /* hash of table names: index + 1, open addressing */
    size_t bucket_count;
    size_t seen;   /* items that the second pass has met again */
    bool unusable; /* names without a schema (pg_dump before 10.3), or more than 16 MiB to keep: one
                      connection in order */

    /* The program; worth something if ems_plan_is_program says so. */
    struct ems_bookmarks *bookmarks; /* of this pass, borrowed; NULL: no program is wanted */
    struct ems_plan_statement *before, *after; /* the first row */
    size_t before_count, before_capacity, after_count, after_capacity;
    struct ems_plan_block *blocks;
    size_t block_count, block_capacity;
    struct ems_plan_unit *units;
    size_t unit_count, unit_capacity;
    uint64_t bytes; /* that all of this takes, about */
    bool no_program;
    bool keep_after; /* keep `after` although there are no bookmarks: for one stream */
};

/* Is this one of the statements in `after`? */
bool ems_plan_comes_after(enum ems_sql_shape);

/* Give every event of the first pass. EMS_OK or EMS_NO_MEMORY. */
int ems_plan_observe(struct ems_plan *, const struct ems_sql_event *, struct ems_error *);

/* Can the dump be restored from what is in here, without reading it from the beginning? Ask after
 * the end, with the scanner's facts. Not so: rows as INSERT, lines that end in CR LF, an
 * order that pg_dump does not write, no bookmarks. */
bool ems_plan_is_program(const struct ems_plan *, const struct ems_sql_facts *);

/* "public.events" -> its table, or NULL. */
struct ems_plan_table *ems_plan_find(const struct ems_plan *, const char *table);

/* The second pass, in order, meets one of the items: it must be the one that comes next in the
 * plan. EMS_OK, or EMS_PART_UNFINISHED: the dump changed between the passes. */
int ems_plan_meet(struct ems_plan *, const struct ems_sql_statement *, struct ems_error *);

void ems_plan_release(struct ems_plan *);

#endif
