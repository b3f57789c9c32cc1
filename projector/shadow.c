/* SPDX-License-Identifier: Apache-2.0 */
/* Mutations done to a table. */
#include "projector/shadow.h"

#include <string.h>

#include "common/mem.h"

enum {
    KEYS_FIRST = 1024,
    PART_BITS_MAX = 24, /* a part that small has hardly a key, and what stays is what it is */
    KEY_OVERHEAD = sizeof(struct shadow_key) + 2 * sizeof(struct map_entry) + sizeof(void *) + 64,
    MEMBER_OVERHEAD = sizeof(struct shadow_member) + 2 * sizeof(struct map_entry) + 16,
};

/* --- keys --- */

static void free_members(struct shadow_key *key)
{
    for (size_t i = 0; i < key->members.capacity; i++)
        if (key->members.entries[i].key.ptr)
            mem_free(key->members.entries[i].value);
    map_deinit(&key->members);
}

static size_t size_of(const struct shadow_key *key)
{
    size_t size = KEY_OVERHEAD + key->name.len + key->capacity + key->members.count * MEMBER_OVERHEAD;
    for (size_t i = 0; i < key->members.capacity; i++)
        if (key->members.entries[i].key.ptr)
            size += key->members.entries[i].key.len;
    return size;
}

static void destroy_key(struct shadow *shadow, size_t index)
{
    struct shadow_key *key = shadow->keys[index];
    shadow->keys[index] = NULL;
    shadow->bytes -= size_of(key);
    (void)map_remove(&shadow->by_name, key->name);
    free_members(key);
    mem_free(key->bytes);
    mem_free((char *)key->name.ptr);
    mem_free(key);
}

static void clear(struct shadow *shadow)
{
    for (size_t i = 0; i < shadow->keys_count; i++)
        if (shadow->keys[i])
            destroy_key(shadow, i);
    shadow->keys_count = 0;
    CHECK(shadow->bytes == 0 && shadow->by_name.count == 0);
}

/* What of the name comes after the hash tag. */
static struct span suffix_of(struct span name)
{
    const char *brace = name.ptr ? memchr(name.ptr, '}', name.len) : NULL;
    size_t skip = brace ? (size_t)(brace - name.ptr) + 2 : name.len;
    return skip < name.len ? (struct span){name.ptr + skip, name.len - skip} : (struct span){"", 0};
}

/* Keys of which there is one for so many coupons, and that no mutation looks at but its own. By the registry,
 * so that a new name there is one here. */
static bool is_bulk(struct span name)
{
    static const enum redis_key bulk[] = {KEY_COUPONS, KEY_HOLDERS, KEY_USERS};
    struct span suffix = suffix_of(name);
    for (size_t i = 0; i < COUNT_OF(bulk); i++) {
        struct span pattern = suffix_of(span_of(redis_keys[bulk[i]].pattern));
        const char *variable = memchr(pattern.ptr, '<', pattern.len);
        CHECK(variable != NULL && variable > pattern.ptr);
        if (span_starts(suffix, (struct span){pattern.ptr, (size_t)(variable - pattern.ptr)}))
            return true;
    }
    return false;
}

bool shadow_has(const struct shadow *shadow, struct span name)
{
    return !is_bulk(name) || verify_part_has(&shadow->part, verify_name_of(name, (struct span){0}));
}

const struct shadow_key *shadow_get(const struct shadow *shadow, struct span name)
{
    const struct shadow_key *key = map_get(&shadow->by_name, name);
    return key && key->type == SHADOW_ZSET && key->members.count == 0 ? NULL
                                                                      : key; /* Redis has no empty ones */
}

static struct shadow_key *make_key(struct shadow *shadow, struct span name, enum shadow_type type)
{
    if (shadow->keys_count == shadow->keys_capacity) {
        shadow->keys_capacity = shadow->keys_capacity ? 2 * shadow->keys_capacity : KEYS_FIRST;
        shadow->keys = mem_realloc(shadow->keys, shadow->keys_capacity * sizeof(struct shadow_key *));
    }
    struct shadow_key *key = mem_zalloc(sizeof *key);
    char *copy = mem_alloc(name.len);
    memcpy(copy, name.ptr, name.len);
    key->name = (struct span){copy, name.len};
    key->type = type;
    key->bulk = is_bulk(name);
    map_init(&key->members);
    map_put(&shadow->by_name, key->name, key);
    shadow->keys[shadow->keys_count++] = key;
    shadow->bytes += size_of(key);
    return key;
}

/* The key of a mutation, made where it is not there; NULL where it is none of this part's. */
static struct shadow_key *key_of(struct shadow *shadow, struct span name, enum shadow_type type)
{
    struct shadow_key *key = map_get(&shadow->by_name, name);
    if (key) {
        CHECK(key->type == type);
        return key;
    }
    return shadow_has(shadow, name) ? make_key(shadow, name, type) : NULL;
}

static void unlink_key(struct shadow *shadow, struct span name)
{
    const struct shadow_key *key = map_get(&shadow->by_name, name);
    for (size_t i = shadow->keys_count; key && i-- > 0;)
        if (shadow->keys[i] == key) {
            destroy_key(shadow, i);
            return;
        }
}

/* --- bytes: strings, and the fields of a hash one after the other --- */

static void make_room(struct shadow *shadow, struct shadow_key *key, size_t more)
{
    if (key->len + more <= key->capacity)
        return;
    size_t capacity = key->len + more + (key->len + more) / 4;
    shadow->bytes += capacity - key->capacity;
    key->bytes = mem_realloc(key->bytes, capacity);
    key->capacity = capacity;
}

static void append(struct shadow *shadow, struct shadow_key *key, struct span bytes)
{
    make_room(shadow, key, bytes.len);
    if (bytes.len)
        memcpy(key->bytes + key->len, bytes.ptr, bytes.len);
    key->len += bytes.len;
}

struct field_head {
    uint32_t name_len, value_len;
};

static struct field_head head_at(const struct shadow_key *key, size_t at)
{
    struct field_head head;
    memcpy(&head, key->bytes + at, sizeof head);
    return head;
}

static size_t field_size(struct field_head head)
{
    return sizeof head + head.name_len + head.value_len;
}

/* Where the field is, or key->len. Chunks are small, so looking through one is quick. */
static size_t find_field(const struct shadow_key *key, struct span field)
{
    size_t at = 0;
    while (at < key->len) {
        struct field_head head = head_at(key, at);
        struct span name = {key->bytes + at + sizeof head, head.name_len};
        if (span_equal(name, field))
            return at;
        at += field_size(head);
    }
    return at;
}

struct span shadow_field(const struct shadow_key *key, struct span field)
{
    size_t at = find_field(key, field);
    if (at == key->len)
        return (struct span){NULL, 0};
    struct field_head head = head_at(key, at);
    return (struct span){key->bytes + at + sizeof head + head.name_len, head.value_len};
}

size_t shadow_fields(const struct shadow_key *key)
{
    size_t count = 0;
    for (size_t at = 0; at < key->len; at += field_size(head_at(key, at)))
        count++;
    return count;
}

static void set_field(struct shadow *shadow, struct shadow_key *key, struct span field, struct span value)
{
    size_t at = find_field(key, field);
    struct field_head head = {(uint32_t)field.len, (uint32_t)value.len};
    if (at < key->len) {
        struct field_head former = head_at(key, at);
        if (former.value_len == value.len) {
            memcpy(key->bytes + at + sizeof head + field.len, value.ptr, value.len);
            return;
        }
        size_t size = field_size(former);
        memmove(key->bytes + at, key->bytes + at + size, key->len - at - size);
        key->len -= size;
    }
    append(shadow, key, (struct span){(const char *)&head, sizeof head});
    append(shadow, key, field);
    append(shadow, key, value);
}

/* --- sorted sets --- */

static int64_t number_of(struct span text)
{
    int64_t number;
    CHECK(parse_i64(text, INT64_MIN, INT64_MAX, &number));
    return number;
}

static void remove_member(struct shadow *shadow, struct shadow_key *key, struct span member)
{
    struct shadow_member *former = map_remove(&key->members, member);
    if (former)
        shadow->bytes -= MEMBER_OVERHEAD + former->len;
    mem_free(former);
}

static void add_member(struct shadow *shadow, struct shadow_key *key, struct span score, struct span bytes)
{
    struct shadow_member *member = map_get(&key->members, bytes);
    if (!member) {
        member = mem_alloc(sizeof *member + bytes.len);
        *member = (struct shadow_member){.since = shadow->position, .len = bytes.len};
        memcpy(member->bytes, bytes.ptr, bytes.len);
        map_put(&key->members, (struct span){member->bytes, member->len}, member);
        shadow->bytes += MEMBER_OVERHEAD + bytes.len;
    }
    member->score = number_of(score);
}

/* --- kinds of mutation --- */

static void do_hset(struct shadow *shadow, struct span name, const struct span *args, size_t count)
{
    struct shadow_key *key = key_of(shadow, name, SHADOW_HASH);
    for (size_t i = 0; key && i + 1 < count; i += 2)
        set_field(shadow, key, args[i], args[i + 1]);
}

static void do_zadd(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_ZSET);
    for (size_t i = 0; key && i + 1 < mutation->args_count; i += 2)
        add_member(shadow, key, mutation->args[i], mutation->args[i + 1]);
}

static void add_to_field(struct shadow *shadow, struct shadow_key *key, struct span field, int64_t number)
{
    struct span before = shadow_field(key, field);
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)(number + (before.ptr ? number_of(before) : 0)));
    set_field(shadow, key, field, (struct span){text, (size_t)len});
}

static void do_campaign(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_HASH);
    struct span pos = shadow_field(key, SPAN("pos"));
    CHECK(pos.ptr != NULL); /* an event after a campaign's first finds the campaign */
    if (number_of(pos) >= number_of(mutation->args[0]))
        return;
    if (number_of(mutation->args[1]) != 0)
        add_to_field(shadow, key, SPAN("released"), number_of(mutation->args[1]));
    set_field(shadow, key, SPAN("pos"), mutation->args[0]);
    do_hset(shadow, mutation->key, mutation->args + 2, mutation->args_count - 2);
}

static void do_rank(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *campaign = key_of(shadow, mutation->key, SHADOW_HASH);
    struct shadow_key *ranking = key_of(shadow, mutation->second_key, SHADOW_ZSET);
    struct span former = shadow_field(campaign, SPAN("rank"));
    if (former.ptr)
        remove_member(shadow, ranking, former);
    add_member(shadow, ranking, mutation->args[0], mutation->args[1]);
    set_field(shadow, campaign, SPAN("rank"), mutation->args[1]);
}

/* The string that says which buckets have begun; made before the first event. */
static struct shadow_key *begun_key(struct shadow *shadow)
{
    static const char zeros[USER_BUCKETS];
    buf_clear(&shadow->scratch);
    key_users_begun(&shadow->scratch, shadow->model);
    struct shadow_key *key = key_of(shadow, buf_span(&shadow->scratch), SHADOW_STRING);
    if (key->len == 0) {
        append(shadow, key, (struct span){zeros, sizeof zeros});
        append(shadow, key, SPAN("1"));
    }
    return key;
}

static void do_hold(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *begun = begun_key(shadow);
    int64_t bucket = number_of(mutation->args[0]);
    CHECK(bucket >= 0 && bucket < USER_BUCKETS);
    begun->bytes[bucket] = '1';
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_STRING);
    if (key)
        append(shadow, key, mutation->args[1]);
}

static void do_mutation(struct shadow *shadow, const struct mutation *mutation)
{
    switch (mutation->kind) {
    case MUTATION_CAMPAIGN:
        do_campaign(shadow, mutation);
        break;
    case MUTATION_RANK:
        do_rank(shadow, mutation);
        break;
    case MUTATION_HSET:
        do_hset(shadow, mutation->key, mutation->args, mutation->args_count);
        break;
    case MUTATION_ZADD:
        do_zadd(shadow, mutation);
        break;
    case MUTATION_UNLINK:
        unlink_key(shadow, mutation->key);
        break;
    case MUTATION_HOLD:
        do_hold(shadow, mutation);
        break;
    }
}

/* --- the life of a shadow --- */

void shadow_init(struct shadow *shadow, size_t bytes_max)
{
    *shadow = (struct shadow){.bytes_max = bytes_max};
    map_init(&shadow->by_name);
    projection_init(&shadow->projection);
    buf_init(&shadow->scratch, KEY_TEXT_MAX);
}

void shadow_deinit(struct shadow *shadow)
{
    clear(shadow);
    map_deinit(&shadow->by_name);
    mem_free(shadow->keys);
    projection_deinit(&shadow->projection);
    buf_deinit(&shadow->scratch);
}

static void begin(struct shadow *shadow)
{
    clear(shadow);
    shadow->position = 0;
    projection_begin(&shadow->projection, shadow->model);
}

void shadow_begin(struct shadow *shadow, struct model model)
{
    shadow->model = model;
    shadow->part = (struct verify_part){0};
    shadow->todo_count = 0;
    begin(shadow);
}

bool shadow_again(struct shadow *shadow)
{
    if (shadow->todo_count == 0)
        return false;
    shadow->part = shadow->todo[--shadow->todo_count];
    begin(shadow);
    return true;
}

static void forget_half(struct shadow *shadow)
{
    CHECK(shadow->todo_count < COUNT_OF(shadow->todo)); /* at most one for each bit */
    shadow->todo[shadow->todo_count++] = verify_part_split(&shadow->part, 0);
    for (size_t i = 0; i < shadow->keys_count; i++)
        if (shadow->keys[i] && !shadow_has(shadow, shadow->keys[i]->name))
            destroy_key(shadow, i);
}

/* Whether forgetting would give anything back: what stays in any case may be more than there is room for. */
static bool has_bulk(const struct shadow *shadow)
{
    for (size_t i = 0; i < shadow->keys_count; i++)
        if (shadow->keys[i] && shadow->keys[i]->bulk)
            return true;
    return false;
}

bool shadow_add(struct shadow *shadow, const struct event *event)
{
    return projection_add(&shadow->projection, event);
}

void shadow_apply(struct shadow *shadow)
{
    struct projection *projection = &shadow->projection;
    if (projection->events == 0)
        return;
    projection_end(projection);
    if (shadow->position == 0)
        (void)begun_key(shadow);
    shadow->position = projection->last;
    for (const struct mutation *at = projection->mutations.first; at; at = at->next)
        do_mutation(shadow, at);
    projection_begin(projection, shadow->model);
    while (shadow->bytes > shadow->bytes_max && has_bulk(shadow) && shadow->part.bits < PART_BITS_MAX)
        forget_half(shadow);
}
