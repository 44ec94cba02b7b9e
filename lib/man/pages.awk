# SPDX-License-Identifier: BSD-3-Clause
# A page of the manual from a public header: its opening comment, its types, and each function with
# the comment above it. Variables: name ("stats"), date (as .Dd has it).

# A comment's text, without its marks.
function bare(line)
{
    sub(/^\/\* ?/, "", line)
    sub(/ *\*\/$/, "", line)
    sub(/^ \* ?/, "", line)
    sub(/^ \*$/, "", line)
    return line
}

function escaped(text)
{
    gsub(/\\/, "\\e", text)
    if (text ~ /^[.']/) {
        text = "\\&" text
    }
    return text
}

# A sentence begins a line, and no line is longer than a screen is wide.
function put_text(text,    words, n, i, line)
{
    n = split(text, words, " ")
    line = ""
    for (i = 1; i <= n; i++) {
        if (length(line) + length(words[i]) > 76) {
            print escaped(line)
            line = ""
        }
        line = line (line != "" ? " " : "") words[i]
        if (words[i] ~ /[.?!][)"]?$/ && words[i] !~ /\.\.\.?$/) {
            print escaped(line)
            line = ""
        }
    }
    if (line != "") {
        print escaped(line)
    }
}

# An item of a list, up to its last line; the number of that line.
function put_item(lines, i, n,    text)
{
    text = substr(lines[i], 3)
    while (i < n && lines[i + 1] ~ /^  [^ ]/) {
        i++
        text = text " " substr(lines[i], 3)
    }
    print ".It"
    put_text(text)
    return i
}

# Items, each of which begins with a dash, and the empty lines between them; the number of the last line.
function put_list(lines, i, n)
{
    print ".Bl -bullet"
    i = put_item(lines, i, n)
    while (i < n && lines[i + 1 + (lines[i + 1] == "")] ~ /^- /) {
        i = put_item(lines, i + 1 + (lines[i + 1] == ""), n)
    }
    print ".El"
    return i
}

# An example, which is set in, with the empty lines inside it; the number of its last line.
function put_example(lines, i, n)
{
    print ".Bd -literal -offset indent"
    print escaped(substr(lines[i], 3))
    while (i < n && (lines[i + 1] ~ /^  / || (lines[i + 1] == "" && lines[i + 2] ~ /^  /))) {
        i++
        print escaped(substr(lines[i], 3))
    }
    print ".Ed"
    return i
}

# Paragraphs, lists and examples of a comment.
function put_comment(comment,    lines, n, i, text, has_printed)
{
    n = split(comment, lines, "\n")
    text = ""
    for (i = 1; i <= n; i++) {
        if (lines[i] != "" && lines[i] !~ /^(- |  )/) {
            text = text (text != "" ? " " : "") lines[i]
            continue
        }
        if (text != "") {
            put_paragraph(text, has_printed)
            has_printed = 1
            text = ""
        }
        if (lines[i] ~ /^- /) {
            i = put_list(lines, i, n)
            has_printed = 1
        } else if (lines[i] ~ /^  /) {
            i = put_example(lines, i, n)
            has_printed = 1
        }
    }
    if (text != "") {
        put_paragraph(text, has_printed)
    }
}

function put_paragraph(text, has_printed)
{
    if (has_printed) {
        print ".Pp"
    }
    put_text(text)
}

# A function's declaration as .Ft and .Fo
function put_function(text,    at, head, args, parts, n, i, type, name_of)
{
    gsub(/\n */, " ", text)
    sub(/^KW_API /, "", text)
    sub(/;.*/, "", text)
    sub(/ KW_FORMAT.*/, "", text)
    at = index(text, "(")
    head = substr(text, 1, at - 1)
    args = substr(text, at + 1)
    sub(/\)$/, "", args)
    name_of = head
    sub(/^.*[ *]/, "", name_of)
    type = substr(head, 1, length(head) - length(name_of))
    sub(/ $/, "", type)
    print ".Ft \"" type "\""
    print ".Fo " name_of
    n = split(args, parts, /, */)
    for (i = 1; i <= n; i++) {
        print ".Fa \"" parts[i] "\""
    }
    print ".Fc"
}

function function_name(text)
{
    sub(/\(.*/, "", text)
    sub(/^.*[ *]/, "", text)
    return text
}

# The comment and the declaration that were read last.
function keep()
{
    if (declaration ~ /^KW_API /) {
        functions_n++
        function_comment[functions_n] = comment
        function_text[functions_n] = declaration
    } else if (declaration != "") {
        types_n++
        type_comment[types_n] = comment
        type_text[types_n] = declaration
    }
    declaration = ""
    comment = ""
    is_open = 0
}

NR == 1 { next }
!has_head {
    head = head (head != "" ? "\n" : "") bare($0)
    has_head = /\*\/$/
    next
}
/^#ifndef KEYWAY_/ || /^#define KEYWAY_/ || /^#include/ || /^#if/ || /^#else/ || /^#endif/ || /^extern "C"/ || /^}$/ ||
/clang-format o/ { next }
/^struct [a-z_]*;$/ { next }
is_open {
    declaration = declaration "\n" $0
    if ((kind == "function" && /;$/) || (kind == "braces" && /^}/) || (kind == "macro" && !/\\$/)) {
        keep()
    }
    next
}
in_comment {
    comment = comment "\n" bare($0)
    in_comment = !/\*\/$/
    next
}
/^\/\*/ {
    comment = bare($0)
    in_comment = !/\*\/$/
    next
}
/^$/ {
    comment = ""
    next
}
{
    declaration = $0
    if (/^#define/) {
        kind = "macro"
        is_open = /\\$/
    } else if (/\{$/) {
        kind = "braces"
        is_open = 1
    } else {
        kind = "function"
        is_open = !/;/
    }
    if (!is_open) {
        keep()
    }
}

END {
    title = toupper("keyway_" name)
    what = head
    sub(/\n.*/, "", what)
    sub(/^keyway: /, "", what)
    sub(/\.$/, "", what)
    sub(/^[^\n]*\n?/, "", head)
    sub(/^\n/, "", head)
    print ".\\\" Made from include/keyway/" name ".h."
    print ".Dd " date
    print ".Dt " title " 3"
    print ".Os"
    print ".Sh NAME"
    print ".Nm keyway_" name (functions_n > 0 ? " ," : "")
    for (i = 1; i <= functions_n; i++) {
        print ".Nm " function_name(function_text[i]) (i < functions_n ? " ," : "")
    }
    print ".Nd " what
    print ".Sh SYNOPSIS"
    print ".In keyway/" name ".h"
    for (i = 1; i <= functions_n; i++) {
        put_function(function_text[i])
    }
    print ".Sh DESCRIPTION"
    if (head != "") {
        put_comment(head)
    } else {
        print "See the functions below."
    }
    if (types_n > 0) {
        print ".Ss Types and constants"
    }
    for (i = 1; i <= types_n; i++) {
        if (type_comment[i] != "") {
            put_comment(type_comment[i])
        }
        print ".Bd -literal -offset indent"
        n = split(type_text[i], lines, "\n")
        for (k = 1; k <= n; k++) {
            print escaped(lines[k])
        }
        print ".Ed"
    }
    for (i = 1; i <= functions_n; i++) {
        print ".Ss " function_name(function_text[i])
        put_comment(function_comment[i])
    }
    print ".Sh SEE ALSO"
    print ".Xr keyway 7"
}
