#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Programs find the shared library that was installed, or it is said what they lack: ldconfig.sh LIBDIR SONAME
# With DESTDIR nothing is done: the files are for another place or machine.

[ -z "$DESTDIR" ] || exit 0
PATH=$PATH:/sbin:/usr/sbin
if [ "$(id -u)" -eq 0 ] && command -v ldconfig > /dev/null 2>&1; then
    ldconfig 2> /dev/null || true
fi
# knows: the system's list has it
knows() {
    ldconfig -p 2> /dev/null | grep -q -F "=> $1/$2"
}
case " $LD_LIBRARY_PATH:" in *[\ :]"$1":*) exit 0 ;; esac
if [ "$(id -u)" -ne 0 ] || ! command -v ldconfig > /dev/null 2>&1; then
    echo "so that programs find $2, run ldconfig as root, or set LD_LIBRARY_PATH=$1"
elif ! knows "$1" "$2"; then
    echo "the system does not look for libraries in $1: so that programs find $2, name it in /etc/ld.so.conf.d," \
        "or set LD_LIBRARY_PATH=$1"
fi
