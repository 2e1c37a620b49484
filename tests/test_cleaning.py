"""`kpipe runs` and `kpipe clean`: what there is, and what of it can be freed."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from kpipe import cleaning, cli, files
from kpipe.commands import clean
from kpipe.errors import WriteError

ONE, TWO, THREE = (f"mnist-real-{i:016x}" for i in (1, 2, 3))
# What can be freed, a file in it, and the bytes of that.
FREE = {
    f"home/data/{ONE}": ("train_inputs.npy", 1000),
    f"home/data/{TWO}-tokens-{2:016x}": ("train_tokens.npy", 100),
    f"home/data/.{THREE}.part-0123456789ab": ("train_inputs.npy", 10),
    f"home/features/{4:032x}": ("features.npy", 1),
    f"home/looks/rows-{5:016x}": ("look.json", 1),
    f"home/help/mine-{6:016x}.json": ("", 1),
    "home/logs/tensorflow.log": ("", 1),
    "out/done/checkpoints": ("step-1/variables", 1),
    "out/done/retraining/checkpoints": ("step-1/variables", 1),
    "out/done/.model.part-0.keras": ("", 1),
    "out/half/serving/.1.part-0123456789ab": ("saved_model.pb", 1),
    "tfds/mnist/incomplete.ABCDEF_3.0.1": ("mnist-test.tfrecord", 1),
    "tfds/glue/cola/incomplete.0BCDEF_2.0.0": ("glue-test.tfrecord", 1),
}
# What is a user's, a result, or needed.
KEPT = (
    "home/test_openings.jsonl",
    "home/data/photos/train_inputs.npy",
    "home/data/photos.csv",
    f"home/data/mine-own-{7:016x}/notes.txt",
    f"home/data/.{THREE}.part-mine",
    f"home/features/{8:032x}/mine.txt",
    "home/looks/rows-1/look.json",
    "home/help/index.html",
    "home/logs/mine.log",
    "home/notes/mine.txt",
    "out/done/manifest.json",
    "out/done/model.keras",
    "out/done/state/variables",
    "out/done/mine/checkpoints/step-1/variables",  # a run in the folder of another one
    "out/done/mine/.model.part-0.keras",
    "out/done/.mine.lock",
    "out/done/.notes.part-1",
    "out/half/checkpoints/step-1/variables",
    "out/torn/manifest.json",
    "out/torn/checkpoints/step-1/variables",  # complete it without training
    "out/mine/checkpoints/notes",
    "tfds/mnist/3.0.1/mnist-test.tfrecord",
    "tfds/mnist/incomplete/mine.tfrecord",
    "tfds/mnist/x.incomplete/mine.tfrecord",
    "tfds/mnist/incomplete.notes_3.0.1/mine.txt",
    "tfds/mnist/incomplete.ABCDEF_3.0.1.zip",
    "tfds/glue/cola/2.0.0.incompleteXYZ/mine.tfrecord",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home with caches, a folder of runs, and one of TFDS; all of it an hour old."""
    home, out, tfds = (tmp_path / name for name in ("home", "out", "tfds"))
    monkeypatch.setenv("KPIPE_HOME", str(home))
    for name, (inside, size) in {**FREE, **dict.fromkeys(KEPT, ("", 1))}.items():
        path = tmp_path / name / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (tfds / "cifar10/incomplete.ABCDEF_3.0.2").mkdir(parents=True)  # before a long download
    for name, status, problems in (
        ("done", "finished", []),
        ("done/mine", "unfinished", []),
        ("half", "unfinished", []),
        ("torn", "finished", ["report failed: ValueError"]),
    ):
        record = {"status": status, "problems": problems}
        (out / name / "run.json").write_text(json.dumps(record))
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return home, out, tfds


def freed(place):
    home, out, tfds = place
    free, used = cleaning.find(out, tfds)
    return tuple(
        {i.path.relative_to(home.parent).as_posix() for i in some} for some in (free, used)
    )


ALL = set(FREE)


def test_only_what_can_be_made_again_or_was_left_behind_is_freed(place):
    home, out, tfds = place
    assert freed(place) == (ALL, set())
    free, _ = cleaning.find(out, tfds)
    assert max(free, key=lambda item: item.size).path.name == ONE
    assert cleaning.remove(free) == free
    assert not [name for name in FREE if (home.parent / name).exists()]
    assert all((home.parent / name).exists() for name in KEPT)
    assert freed(place) == (set(), set())
    assert len(list(home.parent.rglob("*part-*"))) == 3


def test_what_a_process_locks_or_reads_is_kept(place):
    home, out, tfds = place
    np.save(home / f"data/{ONE}/test.npy", np.zeros(9))
    mapped = np.load(home / f"data/{ONE}/test.npy", mmap_mode="r")
    of_run = {name for name in ALL if name.startswith("out/done")}
    used = {f"home/data/{ONE}", "home/logs/tensorflow.log", *of_run}
    used |= {f"home/data/.{THREE}.part-0123456789ab", "tfds/glue/cola/incomplete.0BCDEF_2.0.0"}
    with (
        open(home / "logs/tensorflow.log"),
        files.lock(home / "data" / THREE),
        files.lock(out / "done"),
        files.lock(tfds / "glue"),  # as it is prepared
    ):
        assert freed(place) == (ALL - used, used)
    assert mapped.shape == (9,)


def test_what_is_used_since_it_was_listed_is_kept(place):
    home, out, tfds = place
    free, _ = cleaning.find(out, tfds)
    # The run was begun anew, and ended before it was finished.
    (out / "done/run.json").write_text(json.dumps({"status": "unfinished"}))
    (home / f"data/.{THREE}.part-0123456789ab/more").touch()
    with files.lock(home / f"features/{4:032x}"), open(home / f"help/mine-{6:016x}.json"):
        removed = {item.path.relative_to(home.parent).as_posix() for item in cleaning.remove(free)}
    kept = {f"home/features/{4:032x}", f"home/help/mine-{6:016x}.json", "out/done/checkpoints"}
    kept |= {f"home/data/.{THREE}.part-0123456789ab", "out/done/retraining/checkpoints"}
    assert ALL - removed == kept and all((home.parent / name).exists() for name in kept)


def test_what_cannot_be_locked_since_the_disk_is_full_is_kept(place, monkeypatch):
    _, out, tfds = place
    free, _ = cleaning.find(out, tfds)

    def lock(path, wait):
        raise WriteError(f"{path}: cannot be written")

    monkeypatch.setattr(files, "lock", lock)
    assert cleaning.remove(free) == [] and freed(place) == (ALL, set())


def test_what_is_still_written_without_a_lock_is_kept(place):
    home, _, tfds = place
    written = {
        home / f"data/.{THREE}.part-0123456789ab",
        tfds / "mnist/incomplete.ABCDEF_3.0.1",
    }
    for folder in written:
        (folder / "more").touch()
    _, used = freed(place)
    assert used == {path.relative_to(home.parent).as_posix() for path in written}


def test_links_to_other_places_are_left_alone(place, tmp_path):
    home, out, _ = place
    for path in (home / "data" / ONE, out / "done"):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    assert freed(place)[0] == {n for n in ALL if ONE not in n and not n.startswith("out/done")}


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
