# `make demo` and `make test` do all their own set-up; `make check` is what CI runs.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
BROKER := .cache/kafka

.PHONY: demo run test check lint types install broker bench clean

demo: install ## Watch four incidents in a simulated fleet turn into four pages.
	@$(BIN)/tocsin demo

run: install ## Run the daemon with its defaults.
	@$(BIN)/tocsin run

test: install broker ## Run all tests, documentation tests among them.
	@echo "== running the tests (about ten minutes)"
	@$(BIN)/python -m pytest

check: install lint types test ## What CI runs.

lint: install
	@echo "== lint (ruff)"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: install
	@echo "== types (mypy --strict)"
	@$(BIN)/mypy

install: .venv/installed ## A virtual environment with everything, from pinned and hashed packages.

.venv/installed: requirements.lock pyproject.toml
	@echo "== making .venv with $$($(PYTHON) --version), once (a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tocsin needs Python 3.11 or newer; say which with PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "== compiling the decoder, so that no first start has to (half a minute)"
	@$(BIN)/python -m service.compiled || echo "== it will be protobuf's that decodes: the same results, slower"
	@touch $@

broker: ## A real Kafka broker's jars for the tests, where Java and Maven are to be had.
	@if [ -e $(BROKER)/complete ]; then :; \
	elif command -v java >/dev/null && command -v mvn >/dev/null; then \
	  echo "== fetching a Kafka broker for the tests, once (43 MB)"; \
	  mvn --quiet --batch-mode -f tests/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(BROKER) && touch $(BROKER)/complete; \
	else echo "== no java or no mvn here: the tests that need a real Kafka broker will be skipped"; fi

lock: ## Pin the newest versions that pyproject.toml allows.
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header \
	  --strip-extras --allow-unsafe --all-build-deps --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .cache build *.egg-info
