#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The programs in keyway-migration(7) build: those of keyway always, those of other libraries where these are
# here.

set -e
: "${CC:=cc}" "${PKG_CONFIG:=pkg-config}" "${BUILD:=build}"
page=lib/man/keyway-migration.7
work=$(mktemp -d "$BUILD/migration.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# In the page: .\" program NAME PACKAGE..., and then the program as a display.
sed -n 's/^\.\\" program //p' "$page" > "$work/list"
[ "$(wc -l < "$work/list")" -ge 6 ] || { echo "$page: programs are missing" >&2; exit 1; }
built=
while read -r name packages; do
    sed -n "/^\\.\\\\\" program $name /,/^\\.Ed/{/^\\./d;s/\\\\e/\\\\/g;s/^\\\\&//;p;}" "$page" > "$work/$name.c"
    # Packages, flags and compilers are words.
    case $packages in
    keyway) flags="-Iinclude -L$BUILD -lkeyway" ;;
    *)
        # shellcheck disable=SC2086
        flags=$($PKG_CONFIG --cflags --libs $packages 2> /dev/null) ||
            { echo "  $name: not built, for want of $packages (pkg-config)"; continue; }
        # Its header is named with its folder, which some packages take for the place of headers.
        place=$($PKG_CONFIG --variable=includedir "${packages%% *}")
        flags="$flags -I$place -I$place/.."
        ;;
    esac
    # shellcheck disable=SC2086
    $CC -std=c11 -Wall -Wextra -Werror -o "$work/$name" "$work/$name.c" $flags ||
        { echo "$page: $name does not build" >&2; exit 1; }
    built="$built $name"
done < "$work/list"
[ "$(LD_LIBRARY_PATH=$BUILD "$work/ring_after")" = a ] || { echo "$page: ring_after says another owner" >&2; exit 1; }
echo "  built:$built"
