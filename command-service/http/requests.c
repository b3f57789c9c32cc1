/* SPDX-License-Identifier: Apache-2.0 */
/* The register of accepted requests. */
#include "command-service/http/requests.h"

#include "common/json.h"

#include <pthread.h>

#include "common/base/map.h"

struct entry {
    struct entry *next, *previous; /* in order of finishing */
    uint8_t key_hash[REQUEST_KEY_BYTES];
    struct request_outcome outcome; /* answer: owned, on the heap */
};

struct requests {
    pthread_mutex_t lock; /* guards everything below */
    struct map by_key;
    struct entry *oldest, *newest; /* those that are done: may be forgotten */
    size_t count_max;
};

void request_outcome_write(struct buf *out, const struct request_outcome *outcome)
{
    static const char *const names[] = {
        [REQUEST_UNKNOWN] = "unknown", [REQUEST_PENDING] = "pending", [REQUEST_DONE] = "done"};
    json_open(out, NULL, '{');
    json_put_string(out, "status", span_of(names[outcome->state]));
    if (outcome->state == REQUEST_DONE) {
        json_put_int(out, "http_status", outcome->http_status);
        json_put_raw(out, "answer", outcome->answer);
    } else if (outcome->state == REQUEST_UNKNOWN) {
        json_put_string(out, "detail",
                        SPAN("Nothing is known of this request, or its outcome is not known. Send the same "
                             "request again with the same Idempotency-Key: what took effect is answered "
                             "again, what did not is decided afresh."));
    }
    json_close(out, '}');
}

static struct span key_of(const uint8_t *key_hash)
{
    return (struct span){(const char *)key_hash, REQUEST_KEY_BYTES};
}

struct requests *requests_create(size_t count_max)
{
    struct requests *requests = mem_zalloc(sizeof *requests);
    CHECK(pthread_mutex_init(&requests->lock, NULL) == 0);
    map_init(&requests->by_key);
    requests->count_max = count_max;
    return requests;
}

static void entry_free(struct requests *requests, struct entry *entry)
{
    map_remove(&requests->by_key, key_of(entry->key_hash));
    mem_free((char *)entry->outcome.answer.ptr);
    mem_free(entry);
}

static void append_done(struct requests *requests, struct entry *entry)
{
    entry->previous = requests->newest;
    *(entry->previous ? &entry->previous->next : &requests->oldest) = entry;
    requests->newest = entry;
}

/* At once, wherever it stands: how many are remembered must not slow down who retries. */
static void forget_done(struct requests *requests, struct entry *entry)
{
    *(entry->previous ? &entry->previous->next : &requests->oldest) = entry->next;
    *(entry->next ? &entry->next->previous : &requests->newest) = entry->previous;
    entry_free(requests, entry);
}

void requests_destroy(struct requests *requests)
{
    if (!requests)
        return;
    while (requests->oldest)
        forget_done(requests, requests->oldest);
    CHECK(requests->by_key.count == 0); /* whoever was accepted was told */
    map_deinit(&requests->by_key);
    pthread_mutex_destroy(&requests->lock);
    mem_free(requests);
}

bool requests_open(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES])
{
    pthread_mutex_lock(&requests->lock);
    struct entry *entry = map_get(&requests->by_key, key_of(key_hash));
    bool pending = entry && entry->outcome.state == REQUEST_PENDING;
    if (entry && !pending) /* the same key again, after it was done: the new attempt is what is asked for */
        forget_done(requests, entry);
    if (!pending && requests->by_key.count == requests->count_max && requests->oldest)
        forget_done(requests, requests->oldest);
    bool opened = !pending && requests->by_key.count < requests->count_max;
    if (opened) {
        entry = mem_zalloc(sizeof *entry);
        memcpy(entry->key_hash, key_hash, sizeof entry->key_hash);
        entry->outcome.state = REQUEST_PENDING;
        map_put(&requests->by_key, key_of(entry->key_hash), entry);
    }
    pthread_mutex_unlock(&requests->lock);
    return opened;
}

void requests_forget(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES])
{
    pthread_mutex_lock(&requests->lock);
    struct entry *entry = map_get(&requests->by_key, key_of(key_hash));
    CHECK(entry && entry->outcome.state == REQUEST_PENDING);
    entry_free(requests, entry);
    pthread_mutex_unlock(&requests->lock);
}

void requests_finish(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES],
                     const struct request_outcome *outcome)
{
    CHECK(outcome->state != REQUEST_PENDING);
    char *answer = outcome->answer.len ? mem_alloc(outcome->answer.len) : NULL;
    if (answer)
        memcpy(answer, outcome->answer.ptr, outcome->answer.len);
    pthread_mutex_lock(&requests->lock);
    struct entry *entry = map_get(&requests->by_key, key_of(key_hash));
    CHECK(entry && entry->outcome.state == REQUEST_PENDING);
    entry->outcome = *outcome;
    entry->outcome.answer = (struct span){answer, answer ? outcome->answer.len : 0};
    append_done(requests, entry);
    pthread_mutex_unlock(&requests->lock);
}

bool requests_find(struct requests *requests, const uint8_t key_hash[REQUEST_KEY_BYTES], struct buf *out)
{
    pthread_mutex_lock(&requests->lock);
    const struct entry *entry = map_get(&requests->by_key, key_of(key_hash));
    if (entry)
        request_outcome_write(out, &entry->outcome);
    pthread_mutex_unlock(&requests->lock);
    return entry != NULL;
}
