/* Values of SQLite as COPY text: every type that is met in every column that there is. */
#include "harness.h"

#include "server_sqlite_value.h"

static sqlite3 *db;

/* The value of an SQL expression for a column of that type; the text is in out. */
static enum ems_sqlite_verdict convert(const char *expression, const char *udt, unsigned length,
                                       char *out, size_t out_size, const char **why)
{
    struct ems_buf buf = {0};
    struct ems_error err = {0};
    enum ems_sqlite_verdict verdict;
    enum ems_sqlite_type type;
    sqlite3_stmt *row;
    unsigned size;
    char sql[1000];

    snprintf(sql, sizeof sql, "SELECT %s", expression);
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK || sqlite3_step(row) != SQLITE_ROW)
        abort();
    type = ems_sqlite_type_of(udt, length, &size);
    verdict = ems_sqlite_value(row, 0, type, size, &buf, why, &err);
    ASSERT_CODE(err.code, EMS_OK);
    snprintf(out, out_size, "%.*s", (int)buf.size, buf.size > 0 ? (const char *)buf.data : "");
    sqlite3_finalize(row);
    ems_buf_release(&buf);
    return verdict;
}

static void test_taken(void)
{
    static const struct {
        const char *expression, *udt;
        unsigned length;
        const char *text;
    } rows[] = {
        {"NULL", "int8", 0, "\\N"},
        {"NULL", "tsvector", 0, "\\N"},
        {"-9223372036854775807 - 1", "int8", 0, "-9223372036854775808"},
        {"-2147483648", "int4", 0, "-2147483648"},
        {"32767", "int2", 0, "32767"},
        {"'-123456789012345678'", "int8", 0, "-123456789012345678"},
        {"'007'", "int4", 0, "7"},
        {"3.0", "int8", 0, "3"},
        {"-9007199254740992.0", "int8", 0, "-9007199254740992"},
        {"0", "bool", 0, "f"},
        {"1", "bool", 0, "t"},
        {"'TRUE'", "bool", 0, "t"},
        {"'false'", "bool", 0, "f"},
        {"'1'", "bool", 0, "t"},
        {"'0'", "bool", 0, "f"},
        {"''", "text", 0, ""},
        {"'\\N'", "text", 0, "\\\\N"},
        {"'\\.'", "text", 0, "\\\\."},
        {"char(9,10,13,8,11,12,1,127)", "text", 0, "\\t\\n\\r\\b\\v\\f\x01\x7f"},
        {"char(228,128049)", "varchar", 2, "\xc3\xa4\xf0\x9f\x90\xb1"},
        {"12", "text", 0, "12"},
        {"'X'", "bpchar", 1, "X"},
        {"x''", "bytea", 0, "\\\\x"},
        {"x'00ff5c'", "bytea", 0, "\\\\x00ff5c"},
        {"'{}'", "bytea", 0, "\\\\x7b7d"},
        {"'{\"a\":\"\\u0001\"}'", "jsonb", 0, "{\"a\":\"\\\\u0001\"}"},
        {"'{\"a\":\"\\\\u0000\"}'", "jsonb", 0, "{\"a\":\"\\\\\\\\u0000\"}"},
        {"7", "jsonb", 0, "7"}, /* SQLite reads the declared type JSONB as one for numbers */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *why = NULL;
        char out[200];

        if (convert(rows[i].expression, rows[i].udt, rows[i].length, out, sizeof out, &why) !=
                EMS_SQLITE_TAKEN ||
            strcmp(out, rows[i].text) != 0) {
            printf("\n    %s as %s: \"%s\" (%s)", rows[i].expression, rows[i].udt, out,
                   why != NULL ? why : "taken");
            CU_FAIL("taken");
        }
    }
}

static void test_refused(void)
{
    static const struct {
        const char *expression, *udt;
        unsigned length;
        const char *why;
    } rows[] = {
        {"x'31'", "int8", 0, "a blob"},
        {"'soon'", "int8", 0, "text that is no number"},
        {"''", "int8", 0, "text that is no number"},
        {"'-'", "int8", 0, "text that is no number"},
        {"'1 '", "int8", 0, "text that is no number"},
        {"'1234567890123456789'", "int8", 0, "text that is no number"},
        {"1.5", "int8", 0, "a fractional number"},
        {"1e300", "int8", 0, "a fractional number"},
        {"-9e999", "int8", 0, "a fractional number"},
        {"32768", "int2", 0, "a number too large for a smallint"},
        {"-2147483649", "int4", 0, "a number too large for an integer"},
        {"'99999'", "int2", 0, "a number too large for a smallint"},
        {"2", "bool", 0, "a number other than 0 and 1"},
        {"-1", "bool", 0, "a number other than 0 and 1"},
        {"1.0", "bool", 0, "a fractional number"},
        {"'yes'", "bool", 0, "text that is neither true nor false"},
        {"x'01'", "bool", 0, "a blob"},
        {"x'61'", "text", 0, "a blob"},
        {"1.25", "text", 0, "a fractional number"},
        {"CAST(x'c3' AS TEXT)", "text", 0, "text that is not UTF-8"},
        {"CAST(x'eda080' AS TEXT)", "text", 0, "text that is not UTF-8"},
        {"'abc'", "varchar", 2, "text that is too long for the column"},
        {"7", "bytea", 0, "a number"},
        {"1.5", "bytea", 0, "a number"},
        {"x'7b7d'", "jsonb", 0, "a blob"},
        {"'a'", "tsvector", 0, "a value for a column of a type that is not known"},
        {"'{}'", "_text", 0, "a value for a column of a type that is not known"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *why = NULL;
        char out[200];

        if (convert(rows[i].expression, rows[i].udt, rows[i].length, out, sizeof out, &why) !=
                EMS_SQLITE_REFUSED ||
            why == NULL || strcmp(why, rows[i].why) != 0) {
            printf("\n    %s as %s: %s", rows[i].expression, rows[i].udt,
                   why != NULL ? why : "not refused");
            CU_FAIL("refused");
        }
    }
}

/* What PostgreSQL has no way to store, and what only looks like it. */
static void test_nul(void)
{
    const char *why = NULL;
    char out[200];

    CU_ASSERT_EQUAL(convert("'a' || char(0)", "text", 0, out, sizeof out, &why), EMS_SQLITE_NUL);
    CU_ASSERT_EQUAL(convert("char(0)", "varchar", 9, out, sizeof out, &why), EMS_SQLITE_NUL);
    CU_ASSERT_EQUAL(convert("'\"\\u0000\"'", "jsonb", 0, out, sizeof out, &why), EMS_SQLITE_NUL);
    CU_ASSERT_EQUAL(convert("'\"\\\\\\u0000\"'", "jsonb", 0, out, sizeof out, &why),
                    EMS_SQLITE_NUL); /* a backslash, then a NUL */
    CU_ASSERT_EQUAL(convert("'\\u0000'", "text", 0, out, sizeof out, &why), EMS_SQLITE_TAKEN);
    CU_ASSERT_EQUAL(convert("'\\u000'", "jsonb", 0, out, sizeof out, &why), EMS_SQLITE_TAKEN);
    CU_ASSERT_EQUAL(convert("'x\\'", "jsonb", 0, out, sizeof out, &why), EMS_SQLITE_TAKEN);
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"what a column takes", test_taken},
        {"what it does not", test_refused},
        {"NUL characters", test_nul},
    };
    int status;

    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return 70;
    status = ems_tests_run("sqlite_value", tests, sizeof tests / sizeof tests[0]);
    sqlite3_close(db);
    return status;
}
