# make quickstart      the whole path on small models: install, build, train, evaluate, report
# make quickstart-zh   the same in Chinese
# make test            the test suite

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The quickstart's models come from PyPI packages; nothing asks the Hub. `accelerate launch` would train on one core.
QUICKSTART := PATH="$(CURDIR)/$(BIN):$$PATH" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$$(nproc)

.PHONY: help install quickstart quickstart-full quickstart-zh chinese-encoder test gpu-test browser pictures slow-test chaos mutants lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/.installed: requirements.txt requirements-dev.txt requirements-quickstart.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-dev.txt
	$(PIP) --no-deps -r requirements-quickstart.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

install: $(VENV)/.installed ## a virtual environment with everything; activate it with `source .venv/bin/activate`

models/.unpacked: $(VENV)/.installed ra_ner/embedded_models.py
	$(QUICKSTART) ra-ner models
	touch $@

models/gemma-3-270m: requirements-gemma.txt
models/multilingual-e5-small: requirements-chinese-encoder.txt
models/gemma-3-270m models/multilingual-e5-small: $(VENV)/.installed
	$(PIP) --no-deps -r $(filter requirements-%,$^)
	$(QUICKSTART) ra-ner models $(notdir $@)
	touch $@

# outputs/<recipe>/...: a step runs again when its recipe, its corpus or the step before it has changed.
ENGLISH := quickstart quickstart_vanilla quickstart_full quickstart_full_vanilla
CHINESE := quickstart_zh quickstart_zh_vanilla
$(ENGLISH:%=outputs/%/dataset/README.md): data/sample/en.jsonl models/.unpacked
$(CHINESE:%=outputs/%/dataset/README.md): recipes/quickstart_zh.yaml data/sample/zh.jsonl models/gemma-3-270m models/multilingual-e5-small

outputs/quickstart_full_vanilla/dataset/README.md: recipes/quickstart_full.yaml

outputs/%/dataset/README.md: recipes/quickstart.yaml recipes/%.yaml
	$(QUICKSTART) python build_ra_dataset.py recipes/$*.yaml

outputs/%/adapter/ra_it.json: outputs/%/dataset/README.md
	$(QUICKSTART) accelerate launch --num_processes 1 train_sft.py recipes/$*.yaml --resume_from_checkpoint true
	rm -rf outputs/$*/checkpoints

quickstart: outputs/quickstart_vanilla/adapter/ra_it.json outputs/quickstart/adapter/ra_it.json ## build, train, evaluate, report
	$(QUICKSTART) python evaluate_ner.py recipes/quickstart.yaml

quickstart-full: outputs/quickstart_full_vanilla/adapter/ra_it.json outputs/quickstart_full/adapter/ra_it.json ## the same on the whole sample corpus
	$(QUICKSTART) python evaluate_ner.py recipes/quickstart_full.yaml

quickstart-zh: outputs/quickstart_zh_vanilla/adapter/ra_it.json outputs/quickstart_zh/adapter/ra_it.json ## the same in Chinese; gemma-3-270m's terms: https://ai.google.dev/gemma/terms
	$(QUICKSTART) python evaluate_ner.py recipes/quickstart_zh.yaml

chinese-encoder: models/multilingual-e5-small ## an encoder that reads Chinese

test: $(VENV)/.installed ## the test suite
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

gpu-test: $(VENV)/.installed ## what a GPU changes: the tests that need one; `make test` runs them too where there is one
	$(BIN)/python -m pytest tests/gpu -m gpu -q -rsP

browser: ## what the tests of pages need on Debian or Ubuntu, as root; they are skipped without it
	apt-get update -q
	apt-get install -qy --no-install-recommends chromium chromium-driver
	npm install --no-save --no-audit --no-fund axe-core@4.14.1

pictures: quickstart ## the README's pictures, from the quickstart's outputs; needs `make browser`
	$(QUICKSTART) python tools/pictures.py

slow-test: quickstart ## tests on the real embedded models and on the quickstart's outputs
	$(QUICKSTART) python -m pytest -m slow -q

chaos: $(VENV)/.installed ## kills, hostile files and faults at random, about 15 minutes; see docs/reliability.md
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m chaos -q -p no:warnings tests/test_chaos.py

mutants: $(VENV)/.installed ## whether the tests notice each fault of tools/mutants.toml, about 8 minutes
	OMP_NUM_THREADS=1 $(BIN)/python tools/mutants.py

lint: $(VENV)/.installed ## fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove outputs, keep the environment and the models
	rm -rf outputs

.SECONDARY:
