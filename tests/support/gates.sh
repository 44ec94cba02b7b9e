#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Compares figures with their gates: gates.sh KIND SLACK FILE [--write]
# FILE holds lines of "subject what value"; gates.txt lines of "KIND subject what limit". Fails where
# a value is over its limit, has none, or is missing. --write: SLACK percent over the values become
# the limits. Instructions and bytes of code are a compiler's: with another one than that of the
# gates they may be a quarter over.

kind=$1
slack=$2
file=$3
gates=$(dirname "$0")/gates.txt
compiler=gcc
! $CC --version | head -n 1 | grep -q clang || compiler=clang
made_with="$($CC -dumpmachine) $compiler $($CC -dumpversion | cut -d . -f 1) $CFLAGS${HAS_TLS:+ TLS}"

if [ "$4" = --write ]; then
    {
        echo "# SPDX-License-Identifier: BSD-3-Clause"
        echo "# Limits of counts and sizes: kind, subject, what, limit ('make gates' writes them anew)."
        echo "# made with: $made_with"
        {
            awk -v kind="$kind" '!/^#/ && $1 != kind' "$gates" 2> /dev/null
            awk -v kind="$kind" -v slack="$slack" '{
                limit = $3 * (1 + slack / 100)
                printf(limit < 100 ? "%s %s %s %.3f\n" : "%s %s %s %.0f\n", kind, $1, $2, limit)
            }' "$file"
        } | sort -s -k 1,2
    } > "$gates.new"
    mv "$gates.new" "$gates"
    exit
fi
is_same=0
[ "$(sed -n 's/^# made with: //p' "$gates")" != "$made_with" ] || is_same=1
has_instructions=0
! grep -q ' instructions ' "$file" || has_instructions=1
awk -v kind="$kind" -v is_same=$is_same -v has_instructions=$has_instructions '
    FNR == NR {
        if ($1 == kind) {
            limits[$2 " " $3] = $4
        }
        next
    }
    FNR == 1 {
        printf("%-34s %12s %12s\n", "what", "measured", "gate")
    }
    {
        what = $1 " " $2
        limit = limits[what]
        if (!is_same && ($2 == "instructions" || $2 == "bytes")) {
            limit *= 1.25
        }
        verdict = ""
        if (!(what in limits)) {
            verdict = "no gate"
        } else if ($3 > limit + 0.0005) {
            verdict = "OVER"
        }
        bad += verdict != ""
        printf("%-34s %12.10g %12.10g %s\n", what, $3, limit, verdict)
        delete limits[what]
    }
    END {
        for (what in limits) {
            if (what !~ / instructions$/ || has_instructions) {
                print what ": not measured"
                bad++
            }
        }
        if (bad > 0) {
            print bad " over the gate, or without a gate or a measurement; \"make gates\" writes gates.txt anew"
        }
        exit bad > 0
    }' "$gates" "$file"
