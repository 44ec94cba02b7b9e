#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Counts the instructions of a program made of tests/counts/measure.c: callgrind.sh PROGRAM WORK, a
# new folder. WORK/printed gets what the program printed, and WORK/measured a line "NAME instructions
# VALUE" of one command of each way.

set -e
work=$2
# valgrind does not know every compiler's debug information.
strip -g -o "$work/program" "$1"
# Collects between the beginning and the end of measure_counts, but not in serve_counts, and
# writes a part at the end of each run that warms up and of each that is measured.
# (Names that begin alike confuse callgrind's options.)
valgrind --tool=callgrind --callgrind-out-file="$work/part" --collect-atstart=no \
    --dump-after=warm_up_counts --dump-after=measure_counts \
    --toggle-collect=measure_counts --toggle-collect=serve_counts \
    "$work/program" > "$work/printed" 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
part=0
sed -n 's/ commands / /p' "$work/printed" | while read -r way n; do
    part=$((part + 2))
    instructions=$(sed -n 's/^totals: //p' "$work/part.$part")
    echo "$way instructions $((instructions / n))"
done > "$work/measured"
