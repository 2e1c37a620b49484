"""`kpipe compare`: compares finished runs."""

from ..errors import UserError
from .parsing import Parser, add_to, add_verbose, check_folder, start

COMPARE = (
    "Compare finished runs of the same data, grouped by what differs except the seed: a table, a "
    "page with curves, and which of them can be told apart. kpipe run NAME --compare trains what "
    "is missing."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe compare", "RUN RUN ...", COMPARE)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="folder of a finished run, saved_models/NAME")
    add_to(parser)
    add(
        "--out",
        metavar="DIR",
        help="folder of the comparison (default saved_models/comparison, or with a number if that "
        "has another one)",
    )
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    if len(given.runs) < 2:
        raise UserError(
            f"{len(given.runs) or 'no'} run{'s' * (not given.runs)} given; expected the folders of "
            "two or more, such as kpipe compare saved_models/A saved_models/B"
        )
    for folder in given.runs:
        check_folder(folder)
    start(given.verbose)
    from ..comparing import compare

    compare(given.runs, out=given.out, to=given.to)
    return 0
