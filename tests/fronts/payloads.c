/* SPDX-License-Identifier: Apache-2.0 */
/* Making the attempts. A body holds a whole request, so that whoever ends the outer one too early answers
 * twice. */
#include "tests/fronts/payloads.h"

#include <stdio.h>

#include "common/base/mem.h"

#define INNER  "GET /livez?inner HTTP/1.1\r\nHost: t\r\n\r\n"
#define PLAIN  "GET /livez HTTP/1.1\r\nHost: t\r\n"
#define POSTED "POST /v1/campaigns HTTP/1.1\r\nHost: t\r\n"

enum { BIG_BYTES = 9 * 1024, NAME_BYTES = 160, PAYLOAD_BYTES = 64 * 1024 };

/* "#" stands for the length of the body. */
static const char *const framings[] = {
    "Content-Length: #\r\n",
    "Content-Length: #\r\nContent-Length: #\r\n",
    "Content-Length: #\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nContent-Length: #\r\n",
    "Content-Length: #, #\r\n",
    "Content-Length: 0, #\r\n",
    "Content-Length: +#\r\n",
    "Content-Length: -#\r\n",
    "Content-Length: 0x#\r\n",
    "Content-Length: 0#\r\n",
    "Content-Length: # \r\n",
    "Content-Length:\t#\r\n",
    "Content-Length : #\r\n",
    "Content-Length:#\r\n",
    "Content-Length:\r\n #\r\n",
    "Content-Length: \r\n",
    "Content-Length: 9223372036854775807\r\n",
    "Content-Length: 9223372036854775808\r\n",
    "Content-Length: 18446744073709551615\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 1844674407370955161600\r\n",
    "Content-Length: #.0\r\n",
    "Content-Length: \"#\"\r\n",
    "Content_Length: #\r\n",
    "X: y\nContent-Length: #\r\n",
    "X: y\rContent-Length: #\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: CHUNKED\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: #\r\n",
    "Content-Length: #\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: xchunked\r\nContent-Length: #\r\n",
    "Transfer-Encoding: chunked \r\n",
    "Transfer-Encoding : chunked\r\nContent-Length: #\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding: \013chunked\r\nContent-Length: #\r\n",
    "Transfer-Encoding:\r\n chunked\r\nContent-Length: #\r\n",
    " Transfer-Encoding: chunked\r\nContent-Length: #\r\n",
    "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: #\r\n",
    "X: y\nTransfer-Encoding: chunked\r\nContent-Length: #\r\n",
    "Transfer-Encoding: \"chunked\"\r\nContent-Length: #\r\n",
    "Transfer-Encoding: chunked;q=1\r\nContent-Length: #\r\n",
    "Transfer_Encoding: chunked\r\nContent-Length: #\r\n",
    "Connection: Content-Length\r\nContent-Length: #\r\n",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\nContent-Length: #\r\n",
    "",
};

static const char *const bodies[] = {
    INNER,
    "0\r\n\r\n" INNER,
    "5\r\nhello\r\n0\r\n\r\n" INNER,
    "5;a=\"\r\n\"\r\nhello\r\n0\r\nContent-Length: 40\r\n\r\n" INNER,
};

/* Whole, with nothing to fill in. */
static const struct span oddities[] = {
    SPAN("GET /livez HTTP/1.1\nHost: t\n\n" INNER),
    SPAN("GET /livez HTTP/1.1\r\nHost: t\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.1\rHost: t\r\r" INNER),
    SPAN("\r\n\r\nGET /livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET  /livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET\t/livez\tHTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.1 \r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.2\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/0.9\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/2.0\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez http/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez\r\n" INNER),
    SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" INNER),
    SPAN("GET http://t/livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET http://other/livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET //livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez#x HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /live%7a HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /%2e%2e/livez HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez%0d%0aX:%20y HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("GET /livez%00 HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("CONNECT t:80 HTTP/1.1\r\nHost: t:80\r\n\r\n" INNER),
    SPAN("HEAD /livez HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" INNER),
    SPAN("HEAD /nothing HTTP/1.1\r\nHost: t\r\n\r\n" INNER),
    SPAN("BREW /livez HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" INNER),
    SPAN("GET /livez HTTP/1.1\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.1\r\nHost: t\r\nHost : u\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.1\r\nHost: t, u\r\n\r\n" INNER),
    SPAN("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" INNER),
    SPAN("POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" INNER),
    SPAN(PLAIN "X-A: a\0b\r\n\r\n" INNER),
    SPAN(PLAIN "\0: a\r\n\r\n" INNER),
    SPAN(PLAIN "X-A\r\n\r\n" INNER),
    SPAN(PLAIN ": a\r\n\r\n" INNER),
    SPAN(PLAIN "X-A: a\r\n\tb\r\n\r\n" INNER),
    SPAN(PLAIN "X-A: \xff\xfe\r\n\r\n" INNER),
    SPAN(PLAIN "X-\xc3\xa4: a\r\n\r\n" INNER),
    SPAN(PLAIN "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: "
               "AAMAAABkAAQAAP__\r\n\r\n" INNER),
    SPAN(PLAIN "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n" INNER),
    SPAN(PLAIN "Connection: close\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n5 ;x\r\nhello\r\n0\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00000\r\n\r\n" INNER),
    SPAN(POSTED
         "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" INNER),
    SPAN(POSTED "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n" INNER),
};

static void with_length(struct buf *out, const char *framing, size_t length)
{
    for (; *framing; framing++)
        if (*framing == '#')
            buf_append_u64(out, length);
        else
            buf_append_char(out, *framing);
}

size_t payloads_each(void (*take)(void *context, int number, const char *name, struct span bytes),
                     void *context)
{
    struct buf out;
    char name[NAME_BYTES];
    int number = 0;
    buf_init(&out, PAYLOAD_BYTES);
    for (size_t f = 0; f < COUNT_OF(framings); f++)
        for (size_t b = 0; b < COUNT_OF(bodies); b++) {
            buf_clear(&out);
            buf_append_text(&out, POSTED);
            with_length(&out, framings[f], strlen(bodies[b]));
            buf_append_text(&out, "\r\n");
            buf_append_text(&out, bodies[b]);
            snprintf(name, sizeof name, "framing %zu, body %zu", f, b);
            take(context, number++, name, buf_span(&out));
        }
    for (size_t i = 0; i < COUNT_OF(oddities); i++) {
        snprintf(name, sizeof name, "oddity %zu", i);
        take(context, number++, name, oddities[i]);
    }
    buf_clear(&out);
    buf_append_text(&out, PLAIN "Cookie: ");
    for (size_t i = 0; i < BIG_BYTES; i++)
        buf_append_char(&out, 'c');
    buf_append_text(&out, "\r\n\r\n" INNER);
    take(context, number++, "a cookie of 9 kB", buf_span(&out));
    buf_deinit(&out);
    return (size_t)number;
}
