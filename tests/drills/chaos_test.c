/* SPDX-License-Identifier: Apache-2.0 */
/* A few seconds of chaos with fixed seeds; `make chaos` does it for as long as one likes. Sanitized builds
 * are slower, so they get less of it. */
#include "tests/chaos/chaos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/crypto.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SECONDS = 4, CLIENTS = 4, SERVICES = 2, SEEDS = 1 };
#else
enum { SECONDS = 5, CLIENTS = 10, SERVICES = 3, SEEDS = 2 };
#endif

static const uint64_t seeds[] = {20, 4};

static void every_promise_is_kept(void **)
{
    for (size_t i = 0; i < SEEDS; i++) {
        struct chaos_options options = {
            .seed = seeds[i], .seconds = SECONDS, .services = SERVICES, .clients = CLIENTS};
        struct chaos_outcome outcome = chaos_run(&options, stdout);
        assert_int_equal(outcome.violations, 0);
        assert_true(outcome.answers > 0 && outcome.faults > 0); /* else it proved nothing */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_promise_is_kept),
    };
    crypto_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
