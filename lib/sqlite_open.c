/* sqlite_open.c - see sqlite_open.h */
#include "sqlite_open.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Percent-encodes what has a meaning in a URI. */
static void uri_of(const char *path, bool immutable, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "file:");

    for (; *path != '\0' && n + 24 < size; path++)
        n += (size_t)(strchr("?#%", *path) != NULL
                          ? snprintf(out + n, size - n, "%%%02X", (unsigned char)*path)
                          : snprintf(out + n, size - n, "%c", *path));
    if (immutable)
        snprintf(out + n, size - n, "?immutable=1");
}

/* An empty one too: to a copy of our own it does no harm to be opened for writing. */
static bool has_wal(const char *path)
{
    char wal[4096];

    snprintf(wal, sizeof wal, "%s-wal", path);
    return access(wal, F_OK) == 0;
}

/*
 * The schema is parsed at the first statement, so the switches come before it (SQLite, "Defense
 * Against The Dark Arts", lists them). cell_size_check finds damage in a page before it is used;
 * query_only refuses every statement that would change the file, checkpoints excepted.
 */
int ems_sqlite_open(const char *path, bool private_copy, sqlite3 **db)
{
    bool replay = private_copy && has_wal(path);
    int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                (replay ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    char uri[4096];
    int rc;

    uri_of(path, !replay, uri, sizeof uri);
    rc = sqlite3_open_v2(uri, db, flags, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_extended_result_codes(*db, 1);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, EMS_SQLITE_ROW);
    sqlite3_limit(*db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(*db, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_limit(*db, SQLITE_LIMIT_EXPR_DEPTH, 100);
    sqlite3_limit(*db, SQLITE_LIMIT_SQL_LENGTH, 1 << 20);
    return sqlite3_exec(*db,
                        "PRAGMA mmap_size=0; PRAGMA cache_size=-8000;"
                        "PRAGMA cell_size_check=1; PRAGMA locking_mode=EXCLUSIVE;"
                        "PRAGMA query_only=1",
                        NULL, NULL, NULL);
}
