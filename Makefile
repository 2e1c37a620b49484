PYTHON ?= python3
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: run test lint bench clean

run: .venv/.installed
	.venv/bin/kpipe run celeba_gender

test: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest

lint: .venv/.installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.installed
	.venv/bin/python benchmarks/training_speed.py

clean:
	rm -rf .venv build dist *.egg-info

# Made anew when the dependencies change; a half-made one has no stamp and is completed.
.venv/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), sys.version' || \
		{ echo "kpipe needs Python 3.11 to 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet -e ".[dev]"
	touch $@
