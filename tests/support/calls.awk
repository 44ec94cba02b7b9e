# SPDX-License-Identifier: BSD-3-Clause
# Who calls whom, from `nm -A -g` over the objects of the library: lines of "RULE SUBJECT DETAIL" for calls
# that climb to a later room, for files in a circle of calls, and for names that no other file uses, which
# ought to be static unless the library exports them or a test asks for them. A circle of two files that
# is a pair of the list (-v pairs="a.c+b.c ...") is one noun in two files.
#   nm -A -g build/lib/*/*.o | awk -v rooms="base route ..." -v prefix=build/ -f calls.awk

BEGIN {
    rooms_n = split(rooms, names, " ")
    for (i = 1; i <= rooms_n; i++) {
        rank[names[i]] = i
    }
    n = split(pairs, names, " ")
    for (i = 1; i <= n; i++) {
        is_pair[names[i]] = 1
    }
}

# "build/lib/route/map.o:0000000000000000 T kw_map_new", "build/lib/route/map.o:     U free"
{
    match($0, /\.o:/)
    file = substr($0, length(prefix) + 1, RSTART - length(prefix) - 1) ".c"
    name = $NF
    if ($(NF - 1) == "U") {
        uses[++uses_n] = file " " name
    } else {
        home[name] = file
    }
    files[file] = 1
}

function room_of(file, parts)
{
    split(file, parts, "/")
    return parts[2]
}

# Tarjan's strongly connected components, over calls[file] = " file file ...".
function visit(file, others, n, i, other)
{
    number[file] = low[file] = ++visited
    stack[++stack_n] = file
    on_stack[file] = 1
    n = split(calls[file], others, " ")
    for (i = 1; i <= n; i++) {
        other = others[i]
        if (!(other in number)) {
            visit(other)
            low[file] = low[other] < low[file] ? low[other] : low[file]
        } else if (on_stack[other]) {
            low[file] = number[other] < low[file] ? number[other] : low[file]
        }
    }
    if (low[file] == number[file]) {
        close_circle(file)
    }
}

function close_circle(file, members, n, i, with, pair)
{
    do {
        members[++n] = stack[stack_n]
        on_stack[stack[stack_n]] = 0
    } while (stack[stack_n--] != file)
    if (n == 1) {
        return
    }
    pair = members[1] < members[2] ? members[1] "+" members[2] : members[2] "+" members[1]
    if (n == 2 && pair in is_pair) {
        print "pair " pair " one noun"
        return
    }
    with = ""
    for (i = 1; i <= n; i++) {
        with = with " " members[i]
    }
    for (i = 1; i <= n; i++) {
        print "circle " members[i] " one of " n ":" with
    }
}

END {
    for (i = 1; i <= uses_n; i++) {
        split(uses[i], use, " ")
        is_used[use[2]] = 1
        to = home[use[2]]
        if (to == "" || to == use[1] || (use[1] " " to) in seen) {
            continue
        }
        seen[use[1] " " to] = 1
        calls[use[1]] = calls[use[1]] " " to
        if (rank[room_of(to)] > rank[room_of(use[1])]) {
            print "climbing-call " use[1] ">" to " " use[2]
        }
    }
    for (name in home) {
        if (!(name in is_used)) {
            print "lonely " home[name] ":" name " is used there alone: make it static"
        }
    }
    for (file in files) {
        if (!(file in number)) {
            visit(file)
        }
    }
}
