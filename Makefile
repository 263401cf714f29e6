# Everything goes into this checkout: .venv (Python and Node), node_modules, .build, .cache, .local-cloud.
PYTHON ?= python3
# the training image has Python 3.12; if there is none here, PYTHON stands in for it
CONTAINER_PYTHON ?= $(shell for python in python3.12 "$$HOME"/.pyenv/versions/3.12.*/bin/python $(PYTHON); do "$$python" -c pass 2>/dev/null && echo "$$python" && break; done)
STORIES ?= sample_stories
PORT ?= 4566
PAGE_PORT ?= 8400
SECONDS ?= 60
CASES ?= 1000
SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# transformers and the hub client never reach out: the base model is a file of this checkout
export HF_HUB_OFFLINE := 1
# the packages are installed uncompiled; where a shell forbids Python to keep what it compiles, every process would
# compile torch, transformers and aws_cdk again, some for half a minute
export PYTHONDONTWRITEBYTECODE :=

# Nothing is installed whose SHA-256 is not in a lock file. Each lock is a whole closure, so pip looks for nothing
# more; what comes as source is built with the locked setuptools, for pip checks no hash of a build's own packages.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
LOCKED := --require-hashes --no-deps --no-build-isolation

.PHONY: house docs release lock test-aws-facts test-container test-vllm bench-chat bench-prepare bench-formats bench-train bench-gpu bench-perplexity help setup run demo down test test-quick fuzz fuzz-api lint web openapi synth pictures clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# Two at once: what one downloads and unpacks leaves a processor to the base model's conversion.
setup:  ## install all that run, demo and cdk need
	@$(MAKE) --no-print-directory --jobs=2 installed

.PHONY: installed installed-for-tests
installed: $(VENV)/.installed .cache/base-model/staged.json node_modules/.installed web/dist/index.html .build/functions/.fetched
	@:

installed-for-tests: installed $(VENV)/.installed-dev .build/checkov-venv/.installed
	@:

run: setup  ## the whole app on this machine, until Ctrl-C (STORIES=folder)
	storyloom local run --stories "$(STORIES)" --port $(PORT) --page-port $(PAGE_PORT)

demo: setup  ## the whole way once; the last line is one JSON object (STORIES=folder)
	@storyloom local demo --stories "$(STORIES)"

down:  ## stop the app that `make run` or a crash left up
	storyloom local down

# Five groups at a time, the longest first. The first three mostly wait, and two more keep both processors busy. The
# last two are the shortest, so that no processor is idle for long at the end. With all at once 24 GB of memory were
# too few: a third of the time went into reading again what had been dropped from it. Each prints when it ends.
test:  ## every test that needs no AWS account
	@$(MAKE) --no-print-directory --jobs=2 installed-for-tests
	$(BIN)/python -m tests.browser.install_chromium
	$(MAKE) --no-print-directory --jobs=5 --output-sync=target --keep-going test-runs test-trained test-cloud test-functions test-training test-stories test-page test-templates test-code lint

.PHONY: test-trained test-runs test-cloud test-templates test-training test-functions test-stories test-code test-page
test-trained test-runs: test-%:
	$(BIN)/python -m pytest tests/journey/$*

test-cloud:
	$(BIN)/python -m pytest tests/local

test-templates:
	nice -n 3 $(BIN)/python -m pytest tests/templates

# Models of a few thousand weights gain nothing from more threads; what else runs beside them does. The journeys and
# the cloud wait for what they start, and take longest: the others, which only compute, leave them the larger part.
TRAINING_TESTS := tests/unit/training_code tests/unit/endpoint tests/unit/benchmarks tests/container
test-training test-functions test-stories test-code test-page test-container: export OMP_NUM_THREADS := 1
test-training:
	nice -n 3 $(BIN)/python -m pytest $(TRAINING_TESTS)

test-functions:
	nice -n 3 $(BIN)/python -m pytest tests/unit/functions

test-stories:
	nice -n 3 $(BIN)/python -m pytest tests/unit/stories

test-code:
	nice -n 3 $(BIN)/python -m pytest tests/unit $(addprefix --ignore=,tests/unit/functions tests/unit/stories $(TRAINING_TESTS))

test-page:
	cd web && nice -n 3 npm test
	nice -n 3 $(BIN)/python -m pytest tests/browser

test-quick: setup $(VENV)/.installed-dev .build/checkov-venv/.installed  ## the unit and template tests
	$(BIN)/python -m pytest tests/unit tests/templates

test-aws-facts: setup $(VENV)/.installed-dev  ## the tests of docs/aws-behaviour.md
	$(BIN)/python -m pytest -m aws_fact

fuzz-api: setup $(VENV)/.installed-dev  ## what nobody would ask, CASES times of each operation of the API (SEED=number, ONLY=paths)
	FUZZ_CASES=$(CASES) FUZZ_SEED=$(SEED) FUZZ_ONLY="$(ONLY)" $(BIN)/python -m pytest tests/unit/functions/test_api_fuzzing.py -p no:randomly --timeout 0 -s -q

test-vllm: setup $(VENV)/.installed-dev .build/vllm-venv/.installed  ## real vLLM serves our bundle (ten minutes, and 2 GB the first time)
	$(BIN)/python -m pytest -s tests/vllm

test-container: setup $(VENV)/.installed-dev .build/container-venv/.installed  ## training_code/ with the training image's own versions, started by AWS's toolkit (5 minutes, and 4 GB the first time)
	.build/container-venv/bin/python -m pytest -p no:cacheprovider --confcutdir=tests/unit/training_code tests/unit/training_code
	STORYLOOM_CONTAINER_PYTHON=$(CURDIR)/.build/container-venv/bin/python $(BIN)/python -m pytest tests/container

fuzz: $(VENV)/.installed-dev  ## files that are nearly right, for SECONDS at each reader
	$(BIN)/python -m tests.unit.stories.fuzzing --seconds $(SECONDS)

lint: $(VENV)/.installed-dev  ## ruff, mypy --strict and the rooms' borders
	ruff check .
	ruff format --check .
	nice -n 10 mypy
	PYTHONPATH=lambda:training_code lint-imports

bench-prepare: setup $(VENV)/.installed-dev .build/bench-venv/.installed  ## files/s, growth, memory, and how others compare (STORIES=folder)
	$(BIN)/python -m benchmarks.prepare --stories "$(STORIES)" --others .build/bench-venv/bin/python

bench-train: setup .build/bench-train-venv/.installed  ## tokens/s against Trainer and TRL, in turns; loss, memory, share of the limit (STORIES=folder)
	PYTHONPATH=training_code $(BIN)/python -m benchmarks.train --stories "$(STORIES)" --peers .build/bench-train-venv/bin/python

bench-gpu: setup .build/bench-train-venv/.installed  ## the same on a GPU, in the shapes of larger models, LoRA and QLoRA
	PYTHONPATH=training_code $(BIN)/python -m benchmarks.train_gpu --peers .build/bench-train-venv/bin/python

bench-chat: setup  ## the whole path against the bare engine: first token, tokens/s, memory (STORIES=folder)
	PYTHONPATH=lambda $(BIN)/python -m benchmarks.chat --stories "$(STORIES)"

bench-perplexity: setup  ## how fast held-out perplexity falls in three minutes (STORIES=folder of one novel)
	$(BIN)/python -m benchmarks.perplexity_per_minute "$(STORIES)"

web: web/dist/index.html  ## build the page

bench-formats: setup  ## one book in every format: words kept, chapters, heads left (STORIES=folder of chapters)
	$(BIN)/python -m benchmarks.formats "$(STORIES)"

openapi: $(VENV)/.installed web/node_modules/.installed  ## write docs/openapi.json, and what the page takes from the code
	PYTHONPATH=lambda $(BIN)/python -m chat_api.app > docs/openapi.json
	cd web && npm run --silent contract
	$(BIN)/python -c 'import json; from stories.format_list import FORMATS; print(json.dumps(FORMATS))' > web/src/views/stories/formats.json

docs: openapi  ## write the pages of docs/ that come from the code
	$(BIN)/python -m docs.generated

house: $(VENV)/.installed-dev  ## the code base in numbers, and what breaks the house rules
	@$(BIN)/python -m benchmarks.house

# A release is what CHANGELOG.md and pyproject.toml say, on a clean main branch whose tests pass. The tag stays here:
# push it with what it names, `git push origin main v$(VERSION)`.
release: $(VENV)/.installed-dev  ## check that VERSION=x.y.z can be released, run every test, and tag it
	$(BIN)/python -m release_check "$(VERSION)"
	@$(MAKE) --no-print-directory test
	git tag --annotate "v$(VERSION)" --message "Storyloom $(VERSION)"

lock: $(VENV)/bin/python .build/uv-venv/.installed  ## write the lock files from requirements*.txt (LOCKS=files, UPGRADE=1 for newer versions)
	PATH="$(CURDIR)/.build/uv-venv/bin:$$PATH" $(BIN)/python lock_files.py $(LOCKS) $(if $(UPGRADE),--upgrade)

synth: setup  ## the CloudFormation templates, without network or credentials
	node_modules/.bin/cdk synth --quiet

pictures: setup $(VENV)/.installed-dev  ## take the pictures in docs/ again, and write the doctor's table
	$(BIN)/python -m docs.pictures.make
	PYTHONPATH=lambda $(BIN)/python -m docs.pictures.page
	$(BIN)/python -m docs.pictures.doctor

clean: down  ## remove everything that was made here
	rm -rf $(VENV) node_modules web/node_modules web/dist .build .cache .local-cloud* cdk.out

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Storyloom needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

# PyTorch's CPU build if an index has it, which is far smaller; else PyPI's, with CUDA's libraries on Linux
$(VENV)/.installed: requirements-build.lock requirements.lock requirements-torch.lock requirements-torch-cpu.lock requirements-model.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements-build.lock
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements.lock -r requirements-model.lock
	@mkdir -p .build
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements-torch-cpu.lock 2> .build/torch-cpu.log || { echo "PyTorch's CPU build cannot be had (.build/torch-cpu.log): taking PyPI's, on Linux with CUDA"; $(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements-torch.lock; }
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements-dev.lock
	touch $@

node_modules/.installed: package-lock.json $(VENV)/.installed
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/node_modules/.installed: web/package-lock.json $(VENV)/.installed
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/dist/index.html: web/node_modules/.installed $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	cd web && npm run --silent build
	touch $@

.build/uv-venv/.installed: requirements-uv.lock | $(VENV)/bin/python
	$(BIN)/python -m venv .build/uv-venv
	.build/uv-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements-uv.lock
	touch $@

# what judges the templates has pins that are not ours
.build/checkov-venv/.installed: requirements-build.lock tests/checkov/requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m venv .build/checkov-venv
	.build/checkov-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements-build.lock
	.build/checkov-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r tests/checkov/requirements.lock
	touch $@

# what the preparation is compared with has packages of its own, which nothing else here needs
.build/bench-venv/.installed: requirements-build.lock benchmarks/requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m venv .build/bench-venv
	.build/bench-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements-build.lock
	.build/bench-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r benchmarks/requirements.lock
	touch $@

# the trainers that ours is compared with: they take torch and transformers from .venv, which must stay as it is
.build/bench-train-venv/.installed: benchmarks/requirements-train.lock $(VENV)/.installed
	$(BIN)/python -m venv .build/bench-train-venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(.build/bench-train-venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/storyloom.pth"
	.build/bench-train-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r benchmarks/requirements-train.lock
	touch $@

# vLLM's packages are others than ours; torch is .venv's. Compiled here, for each start would do so four times.
.build/vllm-venv/.installed: requirements-build.lock local/requirements-vllm.lock $(VENV)/.installed
	$(BIN)/python -m venv .build/vllm-venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(.build/vllm-venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/storyloom.pth"
	.build/vllm-venv/bin/python $(PIP_INSTALL:--no-compile=) $(LOCKED) -r requirements-build.lock
	.build/vllm-venv/bin/python $(PIP_INSTALL:--no-compile=) $(LOCKED) -r local/requirements-vllm.lock
	touch $@

# the training image's packages, on its Python if there is one here
.build/container-venv/.installed: requirements-build.lock tests/container/requirements.lock
	@$(CONTAINER_PYTHON) -c 'import sys; v = sys.version.split()[0]; v.startswith("3.12.") or print("There is no Python 3.12 here, which the training image has: Python", v, "stands in for it. Name another with: make CONTAINER_PYTHON=… test-container")'
	$(CONTAINER_PYTHON) -m venv --clear .build/container-venv
	.build/container-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements-build.lock
	.build/container-venv/bin/python $(PIP_INSTALL) $(LOCKED) -r tests/container/requirements.lock
	touch $@

.build/functions/.fetched: $(wildcard lambda/requirements/*.lock) $(VENV)/.installed
	$(BIN)/python -m stacks.functions.function_packages
	mkdir -p $(@D) && touch $@

.cache/base-model/staged.json: $(VENV)/.installed
	$(BIN)/python -m local.base_model --cache .cache/base-model
