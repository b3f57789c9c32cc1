/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that join the log with what users were told. */
#include <inttypes.h>

#include "bench/storm/checker_state.h"
#include "common/base/clock.h"

/* --- Coupons as JSON --- */

static bool member_text(const struct json_value *object, const char *name, struct span *ret)
{
    return json_as_text(json_member(object, name), ret);
}

/* A coupon as the JSON of a 201 says it. Borrowed from the document. */
struct coupon_view {
    struct span coupon_id, campaign_id, user_id, code;
    int64_t sequence, issued_at_us;
};

static bool coupon_view_read(const struct json_value *object, struct coupon_view *ret)
{
    struct span issued_at;
    return member_text(object, "coupon_id", &ret->coupon_id) &&
           member_text(object, "campaign_id", &ret->campaign_id) &&
           member_text(object, "user_id", &ret->user_id) && member_text(object, "code", &ret->code) &&
           member_text(object, "issued_at", &issued_at) && time_parse(issued_at, &ret->issued_at_us) &&
           json_as_int(json_member(object, "sequence"), &ret->sequence);
}

/* NULL, or which member differs from the log. */
static const char *coupon_view_difference(const struct checker *checker, const struct coupon_view *view,
                                          const struct coupon_row *row)
{
    struct position at;
    uint32_t user;
    if (!coupon_id_parse(view->coupon_id, &at) || at.slice != checker->slice || at.position != row->position)
        return "coupon_id";
    if (!span_equal(view->campaign_id, checker->campaign.id))
        return "campaign_id";
    if (!user_name_parse(checker->campaign.names, view->user_id, &user) || user != row->user)
        return "user_id";
    if (view->sequence != row->sequence)
        return "sequence";
    if (view->issued_at_us != row->recorded_at_us)
        return "issued_at";
    return view->code.len ? NULL : "code";
}

/* --- Who asked what, when --- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void note_attempt(struct checker *checker, const struct attempt *attempt, uint32_t index)
{
    CHECK(attempt->user < checker->campaign.users && attempt->key < checker->campaign.keys);
    struct user_row *user = &checker->users[attempt->user];
    struct key_row *key = &checker->keys[attempt->key];
    user->key = user->key == NOBODY || user->key == attempt->key ? attempt->key : SEVERAL;
    user->first_sent_us = earlier(user->first_sent_us, attempt->sent_us);
    user->unsure = user->unsure || outcome_unsure((enum outcome)attempt->outcome);
    key->first_sent_us = earlier(key->first_sent_us, attempt->sent_us);
    key->attempts++;
    if (attempt->outcome != OUTCOME_ISSUED)
        return;
    key->unmarked += !attempt->replayed;
    if (attempt->done_us < key->issued_us) {
        key->issued_us = attempt->done_us;
        key->issued_by = index;
    }
}

/* --- 201s against the log --- */

static struct coupon_row *find_coupon(struct checker *checker, int64_t position)
{
    size_t low = 0, high = checker->coupons_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (checker->coupons[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < checker->coupons_count && checker->coupons[low].position == position;
    return found ? &checker->coupons[low] : NULL;
}

static bool read_place(const struct json_value *coupon, struct position *ret)
{
    const struct json_value *place = json_member(coupon, "position");
    int64_t slice;
    if (!json_as_int(json_member(place, "slice"), &slice) || slice < 0 || slice >= SLICE_COUNT)
        return false;
    ret->slice = (int16_t)slice;
    return json_as_int(json_member(place, "position"), &ret->position);
}

/* NULL with *ret, or what is wrong with a 201. */
static const char *answer_difference(struct checker *checker, const struct attempt *attempt,
                                     const struct json_value *coupon, struct coupon_row **ret)
{
    struct coupon_view view;
    struct position at;
    uint32_t user;
    if (!coupon_view_read(coupon, &view) || !read_place(coupon, &at))
        return "is not a coupon";
    if (!user_name_parse(checker->campaign.names, view.user_id, &user) || user != attempt->user)
        return "has somebody else's coupon";
    *ret = at.slice == checker->slice ? find_coupon(checker, at.position) : NULL;
    if (!*ret)
        return "has a coupon that is not in the log";
    if (attempt->token.slice != at.slice || attempt->token.position < at.position)
        return "has a Consistency-Token that does not cover it";
    return coupon_view_difference(checker, &view, *ret);
}

static void check_answer(struct checker *checker, const struct attempts *attempts,
                         const struct attempt *attempt)
{
    struct json_fault fault;
    struct json_doc *doc = json_parse(attempts_body(attempts, attempt), &fault);
    struct coupon_row *row = NULL;
    const char *wrong =
        doc ? answer_difference(checker, attempt, json_root(doc), &row) : "has a 201 that is not JSON";
    if (checker_expect(checker, RULE_ANSWER, wrong == NULL,
                       "user %" PRIu32 ": the answer differs from the log: %s", attempt->user,
                       wrong ? wrong : "")) {
        CHECK(row); /* without a difference there is one */
        row->answered_us = earlier(row->answered_us, attempt->done_us);
        row->key = attempt->key;
        checker->keys[attempt->key].coupon = (uint32_t)(row - checker->coupons);
    }
    json_destroy(doc);
}

static void check_repeat(struct checker *checker, const struct attempts *attempts, uint32_t index)
{
    const struct attempt *attempt = &attempts->list[index];
    const struct key_row *key = &checker->keys[attempt->key];
    if (key->issued_by != index)
        checker_expect(checker, RULE_SAME_BYTES,
                       span_equal(attempts_body(attempts, attempt),
                                  attempts_body(attempts, &attempts->list[key->issued_by])),
                       "user %" PRIu32 ": two 201s for one key differ", attempt->user);
    bool first = key->issued_by == index || (attempt->sent_us <= key->issued_us && key->unmarked == 1);
    bool right = attempt->replayed ? key->attempts > 1 : first;
    checker_expect(checker, RULE_REPLAYED, right, "user %" PRIu32 ": %s", attempt->user,
                   attempt->replayed ? "a first answer calls itself a repeated one"
                                     : "a repeated answer does not say so");
}

/* --- Coupons against 201s --- */

/* For a coupon nobody got a 201 for, the key is known where its user had but one. */
static void attribute(struct checker *checker, struct coupon_row *row)
{
    const struct user_row *user = row->user < checker->campaign.users ? &checker->users[row->user] : NULL;
    if (row->key == NOBODY && user && user->key < SEVERAL && user->held == 1) {
        row->key = user->key;
        checker->keys[row->key].coupon = (uint32_t)(row - checker->coupons);
    }
    if (row->key != NOBODY)
        row->first_sent_us = checker->keys[row->key].first_sent_us;
    else if (user)
        row->first_sent_us = user->first_sent_us;
}

static void check_answered(struct checker *checker, const struct coupon_row *row)
{
    if (row->user >= checker->campaign.users)
        return; /* ASKED said so */
    checker_expect(checker, RULE_UNANSWERED, row->answered_us != NEVER_US || checker->users[row->user].unsure,
                   "sequence %" PRId64 ": its user %" PRIu32
                   " got an answer every time, but never this coupon",
                   row->sequence, row->user);
}

/* A refusal of a key that took effect. After its 201 was there, any is wrong. At the same time, "sold out"
 * and "already issued" are wrong too, because stock never comes back: decided before the effect they
 * contradict it, decided after it the key had to be recognised. */
static void check_refusal(struct checker *checker, const struct attempts *attempts,
                          const struct attempt *attempt)
{
    const struct key_row *key = &checker->keys[attempt->key];
    const char *problem = attempts_problem(attempts, attempt);
    bool about_stock = strcmp(problem, "sold-out") == 0 || strcmp(problem, "already-issued") == 0;
    bool contradicts = key->coupon != NOBODY && about_stock;
    checker_expect(checker, RULE_REFUSED, attempt->sent_us <= key->issued_us && !contradicts,
                   "user %" PRIu32 ": refused (%s) with a key that has a coupon", attempt->user, problem);
}

static int64_t first_sold_out_us(const struct attempts *attempts)
{
    int64_t first_us = NEVER_US;
    for (size_t i = 0; i < attempts->count; i++)
        if (strcmp(attempts_problem(attempts, &attempts->list[i]), "sold-out") == 0)
            first_us = earlier(first_us, attempts->list[i].done_us);
    return first_us;
}

static void check_sold_out(struct checker *checker, const struct attempts *attempts)
{
    int64_t first_us = first_sold_out_us(attempts);
    for (size_t i = 0; i < checker->coupons_count && first_us != NEVER_US; i++) {
        const struct coupon_row *row = &checker->coupons[i];
        bool known = row->first_sent_us != NEVER_US;
        checker_expect(checker, RULE_SOLD_OUT, !known || row->first_sent_us <= first_us,
                       "sequence %" PRId64 ": its user %" PRIu32
                       " asked after somebody was told \"sold out\"",
                       row->sequence, row->user);
    }
}

/* From the last sequence to the first: whoever comes earlier must have asked before any later one was
 * answered. Rows are in log order, which SEQUENCE holds to be the order of sequences. */
static void check_order(struct checker *checker)
{
    int64_t answered_us = NEVER_US;
    for (size_t i = checker->coupons_count; i-- > 0;) {
        const struct coupon_row *row = &checker->coupons[i];
        checker_expect(checker, RULE_ORDER,
                       row->first_sent_us == NEVER_US || row->first_sent_us <= answered_us,
                       "sequence %" PRId64 ": its user %" PRIu32 " asked after a later sequence was answered",
                       row->sequence, row->user);
        answered_us = earlier(answered_us, row->answered_us);
    }
}

static void check_count(struct checker *checker)
{
    const struct checked_campaign *asked = &checker->campaign;
    int64_t issued = (int64_t)checker->coupons_count;
    int64_t expected = asked->demand < asked->quantity ? asked->demand : asked->quantity;
    checker_expect(checker, RULE_COUNT, issued == expected, "%" PRId64 " coupons are issued, not %" PRId64,
                   issued, expected);
}

void checker_answers(struct checker *checker, const struct attempts *attempts)
{
    CHECK(attempts->count < SEVERAL);
    check_count(checker);
    for (size_t i = 0; i < attempts->count; i++)
        note_attempt(checker, &attempts->list[i], (uint32_t)i);
    for (size_t i = 0; i < attempts->count; i++)
        if (attempts->list[i].outcome == OUTCOME_ISSUED) {
            check_answer(checker, attempts, &attempts->list[i]);
            check_repeat(checker, attempts, (uint32_t)i);
        }
    for (size_t i = 0; i < checker->coupons_count; i++) {
        attribute(checker, &checker->coupons[i]);
        check_answered(checker, &checker->coupons[i]);
    }
    for (size_t i = 0; i < attempts->count; i++)
        if (attempts->list[i].outcome == OUTCOME_REFUSED)
            check_refusal(checker, attempts, &attempts->list[i]);
    check_order(checker);
    check_sold_out(checker, attempts);
}
