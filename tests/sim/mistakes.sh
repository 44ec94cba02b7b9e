#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the library with each mistake of tests/sim/mistakes in turn, in a copy under build/, and sees that the simulator
# finds it within MISTAKE_SECONDS (60) of each processor that is there, whatever else they do. Names behind it: these
# alone. MISTAKES, FINDER: another folder of mistakes, and the test that is to find them, where a patch names none
# ("finder: ") itself; "filter: " picks tests of that.

: "${MISTAKE_SECONDS:=60}"
: "${MAKE:=make}"
: "${MISTAKES:=tests/sim/mistakes}"
: "${FINDER:=sim/tests/sim/sim}"
tree=${BUILD:-build}/mistakes
from=$(pwd)
[ "$#" -gt 0 ] || set -- "$MISTAKES"/*.patch
mkdir -p "$tree"
for part in Makefile include lib pkgconfig tests; do
    rm -rf "${tree:?}/$part"
    cp -pR "$part" "$tree/$part"
done
cd "$tree" || exit 1
work=$((MISTAKE_SECONDS * $(getconf _NPROCESSORS_ONLN)))
# What an interrupted run has built with a mistake is built again.
sed -n 's/^+++ b\///p' "$from/$MISTAKES"/*.patch | sort -u | xargs touch
found=0
missed=0
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    patch=$from/$MISTAKES/$name.patch
    patch -p1 -s < "$patch" || exit 1
    finder=$(sed -n 's/^finder: //p' "$patch")
    finder=${finder:-$FINDER}
    filter=$(sed -n 's/^filter: //p' "$patch")
    if ! env -u MAKEFLAGS "$MAKE" "build/$finder" BUILD=build > build.log 2>&1; then
        echo "$name: does not compile" >&2
        exit 1
    fi
    begun=$(date +%s)
    place=$(sed -n 's/^place: //p' "$patch")
    if env KW_TEST_FILTER="${filter:-*}" KW_TEST_PLACE="$place" SEED=1 RUNS= WORLD= SHRINK=0 SECONDS= JOBS= PROCESSOR_SECONDS="$work" \
        KW_TEST_SECONDS="$MISTAKE_SECONDS" "build/$finder" > found.log 2>&1; then
        echo "  missed $name$(sed -n 's/^sim: \([0-9]*\) runs.*/ in \1 lives/p' found.log | head -n 1)"
        missed=$((missed + 1))
    else
        took=$(sed -n 's/^sim: found after \([0-9.]*\) seconds.*/\1 s of a processor/p' found.log)
        echo "  found  $name in ${took:-$(($(date +%s) - begun)) s}:$(sed -n 's/^sim: seed \([0-9]*\) fails:/ life \1:/p' found.log | head -n 1 | cut -c 1-120)"
        found=$((found + 1))
    fi
    patch -p1 -s -R < "$patch"
done
echo "$found passed, $missed failed"
[ "$missed" -eq 0 ]
