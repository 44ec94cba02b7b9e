#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# TLS where hiredis is without it: a build with OpenSSL of its own, in a folder beside, and the
# tests of TLS against real servers, and of a dial whose TLS has no memory. Says so where what that
# needs is not here. Objects of sources that do not ask whether TLS is there are those of the build
# that is tested.

if [ -n "$HAS_TLS" ]; then
    echo "TLS is in the build that is tested: nothing to do here"
    exit 0
fi
if ! ${PKG_CONFIG:-pkg-config} --exists openssl 2> /dev/null || ! command -v openssl > /dev/null 2>&1; then
    echo "TLS is not tested against servers: that needs libssl-dev and openssl"
    exit 0
fi
build=${BUILD:-build}/tls
log=$build.log
mkdir -p "$build"

# take_over: the objects, and what they depend on, by other names
take_over() {
    "${MAKE:-make}" -s "$build/flags" BUILD="$build" TLS=yes > "$log" 2>&1 || return
    mkdir -p "$build/tests" "$build/examples"
    cp -Rp "${BUILD:-build}/lib" "$build/"
    cp -Rp "${BUILD:-build}/examples/keyway" "$build/examples/"
    cp -Rp "${BUILD:-build}/tests/support" "$build/tests/"
    for source in "$@"; do
        rm -f "$build/${source%.c}.o"
    done
    # Files are words.
    # shellcheck disable=SC2046
    awk -v from="${BUILD:-build}/" -v to="$build/" '
        FNR == 1 {
            close(copy)
            copy = to substr(FILENAME, length(from) + 1)
        }
        {
            print (index($0, from) == 1 ? to substr($0, length(from) + 1) : $0) > copy
        }' $(cd "${BUILD:-build}" && find lib examples/keyway tests/support -name '*.d' | sed "s|^|${BUILD:-build}/|")
    find "$build" -name '*.o' -exec touch {} +
}
asks=$(grep -rl KW_HAS_TLS lib tests/support examples/keyway --include='*.[ch]')
case $asks in
*.h*) ;; # who includes it, asks
*)
    # The sources are words.
    # shellcheck disable=SC2086
    [ -e "$build/flags" ] || take_over $asks
    ;;
esac
if ! "${MAKE:-make}" -j2 "$build/tests/live/test_tls" "$build/tests/fake/test_addresses" \
    BUILD="$build" TLS=yes > "$log" 2>&1; then
    cat "$log"
    exit 1
fi
if grep -n 'warning:' "$log"; then
    exit 1
fi
"$build/tests/fake/test_addresses" && exec "$build/tests/live/test_tls"
