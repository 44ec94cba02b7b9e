#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A command beside busy loops, again and again: loaded.sh TIMES LOOPS COMMAND... The loops end with this script,
# whatever ends it. The last line is the sum of the counts that the command's runs leave in $BUILD/check.count.

times=$1
loops=$2
shift 2
# By the calm clock tests take three times as long, and more.
TEST_SECONDS=${TEST_SECONDS:-1200}
export TEST_SECONDS
count=${BUILD:-build}/check.count
busy=
# A loop looks now and then whether this script is still there: kill -9 would leave it else.
number=0
while [ "$number" -lt "$loops" ]; do
    sh -c 'while kill -0 "$1" 2> /dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done' sh $$ &
    busy="$busy $!"
    number=$((number + 1))
done
# The loops are words.
# shellcheck disable=SC2086
trap 'kill $busy 2> /dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0
failed=0
number=0
while [ "$number" -lt "$times" ]; do
    number=$((number + 1))
    echo "run $number of $times, beside $loops busy loops"
    rm -f "$count"
    "$@" || failed=$((failed + 1))
    words=$(tail -n 1 "$count" 2> /dev/null)
    passed=$((passed + $(echo "$words" | sed -n 's/^\([0-9]*\) passed.*/\1/p' | grep . || echo 0)))
done
[ "$failed" -eq 0 ] || echo "$failed of $times runs failed"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
