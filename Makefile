# `make report` and `make test` set up what they need in .venv; a second run finds it there.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

.PHONY: help report test lint schema reference own accuracy trial fuzz mutation docs clean

help:
	@echo "make report    run every case on every backend, judge it, write results/report.md"
	@echo "make test      run the tests, and every case as a test"
	@echo "make lint      check the style (ruff) and the types (mypy)"
	@echo "make schema    write the JSON Schemas of the case format, for editors, and of report.json"
	@echo "make reference write docs/generated/reference.md, every kind of the case format and its spellings"
	@echo "make own       run the examples of docs/your-own.md, write what they print into it"
	@echo "make accuracy  measure the elementary functions of each backend in ulp"
	@echo "make trial     put the harness on trial, write docs/generated/trial.md and its headline in the README"
	@echo "make fuzz      judge N random scenarios (N=10000) on every backend; goes on where it stopped"
	@echo "make mutation change our own code in every place: a test must fail; write docs/generated/mutation.md (hours)"
	@echo "make docs      take the figure of the README from a new report"
	@echo "make clean     remove what the others made, and what is kept in ~/.cache/backproof"

report: $(READY)
	$(RUN) -m report

test: $(READY)
	$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m tests.support.types_of_product

schema: $(READY)
	$(RUN) -m cases --schema > cases/case.schema.json
	$(RUN) -m report --schema > report/telling/report.schema.json

reference: $(READY)
	$(RUN) -m tests.support.reference_page

own: $(READY)
	$(RUN) -m tests.support.your_own_page

accuracy: $(READY)
	$(RUN) -m pytest tests/backends/test_accuracy.py -rP -q

trial: $(READY)
	$(RUN) -m tests.trial

fuzz: N ?= 10000
fuzz: $(READY)
	$(RUN) -m tests.trial.fuzz $(N)

mutation: $(READY)
	$(VENV)/bin/pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable ".[test,mutation]"
	OMP_NUM_THREADS=1 $(RUN) -m tests.trial.mutation

docs: report
	cp results/figures/xor-two_four_one.svg docs/figures/

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $(READY)

clean:
	case "$$XDG_CACHE_HOME" in /*) rm -rf "$$XDG_CACHE_HOME/backproof";; *) rm -rf "$$HOME/.cache/backproof";; esac
	rm -rf $(VENV) results build *.egg-info .hypothesis .pytest_cache .ruff_cache
