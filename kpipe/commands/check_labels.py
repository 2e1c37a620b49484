"""`kpipe check-labels`: lists labels of the training data that are probably wrong."""

from .parsing import (
    Parser,
    add_corrections,
    add_pipeline,
    add_verbose,
    common_options,
    positive,
    start,
)

CHECK_LABELS = (
    "Train a pipeline's network on parts of train and val, predict the rest, and list the labels "
    "that are probably wrong: a page to look at and a CSV file to correct, in "
    "saved_models/NAME-labels. The test split is not opened. The same command resumes."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe check-labels", "NAME_OR_DATA [key=value ...]", CHECK_LABELS)
    add_pipeline(parser)
    add = parser.add_argument
    add(
        "--folds",
        type=positive,
        default=5,
        metavar="N",
        help="parts that are predicted, one after the other, by networks trained on the others "
        "(default 5)",
    )
    add("--fresh", action="store_true", help="start over; an existing check is renamed and kept")
    add("--plan", metavar="PLAN", help="graph, kernels or fused:K, as in kpipe run")
    add_corrections(parser)
    add_verbose(parser)
    add("-h", "--help", action="store_true", help="show this help")
    given = parser.parse(arguments)
    if given.help or not given.name:
        print(parser.format_help())
        return 0 if given.help else 2
    options = common_options(parser, given)
    start(given.verbose)
    from ..label_checking import check_labels

    options |= {"plan": given.plan, "fresh": given.fresh, "corrections": given.corrections}
    check_labels(given.name, folds=given.folds, **options)
    return 0
