/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the log: where each slice's head is, and the events after given positions, in one round trip. What it
 * returns is the only truth; hints only say when to ask. */
#pragma once

#include "common/pg/pg.h"
#include "events/event.h"

/* Events per slice, and of all slices together (but a few of each): bounds memory, and how long whoever asks
 * is busy with them before it says something to PostgreSQL again, which takes a silent leader for dead. */
enum { LOG_ROWS_MAX = 2000, LOG_ROUND_ROWS = 6000, LOG_ROWS_MIN = 300 };

struct log_head {
    bool known;         /* the database owns the slice; otherwise nothing else is */
    int64_t head;       /* position of the slice's last event */
    int64_t head_at_us; /* its recorded_at */
    int64_t oldest_us;  /* recorded_at of the first event after the position asked from; 0: there is none */
    uint8_t chain[32];  /* the hash chain there (I12) */
    bool chain_known;
};

/* PostgreSQL's view of all slices that are its own, at one instant. */
struct log_heads {
    struct log_head slices[SLICE_COUNT];
    int64_t now_us; /* PostgreSQL's clock, which recorded_at is of */
};

struct log_reader {
    struct pg *pg; /* borrowed */
    struct pg_args args;
};

void log_reader_init(struct log_reader *reader, struct pg *pg);
void log_reader_deinit(struct log_reader *reader);

/* How many events of each slice a round asks for at most. */
int log_reader_page(unsigned wanted);
/* Asks for the heads, and for events after positions[slice] of every slice whose bit is set in `wanted`. */
void log_reader_ask(struct log_reader *reader, const int64_t positions[SLICE_COUNT], unsigned wanted);

/* The answers, in this order: the heads, then one result per wanted slice, ascending; columns as in
 * events/event_log.h, owned by the caller. Anything but PG_OK ends the round and the connection with it. */
enum pg_status log_heads_read(struct pg *pg, const int64_t positions[SLICE_COUNT], int64_t deadline_us,
                              struct log_heads *ret) MUST_USE; /* both at once, without events */
enum pg_status log_reader_heads(struct log_reader *reader, int64_t deadline_us,
                                struct log_heads *ret) MUST_USE;
enum pg_status log_reader_rows(struct log_reader *reader, int64_t deadline_us, struct pg_rows **ret) MUST_USE;
