"""Reads weights and models from files that can come from anywhere.

What a file declares is checked before memory is taken or an object is made of it: sizes, links to
other files, shapes, types and values. Keras' safe mode, which refuses Python code, is always on.
"""

import io
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import numpy as np

MAX_CONFIG = 16 << 20  # bytes of a model's description
EXPANSION, FREE = 20, 64 << 20  # unpacked, a file may take 20 times its size and 64 MiB
MAX_DEPTH = 64  # of groups in HDF5
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Layers that run code from files or other frameworks.
_FOREIGN = frozenset(
    ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__", "__typespec__")
)


def load_model(path: pathlib.Path) -> keras.Model:
    """Loads a `.keras` file, uncompiled, after checks of all that it declares.

    Args:
        path: The file.

    Raises:
        ValueError: It is damaged, too large, contains code, links or values that are not finite; or
            Keras cannot load it. The message says what is wrong.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip archive, as .keras files are, or damaged")
    with zipfile.ZipFile(path) as archive:
        _check_archive(archive, path)
        config = _read_config(archive)
        with io.BytesIO(archive.read(WEIGHTS)) as content:
            stored = check_weights(content)
    declared = _count_declared(config)
    if declared > 2 * stored + (1 << 20):
        raise ValueError(f"describes {declared:,} weights and contains {stored:,}")
    return keras.models.load_model(path, compile=False, safe_mode=True)


def _check_archive(archive: zipfile.ZipFile, path: pathlib.Path) -> None:
    names = archive.namelist()
    for needed in (CONFIG, WEIGHTS):
        if names.count(needed) != 1:
            raise ValueError(f"contains {names.count(needed)} files {needed}; expected one")
    for name in names:
        if name.startswith(("/", "\\")) or ".." in pathlib.PurePosixPath(name).parts:
            raise ValueError(f"leads out of itself by the path {name!r}")
    check_size(sum(member.file_size for member in archive.infolist()), path)
    if (size := archive.getinfo(CONFIG).file_size) > MAX_CONFIG:
        raise ValueError(f"{CONFIG} has {size:,} bytes; expected at most {MAX_CONFIG:,}")


def check_size(unpacked: int, path: str | os.PathLike[str]) -> None:
    """Refuses an archive that is much larger than its file.

    Raises:
        ValueError: It is.
    """
    packed = os.path.getsize(path)
    if unpacked > EXPANSION * packed + FREE:
        raise ValueError(f"unpacks {packed:,} bytes to {unpacked:,}; refused as a bomb")


def _read_config(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        config = json.loads(archive.read(CONFIG))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG} is not valid JSON ({type(error).__name__})") from None
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} describes no model")
    for part in _parts(config):
        name = part.get("class_name")
        if isinstance(name, str) and name in _FOREIGN:
            raise ValueError(f"contains {name}, which runs code from outside Keras")
        own = part.get("config")
        if not isinstance(own, dict):
            continue
        if isinstance(own.get("vocabulary"), str):
            raise ValueError(f"{name} reads the vocabulary file {own['vocabulary']!r}")
        called = str(own.get("name", ""))
        if "/" in called or "\\" in called or ".." in called:
            raise ValueError(f"contains the name {called!r}, which is a path")
    return config


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yields all dicts within JSON values."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _count_declared(config: dict[str, Any]) -> int:
    """Number of weights of a model, built without any memory for them.

    It is 0 if a class of the user's own creates its weights too late for that.
    """
    # The registered name of a user's own class is PACKAGE>CLASS.
    own = any(">" in str(part.get("registered_name")) for part in _parts(config))
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(
                {**config, "compile_config": None}, safe_mode=True
            )
            return sum(math.prod(variable.shape) for variable in model.variables)
    except ValueError:
        if not own:
            raise
        return 0


def check_weights(file: pathlib.Path | io.BytesIO) -> int:
    """Checks an HDF5 file of weights: its links, the shapes and types of its arrays, their values.

    Args:
        file: The file, or its content.

    Returns:
        The number of weights.

    Raises:
        ValueError: It leads to other files, or declares more than it contains, or a weight is not
            a finite number.
    """
    size = len(file.getbuffer()) if isinstance(file, io.BytesIO) else file.stat().st_size
    with h5py.File(file, "r") as content:
        arrays = list(_arrays(content, 0))
        for name, array in arrays:
            if array.is_virtual or array.external:
                raise ValueError(f"{name} is stored in another file")
            # Keras stores bfloat16 as two bytes without a type.
            if array.dtype.kind not in "biufV" or array.dtype.itemsize > 16 or array.dtype.names:
                raise ValueError(f"{name} is {array.dtype}; expected numbers")
        declared = sum(array.size * array.dtype.itemsize for _, array in arrays)
        if declared > EXPANSION * size + FREE:
            raise ValueError(f"declares {declared:,} bytes of weights in a file of {size:,}")
        for name, array in arrays:
            if array.dtype.kind == "f" and not np.isfinite(array[()]).all():
                raise ValueError(f"{name} contains NaN or infinity")
        return sum(array.size for _, array in arrays)


def _arrays(group: h5py.Group, depth: int) -> Iterator[tuple[str, h5py.Dataset]]:
    if depth > MAX_DEPTH:  # or a group that contains itself
        raise ValueError(f"groups within more than {MAX_DEPTH} groups")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link; expected an array")
        part = group[name]
        if isinstance(part, h5py.Group):
            yield from _arrays(part, depth + 1)
        elif isinstance(part, h5py.Dataset):
            yield part.name, part


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.npz` file, without pickle.

    Raises:
        ValueError: It is damaged, too large, or contains something else than finite numbers.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip archive, as .npz files are, or damaged")
    with zipfile.ZipFile(path) as archive:
        check_size(sum(member.file_size for member in archive.infolist()), path)
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN, infinity or no numbers")
    return arrays
