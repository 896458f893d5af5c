/*
 * server_send.h - statements of a dump to the server, several on their way at a time.
 *
 * Each goes through the extended protocol, which refuses a second command in one string; libpq's
 * pipeline mode (PostgreSQL documentation, 34.5) makes many of them, or a distant server, cost
 * little. The answers are compared with what was sent, in order: the first one that is not good is
 * the first statement that failed.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SEND_H
#define EMS_SERVER_SEND_H

#include "server_plan.h"

#include <libpq-fe.h>

#define EMS_SENDER_QUEUE 64u
#define EMS_SENDER_HEAD  64u /* of a statement, for messages */

enum ems_sent_sort {
    EMS_SENT_PLAIN,
    EMS_SENT_ROWS, /* INSERT: the answer says how many */
    EMS_SENT_SLOW, /* reads a whole table: few on their way, so that a watcher sees where we are */
    EMS_SENT_OURS, /* not of the dump */
};

struct ems_sent {
    uint64_t line; /* of the dump */
    enum ems_sent_sort sort;
    char head[EMS_SENDER_HEAD];
};

/* Start with {.conn = ...}. */
struct ems_sender {
    PGconn *conn; /* borrowed; in pipeline mode while anything is on its way */
    struct ems_sent queue[EMS_SENDER_QUEUE];
    size_t queued, queued_bytes;
    uint64_t statements;         /* of the dump that were answered well */
    uint64_t rows;               /* that the server says it has taken */
    _Atomic uint64_t *rows_done; /* may be NULL; grows with rows */
};

/* EMS_OK; EMS_RESTORE_FAILED if the server refused this one or one before it (the text holds the
 * dump's line, the statement's head and the server's own message); EMS_SERVER_ERROR. After an error
 * the connection is of no further use. */
int ems_sender_send(struct ems_sender *, const char *sql, size_t size, uint64_t line,
                    enum ems_sent_sort, struct ems_error *);

/* All of these, to the last answer. */
int ems_sender_send_all(struct ems_sender *, const struct ems_plan_statement *, size_t count,
                        struct ems_error *);

/* Wait for all answers; the connection is idle afterwards. */
int ems_sender_drain(struct ems_sender *, struct ems_error *);

#endif
