"""A pipeline is a scikit-learn estimator, whose parameters are its keys."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kpipe
from kpipe import tasks
from kpipe.errors import UserError
from kpipe.training import History

QUICK = {"epochs": 2, "batch_size": 64, "hidden_units": 0}


@pytest.fixture(scope="module")
def points():
    inputs = np.random.default_rng(0).normal(size=(90, 2))
    return inputs, np.where(inputs.sum(axis=1) > 0, "yes", "no")


@pytest.fixture
def untrained(monkeypatch):
    """Fits without training and checks; returns what would have been trained."""
    seen = []

    def fit(self, model, data, seed):
        seen.append((self, model, data))
        return History([{"epoch": 1}], best_epoch=7)

    monkeypatch.setattr(kpipe.Trainer, "fit", fit)
    for task in map(tasks.find, ("classification", "regression")):
        monkeypatch.setattr(task, "check", lambda model, data: None)
    return seen


def test_classes_can_be_words_and_a_fit_can_be_pickled(points, untrained):
    inputs, words = points
    estimator = kpipe.as_sklearn("logic_gates", learning_rate=0.5, **QUICK).fit(inputs, words)
    assert isinstance(estimator, keras.wrappers.SKLearnClassifier)
    assert estimator.classes_.tolist() == ["no", "yes"] and estimator.history_ == {"epoch": [1]}
    probabilities = estimator.predict_proba(inputs)
    assert not estimator.model_.compiled  # whose own loss could not be pickled
    predicted = pickle.loads(pickle.dumps(estimator)).predict(inputs)
    assert (predicted == estimator.classes_[probabilities.argmax(axis=1)]).all()
    assert estimator.score(inputs, words) == np.mean(predicted == words)


def test_a_grid_over_keys_is_searched_by_cross_validation(points, untrained, monkeypatch):
    def fit(self, model, data, seed):
        right = float(model.optimizer.learning_rate) == 0.5
        model.layers[-1].kernel.assign([[-1.0, 1.0] if right else [1.0, -1.0]] * 2)
        return History()

    monkeypatch.setattr(kpipe.Trainer, "fit", fit)
    estimator = kpipe.as_sklearn("logic_gates", **QUICK)
    halves = [(np.arange(60), np.arange(60, 90))]
    search = GridSearchCV(estimator, {"learning_rate": [0.25, 0.5]}, cv=halves, refit=False)
    search.fit(*points)
    assert search.best_params_ == {"learning_rate": 0.5} and search.best_score_ == 1.0
    assert search.cv_results_["mean_test_score"].tolist() == [0.0, 1.0]


def test_training_and_the_part_for_validation_are_those_of_the_pipeline(untrained):
    inputs, values = np.random.default_rng(0).normal(size=(100, 10)), np.arange(100.0)
    for keys in ({"retrain": True}, {"validation_fraction": 0}):
        estimator = kpipe.as_sklearn("diabetes_mlp", num_layers=0, **keys).fit(inputs, values)
    trained = [(d.examples.get("val", 0), t.patience, t.epochs) for t, _, d in untrained]
    assert trained == [(20, 30, 300), (0, 0, 7), (0, 0, 300)]
    assert len(untrained[1][2].train) == 100  # trained again on both, to the best epoch
    assert isinstance(estimator, keras.wrappers.SKLearnRegressor)
    ((_, model, _),) = untrained[-1:]
    scaled = model.predict(inputs.astype(np.float32), verbose=0)["value"][:, 0]
    expected = scaled * values.std() + values.mean()  # in the unit of the values
    np.testing.assert_allclose(estimator.predict(inputs), expected, rtol=1e-4)


def free(hp):
    """A network whose number of epochs depends on a recipe."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 0.0, 1.0, default=0.1)), "mse")
    return model


RECIPE = {
    "task": "classification",
    "load_data": lambda hp: kpipe.datasets.truth_table("and"),
    "build_model": free,
    "build_trainer": lambda hp: kpipe.Trainer(epochs=hp.Choice("recipe", [5, 9], default=5)),
}


def test_clones_keep_what_was_given_and_not_the_defaults_of_other_keys():
    estimator = kpipe.as_sklearn(RECIPE, learning_rate=np.float64(0.2))
    assert estimator.get_params()["epochs"] == 5
    copy = clone(estimator).set_params(recipe=9, seed=np.int64(3), class_weight=None)
    found = copy.get_params()
    assert found["epochs"] == 9 and found["learning_rate"] == 0.2 and found["seed"] == 3
    assert estimator.get_params()["seed"] == 0 and repr(estimator).endswith("np.float64(0.2))")
    pipe = make_pipeline(StandardScaler(), estimator).set_params(classifier__recipe=9)
    assert pipe.get_params()["classifier__recipe"] == 9
    with pytest.raises(UserError, match=r"no key 'recip'; did you mean 'recipe'\?"):
        estimator.set_params(learning_rate=0.5, recip=5)
    assert estimator.get_params()["learning_rate"] == 0.2


def zeros(columns, value=0.0):
    return np.full((20, columns), value), np.arange(20) % 2


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("mnist_mlp", zeros(783), r"X has 783 columns; expected 784 \(28 × 28 × 1\)"),
        ("mnist_mlp", zeros(784, 0.5), r"X\[0, 0\] is 0.5; expected integers from 0 to 255"),
        ("mnist_mlp", (np.zeros((20, 28, 28)), None), r"expected a row .* X.reshape\(len\(X\), -1"),
        ("ag_news_mlp", zeros(9, 2_000), "is 2000; expected integers from 0 to 1,999"),
        ("logic_gates", (["a text", "two"], [0, 1]), "texts; expected numbers: token ids"),
        ("logic_gates", (np.zeros((9, 2)), list("abcabcabc")), "y has 3 classes; .* has 2: 0, 1"),
        ("diabetes_mlp", (np.zeros((1, 10)), [1.0]), "or validation_fraction=0"),
        ("diabetes_mlp", zeros(10, 1e39), "expected finite numbers of float32"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_a_line(name, given, said):
    small = {"embedding_dim": 8, "vocabulary_size": 2000} if name == "ag_news_mlp" else {}
    small = {"num_layers": 0} if name == "mnist_mlp" else small
    with pytest.raises(UserError, match=said):
        kpipe.as_sklearn(name, **small).fit(*given)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        (
            RECIPE | {"task": "reconstruction"},
            {},
            "the task is reconstruction; expected a pipeline of",
        ),
        ("mnist_mpl", {}, "did you mean 'mnist_mlp'"),
        ("logic_gates", {"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ("logic_gates", {"hidden_units": "1,2"}, r"hidden_units=\[1, 2\]: expected one value"),
        ("logic_gates", {"seed": -1}, "seed=-1: expected an integer"),
        ("logic_gates", {"validation_fraction": 1}, "validation_fraction=1: expected a number"),
        ("setup.csv", {}, "setup.csv"),
    ],
)
def test_pipelines_and_keys_that_cannot_be_are_refused_in_a_line(name, keys, said):
    with pytest.raises(UserError, match=said):
        kpipe.as_sklearn(name, **keys)


@pytest.mark.slow
def test_fits_of_equal_seeds_are_equal_to_the_bit_and_learn():
    estimator = kpipe.as_sklearn("diabetes_mlp", epochs=60, batch_size=64, patience=0)
    inputs, values = estimator.load_data()
    assert estimator.fit(inputs, values).score(inputs, values) > 0.4
    assert len(estimator.history_["loss"]) == 60
    assert "val_mae" in estimator.history_ and estimator.predict(inputs[:5]).shape == (5,)
    again, other = (clone(estimator).set_params(seed=seed).fit(inputs, values) for seed in (0, 1))
    assert (again.predict(inputs) == estimator.predict(inputs)).all()
    assert (other.predict(inputs) != estimator.predict(inputs)).any()


def test_what_follows_from_the_examples_is_fitted_before_training(untrained):
    texts = kpipe.as_sklearn("ag_news_mlp", train_examples=1000, ngram_buckets=4096)
    tokens = np.random.default_rng(0).integers(2, 30, (80, 12))
    tokens[::2, 0] = 40  # a word of every other text
    texts.fit(tokens, np.where(np.arange(80) % 2, "sport", "world"))
    trained = [(model, len(data.train)) for _, model, data in untrained]
    assert [examples for _, examples in trained] == [72, 80]  # and again, on train and val
    first, second = (model.get_layer("ngram_weights").get_weights()[0] for model, _ in trained)
    assert first.any() and second.any() and not np.array_equal(first, second)


@pytest.mark.slow
def test_images_and_texts_are_learned_from_rows_of_numbers_in_two_processes():
    images = kpipe.as_sklearn("mnist_mlp", epochs=4, num_layers=1, units_1=64)
    inputs, words = images.load_data("sample")
    assert inputs.shape == (1293, 784) and cross_val_score(images, inputs, words, cv=2).min() > 0.7
    kept = words != "3"  # a class that the network has, and a fold may not have
    assert images.fit(inputs[kept], words[kept]).predict_proba(inputs).shape == (1293, 9)
    texts = kpipe.as_sklearn("ag_news_mlp", recipe="overfit", epochs=8, train_examples=300)
    tokens, topics = texts.load_data("sample")
    scores = [cross_val_score(texts, tokens, topics, cv=2, n_jobs=jobs) for jobs in (1, 2)]
    assert scores[0].min() > 0.5 and (scores[0] == scores[1]).all()
