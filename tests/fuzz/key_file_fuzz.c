/* SPDX-License-Identifier: Apache-2.0 */
/* The file of API keys. */
#include <sys/mman.h>
#include <unistd.h>

#include "common/http/auth.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(key_file)
{
    char path[64], reason[256] = "";
    int fd = memfd_create("keys", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct keyring *keyring = keyring_load(path, reason, sizeof reason);
    CHECK(keyring || reason[0]);
    for (size_t i = 0; keyring && i < keyring_count(keyring); i++) {
        const struct api_key *key = keyring_at(keyring, i);
        CHECK(keyring_named(keyring, span_of(key->name)) == key && key->index == i && key->scopes != 0);
    }
    keyring_destroy(keyring);
    close(fd);
    return 0;
}
