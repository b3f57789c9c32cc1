/* SPDX-License-Identifier: Apache-2.0 */
/* Mutations done to a table. */
#include "verify/shadow.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum {
    SCRATCH_MAX = ACTIVITY_BYTES_MAX + CAMPAIGN_ID_MAX + KEY_TEXT_MAX,
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

bool shadow_is_over(const struct shadow *shadow, const struct shadow_key *key)
{
    return key->expires_at_s && key->expires_at_s <= shadow->now_s;
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

static void set_fields(struct shadow *shadow, struct shadow_key *key, const struct span *args, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2)
        set_field(shadow, key, args[i], args[i + 1]);
}

static void do_hset(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_HASH);
    if (key)
        set_fields(shadow, key, mutation->args, mutation->args_count);
}

/* Whether Redis had dropped the chunk before this depends on when the projector did what is done here, which
 * the log does not say. */
static void do_row(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_HASH);
    if (!key)
        return;
    key->may_lack |= shadow_is_over(shadow, key);
    set_fields(shadow, key, mutation->args, mutation->args_count);
    key->expires_at_s = mutation->expires_at_s;
}

static void do_state(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = map_get(&shadow->by_name, mutation->key);
    if (key && shadow_field(key, mutation->args[0]).ptr)
        set_fields(shadow, key, mutation->args + 1, mutation->args_count - 1);
}

static void do_zadd(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_ZSET);
    for (size_t i = 0; key && i + 1 < mutation->args_count; i += 2)
        add_member(shadow, key, mutation->args[i], mutation->args[i + 1]);
}

static void do_zrem(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = map_get(&shadow->by_name, mutation->key);
    for (size_t i = 0; key && i < mutation->args_count; i++)
        remove_member(shadow, key, mutation->args[i]);
}

/* Only as the projection says it: from the beginning to below a number. Removing an entry may move a later
 * one into its place, which is then looked at. */
static void do_trim(struct shadow *shadow, const struct mutation *mutation)
{
    struct shadow_key *key = map_get(&shadow->by_name, mutation->key);
    struct span to = mutation->args[1];
    CHECK(span_is(mutation->args[0], "-inf") && to.len > 1 && to.ptr[0] == '(');
    int64_t below = number_of((struct span){to.ptr + 1, to.len - 1});
    for (size_t i = 0; key && i < key->members.capacity;) {
        const struct map_entry *entry = &key->members.entries[i];
        const struct shadow_member *member = entry->key.ptr ? entry->value : NULL;
        if (member && member->score < below)
            remove_member(shadow, key, entry->key);
        else
            i++;
    }
}

static void add_to_field(struct shadow *shadow, struct shadow_key *key, struct span field, struct span number)
{
    struct span before = shadow_field(key, field);
    char text[24];
    int len = snprintf(text, sizeof text, "%lld",
                       (long long)(number_of(number) + (before.ptr ? number_of(before) : 0)));
    if (number_of(number) != 0)
        set_field(shadow, key, field, (struct span){text, (size_t)len});
}

static void do_campaign(struct shadow *shadow, const struct mutation *mutation)
{
    static const char *const sums[] = {"released", "redeemed", "reserved"};
    struct shadow_key *key = key_of(shadow, mutation->key, SHADOW_HASH);
    struct span pos = shadow_field(key, SPAN("pos"));
    CHECK(pos.ptr != NULL); /* an event after a campaign's first finds the campaign */
    if (number_of(pos) >= number_of(mutation->args[0]))
        return;
    for (size_t i = 0; i < COUNT_OF(sums); i++)
        add_to_field(shadow, key, span_of(sums[i]), mutation->args[1 + i]);
    set_field(shadow, key, SPAN("pos"), mutation->args[0]);
    set_fields(shadow, key, mutation->args + 1 + COUNT_OF(sums), mutation->args_count - 1 - COUNT_OF(sums));
}

/* The name of one of the campaign's fields about what is counted. */
static struct span counted_field(char room[24], const char *prefix, const struct mutation *mutation)
{
    int len = snprintf(room, 24, "%s%.*s", prefix, SPAN_ARG(mutation->args[RANK_COUNTED]));
    return (struct span){room, (size_t)len};
}

static void do_ranking(struct shadow *shadow, const struct mutation *mutation, struct shadow_key *campaign,
                       struct span count)
{
    char room[24];
    struct shadow_key *ranking = key_of(shadow, mutation->more_keys[0], SHADOW_ZSET);
    struct span field = counted_field(room, "r:", mutation), former = shadow_field(campaign, field);
    if (former.ptr)
        remove_member(shadow, ranking, former);
    if (number_of(count) > 0)
        add_member(shadow, ranking, count, mutation->args[RANK_MEMBER]);
    set_field(shadow, campaign, field, mutation->args[RANK_MEMBER]);
}

/* The campaign's record moves on, and with it its member of ACTIVE, which begins with the record. */
static void do_active(struct shadow *shadow, const struct mutation *mutation, struct shadow_key *campaign,
                      int64_t count)
{
    char room[24];
    struct activity activity = {0};
    struct buf *scratch = &shadow->scratch;
    struct span rest, field = counted_field(room, "a:", mutation), former = shadow_field(campaign, field);
    struct shadow_key *active = key_of(shadow, mutation->more_keys[1], SHADOW_ZSET);
    if (former.ptr) {
        CHECK(activity_read(former, &activity, &rest));
        buf_clear(scratch);
        buf_append_span(scratch, former);
        buf_append_span(scratch, mutation->args[RANK_CAMPAIGN]);
        remove_member(shadow, active, buf_span(scratch));
    }
    int64_t before = count - number_of(mutation->args[RANK_CHANGE]);
    for (size_t i = RANK_MARKS; i + 1 < mutation->args_count; i += 2)
        activity_mark(&activity, number_of(mutation->args[i]) * US_PER_S,
                      before + number_of(mutation->args[i + 1]));
    activity.count = count;
    buf_clear(scratch);
    activity_write(scratch, &activity);
    set_field(shadow, campaign, field, buf_span(scratch));
    buf_append_span(scratch, mutation->args[RANK_CAMPAIGN]);
    CHECK(!scratch->overflow);
    add_member(shadow, active, mutation->args[RANK_REACHED], buf_span(scratch));
}

static void do_rank(struct shadow *shadow, const struct mutation *mutation)
{
    char text[24];
    struct shadow_key *campaign = key_of(shadow, mutation->key, SHADOW_HASH);
    int64_t count = number_of(shadow_field(campaign, mutation->args[RANK_COUNTED]));
    int len = snprintf(text, sizeof text, "%lld", (long long)count);
    do_ranking(shadow, mutation, campaign, (struct span){text, (size_t)len});
    do_active(shadow, mutation, campaign, count);
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

typedef void doer(struct shadow *shadow, const struct mutation *mutation);

static void do_unlink(struct shadow *shadow, const struct mutation *mutation)
{
    unlink_key(shadow, mutation->key);
}

/* No default: a new kind of mutation does not compile until it is here too. */
static doer *doer_of(enum mutation_kind kind)
{
    switch (kind) {
    case MUTATION_CAMPAIGN:
        return do_campaign;
    case MUTATION_RANK:
        return do_rank;
    case MUTATION_HSET:
        return do_hset;
    case MUTATION_ROW:
        return do_row;
    case MUTATION_STATE:
        return do_state;
    case MUTATION_ZADD:
        return do_zadd;
    case MUTATION_ZREM:
        return do_zrem;
    case MUTATION_ZREMRANGEBYSCORE:
        return do_trim;
    case MUTATION_UNLINK:
        return do_unlink;
    case MUTATION_HOLD:
        return do_hold;
    }
    UNREACHABLE("every kind is named above");
}

/* --- the life of a shadow --- */

void shadow_init(struct shadow *shadow, size_t bytes_max)
{
    *shadow = (struct shadow){.bytes_max = bytes_max};
    map_init(&shadow->by_name);
    projection_init(&shadow->projection);
    buf_init(&shadow->scratch, SCRATCH_MAX);
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
        doer_of(at->kind)(shadow, at);
    projection_begin(projection, shadow->model);
    while (shadow->bytes > shadow->bytes_max && has_bulk(shadow) && shadow->part.bits < PART_BITS_MAX)
        forget_half(shadow);
}
