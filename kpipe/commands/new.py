"""`kpipe new`: writes a pipeline for a user's own data."""

from .parsing import Parser, add_own_data, find_pipeline, own_overrides, start

NEW = (
    "Write NAME.py, the pipeline that kpipe run uses for your own data, with its values as "
    "defaults: edit it, then kpipe run NAME.py."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe new", "NAME FOLDER_OR_FILE [key=value ...]", NEW)
    parser.add_argument("name", metavar="NAME", help="the pipeline's name: NAME.py is written here")
    add_own_data(parser, "values that become the defaults")
    given = parser.parse(arguments)
    overrides = own_overrides(given)
    find_pipeline(given.data, overrides)
    start(given.verbose)
    from ..experiments.new import write_pipeline

    path = write_pipeline(given.name, given.data, overrides)
    print(f"{path} written; edit it, then: kpipe run {path}")
    return 0
