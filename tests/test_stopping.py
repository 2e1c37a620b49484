"""What ends a training early: signals, and what is not finite; and how rarely it saves."""

import json
import os
import pathlib
import signal
import threading
import time
import types

import keras
import numpy as np
import pytest

from kpipe import Trainer, cli
from kpipe.data import Data, Split
from kpipe.datasets import Augmentation
from kpipe.errors import Interrupted, RunError, Stopped, resumable
from kpipe.export import writing
from kpipe.inputs import Rows
from kpipe.training import callbacks as hooks
from kpipe.training import loop, weights_sha256
from kpipe.training.checkpoint import Checkpoints
from kpipe.training.signals import Flag, flagged


def points(**bad):
    """100 training and 600 validation points, some of which have other inputs or labels."""
    chance = np.random.RandomState(0)

    def split(name, count):
        inputs = chance.normal(size=(count, 3)).astype(np.float32)
        labels = inputs.sum(axis=1)
        for row, value in bad.get(name, {}).items():
            inputs[row] = value
        labels[list(bad.get(f"{name}_labels", ()))] = np.inf
        names = {"val": lambda: [f"val {i}" for i in range(count)]}.get(name)
        return Split(Rows(inputs), labels, np.arange(count), names=names)

    splits = {name: split(name, count) for name, count in (("train", 100), ("val", 600))}
    return Data("points", "own", False, "", "", (), (3,), Augmentation(), splits)


def network(normalized=True):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    # Random in validation too, so that its seed is a part of what must be put back.
    x = keras.layers.Dropout(0.2)(inputs, training=True)
    if normalized:
        x = keras.layers.BatchNormalization()(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse", run_eagerly=True)  # no time to trace
    return model


def train(model, data, folder=None, callbacks=(), **settings):
    settings = {"epochs": 2, "batch_size": 25, "patience": 0, **settings}
    return Trainer(**settings).fit(model, data, plan="graph", folder=folder, callbacks=callbacks)


# --- signals ------------------------------------------------------------------------------------


class SignalInValidation(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = []

    def on_test_batch_begin(self, batch, logs=None):
        self.batches.append(batch)
        if batch == 1:
            signal.raise_signal(signal.SIGTERM)
            # A second one ends the process.
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_signal_ends_a_validation_which_is_done_again_with_the_same_bits(tmp_path):
    data, whole = points(), network()
    expected = train(whole, data)
    callback = SignalInValidation()
    settings = {"checkpoint_seconds": 3600.0, "callbacks": [callback]}
    with pytest.raises(Stopped, match="at step 4; the same command resumes there"):
        train(network(), data, tmp_path, **settings)
    assert callback.batches == [0, 1]  # of three
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    waited = json.loads((newest / "state.json").read_text())["history"]["waiting_seconds"]
    resumed = network()
    rest = train(resumed, data, tmp_path)
    assert 0 < waited < rest.waiting_seconds < rest.seconds  # added up
    assert rest.resumed_at == 4
    assert weights_sha256(resumed) == weights_sha256(whole)
    for name, values in expected.columns.items():
        assert name == "seconds" or rest.columns[name] == values


@pytest.mark.parametrize(("hook", "step"), [("on_train_batch_begin", 1), ("on_epoch_end", 4)])
def test_a_signal_in_a_step_or_after_the_last_one_ends_the_run_at_a_commit(tmp_path, hook, step):
    callback = keras.callbacks.Callback()
    setattr(callback, hook, lambda number, logs=None: signal.raise_signal(signal.SIGINT))
    settings = {"epochs": 1, "checkpoint_seconds": 3600.0}
    with pytest.raises(Interrupted, match=f"stopped by SIGINT at step {step}"):
        train(network(), points(), tmp_path, [callback], **settings)
    assert max((tmp_path / "checkpoints").iterdir()).name == f"step-{step:012d}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_outside_training_has_its_exit_code_and_says_how_to_resume(
    monkeypatch, capsys, number, code
):
    def command(arguments):
        with resumable(), resumable():  # a learning curve contains a run
            signal.raise_signal(number)
        return 0

    monkeypatch.setattr(cli, "_command", lambda name: command)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        assert cli.main(["run"]) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.count("the same command resumes an unfinished run") == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert Stopped("x").code == 143  # of a script
    assert not issubclass(Stopped, Exception) and not issubclass(Interrupted, Exception)


def test_a_callers_own_handler_remains(monkeypatch):
    noted = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.append(number))
    try:
        with resumable():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted == [signal.SIGTERM]


def test_a_handler_that_was_not_installed_from_python_is_no_fault(monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    flag = Flag()
    try:
        with flagged(flag):
            signal.raise_signal(signal.SIGTERM)
        assert flag.number == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_proof_of_an_export_ends_with_the_process_that_started_it(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $$ > new; mv new id; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(writing, "sys", types.SimpleNamespace(executable=str(program)))

    def stop():
        while not (tmp_path / "id").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    with pytest.raises(Stopped), resumable():
        thread.start()
        writing.prove(tmp_path, [])
    thread.join()
    assert not pathlib.Path(f"/proc/{(tmp_path / 'id').read_text().strip()}").exists()


# --- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"train": {17: np.nan}}, "the loss .* epoch 1, at step [1-4]; the input of example 17 is"),
        ({"train": {17: 3e38}}, "the loss .* epoch 1, at step [1-4]; the loss of example 17 is"),
        ({"train_labels": (5, 17)}, "the loss .*; the target of example (5|17|5, .* 17) is not"),
        ({"val": {300: np.inf}}, "val_loss .* epoch 1, at step 4; the input of val 300 is not"),
        ({"val_labels": range(9)}, "the target of val 0, val 1, val 2, ... is not finite$"),
    ],
    ids=["input", "overflow", "targets", "input of val", "targets of val"],
)
def test_what_is_not_finite_ends_the_run_and_the_example_at_fault_is_named(bad, message, tmp_path):
    with pytest.raises(RunError, match=message) as caught:
        train(network(normalized=False), points(**bad), tmp_path)
    assert "last good state" not in str(caught.value)  # nothing was committed
    assert not (tmp_path / "checkpoints").exists()


def test_weights_that_are_not_finite_are_never_the_best(tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:  # after the last step of the epoch nothing would notice
                self.model.stop_training = True

        def on_train_batch_end(self, batch, logs=None):
            if self.model.stop_training:
                self.model.layers[-1].bias.assign([np.nan])

    model, plateau = network(), keras.callbacks.ReduceLROnPlateau("val_loss")
    with pytest.raises(RunError, match="a weight became NaN or infinite in epoch 2"):
        train(model, points(), tmp_path, [Poison(), plateau])
    assert "_is_improvement" in vars(plateau)  # of `ignore_nan`
    assert np.isfinite(model.get_weights()[-1]).all()  # the best so far


class Saved:
    """Stands for a model that a ModelCheckpoint saves."""

    def __init__(self):
        self.epochs, self.optimizer = [], None

    def save_weights(self, path, overwrite):
        self.epochs.append(pathlib.Path(path).name)


@pytest.mark.parametrize(("mode", "values"), [("min", [3, 2, 5]), ("max", [2, 3, 1])])
def test_nan_is_never_an_improvement_and_a_worse_value_none_after_a_resume(mode, values, tmp_path):
    nan, saved = float("nan"), Saved()

    def callback():
        made = keras.callbacks.ModelCheckpoint(
            tmp_path / "{epoch}.weights.h5", "m", mode=mode, save_best_only=True,
            save_weights_only=True,
        )  # fmt: skip
        made.set_model(saved)
        hooks.ignore_nan([made])
        return made

    first = callback()
    for epoch, value in enumerate([nan, *values[:2], nan]):
        first.on_epoch_end(epoch, {"m": value})
    state = json.loads(json.dumps(hooks.state([first])))
    resumed = callback()
    resumed.on_train_begin()
    hooks.restore([resumed], state)
    for epoch, value in enumerate([values[2], values[0], nan]):
        resumed.on_epoch_end(4 + epoch, {"m": value})
    assert saved.epochs == ["2.weights.h5", "3.weights.h5"]


@pytest.mark.parametrize("kind", [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau])
def test_a_first_epoch_that_is_nan_is_not_the_best(kind):
    model = network()
    callback = kind("m", mode="min", patience=9)
    callback.set_model(model)
    hooks.ignore_nan([callback])
    callback.on_train_begin()
    for epoch, value in enumerate([float("nan"), 3.0, float("nan"), 4.0]):
        callback.on_epoch_end(epoch, {"m": value})
    assert callback.best == 3.0


# --- when a training saves ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "setting", "longest"),  # seconds
    [(0.001, 20.0, 22), (0.3, 20.0, 32), (0.9, 20.0, 52), (9.0, 20.0, 60), (0.9, 0.0, 2)],
)
def test_at_most_a_minute_is_lost_and_saving_takes_a_fiftieth(monkeypatch, cost, setting, longest):
    """An hour of steps of a second."""
    now, saves = [0.0], [0.0]
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    training = loop.Loop.__new__(loop.Loop)
    training.checkpoints, training.signal = object(), Flag()
    training.checkpoint_seconds, training.commit_seconds, training.committed = setting, 0.0, 0.0

    def commit():
        now[0] += cost
        training.committed, training.commit_seconds = now[0], cost
        saves.append(now[0])

    training._commit = commit
    while now[0] < 3600:
        now[0] += 1.0
        training._commit_if_due()
    assert np.diff(saves).max() <= longest
    assert cost > 1 or not setting or cost * len(saves) / now[0] < 0.02
    due = len(saves)
    training._commit_if_due(ahead=60.0)  # a long validation follows
    assert len(saves) == due + 1


def test_what_was_trained_is_saved_before_a_long_validation(monkeypatch, tmp_path):
    now, saved = [0.0], []

    class Slow(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            now[0] += 3.0  # then validation takes about 72 s

    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Checkpoints, "save", lambda self, *of_step: saved.append(of_step))
    train(network(), points(), tmp_path, [Slow()], epochs=1, checkpoint_seconds=60.0)
    rows = [(step, len(state["history"]["rows"])) for step, state in saved]
    assert rows == [(4, 0), (4, 1)]
