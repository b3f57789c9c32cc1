/* SPDX-License-Identifier: Apache-2.0 */
/* What a chaos run prints: numbers, never an id of a user, a code or a token. */
#pragma once

#include <stdio.h>

#include "tests/chaos/judge.h"
#include "tests/chaos/nemesis.h"

void tally_story(const struct story *story, FILE *out);      /* asks by kind and outcome */
void tally_faults(const struct nemesis *nemesis, FILE *out); /* how often each struck */
void tally_judgement(const struct judgement *judgement, uint64_t seed, FILE *out);
/* Every attempt, one a line, in the order of the clients. */
void tally_history(const struct story *story, FILE *out);
