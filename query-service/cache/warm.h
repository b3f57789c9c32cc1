/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept in memory before anybody asks: campaigns that open soon, and those somebody named
 * (`projector prewarm`). Hints say which; each is loaded at once and again whenever its entry is not fresh
 * any more, so that the first of the crowd finds it there, current. Bounded: a campaign too many is not kept
 * warm. Any thread. */
#pragma once

#include <pthread.h>

#include "events/codec.h"
#include "query-service/cache/read_through.h"

enum {
    WARM_MAX = 256,
    WARM_LIFE_S = 600, /* after the last hint, which come every minute before an opening */
};

struct warm {
    struct read_through *reads; /* borrowed */
    pthread_mutex_t lock;       /* guards what follows */
    size_t count;
    struct warm_item {
        int64_t until_us; /* monotonic */
        size_t id_len;
        char id[CAMPAIGN_ID_MAX];
    } items[WARM_MAX];
};

void warm_init(struct warm *warm, struct read_through *reads);
void warm_deinit(struct warm *warm);
void warm_note(struct warm *warm, const struct hint *hint);
void warm_tick(struct warm *warm); /* the owner calls it about twice a second; nothing in it waits */
size_t warm_count(struct warm *warm);
