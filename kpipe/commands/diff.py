"""`kpipe diff`: says what differs first between two runs."""

from ..errors import UserError
from ..formatting import counted
from .parsing import Parser, add_verbose, check_folder, start

DIFF = (
    "Show what differs between two runs, in the order of cause: settings, data, versions, machine, "
    "the course of training, results. The first line says what differs first. The exit code is 0 "
    "if settings, data and weights are equal, 1 if they differ, and 2 if there is nothing to "
    "compare, as that of diff."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe diff", "RUN RUN", DIFF)
    parser.add_argument(
        "folders", nargs="*", metavar="RUN", help="folder of a run, such as saved_models/mnist_mlp"
    )
    add_verbose(parser)
    parser.add_argument("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    if len(given.folders) != 2:
        given_folders = counted(len(given.folders), "folder")
        raise UserError(f"{given_folders}; expected two: kpipe diff RUN RUN")
    for folder in given.folders:
        check_folder(folder)
    start(given.verbose)
    from ..diffing import diff

    result = diff(*given.folders)
    print(result, flush=True)
    return 0 if result.equal else 1
