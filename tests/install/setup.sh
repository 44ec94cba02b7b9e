#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# examples/setup.sh with an apt-get that is ours: what it asks for, and that no policy-rc.d of its stays behind,
# whatever way it ends; one of somebody else is left alone.

place=$(mktemp -d "${TMPDIR:-/tmp}/keyway-setup-XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
mkdir "$place/bin"
fail() {
    echo "setup test: $*" >&2
    exit 1
}

# sudo runs it as we are; apt-get writes down what it was asked for, and takes its time.
cat > "$place/bin/sudo" << 'END'
#!/bin/sh
exec "$@"
END
cat > "$place/bin/apt-get" << 'END'
#!/bin/sh
echo "$*" >> "$PLACE/asked"
[ -x "$KW_POLICY_RC_D" ] && "$KW_POLICY_RC_D"
echo "$?" >> "$PLACE/policy-says"
[ -z "$APT_WAITS" ] || { : > "$PLACE/waits"; while [ ! -e "$PLACE/go" ]; do sleep 0.05; done; }
END
chmod 755 "$place/bin/sudo" "$place/bin/apt-get"

# setup WORD...: where no compiler works, everything for a build is missing
setup() {
    PATH="$place/bin:$PATH" PLACE=$place KW_POLICY_RC_D=$place/policy-rc.d CC=false \
        sh examples/setup.sh "$@" > "$place/log" 2>&1
}

setup build || fail "ends with $?: $(cat "$place/log")"
grep -q 'install .*libc6-dev' "$place/asked" || fail "does not ask for libc6-dev"
grep -q 101 "$place/policy-says" || fail "services could start"
[ ! -e "$place/policy-rc.d" ] || fail "policy-rc.d is left"

# Where nothing at all is there, pkg-config neither, all is asked for.
printf '#!/bin/sh\nexit 1\n' > "$place/bin/pkg-config"
chmod 755 "$place/bin/pkg-config"
setup build servers tests || fail "without pkg-config it ends with $?: $(cat "$place/log")"
grep -q 'install .*libcmocka-dev.*libssl-dev' "$place/asked" || fail "does not ask for all that is missing"
rm "$place/bin/pkg-config"

# Killed while packages are installed, and the run behind one that could not clean up.
for round in killed after; do
    rm -f "$place/waits" "$place/go"
    [ "$round" = killed ] || printf '#!/bin/sh\n# keyway: nothing starts while packages are installed\nexit 101\n' \
        > "$place/policy-rc.d"
    if [ "$round" = killed ]; then
        APT_WAITS=1 PATH="$place/bin:$PATH" PLACE=$place KW_POLICY_RC_D=$place/policy-rc.d CC=false \
            sh examples/setup.sh build > "$place/log" 2>&1 &
        pid=$!
        while [ ! -e "$place/waits" ]; do sleep 0.05; done
        [ -e "$place/policy-rc.d" ] || fail "no policy-rc.d while packages are installed"
        kill -TERM "$pid"
        : > "$place/go"
        wait "$pid"
        [ $? -eq 143 ] || fail "killed, it ends as if nothing had been"
    else
        setup build || fail "ends with $?"
    fi
    [ ! -e "$place/policy-rc.d" ] || fail "policy-rc.d is left ($round)"
done

# Somebody else's stays as it is.
echo '# mine' > "$place/policy-rc.d"
setup build || fail "ends with $?"
[ "$(cat "$place/policy-rc.d")" = '# mine' ] || fail "somebody's policy-rc.d is gone"

# The word for the sanitizers.
: > "$place/asked"
CLANG=false setup sanitizers || fail "ends with $?"
grep -q 'install .*libclang-rt-dev' "$place/asked" || fail "sanitizers: does not ask for libclang-rt-dev"
