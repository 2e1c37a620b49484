"""The simple method beside a network: its numbers, where it is left out, and what is said of it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import own_files
import pytest
from own import both, dataset, pictures
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kpipe import data, datasets, report
from kpipe.data import Split
from kpipe.datasets.columns import Column
from kpipe.datasets.look import Copies, Look
from kpipe.experiments.summary import summary
from kpipe.inputs import Rows, Tokens
from kpipe.inputs.tokens import Texts
from kpipe.measures import copies, simple
from kpipe.measures.classes import baseline_metrics, multilabel_metrics
from kpipe.measures.copies import copies_metrics, effect_of_copies
from kpipe.measures.features import features_of, pixels_of
from kpipe.measures.intervals import sign_of
from kpipe.measures.regression import baseline_regression_metrics
from kpipe.measures.simple import simple_method
from kpipe.tasks import classification, multilabel, regression


def split(inputs, labels, **options):
    return Split(Rows(np.asarray(inputs)), np.asarray(labels), np.arange(len(labels)), **options)


def halves(inputs, labels, **options):
    """All but the last 200 examples, and these."""
    whole = split(inputs, labels, **options)
    return whole.at(np.arange(len(whole) - 200)), whole.at(np.arange(len(whole) - 200, len(whole)))


def xor(count=500, seed=0, flipped=0.1):
    """float32 (n, 3) points whose class is the product of two signs, which no plane divides."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(count, 3)).astype(np.float32)
    labels = (points[:, 0] * points[:, 1] > 0) ^ (random.random(count) < flipped)
    return points, labels.astype(np.int32)


def texts(labels):
    words = ["good film", "bad film", "an old song"]
    column = Texts.of([words[label].encode() for label in labels])
    tokens = Tokens(np.zeros((len(labels), 2), np.int32), np.full(len(labels), 2), column)
    return Split(tokens, np.asarray(labels), np.arange(len(labels)))


# --- the methods -----------------------------------------------------------------------------


def test_vectors_are_classified_by_scikit_learns_trees():
    train, test = halves(*xor())
    found = simple_method([train], [test])
    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    trees.fit(train.inputs[:300], train.labels[:300])
    assert found.name == "gradient-boosted trees" and found.predicted.dtype == np.int32
    # By default they would from 10,000 examples on, and lose a tenth of them.
    assert simple._method_for(train, train.labels).estimator.early_stopping is False
    np.testing.assert_array_equal(found.predicted, trees.predict(test.inputs[300:]))
    np.testing.assert_array_equal(found.predicted, simple_method([train], [test]).predicted)


def test_numbers_of_vectors_are_predicted_by_scikit_learns_trees():
    points, _ = xor()
    values = (points[:, 0] * points[:, 1]).astype(np.float32)
    train, test = halves(points, values)
    trees = HistGradientBoostingRegressor(early_stopping=False, random_state=0)
    trees.fit(points[:300], values[:300])
    predicted = simple_method([train], [test]).predicted
    np.testing.assert_array_equal(predicted, trees.predict(points[300:]).astype(np.float32))


def test_images_are_classified_by_a_logistic_regression_of_their_pixels():
    images, labels = pictures(400)
    train, test = halves(images, labels)
    found = simple_method([train], [test])
    assert found.name == "logistic regression on 8 × 8 pixels"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=30))
    flat = images.reshape(400, -1).astype(np.float32)
    np.testing.assert_array_equal(
        found.predicted, model.fit(flat[:200], labels[:200]).predict(flat[200:])
    )
    assert (found.predicted == labels[200:]).mean() > 0.95


def test_numbers_of_images_are_predicted_by_a_ridge_regression():
    images, labels = pictures(400, channels=3)
    train, test = halves(images, labels.astype(np.float32))
    found = simple_method([train], [test])
    assert found.name == "ridge regression on 8 × 8 pixels"
    model = make_pipeline(StandardScaler(), Ridge(alpha=20))
    flat = images.reshape(400, -1).astype(np.float32)
    expected = model.fit(flat[:200], labels[:200].astype(np.float32)).predict(flat[200:])
    np.testing.assert_allclose(found.predicted, expected, rtol=1e-4, atol=1e-4)


def test_several_labels_of_images_are_predicted_at_once():
    images, classes = pictures(400)
    labels = np.stack([classes == 0, classes == 1, classes > 9], axis=1).astype(np.int32)
    found = simple_method(*([part] for part in halves(images, labels)))
    assert found.name == "a ridge classifier on 8 × 8 pixels"
    flat = StandardScaler().fit(images[:200].reshape(200, -1).astype(np.float32))
    train, test = (
        flat.transform(images[part].reshape(200, -1).astype(np.float32))
        for part in (slice(200), slice(200, 400))
    )
    model = RidgeClassifier(alpha=20).fit(train, labels[:200, :2])
    np.testing.assert_array_equal(found.predicted[:, :2], model.predict(test))
    np.testing.assert_array_equal(found.predicted[:, 2], 0)  # constant in train


@pytest.mark.parametrize("varying", [1, 2])
def test_several_labels_of_vectors_have_trees_each(varying):
    points, labels = xor(flipped=0)
    several = np.stack([labels, *[1 - labels] * (varying - 1), labels * 0 + 1], axis=1)
    found = simple_method(*([part] for part in halves(points, several)))
    assert found.predicted.shape == (200, varying + 1)
    assert (found.predicted == several[300:]).mean(axis=0).min() > 0.85


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda labels: labels, "logistic regression"),
        (lambda labels: labels.astype(np.float32), "ridge regression"),
        (lambda labels: np.stack([labels == 0, labels == 1], axis=1) * 1, "a ridge classifier"),
    ],
)
def test_texts_have_tf_idf_in_every_task(make, name):
    classes = np.arange(60) % 3
    whole = dataclasses.replace(texts(classes), labels=make(classes))
    found = simple_method([whole], [whole])
    assert found.name == f"TF-IDF with {name}"
    np.testing.assert_allclose(found.predicted, whole.labels, atol=0.3)


def test_an_image_is_averaged_over_squares_to_at_most_16_pixels_along_a_side():
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 17, 2)).astype(np.uint8)
    reduced = pixels_of(split(images, np.zeros(3))).reshape(3, 14, 9, 2)
    assert reduced[1, 2, 3, 1] == pytest.approx(images[1, 6:9, 6:8, 1].mean())
    assert reduced[0, 13, 8, 0] == images[0, 39, 16, 0]  # the rest of both sides
    small = images[:, :16, :16]
    np.testing.assert_array_equal(pixels_of(split(small, np.zeros(3))), small.reshape(3, -1))


# --- tables ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Table(Rows):
    """A stand-in for the columns of a table."""

    numbers: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))


def table(count=400, seed=0):
    """A number that is missing where the class is 1, a date, a boolean, and two categories."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).astype(np.int32)
    age, category = random.normal(40, 9, count), random.integers(2, 4, count)
    numbers = np.stack([np.where(labels == 1, np.nan, age), age > 40], axis=1).astype(np.float32)
    values = np.zeros((count, 2 + 5 + 1 + 2), np.float32)
    values[:, 0], values[:, 1] = (age - 40) / 9, labels  # standardized, and whether it is missing
    values[:, 2:7], values[:, 7], values[:, 8:] = random.random((count, 5)), age > 40, 7
    values[:, 8] = category
    columns = (
        Column("age", "number", missing=True),
        Column("city", "category", size=2),
        Column("day", "date"),
        Column("word", "category", size=700),
        Column("old", "boolean"),
    )
    column = Table(values, numbers=numbers)
    return Split(column, labels, np.arange(count), input=SimpleNamespace(columns=columns))


def test_the_features_of_a_table_are_its_raw_numbers_dates_and_ids():
    whole = table()
    inputs, is_category = features_of(whole.at(np.array([5, 3])))
    numbers, values = whole.column.numbers, whole.column.values
    expected = np.column_stack([numbers[:, :1], values[:, 2:7], numbers[:, 1:], values[:, 8:]])
    np.testing.assert_array_equal(inputs, expected[[5, 3]])
    assert inputs.dtype == np.float32
    # 702 ids are too many for scikit-learn's trees: a number, in order of frequency.
    assert is_category.tolist() == [False] * 7 + [True, False]


def test_the_features_of_a_users_table_are_its_own_values():
    houses = own_files.houses(60)
    houses_of = datasets.table(houses, target="price")
    train = data.prepare(houses_of, houses_of.find()).train
    inputs, is_category = features_of(train)
    rows = houses.set_index(houses["price"].astype("float32")).loc[train.labels[train.rows]]
    np.testing.assert_array_equal(inputs[:, 0], rows["area"].astype("float32"))
    np.testing.assert_array_equal(inputs[:, 6], rows["garden"] == "yes")
    assert is_category.tolist() == [False] * 7 + [True]  # town, after five values of a date
    ids = {town: set(inputs[(rows["town"] == town).to_numpy(), 7]) for town in ("Aston", "Bray")}
    assert len(ids["Aston"]) == len(ids["Bray"]) == 1 and not ids["Aston"] & ids["Bray"]
    assert set(inputs[rows["town"].isna().to_numpy(), 7]) == {0}


def test_a_missing_value_of_a_table_is_used_as_it_is():
    whole = table()
    found = simple_method([whole.at(np.arange(200))], [whole.at(np.arange(200, 400))])
    np.testing.assert_array_equal(found.predicted, whole.labels[200:])


# --- limits, and where it is left out ---------------------------------------------------------


def test_many_examples_are_limited_to_a_stratified_part_that_the_name_tells(monkeypatch):
    points, labels = xor(2200)
    labels[:1000] = 0
    labels[:20] = 2  # 1 %
    train, test = halves(points, labels)
    monkeypatch.setattr(simple, "TREE_WORK", 13 * 66 * 3 * 600)
    found = simple_method([train], [test])
    assert found.name == "gradient-boosted trees (600 training examples)"
    chosen = simple.choose(train.labels[train.rows], 600)
    assert len(set(chosen)) == 600 and (np.diff(chosen) > 0).all()
    counts = [np.bincount(labels[rows]) for rows in (chosen, train.rows)]
    np.testing.assert_allclose(counts[0], counts[1] * 600 / 2000, atol=1)
    trees = HistGradientBoostingClassifier(max_iter=66, learning_rate=10 / 66, random_state=0)
    trees.fit(points[chosen], labels[chosen])
    np.testing.assert_array_equal(found.predicted, trees.predict(points[2000:]))


def test_parts_are_the_same_as_one_and_pieces_as_the_whole(monkeypatch):
    train, test = halves(*xor())
    expected = simple_method([train], [test]).predicted
    monkeypatch.setattr(simple, "PIECE", 64)
    parts = [train.at(np.arange(120)), train.at(np.arange(120, 300))]
    cut = [test.at(np.arange(130)), test.at(np.arange(130, 200))]
    np.testing.assert_array_equal(simple_method(parts, cut).predicted, expected)


def spoilt(name, monkeypatch):
    """Examples of which no simple method can be fitted."""
    points, labels = xor(240)
    if name == "few":
        return split(points[:39], labels[:39])
    if name == "one class":
        return split(points, labels * 0)
    if name == "token ids":
        return split(points.astype(np.int32), labels)
    if name == "no inputs":
        return split(points[:, :0], labels)
    if name == "not finite":
        return split(points, np.where(points[:, 0] > 1, np.nan, 1.0))
    if name == "no words":
        return dataclasses.replace(
            texts(labels), column=Tokens(np.zeros((240, 1), np.int32), None, Texts.of([b"?"] * 240))
        )
    monkeypatch.setattr(simple, "TREE_WORK" if name == "many inputs" else "LINEAR_WORK", 1000)
    if name == "many inputs":
        return split(points, labels)
    return split(pictures(240)[0], labels)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("few", "a simple method: trees need 40 training examples, and it has 39"),
        ("one class", "gradient-boosted trees: all training examples have the same label"),
        ("token ids", "a simple method: inputs are int32, not floats or images"),
        ("no inputs", "a simple method: train has no examples, or no inputs"),
        ("not finite", "gradient-boosted trees: train has no labels, or one that is not finite"),
        ("no words", "TF-IDF: empty vocabulary"),
        ("many inputs", "a simple method: 2 classes or labels with so many inputs would take too"),
        ("many pixels", "a simple method: 2 classes or labels with so many inputs would take too"),
    ],
)
def test_what_cannot_be_fitted_is_left_out_with_its_reason(name, said, monkeypatch, capsys):
    whole = spoilt(name, monkeypatch)
    assert simple_method([whole], [whole]) is None
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"not compared with {said}")


# --- copies and groups ------------------------------------------------------------------------


def copied(count=600, distinct=200, is_value=False):
    """Data of points with random labels, each three times, whose copies are on one side."""
    random = np.random.default_rng(0)
    members = np.arange(count) % distinct
    points = random.normal(size=(distinct, 2)).astype(np.float32)[members]
    labels = random.integers(0, 2, distinct)[members].astype(np.float32 if is_value else np.int32)
    whole = split(points, labels, groups=members)
    sides = {"train": members < 120, "val": (members >= 120) & (members < 150)}
    sides["test"] = members >= 150
    splits = {name: whole.at(np.flatnonzero(side)) for name, side in sides.items()}
    return SimpleNamespace(splits=splits, **splits)


def honest_answers(given):
    return simple_method([given.train], [given.test]).predicted


def test_copies_divided_at_random_would_have_made_the_simple_method_better():
    given = copied()
    arrays = effect_of_copies(given, honest_answers(given))
    assert len(arrays["copies_label"]) == 50  # one of the three of each group is asked
    measured = copies_metrics(arrays)
    naive, honest = (
        np.mean(arrays[f"copies_{n}"] == arrays["copies_label"]) for n in ("naive", "honest")
    )
    assert naive > 0.9 and honest < 0.65  # the labels cannot be predicted
    # Both other copies are among the 150 of 600 on the test side with probability 1 / 16.
    overlap = 1 - (150 / 600) ** 2
    assert measured["naive_split_overlap"]["value"] == pytest.approx(overlap)
    gain = measured["above_honest_split"]
    assert gain["value"] == pytest.approx(overlap * (naive - honest)) and gain["low"] > 0.1
    again = effect_of_copies(given, honest_answers(given))
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_few_copies_change_little():
    given = copied()
    groups = np.arange(600)
    groups[598:] = 598  # one pair, in the test split
    splits = {n: dataclasses.replace(p, groups=groups) for n, p in given.splits.items()}
    given = SimpleNamespace(splits=splits, **splits)
    measured = copies_metrics(effect_of_copies(given, honest_answers(given)))
    assert measured["naive_split_overlap"]["value"] < 0.004
    assert abs(measured["above_honest_split"]["value"]) < 0.004


def test_a_regression_has_the_change_of_the_error():
    given = copied(is_value=True)
    arrays = effect_of_copies(given, honest_answers(given))
    label, naive, honest = (arrays[f"copies_{n}"] for n in ("label", "naive", "honest"))
    measured = copies_metrics(arrays)
    change = np.mean(np.abs(naive - label) - np.abs(honest - label))
    overlap = measured["naive_split_overlap"]["value"]
    assert measured["mae_above_honest_split"]["value"] == pytest.approx(overlap * change)
    assert change < -0.2 and list(measured) == ["naive_split_overlap", "mae_above_honest_split"]


def test_several_labels_count_those_that_vary():
    label = np.array([[0, 1], [1, 1], [0, 1], [1, 1]])
    arrays = {
        "copies_overlap": np.array(0.5),
        "copies_label": label,
        "copies_honest": np.array([[0, 0], [0, 0], [0, 0], [0, 0]]),
        "copies_naive": label,
    }
    assert copies_metrics(arrays, label)["above_honest_split"]["value"] == 0.25
    assert copies_metrics({}, label) == {}


@pytest.mark.parametrize("groups", ["none", "all different", "on both sides"])
def test_without_copies_on_one_side_there_is_nothing_to_compare(groups, monkeypatch):
    given = copied()
    changed = {"none": None, "all different": np.arange(600), "on both sides": np.arange(600) // 3}
    for name, part in given.splits.items():
        given.splits[name] = dataclasses.replace(part, groups=changed[groups])
    given = SimpleNamespace(splits=given.splits, **given.splits)
    monkeypatch.setattr(copies, "simple_method", None)
    assert effect_of_copies(given, given.test.labels) == {}


def test_the_groups_of_a_source_are_those_of_its_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))
    mine = dataset(both(pictures), label_names=("a", "b", "c"))
    ids = {"train": np.arange(100) // 2, "test": 50 + np.arange(40)}
    source = dataclasses.replace(mine.fixed, groups=ids.get)
    found = data.prepare(mine, source)
    for name in ("train", "val"):
        part = found.splits[name]
        np.testing.assert_array_equal(part.groups[part.rows], part.rows // 2)
    np.testing.assert_array_equal(found.test.groups, ids["test"])
    joined = found.with_val_in_train().train
    np.testing.assert_array_equal(joined.groups[joined.rows], joined.rows // 2)
    apart = found.val.joined(found.test)
    np.testing.assert_array_equal(apart.groups[-40:], ids["test"])
    # A split by time is not at random, and needs none.
    later = data.prepare(mine, dataclasses.replace(source, times=lambda split: np.arange(100)))
    assert later.train.groups is None
    assert data.prepare(mine, mine.fixed).train.groups is None


# --- what is said of it -----------------------------------------------------------------------


def told(metrics, method="gradient-boosted trees", look=None):
    shown, record = SimpleNamespace(look=look), SimpleNamespace(format_version=2)
    answers = {"simple_method": method}
    return SimpleNamespace(metrics=metrics, predictions=answers, data=shown, record=record)


def of_classes(wins, losses, count=1000):
    """Metrics of a network that alone is right on some examples, and alone wrong on others."""
    labels = np.zeros(count, int)
    probabilities, predicted = np.tile([1.0, 0.0], (count, 1)), np.zeros(count, int)
    predicted[:wins] = 1
    probabilities[count - losses :] = (0, 1)
    accuracy = {"value": 1 - losses / count, "low": 0.9, "high": 1.0, "n": count}
    majority = {"value": 0.6, "low": 0.57, "high": 0.63, "n": count}
    found = {"accuracy": accuracy, "majority_baseline": majority}
    return found | baseline_metrics(labels, probabilities, predicted)


def test_a_lost_comparison_is_an_alert_and_no_other_is():
    lost = told(of_classes(10, 50))
    assert classification.alert(lost).startswith(
        "The network is worse than gradient-boosted trees: 95.00 % against 99.00 %, difference "
        "-4.00 [-5.50, -2.50] points."
    )
    assert classification.alert(told(of_classes(50, 10))) == ""
    assert classification.alert(told(of_classes(10, 15))) == ""  # no significant difference
    assert dict(classification.facts(lost))["Network vs. gradient-boosted trees"].startswith(
        "does not beat it: -4.00 ["
    )
    assert (
        classification.summary(lost)
        .splitlines()[1]
        .startswith(
            "gradient-boosted trees 99.00 % [98.17, 99.46]: NOT beaten, the network is 4.00 points"
        )
    )


def test_a_network_below_the_majority_class_is_an_alert_without_any_method():
    metrics = {
        "accuracy": {"value": 0.1, "low": 0.05, "high": 0.2, "n": 100},
        "majority_baseline": {"value": 0.34, "low": 0.25, "high": 0.44, "n": 100},
    }
    for task in (classification, multilabel):
        assert task.alert(SimpleNamespace(metrics=metrics, predictions={})) == (
            "The network is worse than always predicting the majority class: 10.00 % against "
            "34.00 %."
        )
    metrics["accuracy"]["high"] = 0.3
    assert classification.alert(SimpleNamespace(metrics=metrics, predictions={})) == ""


def test_a_regression_is_told_the_best_of_the_methods_that_beat_it():
    random = np.random.default_rng(0)
    values = random.normal(0, 5, 200)
    network = values + random.normal(0, 3, 200)
    better = {
        "mean_baseline": np.zeros(200),
        "linear_regression": values + 0.9 * (network - values),
        "simple_baseline": values + 0.5 * (network - values),
    }
    metrics = baseline_regression_metrics(values, network, better)
    error = np.abs(network - values)
    metrics["mae"] = {"value": error.mean(), "low": 2.0, "high": 3.0, "n": 200}
    assert metrics["mae_above_simple"]["value"] == pytest.approx(0.5 * error.mean())
    assert sign_of(metrics["mae_above_simple"]) == 1
    run = told(metrics)
    assert regression.alert(run).startswith(
        f"The network is worse than gradient-boosted trees: MAE {error.mean():.4f} against "
        f"{error.mean() / 2:.4f}, difference +{error.mean() / 2:.4f} ["
    )
    (table,) = regression.sections(run)
    assert [who for who, _ in table.rows] == [
        *("the network", "linear regression", "gradient-boosted trees", "mean of train"),
    ]
    assert "above linear regression [" in table.note and "trees [" in table.note
    assert table.metrics >= set(metrics)
    assert regression.alert(SimpleNamespace(metrics={"mae": metrics["mae"]}, predictions={})) == ""
    of_mean = {"value": 1.0, "low": 0.9, "high": 1.1, "n": 200}
    compared = {"mae": metrics["mae"], "mean_baseline_mae": of_mean}
    run = SimpleNamespace(metrics=compared, predictions={})
    assert "always predicting the mean: MAE" in regression.alert(run)


def test_the_mean_over_labels_is_compared_in_pairs():
    labels = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]])
    predicted = labels.copy()
    predicted[0, 0] = 1
    found = multilabel_metrics(labels, labels.astype(float), ("a", "b", "c"), labels, predicted)
    assert found["simple_baseline"]["value"] == 1 - 1 / 8  # c is constant
    assert found["above_simple"]["value"] == 1 / 8
    assert "simple_baseline" not in multilabel_metrics(
        labels, labels * 1.0, ("a", "b", "c"), labels
    )
    names = multilabel.metric_names(("a", "b", "c"))
    assert set(found) <= set(names) and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("look", "what", "shared"),
    [
        (Look("mine", "images", copies=Copies(near=3)), "copies", "a copy"),
        (None, "copies and groups", "a copy or an example of their group"),
    ],
)
def test_the_report_says_what_copies_would_have_done(look, what, shared):
    metrics = of_classes(10, 10)
    metrics["above_honest_split"] = {"value": 0.021, "low": 0.01, "high": 0.03, "n": 50}
    metrics["naive_split_overlap"] = {"value": 0.12, "low": None, "high": None, "n": None}
    facts = dict(classification.facts(told(metrics, "logistic regression on 8 × 8 pixels", look)))
    assert facts[f"Had {what} been divided at random"] == (
        f"12.00 % of the test examples would have {shared} in train, which changes the accuracy of "
        "logistic regression on 8 × 8 pixels by +2.10 [+1.00, +3.00] points"
    )
    assert "Network vs. logistic regression" in facts


def test_forests_win_where_no_plane_divides_and_a_network_that_knows_wins_there():
    """Planted: classes that a linear network cannot learn, and a network that knows the rule."""
    train, test = halves(*xor(800, flipped=0.05))
    labels = test.labels[test.rows]
    predicted = simple_method([train], [test]).predicted
    for knows, sign in ((False, -1), (True, 1)):
        points = test.inputs[test.rows]
        answers = points[:, 0] * points[:, 1] > 0 if knows else points[:, 0] > 0
        above = baseline_metrics(labels, np.eye(2)[answers * 1], predicted)["above_simple"]
        assert sign_of(above) == sign


def test_the_first_line_of_a_report_and_a_summary_is_the_alert(finished_run, tmp_path):
    run = dataclasses.replace(finished_run, folder=tmp_path)
    page = report.write(run, (), alert="The network is worse than trees <2>.").read_text()
    first = page.partition("<main>")[2].split("\n")[1]
    assert first == '<aside class="alert">The network is worse than trees &lt;2&gt;.</aside>'
    assert "worse than" not in report.write(run, ()).read_text()
    run.metrics = of_classes(10, 50)
    assert summary(run).startswith("The network is worse than logistic regression on 14 × 14 ")
    run.metrics = of_classes(50, 10)
    assert summary(run).startswith("mnist_mlp on sample data: test accuracy")


def test_a_run_of_images_has_a_simple_method(finished_run):
    arrays, metrics = finished_run.predictions, finished_run.metrics
    assert str(arrays["simple_method"]) == "logistic regression on 14 × 14 pixels"
    right = arrays["simple"] == arrays["label"]
    assert metrics["simple_baseline"]["value"] == right.mean()
    network = arrays["probabilities"].argmax(axis=1) == arrays["label"]
    assert metrics["above_simple"]["value"] == pytest.approx(network.mean() - right.mean())
    assert set(metrics) <= set(classification.metric_names(finished_run.label_names))
    page = (finished_run.folder / "report.html").read_text()
    assert "logistic regression on 14 × 14 pixels" in page
