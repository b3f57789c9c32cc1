/* SPDX-License-Identifier: Apache-2.0 */
/* A disk without room, by a file in one of its folders. Whatever fails here fails the test. */
#pragma once

/* Writes until the disk of `folder` is full; it must be a small one. */
void full_disk_begin(const char *folder);
/* Removes what was written. */
void full_disk_end(const char *folder);
