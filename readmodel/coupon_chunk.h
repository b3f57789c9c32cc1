/* SPDX-License-Identifier: Apache-2.0 */
/* The CouponIssued of COUPON_CHUNK neighbouring positions of a slice as one string: the value of COUPONS.
 * What neighbours have in common is said once: a campaign's id and prefix the first time it occurs, times and
 * sequences as what they grew by. It only grows at its end; the same events give the same bytes. What
 * happened to the coupons later is in STATES, and the head says whether there is any. Pure.
 *
 *   head: 'c', or 's' once STATES is there; then for each CouponIssued
 *   position % COUPON_CHUNK (1 byte), campaign (1: which one of the chunk's, from 0; a new one is the next),
 *   where it is new: id, prefix, user id (each: length, bytes); then numbers: sequence, nth, recorded at µs,
 *   expires at µs; sequence and expires less the campaign's last, recorded at less the last event's. */
#pragma once

#include "common/base/mem.h"
#include "readmodel/keys.h"

enum { CHUNK_HEAD_PLAIN = 'c', CHUNK_HEAD_STATES = 's' };
/* The longest one, and the longest record in it. */
enum {
    CHUNK_RECORD_MAX = 8 + CAMPAIGN_ID_MAX + CODE_PREFIX_MAX + USER_ID_MAX + 4 * 10,
    CHUNK_BYTES_MAX = 1 + COUPON_CHUNK * CHUNK_RECORD_MAX
};

/* What the next record says less than all of. */
struct chunk_context {
    struct chunk_campaign {
        struct span id, prefix; /* in the chunk's bytes: offset as ptr would move, so see coupon_chunk.c */
        size_t id_at, prefix_at;
        int64_t sequence, expires_at_us;
    } campaigns[COUPON_CHUNK];
    size_t count;
    int64_t at_us;
};

struct chunk_reader {
    struct chunk_context context;
    struct span bytes, rest;
    int16_t slice;
    int64_t first;  /* position that the chunk begins with */
    int64_t before; /* position of the last record */
    bool has_states;
    bool corrupt; /* it ends with something that no writer wrote */
};

/* False where it was lost or is none. `position`: any in it. */
bool chunk_open(struct chunk_reader *reader, struct span bytes, int16_t slice, int64_t position) MUST_USE;
/* The next CouponIssued, without trace and data; texts are borrowed from the bytes. False at the end. */
bool chunk_next(struct chunk_reader *reader, struct event *ret) MUST_USE;

/* A chunk being written. */
struct chunk_writer {
    struct buf bytes; /* from the head on; empty: no coupon yet */
    struct chunk_context context;
    int64_t issued_at_us; /* of its last coupon */
    bool lost;            /* its beginning was: what is added cannot be read */
};
void chunk_writer_init(struct chunk_writer *writer);
void chunk_writer_deinit(struct chunk_writer *writer);
void chunk_writer_begin(struct chunk_writer *writer); /* an empty one */
/* Goes on with one that Redis has, which must be of `len` bytes; where it is not, it is lost. */
void chunk_writer_resume(struct chunk_writer *writer, struct span bytes, size_t len, int16_t slice,
                         int64_t position);
void chunk_writer_add(struct chunk_writer *writer, const struct event *issued);
