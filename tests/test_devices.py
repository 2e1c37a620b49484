"""Steps that are divided into shards, in one process and in several."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from kpipe.errors import RunError, UserError
from kpipe.training import Devices, make_train_function
from kpipe.training.divisible import check, check_mean
from kpipe.training.shards import make_sharded_train_function, sizes_of

CROSSENTROPY = "sparse_categorical_crossentropy"


def network(*layers, optimizer="sgd", loss=CROSSENTROPY, metrics=(), outputs=2, **options):
    """A small compiled network; `layers` are functions, called after the seed is set."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    own = [layer() for layer in layers]
    activation = "softmax" if outputs > 1 else "sigmoid"
    last = keras.layers.Dense(outputs, activation, dtype="float32")
    model = keras.Sequential([keras.Input((3,)), *own, last])
    model.compile(optimizer, loss, metrics=list(metrics), **options)
    return model


def trained(model, shards=0, examples=(8, 3), weighted=False):
    """Trains for a step on as many examples each, all but the last a batch; returns values."""
    random = np.random.default_rng(0)
    types = (tf.float32, tf.int32, tf.float32)[: 2 + weighted]
    spec = [tf.TensorSpec((1, None, 3)[: 3 - (i > 0)], kind) for i, kind in enumerate(types)]
    model.build((None, 3))
    model.optimizer.build(model.trainable_variables)
    model._symbolic_build(data_batch=(np.zeros((1, 3), "f"), np.zeros(1, "i")))
    if shards:
        check(model, shards, examples[0])
        step = make_sharded_train_function(model, Devices(shards), spec, examples[0])
    else:
        step = make_train_function(model, "graph", spec, examples[0])
    for count in examples:
        x, y = random.normal(size=(1, count, 3)), random.integers(0, 2, (1, count))
        weight = random.uniform(size=(1, count))
        logs = step(*(tf.constant(v, t) for v, t in zip((x, y, weight), types, strict=False)))
    variables = model.variables + model.optimizer.variables + model.metrics_variables
    return [v.numpy().astype("float64") for v in variables if "seed" not in v.path], logs


def test_sizes_differ_by_at_most_one_and_the_larger_ones_come_first():
    assert sizes_of(7, 3) == [3, 2, 2]
    assert sizes_of(2, 4) == [1, 1, 0, 0]


def regularized():
    return keras.layers.Dense(4, "relu", kernel_regularizer="l2", activity_regularizer="l2")


def averaging():
    options = {"global_clipnorm": 0.5, "weight_decay": 0.1, "gradient_accumulation_steps": 2}
    return keras.optimizers.SGD(0.1, 0.9, use_ema=True, **options)


def assert_equal_up_to_rounding(build, atol=1e-6, **options):
    whole, logs = trained(build(), **options)
    divided, others = trained(build(), 4, **options)  # the last batch of 3 leaves one empty
    for a, b in zip(whole, divided, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)
    for name, value in logs.items():
        assert float(others[name]) == pytest.approx(float(value), rel=1e-5, abs=atol), name


def test_a_step_in_shards_equals_the_undivided_one_up_to_rounding():
    def build():
        entropy = keras.metrics.SparseCategoricalCrossentropy()
        options = {"optimizer": averaging(), "weighted_metrics": ["accuracy"]}
        return network(regularized, metrics=["accuracy", entropy], **options)

    assert_equal_up_to_rounding(build, weighted=True)


@pytest.mark.slow
def test_mixed_precision_and_auc_equal_those_of_the_undivided_step():
    def mixed():
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
        return network(
            lambda: keras.layers.Dense(4, "relu", dtype="mixed_float16"), optimizer=optimizer
        )

    def auc():
        metrics = [keras.metrics.AUC()]
        return network(outputs=1, loss="binary_crossentropy", metrics=metrics)

    assert_equal_up_to_rounding(mixed, atol=1e-3)
    assert_equal_up_to_rounding(auc)


def test_moving_statistics_are_the_mean_over_the_shards_and_dropout_differs_between_them():
    def after(shards):
        model = network(keras.layers.BatchNormalization, lambda: keras.layers.Dropout(0.5))
        _, logs = trained(model, shards, examples=(8,))
        seeds = [v.numpy() for v in model.non_trainable_variables if "seed" in v.path]
        return model.layers[0], float(logs["loss"]), seeds

    (whole, loss, seeds), (divided, other, same) = after(0), after(2)
    np.testing.assert_array_equal(seeds, same)  # counts of draws do not depend on shards
    assert loss != other
    np.testing.assert_allclose(whole.moving_mean, divided.moving_mean, atol=1e-6)
    np.testing.assert_allclose(whole.moving_variance, divided.moving_variance, atol=0.02)
    assert not np.array_equal(whole.moving_variance, divided.moving_variance)


class Changes(keras.layers.Layer):
    """Does in the forward pass what a function of layer and inputs says."""

    def __init__(self, what, dtype="float32"):
        super().__init__()
        self.what = what
        self.state = self.add_weight(dtype=dtype, initializer="zeros", trainable=False)

    def call(self, x):
        return self.what(self, x)


def adds_sum(layer, x):
    layer.add_loss(keras.ops.sum(x))
    return x


def counts(layer, x):
    layer.state.assign(layer.state + 1)
    return x


def draws(layer, x):
    return x + tf.random.normal(tf.shape(x))


class Examples:
    """Three examples, as a split gives them."""

    def __len__(self):
        return 3

    def take_pairs(self, rows):
        return np.eye(3, dtype="float32")[rows], np.array([0, 1, 1])[rows]


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


@pytest.mark.parametrize(
    ("message", "layers"),
    [
        ("variable of type float64, expected float32", [lambda: Changes(counts, "float64")]),
        ("with RandomStandardNormal, which no shard can", [lambda: Changes(draws)]),
        (
            r"batch_norm\w* is synchronized",
            [lambda: keras.layers.BatchNormalization(synchronized=True)],
        ),
    ],
)
def test_what_shards_would_silently_compute_otherwise_is_refused(message, layers):
    with pytest.raises(UserError, match=f"{message}.* without --devices and --shards"):
        trained(network(*layers), 2)


def test_outputs_that_float32_does_not_contain_are_refused():
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(1)(inputs)
    model = keras.Model(inputs, keras.ops.cast(outputs, "float64"))
    model.compile("sgd", "mse")
    with pytest.raises(UserError, match="outputs of type float64, expected float32"):
        trained(model, 2)


def test_what_would_train_another_network_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"is not the mean of its parts.*without --devices"):
        check_mean(network(lambda: Changes(adds_sum)), Examples(), None)
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    with pytest.raises(UserError, match="not the mean of its parts"):
        check_mean(network(loss=loss), Examples(), lambda inputs, targets: targets)
    with pytest.raises(UserError, match="batch_size=64 is no multiple of 3 shards; use 63 or 66"):
        check(network(), 3, 64)
    own, on_object = OwnStep([keras.Input((3,)), keras.layers.Dense(2)]), network()
    own.compile("sgd", CROSSENTROPY)
    on_object.train_step = on_object.test_step
    for model in (own, on_object):
        with pytest.raises(UserError, match="train_step of its own"):
            check(model, 2, 64)
    with pytest.raises(UserError, match="plan fused:8: steps that are divided"):
        check(network(), 2, 64, "fused:8")
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
    for options in ({"devices": 2}, {"hosts": ["a", "b"]}):
        with pytest.raises(UserError, match="2 devices cannot divide 1 shards equally"):
            kpipe.run("mnist_mlp", out=tmp_path, shards=1, **options)
    with pytest.raises(UserError, match="shards=-2: expected a number from 1"):
        kpipe.run("mnist_mlp", out=tmp_path, shards=-2)


def test_a_continued_run_has_no_callbacks_on_devices_either(monkeypatch):
    import kpipe
    from kpipe.experiments import running

    again = {"name": "mnist_mlp", "overrides": {}, "data_dir": None, "shards": 2}
    monkeypatch.setattr(running, "open_continuation", lambda folder: mock.Mock())
    monkeypatch.setattr(running, "arguments_of", lambda *run: again)
    with pytest.raises(UserError, match="devices: other processes cannot have callbacks"):
        kpipe.run(continue_from="run", devices=2, callbacks=[keras.callbacks.Callback()])


def test_processes_are_told_what_was_set_in_process_0():
    from kpipe.experiments.running import _found, open_experiment

    given = {"data": "auto", "data_dir": None, "seed": 0}
    experiment = open_experiment("mnist_mlp", {}, dtype_policy="mixed_float16", **given)
    keras.config.set_dtype_policy("float32")
    assert _found(experiment) == {"data": "sample", "dtype_policy": "mixed_float16"}


def test_another_gpu_of_a_machine_is_no_other_machine(monkeypatch):
    from kpipe import environment

    seen = []
    for number in (0, 1):
        gpu = tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU")
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind, gpu=gpu: [gpu])
        seen.append(environment.machine()["gpus"])
    assert seen[0] == seen[1] == ["/physical_device:GPU:0"]


def test_who_is_still_sent_the_end_takes_nobody_for_killed(monkeypatch):
    parts = [tf.zeros(1), RunError("the process of device 1 ended")]

    def gather(devices, part):
        result = parts.pop(0)
        if isinstance(result, RunError):
            raise result

    monkeypatch.setattr(Devices, "gather", gather)
    Devices(2).leave()
    parts.append(RunError("the process of device 1 ended"))
    with pytest.raises(RunError):  # it has not come that far
        Devices(2).leave()


@pytest.mark.slow
def test_a_process_that_waits_for_another_machine_can_be_interrupted(tmp_path):
    with start(tmp_path, "--hosts", "127.0.0.1:24391,127.0.0.1:24392") as process:
        assert any(line.startswith("connecting") for line in process.stdout)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


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
