"""`kpipe export`: converts a finished run's SavedModel to another format."""

from .. import formats
from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, start

EXPORT = (
    "Convert the SavedModel of a finished run to another format, and prove the result: in a "
    "process without Keras and TensorFlow it must answer the golden cases and the test split as "
    "the trained model did. Size, time and accuracy are measured beside those of the SavedModel."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    if given.format is None:
        raise UserError(f"no format; expected --format {', '.join(formats.FORMATS)}")
    formats.require(given.format, given.quantize)
    check_folder(given.folder)
    start(given.verbose)
    from ..formats.converting import convert

    convert(
        given.folder,
        given.format,
        quantize=given.quantize,
        out=given.out,
        fresh=given.fresh,
        trust=given.trust,
    )
    return 0


def parser() -> Parser:
    parser = Parser("kpipe export", "RUN --format FORMAT", EXPORT)
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a finished run, such as saved_models/mnist_mlp")
    add("--format", metavar="FORMAT", help="litert (phones), onnx, or openvino (Intel)")
    add(
        "--quantize",
        metavar="TYPE",
        help="int8: weights and activations of 8 bits, with scales chosen by examples of val; the "
        "loss of accuracy is measured on the test split",
    )
    add("--out", metavar="DIR", help="folder for the folder FORMAT (default: RUN/exports)")
    add("--fresh", action="store_true", help="replace an existing export")
    add("--trust", action="store_true", help="load the model without checking its operations")
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser
