#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Two quickstarts at once in a tree that is not built: one builds, the other waits, and both say what
# they do. One that was killed holds nobody up. The build is a stand-in that notices company.

set -e
place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-quickstart-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "quickstart test: $*" >&2
    cat "$place"/out.* >&2 || true
    exit 1
}

mkdir -p "$place/examples/tour" "$place/lib" "$place/bin"
cp examples/quickstart.sh "$place/examples/"
echo 'exit 0' > "$place/examples/setup.sh"
: > "$place/lib/one.c"
cat > "$place/bin/build" << END
#!/bin/sh
mkdir "$place/busy" || { echo "two builds at once"; exit 1; }
echo '  CC     lib/one.c'
told=\$(wc -l < "$place/builds")
until [ "\$(cat "$place"/out.* | grep -c 'building: 1 of 1 files')" -gt "\$told" ]; do
    sleep 1
done
echo built >> "$place/builds"
rmdir "$place/busy"
END
chmod 755 "$place/bin/build"
: > "$place/builds"

command -v flock > /dev/null || { echo "not looked for: there is no flock"; exit 0; }

# Left by one that was killed.
mkdir "$place/build"
: > "$place/build/building.lock"

MAKE="$place/bin/build" timeout 100 sh "$place/examples/quickstart.sh" --build-only > "$place/out.1" 2>&1 &
first=$!
MAKE="$place/bin/build" timeout 100 sh "$place/examples/quickstart.sh" --build-only > "$place/out.2" 2>&1 &
second=$!
wait $first || fail "the first ends with an error"
wait $second || fail "the second ends with an error"
[ "$(wc -l < "$place/builds")" -eq 2 ] || fail "not built twice"
cat "$place"/out.* | grep -q 'waiting for it' || fail "nobody says that it waits"
[ "$(cat "$place"/out.* | grep -c 'building: 1 of 1 files')" -ge 2 ] || fail "nobody says how far the build is"
flock -n "$place/build/building.lock" true || fail "the lock is held"
