# Every target works on a fresh machine with Python 3.11 or newer, git and make: the first one sets up .venv.
# PYTHON=python3.12 chooses the interpreter; TORCH_INDEX=... the index that torch comes from (see README.md).

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2

export PYTHON
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format unit gates bench docs lock dist audit clean distclean

help:
	@echo "make demo    ligands for a held-out pocket by the shipped weights, scored, as a page (2 minutes on 2 cores)"
	@echo "make test    lint, type-check, test"
	@echo "make gates   the slow quality gates"
	@echo "make bench   speed and memory of all parts; writes docs/experiments/performance.md (10 minutes on 2 idle cores)"
	@echo "make docs    write the generated pages of docs/ again, build the site into site/ (half a minute)"
	@echo "make dist    wheel and source distribution, in dist/"
	@echo "make audit   known vulnerabilities of the locked versions"
	@echo "make lint | format | unit | setup | lock | clean | distclean"

setup: $(READY)

$(READY): requirements/torch.txt requirements/lock.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh
	@touch $@

demo: $(READY)
	$(BIN)/python scripts/demo.py

test: lint unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One OpenMP thread per process: the tests run side by side already.
unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gate" -n $(JOBS)

gates: $(READY)
	$(BIN)/python -m pytest -m gate

bench: $(READY)
	$(BIN)/python -m benchmarks run_all

docs: $(READY)
	$(BIN)/python scripts/write_metrics_page.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lock: $(READY)
	bash scripts/lock.sh

dist: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

audit: $(READY)
	$(BIN)/python scripts/audit.py

clean:
	rm -rf demo build dist site .pytest_cache .mypy_cache .ruff_cache
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
