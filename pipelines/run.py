"""Runs a pipeline: the same as `kpipe run`.

python pipelines/run.py --list
python pipelines/run.py celeba_gender --help
python pipelines/run.py celeba_gender optimizer=sgd learning_rate=0.05
"""

import pathlib
import sys

# A checkout that is not installed works too, and the experiments are no top-level modules.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from kpipe.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]], program="python pipelines/run.py"))
