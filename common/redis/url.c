/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of redis://, unix://, redis+cluster:// and redis+sentinel:// URLs. */
#include "common/redis/url.h"

enum { SERVER_PORT = 6379, SENTINEL_PORT = 26379 };

static bool fail(const char **ret_reason, const char *reason)
{
    *ret_reason = reason;
    return false;
}

/* Into a NUL-terminated text of fixed size; false when it does not fit, is malformed, or has a NUL inside. */
static bool text_decode(struct span text, char *ret, size_t size)
{
    char decoded[3 * REDIS_URL_TEXT_MAX];
    ptrdiff_t len = text.len <= sizeof decoded ? percent_decode(text, '+', decoded) : -1;
    if (len < 0 || (size_t)len >= size || memchr(decoded, '\0', (size_t)len))
        return false;
    memcpy(ret, decoded, (size_t)len);
    ret[len] = '\0';
    return true;
}

/* The position after the last `c`, or 0 where there is none. */
static size_t after_last(struct span text, char c)
{
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != c)
        at--;
    return at;
}

static bool parse_credentials(struct span text, struct redis_url *url, const char **ret_reason)
{
    if (!text.ptr)
        return true;
    struct span password = text;
    struct span user = span_cut(&password, ':');
    if (!password.ptr)
        return fail(ret_reason, "a user without a password: write user:password@ or :password@");
    if (!text_decode(user, url->user, sizeof url->user))
        return fail(ret_reason, "the user is too long or badly percent-encoded");
    if (!text_decode(password, url->password, sizeof url->password) || url->password[0] == '\0')
        return fail(ret_reason, "the password is empty, too long or badly percent-encoded");
    return true;
}

static bool parse_port(struct span text, uint16_t absent, uint16_t *ret, const char **ret_reason)
{
    uint64_t port = absent;
    if (text.ptr && (!parse_u64(text, UINT16_MAX, &port) || port == 0))
        return fail(ret_reason, "the port is not a number from 1 to 65535");
    *ret = (uint16_t)port;
    return true;
}

static bool parse_endpoint(struct span text, uint16_t default_port, struct redis_endpoint *ret,
                           const char **ret_reason)
{
    struct span host, port = text;
    if (text.len && text.ptr[0] == '[') {
        port = (struct span){text.ptr + 1, text.len - 1};
        host = span_cut(&port, ']');
        if (!port.ptr || (port.len && port.ptr[0] != ':'))
            return fail(ret_reason, "the host has no closing bracket, or something after it");
        port = port.len ? (struct span){port.ptr + 1, port.len - 1} : (struct span){0};
    } else {
        host = span_cut(&port, ':');
    }
    if (host.len == 0 || !text_decode(host, ret->host, sizeof ret->host))
        return fail(ret_reason, "the host is empty, too long or badly percent-encoded");
    return parse_port(port, default_port, &ret->port, ret_reason);
}

static bool parse_database(struct span text, struct redis_url *url, const char **ret_reason)
{
    if (!text.ptr || text.len == 0)
        return true;
    if (!parse_i64(text, 0, REDIS_DATABASE_MAX, &url->database))
        return fail(ret_reason, "the database is not a number");
    return true;
}

/* Takes [[user]:password@] off the front; a password may hold an '@' that nobody encoded. */
static bool cut_credentials(struct span *rest, struct redis_url *url, const char **ret_reason)
{
    size_t at = after_last(*rest, '@');
    if (at == 0)
        return true;
    struct span credentials = {rest->ptr, at - 1};
    *rest = (struct span){rest->ptr + at, rest->len - at};
    return parse_credentials(credentials, url, ret_reason);
}

static bool parse_tcp(struct span rest, struct redis_url *url, const char **ret_reason)
{
    if (!cut_credentials(&rest, url, ret_reason))
        return false;
    if (rest.len && memchr(rest.ptr, '?', rest.len))
        return fail(ret_reason, "redis:// takes no parameters after '?'");
    struct span database = rest;
    struct span authority = span_cut(&database, '/');
    return parse_endpoint(authority, SERVER_PORT, &url->server, ret_reason) &&
           parse_database(database, url, ret_reason);
}

static bool parse_sentinel_parameter(struct span parameter, struct redis_url *url, const char **ret_reason)
{
    struct span value = parameter;
    struct span name = span_cut(&value, '=');
    bool user = span_is(name, "sentinel_user");
    if (!value.ptr || !(user || span_is(name, "sentinel_password")))
        return fail(ret_reason, "only sentinel_user and sentinel_password may follow '?'");
    return text_decode(value, user ? url->sentinel_user : url->sentinel_password, REDIS_URL_TEXT_MAX) ||
           fail(ret_reason, "user or password of the sentinels is too long or badly percent-encoded");
}

static bool parse_cluster(struct span list, struct redis_url *url, const char **ret_reason)
{
    if (!cut_credentials(&list, url, ret_reason))
        return false;
    if (list.len && (memchr(list.ptr, '/', list.len) || memchr(list.ptr, '?', list.len)))
        return fail(ret_reason, "redis+cluster:// takes hosts and ports, and nothing after them");
    while (list.ptr) {
        if (url->nodes_count == REDIS_NODES_MAX)
            return fail(ret_reason, "more than 16 servers of the cluster");
        struct redis_endpoint *node = &url->nodes[url->nodes_count++];
        if (!parse_endpoint(span_cut(&list, ','), SERVER_PORT, node, ret_reason))
            return false;
    }
    return true;
}

static bool parse_sentinels(struct span list, struct redis_url *url, const char **ret_reason)
{
    while (list.ptr) {
        if (url->sentinels_count == REDIS_SENTINELS_MAX)
            return fail(ret_reason, "more than 8 sentinels");
        struct redis_endpoint *sentinel = &url->sentinels[url->sentinels_count++];
        if (!parse_endpoint(span_cut(&list, ','), SENTINEL_PORT, sentinel, ret_reason))
            return false;
    }
    return true;
}

static bool parse_sentinel(struct span rest, struct redis_url *url, const char **ret_reason)
{
    struct span parameters = rest;
    rest = span_cut(&parameters, '?');
    if (!cut_credentials(&rest, url, ret_reason))
        return false;
    struct span name = rest;
    struct span list = span_cut(&name, '/');
    struct span database = name;
    name = span_cut(&database, '/');
    if (name.len == 0 || !text_decode(name, url->primary, sizeof url->primary))
        return fail(ret_reason, "there is no name of the primary after the sentinels, or a bad one");
    if (!parse_sentinels(list, url, ret_reason) || !parse_database(database, url, ret_reason))
        return false;
    while (parameters.ptr && parameters.len > 0)
        if (!parse_sentinel_parameter(span_cut(&parameters, '&'), url, ret_reason))
            return false;
    return !url->sentinel_user[0] || url->sentinel_password[0] ||
           fail(ret_reason, "a user of the sentinels without a password");
}

static bool parse_parameter(struct span parameter, struct redis_url *url, const char **ret_reason)
{
    struct span value = parameter;
    struct span name = span_cut(&value, '=');
    bool decoded = true;
    if (!value.ptr)
        return fail(ret_reason, "a parameter has no value");
    if (span_is(name, "db"))
        return parse_database(value, url, ret_reason);
    if (span_is(name, "user"))
        decoded = text_decode(value, url->user, sizeof url->user);
    else if (span_is(name, "password"))
        decoded = text_decode(value, url->password, sizeof url->password);
    else
        return fail(ret_reason, "only db, user and password may follow '?'");
    return decoded || fail(ret_reason, "user or password is too long or badly percent-encoded");
}

static bool parse_unix(struct span rest, struct redis_url *url, const char **ret_reason)
{
    struct span parameters = rest;
    struct span path = span_cut(&parameters, '?');
    if (path.len < 2 || path.ptr[0] != '/' || !text_decode(path, url->path, sizeof url->path))
        return fail(ret_reason, "the socket's path is not absolute, is too long or badly percent-encoded");
    while (parameters.ptr && parameters.len > 0)
        if (!parse_parameter(span_cut(&parameters, '&'), url, ret_reason))
            return false;
    if (url->user[0] && !url->password[0])
        return fail(ret_reason, "a user without a password");
    return true;
}

bool redis_url_parse(struct span text, struct redis_url *ret, const char **ret_reason)
{
    *ret = (struct redis_url){0};
    if (!text.ptr || text_has_control(text))
        return fail(ret_reason, "the URL is absent or has control characters");
    if (span_starts(text, SPAN("redis://")))
        return parse_tcp((struct span){text.ptr + 8, text.len - 8}, ret, ret_reason);
    if (span_starts(text, SPAN("unix://")))
        return parse_unix((struct span){text.ptr + 7, text.len - 7}, ret, ret_reason);
    if (span_starts(text, SPAN("redis+sentinel://")))
        return parse_sentinel((struct span){text.ptr + 17, text.len - 17}, ret, ret_reason);
    if (span_starts(text, SPAN("redis+cluster://")))
        return parse_cluster((struct span){text.ptr + 16, text.len - 16}, ret, ret_reason);
    return fail(ret_reason,
                "the URL starts with none of redis://, unix://, redis+cluster:// and redis+sentinel://");
}
