/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of one campaign, compared with the log. */
#include "bench/storm/read_models.h"

#include <inttypes.h>
#include <poll.h>

#include "bench/load/load_call.h"
#include "common/base/clock.h"

enum { ANSWER_MAX = 1024 * 1024, CALL_MS = 5000, PAUSE_MS = 20, PAGE = 100, PATH_MAX_LEN = 4096 };

struct reader {
    const struct read_models *reads;
    struct checker *checker;
    struct load_call call;
    struct buf path, request;
    struct json_doc *doc; /* the last answer */
    uint32_t user;        /* read_user */
};

/* One kind of read: asks once and compares. */
typedef bool read_once(struct reader *reader, struct read_difference *why);

/* --- One GET --- */

static void append_encoded(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                     c == '_' || c == '.' || c == '~';
        if (plain)
            buf_append_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static bool say(struct read_difference *why, const char *what, int status)
{
    if (status)
        snprintf(why->text, sizeof why->text, "%s %d", what, status);
    else
        snprintf(why->text, sizeof why->text, "%s", what);
    return false;
}

/* GETs reader->path; its JSON is in reader->doc until the next call. */
static bool get(struct reader *reader, struct read_difference *why)
{
    struct http_response response;
    struct json_fault fault;
    CHECK(!reader->path.overflow);
    buf_clear(&reader->request);
    load_call_write(reader->reads->target,
                    &(struct load_call_request){
                        .method = "GET", .path = reader->path.data, .token = span_of(reader->reads->token)},
                    &reader->request);
    json_destroy(reader->doc);
    reader->doc = NULL;
    if (!load_call_send(&reader->call, buf_span(&reader->request), clock_deadline_us(CALL_MS), &response))
        return say(why, reader->call.error, 0);
    if (response.status != 200)
        return say(why, "the answer is status", response.status);
    reader->doc = json_parse(response.body, &fault);
    return reader->doc ? true : say(why, "the answer is not JSON", 0);
}

static struct buf *begin_path(struct reader *reader, const char *rest)
{
    buf_clear(&reader->path);
    buf_append_text(&reader->path, "/v1/campaigns/");
    buf_append_span(&reader->path, reader->reads->campaign_id);
    buf_append_text(&reader->path, rest);
    return &reader->path;
}

/* --- The reads --- */

static bool read_campaign(struct reader *reader, struct read_difference *why)
{
    begin_path(reader, "");
    return get(reader, why) && checker_campaign_agrees(reader->checker, json_root(reader->doc), why);
}

static bool read_user(struct reader *reader, struct read_difference *why)
{
    struct buf name;
    buf_init(&name, USER_ID_MAX);
    user_name_write(reader->reads->names, reader->user, &name);
    append_encoded(begin_path(reader, "/users/"), buf_span(&name));
    buf_deinit(&name);
    return get(reader, why) &&
           checker_user_agrees(reader->checker, reader->user, json_root(reader->doc), why);
}

static bool read_ranking(struct reader *reader, struct read_difference *why)
{
    buf_clear(&reader->path);
    buf_printf(&reader->path, "/v1/rankings/campaigns?by=issued&window=all&limit=%d", PAGE);
    return get(reader, why) && checker_ranking_agrees(reader->checker, json_root(reader->doc), PAGE, why);
}

static bool page_agrees(struct reader *reader, int64_t *index, struct read_difference *why)
{
    const struct json_value *items = json_member(json_root(reader->doc), "items");
    if (!items)
        return say(why, "the page has no items", 0);
    for (size_t i = 0; i < json_array_length(items); i++, ++*index)
        if (!checker_holder_agrees(reader->checker, *index, json_array_at(items, i), why))
            return false;
    return true;
}

static bool read_holders(struct reader *reader, struct read_difference *why)
{
    struct span next;
    int64_t index = 0;
    begin_path(reader, "/coupons?limit=");
    buf_append_u64(&reader->path, PAGE);
    for (;;) {
        int64_t before = index;
        if (!get(reader, why) || !page_agrees(reader, &index, why))
            return false;
        if (!json_as_text(json_member(json_root(reader->doc), "next"), &next))
            return checker_holder_agrees(reader->checker, index, NULL, why);
        if (index == before)
            return say(why, "an empty page has a next one", 0);
        begin_path(reader, "/coupons?limit=");
        buf_printf(&reader->path, "%d&cursor=", PAGE);
        append_encoded(&reader->path, next);
    }
}

/* --- Until it agrees --- */

static void read_until_agreed(struct reader *reader, enum rule rule, read_once *once)
{
    for (;;) {
        struct read_difference why;
        bool last = clock_mono_us() >= reader->reads->deadline_us;
        bool agrees = once(reader, &why);
        if (agrees || last) {
            checker_read_done(reader->checker, rule, agrees ? NULL : &why);
            return;
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

/* Half of the sample holds coupons (spread over the whole run), half is spread over all users. */
static void read_users(struct reader *reader)
{
    const struct read_models *reads = reader->reads;
    uint32_t half = reads->sample / 2 < reads->users ? reads->sample / 2 : reads->users;
    int64_t issued = checker_issued(reader->checker);
    for (uint32_t i = 0; i < half; i++) {
        reader->user = (uint32_t)((uint64_t)i * reads->users / half);
        read_until_agreed(reader, RULE_READ_USER, read_user);
        reader->user = issued ? checker_holder(reader->checker, i * issued / half) : UINT32_MAX;
        if (reader->user < reads->users)
            read_until_agreed(reader, RULE_READ_USER, read_user);
    }
}

int64_t read_models_check(const struct read_models *reads, struct checker *checker)
{
    int64_t start_us = clock_mono_us();
    struct reader reader = {.reads = reads, .checker = checker};
    load_call_init(&reader.call, reads->target, ANSWER_MAX);
    buf_init(&reader.path, PATH_MAX_LEN);
    buf_init(&reader.request, 2 * PATH_MAX_LEN);
    read_until_agreed(&reader, RULE_READ_CAMPAIGN, read_campaign);
    int64_t agreed_us = clock_mono_us();
    read_until_agreed(&reader, RULE_READ_RANKING, read_ranking);
    read_until_agreed(&reader, RULE_READ_HOLDERS, read_holders);
    read_users(&reader);
    json_destroy(reader.doc);
    buf_deinit(&reader.path);
    buf_deinit(&reader.request);
    load_call_deinit(&reader.call);
    return (agreed_us - start_us) / US_PER_MS;
}
