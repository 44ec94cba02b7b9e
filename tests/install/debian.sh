#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds Debian packages from the files in tests/install/debian, of the release that 'make dist' makes, where
# dpkg-buildpackage and debhelper are here; asks lintian, where it is here; and builds a program with what
# was packed.

set -e
: "${CC:=cc}" "${MAKE:=make}" "${BUILD:=build}"
if ! command -v dpkg-buildpackage > /dev/null 2>&1 || ! command -v dh > /dev/null 2>&1; then
    echo "  debian: not tried, dpkg-buildpackage or debhelper is not here"
    exit 0
fi
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-debian-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
here=$(pwd)

fail() {
    [ ! -e "$place/log" ] || tail -n 40 "$place/log" >&2
    echo "debian test: $*" >&2
    exit 1
}

release=$("$MAKE" -s dist BUILD="$BUILD")
version=$(basename "$release" .tar.gz | sed 's/^keyway-//')
cp "$release" "$place/keyway_$version.orig.tar.gz"
tar -C "$place" -xzf "$release"
cp -r tests/install/debian "$place/keyway-$version/debian"
cd "$place/keyway-$version"
sed -i "s/@version@/$version/" debian/changelog
# The licence, set in as that file wants it.
sed 's/^$/./; s/^/ /' COPYING > "$place/licence"
sed -i -e "/^@licence@$/{r $place/licence" -e 'd;}' debian/copyright
env -u MAKEFLAGS -u CC -u CFLAGS -u BUILD -u VERSION DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-nocheck parallel=2}" \
    dpkg-buildpackage -d -us -uc > "$place/log" 2>&1 || fail "dpkg-buildpackage"
for deb in libkeyway0 libkeyway-dev keyway; do
    set -- "$place/$deb"_*.deb
    [ -e "$1" ] || fail "no $deb"
    dpkg -x "$1" "$place/root"
done
if command -v lintian > /dev/null 2>&1; then
    lintian --fail-on error,warning --suppress-tags \
        initial-upload-closes-no-bugs,bogus-mail-host,new-package-should-not-package-python2-module \
        "$place"/*.changes > "$place/log" 2>&1 || fail "lintian"
else
    echo "  lintian: not asked, it is not here"
fi
libdir=$(dirname "$(find "$place/root" -name libkeyway.so)")
$CC -I"$place/root/usr/include" -o "$place/program" "$here/tests/install/downstream.c" -L"$libdir" -lkeyway ||
    fail "a program does not build"
[ "$(LD_LIBRARY_PATH=$libdir "$place/program")" = "$version" ] || fail "the program says another version"
[ "$("$place/root/usr/bin/keyway" slot foo | tail -n 1 | tr -s ' ')" = 'foo - 12182 -' ] || fail "bin/keyway"
echo "  debian: libkeyway0, libkeyway-dev and keyway $version"
