/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and chunked bodies as they come, in pieces: framing, target, route, key, query, fields. What is let
 * through has the one framing it may have, and in how many pieces it came makes no difference. */
#include "common/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/http_room.h"

struct outcome {
    enum http_reading head, body;
    size_t head_len, body_len;
    const struct problem *refusal;
};

static void look(struct http_request *request)
{
    uint8_t trace[24];
    CHECK(request->content_length <= request->endpoint->body_max);
    CHECK(!request->chunked || request->content_length == 0);
    CHECK(request->framed <= 1 && (request->hosts == 1 || request->http_1_0));
    CHECK(request->path.len >= 1 && request->path.ptr[0] == '/');
    (void)http_trace(request, trace);
    (void)http_query(request, "limit");
    (void)http_header_nth(request, "traceparent", 1);
}

static void read_chunks(struct http_request *request, struct span in, struct outcome *outcome)
{
    struct span part;
    while ((outcome->body = http_chunks_read(request, &in, &part)) == HTTP_READING_PART) {
        CHECK(part.len > 0);
        outcome->body_len += part.len;
        request->body_len += part.len;
    }
}

/* `step`: how many bytes of the head come at a time. Each time they lie somewhere else. */
static struct outcome read_request(struct span input, size_t step)
{
    struct http_request request;
    struct outcome outcome = {.head = HTTP_READING_MORE};
    char *data = NULL;
    http_request_init(&request, room_server());
    request.endpoint = &request.server->unrouted;
    for (size_t len = 0; outcome.head == HTTP_READING_MORE && len < input.len;) {
        len = input.len - len < step ? input.len : len + step;
        char *moved = mem_alloc(len);
        memcpy(moved, input.ptr, len);
        mem_free(data);
        data = moved;
        outcome.head = http_head_read(&request, data, len);
    }
    if (outcome.head == HTTP_READING_DONE) {
        outcome.head_len = request.head_len;
        http_screen(&request);
        if (!request.refusal)
            look(&request);
        if (request.chunked && !request.refusal)
            read_chunks(&request, (struct span){input.ptr + request.head_len, input.len - request.head_len},
                        &outcome);
    }
    CHECK((outcome.head != HTTP_READING_FAULT && outcome.body != HTTP_READING_FAULT) || request.refusal);
    outcome.refusal = request.refusal;
    http_request_end(&request);
    http_request_deinit(&request);
    mem_free(data);
    return outcome;
}

FUZZ_TARGET(http_request)
{
    struct span input = fuzz_text(data, size);
    struct outcome whole = read_request(input, input.len + 1), pieces = read_request(input, 7);
    CHECK(whole.head == pieces.head && whole.head_len == pieces.head_len && whole.refusal == pieces.refusal);
    CHECK(whole.body == pieces.body && whole.body_len == pieces.body_len);
    return 0;
}
