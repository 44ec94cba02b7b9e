#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Bytes of stripped programs that are linked with the static library (tests/sizes; _gc: with the linker's
# --gc-sections), and of the shared library, beside their gates and goals. --write: today's, and 1 % more,
# become the gates.

set -e
here=$(dirname "$0")
work=$(mktemp -d "$BUILD/sizes.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

case " $CFLAGS " in
*-fsanitize* | *-O0* | *--coverage*)
    echo "sizes: not compared, built with $CFLAGS"
    exit 0
    ;;
esac
# bytes NAME FILE
bytes() {
    strip -o "$work/stripped" "$2"
    echo "$1 bytes $(wc -c < "$work/stripped")" >> "$work/measured"
}
for program in $SIZES; do
    bytes "$(basename "$program")" "$program"
done
bytes shared "$SHARED"
sh "$here/gates.sh" sizes 1 "$work/measured" "$@"
# Goals: of a program with slots, keys and rings; calls, batches and a loop; copies as well.
for goal in pure:90000 client:330000 copies:400000 shared:650000; do
    awk -v name="${goal%:*}" -v goal="${goal#*:}" '$1 == name {
        printf("%-34s %12d %12d goal%s\n", name, $3, goal, $3 > goal ? ", missed" : "")
    }' "$work/measured"
done
