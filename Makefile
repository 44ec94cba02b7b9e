# keyway: GNU make 3.81 and later. `make help` lists the targets.
CC ?= cc
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow
PKG_CONFIG ?= pkg-config

BUILD = build
CPPFLAGS_ALL = -Iinclude -Ilib -D_POSIX_C_SOURCE=200809L $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags hiredis)) $(CPPFLAGS)
CFLAGS_ALL = -std=c11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(CFLAGS)
LIBS = $(shell $(PKG_CONFIG) --libs hiredis)

SOURCES := $(sort $(wildcard lib/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)

all: $(BUILD)/libkeyway.a

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/libkeyway.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $(OBJECTS)

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libkeyway.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) -Itests $(CFLAGS_ALL) -MMD -MP -o $@ $< $(BUILD)/libkeyway.a $(LIBS) -lcmocka

UNIT := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/unit/test_*.c)))

check: $(UNIT)
	@set -e; for t in $(UNIT); do $$t; done

clean:
	rm -rf $(BUILD)

.PHONY: all check clean
-include $(OBJECTS:.o=.d)
