"""Predicts with a run's export for any number of inputs, and prints or writes the answers."""

import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

from .. import tasks
from ..errors import UserError
from ..export.loading import SavedModel, load
from ..formatting import counted
from ..inputs import Bad
from .finding import find_inputs
from .progress import Progress
from .streaming import Answered, answer_in_order
from .writing import BadFiles, Images, check_target, is_standard_output, open_output, partial_of

__all__ = ["predict"]


def predict(
    folder: str | os.PathLike,
    paths: Sequence[str | os.PathLike] = (),
    texts: Sequence[str] = (),
    *,
    as_json: bool = False,
    images: str | os.PathLike | None = None,
    csv_file: str | os.PathLike | None = None,
    version: int | None = None,
    skip_bad: int = 0,
    cluster: str = "",
    trust: bool = False,
) -> int:
    """Prints one answer per line: for each file, line of a text file or row of a table.

    Inputs are read, decoded and predicted in pieces, several at a time, and answered in their
    order as they come, so that memory does not grow with their number.

    Args:
        folder: Folder of a finished run.
        paths: Images, texts in UTF-8, one per line, or tables; folders and patterns of these; "-"
            for standard input, which lists images or contains lines or a table.
        texts: Additional texts.
        as_json: Whether each answer is a JSON object.
        images: Folder for the reconstructions of an autoencoder, as PNG files.
        csv_file: File for the answers, one per row, instead of printing them; "-" prints the rows.
        version: One of the run's versions; None for the latest.
        skip_bad: Number of inputs that may be left out because they cannot be read or answered;
            they are listed in bad_files.csv, beside the answers.
        cluster: Address of a Ray cluster whose machines predict, see `on_cluster`; "" for none.
        trust: Whether to load the model without checking its operations.

    Returns:
        How many inputs were left out.

    Raises:
        UserError: The model has other inputs or outputs, or a file cannot be read or written. What
            was answered before is printed, or kept beside `csv_file`.
    """
    folder = pathlib.Path(folder)
    given = [str(path) for path in paths]
    target = None if csv_file is None else check_target(pathlib.Path(csv_file), given)
    bad = BadFiles(skip_bad, target, given)
    model = load(folder, version=version, trust=trust)
    task = tasks.answering(model)
    if images and "reconstruction" not in model.outputs:
        raise UserError(f"--images: {folder} reconstructs no images; expected an autoencoder")
    drawn = Images(pathlib.Path(images)) if images else None
    written = {f"{bad.path}, the list of --skip-bad,": bad.path} if skip_bad else {}
    if target and not is_standard_output(target):
        written |= {f"--csv {target}": target, f"{target}.partial": partial_of(target)}
    with (
        find_inputs(
            given,
            model.input_spec,
            keep_bad=bool(skip_bad),
            written=written,
            drawn=drawn.folder if drawn else None,
        ) as found,
        bad,
        open_output(target, as_json, has_files=bool(given)) as write,
        Progress(found.total, shown=not write.on_terminal) as progress,
    ):
        for answered in _answers(model, found.paths, texts, bool(skip_bad), cluster):
            if answered.examples is not None:
                examples = found.as_given_examples(answered.examples)
                drawings = drawn.write(examples, answered.outputs) if drawn else {}
                answers = (
                    task.answer(answered.outputs, i, model.label_names)
                    for i in range(len(examples.names))
                )
                write.write(examples, answers, drawings)
                progress.add(len(examples.names))
            bad.add(found.as_given(answered.bad))
        if not write.count and not bad.count:
            raise UserError(_nothing_in(given))
    if target and not is_standard_output(target):
        print(f"{counted(write.count, 'answer')} written to {target}", flush=True)
    if bad.count:
        print(
            f"{counted(bad.count, 'input')} left out, listed in {bad.path}",
            file=sys.stderr,
            flush=True,
        )
    return bad.count


def _answers(
    model: SavedModel,
    paths: Iterator[pathlib.Path | Bad],
    texts: Sequence[str],
    keep_bad: bool,
    cluster: str,
) -> Iterator[Answered]:
    pieces = model.pieces(paths, texts, keep_bad=keep_bad)
    if cluster:
        from .on_cluster import answer_on_cluster

        return answer_on_cluster(model, pieces, keep_bad, cluster)
    return answer_in_order(model, pieces, keep_bad)


def _nothing_in(given: Sequence[str]) -> str:
    return f"{', '.join(given)}: no lines; expected one text or one row per line"
