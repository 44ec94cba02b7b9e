#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The sources have the layout of .clang-format: format.sh [FILE...], all without. Each version of
# clang-format has a mind of its own: `make check` heeds that of Debian 12 only, LINT_ANY=1
# (make format-check) whatever is here.

: "${CLANG_FORMAT:=clang-format}"
found=$("$CLANG_FORMAT" --version 2> /dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p' | head -n 1)
if [ "$found" != 14 ] && [ -z "${LINT_ANY:-}" ]; then
    echo "not looked at: $CLANG_FORMAT is ${found:-not installed}, and not version 14"
    exit 0
fi
[ -n "$found" ] || { echo "$CLANG_FORMAT is not installed" >&2; exit 1; }
[ $# -gt 0 ] || set -- include/*.h include/keyway/*.h include/keyway/adapters/*.h lib/*/*.[ch] tests/*/*.[ch] \
    examples/*.c examples/*/*.[ch]
# What was right a while ago, and has not changed since, is not looked at again.
stamp=${BUILD:-build}/format.stamp
[ "$stamp" -nt .clang-format ] || rm -f "$stamp"
: > "$stamp.new"
if [ -e "$stamp" ]; then
    find "$@" -newer "$stamp"
else
    printf '%s\n' "$@"
fi | xargs -P 2 -n 16 "$CLANG_FORMAT" --dry-run --Werror || exit 1
mv "$stamp.new" "$stamp"
