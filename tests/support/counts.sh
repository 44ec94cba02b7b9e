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
program=$work/program
# valgrind does not know every compiler's debug information.
strip -g -o "$program" "$BUILD/tests/counts/counts"

# Counts of other optimizations, or of a sanitizer, say nothing.
case " $CFLAGS " in
*-fsanitize* | *-O0* | *--coverage*)
    echo "counts: not compared, built with $CFLAGS"
    exit 0
    ;;
esac

if command -v valgrind > /dev/null 2>&1; then
    # Collects between the beginning and the end of measure_counts, but not in serve_counts, and
    # writes a part at the end of each run that warms up and of each that is measured.
    # (Names that begin alike confuse callgrind's options.)
    valgrind --tool=callgrind --callgrind-out-file="$work/part" --collect-atstart=no \
        --dump-after=warm_up_counts --dump-after=measure_counts \
        --toggle-collect=measure_counts --toggle-collect=serve_counts \
        "$program" > "$work/printed" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
    part=0
    sed -n 's/ commands / /p' "$work/printed" | while read -r way n; do
        part=$((part + 2))
        instructions=$(sed -n 's/^totals: //p' "$work/part.$part")
        echo "$way instructions $((instructions / n))"
    done > "$work/measured"
else
    echo "counts: instructions are not counted, valgrind is not installed"
    "$program" > "$work/printed"
fi
grep -v ' commands ' "$work/printed" >> "$work/measured"
sort -s -k 1,1 -o "$work/measured" "$work/measured"
sh "$here/gates.sh" counts 2 "$work/measured" "$@"
