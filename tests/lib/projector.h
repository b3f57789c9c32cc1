/* SPDX-License-Identifier: Apache-2.0 */
/* The projector as a program, run as a user would with a stack's environment. Whatever fails here fails the
 * test. */
#pragma once

#include <stdio.h>

#include "common/base/bytes.h"
#include "tests/lib/stack.h"

/* `arguments` end with NULL. Standard output and error go to `output`. */
pid_t projector_spawn(struct stack *stack, const char *const *arguments, FILE *output);
/* A value of /metrics of the stack's projector, by the whole name with labels; -1 where there is none. */
int64_t projector_metric(struct stack *stack, const char *name);
int64_t projector_metric_at(const char *url, const char *name); /* of one that serves at this URL */
/* Runs it to its end; returns its exit status, and appends what it wrote to `ret`. */
int projector_run(struct stack *stack, const char *const *arguments, struct buf *ret);
#define PROJECTOR_RUN(stack, ret, ...) projector_run((stack), (const char *[]){__VA_ARGS__, NULL}, (ret))
/* `projector verify` says that the log, the state and the models agree: exit status 0. */
void projector_assert_verify_clean(struct stack *stack);
/* The status of its /readyz; 0 where nobody answers. */
int projector_ready_status(struct stack *stack);
