/* SPDX-License-Identifier: Apache-2.0 */
/* Accept-Encoding and Accept by their grammars (RFC 9110, 12.5.3, 12.5.1 and 12.4.2). */
#include "common/http/test_kit.h"

static struct kit *kit;

static int setup(void **)
{
    crypto_setup();
    kit = kit_start((struct http_options){.threads = 1});
    return 0;
}

static int teardown(void **)
{
    kit_stop(kit);
    return 0;
}

static void gzip_is_for_who_asks_for_it(void **)
{
    static const struct {
        const char *lines;
        bool gzip;
    } rows[] = {
        {"", false},
        {"Accept-Encoding:\r\n", false},
        {"Accept-Encoding: gzip\r\n", true},
        {"Accept-Encoding: GZIP\r\n", true},
        {"Accept-Encoding: x-gzip\r\n", true},
        {"Accept-Encoding: br, deflate , gzip;q=0.5\r\n", true},
        {"Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true},
        {"Accept-Encoding: gzip;q=0\r\n", false},
        {"Accept-Encoding: gzip;q=0.000\r\n", false},
        {"Accept-Encoding: gzip; Q=0.001\r\n", true},
        {"Accept-Encoding: *\r\n", true},
        {"Accept-Encoding: *, gzip;q=0\r\n", false},
        {"Accept-Encoding: *;q=0\r\n", false},
        {"Accept-Encoding: identity\r\n", false},
        {"Accept-Encoding: gzip;q=0.5, identity\r\n", false},
        {"Accept-Encoding: gzip;q=1.000, identity;q=0.5\r\n", true},
        {"Accept-Encoding: gzip;q=1.1\r\n", false},
        {"Accept-Encoding: gzip;q=0.1234\r\n", false},
        {"Accept-Encoding: gzip;q=\r\n", false},
        {"Accept-Encoding: gzip;q=x\r\n", false},
        {"Accept-Encoding: gzipped\r\n", false},
        {"Accept-Encoding: ,,gzip,\r\n", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /v1/coding HTTP/1.1\r\n" KIT_HOST "%s\r\n", rows[i].lines);
        struct kit_talk *talk = kit_ask(kit, request);
        if (!span_is(talk->body, rows[i].gzip ? "gzip" : "plain"))
            fail_msg("%s: %.*s", rows[i].lines, SPAN_ARG(talk->body));
        kit_close(talk);
    }
}

static void csv_is_for_who_likes_it_more(void **)
{
    static const struct {
        const char *lines;
        bool csv;
    } rows[] = {
        {"", false},
        {"Accept:\r\n", false},
        {"Accept: */*\r\n", false},
        {"Accept: text/csv\r\n", true},
        {"Accept: TEXT/CSV ; header=present\r\n", true},
        {"Accept: text/*\r\n", true},
        {"Accept: text/*;q=0.001\r\n", true},
        {"Accept: text/html\r\n", false},
        {"Accept: text/csvx\r\n", false},
        {"Accept: text/*v\r\n", false},
        {"Accept: text\r\n", false},
        {"Accept: text/csv, */*;q=0.1\r\n", true},
        {"Accept: text/csv;q=0, text/*\r\n", false},
        {"Accept: text/*, text/csv;q=0.0\r\n", false},
        {"Accept: text/csv, application/json\r\n", false},
        {"Accept: text/csv;q=0.9, application/json;q=0.8\r\n", true},
        {"Accept: text/csv;q=0.7, application/*;q=0.8\r\n", false},
        {"Accept: application/json;q=0, */*;q=0.5\r\n", true},
        {"Accept: application/json\r\nAccept: text/csv;q=1.0\r\n", false},
        {"Accept: application/json;q=0.5\r\nAccept: ,text/csv,\r\n", true},
        {"Accept: text/csv;q=2\r\n", false},
        {"Accept: text/csv;charset=\"a\";q=1\r\n", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /v1/type HTTP/1.1\r\n" KIT_HOST "%s\r\n", rows[i].lines);
        struct kit_talk *talk = kit_ask(kit, request);
        if (!span_is(talk->body, rows[i].csv ? "csv" : "json"))
            fail_msg("%s: %.*s", rows[i].lines, SPAN_ARG(talk->body));
        kit_close(talk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gzip_is_for_who_asks_for_it),
                                       cmocka_unit_test(csv_is_for_who_likes_it_more)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
