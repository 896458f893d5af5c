/* sql_snippets.h - for tests of the dump scanner: scan a text, and run tables of snippets within a
 * small dump. */
#ifndef SQL_SNIPPETS_H
#define SQL_SNIPPETS_H

#include "harness.h"

#include "sqlscan.h"

/* Run a dump; what came out as text, if wanted: statements, rows joined, row counts. */
static inline int scan(const void *text, size_t size, size_t chunk, struct ems_buf *out,
                       struct ems_sql_facts *facts, struct ems_error *err)
{
    struct ems_sqlscan *s =
        ems_sqlscan_open(ems_test_source_open(text, size, chunk, 0, EMS_OK), err);
    const struct ems_sql_facts *all;
    struct ems_sql_event event;
    uint64_t skipped = 0;
    int rc;

    while ((rc = ems_sqlscan_next(s, &event, err)) == EMS_OK) {
        const struct ems_sql_statement *st = event.statement;

        if (out == NULL)
            continue;
        if (event.kind == EMS_SQL_ROWS)
            ems_buf_append(out, event.data.data, event.data.size, NULL);
        else if (event.kind == EMS_SQL_COPY_END)
            ems_buf_printf(out, NULL, "== %s %llu rows\n", st->table,
                           (unsigned long long)event.rows);
        else
            ems_buf_printf(out, NULL, "%llu %d %d %s %s %u: %.*s\n", (unsigned long long)st->line,
                           (int)st->shape, (int)st->action, st->table != NULL ? st->table : "-",
                           st->name != NULL ? st->name : "-", st->columns, (int)st->size, st->text);
        CU_ASSERT(event.kind == EMS_SQL_ROWS || strlen(st->text) == st->size);
    }
    all = ems_sqlscan_facts(s);
    for (size_t i = 0; i < all->skip_reason_count; i++)
        skipped += all->skip_counts[i];
    CU_ASSERT_EQUAL(skipped, all->skipped);
    CU_ASSERT_EQUAL(all->statements, all->sent + all->swallowed + all->skipped + all->refused);
    if (facts != NULL)
        *facts = *all;
    ems_sqlscan_free(s);
    return rc;
}

static inline bool contains(const struct ems_buf *buf, const char *text)
{
    return memmem(buf->data, buf->size, text, strlen(text)) != NULL;
}

/* What stands before and behind the snippet of a case. */
static const char head[] = "--\n-- PostgreSQL database dump\n--\n"
                           "SELECT pg_catalog.set_config('search_path', '', false);\n"
                           "CREATE TABLE public.t (a text, b integer);\n"
                           "CREATE TABLE public.u (c text);\n"
                           "CREATE SEQUENCE public.s;\n";
static const char foot[] = "\nCOPY public.u (c) FROM stdin;\nx\n\\.\n"
                           "--\n-- PostgreSQL database dump complete\n--\n\n";

struct snippet {
    const char *text;
    int code;
    const char *message; /* part of it */
    size_t size;         /* of a text with NUL */
};

static inline void run_snippets(const struct snippet *snippets, size_t count, const char *before)
{
    for (size_t i = 0; i < count; i++) {
        const struct snippet *c = &snippets[i];

        for (int way = 0; way < 2; way++) {
            struct ems_buf text = {0};
            struct ems_error err = {0};

            ems_buf_append(&text, before, strlen(before), NULL);
            ems_buf_append(&text, c->text, c->size > 0 ? c->size : strlen(c->text), NULL);
            ems_buf_append(&text, foot, strlen(foot), NULL);
            ASSERT_CODE(scan(text.data, text.size, way ? 1 : 0, NULL, NULL, &err), c->code);
            if (c->message != NULL ? strstr(err.text, c->message) == NULL : err.text[0] != '\0')
                printf("\n    %s\n    %s", c->text, err.text);
            CU_ASSERT(c->message != NULL ? strstr(err.text, c->message) != NULL
                                         : err.text[0] == '\0');
            ems_buf_release(&text);
        }
    }
}

#define RUN(snippets, before) run_snippets(snippets, sizeof snippets / sizeof snippets[0], before)

#endif
