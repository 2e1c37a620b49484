"""`kpipe verify`: verifies finished runs."""

from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, start

VERIFY = (
    "Verify finished runs, also years later or as copies: the hash of every file, and the answers "
    "of the export, which is replayed in a process without Keras. The data are not needed. The "
    "exit code is 1 if anything differs."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe verify", "RUN ...", VERIFY)
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="RUN",
        help="folder of a finished run, such as saved_models/mnist_mlp",
    )
    parser.add_argument(
        "--trust", action="store_true", help="replay an export without checking its operations"
    )
    add_verbose(parser)
    parser.add_argument("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    if not given.folders:
        raise UserError("nothing to verify; expected kpipe verify RUN ...")
    for folder in given.folders:
        check_folder(folder)
    start(given.verbose)
    from ..verifying import verify

    passed = True
    for folder in given.folders:
        if len(given.folders) > 1:
            print(f"{folder}:", flush=True)
        passed &= verify(folder, trust=given.trust).passed
    return 0 if passed else 1
