/*
 * server_copy.c - see server_copy.h
 *
 * Between ems_copy_begin and ems_copy_end the connection is in one of two states: in a COPY command
 * (`copying`), or between two of them, when a long one has ended behind a whole row and nothing has
 * come since.
 */
#include "server_copy.h"

#include "server_pq.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE_BYTES = 256 * 1024,   /* small spans are gathered to this */
    STRAIGHT_BYTES = 64 * 1024, /* spans from here on are sent as they are */
    COMMAND_BYTES = 64 * 1024 * 1024,
};

/* "COPY users, line 2, column admin: ...", PostgreSQL's CopyFromErrorCallback; the words may be
 * translated. The number after the table's name, or 0. */
static uint64_t context_line(const char *context, const char *table)
{
    const char *name = strrchr(table, '.') != NULL ? strrchr(table, '.') + 1 : table;
    const char *found = context != NULL ? strstr(context, name) : NULL;

    if (found == NULL || found[strlen(name)] != ',')
        return 0;
    found += strlen(name);
    return strtoull(found + strcspn(found, "0123456789"), NULL, 10);
}

/* A row is a line in a dump, so the server's count of lines leads to the dump's own. */
static int fail_copy(const struct ems_copy *c, const PGresult *answer, struct ems_error *err)
{
    const char *context = PQresultErrorField(answer, PG_DIAG_CONTEXT);
    const char *column = context != NULL ? strstr(context, ", column ") : NULL;
    uint64_t row = context_line(context, c->table);
    char name[sizeof c->table] = "";

    if (row == 0)
        return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, c->conn, answer,
                           "in the rows of %s from line %llu", c->table,
                           (unsigned long long)c->line);
    if (column != NULL)
        ems_printable(column, strcspn(column, ":\n"), name, sizeof name);
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, c->conn, answer,
                       "line %llu: a row of %s%s", (unsigned long long)(c->line + row - 1),
                       c->table, name);
}

/* With a refused COPY the rows that follow must not be read as SQL (CVE-2026-6464): the scanner
 * never mixes them, and the restore ends here anyway. */
static int begin_command(struct ems_copy *c, uint64_t line, struct ems_error *err)
{
    PGresult *answer =
        PQexecParams(c->conn, (const char *)c->command.data, 0, NULL, NULL, NULL, NULL, 0);
    int rc = EMS_OK;

    c->line = line;
    c->sent = 0;
    c->piece.size = 0;
    c->copying = PQresultStatus(answer) == PGRES_COPY_IN;
    if (c->copying && c->binary)
        rc = ems_binary_header(&c->piece, err);
    else if (!c->copying)
        rc = ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, c->conn, answer, "line %llu: COPY %s",
                         (unsigned long long)line, c->table);
    PQclear(answer);
    return rc;
}

/*
 * Blocks while the server is busy; meanwhile a relay below reads and inflates ahead. libpq copies
 * into its own buffer, so the span need not stay. 1 is the only good answer in blocking mode.
 */
static int put(struct ems_copy *c, const uint8_t *data, size_t size, struct ems_error *err)
{
    if (size == 0 || PQputCopyData(c->conn, (const char *)data, (int)size) == 1)
        return EMS_OK;
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, c->conn, NULL,
                       "while sending rows of %s from line %llu", c->table,
                       (unsigned long long)c->line);
}

/* Always before the end of a command, or rows would be missing from it. */
static int flush_piece(struct ems_copy *c, struct ems_error *err)
{
    int rc = put(c, c->piece.data, c->piece.size, err);

    c->piece.size = 0;
    return rc;
}

/* Translated and gathered. */
static int pass_on_binary(struct ems_copy *c, const uint8_t *data, size_t size,
                          struct ems_error *err)
{
    int rc = ems_binary_feed(&c->translator, data, size, &c->piece, err);

    return rc == EMS_OK && c->piece.size >= PIECE_BYTES ? flush_piece(c, err) : rc;
}

/* Send, or keep until there is enough to send. */
static int pass_on(struct ems_copy *c, const uint8_t *data, size_t size, struct ems_error *err)
{
    int rc = EMS_OK;

    c->sent += size;
    c->bytes += size;
    if (c->binary)
        return pass_on_binary(c, data, size, err);
    if (c->piece.size + size > PIECE_BYTES)
        rc = flush_piece(c, err);
    if (rc == EMS_OK && size >= STRAIGHT_BYTES && c->piece.size == 0) {
        while (rc == EMS_OK && size > PIECE_BYTES) {
            rc = put(c, data, PIECE_BYTES, err);
            data += PIECE_BYTES;
            size -= PIECE_BYTES;
        }
        return rc == EMS_OK ? put(c, data, size, err) : rc;
    }
    return rc == EMS_OK ? ems_buf_append(&c->piece, data, size, err) : rc;
}

/* The server's word on all rows of the command. */
static int end_command(struct ems_copy *c, struct ems_error *err)
{
    PGresult *answer;
    int rc = c->binary ? ems_binary_trailer(&c->piece, err) : EMS_OK;

    if (rc == EMS_OK)
        rc = flush_piece(c, err);
    if (rc != EMS_OK)
        return rc;
    c->copying = false;
    if (PQputCopyEnd(c->conn, NULL) != 1)
        return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, c->conn, NULL,
                           "at the end of the rows of %s", c->table);
    answer = PQgetResult(c->conn);
    if (PQresultStatus(answer) == PGRES_COMMAND_OK) {
        uint64_t rows = strtoull(PQcmdTuples(answer), NULL, 10);

        c->rows += rows;
        if (c->rows_done != NULL)
            *c->rows_done += rows;
    } else {
        rc = fail_copy(c, answer, err);
    }
    PQclear(answer);
    PQclear(PQgetResult(c->conn));
    return rc;
}

void ems_copy_abort(struct ems_copy *c)
{
    PGresult *answer;

    if (!c->copying)
        return;
    c->copying = false;
    if (PQputCopyEnd(c->conn, "the dump ends here") != 1)
        return;
    while ((answer = PQgetResult(c->conn)) != NULL)
        PQclear(answer);
}

/* ---- blocks ---- */

int ems_copy_begin(struct ems_copy *c, const char *statement, const char *table, uint64_t line,
                   const Oid *types, size_t columns, struct ems_error *err)
{
    int rc = EMS_OK;

    c->command.size = 0;
    c->rows = c->bytes = 0;
    c->first_line = line;
    c->binary = types != NULL;
    ems_printable(table, strlen(table), c->table, sizeof c->table);
    ems_binary_release(&c->translator);
    if (c->binary)
        rc = ems_binary_init(&c->translator, types, columns, &c->binary, err);
    /* The text ends in "FROM stdin", that is what the scanner accepts. FREEZE: the rows can be
     * written as they would look after a VACUUM. */
    if (rc == EMS_OK)
        rc = ems_buf_printf(&c->command, err, "%s WITH (FREEZE%s)", statement,
                            c->binary ? ", FORMAT binary" : "");
    return rc == EMS_OK ? begin_command(c, line, err) : rc;
}

/* A command that is long enough ends behind the last whole row; what follows opens the next one,
 * whose first row's line is then known. */
int ems_copy_feed(struct ems_copy *c, const uint8_t *data, size_t size, uint64_t line,
                  struct ems_error *err)
{
    const uint8_t *last;
    size_t head;
    int rc = EMS_OK;

    if (c->rows == 0 && c->sent == 0)
        c->line = c->first_line = line; /* until now it was that of COPY itself */
    if (c->copying && c->sent + size > COMMAND_BYTES &&
        (last = memrchr(data, '\n', size)) != NULL) {
        head = (size_t)(last + 1 - data);
        rc = pass_on(c, data, head, err);
        if (rc == EMS_OK)
            rc = end_command(c, err);
        data += head;
        size -= head;
    }
    if (rc == EMS_OK && size > 0 && !c->copying)
        rc = begin_command(c, c->first_line + c->rows, err); /* a row is a line */
    if (rc == EMS_OK && size > 0)
        rc = pass_on(c, data, size, err);
    return rc;
}

int ems_copy_end(struct ems_copy *c, struct ems_error *err)
{
    if (c->binary && !ems_binary_is_whole(&c->translator))
        return ems_fail(err, EMS_INTERNAL, "copy: the rows of %s end inside a row", c->table);
    return c->copying ? end_command(c, err) : EMS_OK;
}

void ems_copy_release(struct ems_copy *c)
{
    ems_buf_release(&c->command);
    ems_buf_release(&c->piece);
    ems_binary_release(&c->translator);
}

/* Pointers first, then the texts: a COPY of a wide table names 1600 columns, and thousands of such
 * tables fit into a small upload. */
char **ems_copy_names(const char *const *names, size_t count)
{
    size_t size = (count + 1) * sizeof(char *);
    char **copy, *text;

    for (size_t i = 0; i < count; i++)
        size += strlen(names[i]) + 1;
    copy = malloc(size);
    text = copy != NULL ? (char *)(copy + count + 1) : NULL;
    for (size_t i = 0; i < count && copy != NULL; i++) {
        copy[i] = text;
        text = stpcpy(text, names[i]) + 1;
    }
    return copy;
}

/* Asked with a query that gives no row: that names the columns as COPY does. */
int ems_copy_types(PGconn *conn, const char *table, const char *const *columns, size_t count,
                   Oid **types, struct ems_error *err)
{
    const char *name = strchr(table, '.') != NULL ? strchr(table, '.') + 1 : table;
    struct ems_buf sql = {0};
    struct ems_binary probe = {0};
    PGresult *answer = NULL;
    bool known = false;
    int rc = EMS_OK;

    *types = NULL;
    for (size_t i = 0; i < count && rc == EMS_OK; i++) {
        char *quoted = PQescapeIdentifier(conn, columns[i], strlen(columns[i]));

        rc = quoted == NULL ? ems_fail_memory(err)
                            : ems_buf_printf(&sql, err, "%s%s", i == 0 ? "SELECT " : ", ", quoted);
        PQfreemem(quoted);
    }
    if (rc == EMS_OK && count > 0) {
        char *quoted = PQescapeIdentifier(conn, name, strlen(name));

        rc = quoted == NULL ? ems_fail_memory(err)
                            : ems_buf_printf(&sql, err, " FROM ONLY public.%s LIMIT 0", quoted);
        PQfreemem(quoted);
    }
    if (rc == EMS_OK && count > 0)
        rc = ems_pq_query(conn, "look at a new table", (const char *)sql.data, 0, NULL, &answer,
                          err);
    if (rc == EMS_OK && count > 0) {
        *types = calloc(count, sizeof **types);
        rc = *types == NULL ? ems_fail_memory(err) : EMS_OK;
    }
    for (size_t i = 0; i < count && rc == EMS_OK; i++)
        (*types)[i] = PQftype(answer, (int)i);
    if (rc == EMS_OK && count > 0)
        rc = ems_binary_init(&probe, *types, count, &known, err);
    if (!known) {
        free(*types);
        *types = NULL;
    }
    ems_binary_release(&probe);
    PQclear(answer);
    ems_buf_release(&sql);
    return rc;
}
