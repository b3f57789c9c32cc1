/* SPDX-License-Identifier: Apache-2.0 */
/* Content codings and media types that a client asks for (RFC 9110, 12.5.3 and 12.5.1). */
#include <strings.h>

#include "common/http/internal.h"

/* "0", "1", and up to three digits behind a point; in thousandths. */
static bool weight_parse(struct span text, unsigned *ret)
{
    unsigned weight = 0, scale = 100;
    if (text.len < 1 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
        (text.len > 1 && text.ptr[1] != '.'))
        return false;
    weight = text.ptr[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < text.len; i++, scale /= 10) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        weight += scale * (unsigned)(text.ptr[i] - '0');
    }
    *ret = weight;
    return weight <= 1000;
}

/* A weight that is none: the coding was not asked for. */
static unsigned weight_of(struct span parameters)
{
    unsigned weight = 1000;
    while (parameters.ptr) {
        struct span value = http_trim(span_cut(&parameters, ';'));
        struct span name = span_cut(&value, '=');
        if (http_text_is(name, "q") && !weight_parse(value, &weight))
            return 0;
    }
    return weight;
}

/* gzip by its name, else by "*"; and no less than the bytes as they are. */
bool http_accepts_gzip(const struct http_request *request)
{
    struct span line;
    int named = -1, any = -1, identity = -1;
    for (size_t nth = 0; (line = http_header_nth(request, "Accept-Encoding", nth)).ptr; nth++)
        for (struct span item = http_list_next(&line); item.ptr; item = http_list_next(&line)) {
            struct span coding = http_trim(span_cut(&item, ';'));
            int weight = (int)weight_of(item);
            if (http_text_is(coding, "gzip") || http_text_is(coding, "x-gzip"))
                named = weight;
            else if (http_text_is(coding, "*"))
                any = weight;
            else if (http_text_is(coding, "identity"))
                identity = weight;
        }
    int gzip = named >= 0 ? named : any;
    return gzip > 0 && gzip >= identity;
}

/* How much of `type` a range names: all of it, what is before the slash, or nothing but "anything"; 0: it is
 * another type's. */
static unsigned range_matches(struct span range, const char *type)
{
    enum { ANYTHING = 1, ANY_SUBTYPE, EXACTLY };
    if (http_text_is(range, type))
        return EXACTLY;
    if (http_text_is(range, "*/*"))
        return ANYTHING;
    size_t family = (size_t)(strchr(type, '/') - type) + 1;
    bool any = range.len == family + 1 && range.ptr[family] == '*';
    return any && strncasecmp(range.ptr, type, family) == 0 ? ANY_SUBTYPE : 0;
}

/* The weight of the range that names it best. */
static unsigned media_weight(const struct http_request *request, const char *type)
{
    struct span line;
    unsigned best = 0, weight = 0;
    for (size_t nth = 0; (line = http_header_nth(request, "Accept", nth)).ptr; nth++)
        for (struct span item = http_list_next(&line); item.ptr; item = http_list_next(&line)) {
            unsigned match = range_matches(http_trim(span_cut(&item, ';')), type);
            if (match <= best)
                continue;
            best = match;
            weight = weight_of(item);
        }
    return weight;
}

bool http_prefers(const struct http_request *request, const char *type, const char *other)
{
    return media_weight(request, type) > media_weight(request, other);
}
