# Each target does all its own set-up; a second run does it in a moment.
.DEFAULT_GOAL := help
SHELL := bash
BIN := .venv/bin
SLOW := faults or browser
PYTEST := $(BIN)/pytest --durations=15
# Most of a test's time is one process starting, or waiting for another. Tests of a file share what they start.
AT_ONCE = -n $(or $(JOBS),$(1)) --dist loadfile
BENCHES := trainer generator evaluator retriever validity retrieval_quality

.PHONY: help setup dev demo test check format up down bench clean

help:  ## Show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10

setup:  ## Make .venv ready (FINEPROOF_TORCH_INDEX may name an index of CPU torch builds)
	@scripts/setup.sh

dev:
	@scripts/setup.sh --dev

demo: setup  ## See the whole loop: does fine-tuning help or hurt RAG? Writes runs/demo/
	@$(BIN)/fineproof demo

test: dev  ## Run every test that needs no GPU, the quick ones first (JOBS=3 at once), whole stacks alone
	$(PYTEST) $(call AT_ONCE,3) -m "not ($(SLOW) or e2e or gpu)"
	$(PYTEST) $(call AT_ONCE,2) -m "($(SLOW)) and not (e2e or gpu)"
	$(PYTEST) -m "e2e and not gpu"

check: setup  ## Lint, formatting, types, and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: setup  ## Start the stack on this machine and watch over it
	@$(BIN)/fineproof up

down: setup  ## Stop it
	@$(BIN)/fineproof down

bench: $(BENCHES:%=bench-%)  ## Run the benchmarks; results go to bench/results/

bench-%: setup
	$(BIN)/python -m bench.$* $(ARGS)

clean:  ## Remove .venv and caches; data in .fineproof/ and runs/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
