/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that keeps settings, kill switches and the log's clock current. It never writes. */
#include "query-service/control.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "events/control/reader.h"
#include "query-service/metrics.h"

enum {
    RETRY_MIN_MS = 20,
    FIRST_MS = 600,    /* longest wait for the first reading: connecting and reading */
    PRIMARY_MS = 5000, /* between two tries to reach the primary, while a standby answers */
};

struct control {
    struct control_options options;
    struct control_board board;
    /* The thread's. The primary is asked where it can be reached: its clock is the log's, and a standby would
     * say in a moment what holds now. */
    struct control_reader *primary, *standby;
    int64_t primary_retry_us; /* while a standby answers: not before */
    int64_t retry_ms;         /* until the next reading after a failed one */
    int64_t read_us;          /* monotonic: of the last one that went well, at first of the start */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool tried, stop;
};

static void warn_unknown(const struct control_row *row)
{
    log_warn("CONTROL-UNKNOWN",
             "table control has kind %lld '%.*s' with a value that this version does not know; the profile's "
             "holds",
             (long long)row->kind, SPAN_ARG(row->name));
}

static bool read_from(struct control *control, struct control_reader *reader, struct control_state *ret,
                      struct control_clock *ret_clock)
{
    control_state_init(ret);
    ret->settings = control->options.defaults;
    return control_reader_read(reader, control->options.keyring, ret, ret_clock, warn_unknown);
}

static bool read_any(struct control *control, struct control_state *ret, struct control_clock *ret_clock)
{
    if (clock_mono_us() >= control->primary_retry_us && read_from(control, control->primary, ret, ret_clock))
        return true;
    if (!read_from(control, control->standby, ret, ret_clock))
        return false;
    if (clock_mono_us() >= control->primary_retry_us)
        control->primary_retry_us = clock_deadline_us(PRIMARY_MS);
    return true;
}

static bool read_table(struct control *control, struct control_state *ret)
{
    struct control_clock clock;
    if (!read_any(control, ret, &clock)) {
        log_warn("CONTROL-READ", "cannot read settings and kill switches: %s",
                 control_reader_error(control->standby));
        return false;
    }
    if (!log_time_note(control->options.time, clock.sent_us, clock.received_us, clock.wall_us))
        log_warn("CLOCK-JUMPED",
                 "PostgreSQL's clock is %lld ms away from what it was; not believed before it says so again",
                 (long long)(clock.wall_us - log_time_us(control->options.time, clock.received_us)) /
                     US_PER_MS);
    return true;
}

static void look(struct control *control)
{
    struct control_state state;
    uint64_t begun = control_board_begin(&control->board);
    if (read_table(control, &state)) {
        CHECK(control_board_publish(&control->board, &state, begun)); /* nobody notes rows here */
        control->retry_ms = RETRY_MIN_MS;
        control->read_us = clock_mono_us();
    } else {
        metric_add(query_metrics.control_errors, 1);
        control->retry_ms =
            2 * control->retry_ms < CONTROL_PAUSE_MS ? 2 * control->retry_ms : CONTROL_PAUSE_MS;
    }
    const struct control_state *held = control_board_read(&control->board);
    log_use_level(settings_get(&held->settings, SETTING_log_level));
    metric_set(query_metrics.suspended, (int64_t)control_suspended_count(held));
    metric_set(query_metrics.control_age, clock_mono_us() - control->read_us);
    metric_set(query_metrics.profile, held->settings.profile);
}

/* Until the next reading, with jitter, so that many services do not read at once; true when there is none. */
static bool await_next(struct control *control)
{
    bool connected = control_reader_connected(control->primary) || control_reader_connected(control->standby);
    int64_t pause_ms = connected ? CONTROL_PAUSE_MS : control->retry_ms;
    int64_t until_us = clock_deadline_us(pause_ms / 2 + crypto_random_below((uint32_t)pause_ms / 2 + 1));
    pthread_mutex_lock(&control->lock);
    control->tried = true;
    pthread_cond_broadcast(&control->changed);
    while (!control->stop && cond_wait_until(&control->changed, &control->lock, until_us))
        continue;
    bool stop = control->stop;
    pthread_mutex_unlock(&control->lock);
    return stop;
}

static void *run(void *context)
{
    struct control *control = context;
    pthread_setname_np(pthread_self(), "control");
    do
        look(control);
    while (!await_next(control));
    return NULL;
}

static void await_first(struct control *control)
{
    int64_t until_us = clock_deadline_us(FIRST_MS);
    pthread_mutex_lock(&control->lock);
    while (!control->tried && cond_wait_until(&control->changed, &control->lock, until_us))
        continue;
    pthread_mutex_unlock(&control->lock);
}

struct control *control_start(const struct control_options *options)
{
    struct control *control = mem_zalloc(sizeof *control);
    control->options = *options;
    control->retry_ms = RETRY_MIN_MS;
    control->read_us = clock_mono_us();
    control_board_init(&control->board);
    control->board.state.settings = options->defaults; /* no thread has read it yet */
    control->primary = control_reader_create(options->database_url, "firstcome_query", true);
    control->standby = control_reader_create(options->database_url, "firstcome_query", false);
    CHECK(pthread_mutex_init(&control->lock, NULL) == 0);
    CHECK(pthread_cond_init(&control->changed, NULL) == 0);
    CHECK(pthread_create(&control->thread, NULL, run, control) == 0);
    await_first(control);
    return control;
}

void control_stop(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    control->stop = true;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->lock);
    CHECK(pthread_join(control->thread, NULL) == 0);
    control_reader_destroy(control->primary);
    control_reader_destroy(control->standby);
    pthread_cond_destroy(&control->changed);
    pthread_mutex_destroy(&control->lock);
    control_board_deinit(&control->board);
    mem_free(control);
}

bool control_refuses(struct control *control, const struct api_key *key)
{
    return control_suspended(control_board_read(&control->board), key);
}

struct entry_life control_life(struct control *control)
{
    const struct settings *settings = &control_board_read(&control->board)->settings;
    return (struct entry_life){
        .fresh_us = settings_get(settings, SETTING_fresh_ms) * US_PER_MS,
        .stale_us = settings_get(settings, SETTING_stale_ms) * US_PER_MS,
        .error_us = settings_get(settings, SETTING_stale_if_error_ms) * US_PER_MS,
    };
}
