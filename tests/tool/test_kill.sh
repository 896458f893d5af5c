# kill -9, of the tool or of the server, at any moment of a restore; then the same command again: the
# same database as without the kill, and nothing else left. EMS_KILLS (6) moments, `make check-kill`
# takes 200; EMS_SEED chooses others.
#
# Half of the moments are counted in messages between tool and server (tests/lib/kill_at.c), because
# most steps of making and publishing a database take no time; the others are measured in time.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish kill
    exit
fi
chmod 711 "$work"
kills=${EMS_KILLS:-6} seed=${EMS_SEED:-6}
RANDOM=$seed
# A sanitizer's library wants to be the first one loaded; it need not be.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}:verify_asan_link_order=0
shim=$build/tests/kill_at.so
cleanups+=(pg_scratch_stop)

# ---- two small dumps of the same homeserver; one database after the other ----
"$here/fixtures/make-upload" --events 50 sample >make.log 2>&1 || { cat make.log; no 'make-upload'; finish kill; exit 1; }
ems-decrypt -q -p sample/passphrase.txt -o v0.sql.gz sample/upload/customer_db_export.sql.gz.gpg
gunzip -c v0.sql.gz | sed '/^COPY public.profiles /,/^\\\.$/s/\t\\N\t/\tnow set\t/' | gzip >v1.sql.gz
normal() { # order of rows aside
    perl -ne '
        s/^\\(un)?restrict .*//; s/^-- Dumped .*//;
        if (/^COPY .* FROM stdin;$/) { print; $copy = 1; @rows = (); next }
        if ($copy && $_ eq "\\.\n") { print sort @rows; $copy = 0 }
        if ($copy) { push @rows, $_ } else { print }' | sha256sum | cut -d' ' -f1
}
hash=("$(gunzip -c v0.sql.gz | normal)" "$(gunzip -c v1.sql.gz | normal)")
[ "${hash[0]}" != "${hash[1]}" ] && ok || no 'the two dumps are the same'

# ---- the two servers ----
pg_ctl=$(pg_bin pg_ctl)
emb_start() { pg_run "$pg_ctl" -D "$work/emb/data" -l "$work/emb/log" -w start >/dev/null; }
emb_stop() { pg_run "$pg_ctl" -D "$work/emb/data" -m fast -w stop >/dev/null; }
cleanups+=("[ ! -e '$work/emb/data/postmaster.pid' ] || emb_stop")
pg_scratch_start fsync=off || no 'scratch server'
scratch=$pg_scratch_dir
mkdir -m 1777 tmp
export TMPDIR=$work/tmp # of the tools; must stay empty
psql -X -q -d postgres -c "CREATE ROLE intake LOGIN CREATEDB CREATEROLE" || no 'role intake'

# sql SERVER [psql options]; tool SERVER [options]: ems-restore, not followed by a shell
sql() {
    local host=$work/emb
    [ "$1" = emb ] || host=$scratch
    psql -X -q -At -h "$host" -p 5432 -U postgres -d postgres "${@:2}"
}
tool() {
    if [ "$1" = emb ]; then
        exec ems-restore -q -j 2 --embedded "$work/emb" "${@:2}"
    else
        exec ems-restore -q -j 2 --dsn "host=$scratch port=5432 user=intake dbname=postgres" "${@:2}"
    fi
}

# what_is SERVER DATABASE: "0" or "1", which dump it holds; "none"; or "broken"
what_is() {
    local host=$work/emb found
    [ "$1" = emb ] || host=$scratch
    [ -n "$(sql "$1" -c "SELECT 1 FROM pg_database WHERE datname = '$2'")" ] || { echo none; return; }
    found=$(pg_dump -O -h "$host" -p 5432 -U postgres -d "$2" | normal)
    case $found in
    "${hash[0]}") echo 0 ;;
    "${hash[1]}") echo 1 ;;
    *) echo broken ;;
    esac
}

# kill_command WHOM SERVER: a shell command that ends it; a backend of the restore if there is one
kill_command() {
    case $1 in
    tool) echo 'kill -9 $PPID' ;;
    server) echo "kill -9 \$(head -n 1 '$work/emb/data/postmaster.pid')" ;;
    backend)
        echo "p=\$(pgrep -f -P \$(head -n 1 '$scratch/data/postmaster.pid') 'ems_load_|intake' | shuf -n 1);" \
            'kill -9 $p' ;;
    esac
}

# interrupt WHOM SERVER MOMENT options: run the tool; a moment in seconds has a point in it. Sets
# `got` to its status.
interrupt() {
    local whom=$1 server=$2 moment=$3 pid
    shift 3
    if [[ $moment = *.* ]]; then
        tool "$server" "$@" >out.txt 2>err.txt </dev/null &
        pid=$!
        sleep "$moment"
        if [ "$whom" = tool ]; then kill -9 $pid; else sh -c "$(kill_command "$whom")"; fi 2>/dev/null
    else
        (export LD_PRELOAD=$shim EMS_KILL_AT=$moment EMS_KILL_COMMAND="($(kill_command "$whom")) 2>/dev/null"
            tool "$server" "$@") >out.txt 2>err.txt </dev/null &
        pid=$!
    fi
    wait $pid 2>/dev/null
    got=$?
}

# nothing_else SERVER TARGET: one database and its owner are all there is
nothing_else() {
    local found
    found=$(sql "$1" -c "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database
        WHERE NOT datistemplate AND datname <> 'postgres'")
    [ "$found" = "$2" ] && ok || no "$step: databases $found instead of $2"
    found=$(sql "$1" -c "SELECT count(*) FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'
        AND rolname NOT IN ('postgres', 'intake')")
    [ "$found" = 1 ] && ok || no "$step: $found roles instead of 1"
    [ -z "$(ls -A tmp)" ] && ok || no "$step: temporary files: $(ls -A tmp)"
}

# What a killed run's initdb has started may write for a moment longer, and has the log locked: until
# then its directory stays.
mkdir -p emb/data.new && touch emb/lock emb/data.new/marker
(
    exec 9>>emb/log && flock 9 && touch locked
    sleep 1
    [ -e emb/data.new/marker ] && touch waited
) &
until [ -e locked ]; do sleep 0.01; done
(tool emb -d target v0.sql.gz) >out.txt 2>err.txt </dev/null && ok || { no 'beside an old initdb'; cat out.txt; }
[ -e waited ] && ok || no 'the directory of an initdb at work was removed'
rm -rf emb

# How many messages, and how long, a restore is.
declare -A messages ms # emb: with making the server
for server in emb dsn; do
    began=$(date +%s%3N)
    (export LD_PRELOAD=$shim EMS_KILL_COUNT=$work/count; tool $server -d target v0.sql.gz) ||
        no "restore $server"
    ms[$server]=$(($(date +%s%3N) - began))
    messages[$server]=$(($(cat count) + 10)) # more where something is replaced
    [ "$(cat count)" -gt 100 ] && ok || no "only $(cat count) messages"
done

# choose_moment SERVER LIKE: one at random, in `moment`; the time is that of a restore on LIKE. The edges, where databases are made, cleaned up and
# renamed, are as likely as all the rest.
choose_moment() {
    local all=${messages[$1]} r=$((RANDOM * 32768 + RANDOM))
    case $((RANDOM % 6)) in
    0) moment=$((1 + r % 40)) ;;
    1) moment=$((all - 30 + r % 30)) ;;
    2) moment=$((1 + r % all)) ;;
    *) r=$((r % (${ms[$2]} * 11 / 10))); moment=$((r / 1000)).$(printf %03d $((r % 1000))) ;;
    esac
}

declare -A holds=([emb]=0 [dsn]=0) # which dump `target` is of
for ((i = 1; i <= kills; i++)); do
    case $((i % 8)) in
    1 | 5) whom=tool server=dsn mode=force ;;
    2) whom=tool server=emb mode=force ;;
    3) whom=backend server=dsn mode=force ;;
    4) whom=server server=emb mode=force ;;
    6) whom=tool server=emb mode=fresh ;;
    7) whom=tool server=dsn mode=fresh ;;
    0) whom=backend server=dsn mode=fresh ;;
    esac
    was=${holds[$server]} new=$((1 - ${holds[$server]})) like=dsn
    args=(-d target)
    if [ $mode = force ]; then
        args+=(-f)
    elif [ $server = emb ]; then # the server is made again, too
        rm -rf emb
        was=none like=emb
    else # the target goes away first
        owner=$(sql dsn -c "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'target'")
        sql dsn -c 'DROP DATABASE target' -c "DROP ROLE $owner"
        was=none
    fi
    # Sometimes twice, so that the second one meets the cleaning up after the first.
    times=$((1 + (RANDOM % 3 == 0)))
    for ((k = 1; k <= times; k++)); do
        choose_moment $server $like
        step="kill $i of seed $seed: $whom of $server, $mode, at $moment"
        interrupt $whom $server "$moment" "${args[@]}" v$new.sql.gz
        case $got in
        0 | 75 | 137) ok ;;
        *) no "$step: status $got"; cat out.txt err.txt ;;
        esac
        [ $got = 0 ] && [ $mode = fresh ] && break
    done
    # Between: what has the target's name is whole. (A started server would be none that was killed.)
    if [ $server = dsn ]; then
        for ((t = 0; t < 100; t++)); do sql dsn -c 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.1; done
        found=$(what_is dsn target)
        case $found in
        "$was" | "$new") ok ;;
        *) no "$step: target is $found between" ;;
        esac
    fi
    # The same command again, or with --resume: the result must be the same.
    resume=
    ((RANDOM % 3)) || resume=--resume
    step+=" $resume"
    (tool $server $resume --verify "${args[@]}" v$new.sql.gz) >out.txt 2>err.txt </dev/null
    again=$?
    if [ $again = 75 ] && [ $mode = fresh ] && grep -q 'restore-exists' out.txt; then
        again=0 # killed when all was done: the database is there, as looked at below
        (tool $server -f -d target v$new.sql.gz) >/dev/null 2>&1 </dev/null # and cleans up
    fi
    [ $again = 0 ] && ok || { no "$step: status $again of the same command again"; cat out.txt err.txt; }
    if [ $server = emb ]; then
        pgrep -f "$work/emb/data" >/dev/null && no "$step: the embedded server still runs" || ok
        found=$(cd emb && echo *)
        [ "$found" = 'data lock log' ] && ok || no "$step: in the embedded directory: $found"
        emb_start
    fi
    found=$(what_is $server target)
    [ "$found" = $new ] && ok || no "$step: target is $found, not $new"
    nothing_else $server target
    [ $server = dsn ] || emb_stop
    holds[$server]=$new
done
pg_scratch_stop
finish kill
