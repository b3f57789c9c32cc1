/* SPDX-License-Identifier: Apache-2.0 */
/* The command `projector verify`: the log against itself, the state rows against the log, the read models
 * against the fold. Only reads. Differences and a summary go to standard output, progress to standard error
 * where that is a terminal. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "events/shards.h"

struct verify_options {
    const struct shards *shards; /* borrowed */
    const char *redis_url;       /* empty: only with log_only */
    bool log_only, json;
    int64_t slice;     /* -1: all */
    int64_t limit;     /* differences written out */
    int64_t memory_mb; /* for what is remembered of the log, and again for the models of a slice */
};

/* Returns what the process exits with: 0 nothing differs, 1 something does; otherwise not all could be looked
 * at, by sysexits.h: 64 an option, 69 a store cannot be reached, 74 standard output cannot be written, 77 a
 * right or a table is missing. A difference goes before all but 64 and 74. */
int verify_run(const struct verify_options *options);
