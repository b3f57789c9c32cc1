/* SPDX-License-Identifier: Apache-2.0 */
/* What store_reader.c and store_past.c share. Functions that take rows return false where those are not what
 * the command service writes. */
#pragma once

#include "query-service/pg/store_reader.h"

#include "common/pg/pg.h"

struct store_reader {
    struct store_reader_options options;
    struct pg *pg;
    struct pg_args args;
    int64_t session_timeout_ms; /* the server's, of this connection; 0: not known */
};

/* Sends a statement of ($1 slice, $2 campaign); leaves no arguments behind. */
void store_ask_campaign_by(struct store_reader *reader, const struct query *query, size_t statement);
/* Arguments of rankings: $1 to $3 of all, $4 and $5 of those over a window. */
void store_ranking_args(struct store_reader *reader, const struct query *query);
void store_window_args(struct store_reader *reader, const struct query *query);

/* The next result of the round, NULL where there is none. After a refusal the others come back refused too,
 * and have to be fetched all the same. */
struct pg_rows *store_receive(struct store_reader *reader, int64_t deadline_us, enum pg_status *status);

/* Sends the server's timeout ahead of a round, where the one of the session is not that of the time there is;
 * and receives its result, before the others of the round. */
bool store_ask_timeout(struct store_reader *reader, int64_t deadline_us);
void store_take_timeout(struct store_reader *reader, bool asked, int64_t deadline_us, enum pg_status *status);

/* False, with the failure, where the database does not own (any more) what is asked for. */
bool store_owns(const struct store_reader *reader, const struct pg_rows *heads, struct read *read);
void store_take_heads(const struct store_reader *reader, const struct pg_rows *heads, struct read *read);
bool store_take_campaign(const struct pg_rows *rows, int row, struct answer *answer) MUST_USE;
bool store_take_ranking(const struct pg_rows *rows, struct read *read) MUST_USE;

/* A read with `as_of`: two rounds at most. The answer is empty before. */
enum pg_status store_past_rounds(struct store_reader *reader, struct read *read, int64_t deadline_us);
