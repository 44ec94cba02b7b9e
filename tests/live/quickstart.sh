#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The quickstart's tour does what it says within a minute, and leaves nothing behind:
# after its end, and after an interrupt in the middle.

place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-tour-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
TMPDIR=$place
export TMPDIR

fail() {
    cat "$place/out" 2> /dev/null
    echo "quickstart test: $*" >&2
    exit 1
}

# Servers have their folder on the command line.
left_over() {
    find "$place" -name 'keyway-quickstart-*'
    # The pattern is no process that pgrep can name alone.
    # shellcheck disable=SC2009
    ps -e -o args | grep "$place/keyway-quickstart" | grep -v grep
}

# A clock of tenths, which goes slower beside busy programs, as the tour does.
while echo >> "$place/tenths"; do sleep 0.1; done 2> /dev/null &
clock=$!
sh examples/quickstart.sh --tour-only > "$place/out" 2>&1 || fail "status $?"
tenths=$(wc -l < "$place/tenths")
kill "$clock"
cat "$place/out"
[ "$tenths" -lt 600 ] || fail "took $((tenths / 10)) s"
grep -q 'one slot, one node, one round trip' "$place/out" || fail "no hash tags"
[ "$(grep -c 'now, after' "$place/out")" -eq 2 ] || fail "two slots should have changed hands"
! grep -q "$(printf '\033')" "$place/out" || fail "colour where there is no terminal"
[ -z "$(left_over)" ] || fail "leaves $(left_over)"

# A process that a shell starts in the background ignores INT; TERM is cleaned up the same.
sh examples/quickstart.sh --tour-only > "$place/out" 2>&1 &
tour=$!
tries=0
until grep -q '^2 ' "$place/out"; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "the second tour does not begin"
    sleep 0.1
done
kill -TERM "$tour"
wait "$tour" && fail "status 0 after a signal"
[ -z "$(left_over)" ] || fail "a signal leaves $(left_over)"
exit 0
