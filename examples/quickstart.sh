#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# From nothing to a Redis Cluster that changes under a client's feet, in a minute:
#   sh examples/quickstart.sh
# Installs what is missing, builds keyway, starts three primaries and three replicas on
# free loopback ports in a temporary folder, shows what keyway does with them, and ends and
# removes these again; the packages and build/ stay. No system service and no port 6379 is touched.
# --tour-only: everything is installed and built already. --build-only: ends when it is.

set -e
cd "$(dirname "$0")/.."

place=
pids=
make=${MAKE:-make}

clean_up() {
    trap '' INT TERM HUP
    for pid in $pids; do
        kill -9 "$pid" 2> /dev/null || true
    done
    for pid in $pids; do
        wait "$pid" 2> /dev/null || true
    done
    [ -z "$place" ] || rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

bold=
faint=
plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$(printf '\033[1m')
    faint=$(printf '\033[2m')
    plain=$(printf '\033[0m')
fi
if [ -z "$bold" ]; then
    NO_COLOR=1
    export NO_COLOR
fi

title() {
    printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}
say() {
    printf '     %s%s%s\n' "$faint" "$*" "$plain"
}
fail() {
    echo "quickstart: $*" >&2
    exit 1
}
has() {
    command -v "$1" > /dev/null 2>&1
}

# Build

# One build of a tree at a time: a second quickstart waits for the first one's, and for what is left of one that was
# killed, as the system holds the lock for as long as any process of it lives. Where there is no flock nobody waits.
take_lock() {
    has flock || return 0
    exec 9> build/building.lock
    if ! flock -n 9; then
        say "another quickstart builds here: waiting for it"
        flock 9
    fi
}

# Says how far the build is: in one line of a terminal, else now and then.
show_build() {
    seconds=0
    all=$(find lib examples/tour -name '*.c' | wc -l)
    while kill -0 "$1" 2> /dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        done=$(grep -c '^  CC ' build/quickstart.log || true)
        if [ -t 1 ]; then
            printf '\r     %sbuilding: %d of %d files%s' "$faint" "$done" "$all" "$plain"
        elif [ $((seconds % 10)) -eq 0 ]; then
            say "building: $((done)) of $((all)) files"
        fi
    done
    [ ! -t 1 ] || printf '\r%40s\r' ''
}

build() {
    "$make" -s -j2 all tour > build/quickstart.log 2>&1 &
    pid=$!
    pids="$pids $pid"
    show_build $pid
    wait $pid || {
        cat build/quickstart.log
        fail "the build failed"
    }
    pids=
}

if [ "${1:-}" != --tour-only ]; then
    title "keyway"
    mkdir -p build
    take_lock
    say "looking for what is missing, and installing it"
    sh examples/setup.sh build servers 9>&-
    say "building the library and the tour, about a minute the first time"
    build
    exec 9>&-
fi
[ "${1:-}" != --build-only ] || exit 0

# Cluster

place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-quickstart-XXXXXX")
cli=redis-cli
has redis-cli || cli=valkey-cli
server=${KW_TEST_SERVER:-}
for name in redis-server valkey-server; do
    [ -n "$server" ] || ! has $name || server=$name
done
for name in redis-check-rdb valkey-check-rdb; do
    # The same program: it looks at the name it is called by.
    if [ -z "$server" ] && has $name; then
        ln -s "$(command -v $name)" "$place/redis-server"
        server=$place/redis-server
    fi
done
[ -n "$server" ] || fail "no redis-server"

ask() {
    at=$1
    shift
    "$cli" -p "$at" "$@" 2> /dev/null
}

# Starts a server at the next free port and sets port and pid. A server that finds its
# port or bus port taken ends at once.
port=$((12000 + $$ % 9000))
start_server() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        port=$((port + 1))
        mkdir "$place/$port"
        "$server" --port "$port" --bind 127.0.0.1 --dir "$place/$port" --logfile log --daemonize no \
            --save '' --appendonly no --cluster-enabled yes --cluster-node-timeout 1500 \
            --repl-diskless-sync-delay 0 > /dev/null 2>&1 &
        pid=$!
        pids="$pids $pid"
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            kill -0 "$pid" 2> /dev/null || break
            if ask "$port" info server | tr -d '\r' | grep -q "^process_id:$pid\$"; then
                return 0
            fi
            sleep 0.1
        done
        kill -9 "$pid" 2> /dev/null || true
    done
    fail "no free port for a server"
}

title "1  A cluster"
ports=
addresses=
for _ in 1 2 3 4 5 6; do
    start_server
    ports="$ports $port"
    addresses="$addresses 127.0.0.1:$port"
    echo "$pid" > "$place/$port/pid"
done
# The addresses are words.
# shellcheck disable=SC2086
"$cli" --cluster create $addresses --cluster-replicas 1 --cluster-yes > "$place/create.log" 2>&1 || {
    cat "$place/create.log"
    fail "no cluster"
}
is_ready() {
    for at in $ports; do
        ask "$at" cluster info | grep -q 'cluster_state:ok' || return 1
        [ "$(ask "$at" cluster nodes | grep -c ' connected [0-9]')" -eq 3 ] || return 1
        ! ask "$at" info replication | grep -q 'master_link_status:down' || return 1
    done
}
tries=0
until is_ready; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || fail "the cluster is not ready"
    sleep 0.1
done
# shellcheck disable=SC2086
set -- $ports
uri="redis-cluster://127.0.0.1:$1,127.0.0.1:$2,127.0.0.1:$3?timeout=15s"
say "three primaries and three replicas at$addresses"
say "in $place"

title "2  The slot map: 16384 slots, three owners"
build/examples/tour/slot_map "$uri"

title "3  Hash tags: what is between { and } decides the slot"
build/examples/tour/hash_tags "$uri"

# port_of_owner SLOT: by the word of the owner itself
port_of_owner() {
    for at in $ports; do
        [ "$(ask "$at" cluster nodes | awk -v slot="$1" '$3 ~ /myself,master/ {
            for (i = 9; i <= NF; i++) { n = split($i, r, "-"); if ($i !~ /^\[/ && r[1] <= slot + 0 && r[n] >= slot + 0) print "yes" } }')" = yes ] && {
            echo "$at"
            return
        }
    done
}

# move_slot SLOT FROM TO: as redis-cli --cluster reshard does it
move_slot() {
    from_id=$(ask "$2" cluster myid)
    to_id=$(ask "$3" cluster myid)
    ask "$3" cluster setslot "$1" importing "$from_id"
    ask "$2" cluster setslot "$1" migrating "$to_id"
    sleep 0.3
    while key=$(ask "$2" cluster getkeysinslot "$1" 1) && [ -n "$key" ]; do
        ask "$2" migrate 127.0.0.1 "$3" "$key" 0 5000
    done
    sleep 0.3
    ask "$3" cluster setslot "$1" node "$to_id"
    ask "$2" cluster setslot "$1" node "$to_id"
}

# watch KEY: the client writes in the background
watch() {
    build/examples/tour/watch "$uri" "$1" &
    watcher=$!
    pids="$pids $watcher"
    sleep 1
}

title "4  A slot moves to another node while the client writes"
slot=$(ask "$1" cluster keyslot 'counter:{moving}')
from=$(port_of_owner "$slot")
to=$1
[ "$from" != "$to" ] || to=$2
watch 'counter:{moving}'
say "slot $slot: from 127.0.0.1:$from to 127.0.0.1:$to"
move_slot "$slot" "$from" "$to" > "$place/move.log"
wait "$watcher" || fail "the client did not follow the slot"

title "5  A primary is killed while the client writes"
slot=$(ask "$1" cluster keyslot 'counter:{failing}')
from=$(port_of_owner "$slot")
watch 'counter:{failing}'
say "kill -9 of 127.0.0.1:$from; its replica takes over when the cluster has noticed"
kill -9 "$(cat "$place/$from/pid")"
wait "$watcher" || fail "the writes did not go on"

title "Done"
say "everything is stopped and removed; examples/ has the programs, README.md the rest"
