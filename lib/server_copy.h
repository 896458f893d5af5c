/*
 * server_copy.h - the rows of one COPY block into the server, as they come, and counted.
 *
 * Rows are passed on in pieces of at least 64 KiB. A big block is sent as several COPY commands,
 * cut between rows: libpq tells of a refused row only at a command's end, and nobody wants to push
 * 100 GB at a server that threw away the second row, or whose disk is full.
 *
 * As text the bytes go as they are; as binary they are translated (server_binary.h).
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_COPY_H
#define EMS_SERVER_COPY_H

#include "server_binary.h"
#include "sqlscan.h"

/* Start with {.conn = ...}; used for one block after the other. */
struct ems_copy {
    PGconn *conn;                /* borrowed; idle, in a transaction */
    _Atomic uint64_t *rows_done; /* may be NULL; grows by what the server has counted */
    struct ems_buf command;      /* the statement, as sent */
    char table[64];              /* printable */
    bool copying;                /* a COPY command is open on the connection */
    bool binary;
    uint64_t first_line;  /* of the dump: of the block */
    uint64_t line;        /* the same of this command */
    uint64_t sent;        /* in this command */
    uint64_t rows, bytes; /* of the block: counted by the server; of text given */
    struct ems_buf piece;
    struct ems_binary translator;
};

/*
 * The block of this statement ("COPY public.t (c) FROM stdin", as the scanner gives it) begins.
 * FREEZE is added: the table must have been made or emptied in the connection's transaction.
 * `types` are of the columns, for sending the rows in binary form; NULL: as text.
 * EMS_OK, EMS_RESTORE_FAILED, EMS_SERVER_ERROR, EMS_NO_MEMORY.
 */
int ems_copy_begin(struct ems_copy *, const char *statement, const char *table, uint64_t line,
                   const Oid *types, size_t columns, struct ems_error *);

/* Rows, cut anywhere; line: of the dump, where data begins. Besides the above EMS_SQL_MALFORMED:
 * rows that have no binary form; then begin again with text. */
int ems_copy_feed(struct ems_copy *, const uint8_t *data, size_t size, uint64_t line,
                  struct ems_error *);

/* All rows are given: the server's word on them; c->rows. */
int ems_copy_end(struct ems_copy *, struct ems_error *);

/* The rest of the block will not come: a plain end would make the server keep what it has. */
void ems_copy_abort(struct ems_copy *);
void ems_copy_release(struct ems_copy *);

/* The types of a COPY statement's columns, in its order, asked of the server. EMS_OK and types
 * (freed by the caller), which is NULL if rows of these cannot be sent in binary form. */
int ems_copy_types(PGconn *, const char *table, const char *const *columns, size_t count,
                   Oid **types, struct ems_error *);

/* A copy of a list of names, in one piece of memory (free). NULL: no memory. */
char **ems_copy_names(const char *const *names, size_t count);

#endif
