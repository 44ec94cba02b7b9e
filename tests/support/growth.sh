#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Prints what one command costs while something else grows (tests/counts/growth.c), as the table of
# tests/bench/README.md. Instructions are counted where valgrind is installed.

set -e
here=$(dirname "$0")
work=$(mktemp -d "$BUILD/growth.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if command -v valgrind > /dev/null 2>&1; then
    sh "$here/callgrind.sh" "$BUILD/tests/counts/growth" "$work"
else
    "$BUILD/tests/counts/growth" > "$work/printed"
fi
echo "| what grows | | way | instructions | sends | receives | polls | allocations |"
echo "|---|---|---|---|---|---|---|---|"
cat "$work/printed" "$work/measured" 2> /dev/null | awk '
    $2 == "commands" { names[++n] = $1; next }
    { value[$1 " " $2] = $3 }
    END {
        for (i = 1; i <= n; i++) {
            split(names[i], parts, ":")
            at = match(parts[1], /_[0-9]+$/)
            what = substr(parts[1], 1, at - 1)
            gsub(/_/, " ", what)
            gsub(/_/, " ", parts[2])
            printf("| %s | %s | %s | %s | %.3g | %.3g | %.3g | %.3g |\n", what,
                substr(parts[1], at + 1), parts[2], value[names[i] " instructions"],
                value[names[i] " sends"], value[names[i] " receives"], value[names[i] " polls"],
                value[names[i] " allocations"])
        }
    }'
