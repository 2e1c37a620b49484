"""The scoreboard: stored runs over their seeds."""

import json
import pathlib
import shutil

import pytest
from scipy import stats

from kpipe import cli
from kpipe.errors import UserError
from kpipe.experiments.scoreboard import scoreboard

# A finished run that an older kpipe wrote: nothing is trained here.
FINISHED = pathlib.Path(__file__).parent / "format_1" / "classification"


def store(out, name, accuracy, **fields):
    """Stores a copy of the finished run with another accuracy and other fields."""
    folder = out / name
    folder.mkdir(parents=True)
    for file in ("run.json", "metrics.json", "history.csv", "predictions.npz"):
        shutil.copy(FINISHED / file, folder / file)
    for file, content in (("run.json", fields), ("metrics.json", {"accuracy": accuracy})):
        old = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**old, **content}))


def of(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 100}


def test_seeds_of_a_command_are_one_line_with_their_mean_and_students_interval(tmp_path):
    for seed, value in enumerate((0.95, 0.96, 0.98)):
        store(tmp_path, f"mnist_mlp,seed={seed}", of(value), seed=seed, overrides={})
    store(tmp_path, "other", of(0.9), seed=0, overrides={"dropout": 0.1, "epochs": 3})
    head, *lines = scoreboard(tmp_path).split("\n")
    assert head.split("  ")[0] == "command" and head.endswith("highest known")
    three, one = lines
    half = stats.t.ppf(0.975, 2) * stats.tstd((0.95, 0.96, 0.98)) / 3**0.5
    mean = (0.95 + 0.96 + 0.98) / 3
    assert mean + half > 1  # no accuracy is
    assert f"{100 * mean:.2f} % [{100 * (mean - half):.2f}, 100.00]" in three
    assert "0, 1, 2" in three and "Srivastava" in three and three.startswith("mnist_mlp ")
    assert one.startswith("mnist_mlp dropout=0.1 epochs=3") and "90.00 % [89.00, 91.00]" in one


def test_seeds_that_were_trained_otherwise_have_a_line_of_their_own(tmp_path):
    same = {"overrides": {}, "finished": "2026-02-01T00:00:00+00:00"}
    store(tmp_path, "new", of(0.9), seed=0, **same)
    before = {"hyperparameters": {"units": 3}, "finished": "2026-01-01T00:00:00+00:00"}
    store(tmp_path, "old", of(0.5), seed=1, **(same | before))
    options = {"budget": 60.0, "dtype_policy": "mixed_bfloat16"}
    store(tmp_path, "short", of(0.4), seed=2, **same, **options)
    lines = {line.split("  ")[0]: line for line in scoreboard(tmp_path).split("\n")[1:]}
    assert "90.00 %" in lines["mnist_mlp"] and "50.00 %" in lines["mnist_mlp (before)"]
    assert "40.00 %" in lines["mnist_mlp --precision mixed_bfloat16 --budget 60s"]


def test_of_a_seed_that_was_run_twice_the_newest_counts(tmp_path):
    store(tmp_path, "old", of(0.5), overrides={}, finished="2026-01-01T00:00:00+00:00")
    store(tmp_path, "new", of(0.9), overrides={}, finished="2026-02-01T00:00:00+00:00")
    (line,) = scoreboard(tmp_path).split("\n")[1:]
    assert "90.00 %" in line and "50.00 %" not in line


def test_without_runs_or_folder_it_says_so(tmp_path, capsys):
    assert "no finished run" in scoreboard(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        scoreboard(tmp_path / "missing")
    assert cli.main(["run", "--scoreboard", "--out", str(tmp_path / "missing")]) == 2
    assert "no such folder" in capsys.readouterr().err
