/* SPDX-License-Identifier: Apache-2.0 */
/* The folder that a run of bench leaves behind: figures.jsonl with every round, a drawing for each table, and
 * machine.json, because a figure without its machine says nothing. */
#pragma once

#include "bench/measure/run_bench.h"

/* Writes machine.json and empties figures.jsonl; does nothing without a results-dir. */
void results_begin(const struct bench *bench);
void results_add(const struct bench *bench, const struct figure *figure);
/* Draws what was added since the last table. */
void results_end_table(const struct bench *bench);
