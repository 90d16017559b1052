# Two commands: `make demo` and `make test`. Both make .venv and install what they need, pinned by constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint results clean

demo: $(VENV)/.installed-report
	$(BIN)/mien demo --out demo

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/.installed-%: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$*]"
	touch $@

# Every record of the shipped model again; FER2013 lies in $(MIEN_DATA). Best on an idle machine.
results: $(VENV)/.installed-dev
	for p in fp16 int8; do $(BIN)/mien check mien-light --precision $$p --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/mien-light-$$p-cpu-PrivateTest.json || exit; done
	$(BIN)/mien check mien-light --precision int8 --form gpu --data $(MIEN_DATA)/fer2013 \
	    --record docs/results/mien-light-int8-gpu-form-PrivateTest.json
	$(BIN)/mien bench mien-light --record docs/results/bench-mien-light-cpu.json

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
