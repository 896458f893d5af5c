# What Synapse asks of its database, broken once each in a real one, dumped with the real pg_dump:
# ems-check says it without a server, ems-restore after the restore, in the same words and once; and
# the repairs repair.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish synapse
    exit
fi
chmod 711 "$work"
cleanups+=(pg_scratch_stop)
pg_scratch_start fsync=off || { no 'scratch server'; finish synapse; exit 1; }
dsn=$(pg_scratch_dsn)
sql() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }

sql -d postgres -c 'CREATE DATABASE source TEMPLATE template0'
cat "$here"/fixtures/synapse-{schema,fill,indexes}.sql |
    sql -v events=300 --single-transaction -d source || no 'the sample homeserver'

# broken NAME SQL [pg_dump options]: the homeserver with that done to it, as NAME.sql
broken() {
    sql -d postgres -c "CREATE DATABASE $1 TEMPLATE source"
    sql -d "$1" -c "$2" || no "$1: cannot be broken so"
    pg_dump -O "${@:3}" -d "$1" >"$1.sql"
    sql -d postgres -c "DROP DATABASE $1"
}
restore() { ems-restore --dsn "$dsn" "$@"; }
staged() { sql -d "$1" -c "$2"; }
# found N SEVERITY CODE: so many of these in the last command's text
found() {
    local n
    n=$(grep -cE "^    $2: .*\[$3\]$" out.txt)
    [ "$n" = "$1" ] && ok || { no "$n findings $2 $3, not $1"; grep '\[' out.txt; }
}
# once TEXT...: each is in one line of the last command's output
once() {
    local text n
    for text in "$@"; do
        n=$(grep -cF -- "$text" out.txt)
        [ "$n" = 1 ] && ok || { no "$n lines with '$text'"; sed 's/^/    /' out.txt; }
    done
}

# ---- in order ----
broken plain 'SELECT'
check 'in order' 0 ems-check plain.sql
found 1 note synapse-schema
found 0 warning 'synapse-.*'
once 'schema 94 (Synapse 1.152-1.156)' '--truncate-one-time-keys empties it'
check 'in order, restored' 0 restore -d plain plain.sql
found 1 note synapse-schema
found 0 warning 'synapse-.*'
once '300 events, 8 rooms, 40 users' 'on the server'

# ---- sequences ----
broken sequences "UPDATE stream_positions SET stream_id = 900 WHERE stream_name = 'pushers';
    SELECT setval('state_group_id_seq', 2); SELECT setval('instance_map_instance_id_seq', 1);
    UPDATE events SET stream_ordering = -77 
        WHERE event_id = (SELECT min(event_id) FROM events WHERE type = 'm.room.message')"
last=$(grep -oP "setval\('public.pushers_sequence', \K[0-9]+" sequences.sql)
refuses="sequence pushers_sequence is at $last, but stream_positions has 900 for pushers: Synapse refuses to start"
groups='sequence state_group_id_seq is at 2, but table state_groups is at '
check 'sequences' 0 ems-check sequences.sql
once "$refuses" "by hand: SELECT setval('pushers_sequence', 900);" "$groups" \
    'sequence instance_map_instance_id_seq is at 1, but table instance_map is at 2: new rows will collide'
once 'sequence events_backfill_stream_seq is at 0, but table events is at 77'
found 2 warning synapse-sequence
found 2 note synapse-sequence
check 'sequences, restored as they are' 0 restore -d sequences sequences.sql
once "$refuses" "$groups"
found 2 warning synapse-sequence
[ "$(staged sequences 'SELECT last_value FROM pushers_sequence')" = "$last" ] && ok || no 'a sequence was changed unasked'
check 'sequences, repaired' 0 restore -f -d sequences --repair-sequences --json sequences.sql
json summary/warnings 1 # not encrypted
json finding/message "sequence pushers_sequence was at $last and has been set to 900, as asked"
json artifact/layers/1/sequences_set 4
[ "$(staged sequences 'SELECT last_value, is_called FROM pushers_sequence')" = '900|t' ] && ok || no 'the sequence is not set'
[ "$(staged sequences "SELECT (SELECT last_value FROM state_group_id_seq) = max(id) FROM state_groups")" = t ] && ok || no 'state_group_id_seq'
pg_dump -O -d sequences >again.sql
check 'after the repair' 0 ems-check again.sql
says_not 'synapse-sequence'
check 'from a pipe' 0 bash -c "ems-restore --dsn '$dsn' -d piped --repair-sequences - <sequences.sql"
found 4 note synapse-sequence
found 0 warning synapse-sequence

# ---- users, schema, indexes ----
broken users "INSERT INTO users (name, password_hash) VALUES ('@x:elsewhere.org', 'x');
    UPDATE users SET password_hash = NULL;
    INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('reindex', '{}', 1)"
check 'users' 0 ems-check users.sql
once '1 user is not of example.org but of another server (elsewhere.org)' \
    'users have no password: they sign in through a service of their own' \
    'Matrix Authentication Service' '1 background update was not finished: reindex'
check 'users, restored' 0 restore -d users users.sql
found 1 warning synapse-server-name
found 1 warning synapse-background-updates
found 1 warning synapse-schema
check 'another name was asked for' 1 restore -d nobody --server-name elsewhere.org users.sql
says 'error: the database is of example.org, but --server-name says elsewhere.org .synapse-server-name.'
check 'and from a pipe' 1 bash -c "ems-restore --dsn '$dsn' -d nobody --server-name a.b - <users.sql"
[ "$(sql -d postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'nobody' OR datname LIKE 'ems_load%'")" = 0 ] && ok || no 'it is there all the same'

broken schema "DROP INDEX events_stream_ordering CASCADE; ALTER TABLE state_events DROP CONSTRAINT state_events_event_id_key;
    INSERT INTO state_events SELECT * FROM state_events LIMIT 1;
    CREATE TABLE port_from_sqlite3 (a int); CREATE TABLE state_compressor_state (b int); CREATE TABLE own (c int);
    ALTER TABLE rooms ADD CONSTRAINT later CHECK (room_id <> '') NOT VALID;
    UPDATE schema_version SET version = 96; UPDATE schema_compat_version SET compat_version = 95"
check 'schema' 0 ems-check schema.sql
once 'schema version 96 is newer than any known here (94, Synapse 1.160)' \
    'compat version 95: every Synapse up to 1.160 refuses' \
    'CREATE UNIQUE INDEX events_stream_ordering ON events (stream_ordering);' \
    'CREATE UNIQUE INDEX state_events_event_id_key ON state_events (event_id);' \
    "3 tables are not Synapse's: own, port_from_sqlite3 (left behind by synapse_port_db), state_compressor_state (rust-synapse-compress-state)" \
    'PostgreSQL has not checked against the rows: later of rooms'
cp out.txt checked.txt
check 'schema, restored' 0 restore -d schema schema.sql
found "$(grep -c 'warning.*synapse-schema' checked.txt)" warning synapse-schema
found "$(grep -c 'note.*synapse-schema' checked.txt)" note synapse-schema

broken old "UPDATE schema_version SET version = 73; UPDATE schema_compat_version SET compat_version = 72;
    DROP TABLE state_groups, state_group_edges, state_groups_state CASCADE"
check 'an older one, state elsewhere' 0 ems-check old.sql
once 'schema version 73 is that of Synapse 1.68-1.76, not of the newest release' \
    'there is no table state_groups: the server keeps its state in another database'
check 'and restored' 0 restore -d old old.sql
once 'there is no table state_groups' 'schema version 73 is that of'

broken empty 'TRUNCATE schema_version'
check 'no schema version' 1 ems-check empty.sql
once 'schema_version has no row: Synapse takes such a database for an empty one'
check 'and restored all the same' 1 restore -d empty empty.sql
once 'schema_version has no row' 'restored into database empty'

# ---- rows without their partner ----
broken rows "ALTER TABLE event_edges DROP CONSTRAINT event_edges_event_id_fkey;
    ALTER TABLE event_forward_extremities DROP CONSTRAINT event_forward_extremities_event_id;
    UPDATE event_json SET event_id = '\$lost' WHERE event_id = (SELECT min(event_id) FROM events);
    INSERT INTO state_events SELECT '\$a', room_id, type, 'a' FROM state_events LIMIT 1;
    INSERT INTO current_state_events SELECT '\$b', room_id, 'b', 'b' FROM current_state_events LIMIT 1;
    INSERT INTO event_forward_extremities SELECT '\$c', room_id FROM rooms;
    UPDATE event_to_state_groups SET state_group = 12345 WHERE event_id = (SELECT min(event_id) FROM event_to_state_groups);
    UPDATE state_group_edges SET prev_state_group = 54321 WHERE state_group = (SELECT max(state_group) FROM state_group_edges);
    DELETE FROM current_state_events WHERE type = 'm.room.create' AND room_id = (SELECT min(room_id) FROM rooms)"
check 'rows' 0 ems-check rows.sql
once '300 events and as many rows of event_json: the content of other events'
check 'rows, restored' 0 restore -d rows rows.sql
once 'events without a row in event_json (their content is lost): 1' \
    'rows of event_json that belong to no event: 1' 'rows of state_events that belong to no event: 1' \
    'rows of current_state_events that point at no event: 1' \
    'forward extremities that point at no event: 8' 'events whose state group is not there: 1' \
    'state groups that build on one that is not there: 1' \
    'rooms without a current m.room.create event: 1'
says_not 'content of other events'

# ---- one-time keys ----
keys=$(staged plain 'SELECT count(*) FROM e2e_one_time_keys_json')
[ "$keys" -gt 0 ] && ok || no 'no keys in the sample'
check 'one-time keys' 0 restore -f -d plain --truncate-one-time-keys --json plain.sql
json finding/message "$keys one-time keys were removed from the staging database, as asked"
json artifact/layers/1/one_time_keys 0
says_not 'given out twice'
[ "$(staged plain 'SELECT count(*) FROM e2e_one_time_keys_json')" = 0 ] && ok || no 'keys are left'
staged plain 'DROP TABLE e2e_one_time_keys_json' && pg_dump -O -d plain >nokeys.sql
check 'nothing to truncate' 0 restore -d nokeys --truncate-one-time-keys nokeys.sql
says_not 'one-time'

# ---- where the source comes from ----
sql -d postgres -c "CREATE DATABASE locale TEMPLATE template0 LOCALE 'C.UTF-8'"
cat "$here"/fixtures/synapse-{schema,fill,indexes}.sql | sql -v events=60 --single-transaction -d locale
pg_dump -O -C -d locale >locale.sql
check 'the locale of the source' 0 ems-check locale.sql
says 'note: the source database is not sorted by C \(UTF8, C.UTF-8.*\), as Synapse asks .synapse-collation.'
for form in --inserts --column-inserts --rows-per-insert=7; do
    pg_dump -O "$form" -d locale >inserts.sql
    check "$form" 0 ems-check --json inserts.sql
    json artifact/layers/0/synapse/releases 1.152-1.156
    json artifact/layers/0/synapse/users "$(staged locale 'SELECT count(*) FROM users')"
    says_not '"severity":"warning".*synapse-'
done
finish synapse
