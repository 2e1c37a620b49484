"""`kpipe export` writes other formats that answer as the trained model did, and nothing else."""

import datetime
import functools
import importlib.util
import json
import math
import pathlib
import re
import shutil
import sys
import types

import keras
import mixed
import numpy as np
import own_files
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import kpipe
from kpipe import cli, data, formats, verifying
from kpipe.errors import RunError, UserError
from kpipe.formats import converting, proving, to_litert, to_onnx
from kpipe.formats.again import find_change
from kpipe.formats.cases import Array, Replay
from kpipe.formats.rewriting import without_signs_of_zero
from kpipe.formats.source import Endpoint, Source, open_source
from kpipe.formats.words import portable
from kpipe.inputs.encoding import from_json
from kpipe.inputs.texts import odd_texts
from kpipe.inputs.tokens import RULES
from kpipe.manifest import describe, seal

INSTALLED = {
    name: all(importlib.util.find_spec(package) for package in packages)
    for name, (_, packages) in formats.FORMATS.items()
}


def needs(format):
    return pytest.mark.skipif(not INSTALLED[format], reason=f"the extra {format} is missing")


EVERY = [pytest.param(name, marks=needs(name)) for name in formats.FORMATS]


@pytest.fixture(autouse=True)
def not_timed(request, monkeypatch):
    """Leaves out the measurement of time, which starts TensorFlow in another process."""
    if "slow" not in request.keywords:
        times = {"endpoint": "serving_default", "threads": 1, "milliseconds": {"1": [0.5, 0.25]}}
        monkeypatch.setattr(converting, "time_both", lambda *_: times)


@pytest.fixture(scope="module")
def converted(finished_run, tmp_path_factory):
    """Converts the same run once to each format."""
    out = tmp_path_factory.mktemp("exports")
    return functools.cache(
        lambda format, quantize=None: kpipe.convert(
            finished_run.folder, format, quantize=quantize, out=out
        )
    )


@pytest.mark.parametrize("format", EVERY)
def test_a_converted_model_answers_as_the_trained_one_did(format, converted, finished_run):
    result = converted(format)
    proof = result.content["proof"]
    assert proof["max_difference"] < 1e-5 and proof["batches"] == [1, 7, 64]
    assert proof["test_examples"] == len(finished_run.predictions["label"])
    compared = {f"serving_default.{name}" for name in ("calibrated", "prediction_set")}
    compared |= {"serving_default.probabilities"}
    on_test = {f"{name} on the test split" for name in compared}
    assert set(proof["differences"]) == compared | on_test
    quality = result.content["quality"]
    assert quality["before"] == finished_run.metrics["accuracy"]
    assert quality["changed"] == 0 and quality["difference"]["value"] == 0
    sizes = [path.stat().st_size for path in result.folder.glob("model.*")]
    assert result.content["bytes"] == sum(sizes)


@pytest.mark.parametrize("format", EVERY)
def test_the_readme_of_a_converted_model_runs(format, converted, tmp_path, monkeypatch, capsys):
    folder = converted(format).folder
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(code, {})
    names = (folder / "labels.txt").read_text()
    assert capsys.readouterr().out.strip() in names.split("\n")[:-1]
    line = next(line for line in code.split("\n") if line.startswith("labels = "))
    (tmp_path / "labels.txt").write_text("a\N{LINE SEPARATOR}b\x0c\x85\nc\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = {"pathlib": pathlib}
    exec(line, found)
    assert found["labels"][:2] == ["a\N{LINE SEPARATOR}b\x0c\x85", "c"]


@pytest.mark.parametrize("format", EVERY[:2])
def test_int8_is_smaller_and_says_what_it_loses(format, converted):
    result, whole = converted(format, "int8"), converted(format)
    assert result.content["bytes"] < 0.5 * whole.content["bytes"]
    assert result.content["calibration"] == {"split": "val", "examples": 144, "seed": 0}
    quality = result.content["quality"]
    lost = quality["after"]["value"] - quality["before"]["value"]
    assert quality["difference"]["value"] == pytest.approx(lost)
    assert abs(lost) < 0.03
    assert result.content["proof"]["tolerance"] is None
    assert f"{100 * lost:+.2f} points [" in repr(result)
    inputs = result.content["endpoints"]["serving_default"]["inputs"]
    assert inputs["images"]["dtype"] == "uint8"


# --- what is found ----------------------------------------------------------------------------


def change_a_weight(folder, finished_run, amount=0.05):
    """Adds to a bias, which is stored in the same bytes in every format."""
    bias = finished_run.model.weights[-1]
    assert bias.shape == (10,)
    before = np.array(bias)
    after = before.copy()
    after[3] += amount
    found = 0
    for path in folder.glob("model.*"):
        content = path.read_bytes()
        found += content.count(before.tobytes())
        path.write_bytes(content.replace(before.tobytes(), after.tobytes()))
    assert found


@pytest.mark.parametrize("format", EVERY)
def test_a_changed_weight_is_found(format, converted, finished_run, tmp_path):
    folder = pathlib.Path(shutil.copytree(converted(format).folder, tmp_path / format))
    assert find_change(finished_run.folder, folder, trust=False)[1] is False
    change_a_weight(folder, finished_run)
    said, problem = find_change(finished_run.folder, folder, trust=False)
    assert problem and "damaged or changed" in said
    manifest = seal(describe(folder, folder.rglob("*")))
    (folder / "manifest.json").write_bytes(manifest)  # whoever changes a file can do that
    said, problem = find_change(finished_run.folder, folder, trust=False)
    assert problem and "serving_default.probabilities" in said


@needs("onnx")
def test_what_differs_is_not_written(finished_run, tmp_path, monkeypatch):
    write = to_onnx.write

    def changed(source, folder, calibration):
        models = write(source, folder, calibration)
        change_a_weight(folder, finished_run, 1e-2)
        return models

    monkeypatch.setattr(to_onnx, "write", changed)
    with pytest.raises(RunError, match=r"serving_default\.\w+.* differs by .*nothing is written"):
        kpipe.convert(finished_run.folder, "onnx", out=tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@needs("onnx")
def test_verify_verifies_converted_models_too(finished_run, converted, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "prove", lambda folder, test: proof)
    proof = {"passed": True, "max_difference": 0.0, "tolerance": 1e-5, "test_examples": 1}
    # An example of a docstring converts the run of all tests.
    others = shutil.ignore_patterns("exports")
    run = pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "run", ignore=others))
    shutil.copytree(converted("onnx").folder, run / "exports" / "onnx")
    result = kpipe.verify(run)
    assert result.passed
    assert any(line.startswith("exports/onnx: answers as the trained") for line in result.lines)
    (run / "exports" / "onnx" / "labels.txt").write_text("zero\n")
    result = kpipe.verify(run)
    assert not result.passed and "labels.txt is damaged" in result.problems[0]


def test_the_version_is_converted_that_the_golden_cases_belong_to(finished_run, tmp_path):
    run = pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
    shutil.copytree(run / "serving/1", run / "serving/2")
    assert open_source(run).model.folder == run / "serving/1"


# --- what exists ------------------------------------------------------------------------------


@needs("onnx")
def test_the_same_export_is_not_written_again_and_another_one_not_over_it(
    finished_run, converted, tmp_path, capsys
):
    folder = pathlib.Path(shutil.copytree(converted("onnx").folder, tmp_path / "onnx"))
    written = (folder / "model.onnx").stat().st_mtime_ns
    result = kpipe.convert(finished_run.folder, "onnx", out=tmp_path)
    assert "exists already, of the same SavedModel" in capsys.readouterr().out
    assert result.content == converted("onnx").content
    assert (folder / "model.onnx").stat().st_mtime_ns == written
    content = json.loads((folder / "export.json").read_text()) | {"source_sha256": "other"}
    del content["checksum"]
    (folder / "export.json").write_bytes(seal(content))
    with pytest.raises(UserError, match="damaged or changed"):
        kpipe.convert(finished_run.folder, "onnx", out=tmp_path)
    (folder / "manifest.json").write_bytes(seal(describe(folder, folder.rglob("*"))))
    with pytest.raises(UserError, match="from another SavedModel; --fresh replaces it"):
        kpipe.convert(finished_run.folder, "onnx", out=tmp_path)
    kpipe.convert(finished_run.folder, "onnx", out=tmp_path, fresh=True)
    assert json.loads((folder / "export.json").read_text())["source_sha256"] != "other"


def test_a_folder_of_somebody_else_is_not_replaced(finished_run, tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(UserError, match=r"not an export|needs onnx"):
            kpipe.convert(finished_run.folder, "onnx", out=tmp_path, fresh=fresh)
    assert (tmp_path / "onnx" / "mine.txt").read_text() == "mine"


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--format", "tflite"], "did you mean 'litert'?|known: litert, onnx, openvino"),
        (["x", "--format", "onnx", "--quantize", "int4"], "no quantization 'int4'; did you mean"),
        (["x", "--format", "openvino", "--quantize", "int8"], "NNCF"),
        (["x"], "no format; expected --format litert, onnx, openvino"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, said, capsys):
    assert cli.main(["export", *arguments]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_missing_package_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'ONNX needs onnx, .*pip install -e "\.\[onnx\]"'):
        kpipe.convert("nowhere", "onnx")


def source_of(function, spec, run, kind):
    concrete = tf.function(function, autograph=False).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    endpoint = Endpoint("serving_tokens", {"tokens": spec}, ("value",), frozen)
    return Source(run, types.SimpleNamespace(), (endpoint,), kind)


def test_loops_over_texts_are_refused_for_litert_and_texts_for_int8(finished_run):
    def total(tokens):
        steps = tf.TensorArray(tf.float32, tf.shape(tokens)[1], element_shape=())
        condition = lambda i, _: i < tf.shape(tokens)[1]  # noqa: E731
        body = lambda i, steps: (i + 1, steps.write(i, tf.cast(tokens[0, i], tf.float32)))  # noqa: E731
        return {"value": tf.while_loop(condition, body, (0, steps))[1].stack()}

    spec = tf.TensorSpec((None, None), tf.int32, "tokens")
    source = source_of(total, spec, finished_run, "texts")
    with pytest.raises(UserError, match="recurrent layers are loops"):
        converting._refuse(source, "litert", None)
    with pytest.raises(UserError, match="texts have any length"):
        converting._refuse(source, "onnx", "int8")
    converting._refuse(source, "onnx", None)
    table = Source(finished_run, source.model, (), "encoded table")
    with pytest.raises(UserError, match="one scale for all columns"):
        to_litert.refuse(table, "int8")


def test_argmax_of_keras_is_converted_without_the_bit_of_the_sign():
    spec = tf.TensorSpec((None, 3), tf.float32, "x")
    call = tf.function(lambda x: keras.ops.argmax(x, axis=1), autograph=False)
    frozen = convert_variables_to_constants_v2(call.get_concrete_function(spec))
    rewritten = without_signs_of_zero(frozen)
    before, after = ({node.type for node in f.graph.get_operations()} for f in (frozen, rewritten))
    assert {"Bitcast", "BitwiseAnd"} <= before and not {"Bitcast", "BitwiseAnd"} & after
    given = tf.constant([[0.0, -1.0, 2.0], [-3.0, -1.0, -2.0], [0.0, 0.0, -0.0]])
    assert rewritten(given)[0].numpy().tolist() == [2, 1, 0]
    assert without_signs_of_zero(rewritten) is rewritten  # nothing to do


def test_a_converter_that_fails_says_so_in_one_line(finished_run, tmp_path, monkeypatch, capfd):
    def fail(source, folder, calibration):
        raise ValueError("<unknown>:0: error: loc(a): 'tf.Foo' op is not supported\nmore\nlines")

    monkeypatch.setattr(to_litert, "write", fail)
    monkeypatch.setattr(converting, "require", lambda *_: None)
    with pytest.raises(RunError) as error:
        kpipe.convert(finished_run.folder, "litert", out=tmp_path)
    assert str(error.value).endswith("cannot be converted to LiteRT: 'tf.Foo' op is not supported")


def test_only_texts_are_cut_to_the_longest_of_a_batch(monkeypatch):
    for name in ("keras", "kpipe"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # undoes the script's blocking
    spec = importlib.util.spec_from_file_location("running", proving.RUNNING)
    running = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(running)
    values = np.array([[3, 1, 0, 0], [2, 0, 0, 0]], np.int32)
    assert running._batch(values, "serving_tokens").tolist() == [[3, 1], [2, 0]]
    assert running._batch(values * 0, "serving_tokens").shape == (2, 1)
    np.testing.assert_array_equal(running._batch(values, "serving_default"), values)


def test_a_run_whose_path_tensorflow_takes_for_a_pattern_is_timed(tmp_path, monkeypatch):
    folder = tmp_path / "a[1]\\b"
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    given = {"features": Array(np.zeros((64, 2), np.float32))}
    endpoint = types.SimpleNamespace(name="serving_default")
    source = types.SimpleNamespace(model=types.SimpleNamespace(folder=folder), endpoints=[endpoint])

    def call(place, job):
        assert not set("[\\") & set(job["saved_model"])
        assert pathlib.Path(job["saved_model"], "saved_model.pb").is_file()
        return '{"1": [1.0, 2.0]}'

    monkeypatch.setattr(proving, "_call", call)
    converted = proving.Converted("onnx", tmp_path, {"serving_default": "model.onnx"}, {})
    replay = Replay("serving_default", given, [], (64,))
    found = proving.time_both(source, converted, [replay])
    assert found["milliseconds"] == {"1": [1.0, 2.0]}


# --- what is measured -------------------------------------------------------------------------


def test_changes_of_accuracy_are_paired_and_counted():
    labels = np.array([0, 1, 1, 0, 1])
    before = np.eye(2, dtype=np.float32)[[0, 1, 1, 1, 0]]  # 3 of 5 right
    after = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]]  # 2 of 5 right, one answer changed
    run = types.SimpleNamespace(
        predictions={"label": labels, "probabilities": before},
        headline="accuracy",
        label_names=("a", "b"),
    )
    found = proving.compare(run, {"probabilities": after})
    assert found["before"]["value"] == 0.6 and found["after"]["value"] == 0.4
    assert found["difference"]["value"] == pytest.approx(-0.2)
    assert found["difference"]["low"] == pytest.approx(-0.2)  # the one that differs can be no more
    assert found["changed"] == pytest.approx(0.2)


def test_an_image_is_measured_by_its_squared_error():
    run = types.SimpleNamespace(
        predictions={"squared_error": np.array([0.1, 0.01]), "label": np.zeros(2)},
        headline="psnr",
        label_names=(),
    )
    found = proving.compare(run, {"reconstruction": np.array([0.1, 0.001])})
    assert found["before"]["value"] == pytest.approx(15.0)
    assert found["after"]["value"] == pytest.approx(20.0)


def test_what_cannot_be_compared_differs():
    values = np.array([1.0, np.nan])
    everything = slice(None)
    assert proving.relative_difference(values, np.ones(2), everything) == 1
    assert proving.relative_difference(np.ones(2), np.ones((2, 1)), everything) == 1
    assert proving.relative_difference(np.array([False]), np.array([True]), everything) == 1
    near = proving.relative_difference(np.array([2.0, 100.0]), np.array([2.5, 100.0]), everything)
    assert near == pytest.approx(0.005)


# --- tables -----------------------------------------------------------------------------------


def encode_by_hand(content, row):
    """Encodes a row by encoding.json, in Python alone."""
    columns = {column["name"]: column for column in content["columns"]}
    encoded = []
    for name, part in content["values"]:
        column, given = columns[name], row[name]
        missing = given in (None, "") or given != given
        date = (
            datetime.datetime.fromisoformat(given) if column["kind"] == "date" and given else None
        )
        if part == "value":
            number = column["median"] if missing else given
            if column["kind"] == "date":
                number = 0.0
                if date:
                    number = ((date - EPOCH).total_seconds() - column["median"]) / 86_400
            value = (number - column["mean"]) / column["deviation"]
            encoded.append(max(-content["limit"], min(content["limit"], value)))
        elif part == "missing":
            encoded.append(float(missing))
        elif part == "id":
            known = column["vocabulary"]
            encoded.append(0 if missing else known.index(given) + 2 if given in known else 1)
        else:
            encoded.append(cycle(date, int(part.split()[1])) if date else 0.0)
    return encoded


EPOCH = datetime.datetime(1970, 1, 1)


def cycle(date, number):
    """Sine or cosine of the share that has passed of the year, of the week or of the day."""
    day = datetime.datetime(date.year, date.month, date.day)
    starts = (datetime.datetime(date.year, 1, 1), day - datetime.timedelta(date.weekday()), day)
    next_year = datetime.datetime(date.year + 1, 1, 1)
    lengths = (next_year - starts[0], datetime.timedelta(7), datetime.timedelta(1))
    passed = (date - starts[number // 2]) / lengths[number // 2]
    return (math.sin, math.cos)[number % 2](2 * math.pi * passed)


def test_rows_can_be_encoded_by_encoding_json_alone():
    dataset = mixed.dataset()
    prepared = data.prepare(dataset, dataset.find())
    column = prepared.test.column
    lines = prepared.input.assets["encoding.json"]
    content = json.loads("\n".join(lines))
    raw = column.table.take(np.arange(40))
    numbers, words = iter(raw.numbers.T), iter(raw.words)
    given = [
        [float(x) for x in next(numbers)]
        if c.is_number
        else [bytes(w).decode() for w in next(words)]
        for c in mixed.COLUMNS
    ]
    names = [c.name for c in mixed.COLUMNS]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*given, strict=True)]
    encoded = np.array([encode_by_hand(content, row) for row in rows])
    np.testing.assert_allclose(encoded, column.values, atol=2e-5)
    columns, fit = from_json(lines)
    assert columns == mixed.COLUMNS and fit == prepared.input.fit


def test_the_rules_of_texts_are_the_same_with_explicit_classes():
    texts = [
        *odd_texts(["see www.x.org/a_b at 5\N{DEGREE SIGN} &amp; @me_2: 'tis \N{BULLET}"]),
        b"a\x0bb",
    ]
    texts = tf.strings.lower(
        tf.constant([text.replace(b"\xff\xfe", b"") for text in texts]), "utf-8"
    )
    expected = texts
    for pattern, replacement in RULES:
        explicit = portable(pattern)
        assert not re.search(r"\\[sSw]", explicit)
        texts = tf.strings.regex_replace(texts, explicit, replacement)
        expected = tf.strings.regex_replace(expected, pattern, replacement)
    assert texts.numpy().tolist() == expected.numpy().tolist()


# --- other inputs -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("format", EVERY)
@pytest.mark.parametrize("kind", ["table", "numbers", "texts", "loops", "autoencoder", "several"])
def test_every_kind_of_input_is_converted_or_refused(kind, format, runs):
    try:
        content = kpipe.convert(runs(kind).folder, format).content
    except UserError as error:
        assert (kind, format) == ("loops", "litert") and "recurrent layers" in str(error)
        return
    assert content["proof"]["max_difference"] < 1e-5 and content["proof"]["test_examples"]
    assert (kind, format) != ("loops", "litert")
    assert all(min(times) > 0 for times in content["speed"]["milliseconds"].values())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Small runs, each trained once."""
    out = tmp_path_factory.mktemp("runs")
    own_files.write_all(out / "own")
    few = {"out": out, "data": "sample", "epochs": 1}
    houses = own_files.houses()
    known = {
        "table": lambda: kpipe.run(out / "own/houses.csv", target="price", out=out, epochs=1),
        "numbers": lambda: kpipe.run(houses[["area", "price"]], target="price", out=out, epochs=1),
        "texts": lambda: kpipe.run("emotion_rnn", architecture="transformer", **few),
        "loops": lambda: kpipe.run("emotion_rnn", **few),
        "autoencoder": lambda: kpipe.run("mnist_joint_vae", **few),
        "several": lambda: kpipe.run("celeba_attributes", **few),
    }
    return functools.cache(lambda kind: known[kind]())
