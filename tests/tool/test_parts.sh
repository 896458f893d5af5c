# Parts as people upload them, through ems-check and ems-join: verdict, exit status, what to re-send.
source "$(dirname "$0")/lib.sh"

x=customer_db_export.sql.gz.gpg
cat >dump.sql <<'SQL'
--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET client_encoding = 'UTF8';

CREATE TABLE public.users (
    name text
);

CREATE TABLE public.events (
    event_id text,
    sender text
);

CREATE TABLE public.schema_version (
    version integer
);

COPY public.users (name) FROM stdin;
@alice:example.org
\.

COPY public.events (event_id, sender) FROM stdin;
SQL
perl -e 'sub any { join "", map { ("a".."z","A".."Z",0..9)[rand 62] } 1..29 }
    srand 5; print any(), "\t", any(), "\n" for 1..3000' >>dump.sql
printf '\\.\n\nCOPY public.schema_version (version) FROM stdin;\n94\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n' >>dump.sql
echo 'correct horse' >pass
gzip -9 <dump.sql >w.gz
encrypt 'correct horse' w.gz "$x"
mkdir up && split -b 20000 "$x" "up/$x.part-"
last=$(ls up | tail -n 1)

# row NAME STATUS RESEND COMMAND: damage to a copy in d, its verdict by ems-check, and the same
# re-send list by ems-join.
row() {
    rm -rf d && cp -r up d && (cd d && eval "$4")
    check "$1" "$2" ems-check --json -p pass d
    json summary/exit "$2"
    json summary/resend "$3"
    (cd d && find . -type f -exec cksum {} + | sort) >before.txt
    check "$1: join" "$2" ems-join --json -f -o joined d
    json summary/resend "$3"
    [ "$2" != 0 ] || same joined "$x"
    (cd d && find . -type f -exec cksum {} + | sort) >after.txt
    same before.txt after.txt
}

row 'whole' 0 '' :
row 'browser copy, equal' 0 '' "cp $x.part-ab '$x (1).part-ab'"
json finding/code part-duplicate
row 'browser copy, different' 1 "$x.part-ab" "cp $x.part-ac '$x (1).part-ab'"
json finding/code part-conflict
row 'browser copy after a cut download' 0 '' "cp $x.part-ab '$x (1).part-ab'; truncate -s 999 $x.part-ab"
row 'renamed by Drive and a mail program' 0 '' "mv $x.part-aa 'Copy of $x.part-aa'; mv $last $last.txt"
json finding/code part-renamed
row 'upper case' 0 '' "for f in *; do mv \$f \${f^^}; done"
row 'two names that differ in case' 1 "$x.part-ab" "cp $x.part-ac ${x^^}.PART-AB"
json finding/code part-conflict
row 'parts of two days' 1 "$x.part-ac $x.part-ad" "split -b 10000 ../$x o. && mv o.ac $x.part-ac && mv o.ad $x.part-ad; rm -f o.*"
says 'parts of two splits lie together'
row 'a name ending of Windows' 0 '' "mv $x.part-ab $x.part-ab.bin"
row 'named part of a browser' 3 "$x.part-ac" "mv $x.part-ac $x.part-ac.part"
row 'split wrote more names than two letters have' 0 '' "rm $x*; split -b 190 ../$x $x.part-"
row 'a folder of its own, and litter' 0 '' "mkdir -p synapse_export/__MACOSX; mv $x* synapse_export; touch .DS_Store ._$x synapse_export/__MACOSX/$x.part-aa"
row 'a web page in place of a part' 1 "$x.part-ab" "echo '<!DOCTYPE html><title>Google Drive - Quota exceeded</title>' >$x.part-ab"
says 'not the file but a web page'
row 'an error as JSON' 1 "$x.part-ab" "echo '{\"error\": {\"code\": 403}}' >$x.part-ab"
row 'unfinished: rclone' 3 "$x.part-ac" "mv $x.part-ac $x.part-ac.5e1a2b3c.partial"
row 'unfinished: rsync' 3 "$x.part-ac" "mv $x.part-ac .$x.part-ac.Xy12zQ"
row 'unfinished: aria2' 3 "$x.part-ac" "touch $x.part-ac.aria2"
row 'two faults' 3 "$x.part-ab $x.part-ad" "rm $x.part-ab; truncate -s 100 $x.part-ad"
row 'first and last lost' 3 "$x.part-aa" "rm $x.part-aa $last"
row 'all but the first lost' 3 "$(cd up && ls | tail -n +2 | tr '\n' ' ' | sed 's/ $//')" "find . -name '$x*' ! -name '*-aa' -delete"
row 'stale tail' 0 '' "cp $x.part-aa $x.part-az"
json finding/code part-stale
row 'names exchanged with the first' 1 "$x.part-aa $x.part-ac" "mv $x.part-aa t; mv $x.part-ac $x.part-aa; mv t $x.part-ac"
row 'too much at the end' 1 "$last" "echo garbage >>$last"
row 'numbers from 1' 0 '' "rm $x*; split -b 20000 --numeric-suffixes=1 ../$x $x.part-"
row 'hex' 0 '' "rm $x*; split -b 5000 -x ../$x $x.part-"
row '7-Zip volumes, tail lost' 3 "$x.$(printf %03d $(ls up | wc -l))" "rm $x*; split -b 20000 -a 3 --numeric-suffixes=1 ../$x $x.; rm \$(ls | tail -n 1)"
row '7-Zip volumes' 0 '' "rm $x*; split -b 20000 -a 3 --numeric-suffixes=1 ../$x $x."
row 'split -n' 0 '' "rm $x*; split -n 7 ../$x $x.part-"
row 'two runs of split' 1 '' "split -b 20000 -d ../$x $x.part-"
json finding/code part-scheme
row 'split ran out of names' 3 "$x" "rm $x*; split -b 5000 -a 1 ../$x $x.part- 2>/dev/null; :"
says 'split -a 3'

# decryption names the suspect; a re-sent part in a second directory mends it
cp -r up hurt && flip "hurt/$x.part-ac" 777
check 'a bit flipped' 1 ems-check --json -p pass hurt
json finding/code pgp-modified
mkdir holed && cp up/* holed && dd if=/dev/zero of="holed/$x.part-ac" bs=1000 seek=5 count=2 conv=notrunc status=none
check 'a hole in a part' 1 ems-check --json -p pass holed
json finding/part "$x.part-ac"
says "suspected: the first error is at byte [0-9]+ of $x.part-ac"
json summary/resend "$x.part-ac"
dd if=/dev/zero of="holed/$last" bs=1 seek=$(($(stat -c %s "up/$last") - 30)) count=10 conv=notrunc status=none
cp "up/$x.part-ac" holed
check 'a hole in the last bytes' 1 ems-check --json -p pass holed
says 'Nothing says which part it is'
json summary/resend "$x"
mkdir again && cp "up/$x.part-ac" again
check 'and sent again' 0 ems-check --json -p pass hurt again
json finding/code part-conflict
json summary/resend ''
rm "hurt/$x.part-ac"
check 'lost, and sent again' 0 ems-check -p pass hurt again
truncate -s -1 "again/$x.part-ac"
cp "up/$x.part-ac" hurt
check 'the second copy is the cut one' 0 ems-check --json -p pass hurt again
json finding/code part-duplicate
check 'the second copy alone' 3 ems-check --json -p pass again
json summary/resend "$x.part-aa $x.part-ab"

# a file that is written to while it is read is still arriving; a large one, so that it meets it
mkdir late && truncate -s 600M late/customer_media_export.tar.gz
perl -e 'for (my $t = 1e9;; $t++) { utime $t, $t, $ARGV[0] }' late/customer_media_export.tar.gz &
writer=$!
until [ "$(stat -c %Y late/customer_media_export.tar.gz)" -lt 1600000000 ]; do :; done
check 'changed while it was read' 3 ems-join --json -o /dev/null late
kill $writer
wait $writer 2>/dev/null
json finding/code part-unfinished
json finding/part customer_media_export.tar.gz
json summary/resend customer_media_export.tar.gz
rm -r late

# copies that differ: what proves right is used, wherever it lies
rm -rf first second
cp -r up first
mkdir second && cp "up/$x.part-ab" second && flip "second/$x.part-ab" 5000
check 'the copy sent again is the bad one' 0 ems-check --json -p pass first second
json finding/severity note
says "copies of $x.part-ab differ: first/$x.part-ab is used .proven: with it everything decrypts"
json summary/resend ''
check 'the other way round' 0 ems-check --json -p pass second first
says "copies of $x.part-ab differ: first/$x.part-ab is used .proven"
check 'decrypted with it' 0 ems-decrypt -p pass -f -o again.gz first second
same again.gz w.gz
check 'and with the last one' 0 ems-decrypt -p pass -f -o again.gz second first
same again.gz w.gz
cp "up/$x.part-aa" "up/$x.part-ad" second && flip "second/$x.part-ad" 8000
check 'one good and two bad copies' 0 ems-check --json -p pass first second
says "first/$x.part-ab is used .proven"
says "first/$x.part-ad is used .proven"
flip "first/$x.part-ab" 5001
flip "first/$x.part-ab" 9001
check 'both copies bad' 1 ems-check --json -p pass first second
json finding/code pgp-modified
check 'both copies bad: decrypt' 1 ems-decrypt --json -p pass -f -o never.gz first second
json finding/code pgp-modified
absent never.gz
rm -rf first second && cp -r up first && cp -r up second
flip "second/$x.part-ac" 100
check 'two whole places, the later one damaged' 0 ems-check --json -p pass first second
says "first/$x.part-ac is used .proven"
flip "first/$x.part-aa" 30
check 'two whole places, both damaged' 0 ems-check --json -p pass first second
says "second/$x.part-aa is used .proven"
encrypt 'correct horse' w.gz w2.gpg
rm -rf second && mkdir second && split -b 20000 w2.gpg "second/$x.part-"
rm -rf first && cp -r up first && flip "second/$x.part-ab" 4000
check 'two encryptions, the later one damaged' 0 ems-check --json -p pass first second
flip "first/$x.part-ab" 4000
check 'two encryptions, both damaged' 1 ems-check --json -p pass first second
json finding/code pgp-modified

# the whole file beside its parts: the one of the right size is used, and what is said of it is true
rm -rf d && cp -r up d && cp "$x" d
check 'whole and in parts' 0 ems-check --json -p pass d
says "$x lies here whole and also in .* parts; the whole file is used"
truncate -s -100 "d/$x"
check 'whole but cut, and in parts' 0 ems-check --json -p pass d
says "parts; the whole file is not right, the parts are used"
rm "d/$x.part-ac"
check 'whole but cut, and a part is missing' 3 ems-check --json -p pass d
says "parts; neither is right, the parts are used"
json summary/resend "$x.part-ac"
truncate -s 0 "d/$x"
check 'whole but empty, and a part is missing' 3 ems-check --json -p pass d
says "parts; neither is right, the parts are used"
json summary/resend "$x.part-ac"

# in one place nothing but a manifest may decide
rm -rf first && cp -r up first && cp "up/$x.part-ac" "first/$x (1).part-ab"
cp -r first good && ems-manifest create -q up && mv up/ems-upload.sha256 good/
check 'undecided' 1 ems-check --json -p pass first
json summary/resend "$x.part-ab"
mkdir two && cp "up/$x.part-ab" two
check 'sent again, which decides' 0 ems-check --json -p pass first two
json summary/resend ''
check 'by the manifest: check' 0 ems-check --json -p pass good
says "copies of $x.part-ab differ: good/$x.part-ab is used .proven: its SHA-256 is the one in the manifest"
json artifact/manifest proven
check 'by the manifest: join' 0 ems-join -f -o joined good
same joined "$x"
check 'by the manifest: decrypt' 0 ems-decrypt -p pass -f -o again.gz good
same again.gz w.gz
check 'by the manifest: verify' 0 ems-manifest verify --json good
json finding/code part-conflict
mv "good/$x.part-ab" t && mv "good/$x (1).part-ab" "good/$x.part-ab" && mv t "good/$x (1).part-ab"
check 'by the manifest: the copy' 0 ems-check --json -p pass good
says "good/$x .1..part-ab is used .proven"
check 'by the manifest: verify the copy' 0 ems-manifest verify good
cp "up/$x.part-ad" "good/$x (1).part-ab"
check 'none of them is right' 1 ems-check --json -p pass good
json summary/resend "$x.part-ab"
check 'none of them is right: verify' 1 ems-manifest verify --json good
json summary/resend "$x.part-ab"
check 'none of them is right: join' 1 ems-join --json -f -o never good
json summary/resend "$x.part-ab"
absent never

# a manifest and one artifact: that is what join, decrypt and unpack are for
rm -rf good && cp -r up good && ems-manifest create -q good
check 'join beside a manifest' 0 ems-join -f -o joined good
same joined "$x"
flip "good/$x.part-ab" 9 && flip "good/$x.part-ad" 9
check 'the manifest is heard: join' 1 ems-join --json -f -o never good
json summary/resend "$x.part-ab $x.part-ad"
check 'the manifest is heard: decrypt' 1 ems-decrypt --json -p pass -f -o never good
json summary/resend "$x.part-ab $x.part-ad"
absent never
rm -rf full && mkdir full && head -c 60000 w.gz | split -b 20000 - full/dump.sql.gz.part-
ems-manifest create -q full && rm full/dump.sql.gz.part-ac
check 'a tail that only the manifest knows' 3 ems-join --json -f -o never full
json finding/code manifest-missing
json summary/resend dump.sql.gz.part-ac
absent never
rm -rf full

# gpg from a pipe writes partial lengths: the chain itself says where the end is
encrypt 'correct horse' - p.gpg <w.gz
mkdir pipe && split -b 20000 p.gpg "pipe/$x.part-"
plast=$(ls pipe | tail -n 1)
check 'partial lengths' 0 ems-check -p pass pipe
check 'partial lengths, without a passphrase' 0 ems-join -f -o joined pipe
same joined p.gpg
mv "pipe/$plast" .
check 'partial lengths, tail lost' 3 ems-join --json -f -o joined pipe
json summary/resend "$plast"
head -c 1000 "$plast" >"pipe/$plast"
check 'partial lengths, tail cut' 3 ems-join --json -f -o joined pipe
json finding/code part-truncated
json summary/resend "$plast"

# an armoured message states no length: only reading tells, and the next name is that of the scheme
encrypt 'correct horse' w.gz armored.gpg --armor
mkdir vol && split -b 20000 -a 3 --numeric-suffixes=1 armored.gpg "vol/$x."
vlast=$(ls vol | tail -n 1)
rm "vol/$vlast"
check 'armoured volumes, tail lost' 3 ems-check --json -p pass vol
json summary/resend "$vlast"
rm -rf vol/* && split -b 20000 -d armored.gpg "vol/$x.part-"
vlast=$(ls vol | tail -n 1)
rm "vol/$vlast"
check 'armoured digits, tail lost' 3 ems-check --json -p pass vol
json summary/resend "$vlast"

# the set as data
(cd up && cp "$x.part-ab" "$x (1).part-ab" && rm "$x.part-ac")
check 'facts of the set' 3 ems-join --json -f -o joined up
json artifact/set/scheme letters
json artifact/set/part_size 20000
json artifact/set/expected "$(stat -c %s "$x")"
json artifact/set/missing 1
json artifact/set/copies 1
(cd up && rm "$x (1).part-ab" && cp "../hurt/$x.part-ac" .)

# where no framing tells the end, a full last part is doubtful
mkdir full && head -c 40000 w.gz | split -b 20000 - full/dump.sql.gz.part-
check 'a full last part' 0 ems-join -f -o joined full
says 'there may be more'
head -c 3000 "$x" >short.gpg
check 'a file that is cut' 1 ems-join -f -o joined short.gpg
says pgp-truncated

# a symbolic link was archived in place of what it leads to
mkdir link && ln -s /data/media_store media_store
tar -czf link/customer_backup_media_export.tar.gz media_store
check 'an archived link' 1 ems-check --json link
says 'real directory, or its option -h'
json summary/resend customer_backup_media_export.tar.gz

# bundles as Google Drive makes them, one of them overlooked
if command -v zip >/dev/null; then
    rm -rf drive && mkdir drive
    (cd up && zip -q0 ../drive/up-20260512T023001Z-3-001.zip "$x.part-aa" "$x.part-ab" &&
        zip -q0 ../drive/up-20260512T023001Z-3-003.zip "$x.part-ab" "$x".part-a[d-z])
    check 'bundles of Drive, one overlooked' 3 ems-check --json -p pass drive
    json summary/resend "$x.part-ac"
    says 'up-20260512T023001Z-3-002.zip is not here'
    cp "up/$x.part-ac" drive
    check 'bundles of Drive, the rest beside them' 0 ems-check --json -p pass drive
else
    echo 'skipped: bundles of Drive: no zip'
fi

# as a shell gives them
(cd up && ls) >names
check 'all names in one list' 0 bash -c "cd up && xargs ems-check -q -p ../pass <../names"
finish parts
