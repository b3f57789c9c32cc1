/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a Redis. */
#include "common/redis/url.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(redis_url)
{
    static struct redis_url url;
    const char *reason = NULL;
    if (!redis_url_parse(fuzz_text(data, size), &url, &reason)) {
        CHECK(reason && reason[0]);
        return 0;
    }
    CHECK((url.path[0] != 0) + (url.server.host[0] != 0) + (url.sentinels_count > 0) +
              (url.nodes_count > 0) ==
          1);
    CHECK(url.database >= 0 && url.database <= REDIS_DATABASE_MAX);
    CHECK(url.sentinels_count <= REDIS_SENTINELS_MAX && url.nodes_count <= REDIS_NODES_MAX);
    return 0;
}
