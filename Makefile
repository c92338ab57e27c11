# Everything one does here. `make` or `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
python := .venv/bin/python
# Four workers, each with servers of its own: tests mostly wait. A module stays on one worker, which may have started a shop for it.
workers := -n 4 --dist loadscope --no-loadscope-reorder
# Found by name, so that `make bench` runs whatever is in benchmarks/.
benchmarks := $(sort $(filter-out _%,$(basename $(notdir $(wildcard benchmarks/*.py)))))

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z%-]+:.*## ' Makefile | sort | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo "  benchmarks: $(benchmarks)"

.PHONY: setup
setup: ## Make .venv ready, with system packages where root on Debian allows
	@tools/setup

.PHONY: setup-without-servers
setup-without-servers:
	@tools/setup --without-servers

.PHONY: demo
demo: setup ## Start Kafka and the shop, show every outcome, stop everything
	@exec $(python) -m shopkit.demo

.PHONY: up
up: setup ## Start Kafka and the shop, and keep them running
	@exec $(python) -m devkit.cli up

.PHONY: down
down: setup ## Stop what `make up` started
	@exec $(python) -m devkit.cli down

.PHONY: lint
lint: setup-without-servers ## Style, types, layers, proto lint and breaking changes
	@echo "== ruff" && $(python) -m ruff format --quiet --check . && $(python) -m ruff check --quiet .
	@echo "== mypy" && $(python) -m mypy --no-error-summary
	@echo "== layers" && .venv/bin/lint-imports --no-logo > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@echo "== proto" && $(python) tools/proto.py --check

.PHONY: check
check: lint ## Lint and the tests that need no server
	@$(python) -m pytest $(workers) -m "not servers"

.PHONY: test
test: setup lint ## Lint and every test, against real Kafka and real PostgreSQL
	@$(python) -m pytest $(workers)

.PHONY: mutants
mutants: setup ## Break each rule of the pipeline in turn: the test named for it must fail
	@exec $(python) tools/mutants.py

.PHONY: chaos
chaos: export MILLRACE_CHAOS_ORDERS ?= 2000
chaos: export MILLRACE_CHAOS_KILLS ?= 100
chaos: setup ## Kill services 100 times amid 2,000 orders: nothing is lost or doubled
	@$(python) -m pytest -p no:xdist -o faulthandler_timeout=0 -s tests/shop/test_chaos.py -k lose_nothing

.PHONY: soak
soak: setup ## Ten minutes of steady load: memory stays flat, nothing is left over
	@exec $(python) -m devkit.soak
.PHONY: simulate
simulate: setup-without-servers ## Play the whole shop in one process: ORDERS=100000 SEED=7
	@exec $(python) -m devkit.simulation --orders $(or $(ORDERS),10000) $(if $(SEED),--seed $(SEED))

.PHONY: proto
proto: setup ## Judge proto/, and generate Python from it
	@$(python) tools/proto.py

.PHONY: bench
bench: setup ## Run every benchmark
	@set -e; for name in $(benchmarks); do echo "== bench $$name"; $(python) -m benchmarks.$$name; done

.PHONY: bench-%
bench-%: setup ## Run one benchmark
	@exec $(python) -m benchmarks.$*

.PHONY: format
format: setup ## Format, and fix what can be fixed
	@$(python) -m ruff check --fix-only --quiet . ; $(python) -m ruff format .

.PHONY: lock
lock: setup ## Write requirements.txt from requirements.in
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command "make lock" requirements.in -o requirements.txt

.PHONY: clean
clean: ## Stop what runs, and remove everything made here but the cache of downloads
	@if [[ -x $(python) ]]; then $(python) -m devkit.cli down; fi
	@rm -rf .venv .millrace .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
