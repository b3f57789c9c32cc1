/* SPDX-License-Identifier: Apache-2.0 */
/* The queues in front of a committer: order, turns, bounds, requests in flight, deadlines, and that nothing
 * is lost between threads. */
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

static enum inbox_verdict offer(struct inbox *inbox, struct command *command)
{
    int64_t wait_ms = -1;
    enum inbox_verdict verdict = inbox_offer(inbox, command, NULL, &wait_ms);
    assert_true(wait_ms >= 0);
    return verdict;
}

/* A command that the inbox takes. */
static struct command *given(struct inbox *inbox, int16_t slice, uint32_t number)
{
    struct command *command = command_new(slice, number);
    assert_int_equal(offer(inbox, command), INBOX_TAKEN);
    return command;
}

/* A command that the inbox refuses; the caller still owns it. */
static void refused(struct inbox *inbox, struct command *command, enum inbox_verdict expected)
{
    size_t depth = inbox_depth(inbox);
    assert_int_equal(offer(inbox, command), expected);
    assert_int_equal(inbox_depth(inbox), depth);
    command_destroy(command);
}

static struct command *take(struct inbox *inbox, size_t count_max)
{
    return inbox_take(inbox, count_max, 0);
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

static void finish(struct inbox *inbox, struct command *list)
{
    while (list) {
        struct command *command = list;
        list = command->next;
        inbox_done(inbox, command);
        command_destroy(command);
    }
}

static void finish_all(struct inbox *inbox)
{
    for (struct command *list; (list = take(inbox, BATCH));)
        finish(inbox, list);
    assert_int_equal(inbox_depth(inbox), 0);
    inbox_destroy(inbox);
}

static void first_in_first_out(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    for (uint32_t number = 1; number <= 5; number++)
        given(inbox, 3, number);
    assert_int_equal(inbox_depth(inbox), 5);
    struct command *list = take(inbox, 2);
    EXPECT_LIST(list, 1, 2);
    assert_int_equal(inbox_depth(inbox), 3);
    finish(inbox, list);
    given(inbox, 3, 6);
    list = take(inbox, BATCH);
    EXPECT_LIST(list, 3, 4, 5, 6);
    finish(inbox, list);
    assert_null(take(inbox, BATCH));
    given(inbox, 3, 7); /* an emptied queue works on */
    finish_all(inbox);
}

static void slices_take_turns(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    for (uint32_t number = 1; number <= 6; number++)
        given(inbox, 5, number); /* a hot one */
    given(inbox, 0, 10);
    given(inbox, 15, 11);
    struct command *lists[5];
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        lists[i] = take(inbox, 2);
    EXPECT_LIST(lists[0], 10);
    EXPECT_LIST(lists[1], 1, 2);
    EXPECT_LIST(lists[2], 11);
    EXPECT_LIST(lists[3], 3, 4);
    EXPECT_LIST(lists[4], 5, 6);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        finish(inbox, lists[i]);
    finish_all(inbox);
}

static void many_users_travel_alone(void **state)
{
    (void)state;
    static const enum command_kind kinds[] = {COMMAND_ISSUE, COMMAND_ISSUE, COMMAND_ISSUE_MANY,
                                              COMMAND_ISSUE_MANY, COMMAND_ISSUE};
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    for (uint32_t i = 0; i < COUNT_OF(kinds); i++) {
        struct command *command = command_new(6, i + 1);
        command->kind = kinds[i];
        assert_int_equal(offer(inbox, command), INBOX_TAKEN);
    }
    struct command *lists[4];
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        lists[i] = take(inbox, BATCH);
    EXPECT_LIST(lists[0], 1, 2);
    EXPECT_LIST(lists[1], 3);
    EXPECT_LIST(lists[2], 4);
    EXPECT_LIST(lists[3], 5);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        finish(inbox, lists[i]);
    finish_all(inbox);
}

static void queues_are_bounded_per_slice(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(QUEUE_MAX, BATCH);
    for (uint32_t number = 1; number <= QUEUE_MAX; number++)
        given(inbox, 1, number);
    refused(inbox, command_new(1, 99), INBOX_FULL);
    given(inbox, 2, 99); /* another slice has room */
    struct command *list = take(inbox, 1);
    EXPECT_LIST(list, 1);
    given(inbox, 1, 98);
    refused(inbox, command_new(1, 97), INBOX_FULL);
    finish(inbox, list);
    given(inbox, 1 + 2, 1); /* and what was refused left nothing in flight */
    finish_all(inbox);
}

static void the_bound_may_change(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(QUEUE_MAX, BATCH);
    given(inbox, 1, 1);
    given(inbox, 1, 2);
    inbox_set_queue_max(inbox, 1); /* below what is there, which stays */
    refused(inbox, command_new(1, 3), INBOX_FULL);
    struct command *list = take(inbox, 2);
    EXPECT_LIST(list, 1, 2);
    given(inbox, 1, 3); /* at the new bound, and one above it */
    refused(inbox, command_new(1, 4), INBOX_FULL);
    inbox_set_queue_max(inbox, 2);
    given(inbox, 1, 4);
    finish(inbox, list);
    finish_all(inbox);
}

static void one_request_is_in_flight_once(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    given(inbox, 1, 7);
    refused(inbox, command_new(1, 7), INBOX_IN_FLIGHT);
    struct command *other_payload = command_new(1, 7);
    other_payload->fingerprint[FINGERPRINT_BYTES - 1] = 1;
    refused(inbox, other_payload, INBOX_REUSED);
    struct command *other_operation = command_new(1, 7);
    other_operation->id.operation[7] = 1;
    assert_int_equal(offer(inbox, other_operation), INBOX_TAKEN);
    struct command *list = take(inbox, BATCH); /* taken is still in flight */
    refused(inbox, command_new(1, 7), INBOX_IN_FLIGHT);
    inbox_put_back(inbox, list);
    refused(inbox, command_new(1, 7), INBOX_IN_FLIGHT);
    finish(inbox, take(inbox, BATCH));
    given(inbox, 1, 7); /* done: may come again */
    finish_all(inbox);
}

static void what_is_put_back_comes_first(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(3, BATCH);
    for (uint32_t number = 1; number <= 3; number++)
        given(inbox, 4, number);
    struct command *list = take(inbox, 2);
    given(inbox, 4, 4);
    inbox_put_back(inbox, list); /* above the bound: nobody who was accepted is dropped */
    assert_int_equal(inbox_depth(inbox), 4);
    inbox_put_back(inbox, NULL);
    list = take(inbox, BATCH);
    EXPECT_LIST(list, 1, 2, 3, 4);
    inbox_put_back(inbox, list); /* into an empty queue */
    struct command *last = command_new(4, 5);
    refused(inbox, last, INBOX_FULL);
    list = take(inbox, 3);
    EXPECT_LIST(list, 1, 2, 3);
    given(inbox, 4, 6); /* behind what was left */
    finish(inbox, list);
    list = take(inbox, BATCH);
    EXPECT_LIST(list, 4, 6);
    finish(inbox, list);
    finish_all(inbox);
}

static struct command *given_until(struct inbox *inbox, int16_t slice, uint32_t number, int64_t deadline_us)
{
    struct command *command = command_new(slice, number);
    command->deadline_us = deadline_us;
    assert_int_equal(offer(inbox, command), INBOX_TAKEN);
    return command;
}

static void takes_the_expired_wherever_they_stand(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    int64_t base_us = clock_deadline_us(FAR_MS);
    given_until(inbox, 2, 1, base_us + 10);
    given_until(inbox, 2, 2, base_us + 30);
    given_until(inbox, 2, 3, base_us + 10); /* its body came slowly */
    given_until(inbox, 2, 4, base_us + 20);
    given_until(inbox, 9, 5, base_us + 5);
    given_until(inbox, 9, 6, base_us + 15);
    assert_null(inbox_take_expired(inbox, base_us + 4));
    struct command *list = inbox_take_expired(inbox, base_us + 10);
    EXPECT_LIST(list, 1, 3, 5);
    assert_int_equal(inbox_depth(inbox), 3);
    refused(inbox, command_new(2, 1), INBOX_IN_FLIGHT); /* until it is answered */
    finish(inbox, list);
    list = inbox_take_expired(inbox, base_us + 20);
    EXPECT_LIST(list, 4, 6);
    finish(inbox, list);
    given_until(inbox, 2, 7, base_us + 40);
    list = take(inbox, BATCH);
    EXPECT_LIST(list, 2, 7);
    inbox_put_back(inbox, list); /* keeps its deadlines */
    list = inbox_take_expired(inbox, base_us + 30);
    EXPECT_LIST(list, 2);
    finish(inbox, list);
    list = inbox_take_expired(inbox, base_us + 40);
    EXPECT_LIST(list, 7);
    finish(inbox, list);
    given(inbox, 2, 8);
    finish_all(inbox);
}

static void refuses_while_the_store_is_gone(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    given(inbox, 1, 1);
    inbox_set_available(inbox, false);
    refused(inbox, command_new(1, 2), INBOX_UNAVAILABLE);
    refused(inbox, command_new(1, 1), INBOX_IN_FLIGHT); /* what is known is said */
    inbox_set_available(inbox, true);
    given(inbox, 1, 2);
    finish_all(inbox);
}

static void closes(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    given(inbox, 1, 1);
    given(inbox, 1, 2);
    assert_false(inbox_finished(inbox));
    inbox_close(inbox);
    assert_false(inbox_finished(inbox));
    refused(inbox, command_new(1, 3), INBOX_CLOSED);
    struct command *list = take(inbox, BATCH);
    EXPECT_LIST(list, 1, 2);
    inbox_put_back(inbox, list); /* a batch under way may still come back */
    assert_false(inbox_finished(inbox));
    finish(inbox, take(inbox, BATCH));
    assert_true(inbox_finished(inbox));
    int64_t before_us = clock_mono_us();
    assert_null(inbox_take(inbox, BATCH, clock_deadline_us(FAR_MS)));
    assert_true(clock_mono_us() - before_us < FAR_MS / 2 * (int64_t)US_PER_MS); /* it did not wait */
    inbox_destroy(inbox);
}

static void waits_until_its_deadline_only(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    int64_t until_us = clock_deadline_us(30);
    assert_null(inbox_take(inbox, BATCH, until_us));
    assert_true(clock_mono_us() >= until_us);
    inbox_destroy(inbox);
}

/* --- the predicted wait --- */

static int64_t predicted_ms(struct inbox *inbox, int16_t slice)
{
    int64_t wait_ms = -1;
    struct command *command = command_new(slice, 1000000);
    command->deadline_us = 0; /* refused where anything is queued */
    assert_int_equal(inbox_offer(inbox, command, NULL, &wait_ms), INBOX_FULL);
    command_destroy(command);
    return wait_ms;
}

static void predicts_in_batches(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, 10);
    inbox_note_batch(inbox, 100 * US_PER_MS);
    given(inbox, 1, 1);
    assert_int_equal(predicted_ms(inbox, 1), 200); /* the one under way, and its own */
    for (uint32_t number = 2; number <= 10; number++)
        given(inbox, 1, number);
    assert_int_equal(predicted_ms(inbox, 1), 200); /* a full batch takes no longer */
    given(inbox, 1, 11);
    assert_int_equal(predicted_ms(inbox, 1), 300);
    assert_int_equal(predicted_ms(inbox, 2), 200); /* a cold slice waits for one turn of the hot one */
    given(inbox, 3, 1);
    assert_int_equal(predicted_ms(inbox, 1), 400);
    assert_int_equal(predicted_ms(inbox, 2), 300);
    finish_all(inbox);
}

static void refuses_who_would_wait_too_long(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, 1);
    struct command *early = command_new(1, 3), *late = command_new(1, 3);
    given(inbox, 1, 1);
    inbox_note_batch(inbox, 20 * (int64_t)US_PER_S);
    given(inbox, 1, 2); /* 40 s are predicted, it has 60 */
    early->deadline_us = clock_deadline_us(59000);
    late->deadline_us = clock_deadline_us(90000);
    refused(inbox, early, INBOX_FULL);
    assert_int_equal(offer(inbox, late), INBOX_TAKEN);
    finish_all(inbox);
}

/* Otherwise one slow hour would never end: without batches nothing new is learned. */
static void an_empty_inbox_takes(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, 1);
    inbox_note_batch(inbox, 3600 * (int64_t)US_PER_S);
    given(inbox, 1, 1);
    refused(inbox, command_new(1, 2), INBOX_FULL);
    for (size_t i = 0; i < 100; i++)
        inbox_note_batch(inbox, US_PER_MS);
    given(inbox, 1, 2); /* the average forgets */
    finish_all(inbox);
}

/* --- threads --- */

enum { OFFERERS = 4, EACH = 5000, THREAD_SLICES = 3 };

struct offerer {
    struct inbox *inbox;
    uint32_t index;
    pthread_t thread;
};

static void *offer_many(void *context)
{
    struct offerer *self = context;
    for (uint32_t i = 0; i < EACH; i++) {
        struct command *command = command_new((int16_t)(i % THREAD_SLICES), self->index * EACH + i + 1);
        int64_t wait_ms;
        while (inbox_offer(self->inbox, command, NULL, &wait_ms) == INBOX_FULL) {
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
    struct inbox *inbox = inbox_create(50, 16);
    struct offerer offerers[OFFERERS];
    struct seen seen = {0};
    uint64_t chance = 1;
    for (uint32_t i = 0; i < OFFERERS; i++) {
        offerers[i] = (struct offerer){.inbox = inbox, .index = i};
        assert_int_equal(pthread_create(&offerers[i].thread, NULL, offer_many, &offerers[i]), 0);
    }
    while (seen.count < OFFERERS * EACH) {
        struct command *list = inbox_take(inbox, 16, clock_deadline_us(FAR_MS));
        assert_non_null(list);
        if (random_next(&chance) % 4 == 0) {
            inbox_put_back(inbox, list);
            continue;
        }
        see(&seen, list);
        finish(inbox, list);
        assert_null(inbox_take_expired(inbox, 0));
        inbox_note_batch(inbox, 1);
    }
    for (size_t i = 0; i < OFFERERS; i++)
        assert_int_equal(pthread_join(offerers[i].thread, NULL), 0);
    assert_null(take(inbox, BATCH));
    inbox_destroy(inbox);
}

enum { ROUNDS = 2000, WAKE_MS = 5000 };

struct taker {
    struct inbox *inbox;
    atomic_int taken;
    bool late;
};

static void *take_each(void *context)
{
    struct taker *self = context;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t deadline_us = clock_deadline_us(WAKE_MS);
        struct command *list = inbox_take(self->inbox, 1, deadline_us);
        self->late |= !list || clock_mono_us() >= deadline_us;
        finish(self->inbox, list);
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
    struct taker taker = {.inbox = inbox_create(BATCH, BATCH)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_each, &taker), 0);
    for (int round = 0; round < ROUNDS && !taker.late; round++) {
        given(taker.inbox, 1, 1 + (uint32_t)round);
        while (atomic_load(&taker.taken) == round) {
            const struct timespec pause = {.tv_nsec = 1000};
            (void)ppoll(NULL, 0, &pause, NULL);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(taker.late);
    inbox_destroy(taker.inbox);
}

static void *close_it(void *inbox)
{
    inbox_close(inbox);
    return NULL;
}

static void closing_wakes_the_taker(void **state)
{
    (void)state;
    struct inbox *inbox = inbox_create(BATCH, BATCH);
    pthread_t thread;
    int64_t before_us = clock_mono_us();
    assert_int_equal(pthread_create(&thread, NULL, close_it, inbox), 0);
    assert_null(inbox_take(inbox, BATCH, clock_deadline_us(FAR_MS)));
    assert_true(clock_mono_us() - before_us < FAR_MS / 2 * (int64_t)US_PER_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    inbox_destroy(inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(slices_take_turns),
        cmocka_unit_test(many_users_travel_alone),
        cmocka_unit_test(queues_are_bounded_per_slice),
        cmocka_unit_test(the_bound_may_change),
        cmocka_unit_test(one_request_is_in_flight_once),
        cmocka_unit_test(what_is_put_back_comes_first),
        cmocka_unit_test(takes_the_expired_wherever_they_stand),
        cmocka_unit_test(refuses_while_the_store_is_gone),
        cmocka_unit_test(closes),
        cmocka_unit_test(waits_until_its_deadline_only),
        cmocka_unit_test(predicts_in_batches),
        cmocka_unit_test(refuses_who_would_wait_too_long),
        cmocka_unit_test(an_empty_inbox_takes),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(each_command_wakes_the_taker),
        cmocka_unit_test(closing_wakes_the_taker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
