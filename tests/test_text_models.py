import itertools

import keras
import numpy as np
import pytest

from kpipe import models
from kpipe.models import text

CELLS, POOLINGS = ("simple_rnn", "gru", "lstm"), ("last", "mean", "max", "mean_max")
TINY = {"vocabulary_size": 50, "embedding_dim": 8}
LENGTHS = (4, 1, 2)


@pytest.fixture
def tokens():
    """Three texts of different lengths, padded on the right."""
    rng = np.random.default_rng(0)
    rows = np.zeros((len(LENGTHS), max(LENGTHS)), np.int32)
    for row, length in zip(rows, LENGTHS, strict=True):
        row[:length] = rng.integers(1, 50, length)
    return rows


def build(kind, **options):
    keras.utils.set_random_seed(0)
    if kind == "transformer":
        options = {"max_length": 16, "num_heads": 2, "feedforward_units": 6} | options
    return getattr(models, kind)(3, **(TINY | options))


EVERY = [
    *(
        ("recurrent", {"cell": cell, "pooling": pooling, "units": (6, 5)})
        for cell, pooling in itertools.product(CELLS, POOLINGS)
    ),
    *(
        ("recurrent", {"pooling": pooling, "bidirectional": True, "units": (6, 5)})
        for pooling in POOLINGS
    ),
    ("recurrent", {"cell": "simple_rnn", "activation": "relu", "dropout": 0.5}),
    *(("transformer", {"pooling": pooling, "num_layers": 2}) for pooling in POOLINGS),
    *(("bag_of_embeddings", {"pooling": pooling, "dropout": 0.5}) for pooling in POOLINGS[1:]),
    ("bag_of_embeddings", {"units": (), "l1": 1e-4, "l2": 1e-4}),
]


@pytest.mark.parametrize(
    ("kind", "options"),
    [  # each cell and each pooling once, and all others
        pytest.param(*one, marks=[pytest.mark.slow] * (i < 12 and i % 3 > 0))
        for i, one in enumerate(EVERY)
    ],
)
def test_padding_has_no_influence_and_the_model_can_be_saved(kind, options, tokens, tmp_path):
    model = build(kind, **options)
    assert model.input.dtype == "int32" and model.input.name == "tokens"
    outputs = model(tokens)
    assert list(outputs) == ["probabilities"]
    probabilities = outputs["probabilities"].numpy()
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    more = model(np.pad(tokens, ((0, 0), (0, 2))))["probabilities"]
    np.testing.assert_allclose(more, probabilities, atol=1e-6)
    for row, length in enumerate(LENGTHS):
        # At one word Keras warns of a softmax over one value.
        alone = model(tokens[row : row + 1, : max(length, 2)])["probabilities"].numpy()
        np.testing.assert_allclose(alone[0], probabilities[row], atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again(tokens)["probabilities"], probabilities)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        # embedding 50*8, kernel, recurrent kernel and bias of each cell, 3 classes
        ("recurrent", {"cell": "simple_rnn", "units": (6,)}, 400 + 6 * (8 + 6 + 1) + 3 * 7),
        ("recurrent", {"cell": "gru", "units": (6,)}, 400 + 3 * 6 * (8 + 6 + 2) + 3 * 7),
        ("recurrent", {"cell": "lstm", "units": (6,)}, 400 + 4 * 6 * (8 + 6 + 1) + 3 * 7),
        (
            "recurrent",
            {"units": (6,), "bidirectional": True, "pooling": "mean_max"},
            400 + 2 * 4 * 6 * (8 + 6 + 1) + 3 * (4 * 6 + 1),
        ),
        # positions 16*8; two norms, four projections and the feed-forward part of a block; a norm
        ("transformer", {}, 400 + 128 + 2 * 16 + 4 * 72 + (8 * 6 + 6 + 6 * 8 + 8) + 16 + 3 * 9),
        ("bag_of_embeddings", {"units": (5, 4)}, 400 + 5 * 9 + 4 * 6 + 3 * 5),
    ],
)
def test_parameters_are_as_many_as_counted_by_hand(kind, options, expected):
    assert build(kind, **options).count_params() == expected


def test_the_last_state_of_both_directions_is_the_end_of_each(tokens):
    model = build("recurrent", cell="gru", units=(6,), bidirectional=True)
    layer = model.get_layer("bidirectional_1")
    states = keras.Model(model.inputs[0], layer.output)(tokens).numpy()
    vectors = model.get_layer("embedding").get_weights()[0]
    for row, length in enumerate(LENGTHS):
        words = vectors[tokens[row, :length]][None]
        forward, backward = (
            cell(order)[0].numpy().reshape(-1, 6)[-1]
            for cell, order in (
                (layer.forward_layer, words),
                (layer.backward_layer, words),  # go_backwards: it reads from the end itself
            )
        )
        np.testing.assert_allclose(states[row], np.concatenate([forward, backward]), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS[1:])
def test_pooling_is_over_the_words_alone(pooling, tokens):
    model = build("bag_of_embeddings", units=(), pooling=pooling)
    vectors = model.get_layer("embedding").get_weights()[0]
    kernel, bias = model.get_layer("probabilities").get_weights()
    pooled = []
    for row, length in enumerate(LENGTHS):
        words = vectors[tokens[row, :length]]
        parts = {"mean": words.mean(axis=0), "max": words.max(axis=0)}
        pooled.append(np.concatenate([parts[name] for name in pooling.split("_")]))
    logits = np.array(pooled) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(tokens)["probabilities"], expected, atol=1e-5)


def test_attention_is_shared_among_the_words_and_padding_gets_none(tokens):
    model = build("transformer", num_layers=2)
    scores = models.attention_scores(model)(tokens)
    assert list(scores) == ["attention_1", "attention_2"]
    for values in scores.values():
        assert values.shape == (3, 2, 4, 4)
        np.testing.assert_allclose(np.sum(values, axis=-1), 1, atol=1e-5)
        for row, length in enumerate(LENGTHS):
            assert np.abs(values[row, :, :, length:]).max(initial=0) < 1e-6
    with pytest.raises(ValueError, match="model 'recurrent' has no attention layers"):
        models.attention_scores(build("recurrent"))


def test_a_relu_network_starts_with_the_identity():
    model = build("recurrent", cell="simple_rnn", units=(6,), activation="relu")
    layer = model.get_layer("simple_rnn_1")
    np.testing.assert_array_equal(layer.get_weights()[1], np.eye(6))
    assert layer.activation is keras.activations.relu
    plain = build("recurrent", cell="simple_rnn", units=(6,)).get_layer("simple_rnn_1")
    assert plain.activation is keras.activations.tanh


def test_l2_is_on_every_kernel_and_not_on_the_embedding():
    model = build("bag_of_embeddings", units=(5,), l2=0.5)
    kernels = [np.asarray(weight) for weight in model.weights if weight.name == "kernel"]
    assert len(kernels) == 2
    squares = sum(np.square(kernel).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(0.5 * squares, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("recurrent", {"cell": "gru", "units": (16,)}, marks=pytest.mark.slow),
        pytest.param(
            "recurrent",
            {"cell": "lstm", "units": (16,), "bidirectional": True, "pooling": "max"},
            marks=pytest.mark.slow,
        ),
        ("transformer", {"embedding_dim": 16, "pooling": "mean"}),
    ],
)
def test_the_order_of_words_is_learned(kind, options):
    """Whether 2 comes before 3, which no bag of words can represent."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(4, 10, (512, 6)).astype(np.int32)
    labels = rng.integers(0, 2, 512)
    for row, label in zip(tokens, labels, strict=True):
        places = np.sort(rng.choice(6, 2, replace=False))
        row[places] = (2, 3) if label else (3, 2)
    model = build(kind, **options)
    # XLA takes seconds to compile.
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(tokens, labels, epochs=15, batch_size=64, verbose=0)
    assert np.mean(np.argmax(model(tokens)["probabilities"], axis=1) == labels) > 0.95


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("recurrent", {"cell": "rnn"}, "cell='rnn': expected one of simple_rnn, gru, lstm"),
        (
            "recurrent",
            {"pooling": "sum"},
            "pooling='sum': expected one of last, mean, max, mean_max",
        ),
        ("recurrent", {"units": ()}, r"units=\(\): expected at least one width"),
        ("recurrent", {"cell": "gru", "activation": "relu"}, "activation='relu' with cell='gru'"),
        (
            "transformer",
            {"pooling": "sum"},
            "pooling='sum': expected one of last, mean, max, mean_max",
        ),
        ("transformer", {"num_heads": 3}, "embedding_dim=8: expected a multiple of num_heads=3"),
        ("bag_of_embeddings", {"pooling": "last"}, "pooling='last': expected one of mean"),
    ],
)
def test_what_does_not_exist_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, **options)


def test_every_builder_of_this_file_is_tested_here():
    assert {kind for kind, _ in EVERY} == {
        name for name in vars(text) if name in models.__all__ and name not in ("attention_scores",)
    }
