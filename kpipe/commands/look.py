"""`kpipe look`: looks at a user's own data."""

from .parsing import Parser, add_own_data, find_pipeline, own_overrides, start

LOOK = (
    "Look at your own data as kpipe run would: task, classes, columns, missing values, sizes, "
    "copies, unreadable files. Prints a summary and writes a page; nothing is trained."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe look", "FOLDER_OR_FILE [key=value ...]", LOOK)
    add_own_data(parser, "how to read it, such as target=COLUMN")
    parser.add_argument(
        "--out",
        default="saved_models",
        metavar="DIR",
        help="folder of the page (default saved_models)",
    )
    given = parser.parse(arguments)
    overrides = own_overrides(given)
    find_pipeline(given.data, overrides)
    start(given.verbose)
    from ..looking import look

    look(given.data, out=given.out, **overrides)
    return 0
