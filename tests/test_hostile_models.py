"""Models that want more than to compute are refused before anything of them runs."""

import itertools
import json
import pathlib
import re
import shutil
import time

import hostile
import hostile_keras
import hostile_parts
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

import kpipe
from kpipe import cli, files, models
from kpipe.errors import UserError
from kpipe.export import parts, scanning
from kpipe.export.operations import ALLOWED

HERE = pathlib.Path(__file__).parent
OLD_EXPORTS = sorted(HERE.glob("format_*/*/serving/1"))


@pytest.fixture(scope="module")
def export(finished_run):
    return finished_run.folder / "serving" / "1"


@pytest.fixture
def canary(tmp_path):
    """A file that nobody may write, alone in its folder."""
    (tmp_path / "canary").mkdir()
    return tmp_path / "canary" / "file"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good `.keras` file of a small network."""
    model = models.cnn((8, 8, 1), 3, filters=(4,))
    path = tmp_path_factory.mktemp("good") / "good.keras"
    model.save(path)
    return path


def operations():
    """What TensorFlow says of each of its operations."""
    content = op_def_pb2.OpList()
    content.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {operation.name: operation for operation in content.op}


def refusal(folder):
    with pytest.raises(UserError) as caught:
        kpipe.load(folder)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    return message


@pytest.mark.parametrize("name", hostile.EDITS)
def test_a_changed_export_is_refused(name, export, tmp_path, canary, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("loaded"))
    hostile.make_edited(name, export, tmp_path / "model", canary)
    assert re.search(hostile.EDITS[name][1], refusal(tmp_path / "model"))
    assert not list(canary.parent.iterdir())


def rewritten(export, folder):
    """The content of a copy of an export's graph, and a function that writes and scans another."""
    shutil.copytree(export, folder)
    path = folder / "saved_model.pb"

    def check(content):
        path.write_bytes(content.SerializeToString())
        scanning.check_graph(folder)

    return path.read_bytes(), check


def test_every_operation_that_touches_the_world_is_refused_wherever_it_is(export, tmp_path):
    good, check = rewritten(export, tmp_path / "model")
    for op, where in itertools.product(
        hostile.OPERATIONS, ("graph", "function", "function that nothing calls")
    ):
        content = saved_model_pb2.SavedModel.FromString(good)
        hostile.plant(content, op, where)
        with pytest.raises(UserError, match=f"operation '{op}' in node 'planted'"):
            check(content)


def test_every_attribute_that_no_export_has_is_refused_wherever_it_is(export, tmp_path):
    good, check = rewritten(export, tmp_path / "model")
    places = ("function", "argument", "node of a function", "node of the graph")
    for key, where in itertools.product(hostile_parts.ATTRIBUTES, places):
        content = saved_model_pb2.SavedModel.FromString(good)
        hostile_parts.plant_attribute(content, key, where)
        with pytest.raises(UserError, match=f"attribute '{key}' of (a function|node '.*')"):
            check(content)


def test_every_field_that_no_export_has_is_refused(export, tmp_path):
    good, check = rewritten(export, tmp_path / "model")
    fresh = saved_model_pb2.SavedModel.FromString
    unlisted = [
        (name, field)
        for name, message in hostile_parts.messages_of(fresh(good).meta_graphs[0]).items()
        for field in message.DESCRIPTOR.fields
        if field.name not in parts.FIELDS[name]
    ]
    for name, field in unlisted:
        content = fresh(good)
        hostile_parts.fill(hostile_parts.messages_of(content.meta_graphs[0])[name], field)
        with pytest.raises(UserError, match="refused"):
            check(content)
            pytest.fail(f"{name}.{field.name} passes")
    assert len(unlisted) >= 40


@pytest.mark.slow
def test_no_model_that_tensorflow_saved_runs(tmp_path, canary):
    refused = []
    for name, (_, expected) in hostile.TRACED.items():
        hostile.make_traced(name, tmp_path / name, canary)
        for left in canary.parent.iterdir():  # what tracing itself, or an asset, has written
            left.unlink()
        message = refusal(tmp_path / name)
        assert re.search(expected, message), (name, message)
        assert not list(canary.parent.iterdir()), name
        refused.append(name)
    count = len(refused) + len(hostile.EDITS) + len(hostile_keras.MAKERS)
    print(
        f"\nhostile models: {count} built ({len(hostile.EDITS)} changed exports, {len(refused)} "
        f"saved by TensorFlow, {len(hostile_keras.MAKERS)} Keras files), and "
        f"{3 * len(hostile.OPERATIONS)} planted operations and "
        f"{4 * len(hostile_parts.ATTRIBUTES)} planted attributes: all refused, 0 ran"
    )
    assert count >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["load_write_file", "load_print_to_file"])
def test_without_the_scan_these_models_do_what_they_threaten(name, tmp_path, canary):
    hostile.make_traced(name, tmp_path / "model", canary)
    for left in canary.parent.iterdir():
        left.unlink()
    kpipe.load(tmp_path / "model", trust=True)
    assert [path.name for path in canary.parent.iterdir()] == ["file"]


def test_a_planted_model_with_a_manifest_is_refused_on_the_command_line(
    finished_run, tmp_path, canary, capsys
):
    run = tmp_path / "run"
    shutil.copytree(finished_run.folder, run)
    shutil.rmtree(run / "serving")
    (run / "serving").mkdir()
    hostile.make_edited(
        "nested_call", finished_run.folder / "serving" / "1", run / "serving" / "1", canary
    )
    listed = json.loads((run / "manifest.json").read_text())["files"]
    for name in listed:
        if (run / name).is_file():
            size = (run / name).stat().st_size
            listed[name] |= {"sha256": files.sha256(run / name), "size": size}
    files.write_json(
        run / "manifest.json",
        {"files": {name: entry for name, entry in listed.items() if (run / name).is_file()}},
    )
    image = tmp_path / "x.png"
    image.write_bytes(tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy())
    assert cli.main(["predict", str(run), str(image)]) == 2
    error = capsys.readouterr().err
    assert "operation 'WriteFile'" in error and "--trust" in error and error.count("\n") == 1


def test_trust_loads_what_is_not_known_to_be_harmless(export, tmp_path, canary):
    """An operation that nothing calls does nothing."""
    hostile.make_edited("nested_call", export, tmp_path / "model", canary)
    content = saved_model_pb2.SavedModel()
    path = tmp_path / "model" / "saved_model.pb"
    shutil.copy(export / "saved_model.pb", path)
    content.ParseFromString(path.read_bytes())
    content.meta_graphs[0].collection_def["unknown"].node_list.value.append("x")
    path.write_bytes(content.SerializeToString())
    assert "collection 'unknown'" in refusal(path.parent)
    assert kpipe.load(path.parent, trust=True).label_names == tuple("0123456789")


@pytest.mark.parametrize("folder", OLD_EXPORTS, ids=lambda path: "/".join(path.parts[-4:-2]))
def test_exports_of_older_formats_pass(folder):
    scanning.check_graph(folder)


def test_a_model_with_a_gradient_of_its_own_and_with_xla_passes(tmp_path):
    """As with silu, which efficientnet_v2 backbones contain."""
    twice = tf.function(lambda x: 2 * x, jit_compile=True, autograph=False)
    module = tf.Module()
    module.serve = tf.function(lambda x: {"value": tf.nn.silu(twice(x))}, autograph=False)
    signature = module.serve.get_concrete_function(tf.TensorSpec((None,), tf.float32))
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    scanning.check_graph(tmp_path)


def test_an_own_export_passes_at_once(export):
    scanning.check_graph(export)
    started = time.process_time()
    scanning.check_graph(export)
    assert time.process_time() - started < 0.05


# Words in the names of operations, arguments and attributes that touch the world.
WORLD = """
File Path Prefix Directory Url Address Host Pattern Token Py Print Save Restore Write Reader
Dataset Iterator Summary Send Recv Remote Rpc Tpu TPU Xla Debug Dump Load Session Immutable Queue
Barrier Stage Collective Abort Export Import Server Device
""".split()
# Allowed all the same: they have such a word in their name and touch nothing.
REVIEWED = {
    "LookupTableImportV2": "fills a table from tensors",
    "RegexFullMatch": "pattern of a text",
    "RegexReplace": "pattern of a text",
    "StaticRegexFullMatch": "pattern of a text",
    "StaticRegexReplace": "pattern of a text",
    "VarHandleOp": "a name of the variable for people",
}


def test_no_allowed_operation_touches_the_world():
    known = operations()
    assert known.keys() >= ALLOWED
    suspects = set()
    for name in ALLOWED:
        operation = known[name]
        parts = [*operation.input_arg, *operation.output_arg, *operation.attr]
        names = [name, *("".join(map(str.title, part.name.split("_"))) for part in parts)]
        if any(word in one for one in names for word in WORLD):
            suspects.add(name)
    assert suspects == set(REVIEWED)
    assert not ALLOWED & set(hostile.OPERATIONS)


def test_every_allowed_operation_that_calls_functions_is_followed():
    known = operations()
    calls = {
        name
        for name in ALLOWED
        if any(attribute.type in ("func", "list(func)") for attribute in known[name].attr)
    }
    assert calls == scanning.CALLS


@pytest.mark.parametrize("name", hostile_keras.MAKERS)
def test_a_keras_file_is_refused(name, good, tmp_path, canary):
    make, expected = hostile_keras.MAKERS[name]
    path = make(tmp_path / "weights", good, canary)
    model = models.cnn((8, 8, 1), 3, filters=(4,))
    before = model.get_weights()
    with pytest.raises(ValueError, match=expected) as caught:
        models.load_backbone(model, path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert not list(canary.parent.iterdir())


def test_a_good_keras_file_is_loaded(good):
    model = models.cnn((8, 8, 1), 3, filters=(4,))
    models.load_backbone(model, good)
    expected = keras.models.load_model(good).get_layer("features").input
    assert expected.shape[1:] == model.get_layer("features").input.shape[1:]
