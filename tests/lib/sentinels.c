/* SPDX-License-Identifier: Apache-2.0 */
/* Five or six Redis processes: configuration, life, questions. */
#include "tests/lib/sentinels.h"

#include "tests/lib/wait.h"

enum { PORT_OFFSET = 8, READY_MS = 60000 };

#define SERVER_PASSWORD   "server"
#define SENTINEL_PASSWORD "watch"
#define PRIMARY           "first come"

static int port_of(const struct sentinels *sentinels, enum sentinels_process process)
{
    return stack_port_base(sentinels->stack) + PORT_OFFSET + (int)process;
}

static bool is_server(enum sentinels_process process)
{
    return process < SENTINELS_WATCH_1;
}

static bool is_wanted(const struct sentinels *sentinels, enum sentinels_process process)
{
    return !is_server(process) || (int)process <= (int)SENTINELS_REDIS_1 + sentinels->replicas;
}

/* --- configuration --- */

static void write_server(const struct sentinels *sentinels, FILE *file, enum sentinels_process process)
{
    fprintf(file, "requirepass " SERVER_PASSWORD "\nmasterauth " SERVER_PASSWORD "\nsave \"\"\n"
                  "repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 64mb\n");
    if (process != SENTINELS_REDIS_1)
        fprintf(file, "replicaof 127.0.0.1 %d\n", port_of(sentinels, SENTINELS_REDIS_1));
}

static void write_sentinel(const struct sentinels *sentinels, FILE *file)
{
    fprintf(file,
            "requirepass " SENTINEL_PASSWORD "\nsentinel sentinel-pass " SENTINEL_PASSWORD "\n"
            "sentinel monitor \"" PRIMARY "\" 127.0.0.1 %d 2\n"
            "sentinel auth-pass \"" PRIMARY "\" " SERVER_PASSWORD "\n"
            "sentinel down-after-milliseconds \"" PRIMARY "\" %d\n"
            "sentinel failover-timeout \"" PRIMARY "\" 5000\n",
            port_of(sentinels, SENTINELS_REDIS_1), sentinels->dead_after_ms);
}

static void begin(struct sentinels *sentinels, enum sentinels_process process)
{
    struct redis_server *server = &sentinels->servers[process];
    char name[32], config[1024] = "";
    FILE *file = fmemopen(config, sizeof config, "w");
    assert_non_null(file);
    if (is_server(process))
        write_server(sentinels, file, process);
    else
        write_sentinel(sentinels, file);
    assert_int_equal(fclose(file), 0);
    snprintf(name, sizeof name, "sentinels-%d", (int)process);
    server->sentinel = !is_server(process);
    snprintf(server->url.password, sizeof server->url.password, "%s",
             is_server(process) ? SERVER_PASSWORD : SENTINEL_PASSWORD);
    redis_server_start(server, sentinels->stack, name, port_of(sentinels, process), config);
}

/* --- life --- */

void sentinels_signal(const struct sentinels *sentinels, enum sentinels_process process, int signal_number)
{
    redis_server_signal(&sentinels->servers[process], signal_number);
}

void sentinels_kill(struct sentinels *sentinels, enum sentinels_process process)
{
    redis_server_kill(&sentinels->servers[process]);
}

/* All of them, which it says among much else of the primary. */
static bool knows_replicas(const struct sentinels *sentinels, enum sentinels_process process)
{
    char text[8192], wanted[32];
    snprintf(wanted, sizeof wanted, "slaves=%d,sentinels=3", sentinels->replicas);
    return SENTINELS_CALL(sentinels, process, text, "INFO", "sentinel") == REDIS_OK && strstr(text, wanted);
}

static bool sentinel_ready(const struct sentinels *sentinels, enum sentinels_process process)
{
    char quorum[128];
    return SENTINELS_CALL(sentinels, process, quorum, "SENTINEL", "CKQUORUM", PRIMARY) == REDIS_OK &&
           strncmp(quorum, "OK 3 usable", 11) == 0 && knows_replicas(sentinels, process);
}

static void await_ready(const struct sentinels *sentinels)
{
    char link[128], replicas[8];
    snprintf(replicas, sizeof replicas, "%d", sentinels->replicas);
    WAIT_UNTIL(SENTINELS_CALL(sentinels, SENTINELS_REDIS_2, link, "ROLE") == REDIS_OK, READY_MS);
    WAIT_UNTIL(SENTINELS_CALL(sentinels, SENTINELS_REDIS_1, link, "WAIT", replicas, "1000") == REDIS_OK &&
                   strcmp(link, replicas) == 0,
               READY_MS);
    for (int process = SENTINELS_WATCH_1; process <= SENTINELS_WATCH_3; process++)
        WAIT_UNTIL(sentinel_ready(sentinels, (enum sentinels_process)process), READY_MS);
}

void sentinels_start(struct sentinels *sentinels, struct stack *stack, int replicas, int dead_after_ms)
{
    *sentinels = (struct sentinels){.stack = stack, .replicas = replicas, .dead_after_ms = dead_after_ms};
    snprintf(sentinels->url, sizeof sentinels->url,
             "redis+sentinel://:" SERVER_PASSWORD "@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/first%%20come"
             "?sentinel_password=" SENTINEL_PASSWORD,
             port_of(sentinels, SENTINELS_WATCH_1), port_of(sentinels, SENTINELS_WATCH_2),
             port_of(sentinels, SENTINELS_WATCH_3));
    for (int process = 0; process < SENTINELS_PROCESSES; process++) {
        if (!is_wanted(sentinels, (enum sentinels_process)process))
            continue;
        begin(sentinels, (enum sentinels_process)process);
    }
    await_ready(sentinels);
}

void sentinels_stop(struct sentinels *sentinels)
{
    for (int process = SENTINELS_PROCESSES - 1; process >= 0; process--)
        if (sentinels->servers[process].pid > 0)
            sentinels_kill(sentinels, (enum sentinels_process)process);
}

const char *sentinels_url(const struct sentinels *sentinels)
{
    return sentinels->url;
}

/* --- questions --- */

enum redis_status sentinels_call(const struct sentinels *sentinels, enum sentinels_process process,
                                 const char *const *words, char *ret_text, size_t size)
{
    return redis_server_call(&sentinels->servers[process], words, ret_text, size);
}

const char *sentinels_role(const struct sentinels *sentinels, enum sentinels_process process)
{
    static char role[32];
    (void)SENTINELS_CALL(sentinels, process, role, "ROLE");
    return role;
}

bool sentinels_agree(const struct sentinels *sentinels, enum sentinels_process primary)
{
    char text[8192], wanted[64];
    snprintf(wanted, sizeof wanted, "status=ok,address=127.0.0.1:%d,", port_of(sentinels, primary));
    for (int process = SENTINELS_WATCH_1; process <= SENTINELS_WATCH_3; process++)
        if (SENTINELS_CALL(sentinels, (enum sentinels_process)process, text, "INFO", "sentinel") !=
                REDIS_OK ||
            !strstr(text, wanted))
            return false;
    return true;
}
