# ems-join and ems-decrypt as a user meets them: good input, every kind of damage, odd surroundings.
source "$(dirname "$0")/lib.sh"

perl -e 'srand 7; print pack("C*", map { int rand 256 } 1 .. 300000)' >random
seq 1 60000 >text
gzip -k text
echo 'correct horse' >pass
echo 'wrong' >wrongpass
x=customer_db_export.sql.gz.gpg
encrypt 'correct horse' random "$x"
encrypt 'correct horse' text text.gpg                # ZIP around text
encrypt 'correct horse' text.gz text.gz.gpg          # bare literal
gzip -c text | encrypt 'correct horse' - piped.gpg --compress-algo zip -z 6 # ZIP around gzip, partial lengths
mkdir up && split -b 20000 "$x" "up/$x.part-"

# good
check 'join by name' 0 ems-join -o joined "up/$x"
same joined "$x"
mkdir here
check 'join by a part, default name' 0 bash -c "cd here && ems-join ../up/$x.part-ac"
same "here/$x" "$x"
check 'join a directory to stdout' 0 ems-join -o - up
same out.txt joined
check 'an existing file is kept' 75 ems-join -o joined up
says 'joined exists already, and only --force replaces it'
says_not 'Check the disk'
check 'a device is not replaced' 75 ems-join -o /dev/full up
says_not 'force' # would not help
check 'force replaces it' 0 ems-join -f -o joined up
check 'quiet says nothing' 0 ems-join -q -f -o joined up
if [ -s out.txt ] || [ -s err.txt ]; then no 'quiet printed something'; else ok; fi
check 'decrypt parts' 0 ems-decrypt -p pass -o plain up
same plain random
for f in text.gpg text.gz.gpg piped.gpg; do
    case $f in text.gpg) want=text ;; text.gz.gpg) want=text.gz ;; *) want= ;; esac
    check "decrypt $f" 0 ems-decrypt -p pass -f -o plain $f
    [ -z "$want" ] && { gunzip -c <plain >plain.txt && same plain.txt text; } || same plain "${want:-text}"
done
check 'decrypt to the default name' 0 bash -c 'cd up && ems-decrypt -p ../pass ../text.gpg'
same up/text text
rm up/text
check 'passphrase from a descriptor' 0 bash -c 'ems-decrypt --passphrase-fd 7 -f -o plain text.gpg 7<pass'
check 'from standard input to standard output' 0 bash -c 'ems-decrypt -p pass - <text.gpg'
same out.txt text
printf 'correct horse\r\nsecond line\n' >crlfpass
check 'passphrase file with CRLF' 0 ems-decrypt -p crlfpass -f -o plain text.gpg
check 'json' 0 ems-decrypt --json -p pass -f -o plain up
json summary/exit 0
json artifact/verdict verified
json artifact/layers/0/cipher AES256
json artifact/layers/0/integrity mdc
json artifact/layers/0/session_key passphrase

check 'to a device' 0 ems-decrypt -p pass -o /dev/null up
[ -c /dev/null ] && ok || no '/dev/null was replaced'

# every algorithm of gpg
for cipher in 3DES CAST5 BLOWFISH AES AES192 TWOFISH CAMELLIA128 CAMELLIA256; do
    encrypt 'correct horse' text c.gpg --cipher-algo $cipher --force-mdc --allow-old-cipher-algos 2>/dev/null ||
        encrypt 'correct horse' text c.gpg --cipher-algo $cipher --force-mdc
    check "cipher $cipher" 0 ems-decrypt -p pass -f -o plain c.gpg
    same plain text
done
for mode in 0 1 3; do
    encrypt 'correct horse' text c.gpg --s2k-mode $mode
    check "s2k mode $mode" 0 ems-decrypt -p pass -f -o plain c.gpg
done
for algo in zlib bzip2 none; do
    encrypt 'correct horse' text c.gpg --compress-algo $algo
    check "compression $algo" 0 ems-decrypt -p pass -f -o plain c.gpg
    same plain text
done

# text mode: as gpg gives it back, and said
encrypt 'correct horse' text c.gpg --textmode
check 'text mode' 0 ems-decrypt -p pass -f -o plain c.gpg
says 'text mode'
same plain text

# public keys: several kinds, protected and not, binary and armoured
newkey() { gpg --batch --quiet --passphrase "$3" --pinentry-mode loopback --quick-gen-key "$1 <$1@example.org>" "$2" "$4" never 2>/dev/null; }
export_key() { gpg --batch --quiet --yes --pinentry-mode loopback --passphrase "$2" "${@:3}" --export-secret-keys "$1@example.org" >"$1.key"; }
newkey ems rsa2048 '' encrypt && export_key ems ''
newkey curve future-default 'key pass' default && export_key curve 'key pass' --armor
echo 'key pass' >keypass
seal() { gpg --batch --yes --quiet --trust-model always "${@:3}" -o "$2" --encrypt "$1"; }
seal text k.gpg -r ems@example.org
check 'RSA key' 0 ems-decrypt --json -k ems.key -f -o plain k.gpg
same plain text
json artifact/layers/0/session_key key
seal text k.gpg -r curve@example.org --armor
check 'Curve25519, protected, armoured' 0 ems-decrypt -k curve.key --key-passphrase-file keypass -f -o plain k.gpg
same plain text
seal text k.gpg -R curve@example.org -r ems@example.org
check 'several recipients, one hidden; two keys given' 0 ems-decrypt -k ems.key -k curve.key --key-passphrase-file keypass -f -o plain k.gpg
newkey signer ed25519 '' sign
gpg --batch --yes --quiet --trust-model always --pinentry-mode loopback --passphrase '' -o k.gpg --sign --local-user signer@example.org --encrypt -r ems@example.org text
check 'signed' 0 ems-decrypt -k ems.key -f -o plain k.gpg
says 'signed by [0-9A-F]{16}, not checked'
same plain text
for when in 20200101T000000 20220422T000000; do
    gpg --batch --quiet --passphrase '' --pinentry-mode loopback --faked-system-time $when! --quick-gen-key "old$when <old$when@example.org>" future-default default 1y 2>/dev/null
    gpg --batch --yes --quiet --trust-model always --faked-system-time $when! -o k$when.gpg --encrypt -r "old$when@example.org" text 2>/dev/null
    export_key "old$when" ''
    check "a key that has expired since ($when)" 0 ems-decrypt -k "old$when.key" -f -o plain k$when.gpg
    says 'key [0-9A-F]{16} is expired on 20'
    same plain text
done
seal text k.gpg -R curve@example.org -r ems@example.org
check 'the other one alone' 0 ems-decrypt -k curve.key --key-passphrase-file keypass -f -o plain k.gpg
same plain text

# bad: the right status, a message, no file
rm -f plain
bad() { # NAME STATUS CODE COMMAND...
    check "$1" "$2" "${@:4}"
    says "\[$3"
    absent plain
    absent '.ems-*'
}
bad 'wrong passphrase' 4 pgp-passphrase ems-decrypt -p wrongpass -o plain up
bad 'key passphrase, no terminal' 4 pgp-passphrase setsid -w ems-decrypt -k curve.key -o plain k.gpg
says 'key-passphrase-file'
bad 'wrong key passphrase' 4 pgp-passphrase setsid -w ems-decrypt -k curve.key --key-passphrase-file wrongpass -o plain k.gpg
seal text other.gpg -r curve@example.org
bad 'no matching key' 4 pgp-no-key ems-decrypt -k ems.key -o plain other.gpg
bad 'a key file that is none' 4 pgp-no ems-decrypt -k text -o plain other.gpg
bad 'no terminal' 4 pgp-passphrase setsid -w ems-decrypt -o plain up
says 'passphrase-file'
: >empty
bad 'empty passphrase file' 4 pgp-passphrase ems-decrypt -p empty -o plain up
check 'no passphrase file' 75 ems-decrypt -p nofile -o plain up
says 'nofile'
check 'no such artifact' 75 ems-decrypt -p pass -o plain nothing.gpg
says 'nothing.gpg'
absent plain

damaged() { # NAME STATUS CODE SHELL-COMMAND-IN-DIRECTORY
    rm -rf d && cp -r up d && (cd d && eval "$4")
    bad "$1" "$2" "$3" ems-decrypt -p pass -o plain d
}
damaged 'missing middle' 3 part-missing "rm $x.part-ad"
says "$x.part-ad"
damaged 'missing tail' 3 part-missing "rm $x.part-ap"
says "$x.part-ap"
damaged 'missing first' 3 part-missing "rm $x.part-aa"
damaged 'cut part' 3 part-truncated "truncate -s -100 $x.part-ac"
damaged 'cut last part' 3 part-truncated "truncate -s -1 $x.part-ap"
damaged 'empty part' 3 part-empty ": > $x.part-ac"
damaged 'flipped early' 1 pgp-modified "flip $x.part-aa 1000"
damaged 'flipped late' 1 pgp-modified "flip $x.part-ap -100"
damaged 'flipped in the MDC' 1 pgp-modified "flip $x.part-ap -3"
damaged 'swapped parts' 1 pgp-modified "mv $x.part-ab t; mv $x.part-ac $x.part-ab; mv t $x.part-ac"
head -c 100000 "$x" >cut.gpg
bad 'whole file cut' 1 pgp-truncated ems-decrypt -p pass -o plain cut.gpg
says 'cut.gpg'
bad 'cut, from a pipe' 1 pgp-truncated bash -c 'ems-decrypt -p pass -o plain - <cut.gpg'
for n in 1 5 20 40; do
    head -c $n text.gpg >cut.gpg
    check "cut after $n bytes" 1 ems-decrypt -p pass -o plain cut.gpg
    absent plain
done
size=$(stat -c %s piped.gpg)
for n in 300 9000 $((size - 25)) $((size - 1)); do
    head -c "$n" piped.gpg >cut.gpg
    bad "partial lengths cut after $n" 1 pgp-truncated ems-decrypt -p pass -o plain cut.gpg
done
(cat text.gpg; echo) >trail.gpg
bad 'trailing byte' 1 pgp-trailing ems-decrypt -p pass -o plain trail.gpg
cat text.gpg text.gpg >twice.gpg
bad 'two messages' 1 pgp-trailing ems-decrypt -p pass -o plain twice.gpg
bad 'not OpenPGP' 1 pgp-not-openpgp ems-decrypt -p pass -o plain text.gz
head -c 150 <(printf '\x8c\x04\x04\x09\x00\x08'; printf '\xcb\x0bb\x00\x00\x00\x00\x00hello') >plainliteral.gpg
check 'session key, then data that was never encrypted' 1 ems-decrypt -p pass -o plain plainliteral.gpg
absent plain
encrypt 'correct horse' text c.gpg --rfc2440 --cipher-algo CAST5 2>/dev/null
if gpg --batch --list-packets --pinentry-mode loopback --passphrase-fd 9 c.gpg 9<pass 2>/dev/null | grep -q 'mdc_method: 0'; then
    bad 'no integrity' 1 pgp-no-integrity ems-decrypt -p pass -o plain c.gpg
fi

# while it runs: no core file, nobody looks on, nothing secret in its arguments or environment
mkfifo waiting
as=()
[ "$(id -u)" = 0 ] && chmod 644 pass && as=(setpriv --reuid=65534 --clear-groups)
"${as[@]}" "$build/ems-decrypt" -p pass -o /dev/null - <waiting >out.txt 2>err.txt &
pid=$!
exec 8>waiting
head -c 5000 "$x" >&8 # it has begun: the passphrase has been read
for _ in $(seq 50); do
    grep -q 'ems-decrypt' /proc/$pid/cmdline 2>/dev/null &&
        [ "$(stat -c %u /proc/$pid/maps 2>/dev/null)" = 0 ] && break
    sleep 0.1
done
grep -qE '^Max core file size +0 +0 ' /proc/$pid/limits && ok || no 'core files are on'
# A process that may not be dumped belongs to root in /proc, and cannot be traced.
[ "$(stat -c %u /proc/$pid/maps)" = 0 ] && ok || no 'the process may be dumped'
grep -qaF 'correct horse' /proc/$pid/cmdline && no 'passphrase in the arguments' || ok
grep -qaF 'correct horse' /proc/$pid/environ 2>/dev/null && no 'passphrase in the environment' || ok
exec 8>&-
wait $pid

# A passphrase that is typed: asked for with echo off, and while the tool waits for its reader, the
# passphrase is in its locked memory and nowhere else. Only root can look into it, and not under a
# sanitizer, which maps terabytes.
mkfifo typed held
exec 7<>typed 6<>held
script -qec 'stty -a >before; echo $$ >pid; ems-decrypt -o held -f up; echo "status $?"; stty -a >after' \
    /dev/null <typed >terminal.txt 2>&1 &
terminal=$!
for _ in $(seq 100); do
    grep -q 'Passphrase: ' terminal.txt && break
    sleep 0.1
done
stty_of() { tr ' ' '\n' <"$1" | grep -xE -- '-?(echo|icanon|isig)'; }
printf 'correct horse\n' >&7
for _ in $(seq 100); do
    read -r -t 0 -u 6 && break # it writes: the message is proven
    sleep 0.1
done
pid=$(cat "/proc/$(cat pid)/task/$(cat pid)/children")
pid=${pid%% *}
[ "$(cat "/proc/$pid/comm")" = ems-decrypt ] && ok || no 'it does not wait for its reader'
if [ "$(id -u)" = 0 ] && [ "${VARIANT:-release}" = release ]; then
    perl -e '
        my ($pid, $at, $locked, $secure, $elsewhere) = (shift, undef, 0, 0, 0);
        my @maps;
        open my $s, "<", "/proc/$pid/smaps" or die "smaps: $!";
        while (<$s>) {
            if (/^([0-9a-f]+)-([0-9a-f]+) (\S+)/) { push @maps, [hex $1, hex $2, $3, 0] }
            $maps[-1][3] = 1 if /^VmFlags:.* lo\b/;
        }
        open my $m, "<:raw", "/proc/$pid/mem" or die "mem: $!";
        for (@maps) {
            my ($from, $to, $mode, $is_locked) = @$_;
            next unless $mode =~ /^rw/;
            sysseek $m, $from, 0 or next;
            sysread $m, my $data, $to - $from or next;
            my $n = () = $data =~ /correct horse/g;
            $is_locked ? ($secure += $n) : ($elsewhere += $n);
        }
        print "secure $secure elsewhere $elsewhere\n"' "$pid" >out.txt 2>&1
    says '^secure [1-9][0-9]* elsewhere 0$'
fi
cat <&6 >plain &
reader=$!
wait $terminal
for _ in $(seq 50); do
    [ "$(stat -c %s plain)" = "$(stat -c %s random)" ] && break
    sleep 0.1
done
kill $reader
exec 7>&- 6>&-
same plain random
says 'status 0' terminal.txt
says_not 'correct horse' terminal.txt
[ "$(stty_of before)" = "$(stty_of after)" ] && ok || no 'the terminal is not what it was'
rm -f plain

# surroundings
check 'wrong option' 2 ems-decrypt --passphrase secret up
says 'help' err.txt
check 'no argument' 2 ems-join
check 'json needs stdout' 2 ems-join --json -o - up
check 'help' 0 ems-decrypt --help
says '^Usage: ems-decrypt'
check 'version' 0 ems-join --version
check 'a full disk' 75 bash -c 'ems-decrypt -p pass -o - up >/dev/full'
check 'a reader that goes away' 75 bash -c 'ems-decrypt -p pass -o - up | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}'
check 'report to head' 3 bash -c 'rm -rf d; cp -r up d; rm d/*-ac; ems-decrypt -p pass -o plain d | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}'
check 'output directory missing' 75 ems-join -o no/such/file up
check 'file size limit' 75 bash -c "ulimit -f 50; trap '' XFSZ; ems-join -o plain up"
absent plain
absent '.ems-*'

finish decrypt
