#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What clang-tidy finds (.clang-tidy says what it looks for). Each version finds a little more or less:
# `make check` heeds that of Debian 12 only, LINT_ANY=1 (make lint) whatever is here.

: "${CLANG_TIDY:=clang-tidy}"
found=$("$CLANG_TIDY" --version 2> /dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p' | head -n 1)
if [ "$found" != 14 ] && [ -z "${LINT_ANY:-}" ]; then
    echo "not looked for: $CLANG_TIDY is ${found:-not installed}, and not version 14"
    exit 0
fi
[ -n "$found" ] || { echo "$CLANG_TIDY is not installed" >&2; exit 1; }

# Where nothing has changed since all was right, nothing is looked for again.
stamp=${BUILD:-build}/lint.stamp
if [ -e "$stamp" ] && [ -z "$(find .clang-tidy lib include tests examples -newer "$stamp" -name '*[.-][cht]*' | head -n 1)" ]; then
    exit 0
fi
: > "$stamp.new"

# lint FLAGS FILE...: with the flags of the compiler
lint() {
    flags=$1
    shift
    # Each shell takes the tool, then files; flags are words.
    # shellcheck disable=SC2016
    printf '%s\n' "$@" | LINT_FLAGS="-std=c11 $flags" xargs -P 2 -n 8 \
        sh -c '"$CLANG_TIDY" --quiet "$@" -- $LINT_FLAGS 2> /dev/null' sh
}
export CLANG_TIDY
status=0
# Left out: what includes an event loop, or SQLite, that may not be here, and test_resolver.c and test_memory.c, which define
# functions of the C library, whose headers have names of their own for what is given.
lint "$CPPFLAGS_ALL" lib/*/*.c || status=1
# Files are words.
# shellcheck disable=SC2046
lint "$CPPFLAGS_ALL -Itests" $(printf '%s\n' tests/*/*.c | grep -v -e bench_loop.c -e install/ -e test_resolver.c -e test_memory.c) || status=1
case "$EXAMPLES" in
*/cache_sqlite*) missing=none ;;
*) missing=cache_sqlite ;;
esac
# shellcheck disable=SC2046
lint "-Iinclude -D_POSIX_C_SOURCE=200809L" \
    $(printf '%s\n' examples/*.c examples/*/*.c | grep -v -e examples/loop/ -e "$missing") $(for loop in $LOOPS; do
        [ "$loop" = glib ] || echo "examples/loop/$loop.c"
    done) || status=1
[ "$status" -ne 0 ] || mv "$stamp.new" "$stamp"
exit $status
