#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What commands cost, in counts (tests/counts/counts.c), beside the gates of gates.txt: fails where
# one is over. Instructions are counted where valgrind is installed. --write: what is measured now,
# and 2 % more, become the gates.

set -e
here=$(dirname "$0")
work=$(mktemp -d "$BUILD/counts.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# Counts of other optimizations, or of a sanitizer, say nothing.
case " $CFLAGS " in
*-fsanitize* | *-O0* | *--coverage*)
    echo "counts: not compared, built with $CFLAGS"
    exit 0
    ;;
esac

if command -v valgrind > /dev/null 2>&1; then
    sh "$here/callgrind.sh" "$BUILD/tests/counts/counts" "$work"
else
    echo "counts: instructions are not counted, valgrind is not installed"
    "$BUILD/tests/counts/counts" > "$work/printed"
fi
grep -v ' commands ' "$work/printed" >> "$work/measured"
sort -s -k 1,1 -o "$work/measured" "$work/measured"
sh "$here/gates.sh" counts 2 "$work/measured" "$@"
