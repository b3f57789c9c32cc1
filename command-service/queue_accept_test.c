/* SPDX-License-Identifier: Apache-2.0 */
/* Which issues the queue accepts instead of taking: those that would wait too long for their request, but not
 * for who asks later. */
#include "command-service/queue.h"

#include "common/base/clock.h"
#include "common/base/testing.h"

enum { BATCH = 100, FAR_MS = 60000 };

static struct command *command_new(int16_t slice, uint32_t number)
{
    struct command *command = command_create(COMMAND_ISSUE, NULL);
    command->keyed = true;
    command->slice = slice;
    memcpy(command->id.key_hash, &number, sizeof number);
    command->deadline_us = clock_deadline_us(FAR_MS);
    return command;
}

static void given(struct queue *queue, int16_t slice, uint32_t number)
{
    int64_t wait_ms;
    assert_int_equal(queue_offer(queue, command_new(slice, number), false, &wait_ms), QUEUE_TAKEN);
}

/* As many as were taken or accepted are there to be taken, in one list. */
static void finish_all(struct queue *queue, size_t count)
{
    struct command *list = queue_take(queue, BATCH, 0);
    size_t taken = 0;
    for (struct command *next; list; list = next, taken++) {
        next = list->next;
        queue_done(&list, 1);
        command_destroy(list);
    }
    assert_int_equal(taken, count);
    queue_destroy(queue);
}

static enum queue_verdict offer_to_accept(struct queue *queue, struct command *command, int64_t above_us)
{
    int64_t wait_ms;
    command->accept_above_us = above_us;
    command->accepted_deadline_us = clock_deadline_us(2 * FAR_MS);
    return queue_offer(queue, command, true, &wait_ms);
}

static void accepts_who_would_wait_longer(void **)
{
    const int64_t wait_us = 100 * US_PER_MS; /* the batch that is queued */
    struct queue *queue = queue_create(BATCH, 10);
    queue_note_batch(queue, 100 * US_PER_MS);
    assert_int_equal(offer_to_accept(queue, command_new(1, 1), 0), QUEUE_TAKEN); /* nobody is before it */
    struct command *below = command_new(1, 2), *at = command_new(1, 3), *above = command_new(1, 4);
    struct http_request *request = (struct http_request *)&(char){0};
    below->request = at->request = above->request = request;
    assert_int_equal(offer_to_accept(queue, below, wait_us + 1), QUEUE_TAKEN);
    assert_int_equal(offer_to_accept(queue, at, wait_us), QUEUE_TAKEN); /* "longer than", not "as long as" */
    assert_int_equal(offer_to_accept(queue, above, wait_us - 1), QUEUE_ACCEPTED);
    assert_true(below->request == request && !below->accepted);
    assert_true(!above->request && above->accepted); /* the request is the caller's again */
    assert_true(above->deadline_us == above->accepted_deadline_us);
    assert_true(below->deadline_us < below->accepted_deadline_us);
    struct command *twin = command_new(1, 4);
    assert_int_equal(offer_to_accept(queue, twin, 0), QUEUE_IN_FLIGHT); /* also while it is only accepted */
    command_destroy(twin);
    below->request = at->request = NULL;
    finish_all(queue, 4);
}

/* What can be answered neither in time nor in the time of those who ask later is refused. */
static void accepts_nobody_who_would_be_too_late(void **)
{
    struct queue *queue = queue_create(BATCH, 10);
    int64_t wait_ms;
    given(queue, 1, 1);
    queue_note_batch(queue, 40 * (int64_t)US_PER_S); /* 40 s are predicted */
    struct command *late = command_new(1, 2), *in_time = command_new(1, 3);
    late->deadline_us = in_time->deadline_us = clock_deadline_us(2000);
    late->accepted_deadline_us = clock_deadline_us(39000);
    in_time->accepted_deadline_us = clock_deadline_us(60000);
    assert_int_equal(queue_offer(queue, late, true, &wait_ms), QUEUE_FULL);
    assert_int_equal(wait_ms, 40000);
    assert_false(late->accepted);
    command_destroy(late);
    assert_int_equal(queue_offer(queue, in_time, true, &wait_ms), QUEUE_ACCEPTED);
    finish_all(queue, 2);
}

/* The preference opens no door that is closed to others. */
static void bounds_hold_for_who_may_be_accepted(void **)
{
    struct queue *queue = queue_create(1, 10);
    queue_note_batch(queue, US_PER_MS);
    given(queue, 1, 1);
    struct command *command = command_new(1, 2);
    assert_int_equal(offer_to_accept(queue, command, 0), QUEUE_FULL);
    queue_set_available(queue, false);
    assert_int_equal(offer_to_accept(queue, command, 0), QUEUE_UNAVAILABLE);
    queue_close(queue);
    assert_int_equal(offer_to_accept(queue, command, 0), QUEUE_CLOSED);
    command_destroy(command);
    finish_all(queue, 1);
}

/* A process that is told to end is not kept by those for whom nobody waits: with the store gone it would be
 * for all the time they were given. */
static void closing_hurries_who_was_accepted(void **)
{
    struct queue *queue = queue_create(BATCH, 1);
    queue_note_batch(queue, US_PER_MS);
    given(queue, 1, 1); /* somebody waits for this one */
    struct command *taken = command_new(1, 2), *queued = command_new(1, 3);
    assert_int_equal(offer_to_accept(queue, taken, 0), QUEUE_ACCEPTED);
    assert_int_equal(offer_to_accept(queue, queued, 0), QUEUE_ACCEPTED);
    struct command *first = queue_take(queue, 1, 0), *second = queue_take(queue, 1, 0);
    assert_true(second == taken);
    queue_put_back(queue, first);
    queue_close(queue);
    assert_null(queue_take_expired(queue, clock_mono_us())); /* they have a moment */
    queue_put_back(queue, second);
    struct command *list = queue_take_expired(queue, clock_deadline_us(FAR_MS / 2));
    assert_true(list == taken && list->next == queued && !queued->next);
    for (struct command *next; list; list = next) {
        next = list->next;
        queue_done(&list, 1);
        command_destroy(list);
    }
    finish_all(queue, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_who_would_wait_longer),
        cmocka_unit_test(accepts_nobody_who_would_be_too_late),
        cmocka_unit_test(bounds_hold_for_who_may_be_accepted),
        cmocka_unit_test(closing_hurries_who_was_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
