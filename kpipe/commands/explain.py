"""`kpipe explain`: shows what the answers of a finished run hang on."""

import pathlib

from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, start

EXPLAIN = (
    "Show what the answers of a finished run hang on: places of an image (Grad-CAM, integrated "
    "gradients), words of a text, or columns of a row. docs/explain.md says what each method "
    "shows, and what it does not."
)
METHODS = ("grad_cam", "integrated_gradients", "erasure")


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    check_folder(given.folder)
    missing = [path for path in given.files if not pathlib.Path(path).is_file()]
    if missing:
        what = "a folder; give its files" if pathlib.Path(missing[0]).is_dir() else "no such file"
        raise UserError(f"{missing[0]}: {what}")
    if not given.files and not given.text:
        raise UserError("nothing to explain; expected FILE ... or --text TEXT")
    if given.out and pathlib.Path(given.out).is_file():
        raise UserError(f"--out {given.out} is a file; expected a folder")
    start(given.verbose)
    from ..explaining_files import explain_files

    explain_files(
        given.folder,
        given.files,
        given.text,
        target=given.target,
        methods=given.method,
        out=given.out,
        as_json=given.json,
        trust=given.trust,
    )
    return 0


def parser() -> Parser:
    parser = Parser("kpipe explain", "FOLDER [FILE ...] [--text TEXT]", EXPLAIN)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder of a finished run, such as saved_models/mnist_mlp")
    add("files", nargs="*", metavar="FILE", help="images, texts, tables or vectors, as of predict")
    add("--text", action="append", default=[], metavar="TEXT", help="a text; can be repeated")
    add("--target", metavar="LABEL", help="label to explain (default: the most probable one)")
    add(
        "--method",
        action="append",
        default=[],
        metavar="METHOD",
        help=f"{', '.join(METHODS)}; can be repeated (default: all that fit)",
    )
    add(
        "--out",
        metavar="DIR",
        help="folder for a picture of each example (default: explained for images, else none)",
    )
    add("--json", action="store_true", help="print one JSON object per explanation")
    add("--trust", action="store_true", help="load the model without checking its operations")
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser
