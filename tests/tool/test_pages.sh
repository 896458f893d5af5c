# What the manual pages say is what the tools take: every option of --help, and no other; every
# finding code of the library, with its status; no warning of the formatter.
source "$(dirname "$0")/lib.sh"

# The text of a page without its markup.
plain() { sed -e 's/\\f[BIR]//g' -e 's/\\-/-/g' "$1"; }

# Long options at the begin of a line (of help), or of an entry of the section OPTIONS (of a page).
of_help() { sed -nE 's/^ *(-[a-zA-Z], |    )(--[a-z-]+).*/\2/p' | sort; }
of_page() {
    plain "$1" | sed -n '/^\.SH OPTIONS/,/^\.SH EXIT/p' | grep -E '^-' | grep -oE -- '--[a-z-]+' | sort
}

for page in "$here"/tools/ems-*.1; do
    tool=$(basename "$page" .1)
    check "$tool --help" 0 "$tool" --help
    of_help <out.txt >help.txt
    of_page "$page" >page.txt
    if [ -s help.txt ] && diff help.txt page.txt >diff.txt; then ok; else
        no "$tool: options of --help (<) and of the page (>):"
        cat diff.txt
    fi
done

sed -nE 's/^ *X\([A-Z_]+, "([a-z-]+)", ([0-9]+)\).*/\1 (\2)/p' "$here/lib/error.h" | sort >codes.txt
plain "$here/tools/ems-findings.7" | grep -E '^[a-z-]+ \([0-9]+\)$' | sort >page.txt
if [ -s codes.txt ] && diff codes.txt page.txt >diff.txt; then ok; else
    no 'finding codes of lib/error.h (<) and of ems-findings.7 (>):'
    cat diff.txt
fi

# groff is what man formats with; a machine without it has no manual to be wrong in.
if command -v groff >/dev/null; then
    for page in "$here"/tools/ems-*.[17]; do
        check "$(basename "$page") is formatted" 0 groff -man -t -Tutf8 -ww -z "$page"
        if [ -s err.txt ]; then no "$(basename "$page"): $(head -n 3 err.txt)"; else ok; fi
    done
else
    echo 'skipped: the formatting of the manual pages (no groff)'
fi

finish pages
