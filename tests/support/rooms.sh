#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The walls of the house:
#   a file includes its own room and earlier ones only, base < route < engine < settings < net < topology < drive < api;
#   no room has variables that change, prints, exits or reads the environment;
#   base, route, engine and settings call nothing that does input, output, time or threads.
# Includes are read from the sources, the rest from the objects.

status=0
fail() {
    echo "$*" >&2
    status=1
}

rank() {
    case $1 in
    base) echo 1 ;;
    route) echo 2 ;;
    engine) echo 3 ;;
    settings) echo 4 ;;
    net) echo 5 ;;
    topology) echo 6 ;;
    drive) echo 7 ;;
    cache) echo 8 ;;
    api) echo 9 ;;
    *) echo 99 ;;
    esac
}

for file in lib/*/*.[ch]; do
    room=${file#lib/}
    room=${room%%/*}
    [ "$(rank "$room")" -lt 99 ] || fail "$file: no room of the house"
    # Rooms are words.
    # shellcheck disable=SC2013
    for other in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$file"); do
        [ "$(rank "$other")" -le "$(rank "$room")" ] || fail "$file includes from $other"
    done
    grep -n '^#include "[^/]*"' "$file" && fail "$file: include by room"
done

# Bytes of sections that can be written when the program runs; relocated constants
# (.data.rel.ro) are not among them.
for object in "$BUILD"/lib/*/*.o; do
    bytes=$(size -A "$object" | awk '$1 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ &&
        $1 !~ /^\.data\.rel\.ro/ { n += $2 } END { print n + 0 }')
    [ "$bytes" -eq 0 ] || fail "$object: $bytes bytes of variables outside of any object"
done

# calls ROOMS NAMES: no object of the rooms may call a function of these names
calls() {
    for room in $1; do
        for object in "$BUILD"/lib/"$room"/*.o; do
            [ -f "$object" ] || continue
            found=$(nm -u "$object" | awk '{ print $2 }' | sed 's/^_//; s/@.*//' | grep -E -x "$2")
            # The option resolver=thread is the host's word for a thread.
            case $object in */net/resolver.o) found=$(echo "$found" | grep -v -x pthread_create) ;; esac
            [ -z "$found" ] || fail "$object calls $(echo "$found" | tr '\n' ' ')"
        done
    done
}
calls "base route engine settings net topology drive api" \
    'abort|exit|_exit|printf|puts|putchar|fprintf|vfprintf|perror|getenv|secure_getenv|signal|sigaction|pthread_create|rand|srand|random|strtok|setlocale|system|fork'
calls "base route engine settings" \
    'socket|connect|send|recv|read|write|open|close|poll|select|getaddrinfo|time|clock|clock_gettime|gettimeofday|nanosleep|pthread_.*|fopen|fread|fwrite|getpid'
exit $status
