/*
 * sql_insert.c - INSERT as pg_dump writes it (dumpTableData_insert), constants only.
 *
 *     INSERT INTO t [(a, b)] [OVERRIDING SYSTEM VALUE] VALUES (1, 'x'), ... [ON CONFLICT DO
 * NOTHING]; INSERT INTO t DEFAULT VALUES;                                     tables without
 * columns
 *
 * The head is parsed like any statement when VALUES is reached. The rows may be megabytes, so their
 * tokens are not kept: each moves the machine below one state on.
 */
#include "sql_shape.h"

enum state {
    NOT_IN_ROWS, /* must be 0: see struct ems_sql_insert */
    ROW,         /* expects ( */
    VALUE,
    DIGITS, /* after a sign */
    VALUE_END,
    ROW_END,
    ON,
    CONFLICT,
    DO,
    DEFAULT_ROW, /* DEFAULT VALUES: complete */
    DONE,
};

/* INSERT INTO t [(a, b)] [OVERRIDING SYSTEM VALUE] VALUES. Without a list the values are those of
 * all columns, in the order of CREATE TABLE. */
bool ems_sql_insert_head(struct ems_sql_shaper *s)
{
    struct ems_sql_parse *p = &s->parse;
    const char *table;
    uint32_t columns;
    struct ems_sql_relation *relation;

    if (!ems_sql_words(p, "INSERT INTO") || !ems_sql_table(p, &table))
        return false;
    relation = ems_sql_catalog_find(p->catalog, table);
    columns = (uint32_t)relation->column_count;
    if (ems_sql_is(p, "(") && !ems_sql_column_list(p, table, NULL, &columns))
        return false;
    ems_sql_words(p, "OVERRIDING SYSTEM VALUE");
    s->insert = (struct ems_sql_insert){.state = ROW, .columns = columns};
    if (columns == 0 && ems_sql_words(p, "DEFAULT")) {
        s->insert.state = DEFAULT_ROW;
        s->insert.rows = 1;
    }
    if (!ems_sql_words(p, "VALUES") || !ems_sql_at_end(p))
        return false;
    s->statement =
        (struct ems_sql_statement){.shape = EMS_SQL_INSERT, .action = EMS_SQL_SEND, .table = table};
    return true;
}

/* Parentheses and commas are punctuation, the minus is an operator. */
static bool is_sign(const uint8_t *text, const struct ems_sql_token *token, char sign)
{
    return token->size == 1 && text[token->start] == (uint8_t)sign &&
           (token->kind == EMS_TOKEN_PUNCT || token->kind == EMS_TOKEN_OPERATOR);
}

/* What may stand for a column. Numbers come bare, with a minus perhaps; NaN and infinity, dates and
 * everything else in quotes; generated columns as DEFAULT. */
static int value(const uint8_t *text, const struct ems_sql_token *token)
{
    static const char *const words[] = {"NULL", "TRUE", "FALSE", "DEFAULT"};

    switch (token->kind) {
    case EMS_TOKEN_STRING:
    case EMS_TOKEN_ESTRING:
    case EMS_TOKEN_BITS:
        return VALUE_END;
    case EMS_TOKEN_NUMBER:
        return ems_sql_is_number(text, token) ? VALUE_END : NOT_IN_ROWS;
    case EMS_TOKEN_WORD:
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (ems_sql_token_is(text, token, words[i]))
                return VALUE_END;
        return NOT_IN_ROWS;
    default:
        return is_sign(text, token, '-') ? DIGITS : NOT_IN_ROWS;
    }
}

/* Each row must have as many values as the list, or the table, has columns. */
bool ems_sql_insert_token(struct ems_sql_insert *insert, const uint8_t *text,
                          const struct ems_sql_token *token)
{
    int next = NOT_IN_ROWS;

    switch (insert->state) {
    case ROW:
        insert->in_row = 0;
        next = is_sign(text, token, '(') ? VALUE : NOT_IN_ROWS;
        break;
    case VALUE:
        insert->in_row++;
        next = value(text, token);
        break;
    case DIGITS:
        next = ems_sql_is_number(text, token) ? VALUE_END : NOT_IN_ROWS;
        break;
    case VALUE_END:
        if (is_sign(text, token, ','))
            next = VALUE;
        else if (is_sign(text, token, ')') && insert->in_row == insert->columns)
            next = ROW_END;
        insert->rows += next == ROW_END;
        break;
    case ROW_END:
        next = is_sign(text, token, ',') ? ROW : ems_sql_token_is(text, token, "ON") ? ON : next;
        break;
    case DEFAULT_ROW:
        next = ems_sql_token_is(text, token, "ON") ? ON : next;
        break;
    case ON:
        next = ems_sql_token_is(text, token, "CONFLICT") ? CONFLICT : next;
        break;
    case CONFLICT:
        next = ems_sql_token_is(text, token, "DO") ? DO : next;
        break;
    case DO:
        next = ems_sql_token_is(text, token, "NOTHING") ? DONE : next;
        break;
    default:
        break;
    }
    if (next == NOT_IN_ROWS)
        return false;
    insert->state = next;
    return true;
}

/* The semicolon may stand behind a row, or behind the whole of ON CONFLICT DO NOTHING. */
bool ems_sql_insert_end(const struct ems_sql_insert *insert)
{
    return insert->state == ROW_END || insert->state == DEFAULT_ROW || insert->state == DONE;
}
