"""Predicts with a run's export, and prints or writes the answers."""

import csv
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import files, tasks
from .errors import UserError
from .export.loading import load
from .formatting import counted
from .inputs import Examples
from .inputs.images import encode_png


def predict(
    folder: str | os.PathLike,
    paths: Sequence[str | os.PathLike] = (),
    texts: Sequence[str] = (),
    *,
    as_json: bool = False,
    images: str | os.PathLike | None = None,
    csv_file: str | os.PathLike | None = None,
    trust: bool = False,
) -> None:
    """Prints one answer per line: for each file, line of a text file or row of a table.

    Args:
        folder: Folder of a finished run.
        paths: Images; texts in UTF-8, one per line; or tables.
        texts: Additional texts.
        as_json: Whether each answer is a JSON object.
        images: Folder for the reconstructions of an autoencoder, as PNG files.
        csv_file: File for the answers, one per row, instead of printing them.
        trust: Whether to load the model without checking its operations.

    Raises:
        UserError: The model has other inputs or outputs, or a file cannot be read or written.
    """
    folder, given = pathlib.Path(folder), [pathlib.Path(path) for path in paths]
    target = None if csv_file is None else _target(pathlib.Path(csv_file), given)
    model = load(folder, trust=trust)
    task = tasks.answering(folder, model.outputs)
    if images and "reconstruction" not in model.outputs:
        raise UserError(f"--images: {folder} reconstructs no images; expected an autoencoder")
    examples = model.read_files(given, texts)
    if not examples.names:
        listed = ", ".join(map(str, given))
        raise UserError(f"{listed}: no lines; expected one text or one row per line")
    outputs = model.predict_examples(examples)
    written = _write_images(pathlib.Path(images), examples.names, outputs) if images else {}
    if target:
        answers = [
            {**task.answer(outputs, i, model.label_names)[1], **_image(written, i)}
            for i in range(len(examples.names))
        ]
        files.write_bytes(target, _to_csv(examples, answers).encode("utf-8", "backslashreplace"))
        print(f"{counted(len(answers), 'answer')} written to {target}", flush=True)
        return
    for i, name in enumerate(examples.names):
        words, content = task.answer(outputs, i, model.label_names)
        if as_json:
            content |= _image(written, i)
            print(json.dumps({examples.kind: name, **content}, ensure_ascii=False))
        else:
            print(f"{name}: {words}{f'  {written[i]}' if written else ''}")


def _image(written: Mapping[int, str], i: int) -> dict[str, str]:
    return {"image": written[i]} if written else {}


def _write_images(folder: pathlib.Path, names: Sequence[str], outputs: dict) -> dict[int, str]:
    """Writes the reconstruction of each file as a PNG file; returns their paths."""
    files.make_folder(folder)
    written = {}
    for i, (name, image) in enumerate(zip(names, outputs["reconstruction"], strict=True)):
        path = folder / f"{i}-{pathlib.Path(name).stem}.png"
        files.write_bytes(path, encode_png(image))
        written[i] = str(path)
    return written


def _target(path: pathlib.Path, given: Sequence[pathlib.Path]) -> pathlib.Path:
    """Checks that a file of answers can be written, before anything is predicted."""
    wrong = {
        "is a folder": path.is_dir(),
        "is a device": path.exists() and not path.is_file(),  # which a file would replace
        "is in a folder that does not exist": not path.parent.is_dir(),
        "is in a folder that cannot be written": not os.access(path.parent, os.W_OK),
    }
    if what := next((what for what, found in wrong.items() if found), ""):
        raise UserError(f"--csv {path} {what}; expected the name of a file")
    if path.exists() and any(path.samefile(other) for other in given):
        raise UserError(f"--csv {path} is one of the files to predict; choose another name")
    return path


def _to_csv(examples: Examples, answers: Sequence[Mapping[str, Any]]) -> str:
    """Writes answers as CSV, after file, row and text of each example, as far as there are."""
    rows = []
    for (file, row), name, answer in zip(examples.places, examples.names, answers, strict=True):
        place = {"file": file, "row": row or ""}
        text = {"text": name} if examples.kind == "text" else {}
        rows.append({**place, **text, **dict(_cells(answer))})
    unused = {name for name in ("file", "row") if not any(row[name] for row in rows)}
    names = [name for name in rows[0] if name not in unused]
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def _cells(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the values of an answer, those of "probabilities" as "probabilities/NAME"."""
    for key, value in answer.items():
        if isinstance(value, (dict, list)):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{key}/{name}", part) for name, part in parts)
        else:
            yield key, value
