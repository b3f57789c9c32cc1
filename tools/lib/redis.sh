# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A private Redis below $RUN_DIR/redis: append-only file on, no eviction, three users, 127.0.0.1 only.

redis_port() {
    echo $((PORT_BASE + 4))
}

# Debian makes redis-server a link to a program that does several jobs; /proc shows the program's own name.
redis_program() {
    readlink -f "$(command -v redis-server)"
}

redis_pids() {
    if [[ -d $RUN_DIR/redis/data ]]; then
        pids_in "$RUN_DIR/redis/data" "$(basename "$(redis_program)")"
    fi
}

redis_password_hash() {
    printf '%s' "$(secret "redis-$1.password")" | sha256sum | cut -d' ' -f1
}

# The services may do what a client does, nothing that belongs to an operator; INFO and ROLE are how they tell
# a primary from a replica and a full server from a healthy one.
redis_config() {
    local user script=()
    for user in "${REDIS_USERS[@]}"; do
        script+=(-e "s|@$user@|$(redis_password_hash "$user")|")
    done
    cat <<END
# Written by tools/stack at every start; what is not here is Redis's default.
bind 127.0.0.1
port $(redis_port)
protected-mode yes
daemonize no
dir "$RUN_DIR/redis/data"
logfile "$RUN_DIR/redis/log/redis.log"
loglevel notice
$(<"$ROOT/packaging/redis.conf")
maxmemory ${REDIS_MAXMEMORY:-512mb}

$(sed "${script[@]}" "$ROOT/packaging/redis.acl")
END
}

# Without redis-cli, because it is asked twenty times a second.
redis_accepts() {
    local answer='' socket
    { exec {socket}<>"/dev/tcp/127.0.0.1/$(redis_port)"; } 2>/dev/null || return 1
    printf 'AUTH default %s\r\nPING\r\n' "$(secret redis-default.password)" >&"$socket" 2>/dev/null || true
    { read -r -t 2 answer && read -r -t 2 answer; } <&"$socket" || true
    exec {socket}>&-
    [[ $answer == '+PONG'* ]]
}

redis_start() {
    command -v redis-server >/dev/null || die "redis-server is not installed; run: tools/install run"
    local unchanged=yes new=
    [[ -d $RUN_DIR/redis ]] || new=yes
    install -d -m 755 "$RUN_DIR/redis"
    make_server_directory "$RUN_DIR/redis/data"
    make_server_directory "$RUN_DIR/redis/log"
    redis_config | server_config "$RUN_DIR/redis/redis.conf" || unchanged=
    if [[ $new ]]; then
        redis_launch
        return
    fi
    if [[ $unchanged && $(redis_pids) ]] && wait_until 5 redis_accepts; then
        say "==> Redis is running on port $(redis_port)"
        return
    fi
    redis_stop
    require_port "$(redis_port)" Redis
    redis_launch
}

redis_launch() {
    say "==> Starting Redis on port $(redis_port)"
    trim_log "$RUN_DIR/redis/log/redis.log"
    : >"$RUN_DIR/log/redis-start.log"
    detach_server "$RUN_DIR/log/redis-start.log" "$(command -v redis-server)" "$RUN_DIR/redis/redis.conf"
    if ! wait_until "${REDIS_START_SECONDS:-60}" accepts_or_gone redis_accepts || ! redis_accepts; then
        show_log "$RUN_DIR/log/redis-start.log"
        show_log "$RUN_DIR/redis/log/redis.log"
        die "Redis did not start"
    fi
    redis_pids >"$RUN_DIR/redis/pid"
}

redis_stop() {
    stop_pids 15 redis_pids TERM KILL || die "Redis does not stop"
    rm -f "$RUN_DIR/redis/pid"
}

# redis_url USER
redis_url() {
    printf 'redis://%s:%s@127.0.0.1:%d/0' "$1" "$(secret "redis-$1.password")" "$(redis_port)"
}
