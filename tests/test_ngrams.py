"""Naive-Bayes-weighted n-grams: the linear part of text networks, and the method beside them."""

import itertools

import keras
import numpy as np
import pytest
from scipy import sparse, special
from sklearn.linear_model import LogisticRegression

from kpipe import models
from kpipe.inputs import ngrams
from kpipe.measures.ngrams import INVERSE_PENALTY, NaiveBayesNgrams, ngrams_of
from kpipe.models import ngrams as layers

TEXTS = [
    *(["a good film", "good good story", "a film so good", "what a good story"] * 5),
    *(["a bad film", "bad story", "a film so bad", "what a bad bad story"] * 5),
]
LABELS = np.repeat([1, 0], 20)
WORDS = sorted({word for text in TEXTS for word in text.split()})
IDS = {word: i + 2 for i, word in enumerate(WORDS)}  # 0 is padding, 1 the unknown word


def tokens_of(texts, length=6):
    rows = np.zeros((len(texts), length), np.int32)
    for row, text in zip(rows, texts, strict=True):
        words = text.split()
        row[: len(words)] = [IDS.get(word, 1) for word in words]
    return rows


class Split:
    def __init__(self, texts, labels):
        self.tokens, self.labels = tokens_of(texts), np.asarray(labels)
        self.rows = np.arange(len(labels))

    def __len__(self):
        return len(self.labels)

    def take(self, positions):
        return self.tokens[positions], self.labels[positions]


def linear(num_classes=2, longest=3):
    tokens = keras.Input((None,), dtype="int32")
    options = {"vocabulary_size": len(WORDS) + 2, "longest": longest, "buckets": 1 << 12}
    return keras.Model(tokens, layers.ngram_logits(tokens, num_classes, **options))


@pytest.fixture
def fitted():
    model = linear()
    ngrams.fit(model, Split(TEXTS, LABELS))
    return model


def test_ratios_are_those_of_naive_bayes_by_hand():
    # n-grams a, b: texts of the class have a 2 times, b once; the others b once.
    counts = sparse.csr_matrix([[1, 1], [1, 0], [0, 1]])
    ratios = ngrams.log_ratios(counts, np.array([True, True, False]))
    np.testing.assert_allclose(ratios, np.log([(3 / 5) / (1 / 3), (2 / 5) / (2 / 3)]))


def test_the_method_is_scikit_learns_regression_of_weighted_counts():
    known = [g for g in sorted(set(itertools.chain(*map(ngrams_of, TEXTS))))]
    table = np.array([[g in ngrams_of(text) for g in known] for text in TEXTS], float)
    table = table[:, table.sum(axis=0) >= 2]
    ratio = ngrams.log_ratios(sparse.csr_matrix(table), LABELS == 1)
    expected = LogisticRegression(
        C=INVERSE_PENALTY, dual=True, solver="liblinear", random_state=0
    ).fit(table * ratio, LABELS)
    method = NaiveBayesNgrams().fit(TEXTS, LABELS)
    np.testing.assert_array_equal(method.predict(TEXTS), expected.predict(table * ratio))
    assert method.weights.sum() == pytest.approx((expected.coef_[0] * ratio).sum(), rel=1e-6)
    assert list(method.predict(["so good", "so bad", "nothing known"])[:2]) == [1, 0]


def test_several_classes_have_a_regression_each():
    texts, labels = TEXTS + ["a long trip", "the long way"] * 10, [*LABELS, *[2] * 20]
    method = NaiveBayesNgrams().fit(texts, labels)
    known = list(method.vectorizer.get_feature_names_out())
    table = np.array([[g in ngrams_of(text) for g in known] for text in texts], float)
    scores = []
    for one in range(3):
        is_class = np.array(labels) == one
        weighted = table * ngrams.log_ratios(sparse.csr_matrix(table), is_class)
        options = {"C": INVERSE_PENALTY, "dual": True, "solver": "liblinear", "random_state": 0}
        scores.append(
            LogisticRegression(**options).fit(weighted, is_class).decision_function(weighted)
        )
    found = method.vectorizer.transform(texts) @ method.weights + method.biases
    np.testing.assert_allclose(found, np.stack(scores, axis=1), atol=1e-4)
    np.testing.assert_array_equal(method.predict(texts), np.argmax(scores, axis=0))
    assert list(method.predict(["good story", "bad story", "long trip"])) == [1, 0, 2]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_weights_of_the_network_are_those_of_scikit_learn(classes):
    texts, labels = TEXTS, LABELS
    if classes == 3:
        texts = [*TEXTS, *["so what", "a so", "what film", "so what a"] * 5]
        labels = np.append(LABELS, [2] * 20)
    model = linear(classes)
    ngrams.fit(model, Split(texts, labels))
    seen = [set(ngrams_of(text)) for text in texts]
    often = [g for g in sorted(set().union(*seen)) if sum(g in text for text in seen) >= 2]

    def counts(texts):
        return np.array([[float(g in ngrams_of(text)) for g in often] for text in texts])

    def logits(known, classes_of, asked, penalty):
        """Of regressions on unit-length naive Bayes features, each class against all others."""
        found = []
        for one in range(classes):
            is_class = classes_of == one
            p, q = 1 + counts(known)[is_class].sum(axis=0), 1 + counts(known)[~is_class].sum(axis=0)
            ratio = np.log(p / p.sum()) - np.log(q / q.sum())
            parts = [counts(part) * ratio for part in (known, asked)]
            parts = [
                part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-3)
                for part in parts
            ]
            fitted = LogisticRegression(C=penalty, dual=True, solver="liblinear", random_state=0)
            found.append(parts[1] @ fitted.fit(parts[0], is_class).coef_[0])
        if classes == 2:  # both are of the same regression
            found = [found[0] / 2, -found[0] / 2]
        return np.stack(found, axis=1)

    held = np.arange(len(texts)) % 10 == 0
    best = []
    kept, asked = (list(itertools.compress(texts, rows)) for rows in (~held, held))
    for penalty in (1.0, 10.0, 100.0):
        scores = logits(kept, labels[~held], asked, penalty)
        for factor in np.geomspace(0.05, 2.0, 25):
            likelihood = special.log_softmax(factor * scores, axis=1)
            best.append((likelihood[range(sum(held)), labels[held]].mean(), penalty, factor))
    _, penalty, factor = max(best)
    others = ["good film", "film film bad", "a", "unseen film", "unseen words"]
    expected = factor * logits(texts, labels, others, penalty)
    given = model.predict(tokens_of(others), verbose=0)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    assert given[0].argmax() == 1
    np.testing.assert_array_equal(given[4], 0)


def test_an_ngram_counts_once_and_padding_nothing(fitted):
    once, twice = fitted.predict(tokens_of(["film", "film film"]), verbose=0)
    np.testing.assert_array_equal(once, twice)
    longer = fitted.predict(np.pad(tokens_of(["film"]), ((0, 0), (0, 9))), verbose=0)[0]
    np.testing.assert_allclose(longer, once, rtol=1e-6)
    word = fitted.predict(tokens_of(["film"], length=1), verbose=0)[0]
    np.testing.assert_allclose(word, once, rtol=1e-6)


def test_each_ngram_of_train_has_a_bucket_and_no_other_text_fills_it(fitted):
    kept = fitted.get_layer(layers.PRINTS).get_weights()[0].astype(bool).sum()
    seen = [set(ngrams_of(text)) for text in TEXTS]
    often = [g for g in set().union(*seen) if sum(g in text for text in seen) >= 2]
    assert len(often) - 2 <= kept <= len(often)  # of two in one bucket one is kept


def test_a_fit_is_the_same_each_time(fitted):
    again = linear()
    ngrams.fit(again, Split(TEXTS, LABELS))
    for one, other in zip(fitted.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["recurrent", "transformer", "bag_of_embeddings"])
def test_every_network_on_texts_adds_the_part_to_its_logits(kind, tmp_path):
    keras.utils.set_random_seed(0)
    options = {"vocabulary_size": 20, "embedding_dim": 8, "ngrams": 2, "ngram_buckets": 256}
    model = getattr(models, kind)(3, **options)
    tokens = tokens_of(TEXTS[:4])
    before = model.predict(tokens, verbose=0)["probabilities"]
    weights = model.get_layer(layers.WEIGHTS)
    assert not weights.trainable_weights
    ngrams.fit(model, Split(TEXTS, LABELS))
    after = model.predict(tokens, verbose=0)["probabilities"]
    assert (after[:, 1] > before[:, 1]).all()  # good
    assert "kpipe" not in model.to_json()  # loads without it
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(tokens, verbose=0)["probabilities"], after)


def test_in_training_the_part_is_left_out_or_as_strong_as_in_an_answer():
    keras.utils.set_random_seed(0)
    options = {"vocabulary_size": 20, "embedding_dim": 8, "ngrams": 2, "ngram_buckets": 256}
    model = models.bag_of_embeddings(3, units=(), **options)
    ngrams.fit(model, Split(TEXTS, LABELS))
    rest = model.get_layer("logits")
    rest.set_weights([np.zeros_like(values) for values in rest.get_weights()])
    tokens = tokens_of(TEXTS[:1]).repeat(300, axis=0)
    trained = model(tokens, training=True)["probabilities"].numpy()
    answer = model(tokens[:1])["probabilities"].numpy()
    is_left_out = np.isclose(trained, 1 / 3).all(axis=1)
    np.testing.assert_allclose(trained[~is_left_out], answer.repeat((~is_left_out).sum(), axis=0))
    assert 15 <= (~is_left_out).sum() <= 45  # a tenth of 300; the binomial's 99.7 %


def test_texts_without_a_common_ngram_leave_the_part_at_0(capsys):
    texts = [WORDS[i] for i in range(4)]
    options = {"vocabulary_size": 20, "embedding_dim": 8, "ngrams": 2, "ngram_buckets": 256}
    model = models.bag_of_embeddings(3, **options)
    before = model.predict(tokens_of(texts), verbose=0)["probabilities"]
    ngrams.fit(model, Split(texts, [0, 1, 0, 1]))
    assert "none is in 2 training texts" in capsys.readouterr().out
    after = model.predict(tokens_of(texts), verbose=0)["probabilities"]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ngrams": 8}, "ngrams=8"),
        ({"ngrams": 2, "task": "regression"}, "task='regression'"),
        ({"ngrams": 2, "ngram_buckets": 1}, "ngram_buckets=1: expected 256 or more"),
    ],
)
def test_what_has_no_ngrams_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.bag_of_embeddings(3, vocabulary_size=20, **options)
