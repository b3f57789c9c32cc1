/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a slice for verify from PostgreSQL: log and state rows of one instant, in a snapshot of its own
 * (REPEATABLE READ READ ONLY) while writers go on. A snapshot for each slice and pass, not one for all: it
 * holds back the cleaning of the hottest rows as long as it lives. Never writes. One thread. */
#pragma once

#include "verify/log.h"

struct verify_source;

enum verify_status {
    VERIFY_OK,
    VERIFY_UNAVAILABLE, /* the store cannot be reached, or broke off */
    VERIFY_FORBIDDEN,   /* it refused: a right or a table is missing */
    VERIFY_ELSEWHERE,   /* a slice is another database's */
};

/* `primary`: insist on a server that accepts writes. Its log reaches as far as any checkpoint does; a
 * standby's may not, but for the log alone one will do. */
struct verify_source *verify_source_create(const char *database_url, bool primary);
void verify_source_destroy(struct verify_source *source); /* accepts NULL */
enum verify_status verify_source_connect(struct verify_source *source) MUST_USE;
const char *verify_source_error(const struct verify_source *source); /* one line, of the last failure */

/* Called now and then with how many events of the pass were read. */
typedef void verify_tick(void *context, int64_t events);

/* Heads of some slices, all of which the database must own, and the rows of creation_quota of the same
 * instant into `quota` (NULL: not wanted). */
enum verify_status verify_source_heads(struct verify_source *source, unsigned slices,
                                       int64_t heads[SLICE_COUNT], struct verify_quota *quota) MUST_USE;
/* One pass over the slice that verify_log_begin or verify_log_again has begun, up to verify_state_end. */
enum verify_status verify_source_pass(struct verify_source *source, struct verify_log *log, verify_tick *tick,
                                      void *context) MUST_USE;

/* Events after a position up to another one. */
struct verify_range {
    int16_t slice;
    int64_t after, to;
};
/* Called with each event in order, and at the end of each page with NULL: after that call, what was given
 * before is gone. Returns whether it wants more. */
typedef bool verify_reader(void *context, const struct event *event, enum codec_status status);
/* Reads a range of the log, outside any snapshot: what is committed does not change. */
enum verify_status verify_source_read(struct verify_source *source, const struct verify_range *range,
                                      verify_reader *reader, void *context) MUST_USE;
/* The log's hash after the batch that ends at a position; zeros where none does. */
enum verify_status verify_source_chain(struct verify_source *source, int16_t slice, int64_t position,
                                       uint8_t ret[32]) MUST_USE;
