# `make run` and `make test` are all a newcomer needs; both set the project up first and do nothing twice.
# Nothing here names a package index: pip and uv use the ones this machine is set up with.
SHELL := /bin/sh
# `make setup PYTHON=python3.12` takes that one; without it the first of 3.11, 3.12 and 3.13 that is here.
PYTHON ?=
export PYTHON
# Where this is set, nothing is ever compiled and every import costs two to three times as much.
unexport PYTHONDONTWRITEBYTECODE
export MLFLOW_DISABLE_TELEMETRY := true
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
TESTS ?= tests
# `make lock UPGRADE=--upgrade` takes the newest versions; without it only what pyproject.toml demands moves.
UPGRADE ?=

.PHONY: help run test test-long test-ci test-slow mutants check docs format ui lock setup clean

run: setup  ## the whole pipeline; a second time only what changed
	@export MILLRACE_ENDING=later; .venv/bin/dvc --wait-for-lock repro || \
	    { .venv/bin/python -m pipeline.runtime.repository && .venv/bin/dvc --wait-for-lock repro; }
	@MILLRACE_ENDING=later .venv/bin/millrace report --ending

test: setup  ## the default tests
	.venv/bin/python -m pytest $(TESTS)

test-long: setup  ## what `make test` leaves out and CI runs as well: kills, every family, every step of a retrain
	.venv/bin/python -m pytest -m "long and not slow" $(TESTS)

test-ci: setup  ## `make test` and `make test-long` at once: what both need is imported, made and trained once
	.venv/bin/python -m pytest -m "not slow" $(TESTS)

test-slow: setup  ## random kills, two clones, a server that goes away, nights, rebuilds, machines: many hours
	.venv/bin/python -m pytest -m slow -n 0 --timeout 3600 $(TESTS)

mutants: setup  ## removes an fsync, a digest check, a lock ... one at a time: some test must notice each
	.venv/bin/python -m tests.mutants

check: setup  ## style, types, layers, spelling, README and rooms
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/codespell
	.venv/bin/python -m pytest -q -n 0 tests/test_readme.py tests/test_rooms.py

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

ui: setup  ## the MLflow dashboard on http://127.0.0.1:5000
	.venv/bin/millrace ui

docs: setup  ## the documents as a site in site/, offline; fails where a link is dead
	.venv/bin/python -m docs.build

lock: setup  ## resolve pyproject.toml anew into requirements.lock
	.venv/bin/uv --no-config pip compile pyproject.toml --all-extras --generate-hashes --universal \
	    --python-version 3.11 $(UPGRADE) --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    --quiet --override requirements-overrides.txt --output-file requirements.lock
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > requirements-uv.lock
	.venv/bin/python -m pipeline.provenance.training_lock

setup:  ## the environment in .venv, made anew where it is of another folder or Python
	@pipeline/runtime/setup

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

clean:  ## remove what can be made again, but no data, no model, no record
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
