/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the API key file and finds the key of a token. Only hashes are ever in memory. */
#include "common/http/auth.h"

#include <errno.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

enum { KEY_LINE_MAX = 512, HASH_WORDS = 4 };

struct keyring {
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

static unsigned scope_of(struct span name)
{
    static const struct {
        const char *name;
        enum auth_scope scope;
    } scopes[] = {{"admin", AUTH_ADMIN}, {"issue", AUTH_ISSUE}, {"redeem", AUTH_REDEEM}, {"read", AUTH_READ}};
    for (size_t i = 0; i < COUNT_OF(scopes); i++)
        if (span_is(name, scopes[i].name))
            return scopes[i].scope;
    return 0;
}

static bool scopes_parse(struct span list, unsigned *ret)
{
    unsigned scopes = 0;
    while (list.ptr) {
        unsigned scope = scope_of(span_cut(&list, ','));
        if (scope == 0 || (scopes & scope))
            return false;
        scopes |= scope;
    }
    *ret = scopes;
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

static bool key_known(const struct keyring *keyring, const struct api_key *key)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (strcmp(keyring->keys[i].name, key->name) == 0 ||
            memcmp(keyring->keys[i].token_sha256, key->token_sha256, sizeof key->token_sha256) == 0)
            return true;
    return false;
}

static bool line_read(struct keyring *keyring, struct span line, const struct loader *loader)
{
    struct span name = next_word(&line), scopes = next_word(&line), hash = next_word(&line);
    if (name.len == 0 || name.ptr[0] == '#')
        return true;
    struct api_key key = {.index = (uint32_t)keyring->count};
    if (!name_valid(name))
        return complain(loader, "a key name is 1 to 64 of a-z, 0-9 and '-'");
    memcpy(key.name, name.ptr, name.len);
    if (!scopes_parse(scopes, &key.scopes))
        return complain(loader, "scopes are a comma-separated list of admin, issue, redeem and read");
    if (!hex_decode(hash, key.token_sha256, sizeof key.token_sha256))
        return complain(loader, "the third word must be the SHA-256 of the token as 64 hex digits");
    if (next_word(&line).len)
        return complain(loader, "there is more on the line than name, scopes and hash");
    if (key_known(keyring, &key))
        return complain(loader, "this name or token is in the file twice");
    if (keyring->count == AUTH_KEYS_MAX)
        return complain(loader, "there are more than 1024 keys");
    keyring->keys[keyring->count++] = key;
    return true;
}

static bool file_read(struct keyring *keyring, FILE *file, struct loader *loader)
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
        if (!line_read(keyring, (struct span){text, len}, loader))
            return false;
    }
    if (ferror(file))
        return complain(loader, "cannot be read");
    return keyring->count > 0 || complain(loader, "there is no key in the file");
}

struct keyring *keyring_load(const char *path, char *reason, size_t reason_size)
{
    struct loader loader = {path, 0, reason, reason_size};
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(reason, reason_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct keyring *keyring = mem_zalloc(sizeof *keyring);
    bool good = file_read(keyring, file, &loader);
    fclose(file);
    if (good)
        return keyring;
    keyring_destroy(keyring);
    return NULL;
}

void keyring_destroy(struct keyring *keyring)
{
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
    for (size_t i = 0; i < keyring->count; i++) /* all of them, wherever the match is */
        if (hash_difference(hash, keyring->keys[i].token_sha256) == 0)
            found = &keyring->keys[i];
    return found;
}

const struct api_key *keyring_named(const struct keyring *keyring, struct span name)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (span_is(name, keyring->keys[i].name))
            return &keyring->keys[i];
    return NULL;
}

size_t keyring_count(const struct keyring *keyring)
{
    return keyring->count;
}

const struct api_key *keyring_at(const struct keyring *keyring, size_t index)
{
    CHECK(index < keyring->count);
    return &keyring->keys[index];
}
