# ems-check on a dump in all its wrappings, and on every kind of damage to them.
source "$(dirname "$0")/lib.sh"

# A small dump in pg_dump's form, big enough to be cut everywhere.
dump() { # ROWS
    cat <<'SQL'
--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.users (
    name text,
    password_hash text
);

CREATE TABLE public.events (
    event_id text NOT NULL,
    stream_ordering bigint
);

CREATE TABLE public.schema_version (
    version integer NOT NULL
);

COPY public.users (name, password_hash) FROM stdin;
@alice:example.org	\N
@böb:example.org	$2b$12$x
\.

COPY public.events (event_id, stream_ordering) FROM stdin;
SQL
    perl -e 'srand 3; printf "\$%s%s\t%d\n", (map { join "", map { ("a".."z","A".."Z",0..9)[rand 62] } 1..32 } 1..2), $_ for 1 .. shift' "$1"
    cat <<'SQL'
\.

COPY public.schema_version (version) FROM stdin;
94
\.

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_name_key UNIQUE (name);

--
-- PostgreSQL database dump complete
--

SQL
}
dump 3000 >dump.sql
echo 'correct horse' >pass
x=customer_db_export.sql.gz.gpg
wrap() { gzip -c <"$1" >w.gz && encrypt 'correct horse' w.gz "$2"; }
wrap dump.sql "$x"
mkdir up
split -b 20000 "$x" "up/$x.part-"
last=$(ls up | tail -n 1)

check 'good' 0 ems-check -p pass up
says '^customer_db_export.sql.gz.gpg: verified'
says 'Synapse homeserver example.org, 2 users, schema 94'
check 'good, json' 0 ems-check --json -p pass up
json summary/verdict verified
json summary/exit 0
json artifact/layers/2/tables/public.events 3000
json artifact/kind pg-dump
check 'quiet' 0 ems-check -q -p pass up
if [ -s out.txt ] || [ -s err.txt ]; then no 'quiet printed something'; else ok; fi
check 'from a pipe' 0 bash -c "cat up/* | ems-check -p pass -"
check 'by one part' 0 ems-check -p pass "up/$x.part-aa"
check 'by all parts' 0 ems-check -p pass up/*
check 'one thread' 0 taskset -c 0 ems-check -p pass up
cp dump.sql plain.sql
check 'not encrypted, not compressed' 0 ems-check plain.sql
says 'not-encrypted'
(printf '\357\273\277'; cat dump.sql) >bom.sql
check 'byte order mark' 0 ems-check bom.sql
sed 's/$/\r/' dump.sql >crlf.sql
check 'CRLF throughout' 0 ems-check crlf.sql
gzip -c dump.sql | encrypt 'correct horse' - old.sql.gz.gpg --compress-algo zip
check 'ZIP around gzip, as old gpg writes pipes' 0 ems-check -p pass old.sql.gz.gpg
perl -ne 'if (/^COPY (\S+) /) { $t = $1 } elsif (/^\\\.$/) { $t = "" } elsif ($t) { chomp; print "INSERT INTO $t VALUES (", join(", ", map { $_ eq "\\N" ? "NULL" : /^\d+$/ ? $_ : "\x27$_\x27" } split /\t/), ");\n" } else { print }' dump.sql >inserts.sql
check 'a dump of INSERTs' 0 ems-check inserts.sql
says '3 tables, 3003 rows'
says 'Synapse homeserver example.org, 2 users'
(gzip -c <(head -n 40 dump.sql); gzip -c <(tail -n +41 dump.sql)) >members.sql.gz
check 'two gzip members' 0 ems-check --json members.sql.gz
json artifact/layers/0/members 2

# the upload damaged on the way
damaged() { # NAME STATUS CODE PART COMMAND-IN-DIRECTORY
    rm -rf d && cp -r up d && (cd d && eval "$5")
    check "$1" "$2" ems-check --json -p pass d
    json finding/code "$3"
    json summary/exit "$2"
    [ -z "$4" ] || json summary/resend "$4"
}
damaged 'missing middle part' 3 part-missing "$x.part-ac" "rm $x.part-ac"
damaged 'missing tail' 3 part-missing "$last" "rm $last"
damaged 'cut part' 3 part-truncated "$x.part-ab" "truncate -s -7 $x.part-ab"
damaged 'empty part' 3 part-empty "$x.part-ab" ": > $x.part-ab"
damaged 'flipped early' 1 pgp-modified '' "flip $x.part-aa 500"
damaged 'flipped in the middle' 1 pgp-modified '' "flip $x.part-ad 500"
damaged 'flipped late' 1 pgp-modified '' "flip $last -60"
damaged 'flipped in the MDC' 1 pgp-modified '' "flip $last -5"
damaged 'trailing garbage' 1 part-foreign "$last" "echo garbage >> $last; :"
damaged 'still arriving' 3 part-unfinished '' "mv $last $last.crdownload"
check 'wrong passphrase' 4 ems-check -p <(echo wrong) up
says 'pgp-passphrase'
check 'no passphrase, no terminal' 4 setsid -w ems-check up
says 'give --passphrase-file or --passphrase-fd'
says_not 'with the customer' # nobody has asked for it yet
printf '\xef\xbb\xbfcorrect horse\r\n' >notepad
echo 'correct horse ' >blank
echo >newline
for p in notepad blank newline; do
    check "a passphrase file that is nearly right: $p" 4 ems-check -p $p up
    says 'of a file the first line counts, with blanks at its ends and with a byte order mark'
done

# Ctrl-C ends who writes into a pipe as well: that its data ends early is then said of nobody's upload
mkfifo slow
(cat "$x" | head -c 5000; sleep 1.5) >slow &
ems-check --json -p pass - <slow >out.txt 2>err.txt &
tool=$!
sleep 0.7
kill -TERM $tool
wait $tool
got=$?
if [ $got = 143 ]; then ok; else no "interrupted at a pipe: status $got"; fi
json finding/message 'interrupted (at byte 5000)'
json summary/resend ''

# a bad export inside an intact message
inside() { # NAME CODE [PATTERN]  (file w in)
    wrap in "bad.sql.gz.gpg"
    check "$1" 1 ems-check -p pass bad.sql.gz.gpg
    says "\[$2\]"
    [ $# -lt 3 ] || says "$3"
}
lines=$(wc -l <dump.sql)
head -c 100000 dump.sql >in && inside 'cut in mid-row' sql-truncated 'public.events'
head -n 1000 dump.sql >in && inside 'cut at a row boundary' sql-truncated 'public.events'
head -n 34 dump.sql >in && inside 'cut between blocks' sql-truncated
head -n $((lines - 4)) dump.sql >in && inside 'cut before the footer' sql-truncated
: >in && inside 'empty dump' sql-empty
sed '60s/[a-z]/\x0/' dump.sql >in && inside 'NUL in a row' sql-encoding 'line 60'
sed '60s/[a-z]/\xff/' dump.sql >in && inside 'not UTF-8 in a row' sql-encoding 'line 60'
sed '60s/\t/ /' dump.sql >in && inside 'column lost' sql-malformed 'line 60'
sed '60s/$/\t/' dump.sql >in && inside 'column too many' sql-malformed 'line 60'
sed '60s/^[^\t]*/\\./' dump.sql >in && inside 'a column that is the end marker' sql-malformed
sed '60s/^./\\q/' dump.sql >in && inside 'unknown escape' sql-malformed
sed '20i\\\\! touch hacked' dump.sql >in && inside 'a shell command' sql-refused
sed "20iCOPY public.users FROM PROGRAM 'touch hacked';" dump.sql >in && inside 'COPY PROGRAM' sql-refused
sed '20iDROP TABLE public.users;' dump.sql >in && inside 'DROP TABLE' sql-refused
sed "20iDO \$\$ BEGIN END \$\$;" dump.sql >in && inside 'DO' sql-refused
(cat dump.sql; echo 'SELECT 1;') >in && inside 'something after the footer' sql-malformed
absent hacked

# gzip damaged before it was encrypted
gz() { # NAME CODE
    encrypt 'correct horse' g.gz g.sql.gz.gpg
    check "$1" 1 ems-check -p pass g.sql.gz.gpg
    says "\[$2\]"
}
gzip -c dump.sql >good.gz
size=$(stat -c %s good.gz)
for n in 9 10 5000 $((size - 9)) $((size - 8)) $((size - 4)) $((size - 1)); do
    head -c "$n" good.gz >g.gz && gz "gzip cut after $n" gzip-truncated
done
cp good.gz g.gz && flip g.gz -7 && gz 'gzip CRC' gzip-crc
cp good.gz g.gz && flip g.gz -2 && gz 'gzip length' gzip-crc
(cat good.gz; echo x) >g.gz && gz 'gzip trailing' gzip-trailing
(cat good.gz; head -c 8 good.gz) >g.gz && gz 'gzip with half a member' gzip-truncated
head -c 300000000 /dev/zero | gzip -c >bomb.sql.gz
check 'a bomb' 1 ems-check bomb.sql.gz
says '\[gzip-limit\]'

# what people send instead
wrong() { # NAME FILE
    check "$1" 1 ems-check "$2"
    says '\[sql-refused\]'
}
mkdir w
pg() { printf 'PGDMP\001\016\000\004\010\001' >"$1"; head -c 3000 /dev/zero >>"$1"; }
pg w/customer_db_export.sql && wrong 'custom format' w/customer_db_export.sql
says 'custom'
printf '<!DOCTYPE html><html><body>quota</body></html>\n' >w/customer_db_export.sql
check 'a web page' 1 ems-check w/customer_db_export.sql
printf -- '-- MySQL dump 10.13\nUSE x;\n' >w/customer_db_export.sql && wrong 'MySQL' w/customer_db_export.sql
iconv -t UTF-16 dump.sql >w/customer_db_export.sql && wrong 'UTF-16' w/customer_db_export.sql
printf -- '--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE x;\n' >w/customer_db_export.sql
wrong 'pg_dumpall' w/customer_db_export.sql

# is it encrypted to us, and to us alone?
for k in ems other; do
    gpg --batch --quiet --passphrase '' --quick-gen-key "$k <$k@example.org>" future-default default never 2>/dev/null
done
gpg --export --armor ems@example.org >ems.asc
seal() { gpg --batch --yes --quiet --trust-model always "${@:2}" -o "$1" --encrypt w.gz; }
seal r.sql.gz.gpg -r ems@example.org
check 'for us alone' 0 ems-check --recipient-key ems.asc r.sql.gz.gpg
says 'readable with no other'
seal r.sql.gz.gpg -r ems@example.org -r other@example.org
check 'for us and another' 4 ems-check --recipient-key ems.asc r.sql.gz.gpg
seal r.sql.gz.gpg -r other@example.org
check 'for another' 4 ems-check --recipient-key ems.asc r.sql.gz.gpg
says 'not encrypted to the key asked for'
check 'with a passphrase' 4 ems-check --recipient-key ems.asc up
seal r.sql.gz.gpg -R ems@example.org
check 'hidden' 4 ems-check --recipient-key ems.asc r.sql.gz.gpg
says '1 hidden'
encrypt 'correct horse' w.gz r.sql.gz.gpg --trust-model always --encrypt -r ems@example.org
check 'for us, and with a passphrase' 4 ems-check --recipient-key ems.asc r.sql.gz.gpg
says 'readable with more: 0 other keys, 0 hidden ones, 1 passphrases'
when=20210422T000000!
gpg --batch --quiet --passphrase '' --faked-system-time $when --quick-gen-key 'old <old@example.org>' future-default default 1y 2>/dev/null
gpg --export old@example.org >old.pgp
seal r.sql.gz.gpg -r old@example.org --faked-system-time $when 2>/dev/null
check 'for an expired key' 0 ems-check --recipient-key old.pgp r.sql.gz.gpg
says 'expired on 2022-04-22, and readable with no other'
check 'not encrypted' 1 ems-check --recipient-key ems.asc plain.sql
check 'a recipient key that is none' 75 ems-check --recipient-key pass plain.sql
says 'pass: not an OpenPGP message'
says_not 'the customer must send again' # the option is wrong, not the upload

# several artifacts: one bad one hides nothing
mkdir many
cp up/* many
cp "$x" many/second.sql.gz.gpg && flip many/second.sql.gz.gpg 30000
echo 'repo: {bindAddress: 127.0.0.1}' >many/media-repo.yaml
check 'several artifacts' 1 ems-check --json -p pass many
json summary/artifacts 3
json artifact/verdict verified
json artifact/verdict damaged
json artifact/verdict unchecked
json summary/resend second.sql.gz.gpg

# surroundings
mkdir empty
check 'an empty directory' 75 ems-check empty
check 'nothing there' 75 ems-check nothing.gpg
says 'nothing.gpg'
check 'no argument' 2 ems-check
check 'wrong option' 2 ems-check --frobnicate up
check 'output to head' 0 bash -c 'ems-check -v -p pass up | head -n 1; exit ${PIPESTATUS[0]}'
check 'report to a full disk' 75 bash -c 'ems-check -p pass up >/dev/full'
check 'progress, not on a terminal' 0 ems-check --progress=always -p pass up
check 'color' 0 ems-check --color=always -p pass up
says $'\033'
if [ "${VARIANT:-release}" = release ]; then # sanitizers need memory of their own
    gzip -c <(for i in 1 2 3 4 5 6 7 8; do dump 40000 | sed "s/events/events$i/g; s/users/users$i/g; s/schema_version/v$i/g; /^-- PostgreSQL database dump complete/d"; done; tail -n 4 dump.sql) >large.sql.gz
    check 'peak memory of 64 MiB at the most' 0 command time -f '%M' -o rss.txt ems-check large.sql.gz
    [ "$(tail -n 1 rss.txt)" -le 65536 ] && ok || no "peak RSS $(tail -n 1 rss.txt) KiB"
fi
ldd "$(command -v ems-check)" >out.txt
says_not libpq

# A chunk's length is damaged, and so the message seems to go on behind its end. It was not cut: what
# lies in front of the end is wrong already.
spoil() { # the first chunk of the container, and a length half a megabyte behind it
    perl -e '
        undef $/;
        open my $h, "+<:raw", $ARGV[0] or die;
        my $m = <$h>;
        my $at = 2 + ord(substr $m, 1, 1);           # behind the packet with the session key
        my $next = $at + 1;
        while ($next < 500000) {
            die "no partial length" if substr($m, $next, 1) !~ /[\xe9-\xfe]/;
            $next += 1 + (1 << (ord(substr $m, $next, 1) & 31));
        }
        substr($m, $at + 4000, 8) ^= "damaged!";
        substr($m, $next, 5) = "\xff\x7f\xff\xff\xff";
        seek $h, 0, 0;
        print $h $m;' "$1"
}
dump 16000 >large.sql
for algorithm in none zlib; do
    rm -rf d && mkdir d
    gzip -c large.sql | gpg --batch --quiet --no-tty --pinentry-mode loopback --passphrase-file pass \
        --compress-algo $algorithm --symmetric >message
    spoil message
    split -b 100000 message d/$x.part-
    check "damaged lengths, compression $algorithm" 1 ems-check -p pass d
    says 'pgp-modified'
done

# A good dump of something else is no damage, but the operator should hear it.
check 'not Synapse' 0 ems-check --json "$here/fixtures/sql/pg18.sql"
json finding/code sql-not-synapse
json artifact/verdict verified

finish check
