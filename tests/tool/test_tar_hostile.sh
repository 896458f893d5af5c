# Tar archives made by hand, each wrong in one thing: ems-check and ems-unpack say the same and
# nothing appears. And the honest ones that the guide's own command makes, by every tar that is here.
source "$(dirname "$0")/lib.sh"

s=customer_backup_media_export.tar.gz

# make PERL: an archive of a small media store and what the code adds to it before the end, which it
# may replace (our $end). h(name, type, field => value...) is a header, d(text) padded data,
# f(name, text) a file, x(type, data) an extended header, r(key, value) a pax record.
cat >maker.pl <<'END'
use strict; use warnings;
our $out = ""; our $end = "\0" x 1024;
sub block {
    my ($name, $type, %o) = @_;
    my $size = $o{rawsize} // sprintf("%011o\0", $o{size} // 0);
    my $b = pack "a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 a8 a155 a12", $name,
        sprintf("%07o", $o{mode} // 0644), "0000000", "0000000", $size, "14524770400", " " x 8, $type,
        $o{target} // "", "ustar\0", "00", "", "", "0000000", "0000000", "", "";
    substr($b, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $b;
    return $b;
}
sub h { $out .= block(@_) }
sub d { $out .= $_[0] . "\0" x (-length($_[0]) % 512) }
sub f { h($_[0], "0", size => length $_[1]); d($_[1]) }
sub x { h("extended", $_[0], size => length $_[1]); d($_[1]) }
sub r { my $n = length "$_[0]=$_[1]"; my $l = $n + 3; $l++ while length($l) + $n + 2 != $l; "$l $_[0]=$_[1]\n" }
f("m/local_content/aa/bb/one", "the first");
f("m/remote_content/hs/aa/bb/two", "the second");
END
make() { perl -e 'do "./maker.pl" or die; eval $ARGV[0]; die $@ if $@; print $out, $end;' "$1" | gzip -1 >$s; }

# bad NAME STATUS CODE PERL: both tools refuse it with the code; nothing is left of it.
bad() {
    make "$4"
    check "$1, check" "$2" ems-check $s
    says "error: .*\[$3\]"
    rm -rf out && mkdir out
    check "$1, unpack" "$2" ems-unpack -C out $s
    says "error: .*\[$3\]"
    [ -z "$(ls -A out)" ] && ok || no "$1: left $(ls -A out)"
}
# good NAME [FILE]: both tools take what lies in $s; the file comes out below out/.
good() {
    check "$1, check" 0 ems-check $s
    rm -rf out && mkdir out
    check "$1, unpack" 0 ems-unpack -C out $s
    [ -s "out/${2:-m/local_content/aa/bb/one}" ] && ok || no "$1: nothing came out"
}
make '' && good 'nothing wrong'

# --- names ---
bad 'absolute' 1 tar-unsafe-path 'f("/etc/cron.d/x", "x")'
bad 'up and out' 1 tar-unsafe-path 'f("../x", "x")'
bad 'down and up' 1 tar-unsafe-path 'f("m/local_content/../../../x", "x")'
bad 'empty' 1 'tar-unsafe-path|tar-corrupt' 'f("", "x")'
make 'x("x", r("path", "")); f("m/x", "x")' && good 'an empty pax record takes back' m/x # POSIX, pax
bad 'only slashes' 1 tar-unsafe-path 'f("//", "")'
bad 'a directory with data, by its name' 1 tar-corrupt 'f("m/d/", "x")'
bad 'NUL in a pax name' 1 tar-unsafe-path 'x("x", r("path", "m/a\0../../b")); f("m/b", "x")'
bad 'NUL in a long name' 1 tar-unsafe-path 'x("L", "m/a\0b\0"); f("m/b", "x")'
bad 'NUL in a link target' 1 'tar-unsafe-path' 'x("x", r("linkpath", "one\0../..")); h("m/l", "2", target => "one")'
bad 'an escape sequence' 1 tar-unsafe-path 'f("m/\e[2Jx", "x")'
says_not "$(printf '\033')"
bad 'a line end' 1 tar-unsafe-path 'f("m/a\nb", "x")'
bad 'absolute by pax' 1 tar-unsafe-path 'x("x", r("path", "/x")); f("m/x", "x")'
bad 'absolute by a long name' 1 tar-unsafe-path 'x("L", "/x\0"); f("m/x", "x")'
bad 'a name of 5000 bytes' 1 tar-unsafe-path 'x("L", "a/" x 2500 . "b\0"); f("m/x", "x")'
bad 'a component of 300 bytes' 1 tar-unsafe-path 'x("L", "m/" . "n" x 300 . "\0"); f("m/x", "x")'

# --- links ---
bad 'symbolic, absolute' 1 tar-unsafe-link 'h("m/l", "2", target => "/etc/passwd")'
bad 'symbolic, up' 1 tar-unsafe-link 'h("m/l", "2", target => "../../x")'
bad 'symbolic, to nothing' 1 tar-unsafe-link 'h("m/l", "2")'
bad 'hard, to nothing' 1 tar-unsafe-link 'h("m/l", "1")'
bad 'hard, absolute' 1 tar-unsafe-link 'h("m/l", "1", target => "/etc/passwd")'
bad 'hard, up' 1 tar-unsafe-link 'h("m/local_content/l", "1", target => "../x")'
bad 'hard by a pax record' 1 tar-unsafe-link 'x("x", r("linkpath", "/etc/passwd")); h("m/l", "1", target => "m/local_content/aa/bb/one")'

# --- types and modes ---
bad 'character device' 1 tar-unsafe-type 'h("m/null", "3")'
bad 'block device' 1 tar-unsafe-type 'h("m/sda", "4")'
bad 'fifo' 1 tar-unsafe-type 'h("m/pipe", "6")'
bad 'a type of nobody' 1 tar-unsafe-type 'h("m/z", "Z")'
bad 'continued from another volume' 1 tar-unsafe-type 'h("m/v", "M")'
bad 'set-uid' 1 tar-unsafe-type 'h("m/su", "0", mode => 04755)'
bad 'set-gid' 1 tar-unsafe-type 'h("m/sg", "0", mode => 02755)'
make 'h("m/d/", "5", mode => 07777)' && good 'set-id on a directory is dropped'
[ "$(stat -c %a out/m/d)" = 755 ] && ok || no "mode of a directory $(stat -c %a out/m/d)"

# --- one in the place of another ---
bad 'a file twice' 1 tar-duplicate 'f("m/local_content/aa/bb/one", "other")'
bad 'the same name, written otherwise' 1 tar-duplicate 'f("./m//local_content/./aa/bb/one", "other")'
bad 'a directory for a file' 1 tar-duplicate 'h("m/local_content/aa/bb/one/", "5")'
bad 'a file for a directory' 1 tar-duplicate 'h("m/e/", "5"); f("m/e", "x")'
bad 'a link for a file' 1 tar-duplicate 'h("m/local_content/aa/bb/one", "2", target => "x")'
bad 'a hard link on a file' 1 tar-duplicate 'h("m/local_content/aa/bb/one", "1", target => "m/remote_content/hs/aa/bb/two")'
bad 'a file for a link' 1 tar-duplicate 'h("m/l", "2", target => "local_content"); f("m/l", "x")'
make 'h("m/l", "2", target => "local_content"); f("m/l/x", "through")'
rm -rf out && mkdir out
check 'a file through a link' 0 ems-unpack -C out $s
[ -L out/m/l ] && no 'the link was made' || ok

# --- sizes ---
bad 'more than there is' 1 tar-truncated 'h("m/f", "0", size => 1 << 30); d("x")'
bad 'negative' 1 'tar-corrupt|tar-truncated' 'h("m/f", "0", rawsize => "\xff" x 11 . "\x01"); d("x")'
bad 'negative, of a directory' 1 'tar-corrupt' 'h("m/d/", "5", rawsize => "\xff" x 12)'
bad 'base 256, 2^70' 1 'tar-corrupt|tar-truncated' 'h("m/f", "0", rawsize => "\x80\0\0\x40" . "\0" x 8); d("x")'
bad 'base 256, 2^62' 1 'tar-corrupt|tar-truncated' 'h("m/f", "0", rawsize => "\x80\0\0\0\x40" . "\0" x 7); d("x")'
bad 'no number' 1 'tar-corrupt' 'h("m/f", "0", rawsize => "99999999999\0"); d("x"); f("m/g", "x")'
bad 'a link with data' 1 tar-corrupt 'h("m/l", "2", size => 512, target => "one"); f("m/smuggled", "")'
bad 'a directory with data' 1 tar-corrupt 'h("m/d/", "5", size => 512); f("m/smuggled", "")'
bad 'pax says more than there is' 1 tar-truncated 'x("x", r("size", 1 << 30)); f("m/f", "x")'
bad 'pax says negative' 1 'tar-corrupt|tar-truncated' 'x("x", r("size", "-512")); f("m/f", "x")'
bad 'pax says 2^64 and 1' 1 'tar-corrupt|tar-truncated' 'x("x", r("size", "18446744073709551617")); f("m/f", "x")'
make 'x("x", r("size", 600)); h("m/f", "0", size => 0); d("y" x 600)' && good 'pax outranks the header' m/f
[ "$(stat -c %s out/m/f)" = 600 ] && ok || no "pax size: $(stat -c %s out/m/f)"
bad 'pax of a directory' 1 tar-corrupt 'x("x", r("size", 512)); h("m/d/", "5"); f("m/smuggled", "")'

# --- holes ---
map='r("GNU.sparse.major", 0) . r("GNU.sparse.minor", 1)'
bad 'a map past the end' 1 tar-corrupt "x('x', $map . r('GNU.sparse.size', 100) . r('GNU.sparse.map', '200,6')); f('m/s', 'abcdef')"
bad 'a map that goes back' 1 tar-corrupt "x('x', $map . r('GNU.sparse.size', 100) . r('GNU.sparse.map', '50,3,10,3')); f('m/s', 'abcdef')"
bad 'a map of less than there is' 1 tar-corrupt "x('x', $map . r('GNU.sparse.size', 100) . r('GNU.sparse.map', '10,2')); f('m/s', 'abcdef')"
bad 'a hole of 8 TB' 1 tar-corrupt "x('x', $map . r('GNU.sparse.size', 8e12) . r('GNU.sparse.map', '0,6')); f('m/s', 'abcdef')"

# --- headers without end: seconds and memory have a limit ---
started=$SECONDS
# bomb NAME STATUS CODE PERL: bad, and within the 64 MiB that any upload may take.
bomb() {
    bad "$@"
    [ "${VARIANT:-release}" = release ] || return # sanitizers take more
    check "$1, memory" "$2" "$(type -P time)" -q -f %M -o rss ems-check $s
    [ "$(cat rss)" -lt 65536 ] && ok || no "$1: peak RSS $(cat rss) KiB"
}
bomb 'a pax header of 1 GB' 1 'tar-corrupt|tar-truncated' 'h("x", "x", size => 1 << 30); d(r("comment", "c" x 100000))'
bomb 'a pax header of 100 MB that is there' 1 tar-corrupt 'x("x", r("comment", "c" x 100_000_000)); f("m/f", "x")'
bomb 'a long name of 1 GB' 1 'tar-corrupt|tar-truncated' 'h("x", "L", size => 1 << 30); d("n" x 100000)'
bomb '100,000 pax headers' 1 tar-corrupt 'my $o = $out; $out = ""; x("x", r("path", "m/f")); $out = $o . $out x 100_000; f("m/f", "x")'
bomb '100,000 global headers' 1 tar-corrupt 'my $o = $out; $out = ""; x("g", r("comment", "c")); $out = $o . $out x 100_000; f("m/f", "x")'
[ $SECONDS -lt $((started + 30)) ] && ok || no "header bombs took $((SECONDS - started)) s"

# --- ends ---
bad 'one block of zeros' 1 tar-truncated '$end = "\0" x 512'
bad 'no block of zeros' 1 tar-truncated '$end = ""'
bad 'a byte behind the end' 1 tar-corrupt '$end .= "\0" x 9000 . "x"'
bad 'a member behind the end' 1 tar-corrupt '$end .= block("m/f", "0") . "\0" x 1024'
bad 'a member behind one block of zeros' 1 tar-corrupt 'd("\0"); f("m/f", "x")'
bad 'a second archive' 1 tar-corrupt '$end .= $out . $end'
make '$end .= "\0" x 100000' && good 'zeros behind the end'

# --- what the guide's own command makes ---
mkdir -p store/local_content/cc/dd store/remote_content/hs/cc/dd && seq 9 >store/local_content/cc/dd/one &&
    seq 5 >store/remote_content/hs/cc/dd/two && ln store/local_content/cc/dd/one store/local_content/cc/dd/hard
inside=${work#/}/store/local_content/cc/dd/one
check 'GNU tar' 0 tar -zcvf $s "$work/store"
says 'Removing leading' err.txt
good 'GNU tar' "$inside"
for tar in bsdtar 'busybox tar'; do
    command -v ${tar%% *} >/dev/null || continue
    # shellcheck disable=SC2086 # two words
    check "$tar" 0 $tar -zcvf $s "$work/store"
    good "$tar" "$inside"
done

finish tar_hostile
