#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The shared library has the functions and types that tests/install/keyway.abi describes, where libabigail is
# here to compare; what was added is told, what was changed or taken away fails. --write: describes it anew.

: "${BUILD:=build}"
known=tests/install/keyway.abi
describe() {
    abidw --headers-dir include --no-corpus-path --no-comp-dir-path --no-show-locs --type-id-style hash \
        --out-file "$1" "$BUILD/libkeyway.so"
}
if ! command -v abidw > /dev/null 2>&1; then
    echo "  abi: not compared, libabigail (abigail-tools) is not here"
    exit 0
fi
if [ "${1:-}" = --write ]; then
    describe "$known"
    exit
fi
if [ ! -e "$known" ]; then
    echo "  abi: not compared, nothing was released yet ('make abi' describes a release)"
    exit 0
fi
work=$(mktemp -d "$BUILD/abi.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
describe "$work/now"
abidiff "$known" "$work/now" > "$work/told"
# abidiff: 4 is a change, 8 one that programs notice.
if [ $(($? & 8)) -ne 0 ]; then
    cat "$work/told" >&2
    echo "abi: what programs were built with has changed; see the rules of the SONAME in CONTRIBUTING" >&2
    exit 1
fi
cat "$work/told"
