"""`kpipe predict`: predicts with a finished run."""

import pathlib

from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, start

PREDICT = (
    "Predict with the exported model of a finished run: a label or value for each image, text or "
    "table row; for an autoencoder, the code of each image."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    check_folder(given.folder)
    folders = [path for path in given.files if pathlib.Path(path).is_dir()]
    if folders:
        raise UserError(f"{', '.join(folders)}: a folder; give its files, such as {folders[0]}/*")
    missing = [path for path in given.files if not pathlib.Path(path).is_file()]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file")
    if not given.files and not given.text:
        raise UserError("nothing to predict; expected FILE ... or --text TEXT")
    if given.csv and given.json:
        raise UserError("--json prints answers and --csv writes them; use one of both")
    start(given.verbose)
    from ..predicting import predict

    predict(
        given.folder,
        given.files,
        given.text,
        as_json=given.json,
        images=given.images,
        csv_file=given.csv,
        trust=given.trust,
    )
    return 0


def parser() -> Parser:
    parser = Parser("kpipe predict", "FOLDER [FILE ...] [--text TEXT]", PREDICT)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder of a finished run, such as saved_models/mnist_mlp")
    add(
        "files",
        nargs="*",
        metavar="FILE",
        help="images; texts: UTF-8, one per line, or a table that contains them; tables: CSV, TSV, "
        "Parquet or JSON lines; vectors: CSV or .npy",
    )
    add("--text", action="append", default=[], metavar="TEXT", help="a text; can be repeated")
    add("--json", action="store_true", help="print one JSON object per line")
    add("--csv", metavar="FILE", help="write one row per answer to FILE instead of printing it")
    add("--images", metavar="DIR", help="autoencoders only: save reconstructions to DIR")
    add("--trust", action="store_true", help="load the model without checking its operations")
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser
