/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a program: tables of what can be set, by flag (--name VALUE or --name=VALUE) or environment
 * (PREFIX_NAME), each with default, unit and range. Flags win over the environment. A bad value is refused by
 * name at start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_kind { CONFIG_INT, CONFIG_STRING, CONFIG_FLAG };

/* CONFIG_INT is stored as int64_t, CONFIG_STRING as const char * (borrowed from argv, the environment or the
 * table, which live as long as the process; never NULL after config_parse), CONFIG_FLAG as bool (the flag
 * alone is true; in the environment and after '=' one of true, false, 1, 0). The environment name is the
 * program's prefix and the flag's name in capitals with '_' for '-'. */
struct config_option {
    const char *name; /* "queue-max" */
    enum config_kind kind;
    size_t offset;        /* into the program's options struct */
    const char *fallback; /* as text; NULL: required (CONFIG_FLAG: false) */
    int64_t min, max;     /* CONFIG_INT: range; CONFIG_STRING: length in bytes */
    const char *unit;     /* "ms", "bytes", "commands"; "" for none */
    const char *help;     /* one line */
};

struct config_program {
    const char *name, *purpose;                /* for --help */
    const char *usage;                         /* what follows the name, e.g. "run|status [--json]" */
    const struct config_option *const *tables; /* NULL-terminated list of tables, each ended by name NULL */
    const char *prefix; /* of environment names, so that PORT is somebody else's; NULL: none */
    /* Options whose environment names have no prefix, ended by NULL; NULL: none. "flag=other": there it is
     * called OTHER. */
    const char *const *plain;
};

/* Fills `options` from argv and environment. `argv` loses the flags it understood; positional arguments and
 * their count come back in place through argc/argv (argv[0] stays). --help prints every option and exits 0;
 * an unknown flag, a bad value and a missing one name themselves on stderr and exit 64 (EX_USAGE). Call once,
 * in main, before threads start. */
void config_parse(const struct config_program *program, int *argc, char **argv, void *options);

/* The pure part, for tests: parses one value; false with a reason, which never repeats the value. */
bool config_set(const struct config_option *option, const char *text, void *options, char *reason,
                size_t reason_size);
