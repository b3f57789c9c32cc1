/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for most: a sketch of fixed size over routes and campaigns (never users), by SpaceSaving
 * (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT
 * 2005). It never misses what has more than 1/HOT_COUNTERS of the requests. Counts are halved from time to
 * time, so it tells of the last minute, not of the last month. Thread-safe. */
#pragma once

#include "common/base/bytes.h"

enum { HOT_COUNTERS = 64, HOT_NAME_MAX = 96 };

struct hot;

struct hot_item {
    char name[HOT_NAME_MAX + 1]; /* "campaign_coupons summer-sale" */
    uint64_t permille;           /* of the requests counted lately */
};

struct hot *hot_create(void);
void hot_destroy(struct hot *hot); /* accepts NULL */
/* Counts one request; a longer name is cut. */
void hot_count(struct hot *hot, const char *route, struct span campaign_id);
void hot_halve(struct hot *hot); /* the owner calls it in regular intervals */
/* The most frequent, at most `most`, in descending order; returns how many. */
size_t hot_top(struct hot *hot, struct hot_item *ret, size_t most);
