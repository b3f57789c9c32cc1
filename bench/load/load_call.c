/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as text. */
#include "bench/load/load_call.h"

static void add_header(struct buf *out, const char *name, struct span value)
{
    if (!value.ptr)
        return;
    buf_append_text(out, name);
    buf_append_span(out, value);
    buf_append_text(out, "\r\n");
}

void load_call_write(const struct target *target, const struct load_call_request *request, struct buf *out)
{
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", request->method, request->path, target->authority);
    add_header(out, "Authorization: Bearer ", request->token);
    add_header(out, "Idempotency-Key: ", request->key);
    add_header(out, "Consistency-Token: ", request->consistency);
    if (request->body.ptr)
        buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", request->body.len);
    buf_append_text(out, "\r\n");
    if (request->body.ptr)
        buf_append_span(out, request->body);
}
