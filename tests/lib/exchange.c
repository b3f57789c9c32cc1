/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges as JSON lines. */
#include "tests/lib/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/json.h"

/* A batch of ten thousand users and its answer are worth one line, not more. */
enum { LINE_MAX_BYTES = 8 * 1024 * 1024 };

static FILE *open_file(void)
{
    static FILE *file;
    static pid_t owner;
    const char *directory = getenv("EXCHANGES_DIR");
    char path[4096];
    if (!directory || (file && owner == getpid()))
        return directory ? file : NULL;
    snprintf(path, sizeof path, "%s/%d.jsonl", directory, (int)getpid());
    owner = getpid();
    return file = fopen(path, "ae");
}

static void put_headers(struct buf *out, const char *key, struct span head)
{
    json_open(out, key, '[');
    (void)span_cut(&head, '\n'); /* the status line */
    while (head.ptr && head.len) {
        struct span line = span_cut(&head, '\n');
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len)
            json_put_string(out, NULL, line);
    }
    json_close(out, ']');
}

static void put_request_headers(struct buf *out, const struct http_call *call)
{
    json_open(out, "request_headers", '[');
    for (size_t i = 0; call->headers && call->headers[i]; i++)
        if (strncasecmp(call->headers[i], "Authorization:", 14) != 0)
            json_put_string(out, NULL, span_of(call->headers[i]));
    json_close(out, ']');
}

void exchange_note(const struct http_call *call, const struct http_answer *answer)
{
    FILE *file = open_file();
    struct buf line;
    if (!file || http_answer_header(answer, "Content-Encoding").ptr) /* the same comes uncoded to others */
        return;
    buf_init(&line, LINE_MAX_BYTES);
    json_open(&line, NULL, '{');
    json_put_string(&line, "method", span_of(http_call_method(call)));
    json_put_string(&line, "target", span_of(call->path));
    json_put_bool(&line, "authorized", call->token != NULL);
    json_put_bool(&line, "keyed", call->key != NULL);
    put_request_headers(&line, call);
    if (call->body)
        json_put_string(&line, "request_body", span_of(call->body));
    json_put_int(&line, "status", answer->status);
    put_headers(&line, "headers", answer->head);
    json_put_string(&line, "body", answer->body);
    json_close(&line, '}');
    buf_append_char(&line, '\n');
    if (!line.overflow) /* one write for a line, so that threads do not mix */
        (void)fwrite(line.data, 1, line.len, file), (void)fflush(file);
    buf_deinit(&line);
}
