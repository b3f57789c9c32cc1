/* SPDX-License-Identifier: Apache-2.0 */
/* What tests say to a Redis, in words, and services whose Redis is another than the stack's. Whatever fails
 * here fails the test. One thread at a time. */
#pragma once

#include "tests/lib/api.h"
#include "tests/lib/models.h"

struct redis *redis_kit_create(const char *url);  /* not connected */
struct redis *redis_kit_connect(const char *url); /* within a minute or two */
/* Queues a command; the words end with NULL. */
void redis_kit_send(struct redis *redis, const char *const *words);
#define REDIS_SEND(redis, ...) redis_kit_send((redis), (const char *[]){__VA_ARGS__, NULL})
/* The next reply, which has to be a good one. */
const struct redis_reply *redis_kit_receive(struct redis *redis);
/* One command; the status it came to, and the reply where that is REDIS_OK. */
enum redis_status redis_kit_call(struct redis *redis, const char *const *words,
                                 const struct redis_reply **ret);

/* All three services with the Redis at `url` instead of the stack's, and no copies in memory, so that reads
 * see Redis and PostgreSQL; and the models in it, and a client. `url` is borrowed. */
void redis_kit_services(struct stack *stack, const char *url, struct models *models, struct api_client *api);
/* The models are in another Redis than the stack's. */
void redis_kit_models_at(struct models *models, const char *url);
