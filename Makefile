# Every target builds the environment first; that takes minutes once and no time afterwards.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done; echo python3)
BIN := .venv/bin
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --no-header
# Built from source, and what `llm` names but does not import: setuptools would load itself into every process.
WITHOUT := --no-emit-package llama-cpp-python --no-emit-package pip --no-emit-package setuptools
# Other people's clients in JavaScript, locked by digest. Without npm the tests that run them say that they skip.
STRANGERS := tests/conformance/node_modules/.package-lock.json

.PHONY: help demo run test check lint types imports library bench fuzz mutants coverage lock clean
help: ## what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: .venv/ready ## ask one question through a verified, encrypted path, and search the host for it
	@$(BIN)/python -P -m deploy.demo

run: .venv/ready ## an enclave and a host on http://localhost:8080 until Ctrl-C
	@$(BIN)/python -P -m deploy.run

test: .venv/ready $(STRANGERS) ## the whole test suite, with the real model and real processes
	@$(BIN)/python -P -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: lint types imports ## style, types, and the trust boundary in the imports

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready
	$(BIN)/mypy
	$(BIN)/basedpyright --warnings

imports: .venv/ready
	$(BIN)/lint-imports

library: .venv/ready ## the inference library as a wheel, for other environments: where it is
	@$(BIN)/python -P -m deploy.llama

bench: .venv/ready ## every benchmark, each beside its peer in one run
	@for name in benchmarks/[a-z]*.py; do $(BIN)/python -P -m "benchmarks.$$(basename "$$name" .py)" || exit 1; done

fuzz: .venv/ready ## spoiled bytes for every parser, for two minutes
	@$(BIN)/python -m tests.fuzz --seconds 120

mutants: .venv/ready ## small mistakes in the code that decides: a test has to notice each
	@$(BIN)/python -P -m tests.mutation

coverage: .venv/ready ## which branches the tests do not reach
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --skip-covered --show-missing

lock: ## pin the newest allowed release of every dependency, by digest
	$(LOCK) --upgrade pyproject.toml -o requirements/client.txt
	$(LOCK) --upgrade --group host -o requirements/host.txt
	$(LOCK) --upgrade --group enclave --no-emit-package llama-cpp-python -o requirements/enclave.txt
	$(LOCK) --upgrade pyproject.toml --group dev $(WITHOUT) -o requirements/dev.txt
	$(LOCK) --upgrade --group build -o requirements/build.txt
	$(LOCK) --upgrade --group peers -o requirements/peers.txt

clean: ## remove the environment; what was compiled stays in the user's cache
	rm -rf .venv tests/conformance/node_modules

$(STRANGERS): tests/conformance/package-lock.json
	@! command -v npm > /dev/null || \
	    npm ci --prefix tests/conformance --ignore-scripts --no-audit --no-fund --loglevel=error

.venv/ready: pyproject.toml $(wildcard requirements/*.txt) deploy/environment.py deploy/llama/build.py
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m deploy.environment
