/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing reads, sending them, recording what comes back. */
#include "tests/chaos/reader.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench/load/http_load.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

enum { READ_MS = 3000, PAUSE_MS = 20, RNG_READER = 5, RECENT_CAMPAIGNS = 6, LIMIT_MAX = 15, BEHIND_MAX = 40 };

struct reader {
    struct readers *readers;
    pthread_t thread;
    uint32_t number, reads_made;
    struct rng rng;
    struct connection connections[CHAOS_QUERIES_MAX];
    struct buf request;
    struct readings reads;
};

struct readers {
    struct readers_options options;
    _Atomic int64_t count;
    atomic_bool stopping;
    struct reader list[CHAOS_CLIENTS_MAX];
};

/* Of a hundred. */
static enum read_kind draw_kind(struct rng *rng)
{
    static const struct {
        enum read_kind kind;
        uint32_t until;
    } weights[] = {
        {READ_CAMPAIGN, 25}, {READ_HOLDERS, 37},   {READ_PLACE, 49}, {READ_COUPON, 61},  {READ_CODE, 65},
        {READ_VALIDITY, 75}, {READ_CAMPAIGNS, 81}, {READ_USER, 88},  {READ_RANKING, 94}, {READ_FEED, 100},
    };
    uint32_t at = rng_below(rng, 100);
    size_t i = 0;
    while (at >= weights[i].until)
        i++;
    return weights[i].kind;
}

/* One of the newest; now and then one that is not there yet. */
static uint32_t draw_campaign(struct rng *rng, uint32_t newest)
{
    uint32_t back = rng_below(rng, RECENT_CAMPAIGNS);
    return rng_percent(rng, 3) ? newest + 1 : back > newest ? newest : newest - back;
}

static void draw_tokens(struct rng *rng, struct read *read, const struct board_reach *reach)
{
    if (!rng_percent(rng, 40))
        return;
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++)
        if (read_kind_of_all_slices(read->kind) || slice == read_slice(read))
            read->tokens[slice] = reach->positions[slice];
}

static struct read draw_read(struct reader *reader, const struct slot *slot)
{
    static const char *const statuses[] = {"active", "paused", "sold_out", "ended"};
    struct rng *rng = &reader->rng;
    struct board_reach reach = board_reach(reader->readers->options.board);
    struct read read = {
        .kind = draw_kind(rng),
        .reader = reader->number,
        .number = reader->reads_made++,
        .campaign = draw_campaign(rng, reach.campaign),
        .user = rng_below(rng, CHAOS_USERS),
        .coupon = slot->coupon,
        .amount = rng_percent(rng, 70) ? rng_between(rng, 0, 12000) : -1,
        .limit = rng_between(rng, 1, LIMIT_MAX),
        .status = rng_percent(rng, 30) ? statuses[rng_below(rng, COUNT_OF(statuses))] : NULL,
        .says_user = rng_percent(rng, 60),
        .redeemed = rng_percent(rng, 40),
    };
    if (read.kind >= READ_COUPON && read.kind <= READ_VALIDITY && slot->coupon.position == 0)
        read.kind = READ_CAMPAIGN; /* there is no coupon in the slot yet */
    if (read.kind == READ_VALIDITY && rng_percent(rng, 80))
        read.user = slot->user;
    if (read.kind == READ_FEED) {
        int16_t slice = (int16_t)rng_below(rng, SLICE_COUNT);
        int64_t back = rng_below(rng, BEHIND_MAX);
        read.coupon.slice = slice;
        read.coupon.position = reach.positions[slice] > back ? reach.positions[slice] - back : 0;
    }
    draw_tokens(rng, &read, &reach);
    return read;
}

static void make_read(struct reader *reader)
{
    const struct readers_options *options = &reader->readers->options;
    struct slot slot = board_slot(options->board, rng_below(&reader->rng, CHAOS_SLOTS));
    struct read read = draw_read(reader, &slot);
    struct http_response response;
    read.service = (uint8_t)rng_below(&reader->rng, options->services);
    struct connection *connection = &reader->connections[read.service];
    buf_clear(&reader->request);
    read_write(&read, slot.code, options->token, &options->targets[read.service], &reader->request);
    read.sent_us = clock_mono_us();
    int64_t deadline_us = read.sent_us + READ_MS * US_PER_MS;
    connection_send(connection, buf_span(&reader->request), deadline_us);
    enum exchange outcome = connection_receive(connection, deadline_us, &response);
    read.done_us = clock_mono_us();
    readings_add(&reader->reads, &read, outcome == EXCHANGE_ANSWERED ? &response : NULL,
                 connection_head(connection));
}

static void *run(void *context)
{
    struct reader *reader = context;
    while (!atomic_load_explicit(&reader->readers->stopping, memory_order_relaxed)) {
        const struct timespec pause = {0, rng_below(&reader->rng, PAUSE_MS) * 1000000};
        make_read(reader);
        atomic_fetch_add_explicit(&reader->readers->count, 1, memory_order_relaxed);
        (void)ppoll(NULL, 0, &pause, NULL);
    }
    return NULL;
}

struct readers *readers_start(const struct readers_options *options)
{
    CHECK(options->readers <= CHAOS_CLIENTS_MAX && options->services <= CHAOS_QUERIES_MAX);
    struct readers *readers = mem_zalloc(sizeof *readers);
    readers->options = *options;
    for (uint32_t i = 0; i < options->readers; i++) {
        struct reader *reader = &readers->list[i];
        reader->readers = readers;
        reader->number = i;
        reader->rng = rng_of(options->seed, RNG_READER, i);
        for (uint32_t service = 0; service < options->services; service++)
            connection_init(&reader->connections[service], &options->targets[service]);
        buf_init(&reader->request, LOAD_REQUEST_MAX);
        readings_init(&reader->reads);
        CHECK(pthread_create(&reader->thread, NULL, run, reader) == 0);
    }
    return readers;
}

int64_t readers_count(const struct readers *readers)
{
    return atomic_load(&readers->count);
}

void readers_stop(struct readers *readers, struct readings *ret)
{
    atomic_store(&readers->stopping, true);
    for (uint32_t i = 0; i < readers->options.readers; i++) {
        CHECK(pthread_join(readers->list[i].thread, NULL) == 0);
        readings_join(ret, &readers->list[i].reads);
    }
}

void readers_destroy(struct readers *readers)
{
    for (uint32_t i = 0; i < readers->options.readers; i++) {
        for (uint32_t service = 0; service < readers->options.services; service++)
            connection_deinit(&readers->list[i].connections[service]);
        buf_deinit(&readers->list[i].request);
        readings_deinit(&readers->list[i].reads);
    }
    mem_free(readers);
}
