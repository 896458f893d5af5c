# ems-check on configuration, signing key and SQLite homeserver, and on what an upload's artifacts
# say about each other.
source "$(dirname "$0")/lib.sh"

seed=$(printf 'TEST KEY OF A SAMPLE HOMESERVER!' | base64 | tr -d =)
other=$(printf 'ANOTHER KEY, OF A TEST, NOT USED' | base64 | tr -d =)
printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20TEST KEY OF A SAMPLE HOMESERVER!' >key.der

# A dump of two events; the first is signed with openssl over what redaction leaves of it.
dump() { # KEY-ID
    local signed sig
    signed='{"auth_events":[],"content":{},"depth":2,"hashes":{},"origin_server_ts":1700000000000,"prev_events":[],"room_id":"!r:example.org","sender":"@al:example.org","type":"m.room.message"}'
    printf %s "$signed" >message
    sig=$(openssl pkeyutl -sign -keyform DER -inkey key.der -rawin -in message | base64 -w 0 | tr -d =)
    cat <<SQL
--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.devices (user_id text, device_id text);
CREATE TABLE public.event_json (event_id text, room_id text, internal_metadata text, json text);
CREATE TABLE public.events (event_id text);
CREATE TABLE public.schema_version (version integer);
CREATE TABLE public.users (name text);

COPY public.devices (user_id, device_id) FROM stdin;
@al:example.org	A
\\.

COPY public.event_json (event_id, room_id, internal_metadata, json) FROM stdin;
\$a	!r:example.org	{}	${signed/\"content\":\{\}/\"content\":\{\"body\":\"hi \\\\u00fc\"\},\"signatures\":\{\"example.org\":\{\"$1\":\"$sig\"\}\},\"unsigned\":\{\"age_ts\":1\}}
\$b	!r:example.org	{}	{"sender":"@eve:other.net","type":"m.room.message","origin_server_ts":1800000000000,"signatures":{"other.net":{"ed25519:x":"y"}}}
\\.

COPY public.events (event_id) FROM stdin;
\\.

COPY public.schema_version (version) FROM stdin;
94
\\.

COPY public.users (name) FROM stdin;
@al:example.org
\\.

--
-- PostgreSQL database dump complete
--

SQL
}
mkdir good
dump ed25519:a_1 >good/customer_db_export.sql
cat >good/homeserver.yaml <<END
server_name: example.org
database: {name: psycopg2, args: {password: SeCrEt}}
signing_key_path: /data/example.org.signing.key
macaroon_secret_key: SeCrEt0123456789
registration_shared_secret: SeCrEt
form_secret: SeCrEt
password_config: {pepper: SeCrEt-pepper}
END
echo "ed25519 a_1 $seed" >good/example.org.signing.key
chmod 600 good/*

check 'all fits' 0 ems-check good
says '^homeserver.yaml: verified'
says '^example.org.signing.key: verified'
says 'example.org, psycopg2, password pepper set \(13 characters\)'
says 'ed25519:a_1, public key [A-Za-z0-9+/]{43}$'
says 'this key signed the newest events: 1 signatures of ed25519:a_1 verified'
says 'list this one under old_signing_keys: "ed25519:a_1": .key: "[A-Za-z0-9+/]{43}", expired_ts: '
says_not 'warning: .*(config|key)-'
says_not SeCrEt
check 'json' 0 ems-check --json good
says_not SeCrEt
says_not "$seed"
json artifact/layers/0/macaroon_secret_key 'set (16 characters)'
json artifact/layers/0/signing_key 'from a file'
json artifact/layers/0/key_id ed25519:a_1
json artifact/kind signing-key
for name in '' 'exam ple' @a:b.c; do
    check "no server name: '$name'" 2 ems-check --server-name "$name" good
done
check 'the name that was asked for' 0 ems-check --server-name example.org good

# One thing after the other made wrong.
wrong() { # NAME STATUS CODE PATTERN COMMAND-IN-DIRECTORY [OPTION...]
    rm -rf d && cp -rp good d && (cd d && eval "$5")
    check "$1" "$2" ems-check "${@:6}" d
    says "$4.*\[$3\]"
    says_not SeCrEt
}
wrong 'no configuration' 0 config-missing 'no homeserver.yaml' 'rm homeserver.yaml'
wrong 'no key' 0 config-missing 'no signing key in the upload; ed25519:a_1 is needed' 'rm *.key'
wrong 'key file not sent' 0 config-missing 'signing_key_path names /data/example.org.signing.key' 'rm *.key'
wrong 'secret file not sent' 0 config-missing 'turn_shared_secret_path names /x/turn' 'echo "turn_shared_secret_path: /x/turn" >>homeserver.yaml'
for secret in macaroon_secret_key form_secret registration_shared_secret worker_replication_secret; do
    wrong "file of $secret not sent" 0 config-missing "${secret}_path names /x/a-file, which is not in the upload" \
        "sed -i /^$secret:/d homeserver.yaml; echo ${secret}_path: /x/a-file >>homeserver.yaml"
    echo x >d/a-file
    check "file of $secret sent" 0 ems-check d
    says_not '_path names'
done
wrong 'not YAML' 1 config-malformed 'line 8: ' 'echo "form_secret: SeCrEt: x" >>homeserver.yaml'
wrong 'both forms of a secret' 1 config-malformed 'form_secret and the same with _path' 'echo "form_secret_path: /x" >>homeserver.yaml'
wrong 'placeholder' 0 config-malformed 'form_secret is still a placeholder' 'sed -i "s/^form_secret.*/form_secret: CHANGEME/" homeserver.yaml'
wrong 'another server in the configuration' 1 config-server-name 'the database is of example.org, but the configuration says example.com' 'sed -i s/example.org/example.com/ homeserver.yaml'
wrong 'no server name' 1 config-server-name 'server_name is not set' 'sed -i 1d homeserver.yaml; mv homeserver.yaml x; sed "1i pid_file: x" x >homeserver.yaml; rm x'
wrong 'another server asked for' 1 config-server-name 'the configuration is of example.org, but --server-name says a.b' : --server-name a.b
wrong 'another server, no configuration' 1 synapse-server-name 'the database is of example.org, but --server-name says a.b' 'rm homeserver.yaml' --server-name a.b
wrong 'SQLite in the configuration' 1 config-malformed 'the server uses SQLite, but' 'sed -i s/psycopg2/sqlite3/ homeserver.yaml'
wrong 'SQLite by its path' 1 config-malformed 'the server uses SQLite, but' 'sed -i "s,^database:.*,database_path: /data/homeserver.db," homeserver.yaml'
wrong 'two databases' 0 config-malformed 'has 2 databases; one dump is not enough' 'sed -i "s,^database:.*,databases: {m: {name: psycopg2}\, s: {name: psycopg2}}," homeserver.yaml'
wrong 'old keys' 0 key-malformed 'old_signing_keys lists 1 keys' 'echo "old_signing_keys: {\"ed25519:old\": {key: nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A, expired_ts: 1}}" >>homeserver.yaml'
wrong 'media nowhere' 0 config-malformed 'enable_local_media_storage is off' 'echo "enable_local_media_storage: false" >>homeserver.yaml'
wrong 'S3' 0 config-malformed 'media may live in S3' 'echo "media_storage_providers: [{module: s3}]" >>homeserver.yaml'
wrong 'a broken key' 1 key-malformed 'line 1: the key is not 43 characters' 'sed -i s/.$// *.key'
wrong 'another key' 1 key-mismatch 'signed with ed25519:a_1, but this is ed25519:a_2' 'sed -i s/a_1/a_2/ *.key'
wrong 'another key of that name' 1 key-mismatch 'did not sign them' "echo 'ed25519 a_1 $other' >*.key"
wrong 'key of another server by its name' 0 key-mismatch 'by its name this is not the key' 'mv *.key example.com.signing.key'
wrong 'key for everybody to read' 0 key-malformed 'can be read by every user' 'chmod 644 *.key'
wrong 'key with line ends of Windows' 0 key-malformed 'CR LF' 'sed -i "s/$/\r/" *.key'
check 'resend' 1 ems-check --json d/../good --server-name a.b
json summary/resend homeserver.yaml

rm -rf d && cp -rp good d && mkdir d/conf.d && mv d/homeserver.yaml d/conf.d/ && (
    cd d/conf.d && grep -v '^server_name' homeserver.yaml >../homeserver.yaml
    rm homeserver.yaml
    echo 'server_name: example.org' >server_name.yaml
)
check 'Debian: the name in a file of its own' 0 ems-check d
says_not 'server_name is not set'
says '^server_name.yaml: verified'
# database_path beside another setting for the database is ignored, as Synapse does.
rm -rf d && cp -rp good d && echo 'database_path: /data/homeserver.db' >>d/homeserver.yaml
check 'a path of SQLite that counts for nothing' 0 ems-check d
says_not 'uses SQLite'
rm -rf d && cp -rp good d && sed -i /^password_config/d d/homeserver.yaml
check 'no pepper' 0 ems-check d
says 'example.org, psycopg2, password pepper not set'
rm -rf d && cp -rp good d && echo 'repo: {bindAddress: 127.0.0.1}' >d/media-repo.yaml
check "another program's YAML" 0 ems-check d
says '^media-repo.yaml: unchecked'
rm -rf d && cp -rp good d && echo "signing_key: ed25519 a_1 $seed" >>d/homeserver.yaml && rm d/*.key
check 'the key in the configuration' 0 ems-check d
says 'this key signed the newest events'
says_not "$seed"
echo 'correct horse' >pass
rm -rf d && cp -rp good d && (cd d && encrypt 'correct horse' homeserver.yaml homeserver.yaml.gpg &&
    encrypt 'correct horse' example.org.signing.key example.org.signing.key.gpg && rm homeserver.yaml ./*.key)
check 'encrypted' 0 ems-check -p pass d
says 'this key signed the newest events'

# SQLite, as the guide packs it
mkdir db
cp "$here/fixtures/sqlite/homeserver.db" db/
check 'a database by itself' 0 ems-check --json db/homeserver.db
json artifact/kind sqlite
json artifact/verdict verified
json artifact/layers/0/events 2
json artifact/layers/0/check integrity_check # it is small
check 'and if asked for' 0 ems-check --thorough db/homeserver.db
says_not 'private directory' # it is read where it lies
tar -zcf homeserver.db.tar.gz db/homeserver.db
export TMPDIR=$work
check 'in an archive' 0 ems-check homeserver.db.tar.gz
says '^homeserver.db.tar.gz: verified'
says 'Synapse homeserver example.org, 1 users, schema 94'
says 'unpacked, not encrypted, to a private directory'
absent 'ems-sqlite-*'
encrypt 'correct horse' homeserver.db.tar.gz homeserver.db.tar.gz.gpg
mkdir split && split -b 300 homeserver.db.tar.gz.gpg split/homeserver.db.tar.gz.gpg.part-
check 'encrypted and split' 0 ems-check -p pass split
says '^homeserver.db.tar.gz.gpg: verified'
absent 'ems-sqlite-*'
# The guide's split step for SQLite, as it stands: gpg has encrypted the archive and rm has removed
# it before split is to read it. What customers then do is one of these.
rm -rf guide && mkdir guide && cp "$here/fixtures/sqlite/homeserver.db" guide/
(cd guide && tar -zcf homeserver.db.tar.gz homeserver.db && cp homeserver.db.tar.gz ../kept.tar.gz &&
    encrypt 'correct horse' homeserver.db.tar.gz homeserver.db.tar.gz.gpg &&
    rm homeserver.db.tar.gz homeserver.db)
check 'the step itself' 1 split -b 300 guide/homeserver.db.tar.gz guide/homeserver.db.tar.gz.part-
check 'it fails, and the encrypted file is sent' 0 ems-check -p pass guide
says '^homeserver.db.tar.gz.gpg: verified'
# guided NAME STATUS COMMAND: in the folder of the guide, then checked.
guided() {
    rm -rf g && cp -r guide g && (cd g && eval "$3") || no "$1: $3"
    check "$1" "$2" ems-check -p pass g
}
guided 'the encrypted file under the names of the guide' 0 \
    'split -b 300 homeserver.db.tar.gz.gpg homeserver.db.tar.gz.part- && rm homeserver.db.tar.gz.gpg'
says '^homeserver.db.tar.gz: verified'
says 'Synapse homeserver example.org, 1 users'
says_not 'is not encrypted'
guided 'the archive made again, split and not encrypted' 0 \
    'split -b 300 ../kept.tar.gz homeserver.db.tar.gz.part- && rm homeserver.db.tar.gz.gpg'
says '^homeserver.db.tar.gz: verified'
says 'warning: homeserver.db.tar.gz is not encrypted .not-encrypted'
guided 'both' 0 'split -b 300 ../kept.tar.gz homeserver.db.tar.gz.part-'
says '^homeserver.db.tar.gz: verified'
says '^homeserver.db.tar.gz.gpg: verified'
guided 'a part of it is missing' 3 \
    'split -b 300 homeserver.db.tar.gz.gpg homeserver.db.tar.gz.part- && rm homeserver.db.tar.gz.gpg homeserver.db.tar.gz.part-ab'
says 'homeserver.db.tar.gz.part-ab'
absent 'ems-sqlite-*'

rm -rf d && mkdir d && cp db/homeserver.db d/ && cp good/homeserver.yaml d/
check 'a configuration for PostgreSQL' 1 ems-check d
says 'the server uses PostgreSQL, but the upload holds an SQLite database'
sed -i 's/psycopg2/sqlite3/' d/homeserver.yaml
check 'a configuration for SQLite' 0 ems-check d
sed -i 's/example.org/a.b/' d/homeserver.yaml
check 'a configuration of another server' 1 ems-check d
says 'the database is of example.org, but the configuration says a.b'

# ... damaged before it was packed
bad() { # NAME PATTERN
    tar -zcf bad.tar.gz d/homeserver.db && mv bad.tar.gz homeserver.db.tar.gz
    for f in d/homeserver.db homeserver.db.tar.gz; do
        check "$1 ($f)" 1 ems-check "$f"
        says "$2"
    done
    absent 'ems-sqlite-*'
}
head -c 4000 db/homeserver.db >d/homeserver.db && bad 'cut' 'has 4000 bytes, but its 9 pages take 4608 .sqlite-corrupt'
cp db/homeserver.db d/ && flip d/homeserver.db 1536 && bad 'a bit flipped' 'sqlite-corrupt'
printf '\331\325\005\371\040\241\143\327' >d/homeserver.db-journal
cp db/homeserver.db d/
check 'a hot journal beside it' 1 ems-check d/homeserver.db
says 'journal is hot .sqlite-wal'
tar -zcf homeserver.db.tar.gz d/homeserver.db-journal d/homeserver.db
check 'a hot journal in the archive' 1 ems-check homeserver.db.tar.gz
says 'journal is hot .sqlite-wal'
tar -zcf homeserver.db.tar.gz d/homeserver.db-journal
check 'a journal without its database' 1 ems-check homeserver.db.tar.gz
rm d/homeserver.db-journal
perl -e 'open $h, "+<", "d/homeserver.db" or die; seek $h, 18, 0; print $h "\2\2"'
check 'WAL mode without a WAL' 0 ems-check d/homeserver.db
says 'warning: the database is in WAL mode and there is no -wal file.*sqlite-wal'

mkdir wal && cp db/homeserver.db wal/ && ln -s /dev/zero wal/homeserver.db-wal
check 'a WAL that is a link to elsewhere' 1 bash -c 'trap "" XFSZ; ulimit -f 20000; ems-check wal/homeserver.db'
says 'homeserver.db-wal is no plain file .*sqlite-wal'
absent 'ems-sqlite-*'

# ... or none at all
echo hello >db/homeserver.db
check 'no database' 1 ems-check db/homeserver.db
says 'this is no SQLite database .sqlite-corrupt'
tar -czf homeserver.db.tar.gz db/homeserver.db
check 'no database in an archive' 1 ems-check homeserver.db.tar.gz
says 'this is no SQLite database .sqlite-corrupt'
TMPDIR=$work/nowhere check 'no place to unpack' 75 ems-check homeserver.db.tar.gz
says 'nowhere'
: >db/homeserver.db
check 'an empty file' 3 ems-check db/homeserver.db
says 'part-empty'
gzip -c </dev/null >db/homeserver.db.gz
check 'an empty database' 1 ems-check db/homeserver.db.gz
says 'the database file is empty .sqlite-corrupt'
absent 'ems-sqlite-*'

finish config
