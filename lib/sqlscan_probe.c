/* sqlscan_probe.c - what a file is by its first bytes: a plain dump, or what people send instead.
 */
#include "sqlscan.h"

#include <string.h>

static const struct {
    const char *bytes, *what;
    size_t at;
} magics[] = {
    {"PGDMP", "a custom-format dump (pg_dump -Fc); send a plain one: pg_dump -O, without -F", 0},
    {"SQLite format 3", "an SQLite database, not a PostgreSQL dump", 0},
    {"\x1f\x8b", "gzip data inside the dump: it was compressed twice", 0},
    {"PK\x03\x04", "a zip archive", 0},
    {"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", 0},
    {"\xfd"
     "7zXZ",
     "xz data", 0},
    {"BZh", "bzip2 data", 0},
    {"\x28\xb5\x2f\xfd", "zstd data", 0},
    {"-----BEGIN PGP", "an OpenPGP message in ASCII armor", 0},
    {"\xff\xfe", "UTF-16 text (PowerShell's > writes that); use pg_dump -f FILE", 0},
    {"\xfe\xff", "UTF-16 text; use pg_dump -f FILE", 0},
    {"ustar", "a tar archive (pg_dump -Ft?); send a plain dump: pg_dump -O, without -F", 257},
};

/* Anywhere in the first bytes: titles and first statements. */
static const struct {
    const char *text, *what;
} texts[] = {
    {"PostgreSQL database cluster dump",
     "a dump of a whole cluster (pg_dumpall); dump the one database with pg_dump"},
    {"-- MySQL dump", "a MySQL dump, not a PostgreSQL one"},
    {"-- MariaDB dump", "a MariaDB dump, not a PostgreSQL one"},
    {"PRAGMA foreign_keys", "an SQLite dump, not a PostgreSQL one"},
    {"<!DOCTYPE", "a web page: the download failed"},
    {"<!doctype", "a web page: the download failed"},
    {"<html", "a web page: the download failed"},
    {"pg_dump: error:", "pg_dump's error message instead of a dump"},
    {"pg_dump: [", "pg_dump's error message instead of a dump"},
    {"Password:", "a password prompt, written into the dump"},
    {"{\"error", "an error message instead of a dump"},
};

static bool contains(const uint8_t *data, size_t size, const char *text)
{
    return memmem(data, size, text, strlen(text)) != NULL;
}

/* The first word of a plain dump, behind blanks. */
static bool begins_like_sql(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"--", "/*", "\\restrict ", "SET ", "CREATE ", "SELECT "};

    while (size > 0 && (*data == '\n' || *data == '\r' || *data == ' ')) {
        data++;
        size--;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (size >= strlen(words[i]) && memcmp(data, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* An archive's head: magic, three bytes of version, two of sizes, then which of its formats it is
 * (pg_backup_archiver.c, WriteHead). A directory's toc.dat says tar, because a tar archive holds
 * the same files (pg_backup_directory.c, _CloseArchive). */
static bool is_directory_format(const uint8_t *data, size_t size)
{
    enum { FORMAT = 10, TAR = 3 };

    return size > FORMAT && memcmp(data, "PGDMP", 5) == 0 && data[FORMAT] == TAR;
}

bool ems_sqlscan_probe(const uint8_t *data, size_t size, const char **what)
{
    *what = NULL;
    if (is_directory_format(data, size)) {
        *what = "part of a directory-format dump (pg_dump -Fd); send a plain one: pg_dump -O, "
                "without -F";
        return false;
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        size_t length = strlen(magics[i].bytes);

        if (size >= magics[i].at + length &&
            memcmp(data + magics[i].at, magics[i].bytes, length) == 0) {
            *what = magics[i].what;
            return false;
        }
    }
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        data += 3;
        size -= 3;
    }
    /* UTF-16 without a mark: every other byte is NUL. */
    if (size >= 4 && ((data[0] != 0 && data[1] == 0 && data[2] != 0 && data[3] == 0) ||
                      (data[0] == 0 && data[1] != 0 && data[2] == 0 && data[3] != 0))) {
        *what = "UTF-16 text; use pg_dump -f FILE";
        return false;
    }
    if (size > 512) /* titles stand at the top; further down the words may be data */
        size = 512;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (contains(data, size, texts[i].text)) {
            *what = texts[i].what;
            return false;
        }
    }
    return begins_like_sql(data, size);
}
