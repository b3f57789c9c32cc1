# Compiler and linker flags. Warnings are errors with gcc and clang alike; assertions (CHECK) do not depend on NDEBUG.
WARN := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wwrite-strings -Wpointer-arith -Werror
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE

OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPT_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# Only with clang; tests/fuzz has what LIBFUZZER is for.
OPT_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
               -DLIBFUZZER
OPT := $(OPT_$(BUILD))
$(if $(OPT),,$(error BUILD must be release, asan, tsan or fuzz, not '$(BUILD)'))

# The PostgreSQL headers live in a directory of their own on Debian.
CFLAGS := -std=c17 -D_GNU_SOURCE -fdebug-prefix-map=$(CURDIR)=. -I. -isystem /usr/include/postgresql $(WARN) $(HARDEN) $(OPT) -include common/base/banned.h
LDFLAGS := -pie -Wl,-z,relro,-z,now -pthread $(filter -fsanitize%,$(OPT))
LIBS := -lmicrohttpd -lpq -lhiredis -lnng -lmsgpackc -ljansson -lsodium -lm -pthread
