/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server as the two targets that speak to it have it: a few routes, keys "issuer" and "boss" with
 * tokens "issue" and "admin". Started once and never ended. */
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/http/internal.h"

static inline void room_answer(struct http_request *request, void *context)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    uint8_t trace[24];
    (void)context;
    if (!http_query_only(request, known))
        return;
    if (http_trace(request, trace))
        hex_encode(http_reply_body(request), trace, sizeof trace);
    buf_append_span(http_reply_body(request), http_body(request));
    http_reply_as(request, 200, "text/plain");
}

static inline struct keyring *room_keys(void)
{
    static const struct {
        const char *line, *token;
    } keys[] = {{"issuer issue", "issue"}, {"boss admin", "admin"}};
    char path[64], reason[256];
    int fd = memfd_create("keys", MFD_CLOEXEC);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct buf hex;
        uint8_t hash[32];
        buf_init(&hex, 64);
        crypto_sha256(span_of(keys[i].token), hash);
        hex_encode(&hex, hash, sizeof hash);
        dprintf(fd, "%s %s\n", keys[i].line, hex.data);
        buf_deinit(&hex);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct keyring *keyring = keyring_load(path, reason, sizeof reason);
    CHECK(keyring);
    close(fd);
    return keyring;
}

static inline struct http_server *room_server(void)
{
    static struct http_server *server;
    static const struct http_route routes[] = {
        {.method = HTTP_GET, .pattern = "/v1/things", .handler = room_answer},
        {.method = HTTP_GET, .pattern = "/v1/things/{id}", .scopes = AUTH_ADMIN, .handler = room_answer},
        {.method = HTTP_POST, .pattern = "/v1/things", .scopes = AUTH_ISSUE, .handler = room_answer},
        {.method = HTTP_POST, .pattern = "/v1/small", .body_max = 16, .handler = room_answer},
    };
    char reason[256];
    if (!server)
        server = http_server_create(&(struct http_options){.bind_address = "127.0.0.1",
                                                           .threads = 1,
                                                           .connections_max = 64,
                                                           .connections_per_address_max = 64,
                                                           .idle_timeout_s = 1,
                                                           .header_bytes_max = 8192,
                                                           .keyring = room_keys(),
                                                           .routes = routes,
                                                           .routes_count = COUNT_OF(routes)},
                                    reason, sizeof reason);
    CHECK(server);
    return server;
}
