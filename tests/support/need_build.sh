#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Says in one line what the build lacks, with the command that installs it, and fails: need_build.sh [cmocka]
# CC and PKG_CONFIG are the compiler and pkg-config; FLAGS what the compiler is given.

: "${CC:=cc}" "${PKG_CONFIG:=pkg-config}"
missing=
packages=

# lacks WHAT PACKAGE
lacks() {
    missing="${missing:+$missing, }$1"
    packages="$packages $2"
}
has_header() {
    # Compiler and flags are words.
    # shellcheck disable=SC2086
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$1" |
        $CC $FLAGS -fsyntax-only -x c - > /dev/null 2>&1
}

if ! has_header stdio.h; then
    lacks "a C compiler ($CC)" "gcc libc6-dev"
elif ! has_header xxhash.h; then
    lacks xxHash libxxhash-dev
fi
if ! command -v "$PKG_CONFIG" > /dev/null 2>&1; then
    lacks "pkg-config" pkg-config
    [ -e /usr/include/hiredis/hiredis.h ] || lacks hiredis libhiredis-dev
elif ! "$PKG_CONFIG" --exists hiredis 2> /dev/null; then
    lacks hiredis libhiredis-dev
fi
[ "$1" != cmocka ] || has_header cmocka.h || lacks cmocka libcmocka-dev
[ -n "$missing" ] || exit 0
# Elsewhere packages have other names: setup.sh knows them.
if command -v apt-get > /dev/null 2>&1; then
    echo "keyway needs $missing: apt-get install$packages" >&2
else
    echo "keyway needs $missing: 'sh examples/setup.sh build' names the packages" >&2
fi
exit 1
