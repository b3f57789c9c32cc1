/* SPDX-License-Identifier: Apache-2.0 */
/* Which copies a hint concerns, and which it leaves alone. */
#include "query-service/cache/invalidation.h"

#include "common/base/testing.h"
#include "readmodel/keys.h"

static struct invalidation changes;

static struct entry *copy_about(struct entry_subject subject)
{
    static const struct entry_rendering rendering = {.until_us = ENTRY_FOREVER};
    int64_t positions[SLICE_COUNT];
    for (int slice = 0; slice < SLICE_COUNT; slice++)
        positions[slice] = 100;
    return entry_create(&(struct entry_source){.renderings = &rendering,
                                               .renderings_count = 1,
                                               .status = 200,
                                               .subject = &subject,
                                               .stands_on = positions,
                                               .began_us = 1000,
                                               .ended_us = 1100},
                        0.5);
}

static struct entry_subject of_campaign(const char *id)
{
    return (struct entry_subject){entry_campaign_slot(span_of(id)), ENTRY_NO_BUCKET, false,
                                  (uint16_t)(1u << slice_of(span_of(id)))};
}

static struct entry_subject of_user(const char *id)
{
    return (struct entry_subject){.campaign_slot = ENTRY_CAMPAIGN_SLOTS,
                                  .bucket = user_group(user_hash(span_of(id))),
                                  .slices = 0xFFFF};
}

static bool concerns(struct entry_subject subject)
{
    struct entry *entry = copy_about(subject);
    bool concern = invalidation_concerns(&changes, entry);
    entry_release(entry);
    return concern;
}

static const struct entry_subject list = {
    .campaign_slot = ENTRY_CAMPAIGN_SLOTS, .bucket = ENTRY_NO_BUCKET, .every = true, .slices = 0xFFFF};

static void what_is_named_is_concerned(void **)
{
    invalidation_init(&changes);
    struct hint hint = {.slice = slice_of(SPAN("summer")), .position = 500, .campaigns = {SPAN("summer")}};
    hint.campaigns_count = 1;
    hint.users[0] = user_group(user_hash(SPAN("kim")));
    hint.users_count = 1;
    assert_false(concerns(of_campaign("summer")));
    assert_true(invalidation_note(&changes, &hint, -1, 2000));
    assert_true(concerns(of_campaign("summer")));
    assert_false(concerns(of_campaign("winter")));
    assert_true(concerns(of_user("kim")));
    assert_false(concerns(of_user("lee")));
    assert_true(concerns(list));
}

static void what_was_loaded_later_is_not(void **)
{
    invalidation_init(&changes);
    struct hint hint = {.slice = 1, .position = 500, .campaigns = {SPAN("summer")}, .campaigns_count = 1};
    assert_true(invalidation_note(&changes, &hint, -1, 999)); /* copies here are loaded from 1000 on */
    assert_false(concerns(of_campaign("summer")));
    assert_true(invalidation_note(&changes, &hint, -1, 1000)); /* in the same moment: rather once too often */
    assert_true(concerns(of_campaign("summer")));
    assert_true(invalidation_note(&changes, &hint, -1, 500)); /* an instant never goes back */
    assert_true(concerns(of_campaign("summer")));
}

/* A hint without names is about all of its slice, as far as it is ahead of the copy. */
static void without_names_positions_tell(void **)
{
    int16_t slice = slice_of(SPAN("summer"));
    invalidation_init(&changes);
    assert_true(invalidation_note(&changes, &(struct hint){.slice = slice, .position = 100}, -1, 2000));
    assert_false(concerns(of_campaign("summer")));
    assert_true(invalidation_note(&changes, &(struct hint){.slice = slice, .position = 101}, -1, 2000));
    assert_true(concerns(of_campaign("summer")));
    assert_true(concerns(list));
    assert_true(concerns(of_user("kim")));
    invalidation_init(&changes);
    struct hint other = {.slice = (int16_t)((slice + 1) % SLICE_COUNT), .position = 101};
    assert_true(invalidation_note(&changes, &other, -1, 2000));
    assert_false(concerns(of_campaign("summer")));
    struct hint more = {.slice = slice, .position = 102, .everything = true, .rankings = true};
    assert_true(invalidation_note(&changes, &more, -1, 2000));
    assert_true(concerns(of_campaign("summer")));
}

/* A hint of another database, or of nobody's: it must not overtake every copy for good. */
static void the_incredible_is_not_believed(void **)
{
    int16_t slice = slice_of(SPAN("summer"));
    invalidation_init(&changes);
    struct hint hint = {.slice = slice, .position = INT64_MAX};
    assert_false(invalidation_note(&changes, &hint, 100, 2000));
    hint.position = 101 + INVALIDATION_AHEAD_MAX;
    assert_false(invalidation_note(&changes, &hint, 100, 2000));
    assert_false(concerns(of_campaign("summer")));
    hint.position--;
    assert_true(invalidation_note(&changes, &hint, 100, 2000));
    assert_true(concerns(of_campaign("summer")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_named_is_concerned),
        cmocka_unit_test(what_was_loaded_later_is_not),
        cmocka_unit_test(without_names_positions_tell),
        cmocka_unit_test(the_incredible_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
