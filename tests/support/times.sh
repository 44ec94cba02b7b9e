#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every constant of time in the library is in times.txt, with what it is; none there is gone.

here=$(dirname "$0")
work=$(mktemp -d "${BUILD:-build}/times.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

find lib -name '*.[ch]' | LC_ALL=C sort |
    xargs grep -E '^#define +[A-Z_]*(_NS|_MS)([^A-Z_(]|$)' /dev/null |
    sed -E 's/^([^:]+):#define +([A-Z_]+).*/\1 \2/' | LC_ALL=C sort > "$work/found"
sed -n -E 's/^(first|pause|slice|unit|keep|rule) //p' "$here/times.txt" | LC_ALL=C sort > "$work/listed"
if ! diff "$work/listed" "$work/found" > "$work/differences"; then
    sed -n -e 's/^> \(.*\)/\1: a constant of time that tests\/support\/times.txt does not explain/p' \
        -e 's/^< \(.*\)/\1: is in tests\/support\/times.txt, and no more in the library/p' \
        "$work/differences" >&2
    exit 1
fi
