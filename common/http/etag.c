/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags of what is answered, and conditions that name them (RFC 9110, 8.8.3 and 13.1). */
#include "common/base/crypto.h"
#include "common/http/internal.h"

void http_etag_write(struct buf *out, struct span body)
{
    uint8_t hash[16];
    crypto_hash(NULL, body, hash, sizeof hash);
    buf_append_char(out, '"');
    hex_encode(out, hash, sizeof hash);
    buf_append_char(out, '"');
}

/* Our tags have no comma in them, so cutting at commas cannot make one match that does not. */
bool http_etag_listed(struct span list, struct span etag, enum http_comparison comparison)
{
    struct span rest = list;
    bool only = true;
    while (rest.ptr) {
        struct span tag = http_trim(span_cut(&rest, ','));
        if (only && !rest.ptr && span_is(tag, "*"))
            return true;
        only = false;
        if (comparison == HTTP_WEAKLY && span_starts(tag, SPAN("W/")))
            tag = (struct span){tag.ptr + 2, tag.len - 2};
        if (span_equal(tag, etag))
            return true;
    }
    return false;
}

/* A list may come in several lines. */
static bool lists_it(const struct http_request *request, const char *name, struct span etag,
                     enum http_comparison comparison)
{
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, name, nth)).ptr; nth++)
        if (http_etag_listed(line, etag, comparison))
            return true;
    return false;
}

/* In the order of 13.2.2; nothing here has a date to compare. */
enum http_condition http_read_condition(const struct http_request *request, struct span etag)
{
    if (http_header(request, "If-Match").ptr && !lists_it(request, "If-Match", etag, HTTP_STRONGLY))
        return HTTP_CONDITION_FAILED;
    return lists_it(request, "If-None-Match", etag, HTTP_WEAKLY) ? HTTP_CONDITION_NOT_MODIFIED
                                                                 : HTTP_CONDITION_MET;
}
