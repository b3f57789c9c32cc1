/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: their form, their bounds, and that a stderr which is full, gone or not read hurts nobody. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/json.h"

/* stderr is put aside while lines are written, so that failures of the test itself can still be seen. */
static int stderr_saved = -1;

static void stderr_to(int fd)
{
    stderr_saved = dup(STDERR_FILENO);
    assert_true(stderr_saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
}

static void stderr_back(void)
{
    dup2(stderr_saved, STDERR_FILENO);
    close(stderr_saved);
}

static int capture_begin(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    stderr_to(fd);
    return fd;
}

/* What was written since capture_begin. */
static void capture_end(int fd, struct buf *ret)
{
    char chunk[4096];
    ssize_t got;
    stderr_back();
    buf_init(ret, 1 << 22);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        buf_append(ret, chunk, (size_t)got);
    close(fd);
}

static struct json_doc *parse_line(struct span line)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(line, &fault);
    if (!doc)
        fail_msg("not JSON (%s): %.*s", fault.text, SPAN_ARG(line));
    return doc;
}

static void assert_member(const struct json_doc *doc, const char *name, const char *want)
{
    struct span text;
    assert_true(json_as_text(json_member(json_root(doc), name), &text));
    if (!span_is(text, want))
        fail_msg("%s is '%.*s', not '%s'", name, SPAN_ARG(text), want);
}

static int64_t number_of(const struct json_doc *doc, const char *name)
{
    int64_t number = 0;
    return json_as_int(json_member(json_root(doc), name), &number) ? number : 0;
}

static void writes_one_object(void **)
{
    struct buf lines;
    struct span rest, at;
    int64_t wall_us = 0, before = clock_wall_us();
    int fd = capture_begin();
    errno = EPIPE;
    log_info("FORM", "a \"%s\" of %d\n", "text\x01", 5);
    int kept = errno;
    log_debug("FORM", "below the level");
    capture_end(fd, &lines);
    assert_int_equal(kept, EPIPE);
    rest = buf_span(&lines);
    struct json_doc *doc = parse_line(span_cut(&rest, '\n'));
    assert_int_equal(rest.len, 0);
    assert_non_null(rest.ptr);
    assert_member(doc, "level", "info");
    assert_member(doc, "service", "test");
    assert_member(doc, "id", "FORM");
    assert_member(doc, "msg", "a \"text\x01\" of 5\n");
    assert_true(json_as_text(json_member(json_root(doc), "ts"), &at) && time_parse(at, &wall_us));
    assert_true(wall_us >= before && wall_us <= clock_wall_us());
    assert_null(json_member(json_root(doc), "suppressed"));
    assert_null(json_member(json_root(doc), "dropped"));
    json_destroy(doc);
    buf_deinit(&lines);
}

static void cuts_long_messages(void **)
{
    struct buf lines;
    struct span rest, text;
    static char wide[3000], control[3000], plain[3000];
    for (size_t i = 0; i + 3 < sizeof wide; i += 3)
        memcpy(wide + i, "\xE2\x82\xAC", 3);
    memset(control, 1, sizeof control - 1);
    memset(plain, 'p', sizeof plain - 1);
    int fd = capture_begin();
    log_error("CUT", "%s", wide);
    log_error("CUT", "%s", control);
    log_error("CUT", "%s", plain);
    capture_end(fd, &lines);
    rest = buf_span(&lines);
    for (size_t want = 0; want < 3; want++) {
        struct span line = span_cut(&rest, '\n');
        struct json_doc *doc = parse_line(line);
        assert_true(line.len < 4096);
        assert_true(json_as_text(json_member(json_root(doc), "msg"), &text));
        assert_int_equal(text.len, ((const size_t[]){1023, 512, 1024})[want]); /* 341 signs of three bytes */
        assert_true(utf8_valid(text));
        assert_null(memmem(text.ptr, text.len, "\xEF\xBF\xBD", 3));
        json_destroy(doc);
    }
    buf_deinit(&lines);
}

/* Writes "FLOOD" until a line tells what was held back; that takes the next second, at most. */
static void limits_each_id(void **)
{
    struct buf lines;
    int64_t lines_seen = 0, suppressed = 0, sent = 0, deadline = clock_deadline_us(5000);
    while (suppressed == 0 && clock_mono_us() < deadline) {
        int fd = capture_begin();
        for (int i = 0; i < 100; i++, sent++)
            log_warn("FLOOD", "again");
        log_warn("OTHER", "is not held back by it");
        capture_end(fd, &lines);
        for (struct span rest = buf_span(&lines); rest.len;) {
            struct json_doc *doc = parse_line(span_cut(&rest, '\n'));
            struct span id = {0};
            assert_true(json_as_text(json_member(json_root(doc), "id"), &id));
            lines_seen += span_is(id, "FLOOD");
            suppressed += span_is(id, "FLOOD") ? number_of(doc, "suppressed") : 0;
            json_destroy(doc);
        }
        buf_deinit(&lines);
        /* Paces the flood over the seconds. */
        (void)ppoll(NULL, 0, &(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_true(suppressed > 0);
    assert_true(lines_seen <= 3 * LOG_PER_SECOND_MAX); /* the loop saw at most three seconds begin */
    assert_true(lines_seen + suppressed <= sent);
    assert_true(lines_seen + suppressed >= sent - 200); /* the last rounds are held back and not yet told */
}

static int64_t lines_of(enum log_level level)
{
    static const char *const labels[] = {"level=\"debug\"", "level=\"info\"", "level=\"warn\"",
                                         "level=\"error\""};
    return metric_value(metric_counter("coupon_log_lines_total", "Log lines written", labels[level]));
}

static void the_level_changes_while_it_runs(void **)
{
    struct buf lines;
    int64_t infos = lines_of(LOG_INFO), warnings = lines_of(LOG_WARN), debugs = lines_of(LOG_DEBUG);
    int fd = capture_begin();
    log_use_level(1);
    log_debug("LEVEL", "now it is written");
    log_use_level(3);
    log_info("LEVEL", "now it is not");
    log_warn("LEVEL", "but this is");
    log_use_level(0);
    log_debug("LEVEL", "as at the start");
    capture_end(fd, &lines);
    assert_int_equal(lines_of(LOG_DEBUG), debugs + 1);
    assert_int_equal(lines_of(LOG_INFO), infos);
    assert_int_equal(lines_of(LOG_WARN), warnings + 1);
    assert_non_null(strstr(lines.data, "now it is written"));
    assert_null(strstr(lines.data, "now it is not"));
    assert_null(strstr(lines.data, "as at the start"));
    buf_deinit(&lines);
}

/* Many ids, each within its limit, and long lines: what is written in a second is bounded all the same. */
static void limits_all_ids_together(void **)
{
    static char ids[40][16], text[1000];
    struct buf lines;
    struct metric *lost =
        metric_counter("coupon_log_lost_total", "Log lines not written, by reason", "reason=\"repeated\"");
    int64_t before = metric_value(lost), began = clock_mono_us() / US_PER_S;
    memset(text, 'x', sizeof text - 1);
    int fd = capture_begin();
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        snprintf(ids[i], sizeof ids[i], "LONG-%zu", i);
        for (int j = 0; j < LOG_PER_SECOND_MAX; j++)
            log_info(ids[i], "%s", text);
    }
    log_error("STILL", "an error has its place");
    capture_end(fd, &lines);
    assert_non_null(strstr(lines.data, "an error has its place"));
    int64_t seconds = clock_mono_us() / US_PER_S - began + 1;
    assert_true(lines.len > 0 && lines.len <= (size_t)seconds * LOG_BYTES_PER_SECOND_MAX);
    assert_true(metric_value(lost) > before);
    buf_deinit(&lines);
}

static void many_ids_share_the_table(void **)
{
    static char ids[2000][16];
    struct buf lines;
    int fd = capture_begin();
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        snprintf(ids[i], sizeof ids[i], "ID-%zu", i);
        log_info(ids[i], "x");
    }
    capture_end(fd, &lines);
    for (struct span rest = buf_span(&lines); rest.len;)
        json_destroy(parse_line(span_cut(&rest, '\n')));
    buf_deinit(&lines);
}

/* The next line that gets through says how many did not. */
static void assert_dropped(int64_t want)
{
    struct buf lines;
    struct span rest;
    int fd = capture_begin();
    log_info("AFTER", "it works again");
    log_info("AFTER", "and again");
    capture_end(fd, &lines);
    rest = buf_span(&lines);
    struct json_doc *first = parse_line(span_cut(&rest, '\n')), *second = parse_line(span_cut(&rest, '\n'));
    assert_int_equal(number_of(first, "dropped"), want);
    assert_int_equal(number_of(second, "dropped"), 0);
    json_destroy(first);
    json_destroy(second);
    buf_deinit(&lines);
}

static void drops_when_the_disk_is_full(void **)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct metric *lost =
        metric_counter("coupon_log_lost_total", "Log lines not written, by reason", "reason=\"unwritable\"");
    int64_t before = metric_value(lost);
    stderr_to(fd);
    log_info("FULL", "one");
    log_info("FULL", "two");
    stderr_back();
    close(fd);
    assert_int_equal(metric_value(lost), before + 2);
    assert_dropped(2);
}

static void drops_when_nobody_reads(void **)
{
    int ends[2];
    char chunk[4096] = "";
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], chunk, sizeof chunk) > 0)
        ;
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0); /* blocking, as a real stderr is */
    stderr_to(ends[1]);
    int64_t before = clock_mono_us();
    for (int i = 0; i < 10; i++)
        log_info("STUCK", "nobody reads");
    int64_t took_us = clock_mono_us() - before;
    stderr_back();
    close(ends[0]);
    close(ends[1]);
    assert_true(took_us < 5 * US_PER_S);
    assert_dropped(10);
}

static void drops_when_the_reader_is_gone(void **)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    stderr_to(ends[1]);
    log_info("GONE", "must not end in SIGPIPE");
    stderr_back();
    close(ends[1]);
    assert_dropped(1);
}

static void *write_much(void *arg)
{
    const char *const *ids = arg;
    for (int i = 0; i < 200; i++)
        log_info(ids[i % 4], "from a thread, %d", i);
    return NULL;
}

static void threads(void **)
{
    static const char *const ids[] = {"T-A", "T-B", "T-C", "T-D"};
    pthread_t thread[4];
    struct buf lines;
    int fd = capture_begin();
    for (size_t i = 0; i < COUNT_OF(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_much, (void *)(uintptr_t)ids), 0);
    for (size_t i = 0; i < COUNT_OF(thread); i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    capture_end(fd, &lines);
    size_t count = 0;
    for (struct span rest = buf_span(&lines); rest.len; count++)
        json_destroy(parse_line(span_cut(&rest, '\n')));
    assert_true(count >= 4 * LOG_PER_SECOND_MAX);
    buf_deinit(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_one_object),
        cmocka_unit_test(cuts_long_messages),
        cmocka_unit_test(the_level_changes_while_it_runs),
        cmocka_unit_test(limits_each_id),
        cmocka_unit_test(drops_when_the_disk_is_full),
        cmocka_unit_test(drops_when_nobody_reads),
        cmocka_unit_test(drops_when_the_reader_is_gone),
        cmocka_unit_test(threads),
        cmocka_unit_test(limits_all_ids_together),
        cmocka_unit_test(many_ids_share_the_table), /* last: it fills the table */
    };
    log_setup("test", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
