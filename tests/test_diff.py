"""What differs first between two runs is said first, and what cannot be compared is said."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import kpipe
from kpipe import cli, diffing, files
from kpipe.errors import UserError
from kpipe.export import write_npz
from kpipe.records import read_history
from kpipe.training import History

HERE = pathlib.Path(__file__).parent
RUN = HERE / "format_3/vectors"


@pytest.fixture
def pair(tmp_path):
    """A run, and a function that copies it with changes."""

    def change(record=None, history=None, weights=None, predictions=None, metrics=None):
        copy = shutil.copytree(RUN, tmp_path / "b")
        content = files.read_json(copy / "run.json")
        for path, value in (record or {}).items():
            part, _, key = path.rpartition(".")
            (content[part] if part else content)[key] = value
        if weights:
            content["weights_sha256"] = weights
        arrays = {**np.load(copy / "predictions.npz"), **(predictions or {})}
        write_npz(copy / "predictions.npz", **arrays | {"weights_sha256": weights or WEIGHTS})
        files.write_json(copy / "run.json", content)
        scores = files.read_json(copy / "metrics.json") | (metrics or {})
        files.write_json(copy / "metrics.json", scores)
        if history:
            epoch, column, factor = history
            columns = read_history(copy / "history.csv")
            columns[column][epoch - 1] *= factor
            rows = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            (copy / "history.csv").write_text(History(rows).to_csv())
        files.write_manifest(copy, copy.rglob("*"))
        return copy

    return change


WEIGHTS = json.loads((RUN / "run.json").read_text())["weights_sha256"]
OTHER = "0" * 64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "equal to the bit: same weights"),
        # What an older kpipe did not know, or a newer one adds.
        (
            {"record": {"machine.intra_op_threads": 0, "machine.deterministic_ops": True}},
            "equal to the bit: same weights",
        ),
        (
            {
                "record": {"hyperparameters.learning_rate": 0.03, "seed": 1},
                "history": (1, "loss", 2),
            }
            | {"weights": OTHER},
            "first difference: learning_rate 0.02, 0.03; the curves part at epoch 1, other weights",
        ),
        (
            {"record": {"machine.intra_op_threads": 4}, "history": (3, "val_loss", 1 + 1e-7)}
            | {"weights": OTHER},
            "same settings, data and versions; intra_op_threads differ (2, 4): the curves part at "
            "epoch 3 by 1e-07 (rounding), other weights",
        ),
        (
            {"record": {"versions.keras": "9.9", "code_sha256": OTHER}, "weights": OTHER},
            "first difference: the code was edited; the curves are equal, other weights",
        ),
        (
            {"record": {"versions.keras": "9.9"}},
            "equal to the bit: same weights, although keras differ (3.15.1, 9.9)",
        ),
        (
            {"record": {"data.fingerprint": OTHER, "machine.gpus": ["GPU:0"]}},
            "first difference: fingerprint 0eeba28b84b1, 000000000000; the curves are equal, the "
            "same weights",
        ),
        (
            {"record": {"shards": 2}, "weights": OTHER},
            "first difference: shards 0, 2; the curves are equal, other weights",
        ),
        (
            {"weights": OTHER},
            "same settings, data, versions and machine; the curves are equal, other weights",
        ),
    ],
)
def test_the_first_line_says_what_differs_first(changes, said, pair):
    result = kpipe.diff(RUN, pair(**changes))
    assert repr(result).split("\n")[0] == result.verdict == said
    assert result.equal == said.startswith("equal")


def test_each_line_says_both_values_and_what_they_can_change(pair):
    arrays = {**np.load(RUN / "predictions.npz")}
    arrays["probabilities"] = arrays["probabilities"][:, ::-1]
    record = {"machine.cpus": 64, "callbacks": [], "plan": "fused:8", "trainer.patience": 3}
    accuracy = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 4}
    other = pair(record, (2, "loss", 1.5), OTHER, arrays, {"accuracy": accuracy})
    text = repr(kpipe.diff(RUN, other))
    for line in (
        "patience 0, 3",
        "plan graph, fused:8",
        "callbacks: recorded of one only, not compared",
        "cpus 2, 64: can change times only",
        "20 epochs; best 20; ended by epochs",
        " (33 %)",  # of loss
        "accuracy 100.00 % [51.01, 100.00], 50.00 % [40.00, 60.00]",
        "4 of 4 classes differ; largest difference of a probability ",
        "proof       verified",
    ):
        assert line in text, text


@pytest.mark.parametrize("name", ["format_1/texts", "format_1/reconstruction", "format_2/vectors"])
def test_runs_of_every_format_can_be_compared(name, tmp_path):
    assert kpipe.diff(HERE / name, shutil.copytree(HERE / name, tmp_path / "b")).equal
    assert kpipe.diff(HERE / name, RUN).equal == (name == "format_2/vectors")


def test_an_unfinished_run_is_compared_up_to_its_last_epoch(pair, capsys):
    begun = pair({"status": "unfinished"})
    (begun / "manifest.json").unlink()
    said = "same settings, data, versions and machine; the curves are equal; not finished: "
    result = kpipe.diff(RUN, begun)
    assert result.verdict == f"{said}{begun}" and "metrics" not in repr(result)
    lines = (begun / "history.csv").read_text().splitlines(keepends=True)
    (begun / "history.csv").write_text("".join(lines[:4]))
    assert "the curves agree to epoch 3" in kpipe.diff(RUN, begun).verdict
    (begun / "history.csv").unlink()
    assert "no epochs to compare" in kpipe.diff(RUN, begun).verdict and not result.equal


def test_the_exit_code_is_that_of_diff(pair, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("kpipe.commands.diff.start", lambda verbose: None)

    def exit_code(*folders):
        return cli.main(["diff", *map(str, folders)])

    other = pair(weights=OTHER)
    assert exit_code(RUN, shutil.copytree(RUN, tmp_path / "same")) == 0
    assert exit_code(RUN, other) == 1 and "weights     differ" in capsys.readouterr().out
    (tmp_path / "link").symlink_to(other)
    (other / "history.csv").write_text("epoch,loss\n1,0.5\n")
    for folders, said in (
        ((RUN, other), "history.csv is damaged or changed"),
        ((other, tmp_path / "link"), "history.csv is damaged or changed"),
        ((RUN, RUN), "are the same folder; expected two runs"),
        ((RUN, tmp_path), "not the folder of a run"),
        ((RUN, tmp_path / "none"), "no such folder"),
        ((RUN,), "1 folder; expected two"),
    ):
        assert exit_code(*folders) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_a_value_that_is_not_a_number_is_equal_to_itself():
    history = {"epoch": [1, 2], "seconds": [1.0, 2.0], "loss": [float("nan"), 1.0]}
    assert diffing.find_parting(history, {**history, "seconds": [9.0, 9.0]}) is None
    other = {**history, "loss": [float("nan"), float("inf")]}
    assert diffing.find_parting(history, other) == (2, "loss", 1.0, float("inf"))


def test_a_folder_that_is_no_run_is_named():
    with pytest.raises(UserError, match="format_3: not the folder of a run"):
        kpipe.diff(RUN, HERE / "format_3")
