/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds the checker from PostgreSQL: the batches and events of a campaign's slice, in bounded pages, from the
 * batch that created the campaign up to the slice's head. Nothing is judged here. */
#pragma once

#include "bench/storm/checker.h"

struct log_range {
    const char *database_url;
    int16_t slice;
    int64_t from; /* a position inside the first batch wanted */
};

/* Blocks. false with the reason, when the log cannot be read to its end; the checker is then of no use. */
bool log_source_feed(const struct log_range *range, struct checker *checker, char *reason,
                     size_t reason_size) MUST_USE;
