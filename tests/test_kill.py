"""A run that is killed with SIGKILL ends, after the same command, with the same bits."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

import kpipe

KEYS = {
    "batch_size": 64,
    "units_1": 128,
    "units_2": 32,
    "dropout": 0.5,
    "checkpoint_seconds": 0.0,
    "schedule": "constant",
    "reduce_lr_patience": 1,
    "retrain": False,
}
RUN = f"""
import sys, kpipe
out, plan, epochs = sys.argv[1:]
kpipe.run("mnist_mlp", data="sample", out=out, plan=plan, epochs=int(epochs), **{KEYS})
"""
# What comes after the training is not tested here.
pytestmark = pytest.mark.usefixtures("quick_runs")


def start(out: pathlib.Path, plan: str, epochs: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(out), plan, str(epochs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finish(out: pathlib.Path, plan: str, epochs: int) -> tuple[str, str]:
    """Lets a run end, in this process; its weights' hash and its history without the times."""
    kpipe.run("mnist_mlp", data="sample", out=out, plan=plan, epochs=epochs, **KEYS)
    folder = next(path for path in out.iterdir() if path.is_dir())
    record = json.loads((folder / "run.json").read_text())
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    seconds = rows[0].index("seconds")
    history = "\n".join(",".join(row[:seconds] + row[seconds + 1 :]) for row in rows)
    assert not (folder / "checkpoints").exists()
    return record["weights_sha256"], history


def kill_after_commit(
    out: pathlib.Path, plan: str, epochs: int, step: int, delay: float = 0.0
) -> bool:
    """Kills a run once it has committed `step`, and so much later; whether it was in time."""
    process = start(out, plan, epochs)
    try:
        while process.poll() is None:
            commits = [int(p.name.removeprefix("step-")) for p in out.glob("*/checkpoints/step-*")]
            if max(commits, default=-1) >= step:
                time.sleep(delay)
                break
            time.sleep(0.01)
        alive = process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return alive


def test_a_killed_run_resumes_bit_by_bit(tmp_path):
    expected = finish(tmp_path / "whole", "graph", epochs=3)
    assert kill_after_commit(tmp_path / "killed", "graph", epochs=3, step=30)  # in the second epoch
    assert finish(tmp_path / "killed", "graph", epochs=3) == expected


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["graph", "fused:4"])
def test_many_kills_at_random_moments_change_nothing(tmp_path, plan):
    chance = random.Random(0)
    expected = finish(tmp_path / "whole", plan, epochs=8)
    kills = 0
    for run in range(4):
        out = tmp_path / f"run{run}"
        for step in sorted(chance.sample(range(168), 4)):
            kills += kill_after_commit(out, plan, 8, step, delay=chance.uniform(0, 0.2))
        assert finish(out, plan, epochs=8) == expected
    print(f"{plan}: {kills} kills in 4 runs, one hash")
    assert kills >= 12
