"""`kpipe check-gradients`: checks the gradient of a pipeline's loss."""

from ..errors import UserError
from ..experiments import catalogue
from .parsing import Parser, add_pipeline, add_verbose, common_options, positive, start

CHECK_GRADIENTS = (
    "Compare the gradient of a pipeline's loss with finite differences, in float64 and before "
    "training. Prints a table and saves a figure in saved_models/NAME-gradients. The exit code is "
    "1 if a gradient is wrong or cannot be checked."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe check-gradients", "NAME [key=value ...]", CHECK_GRADIENTS)
    add_pipeline(parser)
    add = parser.add_argument
    add("--examples", type=positive, default=3, metavar="N", help="training examples (default 3)")
    add(
        "--samples",
        type=positive,
        default=20,
        metavar="N",
        help="entries per variable (default 20)",
    )
    add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help")
    given = parser.parse(arguments)
    if given.help:
        print(parser.format_help())
        return 0
    if not given.name:
        raise UserError(f"no pipeline given; expected one of {', '.join(catalogue.names())}")
    options = common_options(parser, given)
    start(given.verbose)
    from ..checking import check_gradients

    result = check_gradients(given.name, examples=given.examples, samples=given.samples, **options)
    return 0 if result.passed else 1
