/* SPDX-License-Identifier: Apache-2.0 */
/* What the clients of a chaos run share with each other and with the readers: coupons that were issued, in a
 * few numbered slots, and how far each slice's log is known to reach. Any thread. */
#pragma once

#include "tests/chaos/op.h"

/* A coupon that somebody was issued, for whoever needs one next, and the order that last used it. */
struct slot {
    struct position coupon; /* position 0: the slot is empty */
    char code[COUPON_CODE_MAX + 1];
    uint32_t user, order;
    bool used;
};

struct board;
struct board *board_create(void);
void board_destroy(struct board *board);

struct slot board_slot(struct board *board, uint32_t number);
/* After the operation was done with that answer: a coupon comes into its slot, or an order used the one in
 * it; and the log reaches the token. */
void board_note(struct board *board, const struct operation *op, struct position token, struct span body);

/* Of each slice the highest position in an answer so far, and the highest number of a campaign. */
struct board_reach {
    int64_t positions[SLICE_COUNT];
    uint32_t campaign;
};
struct board_reach board_reach(struct board *board);
