/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the servers of a cluster, what is on its way, and what is redirected.
 *
 * Order: commands about one key are carried out in the order of sending, as on one connection. A redirection
 * is followed when its reply is received, one at a time, on a connection of its own; and who has which slots
 * is taken anew only where nothing is on its way, so nothing overtakes what is still to be redirected. */
#include "common/redis/cluster.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/slots.h"

enum {
    ASK_MS = 300,                 /* one server, who has which slots */
    CONNECTING_MS = 1000,         /* then a server that was connected to and says nothing is given up */
    RETRY_MS = 250,               /* between attempts to connect to one */
    MAP_MS = 100,                 /* between questions who has which slots, while that is in doubt */
    REDIRECTIONS_MAX = 4,         /* of one command */
    KEPT_MAX = 512 * 1024 * 1024, /* commands on their way; more is a bug of the caller */
    KEPT_SMALL = 1024 * 1024,
    ERROR_MAX = 512,
};

enum node_state { NODE_DOWN, NODE_CONNECTING, NODE_UP };

struct node {
    struct redis_endpoint at;
    struct redis *redis, *aside; /* aside: for what is redirected to it; NULL: not yet */
    enum node_state state;
    int64_t until_us; /* monotonic: down, not before; connecting, given up then */
    uint64_t life;    /* which connection it is: what was sent on a former one is not answered */
    bool serves;      /* has slots */
};

/* What was sent and is not received, in order. */
struct flight {
    size_t bytes; /* in `kept` */
    uint64_t life;
    uint8_t node; /* REDIS_NO_OWNER: no server has its slot */
    bool of_map;  /* asks who has which slots: our own */
};

struct redis_cluster {
    struct redis_url url;
    struct node
        nodes[REDIS_SERVERS_MAX]; /* a place is one server's for good, as long as there are free ones */
    size_t count;
    uint8_t owners[REDIS_SLOTS];
    struct redis_slot_map *map; /* that came last; to be taken over where has_map */
    bool has_map, in_doubt;
    int64_t map_us;  /* when it may be asked for again */
    size_t map_turn; /* whom to ask */
    size_t aimed;    /* where commands without a key go */
    struct flight *flights;
    size_t first, flying, capacity;
    struct buf kept; /* the commands in flight as they went out */
    size_t kept_from;
    uint64_t lives;
    char error[ERROR_MAX];
};

_Static_assert((int)REDIS_SERVERS_MAX < (int)REDIS_NO_OWNER, "a place is a byte");

/* --- servers --- */

static struct redis *create_connection(const struct redis_cluster *cluster, const struct redis_endpoint *at)
{
    struct redis_url url = {.server = *at};
    memcpy(url.user, cluster->url.user, sizeof url.user);
    memcpy(url.password, cluster->url.password, sizeof url.password);
    return redis_create_parsed(&url);
}

static bool same_endpoint(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void free_node(struct node *node)
{
    redis_destroy(node->redis);
    redis_destroy(node->aside);
    *node = (struct node){0};
}

/* The place of a server, a new one where it has none; REDIS_NO_OWNER where there is none left. */
static uint8_t place_of(struct redis_cluster *cluster, const struct redis_endpoint *at)
{
    size_t free = REDIS_SERVERS_MAX;
    for (size_t i = 0; i < cluster->count; i++)
        if (same_endpoint(&cluster->nodes[i].at, at))
            return (uint8_t)i;
    if (cluster->count < REDIS_SERVERS_MAX)
        free = cluster->count++;
    for (size_t i = 0; i < cluster->count && free == REDIS_SERVERS_MAX; i++)
        if (!cluster->nodes[i].serves && cluster->flying == 0)
            free = i;
    if (free == REDIS_SERVERS_MAX)
        return REDIS_NO_OWNER;
    free_node(&cluster->nodes[free]);
    cluster->nodes[free] = (struct node){.at = *at, .redis = create_connection(cluster, at)};
    return (uint8_t)free;
}

static void node_down(struct redis_cluster *cluster, struct node *node, const char *why)
{
    if (why)
        snprintf(cluster->error, sizeof cluster->error, "%.200s:%u: %s", node->at.host, node->at.port, why);
    redis_disconnect(node->redis);
    node->state = NODE_DOWN;
    node->life = ++cluster->lives;
    node->until_us = clock_deadline_us(RETRY_MS);
    cluster->in_doubt = true;
}

static void begin_connect(struct redis_cluster *cluster, struct node *node)
{
    node->state = NODE_CONNECTING;
    node->until_us = clock_deadline_us(CONNECTING_MS);
    if (redis_begin_connect(node->redis) != REDIS_OK)
        node_down(cluster, node, redis_error(node->redis));
}

/* Waits for it until `until_us` at most. The status of what failed. */
static enum redis_status go_on_connecting(struct redis_cluster *cluster, struct node *node, int64_t until_us)
{
    bool done = false;
    enum redis_status status = redis_go_on_connecting(node->redis, until_us, &done);
    if (status == REDIS_OK && done) {
        node->state = NODE_UP;
        node->life = ++cluster->lives;
    } else if (status != REDIS_OK || clock_mono_us() >= node->until_us) {
        node_down(cluster, node, status == REDIS_OK ? "says nothing" : redis_error(node->redis));
    }
    return status;
}

/* --- who has which slots --- */

static void take_map(struct redis_cluster *cluster)
{
    const struct redis_slot_map *map = cluster->map;
    uint8_t places[REDIS_PRIMARIES_MAX] = {0};
    for (size_t i = 0; i < cluster->count; i++)
        cluster->nodes[i].serves = false;
    for (size_t i = 0; i < map->count; i++) { /* those that are known first: no place of theirs is free */
        for (size_t j = 0; j < cluster->count; j++)
            cluster->nodes[j].serves |= same_endpoint(&cluster->nodes[j].at, &map->primaries[i]);
    }
    for (size_t i = 0; i < map->count; i++) {
        places[i] = place_of(cluster, &map->primaries[i]);
        if (places[i] != REDIS_NO_OWNER)
            cluster->nodes[places[i]].serves = true;
    }
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        uint8_t owner = map->owners[slot];
        cluster->owners[slot] = owner == REDIS_NO_OWNER ? owner : places[owner];
    }
    for (size_t i = 0; i < cluster->count; i++)
        if (!cluster->nodes[i].serves && cluster->nodes[i].state != NODE_DOWN)
            node_down(cluster, &cluster->nodes[i], NULL);
    cluster->has_map = false;
    cluster->in_doubt = false;
    for (size_t i = 0; i < cluster->count;
         i++) /* one that is down may have a successor that is not told yet */
        cluster->in_doubt |= cluster->nodes[i].serves && cluster->nodes[i].state == NODE_DOWN;
}

static void note_map(struct redis_cluster *cluster, const struct redis_endpoint *said_by,
                     const struct redis_reply *reply)
{
    cluster->has_map = redis_slot_map_parse(redis_text(reply), said_by, cluster->map);
}

static void write_map_question(struct redis_command *command)
{
    redis_command_init(command);
    redis_arg_text(command, "CLUSTER");
    redis_arg_text(command, "NODES");
}

static enum redis_status ask_one(struct redis_cluster *cluster, const struct redis_endpoint *at,
                                 int64_t deadline_us)
{
    struct redis_command command;
    const struct redis_reply *reply = NULL;
    struct redis *redis = create_connection(cluster, at);
    write_map_question(&command);
    enum redis_status status = redis_connect_to_any(redis, deadline_us);
    if (status == REDIS_OK)
        status = redis_call(redis, &command, deadline_us, &reply);
    if (status == REDIS_OK)
        note_map(cluster, at, reply);
    if (status != REDIS_OK || !cluster->has_map)
        snprintf(cluster->error, sizeof cluster->error, "asking %.200s:%u who has which slots: %s", at->host,
                 at->port, status == REDIS_OK ? "it does not know" : redis_error(redis));
    if (status == REDIS_OK && !cluster->has_map)
        status = REDIS_ERROR;
    redis_command_deinit(&command);
    redis_destroy(redis);
    return status;
}

static enum redis_status ask_somebody(struct redis_cluster *cluster, int64_t deadline_us)
{
    enum redis_status status = REDIS_LOST;
    size_t known = cluster->count, all = known + cluster->url.nodes_count;
    for (size_t i = 0; i < all; i++) {
        size_t which = (cluster->map_turn + i) % all;
        struct redis_endpoint at =
            which < known ? cluster->nodes[which].at : cluster->url.nodes[which - known];
        int64_t left_ms = clock_remaining_ms(deadline_us) / (int64_t)(all - i + 1);
        status = ask_one(cluster, &at, clock_deadline_us(left_ms < ASK_MS ? left_ms : ASK_MS));
        if (status == REDIS_OK)
            break;
        cluster->map_turn = which + 1;
    }
    return status;
}

/* --- what is on its way --- */

static struct flight *add_flight(struct redis_cluster *cluster)
{
    if (cluster->first + cluster->flying == cluster->capacity) {
        if (cluster->first < cluster->capacity / 2 || cluster->capacity == 0) {
            cluster->capacity = cluster->capacity ? 2 * cluster->capacity : 256;
            cluster->flights = mem_realloc(cluster->flights, cluster->capacity * sizeof *cluster->flights);
        } else {
            memmove(cluster->flights, cluster->flights + cluster->first,
                    cluster->flying * sizeof *cluster->flights);
            cluster->first = 0;
        }
    }
    return &cluster->flights[cluster->first + cluster->flying++];
}

static void forget_flights(struct redis_cluster *cluster)
{
    cluster->first = cluster->flying = 0;
    cluster->kept_from = 0;
    if (cluster->kept.capacity > KEPT_SMALL) {
        buf_deinit(&cluster->kept);
        buf_init(&cluster->kept, KEPT_MAX);
    }
    buf_clear(&cluster->kept);
}

/* The bytes that are not wanted any more go when they are the larger part: each byte moves once at most. */
static void compact_kept(struct redis_cluster *cluster)
{
    struct buf *kept = &cluster->kept;
    if (cluster->kept_from < KEPT_SMALL || cluster->kept_from < kept->len / 2)
        return;
    memmove(kept->data, kept->data + cluster->kept_from, kept->len - cluster->kept_from);
    kept->len -= cluster->kept_from;
    cluster->kept_from = 0;
}

static void send_to(struct redis_cluster *cluster, uint8_t place, const struct redis_command *command,
                    bool of_map)
{
    struct flight *flight = add_flight(cluster);
    compact_kept(cluster);
    size_t before = cluster->kept.len;
    redis_encode(&cluster->kept, command);
    CHECK(!cluster->kept.overflow);
    *flight = (struct flight){.node = place, .bytes = cluster->kept.len - before, .of_map = of_map};
    if (place == REDIS_NO_OWNER)
        return;
    struct node *node = &cluster->nodes[place];
    if (node->state != NODE_UP)
        return; /* life 0: no connection has that */
    flight->life = node->life;
    redis_send_encoded(node->redis, (struct span){cluster->kept.data + before, flight->bytes});
}

/* Asks one of those that are connected, each in turn. */
static void ask_for_map(struct redis_cluster *cluster)
{
    struct redis_command command;
    cluster->map_us = clock_deadline_us(MAP_MS);
    for (size_t i = 0; i < cluster->count; i++) {
        size_t place = (cluster->map_turn + i) % cluster->count;
        if (cluster->nodes[place].state != NODE_UP)
            continue;
        cluster->map_turn = place + 1;
        write_map_question(&command);
        send_to(cluster, (uint8_t)place, &command, true);
        redis_command_deinit(&command);
        return;
    }
}

/* Where nothing is on its way; waits for nobody. */
static void tend(struct redis_cluster *cluster)
{
    int64_t now_us = clock_mono_us();
    forget_flights(cluster);
    if (cluster->has_map)
        take_map(cluster);
    for (size_t i = 0; i < cluster->count; i++) {
        struct node *node = &cluster->nodes[i];
        if (node->serves && node->state == NODE_DOWN && now_us >= node->until_us)
            begin_connect(cluster, node);
        if (node->state == NODE_CONNECTING)
            (void)go_on_connecting(cluster, node, 0);
    }
    if (cluster->in_doubt && now_us >= cluster->map_us)
        ask_for_map(cluster);
}

/* --- commands --- */

/* The argument that is the key; 0: it has none. */
static size_t key_at(const struct redis_command *command)
{
    static const char *const without[] = {"MULTI", "EXEC", "SCAN", "INFO", "TIME", "SCRIPT", "PING"};
    struct span verb = {command->data.data, command->lengths[0]};
    for (size_t i = 0; i < COUNT_OF(without); i++)
        if (span_is(verb, without[i]))
            return 0;
    size_t at = span_is(verb, "EVALSHA") ? 3 : 1;
    return at < command->count ? at : 0;
}

static struct span argument(const struct redis_command *command, size_t at)
{
    const char *from = command->data.data;
    for (size_t i = 0; i < at; i++)
        from += command->lengths[i];
    return (struct span){from, command->lengths[at]};
}

void redis_cluster_send(struct redis_cluster *cluster, const struct redis_command *command)
{
    size_t key = key_at(command);
    if (cluster->flying == 0)
        tend(cluster);
    uint8_t place = key ? cluster->owners[redis_slot(argument(command, key))] : (uint8_t)cluster->aimed;
    send_to(cluster, place, command, false);
}

/* So that all of them work at the same time. */
static void flush_all(struct redis_cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        struct node *node = &cluster->nodes[i];
        if (node->state == NODE_UP && redis_flush(node->redis) != REDIS_OK)
            node_down(cluster, node, redis_error(node->redis));
    }
}

/* --- redirections --- */

static enum redis_status not_connected(struct redis_cluster *cluster, const struct node *node)
{
    snprintf(cluster->error, sizeof cluster->error, "%.200s:%u: is not connected", node->at.host,
             node->at.port);
    return REDIS_AWAY;
}

/* Whether nobody should wait for it now. One that has no slots yet has no connection that tells. */
static bool is_away(const struct node *node)
{
    return node->serves ? node->state != NODE_UP : clock_mono_us() < node->until_us;
}

/* Its reply on a connection of its own. */
static enum redis_status call_aside(struct redis_cluster *cluster, struct node *node, struct span encoded,
                                    bool ask, int64_t deadline_us, const struct redis_reply **ret)
{
    enum redis_status status = REDIS_OK;
    if (!redis_connected(node->aside))
        status = redis_connect_to_any(node->aside, deadline_us);
    if (status == REDIS_OK && ask) {
        redis_send_encoded(node->aside, SPAN("*1\r\n$6\r\nASKING\r\n"));
        redis_send_encoded(node->aside, encoded);
        status = redis_receive(node->aside, deadline_us, ret); /* OK */
    } else if (status == REDIS_OK) {
        redis_send_encoded(node->aside, encoded);
    }
    if (status == REDIS_OK)
        status = redis_receive(node->aside, deadline_us, ret);
    else if (status != REDIS_LOST)
        redis_disconnect(node->aside);                                /* a reply may be left over */
    if (status == REDIS_LOST && clock_remaining_ms(deadline_us) == 0) /* the next does not wait for it */
        node_down(cluster, node, redis_error(node->aside));
    return status;
}

/* What a server says that has not, or not now, what it should have, or lets nobody at it: its callers' keys
 * wait, no others. */
static enum redis_status in_cluster(struct redis_cluster *cluster, enum redis_status status)
{
    switch (status) {
    case REDIS_LOST:
    case REDIS_LOADING:
    case REDIS_READONLY:
    case REDIS_ELSEWHERE:
    case REDIS_AWAY:
        cluster->in_doubt = true;
        return REDIS_AWAY;
    case REDIS_BUSY:
    case REDIS_DENIED:
        return REDIS_AWAY;
    default:
        return status;
    }
}

static void note_error(struct redis_cluster *cluster, const struct node *node, const struct redis *redis)
{
    snprintf(cluster->error, sizeof cluster->error, "%.200s:%u: %s", node->at.host, node->at.port,
             redis_error(redis));
}

/* `said`: the redirection, by the server at `from`. */
static enum redis_status follow(struct redis_cluster *cluster, uint8_t from, const char *said,
                                struct span encoded, int64_t deadline_us, const struct redis_reply **ret)
{
    enum redis_status status = REDIS_ELSEWHERE;
    for (int i = 0; i < REDIRECTIONS_MAX && status == REDIS_ELSEWHERE; i++) {
        struct redis_redirection to;
        if (!redis_redirection_parse(span_of(said), &cluster->nodes[from].at, &to))
            break;
        cluster->in_doubt |= !to.ask;
        from = place_of(cluster, &to.to);
        if (from == REDIS_NO_OWNER)
            return REDIS_AWAY;
        struct node *node = &cluster->nodes[from];
        if (is_away(node) || clock_remaining_ms(deadline_us) == 0)
            return not_connected(cluster, node);
        if (!node->aside)
            node->aside = create_connection(cluster, &node->at);
        status = call_aside(cluster, node, encoded, to.ask, deadline_us, ret);
        if (status != REDIS_OK)
            note_error(cluster, node, node->aside);
        said = redis_error(node->aside);
    }
    return in_cluster(cluster, status);
}

static enum redis_status receive_flight(struct redis_cluster *cluster, const struct flight *flight,
                                        struct span encoded, int64_t deadline_us,
                                        const struct redis_reply **ret)
{
    *ret = NULL;
    if (flight->node == REDIS_NO_OWNER) {
        snprintf(cluster->error, sizeof cluster->error, "no server of the cluster has the key's slot");
        cluster->in_doubt = true;
        return REDIS_AWAY;
    }
    struct node *node = &cluster->nodes[flight->node];
    if (flight->life == 0 || flight->life != node->life)
        return not_connected(cluster, node);
    enum redis_status status = redis_receive(node->redis, deadline_us, ret);
    if (status == REDIS_OK)
        return status;
    if (status == REDIS_LOST)
        node_down(cluster, node, redis_error(node->redis));
    else
        note_error(cluster, node, node->redis);
    if (status != REDIS_ELSEWHERE)
        return in_cluster(cluster, status);
    return follow(cluster, flight->node, redis_error(node->redis), encoded, deadline_us, ret);
}

enum redis_status redis_cluster_receive(struct redis_cluster *cluster, int64_t deadline_us,
                                        const struct redis_reply **ret)
{
    flush_all(cluster);
    for (;;) {
        CHECK(cluster->flying > 0);
        struct flight flight = cluster->flights[cluster->first++];
        cluster->flying--;
        struct span encoded = {cluster->kept.data + cluster->kept_from, flight.bytes};
        cluster->kept_from += flight.bytes;
        enum redis_status status = receive_flight(cluster, &flight, encoded, deadline_us, ret);
        if (!flight.of_map)
            return status;
        if (status == REDIS_OK)
            note_map(cluster, &cluster->nodes[flight.node].at, *ret);
    }
}

/* --- life --- */

struct redis_cluster *redis_cluster_create(const struct redis_url *url)
{
    struct redis_cluster *cluster = mem_zalloc(sizeof *cluster);
    cluster->url = *url;
    cluster->map = mem_zalloc(sizeof *cluster->map);
    memset(cluster->owners, REDIS_NO_OWNER, sizeof cluster->owners);
    buf_init(&cluster->kept, KEPT_MAX);
    return cluster;
}

void redis_cluster_destroy(struct redis_cluster *cluster)
{
    if (!cluster)
        return;
    for (size_t i = 0; i < cluster->count; i++)
        free_node(&cluster->nodes[i]);
    buf_deinit(&cluster->kept);
    mem_free(cluster->flights);
    mem_free(cluster->map);
    mem_free(cluster);
}

void redis_cluster_disconnect(struct redis_cluster *cluster)
{
    forget_flights(cluster);
    for (size_t i = 0; i < cluster->count; i++) {
        struct node *node = &cluster->nodes[i];
        redis_disconnect(node->redis);
        if (node->aside)
            redis_disconnect(node->aside);
        node->state = NODE_DOWN;
        node->life = ++cluster->lives;
        node->until_us = 0;
    }
}

bool redis_cluster_connected(const struct redis_cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++)
        if (cluster->nodes[i].state == NODE_UP)
            return true;
    return false;
}

const char *redis_cluster_error(const struct redis_cluster *cluster)
{
    return cluster->error;
}

enum redis_status redis_cluster_connect(struct redis_cluster *cluster, int64_t deadline_us)
{
    redis_cluster_disconnect(cluster);
    enum redis_status status = ask_somebody(cluster, deadline_us), failure = REDIS_LOST;
    if (status != REDIS_OK)
        return status;
    take_map(cluster);
    int64_t until_us = clock_deadline_us(ASK_MS);
    for (size_t i = 0; i < cluster->count; i++)
        if (cluster->nodes[i].serves)
            begin_connect(cluster, &cluster->nodes[i]);
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->nodes[i].state != NODE_CONNECTING)
            continue;
        status =
            go_on_connecting(cluster, &cluster->nodes[i], until_us < deadline_us ? until_us : deadline_us);
        failure = status == REDIS_OK ? failure : status;
    }
    return redis_cluster_connected(cluster) ? REDIS_OK : failure;
}

/* --- servers --- */

size_t redis_cluster_servers(const struct redis_cluster *cluster, size_t ret[REDIS_SERVERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < cluster->count; i++)
        if (cluster->nodes[i].serves)
            ret[count++] = i;
    return count;
}

size_t redis_cluster_server_of(const struct redis_cluster *cluster, struct span key)
{
    return cluster->owners[redis_slot(key)];
}

void redis_cluster_aim(struct redis_cluster *cluster, size_t server)
{
    CHECK(server < cluster->count || server == REDIS_NO_OWNER);
    cluster->aimed = server;
}

void redis_cluster_name(const struct redis_cluster *cluster, size_t server, char *ret, size_t size)
{
    if (server < cluster->count)
        snprintf(ret, size, "%s:%u", cluster->nodes[server].at.host, cluster->nodes[server].at.port);
    else
        snprintf(ret, size, "nobody");
}

bool redis_cluster_serves(const struct redis_cluster *cluster, size_t server)
{
    return server < cluster->count && cluster->nodes[server].state == NODE_UP;
}
