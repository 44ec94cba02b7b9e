#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Public headers explain themselves: each opens with what it is, and each function that a program
# may call has a comment of its own directly above, which says which threads may call it.

awk '
FNR == 1 {
    comment = ""
    above = 0
}
FNR == 2 && !/^\/\* keyway: / { complain("does not open with \"keyway: what it is\"") }
/^\/\*/ {
    comment = ""
    within = 1
}
/^\/\* (The same|As is)/ { complain("a comment does not name its subject") }
within {
    line = $0
    if (line != " */") {
        sub(/^ \*/, "", line)
    }
    comment = comment line
    if (/\*\/$/) {
        within = 0
        above = FNR
    }
}
/^KW_API / || /^static inline .*_(attach|detach)\(/ {
    if (above != FNR - 1) {
        complain("no comment directly above")
    } else if (comment !~ /(Any thread|One thread|Loop thread)[^.]*\. *\*\/$/) {
        complain("the comment above does not end with which threads may call it")
    }
}
function complain(what) {
    printf "%s:%d: %s\n", FILENAME, FNR, what > "/dev/stderr"
    status = 1
}
END { exit status }
' include/keyway/*.h include/keyway/adapters/*.h
