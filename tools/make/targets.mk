# What a person types. A goal that needs packages installs them first and then calls this same Makefile for the
# rest, because on a bare machine nothing may compile before they are there.
MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL)$(findstring -j,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

# Where a stack lives. Given on the command line or in the environment they reach tools/stack as they are.
RUN_DIR ?= .run
STACK := BIN_DIR="$${BIN_DIR:-$(CURDIR)/$(B)/bin}" RUN_DIR='$(RUN_DIR)' tools/stack

# The storm of incident 4.
USERS ?= 2500
QUANTITY ?= 500
CONNECTIONS ?= 800

ALL_FOLDERS := $(LIB_FOLDERS) $(SERVICE_FOLDERS) bench $(BENCH_FOLDERS) $(SYSTEM_FOLDERS) tests/lib tests/chaos tests/fuzz tests/fronts tests/availability
HEADERS := $(wildcard $(addsuffix /*.h,$(ALL_FOLDERS)))
C_FILES := $(HEADERS) $(wildcard $(addsuffix /*.c,$(ALL_FOLDERS)))

.PHONY: doctor all services bench-tools unit-tests objects tests clean help up down status migrate storm chaos bench fuzz fuzz-bins test tidy hdr-check format

all: services bench-tools ## build the services and the bench tools
services: $(SERVICE_BINS)
bench-tools: $(TOOLS)
unit-tests: $(UNIT_BINS)
objects: $(call OBJ,$(filter-out tests/faults/shim.c,$(filter %.c,$(C_FILES))))
tests: unit-tests $(SYSTEM_BINS) $(FRONT_BIN) $(AVAILABILITY_BINS) $(B)/bin/chaos $(DRILL_BIN)

up: ## install what is missing, build, start everything, issue a first coupon: EDGE=1 SHARDS=2 COMMANDS=2 QUERIES=2
	@tools/install run
	@echo "==> Building (BUILD=$(BUILD))"
	@$(MAKE) all
	@$(STACK) up

down: ## stop what `make up` started; the data stays
	@$(STACK) down

status: ## what runs, and where
	@$(STACK) status

doctor: ## look at the running stack before an event: what is wrong, what to do; FORECAST_RPS= EXPECT_PROFILE= EXPECT_SETTINGS=
	@set -a; . '$(abspath $(RUN_DIR))/env'; tools/doctor

migrate: ## apply new schema files to the running stack's database
	@set -a; . '$(abspath $(RUN_DIR))/env'; schema/migrate

storm: $(B)/bin/storm ## replay incident 4 on the running stack: USERS= QUANTITY= CONNECTIONS=
	@. '$(abspath $(RUN_DIR))/env'; USERS='$(USERS)' QUANTITY='$(QUANTITY)' CONNECTIONS='$(CONNECTIONS)' $(B)/bin/storm

# A stack of its own; nothing that runs is touched.
chaos: ## clients, faults and a judge over all they were told: SEED= SECONDS= SERVICES= CLIENTS= SHARDS=2 EDGE=1 PATRONI=1
	@tools/install $(if $(filter 1,$(PATRONI)),test-more,test)
	@$(MAKE) $(SERVICE_BINS) $(B)/bin/chaos
	@BIN_DIR='$(CURDIR)/$(B)/bin' $(if $(SEED),SEED='$(SEED)') $(if $(SECONDS),SECONDS='$(SECONDS)') \
		$(if $(SERVICES),SERVICES='$(SERVICES)') $(if $(CLIENTS),CLIENTS='$(CLIENTS)') \
		$(if $(SHARDS),SHARDS='$(SHARDS)') $(if $(filter 1,$(EDGE)),EDGE=1 SERVICES=2) \
		$(if $(filter 1,$(PATRONI)),PATRONI=1 tests/availability/in_namespaces) $(B)/bin/chaos

# Each on a stack of its own; what it measured is in build/gameday/<time>/drill-<number>.json.
DRILLS := drill-0 drill-1 drill-2 drill-3 drill-4
.PHONY: gameday drill-programs $(DRILLS)
gameday: drill-programs ## the five incidents again, each with a table of what became of it; drill-0 ... drill-4: one of them
	@BIN_DIR='$(CURDIR)/$(B)/bin' tests/drills/run $(DRILLS:drill-%=%)
$(DRILLS): drill-%: drill-programs
	@BIN_DIR='$(CURDIR)/$(B)/bin' tests/drills/run $*
drill-programs:
	@tools/install test-more
	@$(MAKE) $(SERVICE_BINS) $(B)/bin/empty_handler $(DRILL_BIN)

# clang's; each target in turn for its share of SECONDS. What is found is left in build/fuzz/found.
fuzz: ## libFuzzer over everything that takes bytes from outside: SECONDS= ONLY=json,http_wire,...
	@tools/install test
	@$(MAKE) BUILD=fuzz CC=clang-14 fuzz-bins
	@BIN_DIR='$(CURDIR)/build/fuzz-clang/bin/fuzz' $(if $(SECONDS),SECONDS_TOTAL='$(SECONDS)') $(if $(ONLY),ONLY='$(ONLY)') tests/fuzz/run
fuzz-bins: $(FUZZ_BINS)

# Figures are of the release build. BIG=1 loads ten million events before it measures appends again; QUICK=1 only
# shows that every table can be made.
QUICK_BENCH := ROUNDS=1 SAMPLE_MS=500 PRELOAD=100000 REBUILD_EVENTS=50000 MEMORY_COUPONS=20000 APPEND_EVENTS=10000 RESTARTS=1
bench: ## measure the numbers of the design: ONLY=issue,lag,rebuild,... JSON=1 BIG=1 QUICK=1 ROUNDS= CURVES=1
	@tools/install run
	@tools/install bench || echo "bench: some of what is compared with is missing"
	@$(MAKE) BUILD=release all
	@BIN_DIR='$(CURDIR)/build/release/bin' PRELOAD="$${PRELOAD:-$(if $(BIG),10000000,1000000)}" \
		REBUILD_EVENTS="$${REBUILD_EVENTS:-$(if $(BIG),10000000,1000000)}" \
		$(if $(ONLY)$(CURVES),ONLY='$(or $(ONLY),curves)') $(if $(BIG),CURVES_BIG=true) $(if $(JSON),JSON=true) $(if $(ROUNDS),ROUNDS='$(ROUNDS)') \
		$(if $(QUICK),$(QUICK_BENCH)) bench/run

# What a timer runs every week (packaging/systemd/loadtest); LOADTEST_DIR= keeps its runs.
.PHONY: loadtest
loadtest: ## 100, 200 and 500 users, and incident 4's crowd; exit 1 where it is worse than the last runs: LOADTEST_DIR= LOADTEST_WEBHOOK=
	@tools/install run
	@$(MAKE) BUILD=release services bench-tools
	@BIN_DIR='$(CURDIR)/build/release/bin' tools/loadtest

# Everything is built before the first test runs: a test that waits on a deadline must not share the machine
# with a compiler. clang only compiles, and links the services; it is there for its warnings.
test: ## install, build (gcc with release, asan, tsan; clang), tidy, run every test
	@tools/install test
	@echo "==> Building release, asan, tsan and with clang"
	@$(MAKE) build-release-tidy build-asan build-tsan build-clang
	@tools/run-tests

.PHONY: build-release build-release-tidy build-asan build-tsan build-clang
build-release build-asan build-tsan: build-%:
	@$(MAKE) BUILD=$* all tests
build-release-tidy: build-release
	@$(MAKE) BUILD=release tidy
build-clang:
	@$(MAKE) BUILD=release CC=clang services objects

test-more: ## install, build, run what needs packages, privileges or time that `make test` has not
	@tools/install test-more
	@echo "==> Building release, asan, tsan"
	@$(MAKE) build-release build-asan build-tsan
	@MORE=1 tools/run-tests

tidy: services hdr-check ## check the rules of CONTRIBUTING.md that a program can check
	@BIN_DIR='$(CURDIR)/$(B)/bin' tools/tidy

# Each header compiles alone, so that the order of includes never matters.
hdr-check: $(HEADERS:%=$(B)/hdr/%.ok)
$(B)/hdr/%.h.ok: %.h tools/make/flags.mk
	@mkdir -p $(@D)
	@echo '#include "$<"' | $(CC) $(CFLAGS) -fsyntax-only -x c -MMD -MP -MF $(@:.ok=.d) -MT $@ - \
		|| { echo "$<:1: hdr-check: does not compile alone; include what it uses" >&2; exit 1; }
	@touch $@
-include $(HEADERS:%=$(B)/hdr/%.d)

# Looked at again only when the file, a header it includes or the rules have changed.
ANALYZED := $(filter-out %_test.c tests/%,$(filter %.c,$(C_FILES)))
analyze: ## static analysis of what is not a test: clang-tidy, cppcheck, gcc -fanalyzer
	@tools/install test-more
	@$(MAKE) $(ANALYZED:%=build/analyze/%.ok)
	@cppcheck --quiet -j2 --error-exitcode=1 --inline-suppr --std=c17 --enable=warning,portability \
		--suppressions-list=tools/cppcheck.supp -I. -D_GNU_SOURCE $(ANALYZED) 2>&1 || exit 1
	@echo "analyze: $(words $(ANALYZED)) files"
build/analyze/%.c.ok: %.c .clang-tidy tools/make/flags.mk
	@mkdir -p $(@D)
	@echo "  AN  $<"
	@clang-tidy-14 --quiet $< -- $(LANGUAGE) -DFIRSTCOME_VERSION='""' 2>/dev/null
	@gcc $(LANGUAGE) -DFIRSTCOME_VERSION='""' -O1 -fanalyzer -Werror -Wno-analyzer-too-complex -MMD -MP -MF $(@:.ok=.d) -MT $@ -c -o /dev/null $<
	@touch $@
-include $(wildcard $(ANALYZED:%=build/analyze/%.d))

coverage: ## what the unit tests run of each folder; fails where a branch of the rules is not taken
	@tools/install test
	@$(MAKE) BUILD=coverage CC=gcc unit-tests
	@tools/coverage

# For clangd and its like. No program has to be started for it: every file is compiled with the same flags.
compile_commands.json: $(C_FILES) tools/make/flags.mk
	@{ echo '['; for file in $(filter %.c,$(C_FILES)); do \
		printf '%s{"directory": "%s", "file": "%s", "arguments": [%s]}\n' "$$comma" '$(CURDIR)' "$$file" \
			"$$(printf '"%s", ' $(CC) $(CFLAGS) -c)\"$$file\""; comma=,; done; echo ']'; } >$@

format: ## rewrite all C files with clang-format 14
	@tools/install test
	@clang-format-14 -i $(C_FILES)

clean: ## remove what was built
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile tools/make/*.mk | sed -E 's/:.*## /\t/' | sort | expand -t 16
