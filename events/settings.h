/* SPDX-License-Identifier: Apache-2.0 */
/* Settings at run time: a fixed list (events/settings.def), each with bounds and a value per profile. What
 * was set is in table `control` as text and in the log as SettingChanged; this is what it means. Pure; a
 * struct settings is a value, to be copied and compared freely. */
#pragma once

#include "common/base/bytes.h"

enum setting {
#define X(name, min, max, unit, normal, spike, incident, owner, meaning) SETTING_##name,
#include "events/settings.def"
#undef X
    SETTING_COUNT
};

enum profile { PROFILE_NORMAL, PROFILE_SPIKE, PROFILE_INCIDENT, PROFILE_COUNT };

/* How tables and clients call the setting that picks the column; the only one whose value is not a number. */
#define SETTING_PROFILE "profile"

struct setting_info {
    const char *name;
    int64_t min, max;
    const char *unit;
    int64_t of_profile[PROFILE_COUNT];
    const char *owner, *meaning;
};

/* Longest text of a name and of a value, for who keeps them. */
enum { SETTING_NAME_MAX = 64, SETTING_VALUE_MAX = 20 };

struct settings {
    enum profile profile;
    bool profile_set;              /* or normal because nobody said otherwise */
    bool is_set[SETTING_COUNT];    /* by itself, so that the profile does not matter */
    int64_t values[SETTING_COUNT]; /* where is_set */
    int64_t normal[SETTING_COUNT]; /* under profile normal, where nothing is set */
};

enum settings_fault {
    SETTINGS_OK,
    SETTINGS_UNKNOWN,      /* there is no such setting */
    SETTINGS_MALFORMED,    /* not a decimal number, or not the name of a profile */
    SETTINGS_OUT_OF_RANGE, /* beyond the setting's min or max */
};

/* Where a value comes from. */
enum setting_source { SOURCE_DEFAULT, SOURCE_PROFILE, SOURCE_SET };

extern const struct setting_info setting_infos[SETTING_COUNT];
extern const char *const profile_names[PROFILE_COUNT];

/* Nothing set, profile normal. */
void settings_init(struct settings *settings);
/* Another value under profile normal than the registry's: an option of the service. It must be within the
 * setting's bounds. */
void settings_default(struct settings *settings, enum setting setting, int64_t value);
/* Sets a setting, or the profile, by its name; an absent value takes it back to what the profile says. What
 * is refused changes nothing. */
enum settings_fault settings_set(struct settings *settings, struct span name, struct span value) MUST_USE;
int64_t settings_get(const struct settings *settings, enum setting setting);
/* What it would be under another profile, were it not set by itself. */
int64_t settings_of_profile(const struct settings *settings, enum setting setting, enum profile profile);
enum setting_source settings_source(const struct settings *settings, enum setting setting);
/* The setting of a name; false where there is none (SETTING_PROFILE is not in the list). */
bool setting_find(struct span name, enum setting *ret) MUST_USE;
