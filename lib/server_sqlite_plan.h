/*
 * server_sqlite_plan.h - which tables and columns of an SQLite homeserver go where, found by
 * comparing what the file has with what the target's information_schema says.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SQLITE_PLAN_H
#define EMS_SERVER_SQLITE_PLAN_H

#include "finding.h"
#include "server_sqlite_value.h"

#include <libpq-fe.h>

struct ems_sqlite_column {
    char *name; /* in PostgreSQL */
    enum ems_sqlite_type type;
    unsigned size; /* see ems_sqlite_type_of */
    bool optional; /* may be left out: nullable, has a default, or counts by itself */
    char *source;  /* name in SQLite, NULL: not there */
};

enum ems_sqlite_fate {
    EMS_SQLITE_COPIED,
    EMS_SQLITE_SEARCHED, /* event_search: a column "value" more, of which the server makes vectors
                          */
    EMS_SQLITE_LEFT,     /* not copied: `reason` */
};

struct ems_sqlite_table {
    char *name;   /* in PostgreSQL, or in SQLite if it is only there */
    char *source; /* in SQLite; NULL: not there */
    enum ems_sqlite_fate fate;
    const char *reason; /* static, why it is left out */
    bool foreign;       /* only the file has it: its rows have nowhere to go */
    struct ems_sqlite_column *columns;
    size_t column_count;
    bool has_rowid;
    /* filled in by the copy */
    uint64_t source_rows, rows; /* read (of a table that is left: counted), stored */
    uint64_t nul_rows;          /* of source_rows not stored: text with NUL characters */
    uint64_t orphans;           /* event_search: rows of events that are not there */
    int64_t nul_rowids[8];      /* the first of nul_rows */
};

/* Start with {0}. Tables are in the order of their names. */
struct ems_sqlite_plan {
    struct ems_sqlite_table *tables;
    size_t count, capacity;
};

/*
 * Make the plan. What does not fit is a finding of `artifact`: a column that the schema does not
 * know, or needs and the file has not, is an error (synapse-schema) and EMS_SYNAPSE_SCHEMA is
 * returned after all were found; a column that will get its default is a note. Else EMS_OK,
 * EMS_SQLITE_CORRUPT, EMS_SERVER_ERROR, EMS_NO_MEMORY.
 */
int ems_sqlite_plan_make(struct ems_sqlite_plan *, sqlite3 *, PGconn *, const char *artifact,
                         struct ems_findings *, struct ems_error *);

void ems_sqlite_plan_release(struct ems_sqlite_plan *);

/* A failure of SQLite while it is read: EMS_SQLITE_CORRUPT, EMS_IO_ERROR, EMS_NO_MEMORY. If *err is
 * set already (by a progress handler) that is kept. */
int ems_sqlite_fail(sqlite3 *, int rc, struct ems_error *);

/* Append a name quoted for SQL: "a""b". SQLite and PostgreSQL agree on that. */
int ems_sqlite_quote(struct ems_buf *, const char *name, struct ems_error *);

#endif
