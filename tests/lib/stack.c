/* SPDX-License-Identifier: Apache-2.0 */
/* Drives tools/stack for a test program. A helper process holds the other end of a pipe to this one and
 * cleans up when the pipe closes, so that nothing survives a test that crashed, was killed or hung. */
#include "tests/lib/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/lib/pace.h"
#include "tests/lib/wait.h"

extern char **environ;

enum {
    PORT_FIRST = 20000, /* up to 32000: below the range the kernel takes ports for clients from */
    PORT_RANGES = 600,
    PORT_COUNT = 20,
    ENV_MAX = 32,
    FILE_BYTES_MAX = 64 * 1024,
    START_MS = 240000, /* making a cluster on a busy machine takes long; only a hang takes longer */
    STOP_MS = 120000,
};

struct stack {
    int port_base, port_lock;
    char root[PATH_MAX], directory[PATH_MAX], bin_directory[PATH_MAX];
    pid_t cleaner;
    int cleaner_pipe; /* closing it makes the cleaner work */
    struct {
        char *name, *value;
    } env[ENV_MAX];
    size_t env_count;
};

static _Noreturn void die(const char *format, ...) PRINTF_LIKE(1, 2);

static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "test stack: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void print_path(char *ret, const char *format, ...) PRINTF_LIKE(2, 3);

static void print_path(char *ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(ret, PATH_MAX, format, args);
    va_end(args);
    if (len < 0 || len >= PATH_MAX)
        die("a path is too long");
}

/* Where the project and its programs are: test programs lie in <root>/build/<kind>/bin/test/... */
static void find_project(struct stack *stack)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0)
        die("cannot read /proc/self/exe");
    self[len] = '\0';
    const char *build = strstr(self, "/build/"), *bin = build ? strstr(build, "/bin/") : NULL;
    const char *given = getenv("BIN_DIR");
    if (!bin && access("tools/stack", X_OK) != 0)
        die("run from the project's directory, or from its build directory");
    if (bin)
        print_path(stack->root, "%.*s", (int)(build - self), self);
    else if (!getcwd(stack->root, sizeof stack->root))
        die("cannot read the current directory");
    if (given)
        print_path(stack->bin_directory, "%s", given);
    else if (bin)
        print_path(stack->bin_directory, "%.*s/bin", (int)(bin - self), self);
    else
        print_path(stack->bin_directory, "%s/build/release/bin", stack->root);
}

/* --- Ports --- */

static bool port_free(int port)
{
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    bool free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return free;
}

/* A lock that other test programs respect and that goes with the process: a socket in the abstract namespace,
 * which is the network's as the ports are. -1 when somebody has it. */
static int lock_range(int port_base)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int len =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "firstcome-test-ports-%d", port_base);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (bind(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool range_free(int port_base)
{
    for (int port = port_base; port < port_base + PORT_COUNT; port++)
        if (!port_free(port))
            return false;
    return true;
}

static void take_ports(struct stack *stack)
{
    unsigned start = (unsigned)getpid() * 7u;
    for (unsigned i = 0; i < PORT_RANGES; i++) {
        int port_base = PORT_FIRST + (int)((start + i) % PORT_RANGES) * PORT_COUNT;
        int lock = lock_range(port_base);
        if (lock >= 0 && range_free(port_base)) {
            stack->port_base = port_base;
            stack->port_lock = lock;
            return;
        }
        if (lock >= 0)
            close(lock);
    }
    die("no %d free ports in a row", PORT_COUNT);
}

/* --- Programs --- */

/* Waits for the end of a child; -1 when it did not come in time, else its status as from waitpid. */
static int await_child(pid_t pid, int64_t bound_ms)
{
    int status, fd = pidfd_open(pid, 0);
    int64_t deadline_us = clock_deadline_us(bound_ms);
    if (fd < 0)
        die("pidfd_open: %s", strerror(errno));
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = 0;
    while (ready <= 0 && clock_remaining_ms(deadline_us) > 0)
        ready = poll(&poll_fd, 1, clock_remaining_ms(deadline_us));
    close(fd);
    if (ready <= 0)
        return -1;
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid: %s", strerror(errno));
    return status;
}

/* Starts a program in a process group of its own with standard input and output as given. */
static pid_t spawn(const struct stack *stack, const char *const *argv, int input, int output)
{
    pid_t pid;
    sigset_t none;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, stack->root);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawnp(&pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error)
        die("%s: %s", argv[0], strerror(error));
    return pid;
}

static bool default_deadlines;

void stack_default_deadlines(void)
{
    default_deadlines = true;
}

static void set_patience(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static const char deadline_ms[] = "30000"; /* its services take several times as long for everything */
#else
    static const char deadline_ms[] = "10000";
#endif
    if (default_deadlines)
        return;
    setenv("FIRSTCOME_REQUEST_DEADLINE_MS", deadline_ms, 0);
    setenv("FIRSTCOME_STORE_TIMEOUT_MS", deadline_ms, 0);
    setenv("FIRSTCOME_REDIS_TIMEOUT_MS", "500", 0);
}

/* What `make up` would be told, and `make chaos` is. */
static const char *const of_others[] = {"EDGE", "SHARDS", "COMMANDS", "QUERIES"};

static void set_environment(const struct stack *stack)
{
    char port_base[16], templates[PATH_MAX];
    for (size_t i = 0; i < COUNT_OF(of_others); i++)
        unsetenv(of_others[i]);
    snprintf(port_base, sizeof port_base, "%d", stack->port_base);
    print_path(templates, "%s/build/stack", stack->root);
    setenv("RUN_DIR", stack->directory, 1);
    setenv("PORT_BASE", port_base, 1);
    setenv("BIN_DIR", stack->bin_directory, 1);
    setenv("STACK_TEMPLATES", templates, 0);
    setenv("SERVICE_START_SECONDS", "180", 0); /* and so it is with services */
    setenv("SERVICE_STOP_SECONDS", "60", 0);
    setenv("FIRSTCOME_DISK_PATH", "",
           0); /* how full this machine's disk is decides no test that does not ask for it */
    set_patience();
    setenv("FIRSTCOME_DRAIN_GRACE_MS", "0", 0); /* nobody balances the load of a test, unless it says so */
}

/* Runs tools/stack; shows what it said where it fails. */
static void run_tool(const struct stack *stack, const char *const *arguments, int64_t bound_ms)
{
    int64_t from_us = clock_mono_us();
    const char *argv[8] = {"tools/stack"};
    char said[FILE_BYTES_MAX];
    FILE *output = tmpfile();
    if (!output)
        die("tmpfile: %s", strerror(errno));
    for (size_t i = 0; arguments[i]; i++) {
        CHECK(i + 2 < COUNT_OF(argv));
        argv[i + 1] = arguments[i];
    }
    set_environment(stack);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = spawn(stack, argv, null, fileno(output));
    int status = await_child(pid, bound_ms);
    if (status != 0) {
        rewind(output);
        size_t len = fread(said, 1, sizeof said, output);
        fprintf(stderr, "%.*s", (int)len, said);
        if (status == -1)
            kill(-pid, SIGKILL);
        die("tools/stack %s %s: %s", arguments[0], arguments[1] ? arguments[1] : "",
            status == -1 ? "did not end in time" : "failed, see above");
    }
    close(null);
    fclose(output);
    wait_note(strcmp(arguments[0], "servers") == 0 ? "(servers start)" : "(services start or end)", from_us);
}

/* --- Files --- */

static bool read_file(const char *path, struct buf *ret)
{
    char chunk[4096];
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    for (size_t len; (len = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buf_append(ret, chunk, len);
    fclose(file);
    return !ret->overflow;
}

/* Lines of the form: export NAME='value'. Values have no quotes in them; other lines are for shells. */
static void add_env_line(struct stack *stack, struct span line)
{
    struct span value = line, prefix = SPAN("export ");
    struct span name = span_cut(&value, '=');
    if (!span_starts(name, prefix) || value.len < 2 || value.ptr[0] != '\'' ||
        value.ptr[value.len - 1] != '\'')
        return;
    CHECK(stack->env_count < ENV_MAX);
    stack->env[stack->env_count].name = strndup(name.ptr + prefix.len, name.len - prefix.len);
    stack->env[stack->env_count].value = strndup(value.ptr + 1, value.len - 2);
    stack->env_count++;
}

static void read_env(struct stack *stack)
{
    struct buf text;
    char path[PATH_MAX];
    print_path(path, "%s/env", stack->directory);
    buf_init(&text, FILE_BYTES_MAX);
    if (!read_file(path, &text))
        die("cannot read %s", path);
    for (struct span rest = buf_span(&text); rest.ptr && rest.len > 0;)
        add_env_line(stack, span_cut(&rest, '\n'));
    buf_deinit(&text);
}

/* --- Cleaning up --- */

/* Waits for the end of its input, then removes every trace. Stopped processes must go on to be able to end.
 * What a service or a sanitizer said at its end is the result: a leak is only known then. */
static const char cleaner_script[] =
    "within() {\n" /* pids of the processes that work below the directory */
    "    find /proc/[0-9]*/cwd -maxdepth 0 -printf '%h %l\\n' 2>/dev/null | while read -r process at; do\n"
    "        case $at/ in \"$RUN_DIR\"/*) echo \"${process#/proc/}\" ;; esac\n"
    "    done\n"
    "}\n"
    "cat >/dev/null\n"
    "for pid in $(within); do kill -CONT \"$pid\" 2>/dev/null; done\n"
    "status=0\n"
    "said=$(tools/stack discard 2>&1) || { printf '%s\\n' \"$said\" >&2; status=1; }\n"
    "if [ -d \"$RUN_DIR/secrets\" ]; then tests/lib/cluster standby-stop; tests/lib/cluster unmount; fi\n"
    "for pid in $(within); do kill -KILL \"$pid\" 2>/dev/null; done\n" /* what the test program started itself
                                                                        */
    "if grep -lE 'Sanitizer:|runtime error:|: (CHECK\\(|unreachable: )' \"$RUN_DIR\"/log/*.log; then\n"
    "    grep -hE -A 60 'Sanitizer:|runtime error:|: (CHECK\\(|unreachable: )' \"$RUN_DIR\"/log/*.log | head "
    "-n 300\n"
    "    status=1\n"
    "fi >&2\n"
    "rm -rf -- \"$RUN_DIR\"\n"
    "exit $status\n";

static void start_cleaner(struct stack *stack)
{
    int ends[2];
    const char *argv[] = {"bash", "-c", cleaner_script, NULL};
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe: %s", strerror(errno));
    set_environment(stack);
    stack->cleaner = spawn(stack, argv, ends[0], STDERR_FILENO);
    stack->cleaner_pipe = ends[1];
    close(ends[0]);
}

static void (*before_stop)(void);

void stack_before_stop(void (*end)(void))
{
    before_stop = end;
}

void stack_stop(struct stack *stack)
{
    if (!stack)
        return;
    if (before_stop)
        before_stop();
    int64_t from_us = clock_mono_us();
    close(stack->cleaner_pipe);
    int status = await_child(stack->cleaner, STOP_MS);
    wait_note("(the stack ends)", from_us);
    close(stack->port_lock);
    for (size_t i = 0; i < stack->env_count; i++) {
        free(stack->env[i].name);
        free(stack->env[i].value);
    }
    mem_free(stack);
    if (status != 0)
        die("the stack did not end cleanly, see above");
}

int stack_teardown(void **state)
{
    stack_stop(*state);
    return 0;
}

/* --- Starting and using --- */

struct stack *stack_start(enum stack_parts parts)
{
    crypto_setup(); /* keys, slices and ids are hashes */
    struct stack *stack = mem_zalloc(sizeof *stack);
    const char *temporary = getenv("TMPDIR");
    char *resolved;
    find_project(stack);
    take_ports(stack);
    print_path(stack->directory, "%s/firstcome-test-XXXXXX", temporary && temporary[0] ? temporary : "/tmp");
    if (!mkdtemp(stack->directory) || !(resolved = realpath(stack->directory, NULL)))
        die("%s: %s", stack->directory, strerror(errno));
    print_path(stack->directory, "%s", resolved); /* as the kernel shows it in /proc */
    free(resolved);
    pace_start();
    start_cleaner(stack);
    run_tool(stack, (const char *[]){"servers", NULL}, START_MS);
    read_env(stack);
    if (parts == STACK_ALL)
        run_tool(stack, (const char *[]){"services", NULL}, START_MS);
    else if (parts == STACK_COMMAND)
        stack_service(stack, "command-service", "start");
    return stack;
}

const char *stack_env(const struct stack *stack, const char *name)
{
    for (size_t i = 0; i < stack->env_count; i++)
        if (strcmp(stack->env[i].name, name) == 0)
            return stack->env[i].value;
    die("the stack's env file has no %s", name);
}

int stack_port_base(const struct stack *stack)
{
    return stack->port_base;
}

const char *stack_directory(const struct stack *stack)
{
    return stack->directory;
}

void stack_service(struct stack *stack, const char *service, const char *action)
{
    run_tool(stack, (const char *[]){"service", service, action, NULL}, START_MS);
}

int stack_tool(struct stack *stack, const char *const *argv)
{
    set_environment(stack);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = spawn(stack, argv, null, STDERR_FILENO);
    int status = await_child(pid, START_MS);
    close(null);
    if (status == -1) {
        kill(-pid, SIGKILL);
        die("%s did not end in time", argv[0]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void stack_restart_servers(struct stack *stack)
{
    run_tool(stack, (const char *[]){"servers", NULL}, START_MS);
}

/* A process that ended and that nobody collected has no command line any more. */
static bool is_alive(uint64_t pid)
{
    char path[64];
    struct buf line;
    snprintf(path, sizeof path, "/proc/%llu/cmdline", (unsigned long long)pid);
    buf_init(&line, FILE_BYTES_MAX);
    bool alive = read_file(path, &line) && line.len > 0;
    buf_deinit(&line);
    return alive;
}

/* tools/stack writes the pids down; a file may be left from a process that was killed. */
pid_t stack_pid(const struct stack *stack, const char *name)
{
    uint64_t pid = 0;
    struct buf text;
    char path[PATH_MAX];
    bool is_server = strcmp(name, "redis") == 0 || strcmp(name, "postgresql") == 0;
    if (is_server)
        print_path(path, "%s/%s/pid", stack->directory, name[0] == 'r' ? "redis" : "pg");
    else
        print_path(path, "%s/%s.pid", stack->directory, name);
    buf_init(&text, 64);
    bool found = read_file(path, &text);
    struct span rest = buf_span(&text);
    found = found && parse_u64(span_cut(&rest, '\n'), INT32_MAX, &pid) && is_alive(pid);
    buf_deinit(&text);
    return found ? (pid_t)pid : 0;
}

void stack_signal(const struct stack *stack, const char *name, int signal_number)
{
    pid_t pid = stack_pid(stack, name);
    if (pid == 0)
        die("%s does not run, so it cannot be signalled", name);
    if (kill(pid, signal_number) != 0)
        die("signalling %s: %s", name, strerror(errno));
}
