# SPDX-License-Identifier: BSD-3-Clause
# keyway: GNU make 3.81 and later. `make help` lists the targets.
# Settings, on the command line: CC CXX CPPFLAGS CFLAGS LDFLAGS PREFIX LIBDIR INCLUDEDIR MANDIR DOCDIR DESTDIR TLS HIREDIS, V=1 shows commands.

CC ?= cc
CXX ?= c++
AR ?= ar
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
TAR ?= tar
CLANG ?= clang
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes
V ?= 0

comma = ,

# GNU's names of places (make install prefix=/usr libdir=/usr/lib64) are those in capitals.
gnu_name = $(if $(filter command line,$(origin $(1))),$($(1)),$(2))
PREFIX ?= $(call gnu_name,prefix,/usr/local)
LIBDIR ?= $(call gnu_name,libdir,$(PREFIX)/lib)
INCLUDEDIR ?= $(call gnu_name,includedir,$(PREFIX)/include)
BINDIR ?= $(call gnu_name,bindir,$(PREFIX)/bin)
DATADIR ?= $(call gnu_name,datadir,$(PREFIX)/share)
MANDIR ?= $(call gnu_name,mandir,$(PREFIX)/share/man)
DOCDIR ?= $(call gnu_name,docdir,$(PREFIX)/share/doc/keyway)
BUILD = build

# The version lives in include/keyway/version.h alone.
version_part = $(shell sed -n 's/^.define KW_VERSION_$(1)  *\([0-9][0-9]*\)$$/\1/p' include/keyway/version.h)
MAJOR := $(call version_part,MAJOR)
VERSION := $(MAJOR).$(call version_part,MINOR).$(call version_part,PATCH)

# A relative LIBDIR, INCLUDEDIR, MANDIR or DOCDIR (lib/x86_64-linux-gnu) is taken from PREFIX.
under_prefix = $(if $(filter /%,$(1)),$(1),$(PREFIX)/$(1))
lib_place = $(call under_prefix,$(LIBDIR))
include_place = $(call under_prefix,$(INCLUDEDIR))
man_place = $(call under_prefix,$(MANDIR))
doc_place = $(call under_prefix,$(DOCDIR))
bin_place = $(call under_prefix,$(BINDIR))
bash_place = $(call under_prefix,$(DATADIR))/bash-completion/completions
zsh_place = $(call under_prefix,$(DATADIR))/zsh/site-functions

# What differs between systems.
ifeq ($(shell uname -s),Darwin)
SHARED_NAME = libkeyway.$(VERSION).dylib
SHARED_SONAME = libkeyway.$(MAJOR).dylib
SHARED_LINK = libkeyway.dylib
SHARED_FLAGS = -dynamiclib -install_name $(lib_place)/$(SHARED_SONAME) \
	-compatibility_version $(MAJOR) -current_version $(VERSION)
else
SHARED_NAME = libkeyway.so.$(VERSION)
SHARED_SONAME = libkeyway.so.$(MAJOR)
SHARED_LINK = libkeyway.so
SHARED_FLAGS = -shared -Wl,-soname,$(SHARED_SONAME) -Wl,--version-script,lib/keyway.map \
	-Wl,-z,defs -Wl,-z,relro -Wl,-Bsymbolic-functions -Wl,--gc-sections
endif

# hiredis puts bare names on the include path, so its folders come last and quietly.
HIREDIS_CFLAGS := $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags hiredis 2> /dev/null))
HIREDIS_LIBS := $(shell $(PKG_CONFIG) --libs hiredis 2> /dev/null)

# static: a copy of hiredis' reader is linked in, under names of its own, so that a host's hiredis and
# ours never meet. shared: libhiredis is a library that keyway needs, as distributions want it.
# auto: static where libhiredis.a is here.
HIREDIS ?= auto
HIREDIS_TOOL = env CC='$(CC)' OBJCOPY='$(OBJCOPY)' sh pkgconfig/hiredis.sh
HIREDIS_FUNCTIONS = redisReaderCreateWithFunctions redisReaderFree redisReaderFeed redisReaderGetReply
ifneq ($(filter-out auto static shared,$(HIREDIS)),)
$(error HIREDIS=$(HIREDIS): it is auto, static or shared)
endif
ifneq ($(HIREDIS),shared)
HIREDIS_ARCHIVE := $(shell $(HIREDIS_TOOL) find $(HIREDIS_LIBS) 2> /dev/null)
endif
ifneq ($(HIREDIS_ARCHIVE),)
HIREDIS_KIND = static
HIREDIS_OBJECT = $(BUILD)/hiredis.o
HIREDIS_NAMES = $(foreach name,$(HIREDIS_FUNCTIONS),-D$(name)=keyway_$(name))
else ifeq ($(HIREDIS),static)
$(error HIREDIS=static: no libhiredis.a that can be linked in, or no objcopy)
else
HIREDIS_KIND = shared
endif

# TLS needs OpenSSL. auto: where hiredis was built with it as well, so that nothing new is depended on.
TLS ?= auto
has_package = $(shell $(PKG_CONFIG) --exists $(1) 2> /dev/null && echo yes)
ifeq ($(TLS),auto)
HAS_TLS := $(and $(call has_package,hiredis_ssl),$(call has_package,openssl))
else ifeq ($(TLS),yes)
HAS_TLS := $(if $(call has_package,openssl),yes,$(error TLS=yes: OpenSSL is not here, install libssl-dev))
else
HAS_TLS :=
endif
ifneq ($(HAS_TLS),)
TLS_CFLAGS := -DKW_HAS_TLS $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags openssl))
TLS_LIBS := $(shell $(PKG_CONFIG) --libs openssl)
TLS_REQUIRES := openssl
endif

CPPFLAGS_ALL = -Iinclude -Ilib -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_DARWIN_C_SOURCE \
	$(TLS_CFLAGS) $(HIREDIS_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL = -std=c11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(CFLAGS)
# cmocka 2 deprecates asserts for which cmocka 1 has no others.
CMOCKA_FLAGS = -Wno-deprecated-declarations
# Tests are compiled quickly rather than well, and by make check without what a debugger needs, which takes a third of the time:
# what fails says where. (A program that is to be debugged: rm it and its object, and make that one.)
IS_CHECK = $(filter check,$(MAKECMDGOALS))
SUPPORT_CFLAGS = $(if $(IS_CHECK),$(filter-out -g,$(CFLAGS_ALL)),$(CFLAGS_ALL))
TEST_CFLAGS = $(SUPPORT_CFLAGS) $(if $(filter -O2,$(CFLAGS)),-O1) $(CMOCKA_FLAGS)
# They are linked by gold where it is here, to a copy of the library without what a debugger needs: a third of the work.
TEST_LDFLAGS = $(LDFLAGS) $(if $(IS_CHECK),-Wl$(comma)-S $(QUICK_LINKER))
QUICK_LINKER := $(if $(IS_CHECK),$(shell $(CC) -fuse-ld=gold -Wl$(comma)--version > /dev/null 2>&1 && echo -fuse-ld=gold))
TESTED = $(if $(IS_CHECK),$(BUILD)/libtested.a,$(STATIC))
EXAMPLE_CFLAGS = $(if $(IS_CHECK),$(filter-out -g,$(CFLAGS)),$(CFLAGS))
# What the library needs; tests use hiredis themselves besides.
LIBS = $(if $(HIREDIS_OBJECT),,$(HIREDIS_LIBS)) $(TLS_LIBS) -pthread
TEST_LIBS = $(LIBS) $(if $(HIREDIS_OBJECT),$(HIREDIS_LIBS))

STATIC = $(BUILD)/libkeyway.a
SHARED = $(BUILD)/$(SHARED_NAME)
SUPPORT = $(BUILD)/libsupport.a

SOURCES := $(sort $(wildcard lib/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
PARTS := $(OBJECTS) $(HIREDIS_OBJECT)
PUBLIC_HEADERS := $(sort $(wildcard include/keyway/*.h))
ADAPTERS := $(sort $(wildcard include/keyway/adapters/*.h))
SUPPORT_SOURCES := $(filter-out tests/support/run_%,$(sort $(wildcard tests/support/*.c)))
SUPPORT_OBJECTS := $(SUPPORT_SOURCES:%.c=$(BUILD)/%.o)

# programs(folder, pattern): build/<folder>/<name> for each <folder>/<pattern>.c
programs = $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard $(1)/$(2).c)))
UNIT := $(call programs,tests/unit,test_*)
SCENE := $(call programs,tests/scene,*)
FAKE := $(call programs,tests/fake,test_*)
LIVE := $(call programs,tests/live,test_*)
FAULT := $(call programs,tests/fault,test_*)
TESTS := $(UNIT) $(SCENE) $(FAKE) $(LIVE) $(FAULT)
BENCH := $(call programs,tests/bench,bench_*)
COUNTS := $(BUILD)/tests/counts/counts
SIZES := $(call programs,tests/sizes,*)
ifneq ($(shell uname -s),Darwin)
SIZES += $(SIZES:%=%_gc)
endif
FUZZ := $(call programs,tests/fuzz,fuzz_*)

# Event loops that are here; libev has no file for pkg-config everywhere. What needs another one
# is not built.
library_flags = $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags --libs $(1) 2> /dev/null))
LOOP_libevent := $(call library_flags,libevent)
LOOP_libuv := $(call library_flags,libuv)
LOOP_glib := $(call library_flags,glib-2.0)
LOOP_libev := $(shell printf '\043include <ev.h>\n' | $(CC) $(CPPFLAGS) -fsyntax-only -x c - 2> /dev/null && echo -lev)
LOOPS := poll subscribe $(foreach loop,libevent libuv libev glib,$(if $(LOOP_$(loop)),$(loop)))
BENCH := $(filter-out $(if $(LOOP_libevent),,$(BUILD)/tests/bench/bench_loop),$(BENCH))
EXAMPLES := $(call programs,examples,*) \
	$(filter-out $(BUILD)/examples/loop/% $(BUILD)/examples/keyway/%,$(call programs,examples/*,*)) \
	$(LOOPS:%=$(BUILD)/examples/loop/%)
SQLITE := $(call library_flags,sqlite3)
EXAMPLES := $(filter-out $(if $(SQLITE),,$(BUILD)/examples/cache_sqlite),$(EXAMPLES))
# The program keyway, which is made of several sources, and uses public headers alone.
PROGRAM := $(BUILD)/keyway
PROGRAM_OBJECTS := $(call programs,examples/keyway,*)
PROGRAM_OBJECTS := $(PROGRAM_OBJECTS:%=%.o)
TOUR := $(call programs,examples/tour,*)
TOOLS := $(call programs,tests/support,run_*)
# Live and fault tests that say so are quick enough for the sanitizers.
FAST := $(patsubst %.c,$(BUILD)/%,$(shell grep -l 'KW_TEST_FAST' $(wildcard tests/live/test_*.c \
	tests/fault/test_*.c) /dev/null))

# make check alone builds by all processors, where nobody has said how many jobs there are to be: -j1 is one.
ifeq ($(MAKELEVEL)$(words $(MAKECMDGOALS))$(filter-out check check-%,$(MAKECMDGOALS))$(filter -j% --jobs% --jobserver%,$(MAKEFLAGS)),01)
MAKEFLAGS += -j$(or $(shell getconf _NPROCESSORS_ONLN 2> /dev/null),1)
endif

ifeq ($(V),0)
Q = @
say = @printf '  %-6s %s\n' $(1) $(2)
endif

all: $(STATIC) $(SHARED) $(PROGRAM)

## all: the static and the shared library and the program keyway, in build/ (default)
## check: every test; needs redis-server, redis-cli and cmocka, no root and no network
## check-debian: Debian packages, built from tests/install/debian; needs debhelper, asks lintian where it is
## check-package: what needs neither servers nor clocks, for build daemons
## check-ports, check-i386 check-arm64 check-musl check-kqueue: builds and tests for other machines (tests/install/ports.sh)
## check-unit check-scene check-fake check-live check-fault: tests of one kind
## check-tls: TLS against real servers, also where hiredis is without it; needs libssl-dev and openssl
## check-quorum: values on several copies under faults, for QUORUM_SECONDS (120)
## check-cache: values in memory under faults, for SECONDS (120) on one server, a cluster, a ring and under Sentinel
## cache-mistakes: whether that finds each mistake of tests/live/mistakes
## sim: the whole client in a simulator, for SECONDS (120), from SEED on; WORLD=plain or cluster alone, RUNS seeds
## sim-mistakes: whether the simulator finds each mistake of tests/sim/mistakes
## check-counts: instructions, system calls and allocations of commands, beside their gates
## check-sizes: bytes of programs that use a little or much, and of the shared library, beside their gates
## gates: write the gates anew, from what is measured now
## check-house: rooms, calls between files, measures of the sources
## model: every order of events of small cases of values on several copies, and MODEL_OPS (10^8) by chance
## check-build: headers, rooms, exported symbols, installed copy
## check-examples: each example, and the quickstart's tour
## check-loaded: all tests, three times, beside eight busy loops
## coverage: lines and branches that the tests run, by room (gcov)
## growth: instructions of a command with more nodes, commands under way, ring members, bytes, handles
## bench: speed against raw hiredis on this machine
## demo: a throwaway cluster, and what keyway does on it
## install, uninstall: with DESTDIR, PREFIX (/usr/local), BINDIR, LIBDIR, INCLUDEDIR, DATADIR, MANDIR, DOCDIR
## man: section 3 of the manual, made from the headers, in build/man
## dist: build/keyway-VERSION.tar.gz, the same bytes for the same commit
## format, format-check: apply, or verify, the layout of .clang-format
## lint: what clang-tidy finds, by .clang-tidy
## asan, tsan: the quick tests under clang's sanitizers; tsan those that have threads
## fuzz: each fuzz target for FUZZ_SECONDS (60)
## abi: describe functions and types in tests/install/keyway.abi, which later ones are compared with
## exports: write tests/exports.txt anew
## clean: remove build/
## help: this list
help:
	@sed -n 's/^## /  /p' Makefile

# Libraries

# Each function in a section of its own, so that a program linked with -Wl,--gc-sections carries only
# what it calls. What runs for each command, message, value in memory or look-up on a ring is built for speed, as make
# check-counts tells; all else, which runs once for a setting, a connection or a map, or waits for a server, is built small.
# Unwind tables (.eh_frame, 80 KB of a program with calls, batches and a loop, read only where somebody unwinds) stay: without
# them a backtrace, a C++ exception or the end of a cancelled thread gets no further than the library's frames, and perf and
# debuggers of stripped programs neither. Who counts bytes leaves them out: make CFLAGS='-O2 -g -fno-asynchronous-unwind-tables'.
# Nothing is padded to addresses of 16 bytes, but where bytes are hashed in loops: gcc's padding is 15 KB of a client, and costs
# more misses of the processor's cache of code (17 % of them, of all that tests/counts runs) than it spares. Nor are its blocks
# copied to spare jumps: that is 1.5 % of the bytes, for 0.3 % of the instructions.
LIB_CFLAGS = -ffunction-sections -fdata-sections $(if $(filter $(TIGHT),$@),,$(DENSE))
DENSE := $(if $(findstring clang,$(shell $(CC) --version 2> /dev/null)),,-fno-align-functions -fno-align-loops -fno-align-jumps -fno-align-labels \
	-freorder-blocks-algorithm=simple)
TIGHT = $(patsubst %,$(BUILD)/lib/%.o,base/sha1 route/crc16 route/crc16_clmul route/hash_md5 route/hash_xxh route/ring)
HOT := $(addprefix lib/,$(addsuffix .c, \
	$(addprefix base/,bytes format heap memory push reader reader_limits reader_plain reply resp sha1) \
	$(addprefix route/,command command_table command_table_index crc16 crc16_clmul crc16_table hash_mix hash_xxh keys ring \
		ring_build ring_cells ring_lookup ring_positions slot split) \
	$(addprefix engine/,backoff batching combining glob histogram message_queue op ordering ordering_table \
		patience push_stream_read quorum quorum_phases quorum_script read_choice record script_run \
		session_state stamp) \
	$(addprefix net/,clock conn conn_read conn_wait lane lane_backpressure lane_io lane_queue lane_roles lane_send \
		lane_step lane_stream node_acquire node_pool node_scripts poller_epoll sync tls_openssl wait_queue) \
	$(addprefix topology/,node_registry snapshot topology topology_tend) \
	$(addprefix drive/,async_command blocking_wait call channel channel_queue copy_request driver driver_counts driver_look \
		encoded_args fanout item_keys loop loop_blocks loop_cancels loop_host loop_inbox loop_send loss \
		observer observer_show pipeline pipeline_ahead pipeline_channels pipeline_items pipeline_lists pipeline_losses \
		pipeline_scan pipeline_table pipeline_waits plan plan_name quorum_exchange receiver_work run_wait \
		session_plan session_run ticket_loop) \
	$(addprefix cache/,blob cache_loop cache_many fetch_look near pins s3fifo track_hear track_read) \
	$(addprefix api/,args async_session batch cache_async command event loop_calls quorum_caller quorum_carrier \
		quorum_results script_ways session ticket)))
COLD_SOURCES := $(filter-out $(HOT),$(SOURCES))
$(COLD_SOURCES:%.c=$(BUILD)/%.o): LIB_CFLAGS += $(COLD_CFLAGS)
COLD_CFLAGS ?= $(if $(findstring -fsanitize,$(CFLAGS)),,$(if $(filter -O2 -O3,$(CFLAGS)),-Os))

# What the library is compiled and linked with. Objects that were made with anything else are made anew. (Settled here: a prerequisite
# has the variables of the target that asks for it, those of what is built small, or of what the simulator leaves alone.)
FLAGS := $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LIB_CFLAGS) $(COLD_CFLAGS) $(LDFLAGS) $(TLS_LIBS)

$(BUILD)/flags: FORCE
	@mkdir -p $(@D); \
	printf '%s\n' '$(subst ','\'',$(FLAGS))' > $@.$$$$; \
	if cmp -s $@.$$$$ $@; then rm -f $@.$$$$; \
	elif $(NEED_BUILD) sh tests/support/need_build.sh; then mv $@.$$$$ $@; \
	else rm -f $@.$$$$; exit 1; fi

# Before anything is compiled for tests.
NEED_BUILD = CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' FLAGS='$(CPPFLAGS)'
HAS_CMOCKA = $(BUILD)/has_cmocka

$(HAS_CMOCKA):
	@mkdir -p $(@D)
	@$(NEED_BUILD) sh tests/support/need_build.sh cmocka
	@: > $@

ifneq ($(filter check check-%,$(MAKECMDGOALS)),)
$(OBJECTS) $(SUPPORT_OBJECTS) $(PROGRAM_OBJECTS) $(TESTS:%=%.o) $(SIM): | $(HAS_CMOCKA)
endif

$(BUILD)/lib/%.o: lib/%.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(NAMES) $(CFLAGS_ALL) $(LIB_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/support/%.o: tests/support/%.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(SUPPORT_CFLAGS) -MMD -MP -c -o $@ $<

# Which hiredis, and from where: what depends on it is made anew when that changes.
$(BUILD)/hiredis.kind: FORCE
	@mkdir -p $(@D)
	@echo '$(HIREDIS_KIND) $(HIREDIS_ARCHIVE)' | cmp -s - $@ || echo '$(HIREDIS_KIND) $(HIREDIS_ARCHIVE)' > $@

$(BUILD)/hiredis.o: $(BUILD)/hiredis.kind pkgconfig/hiredis.sh
	$(call say,LD,$@)
	$(Q)$(HIREDIS_TOOL) object $@ $(HIREDIS_ARCHIVE)

READERS = $(BUILD)/lib/base/reader.o $(BUILD)/lib/base/reader_layout.o
$(READERS): NAMES = $(HIREDIS_NAMES)
$(READERS): $(BUILD)/hiredis.kind

$(STATIC): $(PARTS)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(PARTS)

$(BUILD)/libtested.a: $(STATIC)
	@$(OBJCOPY) -g $(STATIC) $@ 2> /dev/null || cp $(STATIC) $@

$(SUPPORT): $(SUPPORT_OBJECTS)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(SUPPORT_OBJECTS)

$(SHARED): $(PARTS) lib/keyway.map
	$(call say,LD,$@)
	$(Q)$(CC) $(SHARED_FLAGS) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $(PARTS) $(LIBS)
	@ln -sf $(SHARED_NAME) $(BUILD)/$(SHARED_SONAME)
	@ln -sf $(SHARED_SONAME) $(BUILD)/$(SHARED_LINK)

# Programs: tests may look inside the library; examples see the public headers only.

$(BUILD)/tests/bench/bench_loop: LIBS += $(LOOP_libevent)

$(BUILD)/tests/bench/%: tests/bench/%.c $(STATIC) $(SUPPORT)
	$(call say,BENCH,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(CFLAGS_ALL) $(LDFLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ $< \
		$(SUPPORT) $(STATIC) $(TEST_LIBS) -lm

# The system calls that tests/counts/network.c answers and counts (GNU ld's --wrap, and others').
WRAPPED = close connect epoll_ctl epoll_wait poll read recv recvmsg sched_yield send sendmsg setsockopt socket \
	syscall write writev

$(BUILD)/tests/counts/%: tests/counts/%.c tests/counts/measure.c tests/counts/network.c tests/counts/work.c \
		tests/counts/measure.h tests/counts/network.h tests/counts/work.h $(STATIC)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE -Iinclude -Itests $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS) -o $@ \
		$(filter %.c,$^) $(WRAPPED:%=-Wl,--wrap=%) $(STATIC) $(LIBS)

# The simulator, in a build of its own (make sim): its system calls, and its locks, are the library's, and
# the compiler calls it between any two basic blocks of the library.
SIM_WRAPPED = clock_gettime close connect epoll_create1 epoll_ctl epoll_wait eventfd fcntl fcntl64 freeaddrinfo freelocale \
	getaddrinfo getentropy getpid getsockopt kw_slot_tags_init madvise mmap mmap64 munmap nanosleep newlocale poll pthread_cond_broadcast pthread_cond_destroy \
	pthread_cond_init pthread_cond_signal pthread_cond_timedwait pthread_create pthread_mutex_destroy pthread_mutex_init \
	pthread_mutex_lock pthread_mutex_unlock pthread_self read recv sched_yield send setsockopt shutdown socket syscall \
	uselocale write
SIM_BLOCKS = -fsanitize-coverage=trace-pc
SIM = $(BUILD)/sim/tests/sim/sim
SIM_SOURCES := $(sort $(wildcard tests/sim/*.c))
SIM_OBJECTS := $(SIM_SOURCES:%.c=$(BUILD)/%.o)

# Maps and rings are made by one thread, then read by all; a walk's state, settings, and what is read or written of bytes, are in
# the hands of one thread: of all blocks most were theirs, and none was a point where anything could change.
SIM_PURE = $(patsubst %,$(BUILD)/lib/%.o,route/% base/% settings/% cache/slot_tags engine/glob engine/scan_cursor \
	engine/scan_cursor_read engine/scan_roster engine/scan_seen engine/scan_slots engine/scan_unique engine/scan_view)
$(SIM_PURE): CFLAGS_ALL := $(filter-out $(SIM_BLOCKS),$(CFLAGS_ALL))

$(BUILD)/tests/sim/%.o: tests/sim/%.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(filter-out $(SIM_BLOCKS),$(CFLAGS_ALL)) -MMD -MP -c -o $@ $<

$(BUILD)/tests/sim/sim: $(SIM_OBJECTS) $(STATIC)
	$(call say,TEST,$@)
	$(Q)$(CC) $(filter-out $(SIM_BLOCKS),$(CFLAGS_ALL)) $(LDFLAGS) -o $@ $(SIM_OBJECTS) $(SIM_WRAPPED:%=-Wl,--wrap=%) $(STATIC) $(LIBS)

# A program with nothing of its own, as a user builds it.
size_program = $(CC) -Iinclude -D_POSIX_C_SOURCE=200809L $(CPPFLAGS) -std=c11 $(WARNINGS) $(CFLAGS) $(LDFLAGS) $(1) \
	-o $@ $< $(STATIC) $(LIBS)

$(BUILD)/tests/sizes/%_gc: tests/sizes/%.c tests/sizes/uses.h $(STATIC)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(call size_program,-Wl$(comma)--gc-sections)

$(BUILD)/tests/sizes/%: tests/sizes/%.c tests/sizes/uses.h $(STATIC)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(size_program)

$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(STATIC)
	$(call say,FUZZ,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(CFLAGS_ALL) $(LDFLAGS) $(FUZZ_FLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ $< \
		$(STATIC) $(TEST_LIBS)

$(BUILD)/tests/%.o: tests/%.c $(BUILD)/flags
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(TEST_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TESTED) $(SUPPORT)
	$(Q)$(CC) $(TEST_CFLAGS) $(TEST_LDFLAGS) -o $@ $< $(SUPPORT) $(TESTED) $(TEST_LIBS) -lcmocka -lm

$(LOOPS:%=$(BUILD)/examples/loop/%): LIBS += $(LOOP_$(@F))
$(BUILD)/examples/cache_sqlite: LIBS += $(SQLITE)

$(BUILD)/examples/keyway/%.o: examples/keyway/%.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -Iinclude -D_POSIX_C_SOURCE=200809L $(CPPFLAGS) -std=c11 -pthread $(WARNINGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(PROGRAM): $(PROGRAM_OBJECTS) $(STATIC)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(PROGRAM_OBJECTS) $(STATIC) $(LIBS)

$(BUILD)/tests/fake/test_program $(BUILD)/tests/fake/test_program_failures $(BUILD)/tests/live/test_program $(BUILD)/tests/live/test_tls: \
	| $(PROGRAM)

$(BUILD)/examples/%: examples/%.c $(TESTED)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -Iinclude -D_POSIX_C_SOURCE=200809L $(CPPFLAGS) -std=c11 -pthread $(WARNINGS) $(EXAMPLE_CFLAGS) $(TEST_LDFLAGS) \
		-MMD -MP -MF $@.d -MT $@ -o $@ $< $(TESTED) $(LIBS)

# Tests. check.sh runs what it is given, the longest first, stops at the first failure, and counts.

CHECK_ENV = CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' CFLAGS='$(CFLAGS)' LDFLAGS='$(LDFLAGS)' TLS='$(TLS)' HIREDIS='$(HIREDIS)' CXX='$(CXX)' MAKE='$(MAKE)' PKG_CONFIG='$(PKG_CONFIG)' BUILD='$(BUILD)' OBJECTS='$(OBJECTS)' SIZES='$(SIZES)' VERSION='$(VERSION)' \
	SHARED='$(SHARED)' CPPFLAGS_ALL='$(CPPFLAGS_ALL)' CFLAGS_ALL='$(CFLAGS_ALL)' EXAMPLES='$(EXAMPLES)' \
	LOOPS='$(LOOPS)' CLANG_FORMAT='$(CLANG_FORMAT)' CLANG_TIDY='$(CLANG_TIDY)' HAS_TLS='$(HAS_TLS)' HIREDIS_KIND='$(HIREDIS_KIND)' V='$(V)' \
	DENSE='$(DENSE)' WRAPPED='$(WRAPPED)' LIBS='$(LIBS)' STATIC='$(STATIC)' AR='$(AR)'
RUN = @env -u MAKEFLAGS $(CHECK_ENV) sh tests/support/check.sh
VECTORS = tests/unit/ring_vectors.sh
STYLE_CHECKS = $(patsubst %,tests/support/%.sh,lint format headers rooms calls sources exports docstrings manual)
INSTALL_CHECKS = $(patsubst %,tests/install/%.sh,abi bindings install make migration setup users)
# Counts need a linker that has --wrap.
COUNT_CHECKS = $(if $(filter Linux,$(shell uname -s)),tests/support/counts.sh tests/support/sizes.sh)
# So does the simulator, and epoll.
SIM_CHECKS = $(if $(filter Linux,$(shell uname -s)),tests/sim/check.sh)
EXAMPLE_CHECKS = tests/support/examples.sh tests/live/quickstart.sh

check: all $(if $(SIM_CHECKS),$(SIM)) $(UNIT) $(SCENE) $(FAKE) $(LIVE) $(FAULT) $(EXAMPLES) $(TOOLS) $(if $(COUNT_CHECKS),$(COUNTS) $(SIZES))
	$(RUN) --servers $(UNIT) $(VECTORS) $(SCENE) $(SIM_CHECKS) $(STYLE_CHECKS) $(COUNT_CHECKS) $(INSTALL_CHECKS) tests/install/hiredis.sh tests/install/quickstart.sh \
		$(FAKE) $(LIVE) tests/live/server_name.sh tests/live/tls.sh $(FAULT) $(EXAMPLE_CHECKS)

check-unit: $(UNIT)
	$(RUN) $(UNIT) $(VECTORS)

# Everything is compiled anew for it.
check-debian:
	@env -u MAKEFLAGS $(CHECK_ENV) sh tests/install/debian.sh

# What they need is said where it is not here.
PORTS = i386 arm64 musl kqueue

check-ports: $(PORTS:%=check-%)

$(PORTS:%=check-%):
	@env -u MAKEFLAGS BUILD='$(BUILD)' MAKE='$(MAKE)' CC='$(CC)' sh tests/install/ports.sh $(@:check-%=%)

# What build daemons run: no server, no network, and no clock but what a test gives.
check-package: all $(UNIT) $(SCENE)
	$(RUN) $(UNIT) $(VECTORS) $(SCENE) tests/support/exports.sh

check-scene: $(SCENE)
	$(RUN) $(SCENE)

check-fake: $(FAKE)
	$(RUN) $(FAKE)

check-live: $(LIVE)
	$(RUN) --servers $(LIVE) tests/live/server_name.sh

check-fault: $(FAULT)
	$(RUN) --servers $(FAULT)

QUORUM_SECONDS ?= 120

check-quorum: $(BUILD)/tests/live/test_quorum_crowd $(BUILD)/tests/scene/test_quorum_simulation
	@sh tests/support/need.sh
	@KW_TEST_RUNS=60000 $(BUILD)/tests/scene/test_quorum_simulation
	@KW_TEST_SECONDS=$(QUORUM_SECONDS) $(BUILD)/tests/live/test_quorum_crowd

SECONDS ?= 120
check-cache: $(BUILD)/tests/live/test_cache_staleness $(BUILD)/tests/live/test_cache_herd
	@sh tests/support/need.sh
	@KW_TEST_HERD=64 $(BUILD)/tests/live/test_cache_herd
	@KW_TEST_SECONDS=$(SECONDS) $(BUILD)/tests/live/test_cache_staleness

# The 70 cases of two writers are walked through to their ends, 27 million states; the 273 others, of lives, reads and repairs,
# to theirs or to MODEL_STATES states each: the largest known has 13 million, and all of them take hours. What is cut short is
# spread over the case. A state takes 8 bytes (up to 24 while their table grows).
MODEL_OPS ?= 100000000
MODEL_STATES ?= 1500000
MODEL_JOBS ?= 2

model: $(BUILD)/tests/scene/test_quorum_model
	@KW_TEST_MODEL=all KW_TEST_STATES=$(MODEL_STATES) KW_TEST_OPS=$(MODEL_OPS) KW_TEST_JOBS=$(MODEL_JOBS) \
		$(BUILD)/tests/scene/test_quorum_model

check-build: all
	$(RUN) $(STYLE_CHECKS) $(INSTALL_CHECKS) tests/install/hiredis.sh tests/install/quickstart.sh

check-examples: all $(EXAMPLES) $(TOOLS)
	$(RUN) --servers $(EXAMPLE_CHECKS)

# What TLS needs may be here although hiredis is without it.
check-tls:
	$(RUN) --servers tests/live/tls.sh

check-counts: all $(COUNTS)
	@env $(CHECK_ENV) sh tests/support/counts.sh

growth: $(BUILD)/tests/counts/growth
	@env $(CHECK_ENV) sh tests/support/growth.sh

check-house: all
	$(RUN) tests/support/rooms.sh tests/support/calls.sh tests/support/sources.sh tests/support/times.sh

check-sizes: all $(SIZES)
	@env $(CHECK_ENV) sh tests/support/sizes.sh

gates: all $(COUNTS) $(SIZES)
	@env $(CHECK_ENV) sh tests/support/counts.sh --write
	@env $(CHECK_ENV) sh tests/support/sizes.sh --write > /dev/null

check-quick: $(UNIT) $(SCENE) $(FAKE) $(FAST)
	$(RUN) --servers $(UNIT) $(SCENE) $(FAKE) $(FAST)

# Of these, those that have threads.
THREADED := $(patsubst %.c,$(BUILD)/%,$(shell grep -l -e pthread_create -e kw_test_crew $(wildcard tests/unit/test_*.c) /dev/null))

check-threaded: $(THREADED) $(FAKE) $(FAST)
	$(RUN) --servers $(THREADED) $(FAKE) $(FAST)

SANITIZE = $(MAKE) CC='$(CLANG)'

# Locks of the system, whose every lock and unlock the simulator looks at.
# With -g where a seed is looked at by a debugger.
SIM_FLAGS ?= -O2 -DKW_SYSTEM_LOCKS $(SIM_BLOCKS)

$(SIM): FORCE
	@$(MAKE) $@ BUILD=$(BUILD)/sim CFLAGS='$(SIM_FLAGS)'

sim: $(SIM)
	@env SECONDS='$(SECONDS)' SEED='$(SEED)' RUNS='$(RUNS)' WORLD='$(WORLD)' $(SIM)

sim-mistakes:
	@env BUILD='$(BUILD)' CC='$(CC)' MAKE='$(MAKE)' sh tests/sim/mistakes.sh

cache-mistakes:
	@env BUILD='$(BUILD)' CC='$(CC)' MAKE='$(MAKE)' MISTAKES=tests/live/mistakes FINDER=tests/live/test_cache_staleness \
		sh tests/sim/mistakes.sh

asan:
	+@$(SANITIZE) check-quick BUILD=build/asan CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'

tsan:
	+@$(SANITIZE) check-threaded BUILD=build/tsan CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=thread'

FUZZ_SECONDS ?= 60
FUZZ_FLAGS = -fsanitize=fuzzer

fuzz:
	@$(MAKE) fuzz-run CC='$(CLANG)' BUILD=build/fuzz \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all'

fuzz-run: $(FUZZ)
	@rm -f $(BUILD)/check.count; good=0; bad=0; for f in $(FUZZ); do \
		name=$$(basename $$f); mkdir -p $(BUILD)/corpus/$$name; \
		echo "  $$name: $(FUZZ_SECONDS) s"; \
		if $$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/$$name. -print_final_stats=0 \
			-verbosity=0 $(BUILD)/corpus/$$name; then good=$$((good + 1)); else bad=$$((bad + 1)); fi; \
	done; echo "$$good passed, $$bad failed" | tee $(BUILD)/check.count; [ $$bad -eq 0 ]

# gcov's figures by room, of all tests but the scripts.
coverage:
	@$(MAKE) coverage-run BUILD=build/coverage CFLAGS='-O0 -g --coverage -fprofile-update=atomic'

coverage-run: $(TESTS)
	@find $(BUILD) -name '*.gcda' -exec rm -f {} +
	-@env -u MAKEFLAGS $(CHECK_ENV) KEEP_GOING=1 sh tests/support/check.sh --servers $(TESTS)
	@sh tests/support/coverage.sh $(OBJECTS)

# Whether tests are right on a machine that is busy: before a piece of work is called done.
check-loaded: all
	@BUILD='$(BUILD)' sh tests/support/loaded.sh 3 8 $(MAKE) check

bench: $(BENCH)
	@sh tests/support/need.sh
	@set -e; for b in $(BENCH); do $$b; done

tour: $(TOUR)

demo: all $(TOUR)
	@sh examples/quickstart.sh --tour-only

abi: $(SHARED)
	@env $(CHECK_ENV) sh tests/install/abi.sh --write

exports: $(SHARED)
	@env $(CHECK_ENV) sh tests/support/exports.sh --write

# Installation. keyway.pc gets the final places, never DESTDIR.

in_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

# Where headers are from the libraries' folder, so that an installed copy can be moved; in full outside of PREFIX.
empty =
space = $(empty) $(empty)
up_from_lib = $(subst $(space),/,$(patsubst %,..,$(subst /,$(space),$(patsubst $(PREFIX)/%,%,$(lib_place)))))
from_lib = $(if $(filter $(PREFIX)/%,$(lib_place)),$(patsubst $(PREFIX)/%,$(up_from_lib)/%,$(1)),$(1))
CMAKE_LIBS = $(subst $(space),;,$(strip $(if $(HIREDIS_OBJECT),,$(HIREDIS_LIBS)) $(TLS_LIBS)))

# The manual: section 3 is made from the headers.
MAN = $(BUILD)/man/stamp

$(MAN): $(PUBLIC_HEADERS) lib/man/keyway.7 lib/man/pages.sh lib/man/pages.awk
	$(call say,MAN,$(@D))
	@rm -rf '$(@D)/man3'
	$(Q)sh lib/man/pages.sh '$(@D)/man3'
	@: > $@

man: $(MAN)

# The program says its own completion; one for another machine cannot, and is installed without.
$(BUILD)/completion.%: $(PROGRAM)
	@$(PROGRAM) completion $* > $@ 2> /dev/null || : > $@

install: all $(MAN) $(BUILD)/completion.bash $(BUILD)/completion.zsh
	@mkdir -p '$(DESTDIR)$(include_place)/keyway/adapters' '$(DESTDIR)$(lib_place)/pkgconfig' \
		'$(DESTDIR)$(man_place)/man1' '$(DESTDIR)$(man_place)/man3' '$(DESTDIR)$(man_place)/man7' '$(DESTDIR)$(doc_place)' '$(DESTDIR)$(bin_place)' \
		'$(DESTDIR)$(bash_place)' '$(DESTDIR)$(zsh_place)'
	$(Q)install -m 755 $(PROGRAM) '$(DESTDIR)$(bin_place)/keyway'
	$(Q)install -m 644 $(BUILD)/completion.bash '$(DESTDIR)$(bash_place)/keyway'
	$(Q)install -m 644 $(BUILD)/completion.zsh '$(DESTDIR)$(zsh_place)/_keyway'
	$(Q)install -m 644 include/keyway.h '$(DESTDIR)$(include_place)/keyway.h'
	$(Q)install -m 644 $(PUBLIC_HEADERS) '$(DESTDIR)$(include_place)/keyway/'
	$(Q)install -m 644 $(ADAPTERS) '$(DESTDIR)$(include_place)/keyway/adapters/'
	$(Q)install -m 644 $(STATIC) '$(DESTDIR)$(lib_place)/libkeyway.a'
	$(Q)install -m 755 $(SHARED) '$(DESTDIR)$(lib_place)/$(SHARED_NAME)'
	$(Q)ln -sf $(SHARED_NAME) '$(DESTDIR)$(lib_place)/$(SHARED_SONAME)'
	$(Q)ln -sf $(SHARED_SONAME) '$(DESTDIR)$(lib_place)/$(SHARED_LINK)'
	$(Q)sed -e 's|@prefix@|$(PREFIX)|' -e 's|@libdir@|$(call in_prefix,$(lib_place))|' \
		-e 's|@includedir@|$(call in_prefix,$(include_place))|' -e 's|@version@|$(VERSION)|' \
		-e 's|@requires@|$(TLS_REQUIRES)|' -e 's|@libs@|$(if $(HIREDIS_OBJECT),,$(HIREDIS_LIBS) )|' \
		pkgconfig/keyway.pc.in > '$(DESTDIR)$(lib_place)/pkgconfig/keyway.pc'
	@chmod 644 '$(DESTDIR)$(lib_place)/pkgconfig/keyway.pc'
	@mkdir -p '$(DESTDIR)$(lib_place)/cmake/keyway'
	$(Q)for name in keyway-config keyway-config-version; do \
		sed -e 's|@includedir@|$(call from_lib,$(include_place))|' -e 's|@shared@|$(SHARED_NAME)|' \
			-e 's|@soname@|$(SHARED_SONAME)|' -e 's|@libs@|$(CMAKE_LIBS)|' -e 's|@version@|$(VERSION)|' \
			-e 's|@major@|$(MAJOR)|' pkgconfig/$$name.cmake.in > '$(DESTDIR)$(lib_place)'/cmake/keyway/$$name.cmake && \
		chmod 644 '$(DESTDIR)$(lib_place)'/cmake/keyway/$$name.cmake || exit 1; done
	$(Q)install -m 644 lib/man/keyway.1 '$(DESTDIR)$(man_place)/man1/'
	$(Q)install -m 644 $(BUILD)/man/man3/*.3 '$(DESTDIR)$(man_place)/man3/'
	$(Q)install -m 644 lib/man/keyway.7 lib/man/keyway-migration.7 '$(DESTDIR)$(man_place)/man7/'
ifneq ($(shell uname -s),Darwin)
	@DESTDIR='$(DESTDIR)' sh pkgconfig/ldconfig.sh '$(lib_place)' $(SHARED_SONAME)
endif
	$(Q)install -m 644 COPYING '$(DESTDIR)$(doc_place)/COPYING'
ifneq ($(HIREDIS_OBJECT),)
	$(Q)$(HIREDIS_TOOL) licence $(HIREDIS_CFLAGS) > '$(DESTDIR)$(doc_place)/COPYING.hiredis'
	@chmod 644 '$(DESTDIR)$(doc_place)/COPYING.hiredis'
endif

uninstall:
	$(Q)rm -f '$(DESTDIR)$(include_place)/keyway.h' '$(DESTDIR)$(lib_place)/libkeyway.a' \
		'$(DESTDIR)$(lib_place)/$(SHARED_NAME)' '$(DESTDIR)$(lib_place)/$(SHARED_SONAME)' \
		'$(DESTDIR)$(lib_place)/$(SHARED_LINK)' '$(DESTDIR)$(lib_place)/pkgconfig/keyway.pc' \
		'$(DESTDIR)$(man_place)/man1/keyway.1' '$(DESTDIR)$(man_place)/man7/keyway.7' \
		'$(DESTDIR)$(man_place)/man7/keyway-migration.7' '$(DESTDIR)$(bin_place)/keyway' \
		'$(DESTDIR)$(bash_place)/keyway' '$(DESTDIR)$(zsh_place)/_keyway'
	$(Q)cd '$(DESTDIR)$(man_place)/man3' 2> /dev/null && rm -f $(shell sh lib/man/pages.sh --list) || true
	$(Q)rm -rf '$(DESTDIR)$(include_place)/keyway' '$(DESTDIR)$(doc_place)'
	$(Q)rm -rf '$(DESTDIR)$(lib_place)/cmake/keyway'
	@rmdir '$(DESTDIR)$(lib_place)/pkgconfig' '$(DESTDIR)$(lib_place)/cmake' 2> /dev/null || true

# A release: the files that git knows (outside git: all but build/), one order, one time, one owner.

DIST = keyway-$(VERSION)

dist:
	@mkdir -p $(BUILD)
	@sh tests/support/dist.sh '$(TAR)' '$(DIST)' '$(BUILD)/$(DIST).tar.gz'
	@echo '$(BUILD)/$(DIST).tar.gz'

# The command table is laid out by hand; clang-format would take most of its time to leave it alone.
FORMATTED = $(filter-out lib/route/command_table.c, \
	$(sort $(wildcard include/*.h include/keyway/*.h include/keyway/adapters/*.h lib/*/*.[ch] tests/*/*.[ch] examples/*.c examples/*/*.[ch])))

format:
	@$(CLANG_FORMAT) -i $(FORMATTED)

format-check:
	@env $(CHECK_ENV) LINT_ANY=1 sh tests/support/format.sh

lint:
	@env $(CHECK_ENV) LINT_ANY=1 sh tests/support/lint.sh

clean:
	rm -rf $(BUILD)

.PHONY: abi all help cache-mistakes check check-ports check-i386 check-arm64 check-musl check-kqueue check-cache check-debian check-package check-tls check-quorum model check-unit check-scene check-fake check-live check-fault check-build check-examples check-quick check-threaded check-counts check-sizes check-house check-loaded coverage coverage-run gates \
	asan tsan fuzz fuzz-run bench growth tour demo exports man install uninstall dist format format-check lint clean FORCE
.SECONDARY:
.DELETE_ON_ERROR:

-include $(OBJECTS:.o=.d) $(SUPPORT_OBJECTS:.o=.d) $(SIM_OBJECTS:.o=.d) $(PROGRAM_OBJECTS:.o=.d)
-include $(patsubst %,%.d,$(UNIT) $(SCENE) $(FAKE) $(LIVE) $(FAULT) $(BENCH) $(FUZZ) $(EXAMPLES) $(TOOLS))
