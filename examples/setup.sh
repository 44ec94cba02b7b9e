#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs what is missing: setup.sh [build] [servers] [tests] [sanitizers]
# build: compiler, make, hiredis, xxHash; servers: redis-server and redis-cli, without a
# service; tests: cmocka, a C++ compiler, nutcracker, event loops, OpenSSL;
# sanitizers: clang with what make asan, tsan and fuzz need. Without words: build, servers and tests.
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
        pkg-config --exists sqlite3 2> /dev/null || wants libsqlite3-dev
        # Nor without these, but that TLS is not tested.
        pkg-config --exists openssl 2> /dev/null || wants libssl-dev
        has openssl || wants openssl
        check_static
    fi
}

# What pkg-config --static asks for beside OpenSSL (Debian 13: -lzstd).
check_static() {
    asked=" $(pkg-config --static --libs openssl 2> /dev/null || true) "
    for library in zstd:libzstd-dev z:zlib1g-dev; do
        case $asked in
        *" -l${library%:*} "*) can_link "-l${library%:*}" || wants "${library#*:}" ;;
        esac
    done
}

can_link() {
    echo 'int main(void) { return 0; }' | "${CC:-cc}" -x c - "$@" -o /dev/null 2> /dev/null
}

check_sanitizers() {
    echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
        "${CLANG:-clang}" -x c - -fsanitize=address,undefined,fuzzer -o /dev/null 2> /dev/null ||
        wants "clang libclang-rt-dev"
    # Names the functions in what the sanitizers report.
    has llvm-symbolizer || wants llvm
}

[ $# -gt 0 ] || set -- build servers tests
find_missing() {
    missing=
    for part in "$@"; do
        "check_$part"
    done
}
find_missing "$@"
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
# No package may start a service: nutcracker brings one. A file of an earlier run that was killed is ours as well.
policy=${KW_POLICY_RC_D:-/usr/sbin/policy-rc.d}
mark='keyway: nothing starts while packages are installed'
clean_up() {
    [ -z "$has_policy" ] || $sudo rm -f "$policy"
}
has_policy=
if [ ! -e "$policy" ] || grep -q "$mark" "$policy"; then
    has_policy=yes
    # sh runs no EXIT trap when a signal ends it.
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" | $sudo tee "$policy" > /dev/null
    $sudo chmod 755 "$policy"
fi
install_missing() {
    # The packages are words.
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing > /dev/null
}
{
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    install_missing
} >&2
case $missing in
*nutcracker*) ! has systemctl || $sudo systemctl -q disable nutcracker 2> /dev/null || true ;;
esac
# What has come may ask for more.
find_missing "$@"
[ -z "$missing" ] || install_missing >&2
