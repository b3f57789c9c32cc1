# What is built from what. Sources are found by folder and name; nothing here lists files.
SERVICE_NAMES := command-service projector query-service
TESTS_IN = $(filter %_test.c,$(wildcard $1/*.c))
CODE_IN  = $(filter-out %_test.c %/main.c,$(wildcard $1/*.c))
OBJ      = $(patsubst %.c,$(B)/obj/%.o,$1)

COMMON_LIB := $(B)/libcommon.a
EVENTS_LIB := $(B)/libevents.a
LIBS_OWN   := $(EVENTS_LIB) $(COMMON_LIB)

$(COMMON_LIB): $(call OBJ,$(call CODE_IN,common))
$(EVENTS_LIB): $(call OBJ,$(call CODE_IN,events))
$(B)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c tools/make/flags.mk
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

define LINK
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) $(LIBS_$(@F))
endef

# Services: every file of the folder; their unit tests link everything but main.c.
define SERVICE_RULES
$(B)/bin/$1: $(call OBJ,$(call CODE_IN,$1)) $(call OBJ,$1/main.c) $(LIBS_OWN)
	$$(LINK)
endef
$(foreach s,$(SERVICE_NAMES),$(eval $(call SERVICE_RULES,$s)))

# Unit tests: <folder>/<module>_test.c -> bin/test/<folder>/<module>_test
define UNIT_TEST_RULE
$(B)/bin/test/$(basename $1): $(call OBJ,$1) $(if $(filter common events,$(patsubst %/,%,$(dir $1))),,$(call OBJ,$(call CODE_IN,$(patsubst %/,%,$(dir $1))))) $(LIBS_OWN)
	$$(LINK)
endef
UNIT_TESTS := $(foreach d,common events $(SERVICE_NAMES) bench/lib,$(call TESTS_IN,$d))
$(foreach t,$(UNIT_TESTS),$(eval $(call UNIT_TEST_RULE,$t)))

# Tests that cross processes: tests/<what>_test.c and tests/drills/<incident>_test.c, with the harness in tests/lib
define SYSTEM_TEST_RULE
$(B)/bin/test/$(basename $1): $(call OBJ,$1) $(call OBJ,$(call CODE_IN,tests/lib) $(call CODE_IN,bench/lib)) $(LIBS_OWN)
	$$(LINK)
endef
SYSTEM_TESTS := $(call TESTS_IN,tests) $(call TESTS_IN,tests/drills)
$(foreach t,$(SYSTEM_TESTS),$(eval $(call SYSTEM_TEST_RULE,$t)))

# The chaos run: tests/chaos is a library with unit tests, a program and a drill.
CHAOS_LIB := $(call OBJ,$(call CODE_IN,tests/chaos) tests/lib/stack.c $(call CODE_IN,bench/lib))
CHAOS_BIN := $(B)/bin/chaos
CHAOS_TESTS := $(call TESTS_IN,tests/chaos)
CHAOS_UNIT_BINS := $(foreach t,$(CHAOS_TESTS),$(B)/bin/test/$(basename $t))
$(CHAOS_BIN): $(call OBJ,tests/chaos/main.c) $(CHAOS_LIB) $(LIBS_OWN)
	$(LINK)
$(CHAOS_UNIT_BINS): $(B)/bin/test/%: $(B)/obj/%.o $(CHAOS_LIB) $(LIBS_OWN)
	$(LINK)
$(B)/bin/test/tests/drills/chaos_test: $(call OBJ,$(call CODE_IN,tests/chaos))

# Bench tools: bench/<tool>.c has a main of its own, bench/lib is what they share.
define BENCH_RULE
$(B)/bin/$(basename $(notdir $1)): $(call OBJ,$1) $(call OBJ,$(call CODE_IN,bench/lib)) $(LIBS_OWN)
	$$(LINK)
endef
BENCH_TOOLS := $(wildcard bench/*.c)
$(foreach t,$(BENCH_TOOLS),$(eval $(call BENCH_RULE,$t)))

SERVICE_BINS := $(foreach s,$(SERVICE_NAMES),$(B)/bin/$s)
BENCH_BINS   := $(foreach t,$(BENCH_TOOLS),$(B)/bin/$(basename $(notdir $t)))
UNIT_BINS    := $(foreach t,$(UNIT_TESTS),$(B)/bin/test/$(basename $t))
SYSTEM_BINS  := $(foreach t,$(SYSTEM_TESTS),$(B)/bin/test/$(basename $t))
$(UNIT_BINS) $(CHAOS_UNIT_BINS) $(SYSTEM_BINS): LIBS += -lcmocka

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
