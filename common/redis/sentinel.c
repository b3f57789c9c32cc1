/* SPDX-License-Identifier: Apache-2.0 */
/* The round of the sentinels. */
#include "common/redis/sentinel.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { SENTINEL_MS = 300 };

struct redis_sentinels {
    struct redis_url url;
    size_t first; /* to be asked first */
};

struct redis_sentinels *redis_sentinels_create(const struct redis_url *url)
{
    CHECK(url->sentinels_count >= 1);
    struct redis_sentinels *sentinels = mem_zalloc(sizeof *sentinels);
    sentinels->url = *url;
    return sentinels;
}

void redis_sentinels_destroy(struct redis_sentinels *sentinels)
{
    mem_free(sentinels);
}

void redis_sentinels_doubt(struct redis_sentinels *sentinels)
{
    sentinels->first = (sentinels->first + 1) % sentinels->url.sentinels_count;
}

/* Of what is left until the deadline, one share for this one, one for each of the others and one to connect.
 */
static int64_t share(int64_t deadline_us, size_t left)
{
    int64_t ms = clock_remaining_ms(deadline_us) / ((int64_t)left + 1);
    return clock_deadline_us(ms < SENTINEL_MS ? ms : SENTINEL_MS);
}

static void send_question(struct redis *redis, const char *primary)
{
    struct redis_command command;
    redis_command_init(&command);
    redis_arg_text(&command, "SENTINEL");
    redis_arg_text(&command, "GET-MASTER-ADDR-BY-NAME");
    redis_arg_text(&command, primary);
    redis_send(redis, &command);
    redis_command_deinit(&command);
}

static bool read_answer(const struct redis_reply *reply, struct redis_endpoint *ret)
{
    uint64_t port;
    if (redis_length(reply) != 2 || !parse_u64(redis_text(redis_at(reply, 1)), UINT16_MAX, &port) ||
        port == 0)
        return false;
    struct span host = redis_text(redis_at(reply, 0));
    if (host.len == 0 || host.len >= sizeof ret->host || text_has_control(host))
        return false;
    memcpy(ret->host, host.ptr, host.len);
    ret->host[host.len] = '\0';
    ret->port = (uint16_t)port;
    return true;
}

static enum redis_status ask_one(const struct redis_sentinels *sentinels, size_t which, int64_t deadline_us,
                                 struct redis_endpoint *ret, char *error, size_t error_size)
{
    struct redis_url url = {.server = sentinels->url.sentinels[which]};
    const struct redis_reply *reply = NULL;
    memcpy(url.user, sentinels->url.sentinel_user, sizeof url.user);
    memcpy(url.password, sentinels->url.sentinel_password, sizeof url.password);
    struct redis *redis = redis_create_parsed(&url);
    enum redis_status status = redis_connect_to_any(redis, deadline_us);
    if (status == REDIS_OK) {
        send_question(redis, sentinels->url.primary);
        status = redis_receive(redis, deadline_us, &reply);
    }
    if (status != REDIS_OK) {
        snprintf(error, error_size, "asking a sentinel: %s", redis_error(redis));
    } else if (!read_answer(reply, ret)) {
        snprintf(error, error_size, "asking a sentinel: it knows no primary of that name");
        status = REDIS_LOST;
    }
    redis_destroy(redis);
    return status;
}

enum redis_status redis_sentinels_ask(struct redis_sentinels *sentinels, int64_t deadline_us,
                                      struct redis_endpoint *ret, char *error, size_t error_size)
{
    size_t count = sentinels->url.sentinels_count;
    enum redis_status status = REDIS_LOST;
    for (size_t left = count; left > 0; left--) {
        status = ask_one(sentinels, sentinels->first, share(deadline_us, left), ret, error, error_size);
        if (status == REDIS_OK)
            return status;
        redis_sentinels_doubt(sentinels);
    }
    return status;
}
