# `make demo` shows the main job, `make test` runs the tests, `make check` is the whole gate.
# A fresh Debian 12 needs Python 3.11, make and python3-venv; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

.PHONY: demo test check format faults chaos load fuzz catalogues screenshots bench clean

demo: $(RUNTIME)
	$(BIN)/dicom-node demo

test: $(DEVELOPMENT)
	$(BIN)/pytest

check: $(DEVELOPMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

format: $(DEVELOPMENT)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'dicom-node needs Python 3.11 or later: make PYTHON=/path/to/python3.11 …'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'This Python cannot make virtual environments. On Debian: sudo apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(DEVELOPMENT): $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(RUNTIME)

faults: $(DEVELOPMENT)
	$(BIN)/python tests/fault_table.py

KILLS ?= 200
ASSOCIATIONS ?= 10000
chaos: $(DEVELOPMENT)
	CHAOS_KILLS=$(KILLS) $(BIN)/pytest -s tests/chaos
	SOAK_ASSOCIATIONS=$(ASSOCIATIONS) $(BIN)/pytest -s tests/faults/test_resources_limits.py -k associations

STUDIES ?= 2000
load: $(DEVELOPMENT)
	LOAD_STUDIES=$(STUDIES) $(BIN)/pytest -s tests/load

CASES ?= 20000
fuzz: $(DEVELOPMENT)
	FUZZ_CASES=$(CASES) $(BIN)/pytest -s tests/fuzz

# Brings the catalogues of dicom_node/languages up to date with the texts of the source.
LANGUAGES := de fr es uk ja
TEXTS := say count:1,2 Phrase UndecodableImageError UnsupportedImageError undecodable Cage _say
catalogues: $(DEVELOPMENT)
	mkdir -p build
	$(BIN)/pybabel -q extract -F pyproject.toml --no-default-keywords $(addprefix -k ,$(TEXTS)) --no-wrap --sort-by-file --no-location \
	  -o build/messages.pot dicom_node inference
	for language in $(LANGUAGES); do $(BIN)/pybabel -q update --no-wrap --no-fuzzy-matching --ignore-obsolete \
	  --init-missing -l $$language -i build/messages.pot -o dicom_node/languages/$$language.po || exit 1; done

# Pictures of every page in every language, for people to look at.
screenshots: $(DEVELOPMENT)
	DICOM_NODE_SCREENSHOTS=build/screenshots $(BIN)/pytest tests/acceptance/test_pages.py

bench: $(DEVELOPMENT)
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/analysis.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/end_to_end.py
	$(BIN)/python benchmarks/receive.py
	$(BIN)/python benchmarks/scrape.py
	$(BIN)/python benchmarks/web_pages.py

clean:
	rm -rf $(VENV) demo_output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
