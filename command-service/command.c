/* SPDX-License-Identifier: Apache-2.0 */
/* Life and death of a command. */
#include "command-service/command.h"

enum { COMMAND_ARENA_MAX = 64 * 1024 + ISSUE_MANY_MAX * sizeof(struct span) };
_Static_assert(sizeof(struct request_id) == REQUEST_KEY_BYTES + 8, "compared as bytes, so no padding");

static const char *const kind_names[] = {
    [COMMAND_CREATE] = "create",         [COMMAND_PAUSE] = "pause",
    [COMMAND_RESUME] = "resume",         [COMMAND_CLOSE] = "close",
    [COMMAND_RELEASE] = "release",       [COMMAND_ISSUE] = "issue",
    [COMMAND_ISSUE_MANY] = "issue many", [COMMAND_SET] = "set",
    [COMMAND_SUSPEND] = "suspend",       [COMMAND_RESUME_ISSUER] = "resume issuer",
};

const char *command_name(enum command_kind kind)
{
    CHECK(kind < COUNT_OF(kind_names));
    return kind_names[kind];
}

bool command_is_control(enum command_kind kind)
{
    return kind == COMMAND_SET || kind == COMMAND_SUSPEND || kind == COMMAND_RESUME_ISSUER;
}

struct command *command_create(enum command_kind kind, struct http_request *request)
{
    struct command *command = mem_zalloc(sizeof *command);
    command->kind = kind;
    command->request = request;
    arena_init(&command->arena, COMMAND_ARENA_MAX);
    return command;
}

void command_destroy(struct command *command)
{
    if (!command)
        return;
    CHECK(!command->request);
    json_destroy(command->doc);
    arena_deinit(&command->arena);
    mem_free(command);
}
