/* SPDX-License-Identifier: Apache-2.0 */
/* The maps, the services by them, and walks over what they say. */
#include "tests/lib/two_servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/kit/child.h"
#include "common/base/crypto.h"
#include "events/ids.h"
#include "tests/lib/cluster.h"
#include "tests/lib/pace.h"
#include "tests/lib/store.h"
#include "tests/lib/wait.h"

enum { REQUEST_DEADLINE_MS = 6000, WORDS_MAX = 6 };

struct two two = {.slices_of_server = {"0-7", "8-15"}, .first_of_second = 8};

void two_write_map(const char *name, const char *url_of, bool swapped, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/%s.shards", stack_directory(two.stacks[0]), name);
    FILE *file = fopen(ret, "we");
    assert_non_null(file);
    fprintf(file, "# which server has which slices\n");
    for (int i = 0; i < SERVERS; i++)
        fprintf(file, "%-6s %s\n", two.slices_of_server[i],
                stack_env(two.stacks[swapped ? 1 - i : i], url_of));
    assert_int_equal(fclose(file), 0);
}

void two_write_maps(void)
{
    two_write_map("command", "COMMAND_DATABASE_URL", false, two.command_map);
    two_write_map("query", "QUERY_DATABASE_URL", false, two.query_map);
    two_write_map("projector", "PROJECTOR_DATABASE_URL", false, two.projector_map);
}

int two_server_of(const char *campaign)
{
    return slice_of(span_of(campaign)) >= two.first_of_second;
}

const char *two_fresh_id(int server)
{
    static char ids[4][CAMPAIGN_ID_MAX + 1];
    static unsigned count, next;
    char *id = ids[next++ % COUNT_OF(ids)];
    do
        snprintf(id, CAMPAIGN_ID_MAX + 1, "sale-%u", ++count);
    while (two_server_of(id) != server);
    return id;
}

struct http_answer two_create(const char *id, const char *key)
{
    char body[256];
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"name\":\"Sale\",\"discount\":{\"type\":\"fixed\",\"amount\":500},"
             "\"currency\":\"KRW\",\"quantity\":1000000,\"per_user_limit\":3}",
             id);
    return api_post(&two.api, "/v1/campaigns", body, key);
}

/* A creation needs the slice of its key too, whose committer may have yet to connect again. */
void two_create_in_the_end(const char *id)
{
    char key[64];
    struct http_answer answer;
    snprintf(key, sizeof key, "%s", api_fresh_key());
    WAIT_UNTIL((answer = two_create(id, key)).status != 503, LONG_MS);
    api_expect(answer, 201, NULL);
}

const char *two_created(int server)
{
    const char *id = two_fresh_id(server);
    two_create_in_the_end(id);
    return id;
}

void two_start_command(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[] = {map, NULL};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", two.command_map);
    two.command = instance_start(two.stacks[0], &(struct instance_options){.service = "command-service",
                                                                           .name = "shards",
                                                                           .port_offset = 7,
                                                                           .environment = environment});
    api_close(&two.api);
    two.api = (struct api_client){.stack = two.stacks[0],
                                  .command = http_client_create(instance_url(two.command)),
                                  .query = http_client_create(instance_url(two.query))};
}

void two_start_query(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[] = {map, "FIRSTCOME_CACHE_BYTES=0", NULL};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", two.query_map);
    two.query = instance_start(two.stacks[0], &(struct instance_options){.service = "query-service",
                                                                         .name = "shards",
                                                                         .port_offset = 8,
                                                                         .environment = environment});
}

void two_start_projectors(void)
{
    static char map[PATH_MAX + 16];
    static const char *const environment[SERVERS][3] = {{map, two.which[0], NULL}, {map, two.which[1], NULL}};
    snprintf(map, sizeof map, "SHARDS_FILE=%s", two.projector_map);
    for (int i = 0; i < SERVERS; i++) {
        snprintf(two.which[i], sizeof two.which[i], "FIRSTCOME_SLICES=%s", two.slices_of_server[i]);
        two.projectors[i] =
            instance_start(two.stacks[0], &(struct instance_options){.service = "projector",
                                                                     .name = two.slices_of_server[i],
                                                                     .port_offset = 9 + i,
                                                                     .environment = environment[i]});
    }
}

int two_migrate(const char *map)
{
    return stack_tool(two.stacks[0], (const char *[]){"schema/migrate", "--shards", map, NULL});
}

int two_run_projector(const char *const *words)
{
    char program[PATH_MAX], log[PATH_MAX];
    snprintf(program, sizeof program, "%s/projector", getenv("BIN_DIR"));
    snprintf(log, sizeof log, "%s/log/projector-%s.log", stack_directory(two.stacks[0]), words[0]);
    const char *argv[WORDS_MAX + 6] = {program,       words[0],
                                       "--shards",    two.projector_map,
                                       "--redis-url", stack_env(two.stacks[0], "PROJECTOR_REDIS_URL")};
    for (size_t i = 1; words[i]; i++) {
        assert_true(i < WORDS_MAX);
        argv[5 + i] = words[i];
    }
    const char *const environment[] = {NULL};
    int status = child_wait(
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log}),
        LONG_MS);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void two_end(int server)
{
    cluster_end(two.stacks[server], SIGQUIT);
}

void two_restart(int server)
{
    stack_restart_servers(two.stacks[server]);
}

void two_refused_in_time(const struct http_answer *answer, int64_t from_us)
{
    pace_within(from_us, REQUEST_DEADLINE_MS * US_PER_MS, "an answer that says no");
    if (answer->status != 503 && answer->status != 504)
        fail_msg("status %d: %.*s", answer->status, SPAN_ARG(answer->body));
}

/* The answer that is no 503: the services have the deadlines of operation here, and a machine whose
 * processors are all busy may miss them. */
struct http_answer two_await_answer(const char *path)
{
    struct http_answer answer;
    WAIT_UNTIL((answer = api_get(&two.api, path, NULL)).status != 503, LONG_MS);
    api_expect(answer, 200, NULL);
    return answer;
}

/* The ids in all pages of a list, in order; how many. */
static size_t walk(const char *path, const char *id, struct buf *ids)
{
    char page[1024];
    size_t count = 0;
    snprintf(page, sizeof page, "%s", path);
    for (bool more = true; more;) {
        struct http_answer answer = two_await_answer(page);
        struct json_doc *doc = json_get_doc(answer.body);
        for (size_t i = 0; i < json_get_length(doc, "items"); i++, count++) {
            char at[64];
            snprintf(at, sizeof at, "items.%zu.%s", i, id);
            buf_append_span(ids, json_get_text(doc, at));
            buf_append_char(ids, '\n');
        }
        struct span next;
        more = json_as_text(json_get(doc, "next"), &next);
        if (more)
            snprintf(page, sizeof page, "%s&cursor=%.*s", path, SPAN_ARG(next));
        json_destroy(doc);
    }
    return count;
}

/* The same walk in pages of another size gives the same list: no shard's part is skipped or told twice. */
void two_same_in_any_pages(const char *path, const char *id, size_t expected)
{
    static const int limits[] = {1, 3, 100};
    struct buf first, other;
    char with_limit[512];
    buf_init(&first, 1 << 20);
    buf_init(&other, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct buf *ids = i == 0 ? &first : &other;
        snprintf(with_limit, sizeof with_limit, "%s%climit=%d", path, strchr(path, '?') ? '&' : '?',
                 limits[i]);
        buf_clear(ids);
        assert_int_equal(walk(with_limit, id, ids), expected);
        assert_true(span_equal(buf_span(ids), buf_span(&first)));
    }
    buf_deinit(&first);
    buf_deinit(&other);
}

size_t two_count_in_both(const char *sql)
{
    return (size_t)(store_number(two.stacks[0], sql) + store_number(two.stacks[1], sql));
}

int two_setup(void **state)
{
    (void)state;
    crypto_setup();
    stack_default_deadlines();
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", "6000",
           1); /* who is away refuses after it, so not longer either */
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", "4000", 1);
    for (int i = 0; i < SERVERS; i++)
        two.stacks[i] = stack_start(STACK_SERVERS);
    two.slices_of_server[0] = "0-6", two.slices_of_server[1] = "7-15";
    two_write_map("moved", "DATABASE_URL", false, two.moved_map);
    two.slices_of_server[0] = "0-7", two.slices_of_server[1] = "8-15";
    two_write_map("owner", "DATABASE_URL", false, two.owner_map);
    two_write_maps();
    two_write_map("swapped", "COMMAND_DATABASE_URL", true, two.swapped_map);
    return 0;
}

int two_teardown(void **state)
{
    (void)state;
    api_close(&two.api);
    instance_destroy(two.command);
    instance_destroy(two.query);
    for (int i = 0; i < SERVERS; i++)
        instance_destroy(two.projectors[i]);
    for (int i = 0; i < SERVERS; i++)
        stack_stop(two.stacks[i]);
    return 0;
}
