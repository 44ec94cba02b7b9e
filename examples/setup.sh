#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs what is missing: setup.sh [build] [servers] [tests]
# build: compiler, make, hiredis, xxHash; servers: redis-server and redis-cli, without a
# service; tests: cmocka, a C++ compiler, nutcracker, event loops, OpenSSL. Without words: all of them.
# Debian and Ubuntu; asks for sudo only if something is missing. Elsewhere it names the
# packages and stops.

set -e

has() {
    command -v "$1" > /dev/null 2>&1
}

has_header() {
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$1" |
        "${CC:-cc}" -fsyntax-only -x c - > /dev/null 2>&1
}

# Debian's redis-tools has the server under the name redis-check-rdb, and no service.
has_server() {
    has "${KW_TEST_SERVER:-redis-server}" || has valkey-server || has redis-check-rdb || has valkey-check-rdb
}

missing=
wants() {
    missing="$missing $1"
}

check_build() {
    has "${CC:-cc}" || wants gcc
    has make || wants make
    has pkg-config || wants pkg-config
    { has pkg-config && pkg-config --exists hiredis; } || wants libhiredis-dev
    has_header xxhash.h || wants libxxhash-dev
    # A compiler without the C library's headers is no compiler.
    has_header stdio.h || wants libc6-dev
}

check_servers() {
    if ! has_server || { ! has redis-cli && ! has valkey-cli; }; then
        wants redis-tools
    fi
}

check_tests() {
    has "${CXX:-c++}" || wants g++
    has_header cmocka.h || wants libcmocka-dev
    # The twemproxy placements are checked against it.
    has nutcracker || has /usr/sbin/nutcracker || wants nutcracker
    # Without an event loop its adapter is not tested, and nothing else is missing.
    if has apt-get; then
        has_header event2/event.h || wants libevent-dev
        has_header uv.h || wants libuv1-dev
        has_header ev.h || wants libev-dev
        pkg-config --exists glib-2.0 2> /dev/null || wants libglib2.0-dev
        # Nor without these, but that TLS is not tested.
        pkg-config --exists openssl 2> /dev/null || wants libssl-dev
        has openssl || wants openssl
    fi
}

[ $# -gt 0 ] || set -- build servers tests
for part in "$@"; do
    "check_$part"
done
[ -n "$missing" ] || exit 0

if ! has apt-get; then
    cat >&2 << 'END'
keyway needs packages that this script installs on Debian and Ubuntu only.
Fedora:           sudo dnf install gcc gcc-c++ make pkgconf-pkg-config hiredis-devel libcmocka-devel xxhash-devel valkey
macOS (Homebrew): brew install make pkg-config hiredis cmocka xxhash redis
END
    exit 1
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
    has sudo || { echo "missing packages:$missing; install them as root" >&2; exit 1; }
    sudo=sudo
    echo "installing$missing with sudo" >&2
fi
# No package may start a service: nutcracker brings one.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" > /dev/null
    $sudo chmod 755 "$policy"
fi
# The packages are words.
# shellcheck disable=SC2086
{
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing > /dev/null
} >&2
case $missing in
*nutcracker*) ! has systemctl || $sudo systemctl -q disable nutcracker 2> /dev/null || true ;;
esac
