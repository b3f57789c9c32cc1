/* SPDX-License-Identifier: Apache-2.0 */
/* What a chaos run prints: numbers, never an id of a user, a code or a token. */
#pragma once

#include <stdio.h>

#include "tests/chaos/judge.h"
#include "tests/chaos/nemesis.h"

void stats_attempts(const struct history *history, FILE *out); /* operations by kind and outcome */
void stats_reads(const struct readings *reads, FILE *out);   /* by kind: how many were answered, and whence */
void stats_faults(const struct nemesis *nemesis, FILE *out); /* how often each struck */
void stats_judgement(const struct judgement *judgement, uint64_t seed, FILE *out);
/* Every attempt, one a line, in the order of the clients. */
void stats_history(const struct history *history, FILE *out);
