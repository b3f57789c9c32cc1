# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What must not be guessed: passwords, API tokens, the key that codes are derived from. Each is one file below
# $RUN_DIR/secrets, made once. None of them is ever an argument of a process, where ps would show it.

SECRETS_DIR=
DATABASE_ROLES=(owner command projector query)
REDIS_USERS=(default projector query)
TOKEN_NAMES=(admin issue redeem read)

secret() {
    local value
    value=$(<"$SECRETS_DIR/$1") && printf '%s\n' "$value"
}

# keep_secret NAME PATTERN COMMAND...: makes the secret unless a whole one is there already.
keep_secret() {
    local name=$1 pattern=$2
    shift 2
    local file=$SECRETS_DIR/$name
    if [[ -f $file && $(<"$file") =~ ^$pattern$ ]]; then
        return
    fi
    "$@" | write_file 600 "$file"
}

new_token() {
    printf 'fc_%s' "$(head -c 32 /dev/urandom | base64 -w0 | tr '+/' '-_' | tr -d '=')"
}

token_hash() {
    printf '%s' "$(secret "$1.token")" | sha256sum | cut -d' ' -f1
}

token_scopes() {
    case $1 in
        admin) echo admin,issue,redeem,read ;;
        redeem) echo redeem,redeem-by-id ;;
        *) echo "$1" ;;
    esac
}

# Data without its secrets is unusable: the superuser cannot log in, and codes already handed out would no
# longer verify. Making new ones would hide that, so say it.
refuse_lost_secrets() {
    local name
    if [[ ! -d $PG_DATA ]]; then
        return
    fi
    for name in postgres.password code.key; do
        [[ -s $SECRETS_DIR/$name ]] ||
            die "$PG_DATA has data but $SECRETS_DIR/$name is gone; put it back, or remove $RUN_DIR to start afresh"
    done
}

make_secrets() {
    local name
    refuse_lost_secrets
    install -d -m 700 "$SECRETS_DIR"
    keep_secret postgres.password '[0-9a-f]{48}' random_hex 24
    keep_secret code.key '[0-9a-f]{64}' random_hex 32
    for name in "${DATABASE_ROLES[@]}"; do
        keep_secret "database-$name.password" '[0-9a-f]{48}' random_hex 24
    done
    for name in "${REDIS_USERS[@]}"; do
        keep_secret "redis-$name.password" '[0-9a-f]{48}' random_hex 24
    done
    for name in "${TOKEN_NAMES[@]}"; do
        keep_secret "$name.token" 'fc_[A-Za-z0-9_-]{43}' new_token
    done
    keep_api_keys
}

# The services' key file: "<name> <scopes> <sha256 of the token>". Lines an operator added stay; ours are
# rewritten only when a token changed.
keep_api_keys() {
    local file=$SECRETS_DIR/api-keys name lines=''
    for name in "${TOKEN_NAMES[@]}"; do
        lines+="$name $(token_scopes "$name") $(token_hash "$name")"$'\n'
    done
    if [[ -f $file && $(grep -cxF -- "${lines%$'\n'}" "$file") == "${#TOKEN_NAMES[@]}" ]]; then
        return
    fi
    {
        printf '%s' "$lines"
        if [[ -f $file ]]; then
            grep -vE '^(admin|issue|redeem|read) ' "$file" || true
        fi
    } | write_file 600 "$file"
}
