# Every target sets itself up: a fresh clone needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := demo-output
PORT ?= 8000

TORCH := torch==2.13.0
# Without an NVIDIA card nothing of CUDA is downloaded: the CPU build, from wherever pip is configured to look, or else
# through uv, which knows where PyTorch publishes it. macOS has only one build.
ifneq ($(shell command -v nvidia-smi),)
FAISS := gpu
INSTALL_TORCH := $(BIN)/pip install -q --no-compile $(TORCH)
else ifeq ($(shell uname -s),Darwin)
FAISS := cpu
INSTALL_TORCH := $(BIN)/pip install -q --no-compile $(TORCH)
else
FAISS := cpu
INSTALL_TORCH := $(BIN)/pip install -q --no-compile "$(TORCH)+cpu" 2>/dev/null || \
	{ $(BIN)/pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python --torch-backend cpu $(TORCH); }
endif

.PHONY: verdicts packages screenshots demo serve test check clients bench stack torture test-gpu bench-gpu clean help
help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): pyproject.toml $(wildcard indexer/search/native/*.[ch]) clients/python/pyproject.toml clients/line_agent/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Touchstone needs Python 3.11 or newer"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Touchstone needs Python 3.11 or newer"; exit 2; }
	@echo "Setting up $(VENV) (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import torch' 2>/dev/null || { $(INSTALL_TORCH); }
	@$(BIN)/pip install -q --no-compile -e '.[$(FAISS),dev]' -e clients/python -e clients/line_agent
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # on all cores, unlike pip; a few files are not Python 3
	@touch $(READY)

demo: $(READY)  ## Start a server, onboard five rendered products, inspect good and defective parts, show the result
	@$(BIN)/python -m clients.demo --out $(DEMO)

serve: $(READY)  ## Keep a server running on the demo's data (PORT=8000)
	@$(BIN)/touchstone serve --open --data $(DEMO)/data --port $(PORT)

# The line agent's tests talk to a real MQTT broker and the console's to a real browser: the system's packages bring both.
packages:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; command -v mosquitto >/dev/null && command -v chromium-headless-shell >/dev/null \
	|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends mosquitto chromium-headless-shell fonts-dejavu-core; } \
		>/dev/null 2>&1 \
	|| { command -v mosquitto >/dev/null && command -v chromium >/dev/null; } \
	|| { echo "Install mosquitto and chromium-headless-shell (or chromium): the line agent's and the console's tests need them"; exit 2; }

# Four processes on two cores: most tests wait for servers that start, and each file's servers are started once.
# Compiled modules are kept, whatever the environment says: each of these processes and those they start imports them.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(READY) packages  ## Run every test
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: $(READY)  ## Lint, formatting, strict types, import rules, generated code in step with its source
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m clients.generate --check

clients: $(READY)  ## Generate the Python client's models and its synchronous half
	@$(BIN)/python -m clients.generate

bench: $(READY)  ## Measure encoding, retrieval and memory; the table lands in docs/performance.md
	@$(BIN)/python -m indexer.benchmarks.cpu --write docs/performance.md

stack: $(READY)  ## Build the image and run the compose stack with no engine, kill its containers (root, Debian 12)
	@docker/stack/run.sh $(BIN)/python

torture: $(READY)  ## Overload, 200 kills, database outage, clock jumps, fuzzing, a soak of 21 minutes
	@$(BIN)/python -m tests.torture

test-gpu: $(READY)  ## Run what touches a CUDA card, on the card: kernels, memory, encoder, preprocessing, the bench's trial
	@$(BIN)/python -c 'import sys, torch; sys.exit("test-gpu: no CUDA card here" if not torch.cuda.is_available() else 0)'
	@$(BIN)/python -m pytest tests/gpu tests/indexer/search/test_engines.py tests/indexer/memory/test_device_cache.py tests/indexer/memory/test_bank.py \
		tests/indexer/encoders/test_vit.py tests/indexer/encoders/test_preprocessing.py tests/indexer/benchmarks/test_gpu.py

bench-gpu: $(READY)  ## Measure a CUDA card; the tables land in docs/performance-gpu.md
	@$(BIN)/python -m indexer.benchmarks.gpu --write docs/performance-gpu.md

verdicts: $(READY)  ## Measure what verdicts promise on rendered products, and real ones in BOARDS; into docs/verdicts.md
	@$(BIN)/python -m tests.study.verdicts --write docs/verdicts.md --keep .cache/study $(if $(BOARDS),--boards $(BOARDS))

screenshots: $(READY) packages  ## Photograph every view of the console over the demo's products, into docs/console
	@$(BIN)/python -m tests.console.screenshots

clean:  ## Remove the environment and the demo's output
	rm -rf $(VENV) $(DEMO)
