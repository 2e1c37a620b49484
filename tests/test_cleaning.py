"""`kpipe runs` and `kpipe clean`: what there is, and what of it can be freed."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from kpipe import cleaning, cli, files
from kpipe.commands import clean


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home with caches, a folder of runs, and one of TFDS; all of it an hour old."""
    home, out, tfds = (tmp_path / name for name in ("home", "out", "tfds"))
    monkeypatch.setenv("KPIPE_HOME", str(home))
    written = {
        home / "data/mnist-real-1/train_inputs.npy": 1000,
        home / "data/mnist-real-2/train_inputs.npy": 100,
        home / "data/.mnist-real-3.part-0123/train_inputs.npy": 10,
        home / "features/abc/features.npy": 1,
        home / "looks/rows-1/look.json": 1,
        home / "logs/tensorflow.log": 1,
        home / "test_openings.jsonl": 1,
        home / "notes/mine.txt": 1,
        out / "done/manifest.json": 1,
        out / "done/model.keras": 1,
        out / "done/checkpoints/step-1/variables": 1,
        out / "done/retraining/checkpoints/step-1/variables": 1,
        out / "done/state/variables": 1,
        out / "done/mine/checkpoints/step-1/variables": 1,
        out / "torn/manifest.json": 1,
        out / "torn/checkpoints/step-1/variables": 1,
        out / "done/.model.part-0.keras": 1,
        out / "half/checkpoints/step-1/variables": 1,
        out / "mine/checkpoints/notes": 1,
        tfds / "mnist/3.0.1/mnist-test.tfrecord": 1,
        tfds / "mnist/incomplete.ABCDEF_3.0.1/mnist-test.tfrecord": 1,
        tfds / "glue/cola/2.0.0.incompleteXYZ/mine.tfrecord": 1,
    }
    for path, size in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    failed = {"problems": ["report failed: ValueError"]}  # checkpoints complete it
    for name, status, more in (
        ("done", "finished", {"problems": []}),
        ("done/mine", "unfinished", {}),
        ("half", "unfinished", {}),
        ("torn", "finished", failed),
    ):
        (out / name / "run.json").write_text(json.dumps({"status": status, **more}))
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return home, out, tfds


def freed(place):
    home, out, tfds = place
    free, used = cleaning.find(out, tfds)
    return tuple(
        {i.path.relative_to(home.parent).as_posix() for i in some} for some in (free, used)
    )


ALL = {
    "home/data/mnist-real-1",
    "home/data/mnist-real-2",
    "home/data/.mnist-real-3.part-0123",
    "home/features/abc",
    "home/looks/rows-1",
    "home/logs/tensorflow.log",
    "out/done/checkpoints",
    "out/done/retraining/checkpoints",
    "out/done/.model.part-0.keras",
    "tfds/mnist/incomplete.ABCDEF_3.0.1",
}


def test_only_what_can_be_made_again_or_was_left_behind_is_freed(place):
    home, out, tfds = place
    before = {path for path in home.parent.rglob("*") if path.is_file()}
    assert freed(place) == (ALL, set())
    free, _ = cleaning.find(out, tfds)
    assert max(free, key=lambda item: item.size).path.name == "mnist-real-1"
    assert all(map(cleaning.remove, free))
    gone = before - set(home.parent.rglob("*"))
    assert gone == {p for p in before for item in free if item.path in (p, *p.parents)}
    assert freed(place) == (set(), set())
    assert not list(home.parent.rglob("*part-*"))


def test_what_a_process_locks_or_reads_is_kept(place):
    home, out, tfds = place
    np.save(home / "data/mnist-real-2/test.npy", np.zeros(9))
    mapped = np.load(home / "data/mnist-real-2/test.npy", mmap_mode="r")
    used = {"home/data/mnist-real-2", "home/logs/tensorflow.log"}
    with (
        open(home / "logs/tensorflow.log"),
        files.lock(home / "data/mnist-real-1"),
        files.lock(out / "done"),
    ):
        used |= {"home/data/mnist-real-1", "out/done/.model.part-0.keras"}
        used |= {"out/done/checkpoints", "out/done/retraining/checkpoints"}
        assert freed(place) == (ALL - used, used)
        items, _ = cleaning.find(out, tfds)
    assert mapped.shape == (9,)
    item = next(item for item in items if item.path.name == "abc")
    with files.lock(item.path):  # since it was listed
        assert not cleaning.remove(item) and item.path.exists()


def test_what_is_still_written_without_a_lock_is_kept(place):
    home, _, tfds = place
    written = {home / "data/.mnist-real-3.part-0123", tfds / "mnist/incomplete.ABCDEF_3.0.1"}
    for folder in written:
        (folder / "more").touch()
    _, used = freed(place)
    assert used == {path.relative_to(home.parent).as_posix() for path in written}


def test_nothing_is_freed_without_a_yes(place, monkeypatch, capsys):
    home, out, tfds = place
    words = ["clean", "--out", str(out), "--data-dir", str(tfds)]
    assert cli.main(words) == 0  # without a terminal
    assert "nothing was freed" in capsys.readouterr().out
    monkeypatch.setattr(clean.sys.stdin, "isatty", lambda: True, raising=False)
    for answer in ("", "n", "no", "x"):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert cli.main(words) == 0
    assert freed(place) == (ALL, set())
    monkeypatch.setattr("builtins.input", lambda question: "Y")
    assert cli.main(words) == 0
    assert "1 kB  prepared data" in (said := capsys.readouterr().out) and "freed 1." in said
    assert cli.main([*words, "--yes"]) == 0
    assert "nothing to free" in capsys.readouterr().out
    assert (home / "test_openings.jsonl").exists() and (out / "done" / "state").exists()


def test_all_runs_are_listed_the_newest_first(finished_run, tmp_path, capsys, monkeypatch):
    shutil.copytree(finished_run.folder, tmp_path / "done")
    record = files.read_json(tmp_path / "done" / "run.json")
    unfinished = record | {"status": "unfinished", "command": "kpipe run x --out o"}
    for name, content in (
        ("half/run.json", json.dumps(unfinished)),
        ("half/history.csv", "epoch,loss\n1,0.5\n2,0.4\n"),
        ("torn/run.json", json.dumps(record | {"problems": ["report failed"], "command": "x"})),
        ("torn/metrics.json", (tmp_path / "done" / "metrics.json").read_text()),
        ("damaged/run.json", "{"),
        ("other/run.json", "[]"),
        ("hunt/search.json", json.dumps(unfinished)),
        ("left/manifest.json", "{}"),
        ("mine/notes.txt", ""),
        (".hidden/run.json", ""),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    os.utime(tmp_path / "done" / "run.json", (1e9, 1e9))
    os.utime(tmp_path / "done" / "history.csv", (1e9, 1e9))
    monkeypatch.setenv("COLUMNS", "70")
    with files.lock(tmp_path / "half"):
        assert cli.main(["runs", "--out", str(tmp_path)]) == 0
        assert "running, 2 of 3 epochs" in capsys.readouterr().out
    assert cli.main(["runs", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = " ".join(" ".join(lines).split())
    assert "unfinished, 2 of 3 epochs, last saved" in said and "resume: kpipe run x --out o" in said
    assert "(sample data); incomplete: report failed; complete: x" in said
    assert "search, " in said and said.count("damaged: ") == 3
    assert lines.index("done") > lines.index("half")
    assert lines[lines.index("done") + 1].startswith("  finished 2001-09-0")
    assert (
        "mine" not in lines
        and ".hidden" not in lines
        and max(map(len, lines)) <= 70 + len(str(tmp_path))
    )
    assert cli.main(["runs", "--out", str(tmp_path / "none")]) == 2
