# Firstcome: one Makefile, no recursion. `make help` lists what it can do.
#   BUILD=release|asan|tsan   which instrumentation (objects live apart in build/$(BUILD))
#   CC=gcc|clang              both are kept free of warnings
.DEFAULT_GOAL := all
BUILD ?= release
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
B := build/$(BUILD)$(if $(findstring clang,$(CC)),-clang)

include tools/make/flags.mk
include tools/make/rules.mk
include tools/make/targets.mk
include tools/make/install.mk
