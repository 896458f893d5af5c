/*
 * The dump scanner on any text, whole and in pieces: the same verdict, the same words, the same
 * statements and rows; what it lets through never holds what must not be sent; and what is said of
 * the homeserver in it does not depend on the cut either.
 */
#include "fuzz.h"

#include "bytes.h"
#include "sqlscan.h"
#include "synapse_state.h"

#include <string.h>

struct outcome {
    int code;
    struct ems_error err;
    struct ems_buf out;
    uint64_t rows, statements;
    struct ems_findings findings;
};

/* A statement that is sent is one of the shapes; by its first word at least that is easy to see. */
static bool may_be_sent(const struct ems_sql_statement *st)
{
    static const char *const words[] = {"CREATE", "ALTER", "COPY", "INSERT", "SELECT", "COMMENT"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncasecmp(st->text, words[i], strlen(words[i])) == 0)
            return strlen(st->text) == st->size;
    return false;
}

static void run(const uint8_t *data, size_t size, size_t chunk, struct outcome *o)
{
    struct ems_sqlscan *scan =
        ems_sqlscan_open(ems_source_memory_open(data, size, chunk, NULL), &o->err);
    const struct ems_sql_facts *facts;
    struct ems_synapse synapse = {0};
    struct ems_sql_event event;

    while ((o->code = ems_sqlscan_next(scan, &event, &o->err)) == EMS_OK) {
        const struct ems_sql_statement *st = event.statement;

        fuzz_check(event.line >= 1);
        fuzz_check(ems_synapse_observe(&synapse, &event, NULL) == EMS_OK);
        if (event.kind == EMS_SQL_ROWS) {
            fuzz_check(event.data.size > 0);
            ems_buf_append(&o->out, event.data.data, event.data.size, NULL);
        } else if (event.kind == EMS_SQL_STATEMENT) {
            fuzz_check(st->action != EMS_SQL_SEND || may_be_sent(st));
            fuzz_check((st->reason != NULL) == (st->action != EMS_SQL_SEND));
            ems_buf_append(&o->out, st->text, st->size, NULL);
            for (uint32_t i = 0; st->shape == EMS_SQL_COPY && i < st->columns; i++)
                ems_buf_append(&o->out, st->column_names[i], strlen(st->column_names[i]), NULL);
        }
    }
    fuzz_check(o->code == EMS_END
                   ? ems_sqlscan_facts(scan)->complete
                   : ems_code_exit(o->code) == 1 && o->err.code == o->code && o->err.text[0] != 0);
    facts = ems_sqlscan_facts(scan);
    fuzz_check(facts->statements ==
               facts->sent + facts->swallowed + facts->skipped + facts->refused);
    fuzz_check(facts->refused <= (o->code != EMS_END));
    if (o->code == EMS_END) {
        ems_synapse_take_totals(&synapse, facts);
        ems_synapse_judge(&synapse, "a", &o->findings);
    }
    ems_synapse_release(&synapse);
    o->rows = facts->rows;
    o->statements = facts->statements;
    ems_sqlscan_free(scan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 2, 63, 65};
    struct outcome whole = {0}, cut = {0};

    run(data, size, 0, &whole);
    run(data, size, pieces[size % 4], &cut);
    fuzz_check(whole.code == cut.code && strcmp(whole.err.text, cut.err.text) == 0);
    fuzz_check(whole.statements == cut.statements && whole.rows == cut.rows);
    /* Rows in front of a failure are lent as far as they were checked, which depends on the cut. */
    fuzz_check(
        whole.code != EMS_END ||
        (whole.out.size == cut.out.size &&
         (whole.out.size == 0 || memcmp(whole.out.data, cut.out.data, whole.out.size) == 0)));
    fuzz_check(whole.findings.count == cut.findings.count);
    for (size_t i = 0; i < whole.findings.count; i++)
        fuzz_check(strcmp(whole.findings.items[i].message, cut.findings.items[i].message) == 0);
    ems_findings_release(&whole.findings);
    ems_findings_release(&cut.findings);
    ems_buf_release(&whole.out);
    ems_buf_release(&cut.out);
    return 0;
}
