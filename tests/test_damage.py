"""What kpipe wrote is damaged in every way: each damage is detected before use, the file named.

Each kind of artefact x (missing, empty, cut off, bits flipped). A few of each in the ordinary run;
under `slow` each file is cut off at 20 places, and 200 bits are flipped, one at a time. A line for
each kind gives the counts.
"""

import contextlib
import io
import json
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import files
from kpipe.datasets import prepared
from kpipe.errors import RunError, UserError
from kpipe.experiments.running import open_experiment
from kpipe.export import read_npz, write_npz
from kpipe.measures.verdict import count_opening
from kpipe.records import open_run, read_record
from kpipe.training.checkpoint import Checkpoints
from kpipe.tuning.driver import read_trials
from kpipe.tuning.trials import Part

FEW, MANY = (1, 1), (20, 200)  # cuts and flips of each file


class Artefact(NamedTuple):
    """Files, and a function that uses them; it raises or prints what is damaged."""

    paths: list[pathlib.Path]
    use: Callable[[], object]


def files_in(folder, *patterns):
    return sorted(p for pattern in patterns or ("*",) for p in folder.rglob(pattern) if p.is_file())


def cache(folder):
    """A folder of the cache; what is damaged is written again."""
    kept = shutil.copytree(folder, folder.with_name("kept"))
    arrays = files_in(folder)

    def use():
        files._intact.clear()  # as a new process
        written = []

        def write(temporary):
            written.append(shutil.copytree(kept, temporary, dirs_exist_ok=True))

        opened = files.open_or_write(folder, lambda: folder, write)
        assert opened and len(written) == 1, "used as it is"

    return Artefact(arrays, use)


def prepared_images(folder, home):
    digits = kpipe.datasets.mnist()
    kpipe.data.prepare(digits, digits.find("sample"))
    (known,) = (p for p in (home / "data").glob("mnist-sample-*") if p.is_dir())
    return cache(shutil.copytree(known, folder / "data"))


def prepared_texts(folder, home):
    """Texts, their tokens and vocabulary."""
    path = folder / "texts.csv"
    rows = (f"some words and number {i},{'ab'[i % 2]}\n" for i in range(60))
    path.write_text("text,target\n" + "".join(rows))
    return written_by(folder, path, {"text": "text", "target": "target"})


def prepared_table(folder, home):
    """Numbers and words, their encoding and its fit, and what was found in the file."""
    path = folder / "table.csv"
    rows = (f"{i},{'xyz'[i % 3]},{'ab'[i % 2]}\n" for i in range(60))
    path.write_text("size,kind,target\n" + "".join(rows))
    return written_by(folder, path, {"target": "target"})


def written_by(folder, path, keys):
    """All folders of the cache that own data lead to, as one artefact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPIPE_HOME", str(folder / "home"))
        open_experiment(path, keys, data="auto", data_dir=None, seed=0).prepare()
    parts = []
    for i, known in enumerate(sorted((folder / "home").glob("*/*/manifest.json"))):
        parts.append(cache(shutil.copytree(known.parent, folder / f"part{i}" / known.parent.name)))
    uses = {path: part.use for part in parts for path in part.paths}
    assert len(parts) >= 4
    return Artefact(list(uses), uses)  # each path with its own use


def features(folder, home):
    with files.new_folder(folder / "features") as temporary:
        np.save(temporary / "features.npy", np.random.RandomState(0).rand(50, 8))
        files.write_json(temporary / "about.json", {"seconds": 1.5, "examples": 50})
    return cache(folder / "features")


def checkpoint(folder, home):
    """The newest of two commits; the one before is used."""
    variables = {"a": [tf.Variable(np.zeros(300, np.float32))], "b": [tf.Variable(0)]}
    checkpoints = Checkpoints(folder / "checkpoints", variables)
    for step in (1, 2):
        variables["b"][0].assign(step)
        checkpoints.save(step, {"step": step, "nan": float("nan")})

    def use():
        state = checkpoints.restore()
        assert state["step"] == int(variables["b"][0]) == 1, "used as it is"

    return Artefact(files_in(folder / "checkpoints" / "step-000000000002"), use)


def finished(folder, home):
    run = shutil.copytree(FINISHED, folder / "run")
    names = ("run.json", "metrics.json", "history.csv", "predictions.npz", "manifest.json")
    return Artefact([run / name for name in names], lambda: open_run(run))


def model(folder, home):
    run = open_run(shutil.copytree(FINISHED, folder / "run"))

    def use():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("Keras saw it"))
            run.__dict__.pop("model", None)
            _ = run.model

    return Artefact([run.folder / "model.keras"], use)


def export(folder, home):
    run = shutil.copytree(FINISHED, folder / "run")
    return Artefact(files_in(run / "serving"), lambda: load_without_tensorflow(run))


def bare_export(folder, home):
    """The SavedModel alone, as it is copied to a server."""
    serving = shutil.copytree(FINISHED / "serving" / "1", folder / "1")
    paths = [p for p in files_in(serving) if p.name != "manifest.json"]
    return Artefact(paths, lambda: load_without_tensorflow(serving))


def load_without_tensorflow(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", lambda *_, **__: pytest.fail("TensorFlow saw it"))
        kpipe.load(folder)


def unfinished(folder, home):
    """Records that stand alone: of a run, a search, a check of labels and a learning curve."""
    record = open_run(FINISHED).record.to_json() | {"status": "unfinished"}
    paths = [folder / f"{name}.json" for name in ("run", "search", "labels", "curve")]
    for path in paths:
        files.write_json(path, record)
    return Artefact(paths, {path: lambda path=path: read_record(path) for path in paths})


def curve(folder, home):
    keys = ("metric", "seeds", "sizes", "points", "curve", "twice", "back_test", "left_out")
    files.write_json(folder / "learning_curve.json", dict.fromkeys(keys, 1.5))
    read = kpipe.report.read_learning_curve
    path = folder / "learning_curve.json"

    def use():
        assert read(folder) is None and not path.exists(), "used as it is"
        raise UserError(f"{path} is missing: the run's report has no such section")

    return Artefact([path], use)


def folds(folder, home):
    """Arrays that stand alone: a fold's probabilities, a point of a learning curve."""
    path = folder / "fold-1.npz"
    write_npz(path, probabilities=np.random.RandomState(0).rand(40, 3), weights=np.array("ab"))

    def use():
        found = read_npz(path, "it is trained again")
        assert found is None, "used as it is"
        if not path.exists():
            raise UserError(f"{path} is missing: it is trained")

    return Artefact([path], use)


def trial(folder, home):
    """A trial of a search: its values are chosen again, its training is repeated."""
    part = Part(None, "", {}, folder / "0001" / "seed=0", 0, 0, 0, 1, "val_loss")
    part.folder.mkdir(parents=True)
    files.write_json(folder / "0001" / "trial.json", {"values": {"width": 5}, "ended": 2.5})
    files.write_json(part.folder / "result.json", {"part": {"value": 0.5}})
    paths = files_in(folder)

    def use():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            read_trials(folder)
            _ = part.result
        missing = [f"{path} is missing: it is made again" for path in paths if not path.exists()]
        if said.getvalue() or missing:
            raise UserError(said.getvalue() + " ".join(missing))

    return Artefact(paths, use)


def descriptions(folder, home):
    """TFDS' own JSON and lists of labels."""
    for name, content in (
        ("dataset_info.json", {"splits": [{"name": "train", "shardLengths": ["6"]}]}),
        ("features.json", {"type": "FeaturesDict", "content": {"image": {}, "label": {}}}),
        ("metadata.json", {"official": True}),
    ):
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "label.labels.txt").write_text("cat\ndog\n")
    paths = files_in(folder)
    prepared.note_descriptions(folder, "mine")
    return Artefact(paths, lambda: prepared.check_descriptions(folder, "mine"))


def openings(folder, home):
    """The list of test openings: a damaged line is not counted, and said."""
    path = folder / "home" / "test_openings.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPIPE_HOME", str(path.parent))
        count_opening("a", "mnist", "real", folder, "first")

    def use():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KPIPE_HOME", str(path.parent))
            if not path.exists() or not path.stat().st_size:
                raise UserError(f"{path} is empty: counted from 1")
            content = path.read_bytes()
            count_opening("b", "mnist", "real", folder, "second")
            whole = path.read_bytes().startswith(content) and content.endswith(b"}")
            if whole:  # only the end of the line was lost
                raise UserError(f"{path} is whole")

    return Artefact([path], use)


KINDS = (
    *(features, checkpoint, finished, model, export, bare_export, unfinished, curve, folds, trial),
    *(descriptions, openings),
)
LARGE = (prepared_images, prepared_texts, prepared_table)
FINISHED = pathlib.Path()


@pytest.fixture(autouse=True)
def of_a_finished_run(finished_run):
    global FINISHED
    FINISHED = finished_run.folder


def damages(content: bytes, cuts: int, flips: int, seed: str) -> Iterator[bytes | None]:
    """Contents of a damaged file; None: it is missing."""
    chance = random.Random(seed)
    yield from (None, b"")
    for _ in range(cuts if len(content) > 1 else 0):
        yield content[: chance.randrange(1, len(content))]
    for _ in range(flips if content else 0):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield bytes(flipped)


def survey(kind, folder, home, capsys, cuts, flips):
    """Damages each file of a kind; returns the line with the counts, and what was not detected."""
    paths, use = kind(folder, home)
    tried, silent = 0, []
    for path in paths:
        use_it = use[path] if isinstance(use, dict) else use
        original = path.read_bytes()
        for content in damages(original, cuts, flips, f"{path.name}{cuts}"):
            if content == original:  # an empty file cannot be cut off
                continue
            path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
            tried += 1
            capsys.readouterr()
            try:
                use_it()
                said = capsys.readouterr().out.strip()
            except (UserError, RunError) as error:
                said = str(error)
            except Exception as error:
                silent.append(f"{path.name}: {type(error).__name__}: {error}")
                said = str(path)
            lines = said.splitlines()
            where = str(path) if path.name != "manifest.json" else str(path.parent)
            if len(lines) != 1 or where not in lines[0]:
                silent.append(f"{path.name} ({content and len(content)} bytes): {said!r}")
            path.write_bytes(original)
    detected = tried - len(silent)
    name = kind.__name__.replace("_", " ")
    return f"{name}: {tried} damages, {detected} detected, {len(silent)} silent", silent


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_artefact_is_detected_and_named(kind, tmp_path, kpipe_home, capsys):
    said, silent = survey(kind, tmp_path, kpipe_home, capsys, *FEW)
    print(said)
    assert not silent, "\n".join(silent)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS + LARGE, ids=lambda kind: kind.__name__)
def test_every_damage_is_detected_and_named(kind, tmp_path, kpipe_home, capsys):
    said, silent = survey(kind, tmp_path, kpipe_home, capsys, *MANY)
    with capsys.disabled():
        print(f"\n{said}")
    assert not silent, "\n".join(silent[:20])


def test_two_damaged_commits_are_an_error(tmp_path, capsys):
    use = checkpoint(tmp_path, None).use
    for path in tmp_path.rglob("state.json"):
        path.write_text("{}")
    with pytest.raises(RunError, match="no checkpoint can be read or fits the model"):
        use()
    assert capsys.readouterr().out.count("state.json is damaged or changed") == 2


def test_a_folder_of_an_older_kpipe_is_written_again(tmp_path, capsys):
    path = tmp_path / "arrays"
    path.mkdir()
    (path / "a.npy").write_bytes(b"")
    files.open_or_write(path, lambda: path, lambda folder: (folder / "b").write_text("b"))
    assert sorted(p.name for p in path.iterdir()) == ["b", "manifest.json"]
    assert "has no manifest.json: an older kpipe wrote it" in capsys.readouterr().out


def test_a_commit_of_an_older_kpipe_is_used(tmp_path, capsys):
    checkpoint(tmp_path, None)
    for path in (tmp_path / "checkpoints").rglob("manifest.json"):
        path.unlink()
    variables = {"a": [tf.Variable(np.zeros(300, np.float32))], "b": [tf.Variable(0)]}
    assert Checkpoints(tmp_path / "checkpoints", variables).restore()["step"] == 2
    assert "has no manifest.json: resuming from it unchecked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train", None, "mine-train.tfrecord-00000-of-00001 is missing"),
        ("train", b"", "train.tfrecord-00000-of-00001 is cut off: it has 0 bytes for 2 examples"),
        ("test", b"version https://git-lfs", "test.* is a Git LFS pointer: fetch it with git lfs"),
        ("test", b"0" * 51, "test.* is cut off or changed: 51 bytes instead of 52"),
    ],
)
def test_a_damaged_file_of_examples_is_named(tmp_path, name, content, message):
    parts = [{"name": part, "shardLengths": ["2"], "numBytes": "20"} for part in ("train", "test")]
    for part in ("train", "test"):
        (tmp_path / f"mine-{part}.tfrecord-00000-of-00001").write_bytes(b"0" * 52)
    prepared.check_examples(tmp_path, "mine", {"splits": parts})
    with pytest.raises(UserError, match=r"dataset_info.json: its name is 'mime'; expected 'mine'"):
        prepared.check_examples(tmp_path, "mine", {"name": "mime", "splits": parts})
    with pytest.raises(UserError, match=r"dataset_info\.json is missing, mine-test.* is there"):
        prepared.check_no_rest(tmp_path.parent, "mine")
    path = tmp_path / f"mine-{name}.tfrecord-00000-of-00001"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        prepared.check_examples(tmp_path, "mine", {"splits": parts})
