"""`kpipe reproduce`: trains a finished run again and compares."""

from .parsing import Parser, add_verbose, check_folder, start

REPRODUCE = (
    "Train a finished run again, from its run.json alone, in a new folder beside it, and compare "
    "weights, history, metrics and predictions to the bit. The exit code is 1 if they differ."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe reproduce", "RUN", REPRODUCE)
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the new run (default: the one that contains RUN)"
    )
    add_verbose(parser)
    parser.add_argument("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    check_folder(given.folder)
    start(given.verbose)
    from ..reproducing import reproduce

    return 0 if reproduce(given.folder, out=given.out).passed else 1
