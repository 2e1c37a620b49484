"""The record of a run: what is written is read again, and what is damaged is named in one line."""

import copy
import json

import pytest

from kpipe.errors import UserError
from kpipe.records import (
    FORMAT_VERSION,
    DataRecord,
    LayerRecord,
    ModelRecord,
    ProofRecord,
    Record,
    TargetRecord,
    TrainingRecord,
    describe_difference,
    read_record,
)


def full_record():
    """A record with a value in every field."""
    return Record(
        pipeline="mnist_mlp",
        task="classification",
        title="Digits.",
        command="kpipe run mnist_mlp",
        status="finished",
        headline="accuracy",
        overrides={"epochs": 3, "l2": 1e-4, "activation": "tanh", "flip": True},
        hyperparameters={"learning_rate": 0.003, "units_1": 64},
        trainer={"epochs": 3, "patience": 0},
        seed=7,
        plan="fused:8",
        budget=90.0,
        code_sha256="ab" * 32,
        versions={"kpipe": "0.1.0"},
        machine={"cpus": 2, "gpus": [], "onednn": True},
        data=DataRecord(
            name="mnist",
            kind="sample",
            official=False,
            description="digits",
            label_names=("0", "ä <b>"),
            get_real="kpipe run mnist_mlp --data real",
            examples={"train": 1293, "val": 144, "test": 360},
            fingerprint="cd" * 32,
            test_openings=1,
            duplicates=0,
            usage="IMAGE ...",
            about={"vocabulary": 500, "cut_texts": 0.1},
        ),
        target=TargetRecord(
            metric="accuracy", at_least=0.98, source="a paper", value=0.5, low=0.4, high=0.6
        ),
        proof=ProofRecord(
            passed=True,
            max_difference=2.4e-07,
            differences={"serving_default": 2.4e-07},
            compared=["8 encoded files"],
            batches=[1, 7, 64],
            test_examples=360,
            undecided=1,
            seconds=1.5,
        ),
        model=ModelRecord(
            name="mlp",
            parameters=10,
            trainable_parameters=8,
            layers=[LayerRecord(name="a", type="Dense", output_shape=[None, 3], parameters=8)],
        ),
        training=TrainingRecord(epochs=3, best_epoch=2, steps=63, stopped_by="epochs"),
        weights_sha256="ef" * 32,
        times={"data": 0.5, "train": 2.0},
        finished="2026-11-25T14:03:00+00:00",
        details={"latents": {"continuous": 4, "discrete": [3]}, "likelihood_samples": 0},
    )


# As kpipe wrote it before records had types.
FORMAT_1 = {
    "format_version": 1,
    "pipeline": "celeba_attributes",
    "task": "multi-label classification",
    "title": "Forty attributes.",
    "command": "python pipelines/run.py celeba_attributes",
    "status": "finished",
    "overrides": {"epochs": 1},
    "hyperparameters": {"filters": 8},
    "trainer": {"epochs": 1},
    "seed": 0,
    "plan": "graph",
    "budget": None,
    "code_sha256": "00",
    "versions": {"kpipe": "0.1.0"},
    "machine": {"cpus": 2},
    "data": {
        "name": "celeb_a",
        "kind": "sample",
        "official": False,
        "description": "faces",
        "label_names": ["Male", "Young"],
        "get_real": "python pipelines/run.py celeba_attributes --data real",
        "examples": {"train": 3000, "val": 1000, "test": 2000},
        "fingerprint": "11",
        "test_openings": 2,
        "duplicates": 0,
    },
    "target": None,
    "proof": {
        "passed": True,
        "max_difference": 1e-7,
        "tolerance": 1e-05,
        "labels_agree": True,
        "batches": [1, 7, 64],
        "encoded_files": 8,
        "texts": 0,
        "test_correct": 70000,
        "expected_correct": 70000,
        "test_examples": 2000,
        "seconds": 4.2,
    },
    "model": {
        "name": "cnn",
        "parameters": 12,
        "trainable_parameters": 12,
        "layers": [
            {
                "name": "conv",
                "type": "Conv2D",
                "output_shape": [None, 8, 8, 4],
                "parameters": 12,
                "formula": "3 × 4",
            }
        ],
    },
    "training": {"epochs": 1, "best_epoch": 1, "steps": 94, "stopped_by": "epochs"},
    "weights_sha256": "22",
    "times": {"data": 1.0, "evaluate": 2, "train": 3.0},
    "latents": {"continuous": 2, "discrete": [], "has_prior": True},
}


def test_what_is_written_is_read_again():
    record = full_record()
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert Record.from_json(written) == record
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(written).to_json() == record.to_json()


def test_what_inputs_and_tasks_record_lies_beside_the_other_fields():
    written = full_record().to_json()
    assert written["format_version"] == FORMAT_VERSION == 4
    assert written["data"]["vocabulary"] == 500 and "about" not in written["data"]
    assert written["latents"]["continuous"] == 4 and "details" not in written
    assert "about" not in Record(pipeline="a").to_json()["data"]


def test_what_is_not_known_yet_has_a_default():
    record = Record.from_json({"pipeline": "mnist_mlp"})
    assert record == Record(pipeline="mnist_mlp")
    assert record.status == "unfinished" and record.target is None and record.data.examples == {}
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_record_of_format_1_is_read():
    record = Record.from_json(FORMAT_1)
    assert record.format_version == 1 and record.data.label_names == ("Male", "Young")
    assert record.data.examples["test"] == 2000 and record.data.about == {}
    assert record.proof.passed and record.proof.max_difference == 1e-7
    assert record.proof.test_examples == 2000 and record.proof.differences == {}
    assert record.model.layers[0].formula == "3 × 4"
    assert record.training.best_epoch == 1 and record.training.retrained_epochs is None
    assert record.times == {"data": 1.0, "evaluate": 2.0, "train": 3.0}
    assert record.details == {"latents": {"continuous": 2, "discrete": [], "has_prior": True}}
    assert record.finished is None and record.headline == ""
    # Written again it says no more and no less.
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record and again.format_version == 1


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99])
def test_a_newer_record_is_refused_whatever_else_it_contains(version):
    with pytest.raises(UserError, match=rf"^a/run\.json: .*newer kpipe \(format {version}.*update"):
        Record.from_json({"format_version": version, "pipeline": 5}, "a/run.json")


def changed(path, value):
    """The JSON of a full record with another value at a path such as "data.examples.train"."""
    content = json.loads(json.dumps(full_record().to_json()))
    *parents, last = path.split(".")
    place = content
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    last = int(last) if isinstance(place, list) else last
    if value is Ellipsis:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize("content", [[], [1], None, 7, "run", True])
def test_what_is_no_object_is_refused(content):
    with pytest.raises(UserError, match=r"^a/run\.json: not the record of a run \(\w+ instead of"):
        Record.from_json(content, "a/run.json")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("pipeline", ..., "pipeline is missing"),
        ("pipeline", None, "pipeline: NoneType instead of str"),
        ("format_version", "2", "format_version: str instead of int"),
        ("seed", "0", "seed: str instead of int"),
        ("seed", 1.5, "seed: float instead of int"),
        ("seed", True, "seed: true or false instead of int"),
        ("budget", "1h", "budget: str instead of float"),
        ("overrides", [], "overrides: list instead of dict"),
        ("trainer", None, "trainer: NoneType instead of dict"),
        ("versions.kpipe", 1, "versions: int instead of str"),
        ("times.data", "1 s", "times: str instead of float"),
        ("data", None, "data: NoneType instead of an object"),
        ("data.official", "no", "data: official: str instead of bool"),
        ("data.label_names", "01", "data: label_names: str instead of tuple"),
        ("data.label_names", [0, 1], "data: label_names: int instead of str"),
        ("data.examples.train", "many", "data: examples: str instead of int"),
        ("target.metric", ..., "target: metric is missing"),
        ("target", [], "target: list instead of an object"),
        ("proof.passed", 1, "proof: passed: int instead of bool"),
        ("proof.max_difference", None, "proof: max_difference: NoneType instead of float"),
        ("proof.max_difference", False, "proof: max_difference: bool instead of float"),
        ("proof.batches", {"1": 1}, "proof: batches: dict instead of list"),
        ("model.layers.0.name", ..., "model: layers: name is missing"),
        ("model.layers.0", "Dense", "model: layers: str instead of an object"),
        ("training.best_epoch", ..., "training: best_epoch is missing"),
        ("weights_sha256", 3, "weights_sha256: int instead of str"),
    ],
)
def test_damage_is_named_with_file_and_key_in_one_line(path, value, said):
    with pytest.raises(UserError) as caught:
        Record.from_json(changed(path, value), "a/run.json")
    assert (
        str(caught.value) == f"a/run.json: not the record of a run ({said}); run again with --fresh"
    )


def test_whatever_stands_in_place_of_a_value_is_read_or_is_one_line():
    """Every value of a record in turn, replaced by one of each kind."""

    def places(content, path=()):
        if path:
            yield path
        items = content.items() if isinstance(content, dict) else ()
        items = enumerate(content) if isinstance(content, list) else items
        for key, value in items:
            yield from places(value, (*path, key))

    original = json.loads(json.dumps(full_record().to_json()))
    tried = refused = 0
    for path in places(original):
        for value in (None, True, 2, 2.5, "x", [], ["x"], {}, {"x": 1}):
            content = copy.deepcopy(original)
            place = content
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            tried += 1
            try:
                record = Record.from_json(content)
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and str(path[0]) in str(error)
            else:
                assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert tried > 500 and refused > tried / 3


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[1, 2", b"{'a': 1}", b"null"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_record(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "--fresh" in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"run\.json: cannot be read .*No such file"):
        read_record(tmp_path / "run.json")


def test_a_difference_of_two_records_is_named_by_its_keys():
    first, second = Record(pipeline="a", seed=1), Record(pipeline="a", seed=2)
    assert describe_difference(first, second, "seed") == "1, now 2"
    first.trainer, second.trainer = {"epochs": 1, "x": 2}, {"epochs": 3, "x": 2}
    assert describe_difference(first, second, "trainer") == "epochs=1, now 3"
    first.code_sha256 = "1"
    assert describe_difference(first, second, "code_sha256") == "the code was edited"
