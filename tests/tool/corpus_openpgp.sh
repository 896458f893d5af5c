# Public OpenPGP test messages through ems-decrypt: each one that lists a hash must give that hash,
# every other one must be refused with the right kind of exit status and leave no file behind.
#
#   EMS_OPENPGP_CORPUS=DIR bash tests/tool/corpus_openpgp.sh
#
# DIR/vectors.tsv has columns, separated by tabs: name, file, how, expected, and more that is not
# used. how: none, or pass=TEXT, passfile=PATH, key=PATH, keypass=TEXT, flag=allow-no-mdc joined by
# semicolons. expected: alternatives joined by |, each the SHA-256 of the plaintext or
# ERROR:KIND[,KIND...].
#
# One public vector (a damaged MDC) names a key that its message is not encrypted to. Where no listed
# key fits although another kind of failure is expected, the corpus's other keys are tried, one by
# one, and the script says which of them was the right one.
# shellcheck shell=bash
source "$(dirname "$0")/lib.sh"

corpus=${EMS_OPENPGP_CORPUS:-}
if [ ! -e "$corpus/vectors.tsv" ]; then
    echo 'skipped: EMS_OPENPGP_CORPUS does not name a folder with vectors.tsv'
    exit 0
fi

status_of() { # kind
    case $1 in
    NO_KEY | BAD_PASSPHRASE | KEY) echo 4 ;;
    PK) echo '1 4' ;;
    UNSUPPORTED) echo 5 ;;
    *) echo 1 ;;
    esac
}

run() { # how file
    local options=() parts part value
    IFS=';' read -ra parts <<<"$1"
    for part in "${parts[@]}"; do
        value=${part#*=}
        case $part in
        pass=*)
            printf '%s\n' "$value" >pass
            options+=(--passphrase-file pass)
            ;;
        passfile=*) options+=(--passphrase-file "$corpus/$value") ;;
        key=*) options+=(--secret-key "$corpus/$value") ;;
        keypass=*)
            printf '%s\n' "$value" >keypass
            options+=(--key-passphrase-file keypass)
            ;;
        flag=allow-no-mdc) options+=(--allow-no-integrity) ;;
        none) ;;
        *) echo "unknown: $part" >&2 && return 2 ;;
        esac
    done
    ems-decrypt "${options[@]}" -o plain "$corpus/$2" >out.txt 2>err.txt </dev/null
}

# Does the outcome of the last run agree with what is expected?
agrees() { # status alternatives...
    local status=$1 alternative kinds kind
    shift
    for alternative in "$@"; do
        case $alternative in
        ERROR:*)
            IFS=',' read -ra kinds <<<"${alternative#ERROR:}"
            for kind in "${kinds[@]}"; do
                [[ " $(status_of "$kind") " = *" $status "* && ! -e plain ]] && return 0
            done
            ;;
        *)
            [ "$status" -eq 0 ] && [ "$(sha256sum <plain | cut -c1-64)" = "$alternative" ] &&
                return 0
            ;;
        esac
    done
    return 1
}

# The first key of the corpus that opens the message's session key; status of that run.
other_key() { # name file
    local key status
    for key in "$corpus"/pubkeys/*; do
        run "key=${key#"$corpus/"}" "$2"
        status=$?
        if [ $status -ne 4 ]; then
            echo "$1: not encrypted to the key that is listed for it; with ${key##*/}: status $status"
            return $status
        fi
    done
    return 4
}

while IFS=$'\t' read -r name file how expected _; do
    case $name in '' | '#'*) continue ;; esac
    rm -f plain
    run "$how" "$file"
    status=$?
    IFS='|' read -ra alternatives <<<"$expected"
    if [ $status -eq 4 ] && [[ $how = *key=* ]] && grep -q 'pgp-no-key' out.txt &&
        ! agrees 4 "${alternatives[@]}"; then
        other_key "$name" "$file"
        status=$?
    fi
    if agrees $status "${alternatives[@]}"; then ok; else
        no "$name: status $status, expected $expected"
        sed 's/^/    /' err.txt out.txt | head -n 5
    fi
done <"$corpus/vectors.tsv"

finish 'OpenPGP corpus'
