/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents: members, order of what is optional, escaping; and that the table keeps its promises. */
#include "common/http/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/json.h"

static void expect(const struct problem_detail *detail, const char *want)
{
    struct buf body;
    buf_init(&body, 4096);
    problem_write(&body, detail);
    assert_string_equal(body.data, want);
    struct json_fault fault;
    struct json_doc *doc = json_parse(buf_span(&body), &fault);
    assert_non_null(doc);
    json_destroy(doc);
    buf_deinit(&body);
}

static void a_problem_alone(void **)
{
    expect(&(struct problem_detail){.problem = &problem_overloaded},
           "{\"type\":\"urn:firstcome:problem:overloaded\",\"code\":\"overloaded\","
           "\"title\":\"The service is at its limit, try again later\","
           "\"detail\":\"The service is at its limit, try again later\",\"status\":503,\"retryable\":true}");
}

/* Also when the same thread wrote it before, and another one in between. */
static void a_problem_again(void **state)
{
    a_problem_alone(state);
    struct buf body;
    buf_init(&body, 4096);
    problem_write(&body, &(struct problem_detail){.problem = &problem_overloaded, .retry_after_ms = 5});
    assert_non_null(strstr(body.data, "\"retry_after_ms\":5"));
    buf_clear(&body);
    problem_write(&body, &(struct problem_detail){.problem = &problem_internal});
    assert_non_null(strstr(body.data, "\"code\":\"internal\""));
    buf_deinit(&body);
    a_problem_alone(state);
    a_problem_alone(state);
}

static void everything_there_is(void **)
{
    expect(
        &(struct problem_detail){.problem = &problem_out_of_range,
                                 .detail = "say \"no\"\n",
                                 .field = SPAN("discount.\"percent\\"),
                                 .retry_after_ms = 1500,
                                 .extension = SPAN("\"held\":[\"a\",\"b\"],\"more\":{}")},
        "{\"type\":\"urn:firstcome:problem:out-of-range\",\"code\":\"out-of-range\","
        "\"title\":\"A value is outside its allowed range\",\"detail\":\"say \\\"no\\\"\\n\",\"status\":400,"
        "\"retryable\":false,\"field\":\"discount.\\\"percent\\\\\",\"retry_after_ms\":1500,"
        "\"held\":[\"a\",\"b\"],\"more\":{}}");
}

static void what_is_not_utf8_is_still_json(void **)
{
    struct buf body;
    struct json_fault fault;
    buf_init(&body, 4096);
    problem_write(&body, &(struct problem_detail){.problem = &problem_invalid_parameter,
                                                  .field = (struct span){"a\xff\0b\x80", 5}});
    struct json_doc *doc = json_parse(buf_span(&body), &fault);
    assert_true(doc != NULL || strstr(fault.text, "NUL") != NULL); /* an escaped NUL is JSON too */
    json_destroy(doc);
    buf_deinit(&body);
}

static void the_table_is_sound(void **)
{
#define PROBLEM_POINTER(name, code, status, retryable, title) &problem_##name,
    static const struct problem *const all[] = {COMMON_PROBLEMS(PROBLEM_POINTER)};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_in_range(all[i]->status, 400, 599);
        for (const char *c = all[i]->code; *c; c++)
            assert_true((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(all[i]->code, all[j]->code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_alone),     cmocka_unit_test(a_problem_again),
        cmocka_unit_test(everything_there_is), cmocka_unit_test(what_is_not_utf8_is_still_json),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
