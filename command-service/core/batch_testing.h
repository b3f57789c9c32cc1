/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the batch share: commands without requests, a loaded part as the store would fill it, and
 * looking at what came out. Only for *_test.c files. */
#pragma once

#include "command-service/answer.h"
#include "command-service/core/batch.h"
#include "common/base/testing.h"
#include "events/problems.h"

enum { NOW = 5000, HEAD = 100, NAMES = 4 };

static struct batch *batch;
static struct command *first, *last;
static uint32_t requests;

/* Four campaigns of one slice. */
static char names[NAMES][16];

static inline void find_names(void)
{
    size_t found = 0;
    int16_t slice = slice_of(SPAN("spring"));
    snprintf(names[found++], sizeof names[0], "spring");
    for (unsigned i = 0; found < NAMES; i++) {
        snprintf(names[found], sizeof names[0], "c%u", i);
        found += slice_of(span_of(names[found])) == slice;
    }
}

static inline int setup(void **state)
{
    (void)state;
    batch = batch_create(&(struct creation_limits){1000, 1000, 1000000}, answer_condition_holds);
    first = last = NULL;
    requests = 0;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    batch_destroy(batch);
    while (first) {
        struct command *next = first->next;
        command_destroy(first);
        first = next;
    }
    return 0;
}

/* --- commands --- */

static inline struct command *ask(enum command_kind kind, size_t name)
{
    struct command *command = command_create(kind, NULL);
    command->campaign_id = span_of(names[name]);
    command->slice = slice_of(command->campaign_id);
    command->actor = SPAN("admin");
    command->keyed = true;
    requests++;
    memcpy(command->id.key_hash, &requests, sizeof requests);
    *(last ? &last->next : &first) = command;
    last = command;
    return command;
}

static inline struct command *ask_issue(size_t name, const char *user)
{
    struct command *command = ask(COMMAND_ISSUE, name);
    command->issue.user_id = span_of(user);
    return command;
}

static inline struct command *ask_create(size_t name, int64_t quantity)
{
    struct command *command = ask(COMMAND_CREATE, name);
    *command->create = (struct campaign_created){.name = SPAN("n"),
                                                 .discount_value = 10,
                                                 .currency = SPAN("EUR"),
                                                 .quantity = quantity,
                                                 .released = quantity,
                                                 .per_user_limit = 1};
    return command;
}

/* --- the loaded part --- */

static inline void begin(void)
{
    batch_begin(batch, first);
    batch->head = HEAD;
    batch->now_us = NOW;
}

static inline struct campaign *loaded(size_t name)
{
    struct loaded_campaign *is = map_get(&batch->campaigns, span_of(names[name]));
    assert_non_null(is);
    is->exists = true;
    is->campaign = (struct campaign){
        .id = is->campaign.id,
        .definition = {.name = SPAN("n"),
                       .discount_value = 10,
                       .currency = SPAN("EUR"),
                       .quantity = 10,
                       .per_user_limit = 1},
        .created_at_us = 1,
        .first = 1,
        .position = 50,
        .released = 10,
        .state = CAMPAIGN_ACTIVE,
    };
    return &is->campaign;
}

static inline struct holding *holding_of(size_t name, const char *user)
{
    for (size_t i = 0; i < batch->holdings_count; i++)
        if (span_is(batch->holding_campaigns[i], names[name]) && span_is(batch->holding_users[i], user))
            return batch->holding_list[i];
    fail();
    return NULL;
}

static inline struct loaded_campaign *outcome(size_t name)
{
    return map_get(&batch->campaigns, span_of(names[name]));
}

/* --- what came out --- */

static inline void expect_event(size_t index, enum event_type type, const char *campaign)
{
    assert_true(index < batch->events_count);
    const struct event *event = &batch->events[index];
    assert_int_equal(event->type, type);
    assert_int_equal(event->version, event_describe((int)type)->version);
    assert_int_equal(event->slice, batch->slice);
    assert_int_equal(event->position, HEAD + 1 + (int64_t)index); /* I5: gapless */
    assert_int_equal(event->recorded_at_us, NOW);
    assert_span(event->campaign_id, campaign);
    struct event read = {.type = event->type, .version = event->version, .data = event->data};
    assert_int_equal(event_decode(&read, &batch->arena), CODEC_OK); /* the bytes are the payload's */
    struct buf again;
    buf_init(&again, EVENT_DATA_MAX);
    event_encode(event, &again);
    assert_true(span_equal(buf_span(&again), event->data));
    buf_deinit(&again);
}

/* What the store keeps of the answer; NULL: nothing. */
static inline void expect_kept(size_t command, const char *text)
{
    struct buf kept;
    buf_init(&kept, 4096);
    bool any = answer_keep(&kept, batch->commands[command], &batch->verdicts[command]);
    assert_int_equal(any, text != NULL);
    if (text)
        assert_span(buf_span(&kept), text);
    buf_deinit(&kept);
}

static inline void expect_coupon(size_t command, size_t event_index, int64_t sequence)
{
    const struct verdict *verdict = &batch->verdicts[command];
    const struct event *event = &batch->events[event_index];
    char id[COUPON_ID_MAX + 1];
    snprintf(id, sizeof id, "c%d-%lld", batch->slice, (long long)event->position);
    assert_null(verdict->refusal);
    assert_false(verdict->replayed);
    assert_int_equal(verdict->coupon.sequence, sequence);
    assert_int_equal(verdict->coupon.at.position, event->position);
    assert_int_equal(verdict->token.position, event->position);
    assert_int_equal(verdict->token.slice, batch->slice);
    assert_int_equal(event->type, EVENT_CouponIssued);
    assert_int_equal(event->coupon_issued.sequence, sequence);
    assert_span(event->coupon_id, id);
    assert_true(span_equal(event->user_id, command_user(batch->commands[command])));
    assert_true(verdict->remembered); /* I4 */
    expect_kept(command, NULL);       /* rendered from the event again */
}

static inline void expect_refusal(size_t command, const struct problem *problem)
{
    const struct verdict *verdict = &batch->verdicts[command];
    if (verdict->refusal != problem)
        fail_msg("command %zu: %s", command, verdict->refusal ? verdict->refusal->code : "accepted");
    assert_false(verdict->remembered); /* a refusal leaves nothing behind */
}

static inline void expect_body(size_t command, int status, const char *part)
{
    static const struct code_key code_key;
    const struct verdict *verdict = &batch->verdicts[command];
    struct buf body;
    char text[4096];
    assert_null(verdict->refusal);
    buf_init(&body, sizeof text);
    answer_write(&body, batch->commands[command], verdict, &code_key);
    snprintf(text, sizeof text, "%.*s", SPAN_ARG(buf_span(&body)));
    buf_deinit(&body);
    if (!strstr(text, part))
        fail_msg("%s is not in %s", part, text);
    assert_int_equal(answer_status(batch->commands[command]->kind), status);
    assert_true(verdict->remembered);
    expect_kept(command, text);
}

static inline struct request_record *record_for(size_t command)
{
    struct request_record *record = arena_alloc(&batch->arena, sizeof *record);
    memcpy(record->fingerprint, batch->commands[command]->fingerprint, FINGERPRINT_BYTES);
    record->has_fingerprint = true;
    batch->records[command] = record;
    return record;
}

static inline void begin_it(void *unused)
{
    (void)unused;
    begin();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
