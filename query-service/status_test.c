/* SPDX-License-Identifier: Apache-2.0 */
/* The bottleneck that is named is the one there is. */
#include "query-service/status.h"

#include "common/base/testing.h"
#include "common/json.h"

static struct status_facts healthy(void)
{
    struct status_facts facts = {
        .redis_usable = true,
        .store_usable = true,
        .redis_queue = {0, 100},
        .store_queue = {0, 100},
        .redis_busy = {0, 2},
        .store_busy = {1, 4},
        .waiting = {0, 1000},
        .followers = {0, 1000},
    };
    return facts;
}

static void names(const struct status_facts *facts, const char *mode, const char *bottleneck)
{
    assert_string_equal(status_mode(facts), mode);
    assert_int_equal(status_degraded(facts), strcmp(mode, "normal") == 0        ? 0
                                             : strcmp(mode, "memory-only") == 0 ? 2
                                                                                : 1);
    if (!span_starts(span_of(status_bottleneck(facts)), span_of(bottleneck)))
        fail_msg("%s, not %s", status_bottleneck(facts), bottleneck);
}

static void each_is_named(void **)
{
    struct status_facts facts = healthy();
    names(&facts, "normal", "none");
    facts.store_busy.is = 4;
    names(&facts, "normal", "the connections to PostgreSQL: all are at work");
    facts.heads[3] = 20000;
    names(&facts, "normal", "the projector");
    facts.followers.is = 900;
    names(&facts, "normal", "followers");
    facts.waiting.is = 500;
    names(&facts, "normal", "loads");
    facts.redis_partly = true;
    names(&facts, "normal", "a server of the Redis Cluster");
    facts.redis_partly = false;
    facts.redis_usable = false;
    names(&facts, "without-redis", "Redis cannot be used");
    facts.redis_usable = true;
    facts.store_open = true;
    names(&facts, "without-postgresql", "PostgreSQL does not answer");
    facts.redis_queue.is = 50;
    names(&facts, "without-postgresql", "Redis: reads queue");
    facts.store_queue.is = 50;
    names(&facts, "without-postgresql", "the connections to PostgreSQL: reads queue");
    facts.redis_open = true;
    names(&facts, "memory-only", "PostgreSQL and Redis do not answer");
}

static void it_is_json(void **)
{
    struct buf out;
    struct json_fault fault;
    int64_t number;
    struct status_facts facts = healthy();
    facts.heads[2] = 10;
    facts.positions[2] = 7;
    facts.positions[5] = -1;
    snprintf(facts.hot[0].name, sizeof facts.hot[0].name, "campaign summer");
    facts.hot_count = 1;
    buf_init(&out, 1 << 16);
    status_write(&out, &facts);
    struct json_doc *doc = json_parse(buf_span(&out), &fault);
    assert_non_null(doc);
    const struct json_value *slices = json_member(json_root(doc), "slices");
    assert_int_equal(json_array_length(slices), SLICE_COUNT);
    assert_true(json_as_int(json_member(json_array_at(slices, 2), "lag_events"), &number) && number == 3);
    assert_false(json_as_int(json_member(json_array_at(slices, 5), "lag_events"), &number));
    json_destroy(doc);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_named), cmocka_unit_test(it_is_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
