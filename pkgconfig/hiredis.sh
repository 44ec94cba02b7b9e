#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A copy of hiredis' reader inside keyway, under names that no program has: a host with another
# hiredis keeps its own, and neither sees the other's functions. ELF only; needs objcopy.
#   hiredis.sh find FLAGS...       prints the libhiredis.a that can be linked in; else fails
#   hiredis.sh object OUT ARCHIVE  writes the object
#   hiredis.sh licence FLAGS...    prints what its headers say about copying
# FLAGS are those of pkg-config for hiredis, and the compiler is $CC.

set -e
: "${CC:=cc}" "${OBJCOPY:=objcopy}"
functions='redisReaderCreateWithFunctions redisReaderFree redisReaderFeed redisReaderGetReply'

# What is linked in for these functions becomes one object, in which all other names are local.
write_object() {
    undefined='' renamed='' kept=''
    for name in $functions; do
        undefined="$undefined -Wl,-u,$name"
        renamed="$renamed --redefine-sym $name=keyway_$name"
        kept="$kept --keep-global-symbol=keyway_$name"
    done
    # Compilers and lists of options are words.
    # shellcheck disable=SC2086
    {
        $CC -r -nostdlib -o "$1" $undefined "$2"
        $OBJCOPY $renamed "$1"
        $OBJCOPY $kept "$1"
    }
}

# A folder that has a libhiredis is the last one: elsewhere is another release than that of the headers.
archives() {
    for flag in "$@"; do
        case $flag in -L*) ;; *) continue ;; esac
        folder=${flag#-L}
        echo "$folder/libhiredis.a"
        for library in "$folder/libhiredis.so" "$folder/libhiredis.dylib" "$folder/libhiredis.a"; do
            [ ! -e "$library" ] || return 0
        done
    done
    # shellcheck disable=SC2086
    $CC -print-file-name=libhiredis.a
}

case $1 in
find)
    shift
    work=$(mktemp -d "${TMPDIR:-/tmp}/keyway-hiredis-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    for archive in $(archives "$@"); do
        # A copy without position-independent code, or of another format, is of no use.
        # shellcheck disable=SC2086
        if [ -f "$archive" ] && write_object "$work/reader.o" "$archive" 2> /dev/null &&
            $CC -shared -o "$work/reader.so" "$work/reader.o" 2> /dev/null; then
            echo "$archive"
            exit 0
        fi
    done
    exit 1
    ;;
object)
    write_object "$2" "$3"
    ;;
licence)
    shift
    # shellcheck disable=SC2086
    headers=$(printf '#include <hiredis.h>\n' | $CC "$@" -M -x c - | tr ' ' '\n' |
        grep -E '/(hiredis|read|sds|alloc)\.h$' | LC_ALL=C sort -u)
    echo "keyway holds a copy of the reader of hiredis, of which the following is said."
    for header in $headers; do
        echo
        sed -n '/^\/\*/,/\*\//{s/^\/\*//;s/ *\*\/.*$//;s/^ \* \{0,1\}//;p;/^$/b;};/\*\//q' "$header"
    done
    ;;
esac
