# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the shell tests of this folder share: TAP, a directory that goes away, waiting with a bound.

TAP_COUNT=0
TAP_FAILED=0
WHERE=$(mktemp -d -t firstcome-more.XXXXXX)
CLEAN_UP=()

plan() {
    echo "1..$1"
}

# check WHAT COMMAND...: its output is told where it fails.
check() {
    local what=$1
    shift
    TAP_COUNT=$((TAP_COUNT + 1))
    if "$@" >"$WHERE/output" 2>&1 </dev/null; then
        echo "ok $TAP_COUNT - $what"
    else
        sed 's/^/# /' "$WHERE/output" | tail -n 60
        echo "not ok $TAP_COUNT - $what"
        TAP_FAILED=$((TAP_FAILED + 1))
    fi
}

# skip WHY WHAT...
skip() {
    local why=$1 what
    shift
    for what; do
        TAP_COUNT=$((TAP_COUNT + 1))
        echo "ok $TAP_COUNT - $what # SKIP $why"
    done
}

# until_true SECONDS COMMAND...: waits for something that can be observed.
until_true() {
    local end=$((SECONDS + $1))
    shift
    while ! "$@"; do
        ((SECONDS < end)) || return 1
        read -r -t 0.2 <> <(:) || true
    done
}

finish() {
    exit $((TAP_FAILED > 0))
}

tap_clean_up() {
    local command
    for command in "${CLEAN_UP[@]}"; do
        $command || true
    done
    rm -rf --one-file-system "$WHERE"
}
trap tap_clean_up EXIT
