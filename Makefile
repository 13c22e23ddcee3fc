# The two commands a newcomer needs are `make demo` and `make test`; each installs what it needs.

# Debian packages: build, and what the tests and the demo run for real.
PACKAGES := libasound2-dev pkg-config mosquitto mosquitto-clients strace iproute2 faketime
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Cargo's tools, kept where `cargo clean` takes them away.
TOOLS := target/tools
tool = @test -x $(TOOLS)/bin/$(1) || { echo "== installing $(1)"; cargo install -q --locked $(1) --root $(TOOLS); }
DEB := target/package/auscult.deb

# What is built says nothing of where and when: the same commit gives the same bytes in any folder.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
CARGO_HOME ?= $(HOME)/.cargo
anywhere = CARGO_TARGET_DIR=target/package/build \
  RUSTFLAGS="--remap-path-prefix=$(CURDIR)=/auscult --remap-path-prefix=$(CARGO_HOME)=/cargo" \
  CFLAGS="-ffile-prefix-map=$(CURDIR)=/auscult -ffile-prefix-map=$(CARGO_HOME)=/cargo"

.PHONY: demo test fuzz bench lint audit evidence deb package packages help

help: ## what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: packages ## build auscult and watch it find wear in a synthetic machine and a recording
	@echo "== building auscult (the first time takes some minutes)"
	@cargo build --release --locked --bin auscult
	@echo "== auscult demo"
	@target/release/auscult demo --seconds 60

test: packages ## every test, with a real broker and real ALSA
	@echo "== tests (the first time builds for some minutes)"
	cargo test --locked

fuzz: PACKAGES += g++
fuzz: packages ## a minute of random bytes for each parser, random layers for each kernel, every access to memory checked
	fuzz/run.sh
	fuzz/kernels.sh

bench: packages ## the figures of the README, on this machine
	cargo bench --locked
	cargo run --release --locked -- bench

lint: packages ## format, clippy, documentation: what CI asks beside the tests
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

evidence: PACKAGES += g++ valgrind
evidence: packages ## the reliability tests at their full size, hours; goes on where it was stopped; writes docs/evidence.md
	tests/evidence.sh

audit: ## the unit's exposure; licences, sources and copies of every dependency; advisories if their database is here
	@if command -v systemd-analyze >/dev/null; then \
	  systemd-analyze security --no-pager --offline=true --threshold=13 systemd/auscult.service >/dev/null && \
	  echo "the unit's exposure is at most 1.3"; \
	fi
	$(call tool,cargo-deny)
	$(TOOLS)/bin/cargo-deny check bans licenses sources
	@if [ -d "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs" ]; then \
	  $(TOOLS)/bin/cargo-deny check --disable-fetch advisories; \
	else \
	  echo "== no advisory database here: fetch one with $(TOOLS)/bin/cargo-deny fetch"; \
	fi

deb: packages ## the Debian package alone
	$(call tool,cargo-deb)
	$(call tool,cargo-auditable)
	$(anywhere) $(TOOLS)/bin/cargo-auditable auditable build --release --locked --bin auscult
	$(anywhere) $(TOOLS)/bin/cargo-deb --no-build --strip --output $(DEB)

package: deb ## the package, tried once (needs root), with its list of parts and sums, signed with SIGNING_KEY if given
	$(call tool,cargo-cyclonedx)
	$(anywhere) $(TOOLS)/bin/cargo-deb --no-build --strip --deb-revision 2 --output $(DEB:.deb=-next.deb)
	$(TOOLS)/bin/cargo-cyclonedx cyclonedx --format json --spec-version 1.5 --override-filename auscult.cdx
	@mv auscult.cdx.json target/package/
	tests/package.sh $(DEB) $(DEB:.deb=-next.deb)
	@cd target/package && rm -f SHA256SUMS.sig && sha256sum auscult.deb auscult.cdx.json >SHA256SUMS
	$(if $(SIGNING_KEY),ssh-keygen -q -Y sign -n auscult -f "$(SIGNING_KEY)" target/package/SHA256SUMS)

# Nothing is asked of the network where everything is there already.
packages:
	@missing=$$(for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	if [ -n "$$missing" ]; then \
	  echo "== installing" $$missing; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	fi
