#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A host that carries another hiredis, against keyway of both kinds (HIREDIS=static, shared), and of
# each the shared and the static library; the copy in the host, or in a library that it loads. What
# is exported and imported, keyway.pc, the licence, and the link error of other headers are looked at.

set -e
: "${CC:=cc}" "${MAKE:=make}" "${PKG_CONFIG:=pkg-config}" "${BUILD:=build}"
[ "$(uname -s)" = Linux ] || exit 0
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-host-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
here=$(pwd)

fail() {
    echo "hiredis test: $*" >&2
    exit 1
}

same() {
    [ "$2" = "$3" ] || fail "$1: $2, not $3"
}

# Flags, compilers and lists of options are words.
# shellcheck disable=SC2046,SC2086
major=$(printf '#include <hiredis.h>\nHIREDIS_MAJOR\n' | $CC $($PKG_CONFIG --cflags hiredis) -E -P -x c - | tail -n 1)
if [ "$major" = 0 ]; then
    other=-DOTHER_IS_NEW
else
    other=-DOTHER_IS_OLD
fi

# make_kind KIND: builds what differs, and installs it
make_kind() {
    mkdir -p "$place/$1.build/examples"
    cp -Rp "$BUILD/lib" "$BUILD/flags" "$place/$1.build/"
    cp -Rp "$BUILD/examples/keyway" "$place/$1.build/examples/"
    rm -f "$place/$1.build"/lib/*/reader*.o
    "$MAKE" -s install BUILD="$place/$1.build" PREFIX="$place/$1" HIREDIS="$1" > /dev/null
    export PKG_CONFIG_PATH="$place/$1/lib/pkgconfig${given_path:+:$given_path}"
}

# run NAME EXPECTED: of the programs in out
run() {
    found=$(LD_LIBRARY_PATH="$place/$kind/lib:$place/out:$given_libraries" timeout 30 "$place/out/$1" 2> "$place/out/$1.text") ||
        fail "$kind, $1: ends with status $?, $found"
    same "$kind, $1 ($(cat "$place/out/$1.text"))" "$found" "$2"
}

# The other hiredis is part of the program (and seen by the libraries), or a library beside it.
# shellcheck disable=SC2086
hosts() {
    flags="-std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror $other $($PKG_CONFIG --cflags keyway)"
    libs=$($PKG_CONFIG --libs keyway)
    archive=$(echo "$libs" | sed "s|-lkeyway|$place/$kind/lib/libkeyway.a|")
    private=$($PKG_CONFIG --static --libs keyway | sed 's/-lkeyway//')
    (
        cd "$here/tests/install"
        $CC $flags -shared -fPIC -o "$place/out/libother.so" other_hiredis.c
        $CC $flags -rdynamic -o "$place/out/in_host_shared" host.c other_hiredis.c $libs
        $CC $flags -rdynamic -o "$place/out/in_host_static" host.c other_hiredis.c $archive $private
        $CC $flags -o "$place/out/beside_shared" host.c -L"$place/out" -lother $libs
        $CC $flags -o "$place/out/beside_static" host.c -L"$place/out" -lother $archive $private
    ) || fail "$kind: a host does not build"
    for name in in_host_shared in_host_static beside_shared beside_static; do
        run "$name" "$1"
    done
}

# Headers of another release: the function is not found by the linker.
# shellcheck disable=SC2046,SC2086
other_headers() {
    cat > "$place/out/hiredis.h" << 'END'
typedef struct redisReply { int type; } redisReply;
END
    cat > "$place/out/door.c" << 'END'
#include <keyway/hiredis.h>
int main(void) { return kw_reply_hiredis(0) != 0; }
END
    $CC -o "$place/out/door_right" "$place/out/door.c" $($PKG_CONFIG --cflags keyway) $hiredis_flags \
        $($PKG_CONFIG --libs keyway) || fail "$kind: the door does not build with the library's headers"
    for version in 0:13 "$((1 - major)):14" 2:0; do
        { echo "#define HIREDIS_MAJOR ${version%:*}"; echo "#define HIREDIS_MINOR ${version#*:}"; } > "$place/out/version.h"
        cat "$place/out/version.h" "$place/out/hiredis.h" > "$place/out/all.h"
        ! $CC -include "$place/out/all.h" -o "$place/out/door_wrong" "$place/out/door.c" \
            $($PKG_CONFIG --cflags keyway) $($PKG_CONFIG --libs keyway) 2> "$place/out/door.text" ||
            fail "$kind: links with the headers of hiredis $version"
        grep -q kw_reply_hiredis_ "$place/out/door.text" || fail "$kind: $(cat "$place/out/door.text")"
    done
}

given_path=${PKG_CONFIG_PATH:-}
given_libraries=${LD_LIBRARY_PATH:-}
hiredis_flags=$($PKG_CONFIG --cflags hiredis)
mkdir -p "$place/out"

# Headers and a shared library of one release, and an archive of another elsewhere, do not go together.
mkdir "$place/alone"
# shellcheck disable=SC2086
$CC -shared -o "$place/alone/libhiredis.so" -x c /dev/null
! CC="$CC" sh pkgconfig/hiredis.sh find "-L$place/alone" -lhiredis > "$place/out/found" ||
    fail "an archive of another folder than the library's: $(cat "$place/out/found")"

kind=static
if make_kind static 2> "$place/out/make.text"; then
    library=$place/static/lib/libkeyway.so
    same "static: names exported that are not keyway's" \
        "$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | grep -cv '^kw_' || true)" 0
    same "static: names imported of hiredis" "$(nm -D --undefined-only "$library" | grep -ciE 'redis|sds' || true)" 0
    same "static: libraries of hiredis" "$(ldd "$library" | grep -c hiredis || true)" 0
    same "static: hiredis' names in libkeyway.a" \
        "$(nm "$place/static/lib/libkeyway.a" | awk '$NF ~ /^(redis|sds|hi_|hiredis)/ && $(NF-1) ~ /[A-SU-Z]/' | wc -l)" 0
    ! grep -q hiredis "$place/static/lib/pkgconfig/keyway.pc" || fail "static: keyway.pc asks for hiredis"
    for words in 'Salvatore Sanfilippo' 'THIS SOFTWARE IS PROVIDED'; do
        grep -q "$words" "$place/static/share/doc/keyway/COPYING.hiredis" ||
            fail "static: the licence of hiredis is not installed"
    done
    hosts value
    other_headers
elif [ "$HIREDIS_KIND" = static ]; then
    cat "$place/out/make.text" >&2
    fail "static: does not build"
else
    echo "hiredis test: no libhiredis.a that can be linked in; HIREDIS=static is not tested" >&2
fi

kind=shared
make_kind shared
[ ! -e "$place/shared/share/doc/keyway/COPYING.hiredis" ] || fail "shared: a licence of what is not inside"
ldd "$place/shared/lib/libkeyway.so" | grep -q hiredis || fail "shared: hiredis is no library that is needed"
grep -q '^Libs.private:.*-lhiredis' "$place/shared/lib/pkgconfig/keyway.pc" || fail "shared: keyway.pc lacks -lhiredis"
hosts KW_ERR_UNSUPPORTED
grep -q HIREDIS=static "$place/out/in_host_shared.text" || fail "shared: $(cat "$place/out/in_host_shared.text")"
other_headers
