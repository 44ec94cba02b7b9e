#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What make does with other flags, other names of places, and without what it needs. In folders of its own.

set -e
: "${CC:=cc}" "${MAKE:=make}" "${PKG_CONFIG:=pkg-config}" "${BUILD:=build}"
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-make-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
fail() {
    echo "make test: $*" >&2
    exit 1
}

# Objects are made anew for other flags, and only then.
object=$place/flags/lib/base/bytes.o
made() {
    "$MAKE" BUILD="$place/flags" "$@" "$object" | grep -c 'lib/base/bytes.c' || true
}
[ "$(made)" -gt 0 ] || fail "nothing is compiled"
[ "$(made)" -eq 0 ] || fail "compiled again for the same flags"
[ "$(made CPPFLAGS=-DOTHER)" -gt 0 ] || fail "not compiled again for other flags"
[ "$(made CPPFLAGS=-DOTHER)" -eq 0 ] || fail "compiled again for the same other flags"
# Also where a source that is built small was the first to ask for the flags.
small=$place/small/lib/api/args_options.o
"$MAKE" -s BUILD="$place/small" "$small" > /dev/null
"$MAKE" -s BUILD="$place/small" "$place/small/lib/base/bytes.o" > /dev/null
[ "$("$MAKE" BUILD="$place/small" "$small" | grep -c 'CC ' || true)" -eq 0 ] || fail "compiled again behind an object that asked for the same flags"
if $PKG_CONFIG --exists openssl; then
    made TLS=no CPPFLAGS=-DOTHER > "$place/without" # which may be what is made anyway
    [ "$(made TLS=yes CPPFLAGS=-DOTHER)" -gt 0 ] || fail "not compiled again for TLS=yes"
fi

# One line says what is missing, before anything is compiled.
# lacks WORD SETTING... : make says WORD
lacks() {
    word=$1
    shift
    rm -rf "$place/lacks"
    if "$MAKE" BUILD="$place/lacks" "$@" > "$place/log" 2>&1; then
        fail "$*: make goes on"
    fi
    grep -q "^keyway needs .*$word.*: " "$place/log" || fail "$*: it does not say $word: $(cat "$place/log")"
    ! grep -q '  CC ' "$place/log" || fail "$*: something is compiled before"
    lines=$(grep -c -v '^make' "$place/log")
    [ "$lines" -eq 1 ] || fail "$*: $lines lines: $(cat "$place/log")"
}
# A pkg-config that knows no hiredis, and a compiler that has no header of a name.
printf '#!/bin/sh\ncase "$*" in *hiredis*) exit 1 ;; esac\nexec "%s" "$@"\n' "$(command -v "$PKG_CONFIG")" > "$place/pkg-config"
cat > "$place/cc" << END
#!/bin/sh
case "\$*" in
*-fsyntax-only*) text=\$(cat); case "\$text" in *"<\$WITHOUT>"*) exit 1 ;; esac; printf '%s\n' "\$text" | $CC "\$@" ;;
*) exec $CC "\$@" ;;
esac
END
chmod 755 "$place/pkg-config" "$place/cc"
lacks hiredis PKG_CONFIG="$place/pkg-config"
lacks pkg-config PKG_CONFIG="$place/none"
lacks 'a C compiler' CC="$place/none"
WITHOUT=xxhash.h lacks xxHash CC="$place/cc"
WITHOUT=cmocka.h lacks cmocka CC="$place/cc" check-unit

# GNU's names of places are those in capitals: the same files, in the same places.
files() {
    "$MAKE" -s install BUILD="$BUILD" DESTDIR="$place/$1" "$2" "$3" "$4" > /dev/null
    (cd "$place/$1" && find . ! -type d | LC_ALL=C sort)
    cat "$place/$1/usr/lib64/pkgconfig/keyway.pc"
}
files gnu prefix=/usr libdir=/usr/lib64 includedir=/usr/inc > "$place/gnu.txt"
files ours PREFIX=/usr LIBDIR=/usr/lib64 INCLUDEDIR=/usr/inc > "$place/ours.txt"
cmp "$place/gnu.txt" "$place/ours.txt" || fail "prefix= and PREFIX= install differently"
grep -q '^./usr/inc/keyway.h' "$place/gnu.txt" || fail "no header in includedir"
"$MAKE" -s uninstall BUILD="$BUILD" DESTDIR="$place/gnu" prefix=/usr libdir=/usr/lib64 includedir=/usr/inc
left=$(find "$place/gnu" ! -type d)
[ -z "$left" ] || fail "uninstall with GNU's names leaves $left"

# No folder of hiredis for programs.
flags=$(PKG_CONFIG_PATH="$place/ours/usr/lib64/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" $PKG_CONFIG --cflags keyway)
case $flags in
*hiredis*) fail "--cflags of keyway.pc: $flags" ;;
esac

# Where the system will not find the shared library, installing says so; not for DESTDIR.
says=$("$MAKE" -s install BUILD="$BUILD" PREFIX="$place/real")
if [ "$(uname -s)" = Linux ]; then
    case $says in
    *LD_LIBRARY_PATH="$place/real/lib"*) ;;
    *) fail "installing says \"$says\" of a place where no library is looked for" ;;
    esac
fi
says=$("$MAKE" -s install BUILD="$BUILD" PREFIX="$place/real" DESTDIR="$place/dest")
[ -z "$says" ] || fail "installing into DESTDIR says \"$says\""
