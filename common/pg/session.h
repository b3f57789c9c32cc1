/* SPDX-License-Identifier: Apache-2.0 */
/* What pg.c sets for every session, in one statement. Not for anyone else. */
#pragma once

/* How soon the server notices that a client it works for is gone, and lets go of its locks. */
#define PG_CLIENT_CHECK_MS "500"
/* Both ends give up on a peer that does not answer for about 15 s, so that a dead host holds no session lock.
 */
#define PG_PEER_TIMEOUT_MS "15000"

/* One statement with the values as parameters, so that nothing is ever quoted. The role comes last: it may
 * not have the right to set the others. jit is off and plans are generic because every statement is small and
 * known; on a fresh cluster the planner's guesses would have it compile them. Sequential scans are off where
 * an index can do: a plan is kept while its tables grow, and one made when a table had a single page
 * (autovacuum's ANALYZE has all plans made again) would read all of a million rows for each probe a minute
 * later. For the same reason sorting is off ($5) for who wants the first few in an order that an index has:
 * all of a slice, sorted, is the cheaper plan while the slice is thought to be empty. A round without BEGIN
 * is one transaction, which ends at its sync point, so its isolation ($6) says whether its statements are one
 * snapshot. */
static const char pg_session_sql[] =
    "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),"
    " set_config('idle_in_transaction_session_timeout', $3, false),"
    " set_config('client_connection_check_interval', '" PG_CLIENT_CHECK_MS "', false),"
    " set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '2', false),"
    " set_config('tcp_user_timeout', '" PG_PEER_TIMEOUT_MS "', false),"
    " set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false),"
    " set_config('enable_seqscan', 'off', false), set_config('enable_sort', $5, false),"
    " set_config('timezone', 'UTC', false), set_config('client_min_messages', 'warning', false),"
    " set_config('default_transaction_isolation', $6, false),"
    " set_config('role', $4, false)";
