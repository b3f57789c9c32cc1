/* SPDX-License-Identifier: Apache-2.0 */
/* A connection on which a thread of the service only reads, beside those of the committers. One thread at a
 * time; every call is bounded by its deadline. */
#pragma once

#include "common/pg/pg.h"

struct reader {
    struct pg *pg;
    struct pg_args args; /* of the next call; reset them first */
};

/* `application` is its name in pg_stat_activity; no statement takes the server longer than `statement_ms`.
 * `statements` are borrowed. */
void reader_init(struct reader *reader, const char *database_url, const char *application,
                 int64_t statement_ms, const struct pg_statement *statements, size_t statements_count);
void reader_deinit(struct reader *reader);
/* Connects where it is not; false: see pg_error. */
bool reader_connect(struct reader *reader, int64_t deadline_us) MUST_USE;
