/* SPDX-License-Identifier: Apache-2.0 */
/* How a long command gets on: a bar with rate and time left where somebody watches on a terminal, JSON lines
 * otherwise, a few a second or one. Writes to standard output. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct report {
    bool terminal;
    char phase[24];
    int64_t generation;
    int64_t began_us, first; /* of the phase: monotonic, and what was done then */
    int64_t shown_us;        /* last written */
    bool open;               /* a bar without its line's end */
};

/* `json` asks for JSON lines also on a terminal. */
void report_init(struct report *report, bool json);
/* Another phase begins, with so much of it done already. */
void report_phase(struct report *report, const char *phase, int64_t done);
/* So many of `total` events are done. Written where enough time has passed. */
void report_progress(struct report *report, int64_t done, int64_t total);
/* One sentence for a person: `what` becomes a member of a JSON line. */
void report_say(struct report *report, const char *what);
/* Ends a bar's line. */
void report_end(struct report *report);

/* Of a bar's text; pure. `rate` per second; `left_s` below 0: not known. */
struct report_figures {
    double share, rate;
    int64_t left_s;
};
struct report_figures report_figures(int64_t done, int64_t first, int64_t total, int64_t elapsed_us);
