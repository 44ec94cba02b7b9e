#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs test programs and scripts, those of longest.txt first: two a processor at a time, and more, one by one, while
# processors have nothing to do (most of a test is waiting); and stops at the first that fails:
#   check.sh [--servers] test...
# A test is a cmocka program, or a script (*.sh) that counts as one test. What a test
# prints is shown when it fails, or with V=1. The last line is "N passed, N failed".
# KEEP_GOING=1 runs the rest as well; AGAIN=2 runs what failed up to twice more, and says so;
# TEST_SECONDS limits each test (300, and more where the machine is busy); JOBS=1 runs one at a time, whatever it does; RUN_BY is what runs programs of another machine.

build=${BUILD:-build}
mkdir -p "$build"
rm -f "$build/check.count"
work=$(mktemp -d "$build/check.XXXXXX") || exit 1

finish() {
    wait
    rm -rf "$work"
    echo "$passed passed, $failed failed" | tee "$build/check.count"
    [ "$failed" -eq 0 ]
    exit
}

passed=0
failed=0
running= # number:process:test
interrupt() {
    echo
    echo "interrupted"
    for one in $running; do
        one=${one#*:}
        kill "${one%%:*}" 2> /dev/null
    done
    rm -rf "$work"
    exit 130
}
trap interrupt INT TERM

if [ "$1" = --servers ]; then
    shift
    sh "$(dirname "$0")/need.sh" || { failed=1; finish; }
fi

processors=$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)

# seconds: how long a test may take that begins now; by the calm clock it is slower beside busy programs
seconds() {
    if [ -n "${TEST_SECONDS:-}" ] || [ ! -r /proc/loadavg ]; then
        echo "${TEST_SECONDS:-300}"
    else
        awk -v n="$processors" '{ print int(300 * ($1 > n ? $1 / n : 1)) }' /proc/loadavg
    fi
}

# sum WORD LOG: the numbers of cmocka's "[  WORD  ] N test(s)" lines
sum() {
    sed -n "s/^.*\[  $1  \] \([0-9][0-9]*\) test.*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'
}

# run_test NUMBER TEST: its log, and "status seconds" once it has ended
run_test() {
    start=$(date +%s)
    limit=$(seconds)
    case $2 in
    *.sh) run="sh $2" ;;
    *) run="${RUN_BY:-} $2" ;;
    esac
    if command -v timeout > /dev/null 2>&1; then
        run="timeout $limit $run"
    fi
    # The words of $run are a command.
    # shellcheck disable=SC2086
    $run > "$work/$1.log" 2>&1
    status=$?
    tries=0
    while [ "$status" -ne 0 ] && [ "$tries" -lt "${AGAIN:-0}" ]; do
        tries=$((tries + 1))
        mv "$work/$1.log" "$work/$1.before"
        # shellcheck disable=SC2086
        $run > "$work/$1.log" 2>&1
        status=$?
    done
    echo "$status $(($(date +%s) - start)) $limit" > "$work/$1.ending"
    mv "$work/$1.ending" "$work/$1.end"
}

# How many run at a time: so many always, and so many at the most.
least=${JOBS:-$((2 * processors))}
most=${JOBS:-$((4 * processors))}
[ -n "${JOBS:-}" ] || [ "$least" -le 8 ] || least=8
[ -n "${JOBS:-}" ] || [ "$most" -le 32 ] || most=32

# The longest begin first: what begins last does not keep everybody waiting.
first=
while read -r long; do
    for test in "$@"; do
        case $test in
        */"$long") first="$first $test" ;;
        esac
    done
done << END
$(sed '/^#/d' "$(dirname "$0")/longest.txt")
END
given=$#
for test in "$@"; do
    case "$first " in
    *" $test "*) ;;
    *) set -- "$@" "$test" ;;
    esac
done
shift "$given"
# The words are tests.
# shellcheck disable=SC2086
set -- $first "$@"

# is_idle: whether a quarter of the processors' time was nobody's since it was asked last; never where the system does not tell
idle_before=0
all_before=0
is_idle() {
    [ -r /proc/stat ] || return 1
    read -r _ user nice system idle iowait irq softirq stolen _ < /proc/stat
    all=$((user + nice + system + idle + iowait + irq + softirq + stolen))
    idle_now=$((idle - idle_before))
    all_now=$((all - all_before))
    idle_before=$idle
    all_before=$all
    [ $((4 * idle_now)) -ge "$all_now" ]
}

# may_begin: whether one more may run; of those beyond the least number one each half second
turns=0
running_n=0
may_begin() {
    [ "$running_n" -ge "$least" ] || return 0
    [ "$running_n" -lt "$most" ] && [ "$turns" -ge 5 ] || return 1
    turns=0
    is_idle
}

# show LOG: its end, and what failed before that
show() {
    lines=$(wc -l < "$1")
    [ "$lines" -le 200 ] || head -n $((lines - 200)) "$1" | grep -E '^\[ +(ERROR|LINE|FAILED) +\]|ERROR: ' | head -n 20
    tail -n 200 "$1"
}

# tell NUMBER TEST: how it ended; false where it failed
tell() {
    name=${2#"$build"/}
    name=${name#tests/}
    log=$work/$1.log
    read -r status seconds limit < "$work/$1.end"
    good=$(sum PASSED "$log")
    bad=$(sum FAILED "$log")
    skipped=$(sum SKIPPED "$log")
    if [ "$status" -eq 0 ] && [ "$bad" -eq 0 ] && [ "$skipped" -eq 0 ]; then
        [ "$good" -gt 0 ] || good=1
        passed=$((passed + good))
        printf '  ok     %-40s %4s tests  %3s s\n' "$name" "$good" "$seconds"
        if [ -e "$work/$1.before" ]; then
            echo "         $name failed before, and passed when it was run again:"
            grep -E '^\[ +(ERROR|LINE) +\]|ERROR: ' "$work/$1.before" | head -n 5
            grep -vE '^\[ +(OK|RUN|PASSED) |^\[=+\]' "$work/$1.before" | tail -n 15
        fi
        [ "${V:-0}" = 0 ] || cat "$log"
        return 0
    fi
    bad=$((bad + skipped))
    [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '  FAILED %s\n\n' "$name"
    if [ -e "$work/$1.before" ]; then
        show "$work/$1.before"
        printf '\n%s, run again:\n\n' "$name"
    fi
    show "$log"
    echo
    case $status in
    124) echo "$name: no end within $limit s" ;;
    0) echo "$name: a test failed or was skipped" ;;
    *) echo "$name: status $status" ;;
    esac
    return 1
}

is_idle || : # since now
number=0
while [ $# -gt 0 ] || [ "$running_n" -gt 0 ]; do
    while [ $# -gt 0 ] && may_begin; do
        number=$((number + 1))
        run_test "$number" "$1" &
        running="$running $number:$!:$1"
        running_n=$((running_n + 1))
        shift
    done
    sleep 0.1
    turns=$((turns + 1))
    # As they end.
    left=
    for one in $running; do
        if [ -e "$work/${one%%:*}.end" ]; then
            running_n=$((running_n - 1))
            tell "${one%%:*}" "${one#*:*:}" || [ -n "${KEEP_GOING:-}" ] || finish
        else
            left="$left $one"
        fi
    done
    running=$left
done
finish
