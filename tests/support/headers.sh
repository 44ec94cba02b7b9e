#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Each header compiles alone, without a warning: in C, and public ones in C++.

status=0

for file in Makefile .ci/run pkgconfig/*.in pkgconfig/*.sh lib/*.map $(find include lib tests examples -name '*.[ch]' -o -name '*.cc' -o -name '*.sh'); do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' || {
        echo "$file: no SPDX line at its head" >&2
        status=1
    }
done

# Headers of the kernel are no part of a C library: musl systems have them in a package of their own.
if grep -rn '#include <linux/' include lib >&2; then
    echo "a header of the kernel is included" >&2
    status=1
fi

# compile FLAGS LANGUAGE HEADER: a file that includes nothing else
compile() {
    # The flags are words.
    # shellcheck disable=SC2086
    printf '#include "%s"\nextern int used;\n' "$3" | $1 -Werror -Wall -Wextra -fsyntax-only -I. -x "$2" - || {
        echo "$3 does not compile alone: $1" >&2
        status=1
    }
}

for header in lib/*/*.h tests/support/*.h; do
    compile "$CC -std=c11 $CPPFLAGS_ALL -Itests" c "$header"
done
for header in include/keyway.h include/keyway/*.h; do
    compile "$CC -std=c11 -Wpedantic -Iinclude" c "$header"
    compile "$CXX -std=c++11 -Wpedantic -Iinclude" c++ "$header"
done
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
