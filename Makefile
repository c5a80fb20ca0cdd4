# stillair: every target calls what it needs; a fresh Debian machine needs Rust, gcc and Python 3.
.DEFAULT_GOAL := build
.PHONY: setup setup-tests build demo test bench lint fuzz clean

STILLAIR := target/release/stillair
DEMO := out/demo
# cargo-nextest where it is installed (faster, clearer), plain cargo test elsewhere.
TEST_RUNNER := $(shell cargo nextest --version >/dev/null 2>&1 && echo "nextest run" || echo "test")

setup: ## ONNX Runtime and system packages
	@scripts/setup.sh

setup-tests: ## the same, and the Python clients of the tests
	@scripts/setup.sh --tests

build: setup ## the release binary, target/release/stillair
	cargo build --release --locked

demo: build ## simulate an LSST-like exposure, process it, compare with the truth
	rm -rf $(DEMO)
	$(STILLAIR) simulate --layout lsst --seed 1 --out $(DEMO)/exposures
	$(STILLAIR) process $(DEMO)/exposures/lsst-1.fits --out $(DEMO)

test: setup-tests ## every test, real clients included
	@test -d "$${STILLAIR_TEST_DATA:-../shared/data}" || echo "NOTE: no real data in $${STILLAIR_TEST_DATA:-../shared/data}; the tests that need them skip"
	cargo fmt --all -- --check
	STILLAIR_PYTHON=$(CURDIR)/.venv/bin/python cargo $(TEST_RUNNER) --locked
	STILLAIR_PYTHON=$(CURDIR)/.venv/bin/python cargo test --locked --doc

bench: setup ## microbenchmarks, ratios within one run
	cargo bench --locked

lint: ## formatting, clippy without warnings, licences and advisories of the dependencies
	cargo fmt --all -- --check
	cargo clippy --locked --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check; else echo "cargo deny is not installed: dependencies not checked (cargo install --locked cargo-deny)"; fi

fuzz: ## each fuzz target for one minute (needs cargo-fuzz)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo fuzz is not installed: cargo install --locked cargo-fuzz"; exit 1; }
	for target in $$(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=60 || exit 1; done

clean: ## build outputs and demonstration outputs
	cargo clean
	rm -rf out
