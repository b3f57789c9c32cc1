/* SPDX-License-Identifier: Apache-2.0 */
/* Slots, CLUSTER NODES, redirections. */
#include "common/redis/slots.h"

_Static_assert(REDIS_PRIMARIES_MAX < REDIS_NO_OWNER, "an owner is a byte");

/* CRC-16/XMODEM, as the specification of Redis Cluster has it. Keys are short: no table. */
static uint16_t crc16(struct span bytes)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        crc = (uint16_t)(crc ^ (uint16_t)((uint8_t)bytes.ptr[i] << 8));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

uint16_t redis_slot(struct span key)
{
    struct span rest = key;
    (void)span_cut(&rest, '{');
    if (rest.ptr) {
        struct span tag = span_cut(&rest, '}');
        if (rest.ptr && tag.len > 0)
            key = tag;
    }
    return crc16(key) % REDIS_SLOTS;
}

/* --- addresses --- */

static bool copy_host(struct span host, const struct redis_endpoint *said_by, struct redis_endpoint *ret)
{
    if (host.len == 0 || span_is(host, "?")) {
        memcpy(ret->host, said_by->host, sizeof ret->host);
        return true;
    }
    if (host.len >= sizeof ret->host || text_has_control(host) || memchr(host.ptr, ' ', host.len))
        return false;
    memcpy(ret->host, host.ptr, host.len);
    ret->host[host.len] = '\0';
    return true;
}

/* "host:port"; a host may be an IPv6 address without brackets. */
static bool parse_address(struct span text, const struct redis_endpoint *said_by, struct redis_endpoint *ret)
{
    size_t at = text.len;
    uint64_t port;
    while (at > 0 && text.ptr[at - 1] != ':')
        at--;
    if (at == 0 || !parse_u64((struct span){text.ptr + at, text.len - at}, UINT16_MAX, &port) || port == 0)
        return false;
    ret->port = (uint16_t)port;
    return copy_host((struct span){text.ptr, at - 1}, said_by, ret);
}

/* --- CLUSTER NODES --- */

static bool has_flag(struct span flags, const char *flag)
{
    while (flags.ptr)
        if (span_is(span_cut(&flags, ','), flag))
            return true;
    return false;
}

/* "5461-10922" or "42"; what begins with '[' is on its way between two servers and still its former one's. */
static bool take_slots(struct span text, uint8_t owner, struct redis_slot_map *map)
{
    struct span end = text;
    uint64_t first, last;
    if (text.len == 0 || text.ptr[0] == '[')
        return true;
    struct span begin = span_cut(&end, '-');
    if (!parse_u64(begin, REDIS_SLOTS - 1, &first) ||
        !parse_u64(end.ptr ? end : begin, REDIS_SLOTS - 1, &last) || first > last)
        return false;
    for (uint64_t slot = first; slot <= last; slot++)
        map->owners[slot] = owner;
    return true;
}

/* <id> <address@bus[,name]> <flags> <primary> <ping> <pong> <epoch> <link> <slots>... */
static bool take_line(struct span line, const struct redis_endpoint *said_by, struct redis_slot_map *map)
{
    enum { BEFORE_SLOTS = 8 };
    struct span fields[BEFORE_SLOTS];
    for (size_t i = 0; i < BEFORE_SLOTS; i++) {
        if (!line.ptr)
            return false;
        fields[i] = span_cut(&line, ' ');
    }
    if (!line.ptr || line.len == 0 || !has_flag(fields[2], "master"))
        return true; /* a replica, or a primary that has nothing */
    if (map->count == REDIS_PRIMARIES_MAX ||
        !parse_address(span_cut(&fields[1], '@'), said_by, &map->primaries[map->count]))
        return false;
    map->count++;
    while (line.ptr)
        if (!take_slots(span_cut(&line, ' '), (uint8_t)(map->count - 1), map))
            return false;
    return true;
}

bool redis_slot_map_parse(struct span text, const struct redis_endpoint *said_by, struct redis_slot_map *ret)
{
    ret->count = 0;
    memset(ret->owners, REDIS_NO_OWNER, sizeof ret->owners);
    while (text.ptr && text.len > 0) {
        struct span line = span_cut(&text, '\n');
        if (line.len > 0 && !take_line(line, said_by, ret))
            return false;
    }
    return ret->count > 0;
}

/* --- redirections --- */

bool redis_redirection_parse(struct span error, const struct redis_endpoint *said_by,
                             struct redis_redirection *ret)
{
    struct span rest = error;
    struct span verb = span_cut(&rest, ' ');
    uint64_t slot;
    struct redis_redirection parsed = {.ask = span_is(verb, "ASK")};
    if ((!parsed.ask && !span_is(verb, "MOVED")) || !rest.ptr ||
        !parse_u64(span_cut(&rest, ' '), REDIS_SLOTS - 1, &slot) || !rest.ptr ||
        !parse_address(rest, said_by, &parsed.to))
        return false;
    parsed.slot = (uint16_t)slot;
    *ret = parsed;
    return true;
}
