#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The walls of the house:
#   a file includes its own room and earlier ones only;
#   no room has variables that change, prints, exits or reads the environment;
#   base, route, engine and settings call nothing that does input, output, time or threads;
#   no room is more than a quarter of the library.
# Includes are read from the sources, the rest from the objects. --list prints the rooms in order.

rooms='base route engine settings net topology drive cache api'
if [ "$1" = --list ]; then
    echo "$rooms"
    exit
fi
here=$(dirname "$0")
work=$(mktemp -d "${BUILD:-build}/rooms.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# Includes, and sizes: lines of sources, and their share of the library.
awk -v rooms="$rooms" '
    BEGIN {
        n = split(rooms, names, " ")
        for (i = 1; i <= n; i++) {
            rank[names[i]] = i
        }
    }
    FNR == 1 {
        split(FILENAME, parts, "/")
        room = parts[2]
        if (!(room in rank)) {
            print "no-room " FILENAME " " room " is no room of the house"
        }
    }
    {
        lines[room]++
        all++
    }
    /^#include "/ {
        split($2, parts, "\"")
        split(parts[2], path, "/")
        if (parts[2] !~ /\//) {
            print "bare-include " FILENAME " " parts[2] ": include by room"
        } else if (rank[path[1]] > rank[room]) {
            print "climbing-include " FILENAME ">" path[1] " " parts[2]
        }
    }
    END {
        for (i = 1; i <= n; i++) {
            room = names[i]
            if (lines[room] > 0) {
                printf("room %s %d lines, %.1f %% of the library\n", room, lines[room], 100 * lines[room] / all)
            }
            if (lines[room] > all / 4) {
                print "large-room " room " more than a quarter of the library"
            }
        }
    }' lib/*/*.[ch] > "$work/all"
sed -n 's/^room //p' "$work/all"
grep -v '^room ' "$work/all" > "$work/offenders"

# Bytes of sections that can be written when the program runs; relocated constants
# (.data.rel.ro) are not among them.
# Objects are words.
# shellcheck disable=SC2086
size -A $OBJECTS | awk '
    /:$/ {
        file = $1
    }
    # What the processor has is looked up once, and is one byte.
    file ~ /\/crc16_clmul\.o/ && $1 ~ /^\.bss/ && $2 <= 1 {
        next
    }
    $1 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 {
        print "variable " file " " $2 " bytes of variables outside of any object"
    }' >> "$work/offenders"

# calls ROOMS NAMES: no object of the rooms may call a function of these names
calls() {
    # Objects are words.
    # shellcheck disable=SC2086
    nm -A -u $OBJECTS | awk -v rooms=" $1 " -v names="^($2)\$" '{
        file = $1
        sub(/:$/, "", file)
        n = split(file, parts, "/")
        name = $NF
        sub(/^_/, "", name)
        sub(/@.*/, "", name)
        # The option resolver=thread is the word of the host for a thread.
        if (file ~ /\/resolver\.o$/ && name == "pthread_create") {
            next
        }
        if (index(rooms, " " parts[n - 1] " ") && name ~ names) {
            print "forbidden-call " file " " name
        }
    }' >> "$work/offenders"
}
calls "$rooms" \
    'abort|exit|_exit|printf|puts|putchar|fprintf|vfprintf|perror|getenv|secure_getenv|signal|sigaction|pthread_create|rand|srand|random|strtok|setlocale|system|fork'
calls "base route engine settings" \
    'socket|connect|send|recv|read|write|open|close|poll|select|getaddrinfo|time|clock|clock_gettime|gettimeofday|nanosleep|pthread_.*|fopen|fread|fwrite|getpid'
sh "$here/exceptions.sh" "no-room bare-include climbing-include large-room variable forbidden-call" "$work/offenders"
