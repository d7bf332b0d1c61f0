# Everything a newcomer needs: `make demo` shows it working, `make test` checks it.
# Both set up what they need in .venv; nothing is installed outside it but Mosquitto, and that only
# by `make test` as root on Debian and its kin.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Home Assistant has an environment of its own: it pins what others need newer. 2024.3.3 is the
# newest for Python 3.11.
VENV_HA ?= .venv-ha
PYTHON_HA ?= python3.11
HOMEASSISTANT := homeassistant==2024.3.3 paho-mqtt==1.6.1 janus==1.0.0
# A plain `pip install torch` may fetch gigabytes of GPU libraries; training here runs on any build.
TORCH ?= torch==2.13.0
# `SECONDS` of make is not bash's own, which counts by itself: only what make was given counts.
SECONDS ?=
PORT ?=
DEMO_SOURCE ?=
PYTEST_ARGS ?=

.PHONY: help demo test test-homeassistant bench lint format wheel clean mosquitto

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## broker, gateway and three agents on this machine (SECONDS=20 PORT=18840 DEMO_SOURCE=…)
	@exec $(BIN)/idlesight-gateway demo \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(PORT),--port $(PORT)) \
		$(if $(DEMO_SOURCE),--source '$(DEMO_SOURCE)')

test: $(VENV)/.dev mosquitto lint  ## lint, then every test that can run here
	$(BIN)/pytest $(PYTEST_ARGS)

test-homeassistant: $(VENV)/.dev $(VENV_HA)/.installed mosquitto  ## against a real Home Assistant (installed once, minutes and 400 MB)
	VENV_HA=$(VENV_HA) $(BIN)/pytest tests/homeassistant $(PYTEST_ARGS)

bench: $(VENV)/.dev mosquitto  ## figures beside their peers and targets; wants a quiet machine
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev  ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## rewrite the code in the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.dev  ## build dist/idlesight-*.whl
	$(BIN)/python -m build --wheel

clean:  ## remove the environment and what tools left
	rm -rf $(VENV) $(VENV_HA) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV_HA)/.installed: Makefile
	$(PYTHON_HA) -m venv $(VENV_HA)
	$(VENV_HA)/bin/pip install --quiet $(HOMEASSISTANT)
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 or later is needed: make PYTHON=python3.12 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: $(PYTHON) can't make environments: sudo apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) (once, about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) with PyTorch and the tools (once, some minutes) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

mosquitto:
	@command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing mosquitto …"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null; \
		else \
			echo "make: Mosquitto is not installed, so its tests will be skipped:" \
				"sudo apt-get install mosquitto mosquitto-clients"; \
		fi; }
