#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes section 3 of the manual in a folder: a page for each public header, keyway_stats.3, and for each of
# its functions a name of that page, kw_client_stats.3. The headers are the source. --list: names of the
# files, one a line.

set -e
here=$(dirname "$0")
functions() {
    sed -n 's/^KW_API [^(]*[ *]\(kw_[a-z0-9_]*\)(.*/\1/p' "$1"
}
if [ "$1" = --list ]; then
    for header in include/keyway/*.h; do
        echo "keyway_$(basename "$header" .h).3"
        functions "$header" | sed 's/$/.3/'
    done
    exit
fi
# As of the page that is written by hand.
date=$(sed -n 's/^\.Dd //p' "$here/keyway.7")
mkdir -p "$1"
for header in include/keyway/*.h; do
    name=$(basename "$header" .h)
    awk -v name="$name" -v date="$date" -f "$here/pages.awk" "$header" > "$1/keyway_$name.3"
    for function in $(functions "$header"); do
        echo ".so man3/keyway_$name.3" > "$1/$function.3"
    done
done
