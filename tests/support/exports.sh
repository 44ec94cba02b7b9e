#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The shared library exports exactly what tests/exports.txt lists; --write lists anew.

list=tests/exports.txt
if [ "$(uname -s)" = Darwin ]; then
    symbols=$(nm -gU "$SHARED" | awk '{ print $3 }' | sed 's/^_//')
else
    symbols=$(nm -D --defined-only "$SHARED" | awk '$2 != "A" { print $3 }' | sed 's/@.*//')
fi
# The name of one function carries the layout of hiredis' replies.
symbols=$(echo "$symbols" | sed 's/^\(kw_reply_hiredis\)_[0-9_]*$/\1/' | LC_ALL=C sort)
if [ "$1" = --write ]; then
    echo "$symbols" > $list
    exit
fi
status=0
echo "$symbols" | diff $list - || {
    echo "the exported symbols are not those of $list ('make exports' writes it anew)" >&2
    status=1
}
# Nothing is exported that no public header declares, and the other way round.
declared=$(cat include/keyway/*.h | tr '\n' ' ' | sed 's/KW_API/\
KW_API/g' | sed -n 's/^KW_API [^(]*[ *]\(kw_[a-z0-9_]*\)(.*/\1/p' | LC_ALL=C sort)
[ "$declared" = "$symbols" ] || {
    echo "$declared" > "$BUILD/declared.txt"
    echo "$symbols" | diff "$BUILD/declared.txt" -
    echo "public headers (<) and exported symbols (>) differ" >&2
    status=1
}
exit $status
