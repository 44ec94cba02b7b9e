#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Offenders against the rules of the house beside house_exceptions.txt: exceptions.sh "RULE..." FILE
# FILE holds lines of "RULE SUBJECT DETAIL", one for each offender. Fails for one that is not
# excepted, and for an exception that is not needed any more: the list can only shrink.

list=${HOUSE_EXCEPTIONS:-$(dirname "$0")/house_exceptions.txt}
sort -u "$2" | awk -v rules=" $1 " -v list="$list" '
    # So many times at most.
    BEGIN {
        most["parameters"] = 5
        most["pair"] = 3
        most["long-file"] = 5
        while ((getline line < list) > 0) {
            split(line, words, " ")
            if (line !~ /^allowed / || !index(rules, " " words[2] " ")) {
                continue
            }
            excepted[words[2] " " words[3]] = 1
            if (++n[words[2]] > most[words[2]]) {
                print list ": more than " (most[words[2]] + 0) " are allowed of " words[2]
                bad = 1
            }
        }
    }
    {
        key = $1 " " $2
        if (!(key in excepted)) {
            print $0
            bad = 1
        } else if ($1 == "parameters" && $3 > 6) {
            print $0 ": more than six are never allowed"
            bad = 1
        }
        needed[key] = 1
    }
    END {
        for (key in excepted) {
            if (!(key in needed)) {
                print "\"allowed " key "\" is not needed any more: remove it from " list
                bad = 1
            }
        }
        exit bad
    }' >&2
