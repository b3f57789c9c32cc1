/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering, sorting and sending. */
#include "projector/rebuild/bulk_writer.h"

#include <stdlib.h>

#include "readmodel/coupon_state.h"

enum {
    HOLDINGS_MAX = 1 << 19, /* entries: 10 MB, and as much to sort them */
    STATES_MAX = 128 * 1024,
    STATES_BYTES_MAX = 12 * 1024 * 1024,
    STATE_BYTES_MAX = 300,
    AT_ONCE = 64, /* buckets in one MSET */
    PENDING_MAX = 20000,
};

static void take_command(void *context, const struct redis_command *command);
static void take_holding(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES]);
static void take_state(void *context, int64_t position, struct span record);
static void take_complete(void *context, int64_t position, int64_t expires_at_s);

void bulk_init(struct bulk_writer *bulk)
{
    *bulk = (struct bulk_writer){
        .sink = {bulk, take_command, take_holding, take_state, take_complete},
        .holdings = mem_alloc((size_t)HOLDINGS_MAX * HOLDING_BYTES),
        .sorted = mem_alloc((size_t)HOLDINGS_MAX * HOLDING_BYTES),
        .index = mem_alloc(STATES_MAX * sizeof *bulk->index),
    };
    redis_command_init(&bulk->command);
    buf_init(&bulk->key, KEY_TEXT_MAX);
    buf_init(&bulk->states, STATES_BYTES_MAX);
}

void bulk_deinit(struct bulk_writer *bulk)
{
    mem_free(bulk->holdings);
    mem_free(bulk->sorted);
    mem_free(bulk->index);
    mem_free(bulk->chunks);
    redis_command_deinit(&bulk->command);
    buf_deinit(&bulk->key);
    buf_deinit(&bulk->states);
}

void bulk_begin(struct bulk_writer *bulk, struct redis *redis, struct model model, int64_t expected,
                int64_t now_s)
{
    bulk->now_s = now_s;
    bulk->redis = redis;
    bulk->model = model;
    bulk->expected = expected;
    bulk->sent = bulk->due = bulk->holdings_count = bulk->states_count = bulk->chunks_count = 0;
    bulk->buckets = 0;
    bulk->failure = REDIS_OK;
    buf_clear(&bulk->states);
}

/* --- the pipeline --- */

static void receive_down_to(struct bulk_writer *bulk, size_t pending, int64_t deadline_us)
{
    const struct redis_reply *reply;
    while (bulk->sent > pending && bulk->failure != REDIS_LOST) {
        enum redis_status status = redis_receive(bulk->redis, deadline_us, &reply);
        bulk->sent--;
        if (bulk->failure == REDIS_OK || status == REDIS_LOST)
            bulk->failure = status;
    }
}

static void send(struct bulk_writer *bulk, const struct redis_command *command)
{
    if (bulk->failure != REDIS_OK)
        return;
    redis_send(bulk->redis, command);
    bulk->sent++;
}

static struct redis_command *begin(struct bulk_writer *bulk, const char *verb)
{
    redis_command_reset(&bulk->command);
    redis_arg_text(&bulk->command, verb);
    return &bulk->command;
}

static void add_key(struct bulk_writer *bulk, void (*write)(struct buf *, struct model, int64_t), int64_t n)
{
    buf_clear(&bulk->key);
    write(&bulk->key, bulk->model, n);
    redis_arg(&bulk->command, buf_span(&bulk->key));
}

/* --- who holds what --- */

/* Once the number of buckets is fixed it stays: they are then few enough, and following the log adds more. */
static void choose_buckets(struct bulk_writer *bulk, bool last)
{
    if (bulk->buckets == 0)
        bulk->buckets = users_buckets(last ? (int64_t)bulk->holdings_count : bulk->expected);
}

static int64_t bucket_of(const struct bulk_writer *bulk, size_t holding)
{
    struct holding is = holding_read(bulk->holdings + holding * HOLDING_BYTES);
    return users_bucket(is.user, bulk->buckets);
}

/* Entries in order of bucket, and within one in log order; starts[bucket] is the first. */
static uint32_t *sort_holdings(struct bulk_writer *bulk)
{
    size_t buckets = (size_t)bulk->buckets, count = bulk->holdings_count;
    uint32_t *starts = mem_zalloc((buckets + 2) * sizeof *starts);
    for (size_t i = 0; i < count; i++)
        starts[bucket_of(bulk, i) + 2]++;
    for (size_t i = 2; i < buckets + 2; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < count; i++) {
        size_t to = starts[bucket_of(bulk, i) + 1]++;
        memcpy(bulk->sorted + to * HOLDING_BYTES, bulk->holdings + i * HOLDING_BYTES, HOLDING_BYTES);
    }
    return starts;
}

static void add_entries(struct bulk_writer *bulk, const char *mark, const uint32_t *starts, int64_t bucket,
                        struct buf *value)
{
    buf_clear(value);
    buf_append_text(value, mark);
    buf_append(value, bulk->sorted + (size_t)starts[bucket] * HOLDING_BYTES,
               (size_t)(starts[bucket + 1] - starts[bucket]) * HOLDING_BYTES);
    CHECK(!value->overflow);
    add_key(bulk, key_users, bucket);
    redis_arg(&bulk->command, buf_span(value));
}

static void write_new_buckets(struct bulk_writer *bulk, const uint32_t *starts, struct buf *value,
                              int64_t deadline_us)
{
    for (int64_t bucket = 0; bucket < bulk->buckets;) {
        begin(bulk, "MSET");
        for (int i = 0; i < AT_ONCE && bucket < bulk->buckets; i++)
            add_entries(bulk, USERS_MARK, starts, bucket++, value);
        send(bulk, &bulk->command);
        receive_down_to(bulk, 2 * AT_ONCE, deadline_us);
    }
}

static void add_to_buckets(struct bulk_writer *bulk, const uint32_t *starts, struct buf *value,
                           int64_t deadline_us)
{
    for (int64_t bucket = 0; bucket < bulk->buckets; bucket++) {
        if (starts[bucket + 1] == starts[bucket])
            continue;
        begin(bulk, "APPEND");
        add_entries(bulk, "", starts, bucket, value);
        send(bulk, &bulk->command);
        receive_down_to(bulk, PENDING_MAX, deadline_us);
    }
}

static void flush_holdings(struct bulk_writer *bulk, bool last, int64_t deadline_us)
{
    struct buf value;
    bool begun = bulk->buckets > 0;
    choose_buckets(bulk, last);
    uint32_t *starts = sort_holdings(bulk);
    buf_init(&value, 1 + (size_t)HOLDINGS_MAX * HOLDING_BYTES);
    if (begun)
        add_to_buckets(bulk, starts, &value, deadline_us);
    else
        write_new_buckets(bulk, starts, &value, deadline_us);
    buf_deinit(&value);
    mem_free(starts);
    bulk->holdings_count = 0;
}

/* --- what happened to coupons --- */

static struct bulk_chunk *chunk_of(struct bulk_writer *bulk, int64_t position)
{
    size_t chunk = (size_t)(position / COUPON_CHUNK);
    if (chunk >= bulk->chunks_capacity) {
        bulk->chunks_capacity = 2 * chunk + 1024;
        bulk->chunks = mem_realloc(bulk->chunks, bulk->chunks_capacity * sizeof *bulk->chunks);
    }
    while (bulk->chunks_count <= chunk)
        bulk->chunks[bulk->chunks_count++] = (struct bulk_chunk){0};
    return &bulk->chunks[chunk];
}

static int compare_states(const void *a, const void *b)
{
    const struct bulk_state *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static void begin_states(struct bulk_writer *bulk, int64_t position, bool anew)
{
    if (anew) {
        begin(bulk, "SETRANGE");
        add_key(bulk, key_coupons, position);
        redis_arg_i64(&bulk->command, 0);
        redis_arg(&bulk->command, (struct span){(const char[]){CHUNK_HEAD_STATES}, 1});
        send(bulk, &bulk->command);
    }
    begin(bulk, "HSET");
    add_key(bulk, key_states, position);
    if (anew) {
        redis_arg(&bulk->command, STATES_MARK);
        redis_arg(&bulk->command, STATES_MARK);
    }
}

static size_t next_chunk(const struct bulk_writer *bulk, size_t first)
{
    size_t i = first;
    while (i < bulk->states_count &&
           bulk->index[i].position / COUPON_CHUNK == bulk->index[first].position / COUPON_CHUNK)
        i++;
    return i;
}

static void expire_states(struct bulk_writer *bulk, int64_t position, int64_t expires_s)
{
    begin(bulk, "EXPIREAT");
    add_key(bulk, key_states, position);
    redis_arg_i64(&bulk->command, expires_s);
    send(bulk, &bulk->command);
}

/* The states of one chunk's coupons, from `first` on; returns the state after them. The last of a coupon is
 * its state. */
static size_t write_chunk_states(struct bulk_writer *bulk, size_t first)
{
    const struct bulk_state *index = bulk->index;
    struct bulk_chunk *chunk = chunk_of(bulk, index[first].position);
    size_t end = next_chunk(bulk, first);
    if (chunk->expires_s && chunk->expires_s <= bulk->now_s)
        return end; /* the coupons are gone, and a state would be of nobody's */
    begin_states(bulk, index[first].position, !chunk->has_states);
    chunk->has_states = true;
    for (size_t i = first; i < end; i++) {
        if (i + 1 < end && index[i + 1].position == index[i].position)
            continue;
        redis_arg_i64(&bulk->command, index[i].position % COUPON_CHUNK);
        redis_arg(&bulk->command, (struct span){bulk->states.data + index[i].at, index[i].len});
    }
    send(bulk, &bulk->command);
    if (chunk->expires_s)
        expire_states(bulk, index[first].position, chunk->expires_s);
    return end;
}

static void flush_states(struct bulk_writer *bulk, int64_t deadline_us)
{
    if (bulk->states_count > 1)
        qsort(bulk->index, bulk->states_count, sizeof *bulk->index, compare_states);
    for (size_t i = 0; i < bulk->states_count;) {
        i = write_chunk_states(bulk, i);
        receive_down_to(bulk, PENDING_MAX, deadline_us);
    }
    bulk->states_count = 0;
    buf_clear(&bulk->states);
}

/* --- what a fold hands over --- */

static void take_command(void *context, const struct redis_command *command)
{
    send(context, command);
}

static void take_holding(void *context, uint64_t user_hash, const char entry[HOLDING_BYTES])
{
    struct bulk_writer *bulk = context;
    (void)user_hash; /* the entry has as much of it as is needed */
    CHECK(bulk->holdings_count < HOLDINGS_MAX);
    memcpy(bulk->holdings + bulk->holdings_count++ * HOLDING_BYTES, entry, HOLDING_BYTES);
}

static void take_state(void *context, int64_t position, struct span record)
{
    struct bulk_writer *bulk = context;
    CHECK(bulk->states_count < STATES_MAX && record.len <= STATE_BYTES_MAX);
    bulk->index[bulk->states_count++] =
        (struct bulk_state){position, (uint32_t)bulk->states.len, (uint32_t)record.len};
    buf_append_span(&bulk->states, record);
    CHECK(!bulk->states.overflow);
}

static void take_complete(void *context, int64_t position, int64_t expires_at_s)
{
    chunk_of(context, position)->expires_s = expires_at_s;
}

/* --- turns --- */

/* Room for another page. */
bool bulk_turn(struct bulk_writer *bulk, int64_t deadline_us)
{
    size_t before = bulk->sent;
    receive_down_to(bulk, before - (bulk->due < before ? bulk->due : before), deadline_us);
    bulk->due = bulk->sent;
    if (bulk->holdings_count + BULK_PAGE_MAX > HOLDINGS_MAX)
        flush_holdings(bulk, false, deadline_us);
    if (bulk->states_count + BULK_PAGE_MAX > STATES_MAX ||
        bulk->states.len + BULK_PAGE_MAX * STATE_BYTES_MAX > STATES_BYTES_MAX)
        flush_states(bulk, deadline_us);
    return bulk->failure == REDIS_OK;
}

bool bulk_settle(struct bulk_writer *bulk, int64_t deadline_us)
{
    receive_down_to(bulk, 0, deadline_us);
    bulk->due = 0;
    return bulk->failure == REDIS_OK;
}

bool bulk_end(struct bulk_writer *bulk, struct checkpoint *checkpoint, int64_t deadline_us)
{
    flush_holdings(bulk, true, deadline_us);
    flush_states(bulk, deadline_us);
    checkpoint->buckets = bulk->buckets;
    begin(bulk, "HSET");
    buf_clear(&bulk->key);
    key_checkpoint(&bulk->key, bulk->model);
    redis_arg(&bulk->command, buf_span(&bulk->key));
    checkpoint_args(&bulk->command, checkpoint);
    receive_down_to(bulk, 0, deadline_us);
    send(bulk, &bulk->command);
    receive_down_to(bulk, 0, deadline_us);
    return bulk->failure == REDIS_OK;
}
