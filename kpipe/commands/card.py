"""`kpipe card`: writes the model card of a finished run, or says what it lacks."""

from ..errors import UserError
from .parsing import Parser, add_verbose, check_folder, start

CARD = (
    "Write the model card of a finished run, MODEL_CARD.md, in the form of the Hugging Face Hub: "
    "data, results, limits, training and hashes from the run's files, and blanks for what only you "
    "know, such as its intended use. Again it renews the rest and keeps what you wrote. The exit "
    "code of --check is 1 if anything is missing or out of date."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    given = parser().parse(arguments)
    if given.check and given.fresh:
        raise UserError("--check writes nothing and --fresh replaces; use one of both")
    check_folder(given.folder)
    start(given.verbose)
    from .. import model_card

    if not given.check:
        print(model_card.write(given.folder, given.out, fresh=given.fresh), flush=True)
        return 0
    missing = model_card.check(given.folder, given.out)
    for line in (*missing, model_card.summary_of_check(missing)):
        print(line, flush=True)
    return 1 if missing else 0


def parser() -> Parser:
    parser = Parser("kpipe card", "RUN", CARD)
    add = parser.add_argument
    add("folder", metavar="RUN", help="folder of a finished run, such as saved_models/mnist_mlp")
    add(
        "--out",
        metavar="FILE",
        help="the card (default RUN/MODEL_CARD.md); RUN/README.md is what the Hub shows",
    )
    add("--check", action="store_true", help="write nothing, list what is missing or out of date")
    add(
        "--fresh",
        action="store_true",
        help="replace what kpipe wrote even if it was changed by hand; blanks are kept",
    )
    add_verbose(parser)
    add("-h", "--help", action="help", help="show this help")
    return parser
