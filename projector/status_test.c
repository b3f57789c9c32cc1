/* SPDX-License-Identifier: Apache-2.0 */
/* The status as text and as JSON, whole and with one of the stores missing. */
#include "projector/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/json.h"

static struct status sample(void)
{
    struct status status = {
        .store_reachable = true,
        .stored = SLICES_ALL,
        .redis_reachable = true,
        .redis_state = "ok",
        .epoch = 4,
        .led = true,
        .now_us = 20000000,
    };
    status.heads.now_us = 20000000;
    status.heads.slices[2] = (struct log_head){.head = 100, .head_at_us = 19000000, .oldest_us = 18500000};
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        status.models.roots[slice] = (struct checkpoint){.present = true, .generation = 1};
    status.models.roots[2].position = 90;
    status.models.roots[2].behind = 1;
    status.seen_ago_us = 100000;
    return status;
}

static int64_t int_at(const struct json_value *object, const char *name)
{
    int64_t value = -1;
    assert_true(json_as_int(json_member(object, name), &value));
    return value;
}

static struct json_doc *as_json(const struct status *status)
{
    struct json_fault fault;
    struct buf out;
    buf_init(&out, 65536);
    status_write_json(&out, status);
    struct json_doc *doc = json_parse(buf_span(&out), &fault);
    assert_non_null(doc);
    buf_deinit(&out);
    return doc;
}

static void json_says_everything(void **)
{
    struct status status = sample();
    struct json_doc *doc = as_json(&status);
    const struct json_value *root = json_root(doc), *slices = json_member(root, "slices");
    bool held = false, behind = false;
    assert_int_equal(int_at(root, "generation"), 1);
    assert_int_equal(int_at(json_member(root, "leader"), "epoch"), 4);
    assert_true(json_as_bool(json_member(json_member(root, "leader"), "held"), &held) && held);
    assert_int_equal(json_array_length(slices), SLICE_COUNT);
    const struct json_value *slice = json_array_at(slices, 2);
    assert_int_equal(int_at(slice, "head"), 100);
    assert_int_equal(int_at(slice, "checkpoint"), 90);
    assert_int_equal(int_at(slice, "lag_events"), 10);
    assert_true(json_as_bool(json_member(slice, "behind"), &behind) && behind);
    json_destroy(doc);
}

static void json_has_null_for_what_is_not_known(void **)
{
    struct status status = sample();
    int64_t number;
    status.redis_reachable = false;
    status.redis_state = "io";
    for (int i = 0; i < SLICE_COUNT; i++)
        status.models.found[i] = REDIS_LOST;
    assert_false(status_good(&status));
    struct json_doc *doc = as_json(&status);
    const struct json_value *slice = json_array_at(json_member(json_root(doc), "slices"), 2);
    assert_int_equal(int_at(slice, "head"), 100);
    assert_false(json_as_int(json_member(slice, "checkpoint"), &number));
    assert_false(json_as_int(json_member(slice, "lag_events"), &number));
    assert_false(json_as_int(json_member(json_root(doc), "generation"), &number));
    json_destroy(doc);
}

/* Of a cluster a part may be known. */
static void a_server_that_is_away_leaves_the_others(void **)
{
    struct status status = sample();
    struct buf out;
    buf_init(&out, 65536);
    status.several_servers = true;
    snprintf(status.servers[2], sizeof status.servers[2], "127.0.0.1:7001");
    status.redis_reachable = false;
    status.redis_state = "away";
    status.models.found[3] = REDIS_AWAY;
    status_write_text(&out, &status);
    assert_non_null(
        strstr(out.data, "90            10         1.500     yes             1  127.0.0.1:7001\n"));
    assert_non_null(strstr(out.data, "    3             0             -"));
    buf_deinit(&out);
    struct json_doc *doc = as_json(&status);
    const struct json_value *slices = json_member(json_root(doc), "slices");
    int64_t number;
    assert_int_equal(int_at(json_array_at(slices, 2), "checkpoint"), 90);
    assert_false(json_as_int(json_member(json_array_at(slices, 3), "checkpoint"), &number));
    json_destroy(doc);
}

static void text_has_a_line_for_each_slice(void **)
{
    struct status status = sample();
    struct buf out;
    buf_init(&out, 65536);
    status_write_text(&out, &status);
    assert_non_null(strstr(out.data, "leader      yes, epoch 4\n"));
    assert_non_null(
        strstr(out.data, "    2           100            90            10         1.500     yes"));
    size_t lines = 0;
    for (const char *at = out.data; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 5 + SLICE_COUNT);
    buf_clear(&out);
    status.store_reachable = status.redis_reachable = false;
    status.redis_state = "io";
    status_write_text(&out, &status);
    assert_non_null(strstr(out.data, "leader      unknown\n"));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_says_everything),
        cmocka_unit_test(json_has_null_for_what_is_not_known),
        cmocka_unit_test(a_server_that_is_away_leaves_the_others),
        cmocka_unit_test(text_has_a_line_for_each_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
