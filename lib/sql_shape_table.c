/*
 * sql_shape_table.c - CREATE TABLE, SEQUENCE, INDEX, TRIGGER, FUNCTION and ALTER of the first two,
 * as pg_dump prints them (src/bin/pg_dump/pg_dump.c: dumpTableSchema, dumpSequence, dumpConstraint;
 * src/backend/utils/adt/ruleutils.c: pg_get_indexdef, pg_get_triggerdef, pg_get_constraintdef).
 */
#include "sql_shape.h"

#include <string.h>

/* WITH (...): storage parameters of the old server, left out of what is sent. */
static bool drop_parameters(struct ems_sql_parse *p)
{
    size_t start = p->at;

    if (!ems_sql_words(p, "WITH"))
        return true;
    if (!ems_sql_parameters(p))
        return false;
    ems_sql_blank_out(p, start, p->at);
    return true;
}

/* A list of names that are columns of the table. The server would find out as well, but only when
 * all rows are in. */
static bool columns_of(struct ems_sql_parse *p, const char *table)
{
    uint32_t count;

    return ems_sql_column_list(p, table, NULL, &count);
}

/* ---- tables ---- */

/* CHECK (expression) [NO INHERIT] [NOT VALID]. Checks run for every row, now and whenever somebody
 * writes to the table later; ems_sql_expression is what keeps code out of them. */
static bool check(struct ems_sql_parse *p)
{
    if (!ems_sql_words(p, "CHECK ("))
        return false;
    if (!ems_sql_expression(p) || !ems_sql_words(p, ")"))
        return false;
    ems_sql_words(p, "NO INHERIT");
    ems_sql_words(p, "NOT VALID");
    return true;
}

/* What may follow a column's type; the order differs between versions of pg_dump. Defaults and
 * generated columns are expressions like any other. Virtual generated columns (18) are refused: no
 * older server could take them. */
static bool column_clauses(struct ems_sql_parse *p)
{
    for (;;) {
        if (ems_sql_words(p, "NOT NULL"))
            continue;
        if (ems_sql_words(p, "DEFAULT")) {
            if (!ems_sql_expression(p))
                return false;
        } else if (ems_sql_words(p, "COLLATE")) {
            if (!ems_sql_collation(p))
                return false;
        } else if (ems_sql_words(p, "GENERATED ALWAYS AS (")) {
            if (!ems_sql_expression(p) || !ems_sql_words(p, ") STORED"))
                return false;
        } else if (ems_sql_words(p, "CONSTRAINT")) { /* 18: not-null constraints have names */
            if (!ems_sql_name(p, NULL) || !ems_sql_words(p, "NOT NULL"))
                return false;
        } else {
            return true;
        }
    }
}

/* CREATE [UNLOGGED] TABLE t ( a type ..., CONSTRAINT c CHECK (...) ) [WITH (...)]. Keys come later,
 * by ALTER TABLE; what stands in a table of pg_dump is columns and checks only. */
bool ems_sql_parse_create_table(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    struct ems_sql_made *made = &s->made;
    size_t room = p->count / 2 < EMS_SQL_COLUMNS_MAX ? p->count / 2 : EMS_SQL_COLUMNS_MAX;

    if (!ems_sql_full_name(p, &s->statement.table) || !ems_sql_words(p, "("))
        return false;
    made->relation = s->statement.table;
    made->is_table = true;
    made->columns = ems_sql_list(p, room);
    while (!ems_sql_words(p, ")")) {
        if (ems_sql_words(p, "CONSTRAINT")) {
            if (!ems_sql_name(p, NULL) || !check(p))
                return false;
        } else {
            if (made->column_count == room)
                return ems_sql_no(p, "too many columns", NULL);
            if (!ems_sql_name(p, &made->columns[made->column_count++]) || !ems_sql_type(p) ||
                !column_clauses(p))
                return false;
        }
        if (!ems_sql_words(p, ",") && !ems_sql_is(p, ")"))
            return false;
    }
    /* Synapse has none; their rows would be counted twice, or under another table. */
    if (ems_sql_is(p, "PARTITION") || ems_sql_is(p, "INHERITS"))
        return ems_sql_no(p, "partitions and inherited tables are not accepted", NULL);
    return drop_parameters(p);
}

/* ---- sequences ---- */

/* pg_dump writes them all, in one order; 9.6 without the type. */
static bool sequence_options(struct ems_sql_parse *p)
{
    static const char *const types[] = {"AS INTEGER", "AS BIGINT", "AS SMALLINT", NULL};
    static const char *const plain[] = {"NO MINVALUE", "NO MAXVALUE", "NO CYCLE", "CYCLE", NULL};
    static const char *const valued[] = {"START WITH", "INCREMENT BY", "MINVALUE",
                                         "MAXVALUE",   "CACHE",        NULL};

    ems_sql_one_of(p, types);
    for (;;) {
        if (ems_sql_one_of(p, plain))
            continue;
        if (!ems_sql_one_of(p, valued))
            return true;
        if (!ems_sql_integer(p))
            return false;
    }
}

/* It shares the name space of tables, so the catalog knows it. */
bool ems_sql_parse_create_sequence(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    if (!ems_sql_full_name(p, &s->statement.name))
        return false;
    s->made.relation = s->statement.name;
    return sequence_options(p);
}

/* ALTER SEQUENCE s OWNED BY t.c */
bool ems_sql_parse_alter_sequence(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    return ems_sql_sequence(p, &s->statement.name) && ems_sql_words(p, "OWNED BY") &&
           ems_sql_dotted_column(p, &s->statement.table);
}

/* ADD GENERATED ALWAYS AS IDENTITY ( SEQUENCE NAME s ... ) makes a sequence. */
static bool identity(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    if (!ems_sql_words(p, "ALWAYS") && !ems_sql_words(p, "BY DEFAULT"))
        return false;
    if (!ems_sql_words(p, "AS IDENTITY ( SEQUENCE NAME") ||
        !ems_sql_full_name(p, &s->statement.name))
        return false;
    s->made.relation = s->statement.name;
    return sequence_options(p) && ems_sql_words(p, ")");
}

/* ---- ALTER TABLE ---- */

/* Understood, and left out. */
static bool skip(struct ems_sql_shaper *s, const char *reason)
{
    s->statement.shape = EMS_SQL_OTHER;
    s->statement.action = EMS_SQL_SKIP;
    s->statement.reason = reason;
    return true;
}

/* ALTER [COLUMN] c SET DEFAULT x | STATISTICS n | STORAGE s | COMPRESSION m | (n_distinct=x), or
 * ADD GENERATED. Compression methods depend on how the server was built, and rows are compressed
 * anew anyway. */
static bool alter_column(struct ems_sql_shaper *s)
{
    static const char *const storages[] = {"PLAIN", "EXTERNAL", "EXTENDED", "MAIN", NULL};
    struct ems_sql_parse *p = &s->parse;

    ems_sql_words(p, "COLUMN");
    if (!ems_sql_column(p, s->statement.table, NULL))
        return false;
    if (ems_sql_words(p, "ADD GENERATED"))
        return identity(s);
    if (!ems_sql_words(p, "SET"))
        return false;
    if (ems_sql_words(p, "DEFAULT"))
        return ems_sql_expression(p);
    if (ems_sql_words(p, "STATISTICS"))
        return ems_sql_integer(p);
    if (ems_sql_words(p, "STORAGE"))
        return ems_sql_one_of(p, storages);
    if (ems_sql_words(p, "COMPRESSION"))
        return ems_sql_name(p, NULL) && skip(s, "column compression of the old server");
    return ems_sql_parameters(p);
}

/* FOREIGN KEY (a) REFERENCES t(b) [MATCH FULL] [ON UPDATE x] [ON DELETE x] [DEFERRABLE [INITIALLY
 * DEFERRED]] [NOT VALID] */
static bool foreign_key(struct ems_sql_shaper *s)
{
    static const char *const actions[] = {"CASCADE",     "RESTRICT",  "SET NULL",
                                          "SET DEFAULT", "NO ACTION", NULL};
    struct ems_sql_parse *p = &s->parse;
    const char *referenced;

    if (!columns_of(p, s->statement.table) || !ems_sql_words(p, "REFERENCES") ||
        !ems_sql_table(p, &referenced) || !columns_of(p, referenced))
        return false;
    s->statement.references = referenced;
    ems_sql_words(p, "MATCH FULL");
    while (ems_sql_words(p, "ON UPDATE") || ems_sql_words(p, "ON DELETE"))
        if (!ems_sql_one_of(p, actions))
            return false;
    ems_sql_words(p, "DEFERRABLE");
    ems_sql_words(p, "INITIALLY DEFERRED");
    ems_sql_words(p, "NOT VALID");
    return true;
}

/* ADD CONSTRAINT c PRIMARY KEY | UNIQUE (a) [INCLUDE (b)] [WITH (...)] [DEFERRABLE ...], FOREIGN
 * KEY, or a CHECK that was added NOT VALID. EXCLUDE is not in the list. */
static bool add_constraint(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    struct ems_sql_statement *st = &s->statement;

    if (!ems_sql_name(p, &st->name))
        return false;
    if (ems_sql_words(p, "FOREIGN KEY")) {
        st->shape = EMS_SQL_ADD_FOREIGN_KEY;
        return foreign_key(s);
    }
    if (ems_sql_is(p, "CHECK")) {
        st->shape = EMS_SQL_ADD_CHECK;
        return check(p);
    }
    st->shape = EMS_SQL_ADD_KEY;
    if (ems_sql_words(p, "UNIQUE"))
        ems_sql_words(p, "NULLS NOT DISTINCT");
    else if (!ems_sql_words(p, "PRIMARY KEY"))
        return false;
    if (!columns_of(p, st->table) || (ems_sql_words(p, "INCLUDE") && !columns_of(p, st->table)) ||
        !drop_parameters(p))
        return false;
    ems_sql_words(p, "DEFERRABLE");
    ems_sql_words(p, "INITIALLY DEFERRED");
    return true;
}

/* --clean takes constraints and defaults off the tables that it then drops. */
static bool clean(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char *table;

    ems_sql_words(p, "ONLY");
    if (!ems_sql_full_name(p, &table))
        return false;
    if (ems_sql_words(p, "DISABLE TRIGGER") || ems_sql_words(p, "ADD"))
        return ems_sql_no(p, "a full dump is needed (not --data-only): it does not create", table);
    return !s->catalog.changed &&
           (ems_sql_words(p, "DROP CONSTRAINT") || ems_sql_words(p, "ALTER COLUMN")) &&
           ems_sql_anything(p) && skip(s, ems_sql_reason_clean);
}

/* ALTER TABLE [ONLY] t ... Before anything was created it can only be what --clean writes, or the
 * beginning of a dump that does not create its tables. */
bool ems_sql_parse_alter_table(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    struct ems_sql_statement *st = &s->statement;

    if (ems_sql_words(p, "IF EXISTS") || !s->catalog.changed)
        return clean(s);
    ems_sql_words(p, "ONLY");
    if (!ems_sql_table(p, &st->table))
        return false;
    if (ems_sql_words(p, "REPLICA IDENTITY") || ems_sql_words(p, "CLUSTER ON"))
        return ems_sql_anything(p) && skip(s, "replica identity and clustering");
    if (ems_sql_words(p, "ADD CONSTRAINT"))
        return add_constraint(s);
    return ems_sql_words(p, "ALTER") && alter_column(s);
}

/* ---- indexes ---- */

/* column | function(...) | (expression), [COLLATE c] [operator class] [ASC|DESC] [NULLS ...] */
static bool index_element(struct ems_sql_parse *p, const char *table)
{
    /* what Synapse and common extensions of its indexes use; all of them in every server */
    static const char *const classes[] = {
        "text_pattern_ops",
        "varchar_pattern_ops",
        "bpchar_pattern_ops",
        "jsonb_path_ops",
        "jsonb_ops",
        "text_ops",
        "int4_ops",
        "int8_ops",
        "array_ops",
        "tsvector_ops",
        NULL,
    };
    bool plain = p->at + 1 < p->count && p->text[p->tokens[p->at].start] != '(' &&
                 p->text[p->tokens[p->at + 1].start] != '(';

    if (plain ? !ems_sql_column(p, table, NULL) : !ems_sql_expression(p))
        return false;
    if (ems_sql_words(p, "COLLATE") && !ems_sql_collation(p))
        return false;
    ems_sql_one_of(p, classes);
    if (!ems_sql_words(p, "ASC"))
        ems_sql_words(p, "DESC");
    if (!ems_sql_words(p, "NULLS FIRST"))
        ems_sql_words(p, "NULLS LAST");
    return true;
}

/* CREATE [UNIQUE] INDEX i ON t USING method (elements) [INCLUDE (a)] [NULLS NOT DISTINCT] [WITH
 * (...)] [WHERE x] */
bool ems_sql_parse_create_index(struct ems_sql_shaper *s)
{
    static const char *const methods[] = {"btree", "gin", "gist", "hash", "brin", NULL};
    struct ems_sql_parse *p = &s->parse;
    struct ems_sql_statement *st = &s->statement;

    if (!ems_sql_name(p, &st->name) || !ems_sql_words(p, "ON"))
        return false;
    ems_sql_words(p, "ONLY");
    if (!ems_sql_table(p, &st->table) || !ems_sql_words(p, "USING") ||
        !ems_sql_one_of(p, methods) || !ems_sql_words(p, "("))
        return false;
    do
        if (!index_element(p, st->table))
            return false;
    while (ems_sql_words(p, ","));
    if (!ems_sql_words(p, ")"))
        return false;
    if (ems_sql_words(p, "INCLUDE") && !columns_of(p, st->table))
        return false;
    ems_sql_words(p, "NULLS NOT DISTINCT");
    if (!drop_parameters(p))
        return false;
    return !ems_sql_words(p, "WHERE") || ems_sql_expression(p);
}

/* ---- triggers, functions, a rule ---- */

/* The table's name and the function's stand behind what says when, which depends on both. */
static bool trigger_tail(struct ems_sql_parse *p, const char **table, const char **function)
{
    while (!ems_sql_at_end(p) && !ems_sql_is(p, "ON"))
        p->at++;
    return ems_sql_words(p, "ON") && ems_sql_table(p, table) &&
           ems_sql_words(p, "FOR EACH ROW EXECUTE") &&
           (ems_sql_words(p, "FUNCTION") || ems_sql_words(p, "PROCEDURE")) &&
           ems_sql_full_name(p, function) && ems_sql_words(p, "( )");
}

/* CREATE TRIGGER n BEFORE|AFTER events ON t FOR EACH ROW EXECUTE FUNCTION f(); servers up to 10
 * write PROCEDURE. */
bool ems_sql_parse_create_trigger(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char *function;
    size_t when, end;
    int known;

    if (!ems_sql_name(p, &s->statement.name))
        return false;
    when = p->at;
    if (!trigger_tail(p, &s->statement.table, &function))
        return false;
    end = p->at;
    known = ems_sql_function_find(function);
    if (known < 0 || (s->catalog.functions & 1u << known) == 0)
        return ems_sql_no(p, "trigger on a function that the dump has not created:", function);
    p->at = when;
    if (!ems_sql_function_trigger(p, known, s->statement.table))
        return ems_sql_no(p, "not where Synapse has this function called:", function);
    p->at = end;
    return true;
}

/* While its background update is pending, Synapse 1.38 to 1.45 has one rule, delta/60/01 of its
 * schema. This is how pg_get_ruledef prints it; nothing else is a rule that may be made. */
bool ems_sql_parse_create_rule(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char **table = &s->statement.table;

    s->statement.name = "populate_stream_ordering2";
    return ems_sql_words(p, "populate_stream_ordering2 AS ON INSERT TO") &&
           ems_sql_table(p, table) && strcmp(*table, "public.events") == 0 &&
           ems_sql_words(p, "DO UPDATE") && ems_sql_table(p, table) &&
           strcmp(*table, "public.events") == 0 &&
           ems_sql_words(p, "SET stream_ordering2 = new . stream_ordering "
                            "WHERE ( events . stream_ordering = new . stream_ordering )");
}

/* CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$...$$, and nothing else: no SECURITY
 * DEFINER, no SET, no COST. With --disable-dollar-quoting the body is a string. Whether it may run
 * is for sql_function.c to say. */
bool ems_sql_parse_create_function(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;

    if (!ems_sql_full_name(p, &s->statement.name))
        return false;
    s->made.function = ems_sql_function_find(s->statement.name);
    if (s->made.function < 0)
        return ems_sql_no(p, "function that Synapse does not have:", s->statement.name);
    if (!ems_sql_words(p, "( ) RETURNS trigger LANGUAGE plpgsql AS"))
        return false;
    if (ems_sql_string(p, &s->made.string))
        return true;
    if (ems_sql_at_end(p) || p->tokens[p->at].kind != EMS_TOKEN_DOLLAR)
        return false;
    s->made.body = p->tokens + p->at++;
    return true;
}
