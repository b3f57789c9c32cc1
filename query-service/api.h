/* SPDX-License-Identifier: Apache-2.0 */
/* The read API (design §9): from HTTP requests to reads. Runs on HTTP threads, never blocks. */
#pragma once

#include "common/http.h"
#include "query-service/serve.h"

struct api {
    struct serve serve;
    int64_t request_deadline_ms, token_wait_ms;
    uint8_t code_key[CRYPTO_KEY_BYTES];
};

/* Handlers get a struct api as context. */
extern const struct http_route api_routes[];
extern const size_t api_routes_count;
