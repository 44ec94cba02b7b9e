#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Says what is missing of the servers that tests need, and fails.

status=0
has() {
    command -v "$1" > /dev/null 2>&1
}
server=${KW_TEST_SERVER:-}
if [ -n "$server" ]; then
    has "$server" || { echo "KW_TEST_SERVER=$server cannot be run" >&2; status=1; }
elif ! has redis-server && ! has valkey-server && ! has redis-check-rdb && ! has valkey-check-rdb; then
    echo "no redis-server: install redis-tools (Debian, Ubuntu), redis or valkey (Fedora, macOS)" >&2
    status=1
fi
if ! has redis-cli && ! has valkey-cli; then
    echo "no redis-cli: install redis-tools (Debian, Ubuntu), redis or valkey (Fedora, macOS)" >&2
    status=1
fi
[ "$status" -eq 0 ] || echo "'sh tests/run.sh' installs what is missing and runs the tests" >&2
exit $status
