#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The shared library has the functions and types that tests/install/keyway.abi describes, where libabigail is
# here to compare. New functions, and new members at the end of structs that begin with their size, are
# told; what was changed or taken away fails. --write: describes it anew.

: "${BUILD:=build}"
here=$(dirname "$0")
known=$here/keyway.abi
describe() {
    abidw --suppressions "$here/abi_types.suppr" --exported-interfaces-only --no-elf-needed --no-corpus-path \
        --no-comp-dir-path --no-show-locs --type-id-style hash --out-file "$1" "$2"
}
if ! command -v abidw > /dev/null 2>&1; then
    echo "  abi: not compared, libabigail (abigail-tools) is not here"
    exit 0
fi
if [ "${1:-}" = --write ]; then
    describe "$known" "$BUILD/libkeyway.so"
    exit
fi
# What it was described from is laid out as this machine's: 64 bits, and the names of glibc's types.
case "$(${CC:-cc} -dumpmachine)" in
x86_64*-linux-gnu) ;;
*)
    echo "  abi: not compared, the description is of x86-64 with glibc"
    exit 0
    ;;
esac
work=$(mktemp -d "$BUILD/abi.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# compare LIBRARY: false where programs would notice; what was found is in told
compare() {
    describe "$work/now" "$1" || return 2
    abidiff --no-added-syms --suppressions "$here/abi_changes.suppr" "$known" "$work/now" > "$work/told" 2>&1
}
if ! compare "$BUILD/libkeyway.so"; then
    cat "$work/told" >&2
    echo "abi: what programs were built with has changed; see the rules of the SONAME in CONTRIBUTING ('make abi'" >&2
    echo "describes it anew, once it was said in the changelog)" >&2
    exit 1
fi
abidiff --suppressions "$here/abi_changes.suppr" "$known" "$work/now" | sed -n "s/^  \[A\] /  abi: new: /p"
