# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The commands of docs/runbook.md, to be sourced into a shell after a stack's `env` (. .run/env). Each prints what it
# found; those that change something say so in their name and take the reason that is kept in the log.

# runbook_call METHOD URL TOKEN [BODY]: the answer; false unless it is 2xx. The token is not on the command line.
runbook_call() {
    local body=()
    if (($# > 3)); then
        body=(-H 'Content-Type: application/json' -d "$4")
    fi
    curl -sS --fail-with-body --max-time 10 -X "$1" "$2" -H @<(printf 'Authorization: Bearer %s\n' "$3") \
        -H "Idempotency-Key: runbook-$(</proc/sys/kernel/random/uuid)" "${body[@]}"
}

# What each service says of itself: what would refuse first, and why.
bottleneck() {
    printf 'command: %s\n' "$(runbook_call GET "$COMMAND_URL/v1/status" "$READ_TOKEN" | jq -r .bottleneck)"
    printf 'query: %s\n' "$(runbook_call GET "$QUERY_URL/v1/status" "$READ_TOKEN" | jq -r '"\(.mode): \(.bottleneck)"')"
}

# Queue and predicted wait of each slice of a command service.
queues() {
    runbook_call GET "$COMMAND_URL/v1/status" "$READ_TOKEN" | jq .
}

# metric NAME: its lines of all three services, those that are not 0.
metric() {
    local url
    for url in "$COMMAND_URL" "$QUERY_URL" "$PROJECTOR_URL"; do
        runbook_call GET "$url/metrics" "$READ_TOKEN" | grep -E "^$1[{ ]" | grep -vE ' 0$' || true
    done
}

# sql QUERY [OPTION OF PSQL…]: as the owner in DATABASE_URL (postgresql://user:password@host:port,…/database), whose password stays off the command line.
sql() {
    [[ $DATABASE_URL =~ ^(postgres(ql)?://[^:@/]*):([^@/]*)(@.*)$ ]] || { echo 'DATABASE_URL has another form' >&2; return 1; }
    PGPASSWORD=${BASH_REMATCH[3]} PGCONNECT_TIMEOUT=5 timeout 60 psql -X -d "${BASH_REMATCH[1]}${BASH_REMATCH[4]}" -c "$@"
}

# Who is connected to PostgreSQL and what each waits for.
sessions() {
    sql "SELECT application_name, state, wait_event_type, wait_event, count(*), max(now() - xact_start)
        AS longest FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC"
}

# Who holds the projector's lock, and whatever else is locked by advice.
lock_holders() {
    sql "SELECT pid, application_name, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory'"
}

# redis_ask COMMAND…: of the Redis of REDIS_URL (redis://user:password@host:port).
redis_ask() {
    [[ $REDIS_URL =~ ^redis://([^:@]*):([^@]*)@([^:/]*):([0-9]+) ]] || { echo 'REDIS_URL has another form' >&2; return 1; }
    REDISCLI_AUTH=${BASH_REMATCH[2]} timeout 5 redis-cli -h "${BASH_REMATCH[3]}" -p "${BASH_REMATCH[4]}" \
        --user "${BASH_REMATCH[1]:-default}" --no-auth-warning "$@"
}

# Role, memory, persistence and replication of Redis on one page.
redis_state() {
    redis_ask info | tr -d '\r' | grep -E '^(role|connected_slaves|master_link_status|used_memory|maxmemory|maxmemory_policy|evicted_keys|aof_last_write_status|rdb_last_bgsave_status|loading|sync_full|sync_partial_err):'
}

# set_profile normal|spike|incident REASON
set_profile() {
    runbook_call PUT "$COMMAND_URL/v1/settings/profile" "$ADMIN_TOKEN" "$(jq -cn --arg v "$1" --arg r "$2" '{value: $v, reason: $r}')"
}

# suspend_key NAME REASON, resume_key NAME REASON: the kill switch for one API key.
suspend_key() {
    runbook_call POST "$COMMAND_URL/v1/issuers/$1/suspend" "$ADMIN_TOKEN" "$(jq -cn --arg r "$2" '{reason: $r}')"
}

resume_key() {
    runbook_call POST "$COMMAND_URL/v1/issuers/$1/resume" "$ADMIN_TOKEN" "$(jq -cn --arg r "$2" '{reason: $r}')"
}

# pause_campaign ID REASON, resume_campaign ID REASON
pause_campaign() {
    runbook_call POST "$COMMAND_URL/v1/campaigns/$1/pause" "$ADMIN_TOKEN" "$(jq -cn --arg r "$2" '{reason: $r}')"
}

resume_campaign() {
    runbook_call POST "$COMMAND_URL/v1/campaigns/$1/resume" "$ADMIN_TOKEN" "$(jq -cn --arg r "$2" '{reason: $r}')"
}

# count_unissued KEY SINCE: `voidable` of the campaigns that key made since then have nothing issued.
# void_unissued KEY SINCE REASON takes them away.
count_unissued() {
    runbook_call POST "$COMMAND_URL/v1/campaigns/void" "$ADMIN_TOKEN" \
        "$(jq -cn --arg k "$1" --arg t "$2" '{created_by: $k, created_after: $t, dry_run: true}')"
}

void_unissued() {
    runbook_call POST "$COMMAND_URL/v1/campaigns/void" "$ADMIN_TOKEN" \
        "$(jq -cn --arg k "$1" --arg t "$2" --arg r "$3" '{created_by: $k, created_after: $t, reason: $r}')"
}
