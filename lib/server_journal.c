/* server_journal.c - see server_journal.h */
#include "server_journal.h"

#include "bytes.h"
#include "server_pq.h"

#include <gcrypt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which dump ---- */

/* With its end, so that "a", "bc" is not "ab", "c". */
static void hash_text(gcry_md_hd_t md, const char *text)
{
    gcry_md_write(md, text, strlen(text) + 1);
}

static void hash_numbers(gcry_md_hd_t md, uint64_t a, uint64_t b, uint64_t c)
{
    char text[80];

    snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64, a, b, c);
    hash_text(md, text);
}

/* SHA-256, though its parts hold CRCs only: whoever changes rows so that these stay equal cheats
 * himself, and --verify finds it. The counts keep the three lists apart. */
int ems_journal_identity(const struct ems_plan *plan, char hex[EMS_JOURNAL_IDENTITY],
                         struct ems_error *err)
{
    gcry_md_hd_t md;

    if (gcry_md_open(&md, GCRY_MD_SHA256, 0) != 0)
        return ems_fail_memory(err);
    hash_numbers(md, plan->before_count, plan->count, plan->after_count);
    for (size_t i = 0; i < plan->before_count; i++)
        hash_text(md, plan->before[i].text);
    for (size_t i = 0; i < plan->count; i++)
        hash_text(md, plan->items[i].text);
    for (size_t i = 0; i < plan->after_count; i++)
        hash_text(md, plan->after[i].text);
    for (size_t i = 0; i < plan->block_count; i++) {
        hash_text(md, plan->blocks[i].text);
        hash_numbers(md, plan->blocks[i].rows, plan->blocks[i].bytes, plan->blocks[i].crc);
    }
    ems_hex(gcry_md_read(md, GCRY_MD_SHA256), (EMS_JOURNAL_IDENTITY - 1) / 2, hex);
    gcry_md_close(md);
    return EMS_OK;
}

/* ---- writing ---- */

/* One transaction, or an empty journal could look like one. */
int ems_journal_create(PGconn *conn, struct ems_error *err)
{
    int rc = ems_pq_run(conn, "begin", err, "BEGIN");

    if (rc == EMS_OK)
        rc = ems_pq_run(conn, "make the journal", err, "CREATE SCHEMA ems_journal");
    if (rc == EMS_OK)
        rc = ems_pq_run(conn, "make the journal", err,
                        "CREATE TABLE ems_journal.loaded (name text PRIMARY KEY, "
                        "row_count bigint NOT NULL, crc bigint NOT NULL)");
    return rc == EMS_OK ? ems_pq_run(conn, "commit", err, "COMMIT") : rc;
}

/* The primary key refuses a second line for a table: it would mean that it was loaded twice. */
int ems_journal_record(PGconn *conn, const char *table, uint64_t rows, uint32_t crc,
                       struct ems_error *err)
{
    char row_count[24], checksum[12];
    const char *const parameters[] = {table, row_count, checksum};

    snprintf(row_count, sizeof row_count, "%" PRIu64, rows);
    snprintf(checksum, sizeof checksum, "%" PRIu32, crc);
    return ems_pq_query(conn, "write the journal",
                        "INSERT INTO ems_journal.loaded VALUES ($1, $2, $3)", 3, parameters, NULL,
                        err);
}

int ems_journal_remove(PGconn *conn, struct ems_error *err)
{
    return ems_pq_run(conn, "remove the journal", err, "DROP SCHEMA IF EXISTS ems_journal CASCADE");
}

/* ---- reading ---- */

static int misfit(const char *table, struct ems_error *err)
{
    char shown[100];

    return ems_fail(err, EMS_RESTORE_EXISTS,
                    "what is left of the restore does not fit this dump (%s): restore without "
                    "--resume",
                    ems_printable(table, strlen(table), shown, sizeof shown));
}

/* The identity was compared before; these numbers are the proof that the journal is of these rows
 * and not only of a dump that looks alike. */
static int read_blocks(const PGresult *answer, struct ems_plan *plan, bool *after,
                       struct ems_error *err)
{
    for (int i = 0; i < PQntuples(answer); i++) {
        const char *name = PQgetvalue(answer, i, 0);
        const struct ems_plan_table *table = ems_plan_find(plan, name);
        struct ems_plan_block *block;

        if (strcmp(name, EMS_JOURNAL_AFTER) == 0) {
            *after = true;
            continue;
        }
        if (table == NULL || table->block == EMS_PLAN_NONE)
            return misfit(name, err);
        block = &plan->blocks[table->block];
        if (strtoull(PQgetvalue(answer, i, 1), NULL, 10) != block->rows ||
            strtoull(PQgetvalue(answer, i, 2), NULL, 10) != block->crc)
            return misfit(name, err);
        block->loaded = true;
    }
    return EMS_OK;
}

/* A constraint has the name that the dump gives it; a key's index has the same. */
static void read_items(const PGresult *answer, struct ems_plan *plan)
{
    for (int i = 0; i < PQntuples(answer); i++) {
        const struct ems_plan_table *table = ems_plan_find(plan, PQgetvalue(answer, i, 0));

        for (size_t k = table != NULL ? table->first : EMS_PLAN_NONE; k != EMS_PLAN_NONE;
             k = plan->items[k].next)
            if (plan->items[k].name != NULL &&
                strcmp(plan->items[k].name, PQgetvalue(answer, i, 1)) == 0)
                plan->items[k].made = true;
    }
}

/* Without a journal nothing can be said about what is there (somebody removed it by hand). */
int ems_journal_read(PGconn *conn, struct ems_plan *plan, bool *after, struct ems_error *err)
{
    static const char exists[] =
        "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'ems_journal'";
    static const char made[] =
        "SELECT t.relname, k.conname FROM pg_catalog.pg_constraint k"
        " JOIN pg_catalog.pg_class t ON t.oid = k.conrelid"
        " WHERE t.relnamespace = 'public'::pg_catalog.regnamespace UNION "
        "SELECT t.relname, i.relname FROM pg_catalog.pg_index x"
        " JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid"
        " JOIN pg_catalog.pg_class t ON t.oid = x.indrelid"
        " WHERE t.relnamespace = 'public'::pg_catalog.regnamespace AND x.indisvalid";
    PGresult *answer;
    int rc = ems_pq_query(conn, "look for the journal", exists, 0, NULL, &answer, err);

    *after = false;
    if (rc == EMS_OK && PQntuples(answer) == 0)
        rc = misfit("it has no journal", err);
    PQclear(answer);
    if (rc != EMS_OK)
        return rc;
    rc = ems_pq_query(conn, "read the journal",
                      "SELECT name, row_count, crc FROM ems_journal.loaded", 0, NULL, &answer, err);
    if (rc == EMS_OK)
        rc = read_blocks(answer, plan, after, err);
    PQclear(answer);
    if (rc != EMS_OK)
        return rc;
    rc = ems_pq_query(conn, "look for keys and indexes", made, 0, NULL, &answer, err);
    if (rc == EMS_OK)
        read_items(answer, plan);
    PQclear(answer);
    return rc;
}
