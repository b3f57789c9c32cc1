/* SPDX-License-Identifier: Apache-2.0 */
/* What a server of a Redis Cluster says: who has which slots, and where a key is. */
#include "common/redis/slots.h"
#include "tests/fuzz/fuzz.h"

static const struct redis_endpoint said_by = {"10.0.0.9", 7009};

static void check_map(struct span text)
{
    static struct redis_slot_map map;
    if (!redis_slot_map_parse(text, &said_by, &map))
        return;
    CHECK(map.count >= 1 && map.count <= REDIS_PRIMARIES_MAX);
    for (size_t i = 0; i < map.count; i++)
        CHECK(map.primaries[i].port > 0 && map.primaries[i].host[0] != '\0');
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++)
        CHECK(map.owners[slot] < map.count || map.owners[slot] == REDIS_NO_OWNER);
}

FUZZ_TARGET(redis_slots)
{
    struct redis_redirection to;
    struct span text = fuzz_text(data, size);
    CHECK(redis_slot(text) < REDIS_SLOTS);
    if (redis_redirection_parse(text, &said_by, &to))
        CHECK(to.slot < REDIS_SLOTS && to.to.port > 0 && to.to.host[0] != '\0');
    check_map(text);
    return 0;
}
