"""A run that is killed, or ended by a signal, ends after the same command with the same bits."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

LOOP = pathlib.Path(__file__).with_name("kill_loop.py")


def loop(log, *options):
    """Runs the loop in a process that has not used TensorFlow; returns its runs and its controls.

    The log remains if it is given, and then a loop that was interrupted goes on.
    """
    command = [sys.executable, str(LOOP), "--log", str(log), *map(str, options)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    runs = [entry for entry in entries if "run" in entry]
    assert all(run["same"] for run in runs)
    return runs, [entry["differs"] for entry in entries if "control" in entry]


@pytest.mark.slow
def test_a_run_killed_six_times_resumes_bit_by_bit(tmp_path):
    runs, _ = loop(tmp_path / "log", "--kills", 6, "--runs", 1, "--kinds", "few")
    assert len(runs[0]["kills"]) == 6


@pytest.mark.slow
def test_300_kills_anywhere_change_nothing(tmp_path):
    log = pathlib.Path(os.environ.get("KILL_LOG", tmp_path / "log"))
    runs, controls = loop(log, "--kills", 330, "--runs", 66)
    assert sum(len(run["kills"]) for run in runs) >= 300 and len(runs) >= 60
    assert controls == [True]


@pytest.mark.slow
def test_20_signals_anywhere_change_nothing(tmp_path):
    runs, _ = loop(tmp_path / "log", "--kills", 24, "--runs", 12, "--signal", "both")
    sent = [kill for run in runs for kill in run["kills"]]
    assert len(sent) >= 20
    assert {kill["code"] for kill in sent} == {130, 143}
    assert max(kill["seconds"] for kill in sent) < 10
