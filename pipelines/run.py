"""Runs a pipeline like `kpipe run`, in a checkout that is not installed."""

import pathlib
import sys

# Makes kpipe importable without installation, and keeps pipelines from being top-level modules.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from kpipe.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
