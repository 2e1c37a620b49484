"""What an answer hangs on: exact on linear networks, complete, found where it was planted."""

import gc
import json
import shutil
import threading
import time
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import spearmanr

import kpipe
from kpipe import cli
from kpipe.datasets.columns import Column, to_lines
from kpipe.errors import UserError
from kpipe.explaining import (
    Explanation,
    Network,
    columns,
    explain,
    explain_image,
    image_methods,
    methods_of,
    words,
)
from kpipe.explaining.attribution import can_integrate, grad_cam, integrated_gradients
from kpipe.explaining.rows import Field, log_odds
from kpipe.explaining_files import lines_of
from kpipe.export import Case, Comparison, write_golden
from kpipe.inputs import Examples
from kpipe.tasks import _calibration

SIDE, CORNER = 16, 5  # pixels
WORDS = ("", "[UNK]", "good", "bad", "film", "the")


def export(folder, signatures, **assets):
    """Writes a SavedModel of plain TensorFlow functions, as a run's version 1."""
    module = tf.Module()
    module.functions = {
        name: tf.function(function, [spec] if isinstance(spec, tf.TensorSpec) else spec)
        for name, (function, spec) in signatures.items()
    }
    model = folder / "serving" / "1"
    concrete = {name: f.get_concrete_function() for name, f in module.functions.items()}
    tf.saved_model.save(module, str(model), signatures=concrete)
    for name, lines in assets.items():
        text = "".join(f"{line}\n" for line in lines)
        (model / "assets" / f"{name}.txt").write_text(text, encoding="utf-8")
    return kpipe.load(folder)


def examples_of(values, endpoint="serving_default"):
    count = len(next(iter(values.values())) if isinstance(values, dict) else values)
    names = [f"row {i}" for i in range(count)]
    return Examples("file", names, values, [(name, 0) for name in names], endpoint)


def two(logit):
    """Probabilities of two classes from the log-odds of the second."""
    return tf.nn.softmax(tf.stack([tf.zeros_like(logit), logit], axis=1))


def network_of(function, shape, dtype=tf.uint8, output="probabilities"):
    graph = tf.function(lambda x: {output: function(x)}, [tf.TensorSpec((None, *shape), dtype)])
    return Network(graph.get_concrete_function(), output)


def shape_of_model(model):
    return tuple(model.inputs[0].shape[1:])


def network_of_model(model, dtype=tf.uint8):
    (output,) = model.output
    function = lambda x: model(x, training=False)[output]  # noqa: E731
    return network_of(function, shape_of_model(model), dtype, output)


def cornered(count, seed=0):
    """Noise whose class is whether the upper left corner is bright, a tenth of the image."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, SIDE, SIDE, 1)).astype("uint8")
    labels = random.integers(0, 2, count)
    images[labels == 1, :CORNER, :CORNER] += 150
    return images, labels


def corner_model(seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIDE, SIDE, 1), name="images")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for filters in (8, 8):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(x))
    outputs = keras.layers.Dense(2, activation="softmax")(x)
    return keras.Model(inputs, {"probabilities": outputs})


@pytest.fixture(scope="module")
def trained():
    """A small CNN that was trained to see the corner."""
    images, labels = cornered(256)
    model = corner_model(0)
    model.compile(keras.optimizers.Adam(3e-3), {"probabilities": "sparse_categorical_crossentropy"})
    model.fit(images, labels, batch_size=32, epochs=6, verbose=0)
    return model


# --- exact ----------------------------------------------------------------------------------------


def test_integrated_gradients_of_a_linear_network_are_weight_times_pixel(tmp_path):
    weights = np.random.default_rng(0).normal(size=(4, 4, 3)).astype("float32")
    image = np.random.default_rng(1).integers(0, 256, (1, 4, 4, 3)).astype("uint8")

    def serve(images):
        x = tf.cast(images, tf.float32) / 255.0
        return {"value": tf.reduce_sum(x * weights, axis=(1, 2, 3)) + 7.0}

    spec = tf.TensorSpec((None, 4, 4, 3), tf.uint8, name="images")
    model = export(tmp_path, {"serving_default": (serve, spec)})
    assert methods_of(model) == ("integrated_gradients",)  # without a convolution
    (found,) = explain(model, examples_of(image))
    expected = (image[0] / 255 * weights).sum(axis=-1)
    np.testing.assert_allclose(found.effects, expected, atol=1e-5)
    assert found.baseline_score == pytest.approx(7) and found.unit == "value"
    assert found.score == pytest.approx(7 + expected.sum(), abs=1e-4)


def text_model(folder, weights, length=6):
    """A network whose log-odds are the sum of its words' weights."""
    table = tf.constant(weights, tf.float32)[:, None]

    def of_tokens(tokens):
        tokens = tokens[:, :length]
        there = tf.cast(tokens != 0, tf.float32)[:, :, None]
        logit = tf.reduce_sum(tf.gather(table, tokens) * there, axis=(1, 2))
        label = tf.where(logit > 0, "yes", "no")
        return {"probabilities": two(logit), "label": label}

    def of_texts(texts):
        words = tf.strings.split(tf.strings.lower(texts)).to_tensor("")[:, :, None]
        ids = tf.argmax(tf.cast(words == tf.constant(WORDS), tf.int32), 2, tf.int32)
        tokens = tf.where(words[:, :, 0] == "", 0, tf.where(ids == 0, 1, ids))
        return of_tokens(tokens)

    texts = tf.TensorSpec((None,), tf.string, name="texts")
    tokens = tf.TensorSpec((None, None), tf.int32, name="tokens")
    signatures = {"serving_default": (of_texts, texts), "serving_tokens": (of_tokens, tokens)}
    return export(folder, signatures, labels=["no", "yes"], vocabulary=WORDS)


def test_the_effect_of_a_word_on_a_linear_network_is_its_weight(tmp_path):
    weights = [0.0, 0.25, 2.0, -1.5, 0.5, 0.0]
    model = text_model(tmp_path, weights)
    given = model.read_files([], ["the good bad film strange"])
    erasure, integrated = explain(model, given, target="yes")
    assert erasure.names == ("the", "good", "bad", "film", "strange")
    np.testing.assert_allclose(erasure.effects, [-0.25, 1.75, -1.75, 0.25, 0], atol=1e-5)
    logit = 2.0 - 1.5 + 0.5 + 0.25
    assert erasure.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    without = 1 / (1 + np.exp(-(logit - 1.75)))
    assert erasure.without[1] == pytest.approx(without, abs=1e-6)
    # On the probability: the same signs, and their sum is what the words change together.
    assert np.array_equal(np.sign(integrated.effects.round(6)), np.sign(erasure.effects.round(6)))
    assert integrated.baseline_score == pytest.approx(1 / (1 + np.exp(-1.25)), abs=1e-6)
    difference = integrated.score - integrated.baseline_score
    assert integrated.effects.sum() == pytest.approx(difference, abs=1e-3)
    (against,) = explain(model, given, target="no", methods=["erasure"])
    np.testing.assert_allclose(against.effects, -erasure.effects, atol=1e-5)


def answers_of(logit, kind):
    """Probabilities of labels of which the second is that of a logit, float32 (n, 2)."""
    if kind == "softmax":
        return two(logit)
    if kind == "several":
        return tf.sigmoid(tf.stack([logit / 2, logit], axis=1))
    p = tf.reshape(tf.sigmoid(logit), (-1, 1))
    return tf.concat([1 - p, p], axis=1)  # of a single sigmoid


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "single", "several"])
@pytest.mark.parametrize("sign", [1, -1])
def test_words_that_a_sure_answer_hangs_on_have_their_weight(kind, calibrated, sign):
    """Of p = 1 in float32, nothing is left of 1 - p."""
    weights = np.array([0, 0, 2, 4, 8, 12], "float32")
    classes = {} if kind == "several" else {"prediction_set": None, "threshold": np.array(0.5)}
    fitted = {"calibrated": None, "temperature": np.array(1.25), **classes}

    def serve(tokens):
        logit = sign * tf.reduce_sum(tf.gather(tf.constant(weights), tokens), axis=1)
        found = {"probabilities": answers_of(logit, kind)}
        return found | (_calibration.in_graph(fitted)(found["probabilities"]) if calibrated else {})

    graph = tf.function(serve, [tf.TensorSpec((None, None), tf.int32)], autograph=False)
    output = "calibrated" if calibrated else "probabilities"
    network, tokens = Network(graph.get_concrete_function(), output), np.arange(2, 6)
    expected = sign * weights[2:] / (1.25 if calibrated else 1)
    for column in (1, 0) if kind != "several" else (1,):
        scores, odds = words.erase(network, tokens, column).T
        effects = (1 if column else -1) * (odds[0] - odds[1:])
        np.testing.assert_allclose(effects, expected, rtol=2e-3)
        assert scores[0] == pytest.approx(network.score(tokens[None])[0, column], rel=1e-5)


@pytest.mark.parametrize("function", [two, lambda z: tf.sigmoid(tf.stack([z, z], 1))])
def test_log_odds_of_probabilities_alone_are_as_exact_as_these(function):
    logits = np.array([-30.0, -3.0, 0.0, 3.0, 14.0], "float32")
    scores = function(tf.constant(logits)).numpy()
    np.testing.assert_allclose(log_odds(scores, 1), logits, rtol=0.02, atol=1e-6)
    assert np.isfinite(log_odds(np.array([[0.0, 1.0], [1.0, 0.0]]), 1)).all()
    exact = log_odds(two(tf.constant([40.0, 50.0])).numpy(), 1)
    np.testing.assert_allclose(exact, [40, 50], rtol=1e-5)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Folder of a network that reads three words."""
    folder = tmp_path_factory.mktemp("texts")
    text_model(folder, [0.0, 0.0, 2.0, -1.0, 0.5, 0.0], length=3)
    return folder


def test_words_that_the_network_does_not_read_are_not_explained(texts):
    model = kpipe.load(texts)
    erasure, integrated = explain(model, model.read_files([], ["good bad film good good"]))
    assert erasure.names == integrated.names == ("good", "bad", "film")


def table_model(folder, background=True):
    """Area counts twice, town Bray adds 3; the background is 4 rows."""
    table = [Column("floor area", "number"), Column("town", "category")]
    rows = {
        "floor_area": np.array([1.0, 2.0, 3.0, np.nan], "float32"),
        "town": [b"Bray", b"Bray", b"Aston", b""],
    }

    def serve(floor_area, town):
        area = tf.where(tf.math.is_nan(floor_area), 5.0, floor_area)
        return {"value": 2.0 * area + 3.0 * tf.cast(town == "Bray", tf.float32)}

    specs = [
        tf.TensorSpec((None,), tf.float32, name="floor_area"),
        tf.TensorSpec((None,), tf.string, name="town"),
    ]
    model = export(folder, {"serving_default": (serve, specs)}, columns=to_lines(table))
    if background:
        expected = [Comparison("value", np.zeros(4, "float32"))]
        write_golden(folder, [Case("serving_default", rows, expected, batches=(1,))])
    return model


def test_the_effect_of_a_column_is_its_distance_from_other_rows(tmp_path):
    model = table_model(tmp_path)
    row = {"floor_area": np.array([10.0], "float32"), "town": [b"Aston"]}
    (found,) = explain(model, examples_of(row))
    # 20 against the mean of 2, 4, 6 and 10; 0 against the mean of 3, 3, 0 and 0.
    np.testing.assert_allclose(found.effects, [20 - 5.5, 0 - 1.5], atol=1e-5)
    assert found.names == ("floor area", "town") and found.values == (10.0, "Aston")
    assert found.without == pytest.approx((5.5, 21.5)) and found.score == 20
    assert found.baseline == "each value replaced by those of 4 rows of val or train"
    column = found.to_json()["columns"][0]
    assert column == {"name": "floor area", "value": 10.0, "effect": 14.5, "without": 5.5}


@pytest.mark.parametrize(
    ("examples", "said", "mean"),
    [
        ({"train": 9, "val": 3}, "3 rows of val", 4),  # golden.npz has the first of them again
        ({"train": 9, "val": 70}, "4 rows of val", 5.5),
        ({"train": 1, "val": 0, "test": 1}, "1 row of train", 2),
    ],
)
def test_other_rows_are_said_as_they_are(tmp_path, examples, said, mean):
    model = table_model(tmp_path)
    data = {"fingerprint": "f", "kind": "own", "label_names": [], "examples": examples}
    record = {"status": "finished", "pipeline": "mine", "seed": 0, "data": data}
    (tmp_path / "run.json").write_text(json.dumps(record))
    row = {"floor_area": np.array([10.0], "float32"), "town": [b"Aston"]}
    (found,) = explain(model, examples_of(row))
    assert found.baseline == f"each value replaced by those of {said}"
    assert found.effects[0] == pytest.approx(20 - mean)


def test_a_row_of_many_columns_is_compared_with_fewer_rows(tmp_path):
    wide = 2**14 // 16
    spec = tf.TensorSpec((None, wide), tf.float32, name="features")
    model = export(tmp_path, {"serving_default": (lambda x: {"value": x[:, 0] * 3}, spec)})
    background = np.arange(64.0, dtype="float32")[:, None] * np.ones(wide, "float32")
    given = {"features": background}
    expected = [Comparison("value", np.zeros(64, "float32"))]
    write_golden(tmp_path, [Case("serving_default", given, expected, batches=(1,))])
    erasure, integrated = explain(model, examples_of(background[:1]))
    assert "of 16 rows" in erasure.baseline and "of 64 rows" in integrated.baseline
    assert erasure.effects[0] == pytest.approx(-3 * np.arange(16).mean())
    assert integrated.effects[0] == pytest.approx(-3 * np.arange(64).mean())


def test_without_other_rows_a_column_is_compared_with_a_missing_value(tmp_path):
    model = table_model(tmp_path, background=False)
    row = {"floor_area": np.array([np.nan], "float32"), "town": [b"Bray"]}
    (found,) = explain(model, examples_of(row))
    np.testing.assert_allclose(found.effects, [0, 3], atol=1e-6)
    assert found.baseline == "each value missing" and found.values == (None, "Bray")


def test_numbers_of_a_vector_are_explained_one_by_one(tmp_path):
    weights, background = np.array([1.0, -2.0, 0.0], "float32"), np.eye(4, 3, dtype="float32")

    def serve(features):
        logit = tf.linalg.matvec(features, weights)
        return {"probabilities": two(logit), "calibrated": two(logit / 2)}

    spec = tf.TensorSpec((None, 3), tf.float32, name="features")
    model = export(tmp_path, {"serving_default": (serve, spec)}, labels=["no", "yes"])
    expected = [Comparison("probabilities", np.zeros((4, 2), "float32"))]
    write_golden(
        tmp_path, [Case("serving_default", {"features": background}, expected, batches=(1,))]
    )
    row = np.array([[3.0, 1.0, 9.0]], "float32")
    erasure, integrated = explain(model, examples_of(row), target="yes")
    score = lambda logit: 1 / (1 + np.exp(-logit / 2))  # noqa: E731
    assert erasure.score == pytest.approx(score(1), abs=1e-6)  # the calibrated one
    replaced = np.array([score(np.array(some)).mean() for some in ([-1, -2, -2, -2], [3, 1, 3, 3])])
    odds = np.log(replaced / (1 - replaced))
    np.testing.assert_allclose(erasure.effects, [0.5 - odds[0], 0.5 - odds[1], 0], atol=1e-5)
    assert erasure.effects[2] == 0
    mean = background.mean(axis=0)
    assert integrated.baseline_score == pytest.approx(score(mean @ weights), abs=1e-6)
    assert integrated.effects[2] == pytest.approx(0, abs=1e-6)
    difference = integrated.score - integrated.baseline_score
    assert integrated.effects.sum() == pytest.approx(difference, rel=0.02)
    assert integrated.names == ("1", "2", "3")


# --- complete -------------------------------------------------------------------------------------


def test_integrated_gradients_sum_to_the_difference_of_the_scores(trained):
    network = network_of_model(trained)
    for image in cornered(4, seed=2)[0]:
        for column in (0, 1):
            found = integrated_gradients(network, image[None], image[None] * 0, column, 2)
            difference = found.score - found.baseline_score
            allowed = 0.01 * abs(difference) + 0.001
            assert found.effects.sum() == pytest.approx(difference, abs=allowed)
            assert found.score == pytest.approx(network.score(image[None])[0, column], abs=1e-6)


def bumps(x):
    """Two numbers; the value changes between 0 and 20 alone, and comes back to what it was."""
    return tf.exp(-tf.square(x[:, 0] - 3)) * (1 + tf.sigmoid(x[:, 1])) + tf.nn.relu(20 - x[:, 0])


@pytest.mark.parametrize("far", [1.0, 30.0, 1e3, 1e5, 1e8, 1e30])
def test_numbers_far_from_the_baseline_are_integrated_where_the_answer_changes(far):
    network = network_of(bumps, (2,), tf.float32, "value")
    row = np.array([[far, 1.0]], "float32")
    found = integrated_gradients(network, row, np.zeros_like(row), 0, 1)
    difference = float(bumps(row)[0] - bumps(row * 0)[0])
    assert found.effects.sum() == pytest.approx(difference, abs=0.01 * abs(difference) + 0.05)
    assert found.error is None and abs(found.effects[0]) > 0.9


def test_a_sum_that_is_not_exact_is_said_to_be_so(tmp_path, capsys):
    spec = tf.TensorSpec((None, 2), tf.float32, name="features")
    serve = lambda x: {"value": tf.sin(x[:, 0] * 1e6) * 1e3}  # noqa: E731
    model = export(tmp_path, {"serving_default": (serve, spec)})
    row = np.array([[0.7, 1.0]], "float32")
    (_, found) = explain(model, examples_of(row))
    assert found.error > 10 and found.to_json()["error"] == found.error
    assert abs(found.effects.sum() - (found.score - found.baseline_score)) <= found.error
    *_, line = lines_of(found)
    assert line.endswith(f"; not exact, off by up to {found.error:.4g}")
    (exact,) = explain(model, examples_of(row * 0), methods=["integrated_gradients"])
    *_, line = lines_of(exact)
    assert exact.to_json()["error"] is None and "exact" not in line
    odd = lambda x: tf.where(x[:, 0] > 1, np.nan, x[:, 0])  # noqa: E731
    with pytest.raises(UserError, match="is not finite between the input and what it is compared"):
        integrated_gradients(network_of(odd, (2,), tf.float32, "value"), row + 2, row, 0, 1)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "attention"])
def test_networks_on_texts_are_differentiated_through_loops_and_attention(kind):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(20, 8, embeddings_initializer="normal", mask_zero=True)(inputs)
    if kind == "attention":
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.MultiHeadAttention(2, 4)(x, x))
    else:
        layers = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
        x = layers[kind](8)(x)
    outputs = keras.layers.Dense(3, activation="softmax", kernel_initializer="normal")(x * 40)
    network = network_of_model(keras.Model(inputs, {"probabilities": outputs}), tf.int32)
    assert can_integrate(network, 1)
    tokens = np.array([[3, 4, 5, 6, 7]], "int32")
    found = integrated_gradients(network, tokens, np.ones_like(tokens), 2, 1)
    difference = found.score - found.baseline_score
    assert abs(difference) > 0.01
    assert found.effects.sum() == pytest.approx(difference, rel=0.02)


# --- found where it was planted, and only by a network that knows it ------------------------------


def share_in_corner(heat):
    """Share of the positive effects in the corner."""
    positive = np.maximum(heat, 0)
    return positive[:CORNER, :CORNER].sum() / max(positive.sum(), 1e-9)


def test_the_corner_that_decides_the_class_is_found(trained):
    network = network_of_model(trained)
    images, labels = cornered(12, seed=3)
    assert (network.score(images).argmax(axis=1) == labels).all()
    for image in images[labels == 1][:4]:
        cam, integrated = explain_image(
            network, image[None], 1, "bright", ("grad_cam", "integrated_gradients")
        )
        assert share_in_corner(cam.effects) > 0.7
        assert share_in_corner(integrated.effects) > 0.8
        assert cam.effects.max() == pytest.approx(1)


def rank_correlation(first, second):
    """Of signed effects: where the input is 0, both are, whatever the weights."""
    if not (np.ptp(first) and np.ptp(second)):
        return 0.0  # nothing speaks for the label
    return spearmanr(first.ravel(), second.ravel()).statistic


def test_a_network_with_random_weights_explains_an_image_differently(trained):
    """The test of Adebayo et al., 2018: an explanation must depend on what was learned."""
    images, labels = cornered(12, seed=4)
    known, random = (network_of_model(model) for model in (trained, corner_model(99)))
    for method in ("grad_cam", "integrated_gradients"):
        found = []
        for image in images[labels == 1][:4]:
            heats = [explain_image(n, image[None], 1, "", (method,)) for n in (known, random)]
            found.append(rank_correlation(*(heat.effects for (heat,) in heats)))
        assert abs(np.mean(found)) < 0.5, method


def test_a_network_with_random_weights_explains_texts_and_rows_differently(tmp_path):
    given = ["the good bad film the film good bad the bad strange good"]
    random = np.random.default_rng(5)
    effects = {}
    for name, weights in (("known", [0, 0, 3, -3, 0.1, 0]), ("random", random.normal(size=6))):
        model = text_model(tmp_path / name, weights, length=20)
        effects[name] = [found.effects for found in explain(model, model.read_files([], given))]
    for known, other in zip(effects["known"], effects["random"], strict=True):
        assert spearmanr(np.abs(known), np.abs(other)).statistic < 0.5
    rows = {"a": random.normal(size=50), "b": random.normal(size=50)}
    labels = (rows["a"] > 0).astype(int)
    known, other = (
        columns.importances(
            lambda some, w=w: np.stack([1 - (s := some["a"] * w[0] + some["b"] * w[1] > 0), s], 1),
            rows,
            lambda scores: scores.argmax(axis=1) != labels,
        )
        for w in ((1, 0), (0.1, 1))
    )
    assert next(iter(known)) == "a" and known["b"]["value"] == 0
    assert known["a"]["low"] > 0.3 and abs(other["b"]["value"]) < 0.25


# --- where the graph is cut -----------------------------------------------------------------------


def conv(x, filters=4, **options):
    return keras.layers.Conv2D(filters, 3, padding="same", **options)(x)


def model_of(body):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="images")
    x = body(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(x))
    return keras.Model(inputs, {"probabilities": outputs})


def built(body):
    return network_of_model(model_of(body))


def before_pooling(x):
    return keras.layers.MaxPooling2D(2)(keras.layers.ReLU()(conv(x)))


def rectified_after_pooling(x):
    return keras.layers.ReLU()(keras.layers.MaxPooling2D(2)(conv(x)))


def with_a_shortcut(x):
    x = conv(x)
    return keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(conv(x) + x))


def to_one_place(x):
    return keras.layers.AveragePooling2D(8)(conv(x, activation="relu"))


def averaged_after_all(x):  # as kpipe's own cnn with pooling="average"
    x = keras.layers.BatchNormalization()(keras.layers.MaxPooling2D(2)(conv(x)))
    return keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))


def to_the_largest(x):
    return keras.layers.GlobalMaxPooling2D()(conv(x, activation="relu"))


def to_one_row(x):
    return keras.ops.mean(conv(x, activation="relu"), axis=1)


def to_a_part(x):  # three of eight rows and columns are not seen
    return keras.layers.AveragePooling2D(5)(conv(x, activation="relu"))


def averaged_and_largest(x):
    x = conv(x, activation="relu")
    pooled = (keras.layers.GlobalAveragePooling2D(), keras.layers.GlobalMaxPooling2D())
    return keras.layers.Concatenate()([pool(x) for pool in pooled])


def with_two_ways(x):  # neither of them is all that the answer knows
    pooled = keras.layers.GlobalAveragePooling2D()
    return keras.layers.Concatenate()([pooled(conv(x, strides=2)), keras.layers.Flatten()(x)])


@pytest.mark.parametrize(
    ("body", "ends", "side", "rectified", "pooled"),
    [
        (before_pooling, "Relu:0", 8, False, False),
        (rectified_after_pooling, "BiasAdd:0", 8, True, False),
        (with_a_shortcut, "Relu:0", 8, False, True),
        (to_one_place, "Relu:0", 8, False, True),
        (averaged_after_all, "Relu:0", 4, False, True),
        (to_the_largest, "Relu:0", 8, False, False),
        (to_one_row, "Relu:0", 8, False, False),
        (to_a_part, "Relu:0", 8, False, False),
        (averaged_and_largest, "Relu:0", 8, False, False),
        (with_two_ways, None, None, False, False),
        (lambda x: x, None, None, False, False),
    ],
)
def test_grad_cam_sees_the_last_activations_before_pooling(body, ends, side, rectified, pooled):
    network = built(body)
    name = network.last_features
    assert (name is None) == (ends is None)
    if name:
        assert name.endswith(ends) and network.shape_of(name)[1:3] == (side, side)
        assert network.features_are_rectified == rectified
        assert network.features_are_pooled == pooled


@pytest.mark.parametrize("body", [averaged_after_all, with_a_shortcut, to_one_place])
def test_grad_cam_of_averaged_features_is_the_class_activation_map(body):
    """CAM, Zhou et al., 2016: the features, weighted as the last layer weights their means."""
    model = model_of(body)
    kernel = np.array([[-1, 1], [1, -2], [2, 0.5], [0.5, 3]], "float32")
    model.layers[-1].set_weights([kernel, np.zeros(2)])
    network = network_of_model(model)
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 1)).astype("uint8")
        (features,) = network.values_at(image, [network.last_features])
        assert features.any() and features.min() >= 0
        for column in (0, 1):
            cam = np.maximum(features[0] @ kernel[:, column], 0)[..., None]
            cam = tf.image.resize(cam, (8, 8)).numpy()[..., 0]
            expected = cam / max(cam.max(), 1e-9)
            np.testing.assert_allclose(grad_cam(network, image, column), expected, atol=1e-4)


@pytest.mark.parametrize("body", [to_the_largest, to_one_row])
def test_places_that_are_not_averaged_are_weighted_by_their_own_gradient(body):
    """By the mean gradient, places without any weight would be shown."""
    model = model_of(body)
    kernel = np.zeros_like(model.layers[-1].kernel)
    kernel[:8] = [-1, 1]  # of four maps, or of the first two of eight columns
    model.layers[-1].set_weights([kernel, np.zeros(2)])
    network = network_of_model(model)
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 1)).astype("uint8")
        assert not grad_cam(network, image, 0).any()
        cam = grad_cam(network, image, 1)
        assert cam.any()
        if body is to_one_row:
            assert not cam[:, 2:].any()
        else:
            assert np.count_nonzero(cam) <= 4  # the largest of each map


def test_features_that_are_rectified_after_pooling_are_explained_alike():
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)).astype("uint8")
    first, second = (built(body) for body in (before_pooling, rectified_after_pooling))
    heats = [grad_cam(network, image, 1) for network in (first, second)]
    # Not equally: where all are 0, pooling passes the gradient to the first of them.
    assert rank_correlation(*heats) > 0.8


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "single", "linear"])
def test_grad_cam_differentiates_what_is_before_softmax_or_sigmoid(kind):
    """A sure answer has no gradient behind softmax."""
    kernel = tf.constant([[-300.0, 300.0]])

    def answer(images):
        x = tf.nn.relu(
            tf.nn.conv2d(tf.cast(images, tf.float32) / 255, tf.ones((1, 1, 1, 1)), 1, "SAME")
        )
        x = x * tf.one_hot([0], 4)[:, :, None, None] * tf.one_hot([0], 4)[:, None, :, None]
        logits = tf.reduce_sum(x, axis=(1, 2)) @ kernel
        if kind == "softmax":
            return tf.nn.softmax(logits)
        if kind == "sigmoid":
            return tf.sigmoid(logits)
        if kind == "linear":
            return logits
        single = tf.sigmoid(logits[:, 1:])
        return tf.concat([1 - single, single], axis=1)

    output = "value" if kind == "linear" else "probabilities"
    network = network_of(answer, (4, 4, 1), output=output)
    image = np.full((1, 4, 4, 1), 255, "uint8")
    (_, slopes) = network.slopes_of_logit(image, network.last_features, 1)
    assert np.abs(slopes).max() == pytest.approx(300, rel=1e-4)
    heat = grad_cam(network, image, 1)
    assert heat[0, 0] == 1 and not heat[1:].any()  # where the kernel is not 0
    assert not grad_cam(network, image, 0).any()  # all speaks against the first class


def test_operations_without_a_gradient_are_no_failure():
    def contrasted(images):
        return tf.image.adjust_contrast(tf.cast(images, tf.float32), 2.0)  # has no gradient

    def convolved(images):
        x = tf.nn.conv2d(contrasted(images), tf.ones((1, 1, 1, 1)), 1, "SAME")
        return two(tf.reduce_mean(x, axis=(1, 2, 3)) / 100)

    def averaged(images):
        return two(tf.reduce_mean(contrasted(images), axis=(1, 2, 3)) / 100)

    assert image_methods(network_of(convolved, (4, 4, 1))) == ("grad_cam",)  # of what is behind it
    assert image_methods(network_of(averaged, (4, 4, 1))) == ()


def test_a_network_in_memory_and_its_export_explain_alike(trained, tmp_path):
    def serve(images):
        probabilities = trained(images, training=False)["probabilities"]
        return {"probabilities": probabilities, "label": tf.argmax(probabilities, axis=1)}

    archive = keras.export.ExportArchive()
    archive.track(trained)
    spec = tf.TensorSpec((None, SIDE, SIDE, 1), tf.uint8, name="images")
    archive.add_endpoint("serving_default", serve, input_signature=[spec])
    archive.write_out(str(tmp_path / "serving" / "1"), verbose=False)
    (tmp_path / "serving" / "1" / "assets" / "labels.txt").write_text("dark\nbright\n")
    model = kpipe.load(tmp_path)
    images, _ = cornered(2, seed=6)
    found = explain(model, examples_of(images))
    assert [one.method for one in found] == ["grad_cam", "integrated_gradients"] * 2
    network = network_of_model(trained)
    for i, one in enumerate(found):
        column = ("dark", "bright").index(one.target)
        image = images[i // 2][None]
        (same,) = explain_image(network, image, column, one.target, (one.method,))
        np.testing.assert_allclose(one.effects, same.effects, atol=1e-4)
        assert json.loads(json.dumps(one.to_json()))["shape"] == [SIDE, SIDE]


# --- a server -------------------------------------------------------------------------------------


def test_threads_explain_alike_and_the_second_time_is_quick(finished_run, digits):
    model = kpipe.load(finished_run.folder)
    given = examples_of(digits.test.take(np.arange(1))[0])
    started = time.perf_counter()
    first = explain(model, given)
    middle = time.perf_counter()
    explain(model, given)
    assert time.perf_counter() - middle < middle - started  # nothing is traced again
    fresh, found = kpipe.load(finished_run.folder), []
    threads = [
        threading.Thread(target=lambda: found.append(explain(fresh, given))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for one in found:
        np.testing.assert_allclose(one[0].effects, first[0].effects, atol=1e-6)


def test_a_model_that_was_explained_can_be_freed(texts):
    model = kpipe.load(texts)
    explain(model, model.read_files([], ["good film"]))
    alive = weakref.ref(model.signature("serving_default"))
    del model
    gc.collect()
    assert alive() is None


# --- mistakes -------------------------------------------------------------------------------------


def test_an_autoencoder_is_refused(tmp_path):
    def serve(images):
        pixels = tf.cast(images, tf.float32) / 255
        return {"reconstruction": pixels, "code": tf.reduce_mean(pixels, axis=(1, 2))}

    spec = tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="images")
    model = export(tmp_path, {"serving_default": (serve, spec)})
    with pytest.raises(UserError, match="its answers are code, reconstruction; expected a model"):
        methods_of(model)


def test_an_unknown_label_or_method_is_named_with_the_nearest(texts, tmp_path):
    model = kpipe.load(texts)
    given = model.read_files([], ["good"])
    with pytest.raises(UserError, match="no label 'yess'; did you mean 'yes'"):
        explain(model, given, target="yess")
    with pytest.raises(UserError, match="no method 'grad_cam' for this model of texts; known: era"):
        explain(model, given, methods=["grad_cam"])
    table = table_model(tmp_path)
    row = examples_of({"floor_area": np.zeros(1, "float32"), "town": [b""]})
    with pytest.raises(UserError, match="a regression has no labels; leave it out"):
        explain(table, row, target="price")


def test_a_vocabulary_that_is_not_that_of_the_graph_is_refused(texts, tmp_path):
    folder = shutil.copytree(texts, tmp_path / "texts")
    path = folder / "serving" / "1" / "assets" / "vocabulary.txt"
    path.write_text("\n[UNK]\nbad\ngood\nfilm\nthe\n")
    model = kpipe.load(folder)
    with pytest.raises(UserError, match="its vocabulary is not that of its graph"):
        explain(model, model.read_files([], ["good film"]))


# --- many rows ------------------------------------------------------------------------------------


def test_importance_is_that_of_scikit_learn():
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LinearRegression

    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3)).astype("float32")
    y = 3 * x[:, 0] + x[:, 1] + random.normal(size=400) * 0.1
    fitted = LinearRegression().fit(x, y)
    score = lambda rows: fitted.predict(np.stack(list(rows.values()), 1))[:, None]  # noqa: E731
    rows = {name: x[:, i] for i, name in enumerate("abc")}
    found = columns.importances(score, rows, lambda scores: np.abs(scores[:, 0] - y))
    scoring = "neg_mean_absolute_error"
    theirs = permutation_importance(fitted, x, y, scoring=scoring, n_repeats=20, random_state=0)
    for name, mean in zip("abc", theirs.importances_mean, strict=True):
        assert found[name]["value"] == pytest.approx(mean, rel=0.1, abs=0.002)
    assert list(found) == ["a", "b", "c"] and found["b"]["low"] > 0 > found["c"]["low"]


def test_effects_are_the_partial_dependence_of_scikit_learn():
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import partial_dependence

    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)).astype("float32")
    fitted = RandomForestRegressor(5, random_state=0).fit(x, x[:, 0] * x[:, 1])
    score = lambda rows: fitted.predict(np.stack(list(rows.values()), 1))[:, None]  # noqa: E731
    found = columns.effect(score, {"a": x[:, 0], "b": x[:, 1]}, "a", Field("a"))
    grid = {0: found.values.astype("float32")}
    theirs = partial_dependence(fitted, x, [0], custom_values=grid, method="brute", kind="both")
    np.testing.assert_allclose(found.scores[:, :, 0].mean(axis=1), theirs["average"][0], atol=1e-6)
    np.testing.assert_allclose(found.scores[:, :, 0].T, theirs["individual"][0], atol=1e-6)


def test_the_values_of_a_column_are_those_that_occur():
    def found(values, kind):
        score = lambda rows: np.zeros((len(rows["a"]), 1))  # noqa: E731
        effect = columns.effect(score, {"a": np.array(values)}, "a", Field("a", kind))
        assert effect.scores.shape == (len(effect.values), len(values), 1)
        return effect.values.tolist()

    assert found([b"x", b"y", b"x", b""], "category") == [b"x", b"", b"y"]
    assert found([b"2024-01-02", b"", b"2023-01-01"], "date") == [b"2023-01-01", b"2024-01-02"]
    assert found([2.0, 1.0, np.nan, 2.0], "number") == [1, 2]
    assert found([np.nan] * 3, "number") == [0]
    assert len(found(np.arange(100.0), "number")) == columns.POINTS


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def digit(tmp_path, digits):
    from PIL import Image

    path = tmp_path / "digit.png"
    Image.fromarray(digits.test.take(np.arange(1))[0][0, ..., 0]).save(path)
    return path


def test_the_command_prints_and_draws(capsys, finished_run, digit, tmp_path):
    out = tmp_path / "pictures"
    command = ["explain", str(finished_run.folder), str(digit), str(digit), "--out", str(out)]
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    label = finished_run.label_names[finished_run.predictions["probabilities"][0].argmax()]
    assert lines[0].startswith(f"{digit}: {label} (")
    assert lines[1].startswith(f"  integrated gradients, for {label} (") and "; sum " in lines[1]
    assert lines[-1] == f"2 pictures in {out}: digit-explained.png, digit-2-explained.png"
    assert (out / "digit-explained.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_json(capsys, finished_run, digit):
    command = ["explain", str(finished_run.folder), str(digit), "--json", "--target", "3"]
    assert cli.main(command) == 0
    (line,) = capsys.readouterr().out.splitlines()
    content = json.loads(line)
    assert content["file"] == str(digit) and content["kind"] == "image"
    assert content["target"] == "3" and np.shape(content["heat"]) == (28, 28)
    difference = content["score"] - content["baseline_score"]
    assert content["sum"] == pytest.approx(difference, abs=0.002 + 0.01 * abs(difference))


def test_the_command_lists_words_and_columns(capsys, texts, tmp_path):
    table_model(tmp_path / "table")
    (tmp_path / "new.csv").write_text("town,floor area\nBray,10\n,\n")
    assert cli.main(["explain", str(texts), "--text", "The good film"]) == 0
    printed = capsys.readouterr().out
    assert "The good film: yes (92.4 %)" in printed
    assert "good +2.00, film +0.50" in printed and "sum +42.4 points, from 50.0 %" in printed
    out = tmp_path / "pictures"
    command = ["explain", str(tmp_path / "table"), str(tmp_path / "new.csv"), "--out", str(out)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "floor area = 10" in printed and "+14.50" in printed and "town = (missing)" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "new-1-explained.png",
        "new-2-explained.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to explain; expected FILE ... or --text TEXT"),
        (["missing.png"], "missing.png: no such file"),
        (["--text", "a"], "the model takes images, not texts; give files"),
        (["DIGIT", "--method", "erasure"], "no method 'erasure' for this model of images; known:"),
        (["DIGIT", "--out", "DIGIT"], "is a file; expected a folder"),
    ],
)
def test_a_mistake_is_one_line(capsys, finished_run, digit, arguments, said):
    given = [str(digit) if word == "DIGIT" else word for word in arguments]
    assert cli.main(["explain", str(finished_run.folder), *given]) == 2
    message = capsys.readouterr().err
    assert said in message and message.startswith("error: ") and message.count("\n") == 1


def test_the_worst_mistakes_are_explained_on_the_report(finished_run):
    assert (finished_run.folder / "figures" / "explained_mistakes.png").is_file()


def test_an_explanation_tells_its_strongest_parts():
    effects = np.array([0.5, -2.0, 0.0, 1.0])
    found = Explanation("text", "erasure", "a", 0.5, "log-odds", "", effects, tuple("abcd"))
    assert found.strongest(2) == [1, 3] and found.strongest(9) == [1, 3, 0]
