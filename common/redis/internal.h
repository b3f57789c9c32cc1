/* SPDX-License-Identifier: Apache-2.0 */
/* What sentinel.c and cluster.c need of redis.c: connections to one server, whatever it is. For nobody else
 * but tests that talk to a replica. */
#pragma once

#include "common/redis/redis.h"
#include "common/redis/url.h"

struct redis *redis_create_parsed(const struct redis_url *url);
/* redis_connect without looking for other servers or insisting on a primary. */
enum redis_status redis_connect_to_any(struct redis *redis, int64_t deadline_us) MUST_USE;
/* The same in steps that wait for nothing: begin, then go on until *ret_done or not REDIS_OK. */
enum redis_status redis_begin_connect(struct redis *redis) MUST_USE;
enum redis_status redis_go_on_connecting(struct redis *redis, int64_t until_us, bool *ret_done) MUST_USE;
/* A command as it goes over the wire, at the end of `out`, and sending one that was so written. */
void redis_encode(struct buf *out, const struct redis_command *command);
void redis_send_encoded(struct redis *redis, struct span encoded);
/* Writes what the socket takes without waiting. */
enum redis_status redis_flush(struct redis *redis) MUST_USE;
