/* SPDX-License-Identifier: Apache-2.0 */
/* Starting Redis, webdis and nginx. */
#include "bench/peers/redis_peer.h"

#include <poll.h>
#include <unistd.h>

#include "bench/kit/child.h"
#include "common/base/clock.h"
#include "common/redis/redis.h"

enum { PATH_BYTES = 4096, PATIENCE_MS = 30000 };

static const char webdis_path[] = "/usr/bin/webdis", nginx_path[] = "/usr/sbin/nginx";

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(2);
}

bool peer_has_webdis(void)
{
    return access(webdis_path, X_OK) == 0;
}

bool peer_has_nginx(void)
{
    return access(nginx_path, X_OK) == 0;
}

/* --- Redis --- */

static struct redis *connected(int port)
{
    char url[64], reason[128];
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", port);
    struct redis *redis = redis_create(url, reason, sizeof reason);
    if (!redis)
        give_up(url, reason);
    while (redis_connect(redis, deadline_us) != REDIS_OK) {
        if (clock_remaining_ms(deadline_us) == 0)
            give_up("redis-server", redis_error(redis));
        (void)poll(NULL, 0, 20);
    }
    return redis;
}

pid_t peer_redis(const char *run_dir, int port, const char *appendfsync)
{
    static unsigned starts; /* each has files of its own */
    char port_text[16], log[PATH_BYTES], files[32];
    snprintf(port_text, sizeof port_text, "%d", port);
    snprintf(log, sizeof log, "%s/log/peer-redis.log", run_dir);
    snprintf(files, sizeof files, "peer-aof-%u", ++starts);
    const char *argv[] = {"/usr/bin/redis-server",
                          "--bind",
                          "127.0.0.1",
                          "--port",
                          port_text,
                          "--dir",
                          run_dir,
                          "--save",
                          "",
                          "--appendonly",
                          "yes",
                          "--appendfsync",
                          appendfsync,
                          "--appenddirname",
                          files,
                          NULL};
    const char *environment[] = {NULL};
    pid_t pid =
        child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
    redis_destroy(connected(port));
    return pid;
}

static const char script[] = "if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -1 end "
                             "if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[2]) then "
                             "return 0 end "
                             "redis.call('SADD', KEYS[2], ARGV[1]) "
                             "return redis.call('INCR', KEYS[1])";

void peer_script(int redis_port, const char *campaign, const char *user, int64_t quantity, char *ret,
                 size_t ret_size)
{
    struct redis *redis = connected(redis_port);
    struct redis_command command;
    const struct redis_reply *reply;
    redis_command_init(&command);
    redis_arg_text(&command, "SCRIPT");
    redis_arg_text(&command, "LOAD");
    redis_arg_text(&command, script);
    if (redis_call(redis, &command, clock_deadline_us(PATIENCE_MS), &reply) != REDIS_OK)
        give_up("SCRIPT LOAD", redis_error(redis));
    struct span sha = redis_text(reply);
    int len = snprintf(ret, ret_size, "EVALSHA/%.*s/2/{%s}:issued/{%s}:holders/%s/%lld", SPAN_ARG(sha),
                       campaign, campaign, user, (long long)quantity);
    CHECK(len > 0 && (size_t)len < ret_size);
    redis_command_deinit(&command);
    redis_destroy(redis);
}

/* --- webdis and nginx --- */

static FILE *configuration(const char *run_dir, const char *name, char *ret_path)
{
    snprintf(ret_path, PATH_BYTES, "%s/%s", run_dir, name);
    FILE *file = fopen(ret_path, "we");
    if (!file)
        give_up(ret_path, "cannot be written");
    return file;
}

pid_t peer_webdis(const struct peer_webdis *webdis)
{
    char path[PATH_BYTES], log[PATH_BYTES];
    FILE *file = configuration(webdis->run_dir, "webdis.json", path);
    snprintf(log, sizeof log, "%s/log/webdis.log", webdis->run_dir);
    fprintf(file, "{\"redis_host\":\"127.0.0.1\",\"redis_port\":%d,", webdis->redis_port);
    if (webdis->redis_password[0])
        fprintf(file, "\"redis_auth\":\"%s\",", webdis->redis_password);
    /* Two threads, as our services have; with a pool per thread for all of its clients, Redis commits many at
     * once. */
    fprintf(file,
            "\"http_host\":\"127.0.0.1\",\"http_port\":%d,\"threads\":2,\"pool_size\":128,\"daemonize\":"
            "false,\"database\":0,\"verbosity\":1,\"logfile\":\"%s\"}\n",
            webdis->port, log);
    fclose(file);
    const char *argv[] = {webdis_path, path, NULL}, *environment[] = {NULL};
    return child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
}

pid_t peer_nginx(const char *run_dir, int port, struct span body)
{
    char path[PATH_BYTES], log[PATH_BYTES];
    FILE *file = configuration(run_dir, "nginx.conf", path);
    snprintf(log, sizeof log, "%s/log/nginx.log", run_dir);
    fprintf(
        file,
        "daemon off; worker_processes 2; pid nginx.pid; error_log %s;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; keepalive_requests 1000000000; default_type application/json;\n"
        "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path "
        "uwsgi; "
        "scgi_temp_path scgi;\n"
        "server { listen 127.0.0.1:%d;\n"
        "add_header X-Request-Id $request_id; add_header Age 0; add_header ETag '\"0123456789abcdef0123\"';\n"
        "add_header Cache-Control 'max-age=1, stale-while-revalidate=60, stale-if-error=600';\n"
        "add_header Cache-Status 'nginx; hit; ttl=1; detail=memory';\n"
        "location / { return 200 '%.*s'; } } }\n",
        log, port, SPAN_ARG(body));
    fclose(file);
    const char *argv[] = {nginx_path, "-p", run_dir, "-c", path, NULL}, *environment[] = {NULL};
    return child_start(&(struct child_spec){.argv = argv, .environment = environment, .output_path = log});
}
