# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The edge of a stack: HAProxy, which puts the console and both APIs on one origin. Known by its marker, as services are.

EDGE_CONFIG=$ROOT/compose/edge/haproxy.cfg

edge_port() {
    echo $((PORT_BASE + 9))
}

edge_url() {
    printf 'http://127.0.0.1:%d' "$(edge_port)"
}

edge_pids() {
    pids_marked "FIRSTCOME_PROCESS=edge@$RUN_DIR"
}

edge_program() {
    PATH=$PATH:/usr/sbin command -v haproxy
}

edge_start() {
    local program
    if ! program=$(edge_program); then
        say "    (no haproxy here: each service serves its half of the console by itself)"
        return
    fi
    say "==> Starting the edge on port $(edge_port)"
    require_port "$(edge_port)" "the edge"
    trim_log "$RUN_DIR/log/edge.log"
    detach "$RUN_DIR/log/edge.log" "$RUN_DIR" env -i PATH="$PATH" "FIRSTCOME_PROCESS=edge@$RUN_DIR" \
        "EDGE_BIND=127.0.0.1:$(edge_port)" "COMMAND_ADDRESS=127.0.0.1:$(service_port command-service)" \
        "QUERY_ADDRESS=127.0.0.1:$(service_port query-service)" \
        "PROJECTOR_ADDRESS=127.0.0.1:$(service_port projector)" "$program" -db -f "$EDGE_CONFIG"
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
