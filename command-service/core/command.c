/* SPDX-License-Identifier: Apache-2.0 */
/* Life and death of a command. */
#include "command-service/core/command.h"

enum { COMMAND_ARENA_MAX = 64 * 1024 + ISSUE_MANY_MAX * sizeof(struct span) };
_Static_assert(sizeof(struct request_id) == REQUEST_KEY_BYTES + 8, "compared as bytes, so no padding");

static const struct {
    const char *name;
    enum command_subject subject;
} kinds[COMMAND_KINDS] = {
#define COMMAND_ROW(KIND, name, subject) [COMMAND_##KIND] = {name, SUBJECT_##subject},
    COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
};

void command_change_state(struct command *command, enum command_state state)
{
    static const bool allowed[][COMMAND_ANSWERED + 1] = {
        [COMMAND_NEW] = {[COMMAND_HELD] = true, [COMMAND_QUEUED] = true, [COMMAND_ANSWERED] = true},
        [COMMAND_HELD] = {[COMMAND_NEW] = true},
        [COMMAND_QUEUED] = {[COMMAND_TAKEN] = true},
        [COMMAND_TAKEN] = {[COMMAND_QUEUED] = true, [COMMAND_ANSWERED] = true},
        [COMMAND_ANSWERED] = {false},
    };
    CHECK(allowed[command->state][state]);
    command->state = state;
}

const char *command_name(enum command_kind kind)
{
    CHECK(kind < COMMAND_KINDS);
    return kinds[kind].name;
}

enum command_subject command_subject(enum command_kind kind)
{
    CHECK(kind < COMMAND_KINDS);
    return kinds[kind].subject;
}

bool command_is_solo(enum command_kind kind)
{
    return command_subject(kind) == SUBJECT_HOLDERS || command_subject(kind) == SUBJECT_SLICE;
}

void command_route_creation(struct command *command, int16_t home)
{
    int16_t target = slice_of(command->campaign_id);
    command->slice = home;
    command->claim = (struct claim){.step = target == home ? CLAIM_DIRECT : CLAIM_WANTED, .home = home};
}

void command_forward(struct command *command, const struct claim *claim, int16_t slice)
{
    CHECK(command->kind == COMMAND_CREATE);
    command->claim = *claim;
    command->slice = slice;
}

struct span command_user(const struct command *command)
{
    switch (command->kind) {
    case COMMAND_ISSUE:
        return command->issue.user_id;
    case COMMAND_RESERVE:
    case COMMAND_REDEEM:
        return command->coupon.user_id;
    default:
        return (struct span){NULL, 0};
    }
}

struct command *command_create(enum command_kind kind, struct http_request *request)
{
    struct command *command = mem_zalloc(sizeof *command);
    command->kind = kind;
    command->request = request;
    arena_init(&command->arena, COMMAND_ARENA_MAX);
    if (kind == COMMAND_CREATE)
        command->create = arena_alloc(&command->arena, sizeof *command->create);
    if (kind == COMMAND_CHANGE)
        command->change = arena_alloc(&command->arena, sizeof *command->change);
    return command;
}

void command_forget_source(struct command *command)
{
    if (command->source)
        command->source_destroy(command->source);
    command->source = NULL;
}

void command_destroy(struct command *command)
{
    if (!command)
        return;
    CHECK(!command->request && !command->gather);
    CHECK(command->state != COMMAND_HELD && command->state != COMMAND_QUEUED); /* it is on a list */
    command_forget_source(command);
    arena_deinit(&command->arena);
    mem_free(command);
}
