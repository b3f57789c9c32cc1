/* SPDX-License-Identifier: Apache-2.0 */
/* Which client a request is of where proxies pass it on. Each proxy appends whom it was called by, to
 * X-Forwarded-For or, as RFC 7239 has it, to Forwarded; whatever stands before that the client may have
 * written itself. So the list is read from its end, and only for as long as the address reached so far is
 * that of a trusted proxy. */
#include <arpa/inet.h>
#include <stdio.h>

#include "common/http/internal.h"

enum { ADDRESS_TEXT_MAX = 63, PASSED_ON_MAX = 32, MAPPED_BITS = 96 };

static bool address_parse(struct span text, struct in6_addr *ret)
{
    static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    char name[ADDRESS_TEXT_MAX + 1];
    if (text.len == 0 || text.len > ADDRESS_TEXT_MAX || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    if (inet_pton(AF_INET6, name, ret) == 1)
        return true;
    memcpy(ret->s6_addr, mapped, sizeof mapped);
    return inet_pton(AF_INET, name, &ret->s6_addr[sizeof mapped]) == 1;
}

/* --- Whom to trust --- */

static bool network_parse(struct span text, struct http_network *ret)
{
    int64_t bits;
    struct span prefix = text, address = span_cut(&prefix, '/');
    if (!address_parse(address, &ret->address))
        return false;
    bool v4 = memchr(address.ptr, ':', address.len) == NULL;
    ret->bits = 128;
    if (!prefix.ptr)
        return true;
    if (!parse_i64(prefix, 0, v4 ? 32 : 128, &bits))
        return false;
    ret->bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
    return true;
}

bool http_proxies_parse(const char *list, struct http_proxies *ret)
{
    struct span rest = span_of(list ? list : "");
    ret->count = 0;
    while (rest.ptr && rest.len > 0) {
        struct span text = http_trim(span_cut(&rest, ','));
        if (ret->count == HTTP_PROXIES_MAX || !network_parse(text, &ret->networks[ret->count++]))
            return false;
    }
    return true;
}

bool http_proxies_valid(const char *list)
{
    struct http_proxies proxies;
    return http_proxies_parse(list, &proxies);
}

static bool network_has(const struct http_network *network, const struct in6_addr *address)
{
    unsigned whole = network->bits / 8, left = network->bits % 8;
    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return left == 0 || (network->address.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - left) == 0;
}

bool http_proxies_trust(const struct http_proxies *proxies, const struct in6_addr *address)
{
    for (size_t i = 0; i < proxies->count; i++)
        if (network_has(&proxies->networks[i], address))
            return true;
    return false;
}

/* --- What they say --- */

/* "192.0.2.1", "192.0.2.1:8080", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:8080". What RFC 7239 allows
 * besides
 * ("unknown", "_hidden") names nobody. */
static bool node_parse(struct span text, struct in6_addr *ret)
{
    int64_t port;
    if (text.len > 0 && text.ptr[0] == '[') {
        struct span rest = {text.ptr + 1, text.len - 1}, address = span_cut(&rest, ']');
        bool ends = rest.ptr && (rest.len == 0 ||
                                 (rest.ptr[0] == ':' && parse_i64((struct span){rest.ptr + 1, rest.len - 1},
                                                                  0, UINT16_MAX, &port)));
        return ends && memchr(address.ptr, ':', address.len) && address_parse(address, ret);
    }
    struct span rest = text, address = span_cut(&rest, ':');
    bool one_colon = rest.ptr && !memchr(rest.ptr, ':', rest.len);
    if (!one_colon)
        return address_parse(text, ret);
    return parse_i64(rest, 0, UINT16_MAX, &port) && address_parse(address, ret);
}

/* The value of for= in one element of Forwarded; ptr NULL where it has none. */
static struct span forwarded_for(struct span element)
{
    while (element.ptr) {
        struct span value = http_trim(span_cut(&element, ';')), name = http_trim(span_cut(&value, '='));
        if (!http_text_is(name, "for") || !value.ptr)
            continue;
        value = http_trim(value);
        if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
            value = (struct span){value.ptr + 1, value.len - 2};
        return value;
    }
    return (struct span){NULL, 0};
}

/* The last PASSED_ON_MAX items of all lines of a field, which are one list, in a ring; returns how many there
 * are. */
static size_t list_read(const struct http_request *request, const char *name, struct span ret[PASSED_ON_MAX])
{
    size_t count = 0;
    struct span line;
    for (size_t nth = 0; (line = http_header_nth(request, name, nth)).ptr; nth++)
        while (line.ptr)
            ret[count++ % PASSED_ON_MAX] = http_trim(span_cut(&line, ','));
    return count;
}

struct in6_addr http_client_of(const struct http_proxies *proxies, const struct http_request *request,
                               const struct in6_addr *peer)
{
    struct span items[PASSED_ON_MAX];
    struct in6_addr client = *peer, next;
    bool is_forwarded = http_header(request, "Forwarded").ptr != NULL;
    if (proxies->count == 0 || !http_proxies_trust(proxies, peer))
        return client;
    /* A proxy writes one of the two, and passes on what the client wrote into the other: with both nobody can
     * be believed, and the proxy answers for whoever it is. */
    if (is_forwarded && http_header(request, "X-Forwarded-For").ptr)
        return client;
    size_t count = list_read(request, is_forwarded ? "Forwarded" : "X-Forwarded-For", items);
    size_t oldest = count > PASSED_ON_MAX ? count - PASSED_ON_MAX : 0;
    while (count > oldest && http_proxies_trust(proxies, &client)) {
        struct span item = items[--count % PASSED_ON_MAX];
        if (!node_parse(is_forwarded ? forwarded_for(item) : item, &next))
            break;
        client = next;
    }
    return client;
}
