/* SPDX-License-Identifier: Apache-2.0 */
/* empty-handler: a service with nothing in it, which `make bench` compares the real ones with. Same HTTP
 * server, same options, same authentication; POST /inline is answered by the handler, POST /deferred by
 * another thread, as the committers do. Both say 201 with a body as long as a coupon's; GET /inline/{bytes}
 * says 200 with a body of that length and the headers of a read. */
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/service.h"

enum { BODY_BYTES_MAX = 64 * 1024 };

struct options {
    struct service_options service; /* first: common tables point into it */
};

static const struct config_option *const tables[] = {service_option_table, NULL};
static const struct config_program program = {
    .name = "empty_handler",
    .purpose = "answers requests without doing anything, for comparison",
    .usage = "",
    .tables = tables,
    .prefix = SERVICE_ENVIRONMENT_PREFIX,
};

struct waiting {
    struct waiting *next;
    struct http_request *request;
};

struct desk {
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t came;
    struct waiting *list;
    bool closed;
};

static void answer(struct http_request *request, int status)
{
    static const char body[] = "{\"coupon_id\":\"c07-00000000\",\"code\":\"XXXXX-XXXXX-XXXXX-XXXXX-XXXXX\","
                               "\"campaign_id\":\"bench-00000000\","
                               "\"user_id\":\"bench-0000000000\",\"sequence\":100000,\"status\":\"issued\","
                               "\"issued_at\":\"2026-01-01T00:00:00.000000Z\",\"expires_at\":null,"
                               "\"position\":{\"slice\":7,\"position\":100000}}";
    http_add_header(request, "Consistency-Token", SPAN("7.100000"));
    buf_append_text(http_reply_body(request), body);
    http_reply(request, status);
}

static void post_inline(struct http_request *request, void *context)
{
    (void)context;
    answer(request, 201);
}

/* A body of as many bytes as the path says, and the headers that the query service sends with one from
 * memory. */
static void get_inline(struct http_request *request, void *context)
{
    static const char digits[] = "0123456789012345678901234567890123456789012345678901234567890123456789";
    uint64_t bytes = 0;
    (void)context;
    if (!parse_u64(http_param(request, 0), BODY_BYTES_MAX, &bytes))
        bytes = 0;
    for (size_t part; bytes > 0; bytes -= part) {
        part = bytes < sizeof digits - 1 ? bytes : sizeof digits - 1;
        buf_append(http_reply_body(request), digits, part);
    }
    http_add_header(request, "Cache-Status", SPAN("firstcome-query; hit; ttl=1; detail=memory"));
    http_add_header(request, "Age", SPAN("0"));
    http_add_header(request, "ETag", SPAN("\"0123456789abcdef01234567\""));
    http_add_header(request, "Cache-Control",
                    SPAN("private, max-age=1, stale-while-revalidate=60, stale-if-error=600"));
    http_reply(request, 200);
}

static void post_deferred(struct http_request *request, void *context)
{
    struct desk *desk = context;
    struct waiting *waiting = mem_alloc(sizeof *waiting);
    waiting->request = request;
    http_defer(request);
    pthread_mutex_lock(&desk->lock);
    waiting->next = desk->list;
    desk->list = waiting;
    pthread_cond_signal(&desk->came);
    pthread_mutex_unlock(&desk->lock);
}

static struct waiting *take_all(struct desk *desk)
{
    pthread_mutex_lock(&desk->lock);
    while (!desk->list && !desk->closed)
        pthread_cond_wait(&desk->came, &desk->lock);
    struct waiting *list = desk->list;
    desk->list = NULL;
    pthread_mutex_unlock(&desk->lock);
    return list;
}

static void *desk_main(void *context)
{
    struct waiting *list;
    while ((list = take_all(context)))
        while (list) {
            struct waiting *waiting = list;
            list = waiting->next;
            answer(waiting->request, 201);
            mem_free(waiting);
        }
    return NULL;
}

static const struct http_route routes[] = {
    {.method = HTTP_POST, .pattern = "/inline", .scopes = AUTH_ISSUE, .handler = post_inline},
    {.method = HTTP_GET, .pattern = "/inline/{bytes}", .scopes = AUTH_ADMIN, .handler = get_inline},
    {.method = HTTP_POST, .pattern = "/deferred", .scopes = AUTH_ISSUE, .handler = post_deferred},
};

int main(int argc, char **argv)
{
    static struct desk desk = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    struct options options = {0};
    pthread_t thread;
    config_parse(&program, &argc, argv, &options);
    service_setup("empty_handler", 0, &options.service);
    CHECK(pthread_create(&thread, NULL, desk_main, &desk) == 0);
    struct http_server *server = service_serve(
        &options.service,
        &(struct service_api){.routes = routes, .routes_count = COUNT_OF(routes), .context = &desk});
    service_wait_for_stop(&options.service);
    (void)http_server_drain(server, clock_deadline_us(options.service.drain_ms));
    pthread_mutex_lock(&desk.lock);
    desk.closed = true;
    pthread_cond_signal(&desk.came);
    pthread_mutex_unlock(&desk.lock);
    CHECK(pthread_join(thread, NULL) == 0);
    http_server_destroy(server);
    return 0;
}
