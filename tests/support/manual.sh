#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The manual page is well-formed, where mandoc is here to say so, and has every option and every error code.

manual=lib/man/keyway.7
status=0

# lists WHAT NAME...: the page has each name as an item of a list
lists() {
    what=$1
    shift
    for name in "$@"; do
        grep -E "^\.It (Dv|Cm) " "$manual" | tr -s ' ,' '\n\n' | grep -q -x -e "$name" || {
            echo "$manual: $what $name is not described" >&2
            status=1
        }
    done
}

options=$(sed -n 's/^    {"\([a-z-]*\)", KW_OPTION_.*/\1/p' lib/*/option_table.c)
codes=$(sed -n 's/^    \(KW_ERR_[A-Z_]*\) = .*/\1/p' include/keyway/error.h)
[ -n "$options" ] && [ -n "$codes" ] || { echo "no options or no error codes to look for" >&2; exit 1; }
# The names are words.
# shellcheck disable=SC2086
{
    lists option $options
    lists "error code" $codes
}
if command -v mandoc > /dev/null 2>&1; then
    mandoc -T lint "$manual" >&2 || status=1
fi
exit $status
