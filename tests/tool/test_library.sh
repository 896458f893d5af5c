# What is installed: headers that stand alone, a library that exports what they declare and nothing
# else, a .pc file with which another program is built, and an uninstall that leaves nothing.
source "$(dirname "$0")/lib.sh"

variant=${VARIANT:-release}
case $variant in
asan) sanitizer=-fsanitize=address ;;
ubsan) sanitizer=-fsanitize=undefined ;;
tsan) sanitizer=-fsanitize=thread ;;
cov) sanitizer=--coverage ;;
*) sanitizer= ;;
esac
root=$work/root prefix=/opt/ems
# "-o all": what is built is installed, nothing is built.
installer=(make -s -C "$here" -o all "VARIANT=$variant" "DESTDIR=$root" "PREFIX=$prefix")
read -ra cc <<<"${CC:-cc}" # perhaps "ccache gcc"
include=$root$prefix/include
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig

check 'install' 0 "${installer[@]}" install
for tool in "$build"/ems-*; do
    name=$(basename "$tool")
    [ -x "$tool" ] && [[ $name != *.* ]] || continue
    if [ -x "$root$prefix/bin/$name" ]; then ok; else no "$name is not installed"; fi
    if [ -f "$root$prefix/share/man/man1/$name.1" ]; then ok; else no "$name has no manual page"; fi
done

# Each header by itself, as a strict compiler sees it.
for header in "$include"/ems/*.h; do
    name=ems/$(basename "$header")
    echo "#include <$name>" >one.c
    check "$name stands alone" 0 "${cc[@]}" -std=c11 -Wall -Wextra -Wpedantic -Werror -I "$include" \
        -fsyntax-only one.c
done

# Declared: function names in front of a parenthesis, without comments, preprocessor lines, typedefs,
# struct members and inline functions.
perl -e '
    undef $/;
    for my $file (@ARGV) {
        open my $h, "<", $file or die;
        my $text = <$h>;
        $text =~ s{/\*.*?\*/}{}gs;
        $text =~ s{^\s*#(?:.*\\\n)*.*\n}{\n}gm;
        $text =~ s{\bstatic inline\b.*?^\}}{}gms;
        $text =~ s{\btypedef\b[^;]*;}{}gs;
        1 while $text =~ s/\{[^{}]*\}/;/gs;
        for (split /;/, $text) { print "$1\n" if /\b(ems_\w+)\s*\(/ }
    }' "$include"/ems/*.h | sort -u >declared
nm -D --defined-only "$root$prefix/lib/libems.so" | awk '$2 ~ /^[TDRBWVi]$/ { print $3 }' |
    sed 's/@.*//' | grep -v '^LIBEMS_' | sort -u >exported
sed -nE 's/^ *(ems_[a-z0-9_]+);.*/\1/p' "$here/lib/libems.map" | sort -u >mapped
if [ "$(wc -l <declared)" -gt 100 ]; then ok; else no 'hardly any function was found in the headers'; fi
for pair in 'declared exported' 'declared mapped'; do
    # shellcheck disable=SC2086 # two names
    if cmp -s $pair; then ok; else
        no "$pair differ:"
        # shellcheck disable=SC2086
        diff $pair
    fi
done
if objdump -p "$root$prefix/lib/libems.so" | grep -q 'SONAME *libems\.so\.0$'; then ok; else no 'another soname'; fi
if objdump -p "$root$prefix/lib/libems.so" | grep -q 'NEEDED.*libpq'; then no 'libems needs libpq'; else ok; fi

# Another program, by the .pc file alone.
# shellcheck disable=SC2046,SC2086 # words
check 'build the example' 0 "${cc[@]}" -std=c11 -Wall -Wextra -Werror $sanitizer -o verify_manifest \
    "$here/tests/example/verify_manifest.c" $(pkg-config --cflags --libs ems)
export LD_LIBRARY_PATH=$root$prefix/lib
mkdir up
printf '\037\213 one' >up/customer_media_export.tar.gz
printf '\037\213 two' >up/homeserver.db.gz
check 'no manifest' 3 ./verify_manifest up
says 'there is no ems-upload.sha256' err.txt
(cd up && sha256sum -- * >ems-upload.sha256)
check 'a good directory' 0 ./verify_manifest up
echo more >>up/homeserver.db.gz
check 'a bad directory' 1 ./verify_manifest up
says '^manifest-digest: homeserver.db.gz is damaged'
rm up/homeserver.db.gz
check 'a missing file' 3 ./verify_manifest up
says '^manifest-missing: homeserver.db.gz'

check 'uninstall' 0 "${installer[@]}" uninstall
left=$(find "$root" ! -type d)
if [ -z "$left" ]; then ok; else no "left behind: $left"; fi

finish library
