/* SPDX-License-Identifier: Apache-2.0 */
/* The projector's statements. */
#include "projector/sql.h"

#include "events/event_log.h"

enum { STATEMENT_TIMEOUT_MS = 1000 };

/* A leader that hangs (a stopped process, a frozen machine) must not lead for ever: its session says
 * something at least every second, and PostgreSQL ends it, and with it the lock, after this long a silence.
 */
#define LEADER_SILENCE_MS "1200"

static const struct pg_statement statements[SQL_COUNT] = {
    /* Who leads writes epochs that fence others out, so nobody leads for slices that are another database's.
     */
    [SQL_LOCK] = {"lock", "SELECT CASE WHEN $2::smallint[] <@ ARRAY(SELECT s.slice FROM slice s)"
                          " THEN pg_try_advisory_lock($1::bigint) ELSE false END,"
                          " set_config('idle_session_timeout', '" LEADER_SILENCE_MS "', false)"},
    [SQL_LOCK_PLAIN] = {"lock_plain", "SELECT pg_try_advisory_lock($1::bigint)"},
    [SQL_BUMP] = {"bump", "UPDATE lease SET epoch = greatest(epoch, $1::bigint) + 1 WHERE name = 'projector'"
                          " RETURNING epoch"},
    /* The time of the oldest event not yet applied is looked up by primary key and only where there is one;
     * ORDER BY and LIMIT keep a fresh, never analysed database from scanning the partition. */
    [SQL_HEADS] = {"heads", "SELECT s.head, s.recorded_at,"
                            " CASE WHEN s.head > p.position THEN (SELECT e.recorded_at FROM event e"
                            "   WHERE e.slice = s.slice AND e.position > p.position"
                            "   ORDER BY e.slice, e.position LIMIT 1) END,"
                            " clock_timestamp(), s.chain, s.slice"
                            " FROM unnest($1::bigint[]) WITH ORDINALITY AS p(position, n)"
                            " JOIN slice s ON s.slice = p.n - 1 ORDER BY s.slice"},
    [SQL_READ] = {"read", LOG_READ_SQL},
    [SQL_LEASE] =
        {"lease", "SELECT l.epoch, EXISTS (SELECT FROM pg_locks k WHERE k.locktype = 'advisory'"
                  "   AND k.granted AND k.objsubid = 1"
                  "   AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())"
                  "   AND (k.classid::bigint << 32 | k.objid::bigint) = $1::bigint)"
                  " FROM lease l WHERE l.name = 'projector'"},
    [SQL_AT] = {"at", LOG_AT_SQL},
    [SQL_TIME_OF] =
        {"time_of",
         "SELECT e.recorded_at FROM event e WHERE e.slice = $1::smallint AND e.position = $2::bigint"},
    [SQL_CAMPAIGNS] = {"campaigns", "SELECT c.slice, c.id, c.version, c.definition FROM campaign c"
                                    " WHERE (c.slice, c.id) > ($1::smallint, $2::text) AND c.status IN (1, 2)"
                                    " AND c.slice + 0 = ANY (ARRAY(SELECT s.slice + 0 FROM slice s))"
                                    " ORDER BY c.slice, c.id LIMIT $3::bigint"},
    [SQL_CAMPAIGN_KNOWN] = {"campaign_known", "SELECT FROM campaign c WHERE c.slice = $1::smallint"
                                              " AND c.id = $2::text AND c.status IN (1, 2)"},
    /* Of slices that the database owns. A batch that covers chain_at must end there with that chain; where no
     * batch does, the log was not written by the command service, and the event's time has to do. */
    [SQL_HISTORY] =
        {"history",
         "SELECT p.n - 1, (p.position = 0 OR EXISTS (SELECT FROM event e WHERE e.slice = (p.n - 1)::smallint"
         "   AND e.position = p.position AND e.recorded_at = p.at))"
         " AND (p.chain_at = 0 OR NOT EXISTS (SELECT FROM (SELECT b.last, b.chain FROM batch b"
         "   WHERE b.slice = (p.n - 1)::smallint AND b.first <= p.chain_at ORDER BY b.first DESC LIMIT 1) c"
         "   WHERE c.last > p.chain_at OR (c.last = p.chain_at AND c.chain <> p.chain)))"
         " FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bytea[]) WITH ORDINALITY"
         "   AS p(position, at, chain_at, chain, n) JOIN slice s ON s.slice = p.n - 1"},
    [SQL_SETTING] = {"setting", "SELECT c.value FROM slice s LEFT JOIN control c ON c.slice = s.slice"
                                " AND c.kind = $2::smallint AND c.name = $3::text"
                                " WHERE s.slice = $1::smallint"},
};

struct pg *sql_create(const char *url)
{
    /* The lease and the log's last word are on the primary only. */
    struct pg_options options = {
        .url = url,
        .role = "firstcome_projector",
        .application = "firstcome projector",
        .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
        .lock_timeout_ms = STATEMENT_TIMEOUT_MS,
        .idle_in_transaction_timeout_ms = STATEMENT_TIMEOUT_MS,
        .read_write = true,
        .statements = statements,
        .statements_count = SQL_COUNT,
        .schema = SCHEMA_MIN,
    };
    return pg_create(&options);
}
