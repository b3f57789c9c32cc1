/* SPDX-License-Identifier: Apache-2.0 */
/* The Prometheus text, to the byte, and counting from several threads. */
#include "common/base/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

/* The registry is one for the process: what a test looks at has names of its own. */
static void assert_renders(const char *want)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    metrics_render(&out);
    assert_false(out.overflow);
    if (!strstr(buf_span(&out).ptr, want))
        fail_msg("not in the rendering: %s\n%s", want, out.data);
    buf_deinit(&out);
}

static void renders_nothing(void **)
{
    struct buf out;
    buf_init(&out, 100);
    metrics_render(&out);
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
}

static void counts_and_gauges(void **)
{
    struct metric *requests = metric_counter("test_requests_total", "Requests.", "code=\"200\"");
    struct metric *depth = metric_gauge("test_depth", "Depth of it.", NULL);
    metric_add(requests, 3);
    metric_add(metric_counter("test_requests_total", "Requests.", "code=\"500\""), 1);
    metric_set(depth, -5);
    assert_ptr_equal(metric_counter("test_requests_total", "Requests.", "code=\"200\""), requests);
    assert_ptr_equal(metric_gauge("test_depth", "Depth of it.", ""), depth);
    assert_int_equal(metric_value(requests), 3);
    assert_int_equal(metric_value(depth), -5);
    /* grouped by name although test_depth was made in between */
    metric_counter("test_requests_total", "Requests.", "code=\"503\"");
    assert_renders("# HELP test_requests_total Requests.\n# TYPE test_requests_total counter\n"
                   "test_requests_total{code=\"200\"} 3\ntest_requests_total{code=\"500\"} 1\n"
                   "test_requests_total{code=\"503\"} 0\n"
                   "# HELP test_depth Depth of it.\n# TYPE test_depth gauge\ntest_depth -5\n");
    metric_set(metric_gauge_micro("test_used_ratio", "Used.", NULL), 70500);
    assert_renders("# TYPE test_used_ratio gauge\ntest_used_ratio 0.070500\n");
    metric_add(depth, 2);
    assert_int_equal(metric_value(depth), -3);
}

static void seconds(void **)
{
    struct metric *metric = metric_histogram_seconds("test_wait_seconds", "Waiting.", "route=\"x\"");
    metric_observe_us(metric, -1); /* a clock that went back */
    metric_observe_us(metric, 500);
    metric_observe_us(metric, 501);
    metric_observe_us(metric, 2000000);
    metric_observe_us(metric, 70000000);
    assert_renders("# HELP test_wait_seconds Waiting.\n# TYPE test_wait_seconds histogram\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.0005\"} 2\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.001\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.0025\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.005\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.01\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.025\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.05\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.1\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.25\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"0.5\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"1\"} 3\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"2\"} 4\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"5\"} 4\n"
                   "test_wait_seconds_bucket{route=\"x\",le=\"+Inf\"} 5\n"
                   "test_wait_seconds_sum{route=\"x\"} 72.001001\n"
                   "test_wait_seconds_count{route=\"x\"} 5\n");
}

static void sizes(void **)
{
    struct metric *metric = metric_histogram_count("test_batch", "Batches.", NULL);
    metric_observe(metric, 0);
    metric_observe(metric, 1);
    metric_observe(metric, 16384);
    metric_observe(metric, 16385);
    assert_renders("test_batch_bucket{le=\"1\"} 2\ntest_batch_bucket{le=\"2\"} 2\n");
    assert_renders("test_batch_bucket{le=\"8192\"} 2\ntest_batch_bucket{le=\"16384\"} 3\n"
                   "test_batch_bucket{le=\"+Inf\"} 4\ntest_batch_sum 32770\ntest_batch_count 4\n");
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_much(void *arg)
{
    struct metric *counter = metric_counter("test_threads_total", "All threads.", NULL);
    struct metric *times = arg;
    struct buf out;
    buf_init(&out, 1 << 20);
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(counter, 1);
        metric_observe_us(times, i);
        if (i % 1000 == 0) {
            buf_clear(&out);
            metrics_render(&out);
        }
    }
    buf_deinit(&out);
    return NULL;
}

static void threads(void **)
{
    pthread_t thread[THREADS];
    struct metric *times = metric_histogram_seconds("test_threads_seconds", "All threads.", NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count_much, times), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(metric_value(metric_counter("test_threads_total", "All threads.", NULL)),
                     THREADS * ROUNDS);
    assert_renders("test_threads_seconds_count 80000\n");
    assert_renders("test_threads_seconds_sum 799.960000\n"); /* 4 * (0 + 1 + … + 19999) microseconds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_nothing), cmocka_unit_test(counts_and_gauges), cmocka_unit_test(seconds),
        cmocka_unit_test(sizes),           cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
