# The commands of the course. `make` alone lists them.
#
# Each command first calls setup.sh, which makes .venv and installs everything the first
# time, and does nothing (and needs no network) from then on.

# What you may set: make lab PYTHON=python3.12, make lab ARGS="--no-browser --port=9000"
VENV = .venv
PYTHON =
CONSTRAINTS = constraints.txt
ARGS =
NB =

# Where MNIST lies, if not in your cache folder: GANLIB_DATA=../data make lab. Notebooks
# run in notebooks/, so a relative path is made absolute: it counts from this folder.
ifneq ($(GANLIB_DATA),)
  ifeq ($(filter /%,$(firstword $(GANLIB_DATA))),)
    override GANLIB_DATA := $(CURDIR)/$(GANLIB_DATA)
  endif
  export GANLIB_DATA
endif

# torch's CPU threads wait for each other by spinning at full speed. As soon as another
# program wants a core, all of them stall: one busy neighbor slows a training down
# many times over. With this they spin only briefly, then sleep. It must be set before torch loads.
GOMP_SPINCOUNT ?= 3000
export GOMP_SPINCOUNT

PY = $(VENV)/bin/python
ALL = $(sort $(wildcard notebooks/[0-9]*.ipynb))
CHOSEN = $(sort $(wildcard notebooks/$(or $(NB),[0-9])*.ipynb))

# nbval runs a notebook from top to bottom and compares the outputs of its checked cells.
NBVAL = $(PY) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600

.PHONY: help setup lab test run site bench lint constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install only, or repair the installation (all others do it by themselves)
	@PYTHON='$(PYTHON)' VENV='$(VENV)' CONSTRAINTS='$(CONSTRAINTS)' sh setup.sh

# Jupyter asks root (in a container, say) for an explicit word.
lab: setup ## open the course in JupyterLab; ARGS="--no-browser" and the like are passed on
	$(PY) -m jupyterlab --ServerApp.root_dir=notebooks \
		--LabApp.default_url=/lab/tree/$(notdir $(firstword $(ALL))) \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: setup ## test everything: the library, and every notebook twice; needs no network
	@echo "== Part 1 of 3: the library, the pages, and the sliders in a browser"
	$(PY) -m pytest
	@echo "== Part 2 of 3: every notebook as it is, on MNIST if it is here, else on the embedded digits"
	GANLIB_OFFLINE=1 $(NBVAL) notebooks
	@echo "== Part 3 of 3: every notebook with its exercises solved, on the embedded digits"
	@rm -rf build/test && mkdir -p build/test/no-data
	$(PY) tests/solved_notebooks.py build/test/solved
	GANLIB_OFFLINE=1 GANLIB_DATA="$(CURDIR)/build/test/no-data" $(NBVAL) build/test/solved
	@echo "== All three parts passed."

# A notebook is executed into build/run and takes the place of the old one only when it is
# whole. nbstripout removes what would differ on every machine, and keeps the outputs.
run: setup ## execute all notebooks on the real MNIST and store their outputs; NB=04: only that one
	@test -n "$(CHOSEN)" || { echo "No notebook's name starts with '$(NB)'; there are: $(notdir $(ALL))"; exit 1; }
	@$(PY) -c 'from ganlib.data import load_images; load_images("mnist")' || \
		{ echo "Stored outputs come from the real MNIST, which is neither here nor could be fetched; the line above says more."; exit 1; }
	@rm -rf build/run && mkdir -p build/run
	@for notebook in $(CHOSEN); do \
		name=$${notebook##*/}; \
		$(PY) -m nbconvert --to notebook --execute --ExecutePreprocessor.timeout=600 \
			--output-dir build/run --output "$$name" "$$notebook" && \
		$(PY) -m nbstripout --keep-output --keep-count \
			--extra-keys "metadata.language_info.version" "build/run/$$name" && \
		mv "build/run/$$name" "$$notebook" || \
		{ echo "$$notebook failed and is unchanged; the error above says why."; exit 1; }; \
	done

site: setup ## build the course as web pages into build/site; trains the generator if there is none yet
	$(PY) site/build.py build/site

# One after another: two trainings at once would measure each other.
bench: setup ## measure speed, quality over time and costs into benchmarks/results; three hours, alone
	$(PY) benchmarks/throughput.py
	$(PY) benchmarks/threads.py
	$(PY) benchmarks/recipe_ladder.py
	$(PY) benchmarks/time_to_quality.py --control
	$(PY) benchmarks/costs.py
	$(PY) benchmarks/evaluation.py
	$(PY) benchmarks/latency.py
	$(PY) benchmarks/paper.py --epochs 60
	$(PY) benchmarks/toys.py --fresh
	$(PY) benchmarks/digit_objectives.py --fresh
	$(PY) benchmarks/summary.py

lint: setup ## check style and format of the code, notebooks included
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

constraints: ## try the newest versions in a fresh .venv; if all tests pass, pin them (about 6 GB)
	rm -rf build/newest
	$(MAKE) test VENV=build/newest CONSTRAINTS=
	@{ grep '^#' constraints.txt; \
		build/newest/bin/python -m pip freeze --all --exclude-editable --exclude pip \
			| sed 's/+[^ ]*$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/newest

clean: ## remove .venv, build/ and caches; notebooks and data stay
	rm -rf .venv build .pytest_cache .ruff_cache .hypothesis *.egg-info
