#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The manual pages are well-formed, and fit a terminal, where mandoc and groff are here to say so; keyway.7 has every
# option and every error code, keyway.1 every subcommand, and each public function a page. lib/README.md names functions,
# types and files that are there.

manual=lib/man/keyway.7
status=0

# line: words of several lines, with a blank before and behind each
line() {
    printf ' %s ' "$(tr -s ' ,\n' ' ')"
}

items=$(grep -E "^\.It (Dv|Cm) " "$manual" | line)

# lists WHAT NAME...: the page has each name as an item of a list
lists() {
    what=$1
    shift
    for name in "$@"; do
        case $items in
        *" $name "*) ;;
        *)
            echo "$manual: $what $name is not described" >&2
            status=1
            ;;
        esac
    done
}

options=$(sed -n -e 's/^ROW("\([a-z-]*\)", KW_OPTION_.*/\1/p' -e 's/^    {"\([a-z-]*\)", "[^"]*", KW_OPTION_.*/\1/p' \
    lib/settings/option_rows.def lib/cache/cache_options.c)
codes=$(sed -n 's/^    \(KW_ERR_[A-Z_]*\) = .*/\1/p' include/keyway/error.h)
[ -n "$options" ] && [ -n "$codes" ] || { echo "no options or no error codes to look for" >&2; exit 1; }
# The names are words.
# shellcheck disable=SC2086
{
    lists option $options
    lists "error code" $codes
}
# A word of a quotation that is a macro as well is not shown: \& has to stand before it.
if grep -n -E '^\.(Ql|Dq|Sq|Qq|Li) .*\b(No|In|At|An|Do|Em|Es|Ad)\b' lib/man/*.[1-9] | grep -v -E '\\&(No|In|At|An|Do|Em|Es|Ad)\b' >&2; then
    echo "a word of these is taken for a macro, and not shown" >&2
    status=1
fi
# What lib/README.md says of the inside: its functions, types and files are there.
there=$({
    grep -r -o -h '\<kw_[a-zA-Z0-9_]*' lib include --include='*.[ch]' | sort -u
    find lib include tests -name '*.[ch]' | sed 's|.*/||'
} | line)
for name in $(grep -o -e '`kw_[a-z_]*`' -e '[a-z_]*[a-z]\.[ch]\b' lib/README.md | tr -d '`' | sort -u); do
    case $there in
    *" $name "*) ;;
    *)
        echo "lib/README.md: there is no $name" >&2
        status=1
        ;;
    esac
done
for name in $(sed -n 's/^    {"\([a-z]*\)", run_.*/\1/p' examples/keyway/main.c); do
    grep -q "^\.It Cm $name\b" lib/man/keyway.1 || {
        echo "lib/man/keyway.1: $name is not described" >&2
        status=1
    }
done
pages=$(mktemp -d "${BUILD:-build}/manual.XXXXXX")
trap 'rm -rf "$pages"' EXIT
trap 'exit 130' INT TERM
sh lib/man/pages.sh "$pages/man3" || status=1
for name in $(cat tests/exports.txt); do
    case $name in
    kw_reply_hiredis_*) continue ;; # named by the release of hiredis: kw_reply_hiredis
    esac
    [ -s "$pages/man3/$name.3" ] || {
        echo "$name has no page: it is in no public header, or not on the line of its KW_API" >&2
        status=1
    }
done
# On a terminal of 80 columns no line is cut, and no cell of a table became a column of single words: the pages written
# by hand, as man shows them where it is groff's.
if command -v groff > /dev/null 2>&1; then
    for page in lib/man/*.[17]; do
        groff -mdoc -Tascii -P-cbou -rLL=78n "$page" 2>&1 | awk -v page="$page" '
            length($0) > 80 || /^ {46}/ { print page ": too wide: " $0; wide = 1 }
            END { exit wide }' >&2 || status=1
    done
fi
if grep -n '^- [A-Z]' "$pages"/man3/*.3 >&2; then
    echo "items of a list that are no list of the page" >&2
    status=1
fi
if command -v mandoc > /dev/null 2>&1; then
    mandoc -T lint -W warning "$manual" lib/man/keyway.1 lib/man/keyway-migration.7 "$pages"/man3/keyway_*.3 >&2 ||
        status=1
fi
exit $status
