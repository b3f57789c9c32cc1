/* SPDX-License-Identifier: Apache-2.0 */
/* The problems every HTTP service has, and the document that a client sees of one. */
#include "common/http/problem.h"

#include "common/json.h"

COMMON_PROBLEMS(PROBLEM_DEFINE)

static void write_out(struct buf *body, const struct problem_detail *detail)
{
    const struct problem *problem = detail->problem;
    char type[128];
    int len = snprintf(type, sizeof type, "urn:firstcome:problem:%s", problem->code);
    CHECK(len > 0 && (size_t)len < sizeof type);

    json_open(body, NULL, '{');
    json_put_string(body, "type", span_of(type));
    json_put_string(body, "code", span_of(problem->code));
    json_put_string(body, "title", span_of(problem->title));
    json_put_string(body, "detail", span_of(detail->detail ? detail->detail : problem->title));
    json_put_int(body, "status", problem->status);
    json_put_bool(body, "retryable", problem->retryable);
    if (detail->field.ptr)
        json_put_string(body, "field", detail->field);
    if (detail->retry_after_ms > 0)
        json_put_int(body, "retry_after_ms", detail->retry_after_ms);
    if (detail->extension.ptr && detail->extension.len) {
        buf_append_char(body, ',');
        buf_append_span(body, detail->extension);
    }
    json_close(body, '}');
}

/* A crowd is told one thing, each of them the same: the last document with nothing of its own is kept by each
 * thread. */
void problem_write(struct buf *body, const struct problem_detail *detail)
{
    enum { KEPT_MAX = 512 };
    static _Thread_local struct {
        const struct problem *problem;
        size_t len;
        char text[KEPT_MAX];
    } kept;
    bool plain = body->len == 0 && !detail->detail && !detail->field.ptr && detail->retry_after_ms <= 0 &&
                 !detail->extension.ptr;
    if (plain && kept.problem == detail->problem) {
        buf_append(body, kept.text, kept.len);
        return;
    }
    write_out(body, detail);
    if (plain && !body->overflow && body->len <= sizeof kept.text) {
        memcpy(kept.text, body->data, body->len);
        kept.problem = detail->problem;
        kept.len = body->len;
    }
}
