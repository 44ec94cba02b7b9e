#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The measures of the sources: a file has at most 500 lines, a function 60, and five parameters (library
# and examples); each source, of tests as well, opens with a comment that says its part, and no comment
# begins with "The same" or "As is", whose subject a reader has to look for.

here=$(dirname "$0")
work=$(mktemp -d "${BUILD:-build}/sources.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

measure() {
    find "$@" -name '*.[ch]' | LC_ALL=C sort | xargs awk -v limit_lines=500 -v limit_function=60 \
        -v limit_parameters=5 -f "$here/sources.awk"
}
measure lib include examples > "$work/offenders"
measure tests | grep -E '^(cold-start|riddle) ' >> "$work/offenders"
sh "$here/exceptions.sh" "long-file long-function parameters cold-start riddle" "$work/offenders"
