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
DATA =
COURSE =

# Where MNIST is, if not in your cache folder: GANLIB_DATA=../data make lab. Notebooks
# run in notebooks/, so a relative path is made absolute: it counts from this folder.
ifneq ($(GANLIB_DATA),)
  ifeq ($(filter /% ~%,$(firstword $(GANLIB_DATA))),)
    override GANLIB_DATA := $(CURDIR)/$(GANLIB_DATA)
  endif
  export GANLIB_DATA
endif

# torch's CPU threads wait for each other by spinning at full speed. As soon as another
# program wants a core, all of them stall: one busy neighbor slows a run down many
# times over. With this setting, they spin only briefly, then sleep. It must be set before torch loads.
GOMP_SPINCOUNT ?= 3000
export GOMP_SPINCOUNT

PY = $(VENV)/bin/python
ALL = $(sort $(wildcard notebooks/[0-9]*.ipynb))
CHOSEN = $(sort $(wildcard notebooks/$(or $(NB),[0-9])*.ipynb))

# The tests run two at a time, with one thread each: on two cores that takes less time than
# one at a time with two threads. Each worker takes the next file when it is done with one.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --no-loadscope-reorder

# nbval runs a notebook from top to bottom and compares the outputs of its checked cells.
NBVAL = --nbval-lax --nbval-current-env --nbval-cell-timeout=600

# The longest first, so that both workers end at about the same time. 04 comes well before
# 05 and 06, which use the networks that it stores. Those not named here follow.
LONGEST = $(foreach number,07 04 11 09 10 03 08 12 00 06 05,$(filter notebooks/$(number)%,$(CHOSEN)))
SOLVED = $(patsubst notebooks/%,build/test/solved/%,$(LONGEST) $(filter-out $(LONGEST),$(CHOSEN)))

.PHONY: help setup lab test test-library test-notebooks stress run site bench lint constraints clean
.NOTPARALLEL:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

setup: ## install only, or repair the installation (all others do it by themselves)
	@PYTHON='$(PYTHON)' VENV='$(VENV)' CONSTRAINTS='$(CONSTRAINTS)' sh setup.sh

# Jupyter requires an explicit option from root (in a container, say).
lab: setup ## open the course in JupyterLab; ARGS="--no-browser" and the like are passed on
	$(PY) -m jupyterlab --ServerApp.root_dir=notebooks \
		--LabApp.default_url=/lab/tree/$(notdir $(firstword $(ALL))) \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: test-library test-notebooks ## test everything: the library, then every notebook; needs no network
	@echo "== Both parts passed."

test-library: setup ## only the library, the pages, and the sliders in a browser
	@echo "== Part 1: the library, the pages, and the sliders in a browser"
	$(PYTEST) --dist loadfile -rs

# They get a cache of their own, so that no networks from an earlier day help them.
test-notebooks: setup ## only the notebooks, with their exercises solved; NB=04: only that one; DATA=digits: without MNIST
	@echo "== Part 2: every notebook, solved, on $(if $(filter digits,$(DATA)),,MNIST if it is here, else on )the embedded digits"
	@test -n "$(CHOSEN)" || { echo "No notebook's name starts with '$(NB)'; there are: $(notdir $(ALL))"; exit 1; }
	@rm -rf build/test && mkdir -p build/test/no-data
	$(PY) tests/solved_notebooks.py build/test/solved
	GANLIB_OFFLINE=1 GANLIB_CACHE="$(CURDIR)/build/test/cache" \
		$(if $(filter digits,$(DATA)),GANLIB_DATA="$(CURDIR)/build/test/no-data") \
		$(PYTEST) --dist loadscope $(NBVAL) $(SOLVED)

# On both datasets, with 1, 2 and 4 threads and with torch's plain kernels: every run takes
# another course in each. Started again, it resumes where it stopped.
stress: setup ## try all notebooks in ten courses of training; takes hours, alone; NB=04 COURSE=digits-1: only these
	$(PY) tests/stress.py $(COURSE) $(NB)

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

site: setup ## build the course as web pages in build/site; trains the generator if there is none yet
	$(PY) site/build.py build/site

# One after another: two runs at once would slow each other down.
bench: setup ## measure speed, quality over time and costs; writes benchmarks/results; takes several hours, alone
	$(PY) benchmarks/throughput.py
	$(PY) benchmarks/threads.py
	$(PY) benchmarks/parallel.py
	$(PY) benchmarks/choices.py --fresh
	$(PY) benchmarks/averages.py
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
