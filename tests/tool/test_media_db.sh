# The media of an upload against its database: a real media store, the export made of it, and dumps
# that say what each medium must be. Black box.
source "$(dirname "$0")/lib.sh"

maker=$here/fixtures/make-media-export
ids=(AAAAbbbbCCCC1111ddddEEEE BBBBccccDDDD2222eeeeFFFF CCCCdd-dEE_E3333ffffGGGG
    DDDDeeeeFFFF4444ggggHHHH EEEEffffGGGG5555hhhhIIII)

# place ID: where Synapse keeps the file.
place() { echo "local_content/${1:0:2}/${1:2:2}/${1:4}"; }

# --- the truth: five media, each a row; the last one quarantined ---
mkdir truth
for i in 0 1 2 3 4; do
    mkdir -p "truth/$(dirname "$(place "${ids[i]}")")"
    head -c $((1000 + 777 * i)) /dev/urandom >"truth/$(place "${ids[i]}")"
done
for i in 0 1 2 3 4; do
    f=truth/$(place "${ids[i]}")
    printf '%s\timage/png\t%d\t%d\tpic%d.png\t@user%d:example.org\t%s\t\\N\t\\N\tf\tt\t%s\n' "${ids[i]}" \
        "$(stat -c %s "$f")" $((1700000000000 + i)) "$i" "$i" \
        "$([ $i = 4 ] && echo @mod:example.org || echo '\N')" "$(sha256sum "$f" | cut -d' ' -f1)"
done >rows
# What needs no file: an upload that was never finished, previews of pages of both forms.
{
    printf 'Pending1Pending2Pending3\timage/png\t\\N\t1700000000009\t\\N\t@user1:example.org\t\\N\t\\N\t\\N\tf\tt\t\\N\n'
    printf '2023-11-14_PreviewPrevie\timage/png\t77\t1700000000010\t\\N\t@user1:example.org\t\\N\thttps://x/\t\\N\tf\tt\t\\N\n'
    printf 'OldPreviewOldPreviewOldP\timage/png\t78\t1700000000011\t\\N\t@user1:example.org\t\\N\thttps://x/\t\\N\tf\tt\t\\N\n'
} >rows.excused

columns='media_id media_type media_length created_ts upload_name user_id quarantined_by url_cache last_access_ts safe_from_quarantine authenticated sha256'
# dump COPY|INSERT|NAMED|OLD ROWS: a dump of a homeserver with these media, as pg_dump prints it;
# OLD is a schema without the last two columns.
dump() {
    perl -e '
        my ($form, $file, @columns) = @ARGV;
        $#columns -= 2 if $form eq "OLD";
        my %type = (media_length => "integer", created_ts => "bigint", last_access_ts => "bigint",
                    safe_from_quarantine => "boolean", authenticated => "boolean");
        open my $in, "<", $file or die;
        my @rows = map { chomp; my @v = split /\t/, $_, -1; $#v = $#columns; \@v } <$in>;
        my $list = join ", ", @columns;
        print "--\n-- PostgreSQL database dump\n--\n\n",
            "-- Dumped from database version 15.18\n-- Dumped by pg_dump version 15.18\n\n",
            "SET client_encoding = \x27UTF8\x27;\nSET standard_conforming_strings = on;\n",
            "SELECT pg_catalog.set_config(\x27search_path\x27, \x27\x27, false);\n\n",
            "CREATE TABLE public.events (\n    event_id text\n);\n\n",
            "CREATE TABLE public.schema_version (\n    version integer\n);\n\n",
            "CREATE TABLE public.users (\n    name text\n);\n\n",
            "CREATE TABLE public.local_media_repository (\n",
            join(",\n", map { "    $_ " . ($type{$_} // "text") } @columns), "\n);\n\n";
        if ($form eq "COPY" || $form eq "OLD") {
            print "COPY public.local_media_repository ($list) FROM stdin;\n",
                map({ join("\t", @$_) . "\n" } @rows), "\\.\n\n\n",
                "COPY public.schema_version (version) FROM stdin;\n94\n\\.\n\n\n",
                "COPY public.users (name) FROM stdin;\n\@user1:example.org\n\\.\n\n\n";
        } else {
            for my $r (@rows) {
                my @v = map { $_ eq "\\N" ? "NULL" : /^\d+$/ ? $_ : "\x27$_\x27" } @$r;
                print "INSERT INTO public.local_media_repository ",
                    $form eq "NAMED" ? "($list) " : "", "VALUES (", join(", ", @v), ");\n";
            }
            print "\n\nINSERT INTO public.schema_version VALUES (94);\n\n\n",
                "INSERT INTO public.users VALUES (\x27\@user1:example.org\x27);\n\n\n";
        }
        print "--\n-- PostgreSQL database dump complete\n--\n\n";' "$1" "$2" $columns |
        gzip >up/customer_db_export.sql.gz
}
store() { tar -C "$1" --transform 's,^\.,var/lib/matrix-synapse/media,' -czf up/customer_backup_media_export.tar.gz .; }
export_of() { # ROWS STORE
    rm -rf e && mkdir e && "$maker" --tool 1.3 --rows "$1" --store "$2" e &&
        tar -C e -czf up/customer_media_export.tar.gz customer_media_export
}
fresh() { rm -rf up d && mkdir up && cp -r truth d; }

# --- all is well ---
cat rows rows.excused >all
for form in COPY INSERT NAMED; do
    fresh && dump $form all && store d && export_of rows d || no "making $form"
    check "good, $form" 0 ems-check up
    says 'compared with customer_db_export.sql.gz: 5 of its 8 media are here, 5 with the SHA-256 that it names; 1 uploads were never finished, 2 previews'
    says '1 media are quarantined and must not be shown: EEEEffffGGGG5555hhhhIIII .media-extra'
    says 'note: compared.*media-db-missing'
    says_not 'media-not-in-db|media-size|media-digest|media-bad'
    [ "$(grep -c 'compared with' out.txt)" = 2 ] && ok || no 'the store and the export are both compared'
done
check 'JSON' 0 ems-check --json up
json artifact/kind media-store
json artifact/layers/2/hashed 5
fresh && dump OLD all && store d
check 'a schema without hashes' 0 ems-check --json up
json artifact/layers/2/hashed 0
says '5 of its 8 media are here, 0 with the SHA-256'
fresh && dump COPY /dev/null && store d
check 'a database without media' 0 ems-check up
[ "$(grep -c 'is not in the database .media-not-in-db' out.txt)" = 5 ] && ok || no 'files without rows'
fresh && store d
check 'no database' 0 ems-check up
says_not 'compared with'
fresh && dump COPY all && export_of rows d && mkdir enc && echo secret >pass &&
    encrypt secret up/customer_db_export.sql.gz enc/customer_db_export.sql.gz.gpg &&
    encrypt secret up/customer_media_export.tar.gz enc/customer_media_export.tar.gz.gpg
check 'encrypted' 0 ems-check -p pass enc
says 'compared with customer_db_export.sql.gz.gpg: 5 of its 8'

# --- each difference by itself, in the store and in the export ---
# wrong NAME STATUS CODE MESSAGE COMMAND: the command edits d (the store) and rows.db (the rows).
wrong() {
    local kind
    for kind in store export; do
        fresh
        cp rows rows.db
        (eval "$5") || no "$1: $5"
        cat rows.db rows.excused >all && dump COPY all
        if [ $kind = store ]; then store d; else export_of "${rows_exported:-rows}" d; fi
        check "$1, $kind" "$2" ems-check --json up
        json finding/code "$3"
        says "$4"
        json summary/exit "$2"
        if [ "$2" = 1 ]; then says '"resend":\["customer_'; fi
        if [ "$2" = 1 ]; then json artifact/verdict damaged; fi
    done
}
one=$(place "${ids[1]}")
rows_exported=rows.left
sed 2d rows >rows.left
wrong 'a file is missing' 1 media-db-missing \
    'media BBBBccccDDDD2222eeeeFFFF \(1777 bytes\) is in the database, but its file is not here' "rm d/$one"
rows_exported=
wrong 'a row is missing' 0 media-not-in-db 'media CCCCdd-dEE_E3333ffffGGGG is not in the database' \
    'sed -i 3d rows.db'
wrong 'another size' 1 media-size 'media BBBBccccDDDD2222eeeeFFFF has 1777 bytes, but 1778 in the database' \
    'sed -i "2s/\t1777\t/\t1778\t/" rows.db'
wrong 'another hash' 1 media-digest 'media BBBBccccDDDD2222eeeeFFFF has another SHA-256 than in the database' \
    "perl -pi -e 's/(.)\$/\$1 eq q(0) ? 1 : 0/e if \$. == 2' rows.db"
# The store again, with the damage in the file itself, which no archive shows.
fresh && cat rows rows.excused >all && dump COPY all && flip "d/$one" 5 && store d
check 'a bit flipped in the store' 1 ems-check up
says 'media BBBBccccDDDD2222eeeeFFFF has another SHA-256 than in the database .media-digest'
fresh && : >"d/$one" && dump COPY all && store d
check 'an empty file' 1 ems-check up
says 'has 0 bytes, but 1777 in the database .media-size'

# Only the export says who uploaded a medium, and when.
for edit in '2s/@user1:/@user2:/' '3s/1700000000002/1700000000003/'; do
    fresh && sed "$edit" rows >rows.db && dump COPY rows.db && export_of rows d
    check "manifest: $edit" 0 ems-check up
    says 'has another uploader or time in manifest.json .media-bad-manifest'
done

# --- S3 explains what is not here ---
fresh && dump COPY all && rm "d/$one" && store d
printf 'server_name: example.org\nmedia_storage_providers:\n- module: s3_storage_provider.S3StorageProviderBackend\n  store_local: true\n' >up/homeserver.yaml
check 'storage providers' 0 ems-check up
says 'warning: media BBBBccccDDDD2222eeeeFFFF .1777 bytes. is in the database, but its file is not here .media-db-missing'
says 'media may live in S3 only'

# --- the place in the configuration is that of the archive, or somebody asks ---
for path in /var/lib/matrix-synapse/media /data/media/ media; do
    fresh && store d && printf 'server_name: example.org\nmedia_store_path: %s\n' "$path" >up/homeserver.yaml
    check "media_store_path $path" 0 ems-check up
    says_not 'media_store_path is'
done
sed -i 's,^media_store_path.*,media_store_path: /data/media_store,' up/homeserver.yaml
check 'another store' 0 ems-check up
says 'note: the media store was packed from var/lib/matrix-synapse/media/, but media_store_path is /data/media_store'

# --- many: the first are named, all are counted ---
fresh && perl -e 'printf "Id%022d\timage/png\t5\t1700000000000\t\\N\t\@a:example.org\t\\N\t\\N\t\\N\tf\tt\t\\N\n", $_ for 1..500' >many
dump COPY many && store d
check 'many' 1 ems-check up
says 'in all 500 media of the database are missing .media-db-missing'
[ "$(grep -c 'its file is not here' out.txt)" = 20 ] && ok || no 'twenty are named'

# --- rows that no Synapse writes harm nobody ---
fresh && cp rows hostile
printf '../../../etc/passwd\tx\t1\t1\tx\tx\t\\N\t\\N\t\\N\tf\tt\tzz\n\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\tf\tt\t\\N\nshort%sx\tx\t99999999999999999999\t-1\t\\N\ta\\\\b\t\\N\t\\N\t\\N\tf\tt\tNOTHEX\n' "" >>hostile
dump COPY hostile && store d
check 'odd rows' 0 ems-check up
says '5 of its 8 media are here'

# --- the whole job: a real homeserver's dump and a store that disagrees in every way at once ---
source "$here/tests/lib/postgres.sh"
if pg_bin initdb >/dev/null 2>&1; then
    cleanups+=(pg_scratch_stop)
    chmod 711 "$work"
    pg_scratch_start fsync=off || no 'scratch server'
    fresh
    psql -X -q -d postgres -c 'CREATE DATABASE synapse TEMPLATE template0' || no 'createdb'
    cat "$here"/fixtures/synapse-{schema,fill,indexes}.sql |
        psql -X -q -v ON_ERROR_STOP=1 -v events=120 --single-transaction -d synapse || no 'the homeserver'
    sed -e 3d -e 's/\t3331\t/\t3332\t/' rows | cat - rows.excused >rows.db # no row; another size
    psql -X -q -v ON_ERROR_STOP=1 -d synapse -c 'DELETE FROM local_media_repository_thumbnails' \
        -c 'DELETE FROM local_media_repository' \
        -c "\\copy local_media_repository (${columns// /, }) FROM rows.db" || no 'rows'
    pg_dump -O -d synapse | gzip >up/customer_db_export.sql.gz
    pg_scratch_stop
    flip "d/$(place "${ids[0]}")" 5 && rm "d/$one" && store d # another hash; no file
    check 'ingest' 1 ems-ingest --json --embedded emb --server-name example.org up
    # What the report says of media: all of it, and nothing else.
    perl -MJSON::PP -ne '$o = decode_json($_); print "$o->{severity} $o->{code}: $o->{message}\n"
        if $o->{type} eq "finding" && $o->{code} =~ /^media-/' out.txt | sort >said
    sort >expected <<END
error media-db-missing: media ${ids[1]} (1777 bytes) is in the database, but its file is not here
error media-digest: media ${ids[0]} has another SHA-256 than in the database
error media-size: media ${ids[3]} has 3331 bytes, but 3332 in the database
note media-db-missing: compared with customer_db_export.sql.gz: 3 of its 7 media are here, 1 with the SHA-256 that it names; 1 uploads were never finished, 2 previews of pages are not here and need not be
warning media-extra: 1 media are quarantined and must not be shown: ${ids[4]}
warning media-not-in-db: media ${ids[2]} is not in the database
END
    same said expected
    json artifact/verdict damaged
    json artifact/verdict verified
    json summary/resend customer_backup_media_export.tar.gz
    json artifact/database staging_example_org
fi

finish media_db
