/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and kill switches over HTTP. What they may be set to is said by events/settings.def. */
#include "command-service/http/internal.h"

#include "command-service/http/requests.h"
#include "events/problems.h"

/* --- Reading --- */

/* Who set what; `count` -1 where the store did not say, and so nothing is said. */
struct changes {
    const struct control_change *items;
    int count;
};

static const struct control_change *change_of(const struct changes *changes, enum control_kind kind,
                                              const char *name)
{
    for (int i = 0; i < changes->count; i++)
        if (changes->items[i].kind == kind && span_is(changes->items[i].name, name))
            return &changes->items[i];
    return NULL;
}

static void write_change(struct buf *out, const char *when, const struct control_change *change)
{
    if (!change)
        return;
    json_put_time(out, when, change->at_us);
    json_put_string(out, "by", change->by);
    if (change->reason.len)
        json_put_string(out, "reason", change->reason);
}

static void write_setting(struct buf *out, const struct settings *settings, enum setting setting,
                          const struct changes *changes)
{
    static const char *const sources[] = {
        [SOURCE_DEFAULT] = "default", [SOURCE_PROFILE] = "profile", [SOURCE_SET] = "set"};
    const struct setting_info *info = &setting_infos[setting];
    json_open(out, NULL, '{');
    json_put_string(out, "name", span_of(info->name));
    json_put_int(out, "value", settings_get(settings, setting));
    json_put_string(out, "source", span_of(sources[settings_source(settings, setting)]));
    if (settings_source(settings, setting) == SOURCE_SET)
        write_change(out, "since", change_of(changes, CONTROL_SETTING, info->name));
    json_put_int(out, "min", info->min);
    json_put_int(out, "max", info->max);
    json_put_string(out, "unit", span_of(info->unit));
    json_put_string(out, "meaning", span_of(info->meaning));
    json_open(out, "profiles", '{');
    for (enum profile profile = 0; profile < PROFILE_COUNT; profile++)
        json_put_int(out, profile_names[profile], settings_of_profile(settings, setting, profile));
    json_close(out, '}');
    json_close(out, '}');
}

static void write_issuers(struct buf *out, const struct control_state *state, const struct keyring *keyring,
                          const struct changes *changes)
{
    json_open(out, "issuers", '[');
    for (size_t i = 0; i < keyring_count(keyring); i++)
        json_put_string(out, NULL, span_of(keyring_at(keyring, i)->name));
    json_close(out, ']');
    json_open(out, "suspended", '[');
    for (size_t i = 0; i < keyring_count(keyring); i++)
        if (control_suspended(state, keyring_at(keyring, i)))
            json_put_string(out, NULL, span_of(keyring_at(keyring, i)->name));
    json_close(out, ']');
    json_open(out, "suspensions", '[');
    for (size_t i = 0; i < keyring_count(keyring); i++) {
        const struct api_key *key = keyring_at(keyring, i);
        if (!control_suspended(state, key))
            continue;
        json_open(out, NULL, '{');
        json_put_string(out, "issuer", span_of(key->name));
        write_change(out, "since", change_of(changes, CONTROL_ISSUER, key->name));
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void write_settings(struct buf *out, const struct control_change *items, int count, void *context)
{
    struct api *api = context;
    const struct changes changes = {items, count};
    const struct control_state *state = control_now(api->control);
    json_open(out, NULL, '{');
    json_put_string(out, "profile", span_of(profile_names[state->settings.profile]));
    json_open(out, "settings", '[');
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++)
        write_setting(out, &state->settings, setting, &changes);
    json_close(out, ']');
    const struct control_change *profile = change_of(&changes, CONTROL_SETTING, SETTING_PROFILE);
    if (profile) {
        json_open(out, "profile_set", '{');
        write_change(out, "since", profile);
        json_close(out, '}');
    }
    write_issuers(out, state, control_keyring(api->control), &changes);
    json_close(out, '}');
}

void api_get_settings(struct http_request *request, void *context)
{
    struct api *api = context;
    requests_ask_changes(api->requests, request, write_settings, api);
}

/* --- Setting --- */

static const char profiles[] = "must be normal, spike or incident";

static struct span keep_number(struct command *command, int64_t number)
{
    struct buf text;
    buf_init(&text, SETTING_VALUE_MAX);
    buf_append_i64(&text, number);
    CHECK(!text.overflow);
    char *kept = arena_alloc(&command->arena, text.len);
    memcpy(kept, text.data, text.len);
    struct span value = {kept, text.len};
    buf_deinit(&text);
    return value;
}

/* Numbers for settings, a word for the profile, null for both. */
static bool read_value(struct command *command, const struct json_value *value, struct json_fault *fault)
{
    int64_t number;
    command->control.value = SPAN("");
    if (json_as_null(value))
        return true;
    if (span_is(command->control.name, SETTING_PROFILE)) {
        if (!json_as_text(value, &command->control.value))
            return json_fail(fault, &problem_wrong_type, "value", "must be a string or null");
        return command->control.value.len > 0 ||
               json_fail(fault, &problem_invalid_value, "value", "%s", profiles);
    }
    if (!json_as_int(value, &number))
        return json_fail(fault, &problem_wrong_type, "value", "must be an integer or null");
    command->control.value = keep_number(command, number);
    return true;
}

static bool check_value(const struct command *command, struct json_fault *fault)
{
    struct settings scratch;
    enum setting setting;
    const struct span absent = {NULL, 0};
    settings_init(&scratch);
    switch (settings_set(&scratch, command->control.name,
                         command->control.value.len ? command->control.value : absent)) {
    case SETTINGS_OK:
        return true;
    case SETTINGS_MALFORMED: /* a number was written by read_value */
        return json_fail(fault, &problem_invalid_value, "value", "%s", profiles);
    case SETTINGS_OUT_OF_RANGE:
        CHECK(setting_find(command->control.name, &setting));
        return json_fail(fault, &problem_out_of_range, "value", "must be %lld to %lld",
                         (long long)setting_infos[setting].min, (long long)setting_infos[setting].max);
    case SETTINGS_UNKNOWN:
        return json_fail(fault, &problem_unknown_setting, "name", "GET /v1/settings lists them");
    }
    UNREACHABLE("every fault is above");
}

static bool known_setting(struct span name, struct json_fault *fault)
{
    enum setting setting;
    if (span_is(name, SETTING_PROFILE) || setting_find(name, &setting))
        return true;
    return json_fail(fault, &problem_unknown_setting, "name", "GET /v1/settings lists them");
}

void api_put_setting(struct http_request *request, void *context)
{
    struct body {
        const struct json_value *value;
        struct span reason;
    } body = {0};
    static const struct json_field fields[] = {
        {"value", JSON_ANY, JSON_REQUIRED, offsetof(struct body, value), 0, 0},
        {"reason", JSON_STRING, JSON_OPTIONAL, offsetof(struct body, reason), 1, REASON_MAX},
    };
    const struct json_object_reader reader = {fields, COUNT_OF(fields), ""};
    struct command *command = command_create(COMMAND_SET, request);
    struct json_fault fault;
    bool good = false;
    command->control.name = http_param(request, 0);
    if (known_setting(command->control.name, &fault) && api_parse(command, EMPTY_IS_MALFORMED, &fault) &&
        json_read_object(json_root(command->source), &reader, &body, &fault) &&
        read_value(command, body.value, &fault) && check_value(command, &fault)) {
        command->reason = body.reason;
        good = api_check_reason(command, &fault);
    }
    if (good)
        submit(context, command, KEY_OPTIONAL);
    else
        api_refuse(command, &fault);
}

/* --- Kill switches --- */

static bool known_issuer(const struct api *api, struct span name, struct json_fault *fault)
{
    if (keyring_named(control_keyring(api->control), name))
        return true;
    return json_fail(fault, &problem_unknown_issuer, "key-name", "it is not in this service's key file");
}

/* Or nobody might be left who can resume anything. */
static bool not_own_key(const struct command *command, struct json_fault *fault)
{
    if (command->kind != COMMAND_SUSPEND || !span_is(command->control.name, http_key(command->request)->name))
        return true;
    return json_fail(fault, &problem_own_key, "key-name", "use another admin key");
}

static void post_issuer(struct http_request *request, struct api *api, enum command_kind kind)
{
    struct command *command = command_create(kind, request);
    struct json_fault fault;
    command->control.name = http_param(request, 0);
    if (known_issuer(api, command->control.name, &fault) && not_own_key(command, &fault) &&
        api_read_reason(command, &fault))
        submit(api, command, KEY_REQUIRED);
    else
        api_refuse(command, &fault);
}

void api_post_suspend(struct http_request *request, void *context)
{
    post_issuer(request, context, COMMAND_SUSPEND);
}

void api_post_resume_issuer(struct http_request *request, void *context)
{
    post_issuer(request, context, COMMAND_RESUME_ISSUER);
}
