# ems-manifest as customers and support meet it, and the manifest inside ems-check.
source "$(dirname "$0")/lib.sh"

x=customer_db_export.sql.gz.gpg
perl -e 'print "synapse " x 20, $_ * $_, "\n" for 1 .. 9000' | gzip -n >inner.gz
echo 'correct horse' >pass
encrypt 'correct horse' inner.gz "$x" --compress-algo none
size=$(($(stat -c %s "$x") / 6 + 1))
encrypt 'correct horse' inner.gz media.gpg --compress-algo none
echo "ed25519 a_Test $(perl -e 'print pack "C*", 1 .. 32' | base64 | tr -d =)" >key
chmod 600 key
base() { # a fresh upload in ./up
    rm -rf up
    mkdir up
    split -b $size "$x" "up/$x.part-"
    cp media.gpg up/customer_media_export.tar.gz.gpg
    cp key up/example.org.signing.key
}
m=up/ems-upload.sha256

# create
base
check 'create' 0 ems-manifest create up
says "^$x: verified"
says 'manifest written; for the ticket: [0-9a-f]{16}$'
says "^#%ems-manifest 1" $m
says "^#% artifact $x kind=db-dump size=$(stat -c %s "$x") parts=6 part-size=$size suffix=alpha enc=gpg-symmetric" $m
says "^#% part $x.part-ac of=$x index=2 offset=$((2 * size)) size=$size" $m
says "^$(sha256sum <"$x" | cut -c 1-64)  $x\$" $m
says "^$(sha256sum <up/$x.part-ab | cut -c 1-64)  $x.part-ab\$" $m
says_not '#% (inner|sqldump|block)' $m
says_not 'correct horse' $m
ticket=$(sed -nE 's/.*ticket: //p' out.txt)
if [ "$ticket" = "$(sha256sum <$m | cut -c 1-16)" ]; then ok; else no "the ticket says $ticket"; fi
(cd up && sha256sum -c --strict --quiet --ignore-missing ems-upload.sha256) >out.txt 2>&1 || no 'sha256sum refuses it'
(cd up && sha256sum -c --strict --ignore-missing ems-upload.sha256) >out.txt 2>&1
if [ "$(grep -c ': OK$' out.txt)" = 8 ]; then ok; else no 'sha256sum does not check all 8 files'; fi
if command -v shasum >/dev/null; then
    check 'shasum reads it' 0 bash -c 'cd up && shasum -a 256 -c --strict --ignore-missing ems-upload.sha256'
fi
id=$(sed -n 's/^#% upload-id //p' $m)
check 'create keeps what exists' 75 ems-manifest create up
check 'create replaces it when told' 0 ems-manifest create -f up
says "^#% upload-id $id\$" $m
check 'verify' 0 ems-manifest verify up
says "^$x: verified"
says 'all files are as in the manifest; for the ticket: [0-9a-f]{16}$'
check 'verify, for programs' 0 ems-manifest verify --json up
json summary/exit 0
json artifact/manifest proven
check 'verify by the name of the manifest' 0 ems-manifest verify --fast up
check 'quiet' 0 ems-manifest verify -q up
if [ -s out.txt ] || [ -s err.txt ]; then no 'quiet says something'; else ok; fi
check 'another place' 0 ems-manifest create -o list.sha256 up
says '^#% end' list.sha256
check 'standard output' 0 ems-manifest create -o - up
says '^#% end' out.txt
check 'more blocks' 0 bash -c "head -c 9000000 /dev/zero >up/customer_backup_media_export.tar && ems-manifest create --blocks -f up"
if [ "$(grep -c '^#% block customer_backup_media_export.tar ' $m)" = 3 ]; then ok; else no 'not 3 blocks'; fi
says_not "#% block $x" $m
flip up/customer_backup_media_export.tar 5000000
check 'a damaged block' 1 ems-manifest verify up
says 'in 1 blocks between byte 4194304 and byte 8388608'

# what is not for the upload is left out
base
echo 'correct horse' >up/passphrase.txt
cp inner.gz up/customer_media_export.tar.gz
check 'secrets are left out' 0 ems-manifest create up
says_not passphrase $m
says_not 'customer_media_export.tar.gz$' $m

# with the passphrase
base
check 'inner layers' 1 ems-manifest create -p pass up
says 'no manifest was written' err.txt
absent "$m"
rm -rf up && mkdir up
{ cat <<'SQL'
--
-- PostgreSQL database dump
--

-- Dumped from database version 15.6
-- Dumped by pg_dump version 15.6

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

CREATE TABLE public.users (
    name text
);

COPY public.users (name) FROM stdin;
@alice:example.org
@bob:example.org
\.


--
-- PostgreSQL database dump complete
--

SQL
} >dump.sql
gzip -n -k dump.sql
encrypt 'correct horse' dump.sql.gz "$x" --compress-algo none
cp "$x" up/
check 'a dump, with its inside' 0 ems-manifest create -p pass up
says "^#% inner $x layer=gpg size=$(stat -c %s dump.sql.gz) sha256=$(sha256sum <dump.sql.gz | cut -c 1-64)" $m
says "^#% inner $x layer=gzip size=$(stat -c %s dump.sql) sha256=$(sha256sum <dump.sql | cut -c 1-64)" $m
says "^#% sqldump of=$x server=15.6 dump=15.6 encoding=UTF8 complete=yes" $m
says '^#% table public.users rows=2' $m
check 'the inside is as it says' 0 ems-check --json -p pass up
json artifact/manifest proven
cp $m good.sha256
edit() { # an edited manifest that proves itself again
    perl -MDigest::SHA=sha256_hex -e '
        my $code = shift; undef $/;
        my $text = <STDIN>; $text =~ s/^#% end .*//m;
        eval "\$text =~ $code"; die $@ if $@;
        my $lines = () = $text =~ /\n/g;
        print $text, "#% end lines=$lines sha256=", sha256_hex($text), "\n"' "$1" <good.sha256 >$m
}
inside() { # NAME EDIT CODE MESSAGE
    edit "$2"
    check "$1" 1 ems-check --json -p pass up
    json finding/code "$3"
    says "$4"
    json summary/resend ems-upload.sha256
}
inside 'other rows' 's/rows=2/rows=3/' manifest-size 'table public.users has 2 rows in the dump, the manifest says 3'
inside 'another table' 's/public.users/public.events/' manifest-size 'the dump has no table public.events'
inside 'another server' 's/server=15.6/server=15.7/' manifest-digest 'server version is .*15.6.*, the manifest says .*15.7'
inside 'other bytes in gzip' 's/(layer=gzip size=\d+ sha256=)(.)/$1 . ($2 eq "0" ? 1 : 0)/e' manifest-digest 'below its layer gzip is not the one'
inside 'another size in gpg' 's/layer=gpg size=/layer=gpg size=1/' manifest-size 'below its layer gpg are'
edit 's/rows=2/rows=3/; $text =~ s/^[0-9a-f]{64}.*\n//m'
check 'nothing vouches for the outside: the file is another one' 1 ems-check --json -p pass up
json summary/resend "$x"
cp good.sha256 $m

# a browser unpacks what is not encrypted
rm -rf safari && mkdir safari
mkdir -p media_store/local_content/ab/cd && head -c 3000 /dev/urandom >media_store/local_content/ab/cd/efghijklmnopqrstuvwx
tar -czf safari/customer_backup_media_export.tar.gz media_store
check 'media lines' 0 ems-manifest create -p pass safari
says '^#% media of=customer_backup_media_export.tar.gz count=1 bytes=3000 missing=0' safari/ems-upload.sha256
check 'media as it says' 0 ems-check --json safari
gunzip -c safari/customer_backup_media_export.tar.gz >plain.tar
mv plain.tar safari/customer_backup_media_export.tar.gz
check 'unpacked by a browser' 0 ems-check --json safari
says 'was unpacked on the way; what was in it is as the manifest says'
check 'unpacked by a browser: verify' 0 ems-manifest verify safari
mv safari/customer_backup_media_export.tar.gz safari/customer_backup_media_export.tar
check 'and renamed' 0 ems-manifest verify --json safari
json summary/resend ''
mv safari/customer_backup_media_export.tar safari/customer_backup_media_export.tar.gz
flip safari/customer_backup_media_export.tar.gz 600
check 'unpacked and damaged' 1 ems-manifest verify safari

check 'without its inside' 0 ems-manifest create -f --no-inner -p pass up
says_not '#% (inner|sqldump|table)' $m
check 'the wrong passphrase' 4 ems-manifest create -f --passphrase-fd 3 up 3<<<wrong
says '^#% end' $m # the old one stays

# damage, one file each way
encrypt 'correct horse' inner.gz "$x" --compress-algo none
damage() { # NAME STATUS CODE RESEND COMMAND...: in a fresh upload with a manifest
    local name=$1 status=$2 code=$3 resend=$4
    shift 4
    base
    ems-manifest create -q up || no "$name: no manifest"
    (cd up && "$@")
    check "$name" "$status" ems-manifest verify --json up
    [ -n "$code" ] && json finding/code "$code"
    json summary/resend "$resend"
}
damage 'nothing' 0 '' '' true
damage 'a flipped bit' 1 manifest-digest "$x.part-ab" flip "$x.part-ab" 77
check 'a flipped bit, decrypted' 1 ems-check -p pass up
says 'pgp-modified'
says '^        The manifest tells which file it is: see there.$'
says_not 'Nothing says which part'
damage 'two flipped bits' 1 manifest-digest "$x.part-aa $x.part-ae" eval "flip $x.part-ae 7; flip $x.part-aa 7000"
damage 'a missing part' 3 manifest-missing "$x.part-ac" rm "$x.part-ac"
damage 'the last part missing' 3 manifest-missing "$x.part-af" rm "$x.part-af"
damage 'a missing file' 3 manifest-missing example.org.signing.key rm example.org.signing.key
damage 'a cut part' 1 manifest-size "$x.part-ab" truncate -s -1 "$x.part-ab"
damage 'a longer part' 1 manifest-size "$x.part-af" eval "echo more >>$x.part-af"
damage 'an empty part' 1 manifest-size "$x.part-ab" truncate -s 0 "$x.part-ab"
damage 'another file' 0 manifest-extra '' eval 'echo hello >notes.txt'
damage 'two parts swapped' 1 manifest-digest "$x.part-ab $x.part-ac" \
    eval "mv $x.part-ab t; mv $x.part-ac $x.part-ab; mv t $x.part-ac"
damage 'put together already' 0 '' '' eval "cat $x.part-* >$x; rm $x.part-*"
damage 'a cut manifest' 1 manifest-truncated ems-upload.sha256 truncate -s -90 ems-upload.sha256
damage 'an edited manifest' 1 manifest-malformed ems-upload.sha256 sed -i s/created/updated/ ems-upload.sha256
damage 'no manifest' 3 manifest-missing '' rm ems-upload.sha256
damage 'a manifest of tomorrow' 5 manifest-unsupported '' sed -i '1s/1$/2/' ems-upload.sha256
damage 'a manifest through notepad' 0 manifest-malformed '' sed -i 's/$/\r/' ems-upload.sha256

# names and sizes only
base
ems-manifest create -q up
flip up/$x.part-ab 77
check 'fast does not read' 0 ems-manifest verify --fast up
says 'names and sizes are as in the manifest'
truncate -s -1 up/$x.part-ab
check 'fast sees a size' 1 ems-manifest verify --fast up

# a listing of a folder that was not downloaded
base
ems-manifest create -q up
lsjson() { # what rclone lsjson --hash prints of a folder
    perl -MDigest::SHA -MJSON::PP -e '
        print encode_json([map {
            { Path => $_, Name => $_, Size => -s "$ARGV[0]/$_", IsDir => JSON::PP::false, ID => "id-$_",
              Hashes => { sha256 => Digest::SHA->new(256)->addfile("$ARGV[0]/$_", "b")->hexdigest } }
        } map { s{.*/}{}r } glob "$ARGV[0]/*"])' "$1"
}
mkdir only && cp $m only/
lsjson up >list.json
check 'a good listing' 0 ems-manifest verify --listing list.json only
flip up/$x.part-ad 7
rm up/$x.part-ae
lsjson up >list.json
check 'a bad listing' 1 ems-manifest verify --json --listing list.json only
json summary/resend "$x.part-ad $x.part-ae"
perl -MJSON::PP -e 'undef $/; my $l = decode_json(<STDIN>); my %c = %{$l->[0]}; $c{ID} = "id-2";
    $c{Hashes} = { sha256 => "0" x 64 }; print encode_json([@$l, \%c])' <list.json >twice.json
check 'Drive holds two files of one name' 1 ems-manifest verify --json --listing twice.json only
json finding/code part-conflict
says 'id-2'
echo '{' >list.json
check 'no listing' 1 ems-manifest verify --listing list.json only
check 'a listing that is not there' 75 ems-manifest verify --listing nowhere only

# the guide's lines, made with coreutils alone
base
(
    cd up
    sha256sum -- customer_* *.signing.key >ems-upload.sha256
    cat $x.part-* | sha256sum | sed "s/-\$/$x/" >>ems-upload.sha256
    stat -c '#%% part %n size=%s' customer_*.part-* >>ems-upload.sha256
)
check 'the guide' 0 ems-manifest verify up
says 'no end mark'
truncate -s -3 up/$x.part-ab
check 'the guide, a cut part' 1 ems-manifest verify --json up
json finding/code manifest-size

# checksums of another kind are named as what they are not
(cd up && b2sum -- customer_* >ems-upload.sha256)
check 'b2sum' 1 ems-manifest verify --json up
json finding/code manifest-malformed
json summary/resend ems-upload.sha256

# ems-check reads once, and names every bad part
rm -rf up && mkdir up
perl -ne 'print; if (/^\@bob/) { print "\@u$_:example.org\n" for 1 .. 30000 }' dump.sql | gzip -n >d.gz
encrypt 'correct horse' d.gz "$x" --compress-algo none
split -b 20000 "$x" "up/$x.part-"
cp key up/example.org.signing.key
ems-manifest create -q -p pass up || no 'no manifest of the dump'
check 'check with a manifest' 0 ems-check --json -p pass up
json artifact/manifest proven
json summary/exit 0
flip "up/$x.part-ab" 99
flip "up/$x.part-ad" 99
check 'check names both' 1 ems-check --json -p pass up
json summary/resend "$x.part-ab $x.part-ad"
check 'without the passphrase too' 4 ems-check --json up
json summary/resend "$x.part-ab $x.part-ad"
rm "up/$x.part-ac" up/example.org.signing.key
check 'and the missing ones' 1 ems-check --json -p pass up
json finding/code manifest-missing
says "\"resend\":\\[.*$x.part-ac.*$x.part-ab.*$x.part-ad.*signing.key"
# an encrypted copy of the manifest vouches for it
rm -rf up && mkdir up
cp "$x" up/
ems-manifest create -q up
encrypt 'correct horse' $m $m.gpg
check 'an encrypted copy' 0 ems-check -p pass up
says 'the encrypted copy matches the manifest'
check 'is no file of the upload' 0 ems-manifest verify up
says_not 'manifest-extra'
echo other | encrypt 'correct horse' - $m.gpg
check 'another copy' 1 ems-check --json -p pass up
json finding/code manifest-digest
echo 'a signature' >$m.gpg
check 'a signature is noted' 0 ems-check -p pass up
says 'not an encrypted copy of the manifest; not checked'
# damaged before the checksums were made: sending it again mends nothing
rm -rf up && mkdir up
cp "$x" up/
flip "up/$x" -30
ems-manifest create -q up
check 'bad from the start' 1 ems-check -p pass up
says 'so the file was already like this'
sed -i '$d' $m
check 'check refuses a cut manifest' 1 ems-check --json -p pass up
json finding/code manifest-truncated

# wrong use
check 'no command' 2 ems-manifest up up
check 'no directory' 2 ems-manifest create "$x"
check 'options of the other command' 2 ems-manifest verify --blocks up
check 'options of the other command' 2 ems-manifest create --fast up
check 'nothing there' 75 ems-manifest verify nowhere

finish manifest
