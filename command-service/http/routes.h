/* SPDX-License-Identifier: Apache-2.0 */
/* The write API (design §9): from HTTP requests to commands in their slice's queue. Runs on HTTP threads,
 * never blocks. */
#pragma once

#include "command-service/committer.h"
#include "command-service/early.h"
#include "command-service/http/admission.h"
#include "command-service/http/requests.h"
#include "command-service/watch.h"

struct api {
    struct committers *committers;
    struct requests *requests;
    struct control *control;
    struct gate gate;
    struct watch *watch;
    struct early *early;
    int64_t request_deadline_ms;
    int64_t accepted_deadline_ms; /* how long an accepted request may take */
    int64_t started_at_us;        /* wall */
};

/* Handlers get a struct api as context. */
extern const struct http_route api_routes[];
extern const size_t api_routes_count;
