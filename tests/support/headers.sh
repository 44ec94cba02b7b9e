#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Each header compiles alone, without a warning: in C, and public ones in C++.

status=0

# Files are words.
# shellcheck disable=SC2046
awk 'FNR <= 2 && /SPDX-License-Identifier: BSD-3-Clause/ { named[FILENAME] = 1 }
    END {
        for (i = 1; i < ARGC; i++) {
            if (!(ARGV[i] in named)) {
                print ARGV[i] ": no SPDX line at its head"
                status = 1
            }
        }
        exit status
    }' Makefile .ci/run pkgconfig/*.in pkgconfig/*.sh lib/*.map \
    $(find include lib tests examples -name '*.[ch]' -o -name '*.cc' -o -name '*.sh') >&2 || status=1

# Headers of the kernel are no part of a C library: musl systems have them in a package of their own.
if grep -rn '#include <linux/' include lib >&2; then
    echo "a header of the kernel is included" >&2
    status=1
fi

work=$(mktemp -d "$BUILD/headers.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
sources_n=0

# compile COMPILER LANGUAGE HEADER...: a source each, which includes nothing else
compile() {
    compiler=$1
    language=$2
    shift 2
    sources=
    for header in "$@"; do
        sources_n=$((sources_n + 1))
        printf '#include "%s"\nextern int used;\n' "$header" > "$work/$sources_n.c"
        sources="$sources $work/$sources_n.c"
    done
    # The compiler with its flags, and the sources, are words.
    # shellcheck disable=SC2086
    printf '%s\n' $sources | xargs -P 2 -n 16 $compiler -Werror -Wall -Wextra -fsyntax-only -I. -x "$language" || {
        echo "a header of these does not compile alone, as shown above: $compiler, $*" >&2
        status=1
    }
}

compile "$CC -std=c11 $CPPFLAGS_ALL -Itests" c lib/*/*.h tests/support/*.h
compile "$CC -std=c11 -Wpedantic -Iinclude" c include/keyway.h include/keyway/*.h
compile "$CXX -std=c++11 -Wpedantic -Iinclude" c++ include/keyway.h include/keyway/*.h
# What compiles alone does so in any C++: later ones are shown what is in them all.
for header in include/keyway/*.h; do
    echo "#include \"$header\""
done > "$BUILD/every_header.h"
compile "$CXX -std=c++17 -Wpedantic -Iinclude" c++ "$BUILD/every_header.h"
# Adapters, where their event loop is here.
for loop in $LOOPS; do
    header=include/keyway/adapters/$loop.h
    [ -f "$header" ] || continue
    flags="-D_POSIX_C_SOURCE=200809L -Iinclude $("$PKG_CONFIG" --cflags "$loop-2.0" 2> /dev/null | sed 's/-I/-isystem /g')"
    compile "$CC -std=c11 $flags" c "$header"
    compile "$CXX -std=c++11 $flags" c++ "$header"
done
exit $status
