#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Each example is at most 80 lines, is named in examples/README.md, runs against a cluster, and says what is wrong without
# one. (The program in examples/keyway is one of several sources, with tests of its own.)

status=0
for source in examples/*.c examples/*/*.c; do
    [ -f "$source" ] || continue
    case $source in examples/keyway/*) continue ;; esac
    lines=$(grep -vc SPDX-License-Identifier "$source")
    [ "$lines" -le 80 ] || { echo "$source: $lines lines, more than 80" >&2; status=1; }
    grep -q -F "](${source#examples/})" examples/README.md || {
        echo "$source: examples/README.md does not name it" >&2
        status=1
    }
done
[ "$status" -eq 0 ] || exit 1
programs=
for program in $EXAMPLES; do
    case $program in
    */examples/tour/*) ;; # the quickstart runs them
    *) programs="$programs $program" ;;
    esac
done
# The README's program, in ten lines of its own, with another URI.
readme=$BUILD/examples/readme
awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' README.md > "$readme.c"
[ "$(sed -n '/^{$/,/^}$/p' "$readme.c" | grep -vc '^[{}]$')" -le 11 ] || { echo "README.md: the program has more than eleven lines" >&2; exit 1; }
sed -e 's/(void)$/(int argc, char **argv)/' -e 's/"redis-cluster:[^"]*"/argv[argc - 1]/' "$readme.c" > "$readme.run.c"
# Flags are words.
# shellcheck disable=SC2086
$CC $CPPFLAGS_ALL $CFLAGS_ALL -Werror $LDFLAGS -o "$readme" "$readme.run.c" "$STATIC" $LIBS || exit 1
programs="$programs $readme"
# No server at all: each says what is wrong.
silent=$(for program in $programs; do
    (
        said=$("$program" redis-cluster://127.0.0.1:1 2>&1 < /dev/null)
        [ -n "$said" ] || echo "$program says nothing of a server that is not there"
    ) &
done; wait)
[ -z "$silent" ] || { echo "$silent" >&2; exit 1; }
# The programs are words.
# shellcheck disable=SC2086
exec "$BUILD/tests/support/run_examples" $programs
