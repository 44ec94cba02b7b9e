#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Who calls whom, by the symbols of the objects: no call climbs to a later room, no files call each
# other in a circle, but for pairs that are one noun (house_exceptions.txt), and what one file alone uses is static.

here=$(dirname "$0")
work=$(mktemp -d "${BUILD:-build}/calls.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

pairs=$(sed -n 's/^allowed pair \([^ ]*\).*/\1/p' "${HOUSE_EXCEPTIONS:-$here/house_exceptions.txt}")
# Objects and pairs are words.
# shellcheck disable=SC2086,SC2116
nm -A -g $OBJECTS | awk -v rooms="$(sh "$here/rooms.sh" --list)" -v prefix="$BUILD/" -v pairs="$(echo $pairs)" \
    -f "$here/calls.awk" > "$work/found"
# What the library exports is for its users, also by macros, and some names are there for tests.
{
    grep -v '^#' "$here/../exports.txt"
    find "$here/.." "$here/../../examples" "$here/../../include" -name '*.[ch]' -exec grep -oh '\<kw_[a-z0-9_]*' {} +
} | sort -u > "$work/wanted"
awk 'NR == FNR { is_wanted[$1] = 1; next }
    $1 != "lonely" { print; next }
    { name = $2; sub(/.*:/, "", name) }
    name ~ /^kw_/ && !(name in is_wanted)' "$work/wanted" "$work/found" > "$work/offenders"
sh "$here/exceptions.sh" "climbing-call circle pair lonely" "$work/offenders"
