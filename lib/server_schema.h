/*
 * server_schema.h - the PostgreSQL schema of a Synapse, for data that brings none: an SQLite
 * homeserver.
 *
 * Synapse's own schema files are not part of this project; the schema is taken from where there is
 * one: a dump of a homeserver of the same schema version, or its database. Of a dump only the
 * statements that make things are used, and the rows of the three tables in which Synapse notes the
 * state of its schema. All of it goes through the scanner (sqlscan.h), so nothing is sent that is
 * not on the accept list.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SCHEMA_H
#define EMS_SERVER_SCHEMA_H

#include "artifact.h"
#include "sqlscan.h"

#include <libpq-fe.h>

struct ems_schema_item {
    enum ems_sql_shape shape;
    char *text;    /* one statement; for EMS_SQL_COPY the rows belong to it */
    uint64_t line; /* of the dump */
    uint64_t rows; /* COPY */
    uint8_t *data; /* COPY: rows as in the dump */
    size_t size;
};

/* Start with {0}. */
struct ems_schema {
    struct ems_schema_item *items; /* in the order of the dump */
    size_t count, capacity;
    bool search_public; /* texts hold names without a schema (pg_dump before 10.3) */
    char name[128];     /* where it is from, printable, without passwords */
};

/*
 * Read the schema from `from`: the path of a dump (plain, gzip, or encrypted if the secrets of
 * `check` open it), else a libpq connection string of a Synapse database, of which the installed
 * pg_dump makes one. `check` may be NULL.
 *
 * EMS_OK; EMS_SERVER_ERROR with a text that begins with "--schema-from" for whatever is wrong with
 * it, because it is ours and not the upload's; EMS_NO_MEMORY, EMS_IO_ERROR; or what check->tick
 * returned.
 */
int ems_schema_read(struct ems_schema *, const char *from, const struct ems_check_options *check,
                    struct ems_error *);

/* The same from a dump's text. Takes over below. */
int ems_schema_read_source(struct ems_schema *, struct ems_source *below,
                           const struct ems_check_options *check, struct ems_error *);

/*
 * Send it to an empty database, in the session of server_session.h: first what must be there before
 * the rows (tables, sequences, Synapse's functions, its three tables' rows), then, in a second
 * call, what is better made after them (keys, indexes, triggers, foreign keys). `tick` is asked
 * about ten times a second and may end it. EMS_OK; EMS_RESTORE_FAILED if the server refuses, with
 * its words on which row it does not like; EMS_SERVER_ERROR.
 */
enum ems_schema_phase { EMS_SCHEMA_BEFORE_ROWS, EMS_SCHEMA_AFTER_ROWS };
int ems_schema_send(const struct ems_schema *, enum ems_schema_phase, PGconn *, ems_tick_fn *tick,
                    void *tick_context, struct ems_error *);

void ems_schema_release(struct ems_schema *);

/* Is this failure the schema's, and not the upload's? */
bool ems_schema_is_failure(const struct ems_error *);

/* ---- between the files of the schema ---- */

/* Record a failure of the schema: EMS_SERVER_ERROR, "--schema-from " and the text. */
int ems_schema_fail(struct ems_error *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Read what pg_dump makes of the database that the conninfo names: its schema and the rows of
 * Synapse's three tables. pg_dump is started without a shell; a password reaches it through a file
 * in memory, not by its arguments or environment. EMS_OK, EMS_SERVER_ERROR, EMS_NO_MEMORY.
 */
int ems_schema_read_database(struct ems_schema *, const char *conninfo,
                             const struct ems_check_options *check, struct ems_error *);

#endif
