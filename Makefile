# The two commands of the README are `make demo` and `make test`. Everything else serves them.
SHELL := /bin/bash
CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# apt and rustup put cargo in different places; both are fine.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

.PHONY: help setup setup-build setup-demo build demo test lint bench install clean

help:
	@echo 'make demo    a PostgreSQL pair, HAProxy and a writer; the primary is killed, the outage measured and shown'
	@echo '             FAULT=kill|hang|freeze|restart   SYNC=1 for synchronous replication'
	@echo 'make test    format, lints, documentation and every test, against real servers'
	@echo 'make bench   outage over many faults, cost of a decision, idle cost: prints numbers'
	@echo 'make build   the command line, target/release/failover'
	@echo 'make install PREFIX=/usr/local DESTDIR='

setup:
	@scripts/setup.sh test

setup-build:
	@scripts/setup.sh build

setup-demo:
	@scripts/setup.sh demo

build: setup-build
	$(CARGO) build --release --locked

demo: setup-demo
	@echo 'demo: building (the first time takes a minute or two)'
	@$(CARGO) build --locked --quiet --bin failover --example demo
	@FAULT="$(FAULT)" SYNC="$(SYNC)" target/debug/examples/demo

lint:
	@scripts/lint.sh

test: setup
	@scripts/test.sh

bench: setup-demo
	@scripts/bench.sh

install: build
	install -D -m 755 target/release/failover $(DESTDIR)$(PREFIX)/bin/failover
	install -D -m 644 packaging/failover.service $(DESTDIR)$(PREFIX)/lib/systemd/system/failover.service
	install -D -m 644 docs/failover.schema.json $(DESTDIR)$(PREFIX)/share/failover/failover.schema.json
	install -D -m 755 contrib/failover-host $(DESTDIR)$(PREFIX)/share/failover/failover-host
	install -D -m 644 contrib/rights.sql $(DESTDIR)$(PREFIX)/share/failover/rights.sql
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	target/release/failover completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/failover
	target/release/failover completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_failover
	target/release/failover completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/failover.fish

clean:
	$(CARGO) clean
