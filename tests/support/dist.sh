#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A release archive, the same bytes for the same files: dist.sh TAR NAME OUT.
# Its time is SOURCE_DATE_EPOCH, else that of the last commit, else that of version.h.

set -e
tar=$1
name=$2
out=$3
list=$out.list

if git rev-parse --git-dir > /dev/null 2>&1 && [ -z "$(git rev-parse --show-prefix)" ]; then
    git ls-files > "$list"
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
else
    find . -path ./build -prune -o \( -type f -o -type l \) -print | sed 's|^\./||' > "$list"
    : "${SOURCE_DATE_EPOCH:=$(date -r include/keyway/version.h +%s)}"
fi
LC_ALL=C sort -o "$list" "$list"
"$tar" --version 2> /dev/null | grep -q GNU || { echo "make dist needs GNU tar: TAR=gtar" >&2; exit 1; }
"$tar" --format=ustar --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" \
    --no-recursion --transform="s|^|$name/|S" -T "$list" -cf - | gzip -9n > "$out"
rm -f "$list"
