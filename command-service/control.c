/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that keeps the control state current. It never writes. */
#include "command-service/control.h"

#include <stdatomic.h>

#include "command-service/core/command.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/service.h"
#include "events/control/reader.h"

enum { RETRY_MIN_MS = 20 };

struct control {
    struct control_options options;
    struct control_board board;
    struct service_part *ready; /* when the table was read once */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stop;
    atomic_bool looked; /* the first look is over; read without the lock, set under it */
    struct command *held, **held_end;
    /* The rest is the thread's alone. */
    struct control_reader *reader;
    int64_t retry_ms; /* until the next look after a failed one */
    int64_t read_us;  /* monotonic: of the last look that went well, at first of the start */
    bool again;       /* the last look was overtaken by a note */
};

static struct {
    struct metric *errors, *suspended, *profile, *age;
} metrics;

static void metrics_setup(void)
{
    metrics.errors = metric_counter("coupon_control_errors_total",
                                    "Looks at settings and kill switches that failed", NULL);
    metrics.suspended = metric_gauge("coupon_issuers_suspended", "API keys that may write nothing", NULL);
    metrics.age = metric_gauge_micro("coupon_control_age_seconds",
                                     "Since settings and kill switches were last read", NULL);
    metrics.profile = metric_gauge("coupon_settings_profile",
                                   "Profile of the settings: 0 normal, 1 spike, 2 incident", NULL);
}

/* --- Looking --- */

static void warn_unknown(const struct control_row *row)
{
    log_warn("CONTROL-UNKNOWN",
             "table control has kind %lld '%.*s' with a value that this version does not know; the profile's "
             "holds",
             (long long)row->kind, SPAN_ARG(row->name));
}

/* false: nothing new is known. */
static bool read_table(struct control *control, struct control_state *ret)
{
    struct control_clock clock;
    if (control_reader_read(control->reader, control->options.keyring, ret, &clock, warn_unknown))
        return true;
    log_warn("CONTROL-READ", "cannot read settings and kill switches: %s",
             control_reader_error(control->reader));
    return false;
}

static void look(struct control *control)
{
    struct control_state state;
    control_state_init(&state);
    state.settings = control->options.defaults;
    uint64_t begun = control_board_begin(&control->board);
    if (read_table(control, &state)) {
        control->again = !control_board_publish(&control->board, &state, begun);
        service_part_set(control->ready, true);
        control->retry_ms = RETRY_MIN_MS;
        control->read_us = clock_mono_us();
    } else {
        metric_add(metrics.errors, 1);
        control->retry_ms =
            2 * control->retry_ms < CONTROL_PAUSE_MS ? 2 * control->retry_ms : CONTROL_PAUSE_MS;
    }
    const struct control_state *held = control_board_read(&control->board);
    log_use_level(settings_get(&held->settings, SETTING_log_level));
    metric_set(metrics.suspended, (int64_t)control_suspended_count(held));
    metric_set(metrics.age, clock_mono_us() - control->read_us);
    metric_set(metrics.profile, held->settings.profile);
}

/* Until the next look; true when there is none. With jitter, so that many services do not look at once. */
static bool await_next(struct control *control)
{
    int64_t pause_ms = !control_reader_connected(control->reader) ? control->retry_ms
                       : control->again                           ? RETRY_MIN_MS
                                                                  : CONTROL_PAUSE_MS;
    int64_t until_us = clock_deadline_us(pause_ms / 2 + crypto_random_below((uint32_t)pause_ms / 2 + 1));
    pthread_mutex_lock(&control->lock);
    while (!control->stop && cond_wait_until(&control->changed, &control->lock, until_us))
        ;
    bool stop = control->stop;
    pthread_mutex_unlock(&control->lock);
    return stop;
}

static void end_hold(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    struct command *held = control->held;
    control->held = NULL;
    control->looked = true;
    pthread_mutex_unlock(&control->lock);
    while (held) {
        struct command *command = held;
        held = command->next;
        command->next = NULL;
        command_change_state(command, COMMAND_NEW);
        control->options.resume(command, control->options.context);
    }
}

static void *control_main(void *context)
{
    struct control *control = context;
    pthread_setname_np(pthread_self(), "control");
    look(control);
    end_hold(control);
    while (!await_next(control))
        look(control);
    return NULL;
}

/* --- Life, and what others ask --- */

struct control *control_start(const struct control_options *options)
{
    struct control *control = mem_zalloc(sizeof *control);
    metrics_setup();
    control->options = *options;
    control->retry_ms = RETRY_MIN_MS;
    control->read_us = clock_mono_us();
    control->held_end = &control->held;
    control->ready = service_part_create("settings");
    control_board_init(&control->board);
    control->board.state.settings = options->defaults; /* no thread has read it yet */
    /* A standby would say tomorrow what holds today. */
    control->reader = control_reader_create(options->database_url, "firstcome_command", true);
    CHECK(pthread_mutex_init(&control->lock, NULL) == 0);
    CHECK(pthread_cond_init(&control->changed, NULL) == 0);
    CHECK(pthread_create(&control->thread, NULL, control_main, control) == 0);
    return control;
}

void control_stop(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    control->stop = true;
    pthread_cond_signal(&control->changed);
    pthread_mutex_unlock(&control->lock);
    CHECK(pthread_join(control->thread, NULL) == 0);
    control_reader_destroy(control->reader);
    pthread_cond_destroy(&control->changed);
    pthread_mutex_destroy(&control->lock);
    control_board_deinit(&control->board);
    mem_free(control);
}

const struct control_state *control_now(struct control *control)
{
    return control_board_read(&control->board);
}

void control_note(struct control *control, const struct control_row *row)
{
    control_board_note(&control->board, row, control->options.keyring);
}

bool control_looked(const struct control *control)
{
    return control->looked;
}

void control_hold(struct control *control, struct command *command)
{
    pthread_mutex_lock(&control->lock);
    bool hold = !control->looked;
    if (hold) {
        command_change_state(command, COMMAND_HELD);
        *control->held_end = command;
        control->held_end = &command->next;
    }
    pthread_mutex_unlock(&control->lock);
    if (!hold)
        control->options.resume(command, control->options.context);
}

const struct keyring *control_keyring(const struct control *control)
{
    return control->options.keyring;
}
