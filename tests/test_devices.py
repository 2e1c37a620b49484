"""Steps that are divided into shards, in one process and in several."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from kpipe.errors import UserError
from kpipe.training import Devices, Trainer
from kpipe.training.shards import check_mean, sizes_of

STEPS = {"epochs": 1, "batch_size": 64, "patience": 0}


@pytest.fixture(scope="module")
def few(digits):
    """67 training examples: a batch of 64 and one of 3."""
    import dataclasses

    train = digits.train.at(np.arange(67))
    val = digits.val.at(np.arange(20))
    return dataclasses.replace(digits, splits={**digits.splits, "train": train, "val": val})


def network(
    layers=lambda: [], metrics=("accuracy",), loss="sparse_categorical_crossentropy", **options
):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    first = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*first, *layers(), keras.layers.Dense(10, "softmax")])
    model.compile("sgd", loss, metrics=list(metrics), **options)
    return model


def trained(few, model, devices=None, **settings):
    trainer = Trainer(**{**STEPS, **settings})
    history = trainer.fit(model, few, devices=devices, plan="graph")
    return model.get_weights(), history.rows[-1]


def test_sizes_differ_by_at_most_one_and_the_larger_ones_come_first():
    assert sizes_of(7, 3) == [3, 2, 2]
    assert sizes_of(2, 4) == [1, 1, 0, 0]


def test_a_step_in_shards_equals_the_undivided_one_up_to_rounding(few):
    shards = 4  # the last batch of 3 leaves one empty

    def build():
        l2 = {"kernel_regularizer": "l2", "activity_regularizer": "l2"}

        def layers():
            return [keras.layers.Dense(8, "relu", **l2)]

        top5 = keras.metrics.SparseTopKCategoricalAccuracy(5)
        model = network(layers, metrics=["accuracy", top5], weighted_metrics=["accuracy"])
        model.optimizer.global_clipnorm = 0.5
        return model

    weights = {"class_weight": {0: 1.0, 1: 5.0, 7: 0.0}}
    whole, row = trained(few, build(), **weights)
    divided, other = trained(few, build(), Devices(shards), **weights)
    for a, b in zip(whole, divided, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for name in row.keys() - {"seconds"}:
        assert other[name] == pytest.approx(row[name], rel=1e-5), name


def test_moving_statistics_are_the_mean_over_the_shards_and_dropout_differs_between_them(few):
    def after(devices):
        model = network(lambda: [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])
        weights, row = trained(few, model, devices, batch_size=128)  # one step
        seeds = [v.numpy() for v in model.non_trainable_variables if "seed" in v.path]
        return weights, row, seeds

    (whole, row, seeds), (divided, other, same) = after(None), after(Devices(2))
    np.testing.assert_array_equal(seeds, same)  # counts of draws do not depend on shards
    assert row["loss"] != other["loss"]
    mean, variance = 2, 3  # gamma, beta, moving mean, moving variance
    np.testing.assert_allclose(whole[mean], divided[mean], atol=1e-6)
    np.testing.assert_allclose(whole[variance], divided[variance], atol=0.02)


class SumOverBatch(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.sum(x))
        return x


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def test_what_would_train_another_network_is_refused_in_one_line(few):
    with pytest.raises(UserError, match=r"is not the mean of its parts.*without --devices"):
        trained(few, network(lambda: [SumOverBatch()]), Devices(2))
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    model = network(loss=loss)
    model.test_on_batch(np.zeros((1, 28, 28, 1)), np.zeros(1))
    with pytest.raises(UserError, match="not the mean of its parts"):
        check_mean(model, few.train, lambda inputs, targets: targets)
    with pytest.raises(UserError, match="batch_size=64 is no multiple of 3 shards; use 63 or 66"):
        trained(few, network(), Devices(3))
    own = OwnStep([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    own.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(UserError, match="train_step of its own"):
        trained(few, own, Devices(2))
    with pytest.raises(UserError, match="plan fused:8: steps that are divided"):
        Trainer(**STEPS).fit(network(), few, devices=Devices(2), plan="fused:8")
    with pytest.raises(UserError, match="3 devices cannot divide 4 shards equally; use 1, 2, 4"):
        Devices(4, addresses=["a:1", "b:1", "c:1"])


def test_a_run_in_shards_has_a_folder_and_a_record_of_its_own(tmp_path):
    import kpipe
    from kpipe.experiments.describing import new_record
    from kpipe.experiments.folders import run_folder
    from kpipe.experiments.running import open_experiment

    given = {"data": "sample", "data_dir": None, "seed": 0}
    experiment = open_experiment("mnist_mlp", {}, shards=2, **given)
    assert run_folder(tmp_path, experiment, shards=2).name == "mnist_mlp-sample,shards=2"
    assert new_record(experiment).shards == 2
    with pytest.raises(UserError, match="restart Python, or use the command"):
        Devices(2, 0, ["127.0.0.1:1", "127.0.0.1:2"]).connect()
    with pytest.raises(UserError, match="--devices all: this machine has no GPU"):
        kpipe.run("mnist_mlp", data="sample", out=tmp_path, devices="all")
    with pytest.raises(UserError, match="devices: other processes cannot have callbacks"):
        kpipe.run({}, out=tmp_path, devices=2)


# --- processes ------------------------------------------------------------------------------------

OPTIONS = ["mnist_mlp", "--data", "sample", "epochs=4", "num_layers=1", "units_1=64"]
OPTIONS += ["dropout=0.3", "batch_size=100", "checkpoint_seconds=0"]  # the last batch is short
CODE = "import sys; sys.argv[0] = 'kpipe'; from kpipe.cli import main; sys.exit(main())"


def start(out, *options):
    command = [sys.executable, "-c", CODE, "run", *OPTIONS, "--out", str(out), *options]
    root = str(pathlib.Path(__file__).parent.parent)
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(out, *options):
    process = start(out, *options)
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, said + errors
    return said


def weights(out):
    (path,) = pathlib.Path(out).glob("*/run.json")
    record = json.loads(path.read_text())
    assert (record["status"], record["problems"]) == ("finished", [])
    return record["weights_sha256"]


def until_step(out, step):
    deadline = time.monotonic() + 100
    while not any(int(p.name[5:]) >= step for p in pathlib.Path(out).glob("*/checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def followers(process):
    folder = pathlib.Path(f"/proc/{process.pid}/task")
    pids = {int(pid) for task in folder.glob("*/children") for pid in task.read_text().split()}
    return [
        pid
        for pid in pids
        if b"kpipe.experiments.following" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def alive(pid):
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    finish(out, "--shards", "2")
    return weights(out)


@pytest.mark.slow
def test_two_processes_have_the_bits_of_one(one_process, tmp_path):
    finish(tmp_path, "--devices", "2")
    assert weights(tmp_path) == one_process


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["device 0", "device 1", "SIGTERM", "SIGINT"])
def test_whatever_ends_a_process_ends_all_and_the_same_command_resumes(
    one_process, tmp_path, killed
):
    process = start(tmp_path, "--devices", "2")
    until_step(tmp_path, 17)
    (other,) = followers(process)
    if killed == "device 1":
        os.kill(other, signal.SIGKILL)
    else:
        number = signal.SIGKILL if killed == "device 0" else getattr(signal, killed)
        process.send_signal(number)
    ended = time.monotonic()
    _, errors = process.communicate(timeout=60)
    while alive(other) and time.monotonic() < ended + 20:
        time.sleep(0.1)
    assert not alive(other)
    codes = {"device 0": -9, "device 1": 1, "SIGTERM": 143, "SIGINT": 130}
    assert process.returncode == codes[killed], errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    if killed == "device 1":
        assert lines == [
            "error: the process of device 1 ended (signal 9); the same command resumes at the "
            "last checkpoint"
        ]
    # What two processes began, one ends, and the other way round.
    again = ["--shards", "2"] if killed in ("device 0", "SIGTERM") else ["--devices", "2"]
    assert "resuming at epoch" in finish(tmp_path, *again)
    assert weights(tmp_path) == one_process


@pytest.mark.slow
def test_two_hosts_have_the_bits_of_one(one_process, tmp_path):
    import socket

    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        hosts = ",".join(f"127.0.0.1:{s.getsockname()[1]}" for s in (a, b))
    other = start(tmp_path / "b", "--hosts", hosts, "--host-index", "1")
    first = start(tmp_path / "a", "--hosts", hosts)
    for process in (first, other):
        said, errors = process.communicate(timeout=200)
        assert process.returncode == 0, said + errors
    assert weights(tmp_path / "a") == one_process
    assert not list((tmp_path / "b").glob("*"))
