/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of hosts, addresses and ports of a database URL: three lines of the input. */
#include "common/base/mem.h"
#include "common/pg/hosts.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(pg_hosts)
{
    struct pg_hosts hosts;
    char *text = mem_alloc(size + 1), *lists[3] = {NULL}, *at = text;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < COUNT_OF(lists) && at; i++) {
        lists[i] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
    }
    pg_hosts_init(&hosts, lists[0], lists[1], lists[2]);
    CHECK(hosts.count >= 1);
    for (size_t i = 0; i < hosts.count; i++) {
        const struct pg_host *host = pg_hosts_nth(&hosts, i);
        CHECK(host >= hosts.list && host < hosts.list + hosts.count);
        CHECK(pg_hosts_deadline_us(&hosts, i, 1000, 2000) <= 2000);
        (void)pg_hosts_parameter(&hosts, host, "port", lists[2]);
        pg_hosts_prefer(&hosts, i);
    }
    pg_hosts_distrust(&hosts);
    pg_hosts_deinit(&hosts);
    mem_free(text);
    return 0;
}
