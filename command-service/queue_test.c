/* SPDX-License-Identifier: Apache-2.0 */
/* The queue in front of a committer: order, bounds, requests in flight, deadlines, and that nothing is lost
 * between threads. */
#include "command-service/queue.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/testing.h"

enum { QUEUE_MAX = 4, BATCH = 100, FAR_MS = 60000 };

static struct command *command_new(int16_t slice, uint32_t number)
{
    struct command *command = command_create(COMMAND_ISSUE, NULL);
    command->keyed = true;
    command->slice = slice;
    memcpy(command->trace_bytes, &number, sizeof number); /* the test's mark */
    memcpy(command->id.key_hash, &number, sizeof number);
    memcpy(command->id.key_hash + 4, &slice, sizeof slice);
    command->deadline_us = clock_deadline_us(FAR_MS);
    return command;
}

static int64_t mark_of(const struct command *command)
{
    uint32_t number;
    memcpy(&number, command->trace_bytes, sizeof number);
    return number;
}

static enum queue_verdict offer(struct queue *queue, struct command *command)
{
    int64_t wait_ms = -1;
    enum queue_verdict verdict = queue_offer(queue, command, false, &wait_ms);
    assert_true(wait_ms >= 0);
    return verdict;
}

/* A command that the queue takes. */
static struct command *given(struct queue *queue, int16_t slice, uint32_t number)
{
    struct command *command = command_new(slice, number);
    assert_int_equal(offer(queue, command), QUEUE_TAKEN);
    return command;
}

/* A command that the queue refuses; the caller still owns it. */
static void refused(struct queue *queue, struct command *command, enum queue_verdict expected)
{
    size_t depth = queue_look(queue).depth;
    assert_int_equal(offer(queue, command), expected);
    assert_int_equal(queue_look(queue).depth, depth);
    command_destroy(command);
}

static struct command *take(struct queue *queue, size_t count_max)
{
    return queue_take(queue, count_max, 0);
}

/* Checks the marks of a list, which ends with 0. */
static void expect_list(const struct command *list, const uint32_t *numbers)
{
    for (; *numbers; numbers++, list = list->next) {
        assert_non_null(list);
        assert_int_equal(mark_of(list), *numbers);
    }
    assert_null(list);
}
#define EXPECT_LIST(list, ...) expect_list(list, (const uint32_t[]){__VA_ARGS__, 0})

static void finish(struct command *list)
{
    while (list) {
        struct command *command = list;
        list = command->next;
        queue_done(&command, 1);
        command_destroy(command);
    }
}

static void finish_all(struct queue *queue)
{
    for (struct command *list; (list = take(queue, BATCH));)
        finish(list);
    assert_int_equal(queue_look(queue).depth, 0);
    queue_destroy(queue);
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    for (uint32_t number = 1; number <= 5; number++)
        given(queue, 3, number);
    assert_int_equal(queue_look(queue).depth, 5);
    struct command *list = take(queue, 2);
    EXPECT_LIST(list, 1, 2);
    assert_int_equal(queue_look(queue).depth, 3);
    finish(list);
    given(queue, 3, 6);
    list = take(queue, BATCH);
    EXPECT_LIST(list, 3, 4, 5, 6);
    finish(list);
    assert_null(take(queue, BATCH));
    given(queue, 3, 7); /* an emptied queue works on */
    finish_all(queue);
}

static void many_users_travel_alone(void **state)
{
    (void)state;
    static const enum command_kind kinds[] = {COMMAND_ISSUE, COMMAND_ISSUE, COMMAND_ISSUE_MANY,
                                              COMMAND_ISSUE_MANY, COMMAND_ISSUE};
    struct queue *queue = queue_create(BATCH, BATCH);
    for (uint32_t i = 0; i < COUNT_OF(kinds); i++) {
        struct command *command = command_new(6, i + 1);
        command->kind = kinds[i];
        assert_int_equal(offer(queue, command), QUEUE_TAKEN);
    }
    struct command *lists[4];
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        lists[i] = take(queue, BATCH);
    EXPECT_LIST(lists[0], 1, 2);
    EXPECT_LIST(lists[1], 3);
    EXPECT_LIST(lists[2], 4);
    EXPECT_LIST(lists[3], 5);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        finish(lists[i]);
    finish_all(queue);
}

static void a_queue_is_bounded(void **state)
{
    (void)state;
    struct queue *queue = queue_create(QUEUE_MAX, BATCH);
    for (uint32_t number = 1; number <= QUEUE_MAX; number++)
        given(queue, 1, number);
    refused(queue, command_new(1, 99), QUEUE_FULL);
    struct command *list = take(queue, 1);
    EXPECT_LIST(list, 1);
    given(queue, 1, 98);
    refused(queue, command_new(1, 97), QUEUE_FULL);
    finish(list);
    finish_all(queue);
}

static void the_bound_may_change(void **state)
{
    (void)state;
    struct queue *queue = queue_create(QUEUE_MAX, BATCH);
    given(queue, 1, 1);
    given(queue, 1, 2);
    queue_set_max(queue, 1); /* below what is there, which stays */
    refused(queue, command_new(1, 3), QUEUE_FULL);
    struct command *list = take(queue, 2);
    EXPECT_LIST(list, 1, 2);
    given(queue, 1, 3); /* at the new bound, and one above it */
    refused(queue, command_new(1, 4), QUEUE_FULL);
    queue_set_max(queue, 2);
    given(queue, 1, 4);
    finish(list);
    finish_all(queue);
}

static void one_request_is_in_flight_once(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    given(queue, 1, 7);
    refused(queue, command_new(1, 7), QUEUE_IN_FLIGHT);
    struct command *other_payload = command_new(1, 7);
    other_payload->fingerprint[FINGERPRINT_BYTES - 1] = 1;
    refused(queue, other_payload, QUEUE_REUSED);
    struct command *other_operation = command_new(1, 7);
    other_operation->id.operation[7] = 1;
    assert_int_equal(offer(queue, other_operation), QUEUE_TAKEN);
    struct command *list = take(queue, BATCH); /* taken is still in flight */
    refused(queue, command_new(1, 7), QUEUE_IN_FLIGHT);
    queue_put_back(queue, list);
    refused(queue, command_new(1, 7), QUEUE_IN_FLIGHT);
    finish(take(queue, BATCH));
    given(queue, 1, 7); /* done: may come again */
    finish_all(queue);
}

static void what_is_put_back_comes_first(void **state)
{
    (void)state;
    struct queue *queue = queue_create(3, BATCH);
    for (uint32_t number = 1; number <= 3; number++)
        given(queue, 4, number);
    struct command *list = take(queue, 2);
    given(queue, 4, 4);
    queue_put_back(queue, list); /* above the bound: nobody who was accepted is dropped */
    assert_int_equal(queue_look(queue).depth, 4);
    queue_put_back(queue, NULL);
    list = take(queue, BATCH);
    EXPECT_LIST(list, 1, 2, 3, 4);
    queue_put_back(queue, list); /* into an empty queue */
    struct command *last = command_new(4, 5);
    refused(queue, last, QUEUE_FULL);
    list = take(queue, 3);
    EXPECT_LIST(list, 1, 2, 3);
    given(queue, 4, 6); /* behind what was left */
    finish(list);
    list = take(queue, BATCH);
    EXPECT_LIST(list, 4, 6);
    finish(list);
    finish_all(queue);
}

static struct command *given_until(struct queue *queue, int16_t slice, uint32_t number, int64_t deadline_us)
{
    struct command *command = command_new(slice, number);
    command->deadline_us = deadline_us;
    assert_int_equal(offer(queue, command), QUEUE_TAKEN);
    return command;
}

static void takes_the_expired_wherever_they_stand(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    int64_t base_us = clock_deadline_us(FAR_MS);
    given_until(queue, 2, 1, base_us + 10);
    given_until(queue, 2, 2, base_us + 30);
    given_until(queue, 2, 3, base_us + 10); /* its body came slowly */
    given_until(queue, 2, 4, base_us + 20);
    given_until(queue, 2, 5, base_us + 5);
    given_until(queue, 2, 6, base_us + 15);
    assert_null(queue_take_expired(queue, base_us + 4));
    struct command *list = queue_take_expired(queue, base_us + 10);
    EXPECT_LIST(list, 1, 3, 5);
    assert_int_equal(queue_look(queue).depth, 3);
    refused(queue, command_new(2, 1), QUEUE_IN_FLIGHT); /* until it is answered */
    finish(list);
    list = queue_take_expired(queue, base_us + 20);
    EXPECT_LIST(list, 4, 6);
    finish(list);
    given_until(queue, 2, 7, base_us + 40);
    list = take(queue, BATCH);
    EXPECT_LIST(list, 2, 7);
    queue_put_back(queue, list); /* keeps its deadlines */
    list = queue_take_expired(queue, base_us + 30);
    EXPECT_LIST(list, 2);
    finish(list);
    list = queue_take_expired(queue, base_us + 40);
    EXPECT_LIST(list, 7);
    finish(list);
    given(queue, 2, 8);
    finish_all(queue);
}

/* A creation begins in its key's slice and ends in its campaign's. */
static void a_command_goes_on_in_another_queue(void **state)
{
    (void)state;
    struct queue *home = queue_create(BATCH, BATCH), *other = queue_create(1, BATCH);
    given(home, 1, 7);
    given(other, 2, 8);
    struct command *command = take(home, BATCH);
    assert_true(queue_forward(other, command)); /* above the bound: it was let in before */
    refused(home, command_new(1, 7), QUEUE_IN_FLIGHT);
    struct command *list = take(other, BATCH);
    EXPECT_LIST(list, 8, 7);
    finish(list);
    given(home, 1, 7);
    finish_all(home);
    finish_all(other);
}

static void refuses_while_the_store_is_gone(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    given(queue, 1, 1);
    queue_set_available(queue, false);
    refused(queue, command_new(1, 2), QUEUE_UNAVAILABLE);
    refused(queue, command_new(1, 1), QUEUE_IN_FLIGHT); /* what is known is said */
    queue_set_available(queue, true);
    given(queue, 1, 2);
    finish_all(queue);
}

static void closes(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    given(queue, 1, 1);
    given(queue, 1, 2);
    assert_false(queue_finished(queue));
    queue_close(queue);
    assert_false(queue_finished(queue));
    refused(queue, command_new(1, 3), QUEUE_CLOSED);
    struct command *list = take(queue, BATCH);
    EXPECT_LIST(list, 1, 2);
    queue_put_back(queue, list); /* a batch under way may still come back */
    assert_false(queue_finished(queue));
    finish(take(queue, BATCH));
    assert_true(queue_finished(queue));
    int64_t before_us = clock_mono_us();
    assert_null(queue_take(queue, BATCH, clock_deadline_us(FAR_MS)));
    assert_true(clock_mono_us() - before_us < FAR_MS / 2 * (int64_t)US_PER_MS); /* it did not wait */
    queue_destroy(queue);
}

static void waits_until_its_deadline_only(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    int64_t until_us = clock_deadline_us(30);
    assert_null(queue_take(queue, BATCH, until_us));
    assert_true(clock_mono_us() >= until_us);
    queue_destroy(queue);
}

/* --- the predicted wait --- */

static int64_t predicted_ms(struct queue *queue, int16_t slice)
{
    int64_t wait_ms = -1;
    struct command *command = command_new(slice, 1000000);
    command->deadline_us = 0; /* refused where anything is queued */
    assert_int_equal(queue_offer(queue, command, false, &wait_ms), QUEUE_FULL);
    command_destroy(command);
    return wait_ms;
}

static void predicts_in_batches(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, 10);
    queue_note_batch(queue, 100 * US_PER_MS);
    given(queue, 1, 1);
    assert_int_equal(predicted_ms(queue, 1), 100); /* its own */
    for (uint32_t number = 2; number <= 9; number++)
        given(queue, 1, number);
    assert_int_equal(predicted_ms(queue, 1), 100); /* a full batch takes no longer */
    given(queue, 1, 10);
    assert_int_equal(predicted_ms(queue, 1), 200);
    struct command *list = take(queue, 5);
    assert_int_equal(predicted_ms(queue, 1), 200); /* the one under way, and its own */
    finish(list);
    finish_all(queue);
}

/* The committer begins nothing that has less time left, so it is not let in either. */
static void the_last_moments_are_of_no_use(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, 10);
    struct command *late = command_new(1, 1), *in_time = command_new(1, 1);
    late->deadline_us = clock_deadline_us(COMMAND_FLOOR_MS - 1);
    in_time->deadline_us = clock_deadline_us(FAR_MS);
    refused(queue, late, QUEUE_FULL);
    assert_int_equal(offer(queue, in_time), QUEUE_TAKEN);
    finish_all(queue);
}

/* Where more wait than a batch takes and batches are slow, whoever is nearer to its deadline than a batch
 * takes is neither begun (it would end the exchange of all the others) nor let in; where few wait, it is. */
static void a_slow_batch_is_of_those_who_can_wait_for_it(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, 2);
    queue_note_batch(queue, 10 * (int64_t)US_PER_S);
    struct command *near = command_new(1, 1);
    near->deadline_us = clock_deadline_us(12000);
    assert_int_equal(offer(queue, near), QUEUE_TAKEN);
    assert_null(queue_take_late(queue)); /* 12 s left, 12.5 wanted; but it waits alone */
    for (uint32_t number = 2; number <= 4; number++)
        given(queue, 1, number);
    struct command *late = queue_take_late(queue);
    assert_ptr_equal(late, near);
    assert_null(late->next);
    finish(late);
    finish_all(queue);
}

static void refuses_who_would_wait_too_long(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, 1);
    struct command *early = command_new(1, 3), *late = command_new(1, 3);
    given(queue, 1, 1);
    queue_note_batch(queue, 20 * (int64_t)US_PER_S);
    given(queue, 1, 2); /* 60 s are predicted */
    early->deadline_us = clock_deadline_us(59000);
    late->deadline_us = clock_deadline_us(90000);
    refused(queue, early, QUEUE_FULL);
    assert_int_equal(offer(queue, late), QUEUE_TAKEN);
    finish_all(queue);
}

static void says_beforehand_what_it_would_do(void **state)
{
    (void)state;
    struct queue *queue = queue_create(2, 1);
    int64_t wait_ms, far_us = clock_deadline_us(FAR_MS);
    bool soon;
    assert_int_equal(queue_would(queue, far_us, &wait_ms, &soon), QUEUE_TAKEN);
    assert_int_equal(queue_would(queue, clock_deadline_us(COMMAND_FLOOR_MS - 1), &wait_ms, &soon),
                     QUEUE_FULL);
    given(queue, 1, 1);
    queue_note_batch(queue, 20 * (int64_t)US_PER_S);
    assert_int_equal(queue_would(queue, far_us, &wait_ms, &soon), QUEUE_TAKEN);
    assert_int_equal(wait_ms, 40000);
    assert_int_equal(queue_would(queue, clock_deadline_us(39000), &wait_ms, &soon), QUEUE_FULL);
    assert_false(soon);
    given(queue, 1, 2);
    assert_int_equal(queue_would(queue, clock_deadline_us(90000), &wait_ms, &soon), QUEUE_FULL);
    assert_true(soon); /* as many as may, and there is time for more */
    assert_int_equal(queue_would(queue, clock_deadline_us(39000), &wait_ms, &soon), QUEUE_FULL);
    assert_false(soon);
    queue_set_available(queue, false);
    assert_int_equal(queue_would(queue, far_us, &wait_ms, &soon), QUEUE_UNAVAILABLE);
    assert_false(soon);
    finish_all(queue);
}

/* Otherwise one slow hour would never end: without batches nothing new is learned. */
static void an_empty_queue_takes(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, 1);
    queue_note_batch(queue, 3600 * (int64_t)US_PER_S);
    given(queue, 1, 1);
    refused(queue, command_new(1, 2), QUEUE_FULL);
    for (size_t i = 0; i < 100; i++)
        queue_note_batch(queue, US_PER_MS);
    given(queue, 1, 2); /* the average forgets */
    finish_all(queue);
}

/* --- accepted: answered before it is done --- */

/* Whoever would wait longer than `above_us` may be told to ask later. */
static struct command *acceptable(uint32_t number, int64_t above_us, int64_t until_ms)
{
    struct command *command = command_new(1, number);
    command->accept_above_us = above_us;
    command->accepted_deadline_us = clock_deadline_us(until_ms);
    return command;
}

static enum queue_verdict offer_acceptable(struct queue *queue, struct command *command)
{
    int64_t wait_ms;
    enum queue_verdict verdict = queue_offer(queue, command, true, &wait_ms);
    if (verdict != QUEUE_TAKEN && verdict != QUEUE_ACCEPTED)
        command_destroy(command);
    return verdict;
}

static void who_would_wait_long_is_accepted(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    assert_int_equal(offer_acceptable(queue, acceptable(1, 0, FAR_MS)), QUEUE_TAKEN); /* no wait */
    queue_note_batch(queue, US_PER_S);
    assert_int_equal(offer_acceptable(queue, acceptable(2, 0, 1000)), QUEUE_FULL); /* late even so */
    struct command *accepted = acceptable(3, 0, 2 * FAR_MS);
    assert_int_equal(offer_acceptable(queue, accepted), QUEUE_ACCEPTED);
    assert_true(accepted->accepted && !accepted->request && !accepted->watch);
    assert_int_equal(accepted->deadline_us, accepted->accepted_deadline_us);
    finish_all(queue);
}

/* Nobody waits for it, so it does not keep a process that is to end. */
static void closing_leaves_the_accepted_two_seconds(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    struct command *waiting = given(queue, 1, 1);
    struct command *near = acceptable(2, -1, COMMAND_FLOOR_MS + 1000), *far = acceptable(3, -1, FAR_MS);
    assert_int_equal(offer_acceptable(queue, near), QUEUE_ACCEPTED);
    assert_int_equal(offer_acceptable(queue, far), QUEUE_ACCEPTED);
    struct command *list = take(queue, 2);
    EXPECT_LIST(list, 1, 2);
    int64_t waiting_us = waiting->deadline_us, near_us = near->deadline_us;
    queue_close(queue);
    int64_t most_us = clock_deadline_us(2000);
    assert_true(far->deadline_us <= most_us);
    queue_put_back(queue, list);
    assert_int_equal(waiting->deadline_us, waiting_us);
    assert_int_equal(near->deadline_us, near_us);
    list = queue_take_expired(queue, most_us);
    EXPECT_LIST(list, 2, 3);
    finish(list);
    finish_all(queue);
}

/* --- several under one key, and some without --- */

static struct command *with_operation(uint32_t number, uint8_t operation)
{
    struct command *command = command_new(1, number);
    command->id.operation[0] = operation;
    return command;
}

static void count_one(const struct command *command, void *context)
{
    (void)command;
    ++*(int *)context;
}

static int in_flight(struct queue *queue, const struct command *like)
{
    int count = 0;
    queue_in_flight(queue, like->id.key_hash, count_one, &count);
    return count;
}

static void one_key_may_be_used_for_several_things(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    struct command *commands[4];
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        commands[i] = with_operation(7, (uint8_t)i);
        assert_int_equal(offer(queue, commands[i]), QUEUE_TAKEN);
    }
    assert_int_equal(in_flight(queue, commands[0]), 4);
    struct command *list = take(queue, BATCH);
    static const size_t order[] = {1, 3, 0, 2}; /* from the middle, the newest, the oldest, the last */
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        queue_done(&commands[order[i]], 1);
        assert_int_equal(in_flight(queue, commands[0]), 3 - (int)i);
    }
    while (list) {
        struct command *command = list;
        list = list->next;
        command_destroy(command);
    }
    finish_all(queue);
}

static void without_a_key_nothing_is_in_flight(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    for (int i = 0; i < 2; i++) {
        struct command *command = command_new(1, 7);
        command->keyed = false;
        command->alone = true;
        assert_int_equal(offer(queue, command), QUEUE_TAKEN);
        assert_int_equal(in_flight(queue, command), 0);
    }
    struct command *list = take(queue, BATCH); /* each is a batch in itself */
    EXPECT_LIST(list, 7);
    finish(list);
    finish_all(queue);
}

static void the_done_may_be_of_several_queues(void **state)
{
    (void)state;
    struct queue *queues[2] = {queue_create(BATCH, BATCH), queue_create(BATCH, BATCH)};
    struct command *done[3] = {given(queues[0], 1, 1), given(queues[0], 1, 2), given(queues[1], 2, 3)};
    for (size_t i = 0; i < COUNT_OF(queues); i++)
        (void)take(queues[i], BATCH);
    queue_done(done, COUNT_OF(done));
    for (size_t i = 0; i < COUNT_OF(done); i++)
        command_destroy(done[i]);
    for (size_t i = 0; i < COUNT_OF(queues); i++)
        finish_all(queues[i]);
    queue_destroy(NULL);
}

static void a_closed_queue_takes_nothing_over(void **state)
{
    (void)state;
    struct queue *home = queue_create(BATCH, BATCH), *closed = queue_create(BATCH, BATCH);
    given(home, 1, 1);
    queue_close(closed);
    struct command *command = take(home, BATCH);
    assert_false(queue_forward(closed, command));
    finish(command);
    finish_all(home);
    finish_all(closed);
}

static void an_earlier_deadline_comes_back_with_its_command(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    int64_t base_us = clock_deadline_us(FAR_MS);
    given_until(queue, 1, 1, base_us);
    struct command *list = take(queue, BATCH);
    given_until(queue, 1, 2, base_us + 10);
    queue_put_back(queue, list);
    list = queue_take_expired(queue, base_us);
    EXPECT_LIST(list, 1);
    finish(list);
    finish_all(queue);
}

static void sleeps_until_something_happens(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    int64_t until_us = clock_deadline_us(20);
    assert_false(queue_await(queue, until_us));
    queue_sleep(queue, until_us); /* which is over */
    until_us = clock_deadline_us(20);
    queue_sleep(queue, until_us);
    assert_true(clock_mono_us() >= until_us);
    given(queue, 1, 1);
    assert_true(queue_await(queue, clock_deadline_us(FAR_MS)));
    finish(take(queue, BATCH));
    queue_close(queue);
    int64_t before_us = clock_mono_us();
    assert_true(queue_await(queue, clock_deadline_us(FAR_MS)));
    queue_sleep(queue, clock_deadline_us(FAR_MS));
    assert_true(clock_mono_us() - before_us < FAR_MS / 2 * (int64_t)US_PER_MS);
    queue_destroy(queue);
}

/* Whoever wants the committer to look at something else wakes it once. */
static void who_is_wanted_wakes_once(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    queue_want(queue);
    assert_true(queue_await(queue, clock_deadline_us(FAR_MS)));
    assert_false(queue_await(queue, clock_deadline_us(5)));
    queue_want(queue);
    assert_null(queue_take(queue, BATCH, clock_deadline_us(FAR_MS)));
    assert_false(queue_await(queue, clock_deadline_us(5)));
    queue_destroy(queue);
}

static void a_look_tells_how_it_stands(void **state)
{
    (void)state;
    struct queue *queue = queue_create(QUEUE_MAX, BATCH);
    queue_note_batch(queue, 100 * US_PER_MS);
    given(queue, 1, 1);
    queue_set_available(queue, false);
    struct queue_facts facts = queue_look(queue);
    assert_int_equal(facts.depth, 1);
    assert_false(facts.available);
    finish_all(queue);
}

/* --- threads --- */

enum { OFFERERS = 4, EACH = 5000, THREAD_SLICES = 1 };

struct offerer {
    struct queue *queue;
    uint32_t index;
    pthread_t thread;
};

static void *offer_many(void *context)
{
    struct offerer *self = context;
    for (uint32_t i = 0; i < EACH; i++) {
        struct command *command = command_new((int16_t)(i % THREAD_SLICES), self->index * EACH + i + 1);
        int64_t wait_ms;
        while (queue_offer(self->queue, command, false, &wait_ms) == QUEUE_FULL) {
            const struct timespec pause = {.tv_nsec = 100 * 1000};
            (void)ppoll(NULL, 0, &pause, NULL); /* the taker makes room */
        }
    }
    return NULL;
}

/* What one taker sees: marks rise per offerer and slice. */
struct seen {
    int64_t last[OFFERERS][THREAD_SLICES];
    size_t count;
};

static void see(struct seen *seen, const struct command *list)
{
    int16_t slice = list->slice;
    for (; list; list = list->next) {
        int64_t *last = &seen->last[(mark_of(list) - 1) / EACH][slice];
        assert_int_equal(list->slice, slice);
        assert_true(mark_of(list) > *last);
        *last = mark_of(list);
        seen->count++;
    }
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct queue *queue = queue_create(50, 16);
    struct offerer offerers[OFFERERS];
    struct seen seen = {0};
    uint64_t chance = 1;
    for (uint32_t i = 0; i < OFFERERS; i++) {
        offerers[i] = (struct offerer){.queue = queue, .index = i};
        assert_int_equal(pthread_create(&offerers[i].thread, NULL, offer_many, &offerers[i]), 0);
    }
    while (seen.count < OFFERERS * EACH) {
        struct command *list = queue_take(queue, 16, clock_deadline_us(FAR_MS));
        assert_non_null(list);
        if (random_next(&chance) % 4 == 0) {
            queue_put_back(queue, list);
            continue;
        }
        see(&seen, list);
        finish(list);
        assert_null(queue_take_expired(queue, 0));
        queue_note_batch(queue, 1);
    }
    for (size_t i = 0; i < OFFERERS; i++)
        assert_int_equal(pthread_join(offerers[i].thread, NULL), 0);
    assert_null(take(queue, BATCH));
    queue_destroy(queue);
}

enum { ROUNDS = 2000, WAKE_MS = 5000 };

struct taker {
    struct queue *queue;
    atomic_int taken;
    bool late;
};

static void *take_each(void *context)
{
    struct taker *self = context;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t deadline_us = clock_deadline_us(WAKE_MS);
        struct command *list = queue_take(self->queue, 1, deadline_us);
        self->late |= !list || clock_mono_us() >= deadline_us;
        finish(list);
        atomic_fetch_add(&self->taken, 1);
        if (self->late)
            break;
    }
    return NULL;
}

/* One command at a time: each must wake the taker, which sleeps by then, more often than not. */
static void each_command_wakes_the_taker(void **state)
{
    (void)state;
    struct taker taker = {.queue = queue_create(BATCH, BATCH)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_each, &taker), 0);
    for (int round = 0; round < ROUNDS && !taker.late; round++) {
        given(taker.queue, 1, 1 + (uint32_t)round);
        while (atomic_load(&taker.taken) == round) {
            const struct timespec pause = {.tv_nsec = 1000};
            (void)ppoll(NULL, 0, &pause, NULL);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(taker.late);
    queue_destroy(taker.queue);
}

enum { SLEEP_MS = 100 };

static void *sleep_for_long(void *context)
{
    struct taker *self = context;
    int64_t until_us = clock_deadline_us(SLEEP_MS);
    queue_sleep(self->queue, until_us);
    self->late = clock_mono_us() < until_us;
    atomic_store(&self->taken, 1);
    return NULL;
}

/* Whoever rests after an error is not woken by those who come meanwhile. */
static void commands_end_no_sleep(void **state)
{
    (void)state;
    struct taker sleeper = {.queue = queue_create(BATCH, BATCH)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, sleep_for_long, &sleeper), 0);
    while (atomic_load(&sleeper.taken) == 0) {
        given(sleeper.queue, 1, 1);
        finish(take(sleeper.queue, BATCH));
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(sleeper.late);
    queue_destroy(sleeper.queue);
}

static void *close_it(void *queue)
{
    queue_close(queue);
    return NULL;
}

static void closing_wakes_the_taker(void **state)
{
    (void)state;
    struct queue *queue = queue_create(BATCH, BATCH);
    pthread_t thread;
    int64_t before_us = clock_mono_us();
    assert_int_equal(pthread_create(&thread, NULL, close_it, queue), 0);
    assert_null(queue_take(queue, BATCH, clock_deadline_us(FAR_MS)));
    assert_true(clock_mono_us() - before_us < FAR_MS / 2 * (int64_t)US_PER_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    queue_destroy(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(many_users_travel_alone),
        cmocka_unit_test(a_queue_is_bounded),
        cmocka_unit_test(the_bound_may_change),
        cmocka_unit_test(one_request_is_in_flight_once),
        cmocka_unit_test(what_is_put_back_comes_first),
        cmocka_unit_test(takes_the_expired_wherever_they_stand),
        cmocka_unit_test(a_command_goes_on_in_another_queue),
        cmocka_unit_test(refuses_while_the_store_is_gone),
        cmocka_unit_test(closes),
        cmocka_unit_test(waits_until_its_deadline_only),
        cmocka_unit_test(predicts_in_batches),
        cmocka_unit_test(the_last_moments_are_of_no_use),
        cmocka_unit_test(a_slow_batch_is_of_those_who_can_wait_for_it),
        cmocka_unit_test(refuses_who_would_wait_too_long),
        cmocka_unit_test(says_beforehand_what_it_would_do),
        cmocka_unit_test(an_empty_queue_takes),
        cmocka_unit_test(who_would_wait_long_is_accepted),
        cmocka_unit_test(closing_leaves_the_accepted_two_seconds),
        cmocka_unit_test(one_key_may_be_used_for_several_things),
        cmocka_unit_test(without_a_key_nothing_is_in_flight),
        cmocka_unit_test(the_done_may_be_of_several_queues),
        cmocka_unit_test(a_closed_queue_takes_nothing_over),
        cmocka_unit_test(an_earlier_deadline_comes_back_with_its_command),
        cmocka_unit_test(sleeps_until_something_happens),
        cmocka_unit_test(who_is_wanted_wakes_once),
        cmocka_unit_test(a_look_tells_how_it_stands),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(each_command_wakes_the_taker),
        cmocka_unit_test(commands_end_no_sleep),
        cmocka_unit_test(closing_wakes_the_taker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
