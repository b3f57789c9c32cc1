/* SPDX-License-Identifier: Apache-2.0 */
/* Functions nobody may call, turned into compile errors. Force-included into every file by
 * tools/make/flags.mk. Each has a bounded or checked replacement: common/base/bytes.h for text and numbers,
 * common/base/clock.h for time, common/base/mem.h for memory. The system headers that declare them come
 * first, so only uses are caught. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(function) banned_function_##function

#undef strcpy
#define strcpy BANNED(strcpy)
#undef strcat
#define strcat BANNED(strcat)
#undef strtok
#define strtok BANNED(strtok)
#undef sprintf
#define sprintf BANNED(sprintf)
#undef vsprintf
#define vsprintf BANNED(vsprintf)
#undef atoi
#define atoi BANNED(atoi)
#undef atol
#define atol BANNED(atol)
#undef gets
#define gets BANNED(gets)
#undef localtime
#define localtime BANNED(localtime)
#undef gmtime
#define gmtime BANNED(gmtime)
