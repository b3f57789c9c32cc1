/* SPDX-License-Identifier: Apache-2.0 */
/* Faults below us: in each service each kind of call fails once, at one of the places at which a short
 * scenario calls it, and the scenario's client goes on with the same keys, as a client would. No service
 * ends, but by the documented end of one that has no memory (common/base/mem.h); everybody gets what they
 * were promised, and one coupon for one key; no descriptor stays behind; log, state and models agree in the
 * end.
 *
 * FAULT_POINTS places of each kind are tried, spread by FAULT_SEED (0: every place, but of those in a
 * library's connecting 500). fsync has no place: none of our programs calls it. What is durable is
 * PostgreSQL's, and its fsync is not ours to make fail. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/lib/wait.h"

#include "common/base/mem.h"
#include "common/base/testing.h"
#include "tests/faults/faults.h"
#include "tests/lib/cluster.h"
#include "tests/lib/instance.h"
#include "tests/lib/projector.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/store.h"

enum {
    POINTS_DEFAULT = 12,
    PATIENCE_MS = 120000,
    SETTLE_MS = 120000,
    POINTS_EVERY = 500, /* where every place is meant and there are more, as in a library's connect */
    POOLED = 8,         /* connections that a pool did not need yet when descriptors were first counted */
    LOOKS = 10,
    USERS = 3,
    CALL_MS = 3000,
    PORT_COMMAND = 6,
    PORT_QUERY = 7,
    PORT_PROJECTOR = 8
};

static const char *const kind_names[FAULT_KINDS] = {
    [FAULT_MALLOC] = "malloc",   [FAULT_FSYNC] = "fsync",   [FAULT_WRITE] = "write",
    [FAULT_CONNECT] = "connect", [FAULT_ACCEPT] = "accept", [FAULT_CLOCK] = "clock"};

/* A service with the shim in it. */
struct subject {
    const char *service;
    int port;
    void (*scenario)(struct subject *self, int nr);
    struct instance *instance;
    struct fault_control *control;
    char control_path[512], log_path[512], preload[512], control_line[544];
    const char *environment[3];
    size_t descriptors;
    enum fault_kind kind; /* that is being tried */
    unsigned ended;       /* without memory, and started again */
};

static struct stack *stack;
static struct subject command, query, projector;

/* --- The subject --- */

static size_t descriptors_of(pid_t pid)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

/* True where the process has ended; it must have been the end that common/base/mem.h describes. */
static bool has_ended(struct subject *subject)
{
    siginfo_t info = {0};
    int result = waitid(P_PID, (id_t)instance_pid(subject->instance), &info, WEXITED | WNOHANG | WNOWAIT);
    assert_int_equal(result, 0);
    if (info.si_pid == 0)
        return false;
    bool aborted = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    if (subject->kind != FAULT_MALLOC || !aborted || info.si_status != SIGABRT)
        fail_msg("%s ended (code %d, status %d) when %s failed", subject->service, info.si_code,
                 info.si_status, kind_names[subject->kind]);
    return true;
}

/* What it said at its end must not be taken for a failed CHECK by whoever looks through the logs afterwards.
 */
static void start_again(struct subject *subject)
{
    instance_kill(subject->instance); /* it is dead; this is the wait for it */
    assert_int_equal(unlink(subject->log_path), 0);
    subject->ended++;
    instance_again(subject->instance);
}

static void subject_start(struct subject *subject)
{
    snprintf(subject->control_path, sizeof subject->control_path, "%s/fault-%s", stack_directory(stack),
             subject->service);
    snprintf(subject->log_path, sizeof subject->log_path, "%s/log/%s-faulty.log", stack_directory(stack),
             subject->service);
    snprintf(subject->preload, sizeof subject->preload, "LD_PRELOAD=%s/fault_shim.so", getenv("BIN_DIR"));
    snprintf(subject->control_line, sizeof subject->control_line, "FAULT_CONTROL=%s", subject->control_path);
    int fd = open(subject->control_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, sizeof *subject->control) == 0);
    subject->control = mmap(NULL, sizeof *subject->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(subject->control != MAP_FAILED);
    close(fd);
    subject->environment[0] = subject->preload;
    subject->environment[1] = subject->control_line;
    subject->instance =
        instance_start(stack, &(struct instance_options){.service = subject->service,
                                                         .name = "faulty",
                                                         .port_offset = subject->port,
                                                         .environment = subject->environment});
    assert_true(atomic_load(&subject->control->calls[FAULT_MALLOC]) > 0); /* the shim is in it */
}

/* --- Scenarios --- */

/* Asks until the answer is none that says "try again", always with the same key. */
static int ask(struct subject *subject, struct http_client *client, const struct http_call *call,
               struct http_answer *ret)
{
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    struct http_call timed = *call;
    timed.timeout_ms = CALL_MS;
    for (;;) {
        bool answered = http_client_call(client, &timed, ret) == HTTP_ANSWERED;
        if (answered && ret->status < 500 && ret->status != 429 && ret->status != 409)
            return ret->status;
        if (clock_remaining_ms(deadline_us) == 0)
            fail_msg("%s: no good answer to %s %s, last was %d", subject->service, call->method, call->path,
                     answered ? ret->status : 0);
        http_client_close(client);
        if (has_ended(subject))
            start_again(subject);
        wait_moment();
    }
}

/* Everybody has to connect again, so that connecting is part of the scenario; not where memory is what fails
 * in it, because a connection to PostgreSQL allocates a hundred times as often as all the rest. */
static bool reconnecting = true;

static void break_connections(void)
{
    if (!reconnecting)
        return;
    struct redis *redis = redis_kit_connect(stack_env(stack, "REDIS_URL"));
    REDIS_SEND(redis, "CLIENT", "KILL", "TYPE", "normal");
    (void)redis_kit_receive(redis);
    redis_destroy(redis);
    (void)cluster_sql(stack, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                             " WHERE application_name LIKE 'firstcome%'");
}

static struct http_call post(const char *path, const char *key, const char *body)
{
    return (struct http_call){
        .method = "POST", .path = path, .token = stack_env(stack, "ADMIN_TOKEN"), .key = key, .body = body};
}

static void issue(struct http_client *client, const char *path, int nr, int user, char *ret, size_t ret_size)
{
    char key[64], body[96];
    struct http_answer answer;
    snprintf(key, sizeof key, "fault-%d-%d", nr, user);
    snprintf(body, sizeof body, "{\"user_id\":\"user-%d-%d\"}", nr, user);
    struct http_call call = post(path, key, body);
    call.token = stack_env(stack, "ISSUE_TOKEN");
    assert_int_equal(ask(&command, client, &call, &answer), 201);
    snprintf(ret, ret_size, "%.*s", SPAN_ARG(answer.body));
}

static struct http_client *client_of(struct subject *subject)
{
    return http_client_create(instance_url(subject->instance));
}

/* A campaign, three users, one of whom asks twice with the same key and once with another. */
static void issue_to_three(struct subject *self, int nr)
{
    char path[128], key[64], body[256], first[1024], again[1024];
    struct http_answer answer;
    struct http_client *client = client_of(self);
    break_connections();
    snprintf(key, sizeof key, "fault-%d", nr);
    snprintf(body, sizeof body,
             "{\"id\":\"fault-%d\",\"name\":\"n\",\"discount\":{\"type\":\"percent\",\"percent\":10},"
             "\"currency\":\"EUR\",\"quantity\":%d}",
             nr, USERS);
    struct http_call create = post("/v1/campaigns", key, body);
    assert_int_equal(ask(self, client, &create, &answer), 201);
    snprintf(path, sizeof path, "/v1/campaigns/fault-%d/coupons", nr);
    issue(client, path, nr, 0, first, sizeof first);
    for (int user = 1; user < USERS; user++)
        issue(client, path, nr, user, again, sizeof again);
    issue(client, path, nr, 0, again, sizeof again);
    assert_string_equal(first, again);
    http_client_destroy(client);
}

static void read_some(struct subject *self, int nr)
{
    struct http_client *client = client_of(self);
    struct http_answer answer;
    char paths[3][128];
    break_connections();
    snprintf(paths[0], sizeof paths[0], "/v1/users/user-%d-0/coupons?limit=%d", nr % 3, 1 + nr % 100);
    snprintf(paths[1], sizeof paths[1], "/v1/campaigns?limit=%d", 1 + nr % 100);
    snprintf(paths[2], sizeof paths[2], "/v1/rankings/campaigns?limit=%d", 1 + nr % 100);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct http_call call = {.method = "GET", .path = paths[i], .token = stack_env(stack, "READ_TOKEN")};
        assert_int_equal(ask(self, client, &call, &answer), 200);
    }
    http_client_destroy(client);
}

/* What was issued by the command service beside it is in the models. */
static void follow(struct subject *self, int nr)
{
    char path[128];
    struct http_answer answer;
    struct http_client *client = client_of(self);
    struct http_call metrics = {.method = "GET", .path = "/metrics"};
    issue_to_three(&command, nr);
    snprintf(path, sizeof path, "/v1/users/user-%d-0/coupons", nr);
    int64_t deadline_us = clock_deadline_us(PATIENCE_MS);
    for (bool there = false; !there;) {
        if (has_ended(self))
            start_again(self);
        struct http_client *reader = client_of(&query);
        struct http_call call = {.method = "GET", .path = path, .token = stack_env(stack, "READ_TOKEN")};
        if (http_client_call(reader, &call, &answer) == HTTP_ANSWERED && answer.status == 200) {
            struct span source = http_answer_header(&answer, "Cache-Status");
            there = source.ptr && memmem(source.ptr, source.len, "postgres", 8) == NULL;
        }
        http_client_destroy(reader);
        assert_true(there || clock_remaining_ms(deadline_us) > 0);
        wait_moment();
    }
    assert_int_equal(ask(self, client, &metrics, &answer), 200);
    http_client_destroy(client);
}

/* --- Every place --- */

static long points_wanted(void)
{
    uint64_t points = POINTS_DEFAULT;
    const char *given = getenv("FAULT_POINTS");
    if (given && !parse_u64(span_of(given), INT32_MAX, &points))
        fail_msg("FAULT_POINTS is not a number");
    return (long)points;
}

static uint64_t seed(void)
{
    uint64_t value = 1;
    const char *given = getenv("FAULT_SEED");
    if (given && !parse_u64(span_of(given), INT64_MAX, &value))
        fail_msg("FAULT_SEED is not a number");
    return value;
}

static int scenario_nr;

/* How often the scenario makes such a call. Without reconnecting, the least of a few times: what came before
 * may not be over. */
static long places_of(struct subject *subject, enum fault_kind kind)
{
    long least = 0;
    for (int time = 0; time < (reconnecting ? 1 : LOOKS); time++) {
        long before = atomic_load(&subject->control->calls[kind]);
        subject->scenario(subject, scenario_nr++);
        long calls = atomic_load(&subject->control->calls[kind]) - before;
        least = time == 0 || calls < least ? calls : least;
    }
    return least;
}

static void try_point(struct subject *subject, enum fault_kind kind, long place)
{
    static const struct http_call alive = {.method = "GET", .path = "/livez"};
    struct fault_control *control = subject->control;
    struct http_answer answer;
    atomic_store(&control->injected, 0);
    atomic_store(&control->countdown, place);
    atomic_store(&control->armed, (int)kind);
    subject->scenario(subject, scenario_nr++);
    atomic_store(&control->armed, FAULT_NONE);
    struct http_client *client = client_of(subject);
    assert_int_equal(ask(subject, client, &alive, &answer), 200);
    http_client_destroy(client);
}

static void try_kind(struct subject *subject, enum fault_kind kind)
{
    uint64_t random = seed() + (uint64_t)kind;
    long injected = 0, places = places_of(subject, kind), points = points_wanted();
    unsigned ended = subject->ended;
    if (points == 0)
        points = reconnecting && kind == FAULT_MALLOC ? POINTS_EVERY : places;
    points = points < places ? points : places;
    subject->kind = kind;
    for (long point = 0; point < points; point++) {
        long from = point * places / points, width = (point + 1) * places / points - from;
        try_point(subject, kind, 1 + from + (long)(random_next(&random) % (uint64_t)width));
        injected += atomic_load(&subject->control->injected);
    }
    printf("%s: %s failed at %ld of %ld places tried, %ld in the scenario; ended without memory %u times\n",
           subject->service, kind_names[kind], injected, points, places, subject->ended - ended);
    if (kind == FAULT_MALLOC) { /* what it met must not be taken for what the next kind does */
        instance_stop(subject->instance);
        instance_again(subject->instance);
    }
    subject->kind = FAULT_NONE;
}

static void try_all(struct subject *subject)
{
    subject->scenario(subject, scenario_nr++);
    WAIT_UNTIL(instance_ready(subject->instance), SETTLE_MS); /* what is opened once, is open now */
    subject->descriptors = descriptors_of(instance_pid(subject->instance));
    reconnecting = false;
    try_kind(subject, FAULT_MALLOC);
    reconnecting = true;
    for (int kind = FAULT_NONE + 1; kind < FAULT_KINDS; kind++)
        try_kind(subject, (enum fault_kind)kind);
    subject->scenario(subject, scenario_nr++);
    WAIT_UNTIL(descriptors_of(instance_pid(subject->instance)) <= subject->descriptors + POOLED, SETTLE_MS);
}

static void in_the_command_service(void **)
{
    try_all(&command);
    /* One reading a day ahead holds no slice's time there. */
    assert_int_equal(
        store_number(stack, "SELECT count(*) FROM slice WHERE recorded_at > now() + interval '1 hour'"), 0);
    projector_assert_verify_clean(stack);
}

static void in_the_query_service(void **)
{
    try_all(&query);
}

static void in_the_projector(void **)
{
    try_all(&projector);
    projector_assert_verify_clean(stack);
}

static int setup(void **)
{
    /* Every place is a campaign. */
    static const char *const quotas[] = {"FIRSTCOME_CAMPAIGNS_PER_KEY_PER_DAY",
                                         "FIRSTCOME_CAMPAIGNS_PER_DAY"};
    for (size_t i = 0; i < COUNT_OF(quotas); i++)
        assert_int_equal(setenv(quotas[i], "1000000", 1), 0);
    stack = stack_start(STACK_SERVERS);
    command =
        (struct subject){.service = "command-service", .port = PORT_COMMAND, .scenario = issue_to_three};
    query = (struct subject){.service = "query-service", .port = PORT_QUERY, .scenario = read_some};
    projector = (struct subject){.service = "projector", .port = PORT_PROJECTOR, .scenario = follow};
    subject_start(&projector);
    subject_start(&command);
    subject_start(&query);
    return 0;
}

static int teardown(void **)
{
    instance_destroy(query.instance);
    instance_destroy(command.instance);
    instance_destroy(projector.instance);
    stack_stop(stack);
    return 0;
}

/* A sanitizer has to be the first to see malloc. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static void is_for_plain_builds(void **)
{
    skip();
}

int main(void)
{
    const struct CMUnitTest none[] = {cmocka_unit_test(is_for_plain_builds)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_command_service),
        cmocka_unit_test(in_the_query_service),
        cmocka_unit_test(in_the_projector),
    };
    return SANITIZED ? cmocka_run_group_tests(none, NULL, NULL)
                     : cmocka_run_group_tests(tests, setup, teardown);
}
