# make dev    a simulated exchange and the Dagster UI on http://127.0.0.1:3000; Ctrl-C ends both
# make demo   the whole way without a screen, in under a minute
# make chart  a day replayed and drawn in the terminal: make chart SYMBOL=EUR/USD
# make test   the whole suite
#
# Nothing but Python ≥ 3.11, make and a package index is needed. PYTHON=python3.12 chooses another.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install dev demo chart test crash faults bench-capture bench-consolidation bench-reading soak lint pictures clean

help:
	@sed -n 's/^# //p' Makefile | head -n 4

install: $(VENV)/.core

dev: $(VENV)/.core
	@$(BIN)/edc dev || [ $$? -eq 130 ]

demo: $(VENV)/.core
	@$(BIN)/edc demo

chart: $(VENV)/.core
	@$(BIN)/edc replay --synthetic --symbols $(or $(SYMBOL),SPY) --chart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(or $(WORKERS),auto) --dist worksteal $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/dg check defs

# kill -9 at random instants, then account for every frame: make crash KILLS=2000 SEED=7
crash: $(VENV)/.dev
	@$(BIN)/python -m edc_pipeline_tests.crash.campaign --kills $(or $(KILLS),2000) $(if $(SEED),--seed $(SEED))

# A disk that refuses, cuts short and dawdles below SQLite, Arrow and Python, at random, then an
# account of every frame, delivery and poll; before it each single call of flush, recovery,
# consolidation, webhooks and polling refused once. Linux, with a C compiler: make faults SECONDS=600 SEED=7
faults: $(VENV)/.dev
	@$(BIN)/python -m edc_pipeline_tests.faults.each_call
	@$(BIN)/python -m edc_pipeline_tests.faults.campaign --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

# Capture beside a plain implementation, as ratios. More rounds: make bench-capture ARGS="--rounds 7"
bench-capture: $(VENV)/.core
	@$(BIN)/python benchmarks/capture.py $(ARGS)

# Spool → verified daily file beside plain pandas. Other sizes: make bench-consolidation ROWS=1000000
# The curve of the cost over the size: ARGS="--sizes 100000,1000000,10000000 --no-plain"
# What a small file costs: ARGS="--small-files 20000". A day that grows: benchmarks/consolidation_growth.py
bench-consolidation: $(VENV)/.dev
	@$(BIN)/python benchmarks/consolidation.py --rows $(or $(ROWS),10000000) $(ARGS)

# One symbol's day and the whole day by `edc_pipeline.read`, beside `pd.read_hdf`.
bench-reading: $(VENV)/.dev
	@$(BIN)/python benchmarks/reading.py --rows $(or $(ROWS),10000000) $(ARGS)

# Thirty minutes at 20,000 events/s: memory, handles, every frame accounted for.
soak: $(VENV)/.core
	@$(BIN)/python benchmarks/soak.py --minutes $(or $(MINUTES),30) --plot soak.svg $(ARGS)

# The pictures in README.md and docs, from a running UI. Needs Chromium.
pictures: $(VENV)/.dev
	$(BIN)/python -m docs.take_pictures

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.core: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (about a minute)"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "installing what the tests need"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@
