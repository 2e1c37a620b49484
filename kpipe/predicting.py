"""Predicts with a run's export, and prints the answers."""

import json
import os
import pathlib
from collections.abc import Sequence

from . import files, inputs, tasks
from .errors import UserError
from .export.loading import load
from .inputs.images import encode_png


def predict(
    folder: str | os.PathLike,
    paths: Sequence[str | os.PathLike] = (),
    texts: Sequence[str] = (),
    *,
    as_json: bool = False,
    images: str | os.PathLike | None = None,
) -> None:
    """Prints one answer per line: for each file, line of a text file or row of a table.

    Args:
        folder: Folder of a finished run.
        paths: Images; texts in UTF-8, one per line; or tables of numbers.
        texts: Additional texts.
        as_json: Whether each answer is a JSON object.
        images: Folder for the reconstructions of an autoencoder, as PNG files.

    Raises:
        UserError: The model has other inputs or outputs, or a file cannot be read.
    """
    folder, given = pathlib.Path(folder), [pathlib.Path(path) for path in paths]
    model = load(folder)
    task = tasks.answering(folder, model.outputs)
    if images and "reconstruction" not in model.outputs:
        raise UserError(f"--images: {folder} reconstructs no images; expected an autoencoder")
    examples = inputs.read_examples(given, model.input_spec, texts)
    if not examples.names:
        listed = ", ".join(map(str, given))
        raise UserError(f"{listed}: no lines; expected one text or one row per line")
    outputs = model.predict_examples(examples)
    written = _write_images(pathlib.Path(images), examples.names, outputs) if images else {}
    for i, name in enumerate(examples.names):
        words, content = task.answer(outputs, i, model.label_names)
        if as_json:
            image = {"image": written[i]} if written else {}
            print(json.dumps({examples.kind: name, **content, **image}, ensure_ascii=False))
        else:
            print(f"{name}: {words}{f'  {written[i]}' if written else ''}")


def _write_images(folder: pathlib.Path, names: Sequence[str], outputs: dict) -> dict[int, str]:
    """Writes the reconstruction of each file as a PNG file; returns their paths."""
    files.make_folder(folder)
    written = {}
    for i, (name, image) in enumerate(zip(names, outputs["reconstruction"], strict=True)):
        path = folder / f"{i}-{pathlib.Path(name).stem}.png"
        files.write_bytes(path, encode_png(image))
        written[i] = str(path)
    return written
