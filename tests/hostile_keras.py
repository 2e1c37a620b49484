"""Builds Keras files that run code, lead elsewhere or take memory, from a good one."""

import io
import json
import pathlib
import pickle
import warnings
import zipfile

import h5py
import numpy as np

MAKERS = {}


def maker(expected):
    """Registers a maker of (path without suffix, good file, canary), with what the refusal says."""

    def register(function):
        MAKERS[function.__name__] = (function, expected)
        return function

    return register


class Touch:
    """Writes the canary when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.write_text, (pathlib.Path(self.path), "canary")


def _parts(good):
    with zipfile.ZipFile(good) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path, parts, compression=zipfile.ZIP_STORED):
    path = path.with_suffix(".keras")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def _configured(path, good, change):
    """A .keras file whose configuration is changed."""
    parts = _parts(good)
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config)
    return _write(path, parts)


def _layer(config):
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def _replaced(path, good, class_name, own, module="keras.layers"):
    def change(config):
        layer = _layer(config)
        name = layer["config"]["name"]
        layer |= {"class_name": class_name, "module": module, "registered_name": None}
        layer["config"] = {"name": name, **own}

    return _configured(path, good, change)


def _activation(path, good, module, name):
    function = {"module": module, "class_name": "function", "config": name}
    function["registered_name"] = name

    def change(config):
        _layer(config)["config"]["activation"] = function

    return _configured(path, good, change)


def _weights(path, good, change):
    """A .keras file whose HDF5 file is changed."""
    parts = _parts(good)
    content = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        names = []
        file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
        change(file, names[0])
    parts["model.weights.h5"] = content.getvalue()
    return _write(path, parts)


@maker("lambda|__lambda__")
def python_lambda(path, good, canary):
    code = {"class_name": "__lambda__", "config": {"value": ["4wA=", None, None]}}
    return _replaced(path, good, "Lambda", {"function": code})


@maker("cannot be|not a readable|Could not")
def lambda_of_a_shell_command(path, good, canary):
    function = {"module": "os", "class_name": "function", "config": "system"}
    own = {"function": {**function, "registered_name": "system"}, "arguments": {"command": "true"}}
    return _replaced(path, good, "Lambda", own)


@maker("not a readable Keras model")
def shell_command_as_activation(path, good, canary):
    return _activation(path, good, "os", "system")


@maker("not a readable Keras model")
def exec_as_activation(path, good, canary):
    return _activation(path, good, "builtins", "exec")


@maker("not a readable Keras model")
def download_as_activation(path, good, canary):
    return _activation(path, good, "keras.utils", "get_file")


@maker("not a readable Keras model")
def unsafe_mode_as_activation(path, good, canary):
    return _activation(path, good, "keras.config", "enable_unsafe_deserialization")


@maker("contains TFSMLayer")
def saved_model_as_a_layer(path, good, canary):
    return _replaced(path, good, "TFSMLayer", {"filepath": str(canary.parent)})


@maker("contains TorchModuleWrapper")
def pickle_of_torch_as_a_layer(path, good, canary):
    return _replaced(path, good, "TorchModuleWrapper", {"module": "gASVAA=="})


@maker("reads the vocabulary file")
def vocabulary_in_a_file(path, good, canary):
    return _replaced(path, good, "StringLookup", {"vocabulary": "/etc/passwd"})


@maker("which is a path")
def layer_named_as_a_path(path, good, canary):
    def change(config):
        _layer(config)["config"]["name"] = "../../../tmp/planted"

    return _configured(path, good, change)


@maker("not valid JSON .RecursionError")
def deep_description(path, good, canary):
    parts = _parts(good)
    parts["config.json"] = "[" * 200_000
    return _write(path, parts)


@maker("config.json has .* bytes")
def huge_description(path, good, canary):
    parts = _parts(good)
    parts["config.json"] = b" " * (17 << 20) + parts["config.json"]
    return _write(path, parts, zipfile.ZIP_DEFLATED)


@maker("refused as a bomb")
def zip_bomb(path, good, canary):
    parts = _parts(good)
    parts["assets/zeros"] = bytes(80 << 20)
    return _write(path, parts, zipfile.ZIP_DEFLATED)


@maker("describes .* weights and contains")
def layer_of_terabytes(path, good, canary):
    def change(config):
        _layer(config)["config"]["units"] = 10**9
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)

    return _configured(path, good, change)


@maker("leads out of itself")
def member_outside_the_folder(path, good, canary):
    return _write(path, {**_parts(good), "assets/../../planted": b"canary"})


@maker("leads out of itself")
def member_with_an_absolute_path(path, good, canary):
    return _write(path, {**_parts(good), str(canary): b"canary"})


@maker("0 files config.json")
def no_description(path, good, canary):
    parts = _parts(good)
    del parts["config.json"]
    return _write(path, parts)


@maker("2 files config.json")
def two_descriptions(path, good, canary):
    path = _write(path, _parts(good))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the second
        archive.writestr("config.json", "{}")
    return path


@maker("is a link; expected an array")
def external_link(path, good, canary):
    def change(file, name):
        del file[name]
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")

    return _weights(path, good, change)


@maker("is a link; expected an array")
def soft_link(path, good, canary):
    def change(file, name):
        del file[name]
        file[name] = h5py.SoftLink("/elsewhere")

    return _weights(path, good, change)


@maker("is stored in another file")
def virtual_array(path, good, canary):
    def change(file, name):
        shape = file[name].shape
        del file[name]
        layout = h5py.VirtualLayout(shape, dtype="float32")
        layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape=shape)
        file.create_virtual_dataset(name, layout)

    return _weights(path, good, change)


@maker("is stored in another file")
def array_in_another_file(path, good, canary):
    def change(file, name):
        shape = file[name].shape
        del file[name]
        size = int(np.prod(shape)) * 4
        file.create_dataset(name, shape, "float32", external=[("/etc/passwd", 0, size)])

    return _weights(path, good, change)


@maker("declares .* bytes of weights")
def array_of_terabytes(path, good, canary):
    def change(file, name):
        del file[name]
        file.create_dataset(name, (10**6, 10**6), "float32", chunks=(1000, 1000))

    return _weights(path, good, change)


@maker("groups within more than")
def group_within_itself(path, good, canary):
    def change(file, name):
        file["again"] = file["/"]

    return _weights(path, good, change)


@maker("contains NaN or infinity")
def weights_of_nan(path, good, canary):
    def change(file, name):
        file[name][...] = np.nan

    return _weights(path, good, change)


@maker("expected numbers")
def weights_of_words(path, good, canary):
    def change(file, name):
        del file[name]
        file.create_dataset(name, data=["canary"])

    return _weights(path, good, change)


def _h5(path, good, change):
    path = path.with_suffix(".weights.h5")
    path.write_bytes(_parts(good)["model.weights.h5"])
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
        change(file, names[0])
    return path


@maker("contains NaN or infinity")
def h5_of_infinity(path, good, canary):
    def change(file, name):
        file[name][...] = np.inf

    return _h5(path, good, change)


@maker("is a link; expected an array")
def h5_with_a_link(path, good, canary):
    def change(file, name):
        file["more"] = h5py.ExternalLink("/etc/passwd", "/x")

    return _h5(path, good, change)


@maker("cannot be read as .npz")
def npz_of_pickles(path, good, canary):
    path = path.with_suffix(".npz")
    np.savez(path, weights=np.array([Touch(canary)], dtype=object))
    return path


@maker("cannot be read as .npz")
def pickle_named_npz(path, good, canary):
    path = path.with_suffix(".npz")
    path.write_bytes(pickle.dumps(Touch(canary)))
    return path


@maker("refused as a bomb")
def npz_bomb(path, good, canary):
    path = path.with_suffix(".npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(80 << 20))
    return path


@maker("cannot be read as .npz")
def npz_of_terabytes(path, good, canary):
    content = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**7)}
    np.lib.format.write_array_header_1_0(content, header)
    path = path.with_suffix(".npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content.getvalue())
    return path


@maker("contains NaN, infinity or no numbers")
def npz_of_nan(path, good, canary):
    path = path.with_suffix(".npz")
    np.savez(path, weights=np.array([np.nan]))
    return path
