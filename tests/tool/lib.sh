# lib.sh - for the black-box tests: real tools in, our tools under test, statuses and messages out.
# A test script sources this, runs `check` and friends, and ends with `finish NAME`.
# shellcheck shell=bash
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${BUILD:-$here/build/${VARIANT:-release}}
PATH=$build:$PATH
export LC_ALL=C.UTF-8
passed=0 failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/ems-tool-XXXXXX") || exit 70
chmod 755 "$work"
cd "$work" || exit 70
cleanups=()
trap 'for c in "${cleanups[@]}"; do eval "$c"; done; cd /; rm -rf "$work"' EXIT

ok() { passed=$((passed + 1)); }
no() { failed=$((failed + 1)); printf 'FAIL: %s\n' "$*"; }

# check NAME STATUS COMMAND...: runs it, keeps out.txt and err.txt, compares the exit status.
check() {
    local name=$1 want=$2 got
    shift 2
    "$@" >out.txt 2>err.txt </dev/null
    got=$?
    if [ "$got" = "$want" ]; then
        ok
    else
        no "$name: status $got instead of $want: $*"
        sed 's/^/    out: /' out.txt | head -n 20
        sed 's/^/    err: /' err.txt | head -n 20
    fi
}

# says PATTERN [FILE]: the output of the last command has a line that matches.
says() {
    if grep -qE -- "$1" "${2:-out.txt}"; then ok; else
        no "no line like '$1' in ${2:-out.txt}"
        sed 's/^/    /' "${2:-out.txt}" | head -n 20
    fi
}
says_not() { if grep -qE -- "$1" "${2:-out.txt}"; then no "a line like '$1'"; else ok; fi; }

# json FILTER VALUE: of the last command's JSON lines, by perl's core JSON::PP, the object of a type
# and a path into it: json summary/exit 0; json finding/code part-missing (any of that type).
json() {
    local got
    got=$(perl -MJSON::PP -e '
        my ($type, @path) = split m{/}, shift;
        while (<STDIN>) {
            my $o = eval { decode_json($_) } or do { print "not JSON: $_"; exit };
            next unless $o->{type} eq $type;
            for (@path) { $o = ref $o eq "ARRAY" ? $o->[$_] : $o->{$_} }
            $o = join " ", @$o if ref $o eq "ARRAY";
            print defined $o ? $o : "null", "\n";
        }' "$1" <out.txt)
    if grep -qxF -- "$2" <<<"$got"; then ok; else no "json $1 is '$got', not '$2'"; fi
}

# same FILE FILE, absent PATTERN (no file of that name in the work directory)
same() { if cmp -s "$1" "$2"; then ok; else no "$1 and $2 differ"; fi; }
absent() { if compgen -G "$1" >/dev/null; then no "left behind: $(compgen -G "$1")"; else ok; fi; }

# encrypt PASSPHRASE IN OUT [gpg options]: the guide's gpg --symmetric without a terminal.
export GNUPGHOME=$work/.gnupg
mkdir -m 700 "$GNUPGHOME"
cleanups+=("gpgconf --kill gpg-agent 2>/dev/null")
encrypt() {
    local pass=$1 in=$2 out=$3
    shift 3
    gpg --batch --yes --quiet --pinentry-mode loopback --passphrase-fd 9 --no-symkey-cache "$@" \
        --symmetric -o "$out" "$in" 9<<<"$pass"
}

# flip FILE OFFSET: one bit of that byte; a negative offset counts from the end.
flip() {
    perl -e '
        my ($f, $at) = @ARGV;
        open my $h, "+<", $f or die; binmode $h;
        $at += -s $f if $at < 0;
        seek $h, $at, 0; read $h, my $c, 1;
        seek $h, $at, 0; print $h chr(ord($c) ^ 1);' "$1" "$2"
}

finish() {
    printf '%s: %d passed, %d failed\n' "$1" "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
