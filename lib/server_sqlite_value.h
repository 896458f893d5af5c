/*
 * server_sqlite_value.h - one value of SQLite as PostgreSQL's COPY text, by the type of the column
 * that it goes into.
 *
 * SQLite gives values a type, not columns: whatever was written is there. What a column of
 * PostgreSQL cannot hold is refused, never bent, but for the forms that SQLite's own history makes
 * honest (booleans as numbers or words, numbers as text).
 *
 * Part of libems-server; knows no server.
 */
#ifndef EMS_SERVER_SQLITE_VALUE_H
#define EMS_SERVER_SQLITE_VALUE_H

#include "bytes.h"
#include "error.h"

#include <sqlite3.h>

enum ems_sqlite_type {
    EMS_SQLITE_INTEGER, /* size bytes: 2, 4 or 8 */
    EMS_SQLITE_BOOLEAN,
    EMS_SQLITE_TEXT, /* at most size characters, 0: any number */
    EMS_SQLITE_BYTEA,
    EMS_SQLITE_JSONB,
    EMS_SQLITE_OTHER, /* tsvector, text[], ...: only NULL goes there */
};

/* From information_schema.columns: udt_name ("int8") and character_maximum_length (0: none).
 * *size as above. */
enum ems_sqlite_type ems_sqlite_type_of(const char *udt_name, unsigned length, unsigned *size);

enum ems_sqlite_verdict {
    EMS_SQLITE_TAKEN,   /* appended */
    EMS_SQLITE_NUL,     /* text with a NUL character, which PostgreSQL has no way to store */
    EMS_SQLITE_REFUSED, /* *why says what it is: "a blob" */
};

/*
 * Append the column of the statement's current row, escaped (PostgreSQL documentation, COPY, "Text
 * Format"), without the tab or line end behind it. *why is static. Out of memory is
 * EMS_SQLITE_REFUSED with EMS_NO_MEMORY in *err.
 */
enum ems_sqlite_verdict ems_sqlite_value(sqlite3_stmt *, int column, enum ems_sqlite_type,
                                         unsigned size, struct ems_buf *out, const char **why,
                                         struct ems_error *err);

#endif
