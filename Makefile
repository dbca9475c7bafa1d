# Everything a person types here. Needs only GNU make and Python 3.11 or newer.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PIP_ARGS ?=
# Test processes, each with servers of its own. On two cores three still leave a seventh of the processors' time idle.
JOBS ?= 3
ARGS ?=
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11; do \
  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v $$p; break; fi; done)

# Bytecode is kept whatever the environment says: without it each process compiles all that it imports anew. Where torch,
# transformers and Faust are among that, this takes as long again as the imports themselves.
export PYTHONDONTWRITEBYTECODE :=

# A comma that does not end an argument of a call.
, := ,

# A stamp is a copy of the pyproject.toml it was installed from: a fresh checkout of the same text installs nothing.
# uv fetches and unpacks ten times as fast as pip; where it fails, pip is asked, which heeds settings that uv does not.
install = if cmp -s pyproject.toml $@; then touch $@; else \
  { $(BIN)/python -m pip install --quiet $(PIP_ARGS) uv && \
  $(BIN)/uv pip install --quiet --python $(BIN)/python $(PIP_ARGS) --editable '$(1)' || \
  $(BIN)/python -m pip install --quiet $(PIP_ARGS) --editable '$(1)'; } && cp pyproject.toml $@; fi

.PHONY: help demo test lint bench docs schemas clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/created:
	@python="$(PYTHON)"; test -n "$$python" || \
	  { echo "Python 3.11 or newer is needed; none was found on PATH. PYTHON=/path/to/python names one." >&2; exit 1; }; \
	  test -x $(BIN)/python || "$$python" -m venv --clear $(VENV); \
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/created
	@cmp -s $< $@ || echo "Installing; the first time this fetches torch, some gigabytes."
	@$(call install,.[local$(,)train])

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	@$(call install,.[local$(,)train$(,)dev])

$(VENV)/installed-docs: pyproject.toml $(VENV)/installed
	@$(call install,.[local$(,)train$(,)docs])

$(VENV)/installed-bench: pyproject.toml $(VENV)/installed
	@$(call install,.[local$(,)train$(,)bench])

demo: $(VENV)/installed ## See the whole story, some minutes; KEEP=1 to let the shop go on until Ctrl-C
	$(BIN)/liveshelf demo $(if $(filter-out 0,$(KEEP)),--keep) $(ARGS)

test: lint ## Install and run everything CI runs, real servers included
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/installed-dev ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Its workers have three seconds to start (exit code 2): on a machine too busy for that it does without.
	$(BIN)/mypy || { test $$? -eq 2 && $(BIN)/mypy --num-workers 0; }
	$(BIN)/lint-imports

bench: $(VENV)/installed-bench ## Every benchmark, one after the other
	for f in benchmarks/[a-z]*.py; do m=$$(basename $$f .py); \
	  [ $$m = report ] || $(BIN)/python -m benchmarks.$$m || exit 1; done

docs: $(VENV)/installed-docs ## Build the documentation to build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

schemas: $(VENV)/installed ## Write docs/schemas, the clients' types and docs/settings.md anew
	$(BIN)/liveshelf schemas --out docs/schemas
	$(BIN)/python clients/generate_types.py
	$(BIN)/liveshelf config --markdown > docs/settings.md

clean: ## Remove the virtual environment and the local stack's data
	rm -rf $(VENV) .liveshelf build *.egg-info
