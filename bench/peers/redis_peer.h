/* SPDX-License-Identifier: Apache-2.0 */
/* What people put in front of a sale instead: Redis behind webdis, which speaks HTTP (Debian packages
 * redis-server and webdis), and nginx with an answer in its configuration. Each is a child of this process.
 */
#pragma once

#include <sys/types.h>

#include "bench/load/target.h"

bool peer_has_webdis(void);
bool peer_has_nginx(void);

/* A Redis of its own with an append-only file, on that port. `appendfsync`: "always" or "everysec". Waits
 * until it accepts connections. */
pid_t peer_redis(const char *run_dir, int port, const char *appendfsync);

/* webdis on `port` before the Redis at redis_port (password "" for none). Does not wait. */
struct peer_webdis {
    const char *run_dir, *redis_password;
    int port, redis_port;
};
pid_t peer_webdis(const struct peer_webdis *webdis);

/* The rule as a script: once per user, as long as there is stock. Loads it and writes the command that issues
 * to the user in whose place `user` stands, as webdis takes it in a body. */
void peer_script(int redis_port, const char *campaign, const char *user, int64_t quantity, char *ret,
                 size_t ret_size);

/* nginx that answers every request with this body and as many headers as the query service sends. */
pid_t peer_nginx(const char *run_dir, int port, struct span body);
