"""Runs a pipeline: `kpipe run` for a checkout that is not installed."""

import pathlib
import sys

# A checkout that is not installed works too, and the experiments are no top-level modules.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from kpipe.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
