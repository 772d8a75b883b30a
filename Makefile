# `make demo` and `make test` do all their own set-up; `make check` is what CI runs.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
BROKER := .cache/kafka
COLLECTOR := .cache/otelcol
# One more process than cores: many tests wait for a server.
PROCESSES := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
KERNELS := $(wildcard service/ingest/kernel/*.p* service/ingest/kernel/*.h detectors/core/*.pyx)

.PHONY: demo run test quick all-tests check lint types install sanitize mutants wheel broker collector lock clean

demo: install ## Watch four incidents in a simulated fleet turn into four pages.
	@$(BIN)/tocsin demo

run: install ## Run the daemon with its defaults.
	@$(BIN)/tocsin run

PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: install broker ## Run the tests, documentation tests among them, but those that take minutes (tests/conftest.py).
	@echo "== running the tests (about six minutes on two cores)"
	@$(PYTEST) -m "not long"

all-tests: install broker ## Run every test, with the demo, fuzz and weeks of streams.
	@echo "== running all tests (about twelve minutes on two cores)"
	@$(PYTEST)

quick: install lint types ## Lint, types and the tests that take no time: a minute's feedback.
	@echo "== running the quick tests"
	@$(PYTEST) -m "not slow"

check: install lint types all-tests ## What CI runs.

lint: install
	@echo "== lint (ruff)"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: install
	@echo "== types (mypy --strict)"
	@$(BIN)/mypy

install: .venv/built ## A virtual environment with everything, from pinned and hashed packages; the hot path compiled.

.venv/installed: requirements.lock compiler.lock
	@echo "== making .venv with $$($(PYTHON) --version), once (a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tocsin needs Python 3.11 or newer; say which with PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@if [ -z "$$CC" ] && ! command -v cc gcc clang >/dev/null; then \
	  echo "== no C compiler here: taking zig's (90 MB)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r compiler.lock; fi
	@touch $@

.venv/built: .venv/installed pyproject.toml setup.py $(KERNELS)
	@echo "== compiling the hot path (half a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

sanitize: install ## The hot path under sanitizers, over fuzz, captures and odd streams (five minutes).
	@$(BIN)/python -m tests.sanitize

mutants: install ## One-line changes to the rules, and the tests that notice each (ten minutes).
	@$(BIN)/python -m tests.mutants

wheel: .venv/installed ## One wheel for Python 3.11 and later, in dist/.
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

broker: ## A real Kafka broker's jars for the tests, where Java and Maven are to be had.
	@if [ -e $(BROKER)/complete ]; then :; \
	elif command -v java >/dev/null && command -v mvn >/dev/null; then \
	  echo "== fetching a Kafka broker for the tests, once (43 MB)"; \
	  mvn --quiet --batch-mode -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(BROKER) && touch $(BROKER)/complete; \
	else echo "== no java or no mvn here: the tests that need a real Kafka broker will be skipped"; fi

collector: ## A real OpenTelemetry Collector for tests of sampling, where Go is to be had: the tests are skipped without it.
	@if [ -e $(COLLECTOR)/otelcol ]; then :; \
	elif command -v go >/dev/null; then \
	  echo "== building an OpenTelemetry Collector for the tests, once (three minutes)"; mkdir -p $(COLLECTOR); \
	  GOBIN=$(CURDIR)/$(COLLECTOR) go install go.opentelemetry.io/collector/cmd/builder@v0.155.0; \
	  $(COLLECTOR)/builder --skip-compilation --config tests/otelcol/builder.yaml >$(COLLECTOR)/build.log 2>&1; \
	  cd $(COLLECTOR)/source && GOFLAGS=-mod=mod go build -trimpath -o ../otelcol .; \
	else echo "== no go here: the tests that need a real Collector will be skipped"; fi

LOCK := --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header \
  --strip-extras --allow-unsafe

lock: ## Pin the newest versions that pyproject.toml allows.
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/pip-compile $(LOCK) --all-build-deps --extra dev --output-file requirements.lock pyproject.toml
	@$(BIN)/pip-compile $(LOCK) --no-annotate --output-file runtime.lock pyproject.toml
	@$(BIN)/pip-compile $(LOCK) --no-annotate --output-file compiler.lock compiler.in

clean:
	rm -rf .venv .cache build dist *.egg-info
	find service detectors -name '*.so' -delete
