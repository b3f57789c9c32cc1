/* SPDX-License-Identifier: Apache-2.0 */
/* The process's own metrics against what this process knows of itself. */
#include "common/base/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/testing.h"

static int64_t value_of(const struct buf *text, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text->data, line);
    if (!at)
        fail_msg("%s is missing", name);
    struct span rest = span_of(at + strlen(line)), number = span_cut(&rest, '\n');
    int64_t value;
    assert_true(parse_i64(span_cut(&number, '.'), 0, INT64_MAX, &value));
    return value;
}

static int64_t rendered(const char *name)
{
    struct buf text;
    buf_init(&text, 8192);
    process_metrics_render(&text);
    int64_t value = value_of(&text, name);
    assert_false(text.overflow);
    buf_deinit(&text);
    return value;
}

static void descriptors_are_counted(void **)
{
    int64_t before = rendered("process_open_fds");
    int one = open("/dev/null", O_RDONLY | O_CLOEXEC), two = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(one >= 0 && two >= 0);
    assert_int_equal(rendered("process_open_fds"), before + 2);
    close(one);
    close(two);
    assert_int_equal(rendered("process_open_fds"), before);
    assert_true(rendered("process_max_fds") >= before);
}

static void memory_grows_with_what_is_touched(void **)
{
    enum { BYTES = 64 * 1024 * 1024 };
    int64_t before = rendered("process_resident_memory_bytes");
    char *room = mem_alloc(BYTES);
    memset(room, 1, BYTES);
    int64_t after = rendered("process_resident_memory_bytes");
    assert_true(room[BYTES / 2] == 1 && after - before > BYTES / 2);
    assert_true(rendered("process_virtual_memory_bytes") >= after);
    mem_free(room);
}

static void it_started_before_now_and_has_a_version(void **)
{
    int64_t start_s = rendered("process_start_time_seconds");
    assert_true(start_s > 1700000000 && start_s <= (int64_t)time(NULL) + 1);
    assert_true(rendered("process_cpu_seconds_total") >= 0);
    assert_true(strspn(program_version(), "0123456789.") == strlen(program_version()) && *program_version());
}

static void *burn(void *done)
{
    volatile uint64_t sink = 0;
    pthread_setname_np(pthread_self(), "burner");
    while (!atomic_load((atomic_bool *)done))
        sink = sink + 1;
    return NULL;
}

static void threads_are_told_apart_by_name(void **)
{
    pthread_t thread;
    atomic_bool done = false;
    struct buf text;
    bool seen = false;
    int64_t until_us = clock_deadline_us(60000);
    assert_int_equal(pthread_create(&thread, NULL, burn, &done), 0);
    while (!seen && clock_remaining_ms(until_us) > 0) {
        buf_init(&text, 8192);
        process_metrics_render(&text);
        const char *at = strstr(text.data, "coupon_thread_cpu_seconds_total{thread=\"burner\"} ");
        seen = at && !strstr(at, "burner\"} 0.00");
        buf_deinit(&text);
    }
    atomic_store(&done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_counted),
        cmocka_unit_test(threads_are_told_apart_by_name),
        cmocka_unit_test(memory_grows_with_what_is_touched),
        cmocka_unit_test(it_started_before_now_and_has_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
