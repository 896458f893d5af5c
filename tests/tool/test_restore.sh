# ems-restore and ems-ingest against real servers: the guide's own upload in, the same database out;
# and for everything bad: the right status, nothing sent, nothing left behind.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish restore
    exit
fi
chmod 711 "$work"
cleanups+=(pg_scratch_stop)

"$here/fixtures/make-upload" --part-size 20k sample >make.log 2>&1 || { cat make.log; no 'make-upload'; finish restore; exit 1; }
up=$work/sample/upload pass=$work/sample/passphrase.txt
x=customer_db_export.sql.gz.gpg
ems-decrypt -p "$pass" -o original.sql.gz "$up/$x" >/dev/null && gunzip original.sql.gz

# What a dump says, order of rows aside: COPY rows sorted within their block; the key of \restrict,
# which is new in every dump, taken out.
normal() {
    perl -ne '
        s/^\\(un)?restrict .*//;
        if (/^COPY .* FROM stdin;$/) { print; $copy = 1; @rows = (); next }
        if ($copy && $_ eq "\\.\n") { print sort @rows; $copy = 0 }
        if ($copy) { push @rows, $_ } else { print }' "$1"
}
normal original.sql >original.normal

# ---- embedded ----
check 'ingest into an embedded server' 0 ems-ingest --json --embedded emb -p "$pass" "$up"
json summary/exit 0
json artifact/database staging_example_org
events=$(perl -ne 'if ($in) { last if /^\\\.$/; $n++ } $in = 1 if /^COPY public\.events \(/; END { print $n }' original.sql)
json 'artifact/layers/2/tables/public.events' "$events"
check 'no server left running' 1 pgrep -f "$work/emb/data"

emb_start() { pg_run "$(pg_bin pg_ctl)" -D "$work/emb/data" -l "$work/emb/log" -w start >/dev/null; }
emb_stop() { pg_run "$(pg_bin pg_ctl)" -D "$work/emb/data" -m fast -w stop >/dev/null; }
cleanups+=("[ ! -e '$work/emb/data/postmaster.pid' ] || emb_stop")
emb_psql() { psql -X -At -h "$work/emb" -p 5432 -U postgres "$@"; }
emb_start
pg_dump -O -h "$work/emb" -p 5432 -U postgres -d staging_example_org >again.sql
normal again.sql >again.normal
same original.normal again.normal
[ "$(emb_psql -d postgres -c "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = 'staging_example_org'")" = 'UTF8|C|C' ] && ok || no 'encoding and collation'
nothing_left() {
    local n
    n=$(emb_psql -d postgres -c "SELECT count(*) FROM pg_database WHERE datname LIKE 'ems_load%'")
    [ "$n" = 0 ] && ok || no "$n unfinished databases left"
    n=$(emb_psql -d postgres -c "SELECT count(*) FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres'")
    [ "$n" = "$1" ] && ok || no "$n roles, not $1"
}
nothing_left 1
[ "$(emb_psql -d postgres -c "SELECT bool_or(rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole) FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres'")" = f ] && ok || no 'the role can still do something'

# a running server in DIR is used and left running
check 'the target exists' 75 ems-restore --json --embedded emb -p "$pass" "$up"
json finding/code restore-exists
nothing_left 1
check 'the server is left running' 0 pgrep -f "$work/emb/data"
check 'force replaces it' 0 ems-restore -f --embedded emb -p "$pass" "$up/$x"
nothing_left 1
check 'another name' 0 ems-restore -d other --embedded emb -p "$pass" "$up/$x.part-ab"
nothing_left 2
check 'one job, everything in order' 0 ems-restore -f -j 1 -d other --embedded emb -p "$pass" "$up/$x"
pg_dump -O -h "$work/emb" -p 5432 -U postgres -d other | normal - >other.normal
same original.normal other.normal
check 'many jobs' 0 ems-restore -f -j 8 -d other --embedded emb -p "$pass" "$up/$x"
check 'from a pipe' 0 bash -c "cat $up/$x.part-* | ems-restore -d piped --embedded emb -p $pass -"
pg_dump -O -h "$work/emb" -p 5432 -U postgres -d piped | normal - >piped.normal
same original.normal piped.normal
check 'from a pipe without a name' 1 bash -c "cat $up/$x.part-* | ems-restore --embedded emb -p $pass -"
says 'database'

# ---- copies: what is restored is what was proven ----
# The copy that is read first fails at its end, and the other one proves right: all rows must be that
# one's. A table of 4 MiB stands in front of all others, so that the first copy leaves bookmarks (one
# a MiB) before it fails. Whether one of them is used does not show here, only that the rows are right.
perl -ne '
    if (/^COPY / && !$n++) {
        print "CREATE TABLE public.filler (line text);\nCOPY public.filler (line) FROM stdin;\n";
        srand 1;
        print join("", map { sprintf "%08x", rand 2**32 } 1 .. 8), "\n" for 1 .. 65536;
        print "\\.\n\n";
    }
    print' original.sql | gzip -1 >big.sql.gz
for place in one two; do
    mkdir $place && encrypt "$(cat "$pass")" big.sql.gz once.gpg && split -b 100k once.gpg "$place/$x.part-"
done
parts=(two/*)
flip "${parts[-1]}" 100
check 'a later encryption, damaged at its end' 0 ems-restore --json -f -d other -j 4 --embedded emb -p "$pass" one two
says 'lie in several places and differ: one choice of them is right .proven'
pg_dump -O -T public.filler -h "$work/emb" -p 5432 -U postgres -d other | normal - >other.normal
same original.normal other.normal
[ "$(emb_psql -d other -c 'SELECT count(*) FROM public.filler')" = 65536 ] && ok || no 'rows of the large table'
mkdir d && cp "$up/$x.part-ab" d && flip "d/$x.part-ab" 5000
check 'one part sent again, damaged' 0 ems-restore --json -f -d other -j 4 --embedded emb -p "$pass" "$up" d
says "copies of $x.part-ab differ: .*/upload/$x.part-ab is used .proven"
pg_dump -O -h "$work/emb" -p 5432 -U postgres -d other | normal - >other.normal
same original.normal other.normal
rm -rf d one two once.gpg big.sql.gz

# ---- bad uploads: refused, and nothing of them is left ----
before=$(emb_psql -d postgres -c 'SELECT count(*) FROM pg_database')
bad() { # NAME STATUS CODE COMMAND...
    check "$1" "$2" "${@:4}"
    says "\[$3\]"
    [ "$(emb_psql -d postgres -c 'SELECT count(*) FROM pg_database')" = "$before" ] && ok || no "$1: a database more or less"
    nothing_left 3
}
flip_copy() { rm -rf d; cp -r "$up" d; flip "d/$x.part-$1" "$2"; }
rm -rf d && cp -r "$up" d && rm "d/$x.part-ac"
bad 'missing part' 3 part-missing ems-ingest -d bad --embedded emb -p "$pass" d
flip_copy ac 500
bad 'flipped byte' 1 pgp-modified ems-ingest -d bad --embedded emb -p "$pass" d
bad 'flipped byte, from a pipe' 1 pgp-modified bash -c "cat d/$x.part-* | ems-restore -d bad --embedded emb -p $pass -"
bad 'wrong passphrase' 4 pgp-passphrase ems-ingest -d bad --embedded emb -p <(echo wrong) "$up"
head -c $(($(stat -c %s original.sql) * 2 / 3)) original.sql >cut.sql
bad 'cut dump' 1 sql-truncated ems-restore -d bad --embedded emb cut.sql
bad 'cut dump, from a pipe' 1 sql-truncated bash -c 'ems-restore -d bad --embedded emb - <cut.sql'
line=$(grep -nm1 '^COPY public.users ' original.sql | cut -d: -f1)
sed "$((line + 1))s/\$/\t1/" original.sql >columns.sql
bad 'a column too many' 1 sql-malformed ems-restore -d bad --embedded emb columns.sql
sed "${line}i\\\\\\\\! touch $work/hacked" original.sql >shell.sql
bad 'a shell command' 1 sql-refused ems-restore -d bad --embedded emb shell.sql
sed "${line}iCOPY public.users FROM PROGRAM 'touch $work/hacked';" original.sql >program.sql
bad 'COPY PROGRAM' 1 sql-refused ems-restore -d bad --embedded emb program.sql
bad 'the same from a pipe' 1 sql-refused bash -c 'ems-restore -d bad --embedded emb - <program.sql'
absent hacked
grep -qE 'PROGRAM|touch' emb/log && no 'the server heard of it' || ok
perl -pe 'if (/^COPY public\.users \(/ .. /^\\\.$/) { if (/^@/ && !$n++) { $d = $_ } elsif ($d && /^\\\.$/) { print $d } }' original.sql >twice.sql
bad 'a row that breaks a key' 1 restore-failed ems-restore -d bad --embedded emb twice.sql
says 'users'
emb_stop
check 'embedded again after it was stopped' 0 ems-restore -f --embedded emb -p "$pass" "$up/$x"

# ---- interrupted ----
for signal in INT KILL; do
    mkfifo slow 2>/dev/null
    (cat original.sql | head -c 700000; sleep 3) >slow &
    feeder=$!
    ems-restore -d interrupted --embedded emb - <slow >out.txt 2>err.txt &
    tool=$!
    sleep 1.5
    kill -$signal $tool
    wait $tool
    got=$?
    kill $feeder 2>/dev/null
    wait $feeder 2>/dev/null
    [ $got -ge 128 ] && ok || no "$signal: status $got"
done
check 'and the next run works' 0 ems-restore -f --embedded emb -p "$pass" "$up/$x"
emb_start
[ "$(emb_psql -d postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'interrupted'")" = 0 ] && ok || no 'an interrupted restore has its name'
emb_stop

# ---- a server given by conninfo; an administrator who is no superuser ----
pg_scratch_start || no 'scratch server'
psql -X -q -d postgres -c "CREATE ROLE intake LOGIN CREATEDB CREATEROLE" || no 'role intake'
dsn="host=$PGHOST port=$PGPORT user=intake dbname=postgres"
check 'into a server' 0 ems-ingest --dsn "$dsn" -d staged -p "$pass" "$up"
pg_dump -O -d staged | normal - >dsn.normal
same original.normal dsn.normal
check 'by libpq environment' 0 env PGUSER=intake PGDATABASE=postgres ems-restore -d staged2 -p "$pass" "$up/$x"
check 'the target exists' 75 ems-restore --dsn "$dsn" -d staged -p "$pass" "$up/$x"
says 'restore-exists'
says_not 'verified' # said before the upload is read: that may take hours
check 'a database of somebody else' 75 ems-restore -f --dsn "$dsn" -d postgres -p "$pass" "$up/$x"
says 'not made by this tool'
says '^        Choose another name with --database; --force replaces what these tools made.$'
check 'cut dump' 1 ems-restore --dsn "$dsn" -d bad cut.sql
[ "$(psql -X -At -d postgres -c "SELECT count(*) FROM pg_database WHERE datname LIKE 'ems_load%' OR datname = 'bad'")" = 0 ] && ok || no 'left on the server'
pg_scratch_stop
check 'no server' 75 ems-restore --dsn "$dsn connect_timeout=2" -d staged -p "$pass" "$up/$x"
says '\[server-error\]'
says_not 'verified'
check 'conninfo that is none' 75 ems-restore --dsn 'nonsense=1' -d staged -p "$pass" "$up/$x"
check 'both servers' 2 ems-restore --dsn x --embedded y "$up"
check 'embedded below a file' 75 ems-restore --embedded "$pass/x" -p "$pass" "$up/$x"
check 'not a dump' 1 ems-restore --embedded emb -d z "$up/homeserver.yaml"
check 'the passphrase is nowhere in the embedded directory' 1 grep -rqF "$(head -n 1 "$pass")" emb

finish restore
