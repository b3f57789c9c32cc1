# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The three services of a stack: their environment, starting, watching and stopping them.

SERVICES=(projector command-service query-service) # in the order they start: the projector listens on the bus

service_port() {
    case $1 in
        command-service) echo "$PORT_BASE" ;;
        query-service) echo $((PORT_BASE + 1)) ;;
        projector) echo $((PORT_BASE + 2)) ;;
        *) die "there is no service '$1'; there are: ${SERVICES[*]}" ;;
    esac
}

service_url() {
    printf 'http://127.0.0.1:%d' "$(service_port "$1")"
}

bus_url() {
    printf 'tcp://127.0.0.1:%d' $((PORT_BASE + 5))
}

query_bus_url() {
    printf 'tcp://127.0.0.1:%d' $((PORT_BASE + 6))
}

# Where a service listens for hints, or whom it tells. The query service hears from the projector only: that the
# log has grown says nothing about what changed, and not that the models have it.
service_bus_url() {
    case $1 in
        command-service) bus_url ;;
        query-service) query_bus_url ;;
        projector) bus_url ;;
    esac
}

# The role a service has in PostgreSQL.
service_role() {
    echo "${1%-service}"
}

# In a process's environment this says whose it is; see pids_marked.
service_marker() {
    printf 'FIRSTCOME_PROCESS=%s@%s' "$1" "$RUN_DIR"
}

service_pids() {
    pids_marked "$(service_marker "$1")"
}

# What a service is told, on top of the caller's environment (which may set options of its own): its own role
# and rights, never the owner's, and none of the API tokens. SERVICES_REDIS_URL leads them to another Redis.
service_environment() {
    local role
    role=$(service_role "$1")
    printf '%s\n' "$(service_marker "$1")" "PORT_BASE=$PORT_BASE" "DATABASE_URL=$(database_url "$role")" \
        "FIRSTCOME_BUS_URL=$(service_bus_url "$1")" "FIRSTCOME_API_KEYS_FILE=$SECRETS_DIR/api-keys" "FIRSTCOME_CODE_KEY_FILE=$SECRETS_DIR/code.key"
    if [[ $role != projector ]] && edge_whole; then
        printf 'FIRSTCOME_TRUSTED_PROXIES=%s\n' "${FIRSTCOME_TRUSTED_PROXIES-127.0.0.1}"
    fi
    if [[ $role == projector ]]; then
        printf 'FIRSTCOME_BUS_PUBLISH_URL=%s\n' "$(query_bus_url)"
    fi
    if [[ $role == command ]]; then
        printf 'FIRSTCOME_DISK_PATH=%s\n' "${FIRSTCOME_DISK_PATH-$PG_DATA}" # the disk that PostgreSQL must not run out of
    else
        printf 'REDIS_URL=%s\n' "${SERVICES_REDIS_URL:-$(redis_url "$role")}"
    fi
}

# What .run/env may have put into the caller's environment and is not for a service to know.
NOT_FOR_SERVICES=(ADMIN_TOKEN ISSUE_TOKEN REDEEM_TOKEN READ_TOKEN REDIS_URL COMMAND_DATABASE_URL
    PROJECTOR_DATABASE_URL QUERY_DATABASE_URL PROJECTOR_REDIS_URL QUERY_REDIS_URL)

service_program() {
    local program=$BIN_DIR/$1
    [[ -x $program ]] || die "$program is not built; run: make"
    echo "$program"
}

service_start() {
    local service=$1 program arguments=()
    program=$(service_program "$service")
    if [[ $service == projector ]]; then
        arguments=(run)
    fi
    require_port "$(service_port "$service")" "$service"
    if [[ $service == projector ]]; then
        require_port $((PORT_BASE + 5)) "the projector's bus"
    elif [[ $service == query-service ]]; then
        require_port $((PORT_BASE + 6)) "the query service's bus"
    fi
    trim_log "$RUN_DIR/log/$service.log"
    (
        # The passwords are exported in a shell of their own instead of named to env(1): ps shows arguments.
        unset "${NOT_FOR_SERVICES[@]}"
        while IFS= read -r assignment; do
            export "${assignment?}"
        done < <(service_environment "$service")
        ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true
        detach "$RUN_DIR/log/$service.log" "$RUN_DIR" "$program" "${arguments[@]}"
        echo "$DETACHED" >"$RUN_DIR/$service.pid"
    )
    DETACHED=$(<"$RUN_DIR/$service.pid")
}

# Without curl, because it is asked twenty times a second.
service_ready() {
    local line='' socket
    { exec {socket}<>"/dev/tcp/127.0.0.1/$(service_port "$1")"; } 2>/dev/null || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&"$socket" 2>/dev/null || true
    read -r -t 2 line <&"$socket" || true
    exec {socket}>&-
    [[ $line == 'HTTP/1.1 200 '* ]]
}

# service_await SERVICE: waits until it answers /readyz with 200, or says why it does not.
service_await() {
    local service=$1
    DETACHED=$(<"$RUN_DIR/$service.pid")
    if wait_until "${SERVICE_START_SECONDS:-30}" accepts_or_gone service_ready "$service" &&
        service_ready "$service"; then
        return
    fi
    show_log "$RUN_DIR/log/$service.log"
    if detached_is_gone; then
        die "$service ended at start; its log is $RUN_DIR/log/$service.log"
    fi
    curl -q -s --noproxy '*' --max-time 2 "$(service_url "$service")/readyz" -w "\n" >&2 || true
    die "$service is running but not ready after ${SERVICE_START_SECONDS:-30} s; its log is $RUN_DIR/log/$service.log"
}

# service_stop SERVICE [SIGNAL...]: gracefully unless told otherwise. SIGTERM lets it finish what it accepted.
service_stop() {
    local service=$1
    shift
    if (($# == 0)); then
        set -- TERM KILL
    fi
    stop_pids "${SERVICE_STOP_SECONDS:-15}" "service_pids $service" "$@" || die "$service does not stop"
    rm -f "$RUN_DIR/$service.pid"
}

services_stop() {
    local service
    # The other way round: first nobody accepts commands, then nobody follows the log.
    for service in query-service command-service projector; do
        if [[ $(service_pids "$service") ]]; then
            say "==> Stopping $service"
        fi
        service_stop "$service"
    done
}

services_start() {
    local service
    for service in "${SERVICES[@]}"; do
        say "==> Starting $service on port $(service_port "$service")"
        service_start "$service"
    done
    for service in "${SERVICES[@]}"; do
        service_await "$service"
    done
}
