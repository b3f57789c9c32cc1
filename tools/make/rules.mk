# What is built from what. Sources are found by folder and name; nothing here lists files.
SERVICE_NAMES := command-service projector query-service

# The folders of each library: its own and those directly in it. A library may use those after it.
FOLDERS_OF = $(patsubst %/,%,$(sort $1/ $(dir $(wildcard $1/*/*.[ch]))))
SERVICE_FOLDERS := $(foreach s,$(SERVICE_NAMES),$(call FOLDERS_OF,$s))
BENCH_FOLDERS   := bench/measure bench/peers bench/storm bench/load bench/kit
LIB_FOLDERS     := $(foreach l,verify readmodel events common,$(call FOLDERS_OF,$l))
SYSTEM_FOLDERS  := tests/command tests/projector tests/query tests/platform tests/outage tests/drills tests/faults tests/more

TESTS_IN = $(filter %_test.c,$(wildcard $(addsuffix /*.c,$1)))
CODE_IN  = $(filter-out %_test.c %/main.c,$(wildcard $(addsuffix /*.c,$1)))
OBJ      = $(patsubst %.c,$(B)/obj/%.o,$1)
TEST_BIN = $(patsubst %.c,$(B)/bin/test/%,$1)

# One archive for each folder of the first line: a program links what it uses of them.
define ARCHIVE_RULE
$(B)/lib/$1.a: $$(call OBJ,$$(call CODE_IN,$2))
	@mkdir -p $$(@D)
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,verify readmodel events common $(SERVICE_NAMES),$(eval $(call ARCHIVE_RULE,$l,$(call FOLDERS_OF,$l))))
$(eval $(call ARCHIVE_RULE,bench,$(BENCH_FOLDERS)))
$(eval $(call ARCHIVE_RULE,tests,tests/lib tests/chaos tests/availability))

ARCHIVE    = $(addprefix $(B)/lib/,$(addsuffix .a,$1))
LIBS_OWN  := $(call ARCHIVE,verify readmodel events common)
LIBS_BENCH := $(call ARCHIVE,bench command-service) $(LIBS_OWN)
LIBS_TEST  := $(call ARCHIVE,tests) $(LIBS_BENCH)

# Another path to the compiler, another compiler: ccache is used where it is installed.
CCACHE := $(shell command -v ccache 2>/dev/null)
$(B)/obj/%.o: %.c tools/make/flags.mk
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CCACHE) $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# One version, for --version, metrics, packages and images.
$(B)/obj/common/base/process.o: CFLAGS += -DFIRSTCOME_VERSION='"$(shell cat VERSION)"'
$(B)/obj/common/base/process.o: VERSION

# What the assembler embeds. The contract as it is served is made of its one source.
API_DOCUMENT := build/openapi.json build/openapi.html
$(API_DOCUMENT) &: docs/openapi.yaml common/http/problem.h events/problems.h tools/openapi
	@echo "  GEN $(API_DOCUMENT)"
	@tools/openapi
$(B)/obj/events/api_document.o build/analyze/events/api_document.c.ok: $(API_DOCUMENT)
$(B)/obj/events/console_page.o: $(wildcard console/*.* console/*/*.js) $(wildcard clients/js/src/*.js)
$(B)/obj/readmodel/script.o: $(wildcard readmodel/*.lua)

define LINK
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
endef

# Services.
define SERVICE_RULE
$(B)/bin/$1: $(call OBJ,$1/main.c) $(call ARCHIVE,$1) $(LIBS_OWN)
	$$(LINK)
endef
$(foreach s,$(SERVICE_NAMES),$(eval $(call SERVICE_RULE,$s)))

# Unit tests: <folder>/<module>_test.c -> bin/test/<folder>/<module>_test; those of a service link its archive.
UNIT_TESTS := $(call TESTS_IN,$(LIB_FOLDERS) $(SERVICE_FOLDERS) $(BENCH_FOLDERS) tests/chaos)
define UNIT_TEST_RULE
$(call TEST_BIN,$2): $(call OBJ,$2) $(call ARCHIVE,$(filter $(SERVICE_NAMES),$1)) $(if $(filter bench tests,$1),$(LIBS_TEST),$(LIBS_OWN))
	$$(LINK)
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call UNIT_TEST_RULE,$(firstword $(subst /, ,$t)),$t)))

# Tests that cross processes, with the harness in tests/lib.
SYSTEM_TESTS := $(call TESTS_IN,$(SYSTEM_FOLDERS))
$(call TEST_BIN,$(SYSTEM_TESTS)): $(B)/bin/test/%: $(B)/obj/%.o $(LIBS_TEST)
	$(LINK)

# What a test loads into a service, to have a host with a clock that is wrong, or a disk that hangs.
$(B)/lib/%.so: tests/lib/preload/%.c
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<
$(B)/bin/test/tests/query/instants_test: | $(B)/lib/clock_shift.so
$(B)/bin/test/tests/command/limits_test: | $(B)/lib/hung_disk.so

# Loaded into a service by tests/faults; whatever the build, it is plain.
FAULT_SHIM := $(B)/bin/fault_shim.so
$(FAULT_SHIM): tests/faults/shim.c tests/faults/faults.h tools/make/flags.mk
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(filter-out -fsanitize% -fPIE,$(CFLAGS)) -fno-builtin -fPIC -shared -o $@ $< -ldl
$(call TEST_BIN,tests/faults/injected_test.c): $(FAULT_SHIM)

# With proxies in front, which `make test-more` has.
FRONT_BIN := $(call TEST_BIN,tests/fronts/smuggling_test.c)
$(FRONT_BIN): $(call OBJ,$(wildcard tests/fronts/*.c)) $(LIBS_TEST)
	$(LINK)

# On machines of their own under Patroni, which `make test-more` has.
AVAILABILITY_BINS := $(call TEST_BIN,$(call TESTS_IN,tests/availability))
$(AVAILABILITY_BINS): $(B)/bin/test/%: $(B)/obj/%.o $(LIBS_TEST)
	$(LINK)

# Tools.
TOOLS := $(B)/bin/bench $(B)/bin/storm $(B)/bin/empty_handler
$(B)/bin/bench: $(call OBJ,bench/measure/main.c) $(LIBS_BENCH)
	$(LINK)
$(B)/bin/storm: $(call OBJ,bench/storm/main.c) $(LIBS_BENCH)
	$(LINK)
$(B)/bin/empty_handler: $(call OBJ,bench/empty_handler.c) $(LIBS_BENCH)
	$(LINK)
$(B)/bin/chaos: $(call OBJ,tests/chaos/main.c) $(LIBS_TEST)
	$(LINK)
DRILL_BIN := $(B)/bin/drill
$(DRILL_BIN): $(call OBJ,$(call CODE_IN,tests/drills) tests/drills/main.c) $(LIBS_TEST)
	$(LINK)

# Fuzz targets: tests/fuzz/<name>_fuzz.c with BUILD=fuzz is a program of its own; otherwise all of them are in the
# one that replays the corpus. Some look into a service.
FUZZ_SOURCES := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_BINS    := $(patsubst tests/fuzz/%_fuzz.c,$(B)/bin/fuzz/%,$(FUZZ_SOURCES))
CORPUS_BIN   := $(B)/bin/test/tests/fuzz/corpus_test
$(B)/bin/fuzz/%: $(B)/obj/tests/fuzz/%_fuzz.o $(call ARCHIVE,$(SERVICE_NAMES) bench) $(LIBS_OWN)
	$(LINK)
$(FUZZ_BINS): LDFLAGS += -fsanitize=fuzzer
$(CORPUS_BIN): $(call OBJ,tests/fuzz/corpus_test.c $(FUZZ_SOURCES)) $(call ARCHIVE,$(SERVICE_NAMES) bench) $(LIBS_OWN)
	$(LINK)

SERVICE_BINS := $(foreach s,$(SERVICE_NAMES),$(B)/bin/$s)
UNIT_BINS    := $(call TEST_BIN,$(UNIT_TESTS)) $(CORPUS_BIN)
SYSTEM_BINS  := $(call TEST_BIN,$(SYSTEM_TESTS))
$(UNIT_BINS) $(SYSTEM_BINS) $(FRONT_BIN) $(AVAILABILITY_BINS) $(DRILL_BIN) $(B)/bin/chaos: LIBS += -lcmocka

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
