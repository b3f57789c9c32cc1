/* SPDX-License-Identifier: Apache-2.0 */
/* A pipelined connection to Redis: connecting, sending, receiving with deadlines, classes of error replies.
 *
 * hiredis connects and parses; the bytes are moved here. Its own output buffer is shifted down after every
 * partial write and written without MSG_NOSIGNAL, and its input has no bound. It resolves host names with
 * getaddrinfo(), which knows no deadline: use numeric hosts or a local resolver where that matters. */
#include "common/redis/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/cluster.h"
#include "common/redis/sentinel.h"

#undef REDIS_OK /* hiredis defines it as 0; here it is the enumerator */
enum { HIREDIS_OK = 0 };
_Static_assert(REDIS_OK == 0, "both mean success");

enum {
    ERROR_MAX = 200,
    ARRAY_MAX = 4 * 1024 * 1024,         /* elements of one reply */
    REPLY_BYTES_MAX = 256 * 1024 * 1024, /* input that is not yet a whole reply */
    OUTPUT_MAX = 256 * 1024 * 1024,      /* commands not yet written; more is a bug of the caller */
    OUTPUT_KEPT_MAX = 1024 * 1024,       /* capacity kept after a large burst */
    READ_BYTES = 64 * 1024,
    GREETING_MS = 50, /* from the first byte of the replies to a greeting to the last */
};

struct redis {
    struct redis_url url;              /* url.server is filled in by the sentinels where there are some */
    struct redis_sentinels *sentinels; /* NULL: none */
    struct redis_cluster *cluster;     /* NULL: none; otherwise it does all of it */
    redisContext *context;             /* NULL: not connected */
    struct buf output;
    size_t written;  /* of output */
    size_t awaited;  /* replies to what was sent and not received */
    bool connecting; /* redis_begin_connect: the socket is not open yet */
    redisReply *reply;
    const redisReplyObjectFunctions *default_builders;
    redisReplyObjectFunctions builders; /* those, with a bound on arrays */
    char error[ERROR_MAX];
    char input[READ_BYTES];
};

const char *redis_status_label(enum redis_status status)
{
#define REDIS_STATUS_LABEL(name, label) [name] = label,
    static const char *const labels[] = {REDIS_STATUSES(REDIS_STATUS_LABEL)};
    CHECK((size_t)status < COUNT_OF(labels));
    return labels[status];
}

struct redis *redis_create(const char *url, char *reason, size_t reason_size)
{
    const char *why;
    struct redis_url parsed;
    if (!redis_url_parse(span_of(url), &parsed, &why)) {
        snprintf(reason, reason_size, "%s", why);
        return NULL;
    }
    return redis_create_parsed(&parsed);
}

struct redis *redis_create_parsed(const struct redis_url *url)
{
    struct redis *redis = mem_zalloc(sizeof *redis);
    redis->url = *url;
    if (url->sentinels_count > 0)
        redis->sentinels = redis_sentinels_create(url);
    if (url->nodes_count > 0)
        redis->cluster = redis_cluster_create(url);
    buf_init(&redis->output, OUTPUT_MAX);
    return redis;
}

void redis_destroy(struct redis *redis)
{
    if (!redis)
        return;
    redis_disconnect(redis);
    redis_sentinels_destroy(redis->sentinels);
    redis_cluster_destroy(redis->cluster);
    buf_deinit(&redis->output);
    mem_free(redis);
}

static void forget_reply(struct redis *redis)
{
    if (redis->reply)
        freeReplyObject(redis->reply);
    redis->reply = NULL;
}

static void forget_output(struct redis *redis)
{
    redis->written = 0;
    buf_clear(&redis->output);
    if (redis->output.capacity > OUTPUT_KEPT_MAX) {
        buf_deinit(&redis->output);
        buf_init(&redis->output, OUTPUT_MAX);
    }
}

void redis_disconnect(struct redis *redis)
{
    if (redis->cluster)
        redis_cluster_disconnect(redis->cluster);
    forget_reply(redis);
    forget_output(redis);
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
    redis->awaited = 0;
    redis->connecting = false;
}

bool redis_connected(const struct redis *redis)
{
    return redis->cluster ? redis_cluster_connected(redis->cluster) : redis->context != NULL;
}

const char *redis_error(const struct redis *redis)
{
    return redis->cluster ? redis_cluster_error(redis->cluster) : redis->error;
}

static enum redis_status lose(struct redis *redis, const char *what, const char *why)
{
    snprintf(redis->error, sizeof redis->error, "%s: %s", what, why);
    redis_disconnect(redis);
    return REDIS_LOST;
}

static enum redis_status lose_errno(struct redis *redis, const char *what, int error)
{
    char text[96];
    return lose(redis, what, strerror_r(error, text, sizeof text));
}

/* REDIS_OK when the socket is ready for one of `events` or broken; looks at least once. */
static enum redis_status wait_socket(struct redis *redis, const char *what, short events, int64_t deadline_us)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = redis->context->fd, .events = events};
        int ready = poll(&poll_fd, 1, clock_remaining_ms(deadline_us));
        if (ready > 0)
            return REDIS_OK;
        if (ready < 0 && errno != EINTR)
            return lose_errno(redis, what, errno);
        if (clock_remaining_ms(deadline_us) == 0)
            return lose(redis, what, "deadline passed");
    }
}

/* Commands. */

void redis_command_init(struct redis_command *command)
{
    *command = (struct redis_command){0};
    buf_init(&command->data, OUTPUT_MAX);
}

void redis_command_deinit(struct redis_command *command)
{
    buf_deinit(&command->data);
    mem_free(command->lengths);
}

void redis_command_reset(struct redis_command *command)
{
    buf_clear(&command->data);
    command->count = 0;
}

static void add_length(struct redis_command *command, size_t len)
{
    if (command->count == command->capacity) {
        command->capacity = command->capacity ? 2 * command->capacity : 16;
        command->lengths = mem_realloc(command->lengths, command->capacity * sizeof *command->lengths);
    }
    command->lengths[command->count++] = len;
}

void redis_arg(struct redis_command *command, struct span value)
{
    add_length(command, value.len);
    buf_append_span(&command->data, value);
}

void redis_arg_text(struct redis_command *command, const char *text)
{
    redis_arg(command, span_of(text));
}

void redis_arg_i64(struct redis_command *command, int64_t value)
{
    size_t before = command->data.len;
    buf_append_i64(&command->data, value);
    add_length(command, command->data.len - before);
}

static void put_prefix(struct buf *out, char kind, size_t number)
{
    buf_append_char(out, kind);
    buf_append_u64(out, number);
    buf_append(out, "\r\n", 2);
}

/* For a caller that keeps sending before everything was written; each byte moves at most once per halving. */
static void compact_output(struct redis *redis)
{
    struct buf *out = &redis->output;
    if (redis->written < READ_BYTES || redis->written < out->len / 2)
        return;
    memmove(out->data, out->data + redis->written, out->len - redis->written);
    out->len -= redis->written;
    redis->written = 0;
}

void redis_encode(struct buf *out, const struct redis_command *command)
{
    CHECK(command->count > 0 && !command->data.overflow);
    put_prefix(out, '*', command->count);
    const char *at = command->data.data;
    for (size_t i = 0; i < command->count; i++) {
        put_prefix(out, '$', command->lengths[i]);
        buf_append(out, at, command->lengths[i]);
        buf_append(out, "\r\n", 2);
        at += command->lengths[i];
    }
}

void redis_send(struct redis *redis, const struct redis_command *command)
{
    if (redis->cluster)
        redis_cluster_send(redis->cluster, command);
    if (!redis->context)
        return; /* redis_receive says so */
    compact_output(redis);
    redis_encode(&redis->output, command);
    CHECK(!redis->output.overflow);
    redis->awaited++;
}

void redis_send_encoded(struct redis *redis, struct span encoded)
{
    compact_output(redis);
    buf_append_span(&redis->output, encoded);
    CHECK(redis->context && !redis->output.overflow);
    redis->awaited++;
}

/* Replies. */

struct class {
    const char *prefix;
    enum redis_status status;
};

static const struct class classes[] = {
    {"OOM ", REDIS_OOM},           {"MISCONF ", REDIS_MISCONF},
    {"READONLY ", REDIS_READONLY}, {"MASTERDOWN ", REDIS_READONLY}, /* only a replica says so */
    {"LOADING ", REDIS_LOADING},   {"BUSY ", REDIS_BUSY},
    {"NOSCRIPT ", REDIS_NOSCRIPT}, {"NOAUTH ", REDIS_DENIED},
    {"WRONGPASS ", REDIS_DENIED},  {"NOPERM ", REDIS_DENIED},
    {"MOVED ", REDIS_ELSEWHERE},   {"ASK ", REDIS_ELSEWHERE},
    {"TRYAGAIN ", REDIS_MOVING},   {"CLUSTERDOWN ", REDIS_AWAY},
    {"ERR AUTH ", REDIS_DENIED},   {"ERR Client sent AUTH", REDIS_DENIED},
};

/* Redis before 7 wraps what a script's command was refused with:
 * "ERR Error running script (call to f_...): @user_script:1: -OOM command not allowed ...". */
static struct span unwrap_script_error(struct span text)
{
    if (!span_starts(text, SPAN("ERR Error running script")))
        return text;
    const char *at = memmem(text.ptr, text.len, ": -", 3);
    return at ? (struct span){at + 3, text.len - (size_t)(at + 3 - text.ptr)} : text;
}

/* Keeps one line, and drops what quotes arguments: "unknown command 'X', with args beginning with: ...". */
static enum redis_status classify(struct redis *redis, const redisReply *reply)
{
    struct span text = unwrap_script_error((struct span){reply->str, reply->len});
    const char *quote = memmem(text.ptr, text.len, ", with args", 11);
    size_t shown = quote ? (size_t)(quote - text.ptr) : text.len;
    snprintf(redis->error, sizeof redis->error, "%.*s", (int)(shown < ERROR_MAX ? shown : ERROR_MAX),
             text.ptr);
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (span_starts(text, span_of(classes[i].prefix)))
            return classes[i].status;
    return REDIS_ERROR;
}

static enum redis_status write_some(struct redis *redis)
{
    while (redis->written < redis->output.len) {
        const char *from = redis->output.data + redis->written;
        ssize_t sent = send(redis->context->fd, from, redis->output.len - redis->written, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return REDIS_OK;
        if (sent < 0)
            return lose_errno(redis, "sending", errno);
        redis->written += (size_t)sent;
    }
    forget_output(redis);
    return REDIS_OK;
}

static enum redis_status read_some(struct redis *redis)
{
    redisReader *reader = redis->context->reader;
    ssize_t got = recv(redis->context->fd, redis->input, sizeof redis->input, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return REDIS_OK;
    if (got < 0)
        return lose_errno(redis, "receiving", errno);
    if (got == 0)
        return lose(redis, "receiving", "closed by the server");
    if (reader->len - reader->pos > REPLY_BYTES_MAX)
        return lose(redis, "receiving", "reply too large");
    if (redisReaderFeed(reader, redis->input, (size_t)got) != HIREDIS_OK)
        return lose(redis, "receiving", reader->errstr);
    return REDIS_OK;
}

enum redis_status redis_flush(struct redis *redis)
{
    return write_some(redis);
}

/* The next whole reply into redis->reply, or REDIS_OK and NULL when more input is needed. */
static enum redis_status parse(struct redis *redis)
{
    void *reply = NULL;
    if (redisReaderGetReply(redis->context->reader, &reply) != HIREDIS_OK)
        return lose(redis, "receiving", redis->context->reader->errstr);
    redis->reply = reply;
    return REDIS_OK;
}

/* Reads while it writes: a proxy in between may stop reading until its own output is taken. */
static enum redis_status await_reply(struct redis *redis, int64_t deadline_us)
{
    enum redis_status status = write_some(redis);
    if (status == REDIS_OK)
        status = parse(redis);
    while (status == REDIS_OK && !redis->reply) {
        short events = redis->written < redis->output.len ? POLLIN | POLLOUT : POLLIN;
        status = wait_socket(redis, "receiving", events, deadline_us);
        if (status == REDIS_OK)
            status = write_some(redis);
        if (status == REDIS_OK)
            status = read_some(redis);
        if (status == REDIS_OK)
            status = parse(redis);
    }
    return status;
}

enum redis_status redis_receive(struct redis *redis, int64_t deadline_us, const struct redis_reply **ret)
{
    if (redis->cluster)
        return redis_cluster_receive(redis->cluster, deadline_us, ret);
    *ret = NULL;
    forget_reply(redis);
    if (!redis->context) {
        if (redis->error[0] == '\0')
            snprintf(redis->error, sizeof redis->error, "not connected");
        return REDIS_LOST;
    }
    CHECK(redis->awaited > 0);
    enum redis_status status = await_reply(redis, deadline_us);
    if (status != REDIS_OK)
        return status;
    redis->awaited--;
    if (redis->reply->type == REDIS_REPLY_ERROR)
        return classify(redis, redis->reply);
    *ret = (const struct redis_reply *)redis->reply; /* a redisReply under another name */
    return REDIS_OK;
}

enum redis_status redis_call(struct redis *redis, const struct redis_command *command, int64_t deadline_us,
                             const struct redis_reply **ret)
{
    redis_send(redis, command);
    return redis_receive(redis, deadline_us, ret);
}

static const redisReply *reply_of(const struct redis_reply *reply)
{
    return (const redisReply *)reply;
}

enum redis_kind redis_kind(const struct redis_reply *reply)
{
    switch (reply_of(reply)->type) {
    case REDIS_REPLY_STRING:
        return REDIS_STRING;
    case REDIS_REPLY_INTEGER:
        return REDIS_INTEGER;
    case REDIS_REPLY_ARRAY:
        return REDIS_ARRAY;
    case REDIS_REPLY_STATUS:
        return REDIS_STATUS_TEXT;
    case REDIS_REPLY_ERROR:
        return REDIS_ERROR_TEXT;
    default:
        return REDIS_NIL;
    }
}

struct span redis_text(const struct redis_reply *reply)
{
    enum redis_kind kind = redis_kind(reply);
    if (kind != REDIS_STRING && kind != REDIS_STATUS_TEXT)
        return (struct span){0};
    return (struct span){reply_of(reply)->str, reply_of(reply)->len};
}

int64_t redis_integer(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_INTEGER ? reply_of(reply)->integer : 0;
}

size_t redis_length(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_ARRAY ? reply_of(reply)->elements : 0;
}

const struct redis_reply *redis_at(const struct redis_reply *reply, size_t index)
{
    CHECK(index < redis_length(reply));
    return (const struct redis_reply *)reply_of(reply)->element[index];
}

/* Connecting. */

/* hiredis would allocate whatever length of array the peer claims. */
static void *create_bounded_array(const redisReadTask *task, int elements)
{
    const struct redis *redis = task->privdata;
    return elements >= 0 && elements <= ARRAY_MAX ? redis->default_builders->createArray(task, elements)
                                                  : NULL;
}

static void bound_replies(struct redis *redis)
{
    redisReader *reader = redis->context->reader;
    redis->default_builders = reader->fn;
    redis->builders = *reader->fn;
    redis->builders.createArray = create_bounded_array;
    reader->fn = &redis->builders;
    reader->privdata = redis;
}

static enum redis_status begin_socket(struct redis *redis)
{
    const struct redis_url *url = &redis->url;
    redis->context = url->path[0] ? redisConnectUnixNonBlock(url->path)
                                  : redisConnectNonBlock(url->server.host, url->server.port);
    CHECK(redis->context != NULL); /* NULL only when out of memory */
    if (redis->context->err)
        return lose(redis, "connecting", redis->context->errstr);
    bound_replies(redis);
    return REDIS_OK;
}

/* The socket is writable: it is connected, or it failed. */
static enum redis_status end_socket(struct redis *redis)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(redis->context->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error)
        return lose_errno(redis, "connecting", error);
    if (!redis->url.path[0]) /* hiredis has set TCP_NODELAY; without keepalive it still works */
        (void)redisEnableKeepAlive(redis->context);
    return REDIS_OK;
}

static enum redis_status open_socket(struct redis *redis, int64_t deadline_us)
{
    enum redis_status status = begin_socket(redis);
    if (status == REDIS_OK)
        status = wait_socket(redis, "connecting", POLLOUT, deadline_us);
    return status == REDIS_OK ? end_socket(redis) : status;
}

static void send_texts(struct redis *redis, const char *const *texts)
{
    struct redis_command command;
    redis_command_init(&command);
    for (; *texts; texts++)
        redis_arg_text(&command, *texts);
    redis_send(redis, &command);
    redis_command_deinit(&command);
}

static void send_greeting(struct redis *redis)
{
    const struct redis_url *url = &redis->url;
    if (url->user[0])
        send_texts(redis, (const char *[]){"AUTH", url->user, url->password, NULL});
    else if (url->password[0])
        send_texts(redis, (const char *[]){"AUTH", url->password, NULL});
    if (url->database != 0) { /* a cluster knows no SELECT */
        char database[24];
        snprintf(database, sizeof database, "%lld", (long long)url->database);
        send_texts(redis, (const char *[]){"SELECT", database, NULL});
    }
}

/* Until everything sent is answered; the last reply. What is refused disconnects. */
static enum redis_status receive_all(struct redis *redis, int64_t deadline_us, const struct redis_reply **ret)
{
    enum redis_status status = REDIS_OK;
    while (status == REDIS_OK && redis->awaited > 0)
        status = redis_receive(redis, deadline_us, ret);
    if (status != REDIS_OK)
        redis_disconnect(redis);
    return status;
}

enum redis_status redis_connect_to_any(struct redis *redis, int64_t deadline_us)
{
    const struct redis_reply *reply;
    redis_disconnect(redis);
    redis->error[0] = '\0';
    enum redis_status status = open_socket(redis, deadline_us);
    if (status != REDIS_OK)
        return status;
    send_greeting(redis);
    return receive_all(redis, deadline_us, &reply);
}

enum redis_status redis_begin_connect(struct redis *redis)
{
    redis_disconnect(redis);
    redis->error[0] = '\0';
    enum redis_status status = begin_socket(redis);
    if (status != REDIS_OK)
        return status;
    redis->connecting = true;
    send_greeting(redis);
    send_texts(redis, (const char *[]){"PING", NULL}); /* one that is frozen says nothing to it */
    return REDIS_OK;
}

static bool is_ready(const struct redis *redis, short events, int64_t until_us)
{
    struct pollfd poll_fd = {.fd = redis->context->fd, .events = events};
    return poll(&poll_fd, 1, clock_remaining_ms(until_us)) > 0;
}

enum redis_status redis_go_on_connecting(struct redis *redis, int64_t until_us, bool *ret_done)
{
    const struct redis_reply *reply;
    enum redis_status status = REDIS_OK;
    if (redis->connecting) {
        if (!is_ready(redis, POLLOUT, until_us))
            return REDIS_OK;
        redis->connecting = false;
        status = end_socket(redis);
        if (status == REDIS_OK)
            status = redis_flush(redis);
    }
    if (status != REDIS_OK || !is_ready(redis, POLLIN, until_us))
        return status;
    *ret_done = true;
    return receive_all(redis, clock_deadline_us(GREETING_MS), &reply);
}

static enum redis_status check_role(struct redis *redis, const struct redis_reply *role)
{
    if (redis_length(role) > 0 && span_is(redis_text(redis_at(role, 0)), "master"))
        return REDIS_OK;
    snprintf(redis->error, sizeof redis->error, "READONLY connected to a server that is not the primary");
    redis_disconnect(redis);
    return REDIS_READONLY;
}

static enum redis_status connect_to_primary(struct redis *redis, int64_t deadline_us)
{
    const struct redis_reply *role = NULL;
    redis->error[0] = '\0';
    enum redis_status status = open_socket(redis, deadline_us);
    if (status != REDIS_OK)
        return status;
    send_greeting(redis);
    send_texts(redis, (const char *[]){"ROLE", NULL}); /* with the greeting: one round trip */
    status = receive_all(redis, deadline_us, &role);
    return status == REDIS_OK ? check_role(redis, role) : status;
}

/* Right after a failover a sentinel may still name the former primary: then the next one is asked. */
static enum redis_status connect_by_sentinels(struct redis *redis, int64_t deadline_us)
{
    enum redis_status status = REDIS_LOST;
    for (size_t i = 0; i < redis->url.sentinels_count && (i == 0 || clock_remaining_ms(deadline_us) > 0);
         i++) {
        status = redis_sentinels_ask(redis->sentinels, deadline_us, &redis->url.server, redis->error,
                                     sizeof redis->error);
        if (status != REDIS_OK)
            return status; /* none of them answers */
        status = connect_to_primary(redis, deadline_us);
        if (status != REDIS_LOST && status != REDIS_READONLY)
            return status;
        redis_sentinels_doubt(redis->sentinels);
    }
    return status;
}

enum redis_status redis_connect(struct redis *redis, int64_t deadline_us)
{
    if (redis->cluster)
        return redis_cluster_connect(redis->cluster, deadline_us);
    redis_disconnect(redis);
    return redis->sentinels ? connect_by_sentinels(redis, deadline_us)
                            : connect_to_primary(redis, deadline_us);
}

/* Servers. */

size_t redis_servers(const struct redis *redis, size_t ret[REDIS_SERVERS_MAX])
{
    if (redis->cluster)
        return redis_cluster_servers(redis->cluster, ret);
    ret[0] = 0;
    return 1;
}

size_t redis_server_of(const struct redis *redis, struct span key)
{
    return redis->cluster ? redis_cluster_server_of(redis->cluster, key) : 0;
}

void redis_aim(struct redis *redis, size_t server)
{
    if (redis->cluster)
        redis_cluster_aim(redis->cluster, server);
}

bool redis_serves(const struct redis *redis, size_t server)
{
    return redis->cluster ? redis_cluster_serves(redis->cluster, server) : redis->context != NULL;
}

void redis_server_name(const struct redis *redis, size_t server, char *ret, size_t size)
{
    if (redis->cluster)
        redis_cluster_name(redis->cluster, server, ret, size);
    else if (redis->url.path[0])
        snprintf(ret, size, "%s", redis->url.path);
    else
        snprintf(ret, size, "%s:%u", redis->url.server.host, redis->url.server.port);
}
