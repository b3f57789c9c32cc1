/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of verifying models share: models.c talks to Redis and folds the log, compare.c says
 * which keys are read together and what differs. For nobody else. */
#pragma once

#include "common/redis/redis.h"
#include "readmodel/checkpoint.h"
#include "verify/facts.h"
#include "verify/models.h"

/* Keys read in one transaction: bounds how long Redis serves nobody else. */
enum { KEYS_PER_PROBE = 32, FOUND_MAX = 4 * KEYS_PER_PROBE };

/* A key by a copy of its name. Longer ones than ours are cut off. */
struct key_name {
    char text[KEY_TEXT_MAX];
    size_t len;
};

struct found {
    struct key_name key;
    char detail[160];
};

struct verify_models {
    struct redis *redis;
    struct redis_command command;
    struct buf key;
    struct facts facts;
    const struct verify_models_means *means;
    struct model model;
    struct checkpoint root; /* of the last probe */
    int64_t head;
    int64_t keys;              /* compared in this slice */
    enum models_status failed; /* what stopped it; MODELS_OK: nothing did */
    bool moved;                /* gone back, made anew or gone: the attempt is void */
    bool stuck;
    bool connected;                /* once */
    bool waited;                   /* in vain, for models of some slice: not again for each of the others */
    struct found found[FOUND_MAX]; /* by the probe that is going on */
    size_t found_count;
    char error[200];
};

struct key_name key_name_of(struct span text);
struct span key_name_text(const struct key_name *name);

/* Whether to go on: nothing failed, and the models are those that were begun with. */
bool probe_going(const struct verify_models *models);

/* What is compared does not keep still for long enough. */
void probe_give_up(struct verify_models *models, const char *what);

/* A command is probe_command, its arguments to models->command, probe_send; its reply comes by probe_receive,
 * or within a probe by probe_end. probe_key_command takes its key from models->key, which is empty then. */
void probe_command(struct verify_models *models, const char *name);
void probe_key_command(struct verify_models *models, const char *name);
void probe_send(struct verify_models *models);
const struct redis_reply *probe_receive(struct verify_models *models); /* NULL: failed */

/* A probe is a transaction: what is sent between these two is read at one instant, that of the checkpoint. */
void probe_begin(struct verify_models *models);
/* The array of its `count` replies, from index 1, once the facts are of the same instant; NULL when that
 * cannot be. Borrowed until the next command. */
const struct redis_reply *probe_end(struct verify_models *models, size_t count);

/* Notes a difference of this probe (an absent key: of the slice); probe_report reports them. */
void probe_differ(struct verify_models *models, struct span key, const char *format, ...) PRINTF_LIKE(3, 4);
/* What was noted counts only where its generation is still the live one: a former one is being dropped. Asks
 * Redis, so replies are gone after this. */
void probe_report(struct verify_models *models);

/* --- compare.c: everything that this pass follows, and what is there besides --- */
void compare_root(struct verify_models *models);
void compare_campaigns(struct verify_models *models);
void compare_coupons(struct verify_models *models);
void compare_users(struct verify_models *models);
void compare_indexes(struct verify_models *models);
void compare_strangers(struct verify_models *models);
