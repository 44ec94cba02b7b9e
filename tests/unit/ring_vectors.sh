#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Rings put keys at the same places whatever compiles them: signed and unsigned char, other
# compilers, and, where there is a cross compiler with its emulator, big-endian machines.

: "${CC:=cc}" "${BUILD:=build}"
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-vectors-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
status=0
sources=$(ls lib/base/bytes.c lib/base/error.c lib/base/memory.c lib/route/ring*.c \
    lib/route/hash_*.c lib/route/ketama.c lib/route/crc16_table.c | grep -v -e ring_map -e ring_members)

has() {
    command -v "$1" > /dev/null 2>&1
}

# check NAME RUNNER COMPILER...
check() {
    name=$1
    runner=$2
    shift 2
    # The runner, the sources and the compiler are words.
    # shellcheck disable=SC2086
    if ! "$@" -std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude -Ilib -o "$place/vectors" \
        tests/unit/ring_vectors.c $sources; then
        echo "$name: does not compile" >&2
        status=1
    elif ! $runner "$place/vectors" > "$place/text"; then
        echo "$name: does not run" >&2
        status=1
    elif ! cmp "$place/text" tests/unit/ring_vectors.txt; then
        echo "$name: keys are elsewhere" >&2
        status=1
    else
        echo "$name: same"
    fi
}

# The compiler may be several words.
# shellcheck disable=SC2086
check "signed char" "" $CC -O2 -fsigned-char
# shellcheck disable=SC2086
check "unsigned char" "" $CC -O0 -funsigned-char
! has clang || check clang "" clang -O2
! has gcc || check "gcc -O3" "" gcc -O3 -march=native
for machine in s390x powerpc powerpc64 aarch64 riscv64 i686; do
    emulator=qemu-$machine-static
    case $machine in
    powerpc) emulator=qemu-ppc-static ;;
    powerpc64) emulator=qemu-ppc64-static ;;
    i686) emulator=qemu-i386-static ;;
    esac
    if has "$machine-linux-gnu-gcc" && has "$emulator"; then
        check "$machine" "$emulator" "$machine-linux-gnu-gcc" -O2 -static -idirafter /usr/include
    else
        echo "$machine: no compiler, or no emulator"
    fi
done
exit $status
