# Media exports as the exporter writes them, and each rule about them broken once: black box. Each
# broken one is packed twice, with the manifest first and last: what is said must be the same. With
# EMS_LONG=1 also memory over hundreds of thousands of media.
source "$(dirname "$0")/lib.sh"

maker=$here/fixtures/make-media-export
export=customer_media_export
archive=$export.tar.gz
mkdir good && "$maker" --part-size 30000 good || no 'the fixture script'

# pack DIR first|last: as the guide does, but with the manifest at one end.
pack() {
    local rest
    rest=$(cd "$1" && find $export -type f ! -name export-manifest.tgz | sort)
    # shellcheck disable=SC2086 # names without blanks
    case $2 in
    first) tar -C "$1" -czf $archive $export/export-manifest.tgz $rest ;;
    last) tar -C "$1" -czf $archive $rest $export/export-manifest.tgz ;;
    plain) tar -C "$1" -czf $archive $export ;;
    esac 2>/dev/null || tar -C "$1" -czf $archive $export
}

# --- good ones ---
pack good plain
check 'a good export' 0 ems-check $archive
says '^customer_media_export.tar.gz: verified'
says '12 media of example.org \(93.1 kB\) in 3 parts, every hash verified, by exporter v1.2.x'
says "2 other files lie beside the parts: .*media-repo.yaml.*\[media-extra\]"
check 'its facts' 0 ems-check --json $archive
json artifact/kind media-export
json artifact/verdict verified
for fact in layer:media-export parts:3 files:12 bytes:93123 largest:19953 empty:1 media:12 \
    verified:12 manifest_version:2 server:example.org tool:v1.2.x \
    'origins:example.org: 12 (93123 bytes)' created_ms:1601510400000; do
    json "artifact/layers/2/${fact%%:*}" "${fact#*:}"
done
echo secret >pass
encrypt secret $archive $archive.gpg
mkdir up && split -b 3000 $archive.gpg up/$archive.gpg.part-
check 'encrypted and split' 0 ems-check -p pass up
says 'every hash verified'

for how in '--tool 1.3' '--tool 1.0' '--files 4 --bytes 10000 --part-size 10000' '--files 0' \
    "--server $(printf 'a-name-of-forty-characters-xxxxxxxxxxxx.%.0s' 1 2 3)example.org" \
    '--files 300 --part-size 100000'; do
    rm -rf d && mkdir d
    # shellcheck disable=SC2086 # options
    "$maker" $how d
    pack d plain
    check "good: $how" 0 ems-check $archive
    says ', every hash verified, by'
done
rm -rf d && mkdir d && "$maker" --tool 1.3 d && pack d plain
check 'v1.3' 0 ems-check $archive
says 'by exporter v1.3.0 or newer'
says_not media-extra
rm -rf d && mkdir d && "$maker" --tool 1.0 d && pack d plain
check 'v1.0' 0 ems-check --json $archive
json artifact/layers/2/tool 'gdpr_export, v1.2.0 or older'
json artifact/layers/2/manifest_version 1

# --- editing ---
# repack NAME DIR: members without "./", as Go writes them; in the manifest's archive it comes first.
repack() {
    local members
    members=$(cd "$2" && ls -A)
    # shellcheck disable=SC2086 # names without blanks
    if [ -z "$members" ]; then tar -cf - -T /dev/null; else tar -C "$2" -cf - $members; fi |
        gzip >"$1"
}
# manifest PERL: change manifest.json, held in $_; %m{ID} and such are not parsed, it is text.
manifest() {
    rm -rf ../../x && mkdir ../../x && tar -xzf export-manifest.tgz -C ../../x
    cp ../../x/manifest.json ../../before.json
    perl -0pi -e "$1" ../../x/manifest.json || return
    cmp -s ../../before.json ../../x/manifest.json && { echo "nothing changed"; return 1; }
    repack export-manifest.tgz ../../x
}
# part N COMMAND...: run the command inside the unpacked part.
part() {
    local n=$1
    shift
    rm -rf ../../x && mkdir ../../x && tar -xzf "export-part-$n.tgz" -C ../../x
    (cd ../../x && eval "$*")
    repack "export-part-$n.tgz" ../../x
}
plain() { gunzip -c "$1" >../../plain; } # then edit ../../plain
packed() { gzip -c <../../plain >"$1"; }

# broken NAME STATUS CODE MESSAGE COMMAND: the export with this one thing changed.
broken() {
    local order
    rm -rf d && cp -r good d
    (cd d/$export && eval "$5") >edit.txt 2>&1 || { no "$1: $(cat edit.txt)"; return; }
    for order in first last; do
        pack d $order
        check "$1 ($order)" "$2" ems-check --json $archive
        grep -q "\"code\":\"$3\".*\"message\":\"[^\"]*$4" out.txt && ok ||
            no "$1 ($order): no '$4' in $(grep "\"finding\"" out.txt | head -n 5)"
        [ "$2" = 0 ] || grep -q "\"resend\":\[\"$archive\"\]" out.txt || no "$1: nothing to send again"
    done
}

one=example.org__EJHqqruntJQtgWAWMyUAfchI.jpg
id=EJHqqruntJQtgWAWMyUAfchI
uri=mxc://example.org/$id

# E1
broken 'no manifest archive' 1 media-no-manifest 'there is no manifest.json in the export' 'rm export-manifest.tgz'
says 'v1.2.x\) stopped at an error'
broken 'no manifest, no logs' 1 media-no-manifest 'there is no manifest.json' 'rm -r export-manifest.tgz logs media-repo.yaml'
says 'with -skipMissing, versions from v1.3.4 on'
broken 'no manifest in its archive' 1 media-no-manifest 'there is no manifest.json' 'echo x >../../x.html; tar -C ../.. -czf export-manifest.tgz x.html'
broken 'the last part cut' 1 media-no-manifest 'there is no manifest.json' 'rm export-manifest.tgz; head -c 100 export-part-3.tgz >t; mv t export-part-3.tgz'
says 'interrupted \(disk full'
broken 'the manifest cut' 1 gzip-truncated 'export-manifest.tgz: gzip data ends in the compressed data' 'head -c 700 export-manifest.tgz >t; mv t export-manifest.tgz'
says_not media-missing
# E2
broken 'two manifests' 1 media-bad-manifest 'two different manifest.json: in export-.* and in export-' 'tar -xzf export-manifest.tgz manifest.json; sed -i s/created_ts/Created_ts/ manifest.json; mv manifest.json ../../m.json; part 1 mv ../m.json manifest.json'
broken 'the same twice' 0 media-bad-manifest 'twice the same manifest.json' 'tar -xzf export-manifest.tgz manifest.json; mv manifest.json ../../m.json; part 1 mv ../m.json manifest.json'
# E3
broken 'version 3' 1 media-bad-manifest 'another version than 1 and 2' "manifest 's/\"version\":2/\"version\":3/'"
broken 'no version' 1 media-bad-manifest 'does not say of which version' "manifest 's/\"version\":2,//'"
broken 'no entity' 1 media-bad-manifest 'which server it is of' "manifest 's/\"entity_id\":\"[^\"]*\"/\"entity_id\":\"\"/'"
broken 'no media' 1 media-bad-manifest 'no list of media' "manifest 's/\"media\":\{.*/\"media\":null}/s'"
broken 'media is a list' 1 media-bad-manifest 'its media is of the wrong type' "manifest 's/\"media\":\{.*/\"media\":[]}/s'"
broken 'no JSON' 1 media-bad-manifest 'cannot be read: byte 1: ' "manifest 's/\"version\"/version/'"
broken 'cut JSON' 1 media-bad-manifest 'the document is cut' "manifest 'chop;chop;chop'"
# E4, E8
broken 'localhost' 1 media-entity "12 media are of example.org, but the export is of localhost" "manifest 's/\"entity_id\":\"[^\"]*\"/\"entity_id\":\"localhost\"/'"
json finding/message "the export is of 'localhost', which is what the exporter takes without -serverName"
broken 'one user' 1 media-entity "export of one user's media (@alice:example.org)" "manifest 's/\"entity_id\":\"/\"entity_id\":\"\@alice:/'"
broken 'one of another origin' 1 media-entity '1 media are of example.com, but the export is of example.org' "manifest 's/mxc:..example.org.$id/mxc:\/\/example.com\/$id/; s/\"origin\":\"example.org\",\"media_id\":\"$id/\"origin\":\"example.com\",\"media_id\":\"$id/; s/(media_id\":\"$id.*?)bob:example.org/\$1bob:example.com/'"
broken 'uploader elsewhere' 1 media-entity "$uri: its uploader is of another server" "manifest 's/(media_id\":\"$id.*?)bob:example.org/\$1bob:example.com/'"
broken 'no user id' 1 media-bad-manifest "$uri: its uploader is no user id" "manifest 's/(media_id\":\"$id.*?).bob:example.org/\$1bob/'"
broken 'key and id differ' 1 media-bad-manifest 'its origin and media_id are not those of its name' "manifest 's/\"media_id\":\"$id/\"media_id\":\"Other$id/'"
# E5
broken 'a part is missing' 1 media-part-gap 'export-part-2.tgz is missing' 'rm export-part-2.tgz'
says 'its file is in no part that is here and whole'
broken 'a strange number' 1 media-part-gap 'export-part-03.tgz is no name' 'mv export-part-3.tgz export-part-03.tgz'
broken 'many are missing' 1 media-part-gap 'in all 999999996 parts are missing' 'mv export-part-3.tgz export-part-999999999.tgz'
broken 'no part' 1 media-part-gap 'export-part-1.tgz is missing, and all others' 'rm export-part-*'
broken 'a part cut' 1 gzip-truncated 'export-part-2.tgz: gzip data ends' 'head -c 1000 export-part-2.tgz >t; mv t export-part-2.tgz'
broken 'a flipped bit' 1 gzip-crc 'export-part-1.tgz: member 1: CRC-32' 'flip export-part-1.tgz -6'
broken 'no gzip' 1 gzip-corrupt 'export-part-1.tgz: not gzip data' 'echo x >export-part-1.tgz'
broken 'bytes behind gzip' 1 gzip-trailing 'export-part-1.tgz: other bytes' 'echo x >>export-part-1.tgz'
broken 'no tar end' 1 tar-truncated 'export-part-2.tgz: the two blocks' 'plain export-part-2.tgz; truncate -s -1024 ../../plain; packed export-part-2.tgz'
broken 'one end block' 1 tar-truncated 'export-part-2.tgz: the two blocks' 'plain export-part-2.tgz; truncate -s -512 ../../plain; packed export-part-2.tgz'
broken 'bytes behind tar' 1 tar-corrupt 'export-part-2.tgz: bytes follow' 'plain export-part-2.tgz; echo x >>../../plain; packed export-part-2.tgz'
broken 'no tar at all' 1 tar-corrupt 'export-part-2.tgz: member 1 cannot be read' 'head -c 9000 /dev/urandom | gzip >export-part-2.tgz'
# E6
broken 'a file is missing' 1 media-missing "media $id is in manifest.json, but its file is in no part" "part 1 rm $one"
broken 'only in S3' 0 media-missing "media $id has no file, only an address in S3" "part 1 rm $one; manifest 's/(s3_url\":\")(\",\"sha256\":\"[0-9a-f]*\",\"origin\":\"[a-z.]*\",\"media_id\":\"$id)/\$1s3:\/\/x\/y\$2/'"
# E7
broken 'a file too short' 1 media-size "$one has 4646 bytes, manifest.json says 4647" "part 1 truncate -s -1 $one"
broken 'other bytes' 1 media-digest "$one: its SHA-256 is not the one" "part 1 flip $one 4000"
broken 'another digest' 1 media-digest "$one: its SHA-256 is not the one" "manifest 's/(sha256\":\")........([0-9a-f]*\",\"origin\":\"[a-z.]*\",\"media_id\":\"$id)/\${1}01234567\$2/'"
broken 'a second copy differs' 1 media-digest "$one comes again in export-part-2.tgz, with other bytes" "part 2 'echo other >$one'"
broken '2 GiB' 1 media-size "$uri has 2147483648 bytes, and Synapse cannot store" "manifest 's/(_name\":\"$one\",\"size_bytes\":)4647/\${1}2147483648/'"
# E9
broken 'an id too short' 1 media-unsafe-name 'mxc://example.org/abc has a media id' "manifest 's/$id/abc/g; s/__abc/__$id/'"
broken 'an id with dots' 1 media-unsafe-name 'has a media id that Synapse never gives' "manifest 's/$id/..%2f..%2fetc/g; s/__..%2f..%2fetc/__$id/'"
broken 'a name with a slash' 1 media-unsafe-name "unsafe name: it has a slash" "plain export-part-1.tgz; tar -C ../.. --transform 's,pass,a/b,' -rf ../../plain pass; packed export-part-1.tgz"
broken 'a name that leads out' 1 media-unsafe-name "unsafe name: it leads out" "plain export-part-1.tgz; tar -C ../.. --transform 's,pass,../b,' -P -rf ../../plain pass; packed export-part-1.tgz"
broken 'a control byte' 1 media-unsafe-name "unsafe name: it has control bytes" "plain export-part-1.tgz; tar -C ../.. --transform 's,pass,a\tb,' -rf ../../plain pass; packed export-part-1.tgz"
broken 'a link inside' 1 tar-unsafe-type "'link' in export-part-1.tgz is no plain file" 'part 1 ln -s /etc/passwd link'
# W1
broken 'an extra file' 0 media-extra 'example.org__Extra.txt is not in manifest.json' 'part 2 "echo x >example.org__Extra.txt"'
broken 'an extra file of another kind' 0 media-extra 'notes.txt is not in manifest.json' 'part 2 "echo x >notes.txt"'
broken 'a file twice' 0 media-extra "$one comes again in export-part-2.tgz" "tar -xzf export-part-1.tgz $one; mv $one ../..; part 2 mv ../$one ."
# W3
broken 'other files' 0 media-extra '3 other files lie beside the parts' 'touch .DS_Store'
# Of the manifest's entries
broken 'no sha256' 1 media-bad-manifest 'it has no sha256' "manifest 's/\"sha256\":\"[0-9a-f]*\",//'"
broken 'half a sha256' 1 media-bad-manifest 'its sha256 is not 64 hex' "manifest 's/(\"sha256\":\"[0-9a-f]{32})[0-9a-f]*/\$1/'"
broken 'a size in quotes' 1 media-bad-manifest 'a field of it is of the wrong type' "manifest 's/\"size_bytes\":(\d+)/\"size_bytes\":\"\$1\"/'"
broken 'a broken size' 1 media-bad-manifest 'no integer of 64 bits' "manifest 's/\"size_bytes\":(\d+)/\"size_bytes\":\$1.5/'"
broken 'no object' 1 media-bad-manifest 'it is no object' "manifest 's{(\"$uri\":)\{.*?\}}{\${1}null}'"
broken 'a field twice' 1 media-bad-manifest 'a field of it comes twice' "manifest 's/(\"size_bytes\":\d+)/\$1,\$1/'"
broken 'one file for two' 1 media-bad-manifest "another media has the same file ($one)" "manifest 's/\"file_name\":\"[^\"]*yfCR[^\"]*/\"file_name\":\"$one/'"
broken 'an id twice' 1 media-bad-manifest "manifest.json lists media $id more than once" "manifest 's{(\"$uri\":\{.*?\})}{\$1,\$1}; s{$one}{$id.png}'"
# Two exports, and what is none
broken 'two exports' 1 tar-wrong-content "two media exports in one archive: below" 'mkdir old && cp export-part-1.tgz old/export-part-4.tgz'
rm -rf d && mkdir -p d/$export/logs && touch d/$export/media-repo.yaml && pack d plain
check 'only what is left of an export' 1 ems-check $archive
says 'nothing among its 1 files belongs to a media export'
says 'stopped before its first part was complete'
rm -rf d && mkdir -p d/$export && pack d plain
check 'an empty export' 1 ems-check $archive
says 'stopped before its first part was complete'

# many of a kind: the first twenty by name, then their number
rm -rf d && mkdir d && "$maker" --files 300 d
(cd d/$export && part 1 'rm -- *p*') && pack d plain
check 'many missing' 1 ems-check --json $archive
[ "$(grep -c media-missing out.txt)" = 21 ] && ok || no "$(grep -c media-missing out.txt) findings"
says 'in all [0-9]+ media have no file'

# W2
pack good plain
check 'too large' 0 ems-check --max-media 10000 $archive
says 'has 17826 bytes, more than the 10000 that the target accepts \[media-size\]'
check "not too large" 0 ems-check --max-media 20000 $archive
says_not 'more than the'
check 'no size' 2 ems-check --max-media many $archive

# the name that all must agree with
check 'another server' 1 ems-check --server-name example.com $archive
says 'the media export is of example.org, but --server-name says example.com \[media-entity\]'
says '^customer_media_export.tar.gz: damaged'
check 'the same server' 0 ems-check --server-name example.org $archive
mkdir both && cp $archive both && printf 'server_name: other.example\n' >both/homeserver.yaml
check 'another configuration' 1 ems-check both
says 'the media export is of example.org, but the configuration says other.example'

# the checksum manifest counts the media, and notices when they are others
pack good plain
rm -rf up && mkdir up && encrypt secret $archive up/$archive.gpg
check 'a manifest of it' 0 ems-manifest create -p pass up
says '^#% media of=customer_media_export.tar.gz.gpg entity=example.org count=12 bytes=93123' up/ems-upload.sha256
check 'and its check' 0 ems-check -p pass up
says_not 'manifest-(size|digest)'

# bombs: small files that grow without end
rm -rf d && cp -r good d
(cd d/$export && { cat ../../good/$export/export-part-1.tgz | gunzip | head -c -1024
    head -c 400000000 /dev/zero; } | gzip >export-part-1.tgz)
pack d first
check 'a bomb inside' 1 ems-check $archive
says 'export-part-1.tgz: (gzip data expands|the export expands) more than 500 times.*\[gzip-limit\]'

# unpacking: the parts alone for the importer, everything else aside; nothing of a refused one
pack good plain
mkdir out && check 'unpack' 0 ems-unpack -C out $archive
[ "$(cd out && echo export-*)" = 'export-manifest.tgz export-part-1.tgz export-part-2.tgz export-part-3.tgz' ] && ok || no "$(ls out)"
[ "$(find out -maxdepth 1 -type f | wc -l)" = 4 ] && ok || no 'other files for the importer'
same out/export-part-2.tgz good/$export/export-part-2.tgz
[ -f out/.aside/$export/media-repo.yaml ] && ok || no 'media-repo.yaml is not aside'
rm -rf d && cp -r good d && (cd d/$export && part 1 flip $one 4000) && pack d plain
mkdir refused && check 'unpack a damaged one' 1 ems-unpack -C refused $archive
[ -z "$(ls -A refused)" ] && ok || no 'a refused export was unpacked'

# hundreds of thousands of media: 64 MiB, and about a hundred bytes for each
if [ -n "${EMS_LONG-}" ] && [ "${VARIANT:-release}" = release ]; then
    rm -rf d && mkdir d && "$maker" --files 300000 --bytes 40 --tool 1.3 d
    for order in first last; do
        pack d $order
        check "very many ($order)" 0 "$(type -P time)" -q -f %M -o rss ems-check $archive
        says '300000 media .* every hash verified'
        [ "$(cat rss)" -lt $((65536 + 300000 * 130 / 1024)) ] && ok || no "peak RSS $(cat rss) KiB"
    done
fi

finish media_export
