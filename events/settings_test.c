/* SPDX-License-Identifier: Apache-2.0 */
/* Every setting at its bounds and one beyond, profiles, and what an explicit value does to them. */
#include "events/settings.h"

#include "common/base/testing.h"

static const char *decimal(int64_t value)
{
    static char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return text;
}

static enum settings_fault set(struct settings *settings, const char *name, const char *value)
{
    return settings_set(settings, span_of(name), span_of(value));
}

static void the_table_makes_sense(void **)
{
    for (enum setting s = 0; s < SETTING_COUNT; s++) {
        const struct setting_info *info = &setting_infos[s];
        enum setting found;
        assert_true(setting_find(span_of(info->name), &found) && found == s); /* no name twice */
        assert_in_range(strlen(info->name), 1, SETTING_NAME_MAX);
        assert_true(strlen(decimal(info->min)) <= SETTING_VALUE_MAX);
        assert_true(strlen(decimal(info->max)) <= SETTING_VALUE_MAX);
        for (enum profile p = 0; p < PROFILE_COUNT; p++)
            assert_true(info->min <= info->of_profile[p] && info->of_profile[p] <= info->max);
        assert_true(*info->unit && *info->meaning);
        assert_true(strcmp(info->owner, "all") == 0 || strcmp(info->owner, "command") == 0 ||
                    strcmp(info->owner, "query") == 0);
    }
    assert_string_equal(SETTING_PROFILE, "profile");
}

/* What the design promises to a crowd that nobody is trying to stop. */
static void normal_is_in_nobodys_way(void **)
{
    struct settings settings;
    settings_init(&settings);
    assert_int_equal(settings_get(&settings, SETTING_rate_limit_per_user), 1000);
    assert_int_equal(settings_get(&settings, SETTING_rate_limit_per_key), 0);
    assert_int_equal(settings_get(&settings, SETTING_rate_limit_per_address), 0);
    assert_int_equal(settings_get(&settings, SETTING_campaigns_per_key_per_day), 2000);
    assert_int_equal(settings_get(&settings, SETTING_campaigns_per_day), 10000);
    assert_true(settings_get(&settings, SETTING_live_coupons_max) == 10000000000);
    assert_int_equal(settings_get(&settings, SETTING_disk_warn_percent), 80);
    assert_int_equal(settings_get(&settings, SETTING_disk_refuse_campaigns_percent), 90);
    assert_int_equal(settings_get(&settings, SETTING_disk_refuse_writes_percent), 95);
    assert_int_equal(settings_get(&settings, SETTING_queue_max), 0);
}

static void each_at_its_bounds_and_one_beyond(void **)
{
    for (enum setting s = 0; s < SETTING_COUNT; s++) {
        const struct setting_info *info = &setting_infos[s];
        struct settings settings, before;
        settings_init(&settings);
        assert_int_equal(set(&settings, info->name, decimal(info->min)), SETTINGS_OK);
        assert_int_equal(settings_get(&settings, s), info->min);
        assert_int_equal(set(&settings, info->name, decimal(info->max)), SETTINGS_OK);
        assert_int_equal(settings_get(&settings, s), info->max);
        before = settings;
        assert_int_equal(set(&settings, info->name, decimal(info->min - 1)), SETTINGS_OUT_OF_RANGE);
        assert_int_equal(set(&settings, info->name, decimal(info->max + 1)), SETTINGS_OUT_OF_RANGE);
        assert_memory_equal(&settings, &before, sizeof settings);
    }
}

static void what_is_refused_changes_nothing(void **)
{
    static const struct {
        const char *name, *value;
        enum settings_fault fault;
    } cases[] = {
        {"no_such", "1", SETTINGS_UNKNOWN},
        {"", "1", SETTINGS_UNKNOWN},
        {"Fresh_ms", "1", SETTINGS_UNKNOWN},
        {"fresh_m", NULL, SETTINGS_UNKNOWN},
        {"fresh_ms", "", SETTINGS_MALFORMED},
        {"fresh_ms", "1.5", SETTINGS_MALFORMED},
        {"fresh_ms", "one", SETTINGS_MALFORMED},
        {"fresh_ms", " 1", SETTINGS_MALFORMED},
        {"fresh_ms", "99999999999999999999", SETTINGS_MALFORMED}, /* no 64 bits hold it */
        {"profile", "calm", SETTINGS_MALFORMED},
        {"profile", "", SETTINGS_MALFORMED},
        {"profile", "1", SETTINGS_MALFORMED},
    };
    struct settings settings, before;
    settings_init(&settings);
    assert_int_equal(set(&settings, "fresh_ms", "77"), SETTINGS_OK);
    assert_int_equal(set(&settings, "profile", "spike"), SETTINGS_OK);
    before = settings;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(set(&settings, cases[i].name, cases[i].value), cases[i].fault);
        assert_memory_equal(&settings, &before, sizeof settings);
    }
}

static void a_profile_picks_the_column(void **)
{
    struct settings settings;
    settings_init(&settings);
    for (enum profile p = 0; p < PROFILE_COUNT; p++) {
        assert_int_equal(set(&settings, "profile", profile_names[p]), SETTINGS_OK);
        assert_true(settings.profile == p && settings.profile_set);
        for (enum setting s = 0; s < SETTING_COUNT; s++) {
            assert_int_equal(settings_get(&settings, s), setting_infos[s].of_profile[p]);
            assert_int_equal(settings_source(&settings, s),
                             p == PROFILE_NORMAL ? SOURCE_DEFAULT : SOURCE_PROFILE);
        }
    }
    assert_int_equal(set(&settings, "profile", NULL), SETTINGS_OK);
    assert_true(settings.profile == PROFILE_NORMAL && !settings.profile_set);
}

static void an_explicit_value_wins_until_it_is_removed(void **)
{
    const enum setting s = SETTING_rate_limit_per_user;
    struct settings settings;
    settings_init(&settings);
    assert_int_equal(set(&settings, "rate_limit_per_user", "5"), SETTINGS_OK);
    assert_int_equal(settings_source(&settings, s), SOURCE_SET);
    assert_int_equal(set(&settings, "profile", "incident"), SETTINGS_OK);
    assert_int_equal(settings_get(&settings, s), 5);
    assert_int_equal(set(&settings, "rate_limit_per_user", NULL), SETTINGS_OK);
    assert_int_equal(settings_get(&settings, s), setting_infos[s].of_profile[PROFILE_INCIDENT]);
    assert_int_equal(settings_source(&settings, s), SOURCE_PROFILE);
}

static void options_change_what_is_normal(void **)
{
    struct settings settings;
    settings_init(&settings);
    settings_default(&settings, SETTING_issue_sla_ms, 0);
    assert_int_equal(settings_get(&settings, SETTING_issue_sla_ms), 0);
    assert_int_equal(settings_source(&settings, SETTING_issue_sla_ms), SOURCE_DEFAULT);
    assert_int_equal(settings_set(&settings, SPAN("profile"), SPAN("incident")), SETTINGS_OK);
    assert_int_equal(settings_get(&settings, SETTING_issue_sla_ms),
                     setting_infos[SETTING_issue_sla_ms].of_profile[PROFILE_INCIDENT]);
    assert_int_equal(settings_set(&settings, SPAN("profile"), SPAN("normal")), SETTINGS_OK);
    assert_int_equal(settings_set(&settings, SPAN("issue_sla_ms"), SPAN("7")), SETTINGS_OK);
    assert_int_equal(settings_get(&settings, SETTING_issue_sla_ms), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_makes_sense),
        cmocka_unit_test(normal_is_in_nobodys_way),
        cmocka_unit_test(each_at_its_bounds_and_one_beyond),
        cmocka_unit_test(what_is_refused_changes_nothing),
        cmocka_unit_test(a_profile_picks_the_column),
        cmocka_unit_test(an_explicit_value_wins_until_it_is_removed),
        cmocka_unit_test(options_change_what_is_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
