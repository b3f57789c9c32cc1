/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long step is, on stderr: a bar that is redrawn on a terminal, otherwise a plain line about once a
 * second. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *title;
    bool terminal;
    int64_t started_us, drawn_us;
    int64_t seconds; /* as many plain lines were due */
};

void progress_begin(struct progress *progress, const char *title);
/* As often as the caller likes; draws as often as it makes sense. `note` is short text behind the numbers. */
void progress_update(struct progress *progress, int64_t done, int64_t total, const char *note);
/* Draws the last state and ends the line. */
void progress_end(struct progress *progress, int64_t done, int64_t total, const char *note);
