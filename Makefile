# The everyday commands. Everything is built with the dev profile except what is measured.

CONFIG ?= proxy.toml
CASES ?= 20000
ROUNDS ?= 10
KILLS ?= 300
FUZZ_SECONDS ?= 600
RELOADS ?= 50
RESTARTS ?= 5
REQUESTS ?= 200000
EXAMPLES ?= 300
PROGRAM = "$${CARGO_TARGET_DIR:-target}/debug/portcullis"

.DEFAULT_GOAL := test
.PHONY: demo run test soak bench release screenshots

# A gateway to try: free ports, an echo app behind it, a temporary store, two tokens.
# `exec` makes the program make's own child, so that a signal to make ends it cleanly.
demo:
	@scripts/setup cc
	@cargo build --locked
	@exec $(PROGRAM) demo

# The gateway with a configuration of your own: make run CONFIG=path/to/proxy.toml
run:
	@scripts/setup cc
	@cargo build --locked
	@exec $(PROGRAM) serve --config "$(CONFIG)"

# The program for production, some 8 % faster than `cargo build --release` makes it, to target/guided/portcullis.
release:
	@scripts/setup cc wrk h2load llvm-tools
	@scripts/release

# What has to pass before anything lands. Debian keeps servers where only root looks for programs.
test:
	@PATH="$$PATH:/usr/sbin" scripts/setup cc curl git h2load nginx node python3 grpcio websockets blackbox-exporter chromium schemathesis \
		rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo test --locked --all-features

# The pictures in the README, anew: the browser tests take many more, for people to look at, into target/screenshots.
screenshots:
	@scripts/setup cc chromium emoji
	cargo test --locked --all-features --test it -- every_page_is_for_everybody the_page_for_people_is_styled
	@for picture in docs/screenshots/*.png; do \
		cp "$${CARGO_TARGET_DIR:-target}/screenshots/$${picture##*/}" "$$picture" || exit 1; \
	done

# The long runs: property tests with many more cases, ten minutes of bytes that are nearly right, a gateway killed
# hundreds of times within mints and revokes, and every outside test again and again, for what fails seldom.
soak:
	@PATH="$$PATH:/usr/sbin" scripts/setup cc curl git h2load nginx node python3 grpcio websockets blackbox-exporter chromium \
		schemathesis
	PROPTEST_CASES=$(CASES) cargo test --locked --all-features --lib
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --all-features --test it fuzz:: -- --test-threads 8
	KILLS=$(KILLS) cargo test --locked --all-features --test it a_kill_loses_nothing
	RELOADS=$(RELOADS) RESTARTS=$(RESTARTS) cargo test --locked --all-features --test it -- reloads_under restarts_behind
	EXAMPLES=$(EXAMPLES) cargo test --locked --all-features --test it schemathesis::
	REQUESTS=$(REQUESTS) cargo test --locked --all-features --test it races::
	@for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; \
		cargo test --locked --all-features --test it || exit 1; \
	done

# All that is measured, beside the peers that can be had; takes most of an hour: see benches/README.md.
# Debian keeps servers where only root looks for programs.
bench:
	@scripts/setup cc python3 valgrind wrk h2load
	@PATH="$$PATH:/usr/sbin" scripts/setup nginx haproxy pip ripgrep || echo "what is missing is left out of the comparison" >&2
	@scripts/peers "$${CARGO_TARGET_DIR:-target}/peers"
	cargo bench --locked --bench decision
	cargo bench --locked --bench decision -- times --record benches/results
	PATH="$$PATH:/usr/sbin" cargo bench --locked --bench end_to_end -- --record benches/results
	cargo bench --locked --bench end_to_end -- tokens --record benches/results
	cargo bench --locked --bench pages
	cargo bench --locked --bench scan
	cargo bench --locked --bench end_to_end -- stalled
