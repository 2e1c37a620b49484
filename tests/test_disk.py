"""A full disk, locks, several processes, and paths of all kinds."""

import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import disk, files
from kpipe.errors import UserError, WriteError
from kpipe.experiments import space
from kpipe.export import writing
from kpipe.measures.verdict import count_opening
from kpipe.training import Trainer
from kpipe.training.checkpoint import Checkpoints

HERE = pathlib.Path(__file__).parent
KPIPE = [sys.executable, "-c", "import sys; from kpipe import cli; sys.exit(cli.main())"]
UNKNOWN = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
ODD = ["a[b]", "a*b?", "~x", "~", "two words", "nöt-ÄSCII-漢", "two\nlines", "-dash", "{x}", "b\\s"]


def forked(work):
    """Starts a process of this one's state; returns its number."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- a full disk ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(27, "File too large"),
        OSError("1024 requested and 512 written"),
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
        tf.errors.ResourceExhaustedError(
            None, None, "/x.data; No space left on device [Op:SaveV2]"
        ),
        tf.errors.UnknownError(None, None, "/x.index; File too large"),
    ],
)
def test_a_full_disk_is_one_line_whatever_library_writes(tmp_path, error):
    with (
        pytest.raises(
            WriteError, match=r"/model: cannot be written, .* free there \(.*; make room"
        ),
        disk.writing(tmp_path / "model"),
    ):
        raise error


def test_other_errors_of_a_block_that_writes_remain_what_they_are(tmp_path):
    with pytest.raises(PermissionError), disk.writing(tmp_path):
        raise PermissionError(13, "Permission denied")


def test_each_write_of_a_commit_can_fail_and_the_commit_before_remains(tmp_path, monkeypatch):
    value = tf.Variable([1.0])
    checkpoints = Checkpoints(tmp_path / "commits", {"variables": [value]})
    checkpoints.save(1, {"step": 1})
    sync, failures, calls = os.fsync, 0, 0

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls == failures + 1:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    value.assign([2.0])
    while True:
        calls = 0
        try:
            checkpoints.save(2, {"step": 2})
        except WriteError as error:
            assert "commits/step-000000000002: cannot be written" in str(error)
            # After the rename only the folder above is synced.
            assert checkpoints.restore()["step"] in (1, 2)
            assert not list((tmp_path / "commits").glob(".*"))
            failures += 1
            value.assign([2.0])
        else:
            break
    assert failures >= 4
    assert checkpoints.restore() == {"step": 2}


def test_a_run_that_has_no_room_ends_before_its_first_step(tmp_path, small_model, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WriteError, match=r"/run: the run needs about .* MB, and 1.0 MB are free"):
        space.check_space(tmp_path / "run", small_model(), Trainer(), {"test": 10}, resumed=False)
    with pytest.raises(WriteError, match="preparing needs about"):
        disk.require(tmp_path / "cache", 2_000_000, "preparing")


def has_compiler():
    return shutil.which("cc") is not None and sys.platform == "linux"


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C compiler on Linux")
@pytest.mark.parametrize("case", ["run", "search", "images", "table", "texts", "mnist"])
def test_every_write_may_fail_and_nothing_is_lost(tmp_path, case):
    command = [sys.executable, str(HERE / "full_disk.py"), case, str(tmp_path)]
    command += [os.environ.get("FULL_DISK_STRIDE", "1")]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert ", 0 with a problem" in done.stdout, done.stdout + done.stderr


# --- all or nothing ---------------------------------------------------------------------------


def versioned(version):
    """Endpoints whose weights, graph and assets all say the version."""
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(version))
    model = keras.Sequential([keras.Input((1,)), dense])
    signature = tf.TensorSpec((None, 1), tf.float32, name="x")

    def serve(x):
        return {"weights": model(x), "graph": tf.zeros_like(x) + version}

    return writing.Endpoints(
        {"serving_default": (serve, signature)}, [model], {"version.txt": [str(version)]}
    )


def version_of(folder):
    """The version that an export has; an AssertionError if its parts do not agree."""
    path = folder / "serving" / "1"
    served = tf.saved_model.load(str(path)).signatures["serving_default"](x=tf.ones((1, 1)))
    (asset,) = (path / "assets" / "version.txt").read_text().split()
    versions = {*(served[name].numpy().item() for name in ("weights", "graph")), int(asset)}
    assert len(versions) == 1, versions
    return versions.pop()


@pytest.mark.parametrize("place", [(pathlib.Path, "write_text"), (os, "rename")])
def test_an_interrupted_export_leaves_the_old_one_whole(tmp_path, place, monkeypatch):
    (tmp_path / "serving" / "1").mkdir(parents=True)
    (tmp_path / "serving" / "1" / "old").touch()
    endpoints = versioned(2)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            writing.export(tmp_path, endpoints)
    assert os.listdir(tmp_path / "serving") == ["1"]
    assert os.listdir(tmp_path / "serving" / "1") == ["old"]


@pytest.mark.slow
def test_a_hundred_kills_during_export_leave_no_chimera(tmp_path):
    writing.export(tmp_path, versioned(1))
    shutil.copytree(tmp_path, tmp_path / "before")
    serving, chance, kills = tmp_path / "serving", random.Random(0), 0
    counts = {"old": 0, "absent": 0, "new": 0}
    for attempt in range(400):
        shutil.rmtree(serving)
        shutil.copytree(tmp_path / "before" / "serving", serving)
        child = forked(lambda: writing.export(tmp_path, versioned(2)))
        # While it is written, while it is synced, and between the two renames.
        wanted = (".1.part-*", ".1.part-*/assets/version.txt", ".1.part-*")[attempt % 3]
        many = 2 if attempt % 3 == 2 else 1
        while len(list(serving.glob(wanted))) < many and os.waitpid(child, os.WNOHANG) == (0, 0):
            pass
        time.sleep((chance.uniform(0, 0.3), chance.uniform(0, 0.05), 0)[attempt % 3])
        try:
            os.kill(child, signal.SIGKILL)
            killed = ended(child) == -signal.SIGKILL
        except (ProcessLookupError, ChildProcessError):
            killed = False
        if not killed:
            continue
        kills += 1
        if (serving / "1").exists():
            counts["old" if version_of(tmp_path) == 1 else "new"] += 1
        else:
            counts["absent"] += 1
        files.remove_leftovers(serving)
        if kills == int(os.environ.get("EXPORT_KILLS", "100")):
            break
    print(f"export: {kills} kills, 0 chimeras: {counts}")
    assert kills >= int(os.environ.get("EXPORT_KILLS", "100"))


# --- locks and several processes ----------------------------------------------------------------


def hold(path, reading, writing_end):
    """A process that locks `path` and says so, until it is killed."""

    def work():
        with files.lock(path):
            os.write(writing_end, b"x")
            time.sleep(60)

    child = forked(work)
    os.read(reading, 1)
    return child


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_the_second_of_two_is_refused_at_once_and_a_kill_leaves_no_lock(tmp_path, kills):
    path, slowest = tmp_path / "run", 0.0
    reading, writing_end = os.pipe()
    for _ in range(kills):
        holder = hold(path, reading, writing_end)
        started = time.monotonic()
        with pytest.raises(UserError, match=rf"/run: in use by process {holder} on .*--out DIR"):
            files.lock(path, wait=False).__enter__()
        slowest = max(slowest, time.monotonic() - started)
        os.kill(holder, signal.SIGKILL)
        ended(holder)
        with files.lock(path, wait=False):
            pass
    print(f"locks: {kills} second starts refused within {slowest:.3f} s, {kills} kills, none stale")
    assert slowest < 1


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", without)
    with (
        pytest.raises(UserError, match=r"/run: this file system has no locks \(flock\)"),
        files.lock(tmp_path / "run"),
    ):
        pass


def test_a_command_that_is_running_is_refused_before_tensorflow_is_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kpipe", "run", "mnist_mlp", "units_1=8", "--seed", "2"])
    with files.lock(tmp_path / "mnist_mlp-sample"):
        for again in (
            sys.argv,
            ["kpipe", "run", "--fresh", "--out=.", "--seed=2", "mnist_mlp", "units_1=8"],
        ):
            monkeypatch.setattr(sys, "argv", again)
            monkeypatch.chdir(tmp_path)
            with pytest.raises(UserError, match=f"in use by process {os.getpid()} on "):
                disk.refuse_same_command(tmp_path)
        monkeypatch.setattr(sys, "argv", ["kpipe", "run", "mnist_mlp", "--seed=1"])
        disk.refuse_same_command(tmp_path)
    disk.refuse_same_command(tmp_path)


def test_a_process_that_waits_says_for_whom(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(disk, "PATIENCE", 0.05)
    reading, writing_end = os.pipe()

    def work():
        with files.lock(tmp_path / "arrays"):
            os.write(writing_end, b"x")
            time.sleep(0.2)

    child = forked(work)
    os.read(reading, 1)
    with files.lock(tmp_path / "arrays"):
        pass
    assert f"waiting for process {child} on " in capsys.readouterr().out
    assert ended(child) == 0


def test_names_that_begin_alike_do_not_share_leftovers(tmp_path):
    first, second = (tmp_path / ("long name " * 10 + end) for end in "ab")
    with files.new_folder(first) as living:
        files.remove_leftovers(tmp_path, second.name)
        assert living.is_dir()


def test_processes_that_need_one_folder_write_it_once(tmp_path):
    path, log = tmp_path / "home" / "arrays", tmp_path / "log"

    def write(folder):
        with open(log, "a") as file:
            file.write("written\n")
        time.sleep(0.05)
        np.save(folder / "a.npy", np.arange(3))

    def open_it():
        return np.load(path / "a.npy") if path.exists() else None

    children = [forked(lambda: files.open_or_write(path, open_it, write)) for _ in range(4)]
    assert [ended(child) for child in children] == [0] * 4
    assert log.read_text() == "written\n"


def test_openings_that_several_processes_note_are_all_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))

    def work():
        for number in range(5):
            opening = f"{os.getpid()} {number}"
            count_opening("mnist_mlp", "mnist", "sample", tmp_path / "run", opening)

    assert [ended(child) for child in [forked(work) for _ in range(4)]] == [0] * 4
    assert count_opening("mnist_mlp", "mnist", "sample", tmp_path / "run", "last") == 21


@pytest.mark.slow
def test_seeds_started_together_on_a_cold_cache_all_end(tmp_path):
    times = int(os.environ.get("COLD_STARTS", "10"))
    for attempt in range(times):
        keys = ["epochs=1", "num_layers=0", "--data=sample"]
        home, out = tmp_path / f"home{attempt}", tmp_path / f"out{attempt}"
        runs = [
            subprocess.Popen(
                [*KPIPE, "run", "mnist_mlp", *keys, f"--out={out}", f"--seed={seed}"],
                env={**os.environ, "KPIPE_HOME": str(home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for seed in range(3)
        ]
        said = [run.communicate()[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0, 0], said
        assert len((home / "test_openings.jsonl").read_text().splitlines()) == 3
        shutil.rmtree(home)
    print(f"cold cache: {times} times 3 runs started together, all ended")


# --- paths and homes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_a_checkpoint_is_read_from_a_folder_of_any_name(tmp_path, name):
    value = tf.Variable([1.0])
    checkpoints = Checkpoints(tmp_path / name, {"variables": [value]})
    checkpoints.save(1, {"step": 1})
    value.assign([0.0])
    assert checkpoints.restore() == {"step": 1}
    assert value.numpy() == [1.0]


def test_an_export_is_loaded_and_proven_in_a_folder_of_any_name(finished_run, tmp_path):
    folder = tmp_path / "a[b]*?~ {ü}\nb"
    shutil.copytree(finished_run.folder, folder)
    images = np.zeros((1, 28, 28, 1), np.uint8)
    expected = kpipe.load(finished_run.folder).predict(images)["probabilities"]
    np.testing.assert_array_equal(kpipe.load(folder).predict(images)["probabilities"], expected)
    assert kpipe.open_run(folder).model is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/".join(ODD), "x" * 200 + "/" + "y" * 200, "ü" * 120])
def test_a_run_in_a_folder_of_any_name_is_killed_resumed_and_predicted_with(tmp_path, name):
    out = tmp_path / name
    keys = ["batch_size=64", "epochs=6", "checkpoint_seconds=0", "num_layers=0", "retrain=false"]
    command = [*KPIPE, "run", "mnist_mlp", "--data", "sample", *keys]
    run = subprocess.Popen([*command, f"--out={out}"], stdout=subprocess.DEVNULL)
    while run.poll() is None and not list(out.glob("*/history.csv")):
        time.sleep(0.01)
    run.kill()
    run.wait()
    done = subprocess.run([*command, f"--out={out}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/6" not in done.stdout  # it went on
    (folder,) = [p for p in out.iterdir() if p.is_dir()]
    from PIL import Image

    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    predict = [*KPIPE, "predict", str(folder), str(tmp_path / "digit.png")]
    done = subprocess.run(predict, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare of Linux")
@pytest.mark.parametrize("home", ["none", "writable", "read-only"])
def test_an_unknown_user_without_home_runs_or_is_told_in_one_line(tmp_path, home):
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "KPIPE_HOME")}
    environment["PYTHONPATH"] = str(HERE.parent)
    (tmp_path / "home").mkdir()
    if home != "none":
        environment["KPIPE_HOME"] = str(tmp_path / "home")
    (tmp_path / "home").chmod(0o555 if home == "read-only" else 0o755)
    keys = ["epochs=1", "num_layers=0", "retrain=false", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        # A user without a name and without root's rights, to whom the files belong.
        [*UNKNOWN, *KPIPE, "run", "mnist_mlp", "--data", "sample", *keys],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if home == "writable":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
