/* SPDX-License-Identifier: Apache-2.0 */
/* The read models of a slice in Redis against the log (I7), while the projector goes on: what a few keys hold
 * is read in one transaction together with the checkpoint, facts.h then folds the log up to just that
 * checkpoint, and what the decoders of readmodel/ make of the keys is compared with the facts. So nothing has
 * to stand still, and nothing is compared with another instant. Both ways: what the log has must be in Redis,
 * and each key and member in Redis must come from the log. Never writes. One thread. */
#pragma once

#include "verify/report.h"
#include "verify/source.h"

struct verify_models;

/* NULL with reason when the URL does not parse. Does not connect. `memory` in bytes bounds the facts. */
struct verify_models *verify_models_create(const char *redis_url, size_t memory, char *reason,
                                           size_t reason_size);
void verify_models_destroy(struct verify_models *models); /* accepts NULL */

struct verify_models_means {
    struct verify_source *source; /* connected, of the shard that has the slice */
    unsigned slices;              /* of that shard, as bits */
    struct verify_report *report;
    struct verify_totals *totals;
    verify_tick *tick; /* with the number of keys compared in this slice */
    void *context;
};

enum models_status {
    MODELS_OK,
    MODELS_STORE,       /* PostgreSQL failed: see verify_source_error */
    MODELS_UNAVAILABLE, /* Redis failed, see verify_models_error */
    MODELS_UNSETTLED,   /* there are none, or they were made anew again and again: see verify_models_error */
};
/* `head`: a position that the log of the slice has reached. */
enum models_status verify_models_slice(struct verify_models *models, const struct verify_models_means *means,
                                       int16_t slice, int64_t head) MUST_USE;
const char *verify_models_error(const struct verify_models *models); /* one line, no key or value */
