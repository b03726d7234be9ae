# `make` lists the targets. Everything below `setup` prepares the machine first; when nothing has
# changed since the last time, that takes well under a second.
SHELL := bash
.DEFAULT_GOAL := help
RUN := . scripts/env.sh &&
OWN_DOMAIN := python scripts/own_domain.py
ARGS ?=
FAST := tests/engine tests/docs tests/malformed/test_phrases.py tests/malformed/test_configuration.py \
  tests/test_layers.py tests/test_package.py tests/test_set_up.py

.PHONY: help setup demo console fast test lint format docs bench grasp soak overhead gpu train clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## virtual environment, pinned packages, ROS 2, messages
	@scripts/set_up.sh

demo: setup  ## a simulated camera, the node, some sentences; writes out/demo/index.html
	@$(RUN) exec $(OWN_DOMAIN) python -m examples.demo $(ARGS)

console: setup  ## a web page to talk to the node, with a simulated camera (ARGS="-- --host 0.0.0.0")
	@$(RUN) exec $(OWN_DOMAIN) python -m examples.console $(ARGS)

fast: setup lint  ## lint, and the tests that need no node: engine, rules, configuration
	@$(RUN) exec python -m pytest $(FAST) -m "not slow" $(ARGS)

test: setup lint  ## all checks and tests (ARGS="-k words" selects)
	@$(RUN) exec $(OWN_DOMAIN) python -m pytest tests $(ARGS)

lint: setup  ## ruff, mypy and codespell
	@$(RUN) ruff check . && ruff format --check . && mypy && codespell

format: setup  ## let ruff rewrite what it can
	@$(RUN) ruff check --fix . ; ruff format .

docs: setup  ## the pages and the API reference as a web site: out/docs/index.html
	@$(RUN) python -m pip install -q --disable-pip-version-check -r requirements/docs.txt && \
	  python -m sphinx -W --keep-going -q -b html docs out/docs && echo out/docs/index.html

bench: setup  ## time and memory beside a straightforward implementation (ARGS=--quick: only whether it runs)
	@$(RUN) exec python -m benchmarks.engine $(ARGS)

grasp: setup  ## a simulated arm does what it is told over ROS; physics judges (ARGS="--seeds A:B")
	@$(RUN) exec $(OWN_DOMAIN) python -m examples.grasping $(ARGS)

soak: setup  ## ten minutes of everything going wrong around the node (ARGS="--minutes 2")
	@$(RUN) exec $(OWN_DOMAIN) python -m benchmarks.soak $(ARGS)

overhead: setup  ## what the node costs above the engine, in pairs
	@$(RUN) exec $(OWN_DOMAIN) python -m benchmarks.node $(ARGS)

gpu: setup  ## tests and benchmarks for a machine with a GPU (ARGS=FOLDER for logs and JSON)
	@scripts/gpu_checks.sh $(or $(ARGS),out/gpu)

train: setup  ## the embedded model, from nothing (hours)
	@$(RUN) exec python -m training.embedded $(ARGS)

clean:  ## forget the set-up: .venv build install log
	rm -rf .venv build install log
