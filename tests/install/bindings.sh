#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The shared library from Python (ctypes) and LuaJIT (FFI), where these are here.

: "${BUILD:=build}"
status=0
# try NAME INTERPRETER SOURCE
try() {
    if ! "$2" -v > /dev/null 2>&1 && ! "$2" --version > /dev/null 2>&1; then
        echo "  $1: not tried, it is not here"
        return
    fi
    said=$(timeout 60 "$2" "$3" "$BUILD/libkeyway.so" | tr '\t' ' ')
    if [ "$said" = 'b KW_ERR_CONNECT none' ]; then
        echo "  $1"
    else
        echo "$1 says: $said" >&2
        status=1
    fi
}
try Python python3 tests/install/bindings/keyway.py
try LuaJIT luajit tests/install/bindings/keyway.lua
exit $status
