"""The Trainer's loop against `Model.fit`: same model, same batches, same bits."""

import dataclasses
import json
import logging
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from kpipe import Trainer, models
from kpipe.errors import UserError
from kpipe.inputs import InputTargets
from kpipe.training import Schedule, choose_plan, training_batches, weights_sha256
from kpipe.training.supervision import Supervision
from kpipe.training.weighting import by_class

BATCH, EPOCHS = 32, 3


@pytest.fixture(scope="module")
def few(digits):
    """192 training digits, which are 6 batches, and 144 validation digits."""
    train = dataclasses.replace(digits.train, rows=digits.train.rows[:192])
    return dataclasses.replace(digits, splits={**digits.splits, "train": train})


@pytest.fixture(scope="module")
def unvalidated(few):
    """The same without val: the last epoch's weights stay, as in `fit`."""
    return dataclasses.replace(few, splits={k: v for k, v in few.splits.items() if k != "val"})


def network(
    optimizer="adam", loss="sparse_categorical_crossentropy", cls=None, policy=None, **options
):
    """A small network; the same at each call."""
    keras.utils.clear_session(free_memory=False)
    if policy:  # a new session forgets it
        keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = models.mlp((28, 28, 1), 10, units=(16,), dropout=0.2)
    if cls:
        model = cls(model.inputs, model.outputs[0])
    options = {"metrics": ["accuracy"], **options}
    model.compile(optimizer() if callable(optimizer) else optimizer, loss, **options)
    return model


def train(model, data, *, plan="graph", folder=None, callbacks=(), **settings):
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "patience": 0, **settings}
    trainer = Trainer(checkpoint_seconds=0.0, **settings)
    return trainer.fit(model, data, plan=plan, folder=folder, callbacks=callbacks)


def fit(model, data, *, callbacks=(), weigh=None, epochs=EPOCHS, **options):
    """`Model.fit` on the batches of the Trainer."""
    schedule = Schedule(len(data.train), BATCH)
    given = (data.augmentation, 0, 0, epochs, Supervision(weigh))
    batches = training_batches(data.train, schedule, *given)
    batches = batches.map(lambda *batch: tuple(part[0] for part in batch))
    val = data.val and data.val.batches(256)
    return model.fit(
        batches,
        steps_per_epoch=schedule.steps_per_epoch if epochs > 1 else None,
        epochs=epochs,
        validation_data=val,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
        **options,
    ).history


def best_kept():
    return keras.callbacks.EarlyStopping("val_loss", patience=99, restore_best_weights=True)


class KeepAt(keras.callbacks.Callback):
    """Copies a run's folder after so many batches: what a kill would leave there."""

    def __init__(self, folder, *batches):
        super().__init__()
        self.folder, self.batches, self.seen = folder, batches, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.seen in self.batches:
            kept = self.folder.with_name(f"after {self.seen}")
            shutil.copytree(self.folder / "checkpoints", kept / "checkpoints")
        self.seen += 1


class NoBatch(keras.callbacks.Callback):
    """Refuses to train."""

    def on_train_batch_begin(self, batch, logs=None):
        raise AssertionError


def assert_same_training(ours, theirs):
    """Histories are equal to the bit, `theirs` being what `fit` returns."""
    assert {name: ours.columns[name] for name in theirs} == theirs


def adam(**options):
    return lambda: keras.optimizers.Adam(1e-2, **options)


def scaled(**options):
    return lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2, **options))


def two_optimizers(**options):
    return lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.1, **options), {".*kernel": keras.optimizers.Adam(1e-2)}
        )
    )


# --- averaged weights -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        adam(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5),
        pytest.param(scaled(use_ema=True, ema_momentum=0.9), marks=pytest.mark.slow),
        pytest.param(two_optimizers(use_ema=True, ema_momentum=0.9), marks=pytest.mark.slow),
    ],
    ids=["ema overwriting", "ema in a loss scale", "ema of some variables"],
)
def test_training_ends_with_the_averages_that_fit_ends_with(unvalidated, optimizer):
    ours, theirs = network(optimizer), network(optimizer)
    history = train(ours, unvalidated)
    assert_same_training(history, fit(theirs, unvalidated))
    assert weights_sha256(ours) == weights_sha256(theirs)


@pytest.fixture(scope="module")
def averaged(unvalidated):
    """The history and the weights that `fit` gives with averages."""
    model = network(adam(use_ema=True, ema_momentum=0.9))
    return fit(model, unvalidated), weights_sha256(model)


def test_averages_change_what_training_ends_with_as_in_fit(unvalidated, averaged):
    ours, plain = network(adam(use_ema=True, ema_momentum=0.9)), network(adam())
    a, b = train(ours, unvalidated), train(plain, unvalidated)
    expected, weights = averaged
    assert_same_training(a, expected)
    assert a.columns["loss"] == b.columns["loss"]
    assert weights_sha256(ours) == weights != weights_sha256(plain)


def test_averages_are_validated_and_kept_while_training_goes_on_from_its_own_weights(few, averaged):
    optimizer = adam(use_ema=True, ema_momentum=0.9)
    ours, swapped = network(optimizer), network(optimizer)
    history = train(ours, few)
    unvalidated, weights = averaged
    assert history.columns["loss"] == unvalidated["loss"]
    assert history.best_epoch == EPOCHS
    assert weights_sha256(ours) == weights
    # Keras' way to validate averages; it swaps by additions, which round.
    expected = fit(swapped, few, callbacks=[keras.callbacks.SwapEMAWeights()])
    for name, values in expected.items():
        np.testing.assert_allclose(history.columns[name], values, rtol=1e-5)
    results = ours.evaluate(few.val.batches(256), verbose=0, return_dict=True)
    assert results["loss"] == min(history.columns["val_loss"])


def test_the_best_averages_are_restored(few):
    model = network(lambda: keras.optimizers.SGD(2.0, use_ema=True, ema_momentum=0.5))
    history = train(model, few, epochs=8, patience=3)
    assert history.best_epoch < len(history.rows)
    results = model.evaluate(few.val.batches(256), verbose=0, return_dict=True)
    assert results["loss"] == min(history.columns["val_loss"])


@pytest.mark.parametrize(
    ("plan", "cuts"),  # in the first epoch, at its end, in a later one
    [
        ("graph", {6: 6}),
        pytest.param("graph", {2: 2, 14: 14}, marks=pytest.mark.slow),
        pytest.param("fused:2", {4: 8}, marks=pytest.mark.slow),  # also in test_training.py
    ],
)
def test_a_run_with_averages_and_weights_cut_off_anywhere_ends_with_the_same_bits(
    few, tmp_path, plan, cuts
):
    settings = {"plan": plan, "class_weight": "balanced"}
    optimizer = adam(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=4)
    whole, folder = network(optimizer), tmp_path / "whole"
    history = train(whole, few, folder=folder, callbacks=[KeepAt(folder, *cuts)], **settings)
    columns = {k: v for k, v in history.columns.items() if k != "seconds"}
    for batches, step in cuts.items():
        resumed = network(optimizer)
        rest = train(resumed, few, folder=tmp_path / f"after {batches}", **settings)
        assert rest.resumed_at == step
        assert weights_sha256(resumed) == weights_sha256(whole)
        assert {k: rest.columns[k] for k in columns} == columns
    # A finished one gives them again.
    again = network(optimizer)
    train(again, few, folder=folder, callbacks=[NoBatch()], **settings)
    assert weights_sha256(again) == weights_sha256(whole)


# --- weights of examples --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [pytest.param({0: 3.0, 4: 0.25, 9: 1}, marks=pytest.mark.slow), "balanced"]
)
def test_class_weight_is_that_of_fit(few, given):
    labels = few.train.labels[few.train.rows]
    each = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    weights = dict(enumerate(each)) if given == "balanced" else given
    options = {"weighted_metrics": ["accuracy"]}
    ours, theirs, plain = (network(**options) for _ in range(3))
    history = train(ours, few, class_weight=given)
    assert_same_training(history, fit(theirs, few, class_weight=weights, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)
    assert train(plain, few).columns["loss"] != history.columns["loss"]


def test_sample_weight_is_that_of_fit(few):
    def weigh(inputs, targets):
        ink = tf.reduce_mean(tf.cast(inputs, tf.float32), axis=(1, 2, 3)) / 255
        return ink + tf.cast(targets == 3, tf.float32)

    options = {"weighted_metrics": ["accuracy"]}
    ours, theirs = network(**options), network(**options)
    history = train(ours, few, sample_weight=weigh)
    assert_same_training(history, fit(theirs, few, weigh=weigh, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)


@pytest.mark.parametrize("stack", [1, 4])
def test_a_class_that_is_not_named_weighs_1_in_every_plan(few, stack):
    given = Supervision(by_class({2: 9.0, 0: 0.5}))
    schedule = Schedule(len(few.train), BATCH, stack)
    batches = list(training_batches(few.train, schedule, few.augmentation, 0, 0, 1, given))
    assert len(batches) == (6 if stack == 1 else 3)  # 4 steps, and 2 of the rest
    for _, labels, weights in batches:
        assert weights.shape == labels.shape
        expected = np.where(labels == 2, 9.0, np.where(labels == 0, 0.5, 1.0))
        np.testing.assert_array_equal(weights, expected)


def test_weights_that_cannot_apply_are_refused(few, digits):
    def refused(match, data=few, **settings):
        with pytest.raises(UserError, match=match):
            train(network(), data, **settings)

    refused(
        r"contains class 10, which no training example has; expected .*8, 9", class_weight={10: 2}
    )
    refused(r"class_weight={'a': 1.0}", class_weight={"a": 1.0})
    refused(r"class_weight={1: -2}", class_weight={1: -2})
    refused("exclude each other", class_weight={1: 2.0}, sample_weight=lambda x, y: y)
    refused(r"returns shape \(\) for 2 examples", sample_weight=lambda x, y: tf.reduce_mean(y))
    images = {k: dataclasses.replace(v, targets=InputTargets()) for k, v in few.splits.items()}
    reconstructed = dataclasses.replace(few, splits=images)
    refused(
        r"class_weight with targets uint8 \(n, 28, 28, 1\)", reconstructed, class_weight={1: 2.0}
    )
    labels = np.zeros((len(few.train.labels), 4), np.int32)
    several = {k: dataclasses.replace(v, labels=labels) for k, v in few.splits.items()}
    refused(
        r"class_weight with targets int32 \(n, 4\)",
        dataclasses.replace(few, splits=several),
        class_weight={1: 2.0},
    )


def test_settings_are_what_json_gives_back():
    trainer = Trainer(class_weight={1: 2}, monitor_mode="max")
    assert trainer.settings() == json.loads(json.dumps(trainer.settings()))
    assert trainer.settings()["class_weight"] == {"1": 2.0}
    counted = {np.int64(1): np.float32(2)}  # as scikit-learn's compute_class_weight makes them
    assert Trainer(class_weight=counted).settings() == Trainer(class_weight={1: 2.0}).settings()
    json.dumps(dataclasses.asdict(trainer))
    # What is rarely set is left out: runs of before have the same settings.
    assert not {"class_weight", "sample_weight", "monitor_mode"} & Trainer().settings().keys()


def test_weights_by_a_function_are_no_key_of_the_command_line():
    from kpipe.experiments import catalogue, keys, modules

    module = modules.load(catalogue.find("logic_gates"))[0]
    with pytest.raises(UserError, match="no key 'sample_weight'"):
        keys.resolve(module, {"sample_weight": "1"})
    with pytest.raises(UserError, match="monitor_mode=up: expected one of auto, min, max"):
        keys.resolve(module, {"monitor_mode": "up"})
    assert keys.resolve(module, {"monitor_mode": "min"}).trainer.monitor_mode == "min"
    rows = {row[0]: row for row in keys.describe(module)}
    assert rows["monitor_mode"][2] == "auto, min, max" and "sample_weight" not in rows


# --- callbacks ------------------------------------------------------------------------------------


class Recorder(keras.callbacks.Callback):
    """Notes every hook with what it was given."""

    def __init__(self, events):
        super().__init__()
        self.events = events

    def _note(self, hook, *given):
        *position, logs = given
        # What is validated and kept at an epoch's end is compared elsewhere.
        self.events.append((hook, *position, dict(logs or {})))


for _hook in ("train_begin", "train_end", "test_begin", "test_end"):
    setattr(Recorder, f"on_{_hook}", lambda self, logs=None, _h=_hook: self._note(_h, logs))
for _hook in (
    "epoch_begin",
    "epoch_end",
    "train_batch_begin",
    "train_batch_end",
    "test_batch_begin",
    "test_batch_end",
):
    setattr(Recorder, f"on_{_hook}", lambda self, at, logs=None, _h=_hook: self._note(_h, at, logs))


def test_callbacks_see_what_they_see_in_fit(few):
    ours, theirs = [], []
    recorder = Recorder(ours)
    a, b = network(), network()
    train(a, few, callbacks=[recorder])
    fit(b, few, callbacks=[best_kept(), Recorder(theirs)])
    assert ours == theirs
    assert {event[0] for event in ours} >= {"test_begin", "test_batch_end", "epoch_end"}
    assert recorder.model is a
    assert recorder.params == {"verbose": 0, "epochs": EPOCHS, "steps": 6}
    assert weights_sha256(a) == weights_sha256(b)


# 6 steps are cut into 4 and 2, or are one execution.
@pytest.mark.parametrize("steps", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_hooks_come_once_an_execution_as_in_fit(few, steps):
    ours, theirs = [], []
    a, b = network(steps_per_execution=steps), network(steps_per_execution=steps)
    train(a, few, epochs=1, callbacks=[Recorder(ours)])
    fit(b, few, epochs=1, callbacks=[best_kept(), Recorder(theirs)])
    assert ours == theirs
    assert weights_sha256(a) == weights_sha256(b)


class StopTraining(keras.callbacks.Callback):
    """Sets `stop_training` in one hook of the second epoch."""

    def __init__(self, hook):
        super().__init__()
        self.epoch = 0
        setattr(self, f"on_{hook}", lambda *_, **__: self._stop())
        if hook != "epoch_begin":
            self.on_epoch_begin = lambda epoch, logs=None: setattr(self, "epoch", epoch)
        else:
            self.on_epoch_begin = lambda epoch, logs=None: (
                setattr(self, "epoch", epoch),
                self._stop(),
            )

    def _stop(self):
        if self.epoch == 1:
            self.model.stop_training = True


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param("epoch_begin", marks=pytest.mark.slow),
        "train_batch_end",
        pytest.param("test_begin", marks=pytest.mark.slow),
        "epoch_end",
    ],
)
def test_stop_training_ends_it_where_it_ends_fit(unvalidated, few, hook):
    data = few if hook == "test_begin" else unvalidated
    ours, theirs = network(), network()
    history = train(ours, data, callbacks=[StopTraining(hook)])
    expected = fit(theirs, data, callbacks=[StopTraining(hook)])
    assert_same_training(history, expected)
    assert len(history.rows) == 2 and history.stopped_by == "callback"
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_an_epoch_stopped_by_a_callback_is_not_resumed_in_its_middle(unvalidated, tmp_path):
    whole = network()
    train(whole, unvalidated, callbacks=[StopTraining("train_batch_end")])

    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise InterruptedError

    callbacks = [StopTraining("train_batch_end"), Kill()]
    with pytest.raises(InterruptedError):
        train(network(), unvalidated, folder=tmp_path, callbacks=callbacks)
    resumed = network()
    history = train(resumed, unvalidated, folder=tmp_path)
    assert history.stopped_by == "callback" and history.step == 7
    assert weights_sha256(resumed) == weights_sha256(whole)


def test_keras_callbacks_do_what_they_do_in_fit(few, tmp_path):
    def callbacks(folder):
        folder.mkdir()
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: (folder / f"{epoch}.txt").write_text(str(logs))
            ),
        ]

    ours, theirs = network(), network()
    history = train(ours, few, callbacks=callbacks(tmp_path / "a"))
    expected = fit(theirs, few, callbacks=[best_kept(), *callbacks(tmp_path / "b")])
    assert_same_training(history, expected)
    assert history.columns["learning_rate"] == pytest.approx([0.0005, 0.00025, 0.000125])
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "a").iterdir()) and len(names) == 7
    for name in names:
        if not name.endswith(".h5"):  # those hold times
            assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    for model, folder in ((ours, "b"), (theirs, "a")):
        model.load_weights(tmp_path / folder / "2.weights.h5")
    assert weights_sha256(ours) == weights_sha256(theirs)


def halving():
    """Callbacks with a state that a resumed training must have."""
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        keras.callbacks.ReduceLROnPlateau("val_accuracy", factor=0.3, patience=1, min_delta=0.5),
        keras.callbacks.EarlyStopping("val_accuracy", patience=2, min_delta=0.3),
    ]


def test_the_state_of_callbacks_is_resumed(few, tmp_path):
    settings = {"epochs": 9, "patience": 5, "reduce_lr_patience": 2}
    whole, folder = network(adam()), tmp_path / "whole"
    callbacks = [*halving(), KeepAt(folder, 8, 14)]
    history = train(whole, few, folder=folder, callbacks=callbacks, **settings)
    assert history.stopped_by == "early stopping" and len(history.rows) < 9
    for batches in (8, 14):
        resumed, folder = network(adam()), tmp_path / f"after {batches}"
        rest = train(resumed, few, folder=folder, callbacks=halving(), **settings)
        assert rest.resumed_at == batches
        assert rest.columns["learning_rate"] == history.columns["learning_rate"]
        assert rest.columns["val_loss"] == history.columns["val_loss"]
        assert weights_sha256(resumed) == weights_sha256(whole)


def test_a_resumed_model_checkpoint_does_not_overwrite_a_better_one(few, tmp_path):
    def kept():
        return keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="val_loss", mode="max", save_best_only=True
        )

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        train(network(), few, folder=tmp_path, callbacks=[kept(), Kill()])
    checkpoint = kept()
    history = train(network(), few, folder=tmp_path, callbacks=[checkpoint])
    worst_first = history.columns["val_loss"]
    assert checkpoint.best == max(worst_first) == worst_first[0]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: keras.callbacks.BackupAndRestore("somewhere"), "BackupAndRestore resumes"),
        (lambda: keras.callbacks.SwapEMAWeights(), "SwapEMAWeights validates"),
        (lambda: keras.callbacks.EarlyStopping(restore_best_weights=True), "restore_best_weights"),
    ],
)
def test_callbacks_that_do_the_trainers_work_are_refused(few, make, match):
    with pytest.raises(UserError, match=f"^callbacks: {match}|^callbacks: .*{match}"):
        train(network(), few, callbacks=[make()])


# --- what compile says ----------------------------------------------------------------------------


def squared(y_true, y_pred):
    """A loss of one's own, as a function; `if` on a Python value is no matter of AutoGraph."""
    hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32"), 10)
    return keras.ops.mean(keras.ops.square(hot - y_pred), axis=-1)


class Hinge(keras.losses.Loss):
    """A loss of one's own, as a class."""

    def call(self, y_true, y_pred):
        hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32"), 10)
        return keras.losses.categorical_hinge(hot, y_pred)


class Confidence(keras.metrics.Metric):
    """A metric of one's own: the mean of the highest probability."""

    def __init__(self, name="confidence", **options):
        super().__init__(name=name, **options)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        highest = keras.ops.max(y_pred, axis=-1)
        self.total.assign_add(keras.ops.sum(highest))
        self.count.assign_add(keras.ops.cast(keras.ops.size(highest), "float32"))

    def result(self):
        return self.total / self.count


class TwiceAsLarge(keras.Model):
    """A `compute_loss` of one's own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)


class SignedSteps(keras.Model):
    """A `train_step` of one's own, whose logs are not those of the metrics."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            [(tf.sign(g), v) for g, v in zip(gradients, self.trainable_variables, strict=True)]
        )
        return {"loss": loss, "largest": tf.reduce_max(tf.abs(gradients[0]))}


COMPILED = {
    "loss function": {"loss": squared},
    "loss class": {"loss": Hinge()},
    "metrics": {"metrics": ["accuracy", squared, Confidence]},
    "weighted metrics": {"weighted_metrics": ["accuracy"]},
    "eager": {"run_eagerly": True},
    "steps per execution": {"steps_per_execution": 3},
    "steps per eager execution": {"steps_per_execution": 3, "run_eagerly": True},
    "xla": {"jit_compile": True},
    "clipped": {"optimizer": adam(clipnorm=0.1, weight_decay=0.01)},
    "loss scale": {"optimizer": scaled()},
    "several optimizers": {"optimizer": two_optimizers()},
    "compute_loss": {"cls": TwiceAsLarge},
    "train_step": {"cls": SignedSteps, "metrics": None},
}


# Each differs from another in one word of the loop only.
COMPILED_AS_OTHERS = {
    *("clipped", "loss class", "loss function", "steps per eager execution", "weighted metrics"),
    *("loss scale", "several optimizers", "xla"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in COMPILED_AS_OTHERS))
        for name in COMPILED
    ],
)
def test_what_compile_says_is_done_as_fit_does_it(few, name):
    def build():
        # A metric object belongs to one model.
        options = dict(COMPILED[name])
        if options.get("metrics"):
            made = [m() if isinstance(m, type) else m for m in options["metrics"]]
            options["metrics"] = made
        return network(**options)

    ours, theirs = build(), build()
    history = train(ours, few)
    assert_same_training(history, fit(theirs, few, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)


@pytest.fixture
def float32_again():
    """Ends with the dtype policy of before."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "name", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"]
)
def test_mixed_precision_is_that_of_fit(few, float32_again, name):
    ours, theirs = network(policy=name), network(policy=name)
    assert ours.layers[2].compute_dtype == name.removeprefix("mixed_")
    scales = isinstance(ours.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (name == "mixed_float16")
    history = train(ours, few)
    assert_same_training(history, fit(theirs, few, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)
    if scales:  # the loss scale is adapted within an XLA program as well
        losses = train(network("sgd", policy=name), few, plan="fused:2").columns["val_loss"]
        assert losses[-1] < losses[0]


def two_outputs():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    images = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    code = keras.layers.Dense(4, name="code")(x)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(code)
    model = keras.Model(images, {"digit": digit, "code": code})
    model.compile(
        "adam",
        {"digit": "sparse_categorical_crossentropy", "code": None},
        loss_weights={"digit": 0.5, "code": 1.0},
        metrics={"digit": ["accuracy"]},
    )
    return model


def test_losses_of_several_outputs_are_those_of_fit(few):
    """Targets of kpipe are one array, so that one output has a loss."""
    ours, theirs = two_outputs(), two_outputs()
    assert_same_training(train(ours, few), fit(theirs, few, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_a_model_not_built_yet_is_trained_as_fit_trains_it(few):
    def build():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        return model

    ours, theirs = build(), build()
    assert_same_training(train(ours, few), fit(theirs, few, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_training_a_model_again_goes_on_with_its_optimizer(unvalidated):
    def growing():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), dynamic_growth_steps=4)

    ours, theirs = network(growing), network(growing)
    for _ in range(2):
        history = train(ours, unvalidated)
        assert_same_training(history, fit(theirs, unvalidated))
        assert float(ours.optimizer.dynamic_scale) == float(theirs.optimizer.dynamic_scale)
        ours.stop_training = True  # as early stopping leaves it
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_a_layer_that_draws_at_inference_too_draws_what_it_draws_in_fit(few):
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(3)

        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)

    def build():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        images = keras.Input((28, 28, 1))
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
        model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(Noise()(x)))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    ours, theirs = build(), build()
    assert_same_training(train(ours, few), fit(theirs, few, callbacks=[best_kept()]))
    assert weights_sha256(ours) == weights_sha256(theirs)


def test_a_plan_does_not_contradict_compile(few):
    with pytest.raises(UserError, match=r"plan fused:4 and compile\(run_eagerly=True\)"):
        train(network(run_eagerly=True), few, plan="fused:4")
    with pytest.raises(UserError, match=r"plan fused:4 and compile\(steps_per_execution\)"):
        train(network(steps_per_execution=2), few, plan="fused:4")
    assert choose_plan(network(), 54_000, 128, epochs=30).startswith("fused:")
    assert choose_plan(network(jit_compile=True), 54_000, 128, epochs=30).startswith("fused:")
    assert choose_plan(network(run_eagerly=True), 54_000, 128, epochs=30) == "graph"
    assert choose_plan(network(steps_per_execution=2), 54_000, 128, epochs=30) == "graph"


def test_what_xla_cannot_compile_is_said_in_one_line(few):
    def in_python(y_true, y_pred):
        highest = tf.numpy_function(lambda p: p.max(axis=-1), [y_pred], tf.float32)
        return tf.ensure_shape(highest, (None,))

    with pytest.raises(UserError, match=r"^XLA cannot compile PyFunc, .* plan graph") as error:
        train(network(metrics=[in_python]), few, plan="fused:2")
    assert "\n" not in str(error.value)
    train(network(metrics=[in_python]), few, epochs=1)  # as fit does


# --- refused in one line --------------------------------------------------------------------------


def test_a_model_that_was_not_compiled_is_refused(few):
    model = models.mlp((28, 28, 1), 10, units=(4,))
    with pytest.raises(UserError, match=r"mlp is not compiled; end build_model with model.compile"):
        Trainer().check(model, 0)
    with pytest.raises(UserError, match="is not compiled"):
        train(model, few)


def test_a_model_that_does_not_fit_the_data_is_refused(few):
    keras.utils.clear_session(free_memory=False)
    model = models.mlp((28, 28, 1), 5, units=(4,))
    model.compile("adam", "categorical_crossentropy")
    with pytest.raises(
        UserError, match="mlp cannot be evaluated on an example of mnist: "
    ) as error:
        train(model, few)
    assert "\n" not in str(error.value)


def test_a_metric_that_is_no_number_is_refused(few):
    def per_class(average):
        def hot(y_true, y_pred):
            return y_true

        class F1(keras.metrics.F1Score):
            def update_state(self, y_true, y_pred, sample_weight=None):
                labels = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
                return super().update_state(keras.ops.one_hot(labels, 10), y_pred)

        return F1(average=average, name="f1")

    with pytest.raises(UserError, match=r"metric f1 is an array of shape \(10,\).*macro"):
        train(network(metrics=[per_class(None)]), few)
    history = train(network(metrics=[per_class("macro")]), few, monitor="val_f1")
    assert history.best_epoch == int(np.argmax(history.columns["val_f1"])) + 1


def test_a_metric_of_ones_own_needs_a_direction(few):
    def build():
        return network(metrics=["accuracy", Confidence()])

    with pytest.raises(UserError, match=r"monitor=val_confidence: Keras does not know .*monitor_m"):
        train(build(), few, monitor="val_confidence")
    for mode, best in (("min", np.argmin), ("max", np.argmax)):
        history = train(build(), few, monitor="val_confidence", monitor_mode=mode, patience=2)
        assert history.best_epoch == int(best(history.columns["val_confidence"])) + 1
    with pytest.raises(UserError, match=r"monitor_mode='up'.*expected one of auto, min, max"):
        train(build(), few, monitor="val_confidence", monitor_mode="up")


def test_only_metrics_with_a_direction_are_offered(few):
    def misspelt(**settings):
        with pytest.raises(UserError) as error:
            train(network(metrics=["accuracy", Confidence()]), few, monitor="val_x", **settings)
        return str(error.value)

    assert misspelt().endswith("expected loss, accuracy, val_loss, val_accuracy")
    assert misspelt(monitor_mode="max").endswith("val_accuracy, val_confidence")


def test_the_learning_rate_falls_by_a_metric_of_ones_own(few):
    model = network(metrics=[Confidence()])
    history = train(
        model, few, epochs=6, monitor="val_confidence", monitor_mode="min", reduce_lr_patience=1
    )
    rates = history.columns["learning_rate"]
    assert rates[-1] < rates[0]  # confidence rises, which is worse here


def test_optimizers_of_a_models_own_are_refused_where_a_run_would_be_resumed(few, tmp_path):
    class Own(keras.Model):
        pass

    model = network(cls=Own)
    model.second = keras.optimizers.SGD()
    with pytest.raises(UserError, match=r"several optimizers \(optimizer, second\)"):
        train(model, few, folder=tmp_path)
    train(model, few, epochs=1)


# --- warnings -------------------------------------------------------------------------------------


@pytest.fixture
def tensorflow_log():
    """What TensorFlow logs."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    yield lines
    tf.get_logger().removeHandler(handler)


@pytest.mark.slow
def test_many_trainings_in_a_process_give_no_warning(digits, tensorflow_log):
    for count in range(100, 105):  # other shapes each time; each step of such an epoch is traced
        train_split = dataclasses.replace(digits.train, rows=digits.train.rows[:count])
        data = dataclasses.replace(digits, splits={**digits.splits, "train": train_split})
        train(network("sgd"), data, epochs=1)
    assert tensorflow_log == []


def test_code_whose_source_cannot_be_found_gives_no_warning(few, tensorflow_log):
    """AutoGraph reads the source of what it transforms, and warns where there is none."""
    source = """
import keras

class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)

loss = lambda y_true, y_pred: keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

def weigh(inputs, targets):
    return keras.ops.ones_like(targets, "float32")
"""
    names = {"__name__": "somewhere"}
    exec(compile(source, "/nowhere/pipeline.py", "exec"), names)
    for plan in ("graph", "fused:2"):
        model = network("sgd", names["loss"], names["Own"])
        train(model, few, epochs=1, plan=plan, sample_weight=names["weigh"])
    assert tensorflow_log == []
