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

# What each command costs more than by a library that has no figures, while nobody looks at any: at most 15 instructions.
# That library's observer is NULL where a command asks for it.
figures() {
    mkdir -p "$work/bare/topology" "$work/seen"
    sed 's/return atomic_load_explicit(&topology->observer, memory_order_acquire);/(void)topology; return NULL;/' \
        lib/topology/topology.h > "$work/bare/topology/topology.h"
    if cmp -s lib/topology/topology.h "$work/bare/topology/topology.h"; then
        echo "counts: lib/topology/topology.h asks for its observer in another way than is known here" >&2
        return 1
    fi
    cp "$STATIC" "$work/bare/libkeyway.a"
    for source in $(grep -l -w kw_topology_observer lib/*/*.c); do
        object=$work/bare/$(basename "$source" .c).o
        # Compilers and flags are words.
        # shellcheck disable=SC2086
        $CC -I"$work/bare" $CPPFLAGS_ALL $CFLAGS_ALL -ffunction-sections -fdata-sections $DENSE -c -o "$object" "$source"
        $AR r "$work/bare/libkeyway.a" "$object" 2> /dev/null
    done
    wraps=
    for name in $WRAPPED; do
        wraps="$wraps -Wl,--wrap=$name"
    done
    # shellcheck disable=SC2086
    $CC -D_GNU_SOURCE -Iinclude -Itests $CPPFLAGS $CFLAGS_ALL $LDFLAGS -o "$work/bare/counts" tests/counts/counts.c \
        tests/counts/measure.c tests/counts/network.c tests/counts/work.c $wraps "$work/bare/libkeyway.a" $LIBS
    sh "$here/callgrind.sh" "$work/bare/counts" "$work/seen"
    awk '/^down_/ { next } # what fails has figures that are always kept
        NR == FNR { bare[$1] = $3; next }
        $1 in bare { more = $3 - bare[$1]; n = $1 == "session_of_3" ? 3 : 1
            printf("%-34s %12d %12d\n", $1 " figures", more, 15 * n); bad = bad || more > 15 * n }
        END { exit bad }' "$work/seen/measured" "$work/measured" || {
        echo "counts: figures cost more than 15 instructions a command though nobody looks" >&2
        return 1
    }
}

if command -v valgrind > /dev/null 2>&1; then
    sh "$here/callgrind.sh" "$BUILD/tests/counts/counts" "$work"
    figures
else
    echo "counts: instructions are not counted, valgrind is not installed"
    "$BUILD/tests/counts/counts" > "$work/printed"
fi
grep -v ' commands ' "$work/printed" >> "$work/measured"
sort -s -k 1,1 -o "$work/measured" "$work/measured"
sh "$here/gates.sh" counts 2 "$work/measured" "$@"
