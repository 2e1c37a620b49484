"""Temperature, calibration error and prediction sets: by hand, in the graph, in words."""

import functools
import io
import re
import types

import numpy as np
import pytest
import sklearn
import tensorflow as tf
from matplotlib.figure import Figure
from proving import Golden, load_proof

from kpipe import figures, tasks
from kpipe.experiments.summary import summary
from kpipe.measures import calibration
from kpipe.predicting.writing import Rows
from kpipe.records import CalibrationRecord
from kpipe.tasks import _calibration, classification, multilabel


def overconfident(n, classes=4, sharpness=2.0, seed=0):
    """Probabilities whose logarithms are `sharpness` times those that the labels follow."""
    random = np.random.default_rng(seed)
    odds = random.normal(0, 1.5, (n, classes))
    honest = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    sharp = honest**sharpness
    return (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32), labels


def several(n, sharpness=2.0, seed=0):
    """The same of three independent labels."""
    random = np.random.default_rng(seed)
    odds = random.normal(0, 2, (n, 3))
    labels = (random.random((n, 3)) < 1 / (1 + np.exp(-odds))).astype(int)
    return (1 / (1 + np.exp(-sharpness * odds))).astype(np.float32), labels


def test_the_temperature_is_scikit_learns():
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        pytest.skip("scikit-learn has temperature scaling since 1.8")
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Given(ClassifierMixin, BaseEstimator):
        """A classifier whose inputs are its probabilities."""

        def fit(self, x, y):
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return self.classes_[x.argmax(axis=1)]

    probabilities, labels = overconfident(500)
    x = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
    given = FrozenEstimator(Given().fit(x, labels))
    theirs = CalibratedClassifierCV(given, method="temperature").fit(x, labels)
    ours = calibration.fit_temperature(x, labels)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert ours == pytest.approx(1 / beta, abs=2e-6)
    np.testing.assert_allclose(calibration.scale(x, ours), theirs.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("make", [overconfident, several])
@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_temperature_is_the_one_with_the_smallest_log_loss(make, sharpness):
    probabilities, labels = make(4000, sharpness=sharpness)
    found = calibration.fit_temperature(probabilities, labels)
    p = probabilities.astype(float)
    losses = []
    tried = found * np.array([0.98, 0.995, 1, 1.005, 1.02])
    for temperature in tried:
        if labels.ndim == 2:
            q = 1 / (1 + ((1 - p) / p) ** (1 / temperature))
            losses.append(-np.log(np.where(labels, q, 1 - q)).mean())
        else:
            q = p ** (1 / temperature)
            q /= q.sum(axis=1, keepdims=True)
            losses.append(-np.log(q[np.arange(len(q)), labels]).mean())
        close = calibration.scale(p, temperature, labels.ndim == 2)
        np.testing.assert_allclose(close, q, atol=1e-6)
        assert close.dtype == np.float32
    assert np.argmin(losses) == 2
    assert found == pytest.approx(sharpness, rel=0.06)  # what it was made with


def test_a_val_split_without_a_mistake_leaves_the_temperature_at_1():
    probabilities, _ = overconfident(50)
    assert calibration.fit_temperature(probabilities, probabilities.argmax(axis=1)) == 1.0
    probabilities, _ = several(50)
    assert calibration.fit_temperature(probabilities, (probabilities > 0.5).astype(int)) == 1.0
    worst = calibration.fit_temperature(probabilities, (probabilities <= 0.5).astype(int))
    assert worst == pytest.approx(100, rel=1e-3)  # the largest


def by_hand(confidences, happened):
    total = 0.0
    for m in range(1, 16):
        inside = (confidences > (m - 1) / 15) & (confidences <= m / 15)
        if inside.any():
            total += inside.mean() * abs(happened[inside].mean() - confidences[inside].mean())
    return total


def arrays_of(make, n=2000, temperature=2.0):
    probabilities, labels = make(n)
    threshold = 0.6 if labels.ndim == 1 else None
    fitted = calibration.calibrated_arrays(probabilities, temperature, threshold)
    return {"label": labels, "probabilities": probabilities, **fitted}


def test_the_calibration_error_is_guos():
    arrays = arrays_of(overconfident)
    measured = calibration.calibration_metrics(arrays)
    for name, key in (("ece", "probabilities"), ("calibrated_ece", "calibrated")):
        p = arrays[key].astype(float)
        right = p.argmax(axis=1) == arrays["label"]
        assert measured[name]["value"] == pytest.approx(by_hand(p.max(axis=1), right), abs=1e-12)
    before, after = measured["ece"], measured["calibrated_ece"]
    assert before["low"] < before["value"] <= before["high"] and before["n"] == 2000
    assert 0 <= after["low"] <= after["value"] <= after["high"] < before["low"]
    assert calibration.calibration_metrics(arrays) == measured  # the bootstrap is seeded
    arrays = arrays_of(several)
    measured = calibration.calibration_metrics(arrays)
    pairs = arrays["probabilities"].astype(float).ravel(), arrays["label"].ravel()
    assert measured["ece"]["value"] == pytest.approx(by_hand(*pairs), abs=1e-12)
    assert "set_coverage" not in measured


def with_constants(probabilities, labels, count=7):
    """The same, among labels that are 0 in all examples, as the network knows."""
    zeros = np.zeros((len(labels), count), labels.dtype)
    sure = np.full((len(labels), count), 1e-4, np.float32)
    return np.hstack([sure, probabilities]), np.hstack([zeros, labels])


def test_labels_that_are_constant_in_train_do_not_hide_the_error_of_the_others(tmp_path):
    arrays = arrays_of(several)
    probabilities, labels = with_constants(arrays["probabilities"], arrays["label"])
    fitted = calibration.calibrated_arrays(probabilities, 2.0, None)
    many = {"label": labels, "probabilities": probabilities, **fitted}
    expected = calibration.calibration_metrics(arrays)
    assert calibration.calibration_metrics(many)["ece"]["value"] < 0.4 * expected["ece"]["value"]
    names = tuple(f"label {i}" for i in range(10))
    train = types.SimpleNamespace(labels=labels, rows=np.arange(len(labels)))
    data = types.SimpleNamespace(train=train, label_names=names)
    measured = multilabel.metrics(many, None, data)
    for name, entry in expected.items():
        assert measured[name] == pytest.approx(entry, abs=1e-9), name

    drawn = []
    for given, metrics in ((arrays, expected), (many, measured)):
        run = make_run(tmp_path, several)
        run._predictions, run.metrics = given, metrics
        run.__dict__.pop("predictions", None)
        run.record.data.label_names = names[: given["label"].shape[1]]
        counted = figures.reliability_diagram(run).axes[1].containers[1]
        drawn.append([bar.get_height() for bar in counted])
    assert drawn[0] == drawn[1]


def test_the_temperature_is_not_fitted_to_labels_that_are_constant_in_train(monkeypatch):
    probabilities, labels = several(500)
    many, all_labels = with_constants(probabilities, labels)
    monkeypatch.setattr(_calibration._cases, "predict", lambda *_: many)

    class Split(types.SimpleNamespace):
        def __len__(self):
            return len(self.rows)

    train, val = (Split(labels=all_labels, rows=np.arange(n)) for n in (300, 500))
    record = _calibration.fit(None, types.SimpleNamespace(train=train, val=val))
    assert record.temperature == calibration.fit_temperature(probabilities, labels)
    assert record.temperature != calibration.fit_temperature(many, all_labels)


def test_the_interval_of_the_calibration_error_is_that_of_resampled_examples():
    arrays = arrays_of(overconfident, n=300)
    p, right = arrays["probabilities"].max(axis=1).astype(float), None
    right = arrays["probabilities"].argmax(axis=1) == arrays["label"]
    random, values = np.random.default_rng(1), []
    for _ in range(400):
        rows = random.integers(0, 300, 300)
        values.append(by_hand(p[rows], right[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    entry = calibration.calibration_metrics(arrays)["ece"]
    expected = 2 * entry["value"] - high, 2 * entry["value"] - low
    assert (entry["low"], entry["high"]) == pytest.approx(expected, abs=0.01)


def test_a_calibration_error_is_at_most_1():
    wrong = np.array([[0.0, 1.0]] * 4, np.float32)
    arrays = {"label": np.array([0, 0, 0, 1]), "probabilities": wrong, "calibrated": wrong}
    arrays["prediction_set"] = np.ones((4, 2), bool)
    entry = calibration.calibration_metrics(arrays)["ece"]
    assert (entry["value"], entry["high"]) == (0.75, 1.0)


@pytest.mark.parametrize("n", [1, 8, 9, 10, 19, 99, 100, 1000])
def test_the_threshold_is_the_order_statistic_of_split_conformal_prediction(n):
    probabilities, labels = overconfident(n)
    threshold = calibration.conformal_threshold(probabilities, labels)
    scores = np.sort([1 - float(p[label]) for p, label in zip(probabilities, labels, strict=True)])
    rank = -(-9 * (n + 1) // 10)
    assert threshold == (1.0 if rank > n else scores[rank - 1])
    sets = calibration.prediction_sets(probabilities, threshold, probabilities.argmax(axis=1))
    assert sets[np.arange(n), labels].sum() >= min(rank, n)
    assert sets.all() == (n < 9)


def test_sets_contain_the_true_class_in_90_percent_and_never_nothing():
    covered = []
    for seed in range(60):
        probabilities, labels = overconfident(400, seed=seed)
        threshold = calibration.conformal_threshold(probabilities[:200], labels[:200])
        test, truth = probabilities[200:], labels[200:]
        covered.append((1 - test[np.arange(200), truth] <= threshold).mean())
    assert 0.89 < np.mean(covered) < 0.92
    alone = calibration.prediction_sets(np.float32([[0.4, 0.6]]), 0.1, np.array([1]))
    assert alone.tolist() == [[False, True]]


EDGES = np.float32([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [1e-30, 1e-6, 1], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("threshold", [None, 0.4, 0.75])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0, 100.0])
def test_the_graph_computes_what_numpy_does(temperature, threshold):
    probabilities = np.concatenate([EDGES, overconfident(200, 3)[0]])
    arrays = calibration.calibrated_arrays(probabilities, temperature, threshold)
    outputs = _calibration.in_graph(arrays)(tf.constant(probabilities))
    assert outputs.keys() == arrays.keys() - {"temperature", "threshold"}
    difference = np.abs(outputs["calibrated"].numpy() - arrays["calibrated"]).max()
    assert difference < 5e-6 and outputs["calibrated"].dtype == tf.float32
    if threshold is not None:
        _, sure = _calibration.golden(arrays)
        assert sure.mean() > 0.9
        ours, theirs = arrays["prediction_set"], outputs["prediction_set"].numpy()
        np.testing.assert_array_equal(ours[sure], theirs[sure])


def altered_calibration(fault, run):
    """The functions of an export that calibrates in another way than was measured."""
    noted, missing = run.predictions, {"missing": "calibrated", "set missing": "prediction_set"}
    right = classification.endpoints(run.model, run.data, noted).signatures
    if fault in ("temperature", "temperature of one endpoint"):
        given = {**noted, "temperature": noted["temperature"] * 1.01}
    elif fault in ("threshold", "threshold of one endpoint"):
        given = {**noted, "threshold": noted["threshold"] / 2}
    else:
        given = {name: array for name, array in noted.items() if name != missing.get(fault)}
    wrong = classification.endpoints(run.model, run.data, given).signatures
    if fault.endswith("one endpoint"):  # `calibrate` itself is right
        wrong["calibrate"] = right["calibrate"]
    return wrong


FAULTS = ["none", "temperature", "threshold", "missing", "set missing"]
FAULTS += ["temperature of one endpoint", "threshold of one endpoint"]


@pytest.mark.parametrize("fault", FAULTS)
def test_an_export_that_calibrates_otherwise_is_not_verified(fault, finished_run, monkeypatch):
    run = finished_run

    def call(function, **given):
        (value,) = given.values()
        return function(value)

    functions = altered_calibration(fault, run)
    signatures = {name: functools.partial(call, f) for name, (f, _) in functions.items()}
    proof = load_proof(monkeypatch)
    loaded = types.SimpleNamespace(signatures=signatures)
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: loaded)
    result = proof.main(run.folder, *run.data.test.column.files)
    assert result["passed"] is (fault == "none")
    assert result["labels_agree"] is (fault != "missing")


def test_golden_cases_prove_calibration_at_every_endpoint(finished_run):
    golden = Golden(finished_run.folder)
    for case in golden.cases:
        if case["endpoint"] != "calibrate":
            assert set(case["follows"]) == {"calibrated", "prediction_set"}
    on_test = golden.case("calibrate", test=True)
    assert on_test["given"] == {"probabilities": "predictions/probabilities"}
    assert golden.rows("calibrate", "prediction_set", test=True).mean() > 0.95


def test_sets_that_depend_on_the_last_bit_are_not_compared():
    arrays = arrays_of(overconfident, n=50)
    edge = np.float32(1 - arrays["threshold"])
    arrays["calibrated"][7, 2], arrays["calibrated"][9, 1] = edge + 1e-5, edge + 1e-4
    _, sure = _calibration.golden(arrays)
    assert np.flatnonzero(~sure).tolist() == [7]


OUTPUTS = {
    "probabilities": np.float32([[0.95, 0.04, 0.01]]),
    "calibrated": np.float32([[0.88, 0.1, 0.02]]),
    "prediction_set": np.array([[True, True, False]]),
    "label": np.array(["cat"]),
}
NAMES = ("cat", "dog", "emu")


def test_an_answer_shows_the_calibrated_probability_and_the_set():
    words, content = classification.answer(OUTPUTS, 0, NAMES)
    assert words == "cat (88.0 %; 90 % set: cat, dog)"
    assert content["probability"] == pytest.approx(0.88)
    assert content["probabilities"]["cat"] == pytest.approx(0.95)
    assert content["prediction_set"] == {"cat": True, "dog": True, "emu": False}
    examples = types.SimpleNamespace(places=[("a.png", 0)], names=["a.png"], kind="file")
    file = io.StringIO()
    Rows(file, has_files=True).write(examples, [("", content)], {})
    head, row = file.getvalue().splitlines()
    assert "calibrated/dog" in head and head.endswith("prediction_set/emu")
    assert row.endswith("True,True,False")
    # Exports of formats 1 and 2 have neither.
    older = {name: OUTPUTS[name] for name in ("probabilities", "label")}
    words, content = classification.answer(older, 0, NAMES)
    assert words == "cat (95.0 %)" and list(content) == ["label", "probability", "probabilities"]
    labels = {**OUTPUTS, "calibrated": np.float32([[0.7, 0.6, 0.2]])}
    labels["probabilities"] = np.float32([[0.9, 0.8, 0.1]])
    del labels["prediction_set"]
    assert multilabel.answer(labels, 0, NAMES)[0] == "cat (70.0 %), dog (60.0 %)"


def test_a_large_set_is_cut_in_words():
    names = [f"class {i}" for i in range(9)]
    inside = {name: True for name in names}
    content = {"prediction_set": inside, "calibrated": dict(zip(names, range(9), strict=True))}
    said = _calibration.set_in_words(content)
    assert said == "; 90 % set: class 8, class 7, class 6, class 5, class 4 and 4 more"


def make_run(folder, make=overconfident, examples=200):
    from test_task_reports import make_run as run_of

    arrays = arrays_of(make, n=400)
    task, names = ("classification", "abcd") if make is overconfident else ("multilabel", "abc")
    metrics = calibration.calibration_metrics(arrays)
    metrics |= {name: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 400} for name in ("accuracy",)}
    if "set_coverage" in metrics:
        metrics["set_coverage"] |= {"value": 0.91, "low": 0.88, "high": 0.93}
    metrics |= {"majority_baseline": {"value": 0.3, "low": 0.2, "high": 0.4, "n": 400}}
    run = run_of(folder, task, metrics, tuple(names), arrays)
    threshold = 0.6 if make is overconfident else None
    run.record.calibration = CalibrationRecord(
        temperature=2.0, threshold=threshold, examples=examples
    )
    run.record.data.examples["val"] = examples
    return run


def test_the_result_is_said_in_one_line_and_one_table(tmp_path):
    run = make_run(tmp_path)
    (line,) = (line for line in summary(run).splitlines() if line.startswith("confidence"))
    assert re.fullmatch(
        r"confidence: calibration error \d+\.\d % -> \d\.\d % with temperature 2\.00; 90 % sets "
        r"contain the true class in \d\d\.\d \[\d\d\.\d, \d\d\.\d\] %, \d\.\d\d classes on average",
        line,
    )
    section = classification.sections(run)[0]
    assert [row[0] for row in section.rows][-1] == "classes in a set, on average"
    assert "fitted to the 200 val examples alone. Val also chose the best epoch" in section.note
    assert section.metrics >= calibration.calibration_metrics(run.predictions).keys()
    run.record.training.retrained_epochs = 3
    assert "before it was trained again" in classification.sections(run)[0].note
    labels = make_run(tmp_path, several)
    said = dict(multilabel.facts(labels))
    assert "90 % prediction sets" not in said and "temperature 2.00" in said["Confidence"]
    assert "threshold" not in multilabel.sections(labels)[0].note


def test_few_val_examples_are_a_warning(tmp_path):
    assert "only" not in summary(make_run(tmp_path, examples=100))
    said = "only 99 val examples: the coverage of sets varies by 3.0 points"
    run = make_run(tmp_path, examples=99)
    assert said in summary(run)
    assert said[1:] in classification.sections(run)[0].note
    assert "the temperature is uncertain" in summary(make_run(tmp_path, several, 99))


def test_what_does_not_hold_on_test_is_a_warning(tmp_path):
    run = make_run(tmp_path)
    assert "test differs" not in summary(run)
    run.metrics["set_coverage"] |= {"value": 0.85, "n": 4837}
    run.record.calibration.examples = 1451
    said = "test differs from val: sets contain the true class in less than 90 %"
    assert said in summary(run) and said[1:] in classification.sections(run)[0].note
    run.metrics["ece"]["value"] = run.metrics["calibrated_ece"]["low"] - 0.001
    assert "val: the temperature does not reduce the error and sets contain" in summary(run)


@pytest.mark.parametrize(
    ("coverage", "n", "num_val", "short"),
    [  # 90 % less 1.96 times the root of 0.09 (1 / n + 1 / (num_val + 2))
        (0.8823, 4837, 1451, True),
        (0.8826, 4837, 1451, False),
        (0.8165, 98, 98, False),
    ],
)
def test_a_coverage_falls_short_only_beyond_chance(coverage, n, num_val, short):
    assert calibration.falls_short(coverage, n, num_val) == short


@pytest.mark.parametrize(
    ("val", "said"),
    [(0, "not calibrated: no val split"), (8, "8 val examples; expected at least 9")],
)
def test_without_enough_val_examples_nothing_is_calibrated(tmp_path, val, said, digits):
    run = make_run(tmp_path, examples=val)
    run._predictions = {name: run.predictions[name] for name in ("label", "probabilities")}
    del run.__dict__["predictions"]  # which is cached
    run.metrics = {name: run.metrics[name] for name in ("accuracy", "majority_baseline")}
    run.record.calibration = None
    assert calibration.calibration_metrics(run.predictions) == {}
    assert said in dict(classification.facts(run))["Confidence"]
    assert not classification.sections(run)[0].rows and "confidence" not in summary(run)
    assert figures.reliability_diagram(run) is None
    split = digits.val.at(np.arange(val)) if val else None
    assert classification.calibrate(None, types.SimpleNamespace(val=split)) is None


@pytest.mark.parametrize("make", [overconfident, several])
def test_the_reliability_diagram_shows_accuracy_at_confidence(tmp_path, make):
    run = make_run(tmp_path, make)
    figure = figures.reliability_diagram(run)
    assert isinstance(figure, Figure)
    axes, counted = figure.axes
    after = axes.containers[1].lines[0]
    p = run.predictions["calibrated"].astype(float)
    if make is overconfident:
        sure, happened = p.max(axis=1), p.argmax(axis=1) == run.predictions["label"]
    else:
        sure, happened = p.ravel(), run.predictions["label"].ravel()
    inside = sure > 14 / 15
    x, y = (values[-1] for values in after.get_data())
    assert (x, y) == pytest.approx((sure[inside].mean(), happened[inside].mean()))
    counts = [bar.get_height() for bar in counted.containers[1]]
    assert counts[-1] == inside.sum() and sum(counts) == len(sure)
    figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_every_classifier_draws_its_confidence_whatever_it_plots(finished_run):
    for name in ("classification", "multilabel"):
        assert figures.reliability_diagram in tasks.find(name).ALWAYS
    assert (finished_run.folder / "figures" / "reliability_diagram.png").is_file()
    page = (finished_run.folder / "report.html").read_text()
    assert page.count("before and after calibration") == 2  # once as alternative text
