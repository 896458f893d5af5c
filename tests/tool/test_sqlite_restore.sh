# ems-restore and ems-ingest with an SQLite homeserver: the same rows in PostgreSQL as a homeserver
# there would have; every conversion; and for everything that does not fit: the right status, the
# table and the row by name, nothing left behind.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1 || ! command -v sqlite3 >/dev/null; then
    echo 'skipped: no PostgreSQL server programs or no sqlite3 here'
    ok
    finish sqlite_restore
    exit
fi
cleanups+=(pg_scratch_stop)
pg_scratch_start fsync=off wal_level=minimal max_wal_senders=0 log_statement=all || no 'scratch server'
psql -X -q -d postgres -c "CREATE ROLE intake LOGIN CREATEDB CREATEROLE" \
    -c "CREATE DATABASE synapse TEMPLATE template0"
cat "$here"/fixtures/synapse-{schema,fill,indexes}.sql |
    psql -X -q -v ON_ERROR_STOP=1 -v events=120 --single-transaction -d synapse || no 'the homeserver'
# A user who was given a number for a name: their sequence counts in the names.
psql -X -q -d synapse -o /dev/null -c "INSERT INTO users (name) VALUES ('@1234:example.org')" \
    -c "SELECT setval('user_id_seq', 1234)"
PGDATABASE=synapse "$here/fixtures/make-sqlite" homeserver.db >/dev/null || no 'make-sqlite'
pg_dump -O synapse >original.sql
gzip -k original.sql
dsn="host=$PGHOST port=$PGPORT user=intake dbname=postgres"
restore() { ems-restore --dsn "$dsn" -f -d "${db:-staged}" --schema-from "${from:-original.sql}" "$@"; }
ask() { psql -X -At -d "${db:-staged}" -c "$1"; }
is() { # SQL VALUE
    local got
    got=$(ask "$1")
    [ "$got" = "$2" ] && ok || no "$1: '$got', not '$2'"
}
# Nothing unfinished, no role that owns nothing, and of what was asked for neither.
nothing_left() {
    local n
    n=$(psql -X -At -d postgres -c "SELECT count(*) FROM pg_database WHERE datname ~ '^ems_|^bad'")
    [ "$n" = 0 ] && ok || no "$1: $n databases left"
    n=$(psql -X -At -d postgres -c "SELECT count(*) FROM pg_roles r WHERE rolname ~ '^ems_' AND
        NOT EXISTS (SELECT 1 FROM pg_database WHERE datdba = r.oid)")
    [ "$n" = 0 ] && ok || no "$1: $n roles left"
}
# Rows of a COPY sorted; without those of the tables that are not copied, the count of one sequence
# that belongs to such a table, and the key of \restrict.
normal() {
    perl -ne '
        s/^\\(un)?restrict .*//;
        next if /instance_map_instance_id_seq\x27, \d/;
        if (/^COPY public\.(\w+) .* FROM stdin;$/) {
            $left = $1 =~ /^(user_directory\w*|cache_invalidation_\w+|instance_map)$/;
            print; $copy = 1; @rows = (); next;
        }
        if ($copy && $_ eq "\\.\n") { print sort @rows unless $left; $copy = 0 }
        if ($copy) { push @rows, $_ } else { print }' "$1"
}

# Whether this is the long version: what differs little from something else is left to it.
long() { [ -n "${EMS_LONG-}" ]; }

# ---- the guide's upload: tar, gzip, gpg, split; and the same homeserver comes out ----
mkdir up
tar -zcf h.tar.gz homeserver.db
printf 'TESTonlyTESTonly\n' >pass
encrypt TESTonlyTESTonly h.tar.gz up/homeserver.db.tar.gz.gpg
split -b 50k up/homeserver.db.tar.gz.gpg up/homeserver.db.tar.gz.gpg.part-
rm up/homeserver.db.tar.gz.gpg
check 'the whole upload' 0 ems-ingest --json --dsn "$dsn" -d staged --schema-from original.sql.gz -p pass up
json artifact/kind sqlite
json artifact/verdict verified
json artifact/database staged
json artifact/layers/4/layer staging
json 'artifact/layers/4/tables/public.events' 120
json artifact/layers/4/left_out/user_directory_search/reason null # an FTS table has no rows of its own
json artifact/layers/4/left_out/schema_version/rows 1
json summary/exit 0
pg_dump -O staged >again.sql
normal original.sql >original.normal
normal again.sql >again.normal
cmp -s original.normal again.normal && ok || { no 'not the same homeserver'; diff original.normal again.normal | head -n 20; }
is 'SELECT count(*), count(stream_id) FROM user_directory_stream_pos' '1|0'
is 'SELECT count(*) FROM user_directory_search' 0
is "SELECT last_value FROM user_id_seq" 1234
is "SELECT count(*) FROM event_search WHERE vector @@ to_tsquery('english', 'say | server')" \
    "$(db=synapse ask "SELECT count(*) FROM event_search WHERE vector @@ to_tsquery('english', 'say | server')")"
nothing_left 'a good one'
absent "$work/ems-sqlite-*"
check 'the target exists' 75 ems-restore --dsn "$dsn" -d staged --schema-from original.sql -p pass up
says 'restore-exists'
check 'from a pipe' 0 bash -c "cat up/* | ems-restore --dsn '$dsn' -f --schema-from original.sql -p pass -"
psql -X -q -d postgres -c 'DROP DATABASE staging_example_org' || no 'named after the server'
check 'a dump for a homeserver' 1 bash -c "ems-restore --dsn '$dsn' -d bad --schema-from original.sql - <original.sql"
says 'standard input is no SQLite homeserver'

# ---- the schema from elsewhere ----
pg_dump -O --inserts synapse >inserts.sql
from=inserts.sql check 'a dump with INSERTs; a plain file, verbose' 0 restore -v homeserver.db
says 'left out: schema_version, 1 rows: comes with the schema'
says '52 tables'
if long; then
    encrypt TESTonlyTESTonly original.sql.gz original.sql.gz.gpg
    from=original.sql.gz.gpg check 'an encrypted dump' 0 restore -p pass homeserver.db
    from="host=$PGHOST dbname=synapse user=postgres" check 'a database' 0 restore homeserver.db
fi
# one that asks for a password, which is in no argument and no environment of pg_dump
psql -X -q -d postgres -c "CREATE ROLE asked LOGIN SUPERUSER PASSWORD 'se:cr\\et'"
sed -i '1i local all asked scram-sha-256' "$pg_scratch_dir/data/pg_hba.conf"
psql -X -q -d postgres -c 'SELECT pg_reload_conf()' >/dev/null
from="host=$PGHOST dbname=synapse user=asked password='se:cr\\\\et'" check 'a database with a password' 0 restore homeserver.db
pg_dump -O staged | normal - >again.normal
same original.normal again.normal
db=bad from="host=$PGHOST dbname=synapse user=asked password=wrong" check 'a wrong password' 75 restore homeserver.db
says 'schema-from database synapse: .*password'
says_not wrong
db=bad from="host=$PGHOST dbname=postgres user=postgres" check 'not a Synapse' 75 restore homeserver.db
says 'no row of schema_version|without any data'
db=bad from=nowhere.sql check 'no such dump' 75 restore homeserver.db
says 'schema-from nowhere.sql: there is no such file'
pg_dump -O -s synapse >schema.sql
db=bad from=schema.sql check 'a dump with --schema-only' 75 restore homeserver.db
says 'schema-from schema.sql: .*schema-only'
head -c 40000 original.sql >cut.sql
db=bad from=cut.sql check 'a dump that is cut' 75 restore homeserver.db
says 'schema-from cut.sql: .*sql-truncated'
sed "/^COPY public.users /i COPY public.users FROM PROGRAM 'touch $work/hacked';" original.sql >hostile.sql
db=bad from=hostile.sql check 'a hostile dump' 75 restore homeserver.db
says 'schema-from hostile.sql: .*sql-refused'
absent hacked
grep -q 'PROGRAM' "$pg_scratch_dir/server.log" && no 'the server heard of it' || ok
check 'no schema' 2 ems-restore --dsn "$dsn" -d bad up
# ---- a dump and an SQLite file in one upload: --schema-from tells which of the two it is ----
mkdir two && cp up/* two && rm -f two/*.yaml
cp original.sql.gz two/customer_db_export.sql.gz
check 'a dump beside it' 0 ems-ingest --json --dsn "$dsn" -f -d staged -p pass two
says 'only checked, not restored: the upload holds customer_db_export.sql.gz too'
json artifact/kind $'pg-dump\nsqlite'
json artifact/verdict $'verified\nverified'
json artifact/database $'staged\nnull'
check 'it beside a dump' 0 ems-ingest --json --dsn "$dsn" -f -d staged --schema-from original.sql.gz -p pass two
says 'only checked, not restored: the upload holds homeserver.db.tar.gz.gpg too'
json artifact/verdict $'verified\nverified'
json artifact/database $'null\nstaged'
rm -r two

check 'no schema, the whole upload' 75 ems-ingest --dsn "$dsn" -d bad -p pass up
says 'schema-from is missing'
nothing_left 'bad schemas'

# ---- conversions: what SQLite may hold of an honest homeserver ----
changed() { # SQL...: changed.db is the homeserver with that done to it
    cp homeserver.db changed.db
    printf '%s\n' "$@" | sqlite3 -bail changed.db || no "sqlite3: $*"
}
changed "UPDATE users SET shadow_banned = 'false', approved = 'true', locked = 1 WHERE rowid = 1;" \
    "INSERT INTO user_filters VALUES ('bob', 100, x'', '@bob:example.org'), ('bob', 101, 'text', '@bob:example.org');" \
    "UPDATE profiles SET fields = '{\"a\": [1, \"\\u00e4 \\\\u0000\"]}' WHERE rowid = 1;" \
    "UPDATE profiles SET fields = '{\"a\": \"\\u0000\"}' WHERE rowid = 3;" \
    "UPDATE devices SET display_name = 'a' || char(0) || 'b' WHERE rowid IN (2, 5);" \
    "INSERT INTO event_search SELECT event_id, room_id, sender, 'content.name', 'x' || char(0) FROM events LIMIT 1;" \
    "INSERT INTO event_search VALUES ('\$gone', '!gone', '@a:b', 'content.body', 'orphan words');" \
    "DELETE FROM sliding_sync_connection_positions; DELETE FROM sliding_sync_connections;" \
    "UPDATE stream_positions SET stream_id = 5000 WHERE stream_name = 'pushers';" \
    "INSERT INTO stream_positions VALUES ('backfill', 'master', 77);" \
    "UPDATE events SET stream_ordering = -99 WHERE event_id = (SELECT event_id FROM events WHERE type = 'm.room.message' LIMIT 1);" \
    "CREATE TABLE email_status_account_validity (user_id TEXT); INSERT INTO email_status_account_validity VALUES ('x'), ('y');" \
    "INSERT INTO user_directory_search VALUES ('@a:b', 'words');" \
    "INSERT INTO background_updates VALUES ('some_index', '{}', NULL, 0);" \
    "CREATE TABLE \"it's a \"\"name\"\"\" (a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO \"it's a \"\"name\"\"\" VALUES (1, 2);" \
    "CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM users; END;" \
    "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n;"
gone=$(sqlite3 changed.db "SELECT seq FROM sqlite_sequence WHERE name = 'sliding_sync_connection_positions'")
check 'conversions' 0 restore --json changed.db
says 'table devices: 2 of [0-9]+ rows were not copied, because they hold NUL characters \(rowid 2, 5\)'
says 'table profiles: 1 of [0-9]+ rows were not copied, because they hold NUL characters \(rowid 3\)'
says 'table event_search: 1 of .* NUL'
says 'table event_search: 1 rows were not copied, because their events are not there'
says 'table email_status_account_validity with 2 rows was not copied: the schema has no such table'
says 'background update was not finished: some_index'
json artifact/layers/1/left_out/email_status_account_validity/rows 2
is "SELECT shadow_banned, approved, locked FROM users WHERE name = '$(sqlite3 changed.db 'SELECT name FROM users WHERE rowid = 1')'" 'f|t|t'
is "SELECT string_agg(filter_json::text, ' ' ORDER BY filter_id) FROM user_filters WHERE filter_id >= 100" '\x \x74657874'
is "SELECT fields->'a'->>1 FROM profiles WHERE fields ? 'a'" 'ä \u0000'
is 'SELECT count(*) FROM devices' "$(($(sqlite3 changed.db 'SELECT count(*) FROM devices') - 2))"
is 'SELECT update_name FROM background_updates' some_index
is "SELECT last_value, is_called FROM pushers_sequence" '5000|t'
is "SELECT last_value FROM events_backfill_stream_seq" 99
is "SELECT nextval('sliding_sync_connection_positions_connection_position_seq')" "$((gone + 1))"
is 'SELECT count(*) FROM event_search' "$(sqlite3 homeserver.db 'SELECT count(*) FROM event_search')"
# bytes that came last and are in the -wal only
cp homeserver.db wal.db
perl -e '
    open my $h, "|-", "sqlite3", "wal.db" or die;
    print $h "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;\n",
        "UPDATE users SET consent_version = \x27in the wal\x27 WHERE rowid = 1;\n",
        ".shell tar -zcf wal.tar.gz wal.db wal.db-wal\n";
    close $h' >/dev/null
check 'with a -wal' 0 restore wal.tar.gz
is "SELECT count(*) FROM users WHERE consent_version = 'in the wal'" 1
sqlite3 utf16.db "PRAGMA encoding = 'UTF-16le'; CREATE TABLE x (y);" && sqlite3 homeserver.db .dump | sqlite3 utf16.db
check 'stored as UTF-16, auto_vacuum' 0 restore utf16.db
pg_dump -O staged | normal - >again.normal
same original.normal again.normal
nothing_left 'conversions'

# ---- what does not fit ----
refused() { # NAME PATTERN SQL...: status 1, the message, and nothing of it on the server
    local what=$1 pattern=$2
    shift 2
    changed "$@"
    db=bad check "$what" 1 restore changed.db
    says "$pattern"
}
refused 'a blob in an integer' 'table users, rowid 2, column admin: a blob .restore-failed' "UPDATE users SET admin = x'00' WHERE rowid = 2;"
long && refused 'not UTF-8' 'table devices, rowid 1, column display_name: text that is not UTF-8' "UPDATE devices SET display_name = CAST(x'c3' AS TEXT) WHERE rowid = 1;"
refused 'no JSON' 'table profiles, rowid 5, column fields: invalid input syntax for type json' "UPDATE profiles SET fields = '{' WHERE rowid = 5;" "UPDATE profiles SET displayname = char(0) WHERE rowid = 2;"
refused 'NULL' 'table user_ips, rowid 4: null value in column .ip.' "PRAGMA writable_schema = on; UPDATE sqlite_master SET sql = replace(sql, 'ip TEXT NOT NULL', 'ip TEXT') WHERE name = 'user_ips'; PRAGMA writable_schema = RESET;" "UPDATE user_ips SET ip = NULL WHERE rowid = 4;"
long && refused 'a broken check' 'table profiles, rowid 6: new row for relation .profiles. violates check constraint .full_user_id' "UPDATE profiles SET full_user_id = NULL WHERE rowid = 6;"
long && refused 'a broken key' 'could not create unique index .*Key \(' "INSERT INTO rooms SELECT * FROM rooms LIMIT 1;"
refused 'a broken reference' 'violates foreign key constraint .event_edges_event_id.*is not present in table .events' "INSERT INTO event_edges (event_id, prev_event_id, is_state) VALUES ('\$none', '\$none', 0);"
long && refused 'a column that is not in the schema' 'table users: column favourite_colour is not in the schema .synapse-schema' "ALTER TABLE users ADD COLUMN favourite_colour TEXT;"
refused 'a column that is missing' 'table pushers: column profile_tag is in the schema, has no default, and is not in the database' "ALTER TABLE pushers DROP COLUMN profile_tag;"
changed "ALTER TABLE pushers DROP COLUMN lang;"
check 'a column that may be missing' 0 restore changed.db
says 'table pushers: column lang is not in the database and gets its default'
refused 'another schema version' 'the database has schema version 93 \(Synapse 1.143-1.150\), the schema of original.sql has 94 \(Synapse 1.151' "UPDATE schema_version SET version = 93;"
says_not 'to be sent again'
refused 'another release' '1 changes that the database has not, and the database 1 .* such as 94/03_reactivate_users.sql' "UPDATE applied_schema_deltas SET file = '94/99_new.sql' WHERE version = 94;"
refused 'a row too large' 'table device_inbox: the row after 3 others is too large .restore-failed' "UPDATE device_inbox SET message_json = printf('%.*c', 14000000, 'x') WHERE rowid = 4;"
refused 'a view for a table' 'no such table: users|no homeserver|table users' "ALTER TABLE users RENAME TO u; CREATE VIEW users AS SELECT * FROM u;"
sqlite3 else.db 'CREATE TABLE t (a); INSERT INTO t VALUES (1)'
db=bad check 'not a homeserver' 1 restore else.db
says 'sqlite-not-synapse'
nothing_left 'what does not fit'
grep -qE 'favourite_colour|CREATE VIEW' "$pg_scratch_dir/server.log" && no 'the server saw what the file says' || ok
finish sqlite_restore
