/* SQLite homeservers made here by SQLite itself: whole, cut, overwritten, with and without their
 * journals, hostile; and that nothing is left behind. */
#include "harness.h"

#include "event_sample.h"
#include "media_rows.h"
#include "sqlite_check.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/ems-test-XXXXXX", path[64];

#define SCHEMA                                                                                     \
    "CREATE TABLE users (name TEXT, admin SMALLINT, UNIQUE(name));"                                \
    "CREATE TABLE events (event_id TEXT, json TEXT);"                                              \
    "CREATE INDEX events_id ON events (event_id);"                                                 \
    "CREATE TABLE rooms (room_id TEXT PRIMARY KEY);"                                               \
    "CREATE TABLE schema_version (lock CHAR(1), version INTEGER);"                                 \
    "CREATE TABLE schema_compat_version (lock CHAR(1), compat_version INTEGER);"                   \
    "CREATE TABLE background_updates (update_name TEXT, progress_json TEXT);"                      \
    "INSERT INTO schema_version VALUES ('X', 94);"                                                 \
    "INSERT INTO schema_compat_version VALUES ('X', 84);"                                          \
    "INSERT INTO rooms VALUES ('!a:example.org');"                                                 \
    "INSERT INTO users VALUES ('@alice:example.org', 1), ('@bob:example.org', 0);"                 \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"                \
    " INSERT INTO events SELECT '$' || i, printf('%0200d', i) FROM n;"

static sqlite3 *make(const char *sql)
{
    sqlite3 *db;

    unlink(path);
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, sql, 0, 0, 0) != SQLITE_OK) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(db));
        abort();
    }
    return db;
}

struct result {
    struct ems_findings findings;
    struct ems_facts facts;
    struct ems_synapse synapse;
    struct ems_error err;
    int rc;
};

static struct result check(const char *file, const struct ems_sqlite_options *options)
{
    static const struct ems_sqlite_options none;
    struct result r = {0};

    r.rc = ems_sqlite_check(file, "homeserver.db", options != NULL ? options : &none, &r.findings,
                            &r.facts, &r.synapse, &r.err);
    return r;
}

static bool says(const struct result *r, int code, enum ems_severity severity, const char *what)
{
    for (size_t i = 0; i < r->findings.count; i++)
        if (r->findings.items[i].code == code && r->findings.items[i].severity == severity &&
            strstr(r->findings.items[i].message, what) != NULL)
            return true;
    printf("\n    nothing says '%s'", what);
    for (size_t i = 0; i < r->findings.count; i++)
        printf("\n    but: %s", r->findings.items[i].message);
    return false;
}

static void release(struct result *r)
{
    ems_findings_release(&r->findings);
    ems_facts_release(&r->facts);
    ems_synapse_release(&r->synapse);
}

static void copy(const char *from, const char *to)
{
    struct ems_buf data = ems_test_file(from);
    FILE *f = fopen(to, "wb");

    if (f == NULL || fwrite(data.data, 1, data.size, f) != data.size || fclose(f) != 0)
        abort();
    ems_buf_release(&data);
}

static void overwrite(const char *file, off_t at, const char *bytes, size_t size)
{
    int fd = open(file, O_WRONLY);

    if (fd < 0 || pwrite(fd, bytes, size, at) != (ssize_t)size)
        abort();
    close(fd);
}

static void test_whole(void)
{
    struct ems_sqlite_options thorough = {.thorough = true};
    struct result r;

    sqlite3_close(make(SCHEMA));
    for (int i = 0; i < 2; i++) {
        r = check(path, i == 0 ? NULL : &thorough);
        ASSERT_CODE(r.rc, EMS_OK);
        CU_ASSERT_EQUAL(r.findings.count, 0);
        CU_ASSERT(ems_synapse_is_homeserver(&r.synapse));
        CU_ASSERT_STRING_EQUAL(r.synapse.server_name, "example.org");
        CU_ASSERT_EQUAL(r.synapse.users, 2);
        CU_ASSERT_EQUAL(r.synapse.schema_version, 94);
        CU_ASSERT_EQUAL(r.synapse.compat_version, 84);
        CU_ASSERT_STRING_EQUAL(r.facts.layer, "sqlite");
        CU_ASSERT_PTR_NOT_NULL(strstr(r.facts.summary, "500 events, 1 rooms"));
        release(&r);
    }
}

static void test_contents(void)
{
    struct result r;

    sqlite3_close(make(SCHEMA "INSERT INTO background_updates VALUES ('a', ''), ('b', '');"
                              "INSERT INTO users VALUES ('@eve:other.example', 0)"));
    r = check(path, NULL);
    CU_ASSERT(says(&r, EMS_SYNAPSE_BACKGROUND_UPDATES, EMS_SEVERITY_WARNING, "2 background"));
    CU_ASSERT(says(&r, EMS_SYNAPSE_SERVER_NAME, EMS_SEVERITY_WARNING, "1 user is not of"));
    release(&r);
    sqlite3_close(make(
        SCHEMA "ALTER TABLE users ADD COLUMN password_hash; ALTER TABLE users ADD COLUMN "
               "is_guest; ALTER TABLE users ADD COLUMN deactivated; ALTER TABLE users ADD "
               "COLUMN appservice_id; CREATE TABLE state_compressor_state (a);"
               "CREATE TABLE event_json (event_id); INSERT INTO event_json VALUES (1);"
               "CREATE VIRTUAL TABLE event_search USING fts4 (value);"
               "CREATE TABLE e2e_one_time_keys_json (a); INSERT INTO e2e_one_time_keys_json "
               "VALUES (1); CREATE TABLE applied_schema_deltas (version, file); INSERT INTO "
               "applied_schema_deltas VALUES (94, '94/08_x.sql'); DELETE FROM schema_version"));
    r = check(path, NULL);
    CU_ASSERT(says(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_ERROR, "schema_version has no row"));
    CU_ASSERT(says(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING, "2 of 2 users have no password"));
    CU_ASSERT(says(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE, "1 one-time keys"));
    CU_ASSERT(says(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_NOTE,
                   "1 table is not Synapse's: state_compressor_state"));
    CU_ASSERT(says(&r, EMS_SYNAPSE_SCHEMA, EMS_SEVERITY_WARNING,
                   "500 events, but 1 rows of event_json: the content of 499 is lost"));
    CU_ASSERT_EQUAL(r.findings.count, 5);
    release(&r);
    sqlite3_close(make("CREATE TABLE x (y)"));
    r = check(path, NULL);
    CU_ASSERT(says(&r, EMS_SQLITE_NOT_SYNAPSE, EMS_SEVERITY_WARNING, "not Synapse's"));
    release(&r);
}

static void test_damage(void)
{
    static const struct {
        off_t at;
        const char *bytes;
        size_t size;
        const char *says;
    } changes[] = {
        {0, "X", 1, "no SQLite database"},
        {16, "\x00\x03", 2, "page size makes no sense"},
        {100, "\x00", 1, "SQLite"},            /* the schema's page is of no known type */
        {4096 * 3, "\xff\xff\xff\xff", 4, ""}, /* some page of a table */
        {4096 * 4, "\x0d\xff\xff\x00\x10", 5, ""},
    };
    struct stat st;
    struct result r;

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        sqlite3_close(make("PRAGMA page_size=4096;" SCHEMA));
        overwrite(path, changes[i].at, changes[i].bytes, changes[i].size);
        r = check(path, NULL);
        ASSERT_CODE(r.rc, EMS_OK);
        CU_ASSERT(says(&r, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, changes[i].says));
        release(&r);
    }
    sqlite3_close(make(SCHEMA));
    if (stat(path, &st) != 0)
        abort();
    for (off_t size = 0; size < st.st_size; size += size < 200 ? 25 : 8000) {
        sqlite3_close(make(SCHEMA));
        if (truncate(path, size) != 0)
            abort();
        r = check(path, NULL);
        ASSERT_CODE(r.rc, EMS_OK);
        CU_ASSERT(says(&r, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, ""));
        release(&r);
    }
    sqlite3_close(make(SCHEMA));
    overwrite(path, st.st_size, "garbage", 7);
    r = check(path, NULL);
    CU_ASSERT(says(&r, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, "pages take"));
    release(&r);
    r = check("/nonexistent/homeserver.db", NULL);
    ASSERT_CODE(r.rc, EMS_IO_ERROR);
    release(&r);
}

/* What is compared with the rest of an upload: media, and events that vouch for the signing key. */
static void test_for_the_upload(void)
{
    struct ems_media_id m;
    struct result r;

    sqlite3_close(make(
        SCHEMA
        "CREATE TABLE local_media_repository (media_id TEXT, media_length INTEGER, user_id TEXT,"
        " quarantined_by TEXT, url_cache TEXT, sha256 TEXT);"
        "INSERT INTO local_media_repository VALUES"
        " ('Bcdefgh', 7, '@a:b', '@m:b', NULL, printf('%064d', 1)),"
        " ('Abcdefgh', 5, NULL, NULL, NULL, NULL), ('Pending', NULL, '@a:b', NULL, NULL, NULL),"
        " ('../etc/x', 5, '@a:b', NULL, NULL, NULL);"
        "ALTER TABLE rooms ADD COLUMN room_version TEXT; UPDATE rooms SET room_version = '10';"
        "ALTER TABLE events ADD COLUMN sender TEXT; ALTER TABLE events ADD COLUMN stream_ordering;"
        "INSERT INTO events (event_id, sender, stream_ordering) VALUES"
        " ('$own', '@alice:example.org', 1), ('$theirs', '@eve:other.net', 2);"
        "CREATE TABLE event_json (event_id TEXT, json TEXT);"
        "INSERT INTO event_json SELECT event_id, json_object('sender', sender, 'room_id',"
        " '!a:example.org', 'origin_server_ts', 5, 'type', 'm.room.member') FROM events"
        " WHERE sender IS NOT NULL;"));
    r = check(path, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.synapse.media);
    CU_ASSERT(r.synapse.media->rows == 4 && r.synapse.media->odd == 1);
    CU_ASSERT(r.synapse.media->pending == 1 && r.synapse.media->quarantined == 1);
    CU_ASSERT_EQUAL_FATAL(r.synapse.media->ids.count, 3);
    m = ems_media_ids_get(&r.synapse.media->ids, 0);
    CU_ASSERT(m.id_size == 8 && m.size == 5 && m.sha256 == NULL && !m.quarantined);
    m = ems_media_ids_get(&r.synapse.media->ids, 1);
    CU_ASSERT(m.id_size == 7 && m.size == 7 && m.sha256 != NULL && m.quarantined);
    CU_ASSERT(m.sha256 != NULL && m.sha256[31] == 1 && m.uploader == ems_media_uploader("@a:b", 4));
    m = ems_media_ids_get(&r.synapse.media->ids, 2);
    CU_ASSERT_EQUAL(m.size, EMS_NOWHERE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.synapse.events);
    CU_ASSERT_EQUAL_FATAL(r.synapse.events->others.count, 1);
    CU_ASSERT_STRING_EQUAL(r.synapse.events->others.items[0].room_version, "10");
    release(&r);
}

/* An index that lacks a row: only the thorough check compares it with its table. */
static void test_thorough(void)
{
    struct ems_sqlite_options thorough = {.thorough = true};
    struct ems_sqlite_options small = {.thorough_below = 1u << 20}, big = {.thorough_below = 100};
    sqlite3 *db = make(SCHEMA);
    struct result r;

    sqlite3_exec(db,
                 "PRAGMA writable_schema=1;"
                 "UPDATE sqlite_schema SET sql = 'CREATE INDEX events_id ON events (json)'"
                 " WHERE name = 'events_id'",
                 0, 0, 0);
    sqlite3_close(db);
    r = check(path, NULL);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    release(&r);
    r = check(path, &thorough);
    CU_ASSERT(says(&r, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, "at least 10 problems"));
    release(&r);
    r = check(path, &small);
    CU_ASSERT(says(&r, EMS_SQLITE_CORRUPT, EMS_SEVERITY_ERROR, "at least 10 problems"));
    release(&r);
    r = check(path, &big);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    release(&r);
}

/* A copy of a running server, with and without its -wal, in a spool. */
static void test_wal(void)
{
    char wal[80], aside[80];
    struct ems_sqlite_options private = {.private_copy = true};
    sqlite3 *db = make("PRAGMA journal_mode=WAL;" SCHEMA);
    struct ems_sqlite_spool *spool;
    struct ems_error err = {0};
    struct ems_buf data, log;
    struct result r;

    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_exec(db, "INSERT INTO users VALUES ('@late:example.org', 0)", 0, 0, 0);
    snprintf(wal, sizeof wal, "%s-wal", path);
    snprintf(aside, sizeof aside, "%s/aside.db", directory);
    copy(path, aside);
    data = ems_test_file(path);
    log = ems_test_file(wal);
    sqlite3_close(db);

    r = check(aside, NULL);
    ASSERT_CODE(r.rc, EMS_OK);
    CU_ASSERT(says(&r, EMS_SQLITE_WAL, EMS_SEVERITY_WARNING, "no -wal file"));
    CU_ASSERT_EQUAL(r.synapse.users, 2);
    release(&r);

    spool = ems_sqlite_spool_open(directory, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(spool);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_WAL, log.data, log.size, &err),
                EMS_OK);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, data.data, 5000, &err),
                EMS_OK);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, data.data + 5000,
                                       data.size - 5000, &err),
                EMS_OK);
    r = check(ems_sqlite_spool_path(spool), &private);
    ASSERT_CODE(r.rc, EMS_OK);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    CU_ASSERT_EQUAL(r.synapse.users, 3); /* what only the -wal holds */
    release(&r);
    ems_sqlite_spool_free(spool);
    unlink(aside);
    ems_buf_release(&data);
    ems_buf_release(&log);
}

static void test_hot_journal(void)
{
    char journal[80];
    struct result r;
    FILE *f;

    sqlite3_close(make(SCHEMA));
    snprintf(journal, sizeof journal, "%s-journal", path);
    f = fopen(journal, "wb");
    if (f == NULL || fwrite("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and so on", 1, 18, f) != 18)
        abort();
    fclose(f);
    r = check(path, NULL);
    CU_ASSERT(says(&r, EMS_SQLITE_WAL, EMS_SEVERITY_ERROR, "journal is hot"));
    release(&r);
    overwrite(journal, 0, "\0\0\0\0\0\0\0\0", 8); /* what PERSIST leaves behind */
    r = check(path, NULL);
    CU_ASSERT_EQUAL(r.findings.count, 0);
    release(&r);
    unlink(journal);
}

static int stop(void *context, struct ems_error *err)
{
    unsigned *calls = context;

    return ++*calls >= 2 ? ems_fail(err, EMS_IO_ERROR, "interrupted") : EMS_OK;
}

/* Views stand in for tables, and would count for ever; a signal ends a long check. */
static void test_hostile(void)
{
    unsigned calls = 0;
    struct ems_sqlite_options options = {.tick = stop, .tick_context = &calls};
    struct result r;

    sqlite3_close(make("CREATE TABLE events (x); CREATE TABLE schema_version (version);"
                       "CREATE VIEW users AS WITH RECURSIVE n(name) AS"
                       " (SELECT 1 UNION ALL SELECT name + 1 FROM n) SELECT name FROM n"));
    r = check(path, NULL);
    ASSERT_CODE(r.rc, EMS_OK);
    CU_ASSERT(says(&r, EMS_SQLITE_NOT_SYNAPSE, EMS_SEVERITY_WARNING, ""));
    release(&r);
    sqlite3_close(make(SCHEMA "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                              " WHERE i < 20000) INSERT INTO events SELECT i, i FROM n"));
    r = check(path, &options);
    ASSERT_CODE(r.rc, EMS_IO_ERROR);
    CU_ASSERT_STRING_EQUAL(r.err.text, "interrupted");
    release(&r);
}

/* Of runs that were killed: gone with the next one. Of runs that still work, or of somebody else's
 * making: untouched. */
static void test_leftovers(void)
{
    struct ems_error err = {0};
    struct ems_sqlite_spool *spool, *other;
    char dead[100], file[140], foreign[100], kept[140], live[200];

    snprintf(dead, sizeof dead, "%s/ems-sqlite-AbCdEf", directory);
    snprintf(file, sizeof file, "%s/homeserver.db-wal", dead);
    snprintf(foreign, sizeof foreign, "%s/ems-sqlite-FedCbA", directory);
    snprintf(kept, sizeof kept, "%s/notes", foreign);
    CU_ASSERT_EQUAL_FATAL(mkdir(dead, 0700), 0);
    CU_ASSERT_EQUAL(close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
    CU_ASSERT_EQUAL_FATAL(mkdir(foreign, 0700), 0);
    CU_ASSERT_EQUAL(close(open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
    spool = ems_sqlite_spool_open(directory, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(spool);
    CU_ASSERT_NOT_EQUAL(access(dead, F_OK), 0);
    CU_ASSERT_EQUAL(access(kept, F_OK), 0);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, "x", 1, &err), EMS_OK);
    snprintf(live, sizeof live, "%s", ems_sqlite_spool_path(spool));
    other = ems_sqlite_spool_open(directory, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(access(live, F_OK), 0);
    ems_sqlite_spool_free(other);
    CU_ASSERT_EQUAL(access(live, F_OK), 0);
    ems_sqlite_spool_free(spool);
    CU_ASSERT_NOT_EQUAL(access(live, F_OK), 0);
    unlink(kept);
    rmdir(foreign);
}

static void test_spool_is_private_and_removed(void)
{
    struct ems_error err = {0};
    struct ems_sqlite_spool *spool = ems_sqlite_spool_open(directory, &err);
    char made[4096];
    struct stat st;

    CU_ASSERT_PTR_NOT_NULL_FATAL(spool);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_DATABASE, "x", 1, &err), EMS_OK);
    ASSERT_CODE(ems_sqlite_spool_write(spool, EMS_SQLITE_FILE_JOURNAL, "", 0, &err), EMS_OK);
    snprintf(made, sizeof made, "%s", ems_sqlite_spool_path(spool));
    CU_ASSERT(stat(made, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_size == 1);
    *strrchr(made, '/') = '\0';
    CU_ASSERT(stat(made, &st) == 0 && (st.st_mode & 0777) == 0700);
    ems_sqlite_spool_free(spool);
    CU_ASSERT(stat(made, &st) != 0);
    CU_ASSERT_PTR_NULL(ems_sqlite_spool_open("/nonexistent", &err));
    ASSERT_CODE(err.code, EMS_IO_ERROR);
    ems_sqlite_spool_free(NULL);
}

int main(void)
{
    static const struct ems_test tests[] = {
        {"a whole homeserver", test_whole},
        {"what is in it", test_contents},
        {"cut and overwritten", test_damage},
        {"indexes, when asked for", test_thorough},
        {"media and events", test_for_the_upload},
        {"WAL mode", test_wal},
        {"a hot journal", test_hot_journal},
        {"hostile schemas, and signals", test_hostile},
        {"the private directory", test_spool_is_private_and_removed},
        {"private directories of killed runs", test_leftovers},
    };
    int status;

    if (mkdtemp(directory) == NULL)
        return 70;
    snprintf(path, sizeof path, "%s/homeserver.db", directory);
    status = ems_tests_run("sqlite_check", tests, sizeof tests / sizeof tests[0]);
    unlink(path);
    if (rmdir(directory) != 0) { /* fails if anything was left there */
        printf("left behind in %s\n", directory);
        status = 1;
    }
    return status;
}
