/* SPDX-License-Identifier: Apache-2.0 */
/* The same answers from the event store. One read at a time, one connection, one thread per reader; the
 * number of readers is what bounds the load on PostgreSQL. Any server will do that has the log, a replica
 * too: a consistency token is checked against the log there is. A reader is of one shard. */
#pragma once

#include "query-service/load/breaker.h"
#include "query-service/load/read.h"

struct store_reader;

struct store_reader_options {
    const struct shard *shard; /* borrowed */
    int64_t timeout_ms;        /* of one read, connecting included */
    int64_t past_events_max;   /* looked at for one answer of the past */
    struct breaker *breaker;   /* shared by all readers; borrowed */
};

struct store_reader *store_reader_create(const struct store_reader_options *options); /* does not connect */
void store_reader_destroy(struct store_reader *reader);                               /* accepts NULL */

/* Answers the read from the slices of its shard or sets read->failure, at the latest when
 * read->item.deadline_us has passed. */
void store_reader_run(struct store_reader *reader, struct read *read);
/* Makes a page of a list that was joined of parts (read_join). */
void store_reader_cut(struct read *read);

/* Connects where it is not connected, and asks for the heads of the log; for readiness. */
bool store_reader_probe(struct store_reader *reader);
