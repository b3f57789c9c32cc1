/* SPDX-License-Identifier: Apache-2.0 */
/* drill: plays one incident against a stack of its own (`make drill-<number>`, all of them `make gameday`).
 * Exit status 0 when all bars of the table were kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/crypto.h"
#include "tests/drills/drill.h"

static void (*const drills[])(void) = {drill_failover, drill_runaway, drill_stampede, drill_exhaustion,
                                       drill_opening};
static void (*drill)(void);
static bool ended;

static void the_bars_are_kept(void **)
{
    drill();
    ended = true;
    if (!drill_end(true))
        fail_msg("a bar was missed, see the table");
}

static int end_of_broken(void **)
{
    if (!ended)
        (void)drill_end(false);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t number;
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(the_bars_are_kept, end_of_broken)};
    if (argc != 2 || !parse_u64(span_of(argv[1]), sizeof drills / sizeof drills[0] - 1, &number)) {
        fprintf(stderr, "usage: drill NUMBER, 0 to %zu: which incident\n",
                sizeof drills / sizeof drills[0] - 1);
        return 64; /* EX_USAGE */
    }
    drill = drills[number];
    crypto_setup();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
