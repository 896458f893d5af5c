/* What a dump says about its homeserver: a small one that is in order, and one change of it for
 * each thing that there is to say; with rows by COPY and by INSERT, cut anywhere. */
#include "harness.h"

#include "event_sample.h"
#include "synapse_state.h"

#include <ctype.h>

/* ---- making dumps ---- */

/* A table: columns and rows, words separated by blanks. */
struct table {
    const char *name, *columns;
    const char *rows[6];
};

static const struct table base[] = {
    {"applied_schema_deltas", "version file", {"92 92/01_x.sql", "94 94/03_y.sql"}},
    {"background_updates", "update_name progress_json", {NULL}},
    {"devices", "user_id device_id", {"@alice:example.org D1"}},
    {"event_json", "event_id json", {"$1 {}", "$2 {}"}},
    {"events", "event_id stream_ordering", {"$1 7", "$2 -3"}},
    {"pushers", "id app_id pushkey user_name", {"4 a b @alice:example.org"}},
    {"schema_compat_version", "lock compat_version", {"X 84"}},
    {"schema_version", "lock version upgraded", {"X 94 t"}},
    {"state_groups", "id room_id", {"5 !r"}},
    {"stream_positions", "stream_name instance_name stream_id", {"events master 7", "pushers w 3"}},
    {"users",
     "name password_hash is_guest appservice_id deactivated",
     {"@alice:example.org $2b 0 \\N 0", "@bob:example.org $2b 0 \\N 0",
      "@17:example.org \\N 1 \\N 0", "@bot:example.org \\N 0 bridge 0"}},
};

static const char post[] =
    "SELECT pg_catalog.setval('public.events_stream_seq', 7, true);\n"
    "SELECT pg_catalog.setval('public.events_backfill_stream_seq', 3, true);\n"
    "SELECT pg_catalog.setval('public.pushers_sequence', 5, false);\n"
    "SELECT pg_catalog.setval('public.state_group_id_seq', 5, true);\n"
    "SELECT pg_catalog.setval('public.user_id_seq', 17, true);\n"
    "ALTER TABLE ONLY public.events\n    ADD CONSTRAINT e1 UNIQUE (event_id);\n"
    "ALTER TABLE ONLY public.event_json\n    ADD CONSTRAINT e2 UNIQUE (event_id);\n"
    "ALTER TABLE ONLY public.devices\n    ADD CONSTRAINT d UNIQUE (user_id, device_id);\n"
    "ALTER TABLE ONLY public.pushers\n    ADD CONSTRAINT p1 PRIMARY KEY (id);\n"
    "ALTER TABLE ONLY public.pushers\n    ADD CONSTRAINT p2 UNIQUE (app_id, pushkey, user_name);\n"
    "ALTER TABLE ONLY public.applied_schema_deltas\n    ADD CONSTRAINT a UNIQUE (version, file);\n"
    "ALTER TABLE ONLY public.background_updates\n    ADD CONSTRAINT b UNIQUE (update_name);\n"
    "ALTER TABLE ONLY public.schema_version\n    ADD CONSTRAINT s1 UNIQUE (lock);\n"
    "ALTER TABLE ONLY public.schema_compat_version\n    ADD CONSTRAINT s2 UNIQUE (lock);\n"
    "ALTER TABLE ONLY public.state_groups\n    ADD CONSTRAINT s3 PRIMARY KEY (id);\n"
    "ALTER TABLE ONLY public.users\n    ADD CONSTRAINT u UNIQUE (name);\n"
    "CREATE UNIQUE INDEX i1 ON public.events USING btree (stream_ordering DESC);\n"
    "CREATE UNIQUE INDEX i2 ON public.stream_positions USING btree (stream_name, instance_name);\n";

enum form { COPY, INSERT, COLUMN_INSERT, FORMS };

static void add_row(struct ems_buf *out, const struct table *t, const char *row, enum form form)
{
    char words[200], *save = NULL, list[200] = "";
    bool first = true;

    for (size_t i = 0; t->columns[i] != '\0'; i++) {
        list[i] = t->columns[i];
        list[i + 1] = '\0';
    }
    if (form == INSERT)
        ems_buf_printf(out, NULL, "INSERT INTO public.%s VALUES (", t->name);
    if (form == COLUMN_INSERT) {
        ems_buf_printf(out, NULL, "INSERT INTO public.%s (", t->name);
        for (const char *c = list; *c != '\0'; c++)
            ems_buf_printf(out, NULL, *c == ' ' ? ", " : "%c", *c);
        ems_buf_printf(out, NULL, ") VALUES (");
    }
    snprintf(words, sizeof words, "%s", row);
    for (char *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        if (!first)
            ems_buf_printf(out, NULL, form == COPY ? "\t" : ", ");
        first = false;
        if (form == COPY)
            ems_buf_printf(out, NULL, "%s", w);
        else if (strcmp(w, "\\N") == 0)
            ems_buf_printf(out, NULL, "NULL");
        else if (isdigit((unsigned char)w[strspn(w, "-")]) && strspn(w, "-0123456789") == strlen(w))
            ems_buf_printf(out, NULL, "%s", w);
        else
            ems_buf_printf(out, NULL, "'%s'", w);
    }
    ems_buf_printf(out, NULL, form == COPY ? "\n" : ");\n");
}

static void add_table(struct ems_buf *out, const struct table *t, enum form form, bool data)
{
    const char *separator = "";

    if (!data)
        ems_buf_printf(out, NULL, "CREATE TABLE public.%s (", t->name);
    else if (form == COPY)
        ems_buf_printf(out, NULL, "COPY public.%s (", t->name);
    for (const char *c = t->columns; *c != '\0' && (!data || form == COPY);) {
        size_t n = strcspn(c, " ");

        ems_buf_printf(out, NULL, data ? "%s%.*s" : "%s\n    %.*s text DEFAULT 'a,)('::text",
                       separator, (int)n, c);
        separator = data ? ", " : ",";
        c += n + (c[n] == ' ');
    }
    if (!data)
        ems_buf_printf(out, NULL, ",\n    CONSTRAINT c CHECK ((%.*s IS NOT NULL))\n);\n",
                       (int)strcspn(t->columns, " "), t->columns);
    else if (form == COPY)
        ems_buf_printf(out, NULL, ") FROM stdin;\n");
    for (size_t r = 0; data && r < 6 && t->rows[r] != NULL; r++)
        add_row(out, t, t->rows[r], form);
    if (data && form == COPY)
        ems_buf_printf(out, NULL, "\\.\n");
}

/* The base with one table in the place of its namesake (or besides), without `without`, and with
 * more statements before and at the end; `post` without the first line that holds `cut`. */
struct change {
    struct table table;
    const char *without, *cut, *more, *before;
};

static struct ems_buf make_dump(const struct change *c, enum form form)
{
    struct ems_buf out = {0};
    const char *cut = c->cut != NULL ? strstr(post, c->cut) : NULL, *from = cut, *to = cut;
    bool added = c->table.name == NULL;

    ems_buf_printf(&out, NULL,
                   "--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n"
                   "%sSELECT pg_catalog.set_config('search_path', '', false);\n"
                   "CREATE SEQUENCE public.events_stream_seq;\n"
                   "CREATE SEQUENCE public.events_backfill_stream_seq;\n"
                   "CREATE SEQUENCE public.pushers_sequence;\n"
                   "CREATE SEQUENCE public.state_group_id_seq;\n"
                   "CREATE SEQUENCE public.user_id_seq;\n",
                   c->before != NULL ? c->before : "");
    for (int data = 0; data < 2; data++) {
        for (size_t i = 0; i < sizeof base / sizeof base[0]; i++) {
            bool same = c->table.name != NULL && strcmp(c->table.name, base[i].name) == 0;

            added |= same;
            if (c->without == NULL || strcmp(c->without, base[i].name) != 0)
                add_table(&out, same ? &c->table : &base[i], form, data);
        }
        if (!added)
            add_table(&out, &c->table, form, data);
    }
    while (from > post && from[-1] != ';' && strncmp(from, "SELECT", 6) != 0 &&
           strncmp(from, "ALTER", 5) != 0 && strncmp(from, "CREATE", 6) != 0)
        from--;
    if (cut != NULL)
        to = strchr(cut, ';') + 2;
    ems_buf_append(&out, post, cut != NULL ? (size_t)(from - post) : strlen(post), NULL);
    if (cut != NULL)
        ems_buf_append(&out, to, strlen(to), NULL);
    ems_buf_printf(&out, NULL, "%s\n--\n-- PostgreSQL database dump complete\n--\n\n",
                   c->more != NULL ? c->more : "");
    return out;
}

static void look(const struct ems_buf *text, size_t chunk, struct ems_synapse *s,
                 struct ems_findings *findings)
{
    struct ems_error err = {0};
    struct ems_sqlscan *scan =
        ems_sqlscan_open(ems_test_source_open(text->data, text->size, chunk, 0, EMS_OK), &err);
    struct ems_sql_event event;
    int rc;

    *s = (struct ems_synapse){0};
    while ((rc = ems_sqlscan_next(scan, &event, &err)) == EMS_OK)
        CU_ASSERT_EQUAL_FATAL(ems_synapse_observe(s, &event, &err), EMS_OK);
    ASSERT_CODE(rc, EMS_END);
    if (rc != EMS_END)
        printf("    %s\n", err.text);
    ems_synapse_take_totals(s, ems_sqlscan_facts(scan));
    ems_sqlscan_free(scan);
    ems_synapse_judge(s, "a.sql", findings);
}

/* ---- */

static void test_in_order(void)
{
    static const struct change none = {.without = NULL};

    for (enum form form = COPY; form < FORMS; form++) {
        struct ems_buf text = make_dump(&none, form);

        for (size_t c = 0; c < EMS_TEST_CHUNKS; c++) {
            struct ems_findings findings = {0};
            struct ems_synapse s;
            char releases[32];

            look(&text, ems_test_chunks[c], &s, &findings);
            for (size_t i = 0; i < findings.count; i++)
                printf("    form %u: %s\n", form, findings.items[i].message);
            CU_ASSERT_EQUAL(findings.count, 0);
            CU_ASSERT(ems_synapse_is_homeserver(&s));
            CU_ASSERT_STRING_EQUAL(s.server_name, "example.org");
            CU_ASSERT_EQUAL(s.users, 4);
            CU_ASSERT_EQUAL(s.schema_version, 94);
            CU_ASSERT_EQUAL(s.compat_version, 84);
            CU_ASSERT_EQUAL(s.state->people, 2);
            CU_ASSERT_EQUAL(s.state->totals[EMS_TOTAL_EVENTS], 2);
            CU_ASSERT_STRING_EQUAL(ems_synapse_state_releases(&s, releases, sizeof releases),
                                   "1.152-1.156");
            CU_ASSERT_STRING_EQUAL(s.events->server, "example.org");
            ems_findings_release(&findings);
            ems_synapse_release(&s);
        }
        ems_buf_release(&text);
    }
}

static const struct {
    struct change change;
    int code;
    enum ems_severity severity;
    const char *message, *advice; /* that they hold */
} cases[] = {
    {{.table = {"users",
                "name password_hash is_guest appservice_id deactivated",
                {"@a:old.example x 0 \\N 0", "@b:example.org x 0 \\N 0",
                 "@c:example.org x 0 \\N 0"}}},
     EMS_SYNAPSE_SERVER_NAME,
     EMS_SEVERITY_WARNING,
     "1 user is not of example.org but of another server (old.example)",
     "which server"},
    {{.table = {"users",
                "name password_hash is_guest appservice_id deactivated",
                {"@a:example.org \\N 0 \\N 0", "@b:example.org \\N 0 \\N 0",
                 "@c:example.org x 0 \\N 1"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "2 of 2 users have no password",
     "Matrix Authentication Service"},
    {{.table = {"background_updates", "update_name progress_json", {"one {}", "two {}"}}},
     EMS_SYNAPSE_BACKGROUND_UPDATES,
     EMS_SEVERITY_WARNING,
     "2 background updates were not finished: one, two",
     "--run-background-updates"},
    {{.table = {"schema_version", "lock version upgraded", {NULL}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_ERROR,
     "schema_version has no row",
     "nothing left out"},
    {{.table = {"schema_version", "lock version upgraded", {"X 95 t"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_NOTE,
     "schema version 95 is newer than any known here (94",
     "newer version of ems-intake"},
    {{.table = {"schema_version", "lock version upgraded", {"X 90 t"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "no release of Synapse has it",
     "development"},
    {{.table = {"schema_version", "lock version upgraded", {"X 92 t"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_NOTE,
     "schema version 92 is that of Synapse 1.129-1.132",
     "quicker if Synapse is upgraded"},
    {{.table = {"schema_compat_version", "lock compat_version", {"X 95"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "compat version 95: every Synapse up to 1.160",
     "at least as new"},
    {{.table = {"schema_compat_version", "lock compat_version", {NULL}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "there is no compat version",
     "nothing left out"},
    {{.without = "state_groups", .cut = "public.state_groups"},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "no table state_groups",
     "`databases:`"},
    {{.table = {"port_from_sqlite3", "table_name forward_rowid", {NULL}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_NOTE,
     "1 table is not Synapse's: port_from_sqlite3 (left behind by synapse_port_db)",
     "restored"},
    {{.table = {"event_json", "event_id json", {"$1 {}"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "2 events, but 1 rows of event_json: the content of 1 is lost",
     "event_json"},
    {{.table = {"event_json", "event_id json", {"$1 {}", "$3 {}"}}},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "2 events and as many rows of event_json: the content of other events",
     "repaired"},
    {{.cut = "i1 ON"},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "events_stream_ordering is missing",
     "CREATE UNIQUE INDEX events_stream_ordering ON events (stream_ordering);"},
    {{.cut = "i1 ON",
      .more = "CREATE UNIQUE INDEX i1 ON public.events USING btree "
              "(stream_ordering) WHERE (event_id IS NULL);\n"},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "events_stream_ordering is missing",
     "CREATE"},
    {{.more = "ALTER TABLE public.events\n    ADD CONSTRAINT odd CHECK ((event_id IS NOT NULL)) "
              "NOT VALID;\n"},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_WARNING,
     "PostgreSQL has not checked against the rows: odd of events",
     "VALIDATE"},
    {{.table = {"e2e_one_time_keys_json", "user_id device_id algorithm key_id", {"a b c d"}},
      .more = "ALTER TABLE ONLY public.e2e_one_time_keys_json ADD CONSTRAINT o UNIQUE (user_id, "
              "device_id, algorithm, key_id);\n"},
     EMS_SYNAPSE_SCHEMA,
     EMS_SEVERITY_NOTE,
     "1 one-time keys",
     "--truncate-one-time-keys"},
    {{.table = {"stream_positions",
                "stream_name instance_name stream_id",
                {"events master 7", "pushers w 3", "pushers v 9"}}},
     EMS_SYNAPSE_SEQUENCE,
     EMS_SEVERITY_WARNING,
     "sequence pushers_sequence is at 4, but stream_positions has 9 for pushers: Synapse refuses",
     "--repair-sequences sets it; by hand: SELECT setval('pushers_sequence', 9);"},
    {{.table = {"pushers", "id app_id pushkey user_name", {"6 a b c", "5 d e f"}}},
     EMS_SYNAPSE_SEQUENCE,
     EMS_SEVERITY_NOTE,
     "sequence pushers_sequence is at 4, but table pushers is at 6",
     "setval('pushers_sequence', 6)"},
    {{.table = {"events", "event_id stream_ordering", {"$1 7", "$2 -12"}}},
     EMS_SYNAPSE_SEQUENCE,
     EMS_SEVERITY_NOTE,
     "events_backfill_stream_seq is at 3, but table events "
     "is at 12",
     "setval('events_backfill_stream_seq', 12)"},
    {{.table = {"users",
                "name password_hash is_guest appservice_id deactivated",
                {"@a:example.org x 0 \\N 0", "@018:example.org x 0 \\N 0"}}},
     EMS_SYNAPSE_SEQUENCE,
     EMS_SEVERITY_NOTE,
     "user_id_seq is at 17, but table users is at 18",
     "setval('user_id_seq', 18)"},
    {{.before = "CREATE DATABASE synapse WITH TEMPLATE = template0 ENCODING = 'SQL_ASCII' "
                "LC_COLLATE = 'C' LC_CTYPE = 'C';\n"},
     EMS_SYNAPSE_ENCODING,
     EMS_SEVERITY_WARNING,
     "not in UTF8 (SQL_ASCII, C, C)",
     "garbled"},
    {{.before = "CREATE DATABASE synapse WITH TEMPLATE = template0 ENCODING = 'UTF8' "
                "LOCALE_PROVIDER = libc LOCALE = 'en_US.UTF-8';\n"},
     EMS_SYNAPSE_COLLATION,
     EMS_SEVERITY_NOTE,
     "not sorted by C (UTF8, en_US.UTF-8)",
     "unique index"},
};

static void test_each_condition(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (enum form form = COPY; form < FORMS; form++) {
            struct ems_buf text = make_dump(&cases[i].change, form);
            struct ems_findings findings = {0};
            struct ems_synapse s;

            look(&text, 100 + i, &s, &findings);
            CU_ASSERT_EQUAL(findings.count, 1);
            for (size_t k = 0; k < findings.count && findings.count != 1; k++)
                printf("    %s: %s\n", cases[i].message, findings.items[k].message);
            if (findings.count == 1) {
                const struct ems_finding *f = &findings.items[0];

                ASSERT_CODE(f->code, cases[i].code);
                CU_ASSERT_EQUAL(f->severity, cases[i].severity);
                CU_ASSERT_PTR_NOT_NULL(strstr(f->message, cases[i].message));
                if (strstr(f->message, cases[i].message) == NULL)
                    printf("    %s\n    %s\n", cases[i].message, f->message);
                CU_ASSERT_PTR_NOT_NULL(strstr(f->advice, cases[i].advice));
                if (strstr(f->advice, cases[i].advice) == NULL)
                    printf("    %s\n", f->advice);
            }
            ems_synapse_judge(&s, "a.sql", &findings); /* what was said is not said again */
            CU_ASSERT(findings.count <= 1);
            ems_findings_release(&findings);
            ems_synapse_release(&s);
            ems_buf_release(&text);
        }
    }
}

/* What is pending explains what is missing. */
static void test_pending_explains(void)
{
    static const struct change change = {
        .table = {"background_updates", "update_name progress_json", {"one {}"}}, .cut = "i1 ON"};
    struct ems_buf text = make_dump(&change, COPY);
    struct ems_findings findings = {0};
    struct ems_synapse s;

    look(&text, 0, &s, &findings);
    CU_ASSERT_EQUAL_FATAL(findings.count, 2);
    CU_ASSERT_EQUAL(findings.items[1].severity, EMS_SEVERITY_NOTE);
    CU_ASSERT_PTR_NOT_NULL(strstr(findings.items[1].advice, "pending"));
    ems_findings_release(&findings);
    ems_synapse_release(&s);
    ems_buf_release(&text);
}

static void test_releases(void)
{
    static const struct {
        uint32_t version;
        const char *delta, *releases;
    } rows[] = {
        {94, "94/01_x.sql", "1.151"},
        {94, "94/05_x.sql", "1.157-1.159"},
        {94, "94/08_x.sql", "1.160"},
        {93, "93/01_sticky_events.sql", "1.148-1.150"},
        {93, "93/01_delayed.sql", "1.143"},
        {92, "92/08_room_ban_redactions.sql", "1.136-1.138"},
        {73, "73/01_x.sql", "1.68-1.76"},
        {53, "53/x", "0.99.0-0.99.3"},
        {90, "90/x", ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ems_synapse s = {.schema_version = rows[i].version};
        char out[32];

        ems_synapse_see_delta(ems_synapse_state(&s), rows[i].delta, strlen(rows[i].delta));
        CU_ASSERT_STRING_EQUAL(ems_synapse_state_releases(&s, out, sizeof out), rows[i].releases);
        ems_synapse_release(&s);
    }
    CU_ASSERT_STRING_EQUAL(ems_synapse_releases(84), "1.100-1.106");
    CU_ASSERT_PTR_NULL(ems_synapse_releases(62));
}

/* The tables of names are complete: every entry is there, every unique index is of a known table.
 */
static void test_known_names(void)
{
    const char *whose;

    for (size_t i = 0; i < EMS_SYNAPSE_UNIQUES; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(ems_synapse_uniques[i].table);
        CU_ASSERT(ems_synapse_knows_table(ems_synapse_uniques[i].table, &whose));
    }
    for (size_t i = 0; i < EMS_SYNAPSE_SEQUENCES; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(ems_synapse_sequences[i].name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(ems_synapse_sequences[i].sources[0].table);
        for (size_t k = 0; k < EMS_SYNAPSE_SOURCES; k++)
            if (ems_synapse_sequences[i].sources[k].table != NULL)
                CU_ASSERT(
                    ems_synapse_knows_table(ems_synapse_sequences[i].sources[k].table, &whose));
    }
    CU_ASSERT(ems_synapse_knows_table("access_tokens", &whose));
    CU_ASSERT(ems_synapse_knows_table("worker_read_write_locks_mode", &whose));
    CU_ASSERT(!ems_synapse_knows_table("users access_tokens", &whose));
    CU_ASSERT(!ems_synapse_knows_table("user", &whose));
    CU_ASSERT(!ems_synapse_knows_table("state_compressor_progress", &whose));
    CU_ASSERT_STRING_EQUAL(whose, "rust-synapse-compress-state");
}

EMS_TESTS("synapse", {"in order", test_in_order}, {"each condition", test_each_condition},
          {"pending explains", test_pending_explains}, {"releases", test_releases},
          {"known names", test_known_names})
