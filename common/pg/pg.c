/* SPDX-License-Identifier: Apache-2.0 */
/* A pipelined connection to PostgreSQL over libpq: connecting, rounds, deadlines, error classes, reading
 * rows. Every wait is a poll() of our own with the caller's deadline; libpq never blocks, with one exception:
 * it resolves host names with getaddrinfo(), which knows no deadline. Use numeric hosts or a local resolver
 * where that matters. */
#include "common/pg/pg.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pg/hosts.h"
#include "common/pg/session.h"
#include "common/pg/wire.h"

enum { ERROR_MAX = 256, SQLSTATE_LEN = 5, BINARY = 1 };

/* Opened by the first pg_send after a round ended, closed by pg_sync, over when every result was received. */
enum round { ROUND_NONE, ROUND_OPEN, ROUND_SYNCED };

struct pg {
    struct pg_options options; /* texts are copies, statements are borrowed */
    PQconninfoOption *parts;   /* of the URL; NULL: it cannot be read */
    struct pg_hosts hosts;
    PGconn *conn; /* NULL: not connected */
    enum round round;
    size_t awaited;        /* results of the round not received yet */
    bool rollback_awaited; /* a ROLLBACK of our own is in flight ahead of the round */
    bool refused;          /* a statement of the round was refused */
    bool setting_up;       /* settings and statements are on their way, no parameter is a user's */
    bool alone;            /* a commit was not waited for: it is on this server, perhaps on no standby */
    char sqlstate[SQLSTATE_LEN + 1];
    char error[ERROR_MAX];
};

static const struct pg_statement rollback_statement = {"pg_rollback", "ROLLBACK"};

static char *copy_text(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

bool pg_url_check(const char *url, char *reason, size_t reason_size)
{
    /* libpq's own message quotes the text, which may hold a password. */
    bool is_url = strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
    PQconninfoOption *parts = is_url ? PQconninfoParse(url, NULL) : NULL;
    if (!parts)
        snprintf(reason, reason_size, "must be postgresql://user:password@host:port/database");
    PQconninfoFree(parts);
    return parts != NULL;
}

static const char *part_of(const struct pg *pg, const char *keyword)
{
    const PQconninfoOption *part = pg->parts;
    while (part && part->keyword && strcmp(part->keyword, keyword) != 0)
        part++;
    return part && part->keyword ? part->val : NULL;
}

/* Hosts are connected to one by one, each with its share of the deadline; libpq would let the first use all
 * of it. Only "prefer-standby" is left to libpq: it goes through the list twice. */
static void find_hosts(struct pg *pg)
{
    const char *wanted = part_of(pg, "target_session_attrs");
    if (!pg->options.read_write && wanted && strcmp(wanted, "prefer-standby") == 0)
        pg_hosts_init(&pg->hosts, NULL, NULL, NULL);
    else
        pg_hosts_init(&pg->hosts, part_of(pg, "host"), part_of(pg, "hostaddr"), part_of(pg, "port"));
}

struct pg *pg_create(const struct pg_options *options)
{
    CHECK(options->url != NULL);
    struct pg *pg = mem_zalloc(sizeof *pg);
    pg->options = *options;
    pg->options.url = NULL; /* its parts are all that is needed */
    pg->options.role = copy_text(options->role);
    pg->options.application = copy_text(options->application);
    pg->parts = PQconninfoParse(options->url, NULL);
    find_hosts(pg);
    return pg;
}

void pg_destroy(struct pg *pg)
{
    if (!pg)
        return;
    pg_disconnect(pg);
    PQconninfoFree(pg->parts);
    pg_hosts_deinit(&pg->hosts);
    mem_free((char *)pg->options.role);
    mem_free((char *)pg->options.application);
    mem_free(pg);
}

void pg_disconnect(struct pg *pg)
{
    PQfinish(pg->conn); /* accepts NULL; says goodbye without blocking */
    pg->conn = NULL;
    pg->round = ROUND_NONE;
    pg->awaited = 0;
    pg->rollback_awaited = pg->refused = pg->setting_up = pg->alone = false;
}

bool pg_connected(const struct pg *pg)
{
    return pg->conn && PQstatus(pg->conn) == CONNECTION_OK;
}

const char *pg_error(const struct pg *pg)
{
    return pg->error;
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

int pg_socket(const struct pg *pg)
{
    return pg->conn ? PQsocket(pg->conn) : -1;
}

/* Keeps the first line of a message. */
static void set_error(struct pg *pg, const char *what, const char *message)
{
    size_t line = strcspn(message, "\r\n");
    snprintf(pg->error, sizeof pg->error, "%s%s%.*s", what, line ? ": " : "", (int)line, message);
}

static enum pg_status lose(struct pg *pg, const char *what)
{
    set_error(pg, what, pg->conn ? PQerrorMessage(pg->conn) : "");
    pg->sqlstate[0] = '\0';
    pg_disconnect(pg);
    return PG_LOST;
}

static enum pg_status time_out(struct pg *pg, const char *what)
{
    set_error(pg, what, "deadline passed");
    pg->sqlstate[0] = '\0';
    pg_disconnect(pg);
    return PG_TIMEOUT;
}

enum wait { WAIT_READY, WAIT_DEADLINE, WAIT_BROKEN };

/* Looks at least once, so that a result which has arrived is read even past the deadline. */
static enum wait wait_socket(const struct pg *pg, short events, int64_t deadline_us)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = PQsocket(pg->conn), .events = events};
        int ready = poll(&poll_fd, 1, clock_remaining_ms(deadline_us));
        if (ready > 0)
            return WAIT_READY;
        if (ready < 0 && errno != EINTR)
            return WAIT_BROKEN;
        if (clock_remaining_ms(deadline_us) == 0)
            return WAIT_DEADLINE;
    }
}

static const char *error_field(const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    return text ? text : "";
}

/* A server whose wait for its standbys is cut off (pg_cancel_backend, a signal) says that the commit
 * succeeded, and adds a warning, which only its origin tells from others in every language. */
static void receive_notice(void *context, const PGresult *notice)
{
    struct pg *pg = context;
    pg->alone |= strcmp(error_field(notice, PG_DIAG_SOURCE_FUNCTION), "SyncRepWaitForLSN") == 0;
}

/* Of two values for one parameter libpq takes the later: those before the URL's are defaults, those after it
 * stand. Without GSS because looking for tickets reads files and environment that have nothing to do with us.
 */
static PGconn *start_connecting(const struct pg *pg, const struct pg_host *host)
{
    struct pg_parameters all = {.count = 0};
    pg_parameters_put(&all, "gssencmode", "disable");
    pg_parameters_put(&all, "keepalives_idle", "5");
    pg_parameters_put(&all, "keepalives_interval", "5");
    pg_parameters_put(&all, "keepalives_count", "2");
    pg_parameters_put(&all, "tcp_user_timeout", PG_PEER_TIMEOUT_MS);
    for (const PQconninfoOption *part = pg->parts; part->keyword; part++)
        pg_parameters_put(&all, part->keyword,
                          pg_hosts_parameter(&pg->hosts, host, part->keyword, part->val));
    pg_parameters_put(&all, "client_encoding", "UTF8");
    pg_parameters_put(&all, "application_name", pg->options.application ? pg->options.application : "");
    pg_parameters_put(&all, "target_session_attrs", pg->options.read_write ? "read-write" : NULL);
    return PQconnectStartParams(all.keywords, all.values, 0);
}

static enum pg_status finish_connecting(struct pg *pg, int64_t deadline_us)
{
    PostgresPollingStatusType step = PGRES_POLLING_WRITING; /* what libpq wants first, by its manual */
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED)
            return lose(pg, "connecting");
        short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        enum wait wait = wait_socket(pg, events, deadline_us);
        if (wait != WAIT_READY)
            return wait == WAIT_DEADLINE ? time_out(pg, "connecting") : lose(pg, "connecting");
        step = PQconnectPoll(pg->conn);
    }
    return PG_OK;
}

static bool send_settings(struct pg *pg)
{
    char timeouts[3][24];
    const struct pg_options *options = &pg->options;
    snprintf(timeouts[0], sizeof timeouts[0], "%lld", (long long)options->statement_timeout_ms);
    snprintf(timeouts[1], sizeof timeouts[1], "%lld", (long long)options->lock_timeout_ms);
    snprintf(timeouts[2], sizeof timeouts[2], "%lld", (long long)options->idle_in_transaction_timeout_ms);
    const char *values[] = {timeouts[0],
                            timeouts[1],
                            timeouts[2],
                            options->role /* NULL: as it was */,
                            options->first_few ? "off" : "on",
                            options->snapshot ? "repeatable read" : "read committed"};
    return PQsendQueryParams(pg->conn, pg_session_sql, COUNT_OF(values), NULL, values, NULL, NULL, BINARY) ==
           1;
}

/* With the settings, so that it costs no round trip. */
static bool ask_schema(struct pg *pg)
{
    return PQsendQueryParams(pg->conn, "SELECT coalesce(max(number), 0)::text FROM schema_migration", 0, NULL,
                             NULL, NULL, NULL, BINARY) == 1;
}

static enum pg_status receive_result(struct pg *pg, int64_t deadline_us, PGresult **ret) MUST_USE;
static enum pg_status finish_round(struct pg *pg, int64_t deadline_us) MUST_USE;

static bool prepare(struct pg *pg, const struct pg_statement *statement)
{
    return PQsendPrepare(pg->conn, statement->name, statement->sql, 0, NULL) == 1;
}

static bool send_session(struct pg *pg)
{
    bool sent = PQsetnonblocking(pg->conn, 1) == 0 && PQenterPipelineMode(pg->conn) == 1 &&
                send_settings(pg) && (pg->options.schema == 0 || ask_schema(pg)) &&
                prepare(pg, &rollback_statement);
    for (size_t i = 0; sent && i < pg->options.statements_count; i++)
        sent = prepare(pg, &pg->options.statements[i]);
    pg->awaited = pg->options.statements_count + 2 + (pg->options.schema > 0);
    pg->round = ROUND_SYNCED;
    return sent && PQpipelineSync(pg->conn) == 1;
}

/* A server that refuses a setting or a statement is no use: the schema is not the one this program knows. */
static enum pg_status refuse_session(struct pg *pg)
{
    char refusal[ERROR_MAX];
    size_t at =
        pg->options.statements_count - pg->awaited; /* only meaningful for statements, which come last */
    const char *name = pg->awaited <= pg->options.statements_count && pg->awaited > 0
                           ? pg->options.statements[at].name
                           : "session";
    memcpy(refusal, pg->error, sizeof refusal);
    pg_disconnect(pg);
    snprintf(pg->error, sizeof pg->error, "preparing %.64s: %.170s", name, refusal);
    pg->sqlstate[0] = '\0';
    return PG_LOST;
}

/* Statements of another schema might be prepared all the same and find half of what is there. */
static enum pg_status refuse_schema(struct pg *pg, const char *number)
{
    char error[ERROR_MAX];
    snprintf(error, sizeof error, "its schema is at %.8s, this program needs %d: run schema/migrate", number,
             pg->options.schema);
    pg_disconnect(pg);
    memcpy(pg->error, error, sizeof error);
    return PG_LOST;
}

/* Settings and statements in one round trip. */
static enum pg_status set_up_session(struct pg *pg, int64_t deadline_us)
{
    pg->setting_up = true;
    if (!send_session(pg))
        return lose(pg, "setting up the session");
    for (; pg->awaited > 0; pg->awaited--) {
        PGresult *result;
        enum pg_status status = receive_result(pg, deadline_us, &result);
        bool is_schema = pg->options.schema > 0 && pg->awaited == pg->options.statements_count + 2;
        int64_t number;
        if (status == PG_OK && is_schema &&
            !parse_i64(span_of(PQgetvalue(result, 0, 0)), pg->options.schema, INT64_MAX, &number))
            status = refuse_schema(pg, PQgetvalue(result, 0, 0));
        PQclear(result);
        if (status != PG_OK)
            return status == PG_REFUSED ? refuse_session(pg) : status;
    }
    enum pg_status status = finish_round(pg, deadline_us);
    if (status == PG_REFUSED)
        return refuse_session(pg);
    pg->setting_up = false;
    return status;
}

static enum pg_status connect_to(struct pg *pg, const struct pg_host *host, int64_t deadline_us)
{
    pg->error[0] = pg->sqlstate[0] = '\0';
    pg->conn = start_connecting(pg, host);
    if (PQstatus(pg->conn) == CONNECTION_BAD) /* of NULL, which means out of memory, too */
        return lose(pg, pg->conn ? "connecting" : "connecting: out of memory");
    PQsetNoticeReceiver(pg->conn, receive_notice, pg);
    enum pg_status status = finish_connecting(pg, deadline_us);
    return status == PG_OK ? set_up_session(pg, deadline_us) : status;
}

enum pg_status pg_connect(struct pg *pg, int64_t deadline_us)
{
    enum pg_status status = PG_LOST;
    pg_disconnect(pg);
    if (!pg->parts)
        set_error(pg, "connecting", "the URL cannot be read");
    for (size_t i = 0; pg->parts && i < pg->hosts.count && status != PG_OK; i++) {
        int64_t until_us = pg_hosts_deadline_us(&pg->hosts, i, clock_mono_us(), deadline_us);
        status = connect_to(pg, pg_hosts_nth(&pg->hosts, i), until_us);
        if (status == PG_OK)
            pg_hosts_prefer(&pg->hosts, i);
    }
    return status;
}

static bool send_prepared(struct pg *pg, const char *name, const struct pg_args *args)
{
    const char *values[PG_ARGS_MAX];
    int lengths[PG_ARGS_MAX], formats[PG_ARGS_MAX];
    int count = args ? args->count : 0;
    CHECK(!args || (!args->open_array && !args->data.overflow));
    for (int i = 0; i < count; i++) {
        bool null = args->values[i].length < 0;
        values[i] = null ? NULL : args->data.data + args->values[i].offset;
        lengths[i] = null ? 0 : args->values[i].length;
        formats[i] = BINARY;
    }
    return PQsendQueryPrepared(pg->conn, name, count, values, lengths, formats, BINARY) == 1;
}

void pg_send(struct pg *pg, size_t statement, const struct pg_args *args)
{
    CHECK(statement < pg->options.statements_count);
    CHECK(pg->round != ROUND_SYNCED); /* every result of the round before must have been received */
    if (!pg->conn)
        return; /* pg_receive says so */
    pg->round = ROUND_OPEN;
    pg->refused = false;
    pg->awaited++;
    if (!send_prepared(pg, pg->options.statements[statement].name, args))
        (void)lose(pg, "sending");
}

void pg_sync(struct pg *pg)
{
    if (!pg->conn)
        return;
    CHECK(pg->round == ROUND_OPEN);
    pg->round = ROUND_SYNCED;
    if (PQpipelineSync(pg->conn) != 1)
        (void)lose(pg, "sending");
}

/* Waits until libpq has something to hand out. Writes what is left to write and reads at the same time: the
 * server may not read on before we took what it has to say. */
static enum pg_status wait_result(struct pg *pg, int64_t deadline_us)
{
    while (PQisBusy(pg->conn)) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return lose(pg, "sending");
        short events = unsent ? POLLIN | POLLOUT : POLLIN;
        enum wait wait = wait_socket(pg, events, deadline_us);
        if (wait == WAIT_DEADLINE && !pg->setting_up)
            pg_hosts_distrust(&pg->hosts);
        if (wait == WAIT_DEADLINE)
            return time_out(pg, "receiving");
        if (wait == WAIT_BROKEN || !PQconsumeInput(pg->conn))
            return lose(pg, "receiving");
    }
    return pg->alone ? lose(pg, "a commit may be on no standby") : PG_OK;
}

/* Says what was refused without saying any value: DETAIL and HINT quote rows, and so do the primary messages
 * of class 22 (data exceptions: 'invalid input syntax for type uuid: "..."'). */
static void describe(struct pg *pg, const PGresult *result, const char *sqlstate)
{
    const char *constraint = error_field(result, PG_DIAG_CONSTRAINT_NAME);
    bool quotes_value = strncmp(sqlstate, "22", 2) == 0 && !pg->setting_up;
    const char *message = quotes_value ? error_field(result, PG_DIAG_SOURCE_FUNCTION)
                                       : error_field(result, PG_DIAG_MESSAGE_PRIMARY);
    snprintf(pg->error, sizeof pg->error, "%s%s%.*s%s%s", sqlstate,
             quotes_value ? ": value not accepted by " : ": ", (int)strcspn(message, "\r\n"), message,
             constraint[0] ? ", constraint " : "", constraint);
}

/* An error result: PG_REFUSED, or the connection is given up. */
static enum pg_status classify_error(struct pg *pg, const PGresult *result)
{
    const char *sqlstate = error_field(result, PG_DIAG_SQLSTATE);
    if (sqlstate[0])
        describe(pg, result, sqlstate);
    else
        set_error(pg, "receiving", PQresultErrorMessage(result));
    if (pg_error_ends_connection(error_field(result, PG_DIAG_SEVERITY_NONLOCALIZED), sqlstate)) {
        pg->sqlstate[0] = '\0';
        pg_disconnect(pg);
        return PG_LOST;
    }
    snprintf(pg->sqlstate, sizeof pg->sqlstate, "%.*s", SQLSTATE_LEN, sqlstate);
    pg->refused = true;
    return PG_REFUSED;
}

static enum pg_status classify(struct pg *pg, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        pg->sqlstate[0] = '\0';
        return PG_OK;
    case PGRES_PIPELINE_ABORTED:
        pg->refused = true;
        return PG_REFUSED; /* sqlstate and error stay those of the statement that was at fault */
    case PGRES_FATAL_ERROR:
        return classify_error(pg, result);
    default:
        return lose(pg, "unexpected kind of result");
    }
}

/* The result of one statement and the NULL that libpq puts after it. *ret is for PQclear, with PG_REFUSED
 * too, and NULL when there is none. */
static enum pg_status receive_result(struct pg *pg, int64_t deadline_us, PGresult **ret)
{
    *ret = NULL;
    enum pg_status status = wait_result(pg, deadline_us);
    if (status != PG_OK)
        return status;
    PGresult *result = PQgetResult(pg->conn);
    if (!result || PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        return lose(pg, "results out of step");
    }
    status = classify(pg, result);
    *ret = result;
    if (status != PG_OK && status != PG_REFUSED)
        return status;
    enum pg_status after = wait_result(pg, deadline_us);
    if (after != PG_OK)
        return after;
    PGresult *end = PQgetResult(pg->conn);
    if (!end)
        return status;
    PQclear(end);
    return lose(pg, "results out of step");
}

/* Reads up to the sync point. A commit that fails after its last statement succeeded (a deferred constraint
 * in a round without BEGIN) is reported here. */
static enum pg_status finish_round(struct pg *pg, int64_t deadline_us)
{
    enum pg_status status = PG_OK;
    for (bool synced = false; !synced;) {
        enum pg_status waited = wait_result(pg, deadline_us);
        if (waited != PG_OK)
            return waited;
        PGresult *result = PQgetResult(pg->conn);
        synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (result && !synced)
            status = classify(pg, result);
        PQclear(result);
        if (!pg->conn)
            return status;
    }
    pg->round = ROUND_NONE;
    return status;
}

/* After a refusal inside BEGIN the server refuses everything until ROLLBACK. It goes out at once, so that
 * locks are released, and its result is read ahead of the next round's. */
static void roll_back(struct pg *pg)
{
    if (PQtransactionStatus(pg->conn) != PQTRANS_INERROR)
        return;
    pg->rollback_awaited = true;
    if (!send_prepared(pg, rollback_statement.name, NULL) || PQpipelineSync(pg->conn) != 1)
        (void)lose(pg, "sending");
}

static enum pg_status receive_rollback(struct pg *pg, int64_t deadline_us)
{
    if (!pg->rollback_awaited)
        return PG_OK;
    PGresult *result;
    enum pg_status status = receive_result(pg, deadline_us, &result);
    PQclear(result);
    if (status == PG_OK)
        status = finish_round(pg, deadline_us);
    if (status == PG_REFUSED)
        status = lose(pg, "rolling back");
    pg->rollback_awaited = false;
    if (pg->conn)
        pg->round = ROUND_SYNCED;
    return status;
}

/* One result of the round, and with the last one the sync point. */
static enum pg_status receive_one(struct pg *pg, int64_t deadline_us, PGresult **ret)
{
    enum pg_status status = receive_rollback(pg, deadline_us);
    if (status != PG_OK)
        return status;
    status = receive_result(pg, deadline_us, ret);
    if (!pg->conn || --pg->awaited > 0)
        return status;
    enum pg_status end = finish_round(pg, deadline_us);
    if (end != PG_OK)
        status = end;
    if (pg->conn && pg->refused)
        roll_back(pg);
    return status;
}

enum pg_status pg_receive(struct pg *pg, int64_t deadline_us, struct pg_rows **ret)
{
    *ret = NULL;
    if (!pg->conn) {
        if (pg->error[0] == '\0')
            set_error(pg, "not connected", "");
        return PG_LOST;
    }
    CHECK(pg->round == ROUND_SYNCED && pg->awaited > 0);
    PGresult *result = NULL;
    enum pg_status status = receive_one(pg, deadline_us, &result);
    if (status != PG_OK) {
        PQclear(result);
        return status;
    }
    *ret = (struct pg_rows *)result; /* a PGresult under another name */
    return PG_OK;
}

enum pg_status pg_call(struct pg *pg, size_t statement, const struct pg_args *args, int64_t deadline_us,
                       struct pg_rows **ret)
{
    pg_send(pg, statement, args);
    pg_sync(pg);
    return pg_receive(pg, deadline_us, ret);
}

static const PGresult *result_of(const struct pg_rows *rows)
{
    return (const PGresult *)rows;
}

void pg_rows_destroy(struct pg_rows *rows)
{
    PQclear((PGresult *)rows);
}

int pg_rows_count(const struct pg_rows *rows)
{
    return PQntuples(result_of(rows));
}

int64_t pg_affected(const struct pg_rows *rows)
{
    const char *text = PQcmdTuples((PGresult *)rows); /* reads only; the missing const is libpq's */
    int64_t affected = 0;
    if (text[0] && !parse_i64(span_of(text), 0, INT64_MAX, &affected))
        UNREACHABLE("the server counts rows in decimal");
    return affected;
}

static void check_cell(const struct pg_rows *rows, int row, int column)
{
    const PGresult *result = result_of(rows);
    CHECK(row >= 0 && row < PQntuples(result) && column >= 0 && column < PQnfields(result));
}

bool pg_is_null(const struct pg_rows *rows, int row, int column)
{
    check_cell(rows, row, column);
    return PQgetisnull(result_of(rows), row, column);
}

int64_t pg_i64(const struct pg_rows *rows, int row, int column)
{
    check_cell(rows, row, column);
    const char *value = PQgetvalue(result_of(rows), row, column);
    return pg_number_from_wire(value, PQgetlength(result_of(rows), row, column));
}

int64_t pg_time(const struct pg_rows *rows, int row, int column)
{
    return pg_is_null(rows, row, column) ? 0 : pg_time_from_wire(pg_i64(rows, row, column));
}

struct span pg_bytes(const struct pg_rows *rows, int row, int column)
{
    if (pg_is_null(rows, row, column))
        return (struct span){0};
    const PGresult *result = result_of(rows);
    return (struct span){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}
