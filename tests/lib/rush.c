/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of the load engine. */
#include "tests/lib/rush.h"

#include "bench/load/load_call.h"
#include "common/base/clock.h"

enum { ANSWER_MS = 120000, RUN_MS = 150000, RETRY_MS = 5, BODY_MAX = 64 * 1024, DESCRIPTORS_SPARE = 100 };

struct rush {
    const struct rush_options *options;
    struct rush_result result;
    struct target target;
    size_t sent;
};

static enum load_next next(void *context, size_t idle, struct load_job *ret, struct buf *request)
{
    struct rush *rush = context;
    const struct rush_options *options = rush->options;
    char path[RUSH_PATH_MAX];
    if (rush->sent == options->requests)
        return LOAD_END;
    if (options->not_before_us && rush->sent == 0 &&
        (idle < options->connections || clock_mono_us() < options->not_before_us)) {
        int64_t retry_us = clock_deadline_us(RETRY_MS);
        bool last_wait = idle == options->connections && options->not_before_us < retry_us;
        *ret = (struct load_job){.due_us = last_wait ? options->not_before_us : retry_us};
        return LOAD_WAIT;
    }
    if (!options->path)
        options->path_of(options->context, rush->sent, path);
    load_call_write(&rush->target,
                    &(struct load_call_request){.method = "GET",
                                                .path = options->path ? options->path : path,
                                                .token = span_of(options->token)},
                    request);
    *ret = (struct load_job){.tag = rush->sent++};
    return LOAD_SEND;
}

static void done(void *context, const struct load_result *result)
{
    struct rush *rush = context;
    const struct rush_options *options = rush->options;
    int64_t took_us = result->done_us - result->sent_us;
    if (result->outcome != LOAD_ANSWERED) {
        rush->result.lost++;
        return;
    }
    rush->result.answered++;
    if (took_us > rush->result.longest_us)
        rush->result.longest_us = took_us;
    if (options->answered)
        options->answered(options->context, result->tag, result);
}

struct rush_result rush_run(const struct rush_options *options)
{
    char reason[128];
    struct rush rush = {.options = options};
    CHECK(load_allow_descriptors(options->connections + DESCRIPTORS_SPARE));
    CHECK(target_init(&rush.target, options->url, reason, sizeof reason));
    struct load_options load_options = {.target = &rush.target,
                                        .connections = options->connections,
                                        .timeout_ms = ANSWER_MS,
                                        .body_max = BODY_MAX};
    struct load_driver driver = {next, done, &rush};
    struct load *load = load_create(&load_options, &driver);
    CHECK(load != NULL);
    load_run(load, clock_deadline_us(RUN_MS));
    load_destroy(load);
    return rush.result;
}
