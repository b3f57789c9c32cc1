/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of tests, recorded and compared. */
#include "tests/lib/reads.h"

#include "common/base/mem.h"
#include "tests/lib/pace.h"
#include "tests/lib/projector.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum {
    SETTLE_MS = 120000,
    WORDS_MAX = 8,
    HINTS_OFFSET = 6, /* where the stack's query service listens for hints */
    WARM_MS = 120000,
    HINTS = 5, /* one that comes before the query service listens is lost */
    SAID_MAX = 65536,
};

void reads_init(struct reads *reads, struct api_client *api)
{
    *reads = (struct reads){.api = api};
}

void reads_deinit(struct reads *reads)
{
    for (size_t i = 0; i < reads->count; i++)
        mem_free(reads->records[i].body);
    reads->count = 0;
}

/* "Consistency-Token: v1.0.12, v1.1.3, ..." */
static void heads_header(struct api_client *api, char *ret, size_t size)
{
    struct pg_rows *rows = store_rows(stack_env(api->stack, "DATABASE_URL"), "SELECT slice, head FROM slice");
    struct buf text;
    buf_init(&text, size - 1);
    buf_append_text(&text, "Consistency-Token: ");
    for (int row = 0; row < pg_rows_count(rows); row++)
        buf_printf(&text, "%sv1.%lld.%lld", row ? ", " : "", (long long)pg_i64(rows, row, 0),
                   (long long)pg_i64(rows, row, 1));
    assert_false(text.overflow);
    memcpy(ret, text.data, text.len + 1);
    buf_deinit(&text);
    pg_rows_destroy(rows);
}

static struct http_answer get_with(struct api_client *api, const char *path, const char *header)
{
    const char *const headers[] = {header, NULL};
    struct http_call call = {.method = "GET",
                             .path = path,
                             .token = stack_env(api->stack, "READ_TOKEN"),
                             .headers = header ? headers : NULL};
    return api_ask(api->query, &call);
}

struct http_answer reads_get(struct api_client *api, const char *path)
{
    char header[1024];
    heads_header(api, header, sizeof header);
    return get_with(api, path, header);
}

struct http_answer reads_at(struct api_client *api, const char *path, int64_t wall_us)
{
    const char *at = time_text(wall_us);
    return api_get(api, textf("%s%sas_of=%s", path, strchr(path, '?') ? "&" : "?", at), NULL);
}

void reads_ranking(const struct json_doc *doc, struct buf *ret)
{
    for (size_t i = 0; i < json_get_length(doc, "items"); i++) {
        struct span id = json_get_text(doc, textf("items.%zu.campaign_id", i));
        assert_int_equal(json_get_int(doc, textf("items.%zu.rank", i)), (int64_t)i + 1);
        buf_printf(ret, "%s%.*s %lld", i ? ", " : "", SPAN_ARG(id),
                   (long long)json_get_int(doc, textf("items.%zu.count", i)));
    }
}

bool reads_is_from(const struct http_answer *answer, const char *source)
{
    struct span status = http_answer_header(answer, "Cache-Status");
    return status.ptr && memmem(status.ptr, status.len, source, strlen(source)) != NULL;
}

static void add_record(struct reads *reads, const char *path, const struct http_answer *answer)
{
    assert_true(reads->count < READS_MAX);
    if (answer->status != 200)
        fail_msg("%s: %d %.*s", path, answer->status, SPAN_ARG(answer->body));
    struct read_record *record = &reads->records[reads->count++];
    assert_true((size_t)snprintf(record->path, sizeof record->path, "%s", path) < sizeof record->path);
    record->body = mem_alloc(answer->body.len + 1);
    memcpy(record->body, answer->body.ptr, answer->body.len);
    record->body[answer->body.len] = '\0';
}

struct http_answer reads_from(struct api_client *api, const char *path, const char *source)
{
    char header[1024];
    struct http_answer answer;
    heads_header(api, header, sizeof header);
    WAIT_UNTIL((answer = get_with(api, path, header), reads_is_from(&answer, source)), SETTLE_MS);
    return answer;
}

void reads_record(struct reads *reads, const char *path)
{
    struct http_answer answer = reads_from(reads->api, path, "redis");
    add_record(reads, path, &answer);
}

size_t reads_record_pages(struct reads *reads, const char *path)
{
    size_t items = 0;
    char page[384];
    snprintf(page, sizeof page, "%s", path);
    for (;;) {
        reads_record(reads, page);
        struct json_doc *doc = json_get_doc(span_of(reads->records[reads->count - 1].body));
        struct span next;
        items += json_get_length(doc, "items");
        bool more = json_as_text(json_member(json_root(doc), "next"), &next);
        if (more)
            snprintf(page, sizeof page, "%s&cursor=%.*s", path, SPAN_ARG(next));
        json_destroy(doc);
        if (!more)
            return items;
    }
}

/* Cuts the instant out that a ranking's window begins at, which moves on every few minutes. */
static void split_since(struct span body, struct span *ret_before, struct span *ret_after)
{
    static const char *const name = "\"since\":\"";
    const char *at = memmem(body.ptr, body.len, name, strlen(name));
    *ret_before = body, *ret_after = (struct span){NULL, 0};
    if (!at)
        return;
    struct span rest = {at + strlen(name), body.len - (size_t)(at - body.ptr) - strlen(name)};
    (void)span_cut(&rest, '"');
    *ret_before = (struct span){body.ptr, (size_t)(at - body.ptr)};
    *ret_after = rest;
}

static bool same_body(struct span body, struct span other)
{
    struct span before, after, other_before, other_after;
    split_since(body, &before, &after);
    split_since(other, &other_before, &other_after);
    return span_equal(before, other_before) && span_equal(after, other_after);
}

/* One read of a recorded path, which must answer as recorded and within the bound; which source answered is
 * the caller's question. */
static struct http_answer get_as_recorded(struct reads *reads, const struct read_record *record,
                                          int64_t bound_ms, int64_t *longest_us)
{
    int64_t start_us = clock_mono_us();
    struct http_answer answer = get_with(reads->api, record->path, NULL);
    int64_t took_us = clock_mono_us() - start_us;
    if (answer.status != 200 || !same_body(answer.body, span_of(record->body)))
        fail_msg("%s: %d\n%.*s\nwas\n%s", record->path, answer.status, SPAN_ARG(answer.body), record->body);
    pace_within(start_us, bound_ms * US_PER_MS, record->path);
    *longest_us = took_us > *longest_us ? took_us : *longest_us;
    return answer;
}

int64_t reads_compare(struct reads *reads, const char *source, int64_t bound_ms)
{
    int64_t longest_us = 0;
    for (size_t i = 0; i < reads->count; i++) {
        const struct read_record *record = &reads->records[i];
        struct http_answer answer;
        WAIT_UNTIL((answer = get_as_recorded(reads, record, bound_ms, &longest_us),
                    !source || reads_is_from(&answer, source)),
                   SETTLE_MS);
    }
    return longest_us / US_PER_MS;
}

int64_t reads_metric(struct api_client *api, const char *name)
{
    int64_t value = http_client_metric(api->query, name);
    if (value < 0)
        fail_msg("there is no metric %s", name);
    return value;
}

void reads_restart_service(struct api_client *api)
{
    stack_service(api->stack, "query-service", "stop");
    stack_service(api->stack, "query-service", "start");
}

int64_t reads_redis(struct stack *stack, ...)
{
    const char *words[WORDS_MAX + 1] = {NULL};
    va_list texts;
    va_start(texts, stack);
    for (size_t i = 0; (words[i] = va_arg(texts, const char *)); i++)
        assert_true(i + 1 < COUNT_OF(words));
    va_end(texts);
    struct redis *redis = redis_kit_connect(stack_env(stack, "REDIS_URL"));
    redis_kit_send(redis, words);
    int64_t number = redis_integer(redis_kit_receive(redis));
    redis_destroy(redis);
    return number;
}

const char *reads_key(struct stack *stack, int16_t slice, const char *rest)
{
    static char keys[8][256];
    static size_t turn;
    char *key = keys[turn++ % COUNT_OF(keys)];
    int64_t generation =
        reads_redis(stack, "EVAL", "return tonumber(redis.call('HGET', KEYS[1], 'generation') or '0')", "1",
                    textf("fc:{%d}", slice), NULL);
    snprintf(key, sizeof keys[0], "fc:%lld:{%d}:%s", (long long)generation, slice, rest);
    return key;
}

void reads_await_redis(struct api_client *api)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = reads_get(api, "/v1/campaigns?limit=1"), reads_is_from(&answer, "redis")),
               SETTLE_MS);
}

void reads_compare_sources(struct reads *reads, int64_t bound_ms)
{
    struct stack *stack = reads->api->stack;
    reads_compare(reads, "redis", bound_ms);
    stack_signal(stack, "projector", SIGSTOP); /* or it would fill Redis again */
    reads_redis(stack, "FLUSHALL", NULL);
    reads_compare(reads, "postgres", bound_ms);
    stack_signal(stack, "projector", SIGCONT);
    reads_await_redis(reads->api);
    reads_compare(reads, "redis", bound_ms);
}

/* The bus connects some time after the service has started, and what is said before is lost. */
void reads_prewarm(struct api_client *api, const char *campaign)
{
    char bus[64];
    struct buf said;
    buf_init(&said, SAID_MAX);
    snprintf(bus, sizeof bus, "tcp://127.0.0.1:%d", stack_port_base(api->stack) + HINTS_OFFSET);
    /* Others may be kept warm already, and this one too, because it opens soon: then the number does not
     * rise. */
    int64_t before = reads_metric(api, "coupon_cache_warm");
    for (int i = 0; i < HINTS && reads_metric(api, "coupon_cache_warm") <= before; i++)
        (void)PROJECTOR_RUN(api->stack, &said, "prewarm", "--bus-publish-url", bus, "--campaign", campaign);
    WAIT_UNTIL(reads_metric(api, "coupon_cache_warm") > 0, WARM_MS);
    buf_deinit(&said);
}
