/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a command whose caller samples its trace: the request, its wait in the queue, the batch (a
 * trace of its own that links to its requests), and in it the commit. Does nothing unless trace_on(). The
 * event keeps the request's span as its parent; of a request that is not sampled it keeps the trace alone,
 * with a parent of zeros, by which the projector knows. */
#pragma once

#include "command-service/core/batch.h"

/* After the command's trace_bytes were read. Its HTTP thread. */
void spans_begin(struct command *command, bool sampled);
/* It is being answered with this status; its request is still there, or was answered with 202. */
void spans_answer(const struct command *command, int status);
/* The batch is committed, or failed; before anybody is answered. Instants are monotonic; committing_us is 0
 * where it did not get that far. */
void spans_batch(const struct batch *batch, int64_t begin_us, int64_t committing_us, bool failed);
