# Two commands set everything up in .venv and do their work: `make report` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
OLDEST := .venv-oldest

.PHONY: report test oldest bench measure soak clean

# With the kill table and the timings that were measured last: they take half an hour.
report: $(READY)
	rm -rf report
	$(BIN)/gradtwin run -o report; status=$$?; \
	cp benchmarks/results/bench.json benchmarks/results/mutants.json report || exit; \
	for format in html md json; do $(BIN)/gradtwin report report --format $$format || exit; done; \
	exit $$status

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# jaxprs are read on the oldest jax too. The hint that beartype warns of is optax's, and was still good then.
oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest -n 2 tests/test_jaxpr.py \
		-W ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning

# Timings, in less than ten minutes on two cores that have nothing else to do.
bench: $(READY)
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/parts.py

# What else is measured; with chex on PYTHONPATH, trees.py compares with it.
measure: $(READY)
	$(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/trees.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/bench.py scaling
	$(BIN)/python benchmarks/pairs.py operations
	$(BIN)/python benchmarks/pairs.py report

# Hours. Seeds can be run beside each other: see benchmarks/soak.py.
soak: $(READY)
	$(BIN)/python benchmarks/soak.py mutants
	$(BIN)/python benchmarks/soak.py variations 200
	$(BIN)/python benchmarks/soak.py programs 2100
	$(BIN)/python benchmarks/soak.py report
	$(BIN)/python benchmarks/faults.py run
	$(BIN)/python benchmarks/faults.py report
	$(BIN)/python benchmarks/pairs.py transformer
	$(BIN)/python benchmarks/pairs.py report

clean:
	rm -rf .venv $(OLDEST) report

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gradtwin needs Python 3.11 or newer: name one with make PYTHON=python3.12")'
	@echo "Setting up .venv; the first time this takes a minute or two."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(OLDEST)/.ready: constraints-oldest.txt
	@echo "Setting up $(OLDEST); the first time this takes half a minute."
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-oldest.txt
	@touch $@
