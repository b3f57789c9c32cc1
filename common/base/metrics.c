/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of metrics and its Prometheus text. Updates are relaxed atomics: each number is right, but two
 * numbers in one rendering may be from slightly different moments. */
#include "common/base/metrics.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

enum { METRICS_MAX = 512, BUCKETS_MAX = 16, CACHE_LINE_BYTES = 64 };

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_MICRO, KIND_SECONDS, KIND_COUNT };

/* Upper bounds in microseconds, and what they are called in seconds. */
static const uint64_t seconds_bounds[] = {500,    1000,   2500,   5000,    10000,   25000,  50000,
                                          100000, 250000, 500000, 1000000, 2000000, 5000000};
static const char *const seconds_names[] = {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
                                            "0.1",    "0.25",  "0.5",    "1",     "2",    "5"};
static const uint64_t count_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
static const char *const count_names[] = {"1",   "2",   "4",    "8",    "16",   "32",   "64",   "128",
                                          "256", "512", "1024", "2048", "4096", "8192", "16384"};

static const struct scale {
    const uint64_t *bounds;
    const char *const *names;
    size_t count;
} scales[] = {
    [KIND_SECONDS] = {seconds_bounds, seconds_names, COUNT_OF(seconds_bounds)},
    [KIND_COUNT] = {count_bounds, count_names, COUNT_OF(count_bounds)},
};
_Static_assert(COUNT_OF(seconds_bounds) == COUNT_OF(seconds_names), "one name per bound");
_Static_assert(COUNT_OF(count_bounds) == COUNT_OF(count_names), "one name per bound");
_Static_assert(COUNT_OF(count_bounds) < BUCKETS_MAX, "one bucket more than bounds");

/* Buckets hold what fell into them alone; they are summed up when rendered. A metric has its own cache lines,
 * so that threads which count different things do not slow each other down. */
struct metric {
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t value; /* of a histogram: the sum */
    _Atomic uint64_t buckets[BUCKETS_MAX];
    struct metric *next; /* in order of rendering: those of one name follow each other */
    const char *name, *help;
    char *labels; /* "" for none */
    enum kind kind;
};

/* Guards the list and the making of metrics, not their values. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric metrics[METRICS_MAX];
static size_t metrics_count;

/* --- Making --- */

static bool name_valid(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || *c == '_' || (c > name && *c >= '0' && *c <= '9')))
            return false;
    return name[0] != '\0';
}

/* Appends to the family of that name, or to the end of the list. */
static void link_locked(struct metric *metric)
{
    struct metric *after = NULL;
    for (struct metric *i = metrics_count ? metrics : NULL; i; i = i->next)
        if (!after || strcmp(i->name, metric->name) == 0 || strcmp(after->name, metric->name) != 0)
            after = i;
    if (!after)
        return;
    CHECK(strcmp(after->name, metric->name) != 0 || after->kind == metric->kind);
    metric->next = after->next;
    after->next = metric;
}

static struct metric *find_locked(const char *name, const char *labels)
{
    for (size_t i = 0; i < metrics_count; i++)
        if (strcmp(metrics[i].name, name) == 0 && strcmp(metrics[i].labels, labels) == 0)
            return &metrics[i];
    return NULL;
}

static struct metric *metric_make(enum kind kind, const char *name, const char *help, const char *labels)
{
    labels = labels ? labels : "";
    CHECK(name_valid(name));
    CHECK(!strpbrk(help, "\\\n") && !strpbrk(labels, "\n{}"));
    pthread_mutex_lock(&lock);
    struct metric *metric = find_locked(name, labels);
    if (!metric) {
        CHECK(metrics_count < METRICS_MAX);
        metric = &metrics[metrics_count];
        metric->name = name;
        metric->help = help;
        metric->labels = mem_strdup(labels);
        metric->kind = kind;
        link_locked(metric);
        metrics_count++;
    }
    CHECK(metric->kind == kind);
    pthread_mutex_unlock(&lock);
    return metric;
}

struct metric *metric_counter(const char *name, const char *help, const char *labels)
{
    return metric_make(KIND_COUNTER, name, help, labels);
}

struct metric *metric_gauge(const char *name, const char *help, const char *labels)
{
    return metric_make(KIND_GAUGE, name, help, labels);
}

struct metric *metric_gauge_micro(const char *name, const char *help, const char *labels)
{
    return metric_make(KIND_MICRO, name, help, labels);
}

struct metric *metric_histogram_seconds(const char *name, const char *help, const char *labels)
{
    return metric_make(KIND_SECONDS, name, help, labels);
}

struct metric *metric_histogram_count(const char *name, const char *help, const char *labels)
{
    return metric_make(KIND_COUNT, name, help, labels);
}

/* --- Updating --- */

static bool is_number(const struct metric *metric)
{
    return metric->kind == KIND_COUNTER || metric->kind == KIND_GAUGE || metric->kind == KIND_MICRO;
}

void metric_add(struct metric *metric, uint64_t n)
{
    CHECK(is_number(metric));
    atomic_fetch_add_explicit(&metric->value, (int64_t)n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
    CHECK(is_number(metric));
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *metric)
{
    CHECK(is_number(metric));
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void observe(struct metric *metric, uint64_t value)
{
    const struct scale *scale = &scales[metric->kind];
    size_t bucket = 0;
    while (bucket < scale->count && value > scale->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, (int64_t)value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t duration_us)
{
    CHECK(metric->kind == KIND_SECONDS);
    observe(metric, duration_us > 0 ? (uint64_t)duration_us : 0);
}

void metric_observe(struct metric *metric, uint64_t count)
{
    CHECK(metric->kind == KIND_COUNT);
    observe(metric, count);
}

/* --- Rendering --- */

static void put_head(struct buf *out, const struct metric *metric)
{
    static const char *const types[] = {" counter\n", " gauge\n", " gauge\n", " histogram\n", " histogram\n"};
    buf_append_text(out, "# HELP ");
    buf_append_text(out, metric->name);
    buf_append_char(out, ' ');
    buf_append_text(out, metric->help);
    buf_append_text(out, "\n# TYPE ");
    buf_append_text(out, metric->name);
    buf_append_text(out, types[metric->kind]);
}

/* name, suffix, {labels,le="bound"} and a space; `bound` NULL where there is none. */
static void put_name(struct buf *out, const struct metric *metric, const char *suffix, const char *bound)
{
    buf_append_text(out, metric->name);
    buf_append_text(out, suffix);
    if (metric->labels[0] || bound)
        buf_append_char(out, '{');
    buf_append_text(out, metric->labels);
    if (bound) {
        buf_append_text(out, metric->labels[0] ? ",le=\"" : "le=\"");
        buf_append_text(out, bound);
        buf_append_char(out, '"');
    }
    if (metric->labels[0] || bound)
        buf_append_char(out, '}');
    buf_append_char(out, ' ');
}

static void put_number(struct buf *out, uint64_t value)
{
    buf_append_u64(out, value);
    buf_append_char(out, '\n');
}

/* Microseconds as decimal seconds, without going through floating point and its locale. */
static void put_seconds(struct buf *out, uint64_t us)
{
    char digits[8] = ".000000\n";
    uint64_t rest = us % US_PER_S;
    for (size_t i = 6; i > 0; i--, rest /= 10)
        digits[i] = (char)('0' + rest % 10);
    buf_append_u64(out, us / US_PER_S);
    buf_append(out, digits, sizeof digits);
}

static void put_histogram(struct buf *out, struct metric *metric)
{
    const struct scale *scale = &scales[metric->kind];
    uint64_t sum = (uint64_t)atomic_load_explicit(&metric->value, memory_order_relaxed), total = 0;
    for (size_t i = 0; i <= scale->count; i++) {
        total += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        put_name(out, metric, "_bucket", i < scale->count ? scale->names[i] : "+Inf");
        put_number(out, total);
    }
    put_name(out, metric, "_sum", NULL);
    if (metric->kind == KIND_SECONDS)
        put_seconds(out, sum);
    else
        put_number(out, sum);
    put_name(out, metric, "_count", NULL);
    put_number(out, total);
}

void metrics_render(struct buf *out)
{
    pthread_mutex_lock(&lock);
    const char *family = "";
    for (struct metric *i = metrics_count ? metrics : NULL; i; i = i->next) {
        if (strcmp(i->name, family) != 0)
            put_head(out, i);
        family = i->name;
        if (i->kind == KIND_SECONDS || i->kind == KIND_COUNT) {
            put_histogram(out, i);
            continue;
        }
        put_name(out, i, "", NULL);
        if (i->kind == KIND_MICRO) {
            put_seconds(out, metric_value(i) > 0 ? (uint64_t)metric_value(i) : 0);
            continue;
        }
        buf_append_i64(out, metric_value(i));
        buf_append_char(out, '\n');
    }
    pthread_mutex_unlock(&lock);
}
