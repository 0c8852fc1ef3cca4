# The everyday commands. Everything is built with the dev profile except what is measured.

CONFIG ?= proxy.toml
CASES ?= 20000
ROUNDS ?= 10
KILLS ?= 300
FUZZ_SECONDS ?= 600
RELOADS ?= 50
RESTARTS ?= 5
REQUESTS ?= 200000
PROGRAM = "$${CARGO_TARGET_DIR:-target}/debug/portcullis"

.DEFAULT_GOAL := test
.PHONY: demo run test soak bench

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

# What has to pass before anything lands. Debian keeps servers where only root looks for programs.
test:
	@PATH="$$PATH:/usr/sbin" scripts/setup cc curl h2load nginx node python3 grpcio websockets blackbox-exporter chromium rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo test --locked --all-features

# The long runs: property tests with many more cases, ten minutes of bytes that are nearly right, a gateway killed
# hundreds of times within mints and revokes, and every outside test again and again, for what fails seldom.
soak:
	@PATH="$$PATH:/usr/sbin" scripts/setup cc curl h2load nginx node python3 grpcio websockets blackbox-exporter chromium
	PROPTEST_CASES=$(CASES) cargo test --locked --all-features --lib
	FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --locked --all-features --test it fuzz:: -- --test-threads 8
	KILLS=$(KILLS) cargo test --locked --all-features --test it a_kill_loses_nothing
	RELOADS=$(RELOADS) RESTARTS=$(RESTARTS) cargo test --locked --all-features --test it -- reloads_under restarts_behind
	REQUESTS=$(REQUESTS) cargo test --locked --all-features --test it races::
	@for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; \
		cargo test --locked --all-features --test it || exit 1; \
	done

# Instruction counts of the decision, CPU time of the whole beside the peers that can be had, and what clients that stall
# do to others: see benches/README.md.
# Debian keeps servers where only root looks for programs.
bench:
	@scripts/setup cc valgrind wrk
	@PATH="$$PATH:/usr/sbin" scripts/setup nginx haproxy || echo "what is missing is left out of the comparison" >&2
	PATH="$$PATH:/usr/sbin" cargo bench --locked --bench decision --bench end_to_end
	cargo bench --locked --bench end_to_end -- stalled
