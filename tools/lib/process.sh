# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Which processes and ports are ours. A pid in a file proves nothing (pids are reused, files outlive processes),
# so everything is asked of /proc: servers are known by executable and working directory, services by a marker
# in their environment. Nothing that is not recognised this way is ever signalled.

# The servers refuse to run as root. As root, use the system user that the PostgreSQL package brings.
SERVER_USER=
AS_SERVER=()

# Finds a way to run the servers so that they can reach the run directory. A clone below a home of mode 0700 is
# out of reach for another user; a capability to walk through directories is the smallest thing that helps.
choose_server_user() {
    if ((EUID != 0)); then
        return
    fi
    SERVER_USER=postgres
    getent passwd "$SERVER_USER" >/dev/null ||
        die "there is no system user 'postgres' to run the servers as; tools/install run brings it"
    local base=(setpriv --reuid="$SERVER_USER" --regid="$SERVER_USER" --clear-groups)
    local capability
    for capability in '' dac_read_search dac_override; do
        AS_SERVER=("${base[@]}")
        if [[ $capability ]]; then
            AS_SERVER+=("--inh-caps=+$capability" "--ambient-caps=+$capability")
        fi
        # Walk there for real: access(2), and with it test(1), leaves capabilities out of account.
        if (cd / && "${AS_SERVER[@]}" stat "$RUN_DIR/.") >/dev/null 2>&1; then
            explain_capability "$capability"
            return
        fi
    done
    die "the user '$SERVER_USER' cannot enter $RUN_DIR and this container does not allow lending it the" \
        "capability to; move the clone out of the closed directory or set RUN_DIR to a place open to all"
}

explain_capability() {
    local told=$RUN_DIR/capability
    if [[ $1 && $1 != "$(cat "$told" 2>/dev/null)" ]]; then
        say "    ($RUN_DIR is closed to other users: the servers get the capability $1 to reach it)"
        printf '%s\n' "$1" >"$told"
    fi
}

# as_server COMMAND...: as the user the servers run as, from a directory every user can be in, and without the
# caller's environment (it may hold the API tokens of this or another stack).
as_server() {
    (cd / && env -i PATH="$PATH" LC_ALL=C.UTF-8 TZ=UTC HOME=/ "${AS_SERVER[@]}" "$@")
}

# Starts a process that outlives this one: own session, no terminal, and no inherited descriptor but 0, 1, 2
# (the lock on the run directory and make's job pipe must not live on in it). Its pid is left in DETACHED.
# usage: detach LOG DIRECTORY COMMAND...
DETACHED=
detach() {
    local log=$1 directory=$2 fd
    shift 2
    (
        cd "$directory"
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            if ((fd > 2 && fd != 255)); then
                eval "exec $fd>&-"
            fi
        done
        exec setsid "$@" </dev/null >>"$log" 2>&1
    ) &
    DETACHED=$!
    disown
}

# detach_server LOG COMMAND...: detach, as the servers' user and in its clean environment.
detach_server() {
    local log=$1
    shift
    detach "$log" / env -i PATH="$PATH" LC_ALL=C.UTF-8 TZ=UTC HOME=/ "${AS_SERVER[@]}" "$@"
}

# A zombie is gone too: in a container nobody may ever collect it.
detached_is_gone() {
    ! grep -qs $'^State:\t[^ZX]' "/proc/$DETACHED/status"
}

# accepts_or_gone COMMAND...: what to wait for after a start. The caller asks COMMAND once more to learn which.
accepts_or_gone() {
    "$@" || detached_is_gone
}

# pids_in DIRECTORY EXECUTABLE-NAME...: processes that run one of the executables with DIRECTORY as working
# directory. In a container root may lack the capability to look into another user's processes: it asks as that user too.
pids_in() {
    if ((EUID != 0)) || may_look_into_all; then
        find_pids_in "$@"
        return
    fi
    {
        find_pids_in "$@"
        as_server bash -c "$(declare -f find_pids_in); find_pids_in \"\$@\"" find_pids_in "$@"
    } | sort -un
}

find_pids_in() {
    local directory=$1 p exe name
    shift
    for p in /proc/[0-9]*; do
        [[ $p/cwd -ef $directory ]] || continue
        exe=$(readlink "$p/exe" 2>/dev/null) || continue
        exe=${exe% (deleted)}
        for name; do
            if [[ ${exe##*/} == "$name" ]]; then echo "${p#/proc/}"; fi
        done
    done
}

# CAP_SYS_PTRACE is number 19 (capabilities(7)).
may_look_into_all() {
    local name value
    while read -r name value; do
        if [[ $name == CapEff: ]]; then
            ((16#$value >> 19 & 1))
            return
        fi
    done </proc/self/status
    return 1
}

# pids_marked MARKER: processes of this user with the marker in their environment.
pids_marked() {
    local p
    while read -r p; do
        p=${p#/proc/}
        printf '%s\n' "${p%/environ}"
    done < <(grep -lzsxF -- "$1" /proc/[0-9]*/environ || true)
}

# signal_all SIGNAL PID...: one that has gone in the meantime is what we wanted anyway.
signal_all() {
    local signal=$1 pid
    shift
    for pid; do
        kill -s "$signal" "$pid" 2>/dev/null || true
    done
}

# stop_pids SECONDS LISTING SIGNAL...: sends each signal in turn to what LISTING (a command) prints until it
# prints nothing, with SECONDS of patience after each. False when something is still there at the end.
# shellcheck disable=SC2086 # LISTING is a command with its arguments
stop_pids() {
    local patience=$1 listing=$2 signal pids
    shift 2
    for signal; do
        mapfile -t pids < <($listing)
        if ((${#pids[@]} == 0)); then
            return 0
        fi
        signal_all "$signal" "${pids[@]}"
        # Looking through all of /proc is dear on a busy machine; those that are known are cheap to watch.
        if wait_until "$patience" all_gone "${pids[@]}" && wait_until "$patience" none_left "$listing"; then
            return 0
        fi
    done
    return 1
}

# all_gone PID...: starts no process. A zombie is gone, as above.
all_gone() {
    local pid stat
    for pid; do
        if { read -r stat <"/proc/$pid/stat"; } 2>/dev/null && [[ ${stat##*) } != [ZX]* ]]; then
            return 1
        fi
    done
}

# shellcheck disable=SC2086
none_left() {
    [[ -z $($1) ]]
}

# listening_inode PORT: the socket's inode when anything listens on the port (any address), else nothing.
# /proc is read directly because ss is not on a minimal Debian. Those that listen come first (proc_net_tcp.rst), before
# what may be tens of thousands of connections that just ended.
listening_inode() {
    local hex
    printf -v hex '%04X' "$1"
    awk -v port=":$hex\$" 'FNR > 1 && $4 != "0A" { nextfile } $2 ~ port { print $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true
}

port_free() {
    [[ -z $(listening_inode "$1") ]]
}

# port_holders PORT: the pids that hold the listening socket, as far as this user may see.
port_holders() {
    local inode
    inode=$(listening_inode "$1")
    if [[ $inode ]]; then
        find /proc/[0-9]*/fd -maxdepth 1 -lname "socket:\[$inode\]" 2>/dev/null | cut -d/ -f3 | sort -u || true
    fi
}

describe_holders() {
    local pid names=()
    for pid in $(port_holders "$1"); do
        names+=("$(cat "/proc/$pid/comm" 2>/dev/null || echo unknown), pid $pid")
    done
    if ((${#names[@]})); then
        local IFS=';'
        printf '%s' "${names[*]}"
    else
        printf 'a process of another user'
    fi
}
