/* SPDX-License-Identifier: Apache-2.0 */
/* Reads as requests, and their answers' headers. */
#include "tests/chaos/read.h"

#include <strings.h>

#include "common/base/mem.h"
#include "common/json.h"

static const struct {
    const char *text;
    bool all_slices;
} kinds[] = {
#define KIND_ROW(name, text, all_slices) [READ_##name] = {text, all_slices},
    READ_KINDS(KIND_ROW)
#undef KIND_ROW
};

const char *read_kind_name(enum read_kind kind)
{
    return kinds[kind].text;
}

bool read_kind_of_all_slices(enum read_kind kind)
{
    return kinds[kind].all_slices;
}

void readings_init(struct readings *reads)
{
    *reads = (struct readings){0};
    buf_init(&reads->bodies, READ_BODIES_MAX);
}

void readings_deinit(struct readings *reads)
{
    buf_deinit(&reads->bodies);
    mem_free(reads->list);
}

/* --- Headers --- */

/* The value of a header line; absent where there is none. */
static struct span header(struct span head, const char *name)
{
    size_t len = strlen(name);
    while (head.ptr && head.len) {
        struct span line = span_cut(&head, '\n');
        if (line.len <= len + 1 || strncasecmp(line.ptr, name, len) != 0 || line.ptr[len] != ':')
            continue;
        struct span value = {line.ptr + len + 1, line.len - len - 1};
        while (value.len && (value.ptr[0] == ' '))
            value = (struct span){value.ptr + 1, value.len - 1};
        while (value.len && (value.ptr[value.len - 1] == '\r' || value.ptr[value.len - 1] == ' '))
            value.len--;
        return value;
    }
    return (struct span){NULL, 0};
}

static bool contains(struct span text, const char *part)
{
    return text.ptr && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* The number of seconds a directive of Cache-Control has, 0 where it is not there. */
static int64_t directive_s(struct span control, const char *name)
{
    int64_t seconds = 0;
    while (control.ptr && control.len) {
        struct span part = span_cut(&control, ',');
        while (part.len && part.ptr[0] == ' ')
            part = (struct span){part.ptr + 1, part.len - 1};
        size_t len = strlen(name);
        if (part.len > len + 1 && strncasecmp(part.ptr, name, len) == 0 && part.ptr[len] == '=' &&
            parse_i64((struct span){part.ptr + len + 1, part.len - len - 1}, 0, INT64_MAX, &seconds))
            return seconds;
    }
    return 0;
}

static void read_headers(struct read *read, struct span head)
{
    struct span status = header(head, "Cache-Status"), control = header(head, "Cache-Control");
    int64_t stale_s = directive_s(control, "stale-while-revalidate");
    int64_t error_s = directive_s(control, "stale-if-error");
    read->from_store =
        contains(status, "postgres") && !contains(status, "shared") && !contains(status, "collapsed");
    read->has_age = parse_i64(header(head, "Age"), 0, INT64_MAX, &read->age_s);
    read->life_s = directive_s(control, "max-age") + (stale_s > error_s ? stale_s : error_s);
}

/* --- Recording --- */

static struct read *append(struct readings *reads, const struct read *read)
{
    if (reads->count == reads->capacity) {
        reads->capacity = reads->capacity ? 2 * reads->capacity : 1024;
        reads->list = mem_realloc(reads->list, reads->capacity * sizeof *reads->list);
    }
    reads->list[reads->count] = *read;
    return &reads->list[reads->count++];
}

static void read_problem(struct read *read, struct span body)
{
    struct json_fault fault;
    struct span code;
    struct json_doc *doc = json_parse(body, &fault);
    if (doc && json_as_text(json_member(json_root(doc), "code"), &code))
        snprintf(read->problem, sizeof read->problem, "%.*s", SPAN_ARG(code));
    json_destroy(doc);
}

/* The same answer as the one before it, as most are, is kept once. */
static void keep_body(struct readings *reads, struct read *read, struct span body)
{
    const struct read *last = reads->count > 1 ? read - 1 : NULL;
    if (last && last->body_len && span_equal(readings_body(reads, last), body)) {
        read->body_at = last->body_at;
        read->body_len = last->body_len;
        return;
    }
    read->body_at = reads->bodies.len;
    read->body_len = body.len;
    buf_append_span(&reads->bodies, body);
    CHECK(!reads->bodies.overflow); /* a history with holes proves nothing */
}

void readings_add(struct readings *reads, const struct read *read, const struct http_response *response,
                  struct span head)
{
    struct read *added = append(reads, read);
    if (!response)
        return;
    added->status_code = (uint16_t)response->status;
    read_headers(added, head);
    if (response->status == 200)
        keep_body(reads, added, response->body);
    else
        read_problem(added, response->body);
}

void readings_join(struct readings *reads, const struct readings *of_reader)
{
    size_t before = reads->bodies.len;
    for (size_t i = 0; i < of_reader->count; i++)
        append(reads, &of_reader->list[i])->body_at += before;
    buf_append_span(&reads->bodies, buf_span(&of_reader->bodies));
    CHECK(!reads->bodies.overflow);
}

struct span readings_body(const struct readings *reads, const struct read *read)
{
    return (struct span){reads->bodies.data + read->body_at, read->body_len};
}

/* --- Writing --- */

int16_t read_slice(const struct read *read)
{
    struct buf id;
    if (read->kind == READ_COUPON || read->kind == READ_CODE || read->kind == READ_VALIDITY ||
        read->kind == READ_FEED)
        return read->coupon.slice;
    buf_init(&id, CAMPAIGN_ID_MAX);
    campaign_name_write(&id, read->campaign);
    int16_t slice = slice_of(buf_span(&id));
    buf_deinit(&id);
    return slice;
}

static void put_validity(struct buf *out, const struct read *read)
{
    char separator = '?';
    buf_append_text(out, "/validity");
    if (read->says_user) {
        buf_append_text(out, "?user_id=");
        user_number_write(out, read->user);
        separator = '&';
    }
    if (read->amount >= 0)
        buf_printf(out, "%corder_amount=%lld", separator, (long long)read->amount);
}

static void put_path(struct buf *out, const struct read *read, const char *code)
{
    switch (read->kind) {
    case READ_CAMPAIGN:
    case READ_HOLDERS:
    case READ_PLACE:
        buf_append_text(out, "/v1/campaigns/");
        campaign_name_write(out, read->campaign);
        if (read->kind == READ_HOLDERS)
            buf_printf(out, "/coupons?limit=%lld", (long long)read->limit);
        if (read->kind == READ_PLACE) {
            buf_append_text(out, "/users/");
            user_number_write(out, read->user);
        }
        return;
    case READ_COUPON:
    case READ_VALIDITY:
        buf_append_text(out, "/v1/coupons/");
        coupon_id_write(out, read->coupon);
        if (read->kind == READ_VALIDITY)
            put_validity(out, read);
        return;
    case READ_CODE:
        buf_printf(out, "/v1/coupons/%s", code);
        return;
    case READ_CAMPAIGNS:
        buf_printf(out, "/v1/campaigns?limit=%lld", (long long)read->limit);
        if (read->status)
            buf_printf(out, "&status=%s", read->status);
        return;
    case READ_USER:
        buf_append_text(out, "/v1/users/");
        user_number_write(out, read->user);
        buf_printf(out, "/coupons?limit=%lld", (long long)read->limit);
        return;
    case READ_RANKING:
        buf_printf(out, "/v1/rankings/campaigns?by=%s&window=%s&limit=%lld",
                   read->redeemed ? "redeemed" : "issued", read->number % 2 ? "all" : "1h",
                   (long long)read->limit);
        return;
    case READ_FEED:
        buf_printf(out, "/v1/events?slice=%d&after=%lld&limit=%lld", read->coupon.slice,
                   (long long)read->coupon.position, (long long)read->limit);
        return;
    case READ_KIND_COUNT:
        break;
    }
    UNREACHABLE("every kind has a case");
}

void read_write(const struct read *read, const char *code, const char *token, const struct target *target,
                struct buf *out)
{
    struct buf tokens;
    buf_init(&tokens, SLICE_COUNT * (CONSISTENCY_TOKEN_MAX + 2));
    buf_append_text(out, "GET ");
    put_path(out, read, code);
    buf_printf(out, " HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", target->authority, token);
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        if (read->tokens[slice] == 0)
            continue;
        buf_append_text(&tokens, tokens.len ? ", " : "");
        consistency_token_write(&tokens, (struct position){slice, read->tokens[slice]});
    }
    if (tokens.len)
        buf_printf(out, "Consistency-Token: %s\r\n", tokens.data);
    buf_append_text(out, "\r\n");
    CHECK(!out->overflow && !tokens.overflow);
    buf_deinit(&tokens);
}
