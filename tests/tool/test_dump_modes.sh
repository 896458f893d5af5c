# Every mode of the real pg_dump: those that hold a whole database are restored, and the database is
# the same again; those that do not are named, refused and not sent. Each statement is accounted for.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish dump_modes
    exit
fi
chmod 711 "$work"
cleanups+=(pg_scratch_stop)
pg_scratch_start fsync=off || { no 'scratch server'; finish dump_modes; exit 1; }

# A homeserver of schema 61 in small, with everything that a site adds to it by and by.
psql -X -q -d postgres -c 'CREATE ROLE intake LOGIN CREATEDB CREATEROLE' -c 'CREATE ROLE owner' \
    -c 'CREATE ROLE reader' -c 'CREATE DATABASE syn OWNER owner TEMPLATE template0'
psql -X -q -v ON_ERROR_STOP=1 -d syn <<'END' 2>psql.log || no 'the database to be dumped'
SET ROLE owner;
CREATE TABLE schema_version (lock char(1) DEFAULT 'X' NOT NULL UNIQUE, version integer NOT NULL,
    upgraded boolean NOT NULL, CHECK (lock = 'X'));
INSERT INTO schema_version VALUES ('X', 61, true);
CREATE TABLE users (name text UNIQUE, password_hash text, admin smallint DEFAULT 0 NOT NULL,
    "order" bigint GENERATED ALWAYS AS IDENTITY, "Odd ""name""" text,
    created_ts bigint DEFAULT (extract(epoch FROM now()) * 1000)::bigint);
INSERT INTO users (name, "Odd ""name""") VALUES ('@a:example.org', E'tab\tfeed\nback\\slash'),
    ('@b:example.org', 'it''s; -- \. ümlaut'), ('@c:example.org', NULL);
CREATE TABLE events (stream_ordering integer, stream_ordering2 bigint, event_id text NOT NULL,
    json jsonb, keys text[], raw bytea, vector tsvector);
INSERT INTO events SELECT i, i, '$' || i, jsonb_build_object('i', i), ARRAY['a', NULL, E'\\'],
    decode(md5(i::text), 'hex'), to_tsvector('simple', 'one two') FROM generate_series(1, 120) i;
CREATE TABLE room_depth (room_id text NOT NULL, min_depth integer NOT NULL, min_depth2 bigint);
INSERT INTO room_depth VALUES ('!r:example.org', 1, 1);
CREATE UNLOGGED TABLE locks (n integer);
CREATE SEQUENCE events_stream_seq;
SELECT setval('events_stream_seq', 120) \g /dev/null
CREATE TABLE instance_map (instance_id serial PRIMARY KEY, instance_name text NOT NULL);
CREATE UNIQUE INDEX events_id ON events (event_id);
CREATE INDEX events_keys ON events USING gin (json);
CREATE INDEX users_lower ON users (lower(name) text_pattern_ops DESC) WHERE admin = 0;
ALTER TABLE events ADD CONSTRAINT events_key UNIQUE (stream_ordering);
ALTER TABLE events ADD CONSTRAINT events_user FOREIGN KEY (event_id) REFERENCES users(name) NOT VALID;
ALTER TABLE events ALTER event_id SET (n_distinct = -0.5);
ALTER TABLE users ADD CONSTRAINT users_name CHECK (name IS NOT NULL) NOT VALID;
COMMENT ON TABLE users IS 'a comment; with ''quotes''';
CREATE FUNCTION populate_min_depth2() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                new.min_depth2 := new.min_depth;
                RETURN NEW;
            END;
        $$;
CREATE TRIGGER populate_min_depth2_trigger BEFORE INSERT OR UPDATE ON room_depth
    FOR EACH ROW EXECUTE PROCEDURE populate_min_depth2();
CREATE RULE populate_stream_ordering2 AS ON INSERT TO events DO UPDATE events
    SET stream_ordering2 = NEW.stream_ordering WHERE stream_ordering = NEW.stream_ordering;
END
pg_dump -O syn >whole.sql
# What a site adds, and a restore leaves out.
psql -X -q -v ON_ERROR_STOP=1 -d syn <<'END' 2>>psql.log || no 'what a site adds'
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
GRANT UPDATE (name) ON users TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;
ALTER SCHEMA public OWNER TO owner;
ALTER DATABASE syn SET work_mem = '8MB';
ALTER ROLE owner IN DATABASE syn SET work_mem = '16MB';
COMMENT ON DATABASE syn IS 'production';
CREATE PUBLICATION p FOR TABLE users;
CREATE STATISTICS st ON name, admin FROM users;
ALTER TABLE events REPLICA IDENTITY FULL;
ALTER TABLE users CLUSTER ON users_name_key;
ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.01);
END
dsn="host=$PGHOST port=$PGPORT user=intake dbname=postgres"

# What a dump says, order of rows and the key of \restrict aside.
normal() {
    perl -ne '
        s/^\\(un)?restrict .*//;
        if (/^COPY .* FROM stdin;$/) { print; $copy = 1; @rows = (); next }
        if ($copy && $_ eq "\\.\n") { print sort @rows; $copy = 0 }
        if ($copy) { push @rows, $_ } else { print }' "$@"
}
normal whole.sql >whole.normal

# Of the last run's JSON: sent + swallowed + all that was skipped + refused is every statement.
accounted() {
    if perl -MJSON::PP -e '
        while (<STDIN>) {
            my $o = decode_json($_);
            next unless $o->{type} eq "artifact";
            my ($l) = grep { $_->{layer} eq "sql" } @{$o->{layers}};
            my $sum = $l->{sent} + $l->{settings} + $l->{refused};
            $sum += $_ for values %{$l->{skipped}};
            exit($sum > 0 && $sum == $l->{statements} ? 0 : 1);
        }
        exit 1' <out.txt; then ok; else no "$1: not every statement is accounted for"; fi
}

# accepted NAME FILE [SAME]: restored, and dumped again it is SAME (default: the whole database).
accepted() {
    check "$1" 0 ems-restore --json -f --dsn "$dsn" -d back "$2"
    accounted "$1"
    pg_dump -O -d back | normal >back.normal
    if cmp -s "${3:-whole.normal}" back.normal; then ok; else
        no "$1: the database is not the same again"
        diff "${3:-whole.normal}" back.normal | head -n 10
    fi
}
# refused NAME FILE PATTERN: by what it is, with advice; and nothing of it is on the server.
refused() {
    check "$1" 1 ems-restore --dsn "$dsn" -d bad "$2"
    says "$3"
    says '^        [A-Z]' # the advice
    check "$1, checked" 1 ems-check "$2"
    says 'sql-(refused|empty|encoding)'
}
dump() { pg_dump "$@" >dump.sql 2>dump.err || { no "pg_dump $*"; cat dump.err; }; }

mode() { # OPTIONS...
    dump "$@" syn
    accepted "pg_dump $*" dump.sql
}
# Modes that differ in what is left out only: as many statements are to be sent as of a plain dump.
like_plain() { # OPTIONS...
    dump "$@" syn
    check "pg_dump $*" 0 ems-check --json dump.sql
    accounted "pg_dump $*"
    json 'artifact/layers/0/sent' "$sent"
    json 'artifact/layers/0/rows' 125
}
mode
sent=$(perl -ne 'print $1 if /"sent":(\d+)/' out.txt)
mode -v -O -x
mode --inserts
mode --column-inserts --on-conflict-do-nothing
mode --rows-per-insert=7
mode -C --clean --if-exists -O
mode --quote-all-identifiers
mode --quote-all-identifiers --column-inserts -C --clean --if-exists
mode --disable-dollar-quoting --extra-float-digits=1
like_plain --clean
like_plain -C
like_plain --use-set-session-authorization
like_plain --load-via-partition-root --enable-row-security --serializable-deferrable
like_plain --no-publications --no-security-labels --no-tablespaces --no-toast-compression --no-sync -b
like_plain -n public
like_plain --role=owner -x

psql -X -q -A -t -d syn <<'END'
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_export_snapshot() \g snapshot.txt
\! pg_dump --snapshot=$(cat snapshot.txt) syn >dump.sql
END
check 'pg_dump --snapshot' 0 ems-check --json dump.sql
json 'artifact/layers/0/sent' "$sent"

dump syn
{ printf '\xef\xbb\xbf' && cat dump.sql; } >bom.sql
accepted 'a byte order mark' bom.sql
sed 's/$/\r/' dump.sql >crlf.sql
check 'Windows line ends' 0 ems-restore --json -f --dsn "$dsn" -d back crlf.sql
accounted 'Windows line ends'
# the function's text is sent as its tokens then, and comments keep their line ends
pg_dump -O -a -d back | normal | sed 's/\r//' >crlf.normal
pg_dump -O -a -d syn | normal >data.normal
same data.normal crlf.normal
pg_dump -Fc syn | pg_restore -f restored.sql
accepted 'pg_restore -f of a custom-format dump' restored.sql

sed '/^COMMENT ON/d;/Type: COMMENT/d' whole.normal >expected
dump --no-comments syn
check 'pg_dump --no-comments' 0 ems-restore -f --dsn "$dsn" -d back dump.sql
[ "$(psql -X -At -d back -c "SELECT count(*) FROM events")" = 120 ] && ok || no 'rows of --no-comments'
dump --exclude-table-data=room_depth syn
check 'pg_dump --exclude-table-data' 0 ems-restore -f --dsn "$dsn" -d back dump.sql
[ "$(psql -X -At -d back -c "SELECT count(*) FROM room_depth")" = 0 ] && ok || no 'excluded rows'
dump --no-unlogged-table-data syn
check 'pg_dump --no-unlogged-table-data' 0 ems-check dump.sql

# Other versions of pg_dump, by hand: unqualified names, triggers by EXECUTE PROCEDURE, \connect,
# names in quotes, transaction_timeout, statistics. This server takes what is sent of them.
for f in "$here"/fixtures/sql/*.sql; do
    check "${f##*/}" 0 ems-restore --json -f --dsn "$dsn" -d back "$f"
    accounted "${f##*/}"
done

# ---- what is not a whole dump ----
dump -s syn && refused 'schema only' dump.sql 'schema-only'
dump -a syn && refused 'data only' dump.sql 'not --data-only'
dump -a --disable-triggers syn && refused 'data only, without triggers' dump.sql 'not --data-only'
dump --section=post-data syn && refused 'one section' dump.sql 'not --data-only'
dump -T users syn && refused 'a table left out' dump.sql 'has not created public.users'
dump -E LATIN1 syn && refused 'Latin-1' dump.sql 'encoding=UTF8, not LATIN1'
dump -E SQL_ASCII syn && refused 'no encoding' dump.sql 'not SQL_ASCII'
dump -Fc syn && refused 'custom format' dump.sql 'custom-format dump'
gzip <dump.sql >customer_db_export.sql.gz
refused 'custom format in .sql.gz' customer_db_export.sql.gz 'custom-format dump'
encrypt secret customer_db_export.sql.gz customer_db_export.sql.gz.gpg
echo secret >pass
check 'custom format in .sql.gz.gpg' 1 ems-check --json -p pass customer_db_export.sql.gz.gpg
json finding/code sql-refused
dump -Ft syn && refused 'tar format' dump.sql 'tar'
pg_dumpall >dump.sql && refused 'a whole cluster' dump.sql 'whole cluster'
pg_dumpall -g >dump.sql && refused 'roles only' dump.sql 'whole cluster'
pg_dump syn | iconv -f UTF-8 -t UTF-16 >dump.sql
refused 'UTF-16, as PowerShell writes it' dump.sql 'UTF-16'
pg_dump syn | iconv -f UTF-8 -t UTF-16LE >dump.sql
refused 'UTF-16 without a mark' dump.sql 'UTF-16'
printf -- '-- MySQL dump 10.13  Distrib 8.0.36\n--\nDROP TABLE IF EXISTS `users`;\n' >dump.sql
refused 'MySQL' dump.sql 'MySQL'
printf 'PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE users(name TEXT);\nCOMMIT;\n' >dump.sql
refused 'SQLite .dump' dump.sql 'SQLite'
printf 'pg_dump: error: connection to server failed\n' >dump.sql
refused 'an error message' dump.sql "pg_dump's error message"
gzip </dev/null >customer_db_export.sql.gz
refused 'nothing but gzip' customer_db_export.sql.gz 'the dump is empty'
pg_dump -Fd -f directory syn
check 'directory format' 1 ems-check directory
says 'toc.dat.*(damaged|refused)'
says 'this is part of a directory-format dump .*\[sql-refused\]'

[ "$(psql -X -At -d postgres -c "SELECT count(*) FROM pg_database WHERE datname ~ 'ems_|bad'")" = 0 ] && ok || no 'left on the server'
finish dump_modes
