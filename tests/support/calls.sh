#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Who calls whom, by the symbols of the objects: no call climbs to a later room, and no files call each
# other in a circle, but for pairs that are one noun (house_exceptions.txt).

here=$(dirname "$0")
work=$(mktemp -d "${BUILD:-build}/calls.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

pairs=$(sed -n 's/^allowed pair \([^ ]*\).*/\1/p' "${HOUSE_EXCEPTIONS:-$here/house_exceptions.txt}")
# Objects and pairs are words.
# shellcheck disable=SC2086,SC2116
nm -A -g $OBJECTS | awk -v rooms="$(sh "$here/rooms.sh" --list)" -v prefix="$BUILD/" -v pairs="$(echo $pairs)" \
    -f "$here/calls.awk" > "$work/offenders"
sh "$here/exceptions.sh" "climbing-call circle pair" "$work/offenders"
