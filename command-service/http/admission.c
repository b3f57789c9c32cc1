/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the limits in turn, and says no in a way that a client can act on. */
#include "command-service/http/admission.h"

#include "command-service/http/response.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/metrics.h"
#include "common/http/http.h"
#include "events/problems.h"
#include "events/refusals.h"

enum {
    JITTER_MS = 1000,       /* over which those refused for their rate come back */
    DISK_RETRY_MS = 10000,  /* no disk gets emptier sooner */
    UNKNOWN_RETRY_MS = 500, /* starting up, or PostgreSQL is away */
    ADDRESS_V6_NETWORK = 8, /* bytes: a client has a /64 of addresses to pick from */
};

static struct metric *refused[GATE_REASON_COUNT];

static void metrics_setup(void)
{
#define GATE_REASON_LABEL(name, label) [name] = "reason=\"" label "\"",
    static const char *const labels[GATE_REASON_COUNT] = {GATE_REASONS(GATE_REASON_LABEL)};
    for (size_t i = GATE_OPEN + 1; i < GATE_REASON_COUNT; i++)
        refused[i] = metric_counter("coupon_gate_refused_total", "Writes that were not let in", labels[i]);
}

void gate_init(struct gate *gate, struct control *control, struct disk_guard *disk)
{
    metrics_setup();
    gate->control = control;
    gate->disk = disk;
    gate->users = rate_limit_create(GATE_USERS);
    gate->addresses = rate_limit_create(GATE_ADDRESSES);
    gate->keys = rate_limit_create(GATE_KEYS);
}

void gate_deinit(struct gate *gate)
{
    rate_limit_destroy(gate->users);
    rate_limit_destroy(gate->addresses);
    rate_limit_destroy(gate->keys);
}

/* --- The decision --- */

static struct span network_of(struct span address)
{
    static const char v4[12] = {[10] = (char)0xFF, [11] = (char)0xFF};
    CHECK(address.len == 16);
    return memcmp(address.ptr, v4, sizeof v4) == 0 ? address : (struct span){address.ptr, ADDRESS_V6_NETWORK};
}

/* A name and the rate it is held to. */
struct asked {
    enum gate_reason reason;
    const char *policy;
    struct rate_limit *limit;
    struct span who;
    enum setting per_second, burst;
};

static enum gate_reason judge_rates(struct gate *gate, const struct settings *settings,
                                    const struct gate_visit *visit, int64_t now_us,
                                    struct gate_limit *ret_limit)
{
    const struct asked all[] = {
        {GATE_USER_RATE, "user", gate->users, visit->user, SETTING_rate_limit_per_user,
         SETTING_rate_burst_per_user},
        {GATE_ADDRESS_RATE, "address", gate->addresses, network_of(visit->address),
         SETTING_rate_limit_per_address, SETTING_rate_burst_per_address},
        {GATE_KEY_RATE, "key", gate->keys, span_of(visit->key->name), SETTING_rate_limit_per_key,
         SETTING_rate_burst_per_key},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const struct rate rate = {settings_get(settings, all[i].per_second),
                                  settings_get(settings, all[i].burst)};
        if (rate.per_second == 0 || !all[i].who.ptr)
            continue;
        struct rate_verdict verdict = rate_limit_take(all[i].limit, all[i].who, &rate, now_us);
        if (verdict.allowed)
            continue;
        *ret_limit = (struct gate_limit){all[i].policy, rate, verdict};
        return all[i].reason;
    }
    return GATE_OPEN;
}

enum gate_reason gate_judge(struct gate *gate, const struct control_state *state,
                            const struct gate_visit *visit, int64_t now_us, struct gate_limit *ret_limit)
{
    if (!state->known)
        return GATE_UNKNOWN;
    if (control_suspended(state, visit->key))
        return GATE_SUSPENDED;
    if (visit->class == GATE_CONTROL)
        return GATE_OPEN;
    enum gate_reason reason = judge_rates(gate, &state->settings, visit, now_us, ret_limit);
    if (reason != GATE_OPEN || visit->class == GATE_READ)
        return reason;
    if (visit->disk >= DISK_REFUSE_WRITES)
        return GATE_DISK_WRITE;
    return visit->disk >= DISK_REFUSE_NEW && visit->class == GATE_CREATE ? GATE_DISK_CREATE : GATE_OPEN;
}

/* --- The answer --- */

static int64_t seconds_up(int64_t value, int64_t per_second)
{
    return (value + per_second - 1) / per_second;
}

void gate_policy_write(struct buf *out, const struct gate_limit *limit)
{
    int64_t burst = limit->verdict.limit;
    buf_printf(out, "\"%s\";q=%lld;w=%lld", limit->policy, (long long)burst,
               (long long)seconds_up(burst, limit->rate.per_second));
}

void gate_limit_write(struct buf *out, const struct gate_limit *limit, int64_t retry_after_ms)
{
    buf_printf(out, "\"%s\";r=%lld;t=%lld", limit->policy, (long long)limit->verdict.remaining,
               (long long)seconds_up(retry_after_ms, 1000));
}

/* The headers say what the rate is; returns when to come back. */
static int64_t tell_rate(struct http_request *request, const struct gate_limit *limit)
{
    /* Spread, so that those refused now do not come back all at once. */
    int64_t retry_after_ms = limit->verdict.retry_after_us / US_PER_MS + 1 + crypto_random_below(JITTER_MS);
    struct buf header;
    buf_init(&header, GATE_HEADER_MAX);
    gate_policy_write(&header, limit);
    http_add_header(request, "RateLimit-Policy", buf_span(&header));
    buf_clear(&header);
    gate_limit_write(&header, limit, retry_after_ms);
    http_add_header(request, "RateLimit", buf_span(&header));
    buf_deinit(&header);
    return retry_after_ms;
}

static struct problem_detail refusal_of(struct http_request *request, enum gate_reason reason,
                                        const struct gate_limit *limit)
{
    static const char *const details[GATE_REASON_COUNT] = {
        [GATE_USER_RATE] = "there are too many requests about this user",
        [GATE_ADDRESS_RATE] = "there are too many requests from this address",
        [GATE_KEY_RATE] = "there are too many requests with this API key",
        [GATE_DISK_CREATE] = "the event store's disk is too full for new campaigns",
        [GATE_DISK_WRITE] = "the event store's disk is too full to write",
    };
    struct problem_detail detail = {.problem = &problem_store_unavailable, .detail = details[reason]};
    switch (reason) {
    case GATE_SUSPENDED:
        detail.problem = &problem_issuer_suspended;
        break;
    case GATE_USER_RATE:
    case GATE_ADDRESS_RATE:
    case GATE_KEY_RATE:
        detail.problem = &problem_rate_limited;
        detail.retry_after_ms = tell_rate(request, limit);
        break;
    case GATE_DISK_CREATE:
    case GATE_DISK_WRITE:
        detail.retry_after_ms = DISK_RETRY_MS + crypto_random_below(DISK_RETRY_MS);
        break;
    case GATE_UNKNOWN:
        detail.retry_after_ms = UNKNOWN_RETRY_MS + crypto_random_below(UNKNOWN_RETRY_MS);
        break;
    case GATE_OPEN:
    case GATE_REASON_COUNT:
        UNREACHABLE("only refusals come here");
    }
    return detail;
}

/* true: go on. */
static bool judge_request(struct gate *gate, struct http_request *request, enum gate_class class,
                          struct span user, struct problem_detail *ret)
{
    struct gate_limit limit;
    const struct gate_visit visit = {
        .class = class,
        .key = http_key(request),
        .user = user,
        .address = http_address(request),
        .disk = disk_guard_verdict(gate->disk),
    };
    enum gate_reason reason = gate_judge(gate, control_now(gate->control), &visit, clock_mono_us(), &limit);
    if (reason == GATE_OPEN)
        return true;
    metric_add(refused[reason], 1);
    *ret = refusal_of(request, reason, &limit);
    return false;
}

bool gate_admit(struct gate *gate, struct command *command)
{
    struct problem_detail detail;
    enum gate_class class = command_subject(command->kind) == SUBJECT_CONTROL ? GATE_CONTROL
                            : command->kind == COMMAND_CREATE                 ? GATE_CREATE
                                                                              : GATE_WRITE;
    if (judge_request(gate, command->request, class, command_user(command), &detail))
        return true;
    answer_detail(command, &detail);
    return false;
}

bool gate_admit_question(struct gate *gate, struct http_request *request)
{
    struct problem_detail detail;
    if (judge_request(gate, request, GATE_READ, (struct span){NULL, 0}, &detail))
        return true;
    refusals_count(detail.problem);
    http_problem(request, &detail);
    return false;
}
