#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the library for other machines and C libraries, with warnings as errors, and runs tests there:
#   ports.sh [i386] [arm64] [musl] [kqueue]
# i386:   unit, scene and fake tests, by this machine's own processor
# arm64:  unit and scene tests, and those of threads on fakes, by qemu-aarch64-static
# musl:   unit and scene tests, by musl-gcc, with hiredis, xxHash and cmocka compiled for it
# kqueue: the tests of the event loop and of subscribers, on a kqueue made of epoll (tests/install/kqueue)
# Libraries of the machine come from Debian's mirror (DEBIAN_MIRROR, of the release that runs here) into
# build/ports, nothing of them is installed. Compilers and qemu must be here: what is missing is named.
# A port that cannot be tried fails. PORT_TESTS, a list of programs such as unit/test_ring, runs those alone;
# CCACHE=ccache compiles by it.

set -e
: "${BUILD:=build}" "${MAKE:=make}" "${PORT_JOBS:=2}"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
place=$(pwd)/$BUILD/ports
# psabi: notes that structs with 64-bit atomics are laid out as gcc 11 and later do on i386.
warnings='-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror -Wno-psabi'
mkdir -p "$place"

fail() {
    echo "ports test: $*" >&2
    exit 1
}

# needs COMMAND PACKAGE...: the packages have the command
needs() {
    command -v "$1" > /dev/null 2>&1 || {
        shift
        fail "not here: apt-get install $*"
    }
}

# apt ARCH WORD...: apt-get for packages of that machine, with lists of its own; needs no root
apt() {
    arch=$1
    shift
    # shellcheck disable=SC1091
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    state=$place/$arch/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : > "$state/status"
    for kind in deb deb-src; do
        echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main"
    done > "$state/sources.list"
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User= \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State="$state" -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state/cache" "$@"
}

# packages ARCH PACKAGE...: unpacks them and what they need in build/ports/ARCH/root; the C library is the compiler's
packages() {
    arch=$1
    shift
    root=$place/$arch/root
    [ ! -e "$root/done" ] || return 0
    rm -rf "${place:?}/$arch"
    mkdir -p "$root"
    apt "$arch" update
    apt "$arch" install -y --no-install-recommends --download-only "$@"
    for deb in "$place/$arch"/apt/cache/archives/*.deb; do
        dpkg -x "$deb" "$root"
    done
    : > "$root/done"
}

# sources PACKAGE...: the sources of Debian's packages, in build/ports/sources/PACKAGE
sources() {
    needs dpkg-source dpkg-dev
    for package in "$@"; do
        [ ! -d "$place/sources/$package" ] || continue
        [ -e "$place/sources/apt/sources.list" ] || apt sources update
        (cd "$place/sources" && apt sources source "$package")
        mv "$place/sources/$package"-[0-9]*/ "$place/sources/$package"
    done
}

# build NAME WORD...: the library, and the programs of tests that go with it; words are settings of make
build() {
    name=$1
    shift
    folders=$1
    shift
    tests=${PORT_TESTS:-}
    if [ -z "$tests" ]; then
        for folder in $folders; do
            case $folder in
            */*) tests="$tests $folder" ;;
            *) for source in tests/"$folder"/test_*.c; do
                source=${source#tests/}
                tests="$tests ${source%.c}"
            done ;;
            esac
        done
    fi
    programs=
    for test in $tests; do
        programs="$programs $BUILD/$name/tests/$test"
    done
    echo "== $name"
    # Programs are words.
    # shellcheck disable=SC2086
    env -u MAKEFLAGS -u CC -u CFLAGS -u CPPFLAGS -u LDFLAGS -u BUILD "$MAKE" -k -j"$PORT_JOBS" BUILD="$BUILD/$name" \
        WARNINGS="$warnings" CFLAGS="${PORT_CFLAGS:--O2}" "$@" all $programs
}

# The programs that were built, by those that tests/support/check.sh counts.
run() {
    # shellcheck disable=SC2086
    env BUILD="$BUILD/$name" KEEP_GOING=1 sh tests/support/check.sh $programs || fail "$name"
}

try_i386() {
    needs i686-linux-gnu-gcc gcc-i686-linux-gnu libc6-dev-i386-cross
    cross=/usr/i686-linux-gnu/lib
    try_cross i386 i386-linux-gnu i686-linux-gnu "unit scene fake" \
        "-Wl,--dynamic-linker=$cross/ld-linux.so.2 -Wl,-rpath=$cross"
    run
}

try_arm64() {
    needs aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    needs qemu-aarch64-static qemu-user-static
    # Threads that wait for each other, share connections and handles, and fork.
    try_cross arm64 aarch64-linux-gnu aarch64-linux-gnu "unit scene fake/test_crowd fake/test_lane fake/test_lanes \
        fake/test_shared fake/test_waits" ""
    RUN_BY="qemu-aarch64-static -L /usr/aarch64-linux-gnu" TEST_SECONDS="${TEST_SECONDS:-1200}" run
}

# try_cross ARCH LIBDIR COMPILER FOLDERS FLAGS: by one of Debian's compilers for another machine
try_cross() {
    packages "$1" libhiredis-dev libxxhash-dev libcmocka-dev libssl-dev
    lib=$root/usr/lib/$2
    printf '#!/bin/sh\nexport PKG_CONFIG_SYSROOT_DIR=%s PKG_CONFIG_LIBDIR=%s\nexec pkg-config "$@"\n' \
        "$root" "$lib/pkgconfig" > "$place/$1/pkg-config"
    chmod 755 "$place/$1/pkg-config"
    build "$1" "$4" CC="${CCACHE:+$CCACHE }$3-gcc" AR="$3-ar" OBJCOPY="$3-objcopy" PKG_CONFIG="$place/$1/pkg-config" TLS=yes \
        CPPFLAGS="-isystem $root/usr/include -isystem $root/usr/include/$2" LDFLAGS="-L$lib -Wl,-rpath=$lib $5"
}

try_musl() {
    needs musl-gcc musl-tools
    sources hiredis xxhash cmocka
    root=$place/musl
    [ -e "$root/done" ] || make_for_musl
    build musl "unit scene" CC="${CCACHE:+$CCACHE }musl-gcc" PKG_CONFIG="$root/pkg-config" TLS=no \
        CPPFLAGS="-isystem $root/include" LDFLAGS="-L$root/lib"
    run
}

# hiredis, xxHash and cmocka by musl-gcc, as static libraries.
make_for_musl() {
    rm -rf "$root"
    mkdir -p "$root/include/hiredis" "$root/lib" "$root/objects"
    cp "$place/sources/hiredis"/*.h "$root/include/hiredis/"
    cp "$place/sources/xxhash"/*.h "$place/sources/cmocka/include"/cmocka*.h "$root/include/"
    for library in hiredis:"alloc async hiredis net read sds sockcompat" xxhash:xxhash cmocka:src/cmocka; do
        objects=
        for source in ${library#*:}; do
            file=$place/sources/${library%%:*}/$source.c
            [ -e "$file" ] || continue
            object=$root/objects/$(basename "$source").o
            musl-gcc -O2 -fPIC -w -std=gnu11 -DHAVE_SIGNAL_H -DHAVE_STDINT_H -I"$(dirname "$file")" -I"$root/include" \
                -I"$place/sources/${library%%:*}" -c -o "$object" "$file"
            objects="$objects $object"
        done
        # Objects are words.
        # shellcheck disable=SC2086
        ar rcs "$root/lib/lib${library%%:*}.a" $objects
    done
    printf '#!/bin/sh\nset -e\ncase "$*" in\n*hiredis_ssl* | *openssl* | *lib[eu]v* | *glib*) exit 1 ;;\n' > "$root/pkg-config"
    printf '*--cflags*) echo "-I%s/include/hiredis" ;;\n*--libs*) echo "-L%s/lib -lhiredis" ;;\nesac\n' \
        "$root" "$root" >> "$root/pkg-config"
    chmod 755 "$root/pkg-config"
    : > "$root/done"
}

try_kqueue() {
    object=$place/kqueue.o
    # Compilers are words.
    # shellcheck disable=SC2086
    ${CC:-cc} -std=gnu11 -O2 -fPIC $warnings -Itests/install/kqueue -c -o "$object" tests/install/kqueue/kqueue.c
    # Those that have an event loop, or a subscriber with a callback.
    build kqueue "fake/test_cancel fake/test_drain fake/test_loop fake/test_loop_guest fake/test_shared \
        fake/test_scripts fake/test_subscriber fake/test_warm" \
        CC="${CC:-cc}" CPPFLAGS="-DKW_HAS_KQUEUE -isystem tests/install/kqueue" LDFLAGS="-Wl,--wrap=close $object"
    run
}

main() {
    [ $# -gt 0 ] || set -- i386 arm64 musl kqueue
    for port in "$@"; do
        case $port in
        i386 | arm64 | musl | kqueue) "try_$port" ;;
        *) fail "no port $port" ;;
        esac
    done
}

main "$@"
