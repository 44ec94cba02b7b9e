#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Bytes that are loaded of programs that are linked with the static library (tests/sizes; _gc: with the
# linker's --gc-sections), and of the shared library, beside their gates; and bytes of the stripped files,
# which come in whole pages, beside the goals. --write: today's, and 1 % more, become the gates.

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
    size "$work/stripped" | awk -v name="$1" 'NR == 2 { print name " bytes " $1 + $2 }' >> "$work/measured"
    echo "$1 $(wc -c < "$work/stripped")" >> "$work/files"
}
for program in $SIZES; do
    bytes "$(basename "$program")" "$program"
done
bytes shared "$SHARED"
sh "$here/gates.sh" sizes 1 "$work/measured" "$@"
# Goals: of a program with slots, keys and rings; calls, batches and a loop; copies as well.
for goal in slot:90000 pure:90000 pure_gc:90000 client:330000 client_gc:330000 copies:400000 copies_gc:400000 \
    shared:650000; do
    awk -v name="${goal%:*}" -v goal="${goal#*:}" '$1 == name {
        printf("%-34s %12d %12d goal%s\n", name " file", $2, goal, $2 > goal ? ", missed" : "")
    }' "$work/files"
done
