/* SPDX-License-Identifier: Apache-2.0 */
/* What every service does the same way, on real ones: who may look inside, keys that change while it runs,
 * log files that are moved away, fields of a request that are not understood, and what the accounts of the
 * stores may do. */
#include "tests/lib/wait.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/instance.h"
#include "tests/lib/redis_kit.h"
#include "tests/lib/steer.h"

enum { BOUND_MS = 120000, PORT_OFFSET = 7 };

static struct stack *stack;
static struct api_client api;
static char keys_path[256], log_path[256], log_moved[264], keys_text[8192];
static struct instance *instance; /* a query service with a key file and a log file of its own */

/* --- Files --- */

static void file_read(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t len = read(fd, text, size - 1);
    assert_true(len > 0);
    text[len] = '\0';
    close(fd);
}

/* Written beside and renamed over, as an operator should. */
static void keys_write(const char *text)
{
    char path[sizeof keys_path + 4];
    snprintf(path, sizeof path, "%s.new", keys_path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(rename(path, keys_path), 0);
}

/* The key file without the key of this name. */
static void keys_without(struct span name, char *ret, size_t size)
{
    struct span rest = span_of(keys_text);
    size_t len = 0;
    while (rest.ptr) {
        struct span line = span_cut(&rest, '\n');
        if (line.len == 0 || span_starts(line, name))
            continue;
        len += (size_t)snprintf(ret + len, size - len, "%.*s\n", SPAN_ARG(line));
    }
    assert_true(len > 0 && len < size);
}

static int setup(void **state)
{
    static const char *environment[3];
    static char keys_option[300], log_option[300];
    stack = api_setup(state, &api, STACK_ALL);
    file_read(stack_env(stack, "FIRSTCOME_API_KEYS_FILE"), keys_text, sizeof keys_text);
    snprintf(keys_path, sizeof keys_path, "%s/keys-of-test", stack_directory(stack));
    snprintf(log_path, sizeof log_path, "%s/log-of-test", stack_directory(stack));
    snprintf(log_moved, sizeof log_moved, "%s.1", log_path);
    keys_write(keys_text);
    snprintf(keys_option, sizeof keys_option, "FIRSTCOME_API_KEYS_FILE=%s", keys_path);
    snprintf(log_option, sizeof log_option, "FIRSTCOME_LOG_FILE=%s", log_path);
    environment[0] = keys_option;
    environment[1] = log_option;
    instance = instance_start(stack, &(struct instance_options){.service = "query-service",
                                                                .name = "keys",
                                                                .port_offset = PORT_OFFSET,
                                                                .environment = environment});
    return 0;
}

static int teardown(void **state)
{
    instance_destroy(instance);
    return api_teardown(state);
}

static struct http_answer ask(struct http_client *client, const char *path, const char *token,
                              const char *header)
{
    const char *headers[] = {header, NULL};
    struct http_call call = {.method = "GET", .path = path, .token = token, .headers = headers};
    return api_ask(client, &call);
}

static int status_of(struct http_client *client, const char *path, const char *token, const char *header)
{
    return ask(client, path, token, header).status;
}

/* --- Who may look inside --- */

static void operators_look_inside_and_nobody_else(void **)
{
    static const char passed_on[] = "X-Forwarded-For: 192.0.2.1";
    static const char *const services[] = {"COMMAND_URL", "QUERY_URL", "PROJECTOR_URL"};
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        struct http_client *client = http_client_create(stack_env(stack, services[i]));
        assert_int_equal(status_of(client, "/metrics", NULL, NULL), 200); /* from this host */
        assert_int_equal(status_of(client, "/metrics", NULL, passed_on), 401);
        assert_int_equal(status_of(client, "/metrics", NULL, "Via: 1.1 edge"), 401);
        assert_int_equal(status_of(client, "/metrics", "nobody", NULL), 401);
        assert_int_equal(status_of(client, "/metrics", stack_env(stack, "ISSUE_TOKEN"), passed_on), 403);
        assert_int_equal(status_of(client, "/metrics", stack_env(stack, "READ_TOKEN"), passed_on), 200);
        assert_int_equal(status_of(client, "/metrics", stack_env(stack, "ADMIN_TOKEN"), passed_on), 200);
        struct http_answer answer = ask(client, "/readyz", NULL, passed_on);
        assert_int_equal(answer.status, 200);
        assert_true(span_is(answer.body, "{\"ready\":true}"));
        answer = ask(client, "/readyz", NULL, NULL);
        assert_non_null(memmem(answer.body.ptr, answer.body.len, "\"parts\"", 7));
        assert_int_equal(status_of(client, "/livez", NULL, passed_on), 200);
        http_client_destroy(client);
    }
}

/* --- Keys that change --- */

static void a_key_is_cut_off_and_let_in_again(void **)
{
    char without[sizeof keys_text];
    struct http_client *client = http_client_create(instance_url(instance));
    const char *token = stack_env(stack, "READ_TOKEN");
    pid_t pid = instance_pid(instance);
    assert_int_equal(status_of(client, "/v1/campaigns", token, NULL), 200);
    keys_without(SPAN("read "), without, sizeof without);
    keys_write(without);
    WAIT_UNTIL(status_of(client, "/v1/campaigns", token, NULL) == 401, BOUND_MS);
    assert_int_equal(status_of(client, "/v1/campaigns", stack_env(stack, "ADMIN_TOKEN"), NULL), 200);
    keys_write("one read not-a-hash\n"); /* a mistake changes nothing */
    instance_signal(instance, SIGHUP);
    char log[65536];
    WAIT_UNTIL((file_read(log_path, log, sizeof log), strstr(log, "KEYS-UNREADABLE")), BOUND_MS);
    assert_int_equal(status_of(client, "/v1/campaigns", stack_env(stack, "ADMIN_TOKEN"), NULL), 200);
    keys_write(keys_text);
    instance_signal(instance, SIGHUP);
    WAIT_UNTIL(status_of(client, "/v1/campaigns", token, NULL) == 200, BOUND_MS);
    assert_int_equal(instance_pid(instance), pid);
    http_client_destroy(client);
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && info.st_size > 0;
}

static void a_log_file_is_opened_again(void **)
{
    assert_true(exists(log_path));
    assert_int_equal(rename(log_path, log_moved), 0);
    instance_signal(instance, SIGHUP);
    WAIT_UNTIL(exists(log_path), BOUND_MS); /* it says that it read the keys again */
    assert_true(instance_ready(instance));
}

/* --- Fields --- */

static void fields_that_are_not_understood(void **)
{
    static const struct {
        const char *header;
        int status;
        const char *code;
    } rows[] = {{"Content-Encoding: gzip", 415, "unsupported-media-type"},
                {"Content-Type: text/xml", 415, "unsupported-media-type"},
                {"Expect: everything", 417, "expectation-failed"},
                {"If-Match: \"a\"", 412, "precondition-failed"}};
    char path[256];
    snprintf(path, sizeof path, "/v1/campaigns/%s/coupons", api_campaign(&api, 10, ""));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *headers[] = {rows[i].header, NULL};
        struct http_call call = {.method = "POST",
                                 .path = path,
                                 .token = stack_env(stack, "ISSUE_TOKEN"),
                                 .key = "fields",
                                 .headers = headers,
                                 .body = "{\"user_id\":\"kim\"}"};
        api_expect(api_call(&api, &call), rows[i].status, rows[i].code);
    }
}

/* --- Accounts --- */

/* A script that wrote cannot be killed, and one that does not end holds up everybody; a reader needs none. */
static void the_reader_of_models_only_reads(void **)
{
    static const char *const commands[][4] = {
        {"EVAL", "return 1", "0", NULL}, {"SET", "x", "y", NULL}, {"FLUSHALL", NULL}, {"KEYS", "*", NULL}};
    const struct redis_reply *reply;
    struct redis *redis = redis_kit_connect(stack_env(stack, "QUERY_REDIS_URL"));
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        assert_int_equal(redis_kit_call(redis, commands[i], &reply), REDIS_DENIED);
    redis_destroy(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_look_inside_and_nobody_else),
        cmocka_unit_test(a_key_is_cut_off_and_let_in_again),
        cmocka_unit_test(a_log_file_is_opened_again),
        cmocka_unit_test(fields_that_are_not_understood),
        cmocka_unit_test(the_reader_of_models_only_reads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
