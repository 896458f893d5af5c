/*
 * sql_shape.h - the accept list: what a statement of a dump may be.
 *
 * Statements arrive token by token, as the lexer finds them, and are recognised when they are
 * whole: each must be one of the shapes to its last token, else it is refused. Of INSERT only the
 * head is kept as tokens; its rows are checked as they pass (sql_insert.c).
 *
 * Shapes are those that pg_dump 9.6 to 18 writes for tables of built-in types, their keys, indexes
 * and sequences, and for Synapse's own trigger functions (sql_function.c).
 */
#ifndef EMS_SQL_SHAPE_H
#define EMS_SQL_SHAPE_H

#include "sql_parse.h"
#include "sqlscan.h"

/* Rows of an INSERT while they pass. */
struct ems_sql_insert {
    int state; /* 0: not in the rows of an INSERT */
    uint32_t columns, in_row;
    uint64_t rows;
};

/* What a statement creates: noted in the catalog once the statement is recognised to its end. */
struct ems_sql_made {
    const char *relation; /* table or sequence; or NULL */
    bool is_table;
    const char **columns;
    size_t column_count;
    int function;                     /* known function, or -1 */
    const struct ems_sql_token *body; /* of that function, in dollar quotes; or NULL and */
    const char *string;               /* its body, decoded */
};

struct ems_sql_shaper {
    struct ems_sql_catalog catalog;
    struct ems_sql_tokens tokens;
    struct ems_sql_parse parse;
    struct ems_sql_statement statement; /* the last one recognised */
    struct ems_sql_made made;
    struct ems_sql_insert insert;
    struct ems_buf rendered; /* a statement that is not sent as it was written */
};

/* Zeroed at the start. */
void ems_sql_shaper_release(struct ems_sql_shaper *);

/* For the lexer: context is the shaper. */
int ems_sql_shaper_take(void *context, struct ems_sql_lex *, const struct ems_sql_token *,
                        struct ems_error *);

/*
 * The statement in the lexer is whole: recognise it and note what it creates. EMS_OK, and
 * shaper->statement until the next token; EMS_SQL_REFUSED; EMS_SQL_ENCODING (the dump says that it
 * is not UTF-8); EMS_NO_MEMORY. Begins anew either way.
 */
int ems_sql_shaper_finish(struct ems_sql_shaper *, struct ems_sql_lex *, struct ems_error *);

/* ---- between the files of the recogniser ---- */

/* All of these: is it this shape, from the cursor behind the words that led here? */
bool ems_sql_parse_create_table(struct ems_sql_shaper *);
bool ems_sql_parse_create_sequence(struct ems_sql_shaper *);
bool ems_sql_parse_alter_sequence(struct ems_sql_shaper *);
bool ems_sql_parse_alter_table(struct ems_sql_shaper *);
bool ems_sql_parse_create_index(struct ems_sql_shaper *);
bool ems_sql_parse_create_trigger(struct ems_sql_shaper *);
bool ems_sql_parse_create_rule(struct ems_sql_shaper *);
bool ems_sql_parse_create_function(struct ems_sql_shaper *);

/* Why what --clean and --create write is not sent. */
extern const char ems_sql_reason_clean[];

/* Leave tokens [from, to) out of the text that is sent: they become blanks. */
void ems_sql_blank_out(struct ems_sql_parse *, size_t from, size_t to);

/* A trigger function that Synapse creates or created: SHA-256 of the text between the dollar
 * quotes, and of its tokens with one blank between them, in hex. */
struct ems_sql_function {
    const char *name, *exact, *tokens;
};

/* The known functions: number for the catalog's bit set, or -1; and what is known of one. Further
 * bodies that it has had follow the first under the same name, a row without a name is the last. */
int ems_sql_function_find(const char *name);
const struct ems_sql_function *ems_sql_function_at(int function);
/* "BEFORE INSERT ON" and the like at the cursor: is that where Synapse has the function called for
 * this table? */
bool ems_sql_function_trigger(struct ems_sql_parse *, int function, const char *table);
/* Is this body, without its quotes, one that Synapse shipped? *exact: byte for byte. Otherwise
 * `rendered` gets it as it is to be sent: tokens, one blank between them. */
int ems_sql_function_check(const struct ems_sql_function *, const uint8_t *body, size_t size,
                           bool *good, bool *exact, struct ems_buf *rendered, struct ems_error *);

/* The rows of an INSERT: one token, and at the end. False: refuse. */
bool ems_sql_insert_token(struct ems_sql_insert *, const uint8_t *text,
                          const struct ems_sql_token *);
bool ems_sql_insert_end(const struct ems_sql_insert *);
/* The tokens so far are the head of an INSERT up to VALUES: sets the statement and the columns. */
bool ems_sql_insert_head(struct ems_sql_shaper *);

#endif
