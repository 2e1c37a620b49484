"""`kpipe new`: writes a pipeline for a user's own data."""

from .parsing import Parser, add_skip_bad, add_verbose, find_pipeline, own_overrides, start

NEW = (
    "Write NAME.py, the pipeline that kpipe run uses for your own data, with its values as "
    "defaults: edit it, then kpipe run NAME.py."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe new", "NAME FOLDER_OR_FILE [key=value ...]", NEW)
    add = parser.add_argument
    add("name", metavar="NAME", help="name of the pipeline: NAME.py is written here")
    add("data", metavar="FOLDER_OR_FILE", help="folder of images, or file with texts or a table")
    add("overrides", nargs="*", metavar="key=value", help="values that become the defaults")
    add_skip_bad(parser)
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    overrides = own_overrides(given)
    find_pipeline(given.data, overrides)
    start(given.verbose)
    from ..experiments.new import write_pipeline

    path = write_pipeline(given.name, given.data, overrides)
    print(f"{path} written; edit it, then: kpipe run {path}")
    return 0
