#!/bin/sh
# Runs test programs and scripts in order and stops at the first that fails:
#   check.sh [--servers] test...
# A test is a cmocka program, or a script (*.sh) that counts as one test. What a test
# prints is shown when it fails, or with V=1. The last line is "N passed, N failed".
# KEEP_GOING=1 runs the rest as well; TEST_SECONDS limits each test (300).

passed=0
failed=0
log=${BUILD:-build}/check.log
mkdir -p "${BUILD:-build}"

rm -f "${BUILD:-build}/check.count"

finish() {
    echo "$passed passed, $failed failed" | tee "${BUILD:-build}/check.count"
    [ "$failed" -eq 0 ]
    exit
}

trap 'echo; echo "interrupted"; exit 130' INT TERM

if [ "$1" = --servers ]; then
    shift
    sh "$(dirname "$0")/need.sh" || { failed=1; finish; }
fi

# sum WORD: the numbers of cmocka's "[  WORD  ] N test(s)" lines
sum() {
    sed -n "s/^.*\[  $1  \] \([0-9][0-9]*\) test.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

limit=
if command -v timeout > /dev/null 2>&1; then
    limit="timeout ${TEST_SECONDS:-300}"
fi

for test in "$@"; do
    name=${test#"${BUILD:-build}"/}
    name=${name#tests/}
    start=$(date +%s)
    case $test in
    *.sh) run="$limit sh $test" ;;
    *) run="$limit $test" ;;
    esac
    # The words of $run are a command.
    # shellcheck disable=SC2086
    $run > "$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - start))
    good=$(sum PASSED)
    bad=$(sum FAILED)
    skipped=$(sum SKIPPED)
    if [ "$status" -eq 0 ] && [ "$bad" -eq 0 ] && [ "$skipped" -eq 0 ]; then
        [ "$good" -gt 0 ] || good=1
        passed=$((passed + good))
        printf '  ok     %-40s %4s tests  %3s s\n' "$name" "$good" "$seconds"
        [ "${V:-0}" = 0 ] || cat "$log"
        continue
    fi
    bad=$((bad + skipped))
    [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '  FAILED %s\n\n' "$name"
    tail -n 200 "$log"
    echo
    case $status in
    124) echo "$name: no end within ${TEST_SECONDS:-300} s" ;;
    0) echo "$name: a test failed or was skipped" ;;
    *) echo "$name: status $status" ;;
    esac
    [ -n "${KEEP_GOING:-}" ] || finish
done
finish
