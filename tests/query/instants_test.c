/* SPDX-License-Identifier: Apache-2.0 */
/* I13: what time alone changes is told as it is from its instant on, by every query service: one that hears
 * of changes, one whose bus is cut, and one whose host has a clock that is half a minute late. And the crowd
 * at an opening finds it in memory. Test and PostgreSQL are on one machine, so the test's clock is the log's.
 */
#include "tests/lib/wait.h"

#include <unistd.h>

#include "events/ids.h"
#include "tests/lib/instance.h"
#include "tests/lib/pace.h"
#include "tests/lib/projector.h"
#include "tests/lib/reads.h"
#include "tests/lib/rush.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
/* A sanitizer insists on being loaded before the wrong clock, and keeping warm takes it several times as
 * long. */
enum { CROWD = 1000, SERVICES = 2, STOOD_STILL_US = 50000 };
#else
enum { CROWD = 10000, SERVICES = 3, STOOD_STILL_US = 200000 }; /* the whole machine, for so long */
#endif
enum {
    PORT_OFFSET = 7,
    SHOWS_MS = 120000,
    AHEAD_MS = 4000, /* from a creation to its instant: enough to be read before on a busy machine */
    LATE_MS = 100,   /* the promise */
    CLOCK_LATE_S = 30,
};

static struct stack *stack;
static struct api_client api, readers[SERVICES];
static struct instance *others[SERVICES];

static void start_other(int index, const char *name, const char *const *environment)
{
    others[index] =
        INSTANCE_START(stack, "query-service", name, PORT_OFFSET + index, .environment = environment);
    instance_open_api(others[index], &readers[index]);
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
/* This program is <build>/bin/test/tests/query/..., the library <build>/lib/... */
static void write_preload(char ret[512])
{
    char self[400];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(len > 0);
    self[len] = '\0';
    char *bin = strstr(self, "/bin/test/");
    assert_non_null(bin);
    snprintf(ret, 512, "LD_PRELOAD=%.*s/lib/clock_shift.so", (int)(bin - self), self);
}
#endif

static int setup(void **state)
{
    static const char *const deaf[] = {"FIRSTCOME_BUS_URL=", NULL};
    setenv("FIRSTCOME_STALE_MS", "12000", 1); /* what nobody keeps warm is gone after it */
    setenv("FIRSTCOME_CONNECTIONS_MAX", "12000", 1);
    setenv("FIRSTCOME_CONNECTIONS_PER_ADDRESS_MAX", "12000", 1);
    stack = api_setup(state, &api, STACK_ALL);
    readers[0] = api;
    start_other(1, "deaf", deaf);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    static char preload[512], shift[64];
    static const char *const late[] = {"FIRSTCOME_BUS_URL=", preload, shift, NULL};
    write_preload(preload);
    snprintf(shift, sizeof shift, "CLOCK_LATE_S=%d", CLOCK_LATE_S);
    start_other(2, "late", late);
#endif
    return 0;
}

static int teardown(void **state)
{
    for (int i = 1; i < SERVICES; i++) {
        api_close(&readers[i]);
        instance_destroy(others[i]);
    }
    return api_teardown(state);
}

/* "2026-…Z" of an instant, as a member of a campaign's creation. */
static const char *member(const char *name, int64_t at_us)
{
    return textf(",\"%s\":\"%s\"", name, time_text(at_us));
}

static int64_t soon_us(void)
{
    return clock_wall_us() + AHEAD_MS * US_PER_MS;
}

static void status_of(const struct http_answer *answer, char ret[32])
{
    api_expect(*answer, 200, NULL);
    snprintf(ret, 32, "%.*s", SPAN_ARG(body_text(answer->body, "status")));
}

/* What others may keep it for ends at the instant too. */
static void no_cache_keeps_it_longer(const struct http_answer *answer, int64_t read_us, int64_t at_us)
{
    struct span rest = http_answer_header(answer, "Cache-Control");
    int64_t spans[3], age; /* fresh, stale, stale if there is an error */
    (void)span_cut(&rest, '=');
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        assert_true(parse_i64(span_cut(&rest, ','), 0, 86400, &spans[i]));
        (void)span_cut(&rest, '=');
    }
    assert_true(parse_i64(http_answer_header(answer, "Age"), 0, 86400, &age));
    int64_t left_us = at_us - read_us;
    assert_true((spans[0] + spans[1] - age) * US_PER_S <= left_us);
    assert_true((spans[0] + spans[2] - age) * US_PER_S <= left_us);
}

/* Reads again and again from just before the instant until a moment after it, from every service in turn.
 * Every answer that was asked for LATE_MS after the instant says `after`; every one that was there before it
 * says `before`. */
static void watch(const char *path, int64_t at_us, const char *before, const char *after)
{
    enum { BEFORE_MS = 500, AFTER_MS = 1500 };
    char status[32];
    int seen_after = 0;
    while (clock_wall_us() < at_us - BEFORE_MS * US_PER_MS)
        wait_moment();
    while (clock_wall_us() < at_us + AFTER_MS * US_PER_MS || seen_after < SERVICES)
        for (int i = 0; i < SERVICES; i++) {
            int64_t asked_us = clock_wall_us();
            struct http_answer answer = api_get(&readers[i], path, NULL);
            int64_t answered_us = clock_wall_us();
            status_of(&answer, status);
            bool is_after = strcmp(status, after) == 0;
            if (!is_after && strcmp(status, before) != 0)
                fail_msg("%s: neither %s nor %s but %s", path, before, after, status);
            if (asked_us >= at_us + LATE_MS * US_PER_MS && !is_after)
                fail_msg("%s: %s is told %lld ms after its end by service %d", path, status,
                         (long long)(asked_us - at_us) / US_PER_MS, i);
            if (answered_us < at_us - LATE_MS * US_PER_MS && is_after)
                fail_msg("%s: %s is told too early by service %d", path, status, i);
            if (!is_after)
                no_cache_keeps_it_longer(&answer, asked_us, at_us + LATE_MS * US_PER_MS);
            seen_after += is_after;
        }
}

/* Every service has read it as it is in the log now, and has it in memory. */
static void read_everywhere(const char *path)
{
    struct http_answer answer;
    for (int i = 0; i < SERVICES; i++)
        WAIT_UNTIL((answer = reads_get(&readers[i], path), answer.status == 200), SHOWS_MS);
}

static void path_to(char ret[160], const char *campaign)
{
    snprintf(ret, 160, "/v1/campaigns/%s", campaign);
}

static void an_opening_is_told_from_its_instant_on(void **)
{
    char path[160];
    int64_t at_us = soon_us();
    path_to(path, api_campaign(&api, 10, member("starts_at", at_us)));
    read_everywhere(path);
    watch(path, at_us, "scheduled", "active");
}

static void an_end_is_told_from_its_instant_on(void **)
{
    char path[160];
    int64_t at_us = soon_us();
    path_to(path, api_campaign(&api, 10, member("ends_at", at_us)));
    read_everywhere(path);
    watch(path, at_us, "active", "ended");
}

/* Nobody reads for a while around the opening: whoever is first then gets no old copy. */
static void the_first_reader_after_an_opening_is_told_of_it(void **)
{
    char path[160], status[32];
    int64_t at_us = soon_us();
    path_to(path, api_campaign(&api, 10, member("starts_at", at_us)));
    read_everywhere(path);
    WAIT_UNTIL(clock_wall_us() >= at_us + LATE_MS * US_PER_MS, SHOWS_MS);
    for (int i = 0; i < SERVICES; i++) {
        struct http_answer answer = api_get(&readers[i], path, NULL);
        status_of(&answer, status);
        assert_string_equal(status, "active");
    }
}

static void a_coupon_expires_and_a_reservation_lapses(void **)
{
    char path[160], ends[96], id[64];
    int64_t at_us = soon_us() + 2 * US_PER_S;
    snprintf(ends, sizeof ends, "%s", member("ends_at", at_us - US_PER_S));
    char more[256];
    snprintf(more, sizeof more, "%s%s", ends, member("coupon_expires_at", at_us));
    const char *campaign = api_campaign(&api, 10, more);
    snprintf(id, sizeof id, "%s", api_coupon(&api, campaign, "kim"));
    struct http_answer answer =
        api_expect(api_post(&api, textf("/v1/coupons/%s/reserve", id),
                            "{\"user_id\":\"kim\",\"order_id\":\"o\",\"order_amount\":1000,"
                            "\"ttl_seconds\":2}",
                            NULL),
                   200, NULL);
    int64_t until_us;
    assert_true(time_parse(body_text(answer.body, "reserved_until"), &until_us));
    snprintf(path, sizeof path, "/v1/coupons/%s", id);
    read_everywhere(path);
    watch(path, until_us, "reserved", "issued");
    watch(path, at_us, "issued", "expired");
}

/* A list that is filtered by status lets others in at an instant. */
static void a_filter_goes_by_the_instant(void **)
{
    char path[] = "/v1/campaigns?status=scheduled&tag=opening-soon&limit=5", id[64], more[192];
    int64_t at_us = soon_us();
    snprintf(more, sizeof more, ",\"tags\":[\"opening-soon\"]%s", member("starts_at", at_us));
    snprintf(id, sizeof id, "%s", api_campaign(&api, 10, more));
    read_everywhere(path);
    WAIT_UNTIL(clock_wall_us() >= at_us + LATE_MS * US_PER_MS, SHOWS_MS);
    for (int i = 0; i < SERVICES; i++) {
        struct http_answer answer = api_expect(api_get(&readers[i], path, NULL), 200, NULL);
        assert_null(memmem(answer.body.ptr, answer.body.len, id, strlen(id)));
    }
}

/* --- the crowd at an opening --- */

struct opening {
    int64_t at_us;   /* wall clock */
    int64_t wall_us; /* minus the monotonic clock */
    size_t first, wrong, elsewhere;
};

/* From memory, the first of them too; open, but for who asked within the moment that is promised. */
static void take(void *context, size_t number, const struct load_result *result)
{
    struct opening *opening = context;
    const struct http_response *is = &result->response;
    bool open = memmem(is->body.ptr, is->body.len, "\"status\":\"active\"", strlen("\"status\":\"active\""));
    bool late = result->sent_us + opening->wall_us >= opening->at_us + LATE_MS * US_PER_MS;
    opening->wrong += is->status != 200 || (late && !open);
    if (!memmem(is->cache.ptr, is->cache.len, "memory", strlen("memory"))) {
        if (opening->elsewhere++ == 0)
            print_message("number %zu: %.*s\n", number, SPAN_ARG(is->cache));
    }
    opening->first += number == 0;
}

/* Named by hand, then nobody asks until the opening, and then everybody does. The first of the crowd finds
 * the campaign in memory, open; so do the others, and what is loaded is what keeps it warm, not the crowd. */
static void the_crowd_finds_it_in_memory(void **)
{
    char path[160];
    struct opening opening = {.at_us = soon_us() + 14 * US_PER_S,
                              .wall_us = clock_wall_us() - clock_mono_us()};
    const char *id = api_campaign(&api, 10, member("starts_at", opening.at_us));
    path_to(path, id);
    reads_prewarm(&api, id);
    int64_t start_us = clock_mono_us(), waited = reads_metric(&api, "coupon_reads_collapsed_total");
    struct rush_result result =
        rush_run(&(struct rush_options){.url = stack_env(stack, "QUERY_URL"),
                                        .token = stack_env(stack, "READ_TOKEN"),
                                        .requests = CROWD,
                                        .connections = CROWD,
                                        .not_before_us = opening.at_us - opening.wall_us,
                                        .path = path,
                                        .answered = take,
                                        .context = &opening});
    assert_int_equal(result.answered, CROWD);
    assert_int_equal(opening.first, 1);
    assert_int_equal(opening.wrong, 0);
    int64_t late_us = pace_late_us(start_us);
    print_message("%zu were not answered from memory; the machine was late by %lld us\n", opening.elsewhere,
                  (long long)late_us);
    if (late_us > STOOD_STILL_US) /* so did who keeps it warm */
        return;
    assert_int_equal(opening.elsewhere, 0);
    assert_int_equal(reads_metric(&api, "coupon_reads_collapsed_total"), waited); /* nobody waited */
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
/* A campaign that is not in memory yet. */
static bool a_new_one_is_from_redis(struct api_client *reader)
{
    char path[160];
    path_to(path, api_campaign(&api, 10, ""));
    struct http_answer answer = reads_get(reader, path);
    return answer.status == 200 && reads_is_from(&answer, "redis");
}

/* Whether the models are current is not asked of two hosts' clocks: Redis answers a service whose clock is
 * wrong as it answers the others, but for when a busy machine has it wait for the models too long. */
static void a_wrong_clock_reads_from_redis(void **)
{
    for (int i = 0; i < 3; i++)
        WAIT_UNTIL(a_new_one_is_from_redis(&readers[2]), SHOWS_MS);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_opening_is_told_from_its_instant_on),
        cmocka_unit_test(an_end_is_told_from_its_instant_on),
        cmocka_unit_test(the_first_reader_after_an_opening_is_told_of_it),
        cmocka_unit_test(a_coupon_expires_and_a_reservation_lapses),
        cmocka_unit_test(a_filter_goes_by_the_instant),
        cmocka_unit_test(the_crowd_finds_it_in_memory),
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(a_wrong_clock_reads_from_redis),
#endif
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
