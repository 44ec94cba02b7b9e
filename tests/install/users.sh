#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# An installed copy is found by pkg-config, CMake and Meson, shared and static, where these are here; and
# its program, completions and manual pages are in their places.

set -e
: "${CC:=cc}" "${MAKE:=make}" "${PKG_CONFIG:=pkg-config}" "${BUILD:=build}"
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-users-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
here=$(pwd)
libdir=lib/somewhere

fail() {
    echo "users test: $*" >&2
    exit 1
}

"$MAKE" -s install BUILD="$BUILD" prefix="$place/root" libdir="$place/root/$libdir" 2> "$place/log" > "$place/log" ||
    { cat "$place/log" >&2; fail "install"; }
export PKG_CONFIG_PATH="$place/root/$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export LD_LIBRARY_PATH="$place/root/$libdir"
version=$($PKG_CONFIG --modversion keyway)

# says NAME PROGRAM: it runs, and says the version
says() {
    said=$("$2") || fail "$1: the program does not run"
    [ "$said" = "$version" ] || fail "$1: the program says $said, not $version"
    echo "  $1"
}

# Flags and compilers are words.
# shellcheck disable=SC2046,SC2086
$CC -o "$place/by_pkg_config" "$here/tests/install/downstream.c" $($PKG_CONFIG --cflags --libs keyway) ||
    fail "pkg-config"
says pkg-config "$place/by_pkg_config"

mkdir "$place/cmake" "$place/meson"
cp tests/install/downstream.c "$place/cmake/"
cp tests/install/downstream.c "$place/meson/"
if command -v cmake > /dev/null 2>&1; then
    cat > "$place/cmake/CMakeLists.txt" << END
cmake_minimum_required(VERSION 3.10)
project(user C)
find_package(keyway ${version%.*} REQUIRED CONFIG)
foreach(kind keyway static)
    add_executable(by_\${kind} downstream.c)
    target_link_libraries(by_\${kind} keyway::\${kind})
endforeach()
find_package(keyway 99 QUIET CONFIG)
if(keyway_FOUND)
    message(FATAL_ERROR "version 99 is found")
endif()
END
    mkdir "$place/cmake/out"
    (cd "$place/cmake/out" && env -u MAKEFLAGS CC="${CC#ccache }" cmake -DCMAKE_PREFIX_PATH="$place/root" \
        -Dkeyway_DIR="$place/root/$libdir/cmake/keyway" .. && env -u MAKEFLAGS cmake --build .) > "$place/log" 2>&1 ||
        { cat "$place/log" >&2; fail "CMake"; }
    says CMake "$place/cmake/out/by_keyway"
    says 'CMake, static' "$place/cmake/out/by_static"
else
    echo "  CMake: not tried, it is not here"
fi
if command -v meson > /dev/null 2>&1 && command -v ninja > /dev/null 2>&1; then
    cat > "$place/meson/meson.build" << END
project('user', 'c')
executable('by_meson', 'downstream.c', dependencies: dependency('keyway', version: '>=$version'))
END
    (cd "$place/meson" && env -u MAKEFLAGS CC="${CC#ccache }" meson setup out && ninja -C out) > "$place/log" 2>&1 ||
        { cat "$place/log" >&2; fail "Meson"; }
    says Meson "$place/meson/out/by_meson"
else
    echo "  Meson: not tried, it is not here"
fi

[ "$("$place/root/bin/keyway" slot foo | tail -n 1 | tr -s ' ')" = 'foo - 12182 -' ] || fail "the program"
grep -q 'complete -F _keyway keyway' "$place/root/share/bash-completion/completions/keyway" || fail "bash"
grep -q '#compdef keyway' "$place/root/share/zsh/site-functions/_keyway" || fail "zsh"
for page in man1/keyway.1 man7/keyway.7 man7/keyway-migration.7 man3/keyway_ring.3 man3/kw_open.3; do
    [ -s "$place/root/share/man/$page" ] || fail "no $page"
done
"$MAKE" -s uninstall BUILD="$BUILD" prefix="$place/root" libdir="$place/root/$libdir"
left=$(find "$place/root" ! -type d)
[ -z "$left" ] || fail "uninstall leaves $left"
