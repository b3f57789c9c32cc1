/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of table control, and the board between one writer and many readers. */
#include "events/control/state.h"

#include <fcntl.h>

#include "common/base/testing.h"

static struct keyring *keyring;

static int set_up(void **)
{
    char path[] = "/tmp/firstcome-keys-XXXXXX", reason[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int i = 0; i < 130; i++)
        dprintf(fd, "key-%d issue %064x\n", i, i + 1);
    close(fd);
    keyring = keyring_load(path, reason, sizeof reason);
    unlink(path);
    assert_non_null(keyring);
    return 0;
}

static int tear_down(void **)
{
    keyring_destroy(keyring);
    return 0;
}

static bool apply(struct control_state *state, int64_t kind, const char *name, const char *value,
                  int64_t position)
{
    const struct control_row row = {kind, span_of(name), span_of(value), position};
    return control_state_apply(state, &row, keyring);
}

static bool suspended(const struct control_state *state, const char *name)
{
    return control_suspended(state, keyring_named(keyring, span_of(name)));
}

static void rows_become_state(void **)
{
    struct control_state control;
    control_state_init(&control);
    assert_false(control.known);
    assert_true(apply(&control, CONTROL_SETTING, "queue_max", "5", 10));
    assert_true(apply(&control, CONTROL_SETTING, "profile", "spike", 9));
    assert_int_equal(control.position, 10);
    assert_int_equal(settings_get(&control.settings, SETTING_queue_max), 5);
    assert_int_equal(control.settings.profile, PROFILE_SPIKE);
    assert_true(apply(&control, CONTROL_SETTING, "queue_max", "", 11));
    assert_int_equal(settings_get(&control.settings, SETTING_queue_max), 0);
    assert_int_equal(settings_source(&control.settings, SETTING_queue_max), SOURCE_PROFILE);
}

static void issuers_are_suspended_each_for_itself(void **)
{
    struct control_state control;
    control_state_init(&control);
    assert_true(apply(&control, CONTROL_ISSUER, "key-0", "suspended", 1));
    assert_true(apply(&control, CONTROL_ISSUER, "key-129", "suspended", 2));
    assert_true(apply(&control, CONTROL_ISSUER, "who-left", "suspended", 3));
    assert_int_equal(control_suspended_count(&control), 2);
    assert_true(suspended(&control, "key-0") && suspended(&control, "key-129"));
    assert_false(suspended(&control, "key-1") || suspended(&control, "key-65"));
    assert_true(apply(&control, CONTROL_ISSUER, "key-0", "", 4));
    assert_false(suspended(&control, "key-0"));
    assert_true(suspended(&control, "key-129"));
}

static void what_a_newer_version_wrote_is_passed_over(void **)
{
    struct control_state control;
    control_state_init(&control);
    assert_false(apply(&control, 3, "key-0", "suspended", 1));
    assert_false(apply(&control, CONTROL_SETTING, "not_yet", "1", 2));
    assert_false(apply(&control, CONTROL_SETTING, "queue_max", "99999999999", 3));
    assert_int_equal(control.position, 3);
    assert_int_equal(control_suspended_count(&control), 0);
    assert_int_equal(settings_get(&control.settings, SETTING_queue_max), 0);
}

static void a_note_is_not_taken_back_by_an_older_reading(void **)
{
    struct control_board board;
    struct control_state reading;
    const struct control_row row = {CONTROL_ISSUER, SPAN("key-7"), SPAN("suspended"), 20};
    control_board_init(&board);
    control_state_init(&reading);
    reading.known = true;
    reading.position = 19;
    assert_true(control_board_publish(&board, &reading, control_board_begin(&board)));
    assert_true(control_board_read(&board)->known);
    uint64_t begun = control_board_begin(&board);
    control_board_note(&board, &row, keyring);
    assert_true(suspended(control_board_read(&board), "key-7"));
    assert_false(control_board_publish(&board, &reading, begun));
    assert_true(suspended(control_board_read(&board), "key-7"));
    control_board_deinit(&board);
}

/* Whatever was noted, the table has the last word. */
static void a_newer_reading_wins(void **)
{
    struct control_board board;
    struct control_state reading;
    const struct control_row row = {CONTROL_ISSUER, SPAN("key-7"), SPAN("suspended"), 20};
    const struct control_row beyond = {CONTROL_ISSUER, SPAN("key-8"), SPAN("suspended"), 999};
    control_board_init(&board);
    control_state_init(&reading);
    reading.known = true;
    reading.position = 21;
    assert_true(control_board_publish(&board, &reading, control_board_begin(&board)));
    control_board_note(&board, &row, keyring); /* late: somebody took it back since */
    assert_false(suspended(control_board_read(&board), "key-7"));
    control_board_note(&board, &beyond, keyring);
    assert_true(suspended(control_board_read(&board), "key-8"));
    assert_true(control_board_publish(&board, &reading, control_board_begin(&board)));
    assert_false(suspended(control_board_read(&board), "key-8"));
    control_board_deinit(&board);
}

static void boards_are_not_mixed_up(void **)
{
    struct control_board one, two;
    const struct control_row row = {CONTROL_SETTING, SPAN("queue_max"), SPAN("7"), 1};
    control_board_init(&one);
    control_board_init(&two);
    control_board_note(&one, &row, keyring);
    assert_int_equal(settings_get(&control_board_read(&one)->settings, SETTING_queue_max), 7);
    assert_int_equal(settings_get(&control_board_read(&two)->settings, SETTING_queue_max), 0);
    assert_int_equal(settings_get(&control_board_read(&one)->settings, SETTING_queue_max), 7);
    control_board_deinit(&one);
    control_board_deinit(&two);
}

/* --- Many readers --- */

enum { PUBLISHED = 2000 };

struct readers {
    struct control_board board;
    atomic_uint torn;
};

/* Two settings that are always published together are always read together, and never an older pair. */
static void *read_on(void *context)
{
    struct readers *readers = context;
    for (int64_t last = 0; last < PUBLISHED;) {
        const struct control_state *state = control_board_read(&readers->board);
        int64_t a = settings_get(&state->settings, SETTING_queue_max);
        int64_t b = settings_get(&state->settings, SETTING_rate_limit_per_key);
        atomic_fetch_add(&readers->torn, a != b || a < last);
        last = a;
    }
    return NULL;
}

static void readers_see_whole_states_in_order(void **)
{
    struct readers readers;
    pthread_t threads[3];
    control_board_init(&readers.board);
    atomic_init(&readers.torn, 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    for (int n = 1; n <= PUBLISHED; n++) {
        struct control_state reading;
        char number[16];
        control_state_init(&reading);
        reading.known = true;
        snprintf(number, sizeof number, "%d", n);
        assert_true(apply(&reading, CONTROL_SETTING, "queue_max", number, n));
        assert_true(apply(&reading, CONTROL_SETTING, "rate_limit_per_key", number, n));
        assert_true(control_board_publish(&readers.board, &reading, control_board_begin(&readers.board)));
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&readers.torn), 0);
    control_board_deinit(&readers.board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_state),
        cmocka_unit_test(issuers_are_suspended_each_for_itself),
        cmocka_unit_test(what_a_newer_version_wrote_is_passed_over),
        cmocka_unit_test(a_note_is_not_taken_back_by_an_older_reading),
        cmocka_unit_test(a_newer_reading_wins),
        cmocka_unit_test(boards_are_not_mixed_up),
        cmocka_unit_test(readers_see_whole_states_in_order),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
