"""Explains a run's answers to files or texts, and prints or draws what they hang on."""

import json
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from . import files, tasks
from .errors import UserError
from .explaining import Explanation, explain, methods_of, pixels_of, said
from .export.loading import SavedModel, load
from .formatting import counted
from .inputs import Examples

LISTED = 8  # words or columns that are printed
_METHODS = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "erasure": "erasure",
}


def explain_files(
    folder: str | os.PathLike,
    paths: Sequence[str | os.PathLike] = (),
    texts: Sequence[str] = (),
    *,
    target: str | None = None,
    methods: Sequence[str] = (),
    out: str | os.PathLike | None = None,
    as_json: bool = False,
    trust: bool = False,
) -> None:
    """Prints what each answer hangs on, and draws it for images.

    Args:
        folder: Folder of a finished run.
        paths: Images; texts in UTF-8, one per line; or tables.
        texts: Additional texts.
        target: The label that is explained; by default the most probable one.
        methods: Names of methods; by default all that fit the model.
        out: Folder for pictures: of images by default "explained", otherwise none.
        as_json: Whether each explanation is a JSON object on a line; pictures need `out`.
        trust: Whether to load the model without checking its operations.

    Raises:
        UserError: The model has nothing to explain, label or method is unknown, or a file cannot
            be read or written.
    """
    folder = pathlib.Path(folder)
    model = load(folder, trust=trust)
    methods_of(model)  # fails before files are read
    examples = model.read_files([pathlib.Path(path) for path in paths], texts)
    if not examples.names:
        listed = ", ".join(map(str, paths))
        raise UserError(f"{listed}: no lines; expected one text or one row per line")
    found = explain(model, examples, target=target, methods=methods)
    each = len(found) // len(examples.names)
    groups = [found[start : start + each] for start in range(0, len(found), each)]
    if out is None and not as_json and found[0].kind == "image":
        out = "explained"
    if as_json:
        for name, group in zip(examples.names, groups, strict=True):
            for explanation in group:
                content = {examples.kind: name, **explanation.to_json()}
                print(json.dumps(content, ensure_ascii=False))
    else:
        task, outputs = tasks.answering(model), model.predict_examples(examples)
        for i, (name, group) in enumerate(zip(examples.names, groups, strict=True)):
            print(f"{name}: {task.answer(outputs, i, model.label_names)[0]}")
            for explanation in group:
                print("\n".join(f"  {line}" for line in lines_of(explanation)))
    if out is not None:
        written = _draw(pathlib.Path(out), model, examples, groups)
        if not as_json:
            print(f"{counted(len(written), 'picture')} in {out}: {_listed(written)}")


def lines_of(explanation: Explanation) -> Iterator[str]:
    """Writes an explanation: the method, and the parts with the largest effects."""
    method = _METHODS[explanation.method]
    if explanation.kind == "image":
        yield f"{method}, for {_target(explanation)}: {_where(explanation)}"
        return
    against = f"against {explanation.baseline}"
    yield f"{method}, for {_target(explanation)}, {against}; effects in {_unit(explanation)}:"
    strongest = explanation.strongest(LISTED)
    if explanation.kind == "text":
        words = (f"{explanation.names[i]} {_signed(explanation.effects[i])}" for i in strongest)
        yield f"  {', '.join(words) or 'no word has an effect'}"
    elif not strongest:
        yield "  no column has an effect"
    else:
        values = [said(explanation.values[i]) for i in strongest]
        names = [f"{explanation.names[i]} = {v}" for i, v in zip(strongest, values, strict=True)]
        width = max(map(len, names))
        for i, name in zip(strongest, names, strict=True):
            yield f"  {name:{width}}  {_signed(explanation.effects[i]):>9}"
    if explanation.baseline_score is not None:
        yield f"  {_sum(explanation)}"


def _listed(paths: Sequence[pathlib.Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _target(explanation: Explanation) -> str:
    if explanation.target == "value":
        return f"the value {explanation.score:.6g}"
    return f"{explanation.target} ({100 * explanation.score:.1f} %)"


def _unit(explanation: Explanation) -> str:
    return {"value": "the value's unit"}.get(explanation.unit, explanation.unit)


def _where(explanation: Explanation) -> str:
    """Writes in which ninth of an image most speaks for the answer."""
    thirds = [np.array_split(rows, 3, axis=1) for rows in np.array_split(explanation.effects, 3)]
    sums = np.array([[part.sum() for part in row] for row in thirds])
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    place = " ".join(filter(None, (("top", "", "bottom")[row], ("left", "", "right")[column])))
    said = f"most in the {place or 'middle'}" if sums.max() > 0 else "nothing speaks for it"
    return said if explanation.baseline_score is None else f"{said}; {_sum(explanation)}"


def _sum(explanation: Explanation) -> str:
    """Writes what the effects sum to: the difference from the score of the baseline."""
    assert explanation.baseline_score is not None
    total, score, first = explanation.effects.sum(), explanation.score, explanation.baseline_score
    error = explanation.error
    if explanation.unit == "probability":
        said = f"sum {100 * total:+.1f} points, from {100 * first:.1f} % to {100 * score:.1f} %"
        doubt = error and f"{100 * error:.1f} points"
    else:
        said = f"sum {total:+.4g}, from {first:.6g} to {score:.6g}"
        doubt = error and f"{error:.4g}"
    return f"{said}; not exact, off by up to {doubt}" if doubt else said


def _signed(value: float) -> str:
    """Formats an effect: two decimals, fewer of large ones."""
    if abs(value) >= 1000:
        return f"{value:+,.0f}"
    return f"{value:+.2f}" if abs(value) >= 0.005 else f"{value:+.2g}"


def _draw(
    folder: pathlib.Path,
    model: SavedModel,
    examples: Examples,
    groups: Sequence[Sequence[Explanation]],
) -> list[pathlib.Path]:
    """Writes one picture for each example; returns their paths."""
    from .figures import explained, style, word_effects  # imports Matplotlib

    files.make_folder(folder)
    kind = groups[0][0].kind
    images = pixels_of(model, examples) if kind == "image" else None
    written: list[pathlib.Path] = []
    for i, group in enumerate(groups):
        title = _target(group[0])
        if images is not None:
            figure = explained.draw_images([(style.escape(title), images[i], group)])
        else:
            shown = [(style.escape(f"{title}: {_METHODS[one.method]}"), one) for one in group]
            figure = (word_effects.draw_texts if kind == "text" else explained.draw_rows)(shown)
        file, row = examples.places[i]
        stem = pathlib.Path(file).stem if file else f"text-{i + 1}"
        stem, number = f"{stem}-{row}" if row else stem, 2
        path = folder / f"{stem}-explained.png"
        while path in written:  # files of the same name from several folders
            path, number = folder / f"{stem}-{number}-explained.png", number + 1
        files.write_bytes(path, style.to_png(figure))
        written.append(path)
    return written
