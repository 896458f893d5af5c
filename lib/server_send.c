/* server_send.c - see server_send.h */
#include "server_send.h"

#include "bytes.h"
#include "server_pq.h"

#include <stdlib.h>

enum {
    QUEUE_SLOW = 2,
    QUEUE_BYTES = 1024 * 1024,
};

/* answer NULL: the connection itself failed, and has the message. */
static int fail_statement(const struct ems_sender *s, const struct ems_sent *sent,
                          const PGresult *answer, struct ems_error *err)
{
    return ems_pq_fail(err, "restore", EMS_RESTORE_FAILED, s->conn, answer, "line %llu: %s",
                       (unsigned long long)sent->line, sent->head);
}

/* A setval answers with a row, everything else with a command tag; in "INSERT 0 3" the last number
 * is the rows. */
static int check_answer(struct ems_sender *s, const struct ems_sent *sent, PGresult *answer,
                        struct ems_error *err)
{
    ExecStatusType status = PQresultStatus(answer);
    uint64_t rows;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return fail_statement(s, sent, answer, err);
    s->statements += sent->sort != EMS_SENT_OURS;
    if (sent->sort != EMS_SENT_ROWS)
        return EMS_OK;
    rows = strtoull(PQcmdTuples(answer), NULL, 10);
    if (rows == 0)
        return ems_fail(err, EMS_RESTORE_FAILED, "line %llu: %s: the server took no row",
                        (unsigned long long)sent->line, sent->head);
    s->rows += rows;
    if (s->rows_done != NULL)
        *s->rows_done += rows;
    return EMS_OK;
}

/* After a failure the rest of the pipeline answers PGRES_PIPELINE_ABORTED (libpq, 34.5.1.3): the
 * first answer that is not good is the reason, and nobody uses the connection again. */
int ems_sender_drain(struct ems_sender *s, struct ems_error *err)
{
    PGresult *answer;
    int rc = EMS_OK;

    if (s->queued == 0)
        return EMS_OK;
    if (PQpipelineSync(s->conn) != 1)
        return fail_statement(s, &s->queue[0], NULL, err);
    for (size_t i = 0; i < s->queued && rc == EMS_OK; i++) {
        answer = PQgetResult(s->conn);
        rc = check_answer(s, &s->queue[i], answer, err);
        PQclear(answer);
        PQclear(rc == EMS_OK ? PQgetResult(s->conn) : NULL); /* the NULL between two statements */
    }
    if (rc != EMS_OK)
        return rc;
    answer = PQgetResult(s->conn);
    if (PQresultStatus(answer) != PGRES_PIPELINE_SYNC || PQexitPipelineMode(s->conn) != 1)
        rc = fail_statement(s, &s->queue[s->queued - 1], answer, err);
    PQclear(answer);
    s->queued = s->queued_bytes = 0;
    return rc;
}

/* The beginning of a statement on one line, printable; head has room for EMS_SENDER_HEAD. */
static void head_of(const char *sql, size_t size, char *head)
{
    char line[EMS_SENDER_HEAD];
    size_t used = 0;

    for (size_t i = 0; i < size && used < sizeof line; i++) {
        bool blank = sql[i] == ' ' || sql[i] == '\n' || sql[i] == '\t';

        if (!blank)
            line[used++] = sql[i];
        else if (used > 0 && line[used - 1] != ' ')
            line[used++] = ' ';
    }
    ems_printable(line, used, head, EMS_SENDER_HEAD);
}

/* What takes long is not queued behind much: its failure would be heard late, and a signal too. */
int ems_sender_send(struct ems_sender *s, const char *sql, size_t size, uint64_t line,
                    enum ems_sent_sort sort, struct ems_error *err)
{
    const size_t limit = sort == EMS_SENT_SLOW ? QUEUE_SLOW : EMS_SENDER_QUEUE;
    struct ems_sent *sent = &s->queue[s->queued];

    sent->line = line;
    sent->sort = sort;
    head_of(sql, size, sent->head);
    if ((s->queued == 0 && PQenterPipelineMode(s->conn) != 1) ||
        PQsendQueryParams(s->conn, sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return fail_statement(s, sent, NULL, err);
    s->queued++;
    s->queued_bytes += size;
    if (s->queued >= limit || s->queued_bytes >= QUEUE_BYTES)
        return ems_sender_drain(s, err);
    return EMS_OK;
}

int ems_sender_send_all(struct ems_sender *s, const struct ems_plan_statement *list, size_t count,
                        struct ems_error *err)
{
    int rc = EMS_OK;

    for (size_t i = 0; i < count && rc == EMS_OK; i++)
        rc = ems_sender_send(s, list[i].text, list[i].size, list[i].line,
                             list[i].shape == EMS_SQL_ADD_CHECK ? EMS_SENT_SLOW : EMS_SENT_PLAIN,
                             err);
    return rc == EMS_OK ? ems_sender_drain(s, err) : rc;
}
