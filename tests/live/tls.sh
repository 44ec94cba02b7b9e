#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# TLS where hiredis is without it: a build with OpenSSL of its own, in a folder beside, and the
# tests of TLS against real servers. Says so where what that needs is not here.

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
if ! "${MAKE:-make}" -j2 "$build/tests/live/test_tls" BUILD="$build" TLS=yes > "$log" 2>&1; then
    cat "$log"
    exit 1
fi
if grep -n 'warning:' "$log"; then
    exit 1
fi
exec "$build/tests/live/test_tls"
