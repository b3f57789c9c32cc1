# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The edge of a stack: HAProxy, which puts the console and both APIs on one origin. Known by its marker, as services are.
# EDGE=1 has all of it: TLS with a certificate of its own, its metrics, the write API alone, and services that believe it
# whom a request is of.

EDGE_CONFIG=$ROOT/compose/edge/haproxy.cfg
EDGE_MORE=(tls metrics write) # what EDGE=1 has, on the ports after the first one's

edge_whole() {
    [[ ${EDGE:-} == 1 ]]
}

edge_port() {
    local index
    for index in "${!EDGE_MORE[@]}"; do
        if [[ ${1:-} == "${EDGE_MORE[index]}" ]]; then
            echo $((PORT_BASE + 10 + index))
            return
        fi
    done
    echo $((PORT_BASE + 9))
}

edge_url() {
    case ${1:-} in
        tls) printf 'https://localhost:%d' "$(edge_port tls)" ;;
        *) printf 'http://127.0.0.1:%d' "$(edge_port "${1:-}")" ;;
    esac
}

edge_pids() {
    pids_marked "FIRSTCOME_PROCESS=edge@$RUN_DIR"
}

edge_program() {
    PATH=$PATH:/usr/sbin command -v haproxy
}

edge_certificate() {
    install -d -m 700 "$RUN_DIR/edge"
    "$ROOT/packaging/make-certificate" "$RUN_DIR/edge" || die "openssl makes no certificate; $RUN_DIR/edge/openssl.log"
}

edge_environment() {
    local name
    printf '%s\n' "PATH=$PATH" "FIRSTCOME_PROCESS=edge@$RUN_DIR" "EDGE_BIND=127.0.0.1:$(edge_port)" \
        "COMMAND_ADDRESS=127.0.0.1:$(service_port command-service)" "QUERY_ADDRESS=127.0.0.1:$(service_port query-service)" \
        "PROJECTOR_ADDRESS=127.0.0.1:$(service_port projector)"
    for name in COMMAND_ADDRESS_2 QUERY_ADDRESS_2 EDGE_REQUESTS_MAX EDGE_CONNECTIONS_MAX; do
        if [[ ${!name:-} ]]; then
            printf '%s=%s\n' "$name" "${!name}"
        fi
    done
    if edge_whole; then
        printf '%s\n' "EDGE_TLS_BIND=127.0.0.1:$(edge_port tls)" "EDGE_CERTIFICATE=$RUN_DIR/edge/edge.pem" \
            "EDGE_METRICS_BIND=127.0.0.1:$(edge_port metrics)" "EDGE_WRITE_BIND=127.0.0.1:$(edge_port write)"
    fi
}

# For .run/env
edge_env_lines() {
    env_line EDGE_URL "$(edge_url)"
    if edge_whole; then
        env_line EDGE_TLS_URL "$(edge_url tls)"
        env_line EDGE_METRICS_URL "$(edge_url metrics)/metrics"
        env_line EDGE_WRITE_URL "$(edge_url write)"
        env_line EDGE_CA "$RUN_DIR/edge/ca.pem"
    fi
}

edge_start() {
    local program name environment
    if ! program=$(edge_program); then
        ! edge_whole || die "haproxy is not installed; run: tools/install run"
        say "    (no haproxy here: each service serves its half of the console by itself)"
        return
    fi
    say "==> Starting the edge on port $(edge_port)"
    require_port "$(edge_port)" "the edge"
    if edge_whole; then
        for name in "${EDGE_MORE[@]}"; do
            require_port "$(edge_port "$name")" "the edge ($name)"
        done
        edge_certificate
    fi
    mapfile -t environment < <(edge_environment)
    trim_log "$RUN_DIR/log/edge.log"
    detach "$RUN_DIR/log/edge.log" "$RUN_DIR" env -i "${environment[@]}" "$program" -db -f "$EDGE_CONFIG"
    wait_until 10 accepts_or_gone edge_accepts && edge_accepts && return
    show_log "$RUN_DIR/log/edge.log"
    die "the edge does not start; its log is $RUN_DIR/log/edge.log"
}

edge_accepts() {
    ! port_free "$(edge_port)"
}

edge_stop() {
    stop_pids 5 edge_pids USR1 TERM KILL || die "the edge does not stop"
}
