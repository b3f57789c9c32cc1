/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to Redis: pipelined, every wait with an absolute deadline, errors as classes. The only file
 * that knows hiredis. One thread at a time uses a connection. After REDIS_LOST the connection is closed and
 * what was in flight has an unknown outcome; the caller reconnects (and owns back-off). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* X(name, label): the label is what metrics show. */
#define REDIS_STATUSES(X)                                                                                    \
    X(REDIS_OK, "ok")                                                                                        \
    X(REDIS_LOST, "io")           /* broken, refused, or the deadline passed */                              \
    X(REDIS_OOM, "oom")           /* maxmemory reached, write refused */                                     \
    X(REDIS_MISCONF, "misconf")   /* cannot persist, writes refused */                                       \
    X(REDIS_READONLY, "readonly") /* talking to a replica: reconnect and ask who is primary */               \
    X(REDIS_LOADING, "loading")                                                                              \
    X(REDIS_BUSY, "busy")                                                                                    \
    X(REDIS_NOSCRIPT, "noscript")                                                                            \
    X(REDIS_DENIED, "auth")         /* NOAUTH, WRONGPASS, NOPERM */                                          \
    X(REDIS_ELSEWHERE, "elsewhere") /* one server of a cluster, and not the key's: see below */              \
    X(REDIS_AWAY, "away")           /* of a cluster the key's server does not serve it now; others do */     \
    X(REDIS_MOVING, "moving")       /* its slot is on the way between servers, some keys here, some there */ \
    X(REDIS_ERROR, "error")         /* any other error reply: see redis_error */
#define REDIS_STATUS_ENUM(name, label) name,
enum redis_status { REDIS_STATUSES(REDIS_STATUS_ENUM) REDIS_STATUS_COUNT };
const char *redis_status_label(enum redis_status status);

enum { REDIS_SERVERS_MAX = 96 };

struct redis;
struct redis_reply; /* opaque; borrowed from the connection until the next redis_receive/redis_free_reply */

/* url: redis://[user:password@]host:port[/db], unix:///path[?db=n&user=u&password=p], or
 * redis+sentinel://[user:password@]host:port,.../name[/db], as redis_url.h says in full. NULL with reason
 * when it does not parse. Does not connect.
 *
 * redis+cluster://[user:password@]host:port,... is a connection to all servers of a cluster: what is sent
 * goes to the server that has the key, MOVED and ASK are followed, and a server that does not answer, or is
 * loading, busy, or was demoted, or denies a command, costs the commands about its own keys (REDIS_AWAY) and
 * nothing else. It is
 * connected again by and by, and replaced where another one has its slots; no call waits for that. REDIS_LOST
 * never comes. */
struct redis *redis_create(const char *url, char *reason, size_t reason_size);
void redis_destroy(struct redis *redis); /* accepts NULL */
/* Connects, authenticates, selects the database and insists that ROLE says master (REDIS_READONLY otherwise).
 * With sentinels it asks them first, each time anew: whoever was the primary may be one no more.
 * One that still names the former primary is passed over, while there is time. */
enum redis_status redis_connect(struct redis *redis, int64_t deadline_us) MUST_USE;
void redis_disconnect(struct redis *redis);
bool redis_connected(const struct redis *redis);
const char *redis_error(const struct redis *redis); /* last failure, one line, no key or value */

/* A command under construction, as an argument vector: binary-safe, never a format string. */
struct redis_command {
    struct buf data;
    size_t *lengths;
    size_t count, capacity;
};
void redis_command_init(struct redis_command *command);
void redis_command_deinit(struct redis_command *command);
void redis_command_reset(struct redis_command *command);
void redis_arg(struct redis_command *command, struct span value);
void redis_arg_text(struct redis_command *command, const char *text);
void redis_arg_i64(struct redis_command *command, int64_t value);

/* Queues a command (copied); nothing is written before redis_receive. */
void redis_send(struct redis *redis, const struct redis_command *command);
/* Writes what is queued and reads the next reply, in order of sending. On an error reply *ret is NULL and the
 * status says the class; later replies can still be received. After REDIS_LOST nothing can. */
enum redis_status redis_receive(struct redis *redis, int64_t deadline_us,
                                const struct redis_reply **ret) MUST_USE;
/* One command and its reply. */
enum redis_status redis_call(struct redis *redis, const struct redis_command *command, int64_t deadline_us,
                             const struct redis_reply **ret) MUST_USE;

enum redis_kind { REDIS_NIL, REDIS_STRING, REDIS_INTEGER, REDIS_ARRAY, REDIS_STATUS_TEXT, REDIS_ERROR_TEXT };
enum redis_kind redis_kind(const struct redis_reply *reply);
struct span redis_text(const struct redis_reply *reply); /* string or status; absent span otherwise */
int64_t redis_integer(const struct redis_reply *reply);  /* integer, or 0 */
size_t redis_length(const struct redis_reply *reply);    /* array elements, or 0 */
const struct redis_reply *redis_at(const struct redis_reply *reply, size_t index);

/* --- servers: several only with redis+cluster:// --- */

/* Those that have keys; how many. A number stays one server's while it has keys. */
size_t redis_servers(const struct redis *redis, size_t ret[REDIS_SERVERS_MAX]);
/* The one that has the key; no server of redis_servers where nobody has. */
size_t redis_server_of(const struct redis *redis, struct span key);
bool redis_serves(const struct redis *redis, size_t server); /* it is connected */
/* "host:port" or the path of a socket. */
void redis_server_name(const struct redis *redis, size_t server, char *ret, size_t size);
/* Commands without a key (MULTI, EXEC, SCAN, INFO, TIME, SCRIPT) go to that server from now on. */
void redis_aim(struct redis *redis, size_t server);
