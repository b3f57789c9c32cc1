/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that print "tps = <number>": pgbench with a script, and those that do as it does. The server and
 * the user are in the environment (PGHOST and so on). Failing to run ends the process with status 2. */
#pragma once

#include <stdint.h>

struct pgbench {
    const char *run_dir; /* where the output goes */
    const char *database, *script;
    const char *define, *define_too; /* "name=value", NULL for none */
    const char *options;             /* PGOPTIONS, NULL for none */
    int clients;
    int64_t ms;
};
double pgbench_per_second(const struct pgbench *pgbench);

/* argv NULL-terminated; `ms` is how long it means to take. */
double tps_of(const char *const *argv, const char *options, const char *run_dir, int64_t ms);
