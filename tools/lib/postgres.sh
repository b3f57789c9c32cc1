# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A private PostgreSQL 15 below $RUN_DIR/pg: a real server, durable, reachable on 127.0.0.1 only. With SHARDS=2 a second one
# below $RUN_DIR/pg2, with the same passwords.

PG_HOME=
PG_DATA=
PG_OFFSET=3
PG_PROGRAMS=

# Finds the programs by version, not through Debian's wrappers: those look for clusters of the system.
find_postgres() {
    PG_PROGRAMS=/usr/lib/postgresql/15/bin
    [[ -x $PG_PROGRAMS/postgres ]] || die "PostgreSQL 15 is not installed; run: tools/install run"
}

# The postmaster and, after it was killed, what is left of its children.
pg_pids() {
    if [[ -d $PG_DATA ]]; then
        pids_in "$PG_DATA" postgres
    fi
}

# Only the postmaster still shows the arguments it was started with; its children rewrite theirs.
pg_postmaster() {
    local pid arguments
    for pid in $(pg_pids); do
        { mapfile -d '' -t arguments <"/proc/$pid/cmdline"; } 2>/dev/null || continue
        if [[ " ${arguments[*]} " == *' -D '* ]]; then
            echo "$pid"
        fi
    done
}

pg_accepts() {
    "$PG_PROGRAMS/pg_isready" -q -h 127.0.0.1 -p "$(pg_port)" -t 2
}

pg_port() {
    echo $((PORT_BASE + PG_OFFSET))
}

# on_second COMMAND...: the same with the second server. Nothing where there is none.
on_second() {
    local PG_HOME=$RUN_DIR/pg2 PG_DATA=$RUN_DIR/pg2/data PG_OFFSET=13 TEMPLATE_STATE=none
    if ((SHARDS > 1)); then
        "$@"
    fi
}

pg_config() {
    cat <<END
# Written by tools/stack at every start; what is not here is PostgreSQL's default.
hba_file = '$PG_HOME/pg_hba.conf'
listen_addresses = '127.0.0.1'
port = $(pg_port)
unix_socket_directories = ''    # the path of a run directory may be longer than a socket's may be
cluster_name = 'firstcome-$PORT_BASE'

# One file for each hour of the day, begun anew when its hour comes round.
logging_collector = on
log_directory = '$PG_HOME/log'
log_filename = 'postgresql-%H.log'
log_file_mode = 0640
log_rotation_age = 60
log_rotation_size = 0
log_truncate_on_rotation = on

$(<"$ROOT/packaging/postgresql.conf")
END
}

pg_hba() {
    cat <<'END'
# Passwords for everyone, this machine only, nothing else.
host all all 127.0.0.1/32 scram-sha-256
END
}

# Makes the cluster under another name and moves it into place, so that a run killed in the middle leaves
# nothing that looks finished.
pg_initialise() {
    local new=$PG_HOME/data.new password_file=$PG_HOME/password.new
    if [[ -d $PG_DATA ]]; then
        return
    fi
    say "==> Creating a PostgreSQL cluster in $PG_DATA"
    rm -rf "$new"
    make_server_directory "$new"
    write_file 600 "$password_file" <"$SECRETS_DIR/postgres.password"
    give_to_server "$password_file"
    if ! as_server "$PG_PROGRAMS/initdb" -D "$new" --username=postgres --pwfile="$password_file" \
        --auth=scram-sha-256 --data-checksums --encoding=UTF8 --lc-collate=C --lc-ctype=C.UTF-8 \
        --no-instructions >"$RUN_DIR/log/initdb.log" 2>&1; then
        rm -f "$password_file"
        tail -n 20 "$RUN_DIR/log/initdb.log" >&2
        die "initdb failed"
    fi
    rm -f "$password_file"
    mv "$new" "$PG_DATA"
}

make_server_directory() {
    install -d -m 700 ${SERVER_USER:+-o "$SERVER_USER" -g "$SERVER_USER"} "$1"
}

give_to_server() {
    if [[ $SERVER_USER ]]; then
        chown "$SERVER_USER:" "$1"
    fi
}

# server_config PATH: installs standard input as a server's configuration. True when it was that already.
server_config() {
    local path=$1
    write_file 600 "$path.wanted"
    if [[ -f $path ]] && cmp -s "$path.wanted" "$path"; then
        rm -f "$path.wanted"
        return 0
    fi
    give_to_server "$path.wanted"
    mv -f "$path.wanted" "$path"
    return 1
}

# A running server with the configuration we want and willing to talk is kept.
pg_start() {
    local unchanged=yes
    install -d -m 755 "$PG_HOME"
    make_server_directory "$PG_HOME/log"
    pg_initialise
    pg_hba | server_config "$PG_HOME/pg_hba.conf" || unchanged=
    pg_config | server_config "$PG_HOME/postgresql.conf" || unchanged=
    if [[ $TEMPLATE_STATE == copied ]]; then
        pg_launch # nobody can work on what has just been made
        return
    fi
    if [[ $unchanged && $(pg_postmaster) ]] && wait_until 5 pg_accepts; then
        say "==> PostgreSQL is running on port $(pg_port)"
        return
    fi
    pg_stop
    require_port "$(pg_port)" PostgreSQL
    pg_launch
}

pg_launch() {
    say "==> Starting PostgreSQL on port $(pg_port)"
    # No process works on this directory any more (pg_stop made sure), so a pid file is a leftover. The server
    # would take it seriously if another process of its user had that pid by now.
    rm -f "$PG_DATA/postmaster.pid"
    : >"$RUN_DIR/log/postgresql-start.log"
    detach_server "$RUN_DIR/log/postgresql-start.log" "$PG_PROGRAMS/postgres" -D "$PG_DATA" \
        "--config-file=$PG_HOME/postgresql.conf"
    # After a crash the log is replayed first; with 2 GB of it that may take a while.
    if ! wait_until "${PG_START_SECONDS:-120}" accepts_or_gone pg_accepts || ! pg_accepts; then
        show_log "$RUN_DIR/log/postgresql-start.log"
        die "PostgreSQL did not start; its log is in $PG_HOME/log"
    fi
    pg_postmaster >"$PG_HOME/pid"
}

# SIGINT is PostgreSQL's fast shutdown: sessions are cut, everything committed is on disk.
pg_stop() {
    if [[ $(pg_postmaster) ]]; then
        stop_pids "${PG_STOP_SECONDS:-60}" pg_postmaster INT QUIT || true
    fi
    # Children of a killed postmaster notice within moments; one deep in a query may not.
    wait_until 5 none_left pg_pids || stop_pids 5 pg_pids QUIT KILL || die "PostgreSQL does not stop"
    rm -f "$PG_HOME/pid"
}

# Runs psql as superuser. The password goes through the environment, which only the same user can read.
pg_superuser() {
    PGPASSWORD=$(secret postgres.password) PGCONNECT_TIMEOUT=10 "$PG_PROGRAMS/psql" -X -q \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(pg_port)" -U postgres -d postgres "$@"
}

pg_bootstrap() {
    say "==> Preparing database and roles"
    FIRSTCOME_PASSWORD=$(secret database-owner.password) \
        FIRSTCOME_COMMAND_PASSWORD=$(secret database-command.password) \
        FIRSTCOME_PROJECTOR_PASSWORD=$(secret database-projector.password) \
        FIRSTCOME_QUERY_PASSWORD=$(secret database-query.password) \
        pg_superuser -f "$ROOT/schema/bootstrap.sql" ||
        die "the database could not be prepared (see above)"
}

# database_url ROLE: role is owner, command, projector or query.
database_url() {
    local user=firstcome
    if [[ $1 != owner ]]; then
        user=firstcome_$1
    fi
    printf 'postgresql://%s:%s@127.0.0.1:%d/firstcome' "$user" "$(secret "database-$1.password")" "$(pg_port)"
}

# The shard map as one role sees it. Has its password.
shard_map() {
    printf '0-7   %s\n' "$(database_url "$1")"
    printf '8-15  %s\n' "$(on_second database_url "$1")"
}

migrate() {
    say "==> Applying migrations"
    if ((SHARDS > 1)); then
        SHARDS_FILE=$RUN_DIR/owner.shards "$ROOT/schema/migrate"
    else
        DATABASE_URL=$(database_url owner) "$ROOT/schema/migrate"
    fi
}
