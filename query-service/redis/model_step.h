/* SPDX-License-Identifier: Apache-2.0 */
/* How one read is done in Redis, as steps of at most two round trips that many reads share. Not for anyone
 * but model_reader.c and the files with the steps. */
#pragma once

#include "query-service/redis/model_pipe.h"

/* A list entry before its campaign is known. */
struct listed {
    int64_t score, reached_at_us; /* created at; or the count, and when it was reached */
    struct span id, record;       /* the record comes with the second round */
    int16_t slice;
};

/* A coupon of a user before its record is known. */
struct held {
    int64_t at_us;
    struct position at;
};

/* One read in the pipeline. Scratch memory is the answer's arena. */
struct model_work {
    struct read *read;
    const struct model_steps *steps;
    const struct model_state *state; /* of the first round; keys were made by the one before */
    const struct model_state *later; /* of the second */
    const struct model_state *asked; /* what keys are made by */
    enum fallback verdict;           /* once set, the rest of the replies is dropped */
    unsigned holes;                  /* bit per slice of which something was lost: the projector is told */
    unsigned more;                   /* bit per slice that the second round is about */
    unsigned one_moment; /* bit per slice of which all of the second round is, or of both (below) */
    size_t expected;     /* replies of this round, about these slices: */
    uint8_t *slices;
    size_t slices_capacity;
    int64_t issued;     /* of the query's campaign */
    int64_t *positions; /* of coupons, ascending */
    size_t positions_count, positions_taken;
    struct listed *listed;
    size_t listed_count, listed_capacity;
    bool windows_full;      /* some slice has more than was asked for */
    struct listed frontier; /* the first of the ends of those windows, in list order */
    uint64_t user_hash;
    uint16_t campaign_tag;
    struct held *held; /* what has the tags, newest first within a slice */
    size_t held_count;
    size_t bucket_bytes[SLICE_COUNT]; /* of the user's buckets, as they were read */
    size_t chunk_first; /* of the answer's coupons: the first of the chunk whose states come next */
    bool chunk_has_states;
};

/* `ask` sends commands, `take` gets their replies in order (never NULL) and says FALLBACK_NONE or why not.
 * What `take` and take_more find lost (FALLBACK_HOLE, FALLBACK_CORRUPT) is of the slice that the reply is
 * about. When all of the first round is in, `choose` says which slices the second is about (NULL: the
 * query's), and ask_more is called; where there are none, that was all. `finish`, where there is one, is
 * called after the last reply; what it finds lost it notes in `holes`. */
struct model_steps {
    void (*ask)(struct model_work *work, struct model_pipe *pipe);
    enum fallback (*take)(struct model_work *work, size_t index, const struct redis_reply *reply);
    unsigned (*choose)(struct model_work *work);
    void (*ask_more)(struct model_work *work, struct model_pipe *pipe);
    enum fallback (*take_more)(struct model_work *work, size_t index, const struct redis_reply *reply);
    enum fallback (*finish)(struct model_work *work);
    bool one_moment; /* both rounds belong together: nothing may happen in their slices meanwhile */
};

extern const struct model_steps model_campaign, model_coupon, model_validity, model_holders;
extern const struct model_steps model_user, model_user_in_campaign;
extern const struct model_steps model_campaigns, model_ranking;

/* The models of a slice in the generation that is being read. */
struct model model_of(const struct model_work *work, int16_t slice);
/* Sends the command that was written, about a slice: one reply of this round. */
void pipe_send(struct model_pipe *pipe, struct model_work *work, int16_t slice);

/* A whole campaign from its record. `listed`: a list of the slice says that it is there. */
void model_ask_campaign(struct model_work *work, struct model_pipe *pipe, struct span id);
enum fallback model_take_campaign(struct model_work *work, struct span id, bool listed,
                                  const struct redis_reply *reply);
/* Whether the query's campaign exists, and how many it has issued: sets work->issued. */
enum fallback model_take_whether_known(struct model_work *work, const struct redis_reply *reply);

/* Coupons of one chunk at ascending positions, in two replies; added to the answer. `issued_at_us`: of one of
 * them, where it is known from elsewhere that they are coupons; 0 where not. */
void model_ask_coupons(struct model_work *work, struct model_pipe *pipe, int16_t slice,
                       const int64_t *positions, size_t count);
enum fallback model_take_chunk(struct model_work *work, int16_t slice, const int64_t *positions, size_t count,
                               int64_t issued_at_us, const struct redis_reply *reply);
enum fallback model_take_states(struct model_work *work, const struct redis_reply *reply);
