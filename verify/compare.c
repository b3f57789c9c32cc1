/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys are read together, and what the decoders of readmodel/ make of them beside the facts. */
#include <string.h>

#include "common/base/clock.h"
#include "events/coupon.h"
#include "readmodel/campaign_record.h"
#include "readmodel/coupon_chunk.h"
#include "readmodel/coupon_state.h"
#include "readmodel/users.h"
#include "verify/models_internal.h"

enum {
    ROUNDS_MAX = 200,  /* over campaigns that changed between asking and answer */
    CLASS_BUCKETS = 4, /* buckets that are asked for together: those there are, and two doublings more */
    CLASSES_PER_PROBE = KEYS_PER_PROBE / CLASS_BUCKETS,
    CAMPAIGNS_PER_PROBE = 8,
    NEVER_EXPIRES = -1, /* as EXPIRETIME says it */
    GONE = -2,
    CLOCKS_DIFFER_S = 60, /* between this machine and Redis */
};

static void count_keys(struct verify_models *models, int64_t keys)
{
    models->keys += keys;
    models->means->totals->keys += keys;
    models->means->tick(models->means->context, models->keys);
}

static void send_get(struct verify_models *models)
{
    probe_key_command(models, "GET");
    probe_send(models);
}

static void send_score(struct verify_models *models, enum model_index index, struct span member)
{
    key_index(&models->key, models->model, index);
    probe_key_command(models, "ZSCORE");
    redis_arg(&models->command, member);
    probe_send(models);
}

/* The name of a key for a report, from models->key. */
static struct span take_key(struct verify_models *models, struct key_name *ret)
{
    *ret = key_name_of(buf_span(&models->key));
    buf_clear(&models->key);
    return key_name_text(ret);
}

/* --- the checkpoint --- */

void compare_root(struct verify_models *models)
{
    uint8_t chain[CHAIN_BYTES] = {0};
    struct key_name name;
    if (models->facts.memory.part.value != 0)
        return;
    probe_begin(models);
    if (!probe_end(models, 0))
        return;
    const struct checkpoint *root = &models->root;
    const struct facts *facts = &models->facts;
    key_root(&models->key, models->model.slice);
    struct span key = take_key(models, &name);
    count_keys(models, 1);
    if (root->at_us != facts->at_us)
        probe_differ(models, key, "the time of its event is another");
    if (root->coupons != facts->coupons || root->buckets != users_buckets(facts->coupons))
        probe_differ(models, key, "it says %lld coupons in %lld buckets of users, the log %lld in %lld",
                     (long long)root->coupons, (long long)root->buckets, (long long)facts->coupons,
                     (long long)users_buckets(facts->coupons));
    int64_t chain_at = root->chain_at;
    struct checkpoint copy = *root;
    enum verify_status status =
        chain_at ? verify_source_chain(models->means->source, models->model.slice, chain_at, chain)
                 : VERIFY_OK;
    if (status != VERIFY_OK)
        models->failed = MODELS_STORE;
    else if (memcmp(chain, copy.chain, sizeof chain) != 0)
        probe_differ(models, key, "its hash of the log up to %lld is another: it is of another history",
                     (long long)chain_at);
    probe_report(models);
}

/* --- campaigns --- */

/* What a campaign's members were when they were asked for: it is compared only where they still are. */
struct asked {
    char id[CAMPAIGN_ID_MAX];
    size_t id_len;
    int64_t position;
};

static void send_rank(struct verify_models *models, const struct fact_campaign *is, enum counted counted)
{
    struct buf member;
    buf_init(&member, KEY_TEXT_MAX);
    rank_member_write(&member, is->counted[counted].changed_at_us, (struct span){is->id, is->id_len});
    send_score(models, index_ranking(counted), buf_span(&member));
    buf_deinit(&member);
}

enum { CAMPAIGN_COMMANDS = 2 + 2 * COUNTED_COUNT };

static struct asked send_campaign(struct verify_models *models, const struct fact_campaign *is)
{
    struct asked asked = {.id_len = is->id_len, .position = is->position};
    struct span id = {is->id, is->id_len};
    memcpy(asked.id, is->id, is->id_len);
    key_campaign(&models->key, models->model, id);
    send_get(models);
    send_score(models, INDEX_CAMPAIGNS, id);
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        send_rank(models, is, counted);
        send_score(models, index_active(counted), id);
    }
    return asked;
}

/* Every mark that a window can see must be there, and none that never was. */
static bool same_marks(const struct marks *found, const struct fact_grains *grains, int64_t grains_of_window)
{
    size_t kept = grains->count < FACT_MARKS_MAX ? grains->count : FACT_MARKS_MAX, needed = 0;
    if (found->count > kept)
        return false;
    int64_t last = kept ? grains->items[(grains->count - 1) % FACT_MARKS_MAX].grain : 0;
    for (size_t i = 1; i <= kept; i++)
        needed += grains->items[(grains->count - i) % FACT_MARKS_MAX].grain > last - grains_of_window;
    for (size_t i = 1; i <= found->count; i++) {
        const struct mark *mark = &found->items[found->count - i];
        size_t at = (grains->count - i) % FACT_MARKS_MAX;
        if (mark->grain != grains->items[at].grain || mark->before != grains->items[at].before)
            return false;
    }
    return found->count >= needed;
}

static const char *counts_difference(struct verify_models *models, const struct fact_campaign *is,
                                     const struct campaign_record *record)
{
#define GRAINS_OF(name, label, grain, grains) [name] = grains,
    static const int64_t window_grains[WINDOW_COUNT] = {WINDOWS(GRAINS_OF)};
#undef GRAINS_OF
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        const struct counted_record *found = &record->counted[counted];
        const struct fact_marks *marks =
            facts_marks(&models->facts, (struct span){is->id, is->id_len}, counted);
        if (found->activity.count != is->counted[counted].count ||
            found->reached_at_us != is->counted[counted].changed_at_us)
            return counted == COUNTED_ISSUED ? "how many were issued, and when"
                                             : "how many are redeemed, and when";
        for (enum window window = 0; marks && window < WINDOW_MARKED; window++)
            if (!same_marks(&found->activity.marks[window], &marks->windows[window], window_grains[window]))
                return "when in its windows it was active";
    }
    return NULL;
}

static const char *record_difference(struct verify_models *models, const struct fact_campaign *is,
                                     struct span bytes)
{
    struct campaign_record record;
    uint8_t definition[FACT_HASH_BYTES];
    if (!campaign_record_decode((struct span){is->id, is->id_len}, bytes, &record))
        return "it cannot be read";
    const struct campaign *found = &record.campaign;
    fact_definition_hash(record.definition, definition);
    if (memcmp(definition, is->definition, sizeof definition) != 0)
        return "the definition";
    if (found->created_at_us != is->created_at_us || found->first != is->first ||
        found->position != is->position)
        return "where in the log it began, and where it is";
    if (found->released != is->released || found->plan_done != is->plan_done ||
        found->plan_halted != is->halted)
        return "what is released";
    if (found->issued != is->counted[COUNTED_ISSUED].count || found->reserved != is->reserved ||
        found->redeemed != is->counted[COUNTED_REDEEMED].count)
        return "how many are issued, reserved and redeemed";
    if ((int16_t)found->state != is->state)
        return "the state";
    if (fact_change_hash(found->change.at_us, found->change.by, found->change.reason) != is->change)
        return "who brought it into its state, when and why";
    return counts_difference(models, is, &record);
}

static bool score_is(const struct redis_reply *reply, int64_t score)
{
    int64_t found;
    struct span text = redis_text(reply);
    return text.ptr && parse_i64(text, INT64_MIN, INT64_MAX, &found) && found == score;
}

static void compare_score(struct verify_models *models, enum model_index index,
                          const struct redis_reply *reply, bool expected, int64_t score)
{
    struct key_name name;
    if (expected ? score_is(reply, score) : redis_kind(reply) == REDIS_NIL)
        return;
    key_index(&models->key, models->model, index);
    probe_differ(models, take_key(models, &name),
                 expected ? "a campaign is missing or has another score"
                          : "it has a campaign that it should not have");
}

/* Whether the windows can still see its last change. */
static bool is_active(const struct facts *facts, const struct fact_campaign *is, enum counted counted)
{
    int64_t at_us = is->counted[counted].changed_at_us;
    return at_us > 0 && at_us >= facts->counted_at_us[counted] - ACTIVITY_KEPT_S * (int64_t)US_PER_S;
}

static void compare_campaign(struct verify_models *models, const struct fact_campaign *is,
                             const struct redis_reply *reply, size_t from)
{
    struct key_name name;
    bool deleted = is->state == CAMPAIGN_DELETED;
    struct span bytes = redis_text(redis_at(reply, from));
    key_campaign(&models->key, models->model, (struct span){is->id, is->id_len});
    struct span key = take_key(models, &name);
    const char *wrong = deleted      ? (bytes.ptr ? "a deleted campaign is there" : NULL)
                        : !bytes.ptr ? "it is missing"
                                     : record_difference(models, is, bytes);
    if (wrong)
        probe_differ(models, key, "%s", wrong);
    compare_score(models, INDEX_CAMPAIGNS, redis_at(reply, from + 1), !deleted, is->created_at_us);
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        size_t at = from + 2 + 2 * (size_t)counted;
        compare_score(models, index_ranking(counted), redis_at(reply, at), is->counted[counted].count > 0,
                      is->counted[counted].count);
        compare_score(models, index_active(counted), redis_at(reply, at + 1),
                      is_active(&models->facts, is, counted), is->counted[counted].changed_at_us);
    }
}

static void probe_campaigns(struct verify_models *models, struct fact_campaign *const *list, size_t count)
{
    struct asked asked[CAMPAIGNS_PER_PROBE];
    probe_begin(models);
    for (size_t i = 0; i < count; i++)
        asked[i] = send_campaign(models, list[i]);
    const struct redis_reply *reply = probe_end(models, count * CAMPAIGN_COMMANDS);
    for (size_t i = 0; reply && i < count; i++) {
        struct fact_campaign *is =
            facts_campaign(&models->facts, (struct span){asked[i].id, asked[i].id_len});
        if (!is || is->position != asked[i].position)
            continue; /* left to another pass, or changed meanwhile: in the next round */
        is->compared = true;
        compare_campaign(models, is, reply, 1 + i * CAMPAIGN_COMMANDS);
        count_keys(models, 1);
    }
    probe_report(models);
}

/* The next campaigns that were there when the pass came to its first checkpoint. */
static size_t pick_campaigns(struct verify_models *models, int64_t since, size_t *at,
                             struct fact_campaign *ret[CAMPAIGNS_PER_PROBE])
{
    size_t count = 0;
    struct fact_campaign *is;
    while (count < CAMPAIGNS_PER_PROBE && (is = verify_table_next(&models->facts.campaigns, at)))
        if (!is->compared && is->first && is->first <= since)
            ret[count++] = is;
    return count;
}

static int64_t holders_chunks(const struct fact_campaign *is)
{
    return (is->counted[COUNTED_ISSUED].count + HOLDERS_CHUNK - 1) / HOLDERS_CHUNK;
}

static void compare_holders(struct verify_models *models, struct span id, int64_t chunk, struct span bytes)
{
    const struct fact_holders *is = facts_holders(&models->facts, id, chunk);
    struct key_name name;
    uint64_t hash = 0;
    key_holders(&models->key, models->model, id, chunk * HOLDERS_CHUNK + 1);
    struct span key = take_key(models, &name);
    if (!is)
        return;
    for (size_t at = 0; at + HOLDER_BYTES <= bytes.len; at += HOLDER_BYTES)
        hash = fact_holder_hash(hash, holder_read(bytes.ptr + at));
    if (!bytes.ptr)
        probe_differ(models, key, "it is missing");
    else if (bytes.len != (size_t)is->count * HOLDER_BYTES)
        probe_differ(models, key, "%zu bytes for %lld holders", bytes.len, (long long)is->count);
    else if (hash != is->hash)
        probe_differ(models, key, "not these holders, or not in this order");
}

static void probe_holders(struct verify_models *models, const struct asked *campaign, int64_t from,
                          int64_t count)
{
    struct span id = {campaign->id, campaign->id_len};
    probe_begin(models);
    for (int64_t i = 0; i < count; i++) {
        key_holders(&models->key, models->model, id, (from + i) * HOLDERS_CHUNK + 1);
        send_get(models);
    }
    const struct redis_reply *reply = probe_end(models, (size_t)count);
    for (int64_t i = 0; reply && i < count; i++)
        compare_holders(models, id, from + i, redis_text(redis_at(reply, (size_t)i + 1)));
    count_keys(models, count);
    probe_report(models);
}

/* All holders of all campaigns that were there then; what was issued since is in the last chunk, or was
 * folded just now. */
static void compare_all_holders(struct verify_models *models, int64_t since)
{
    struct verify_table *campaigns = &models->facts.campaigns;
    size_t at = 0, capacity = campaigns->capacity;
    for (struct fact_campaign *is; probe_going(models) && (is = verify_table_next(campaigns, &at));) {
        struct asked campaign = {.id_len = is->id_len};
        int64_t chunks = is->first <= since ? holders_chunks(is) : 0;
        memcpy(campaign.id, is->id, is->id_len);
        for (int64_t from = 0; from < chunks && probe_going(models); from += KEYS_PER_PROBE)
            probe_holders(models, &campaign, from,
                          chunks - from < KEYS_PER_PROBE ? chunks - from : KEYS_PER_PROBE);
        if (campaigns->capacity != capacity) { /* they are elsewhere now: once more, which is no harm */
            capacity = campaigns->capacity;
            at = 0;
        }
    }
}

void compare_campaigns(struct verify_models *models)
{
    struct fact_campaign *list[CAMPAIGNS_PER_PROBE];
    int64_t since = models->facts.position;
    size_t left = 1;
    for (int round = 0; round < ROUNDS_MAX && left > 0 && probe_going(models); round++) {
        size_t at = 0, count, capacity = models->facts.campaigns.capacity;
        left = 0;
        while (probe_going(models) && models->facts.campaigns.capacity == capacity &&
               (count = pick_campaigns(models, since, &at, list)) > 0) {
            probe_campaigns(models, list, count);
            left += count;
        }
    }
    if (left > 0 && probe_going(models))
        probe_give_up(models, "a campaign changed each time it was read");
    if (probe_going(models))
        compare_all_holders(models, since);
}

/* --- coupons --- */

static bool is_over(int64_t expires_at_s)
{
    return clock_wall_us() / US_PER_S + CLOCKS_DIFFER_S >= expires_at_s;
}

static const char *issues_difference(struct verify_models *models, int64_t number, struct span bytes,
                                     const struct fact_chunk *is)
{
    struct chunk_reader reader;
    struct event event;
    uint64_t hashes = 0;
    int32_t count = 0;
    if (!chunk_open(&reader, bytes, models->model.slice, number * COUPON_CHUNK))
        return "it cannot be read";
    while (chunk_next(&reader, &event)) {
        struct fact_issue issue = {
            event.position,       event.coupon_issued.sequence,      event.coupon_issued.nth,
            event.recorded_at_us, event.coupon_issued.expires_at_us, event.user_id,
            event.campaign_id,    event.coupon_issued.code_prefix};
        hashes += fact_issue_hash(&issue);
        count++;
    }
    if (reader.corrupt)
        return "it ends with something that nobody writes";
    if (reader.has_states != (is->changed > 0))
        return "it is wrong about whether something happened to its coupons";
    return count == is->issued && hashes == is->issues ? NULL : "not these coupons";
}

static const char *states_difference(struct verify_models *models, int64_t number,
                                     const struct redis_reply *reply, const struct fact_chunk *is)
{
    uint64_t hashes = 0;
    int32_t count = 0;
    bool marked = false;
    for (size_t i = 0; i + 1 < redis_length(reply); i += 2) {
        struct span field = redis_text(redis_at(reply, i));
        int64_t at;
        if (field.len == 0) {
            marked = true;
            continue;
        }
        if (!parse_i64(field, 0, COUPON_CHUNK - 1, &at))
            return "it has a field that nobody writes";
        struct coupon coupon = {.at = {models->model.slice, number * COUPON_CHUNK + at}};
        if (!coupon_state_decode(redis_text(redis_at(reply, i + 1)), &coupon))
            return "a state cannot be read";
        struct fact_coupon_state state = {
            coupon.at.position,       (int64_t)coupon.state, coupon.last,
            coupon.changed_at_us,     coupon.order_amount,   coupon.discount_amount,
            coupon.reserved_until_us, coupon_note(&coupon),  coupon.actor};
        hashes += fact_state_hash(&state);
        count++;
    }
    if (count > 0 && !marked)
        return "it has no mark";
    return count == is->changed && hashes == is->states ? NULL : "not these states";
}

/* A chunk that the log has left behind expires, the one it stands in does not. */
static int64_t chunk_expiry(const struct facts *facts, int64_t number, const struct fact_chunk *is)
{
    bool complete = facts->position >= (number + 1) * COUPON_CHUNK;
    return complete ? is->issued_at_us / US_PER_S + KEY_KEPT_S : NEVER_EXPIRES;
}

static void compare_chunk(struct verify_models *models, int64_t number, const struct redis_reply *reply,
                          size_t from)
{
    static const struct fact_chunk nothing = {0};
    const struct fact_chunk *is = facts_chunk(&models->facts, number);
    struct span bytes = redis_text(redis_at(reply, from));
    int64_t found = redis_integer(redis_at(reply, from + 1));
    struct key_name name;
    const char *wrong = NULL;
    is = is ? is : &nothing;
    int64_t expires = chunk_expiry(&models->facts, number, is);
    key_coupons(&models->key, models->model, number * COUPON_CHUNK);
    struct span key = take_key(models, &name);
    bool absent = is->issued == 0 || (expires != NEVER_EXPIRES && is_over(expires));
    if (!bytes.ptr && absent)
        return; /* its states are strangers, where they are there */
    if (!bytes.ptr || is->issued == 0)
        wrong = bytes.ptr ? "no event makes such a key" : "it is missing";
    else
        wrong = issues_difference(models, number, bytes, is);
    if (!wrong && found != expires)
        wrong = "it expires at another time";
    if (wrong) {
        probe_differ(models, key, "%s", wrong);
        return;
    }
    wrong = states_difference(models, number, redis_at(reply, from + 2), is);
    if (!wrong && is->changed && redis_integer(redis_at(reply, from + 3)) != expires)
        wrong = "it expires at another time";
    key_states(&models->key, models->model, number * COUPON_CHUNK);
    key = take_key(models, &name);
    if (wrong)
        probe_differ(models, key, "%s", wrong);
}

enum { CHUNK_COMMANDS = 4, CHUNKS_PER_PROBE = KEYS_PER_PROBE / 2 };

static void send_chunk(struct verify_models *models, int64_t number)
{
    static const char *const verbs[CHUNK_COMMANDS] = {"GET", "EXPIRETIME", "HGETALL", "EXPIRETIME"};
    for (size_t i = 0; i < CHUNK_COMMANDS; i++) {
        (i < 2 ? key_coupons : key_states)(&models->key, models->model, number * COUPON_CHUNK);
        probe_key_command(models, verbs[i]);
        probe_send(models);
    }
}

void compare_coupons(struct verify_models *models)
{
    int64_t numbers[CHUNKS_PER_PROBE], next = 0, last = models->facts.position / COUPON_CHUNK;
    while (next <= last && probe_going(models)) {
        size_t count = 0;
        for (; next <= last && count < CHUNKS_PER_PROBE; next++)
            if (facts_have_number(&models->facts, next))
                numbers[count++] = next;
        if (count == 0)
            break;
        probe_begin(models);
        for (size_t i = 0; i < count; i++)
            send_chunk(models, numbers[i]);
        const struct redis_reply *reply = probe_end(models, count * CHUNK_COMMANDS);
        for (size_t i = 0; reply && i < count; i++)
            if (facts_have_number(&models->facts,
                                  numbers[i])) /* folding on may have left it to another pass */
                compare_chunk(models, numbers[i], reply, 1 + i * CHUNK_COMMANDS);
        count_keys(models, (int64_t)count);
        probe_report(models);
    }
}

/* --- users --- */

/* Adds the entries of a bucket to what was found; false where it is not one, or has entries of another. */
static const char *read_bucket(struct verify_models *models, int64_t bucket, struct span bytes,
                               struct fact_users *found)
{
    struct span entries;
    int64_t before = 0;
    if (!bytes.ptr)
        return "it is missing";
    if (!users_entries(bytes, &entries) || entries.len % HOLDING_BYTES)
        return "it cannot be read";
    for (size_t at = 0; at < entries.len; at += HOLDING_BYTES) {
        struct holding is = holding_read(entries.ptr + at);
        if (users_bucket(is.user, models->root.buckets) != bucket)
            return "it has an entry of another bucket";
        if (is.position <= before)
            return "its entries are not in the order of the log";
        before = is.position;
        found->sum += fact_holding_hash(is.position, is.at_us, is.user, is.campaign);
        found->count++;
    }
    return NULL;
}

/* Buckets that are congruent modulo 1 << bits have the entries of a class of hashes, whichever of them. */
static void compare_class(struct verify_models *models, int64_t class, int bits,
                          const struct redis_reply *reply, size_t from)
{
    struct fact_users found = {0}, is = facts_users(&models->facts, class, bits);
    struct key_name name;
    bool wrong = false;
    for (int64_t i = 0; i < CLASS_BUCKETS; i++) {
        int64_t bucket = class + (i << bits);
        struct span bytes = redis_text(redis_at(reply, from + (size_t)i));
        if (bucket >= models->root.buckets)
            break; /* one too many is a stranger */
        const char *what = read_bucket(models, bucket, bytes, &found);
        key_users(&models->key, models->model, bucket);
        struct span key = take_key(models, &name);
        if (what)
            probe_differ(models, key, "%s", what);
        wrong |= what != NULL;
    }
    key_users(&models->key, models->model, class);
    struct span key = take_key(models, &name);
    if (!wrong && (found.count != is.count || found.sum != is.sum))
        probe_differ(models, key, "%lld entries here and where it was split to, not these %lld",
                     (long long)found.count, (long long)is.count);
}

static bool probe_classes(struct verify_models *models, int64_t from, int64_t count, int bits)
{
    probe_begin(models);
    for (int64_t i = 0; i < count * CLASS_BUCKETS; i++) {
        key_users(&models->key, models->model, from + i / CLASS_BUCKETS + ((i % CLASS_BUCKETS) << bits));
        send_get(models);
    }
    const struct redis_reply *reply = probe_end(models, (size_t)(count * CLASS_BUCKETS));
    bool fits = models->root.buckets <= (int64_t)CLASS_BUCKETS << bits;
    for (int64_t i = 0; reply && fits && i < count; i++)
        compare_class(models, from + i, bits, reply, 1 + (size_t)(i * CLASS_BUCKETS));
    probe_report(models);
    return fits;
}

/* In the first pass: sums over users are not split. */
void compare_users(struct verify_models *models)
{
    int bits = 0;
    if (models->facts.memory.part.value != 0 || models->facts.position == 0)
        return;
    while (bits < models->facts.users_bits && INT64_C(2) << bits <= models->root.buckets)
        bits++;
    for (int64_t from = 0, all = INT64_C(1) << bits; from < all && probe_going(models);) {
        int64_t count = all - from < CLASSES_PER_PROBE ? all - from : CLASSES_PER_PROBE;
        if (!probe_classes(models, from, count, bits)) { /* it doubled twice meanwhile: begin anew */
            models->moved = true;
            return;
        }
        count_keys(models, count);
        from += count;
    }
}

/* --- members of sorted sets --- */

/* The campaign that a member names; absent where it is none of that set. */
static struct span campaign_of_member(enum model_index index, struct span member)
{
    int64_t reached_at_us;
    bool ranking = index == INDEX_RANKING_ISSUED || index == INDEX_RANKING_REDEEMED;
    return ranking ? rank_member_campaign(member, &reached_at_us) : member;
}

/* Whether the set should have the member now, or another pass says so. */
static bool member_expected(struct verify_models *models, enum model_index index, struct span member)
{
    struct span id = campaign_of_member(index, member);
    if (member.len == 0)
        return true; /* the mark */
    if (!id.ptr || id.len == 0 || id.len > CAMPAIGN_ID_MAX)
        return false;
    if (!facts_have_campaign(&models->facts, id))
        return true;
    const struct fact_campaign *is = facts_campaign(&models->facts, id);
    if (!is || is->state == CAMPAIGN_DELETED)
        return false;
    for (enum counted counted = 0; counted < COUNTED_COUNT; counted++) {
        int64_t reached_at_us = 0;
        if (index == index_active(counted))
            return is_active(&models->facts, is, counted);
        if (index == index_ranking(counted))
            return rank_member_campaign(member, &reached_at_us).ptr && is->counted[counted].count > 0 &&
                   reached_at_us == is->counted[counted].changed_at_us;
    }
    return true;
}

/* It was seen by ZSCAN and not expected then: read again, at one instant with the checkpoint. */
static void probe_member(struct verify_models *models, enum model_index index, struct span member)
{
    struct key_name name;
    probe_begin(models);
    send_score(models, index, member);
    const struct redis_reply *reply = probe_end(models, 1);
    bool there = reply && redis_kind(redis_at(reply, 1)) != REDIS_NIL;
    key_index(&models->key, models->model, index);
    struct span key = take_key(models, &name);
    if (there && !member_expected(models, index, member))
        probe_differ(models, key, "no event makes one of its members");
    probe_report(models);
}

/* Texts of one page of a scan, each with its length before it. */
static void keep_text(struct buf *kept, struct span text)
{
    buf_append(kept, &text.len, sizeof text.len);
    buf_append_span(kept, text);
}

static bool next_text(const struct buf *kept, size_t *at, struct span *ret)
{
    size_t len;
    if (*at >= kept->len)
        return false;
    memcpy(&len, kept->data + *at, sizeof len);
    *ret = (struct span){kept->data + *at + sizeof len, len};
    *at += sizeof len + len;
    return true;
}

/* Sends a page's command; its reply's items, NULL at failure. `cursor` becomes the next page's. */
static const struct redis_reply *scan_page(struct verify_models *models, struct buf *cursor,
                                           struct span match)
{
    if (match.ptr) {
        probe_command(models, "SCAN");
        redis_arg(&models->command, buf_span(cursor));
        redis_arg_text(&models->command, "MATCH");
        redis_arg(&models->command, match);
    } else {
        probe_key_command(models, "ZSCAN");
        redis_arg(&models->command, buf_span(cursor));
    }
    redis_arg_text(&models->command, "COUNT");
    redis_arg_text(&models->command, "1000");
    probe_send(models);
    const struct redis_reply *reply = probe_receive(models);
    if (!reply || redis_length(reply) != 2)
        return NULL;
    buf_clear(cursor);
    buf_append_span(cursor, redis_text(redis_at(reply, 0)));
    return redis_at(reply, 1);
}

static bool members_page(struct verify_models *models, enum model_index index, struct buf *cursor)
{
    struct buf kept;
    struct span member;
    size_t at = 0;
    key_index(&models->key, models->model, index);
    const struct redis_reply *items = scan_page(models, cursor, (struct span){NULL, 0});
    buf_init(&kept, SIZE_MAX);
    for (size_t i = 0; items && i < redis_length(items); i += 2)
        if (!member_expected(models, index, redis_text(redis_at(items, i))))
            keep_text(&kept, redis_text(redis_at(items, i)));
    while (probe_going(models) && next_text(&kept, &at, &member))
        probe_member(models, index, member);
    buf_deinit(&kept);
    return items && probe_going(models) && !span_is(buf_span(cursor), "0");
}

static void compare_marks(struct verify_models *models)
{
    struct key_name name;
    probe_begin(models);
    for (enum model_index index = 0; index < INDEX_COUNT; index++)
        send_score(models, index, INDEX_MARK);
    const struct redis_reply *reply = probe_end(models, INDEX_COUNT);
    for (enum model_index index = 0; reply && index < INDEX_COUNT; index++) {
        key_index(&models->key, models->model, index);
        struct span key = take_key(models, &name);
        if (!score_is(redis_at(reply, (size_t)index + 1), INDEX_MARK_SCORE))
            probe_differ(models, key, "it has no mark: it was lost, or begun anew");
    }
    probe_report(models);
}

void compare_indexes(struct verify_models *models)
{
    if (models->facts.position > 0 && models->facts.memory.part.value == 0)
        compare_marks(models);
    for (enum model_index index = 0; index < INDEX_COUNT && probe_going(models); index++) {
        struct buf cursor;
        buf_init(&cursor, 64);
        buf_append_char(&cursor, '0');
        while (members_page(models, index, &cursor))
            continue;
        buf_deinit(&cursor);
    }
    count_keys(models, INDEX_COUNT);
}

/* --- keys that should not be there --- */

static bool number_after(struct span text, int64_t *ret)
{
    return parse_i64(text, 0, INT64_MAX, ret);
}

static bool chunk_expected(struct verify_models *models, struct span number, bool states)
{
    int64_t chunk;
    if (!number_after(number, &chunk))
        return false;
    if (!facts_have_number(&models->facts, chunk))
        return true;
    const struct fact_chunk *is = facts_chunk(&models->facts, chunk);
    return is && (states ? is->changed > 0 : is->issued > 0);
}

static bool holders_expected(struct verify_models *models, struct span rest)
{
    int64_t chunk;
    const char *colon = rest.len ? memrchr(rest.ptr, ':', rest.len) : NULL;
    if (!colon)
        return false;
    struct span id = {rest.ptr, (size_t)(colon - rest.ptr)};
    if (!number_after((struct span){colon + 1, rest.len - id.len - 1}, &chunk) || id.len > CAMPAIGN_ID_MAX)
        return false;
    if (!facts_have_campaign(&models->facts, id))
        return true;
    const struct fact_campaign *is = facts_campaign(&models->facts, id);
    return is && chunk < holders_chunks(is);
}

static bool campaign_expected(struct verify_models *models, struct span id)
{
    if (id.len == 0 || id.len > CAMPAIGN_ID_MAX)
        return false;
    if (!facts_have_campaign(&models->facts, id))
        return true;
    const struct fact_campaign *is = facts_campaign(&models->facts, id);
    return is && is->first && is->state != CAMPAIGN_DELETED;
}

static bool is_index(struct verify_models *models, struct span name)
{
    bool is = false;
    for (enum model_index index = 0; index < INDEX_COUNT; index++) {
        key_index(&models->key, models->model, index);
        is |= span_equal(name, buf_span(&models->key));
        buf_clear(&models->key);
    }
    return is;
}

/* By its letter; `begin` is what all keys of the slice's models begin with. */
static bool key_expected(struct verify_models *models, struct span name, size_t begin)
{
    int64_t bucket;
    struct span kind = {name.ptr + begin, name.len - begin};
    if (is_index(models, name))
        return true;
    if (name.len < begin + 2 || kind.ptr[1] != ':')
        return false;
    struct span rest = {kind.ptr + 2, kind.len - 2};
    switch (kind.ptr[0]) {
    case 'c':
        return campaign_expected(models, rest);
    case 'p':
    case 's':
        return chunk_expected(models, rest, kind.ptr[0] == 's');
    case 'h':
        return holders_expected(models, rest);
    case 'u':
        return number_after(rest, &bucket) && bucket < models->root.buckets;
    default:
        return false;
    }
}

static void probe_stranger(struct verify_models *models, struct span name, size_t begin)
{
    probe_begin(models);
    probe_command(models, "EXISTS");
    redis_arg(&models->command, name);
    probe_send(models);
    const struct redis_reply *reply = probe_end(models, 1);
    if (reply && redis_integer(redis_at(reply, 1)) == 1 && !key_expected(models, name, begin))
        probe_differ(models, name, "no event makes such a key");
    probe_report(models);
}

static bool keys_page(struct verify_models *models, struct buf *cursor, struct span match)
{
    struct buf kept;
    struct span name;
    size_t at = 0, begin = match.len - 1;
    const struct redis_reply *items = scan_page(models, cursor, match);
    buf_init(&kept, SIZE_MAX);
    for (size_t i = 0; items && i < redis_length(items); i++)
        if (!key_expected(models, redis_text(redis_at(items, i)), begin))
            keep_text(&kept, redis_text(redis_at(items, i)));
    while (probe_going(models) && next_text(&kept, &at, &name))
        probe_stranger(models, name, begin);
    buf_deinit(&kept);
    return items && probe_going(models) && !span_is(buf_span(cursor), "0");
}

void compare_strangers(struct verify_models *models)
{
    struct buf cursor, match;
    buf_init(&cursor, 64), buf_init(&match, KEY_TEXT_MAX);
    key_begin(&match, models->model);
    buf_append_char(&match, '*');
    buf_append_char(&cursor, '0');
    while (keys_page(models, &cursor, buf_span(&match)))
        continue;
    buf_deinit(&cursor), buf_deinit(&match);
}
