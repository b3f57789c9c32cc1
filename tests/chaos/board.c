/* SPDX-License-Identifier: Apache-2.0 */
/* One lock around all of it: it is held for a copy. */
#include "tests/chaos/board.h"

#include <pthread.h>

#include "common/base/mem.h"
#include "common/json.h"

struct board {
    pthread_mutex_t mutex;
    struct slot slots[CHAOS_SLOTS];
    struct board_reach reach;
};

struct board *board_create(void)
{
    struct board *board = mem_zalloc(sizeof *board);
    CHECK(pthread_mutex_init(&board->mutex, NULL) == 0);
    return board;
}

void board_destroy(struct board *board)
{
    pthread_mutex_destroy(&board->mutex);
    mem_free(board);
}

struct slot board_slot(struct board *board, uint32_t number)
{
    pthread_mutex_lock(&board->mutex);
    struct slot slot = board->slots[number];
    pthread_mutex_unlock(&board->mutex);
    return slot;
}

static void read_code(struct span body, char ret[COUPON_CODE_MAX + 1])
{
    struct json_fault fault;
    struct span code;
    struct json_doc *doc = json_parse(body, &fault);
    if (doc && json_as_text(json_member(json_root(doc), "code"), &code) && code.len <= COUPON_CODE_MAX)
        snprintf(ret, COUPON_CODE_MAX + 1, "%.*s", SPAN_ARG(code));
    json_destroy(doc);
}

void board_note(struct board *board, const struct operation *op, struct position token, struct span body)
{
    struct slot fresh = {.coupon = token, .user = op->user};
    if (op->kind == OP_ISSUE)
        read_code(body, fresh.code);
    pthread_mutex_lock(&board->mutex);
    struct slot *slot = &board->slots[op->slot];
    if (op->kind == OP_ISSUE && (op->offers || slot->coupon.position == 0))
        *slot = fresh;
    if (op->kind == OP_RESERVE || op->kind == OP_REDEEM) {
        slot->order = op->order;
        slot->used = true;
    }
    if (token.position > board->reach.positions[token.slice])
        board->reach.positions[token.slice] = token.position;
    if (op->kind == OP_CREATE && op->campaign > board->reach.campaign)
        board->reach.campaign = op->campaign;
    pthread_mutex_unlock(&board->mutex);
}

struct board_reach board_reach(struct board *board)
{
    pthread_mutex_lock(&board->mutex);
    struct board_reach reach = board->reach;
    pthread_mutex_unlock(&board->mutex);
    return reach;
}
