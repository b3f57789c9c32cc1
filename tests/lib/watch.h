/* SPDX-License-Identifier: Apache-2.0 */
/* A reader that goes on reading one campaign while a test breaks things, and writes down what it saw. Reads
 * on a thread of its own; the other functions are the test's thread's. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/api.h"

enum { WATCH_HISTORY_MAX = 4096, WATCH_STALE_MS = 10000, WATCH_BATCH = 200 };

struct watch {
    struct stack *stack; /* borrowed */
    char path[128];
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t mutex;
    struct {
        int64_t at_us, issued; /* issued at least so many from then on */
    } history[WATCH_HISTORY_MAX];
    size_t history_count;
    int64_t most; /* issued at most so many */
    /* What it saw; read after watch_stop. */
    int64_t answers, from_redis, failures, steps_back, untrue, too_old;
    char first_failure[256];
};

/* `issued`: how many coupons the campaign has now. */
void watch_start(struct watch *watch, struct stack *stack, const char *campaign, int64_t issued);
/* Before more are issued: how many there can be then. And when all of that was answered. */
void watch_expect(struct watch *watch, int64_t most);
void watch_answered(struct watch *watch);
/* Both, around batches of WATCH_BATCH coupons to users nobody had before; for a campaign that was empty when
 * the watch began. */
void watch_issue(struct watch *watch, struct api_client *api, int batches);
/* How many answers so far; any time. */
int64_t watch_answers(struct watch *watch);
/* Waits, at most a minute, until another read was answered by Redis. */
void watch_await_redis(struct watch *watch);
/* Stops and asserts: it was answered every time, with 200, in time; with a number of coupons that was true at
 * a moment at most WATCH_STALE_MS before it asked; and, where not `may_step_back`, Redis never with less than
 * before. */
void watch_stop(struct watch *watch, bool may_step_back);
