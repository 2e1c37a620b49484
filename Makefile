PYTHON ?= python3
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: run test types pytest test-oldest lint bench key-table clean

run: .venv/.installed
	.venv/bin/kpipe run celeba_gender

test: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(MAKE) --no-print-directory -j2 types pytest

types: .venv/.installed
	.venv/bin/mypy

pytest: .venv/.installed
	.venv/bin/python -m pytest

lint: .venv/.installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# The tests with every dependency at the oldest version that setup.cfg allows.
test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest

key-table: .venv/.installed
	.venv/bin/python -m kpipe.experiments.key_table

bench: .venv/.installed
	.venv/bin/python benchmarks/run.py

clean:
	rm -rf .venv .venv-oldest build dist *.egg-info

# Made anew when the dependencies change; a half-made one has no stamp and is completed. Python
# compiles what is imported; pip would compile all, most of it never used.
.venv/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), sys.version' || \
		{ echo "kpipe needs Python 3.11 to 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --no-compile -e ".[dev]"
	touch $@

# NumPy 2.0 has no wheel for Python 3.13.
.venv-oldest/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 13), sys.version' || \
		{ echo "the oldest versions need Python 3.11 or 3.12: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv-oldest
	sed -nE 's/^    ([A-Za-z_-]+)>=([0-9.]+).*/\1==\2/p' setup.cfg > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --upgrade pip
	.venv-oldest/bin/python -m pip install --quiet -c .venv-oldest/oldest.txt -e ".[test]"
	touch $@
