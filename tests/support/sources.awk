# SPDX-License-Identifier: BSD-3-Clause
# What the sources' measures are, from the layout of .clang-format (a function's braces stand alone at
# the left): lines of "RULE SUBJECT DETAIL" for each that is over a bound.
#   awk -v limit_lines=500 -v limit_function=60 -v limit_parameters=5 -f sources.awk FILE...

function offend(rule, subject, detail)
{
    print rule " " subject " " detail
}

# Parameters of a definition whose text is head: commas outside of inner parentheses.
function parameters_of(head, i, c, depth, n)
{
    n = 0
    depth = 0
    head = substr(head, index(head, "("))
    if (head ~ /^\( *(void)? *\)/) {
        return 0
    }
    for (i = 1; i <= length(head); i++) {
        c = substr(head, i, 1)
        depth += c == "(" ? 1 : c == ")" ? -1 : 0
        n += depth == 1 && c == ","
        if (depth == 0) {
            break
        }
    }
    return n + 1
}

function name_of(head)
{
    sub(/KW_[A-Z_]+\([^)]*\) */, "", head)
    head = substr(head, 1, index(head, "(") - 1)
    sub(/ *$/, "", head)
    sub(/^.*[ *]/, "", head)
    return head
}

function end_file()
{
    if (file != "" && lines > limit_lines) {
        offend("long-file", file, lines " lines")
    }
}

FNR == 1 {
    end_file()
    file = FILENAME
    head = ""
    head_line = 0
    is_opened = 0
}

{
    lines = FNR
}

# The first line that is no licence is the comment that says the file's part.
!is_opened && !/SPDX-License-Identifier/ {
    is_opened = 1
    if ($0 !~ /^\/\*/) {
        offend("cold-start", file, "does not open with a comment")
    }
}

/\/\* (The same|As is)([^a-z]|$)/ {
    offend("riddle", file, "line " FNR " begins a comment with \"The same\" or \"As is\"")
}

# A definition's head: what stands at the left since the last line that ended something.
/^[A-Za-z_]/ && head == "" {
    head_line = FNR
}

/^$/ || /^[#}\/]/ || /;$/ || /^ \*/ {
    if ($0 !~ /^}/ || !in_body) {
        head = ""
    }
}

/^[A-Za-z_]/ || (head != "" && /^ / && !in_body) {
    if ($0 !~ /;$/) {
        head = head $0
    }
}

/^{$/ {
    in_body = 1
    name = name_of(head)
    n = parameters_of(head)
    if (n > limit_parameters) {
        offend("parameters", file ":" name, n)
    }
}

/^}$/ && in_body {
    in_body = 0
    if (FNR - head_line + 1 > limit_function) {
        offend("long-function", file ":" name, FNR - head_line + 1 " lines")
    }
    head = ""
}

END {
    end_file()
}
