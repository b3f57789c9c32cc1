/* SPDX-License-Identifier: Apache-2.0 */
/* Which server is tried when, and for how long. */
#include "common/pg/hosts.h"

#include "common/base/testing.h"
#include "common/pg/wire.h"

static void assert_host(const struct pg_hosts *hosts, size_t attempt, const char *name, const char *address,
                        const char *port)
{
    const struct pg_host *host = pg_hosts_nth(hosts, attempt);
    const char *want[] = {name, address, port}, *got[] = {host->name, host->address, host->port};
    for (size_t i = 0; i < 3; i++) {
        if (want[i])
            assert_non_null(got[i]);
        if (want[i])
            assert_string_equal(got[i], want[i]);
        else
            assert_null(got[i]);
    }
}

static void one_host_stays_as_it_is(void **)
{
    struct pg_hosts hosts;
    pg_hosts_init(&hosts, NULL, NULL, NULL);
    assert_int_equal(hosts.count, 1);
    assert_host(&hosts, 0, NULL, NULL, NULL);
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, "db.example", NULL, "5433");
    assert_int_equal(hosts.count, 1);
    assert_host(&hosts, 0, "db.example", NULL, "5433");
    pg_hosts_deinit(&hosts);
}

static void lists_are_cut_in_step(void **)
{
    struct pg_hosts hosts;
    pg_hosts_init(&hosts, "a,b,c", NULL, "1,2,3");
    assert_int_equal(hosts.count, 3);
    assert_host(&hosts, 0, "a", NULL, "1");
    assert_host(&hosts, 2, "c", NULL, "3");
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, "a,b", "10.0.0.1,", "7");
    assert_int_equal(hosts.count, 2);
    assert_host(&hosts, 0, "a", "10.0.0.1", "7");
    assert_host(&hosts, 1, "b", "", "7");
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, NULL, "10.0.0.1,10.0.0.2", NULL);
    assert_int_equal(hosts.count, 2);
    assert_host(&hosts, 1, NULL, "10.0.0.2", NULL);
    pg_hosts_deinit(&hosts);
}

static void lists_out_of_step_are_left_to_libpq(void **)
{
    struct pg_hosts hosts;
    pg_hosts_init(&hosts, "a,b,c", NULL, "1,2");
    assert_int_equal(hosts.count, 1);
    assert_host(&hosts, 0, "a,b,c", NULL, "1,2");
    pg_hosts_deinit(&hosts);
    pg_hosts_init(&hosts, "a", "10.0.0.1,10.0.0.2", NULL);
    assert_int_equal(hosts.count, 1);
    assert_host(&hosts, 0, "a", "10.0.0.1,10.0.0.2", NULL);
    pg_hosts_deinit(&hosts);
}

static void who_answered_is_first_the_next_time(void **)
{
    struct pg_hosts hosts;
    pg_hosts_init(&hosts, "a,b,c", NULL, NULL);
    pg_hosts_prefer(&hosts, 1);
    assert_host(&hosts, 0, "b", NULL, NULL);
    assert_host(&hosts, 1, "c", NULL, NULL);
    assert_host(&hosts, 2, "a", NULL, NULL);
    pg_hosts_prefer(&hosts, 2);
    assert_host(&hosts, 0, "a", NULL, NULL);
    pg_hosts_distrust(&hosts);
    assert_host(&hosts, 0, "b", NULL, NULL);
    assert_host(&hosts, 2, "a", NULL, NULL);
    pg_hosts_deinit(&hosts);
}

static void each_has_its_share_of_what_is_left(void **)
{
    struct pg_hosts hosts;
    pg_hosts_init(&hosts, "a,b,c", NULL, NULL);
    assert_int_equal(pg_hosts_deadline_us(&hosts, 0, 1000, 4000), 2000);
    assert_int_equal(pg_hosts_deadline_us(&hosts, 1, 2000, 4000), 3000); /* the first used all of its share */
    assert_int_equal(pg_hosts_deadline_us(&hosts, 1, 1200, 4000), 2600); /* and here it left something */
    assert_int_equal(pg_hosts_deadline_us(&hosts, 2, 3000, 4000), 4000);
    assert_int_equal(pg_hosts_deadline_us(&hosts, 2, 5000, 4000), 5000); /* past it nobody waits */
    pg_hosts_deinit(&hosts);
}

static void parameters_are_of_the_one_host(void **)
{
    struct pg_hosts hosts;
    struct pg_parameters all = {.count = 0};
    pg_hosts_init(&hosts, "a,b", NULL, "1,2");
    const struct pg_host *second = pg_hosts_nth(&hosts, 1);
    assert_string_equal(pg_hosts_parameter(&hosts, second, "host", "a,b"), "b");
    assert_string_equal(pg_hosts_parameter(&hosts, second, "port", "1,2"), "2");
    assert_null(pg_hosts_parameter(&hosts, second, "hostaddr", NULL));
    assert_string_equal(pg_hosts_parameter(&hosts, second, "user", "me"), "me");
    pg_hosts_deinit(&hosts);
    pg_parameters_put(&all, "host", NULL);
    pg_parameters_put(&all, "port", "2");
    assert_int_equal(all.count, 1);
    assert_string_equal(all.keywords[0], "port");
    assert_null(all.keywords[1]);
}

static void errors_that_end_a_connection(void **)
{
    static const char *const ending[] = {"57P01", "57P02", "57P03", "25006", "0A000", "08006", ""};
    static const char *const refusing[] = {"23505", "55P03", "57014", "53100", "40001", "25P02"};
    for (size_t i = 0; i < COUNT_OF(ending); i++)
        assert_true(pg_error_ends_connection("ERROR", ending[i]));
    for (size_t i = 0; i < COUNT_OF(refusing); i++)
        assert_false(pg_error_ends_connection("ERROR", refusing[i]));
    assert_true(pg_error_ends_connection("FATAL", "53300"));
    assert_true(pg_error_ends_connection("PANIC", "53100"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_host_stays_as_it_is),
        cmocka_unit_test(lists_are_cut_in_step),
        cmocka_unit_test(lists_out_of_step_are_left_to_libpq),
        cmocka_unit_test(who_answered_is_first_the_next_time),
        cmocka_unit_test(each_has_its_share_of_what_is_left),
        cmocka_unit_test(parameters_are_of_the_one_host),
        cmocka_unit_test(errors_that_end_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
