#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Lines and branches of the library that the tests have run, by room: coverage.sh OBJECT...
# of a build with --coverage, after its tests.

: "${GCOV:=gcov}"
here=$(dirname "$0")
for object in "$@"; do
    "$GCOV" -b -n "$object" 2> /dev/null
done | awk -v rooms="$(sh "$here/rooms.sh" --list)" '
    /^File / {
        file = $2
        gsub(/\047/, "", file)
        n = split(file, parts, "/")
        room = ""
        if (match(file, /(^|\/)lib\/[a-z]+\/[^\/]*\.c$/)) {
            room = parts[n - 1]
            files[room]++
        }
    }
    # "Lines executed:95.65% of 23": the first line of a file, and once for each object.
    room != "" && /^(Lines executed|Taken at least once):/ {
        split($0, words, /[:% ]+/)
        share = words[length_of(words) - 2]
        count = words[length_of(words)]
        if (/^Lines/) {
            lines[room] += count
            lines_run[room] += count * share / 100
        } else {
            branches[room] += count
            branches_run[room] += count * share / 100
            room = ""
        }
    }
    function length_of(list, k, i) {
        k = 0
        for (i in list) {
            k++
        }
        return k
    }
    function show(name, room) {
        printf("%-10s %6d %9d %9.1f %9d %9.1f\n", name, files[room], lines[room],
            lines[room] ? 100 * lines_run[room] / lines[room] : 0, branches[room],
            branches[room] ? 100 * branches_run[room] / branches[room] : 0)
        files["all"] += files[room]
        lines["all"] += lines[room]
        lines_run["all"] += lines_run[room]
        branches["all"] += branches[room]
        branches_run["all"] += branches_run[room]
    }
    END {
        printf("%-10s %6s %9s %9s %9s %9s\n", "room", "files", "lines", "% run", "branches", "% taken")
        n = split(rooms, names, " ")
        for (i = 1; i <= n; i++) {
            if (files[names[i]]) {
                show(names[i], names[i])
            }
        }
        show("all", "all")
    }'
