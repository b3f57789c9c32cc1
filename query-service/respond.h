/* SPDX-License-Identifier: Apache-2.0 */
/* Concluded reads as HTTP answers: bodies, conditional requests, caching headers, problems. Any thread. */
#pragma once

#include "common/http.h"
#include "query-service/read.h"

struct respond_options {
    int64_t fresh_s, stale_while_revalidate_s, stale_if_error_s;
    uint8_t code_key[CRYPTO_KEY_BYTES];
};

/* Once, before the first read. */
void respond_setup(const struct respond_options *options);

/* Answers read->request and destroys the read; what read->done points to. */
void respond(struct read *read);
