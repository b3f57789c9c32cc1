/* SPDX-License-Identifier: Apache-2.0 */
/* Reading table control: one statement, which also says what time it is for PostgreSQL. Each service has a
 * thread of its own that calls this a few times a second. One thread uses a reader. */
#pragma once

#include "common/pg/pg.h"
#include "events/control/state.h"

enum {
    CONTROL_STATEMENT_MS = 200, /* what the server may take for one reading */
    CONTROL_READ_MS = 1000,     /* and the way there and back: slow is not gone */
    CONTROL_CONNECT_MS = 250,   /* longest time for making a connection; twice as long after each failure, */
    CONTROL_CONNECT_MAX_MS = 4000, /* up to this */
    CONTROL_PAUSE_MS =
        250, /* between two readings, so that what is decided holds everywhere within a second */
};

struct control_reader;

/* read_write: of several hosts only one that accepts writes will do. Texts are borrowed. Does not connect. */
struct control_reader *control_reader_create(const char *url, const char *role, bool read_write);
void control_reader_destroy(struct control_reader *reader); /* accepts NULL */

/* PostgreSQL's clock, between two looks at ours. */
struct control_clock {
    int64_t sent_us, received_us; /* monotonic */
    int64_t wall_us;              /* PostgreSQL's */
};

/* Applies every row to `state`, which the caller initialised, and sets known. `unknown` is called with each
 * row that this version does not understand. False where PostgreSQL did not answer, or does not own the slice
 * of settings (what its table says is then of another time): then control_reader_error says why, and nothing
 * new is known. */
bool control_reader_read(struct control_reader *reader, const struct keyring *keyring,
                         struct control_state *state, struct control_clock *ret_clock,
                         void (*unknown)(const struct control_row *row)) MUST_USE;
const char *control_reader_error(const struct control_reader *reader);
bool control_reader_connected(const struct control_reader *reader);
