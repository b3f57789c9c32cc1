# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The proof that a stack works: one campaign, one coupon, read back through all three services. Runs at the end
# of every `up`, in plain words, and stops at the first answer that is not what it should be.

SMOKE_DIR=
HTTP_STATUS=

# http TOKEN METHOD URL [CURL-ARGUMENT...]: status in HTTP_STATUS, body and headers in $SMOKE_DIR.
http() {
    local token=$1 method=$2 url=$3
    shift 3
    : >"$SMOKE_DIR/body"
    # curl reads the Authorization line from a descriptor: an argument would be seen in ps.
    HTTP_STATUS=$(curl -q -sS --noproxy '*' --max-time 10 -X "$method" "$@" -D "$SMOKE_DIR/headers" \
        -H @<(printf 'Authorization: Bearer %s\n' "$(secret "$token.token")") \
        -o "$SMOKE_DIR/body" -w '%{http_code}' "$url") || HTTP_STATUS='no answer'
}

# post TOKEN URL JSON
post() {
    http "$1" POST "$2" -H 'Content-Type: application/json' -H "Idempotency-Key: sample-$(random_hex 12)" \
        --data-binary "$3"
}

answer() {
    jq -r "$1" "$SMOKE_DIR/body"
}

answer_header() {
    awk -v name="$1" 'BEGIN { FS = ": " } tolower($1) == name { sub(/\r$/, "", $2); print $2 }' "$SMOKE_DIR/headers"
}

# expect STATUS WHAT [JQ-CONDITION]
expect() {
    local status=$1 what=$2 condition=${3:-true}
    if [[ $HTTP_STATUS == "$status" ]] &&
        { [[ $condition == true ]] || jq -e "$condition" "$SMOKE_DIR/body" >/dev/null 2>&1; }; then
        return
    fi
    cat "$SMOKE_DIR/body" >&2
    printf '\n' >&2
    die "$what: got status $HTTP_STATUS, wanted $status with $condition (logs: $RUN_DIR/log)"
}

# read_after TOKEN-HEADER URL: a read that must reflect the write; "not yet" may be retried, for a while.
read_after() {
    http read GET "$2" -H "Consistency-Token: $1"
    [[ $HTTP_STATUS != 503 && $HTTP_STATUS != 504 ]]
}

smoke() {
    SMOKE_DIR=$RUN_DIR/smoke
    rm -rf "$SMOKE_DIR"
    install -d -m 700 "$SMOKE_DIR"
    smoke_steps
    rm -rf "$SMOKE_DIR"
}

smoke_steps() {
    local campaign coupon sequence token command query
    campaign=sample-$(date -u +%Y%m%d-%H%M%S)-$(random_hex 2)
    command=$(service_url command-service) query=$(service_url query-service)
    say "==> Trying it out"

    post admin "$command/v1/campaigns" "{\"id\":\"$campaign\",\"name\":\"Sample campaign\",
        \"discount\":{\"type\":\"percent\",\"percent\":10},\"currency\":\"EUR\",\"quantity\":100}"
    expect 201 'creating a campaign' ".id == \"$campaign\""
    say "    command service: created campaign $campaign with 100 coupons of 10 %"

    post issue "$command/v1/campaigns/$campaign/coupons" '{"user_id":"sample-user"}'
    expect 201 'issuing a coupon' '.sequence == 1'
    coupon=$(answer .coupon_id) sequence=$(answer .sequence) token=$(answer_header consistency-token)
    [[ $token ]] || die "issuing a coupon: the answer has no Consistency-Token"
    say "    command service: issued coupon $coupon, number $sequence of the campaign"

    wait_until 10 read_after "$token" "$query/v1/campaigns/$campaign/users/sample-user" || true
    expect 200 'reading the coupon back' ".issued == 1 and (.coupon_ids | index(\"$coupon\")) != null"
    say "    query service:   the user holds 1 coupon, that one"

    http read GET "$(service_url projector)/readyz"
    expect 200 "the projector's readiness"
    say "    projector:       follows the log and is ready"
    say_next "$campaign" "$coupon"
}

say_next() {
    local env=$RUN_DIR/env
    if [[ $env == "$PWD"/* ]]; then
        env=${env#"$PWD/"}
    fi
    cat <<END

It works. To go on by hand:
    . '$env'
    # issue a coupon to another user
    curl -X POST "\$COMMAND_URL/v1/campaigns/$1/coupons" -H "Authorization: Bearer \$ISSUE_TOKEN" \\
        -H "Idempotency-Key: \$(date +%s%N)" -H 'Content-Type: application/json' -d '{"user_id":"alice"}'
    # what the campaign looks like, who holds its coupons, one coupon
    curl -H "Authorization: Bearer \$READ_TOKEN" "\$QUERY_URL/v1/campaigns/$1"
    curl -H "Authorization: Bearer \$READ_TOKEN" "\$QUERY_URL/v1/campaigns/$1/coupons"
    curl -H "Authorization: Bearer \$READ_TOKEN" "\$QUERY_URL/v1/coupons/$2"
    # the console, with \$ADMIN_TOKEN as its key
    $(edge_pids | grep -q . && edge_url || service_url query-service)/console
    # how it is doing
    curl "\$COMMAND_URL/metrics"; tools/stack status
\`make storm\` sends the crowd, \`make down\` stops everything and keeps the data.
END
}
