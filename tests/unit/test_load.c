/*
 * Loading whole tables from bookmarks: rows in PostgreSQL's binary form, compared with what the
 * server itself writes; and everything that must be noticed on the way.
 */
#include "postgres.h"

#include "chain.h"
#include "server_binary.h"
#include "server_copy.h"
#include "server_load.h"
#include "server_pq.h"
#include "server_workers.h"

#include <fcntl.h>
#include <zlib.h>

#define HEAD                                                                                       \
    "--\n-- PostgreSQL database dump\n--\n\n"                                                      \
    "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"                       \
    "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
#define USERS      "CREATE TABLE public.users (\n    name text,\n    admin smallint\n);\n\n"
#define ROOMS      "CREATE TABLE public.rooms (\n    room_id text NOT NULL,\n    n bigint\n);\n\n"
#define COPY_USERS "COPY public.users (name, admin) FROM stdin;\n"
#define COPY_ROOMS "COPY public.rooms (room_id, n) FROM stdin;\n"
#define END        "\\.\n\n\n"
#define FOOT       "--\n-- PostgreSQL database dump complete\n--\n\n"

/* ---- an upload, its first pass, its second ---- */

struct loading {
    char dir[64], path[80];
    struct ems_upload upload;
    struct ems_findings findings;
    struct ems_bookmarks *bookmarks;
    struct ems_plan plan;
    bool is_program;
    struct ems_restore_result result;
    struct ems_error err;
};

static void write_gz(const char *path, const char *dump, size_t size, const char *mode)
{
    gzFile gz = gzopen(path, mode);

    CU_ASSERT_PTR_NOT_NULL_FATAL(gz);
    CU_ASSERT_EQUAL(gzwrite(gz, dump, (unsigned)size), (int)size);
    CU_ASSERT_EQUAL(gzclose(gz), Z_OK);
}

static void first_pass(struct loading *l, const char *dump, size_t size, const char *mode)
{
    struct ems_chain_options options = {0};
    struct ems_chain chain;
    struct ems_sqlscan *scan;
    struct ems_sql_event event;
    const char *paths[] = {l->path};
    int rc;

    *l = (struct loading){.dir = "/tmp/ems-test-load-XXXXXX"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(l->dir));
    snprintf(l->path, sizeof l->path, "%s/x.sql.gz", l->dir);
    write_gz(l->path, dump, size, mode);
    ASSERT_CODE(ems_upload_resolve(&l->upload, paths, 1, &l->findings, &l->err), EMS_OK);
    l->bookmarks = l->plan.bookmarks = options.bookmarks = ems_bookmarks_new();
    ASSERT_CODE(
        ems_chain_open(&chain, ems_parts_open(&l->upload.sets[0], &l->err), &options, &l->err),
        EMS_OK);
    scan = ems_sqlscan_open(chain.top, &l->err);
    while ((rc = ems_sqlscan_next(scan, &event, &l->err)) == EMS_OK)
        ASSERT_CODE(ems_plan_observe(&l->plan, &event, &l->err), EMS_OK);
    ASSERT_CODE(rc, EMS_END);
    if (rc != EMS_END)
        printf("\n    %s", l->err.text);
    l->is_program = ems_plan_is_program(&l->plan, ems_sqlscan_facts(scan));
    ems_sqlscan_free(scan);
}

static int second_pass(struct loading *l, struct ems_staging *st)
{
    struct ems_restore_options options = {.plan = &l->plan, .jobs = 3};

    l->err = (struct ems_error){0};
    return ems_load_run(st, &l->upload.sets[0], &options, &l->result, &l->err);
}

static void release(struct loading *l)
{
    ems_plan_release(&l->plan);
    ems_bookmarks_free(l->bookmarks);
    ems_upload_release(&l->upload);
    ems_findings_release(&l->findings);
    unlink(l->path);
    rmdir(l->dir);
}

/* Into an unfinished database, left so; a connection to it as the superuser. */
static PGconn *load(struct loading *l, struct ems_staging *st, const char *dump, size_t size,
                    int code)
{
    char name[512];
    int rc;

    first_pass(l, dump, size, "wb6");
    CU_ASSERT_FATAL(l->is_program);
    ASSERT_CODE(ems_staging_create(st, "loaded", false, &l->err), EMS_OK);
    rc = second_pass(l, st);
    ASSERT_CODE(rc, code);
    if (rc != code)
        printf("\n    %s", l->err.text);
    snprintf(name, sizeof name, "%s",
             pg_ask(ems_staging_admin(st),
                    "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"));
    return pg_connect("postgres", "", name);
}

static void done(struct loading *l, struct ems_staging *st, PGconn *conn)
{
    PQfinish(conn);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
    release(l);
}

/* ---- the binary form ---- */

#define TYPES                                                                                      \
    "CREATE TABLE public.types (\n    t text,\n    v character varying(40),\n"                     \
    "    c character(5),\n    i8 bigint,\n    i4 integer,\n    i2 smallint,\n    b boolean,\n"     \
    "    y bytea,\n    j jsonb,\n    s tsvector\n)"
#define COLUMNS "t, v, c, i8, i4, i2, b, y, j, s"

/* Values that are hard to write, and their neighbours, as the server makes them. */
static const char fill[] =
    "INSERT INTO public.types SELECT"
    " CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'a\\tb\\nc\\\\d\\re\\bf\\fg\\vh'"
    " WHEN 3 THEN repeat(chr(8364), i % 50) WHEN 4 THEN E'\\\\N' WHEN 5 THEN E'\\\\.'"
    " ELSE repeat('x', i * 13 % 400) || E'\\n' END,"
    " CASE i % 3 WHEN 0 THEN 'v' || i ELSE repeat(E'\\\\', i % 40) END,"
    " left('abcde', i % 6),"
    " CASE i % 5 WHEN 0 THEN 9223372036854775807 WHEN 1 THEN -9223372036854775808 WHEN 2 THEN NULL"
    " ELSE (i - 500) * 1234567890123 END,"
    " CASE i % 4 WHEN 0 THEN 2147483647 WHEN 1 THEN -2147483648 ELSE i - 500 END,"
    " CASE i % 4 WHEN 0 THEN 32767 WHEN 1 THEN -32768 ELSE i END,"
    " CASE i % 3 WHEN 0 THEN true WHEN 1 THEN false END,"
    " decode(repeat(md5(i::text), i % 5), 'hex'),"
    " CASE i % 4 WHEN 0 THEN NULL ELSE jsonb_build_object('k' || i, repeat(E'\\\\\"', i % 9), 'n',"
    "  ARRAY[i, NULL, i * 0.5]) END,"
    " CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN "
    "E'''it''''s'':3A,16383B ''back\\\\\\\\\\\\\\\\slash'':7'::tsvector"
    " ELSE to_tsvector('english', repeat('quick brown foxes ' || i || ' ', i % 30)) END"
    " FROM generate_series(0, 999) i";

/* COPY ... TO STDOUT, all of it. */
static struct ems_buf copy_out(PGconn *conn, const char *sql)
{
    struct ems_buf out = {0};
    PGresult *answer = PQexec(conn, sql);
    char *piece;
    int n;

    CU_ASSERT_EQUAL(PQresultStatus(answer), PGRES_COPY_OUT);
    PQclear(answer);
    while ((n = PQgetCopyData(conn, &piece, 0)) > 0) {
        ems_buf_append(&out, piece, (size_t)n, NULL);
        PQfreemem(piece);
    }
    PQclear(PQgetResult(conn));
    return out;
}

static const char *const names[] = {"t", "v", "c", "i8", "i4", "i2", "b", "y", "j", "s"};

/* What we make of the server's text, cut anywhere, is what the server itself writes. */
static void test_binary_is_the_servers(void)
{
    static const size_t chunks[] = {1, 7, 513, 65536, SIZE_MAX};
    struct ems_staging *st;
    struct ems_buf text, binary;
    Oid *types = NULL;
    PGconn *conn;

    if (!pg_available("binary form"))
        return;
    st = pg_open_shared();
    pg_ask(ems_staging_admin(st), "CREATE DATABASE kinds TEMPLATE template0");
    conn = pg_connect("postgres", "", "kinds");
    pg_ask(conn, TYPES);
    pg_ask(conn, fill);
    text = copy_out(conn, "COPY public.types (" COLUMNS ") TO STDOUT");
    binary = copy_out(conn, "COPY public.types (" COLUMNS ") TO STDOUT (FORMAT binary)");
    ASSERT_CODE(ems_copy_types(conn, "public.types", names, 10, &types, NULL), EMS_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(types);
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        struct ems_binary b = {0};
        struct ems_buf out = {0};
        bool known;

        ASSERT_CODE(ems_binary_init(&b, types, 10, &known, NULL), EMS_OK);
        CU_ASSERT(known);
        ems_binary_header(&out, NULL);
        for (size_t at = 0, n; at < text.size; at += n) {
            uint8_t *piece; /* alone in its memory, so that a step too far shows */

            n = text.size - at < chunks[c] ? text.size - at : chunks[c];
            piece = malloc(n);
            memcpy(piece, text.data + at, n);
            ASSERT_CODE(ems_binary_feed(&b, piece, n, &out, NULL), EMS_OK);
            free(piece);
        }
        CU_ASSERT(ems_binary_is_whole(&b));
        ems_binary_trailer(&out, NULL);
        CU_ASSERT_EQUAL(out.size, binary.size);
        CU_ASSERT(out.size == binary.size && memcmp(out.data, binary.data, out.size) == 0);
        ems_buf_release(&out);
        ems_binary_release(&b);
    }
    free(types);
    ems_buf_release(&text);
    ems_buf_release(&binary);
    pg_ask(conn, "CREATE TABLE other (a text[], f double precision)");
    ASSERT_CODE(ems_copy_types(conn, "other", (const char *const[]){"a", "f"}, 2, &types, NULL),
                EMS_OK);
    CU_ASSERT_PTR_NULL(types);
    PQfinish(conn);
    pg_ask(ems_staging_admin(st), "DROP DATABASE kinds");
}

/* What pg_dump does not print is not guessed at. */
static void test_not_binary(void)
{
    static const struct {
        Oid type;
        const char *row;
        bool good;
    } rows[] = {
        {20, "9223372036854775807", true},
        {20, "9223372036854775808", false},
        {20, "-9223372036854775808", true},
        {20, "-9223372036854775809", false},
        {20, "99999999999999999999", false},
        {20, "", false},
        {20, "+1", false},
        {20, " 1", false},
        {20, "1 ", false},
        {20, "-", false},
        {20, "0x10", false},
        {21, "32768", false},
        {21, "-32769", false},
        {23, "2147483648", false},
        {16, "t", true},
        {16, "true", false},
        {16, "", false},
        {17, "\\\\x", true},
        {17, "\\\\x0", false},
        {17, "\\\\x0G", false},
        {17, "\\\\xAB", false},
        {17, "abc", false},
        {25, "\\q", false},
        {25, "\\101", false},
        {25, "a\\", false},
        {25, "\\N", true},
        {25, "\\Nx", false},
        {25, "a\tb", false},
        {3614, "'a':1", true},
        {3614, "a", false},
        {3614, "'a':0", false},
        {3614, "'a':16384", false},
        {3614, "'a':1,", false},
        {3614, "'a", false},
        {3614, "'a'  'b'", false},
        {3614, "'a':1E", false},
        {3614, "'a'b'", false},
        {3614, "'a':1,2A 'aa' 'b':1", true},
        {3614, "'\u00e9':1 'z':2", false}, /* these the server puts in order, */
        {3614, "'b' 'a'", false},
        {3614, "'aa' 'a'", false},
        {3614, "'a':1 'a':2", false}, /* makes one of, */
        {3614, "'a':2,1", false},
        {3614, "'a':1,1", false},
        {3614, "''", false}, /* or refuses; of its binary form it believes that it is so */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ems_binary b = {0};
        struct ems_buf out = {0};
        size_t size = strlen(rows[i].row);
        char *row = malloc(size + 1);
        bool known;
        int rc;

        memcpy(row, rows[i].row, size);
        row[size] = '\n';
        ems_binary_init(&b, &rows[i].type, 1, &known, NULL);
        rc = ems_binary_feed(&b, (const uint8_t *)row, size + 1, &out, NULL);
        if ((rc == EMS_OK) != rows[i].good)
            printf("\n    %u: %s", rows[i].type, rows[i].row);
        ASSERT_CODE(rc, rows[i].good ? EMS_OK : EMS_SQL_MALFORMED);
        ems_buf_release(&out);
        ems_binary_release(&b);
        free(row);
    }
}

/* From server to dump to server: the same rows. And rows with no binary form go as text. */
static void test_all_types(void)
{
    static const char digest[] =
        "SELECT count(*) || ' ' || md5(string_agg(x::text, '|' ORDER BY x::text)) "
        "FROM public.types x";
    struct ems_buf dump = {0}, text;
    struct ems_staging *st;
    struct loading l;
    char expected[512];
    PGconn *conn;

    if (!pg_available("all types"))
        return;
    st = pg_open_shared();
    pg_ask(ems_staging_admin(st), "CREATE DATABASE kinds TEMPLATE template0");
    conn = pg_connect("postgres", "", "kinds");
    pg_ask(conn, TYPES);
    pg_ask(conn, fill);
    snprintf(expected, sizeof expected, "%s", pg_ask(conn, digest));
    text = copy_out(conn, "COPY public.types (" COLUMNS ") TO STDOUT");
    PQfinish(conn);
    pg_ask(ems_staging_admin(st), "DROP DATABASE kinds");
    ems_buf_printf(&dump, NULL, "%s",
                   HEAD TYPES ";\n\n" USERS "COPY public.types (" COLUMNS ") FROM stdin;\n");
    ems_buf_append(&dump, text.data, text.size, NULL);
    ems_buf_printf(&dump, NULL, "%s", END COPY_USERS "a\t 1\nb\t+2\n" END FOOT);
    conn = load(&l, st, (const char *)dump.data, dump.size, EMS_OK);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, digest), expected);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(conn, "SELECT string_agg(name || admin, ' ' ORDER BY name) FROM users"), "a1 b2");
    CU_ASSERT_EQUAL(l.result.rows, 1002);
    CU_ASSERT_EQUAL(l.result.tables, 2);
    CU_ASSERT_EQUAL(l.result.statements, 4);
    ems_buf_release(&text);
    ems_buf_release(&dump);
    done(&l, st, conn);
}

/* ---- order ---- */

/* Many tables on three connections, some large enough for a unit of their own, with keys, indexes
 * and foreign keys in every direction. */
static void test_many_tables(void)
{
    enum { TABLES = 40, ROWS = 300 };
    struct ems_buf dump = {0};
    struct ems_staging *st;
    struct loading l;
    char expected[32];
    PGconn *conn;
    size_t rows = 0;

    if (!pg_available("many tables"))
        return;
    st = pg_open_shared();
    ems_buf_printf(&dump, NULL, "%s", HEAD);
    for (int t = 0; t < TABLES; t++)
        ems_buf_printf(&dump, NULL,
                       "CREATE TABLE public.\"t %d\" (\n    id bigint NOT NULL,\n    next bigint,\n"
                       "    text text\n);\n\n",
                       t);
    for (int t = 0; t < TABLES; t++) {
        int count = t % 5 == 4 ? 0 : t % 13 == 3 ? 60 * ROWS : ROWS;

        ems_buf_printf(&dump, NULL, "COPY public.\"t %d\" (id, next, text) FROM stdin;\n", t);
        for (int i = 0; i < count; i++)
            ems_buf_printf(&dump, NULL, "%d\t%s\t%0300d\n", i, t % 5 == 3 ? "\\N" : "7", i * t);
        ems_buf_printf(&dump, NULL, "%s", END);
        rows += (size_t)count;
    }
    for (int t = 0; t < TABLES; t++)
        ems_buf_printf(&dump, NULL,
                       "ALTER TABLE ONLY public.\"t %d\"\n    ADD CONSTRAINT \"t %d_pkey\" PRIMARY "
                       "KEY (id);\n\nCREATE INDEX \"t %d_text\" ON public.\"t %d\" USING btree "
                       "(text);\n\n",
                       t, t, t, t);
    for (int t = 0; t < TABLES; t++)
        ems_buf_printf(&dump, NULL,
                       "ALTER TABLE ONLY public.\"t %d\"\n    ADD CONSTRAINT \"t %d_fkey\" FOREIGN "
                       "KEY (next) REFERENCES public.\"t %d\"(id)%s;\n\n",
                       t, t, t % 3 == 0 ? t : (t + 1) % TABLES, t % 5 == 3 ? "" : " NOT VALID");
    ems_buf_printf(&dump, NULL, "%s", FOOT);
    conn = load(&l, st, (const char *)dump.data, dump.size, EMS_OK);
    CU_ASSERT(l.plan.unit_count > 2 && l.plan.unit_count < 10);
    snprintf(expected, sizeof expected, "%zu", rows);
    CU_ASSERT_STRING_EQUAL(
        pg_ask(conn, "SELECT sum((xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c "
                     "FROM %s', oid::regclass), false, true, '')))[1]::text::int) FROM pg_class "
                     "WHERE relname ~ '^t [0-9]+$'"),
        expected);
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) || ' ' || count(*) FILTER (WHERE NOT "
                                        "convalidated) FROM pg_constraint WHERE contype = 'f'"),
                           "40 32");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT count(*) FROM pg_index i JOIN pg_class c ON "
                                        "c.oid = indexrelid WHERE relname ~ '^t ' AND indisvalid"),
                           "80");
    CU_ASSERT_STRING_EQUAL(pg_ask(conn, "SELECT reltuples FROM pg_class WHERE relname = 't 3'"),
                           "18000"); /* analyzed */
    CU_ASSERT_STRING_EQUAL(
        pg_ask(conn, "SELECT pg_relation_size('\"t 3\"') > 5000000 AND 0 = (SELECT count(*) FROM "
                     "\"t 3\" WHERE xmin <> (SELECT min(xmin::text)::xid FROM \"t 3\"))"),
        "t");
    CU_ASSERT_EQUAL(l.result.rows, rows);
    ems_buf_release(&dump);
    done(&l, st, conn);
}

/* ---- what must be noticed ---- */

static void fails(const char *dump, int code, const char *text)
{
    struct ems_staging *st = pg_open_shared();
    struct loading l;
    PGconn *conn = load(&l, st, dump, strlen(dump), code);

    if (strstr(l.err.text, text) == NULL)
        printf("\n    \"%s\" is not in \"%s\"", text, l.err.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, text));
    done(&l, st, conn);
}

static void test_refused(void)
{
    if (!pg_available("refused by the server"))
        return;
    /* Line 14 is COPY, 15 its first row. "x y" has no binary form: the server says it of the text.
     */
    fails(HEAD USERS COPY_USERS "a\t0\nb\t1\nc\tx y\nd\t2\n" END FOOT, EMS_RESTORE_FAILED,
          "line 17: a row of users, column admin: invalid input syntax for type smallint: \"x y\"");
    fails(HEAD ROOMS COPY_ROOMS "a\t0\n\\N\t1\n" END FOOT, EMS_RESTORE_FAILED,
          "line 16: a row of rooms: null value in column \"room_id\"");
    fails(HEAD ROOMS COPY_ROOMS "x\t1\nx\t2\n" END
                                "ALTER TABLE ONLY public.rooms\n    ADD CONSTRAINT rooms_pkey "
                                "PRIMARY KEY (room_id);\n\n" FOOT,
          EMS_RESTORE_FAILED, "could not create unique index \"rooms_pkey\"");
    fails(HEAD USERS ROOMS COPY_USERS
          "a\t1\n" END "ALTER TABLE ONLY public.rooms\n    ADD CONSTRAINT rooms_pkey PRIMARY KEY "
          "(room_id);\n\nALTER TABLE ONLY public.users\n    ADD CONSTRAINT users_fkey FOREIGN KEY "
          "(name) REFERENCES public.rooms(room_id);\n\n" FOOT,
          EMS_RESTORE_FAILED, "violates foreign key constraint \"users_fkey\"");
}

/* A server that takes fewer rows than it was given and calls that a success. */
static void test_lost_rows(void)
{
    static const char dump[] = HEAD USERS COPY_USERS "a\t0\nb\t1\nc\t1\n" END FOOT;
    static const char sabotage[] =
        "CREATE FUNCTION pg_catalog.ems_drop_row() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF NEW.name = 'b' THEN RETURN NULL; END IF; RETURN NEW; END$$;"
        "CREATE FUNCTION pg_catalog.ems_add() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN CREATE TRIGGER t BEFORE INSERT ON public.users FOR EACH ROW "
        "EXECUTE FUNCTION pg_catalog.ems_drop_row(); END$$;"
        "CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
        "EXECUTE FUNCTION pg_catalog.ems_add()";
    struct ems_staging *st;
    struct loading l;
    char name[512];
    PGconn *conn;

    if (!pg_available("lost rows"))
        return;
    st = pg_open_shared();
    first_pass(&l, dump, sizeof dump - 1, "wb6");
    ASSERT_CODE(ems_staging_create(st, "loaded", false, &l.err), EMS_OK);
    snprintf(name, sizeof name, "%s",
             pg_ask(ems_staging_admin(st),
                    "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"));
    conn = pg_connect("postgres", "", name);
    pg_ask(conn, "SET allow_system_table_mods = on");
    pg_ask(conn, sabotage);
    ASSERT_CODE(second_pass(&l, st), EMS_RESTORE_FAILED);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(l.err.text, "line 15: the dump holds 3 rows of users, but the server took 2"));
    done(&l, st, conn);
}

/* One byte of the upload is another one in the second pass, and the file looks as if nothing had
 * happened: the same size, inode and time. (gzip's level 0 stores, so that the sizes agree.) */
static void test_changed_upload(void)
{
    static char dump[] = HEAD USERS COPY_USERS "a\t0\nb\t1\nc\t1\n" END FOOT;
    struct timespec times[2];
    struct ems_staging *st;
    struct loading l;
    struct stat before;
    char *row;

    if (!pg_available("changed upload"))
        return;
    st = pg_open_shared();
    first_pass(&l, dump, sizeof dump - 1, "wb0");
    CU_ASSERT_EQUAL_FATAL(stat(l.path, &before), 0);
    row = strstr(dump, "b\t1");
    *row = 'z';
    write_gz(l.path, dump, sizeof dump - 1, "wb0");
    *row = 'b';
    times[0] = before.st_atim;
    times[1] = before.st_mtim;
    CU_ASSERT_EQUAL(utimensat(AT_FDCWD, l.path, times, 0), 0);
    ASSERT_CODE(ems_staging_create(st, "loaded", false, &l.err), EMS_OK);
    ASSERT_CODE(second_pass(&l, st), EMS_PART_UNFINISHED);
    CU_ASSERT_PTR_NOT_NULL(strstr(l.err.text, "changed while it was read"));
    ems_staging_abandon(st);
    release(&l);
}

/* A server that has no room for as many connections as were asked for: fewer do it too. */
static void test_few_connections(void)
{
    static const char dump[] = HEAD USERS COPY_USERS "a\t0\n" END FOOT;
    struct ems_staging *st;
    struct loading l;
    char sql[600];
    PGconn *conn;

    if (!pg_available("few connections"))
        return;
    st = pg_open_shared();
    first_pass(&l, dump, sizeof dump - 1, "wb6");
    for (int limit = 1; limit <= 3; limit++) {
        ASSERT_CODE(ems_staging_create(st, "loaded", false, &l.err), EMS_OK);
        snprintf(sql, sizeof sql, "ALTER ROLE %.100s CONNECTION LIMIT %d",
                 pg_ask(ems_staging_admin(st),
                        "SELECT datname FROM pg_database WHERE datname ~ '^ems_load_'"),
                 limit);
        pg_ask(ems_staging_admin(st), sql);
        ASSERT_CODE(second_pass(&l, st), limit == 1 ? EMS_SERVER_ERROR : EMS_OK);
        if (limit < 3)
            ems_staging_abandon(st);
    }
    CU_ASSERT_EQUAL(l.result.rows, 1);
    conn = pg_connect("postgres", "", "postgres");
    done(&l, st, conn);
}

/* A unit that is between two statements when the restore is given up. */
static int slow_load(void *context, PGconn *conn, const struct ems_plan_unit *unit,
                     struct ems_error *err)
{
    (void)unit;
    *(_Atomic bool *)context = true;
    usleep(300000);
    return ems_pq_run(conn, "sleep", err, "SELECT pg_catalog.pg_sleep(30)");
}

static int give_up(void *context, struct ems_error *err)
{
    return *(_Atomic bool *)context ? ems_fail(err, EMS_IO_ERROR, "enough") : EMS_OK;
}

static void test_given_up(void)
{
    const struct ems_plan_unit unit = {.count = 0};
    const struct ems_plan plan = {.count = 0};
    _Atomic bool begun = false;
    struct ems_workers *workers;
    struct ems_error err = {0};
    struct ems_staging *st;
    time_t start = time(NULL);

    if (!pg_available("given up"))
        return;
    st = pg_open_shared();
    ASSERT_CODE(ems_staging_create(st, "loaded", false, &err), EMS_OK);
    workers = ems_workers_start(st, &plan, 2, slow_load, &begun, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(workers);
    ASSERT_CODE(ems_workers_load(workers, &unit, &err), EMS_OK);
    ASSERT_CODE(ems_workers_wait(workers, give_up, &begun, &err), EMS_IO_ERROR);
    ems_workers_free(workers);
    CU_ASSERT(time(NULL) - start < 10);
    ems_staging_abandon(st);
    pg_assert_nothing_left(ems_staging_admin(st));
}

/* Thousands of tables with a row each: several units, because a transaction that empties all of
 * them has more locks than a server has room for. */
static void test_tiny_tables(void)
{
    struct ems_buf dump = {0};
    struct ems_staging *st;
    struct loading l;
    PGconn *conn;

    if (!pg_available("tiny tables"))
        return;
    st = pg_open_shared();
    ems_buf_printf(&dump, NULL, "%s", HEAD);
    for (int i = 0; i < 300; i++)
        ems_buf_printf(&dump, NULL, "CREATE TABLE public.t%d (\n    a text\n);\n\n", i);
    for (int i = 0; i < 300; i++)
        ems_buf_printf(&dump, NULL, "COPY public.t%d (a) FROM stdin;\nx\n" END, i);
    ems_buf_printf(&dump, NULL, "%s", FOOT);
    conn = load(&l, st, (const char *)dump.data, dump.size, EMS_OK);
    CU_ASSERT_EQUAL(l.result.rows, 300);
    CU_ASSERT_EQUAL(l.plan.unit_count, 3);
    done(&l, st, conn);
    ems_buf_release(&dump);
}

/* What does not fit into the plan leaves nothing of it behind. */
static void test_full_plan(void)
{
    static char text[60000];
    const struct ems_sql_statement table = {.action = EMS_SQL_SEND,
                                            .shape = EMS_SQL_CREATE_TABLE,
                                            .text = text,
                                            .size = sizeof text - 1,
                                            .table = "public.t"};
    const struct ems_sql_event event = {.kind = EMS_SQL_STATEMENT, .statement = &table};
    struct ems_plan plan = {.bookmarks = ems_bookmarks_new()};
    struct ems_bookmarks *bookmarks = plan.bookmarks;
    size_t kept = 0;

    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 1000; i++) {
        ASSERT_CODE(ems_plan_observe(&plan, &event, NULL), EMS_OK);
        kept = plan.before_count > kept ? plan.before_count : kept;
    }
    CU_ASSERT(kept > 200 && kept < 300);
    CU_ASSERT(plan.unusable);
    CU_ASSERT(plan.before_count == 0 && plan.before == NULL && plan.tables == NULL);
    ems_plan_release(&plan);
    ems_bookmarks_free(bookmarks);
}

/* Dumps that are restored in one stream. */
static void test_no_program(void)
{
    static const char *const dumps[] = {
        HEAD USERS "INSERT INTO public.users VALUES ('a', 0);\n\n" FOOT,
        HEAD USERS COPY_USERS "a\t0\n" END ROOMS FOOT,
        "--\r\n-- PostgreSQL database dump\r\n--\r\n\r\nSET client_encoding = 'UTF8';\r\n"
        "SET standard_conforming_strings = on;\r\n\r\nCREATE TABLE public.users (\r\n    name "
        "text\r\n);\r\n\r\nCOPY public.users (name) FROM stdin;\r\na\r\n\\.\r\n\r\n\r\n"
        "--\r\n-- PostgreSQL database dump complete\r\n--\r\n\r\n",
        "--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n"
        "SET standard_conforming_strings = on;\n\nSET search_path = public, pg_catalog;\n\n"
        "CREATE TABLE users (\n    name text\n);\n\nCOPY users (name) FROM stdin;\nx\n" END FOOT,
    };

    for (size_t i = 0; i < sizeof dumps / sizeof dumps[0]; i++) {
        struct loading l;

        first_pass(&l, dumps[i], strlen(dumps[i]), "wb6");
        CU_ASSERT(!l.is_program);
        release(&l);
    }
}

static void test_stop(void)
{
    pg_close_shared();
}

EMS_TESTS("load", {"binary rows are what the server writes", test_binary_is_the_servers},
          {"what pg_dump does not print has no binary form", test_not_binary},
          {"all types", test_all_types}, {"many tables at once", test_many_tables},
          {"what the server refuses", test_refused}, {"rows that the server loses", test_lost_rows},
          {"an upload that changes between the passes", test_changed_upload},
          {"fewer connections than asked for", test_few_connections},
          {"given up between two statements", test_given_up},
          {"many tiny tables", test_tiny_tables}, {"a plan that is full", test_full_plan},
          {"dumps that are no program", test_no_program}, {"the server stops", test_stop})
