/* SPDX-License-Identifier: Apache-2.0 */
/* Fills a small disk with a file of its own, and removes that. */
#include "tests/lib/full_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/lib/wait.h"

static void ballast_path(const char *folder, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/ballast", folder);
}

void full_disk_begin(const char *folder)
{
    static const char block[64 * 1024];
    char path[PATH_MAX];
    ballast_path(folder, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

void full_disk_end(const char *folder)
{
    char path[PATH_MAX];
    ballast_path(folder, path);
    assert_int_equal(unlink(path), 0);
}
