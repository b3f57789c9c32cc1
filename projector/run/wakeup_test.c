/* SPDX-License-Identifier: Apache-2.0 */
/* Hints and back-off: what is not a hint does nothing, and nobody waits longer than said. */
#include "projector/run/wakeup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "events/codec.h"
#include "projector/run/backoff.h"

static void send_hint(struct hints *hints, int16_t slice)
{
    struct buf message;
    buf_init(&message, 64);
    hint_encode(&(struct hint){.slice = slice, .position = 5}, &message);
    hints_receive(buf_span(&message), hints);
    buf_deinit(&message);
}

static void a_hint_marks_its_slice_and_wakes(void **)
{
    struct hints hints;
    hints_init(&hints);
    send_hint(&hints, 3);
    send_hint(&hints, 15);
    send_hint(&hints, 3);
    int64_t began_us = clock_mono_us();
    hints_wait(&hints, clock_deadline_us(60000));
    assert_true(clock_mono_us() - began_us < 30 * US_PER_S);
    assert_int_equal(hints_take(&hints), 1U << 3 | 1U << 15);
    assert_int_equal(hints_take(&hints), 0);
    hints_wait(&hints, clock_deadline_us(1)); /* nothing new: returns at the deadline */
    hints_deinit(&hints);
}

static void what_is_no_hint_is_ignored(void **)
{
    struct hints hints;
    hints_init(&hints);
    hints_receive(SPAN(""), &hints);
    hints_receive(SPAN("\xc1\xff junk"), &hints);
    hints_receive(SPAN("\x82\x01\x10\x02\x05"), &hints); /* slice 16 */
    hints_receive(SPAN("\x81\x01\x05"), &hints);         /* no position */
    assert_int_equal(hints_take(&hints), 0);
    hints_deinit(&hints);
}

static void backing_off_doubles_up_to_its_bound(void **)
{
    struct backoff backoff = {0};
    int64_t now_us = 1000, expected_ms = BACKOFF_MIN_MS;
    assert_true(backoff_over(&backoff, now_us));
    for (int i = 0; i < 12; i++) {
        backoff_fail(&backoff, now_us);
        assert_int_equal(backoff.delay_ms, expected_ms);
        assert_in_range(backoff.until_us - now_us, expected_ms * US_PER_MS / 2, expected_ms * US_PER_MS);
        assert_false(backoff_over(&backoff, now_us));
        assert_true(backoff_over(&backoff, backoff.until_us));
        expected_ms = 2 * expected_ms < BACKOFF_MAX_MS ? 2 * expected_ms : BACKOFF_MAX_MS;
    }
    backoff_succeed(&backoff);
    assert_true(backoff_over(&backoff, now_us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_marks_its_slice_and_wakes),
        cmocka_unit_test(what_is_no_hint_is_ignored),
        cmocka_unit_test(backing_off_doubles_up_to_its_bound),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
