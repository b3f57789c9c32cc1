# Compiler and linker flags. Warnings are errors with gcc and clang alike; assertions (CHECK) do not depend on NDEBUG.
# Events gain fields, absent ones are zero: an initializer that does not name the latest is no mistake.
# What a function does not use of what it is handed has no name there, which clang calls an extension of C17.
WARN := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wwrite-strings -Wpointer-arith -Wno-missing-field-initializers -Wno-c2x-extensions -Werror
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE

OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPT_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# Only with clang; tests/fuzz has what LIBFUZZER is for.
OPT_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
               -DLIBFUZZER
# For tools/coverage: every line where it stands.
OPT_coverage := -O0 -g --coverage
OPT := $(OPT_$(BUILD))
$(if $(OPT),,$(error BUILD must be release, asan, tsan, fuzz or coverage, not '$(BUILD)'))

# The PostgreSQL headers live in a directory of their own on Debian. Every clone compiles to the same bytes, so that
# ccache serves them all.
LANGUAGE := -std=c17 -D_GNU_SOURCE -I. -isystem /usr/include/postgresql -include common/base/banned.h
CFLAGS := $(LANGUAGE) -fdebug-prefix-map=$(CURDIR)=. $(WARN) $(HARDEN) $(OPT)
LDFLAGS := -pie -Wl,-z,relro,-z,now -pthread $(filter -fsanitize% --coverage,$(OPT))
LIBS := -lpq -lhiredis -lnng -lmsgpackc -ljansson -lsodium -lz -lm -pthread
