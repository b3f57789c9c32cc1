/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/status of a command service: one page that says what it waits for and what holds it back. Each
 * service speaks for itself; what of it is the store's is the same in all of them. */
#include "command-service/http/internal.h"

#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/process.h"
#include "events/problems.h"

enum { HOST_MAX = 256 };

static const char *disk_word(enum disk_verdict verdict)
{
    static const char *const words[] = {[DISK_OK] = "ok",
                                        [DISK_WARN] = "nearly full",
                                        [DISK_REFUSE_NEW] = "no new campaigns",
                                        [DISK_REFUSE_WRITES] = "no writes"};
    return words[verdict];
}

/* Host and process: what tells apart the services that one address may lead to. */
static void write_instance(struct buf *out)
{
    char host[HOST_MAX] = "";
    struct buf name;
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    buf_init(&name, HOST_MAX + 32);
    buf_printf(&name, "%s:%ld", host, (long)getpid());
    json_put_string(out, "instance", buf_span(&name));
    buf_deinit(&name);
}

/* The bottleneck in one word: the first of what would refuse. */
static const char *bottleneck(enum disk_verdict disk, size_t stores_away, bool waits)
{
    if (stores_away > 0)
        return "store";
    if (disk >= DISK_REFUSE_NEW)
        return "disk";
    return waits ? "queue" : "none";
}

static size_t write_queues(struct buf *out, struct api *api, bool *ret_waits)
{
    size_t away = 0;
    json_open(out, "slices", '[');
    for (int16_t slice = 0; slice < SLICE_COUNT; slice++) {
        struct queue_facts facts = queue_look(committers_queue(api->committers, slice));
        json_open(out, NULL, '{');
        json_put_int(out, "slice", slice);
        json_put_int(out, "waiting", (int64_t)facts.depth);
        json_put_int(out, "waiting_max", (int64_t)facts.queue_max);
        json_put_int(out, "predicted_wait_ms", facts.wait_us / US_PER_MS);
        json_put_bool(out, "store_available", facts.available);
        json_close(out, '}');
        away += !facts.available;
        *ret_waits |= facts.wait_us / US_PER_MS > api->request_deadline_ms / 2;
    }
    json_close(out, ']');
    return away;
}

static void write_limits(struct buf *out, const struct settings *settings)
{
    json_open(out, "limits", '{');
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++)
        json_put_int(out, setting_infos[setting].name, settings_get(settings, setting));
    json_close(out, '}');
}

void api_get_status(struct http_request *request, void *context)
{
    static const char *const none[] = {NULL};
    struct api *api = context;
    if (!http_query_only(request, none))
        return;
    const struct control_state *state = control_now(api->control);
    enum disk_verdict disk = disk_guard_verdict(api->gate.disk);
    bool waits = false;
    struct buf *out = http_reply_body(request);
    json_open(out, NULL, '{');
    json_put_string(out, "service", SPAN("command-service"));
    write_instance(out);
    json_put_string(out, "version", span_of(program_version()));
    json_put_time(out, "since", api->started_at_us);
    json_put_string(out, "profile", span_of(profile_names[state->settings.profile]));
    json_put_string(out, "disk", span_of(disk_word(disk)));
    size_t away = write_queues(out, api, &waits);
    json_put_string(out, "bottleneck", span_of(bottleneck(disk, away, waits)));
    write_limits(out, &state->settings);
    json_close(out, '}');
    http_add_header(request, "Cache-Control", SPAN("no-store"));
    http_reply(request, 200);
}
