# Everything a person or CI runs. Needs python3 (3.11 or later) with pip, and make; builds .venv itself.
#   make demo test test-slow torture check bench docs          make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Quiet about what went in, never about what went wrong.
INSTALL := $(PIP) install --quiet --constraint constraints.txt --editable

.PHONY: help demo test test-slow torture check format bench docs constraints clean
.DELETE_ON_ERROR:
.NOTPARALLEL:  # two pips in one .venv get in each other's way

help:
	@sed -n '2p' Makefile | cut -c3-

# One stamp per set of extras; made anew when what is asked for, or what is pinned, changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.has-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing percepts[$*] into $(VENV) (once; minutes the first time)"
	$(INSTALL) '.[$*]'
	@touch $@

demo: $(VENV)/.has-demo
	$(BIN)/percepts demo --output demo-output

# A file of tests stays together, since its fixtures are dear; each process holds some 2 GB of models.
# A process that dies ends the run, by the name of its test: when xdist replaces one late, it can wait for ever.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --max-worker-restart 0

test: $(VENV)/.has-dev
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.has-dev
	$(PYTEST)

torture: $(VENV)/.has-dev
	$(BIN)/python tests/jobs/torture.py
	$(BIN)/python tests/jobs/fuzz.py
	PERCEPTS_FUZZ=2000 $(BIN)/python -m pytest -q -n0 --timeout 3600 tests/jobs/test_manifest_fuzz.py

check: $(VENV)/.has-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.has-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Those that need nothing but the peers; conse_trial.py and voices.py want data of yours and say so.
BENCHES := features folder audio memory search openl3 photos audio_models limit speech whisper train

bench: $(VENV)/.has-bench
	@for name in $(BENCHES); do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

docs: $(VENV)/.has-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo 'site/index.html'

# Writes constraints.txt from an environment that nothing but pyproject.toml has shaped.
# torch is held: it is the one pin that decides between a build for this machine and gigabytes of another.
constraints:
	rm -rf $(VENV)-constraints
	$(PYTHON) -m venv $(VENV)-constraints
	sed -n '/^torch==/p' constraints.txt > $(VENV)-constraints/held.txt
	$(VENV)-constraints/bin/python -m pip install --quiet --constraint $(VENV)-constraints/held.txt '.[bench,docs,all]'
	sed -n '/^#/p' constraints.txt > $(VENV)-constraints/new.txt
	$(VENV)-constraints/bin/python -m pip freeze | sed '/^percepts /d; s/+[a-z0-9.]*$$//' >> $(VENV)-constraints/new.txt
	mv $(VENV)-constraints/new.txt constraints.txt
	rm -rf $(VENV)-constraints

clean:
	rm -rf $(VENV) $(VENV)-constraints demo-output bench-output site dist
