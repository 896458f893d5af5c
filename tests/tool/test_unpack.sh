# ems-unpack: whole, split and encrypted archives, nothing left after failures, nothing outside.
source "$(dirname "$0")/lib.sh"

echo secret >pass
mkdir -p m/local_content/aa/bb m/remote_content/hs/aa/bb
seq 1 20000 >m/local_content/aa/bb/numbers
echo x >m/local_content/aa/bb/x
chmod 600 m/local_content/aa/bb/x
touch -d '2021-03-04 05:06:07 UTC' m/local_content/aa/bb/x
ln m/local_content/aa/bb/x m/local_content/aa/bb/y
ln -s x m/local_content/aa/bb/link
s=customer_backup_media_export.tar.gz
tar -czf $s m
encrypt secret $s $s.gpg
mkdir up && split -b 15000 $s.gpg up/$s.gpg.part-

# good
mkdir out
umask 022
check 'split and encrypted' 0 ems-unpack -p pass -C out up
says 'verified'
says '1 symbolic links were left out, for example m/local_content/aa/bb/link'
same out/m/local_content/aa/bb/numbers m/local_content/aa/bb/numbers
[ "$(stat -c '%a %Y' out/m/local_content/aa/bb/x)" = '644 1614834367' ] && ok || no 'mode and time of x'
[ "$(stat -c %h out/m/local_content/aa/bb/y)" = 2 ] && ok || no 'y is no hard link'
[ "$(stat -c %a out/m)" = 755 ] && ok || no 'mode of a directory'
if [ -e out/m/local_content/aa/bb/link ] || [ -L out/m/local_content/aa/bb/link ]; then no 'link was made'; else ok; fi
absent 'out/.ems-unpack-*'
check 'existing files are kept' 75 ems-unpack -C out $s
says 'exists already in out, and only --force replaces it'
for directory in nowhere '' pass; do
    check "no directory: '$directory'" 75 ems-unpack -C "$directory" $s
    says "cannot unpack into $directory: "
    says_not 'media store' # said before the archive is read: that may take hours
done
absent 'out/.ems-unpack-*'
echo mine >out/m/own
check 'force replaces them' 0 ems-unpack -f -C out $s
[ "$(cat out/m/own)" = mine ] && ok || no 'a file beside the others was lost'
mkdir two && mkdir -p two/m && echo old >two/m/local_content
check 'a file where a directory goes' 75 ems-unpack -f -C two $s
[ "$(cat two/m/local_content)" = old ] && ok || no 'the file was replaced'
mkdir three && ln -s "$work/outside" three/m && mkdir outside
check 'a link in the way is not followed' 75 ems-unpack -f -C three $s
absent 'outside/*'
check 'json' 0 ems-unpack --json -f -C out $s
json summary/exit 0
json artifact/layers/1/layer tar
json artifact/layers/2/layer media-store
json artifact/layers/2/local_files 3
check 'quiet' 0 ems-unpack -q -f -C out $s
[ -s out.txt ] && no 'quiet printed' || ok
umask 077
mkdir private && check 'the umask counts' 0 ems-unpack -C private $s
[ "$(stat -c %a private/m/local_content/aa/bb/x)" = 600 ] && ok || no 'umask'
umask 022

# a tree of no known kind is unpacked too, and nothing of tar's formats matters
mkdir -p t/deep/er && echo 1 >t/deep/er/file
for f in gnu pax ustar v7 oldgnu; do
    tar --format=$f -cf plain-$f.tar t
    mkdir o-$f && check "format $f" 0 ems-unpack -C o-$f plain-$f.tar
    same o-$f/t/deep/er/file t/deep/er/file
done

# usage and surroundings
check 'no directory given' 2 ems-unpack $s
check 'no such directory' 75 ems-unpack -C nowhere $s
check 'standard input' 2 ems-unpack -C out -
check 'no archive' 1 ems-unpack -C out m/local_content/aa/bb/numbers
check 'wrong passphrase' 4 ems-unpack -p <(echo wrong) -C out up

# refused: nothing appears
refuse() { # NAME STATUS CODE FILE [OPTION...]: the archive is refused and leaves an empty directory
    local name=$1 want=$2 code=$3 file=$4
    shift 4
    rm -rf empty && mkdir empty
    check "$name" "$want" ems-unpack "$@" -C empty "$file"
    says "\[$code\]"
    [ -z "$(ls -A empty)" ] && ok || no "$name: left $(ls -A empty)"
}
head -c 20000 $s.gpg >cut.gpg
refuse 'a cut message' 1 'pgp-.*|part-truncated' cut.gpg -p pass
gunzip -c $s | head -c -11000 | gzip >cut.tgz
refuse 'a cut archive' 1 tar-truncated cut.tgz
(gunzip -c $s && echo more) | gzip >more.tgz
refuse 'bytes behind the end' 1 tar-corrupt more.tgz
tar -czPf abs.tgz "$work/t"
refuse 'absolute names' 1 tar-unsafe-path abs.tgz
tar -czf up.tgz --transform 's,^t,../escape,' -P t
refuse 'names that lead out' 1 tar-unsafe-path up.tgz
ln -s /etc/passwd t/passwd && tar -czf link.tgz t && rm t/passwd
refuse 'a link that leads out' 1 tar-unsafe-link link.tgz
mkfifo t/pipe && tar -czf fifo.tgz t && rm t/pipe
refuse 'a fifo' 1 tar-unsafe-type fifo.tgz
cp t/deep/er/file t/suid && chmod 4755 t/suid && tar -czf suid.tgz t && rm t/suid
refuse 'a set-id file' 1 tar-unsafe-type suid.tgz
tar -cf twice.tar t && tar -rf twice.tar t
refuse 'a member twice' 1 tar-duplicate twice.tar
mkdir none && tar -czf none/$s -T /dev/null
refuse 'nothing in it' 1 tar-empty none/$s
mkdir onelink && ln -s m store && tar -czf onelink/$s store
refuse 'only a link' 1 tar-wrong-content onelink/$s
# a symbolic link first, then a file through it: the file must not follow
mkdir evil evil2 && ln -s inner evil/d && mkdir evil2/d && echo z >evil2/d/f
tar -cf through.tar -C evil d && tar -rf through.tar -C evil2 d/f
rm -rf empty && mkdir empty
check 'a file through a link' 0 ems-unpack -C empty through.tar
[ -L empty/d ] && no 'the link was made' || ok
same empty/d/f evil2/d/f

# a signal leaves nothing behind (perl: bash ignores INT for what runs in the background)
mkdir big && head -c 200000000 /dev/zero >big/zero && tar -cf big.tar big && rm -r big
for signal in TERM:143 INT:130 HUP:129; do
    rm -rf sig && mkdir sig
    perl -e '$SIG{INT} = $SIG{HUP} = "DEFAULT"; exec @ARGV' ems-unpack -q -C sig big.tar >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 200); do
        compgen -G 'sig/.ems-unpack-*' >/dev/null && break
        sleep 0.01
    done
    kill -"${signal%:*}" $pid 2>/dev/null
    wait $pid 2>/dev/null
    got=$?
    case $got in "${signal#*:}" | 0) ok ;; *) no "signal $signal: status $got" ;; esac
    absent 'sig/.ems-unpack-*'
    [ $got = 0 ] || absent 'sig/*'
done

# a full disk leaves nothing behind (files limited to 1 MB stand for it)
rm -rf empty && mkdir empty
check 'no room' 75 bash -c 'trap "" XFSZ; ulimit -f 1000; ems-unpack -q -C empty big.tar'
[ -z "$(ls -A empty)" ] && ok || no "no room: left $(ls -A empty)"

# ... and a disk that is really full, where somebody may mount one
if unshare -m mount -t tmpfs -o size=4m tmpfs empty 2>/dev/null; then
    for archive in big.tar many.tar; do # no blocks left, no inodes left
        [ -e many.tar ] || { mkdir many && (cd many && seq 600 | xargs touch) && echo x >many/1 && tar -cf many.tar many; }
        check "full disk, $archive" 0 unshare -m bash -c "mount -t tmpfs -o size=4m,nr_inodes=300 tmpfs empty &&
            echo mine >empty/mine; ems-unpack -C empty $archive; echo status \$?; ls -A empty >left"
        says 'status 75'
        says 'No space left on device.*\[io-error\]'
        [ "$(cat left)" = mine ] && ok || no "full disk: left $(cat left)"
    done
fi

# DIR itself may be a link, as tar -C takes it; what lies in it may not
mkdir real && ln -s real door && check 'DIR is a link' 0 ems-unpack -C door plain-gnu.tar
same real/t/deep/er/file t/deep/er/file
check 'DIR is a file' 75 ems-unpack -C pass plain-gnu.tar
mkdir locked && mkdir locked/t && ln -s "$work/pass" locked/t/deep
check 'a link where a directory goes' 75 ems-unpack -f -C locked plain-gnu.tar
mkdir locked2 locked2/t locked2/t/deep locked2/t/deep/er && ln -s "$work/pass" locked2/t/deep/er/file
check 'a link where a file goes, even with force' 75 ems-unpack -f -C locked2 plain-gnu.tar
[ "$(cat pass)" = secret ] && ok || no 'written through a link'
absent 'locked*/.ems-unpack-*'
mkdir half && mkdir -p half/t/deep/er && mkdir half/t/deep/er/file
check 'a directory where a file goes' 75 ems-unpack -f -C half plain-gnu.tar
# one file in the way of many: none of the others is moved
mkdir -p mix/a mix/z && echo 1 >mix/a/f && echo 2 >mix/z/f && tar -C mix -cf mix.tar a z
mkdir way && mkdir way/z && echo old >way/z/f
check 'one of two is in the way' 75 ems-unpack -C way mix.tar
[ "$(cd way && find . -type f)" = ./z/f ] && [ "$(cat way/z/f)" = old ] && ok || no "$(find way)"

# a media export: the parts into DIR, the rest aside; two runs of the exporter are never mixed
mkdir ex && "$here/fixtures/make-media-export" --part-size 30000 ex || no 'the fixture script'
e=customer_media_export
tar -C ex -czf $e.tar.gz $e
mkdir imp && check 'an export' 0 ems-unpack -C imp $e.tar.gz
says '[0-9]+ files are no part of the export: they are in .aside'
[ "$(ls -A imp)" = "$(printf '.aside\nexport-manifest.tgz\nexport-part-1.tgz\nexport-part-2.tgz\nexport-part-3.tgz')" ] && ok || no "$(ls -A imp)"
check 'again' 75 ems-unpack -C imp $e.tar.gz
check 'again with force' 0 ems-unpack -f -C imp $e.tar.gz
mkdir imp2 && ln -s "$work/outside" imp2/.aside
check 'a link for .aside' 75 ems-unpack -f -C imp2 $e.tar.gz
absent 'outside/*'
[ "$(ls -A imp2)" = .aside ] && ok || no "parts beside a link for .aside: $(ls -A imp2)"
cp -r ex ex2 && mkdir ex2/$e/old && cp ex2/$e/export-part-*.tgz ex2/$e/old && tar -C ex2 -czf two.tgz $e
refuse 'two exports in one archive' 1 tar-wrong-content two.tgz
mkdir copies && split -b 3000 $e.tar.gz copies/$e.tar.gz.part- && cp copies/$e.tar.gz.part-aa "copies/$e.tar.gz (1).part-aa"
cp copies/$e.tar.gz.part-ab "copies/$e.tar.gz.part-ab (1)"
mkdir imp3 && check 'parts uploaded twice' 0 ems-unpack -C imp3 copies
same imp3/export-part-1.tgz ex/$e/export-part-1.tgz

finish unpack
