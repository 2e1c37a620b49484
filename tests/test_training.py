import itertools
import json
import re
import weakref

import keras
import numpy as np
import pytest

from kpipe import Trainer, files
from kpipe.errors import RunError, UserError, WriteError
from kpipe.training import (
    Schedule,
    choose_plan,
    leaf_layers,
    make_train_function,
    training_batches,
    weights_sha256,
)


@pytest.fixture(scope="module")
def few(digits):
    """200 training and 144 validation digits."""
    import dataclasses

    train = dataclasses.replace(digits.train, rows=digits.train.rows[:200])
    return dataclasses.replace(digits, splits={**digits.splits, "train": train})


class StopAt(keras.callbacks.Callback):
    """Ends the training abruptly after so many batches, as a kill would."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_begin(self, batch, logs=None):
        if self.left == 0:
            raise InterruptedError
        self.left -= 1


def train(model, data, folder=None, callbacks=(), plan="graph", **settings):
    options = {"epochs": 3, "batch_size": 32, "checkpoint_seconds": 0.0, **settings}
    return Trainer(**options).fit(model, data, plan=plan, folder=folder, callbacks=callbacks)


@pytest.fixture(scope="module")
def trained(few, small_model):
    """A model that was trained without interruption, and its history; to be left as they are."""
    model = small_model()
    return model, train(model, few)


def test_the_loop_trains_as_keras_fit_does(few, small_model, trained):
    from kpipe.training.batches import Schedule, training_batches

    ours, history = trained
    # The same batches through Model.fit; a lone axis of steps is taken off.
    theirs = small_model()
    batches = training_batches(few.train, Schedule(200, 32), few.augmentation, 0, 0, epochs=3)
    batches = batches.map(lambda images, labels: (images[0], labels[0]))
    kept = keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True)
    expected = theirs.fit(
        batches,
        steps_per_epoch=7,
        epochs=3,
        validation_data=few.val.batches(256),
        callbacks=[kept],
        verbose=0,
        shuffle=False,
    ).history
    for name, values in expected.items():
        np.testing.assert_allclose(history.columns[name], values, rtol=1e-6)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_fused_plan_gives_what_the_graph_gives(few, small_model, trained, optimizer):
    graph, history = trained
    if optimizer != "adam":
        graph = small_model(optimizer)
        history = train(graph, few, plan="graph")
    fused = small_model(optimizer)
    a, b = history.columns, train(fused, few, plan="fused:2").columns
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4)
    for x, y in zip(graph.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize(
    ("plan", "steps", "scaled"),
    [("graph", 1, False), ("fused:2", 1, False), ("fused:2", 2, False), ("graph", 2, True)],
    ids=["graph", "fused", "accumulated", "accumulated in a loss scale"],
)
def test_a_model_that_nobody_keeps_is_freed_with_its_weights(few, small_model, plan, steps, scaled):
    """A search trains hundreds in one process."""
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=steps if steps > 1 else None)
    model = small_model(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    train(model, few, plan=plan, epochs=1, batch_size=25)
    memory = [weakref.ref(variable.value.handle) for variable in model.variables]
    del model, optimizer
    keras.utils.clear_session()
    assert [reference() for reference in memory] == [None] * len(memory)


@pytest.mark.parametrize(
    ("plan", "optimizer", "cuts", "steps"),  # in the first epoch, at its end, in a later one
    [
        ("graph", "adam", [2, 5, 9], [2, 7, 16]),
        ("fused:2", "sgd", [5], [9]),  # XLA compiles it faster than adam
    ],
)
def test_a_run_cut_off_anywhere_ends_with_the_same_bits(
    few, small_model, tmp_path, plan, optimizer, cuts, steps
):
    options = {"plan": plan, "reduce_lr_patience": 1, "patience": 2}
    whole = small_model(optimizer, dropout=0.5)
    history = train(whole, few, **options)
    resumed = small_model(optimizer, dropout=0.5)
    for batches, step in zip(cuts, steps, strict=True):
        with pytest.raises(InterruptedError):
            train(resumed, few, tmp_path, [StopAt(batches)], **options)
        newest = max((tmp_path / "checkpoints").iterdir())
        assert newest.name == f"step-{step:012d}"
        # All that matters comes from the checkpoint.
        resumed = small_model(optimizer, dropout=0.5, seed=99)
    rest = train(resumed, few, tmp_path, **options)
    assert rest.resumed_at == steps[-1]
    assert weights_sha256(resumed) == weights_sha256(whole)
    assert _comparable(rest) == _comparable(history)


def test_a_short_batch_is_trained_on_alike_whatever_came_before(digits):
    """A run can be resumed just before the last batch of an epoch."""
    images = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(images)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    schedule, start = Schedule(64 + 61, 64), model.get_weights()
    split = digits.train.at(np.arange(schedule.num_examples))
    batches = training_batches(split, schedule, digits.augmentation, 0, 0, epochs=1)
    full, short = batches
    found = []
    for given in ([full, short], [short], [short, full, short]):
        train = make_train_function(model, "graph", batches.element_spec, schedule.full_batch)
        for batch in given:
            model.set_weights(start)
            train(*batch)
        found.append(weights_sha256(model))
    assert len(set(found)) == 1


def _comparable(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


def test_the_seed_of_dropout_is_part_of_the_state(few, small_model, tmp_path, monkeypatch):
    """The control: a checkpoint without the seed generators must not give the same bits."""
    whole = small_model(dropout=0.5)
    train(whole, few)
    monkeypatch.setattr(
        keras.Model,
        "variables",
        property(lambda model: model.weights),  # as tf.train.Checkpoint(model) would do
    )
    with pytest.raises(InterruptedError):
        train(small_model(dropout=0.5), few, tmp_path, [StopAt(9)])
    resumed = small_model(dropout=0.5)
    train(resumed, few, tmp_path)
    assert weights_sha256(resumed) != weights_sha256(whole)


def test_a_finished_training_is_not_trained_again(few, small_model, tmp_path):
    model = small_model()
    train(model, few, str(tmp_path))
    again = small_model(seed=5)
    history = train(again, few, tmp_path, callbacks=[StopAt(0)])
    assert weights_sha256(again) == weights_sha256(model)
    assert history.stopped_by == "epochs"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    few, small_model, trained, tmp_path, capsys
):
    whole, _ = trained
    with pytest.raises(InterruptedError):
        train(small_model(), few, tmp_path, [StopAt(9)])
    newest = max((tmp_path / "checkpoints").iterdir())
    shard = next(newest.glob("variables.data*"))
    shard.write_bytes(shard.read_bytes()[:100])
    resumed = small_model()
    train(resumed, few, tmp_path)
    assert f"{newest} cannot be read" in capsys.readouterr().out
    assert weights_sha256(resumed) == weights_sha256(whole)


def test_checkpoints_of_another_model_are_refused(few, small_model, tmp_path):
    with pytest.raises(InterruptedError):
        train(small_model(), few, tmp_path, [StopAt(4)])
    with pytest.raises(RunError, match="no checkpoint can be read or fits the model"):
        train(small_model(optimizer="sgd"), few, tmp_path)


def test_the_best_epoch_is_restored_and_patience_ends_the_run(few, small_model):
    model = small_model(keras.optimizers.SGD(2.0))  # too large on purpose: it jumps about
    history = train(model, few, epochs=30, patience=3, monitor="val_accuracy")
    values = history.columns["val_accuracy"]
    assert history.stopped_by == "early stopping" and len(values) < 30
    assert history.best_epoch == int(np.argmax(values)) + 1
    assert len(values) == history.best_epoch + 3
    results = model.evaluate(few.val.batches(256), verbose=0, return_dict=True)
    assert results["accuracy"] == pytest.approx(max(values))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_good_state(
    few, small_model, tmp_path
):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = float("inf")

    with pytest.raises(RunError, match=r"NaN or infinite in epoch 2, at step (8|9).*last good"):
        train(small_model("sgd"), few, tmp_path, [Poison()])
    state = json.loads((max((tmp_path / "checkpoints").iterdir()) / "state.json").read_text())
    assert len(state["history"]["rows"]) == 1


def test_no_state_is_named_where_none_was_kept(few, small_model, tmp_path):
    optimizer = keras.optimizers.SGD(float("inf"))
    with pytest.raises(RunError, match=r"NaN or infinite in epoch 1, .*learning_rate$"):
        train(small_model(optimizer), few, tmp_path, checkpoint_seconds=3600.0)
    assert not (tmp_path / "checkpoints").exists()


def test_a_budget_ends_the_training_in_time(few, small_model):
    trainer = Trainer(epochs=1_000_000, batch_size=32, patience=0)
    history = trainer.fit(small_model(), few, plan="graph", budget=0.5)
    assert history.stopped_by == "budget"
    assert 0.5 <= history.seconds < 120  # one more validation; a busy machine compiles slowly
    assert history.rows[-1]["val_loss"] > 0


def test_an_unknown_monitor_is_refused(few, small_model):
    with pytest.raises(
        UserError, match=r"monitor=val_acc: no such metric; expected .*val_accuracy"
    ):
        train(small_model(), few, monitor="val_acc")


def test_reduce_on_plateau_is_seen_in_the_history(few, small_model):
    model = small_model(keras.optimizers.SGD(2.0))
    rates = train(model, few, epochs=12, patience=0, reduce_lr_patience=1).columns["learning_rate"]
    assert rates[0] == 2.0 and rates[-1] < 2.0
    steps = {round(b / a, 3) for a, b in itertools.pairwise(rates)}
    assert steps <= {1.0, 0.2}


def test_the_plan_is_a_fixed_rule(small_model):
    from kpipe import models

    dense, convolutional = small_model(), models.cnn((16, 16, 3), 2)
    # 421 full batches: 5 programs of 84 steps, and one step left over.
    assert choose_plan(dense, 54_000, 128, epochs=30) == "fused:84"
    assert choose_plan(dense, 1_293, 128, epochs=30) == "kernels"
    assert choose_plan(convolutional, 54_000, 128, epochs=30) == "kernels"
    # Encoder and decoder are models in a model.
    assert choose_plan(models.vae((28, 28, 1), 2), 54_000, 128, epochs=30) == "fused:21"
    assert choose_plan(models.joint_vae((32, 32, 1)), 54_000, 64, epochs=30) == "kernels"


@pytest.mark.parametrize("plan", ["fusd:8", "fused:1", "fused:1025", "fused:x", "8"])
def test_an_unknown_plan_is_refused(few, small_model, plan):
    with pytest.raises(UserError, match=f"plan {plan}: expected graph, kernels, auto, or fused:K"):
        train(small_model(), few, plan=plan)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("batch_size", 0, "an integer from 1 to 1,000,000"),
        ("epochs", 1e3, "an integer from 1 to 1,000,000"),
        ("patience", True, "an integer from 0 to 1,000,000"),
        ("checkpoint_seconds", "20", "a number from 0 to 86,400"),
        ("checkpoint_seconds", float("nan"), "a number from 0 to 86,400"),
        ("retrain", "false", "True or False"),
        ("monitor", None, "a text"),
        ("monitor_mode", "up", "one of auto, min, max"),
    ],
)
def test_a_setting_of_another_type_or_range_is_refused(field, value, expected):
    with pytest.raises(UserError, match=re.escape(f"({field}={value!r}): expected {expected}")):
        Trainer(**{field: value})


def test_settings_from_numpy_are_pythons():
    trainer = Trainer(epochs=np.int64(3), checkpoint_seconds=20)
    assert type(trainer.epochs) is int and type(trainer.checkpoint_seconds) is float


def test_a_batch_that_accumulates_cannot_be_larger_than_the_data(small_model):
    model = small_model(keras.optimizers.SGD(gradient_accumulation_steps=2))
    with pytest.raises(UserError, match=r"batch_size=2000 does not .* the nearest .* do: 54$"):
        Trainer(batch_size=2000).check(model, 54)


def test_leaf_layers_are_those_of_the_models_within():
    from kpipe import models

    model = models.autoencoder((4, 4, 1), 2, units=(3,))
    names = [layer.name for layer in leaf_layers(model)]
    assert names[0] == "images" and "encoder" not in names and names.count("code") == 1
    assert sum(layer.count_params() for layer in leaf_layers(model)) == model.count_params()


def test_a_metrics_parts_are_logged_and_not_shown(capsys):
    from kpipe.training.progress import Progress

    row = {"epoch": 1, "step": 5, "seconds": 1.0, "loss": 2.0, "kl": 1.5, "kl/0": 1.5}
    progress = Progress(epochs=3, steps_per_epoch=5, step=0)
    progress.begin(0)
    progress.step(5, {"loss": 2.0, "kl/0": 1.5})
    progress.end(row)
    shown = capsys.readouterr().out
    assert "kl 1.5" in shown and "kl/0" not in shown


@pytest.mark.parametrize(
    ("epochs", "seconds", "lines"), [(30, 0.1, 30), (300, 0.1, 16), (40, 3, 40)]
)
def test_short_epochs_do_not_fill_a_log(capsys, monkeypatch, epochs, seconds, lines):
    from kpipe.training import progress

    now = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds * next(now))
    shown = progress.Progress(epochs=epochs, steps_per_epoch=1, step=0)
    for epoch in range(1, epochs + 1):
        shown.end({"epoch": epoch, "seconds": seconds, "loss": 1.0})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    assert printed[0].split()[1] == f"1/{epochs}" and f"epoch {epochs}/{epochs} " in printed[-1]


def test_history_csv_has_the_promised_columns(trained):
    _, history = trained
    lines = history.to_csv().splitlines()
    assert lines[0].split(",")[:4] == ["epoch", "step", "seconds", "learning_rate"]
    assert [line.split(",")[:2] for line in lines[1:]] == [["1", "7"], ["2", "14"], ["3", "21"]]


@pytest.mark.parametrize("failing", [1, 2])  # after the epoch, and after the training
def test_history_csv_that_could_not_be_written_is_written_when_the_training_is_resumed(
    tmp_path, few, small_model, monkeypatch, failing
):
    write, written = files.write_bytes, []

    def fill_up(path, content):
        written.append(path)
        if len(written) == failing:
            raise WriteError("the disk is full")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", fill_up)
        with pytest.raises(WriteError):
            train(small_model(), few, tmp_path, epochs=1)
    (tmp_path / "history.csv").unlink(missing_ok=True)
    history = train(small_model(), few, tmp_path, epochs=1)
    assert (tmp_path / "history.csv").read_text() == history.to_csv()
    assert written[failing - 1] == tmp_path / "history.csv"
