# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Talking to the person at the keyboard, waiting with a bound, and writing files that are never half there.

say() {
    printf '%s\n' "$*"
}

warn() {
    printf 'warning: %s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# wait_until SECONDS COMMAND...: runs the command until it succeeds; false when the time is up.
wait_until() {
    local deadline=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        if ((SECONDS >= deadline)); then
            return 1
        fi
        sleep 0.05
    done
}

# write_file MODE PATH: standard input becomes the file, in one step. Whoever was killed in the middle leaves
# PATH.new behind, which the next run overwrites.
write_file() {
    local mode=$1 path=$2
    (
        umask 077
        cat >"$path.new"
    )
    chmod "$mode" "$path.new"
    mv -f "$path.new" "$path"
}

# Random bytes as lower-case hex. od reads a fixed count, so nothing in the pipe is cut short.
random_hex() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

LOG_BYTES_MAX=$((16 * 1024 * 1024))

# Called before whoever writes the log is started: at most two files of about this size stay.
trim_log() {
    if [[ -f $1 && $(stat -c %s "$1") -gt $LOG_BYTES_MAX ]]; then
        mv -f "$1" "$1.1"
    fi
}

show_log() {
    if [[ -s $1 ]]; then
        printf -- '--- last lines of %s\n' "$1" >&2
        tail -n 20 "$1" | cut -c 1-400 >&2
        printf -- '---\n' >&2
    fi
}
