# shellcheck shell=bash
# A scratch PostgreSQL server for scripts: made in a new temporary directory, reached by a Unix
# socket in it only, gone afterwards. To be sourced. One server at a time.
#
#   pg_scratch_start [-d PARENT] [SETTING=VALUE...]
#       Makes and starts a server with default configuration, apart from the settings given, and
#       exports PGHOST, PGPORT and PGUSER so that psql, pg_dump and libpq find it; other PG*
#       variables of the caller are unset. PARENT is where its directory is made (default: TMPDIR
#       or /tmp). Everything is UTF8 and sorted by byte value (locale C), as Synapse demands.
#   pg_scratch_stop
#       Stops it at once and removes its directory. Harmless if none runs: made for `trap ... EXIT`.
#   pg_scratch_dsn
#       Prints the connection string of the running server, for --dsn.
#   pg_run COMMAND...
#       Runs a command as the user that the server runs as.
#   pg_bin NAME
#       Prints the path of a server program, such as initdb, which Debian keeps out of PATH.
#
# PostgreSQL refuses to run as root, so for root all of it runs as user postgres (or nobody).
# Whoever runs the script can connect: the socket lies in a directory that only the two may enter.

pg_scratch_dir=

pg_bin() {
    local program=$1 found
    found=$(command -v "$program") || found=$(
        # the newest of those that Debian keeps side by side
        printf '%s\n' /usr/lib/postgresql/*/bin/"$program" | sort -V | tail -n 1
    )
    if [ ! -x "$found" ]; then
        echo "cannot find $program: is the PostgreSQL server installed?" >&2
        return 1
    fi
    readlink -f "$found"
}

pg_run_as() {
    if id -u postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# In / because the caller's directory may be closed to that user, which initdb complains about.
pg_run() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && exec runuser -u "$(pg_run_as)" -- "$@")
    else
        (cd / && exec "$@")
    fi
}

pg_scratch_start() {
    local parent=${TMPDIR:-/tmp} initdb pg_ctl setting
    if [ "${1-}" = -d ]; then
        parent=$(readlink -f "$2")
        shift 2
    fi
    initdb=$(pg_bin initdb) && pg_ctl=$(pg_bin pg_ctl) || return 1
    # A socket's path may have 107 bytes, and the server's user must be able to reach it.
    if [ ${#parent} -gt 70 ] || ! pg_run test -x "$parent"; then
        parent=/tmp
    fi
    pg_scratch_dir=$(mktemp -d "$parent/pg_scratch.XXXXXX") || return 1
    if [ "$(id -u)" -eq 0 ]; then
        chown "$(pg_run_as)": "$pg_scratch_dir" || return 1
    fi

    if ! pg_run "$initdb" --pgdata="$pg_scratch_dir/data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync >"$pg_scratch_dir/initdb.log" 2>&1; then
        cat "$pg_scratch_dir/initdb.log" >&2
        pg_scratch_stop
        return 1
    fi
    for setting in "listen_addresses=''" "unix_socket_directories='$pg_scratch_dir'" "$@"; do
        echo "$setting"
    done >>"$pg_scratch_dir/data/postgresql.conf"
    if ! pg_run "$pg_ctl" --pgdata="$pg_scratch_dir/data" --log="$pg_scratch_dir/server.log" \
        --wait --timeout=120 start >/dev/null; then
        cat "$pg_scratch_dir/server.log" >&2
        pg_scratch_stop
        return 1
    fi

    # Nothing of the caller's own PostgreSQL set-up may lead elsewhere.
    unset PGHOSTADDR PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGSSLMODE
    export PGHOST=$pg_scratch_dir PGPORT=5432 PGUSER=postgres
}

pg_scratch_dsn() {
    echo "host=$pg_scratch_dir port=5432 user=postgres dbname=postgres"
}

pg_scratch_stop() {
    local pg_ctl
    [ -n "$pg_scratch_dir" ] || return 0
    if [ -e "$pg_scratch_dir/data/postmaster.pid" ] && pg_ctl=$(pg_bin pg_ctl); then
        # Nobody will read the data again, so there is nothing to write out.
        pg_run "$pg_ctl" --pgdata="$pg_scratch_dir/data" --mode=immediate --wait stop >/dev/null ||
            true
    fi
    rm -rf "$pg_scratch_dir"
    pg_scratch_dir=
}
