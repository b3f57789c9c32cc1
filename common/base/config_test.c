/* SPDX-License-Identifier: Apache-2.0 */
/* Options: values and their bounds, who wins, and how a start with a bad one ends. */
#include "common/base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
/* cmocka.h needs some of the above */
#include <cmocka.h>

#include "common/base/bytes.h"

struct options {
    int64_t queue_max, offset;
    const char *name, *secret;
    bool json;
};

static const struct config_option first_table[] = {
    {"cfgtest-queue-max", CONFIG_INT, offsetof(struct options, queue_max), "4096", 1, 100000, "commands",
     "Queue."},
    {"cfgtest-offset", CONFIG_INT, offsetof(struct options, offset), "0", INT64_MIN, INT64_MAX, "",
     "Offset."},
    {0},
};
static const struct config_option second_table[] = {
    {"cfgtest-name", CONFIG_STRING, offsetof(struct options, name), "", 0, 8, "", "A name."},
    {"cfgtest-secret", CONFIG_STRING, offsetof(struct options, secret), NULL, 1, 20, NULL, "No default."},
    {"cfgtest-json", CONFIG_FLAG, offsetof(struct options, json), NULL, 0, 0, "", "As JSON."},
    {0},
};
static const struct config_option *const tables[] = {first_table, second_table, NULL};
static const char *const plain[] = {"cfgtest-secret", "cfgtest-offset=cfgtest-shift", NULL};
static const struct config_program program = {"cfgtest", "tests options", "run|status", tables, "P_", plain};

/* Runs config_parse on the words of a copy of argv; what is left is compared with `rest`. */
static void parse(const char *const *words, struct options *options, const char *const *rest)
{
    static char texts[16][64];
    char *argv[17] = {0};
    int argc = 0, left = 0;
    for (; words[argc]; argc++) {
        snprintf(texts[argc], sizeof texts[argc], "%s", words[argc]);
        argv[argc] = texts[argc];
    }
    config_parse(&program, &argc, argv, options);
    for (; rest[left]; left++)
        assert_string_equal(argv[left], rest[left]);
    assert_int_equal(argc, left);
    assert_null(argv[argc]);
}

#define WORDS(...) ((const char *const[]){"prog", __VA_ARGS__, NULL})

static void takes_flags_out(void **)
{
    struct options options = {0};
    parse(WORDS("run", "--cfgtest-queue-max", "5", "--cfgtest-secret=a=b", "x", "--cfgtest-offset", "-7", "-",
                "--cfgtest-name=--", "--cfgtest-json", "--", "--cfgtest-queue-max", "-x"),
          &options, WORDS("run", "x", "-", "--cfgtest-queue-max", "-x"));
    assert_int_equal(options.queue_max, 5);
    assert_int_equal(options.offset, -7);
    assert_string_equal(options.secret, "a=b");
    assert_string_equal(options.name, "--");
    assert_true(options.json);
}

static void flags_win_over_the_environment(void **)
{
    struct options options = {0};
    setenv("CFGTEST_QUEUE_MAX", "somebody else's", 1); /* without the program's prefix */
    setenv("P_CFGTEST_QUEUE_MAX", "77", 1);
    setenv("P_CFGTEST_SECRET", "nobody's", 1);
    setenv("CFGTEST_SECRET", "env", 1); /* the one that goes without */
    setenv("P_CFGTEST_JSON", "1", 1);
    parse(WORDS("run"), &options, WORDS("run"));
    assert_int_equal(options.queue_max, 77);
    assert_string_equal(options.secret, "env");
    assert_string_equal(options.name, "");
    assert_true(options.json);
    setenv("P_CFGTEST_QUEUE_MAX", "nonsense", 1); /* is not looked at where the flag is given */
    parse(WORDS("--cfgtest-queue-max=8", "--cfgtest-queue-max=9", "--cfgtest-json=false"), &options,
          (const char *const[]){"prog", NULL});
    assert_int_equal(options.queue_max, 9);
    assert_false(options.json);
    unsetenv("P_CFGTEST_QUEUE_MAX");
    unsetenv("CFGTEST_SECRET");
    unsetenv("P_CFGTEST_SECRET");
    unsetenv("CFGTEST_QUEUE_MAX");
    unsetenv("P_CFGTEST_JSON");
}

/* Runs config_parse in a child. Returns its exit code and what it printed on `stream`. */
static int exit_code(const char *const *words, int stream, struct buf *printed)
{
    int ends[2], status;
    char chunk[512];
    ssize_t got;
    struct options options;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], stream);
        parse(words, &options, WORDS("run"));
        _exit(EX_OK);
    }
    close(ends[1]);
    buf_init(printed, 1 << 16);
    while ((got = read(ends[0], chunk, sizeof chunk)) > 0)
        buf_append(printed, chunk, (size_t)got);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The start is refused, and the message has `named` in it but never the value "hunter2". */
static void assert_refused(const char *const *words, const char *named)
{
    struct buf printed;
    int code = exit_code(words, STDERR_FILENO, &printed);
    if (code != EX_USAGE || !strstr(printed.data, named) || strstr(printed.data, "hunter2"))
        fail_msg("%d: %s (expected %s)", code, printed.data, named);
    buf_deinit(&printed);
}

static void refuses_by_name(void **)
{
    assert_refused(WORDS("run"), "--cfgtest-secret");
    assert_refused(WORDS("run"), "CFGTEST_SECRET");
    assert_refused(WORDS("--cfgtest-secret=s", "--unknown=hunter2"), "--unknown");
    assert_refused(WORDS("--cfgtest-secret=s", "-x"), "-x");
    assert_refused(WORDS("--cfgtest-secret=s", "--=hunter2"), "--: there is no such option");
    assert_refused(WORDS("--cfgtest-secret=s", "--cfgtest-queue-max"), "--cfgtest-queue-max: needs a value");
    assert_refused(WORDS("--cfgtest-secret", "--cfgtest-json"), "--cfgtest-secret: needs a value");
    assert_refused(WORDS("--cfgtest-secret=s", "--cfgtest-queue-max=hunter2"), "1 to 100000 commands");
    assert_refused(WORDS("--cfgtest-secret=s", "--cfgtest-queue-max=0"), "--cfgtest-queue-max");
    assert_refused(WORDS("--cfgtest-secret=s", "--cfgtest-json=hunter2"), "--cfgtest-json");
    assert_refused(WORDS("--cfgtest-secret=hunter2hunter2hunter2"), "1 to 20");
    assert_refused(WORDS("--cfgtest-secret="), "--cfgtest-secret");
    setenv("CFGTEST_SHIFT", "hunter2", 1); /* has a name of its own there */
    assert_refused(WORDS("--cfgtest-secret=s"), "CFGTEST_SHIFT");
    setenv("CFGTEST_SHIFT", "", 1);
    assert_refused(WORDS("--cfgtest-secret=s"), "CFGTEST_SHIFT");
    unsetenv("CFGTEST_SHIFT");
}

static void help_lists_everything(void **)
{
    struct buf printed;
    static const char *const expected[] = {
        "cfgtest: tests options\n",
        "Usage: cfgtest [OPTION]... run|status\n",
        "--cfgtest-queue-max N",
        "P_CFGTEST_QUEUE_MAX",
        "4096",
        "1..100000 commands",
        "Queue.\n",
        "--cfgtest-name TEXT",
        "0..8 characters",
        "required",
        "No default.\n",
        "--cfgtest-json ",
        "false",
        "--help",
    };
    assert_int_equal(exit_code(WORDS("--cfgtest-queue-max=bad", "--help"), STDOUT_FILENO, &printed), 0);
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        if (!strstr(printed.data, expected[i]))
            fail_msg("no '%s' in:\n%s", expected[i], printed.data);
    buf_deinit(&printed);
}

/* A secret: its file's first line, refused by name and never repeated; what is given otherwise wins. */
static void values_come_from_files(void **)
{
    char path[] = "/tmp/config_test_XXXXXX";
    int fd = mkstemp(path);
    struct options options = {0};
    assert_true(fd >= 0 && write(fd, "from a file\nmore\n", 17) == 17 && close(fd) == 0);
    setenv("CFGTEST_SECRET_FILE", path, 1);
    parse(WORDS("run"), &options, WORDS("run"));
    assert_string_equal(options.secret, "from a file");
    parse(WORDS("run", "--cfgtest-secret", "flag"), &options, WORDS("run"));
    assert_string_equal(options.secret, "flag");
    assert_int_equal(truncate(path, 0), 0);
    assert_refused(WORDS("run"), "CFGTEST_SECRET_FILE");
    assert_int_equal(unlink(path), 0);
    assert_refused(WORDS("run"), "CFGTEST_SECRET_FILE");
    unsetenv("CFGTEST_SECRET_FILE");
}

static void values(void **)
{
    struct options options = {.queue_max = -1};
    char reason[100];
    static const char *const bad[] = {
        "", "0", "100001", "1.0", "1e3", "0x10", " 5", "5 ", "+5", "05", "99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(config_set(&first_table[0], bad[i], &options, reason, sizeof reason));
        assert_non_null(strstr(reason, "1 to 100000 commands"));
    }
    assert_int_equal(options.queue_max, -1);
    assert_true(config_set(&first_table[0], "100000", &options, reason, sizeof reason));
    assert_int_equal(options.queue_max, 100000);
    assert_true(config_set(&first_table[1], "-9223372036854775808", &options, reason, sizeof reason));
    assert_true(options.offset == INT64_MIN);
    assert_false(config_set(&second_table[0], "123456789", &options, reason, sizeof reason));
    assert_true(config_set(&second_table[0], "12345678", &options, reason, sizeof reason));
    assert_true(config_set(&second_table[2], "true", &options, reason, sizeof reason));
    assert_true(options.json);
    assert_false(config_set(&second_table[2], "yes", &options, reason, 1)); /* no room for a reason */
    assert_string_equal(reason, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_flags_out),        cmocka_unit_test(flags_win_over_the_environment),
        cmocka_unit_test(refuses_by_name),        cmocka_unit_test(help_lists_everything),
        cmocka_unit_test(values_come_from_files), cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
