/*
 * sqlscan.c - see sqlscan.h. The driver: bytes to the lexer or to the row checker, statements to
 * the recogniser, events to the caller, and the rules about how a dump begins and ends.
 *
 * Nothing happens because a comment says so; only the closing comment has a meaning, and it counts
 * only between statements and at the start of a line, where no data can put it.
 */
#include "sqlscan.h"

#include "bytes.h"
#include "sql_rows.h"
#include "sql_shape.h"

#include <stdlib.h>
#include <string.h>

#define STATEMENTS_MAX 20000u /* outside INSERT; a Synapse dump has 835 */
#define REASONS_MAX    (sizeof((struct ems_sql_facts *)0)->skip_reasons / sizeof(char *))
#define KEY_MAX        256u
#define CONNECT_MAX    EMS_SQL_META_MAX
#define CONNECTS_MAX   2u /* again after the settings of the database (dumpDatabaseConfig) */

enum phase {
    START,
    TEXT,
    COPY_LINE, /* between FROM stdin; and the line feed */
    ROWS,
    ROWS_END,
    FOOTER, /* behind the closing comment */
};

struct ems_sqlscan {
    struct ems_source *below;
    struct ems_reader reader;
    struct ems_span span; /* what is left of it */
    size_t lent;          /* bytes that it had when it was lent */
    uint64_t lent_end;    /* origin of the byte behind it, as far as below knows */
    bool ended;           /* below has ended */
    enum phase phase;
    struct ems_sql_lex lex;
    struct ems_sql_shaper shaper;
    struct ems_sql_rows rows;
    bool crlf;
    bool held; /* a backslash of the span before is still to be lent */
    struct ems_span rows_span;
    uint64_t rows_begin;         /* where the block's first row lies in the text */
    struct ems_sql_table *table; /* of the COPY block */
    char key[KEY_MAX];           /* of \restrict; empty when none is in force */
    uint32_t others;             /* statements that are not INSERT */
    char connect[CONNECT_MAX];   /* the \connect line; empty when there was none */
    unsigned connects;
    bool any_data; /* a COPY or INSERT, or a comment that announces data */
    bool closed;   /* the line -- behind the closing comment is complete */
    size_t table_room;
    struct ems_sql_facts facts;
    int verdict;
    struct ems_error error;
};

struct ems_sqlscan *ems_sqlscan_open(struct ems_source *below, struct ems_error *err)
{
    struct ems_sqlscan *scan;

    if (below == NULL)
        return NULL;
    scan = calloc(1, sizeof *scan);
    if (scan == NULL) {
        ems_source_free(below);
        ems_fail_memory(err);
        return NULL;
    }
    scan->below = scan->reader.below = below;
    ems_sql_lex_init(&scan->lex, ems_sql_shaper_take, &scan->shaper);
    return scan;
}

void ems_sqlscan_free(struct ems_sqlscan *scan)
{
    if (scan == NULL)
        return;
    for (size_t i = 0; i < scan->facts.table_count; i++)
        free(scan->facts.tables[i].name);
    free(scan->facts.tables);
    ems_sql_shaper_release(&scan->shaper);
    ems_sql_lex_release(&scan->lex);
    ems_source_free(scan->below);
    free(scan);
}

const struct ems_sql_facts *ems_sqlscan_facts(const struct ems_sqlscan *scan)
{
    return &scan->facts;
}

int ems_sqlscan_drain(struct ems_sqlscan *scan, struct ems_error *err)
{
    return ems_source_drain(scan->below, err);
}

/* ---- input ---- */

/* Make the span non-empty. EMS_OK, EMS_END, or an error from below. */
static int fill(struct ems_sqlscan *scan, struct ems_error *err)
{
    int rc;

    if (scan->span.size > 0)
        return EMS_OK;
    if (scan->ended)
        return EMS_END;
    rc = ems_reader_lend(&scan->reader, SIZE_MAX, &scan->span, err);
    scan->ended = rc == EMS_END;
    scan->lent = scan->span.size;
    scan->lent_end = scan->below->origin;
    return rc;
}

/*
 * Where byte `ahead` of what is left of the span came from. A span keeps the origin of its first byte,
 * and a decoded one may stand for many more bytes than fit between two parts: in between, the origin
 * is taken to grow evenly.
 */
static uint64_t origin_of(const struct ems_sqlscan *scan, size_t ahead)
{
    uint64_t first = scan->span.origin, done = scan->lent - scan->span.size + ahead;

    if (scan->span.data == NULL)
        return ems_reader_origin(&scan->reader);
    if (first == EMS_NOWHERE || scan->lent_end == EMS_NOWHERE || scan->lent_end <= first ||
        scan->lent == 0)
        return first;
    return first + (uint64_t)((double)(scan->lent_end - first) * (double)done / (double)scan->lent);
}

/* The span keeps its origin. */
static void use(struct ems_sqlscan *scan, size_t size)
{
    scan->span.data += size;
    scan->span.size -= size;
}

/* The first bytes: other things than dumps are named, a byte order mark is dropped, and the first
 * line end is the kind that all rows must have. */
static int start(struct ems_sqlscan *scan, struct ems_error *err)
{
    const uint8_t *data, *line_end;
    const char *what;
    size_t size;
    int rc = ems_reader_peek(&scan->reader, EMS_READER_PEEK, &data, &size, err);

    if (rc != EMS_OK)
        return rc;
    if (size == 0)
        return ems_fail(err, EMS_SQL_EMPTY, "the dump is empty");
    if (!ems_sqlscan_probe(data, size, &what) && what != NULL)
        return ems_fail(err, EMS_SQL_REFUSED, "this is %s", what);
    line_end = memchr(data, '\n', size);
    scan->crlf = line_end != NULL && line_end > data && line_end[-1] == '\r';
    scan->facts.crlf = scan->crlf;
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        ems_reader_skip(&scan->reader, 3);
    scan->phase = TEXT;
    return EMS_OK;
}

/* ---- facts ---- */

/* The restored tables in the order of the dump, for reports: names made printable. */
static int add_table(struct ems_sqlscan *scan, const char *name, struct ems_error *err)
{
    struct ems_sql_facts *facts = &scan->facts;
    char text[3 * (EMS_SQL_NAME_MAX + 7) + 1];

    if (facts->table_count == scan->table_room) {
        size_t room = scan->table_room > 0 ? 2 * scan->table_room : 64;
        struct ems_sql_table *tables = realloc(facts->tables, room * sizeof *tables);

        if (tables == NULL)
            return ems_fail_memory(err);
        facts->tables = tables;
        scan->table_room = room;
    }
    ems_printable(name, strlen(name), text, sizeof text);
    facts->tables[facts->table_count] = (struct ems_sql_table){.name = strdup(text)};
    if (facts->tables[facts->table_count].name == NULL)
        return ems_fail_memory(err);
    facts->table_count++;
    return EMS_OK;
}

/* The recogniser has made sure that it is there. */
static struct ems_sql_table *find_table(struct ems_sqlscan *scan, const char *name)
{
    const struct ems_sql_relation *relation = ems_sql_catalog_find(&scan->shaper.catalog, name);

    return &scan->facts.tables[relation->number];
}

/* Reasons are static texts, so their addresses tell them apart. */
static void count_reason(struct ems_sql_facts *facts, const char *reason)
{
    for (size_t i = 0; i < facts->skip_reason_count; i++) {
        if (facts->skip_reasons[i] == reason) {
            facts->skip_counts[i]++;
            return;
        }
    }
    if (facts->skip_reason_count < REASONS_MAX) {
        facts->skip_reasons[facts->skip_reason_count] = reason;
        facts->skip_counts[facts->skip_reason_count++] = 1;
    }
}

/* Every statement is counted once, under what becomes of it; rows of INSERT here, rows of COPY at
 * the end of their block. */
static int count_statement(struct ems_sqlscan *scan, const struct ems_sql_statement *st,
                           struct ems_error *err)
{
    struct ems_sql_facts *facts = &scan->facts;
    uint64_t inserts = scan->shaper.insert.rows;

    facts->statements++;
    facts->sent += st->action == EMS_SQL_SEND;
    facts->swallowed += st->action == EMS_SQL_SWALLOW;
    facts->skipped += st->action == EMS_SQL_SKIP;
    facts->search_public |= scan->shaper.catalog.search_public;
    if (st->action == EMS_SQL_SKIP)
        count_reason(facts, st->reason);
    if (st->shape == EMS_SQL_CREATE_TABLE)
        return add_table(scan, st->table, err);
    if (st->shape == EMS_SQL_INSERT || st->shape == EMS_SQL_COPY) {
        scan->any_data = true;
        scan->table = find_table(scan, st->table);
        scan->table->has_data = true;
    }
    if (st->shape == EMS_SQL_INSERT) {
        scan->table->rows += inserts;
        facts->rows += inserts;
    }
    return EMS_OK;
}

/* The scan ends with it, so there is one at most. */
static void count_refused(struct ems_sqlscan *scan)
{
    scan->facts.statements++;
    scan->facts.refused++;
}

/* ---- comments and backslash lines ---- */

/* "-- Dumped from database version 15.18 (Debian ...)": kept up to the end of the line. */
static void note_version(const struct ems_sql_lex *lex, const char *prefix, char *out, size_t size)
{
    size_t length = strlen(prefix);

    if (lex->comment_size > length && memcmp(lex->comment, prefix, length) == 0 && out[0] == '\0')
        ems_printable(lex->comment + length, lex->comment_size - length, out, size);
}

/* Exactly: pg_dump writes nothing else on that line. */
static bool comment_is(const struct ems_sql_lex *lex, const char *text)
{
    return lex->comment_size == strlen(text) && memcmp(lex->comment, text, lex->comment_size) == 0;
}

/* Comments between statements: versions for the report, the end, and whether data was announced. */
static int on_comment(struct ems_sqlscan *scan, struct ems_error *err)
{
    const struct ems_sql_lex *lex = &scan->lex;
    struct ems_sql_facts *facts = &scan->facts;
    unsigned long long line = lex->statement_line;

    if (scan->phase == FOOTER) {
        if (!comment_is(lex, "--"))
            return ems_fail(err, EMS_SQL_MALFORMED,
                            "line %llu: a comment behind the end of the dump", line);
        scan->closed = true;
        return EMS_OK;
    }
    note_version(lex, "-- Dumped from database version ", facts->server_version,
                 sizeof facts->server_version);
    note_version(lex, "-- Dumped by pg_dump version ", facts->dump_version,
                 sizeof facts->dump_version);
    if (lex->comment_size > 17 && memcmp(lex->comment, "-- Data for Name:", 17) == 0)
        scan->any_data = true;
    if (lex->own_line && comment_is(lex, "-- PostgreSQL database cluster dump complete"))
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: a dump of a whole cluster (pg_dumpall)",
                        line);
    if (lex->own_line && comment_is(lex, "-- PostgreSQL database dump complete")) {
        scan->phase = FOOTER;
        facts->complete = true;
    }
    return EMS_OK;
}

/* The key of \restrict is letters and digits (pg_dump: valid_restrict_key). */
static bool is_key(const char *key)
{
    size_t size = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");

    return size > 0 && size < KEY_MAX && key[size] == '\0';
}

/*
 * Backslash lines are psql's. Three are known and consumed, none is executed: \restrict KEY before
 * the first statement, \unrestrict KEY at the end, and with pg_dump -C a \connect between them, or
 * two to the same database, round which the key is lifted.
 */
static int on_meta(struct ems_sqlscan *scan, struct ems_error *err)
{
    const struct ems_sql_lex *lex = &scan->lex;
    unsigned long long line = lex->statement_line;
    bool early = !scan->shaper.catalog.changed && scan->phase == TEXT;
    char text[100];

    ems_printable(lex->meta, lex->meta_size, text, sizeof text);
    if (!lex->own_line || strlen(lex->meta) != lex->meta_size)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: backslash command: %s", line, text);
    if (strncmp(lex->meta, "\\restrict ", 10) == 0 && is_key(lex->meta + 10) &&
        scan->key[0] == '\0' && early && (scan->facts.statements == 0 || scan->connects > 0)) {
        strcpy(scan->key, lex->meta + 10);
        scan->facts.restricted = true;
        return EMS_OK;
    }
    if (strncmp(lex->meta, "\\unrestrict ", 12) == 0 && scan->key[0] != '\0' &&
        strcmp(lex->meta + 12, scan->key) == 0 && (scan->phase == FOOTER || early)) {
        scan->key[0] = '\0';
        return EMS_OK;
    }
    if (strncmp(lex->meta, "\\connect ", 9) == 0 && early && scan->key[0] == '\0' &&
        (scan->connects == 0 || strcmp(lex->meta, scan->connect) == 0) &&
        scan->connects < CONNECTS_MAX) {
        strcpy(scan->connect, lex->meta);
        scan->connects++;
        return EMS_OK;
    }
    return ems_fail(err, EMS_SQL_REFUSED, "line %llu: backslash command: %s", line, text);
}

/* ---- statements ---- */

/* It ended with its semicolon. In the footer phase pg_dump has said that it is done, so whatever
 * follows was put there by somebody else. */
static int on_statement(struct ems_sqlscan *scan, struct ems_sql_event *event,
                        struct ems_error *err)
{
    const struct ems_sql_statement *st = &scan->shaper.statement;
    unsigned long long line = scan->lex.statement_line;
    int rc;

    if (scan->phase == FOOTER)
        return ems_fail(err, EMS_SQL_MALFORMED, "line %llu: a statement behind the end of the dump",
                        line);
    rc = ems_sql_shaper_finish(&scan->shaper, &scan->lex, err);
    if (rc == EMS_SQL_REFUSED || rc == EMS_SQL_ENCODING)
        count_refused(scan);
    if (rc == EMS_OK)
        rc = count_statement(scan, st, err);
    if (rc != EMS_OK)
        return rc;
    scan->others += st->shape != EMS_SQL_INSERT;
    if (scan->others > STATEMENTS_MAX)
        return ems_fail(err, EMS_SQL_REFUSED, "line %llu: more than %u statements", line,
                        STATEMENTS_MAX);
    *event = (struct ems_sql_event){.kind = EMS_SQL_STATEMENT, .statement = st, .line = st->line};
    if (st->shape == EMS_SQL_COPY)
        scan->phase = COPY_LINE;
    return EMS_OK;
}

/* One turn of the lexer. EMS_OK with *lent if there is an event for the caller. */
static int text(struct ems_sqlscan *scan, struct ems_sql_event *event, bool *lent,
                struct ems_error *err)
{
    enum ems_sql_lex_event what;
    size_t used;
    int rc = ems_sql_lex_feed(&scan->lex, scan->span.data, scan->span.size, &used, &what, err);

    if (rc == EMS_SQL_REFUSED && scan->lex.started) /* by one of its tokens, or too long */
        count_refused(scan);
    if (rc != EMS_OK)
        return rc;
    use(scan, used);
    switch (what) {
    case EMS_SQL_LEX_STATEMENT:
        *lent = true;
        return on_statement(scan, event, err);
    case EMS_SQL_LEX_META:
        return on_meta(scan, err);
    case EMS_SQL_LEX_COMMENT:
        return on_comment(scan, err);
    default:
        return EMS_OK;
    }
}

/* ---- COPY data ---- */

/* The rows begin behind the line feed; a second statement on the line would be read as data by psql
 * and as SQL by others, so nothing but blanks may stand there. */
static int copy_line(struct ems_sqlscan *scan, struct ems_error *err)
{
    while (scan->span.size > 0) {
        uint8_t c = scan->span.data[0];

        use(scan, 1);
        if (c == '\n') {
            scan->lex.line++;
            scan->lex.line_start = true;
            ems_sql_rows_init(&scan->rows, scan->shaper.statement.table,
                              scan->shaper.statement.columns, scan->crlf, scan->lex.line);
            scan->rows_begin = scan->reader.offset - scan->span.size;
            scan->phase = ROWS;
            return EMS_OK;
        }
        if (c != ' ' && c != '\t' && c != '\r')
            return ems_fail(err, EMS_SQL_REFUSED, "line %llu: text behind COPY ... FROM stdin;",
                            (unsigned long long)scan->lex.line);
    }
    return EMS_OK;
}

/* A piece of rows for the caller: in place, with its block and origin. */
static void lend(struct ems_sqlscan *scan, struct ems_sql_event *event, const struct ems_span *span)
{
    *event = (struct ems_sql_event){.kind = EMS_SQL_ROWS,
                                    .statement = &scan->shaper.statement,
                                    .data = *span,
                                    .begin = scan->rows_begin,
                                    .line = scan->lex.line};
    scan->facts.bytes += span->size;
    scan->table->bytes += span->size;
}

/* One turn of the row checker. A span gives one event, or two when a backslash was held back. */
static int rows(struct ems_sqlscan *scan, struct ems_sql_event *event, bool *lent,
                struct ems_error *err)
{
    static const uint8_t backslash = '\\';
    struct ems_sql_rows_fed fed;
    int rc;

    if (scan->held) { /* the backslash has been lent; now what followed it */
        scan->held = false;
        *lent = true;
        lend(scan, event, &scan->rows_span);
        return EMS_OK;
    }
    rc = ems_sql_rows_feed(&scan->rows, scan->span.data, scan->span.size, &fed, err);
    if (rc != EMS_OK && rc != EMS_END) {
        scan->error.origin = origin_of(scan, fed.used);
        return rc;
    }
    if (rc == EMS_END)
        scan->phase = ROWS_END;
    scan->rows_span = scan->span;
    scan->rows_span.size = fed.data;
    use(scan, fed.used);
    if (fed.lead) {
        struct ems_span one = {.data = &backslash, .size = 1, .origin = scan->rows_span.origin};

        scan->held = fed.data > 0;
        *lent = true;
        lend(scan, event, &one);
    } else if (fed.data > 0) {
        *lent = true;
        lend(scan, event, &scan->rows_span);
    }
    scan->lex.line = scan->rows.first_line + scan->rows.rows;
    return EMS_OK;
}

/* The end marker was the last thing read. */
static void rows_end(struct ems_sqlscan *scan, struct ems_sql_event *event)
{
    *event = (struct ems_sql_event){.kind = EMS_SQL_COPY_END,
                                    .statement = &scan->shaper.statement,
                                    .rows = scan->rows.rows,
                                    .begin = scan->rows_begin,
                                    .line = scan->lex.line};
    scan->lex.line++;
    scan->table->rows += scan->rows.rows;
    scan->facts.rows += scan->rows.rows;
    scan->phase = TEXT;
}

/* ---- the end ---- */

/* The input has ended: at the right place? If not, where: that is the most common fault of all. */
static int finish(struct ems_sqlscan *scan, struct ems_error *err)
{
    const char *inside = ems_sql_lex_inside(&scan->lex);
    unsigned long long line = scan->lex.line;
    char name[100];

    switch (scan->phase) {
    case COPY_LINE:
    case ROWS:
    case ROWS_END:
        ems_printable(scan->shaper.statement.table, strlen(scan->shaper.statement.table), name,
                      sizeof name);
        return ems_fail(err, EMS_SQL_TRUNCATED,
                        "line %llu: the dump ends inside the data of %s, after %llu whole rows",
                        line, name,
                        scan->phase == ROWS ? (unsigned long long)scan->rows.rows : 0ull);
    case FOOTER:
        if (inside != NULL)
            return ems_fail(err, EMS_SQL_TRUNCATED, "line %llu: the dump ends inside %s", line,
                            inside);
        if (scan->key[0] != '\0')
            return ems_fail(err, EMS_SQL_TRUNCATED,
                            "line %llu: the \\unrestrict line at the end is missing", line);
        if (!scan->closed)
            return ems_fail(err, EMS_SQL_TRUNCATED,
                            "line %llu: the closing comment is not complete", line);
        break;
    default:
        if (inside != NULL)
            return ems_fail(err, EMS_SQL_TRUNCATED,
                            "line %llu: the dump ends inside %s, without the closing comment", line,
                            inside);
        if (scan->facts.statements == 0)
            return ems_fail(err, EMS_SQL_EMPTY, "the dump holds no statement");
        return ems_fail(err, EMS_SQL_TRUNCATED,
                        "line %llu: the closing comment is missing: the dump was cut between "
                        "statements",
                        line);
    }
    if (scan->facts.table_count > 0 && !scan->any_data)
        return ems_fail(err, EMS_SQL_REFUSED,
                        "tables without any data: a dump with --schema-only; send a full one");
    scan->facts.lines = line - 1;
    return EMS_END;
}

/* Turns of the lexer or of the row checker until there is an event to lend, or an end. */
static int next(struct ems_sqlscan *scan, struct ems_sql_event *event, struct ems_error *err)
{
    bool lent = false;
    int rc = scan->phase == START ? start(scan, err) : EMS_OK;

    while (rc == EMS_OK && !lent) {
        if (scan->phase == ROWS_END && !scan->held) {
            rows_end(scan, event);
            return EMS_OK;
        }
        if (!scan->held)
            rc = fill(scan, err);
        if (rc == EMS_END)
            return finish(scan, err);
        if (rc != EMS_OK)
            return rc;
        if (scan->phase == COPY_LINE)
            rc = copy_line(scan, err);
        else if (scan->phase == ROWS || scan->held)
            rc = rows(scan, event, &lent, err);
        else
            rc = text(scan, event, &lent, err);
    }
    return rc;
}

/* A failure of ours is given the place of the span that it was found in; one from below has its own
 * already. The first verdict stays. */
int ems_sqlscan_next(struct ems_sqlscan *scan, struct ems_sql_event *event, struct ems_error *err)
{
    if (scan->verdict == EMS_OK) {
        int rc = next(scan, event, &scan->error);

        if (rc == EMS_OK)
            return EMS_OK;
        scan->verdict = rc;
        if (rc != EMS_END && scan->error.stage == NULL) {
            scan->error.stage = "sql";
            if (scan->error.origin == EMS_NOWHERE)
                scan->error.origin = origin_of(scan, 0);
        }
    }
    if (scan->verdict != EMS_END && err != NULL && err->code == EMS_OK)
        *err = scan->error;
    return scan->verdict;
}
