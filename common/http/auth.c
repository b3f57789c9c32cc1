/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the API key file, at the start and whenever it changed, and finds the key of a token. Only hashes are
 * ever in memory. */
#include "common/http/auth.h"

#include <errno.h>
#include <pthread.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

enum { KEY_LINE_MAX = 512, HASH_WORDS = 4 };

/* One name, ever. What is published never changes and is never freed before the ring is, because requests in
 * flight point to it; another version of the key is another struct. */
struct key_name {
    struct key_version *last;
    bool current; /* it is in the file as it was last read */
};

struct key_version {
    struct api_key key;
    struct key_version *before;
};

struct keyring {
    pthread_rwlock_t lock; /* guards what is below; writers only publish, they do not read files under it */
    size_t count;
    struct key_name names[AUTH_KEYS_MAX];
};

/* A key file as it was read. */
struct key_file {
    size_t count;
    struct api_key keys[AUTH_KEYS_MAX];
};

/* Where loading stands, so that every complaint can say where. */
struct loader {
    const char *path;
    unsigned line;
    char *reason;
    size_t reason_size;
};

static bool complain(const struct loader *loader, const char *what)
{
    snprintf(loader->reason, loader->reason_size, "%s:%u: %s", loader->path, loader->line, what);
    return false;
}

static bool name_valid(struct span name)
{
    if (name.len == 0 || name.len > AUTH_KEY_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

static const struct {
    const char *name;
    enum auth_scope scope;
} scope_names[] = {{"admin", AUTH_ADMIN},
                   {"issue", AUTH_ISSUE},
                   {"redeem", AUTH_REDEEM},
                   {"read", AUTH_READ},
                   {"redeem-by-id", AUTH_REDEEM_BY_ID}};

static unsigned scope_of(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(scope_names); i++)
        if (span_is(name, scope_names[i].name))
            return scope_names[i].scope;
    return 0;
}

void auth_scopes_write(struct buf *out, unsigned bits)
{
    const char *before = "";
    for (size_t i = 0; i < COUNT_OF(scope_names); i++) {
        if (!(bits & scope_names[i].scope))
            continue;
        buf_append_text(out, before);
        buf_append_text(out, scope_names[i].name);
        before = " ";
    }
}

static bool scopes_parse(struct span list, unsigned *ret)
{
    unsigned found = 0;
    while (list.ptr) {
        unsigned scope = scope_of(span_cut(&list, ','));
        if (scope == 0 || (found & scope))
            return false;
        found |= scope;
    }
    *ret = found;
    return true;
}

/* The next word of a line, words being apart by blanks and tabs; empty at the end. */
static struct span next_word(struct span *rest)
{
    while (rest->len && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t'))
        *rest = (struct span){rest->ptr + 1, rest->len - 1};
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    struct span word = {rest->ptr, len};
    *rest = (struct span){rest->ptr + len, rest->len - len};
    return word;
}

static bool shares_token(const struct api_key *one, const struct api_key *two)
{
    for (size_t i = 0; i < AUTH_TOKENS * AUTH_TOKENS; i++)
        if (memcmp(one->token_sha256[i / AUTH_TOKENS], two->token_sha256[i % AUTH_TOKENS],
                   sizeof one->token_sha256[0]) == 0)
            return true;
    return false;
}

static bool key_known(const struct key_file *keys, const struct api_key *key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].name, key->name) == 0 || shares_token(&keys->keys[i], key))
            return true;
    return false;
}

static bool line_read(struct key_file *keys, struct span line, const struct loader *loader)
{
    struct span name = next_word(&line), scopes = next_word(&line), hash = next_word(&line),
                second = next_word(&line);
    if (name.len == 0 || name.ptr[0] == '#')
        return true;
    struct api_key key = {.index = 0};
    if (!name_valid(name))
        return complain(loader, "a key name is 1 to 64 of a-z, 0-9 and '-'");
    memcpy(key.name, name.ptr, name.len);
    if (!scopes_parse(scopes, &key.scopes))
        return complain(loader,
                        "scopes are a comma-separated list of admin, issue, redeem, redeem-by-id and read");
    if (!hex_decode(hash, key.token_sha256[0], sizeof key.token_sha256[0]))
        return complain(loader, "the third word must be the SHA-256 of the token as 64 hex digits");
    if (!hex_decode(second.len ? second : hash, key.token_sha256[1], sizeof key.token_sha256[1]))
        return complain(loader, "the fourth word must be the SHA-256 of a second token");
    if (next_word(&line).len)
        return complain(loader, "there is more on the line than name, scopes and two hashes");
    if (key_known(keys, &key))
        return complain(loader, "this name or token is in the file twice");
    if (keys->count == AUTH_KEYS_MAX)
        return complain(loader, "there are more than 1024 keys");
    keys->keys[keys->count++] = key;
    return true;
}

static bool lines_read(struct key_file *keys, FILE *file, struct loader *loader)
{
    char text[KEY_LINE_MAX];
    while (fgets(text, sizeof text, file)) {
        loader->line++;
        size_t len = strlen(text);
        bool complete = len > 0 && text[len - 1] == '\n';
        if (!complete && !feof(file))
            return complain(loader, "the line is too long or has a NUL byte");
        len -= complete;
        len -= len > 0 && text[len - 1] == '\r';
        if (!line_read(keys, (struct span){text, len}, loader))
            return false;
    }
    if (ferror(file))
        return complain(loader, "cannot be read");
    return keys->count > 0 || complain(loader, "there is no key in the file");
}

/* NULL with the reason; the caller frees. */
static struct key_file *file_read(const char *path, char *reason, size_t reason_size)
{
    struct loader loader = {path, 0, reason, reason_size};
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(reason, reason_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct key_file *keys = mem_zalloc(sizeof *keys);
    bool good = lines_read(keys, file, &loader);
    fclose(file);
    if (good)
        return keys;
    mem_free(keys);
    return NULL;
}

/* The lock is no part of what a ring is to its readers. */
static pthread_rwlock_t *lock_of(const struct keyring *keyring)
{
    return (pthread_rwlock_t *)&keyring->lock;
}

static size_t index_of(const struct keyring *keyring, struct span name)
{
    size_t index = 0;
    while (index < keyring->count && !span_is(name, keyring->names[index].last->key.name))
        index++;
    return index;
}

static bool has_room(const struct keyring *keyring, const struct key_file *keys)
{
    size_t names = keyring->count;
    for (size_t i = 0; i < keys->count; i++)
        names += index_of(keyring, span_of(keys->keys[i].name)) == keyring->count;
    return names <= AUTH_KEYS_MAX;
}

/* Makes `key` what its name means from now on; false where it is that already. */
static bool publish(struct keyring *keyring, const struct api_key *key)
{
    size_t index = index_of(keyring, span_of(key->name));
    struct key_name *name = &keyring->names[index];
    bool was_current = name->current;
    keyring->count += index == keyring->count;
    name->current = true;
    if (name->last && name->last->key.scopes == key->scopes &&
        memcmp(name->last->key.token_sha256, key->token_sha256, sizeof key->token_sha256) == 0)
        return !was_current;
    struct key_version *version = mem_zalloc(sizeof *version);
    *version = (struct key_version){.key = *key, .before = name->last};
    version->key.index = (uint32_t)index;
    name->last = version;
    return true;
}

/* `before`: which names were in the file the last time. */
static size_t publish_all(struct keyring *keyring, const struct key_file *keys)
{
    bool before[AUTH_KEYS_MAX];
    size_t changes = 0, count = keyring->count;
    for (size_t i = 0; i < count; i++)
        before[i] = keyring->names[i].current;
    for (size_t i = 0; i < keys->count; i++)
        changes += publish(keyring, &keys->keys[i]);
    for (size_t i = 0; i < count; i++) {
        bool there = false;
        for (size_t k = 0; k < keys->count && before[i] && !there; k++)
            there = strcmp(keys->keys[k].name, keyring->names[i].last->key.name) == 0;
        if (!before[i] || there)
            continue;
        keyring->names[i].current = false;
        changes++;
    }
    return changes;
}

struct keyring *keyring_load(const char *path, char *reason, size_t reason_size)
{
    struct keyring *keyring = mem_zalloc(sizeof *keyring);
    CHECK(pthread_rwlock_init(&keyring->lock, NULL) == 0);
    if (keyring_reload(keyring, path, reason, reason_size) > 0)
        return keyring;
    keyring_destroy(keyring);
    return NULL;
}

int keyring_reload(struct keyring *keyring, const char *path, char *reason, size_t reason_size)
{
    struct key_file *keys = file_read(path, reason, reason_size);
    if (!keys)
        return -1;
    int changes = -1;
    pthread_rwlock_wrlock(&keyring->lock);
    if (has_room(keyring, keys))
        changes = (int)publish_all(keyring, keys);
    pthread_rwlock_unlock(lock_of(keyring));
    if (changes < 0)
        snprintf(reason, reason_size, "%s: more than %d names since the start", path, AUTH_KEYS_MAX);
    mem_free(keys);
    return changes;
}

void keyring_destroy(struct keyring *keyring)
{
    if (!keyring)
        return;
    for (size_t i = 0; i < keyring->count; i++)
        while (keyring->names[i].last) {
            struct key_version *before = keyring->names[i].last->before;
            mem_free(keyring->names[i].last);
            keyring->names[i].last = before;
        }
    pthread_rwlock_destroy(&keyring->lock);
    mem_free(keyring);
}

/* 0 when equal, in constant time. Whole words rather than bytes, because every request pays for every key. */
static uint64_t hash_difference(const uint8_t *a, const uint8_t *b)
{
    uint64_t x[HASH_WORDS], y[HASH_WORDS], difference = 0;
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    for (size_t i = 0; i < HASH_WORDS; i++)
        difference |= x[i] ^ y[i];
    return difference;
}

const struct api_key *keyring_find(const struct keyring *keyring, struct span token)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    const struct api_key *found = NULL;
    if (!token.ptr || token.len == 0)
        return NULL;
    crypto_sha256(token, hash);
    pthread_rwlock_rdlock(lock_of(keyring));
    for (size_t i = 0; i < keyring->count; i++) { /* all of them, wherever the match is */
        const struct key_name *name = &keyring->names[i];
        uint64_t first = hash_difference(hash, name->last->key.token_sha256[0]),
                 second = hash_difference(hash, name->last->key.token_sha256[1]);
        if (((first == 0) | (second == 0)) && name->current)
            found = &name->last->key;
    }
    pthread_rwlock_unlock(lock_of(keyring));
    return found;
}

const struct api_key *keyring_named(const struct keyring *keyring, struct span name)
{
    pthread_rwlock_rdlock(lock_of(keyring));
    size_t index = index_of(keyring, name);
    const struct api_key *key = index < keyring->count ? &keyring->names[index].last->key : NULL;
    pthread_rwlock_unlock(lock_of(keyring));
    return key;
}

size_t keyring_count(const struct keyring *keyring)
{
    pthread_rwlock_rdlock(lock_of(keyring));
    size_t count = keyring->count;
    pthread_rwlock_unlock(lock_of(keyring));
    return count;
}

const struct api_key *keyring_at(const struct keyring *keyring, size_t index)
{
    pthread_rwlock_rdlock(lock_of(keyring));
    CHECK(index < keyring->count);
    const struct api_key *key = &keyring->names[index].last->key;
    pthread_rwlock_unlock(lock_of(keyring));
    return key;
}
