# `make` or `make help` lists what there is.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench experiments docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@# Its dependency torchaudio has no build that fits the CPU torch.
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps braindecode
	@touch $@

demo: $(VENV)/run ## simulate a night, stage it, print the hypnogram and statistics, write the HTML report
	@mkdir -p demo-output
	$(BIN)/hypnograph simulate demo-output/simulated-night.edf --seed 18 --scoring demo-output/simulated-night-planted.txt --overwrite
	$(BIN)/hypnograph stage demo-output/simulated-night.edf --out demo-output --to csv,edf,html --overwrite
	$(BIN)/hypnograph evaluate demo-output/simulated-night-planted.txt demo-output/simulated-night-hypnogram.csv
	@echo "The report of the simulated night: demo-output/simulated-night-report.html"

test: check ## lint, types, import contracts, tests, docs
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/dev ## lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev ## speed beside MNE + YASA and braindecode, 2,000 mutated files, realism of simulated nights (takes minutes)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/usleep_speed.py
	$(BIN)/python benchmarks/fuzz.py --count 2000 --seed 1
	$(BIN)/python benchmarks/simulation_realism.py
	$(BIN)/python benchmarks/store_speed.py
	$(BIN)/python benchmarks/training_speed.py

experiments: $(VENV)/dev ## each network learns on simulated nights; W against N3 on real ones where ../shared is (an hour)
	$(BIN)/python benchmarks/simulated_learning.py experiments-output
	test ! -d ../shared/data || $(BIN)/python benchmarks/wake_n3.py ../shared/data

docs: $(VENV)/dev ## write the commands' help into docs/reference/commands.md
	$(BIN)/python docs/write_reference.py

clean: ## remove the virtual environment and the demo's output
	rm -rf $(VENV) demo-output experiments-output
