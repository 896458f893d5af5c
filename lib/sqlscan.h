/*
 * sqlscan.h - the text of a plain pg_dump in, proven pieces out: statements that are on the accept
 * list, and the rows of COPY blocks.
 *
 * The dump is never trusted. It is lexed byte by byte as the server would (strings of every kind,
 * dollar quotes, nested comments, parentheses, literal continuation), every statement must match
 * one of a short list of shapes token by token to its end, and everything else is refused before
 * anybody acts on it. COPY data is checked at memory speed: UTF-8, the number of columns, the
 * escapes that pg_dump writes and no others, no NUL, no bare carriage return.
 *
 * The end is a verdict: EMS_END only after pg_dump's own closing comment, the \unrestrict line that
 * belongs to a \restrict, nothing but blanks behind them, and EMS_END from the stage below.
 *
 * Sources: PostgreSQL src/bin/pg_dump/pg_backup_archiver.c (what is printed and in which order),
 * src/backend/parser/scan.l (lexical rules), src/backend/commands/copyfromparse.c (COPY text).
 *
 * Errors: EMS_SQL_EMPTY, EMS_SQL_TRUNCATED, EMS_SQL_REFUSED, EMS_SQL_MALFORMED, EMS_SQL_ENCODING,
 * EMS_PGP_.../EMS_GZIP_... from below, EMS_NO_MEMORY. Messages name the line of the dump.
 */
#ifndef EMS_SQLSCAN_H
#define EMS_SQLSCAN_H

#include "source.h"

/* What a statement is. The order groups what is scheduled together in a restore. */
enum ems_sql_shape {
    EMS_SQL_SET, /* SET name = constant, set_config('search_path', ...) */
    EMS_SQL_CREATE_TABLE,
    EMS_SQL_CREATE_SEQUENCE,
    EMS_SQL_ALTER_SEQUENCE,  /* OWNED BY */
    EMS_SQL_ALTER_COLUMN,    /* identity, default, statistics, storage, n_distinct */
    EMS_SQL_CREATE_FUNCTION, /* one of Synapse's own trigger functions */
    EMS_SQL_COPY,            /* COPY t (c, ...) FROM stdin */
    EMS_SQL_INSERT,          /* constants only */
    EMS_SQL_SETVAL,
    EMS_SQL_ADD_KEY, /* PRIMARY KEY or UNIQUE */
    EMS_SQL_CREATE_INDEX,
    EMS_SQL_CREATE_TRIGGER, /* that calls one of Synapse's functions */
    EMS_SQL_ADD_CHECK,      /* added later, so usually NOT VALID */
    EMS_SQL_ADD_FOREIGN_KEY,
    EMS_SQL_COMMENT,
    EMS_SQL_OTHER, /* known, harmless and not wanted: owners, grants, extensions, ... */
    EMS_SQL_SHAPE_COUNT
};

/* What a restore does with it. */
enum ems_sql_action {
    EMS_SQL_SEND,    /* send text as it is here */
    EMS_SQL_SWALLOW, /* session settings: the restore uses its own */
    EMS_SQL_SKIP,    /* leave out and report; `reason` says why */
};

struct ems_sql_statement {
    enum ems_sql_shape shape;
    enum ems_sql_action action;
    const char *reason; /* static; for SKIP and SWALLOW, else NULL */
    const char *text;   /* without comments and without the final semicolon; NUL-terminated */
    size_t size;        /* bytes of text */
    const char *table;  /* "public.events": the table it is about, unquoted; NULL if none */
    const char *references; /* foreign key: the other table, as above; else NULL */
    const char *name;   /* of the index, constraint, sequence, ... it makes, unquoted; or NULL */
    uint32_t columns;   /* COPY: number of columns listed */
    const char *const *column_names; /* COPY: unquoted */
    uint64_t line;                   /* of its first word, from 1 */
};

enum ems_sql_event_kind {
    EMS_SQL_STATEMENT, /* statement; for COPY the rows follow */
    EMS_SQL_ROWS,      /* data: checked COPY bytes, cut anywhere, without the end marker */
    EMS_SQL_COPY_END,  /* rows: how many */
};

/* Everything that is pointed to lives until the next call. */
struct ems_sql_event {
    enum ems_sql_event_kind kind;
    const struct ems_sql_statement *statement; /* for rows and their end: the COPY statement */
    struct ems_span data;                      /* ROWS only */
    uint64_t rows;                             /* COPY_END: rows of this block */
    uint64_t line;                             /* where the event begins */
    uint64_t begin; /* ROWS, COPY_END: where the block's first row lies in the text */
};

struct ems_sql_table {
    char *name;           /* "public.events", printable */
    uint64_t rows, bytes; /* COPY rows and data bytes, INSERT rows (bytes 0) */
    bool has_data;        /* a COPY block, even an empty one, or an INSERT */
};

/* What is known of the dump; complete at EMS_END, as far as it goes before. Owned by the scanner.
 */
struct ems_sql_facts {
    bool complete;      /* the closing comment was there */
    bool restricted;    /* \restrict seen */
    bool crlf;          /* lines end in CR LF, rows too */
    bool search_public; /* SET search_path = public, pg_catalog (pg_dump before 10.3): texts may
                           hold names without schema, so the restore must set the same */
    char server_version[64]; /* "Dumped from database version": a comment, so a hint only */
    char dump_version[64];   /* "Dumped by pg_dump version" */
    /* Every statement is one of: to be sent, a session setting, skipped for one of the reasons
     * below, refused (the last one, which ended the scan). */
    uint64_t statements, sent, swallowed, skipped, refused;
    uint64_t rows, bytes, lines;
    struct ems_sql_table *tables; /* in the order of the dump, every CREATE TABLE */
    size_t table_count;
    const char *skip_reasons[32]; /* distinct reasons, static */
    uint64_t skip_counts[32];
    size_t skip_reason_count;
};

struct ems_sqlscan;

/* Takes over below (also on failure, NULL allowed through). */
struct ems_sqlscan *ems_sqlscan_open(struct ems_source *below, struct ems_error *);

/* EMS_OK and an event, EMS_END, or an error. After EMS_END or an error the answer repeats. */
int ems_sqlscan_next(struct ems_sqlscan *, struct ems_sql_event *, struct ems_error *);

const struct ems_sql_facts *ems_sqlscan_facts(const struct ems_sqlscan *);

/* After a failure: pull what is below to its end, so that its verdict is heard too. EMS_END or its
 * error; our own failure stays what ems_sqlscan_next repeats. */
int ems_sqlscan_drain(struct ems_sqlscan *, struct ems_error *);

/* Frees the chain below too; NULL allowed. */
void ems_sqlscan_free(struct ems_sqlscan *);

/* Do these first bytes look like a plain SQL dump? Also names what else people send: "custom-format
 * dump (pg_dump -Fc)", "UTF-16 text", ... in *what (static), NULL if it is plain SQL or unknown. */
bool ems_sqlscan_probe(const uint8_t *data, size_t size, const char **what);

#endif
