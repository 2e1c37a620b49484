"""`kpipe look`: looks at a user's own data."""

from .parsing import Parser, add_skip_bad, add_verbose, find_pipeline, own_overrides, start

LOOK = (
    "Look at your own data as kpipe run would: task, classes, columns, missing values, sizes, "
    "copies, unreadable files. Prints a summary and writes a page; nothing is trained."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe look", "FOLDER_OR_FILE [key=value ...]", LOOK)
    add = parser.add_argument
    add("data", metavar="FOLDER_OR_FILE", help="folder of images, or file with texts or a table")
    add("overrides", nargs="*", metavar="key=value", help="how to read it, such as target=COLUMN")
    add("--out", default="saved_models", metavar="DIR", help="folder of the page")
    add_skip_bad(parser)
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    overrides = own_overrides(given)
    find_pipeline(given.data, overrides)
    start(given.verbose)
    from ..looking import look

    look(given.data, out=given.out, **overrides)
    return 0
