# What a failed or killed restore leaves on request (--keep-failed), how it is gone on with
# (--resume), and the comparison of every row (--verify); and that one bad artifact hides no other.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish unfinished
    exit
fi
chmod 711 "$work"
cleanups+=(pg_scratch_stop)
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}:verify_asan_link_order=0
shim=$build/tests/kill_at.so

"$here/fixtures/make-upload" --events 300 --part-size 100k sample >make.log 2>&1 || { cat make.log; no 'make-upload'; finish unfinished; exit 1; }
up=$work/sample/upload pass=$work/sample/passphrase.txt
x=customer_db_export.sql.gz.gpg
ems-decrypt -q -p "$pass" -o good.sql.gz "$up/$x"
gunzip -c good.sql.gz >good.sql
# The second row of a key: refused when the key is made, after all rows.
perl -pe 'if (/^COPY public\.users \(/ .. /^\\\.$/) { if (/^@/ && !$n++) { $d = $_ } elsif ($d && /^\\\.$/) { print $d } }' good.sql | gzip >twice.sql.gz
rows=$(perl -ne 'if ($in) { last if /^\\\.$/; $n++ } $in = 1 if /^COPY public\.users \(/; END { print $n }' good.sql)

pg_scratch_start fsync=off || no 'scratch server'
restore() { ems-restore --dsn "$(pg_scratch_dsn)" -j 2 "$@"; }
sql() { psql -X -q -At -d "${2:-postgres}" -c "$1"; }
databases() { sql "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"; }
is() { [ "$2" = "$3" ] && ok || no "$1: '$2' instead of '$3'"; }

# ---- --keep-failed ----
check 'without it nothing is kept' 1 restore -d t twice.sql.gz
is 'nothing kept' "$(databases)" ''
check 'kept' 1 restore -d t --keep-failed twice.sql.gz
says '\[restore-failed\]'
says 'note: the unfinished database is kept as t_failed_20[0-9_]+ '
kept=$(databases)
[[ $kept =~ ^t_failed_20[0-9]{6}_[0-9]{6}$ ]] && ok || no "kept: $kept"
is 'its rows' "$(sql 'SELECT count(*) FROM users' "$kept")" $((rows + 1))
is 'its role cannot log in' "$(sql "SELECT rolcanlogin FROM pg_roles WHERE rolname ~ '^ems_load'")" f
drop=$(sed -nE 's/.*drop it: (DROP DATABASE .*)$/\1/p' out.txt)
check 'as JSON' 1 restore --json -d t --keep-failed twice.sql.gz
json artifact/kept_database "$(databases | tr ' ' '\n' | grep -v "^$kept\$")"
check 'the next run takes neither for a leftover' 0 restore -d t good.sql.gz
is 'databases' "$(databases | wc -w)" 3
check 'another failure does not touch the target' 1 restore -f -d t --keep-failed twice.sql.gz
is 'databases' "$(databases | wc -w)" 4
is 'the target' "$(sql 'SELECT count(*) FROM users' t)" "$rows"
sql "${drop%%;*};" && sql "${drop#*;}" && ok || no "the advice does not work: $drop"
is 'databases' "$(databases | wc -w)" 3
for d in $(databases); do
    owner=$(sql "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '$d'")
    sql "DROP DATABASE $d" && sql "DROP ROLE $owner"
done

# ---- --resume ----
killed() { # NAME OPTIONS...: kill -9 when all rows are in and indexes are being made
    (export LD_PRELOAD=$shim EMS_KILL_AT=$at EMS_KILL_COMMAND='kill -9 $PPID'
        exec ems-restore --dsn "$(pg_scratch_dsn)" -j 2 "${@:2}") >out.txt 2>err.txt </dev/null
    is "$1" $? 137
}
messages() {
    (export LD_PRELOAD=$shim EMS_KILL_COUNT=$work/count
        exec ems-restore -q --dsn "$(pg_scratch_dsn)" -j 2 "$@") </dev/null
    cat count
}
all=$(messages -d t good.sql.gz)
at=$((all * 3 / 4))
killed 'killed' -f -d t good.sql.gz
is 'something is left' "$(databases | wc -w)" 2
check 'another dump is refused' 75 restore -f -d t --resume twice.sql.gz
says 'of another dump: restore without --resume'
is 'and what was left stays' "$(databases | wc -w)" 2
rest=$(messages -f -d t --resume good.sql.gz)
[ "$rest" -lt $((all * 3 / 4)) ] && ok || no "$rest messages after a resume, $all for the whole"
is 'and nothing else is left' "$(databases)" t
is 'no journal' "$(sql "SELECT to_regnamespace('ems_journal') IS NULL" t)" t
is 'no comment' "$(sql "SELECT count(*) FROM pg_shdescription WHERE description ~ '^ems-intake'")" 0
normal() {
    perl -ne '
        s/^\\(un)?restrict .*//; s/^-- Dumped .*//;
        if (/^COPY .* FROM stdin;$/) { print; $copy = 1; @rows = (); next }
        if ($copy && $_ eq "\\.\n") { print sort @rows; $copy = 0 }
        if ($copy) { push @rows, $_ } else { print }'
}
same <(normal <good.sql) <(pg_dump -O -d t | normal)
killed 'killed again' -f -d t good.sql.gz
check 'without --resume all is made anew' 0 restore -f -d t good.sql.gz
is 'and what was left is gone' "$(databases)" t
check 'nothing to resume' 0 restore -f --resume -d t good.sql.gz
check 'nor of a pipe' 0 bash -c "ems-restore -f --resume --dsn '$(pg_scratch_dsn)' -d t - <good.sql"
check 'a resumed one that fails is kept' 1 restore -f -d t --resume twice.sql.gz
check 'and again' 1 restore -f -d t --resume twice.sql.gz
is 'the same one' "$(databases | wc -w)" 2

# ---- --verify ----
check 'verified' 0 restore --json -f -d t --verify good.sql.gz
json artifact/compared/tables "$(grep -c '^COPY ' good.sql)"
json artifact/compared/tables_other_form 0
check 'in one piece' 0 restore -f -d t -j 1 --verify good.sql
says 'compared with the database: [0-9]+ rows of [0-9]+ tables$'
check 'from a pipe' 0 bash -c "ems-restore -f --verify --dsn '$(pg_scratch_dsn)' -d t - <good.sql"
says 'compared with the database'
pg_dump -O --inserts -d t >inserts.sql
check 'INSERTs are counted' 0 restore -f -d t --verify inserts.sql
says 'of [0-9]+ tables only the number of rows'
sql 'ALTER DATABASE t SET bytea_output = escape'
if pg_dump -O -d t >form.sql && ! cmp -s <(normal <good.sql) <(normal <form.sql); then
    check 'another form of the same rows' 0 restore -f -d t2 --verify form.sql
    says 'written in another form'
    check 'which a pipe cannot tell' 1 bash -c "ems-restore --verify --dsn '$(pg_scratch_dsn)' -d t3 - <form.sql"
    says 'cannot be told of a pipe'
fi

# ---- ems-ingest: everything is checked, whatever is bad ----
ingest() { ems-ingest --json --dsn "$(pg_scratch_dsn)" -p "$pass" "$@"; }
check 'the whole job' 0 ingest --verify -d whole "$up"
json summary/verdict verified
json artifact/database whole
cp -r "$up" d
echo 'server_name: [' >d/homeserver.yaml
check 'a bad configuration does not keep the database out' 1 ingest -d half d
json artifact/database half
json finding/code config-malformed
flip "d/$x.part-aa" 50000
check 'all that is bad is told' 1 ingest -d none d
json finding/code pgp-modified
json finding/code config-malformed
json artifact/verdict verified # the key
json summary/verdict damaged
is 'nothing of that name' "$(sql "SELECT count(*) FROM pg_database WHERE datname = 'none'")" 0
pg_scratch_stop
finish unfinished
