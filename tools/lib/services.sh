# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The three services of a stack: their environment, starting, watching and stopping them.

SERVICES=(projector command-service query-service) # in the order they start: the projector listens on the bus

# services_choose: with SHARDS=2 a projector for each, with COMMANDS=2 and QUERIES=2 two of those behind the edge.
services_choose() {
    local name
    SERVICES=(projector)
    if ((SHARDS > 1)); then SERVICES+=(projector-2); fi
    SERVICES+=(command-service)
    if ((COMMANDS > 1)); then
        SERVICES+=(command-service-2)
        COMMAND_ADDRESS_2=127.0.0.1:$(service_port command-service-2)
    fi
    SERVICES+=(query-service)
    if ((QUERIES > 1)); then
        SERVICES+=(query-service-2)
        QUERY_ADDRESS_2=127.0.0.1:$(service_port query-service-2)
    fi
}

service_port() {
    case $1 in
        command-service) echo "$PORT_BASE" ;;
        query-service) echo $((PORT_BASE + 1)) ;;
        projector) echo $((PORT_BASE + 2)) ;;
        projector-2) echo $((PORT_BASE + 7)) ;;
        command-service-2) echo $((PORT_BASE + 14)) ;;
        query-service-2) echo $((PORT_BASE + 15)) ;;
        *) die "there is no service '$1'; there are: ${SERVICES[*]}" ;;
    esac
}

service_url() {
    printf 'http://127.0.0.1:%d' "$(service_port "$1")"
}

# service_urls KIND: of all of them, with spaces between.
service_urls() {
    local one
    for one in "${SERVICES[@]}"; do
        if [[ ${one%-2} == "$1" ]]; then service_url "$one" && echo; fi
    done | paste -sd" "
}

bus_url() {
    printf 'tcp://127.0.0.1:%d' $((PORT_BASE + 5))
    if ((SHARDS > 1)); then printf ',%s' "$(listen_url projector-2)"; fi
}

query_bus_url() {
    printf 'tcp://127.0.0.1:%d' $((PORT_BASE + 6))
    if ((QUERIES > 1)); then printf ',%s' "$(listen_url query-service-2)"; fi
}

# Where one of them listens; empty for who only tells.
listen_url() {
    local offset
    case $1 in
        projector) offset=5 ;;
        query-service) offset=6 ;;
        projector-2) offset=8 ;;
        query-service-2) offset=16 ;;
        *) return ;;
    esac
    printf 'tcp://127.0.0.1:%d' $((PORT_BASE + offset))
}

# Where a service listens for hints, or whom it tells. The query service hears from the projector only: that the
# log has grown says nothing about what changed, and not that the models have it.
service_bus_url() {
    case $1 in
        command-service*) bus_url ;;
        *) listen_url "$1" ;;
    esac
}

# The role a service has in PostgreSQL.
service_role() {
    local name=${1%-2}
    echo "${name%-service}"
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
    if ((SHARDS > 1)); then
        printf 'SHARDS_FILE=%s\n' "$RUN_DIR/$role.shards"
        case $1 in
            projector) echo FIRSTCOME_SLICES=0-7 ;;
            projector-2) echo FIRSTCOME_SLICES=8-15 ;;
        esac
    fi
    printf '%s\n' "$(service_marker "$1")" "FIRSTCOME_PORT=$(service_port "$1")" "DATABASE_URL=$(database_url "$role")" \
        "FIRSTCOME_BUS_URL=$(service_bus_url "$1")" "FIRSTCOME_API_KEYS_FILE=$SECRETS_DIR/api-keys" "FIRSTCOME_CODE_KEY_FILE=$SECRETS_DIR/code.key"
    if [[ $role != projector ]] && edge_whole; then
        printf 'FIRSTCOME_TRUSTED_PROXIES=%s\n' "${FIRSTCOME_TRUSTED_PROXIES-127.0.0.1}"
    fi
    if [[ $role == projector ]]; then
        printf 'FIRSTCOME_BUS_PUBLISH_URL=%s\n' "$(query_bus_url)"
    fi
    if [[ $role == command ]] && ((SHARDS > 1)); then
        echo FIRSTCOME_DISK_PATH= # it is of one server
    elif [[ $role == command ]]; then
        printf 'FIRSTCOME_DISK_PATH=%s\n' "${FIRSTCOME_DISK_PATH-$PG_DATA}" # the disk that PostgreSQL must not run out of
    else
        printf 'REDIS_URL=%s\n' "${SERVICES_REDIS_URL:-$(redis_url "$role")}"
    fi
}

# What .run/env may have put into the caller's environment and is not for a service to know.
NOT_FOR_SERVICES=(ADMIN_TOKEN ISSUE_TOKEN REDEEM_TOKEN READ_TOKEN REDIS_URL COMMAND_DATABASE_URL
    PROJECTOR_DATABASE_URL QUERY_DATABASE_URL PROJECTOR_REDIS_URL QUERY_REDIS_URL)

service_program() {
    local program=$BIN_DIR/${1%-2}
    [[ -x $program ]] || die "$program is not built; run: make"
    echo "$program"
}

service_start() {
    local service=$1 program bus arguments=()
    program=$(service_program "$service")
    if [[ $service == projector* ]]; then
        arguments=(run)
    fi
    require_port "$(service_port "$service")" "$service"
    bus=$(listen_url "$service")
    if [[ $bus ]]; then
        require_port "${bus##*:}" "the bus of $service"
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
    for service in query-service-2 query-service command-service-2 command-service projector-2 projector; do
        if [[ $(service_pids "$service") ]]; then
            say "==> Stopping $service"
        fi
        service_stop "$service"
    done
}

services_start() {
    local service
    for service in "${SERVICES[@]}"; do
        if [[ -z $(service_pids "$service") ]]; then
            say "==> Starting $service on port $(service_port "$service")"
            service_start "$service"
        fi
    done
    for service in "${SERVICES[@]}"; do
        service_await "$service"
    done
}
