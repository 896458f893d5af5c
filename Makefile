# ems-intake: see README.md. One file, not recursive; everything is built into build/$(VARIANT).
#
#   make [VARIANT=release|debug|asan|ubsan|tsan|cov]   library and tools
#   make setup          install the packages of .ci/packages (Debian)
#   make demo           the main job on a sample upload
#   make check          every test; check-unit, check-tool, check-fuzz: one kind, without setup
#   make check-long     with the combinations that take some minutes
#   make check-kill     200 times kill -9 in the middle of a restore
#   make bench          figures against gpg, gzip, psql, sha256sum and tar
#   make fuzz           libFuzzer on the targets (TARGETS="sqlscan tar"), FUZZ_SECONDS each
#   make install        DESTDIR= PREFIX=/usr/local; make uninstall
#   make dist           build/ems-intake-VERSION.tar.gz of what is committed
#   make clean

VARIANT ?= release
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
VERSION  = 0.1.0
SOVERSION = 0

B = build/$(VARIANT)

CFLAGS  ?= $(CFLAGS_$(VARIANT))
LDFLAGS ?= $(LDFLAGS_$(VARIANT))

CFLAGS_release = -O2 -g
CFLAGS_debug   = -O0 -g3
CFLAGS_asan    = -O1 -g -fsanitize=address -fno-omit-frame-pointer
CFLAGS_ubsan   = -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
CFLAGS_tsan    = -O1 -g -fsanitize=thread
CFLAGS_cov     = -O0 -g --coverage
LDFLAGS_asan   = -fsanitize=address
LDFLAGS_ubsan  = -fsanitize=undefined
LDFLAGS_tsan   = -fsanitize=thread
LDFLAGS_cov    = --coverage

HARDEN_release = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
HARDLD_release = -Wl,-z,relro -Wl,-z,now

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes \
           -Wmissing-prototypes -Wundef -Wpointer-arith -Wwrite-strings
ifdef CI
WARNINGS += -Werror
endif
ifdef WERROR
WARNINGS += -Werror
endif

# Packages. libems links PKGS; what talks to a server is a second part that links PKGS_SERVER too.
PKGS        = libgcrypt zlib bzip2 libarchive jansson yaml-0.1 sqlite3
PKGS_SERVER = libpq
PKG_CONFIG ?= pkg-config

# bzip2 has no .pc file on Debian 12.
pkgs_known := $(filter-out bzip2,$(PKGS))
LIB_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(pkgs_known) $(PKGS_SERVER) 2>/dev/null)
LIB_LIBS   := $(shell $(PKG_CONFIG) --libs $(pkgs_known) 2>/dev/null) -lbz2
SERVER_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS_SERVER) 2>/dev/null)
HAVE_ISAL  := $(shell $(PKG_CONFIG) --exists libisal 2>/dev/null && echo 1)
ifeq ($(HAVE_ISAL),1)
LIB_LIBS += $(shell $(PKG_CONFIG) --libs libisal)
DEFINES  += -DEMS_HAVE_ISAL=1
endif

ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -DEMS_VERSION='"$(VERSION)"' $(DEFINES) -Ilib $(WARNINGS) \
              -fPIC -pthread -fvisibility=default -MMD -MP $(HARDEN_$(VARIANT)) $(LIB_CFLAGS) \
              $(CFLAGS)
ALL_LDFLAGS = -pthread $(HARDLD_$(VARIANT)) $(LDFLAGS)

SERVER_SRC = lib/staging.c lib/restore.c $(wildcard lib/server_*.c)
LIB_SRC    = $(filter-out $(SERVER_SRC),$(wildcard lib/*.c))
TOOL_SRC   = $(wildcard tools/ems-*.c)
COMMON_SRC = $(filter-out $(TOOL_SRC) tools/server.c,$(wildcard tools/*.c))
TEST_SRC   = $(wildcard tests/unit/test_*.c)
FUZZ_SRC   = $(wildcard tests/fuzz/fuzz_*.c)

obj = $(patsubst %.c,$(B)/%.o,$(1))

LIB_OBJ    = $(call obj,$(LIB_SRC))
SERVER_OBJ = $(call obj,$(wildcard $(SERVER_SRC)))
COMMON_OBJ = $(call obj,$(COMMON_SRC))
TOOLS      = $(patsubst tools/%.c,$(B)/%,$(TOOL_SRC))
TESTS      = $(patsubst tests/unit/%.c,$(B)/tests/%,$(TEST_SRC))
FUZZERS    = $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))

SHARED = $(B)/libems.so.$(SOVERSION)

.PHONY: all help check check-long check-all check-unit check-tool check-fuzz check-kill bench fuzz demo setup install uninstall dist clean
.SECONDARY:

all: $(B)/libems.a $(SHARED) $(TOOLS)

# A change of flags rebuilds: the stamp holds what the objects were made with.
FLAGS_NOW = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || echo '$(subst ','\'',$(FLAGS_NOW))' > $@
FORCE:

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/libems.a: $(LIB_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(B)/libems-server.a: $(SERVER_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ) lib/libems.map
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libems.so.$(SOVERSION) \
	    -Wl,--version-script=lib/libems.map -o $@ $(LIB_OBJ) $(LIB_LIBS)
	ln -sf libems.so.$(SOVERSION) $(B)/libems.so

# Only these two know a server; what a customer installs does not link libpq.
SERVER_TOOLS = $(B)/ems-restore $(B)/ems-ingest
$(SERVER_TOOLS): $(B)/libems-server.a $(B)/tools/server.o
$(SERVER_TOOLS): EXTRA = $(B)/libems-server.a
$(SERVER_TOOLS): EXTRA_LIBS = $(SERVER_LIBS)

$(B)/ems-%: $(B)/tools/ems-%.o $(COMMON_OBJ) $(B)/libems.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(EXTRA) $(B)/libems.a $(LIB_LIBS) $(EXTRA_LIBS)

$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(B)/libems.a $(B)/libems-server.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libems-server.a $(B)/libems.a $(LIB_LIBS) $(SERVER_LIBS) \
	    -lcunit

# A fuzz target is one function; here with a main that replays files, under `make fuzz` with libFuzzer.
$(B)/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(B)/libems.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libems.a $(LIB_LIBS)

# For tests that kill a tool at a chosen moment.
KILL_AT = $(B)/tests/kill_at.so
$(KILL_AT): tests/lib/kill_at.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -fPIC -shared -o $@ $< -ldl

# Set-up first, then a make of its own that sees what was installed.
check: setup
	$(MAKE) check-all

check-all: all $(TESTS) $(FUZZERS) $(KILL_AT)
	VARIANT=$(VARIANT) tests/run unit fuzz tool

# What takes minutes more: every pair of faults to sets of 1 to 30 parts, and at the borders.
check-long: setup
	EMS_LONG=1 $(MAKE) check-all

check-unit: $(TESTS)
	VARIANT=$(VARIANT) tests/run unit

check-fuzz: $(FUZZERS)
	VARIANT=$(VARIANT) tests/run fuzz

check-tool: all $(KILL_AT)
	VARIANT=$(VARIANT) tests/run tool

# 200 times kill -9 in the middle of a restore; a few of them are part of check. EMS_SEED for others.
check-kill: all $(KILL_AT)
	VARIANT=$(VARIANT) EMS_KILLS=$${EMS_KILLS:-200} bash tests/tool/test_kill.sh

bench: all
	VARIANT=$(VARIANT) tests/bench/run

fuzz:
	tests/fuzz/run

demo: setup
	$(MAKE) all
	fixtures/demo $(B)

setup:
	.ci/setup

# The public face of libems; lib/libems.map lists the functions in them.
HEADERS = $(patsubst %,lib/%.h,error bytes source sink relay observe parts digest pgp inflate tar \
            sqlscan synapse finding chain facts archive_walk media_ids artifact manifest report)
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig \
	    $(DESTDIR)$(PREFIX)/include/ems $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(wildcard tools/*.1) $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(wildcard tools/*.7) $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)
	ln -sf libems.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libems.so
	install -m 644 $(B)/libems.a $(DESTDIR)$(LIBDIR)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@REQUIRES@|$(strip $(pkgs_known) $(if $(HAVE_ISAL),libisal))|' \
	    lib/ems.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/ems.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/ems.pc
	install -m 644 $(HEADERS) $(DESTDIR)$(PREFIX)/include/ems

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(TOOLS)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(wildcard tools/*.1))) \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/man/man7/,$(notdir $(wildcard tools/*.7)))
	rm -f $(DESTDIR)$(LIBDIR)/libems.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libems.so \
	    $(DESTDIR)$(LIBDIR)/libems.a $(DESTDIR)$(LIBDIR)/pkgconfig/ems.pc
	rm -rf $(DESTDIR)$(PREFIX)/include/ems

dist:
	@mkdir -p build
	git archive --prefix=ems-intake-$(VERSION)/ -o build/ems-intake-$(VERSION).tar.gz HEAD

clean:
	rm -rf build

# The head of this file.
help:
	@sed -n '/^#   /s/^#   //p;/^$$/q' Makefile

-include $(shell find $(B) -name '*.d' 2>/dev/null)
