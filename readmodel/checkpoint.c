/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints to fields and back. */
#include "readmodel/checkpoint.h"

#define CHECKPOINT_NAME(member, name) name,
static const char *const numbers[] = {CHECKPOINT_NUMBERS(CHECKPOINT_NAME)};
#define CHECKPOINT_COUNT(member, name) +1
enum { OF_READERS = CHECKPOINT_READERS(CHECKPOINT_COUNT) };
static const char chain_name[] = "chain";

static void ask(struct redis_command *command, struct span key, size_t count)
{
    redis_command_reset(command);
    redis_arg_text(command, "HMGET");
    redis_arg(command, key);
    for (size_t i = 0; i < count; i++)
        redis_arg_text(command, numbers[i]);
}

void checkpoint_command(struct redis_command *command, struct span key)
{
    ask(command, key, COUNT_OF(numbers));
    redis_arg_text(command, chain_name);
}

void checkpoint_command_of_readers(struct redis_command *command, struct span key)
{
    ask(command, key, OF_READERS);
}

struct checkpoint checkpoint_from_reply(const struct redis_reply *reply)
{
    struct checkpoint checkpoint = {0};
#define CHECKPOINT_ADDRESS(member, name) &checkpoint.member,
    int64_t *const members[] = {CHECKPOINT_NUMBERS(CHECKPOINT_ADDRESS)};
    size_t length = reply ? redis_length(reply) : 0;
    bool all = length == COUNT_OF(numbers) + 1;
    if (!all && length != OF_READERS)
        return checkpoint;
    for (size_t i = 0; i < length - all; i++)
        if (!parse_i64(redis_text(redis_at(reply, i)), 0, INT64_MAX, members[i]))
            return (struct checkpoint){0};
    if ((all && !hex_decode(redis_text(redis_at(reply, length - 1)), checkpoint.chain, CHAIN_BYTES)) ||
        checkpoint.buckets < 1 || checkpoint.generation < 1 || checkpoint.chain_at > checkpoint.position)
        return (struct checkpoint){0};
    checkpoint.present = true;
    return checkpoint;
}

void checkpoint_args(struct redis_command *command, const struct checkpoint *checkpoint)
{
#define CHECKPOINT_VALUE(member, name) checkpoint->member,
    const int64_t values[] = {CHECKPOINT_NUMBERS(CHECKPOINT_VALUE)};
    struct buf chain;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        redis_arg_text(command, numbers[i]);
        redis_arg_i64(command, values[i]);
    }
    buf_init(&chain, 2 * CHAIN_BYTES);
    hex_encode(&chain, checkpoint->chain, CHAIN_BYTES);
    redis_arg_text(command, chain_name);
    redis_arg(command, buf_span(&chain));
    buf_deinit(&chain);
}

size_t checkpoint_args_count(void)
{
    return 2 * (COUNT_OF(numbers) + 1);
}
