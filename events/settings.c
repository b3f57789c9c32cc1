/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of settings as a table, and the rules by which a value comes about. */
#include "events/settings.h"

const struct setting_info setting_infos[SETTING_COUNT] = {
#define X(name, min, max, unit, normal, spike, incident, owner, meaning) \
    [SETTING_##name] = {#name, min, max, unit, {normal, spike, incident}, owner, meaning},
#include "events/settings.def"
#undef X
};

const char *const profile_names[PROFILE_COUNT] = {
    [PROFILE_NORMAL] = "normal",
    [PROFILE_SPIKE] = "spike",
    [PROFILE_INCIDENT] = "incident",
};

void settings_init(struct settings *settings)
{
    memset(settings, 0, sizeof *settings);
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++)
        settings->normal[setting] = setting_infos[setting].of_profile[PROFILE_NORMAL];
}

void settings_default(struct settings *settings, enum setting setting, int64_t value)
{
    CHECK(setting < SETTING_COUNT);
    CHECK(value >= setting_infos[setting].min && value <= setting_infos[setting].max);
    settings->normal[setting] = value;
}

bool setting_find(struct span name, enum setting *ret)
{
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++)
        if (span_is(name, setting_infos[setting].name)) {
            *ret = setting;
            return true;
        }
    return false;
}

static enum settings_fault profile_set(struct settings *settings, struct span value)
{
    enum profile profile = PROFILE_NORMAL;
    while (value.ptr && profile < PROFILE_COUNT && !span_is(value, profile_names[profile]))
        profile++;
    if (profile == PROFILE_COUNT)
        return SETTINGS_MALFORMED;
    settings->profile = profile;
    settings->profile_set = value.ptr != NULL;
    return SETTINGS_OK;
}

enum settings_fault settings_set(struct settings *settings, struct span name, struct span value)
{
    enum setting setting;
    int64_t number = 0;
    if (span_is(name, SETTING_PROFILE))
        return profile_set(settings, value);
    if (!setting_find(name, &setting))
        return SETTINGS_UNKNOWN;
    if (value.ptr && !parse_i64(value, INT64_MIN, INT64_MAX, &number))
        return SETTINGS_MALFORMED;
    if (value.ptr && (number < setting_infos[setting].min || number > setting_infos[setting].max))
        return SETTINGS_OUT_OF_RANGE;
    settings->is_set[setting] = value.ptr != NULL;
    settings->values[setting] = number;
    return SETTINGS_OK;
}

int64_t settings_get(const struct settings *settings, enum setting setting)
{
    CHECK(setting < SETTING_COUNT);
    return settings->is_set[setting] ? settings->values[setting]
                                     : settings_of_profile(settings, setting, settings->profile);
}

int64_t settings_of_profile(const struct settings *settings, enum setting setting, enum profile profile)
{
    CHECK(setting < SETTING_COUNT && profile < PROFILE_COUNT);
    return profile == PROFILE_NORMAL ? settings->normal[setting] : setting_infos[setting].of_profile[profile];
}

enum setting_source settings_source(const struct settings *settings, enum setting setting)
{
    CHECK(setting < SETTING_COUNT);
    if (settings->is_set[setting])
        return SOURCE_SET;
    return settings->profile == PROFILE_NORMAL ? SOURCE_DEFAULT : SOURCE_PROFILE;
}
