# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the stacks of tests start from: a cluster with roles and schema, made once, and copied for each. Only where
# STACK_TEMPLATES names a directory for it; tests/lib/stack.c does. Its secrets are copied with it, so all stacks of
# one template share them: nothing for a stack that is to stay.
#   $STACK_TEMPLATES/KEY/data, secrets   the cluster, stopped, and the passwords that it knows
#   $STACK_TEMPLATES/KEY/entries         every path in data, sorted
#   $STACK_TEMPLATES/KEY/spent-*         data of stacks that ended. Files made again under their old names cost a
#                                        tenth of new ones where a file system does not soon use freed inodes again.

TEMPLATE=
TEMPLATE_LOCK=
TEMPLATE_STATE=none # none, copied, or wanted: this stack is to become it
SPENT_MAX=6

# All that decides what is in a new cluster.
template_key() {
    {
        cat "$ROOT"/schema/*.sql "$ROOT/schema/migrate" "$ROOT"/tools/lib/{postgres,secrets,template}.sh
        "$PG_PROGRAMS/postgres" --version
        echo "$SERVER_USER"
    } | sha256sum | cut -c 1-16
}

# Called before secrets are made. Several may copy at once; one makes, and nobody copies meanwhile.
template_take() {
    if [[ -z ${STACK_TEMPLATES:-} || -d $PG_DATA ]]; then
        return
    fi
    mkdir -p "$STACK_TEMPLATES"
    TEMPLATE=$STACK_TEMPLATES/$(template_key)
    exec {TEMPLATE_LOCK}>"$STACK_TEMPLATES/lock"
    flock -s -w 180 "$TEMPLATE_LOCK" || die "another stack works on $STACK_TEMPLATES and does not end"
    if [[ ! -d $TEMPLATE ]]; then
        flock -u "$TEMPLATE_LOCK"
        flock -w 180 "$TEMPLATE_LOCK" || die "another stack works on $STACK_TEMPLATES and does not end"
        if [[ ! -d $TEMPLATE ]]; then
            TEMPLATE_STATE=wanted
            return # with the lock
        fi
    fi
    template_copy
    exec {TEMPLATE_LOCK}>&-
    TEMPLATE_STATE=copied
}

template_copy() {
    local new=$RUN_DIR/pg/data.new spent
    install -d -m 755 "$RUN_DIR/pg"
    rm -rf "$new"
    for spent in "$TEMPLATE"/spent-*; do
        if mv -T "$spent" "$new" 2>/dev/null; then
            template_restore "$new" && break
            rm -rf "$new"
        fi
    done
    if [[ ! -d $new ]]; then
        cp -a --reflink=auto "$TEMPLATE/data" "$new"
    fi
    cp -a "$TEMPLATE/secrets" "$SECRETS_DIR"
    mv "$new" "$PG_DATA"
}

# template_restore DIRECTORY: makes it equal to the template again. What is in excess goes first: a segment of the
# log that stayed would be replayed after a crash.
template_restore() {
    (cd "$1" && find . | LC_ALL=C sort | LC_ALL=C comm -23 - "$TEMPLATE/entries" | tr '\n' '\0' | xargs -0r rm -rf --) &&
        cp -a -T "$TEMPLATE/data" "$1"
}

# Called when the cluster is migrated and nobody has used it yet.
template_keep() {
    local new=$TEMPLATE.new old
    if [[ $TEMPLATE_STATE != wanted ]]; then
        return
    fi
    pg_stop
    for old in "$STACK_TEMPLATES"/*/ "$new"; do # of former schemas, and of one who was killed
        rm -rf "$old"
    done
    install -d -m 700 "$new"
    cp -a --reflink=auto "$PG_DATA" "$new/data"
    rm -f "$new/data/postmaster.opts"
    cp -a "$SECRETS_DIR" "$new/secrets"
    (cd "$new/data" && find . | LC_ALL=C sort) >"$new/entries"
    mv "$new" "$TEMPLATE"
    exec {TEMPLATE_LOCK}>&-
    pg_launch
}

# Called when nothing works on the data any more and nobody wants it.
template_return() {
    local kept
    if [[ -z ${STACK_TEMPLATES:-} || ! -d $PG_DATA ]]; then
        return
    fi
    TEMPLATE=$STACK_TEMPLATES/$(template_key)
    kept=("$TEMPLATE"/spent-*)
    if [[ -d $TEMPLATE && $(stat -c %d "$TEMPLATE" "$PG_DATA" | sort -u | wc -l) == 1 ]] && ((${#kept[@]} < SPENT_MAX)); then
        mv -T "$PG_DATA" "$TEMPLATE/spent-$$-$RANDOM" || true
    fi
}
