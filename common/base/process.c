/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc/self says, as metrics. */
#include "common/base/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* FIRSTCOME_VERSION comes from the Makefile, for this file alone. */
const char *program_version(void)
{
    return FIRSTCOME_VERSION;
}

static bool read_file(const char *path, char *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(ret, 1, size - 1, file) : 0;
    if (file)
        (void)fclose(file);
    ret[len] = '\0';
    return len > 0;
}

/* The nth field of /proc/self/stat, from 1. The second is the name in parentheses, which may have blanks. */
static bool stat_field(const char *stat, unsigned nth, int64_t *ret)
{
    const char *after_name = strrchr(stat, ')');
    if (!after_name)
        return false;
    struct span rest = span_of(after_name + 1), field = {NULL, 0};
    for (unsigned i = 2; i <= nth && rest.ptr; i++)
        field = span_cut(&rest, ' ');
    return field.ptr && parse_i64(field, 0, INT64_MAX, ret);
}

static void put(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, kind, name);
}

static void put_number(struct buf *out, const char *name, const char *kind, const char *help, int64_t value)
{
    put(out, name, kind, help);
    buf_append_i64(out, value);
    buf_append_char(out, '\n');
}

static void put_ticks(struct buf *out, const char *name, const char *kind, const char *help, int64_t ticks,
                      int64_t plus_s)
{
    int64_t per_second = sysconf(_SC_CLK_TCK);
    put(out, name, kind, help);
    buf_printf(out, "%" PRId64 ".%02" PRId64 "\n", ticks / per_second + plus_s,
               ticks % per_second * 100 / per_second);
}

/* When the machine started, in seconds since 1970; start times of processes are counted from there. */
static bool boot_time(int64_t *ret)
{
    static const char name[] = "\nbtime ";
    char text[16384];
    const char *at = read_file("/proc/stat", text, sizeof text) ? strstr(text, name) : NULL;
    if (!at)
        return false;
    struct span rest = span_of(at + sizeof name - 1);
    return parse_i64(span_cut(&rest, '\n'), 0, INT64_MAX, ret);
}

static void put_descriptors(struct buf *out)
{
    struct rlimit limit;
    DIR *directory = opendir("/proc/self/fd");
    int64_t count = -3; /* ".", ".." and the directory itself */
    while (directory && readdir(directory))
        count++;
    if (directory) {
        (void)closedir(directory);
        put_number(out, "process_open_fds", "gauge", "Number of open file descriptors.", count);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        put_number(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                   (int64_t)limit.rlim_cur);
}

enum { UTIME = 14, STIME = 15, START = 22, VSIZE = 23, RSS = 24 };

int64_t process_resident_bytes(pid_t pid)
{
    char path[64], stat[2048];
    int64_t pages = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    bool read = read_file(path, stat, sizeof stat) && stat_field(stat, RSS, &pages);
    return read ? pages * sysconf(_SC_PAGESIZE) : 0;
}

/* --- Threads --- */

enum { THREAD_NAMES_MAX = 32, COMM_MAX = 16 };

/* Processor time by the names that threads gave themselves; those of one name together. */
struct thread_times {
    struct {
        char name[COMM_MAX + 1];
        int64_t ticks;
    } list[THREAD_NAMES_MAX];
    size_t count;
};

static void add_thread(struct thread_times *times, const char *task)
{
    char path[64], stat[2048];
    int64_t user, system;
    (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", task);
    if (!read_file(path, stat, sizeof stat) || !stat_field(stat, UTIME, &user) ||
        !stat_field(stat, STIME, &system))
        return; /* it ended meanwhile */
    const char *begin = strchr(stat, '(') + 1, *end = strrchr(stat, ')');
    size_t len = (size_t)(end - begin) < COMM_MAX ? (size_t)(end - begin) : COMM_MAX, at = 0;
    while (at < times->count &&
           (strlen(times->list[at].name) != len || memcmp(times->list[at].name, begin, len) != 0))
        at++;
    if (at == THREAD_NAMES_MAX)
        return; /* names are the code's own: fewer than that */
    memcpy(times->list[at].name, begin, len);
    times->list[at].ticks += user + system;
    times->count += at == times->count;
}

/* A name may only have what a label may: the process' own name is whatever its file is called. */
static bool name_plain(const char *name)
{
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")] == '\0';
}

static void put_threads(struct buf *out)
{
    static const char metric[] = "coupon_thread_cpu_seconds_total";
    int64_t per_second = sysconf(_SC_CLK_TCK);
    struct thread_times times = {0};
    DIR *directory = opendir("/proc/self/task");
    for (struct dirent *task; directory && (task = readdir(directory));)
        if (task->d_name[0] != '.')
            add_thread(&times, task->d_name);
    if (!directory)
        return;
    (void)closedir(directory);
    buf_printf(out, "# HELP %s CPU time by name of thread; ended threads are not in it.\n# TYPE %s counter\n",
               metric, metric);
    for (size_t i = 0; i < times.count; i++)
        if (name_plain(times.list[i].name))
            buf_printf(out, "%s{thread=\"%s\"} %" PRId64 ".%02" PRId64 "\n", metric, times.list[i].name,
                       times.list[i].ticks / per_second, times.list[i].ticks % per_second * 100 / per_second);
}

void process_metrics_render(struct buf *out)
{
    char stat[2048];
    int64_t user, system, start, size, pages, boot_s;
    put_descriptors(out);
    put_threads(out);
    if (!read_file("/proc/self/stat", stat, sizeof stat))
        return;
    if (stat_field(stat, UTIME, &user) && stat_field(stat, STIME, &system))
        put_ticks(out, "process_cpu_seconds_total", "counter",
                  "Total user and system CPU time spent in seconds.", user + system, 0);
    if (stat_field(stat, START, &start) && boot_time(&boot_s))
        put_ticks(out, "process_start_time_seconds", "gauge",
                  "Start time of the process since unix epoch in seconds.", start, boot_s);
    if (stat_field(stat, VSIZE, &size))
        put_number(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", size);
    if (stat_field(stat, RSS, &pages))
        put_number(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                   pages * sysconf(_SC_PAGESIZE));
}
