#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs into a temporary folder, builds programs against the copy with nothing but
# pkg-config's flags, shared and static, in C and C++, runs them, and uninstalls. The README's
# program is built so as well.

set -e
: "${CC:=cc}" "${CXX:=c++}" "${MAKE:=make}" "${PKG_CONFIG:=pkg-config}" "${BUILD:=build}"
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-install-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
here=$(pwd)
given_path=${PKG_CONFIG_PATH:-}

fail() {
    echo "install test: $*" >&2
    exit 1
}

# build COMPILER SOURCE NAME PKG-CONFIG-FLAGS...: outside the tree
build() {
    compiler=$1
    source=$2
    name=$3
    shift 3
    flags=$($PKG_CONFIG "$@" --cflags keyway)
    libs=$($PKG_CONFIG "$@" --libs keyway)
    [ -z "$only_static" ] || libs=$(echo "$libs" | sed "s|-lkeyway|$root$libdir/libkeyway.a|")
    # Flags and compilers are words.
    # shellcheck disable=SC2086
    (cd "$place/out" && $compiler $CFLAGS_DOWN -o "$name" "$here/tests/install/$source" $flags $libs) ||
        fail "$name does not build"
    version=$(LD_LIBRARY_PATH="$root$libdir" DYLD_LIBRARY_PATH="$root$libdir" "$place/out/$name") ||
        fail "$name does not run"
    [ "$version" = "$($PKG_CONFIG --modversion keyway)" ] || fail "$name says version $version"
}

# The first piece of C in the README is a whole program.
program_of_readme() {
    sed -n '/^```c$/,/^```$/{/^```/d;p;}' README.md | sed '/^}$/q' > "$place/out/readme.c"
    # Flags and compilers are words.
    # shellcheck disable=SC2046,SC2086
    (cd "$place/out" && $CC -std=c11 $CFLAGS_DOWN -o readme readme.c $($PKG_CONFIG --cflags --libs keyway)) ||
        fail "the README's program does not build"
}

# build_all: against the copy
build_all() {
    mkdir -p "$place/out"
    only_static=
    CFLAGS_DOWN='-Wall -Wextra -Werror'
    build "$CC" downstream.c c_shared
    build "$CXX" downstream.cc cc_shared
    program_of_readme
    # Where shared and static lie side by side the linker takes the shared one, so the
    # static one is named; what it needs comes from --static.
    only_static=yes
    build "$CC" downstream.c c_static --static
    build "$CXX" downstream.cc cc_static --static
    if [ "$(uname -s)" = Linux ]; then
        ldd "$place/out/c_shared" | grep -q libkeyway || fail "c_shared is not shared"
        ! ldd "$place/out/c_static" | grep -q libkeyway || fail "c_static is not static"
    fi
}

# try ROOT PREFIX LIBDIR INSTALLED-LIBDIR: a copy whose keyway.pc is that of the last one is as good as that
try() {
    root=$1
    prefix=$2
    libdir=$4
    make_it() {
        "$MAKE" -s "$1" BUILD="$BUILD" DESTDIR="$root" PREFIX="$prefix" ${2:+LIBDIR="$2"}
    }
    make_it install "$3"
    pc=$root$libdir/pkgconfig/keyway.pc
    [ -f "$pc" ] || fail "no $pc"
    [ -z "$root" ] || ! grep -q "$root" "$pc" || fail "keyway.pc holds DESTDIR"
    grep -q "^\.Dt KEYWAY 7" "$root$prefix/share/man/man7/keyway.7" || fail "no manual page"
    grep -q "^prefix=$prefix\$" "$pc" || fail "keyway.pc has another prefix than $prefix"
    export PKG_CONFIG_PATH="$root$libdir/pkgconfig${given_path:+:$given_path}"
    export PKG_CONFIG_SYSROOT_DIR="$root"
    cmp -s "$pc" "$place/pc" || build_all
    cp "$pc" "$place/pc"
    unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
    [ -z "$given_path" ] || export PKG_CONFIG_PATH="$given_path"
    make_it uninstall "$3"
    left=$(find "$root$prefix" ! -type d; find "$root$prefix" -name '*keyway*')
    [ -z "$left" ] || fail "uninstall leaves $left"
}

triplet=$($CC -dumpmachine)
try "$place/root" /opt/kw '' /opt/kw/lib
try "$place/root" /usr "lib/$triplet" "/usr/lib/$triplet"
try "$place/root" /usr "/usr/lib/$triplet" "/usr/lib/$triplet"
try '' "$place/real" '' "$place/real/lib"

# A release holds the same bytes each time.
"$MAKE" -s dist BUILD="$place/a" > /dev/null
"$MAKE" -s dist BUILD="$place/b" > /dev/null
cmp "$place"/a/keyway-*.tar.gz "$place"/b/keyway-*.tar.gz || fail "make dist differs from itself"
