/* SPDX-License-Identifier: Apache-2.0 */
/* Between a service and its Redis or PostgreSQL: passes on, passes on late, or (Redis) answers every command
 * with an error of the test's choice. One thread of its own; the calls are for one other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct proxy;

/* Listens on 127.0.0.1 and connects to another port there. What fails ends the test. */
struct proxy *proxy_start(int listen_port, int target_port);
void proxy_stop(struct proxy *proxy); /* accepts NULL */
/* The URL of a server, with the port it listens on replaced by another. */
void proxy_url(const char *url, int port, int instead, char *ret, size_t size);

/* From now on what comes from the server arrives so much later; 0: at once. */
void proxy_delay(struct proxy *proxy, int64_t delay_ms);
/* From now on every command is answered with this error ("-LOADING ..."), a literal; NULL: passed on.
 * Connections there are are closed. */
void proxy_refuse(struct proxy *proxy, const char *error);
