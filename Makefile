# The two commands a newcomer needs are `make demo` and `make test`; each installs what it needs.

# Debian packages: build, and what the tests and the demo run for real.
PACKAGES := libasound2-dev pkg-config mosquitto mosquitto-clients strace
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: demo test bench lint docs packages help

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

bench: packages ## the figures of the README, on this machine
	cargo bench --locked
	cargo run --release --locked -- bench

lint: packages ## format, clippy, documentation: what CI asks beside the tests
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

# Nothing is asked of the network where everything is there already.
packages:
	@missing=$$(for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	if [ -n "$$missing" ]; then \
	  echo "== installing" $$missing; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	fi
