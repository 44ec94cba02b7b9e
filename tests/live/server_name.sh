#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# KW_TEST_SERVER may be a name: it is looked for in PATH, by the check of what is here and by the tests.

set -e
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-name-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
server=${KW_TEST_SERVER:-}
for name in redis-server valkey-server redis-check-rdb valkey-check-rdb; do
    [ -n "$server" ] || server=$(command -v "$name" || true)
done
case $server in
*/*) ;;
*) server=$(command -v "$server") ;;
esac
ln -s "$server" "$place/some-server"
PATH=$place:$PATH
KW_TEST_SERVER=some-server
export PATH KW_TEST_SERVER
sh tests/support/need.sh
"${BUILD:-build}/tests/live/test_single" > "$place/log" 2>&1 || { cat "$place/log"; exit 1; }
