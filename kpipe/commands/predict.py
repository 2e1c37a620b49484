"""`kpipe predict`: predicts with a finished run."""

import os

from ..errors import UserError, stoppable
from .parsing import Parser, add_verbose, check_folder, index, positive, start

PREDICT = (
    "Predict with the exported model of a finished run: a label or value for each image, text or "
    "table row; for an autoencoder, the code of each image. Inputs are read and answered in "
    "pieces, so that there can be any number. The exit code is 0 if all are answered, or all but "
    "those that --skip-bad allows; 1 or 2 otherwise."
)
FILES = (
    "images; texts: UTF-8, one per line, or a table that contains them; tables: CSV, TSV, Parquet "
    "or JSON lines; vectors: CSV or .npy. A folder stands for all of these in it, a pattern such "
    'as "photos/**/*.jpg" for what it matches, a table for the images in its column "file", and - '
    "for standard input: lines of text, a table, or the names of images"
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    check_folder(given.folder)
    if not given.files and not given.text:
        raise UserError("nothing to predict; expected FILE ... or --text TEXT")
    missing = [path for path in given.files if not _may_exist(path)]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file")
    if given.csv and given.json:
        raise UserError("--json prints answers and --csv writes them; use one of both")
    start(given.verbose)
    from ..predicting import predict

    with stoppable("stopped by SIGTERM"):  # answers are kept, and files removed
        predict(
            given.folder,
            given.files,
            given.text,
            as_json=given.json,
            images=given.images,
            csv_file=given.csv,
            version=given.version,
            skip_bad=given.skip_bad,
            cluster=given.cluster or "",
            trust=given.trust,
        )
    return 0


def _may_exist(path: str) -> bool:
    """Whether there is a file or folder, or it is a pattern or standard input."""
    return path == "-" or os.path.exists(path) or any(mark in path for mark in "*?[")


def parser() -> Parser:
    parser = Parser("kpipe predict", "FOLDER [FILE ...] [--text TEXT]", PREDICT)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder of a finished run, such as saved_models/mnist_mlp")
    add("files", nargs="*", metavar="FILE", help=FILES)
    add("--text", action="append", default=[], metavar="TEXT", help="a text; can be repeated")
    add("--json", action="store_true", help="print one JSON object per line")
    add("--csv", metavar="FILE", help="write one row per answer to FILE (- prints the rows)")
    add(
        "--skip-bad",
        type=index,
        default=0,
        metavar="N",
        help="leave out up to N inputs that cannot be read or answered; they are listed in "
        "bad_files.csv, beside the answers",
    )
    add("--images", metavar="DIR", help="autoencoders only: save reconstructions to DIR")
    add("--version", type=positive, metavar="N", help="the run's serving/N instead of the latest")
    add("--cluster", metavar="ADDRESS", help="predict on a Ray cluster: HOST:PORT, or auto")
    add("--trust", action="store_true", help="load the model without checking its operations")
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser
