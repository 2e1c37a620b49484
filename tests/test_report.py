"""Figures and report, on runs made up here."""

import base64
import html.parser
import pathlib
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from kpipe import figures, report, tasks
from kpipe.datasets import Augmentation, Look
from kpipe.records import ProofRecord, Record, Run
from kpipe.report import tables

ALL_PLOTS = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.roc_curve,
    figures.worst_mistakes,
    figures.first_layer_filters,
    figures.per_class,
)


class MadeUpRun(Run):
    """A run whose model was never trained."""

    final_kernel = None


def make_record(name: str, num_test: int, label_names: tuple[str, ...]) -> Record:
    content = {
        "format_version": 1,
        "pipeline": name,
        "task": "classification",
        "title": "MNIST digits with a fully connected 784-900-450-10 network.",
        "command": f"kpipe run {name} --data real learning_rate=0.003",
        "status": "finished",
        "overrides": {"learning_rate": 0.003, "epochs": 12},
        "hyperparameters": {
            "num_layers": 2,
            "units_1": 900,
            "units_2": 450,
            "activation": "relu",
            "learning_rate": 0.003,
            "l2": 0.0,
        },
        "trainer": {"batch_size": 128, "epochs": 12, "monitor": "val_loss", "patience": 5},
        "seed": 0,
        "plan": "fused:32",
        "versions": {"kpipe": "0.1.0", "python": "3.11.7", "tensorflow": "2.21.0"},
        "machine": {"platform": "Linux x86_64", "cpus": 2, "gpus": [], "onednn": True},
        "data": {
            "name": "mnist",
            "kind": "real",
            "official": True,
            "description": "mnist 3.0.1 as prepared by TFDS",
            "examples": {"train": 54000, "val": 6000, "test": num_test},
            "fingerprint": "ab12" * 16,
            "duplicates": 3,
            "test_openings": 2,
            "get_real": f"kpipe run {name} --data real",
            "label_names": list(label_names),
        },
        "model": {
            "name": "mlp",
            "parameters": 1115560,
            "trainable_parameters": 1115560,
            "layers": [
                {
                    "name": "dense",
                    "type": "Dense",
                    "output_shape": [None, 900],
                    "parameters": 706500,
                },
                {
                    "name": "probabilities",
                    "type": "Dense",
                    "output_shape": [None, 10],
                    "parameters": 4510,
                },
            ],
        },
        "training": {"epochs": 12, "best_epoch": 7, "steps": 5064, "stopped_by": "early stopping"},
        "times": {"data": 0.4, "train": 61.2, "evaluate": 0.9, "export": 2.2, "proof": 5.0},
        "target": {
            "metric": "accuracy",
            "at_least": 0.9825,
            "source": "lab course, exercise 1",
            "value": 0.9831,
            "low": 0.9804,
            "high": 0.9855,
            "verdict": "reached",
        },
        "weights_sha256": "0123456789abcdef" * 4,
        "proof": {
            "passed": True,
            "max_difference": 2.4e-07,
            "tolerance": 1e-05,
            "batches": [1, 7, 64],
            "differences": {"serving_default": 2.4e-07, "serving_bytes": 1.1e-07},
            "compared": ["8 encoded files"],
            "test_examples": num_test,
            "seconds": 5.0,
        },
    }
    return Record.from_json(content)


def make_run(
    folder: pathlib.Path,
    label_names: tuple[str, ...] = tuple("0123456789"),
    channels: int = 1,
    num_filters: int = 0,
    num_test: int = 2000,
    error: float = 0.03,
) -> Run:
    random = np.random.default_rng(0)
    num_classes = len(label_names)
    label = random.integers(0, num_classes, num_test)
    said = np.where(random.random(num_test) < error, (label + 1) % num_classes, label)
    logits = random.normal(size=(num_test, num_classes))
    logits[np.arange(num_test), said] += 4 + 3 * random.random(num_test)
    if not error:
        logits[np.arange(num_test), said] += 20
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    share = {"value": 0.9831, "low": 0.9804, "high": 0.9855, "n": num_test}
    metrics = {
        "accuracy": share,
        "majority_baseline": {"value": 0.1135, "low": 0.1074, "high": 0.1199, "n": num_test},
        "log_loss": {"value": 0.0623, "low": None, "high": None, "n": num_test},
    }
    if num_classes == 2:
        metrics["roc_auc"] = {"value": 0.9812, "low": 0.9751, "high": 0.9862, "n": num_test}
    for kind in ("precision", "recall"):
        for i, name in enumerate(label_names):
            value = 0.99 - 0.01 * (i % 7) - (0.005 if kind == "recall" else 0)
            low, high = value - 0.012, value + 0.008
            metrics[f"{kind}/{name}"] = {"value": value, "low": low, "high": high, "n": 200}

    epochs = np.arange(1, 13)
    shape = (28, 28, 1) if channels == 1 else (32, 32, channels)
    kernel = random.normal(0, 0.1, (3, 3, channels, num_filters))
    run = MadeUpRun(
        name="mnist_mlp",
        folder=folder,
        record=make_record("mnist_mlp", num_test, label_names),
        metrics=metrics,
        history={
            "epoch": epochs.tolist(),
            "step": (422 * epochs).tolist(),
            "seconds": [5.1] * 12,
            "learning_rate": (0.003 * 0.8**epochs).tolist(),
            "loss": (0.3 / epochs).tolist(),
            "accuracy": (1 - 0.08 / epochs).tolist(),
            "val_loss": (0.07 + 0.002 * (epochs - 7) ** 2).tolist(),
            "val_accuracy": (0.98 - 0.0005 * (epochs - 7) ** 2).tolist(),
        },
        _predictions={
            "index": np.arange(num_test),
            "label": label,
            "probabilities": probabilities.astype("float32"),
        },
        data=SimpleNamespace(
            input_shape=shape,
            augmentation=Augmentation(),
            vocabulary=(),
            test=SimpleNamespace(column=None),
        ),
    )
    run.test_inputs = lambda positions: np.stack(
        [np.random.default_rng(p).integers(0, 256, shape, "uint8") for p in positions]
    )
    if num_filters:
        run.initial_kernel = kernel
        run.final_kernel = kernel + random.normal(0, 0.05, kernel.shape)
    return run


@pytest.fixture
def digits(tmp_path):
    return make_run(tmp_path)


@pytest.fixture
def faces(tmp_path):
    return make_run(tmp_path, ("Female", "Male"), channels=3, num_filters=32)


class Page(html.parser.HTMLParser):
    """The tags, the attributes and the visible text of a page; unbalanced tags are an error."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(self.source)
        self.close()
        assert not self.open
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.words += "" if tag in ("span", "strong", "wbr") else " "
        if tag not in ("meta", "img", "link", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(text)


def write(run, plots=()) -> Page:
    task = tasks.find(run.record.task)
    return Page(report.write(run, plots, task.facts(run), task.sections(run)))


def test_report_is_one_file_that_needs_nothing(faces):
    page = write(faces, ALL_PLOTS)
    assert "script" not in page.tags and page.tags.count("link") == 1
    assert not re.search(r"https?://|url\(|@import", page.source)
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    (icon,) = [value for name, value in page.attributes if name == "href"]
    drawn = base64.b64decode(icon.removeprefix("data:image/svg+xml;base64,"))
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_figures_are_written_beside_the_report(digits):
    page = write(digits, ALL_PLOTS)
    names = {path.name for path in (digits.folder / "figures").iterdir()}
    assert names == {
        "learning_curves.png",
        "confusion_matrix.png",
        "worst_mistakes.png",
        "per_class.png",
    }
    image = matplotlib.image.imread(digits.folder / "figures" / "learning_curves.png")
    assert image.shape[1] == 800 and image.std() > 0.05
    assert "Loss, metrics and (if it varies) learning rate by epoch" in page.text
    assert "roc curve" not in page.text.lower()
    assert {path.name for path in digits.folder.iterdir()} == {"figures", "report.html"}


def test_a_figure_that_no_longer_applies_is_removed(digits):
    write(digits, [figures.learning_curves])
    digits.history = {}
    page = write(digits, [figures.learning_curves])
    assert "img" not in page.tags and "Figures" not in page.text
    assert not list((digits.folder / "figures").iterdir())


def test_numbers_are_for_people(digits):
    text = write(digits).text
    for expected in (
        "98.31 %",
        "95 % interval [98.04, 98.55], n = 2,000",
        "✓ target reached",
        "at least 98.25 % (lab course, exercise 1)",
        "Always predicting the most frequent class 11.35 %",
        "Test split opened 2 times so far",
        "Test examples that also occur in train 3",
        "✓ Export verified: it matches the trained model within 2.4e-07 (allowed: 1e-05) in "
        "2 endpoints, with batches of 1, 7, 64, on 8 encoded files and on all 2,000 test examples.",
        "1,115,560 parameters, all trainable",
        "dense Dense (None, 900) 706,500",
        "log loss 0.0623 2,000",
        "train 1 min 1 s",
        "Reproduce and use",
        "best epoch 7",
        "gpus none",
        "kpipe run mnist_mlp --data real learning_rate=0.003",
        "kpipe.load(",
        "6 200 93.00 % [91.80, 93.80] 92.50 % [91.30, 93.30]",
    ):
        assert expected in text, expected


def test_overrides_stand_out(digits):
    page = write(digits)
    assert "Overridden: learning_rate = 0.003, epochs = 12." in page.text
    marked = re.findall(r'class="marked"><th scope="row">(\w+)<', page.source)
    assert marked == ["learning_rate", "epochs"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (59.97, "1 min"), (61.2, "1 min 1 s"), (3725, "1 h 2 min")],
)
def test_durations(digits, seconds, expected):
    digits.record.times = {"train": seconds}
    assert f"train {expected} " in write(digits).text


def test_sample_data_are_announced_first(digits):
    digits.record.data.kind = "sample"
    digits.record.target.verdict = "not comparable: sample data"
    page = write(digits)
    text = page.text
    assert "<title>mnist_mlp, sample data, seed 0</title>" in page.source
    assert text.startswith(
        "SAMPLE DATA: these numbers show that the code runs; they say nothing about mnist"
    )
    assert "kpipe run mnist_mlp --data real" in text[:200]
    assert "not comparable: sample data" in text and "target reached" not in text


def test_data_that_are_not_official_are_announced_first(digits):
    digits.record.data.official = False
    assert write(digits).text.startswith("NOT THE OFFICIAL DATA:")


def test_official_and_own_data_have_no_banner(digits):
    assert "banner" not in [value for _, value in write(digits).attributes]
    digits.record.data.kind, digits.record.data.official = "own", False
    assert "banner" not in [value for _, value in write(digits).attributes]


def test_an_alert_is_the_first_line_of_the_page(digits):
    digits.record.data.kind = "sample"
    path = report.write(digits, (), alert="Logistic regression is better <by 4 points>.")
    assert Page(path).text.startswith("Logistic regression is better <by 4 points>. SAMPLE DATA:")


def test_metrics_for_imbalanced_classes_are_beside_the_accuracy(digits):
    digits.metrics["balanced_accuracy"] = {"value": 0.71, "low": 0.6, "high": 0.8, "n": 2000}
    digits.metrics["macro_f1"] = {"value": 0.6871, "low": 0.6, "high": 0.75, "n": 2000}
    headline = write(digits).text.partition("Always predicting")[0]
    assert "balanced accuracy 71.00 % [60.00, 80.00]" in headline
    assert "macro F1 68.71 % [60.00, 75.00]" in headline


def test_the_look_at_own_data_follows_the_headline(digits):
    digits.data.look = Look(
        "photos", "images", examples={"train": 8, "test": 2}, warnings=("Few!",)
    )
    text = write(digits, [figures.learning_curves]).text
    assert text.index("Export verified") < text.index("The data WARNING Few!")
    assert text.index("10 images") < text.index("Figures")
    digits.data = None  # reported from another process
    assert "The data WARNING" not in write(digits).text


def test_parameters_are_counted_where_the_record_says_how(digits):
    first, second = digits.record.model.layers
    first.formula, second.formula = "784 × 900 + 900", ""
    text = write(digits).text
    assert "layer type output shape weight shapes parameters" in text
    assert "dense Dense (None, 900) 784 × 900 + 900 706,500" in text
    assert "probabilities Dense (None, 10) 4,510" in text


def test_labels_have_a_table_of_their_own(tmp_path):
    run = make_run(tmp_path, ("Male", "Young", "Bald"))
    run.record.task = "multilabel"
    run.metrics = {k: v for k, v in run.metrics.items() if "/" not in k}
    for name in ("Male", "Young"):
        run.metrics |= {
            f"accuracy/{name}": {"value": 0.91, "low": 0.897, "high": 0.922, "n": 2000},
            f"majority_baseline/{name}": {"value": 0.6, "low": 0.58, "high": 0.62, "n": 2000},
            f"roc_auc/{name}": {"value": 0.95, "low": 0.94, "high": 0.96, "n": 2000},
        }
    run.metrics["roc_auc/Young"] = {"value": None, "low": None, "high": None, "n": 2000}
    page = write(run)
    assert "Male 91.00 % [89.70, 92.20] 60.00 % 0.9500 [0.9400, 0.9600]" in page.text
    assert "Young 91.00 % [89.70, 92.20] 60.00 % –" in page.text
    assert "1 of 3 labels are constant in the training examples" in page.text
    assert "accuracy on the test split" in page.text
    assert "Accuracy averaged over the 2 of 3 labels that vary in train" in page.text
    assert "Always predicting each label's majority 11.35 %" in page.text
    metrics = page.text.split("metric on the test split")[1].split("Architecture")[0]
    assert "Male" not in metrics and "log loss 0.0623 2,000" in metrics


def test_one_class_an_example_has_no_table_of_labels(faces):
    text = write(faces).text
    assert "majority class" not in text and "mean over the" not in text
    assert "ROC AUC 0.9812" in text.split("metric on the test split")[1]


def test_a_network_trained_anew_is_said_to_be(digits):
    training = digits.record.training
    training.retrained_epochs, training.retrained_examples = 7, 60_000
    training.retraining_seconds = 423.1
    text = write(digits).text
    assert "again from scratch, on train and val, 60,000 examples, for 7 epochs." in text
    assert "retraining 7 min 3 s" in text and "retrained" not in text


def test_the_run_of_a_search_says_how_far_it_lies_from_the_trial(digits):
    digits.history = {"epoch": [1, 2], "val_accuracy": [0.9, 0.95], "seconds": [1.0, 1.0]}
    digits.record.training.best_epoch = 2
    digits.record.search = {"objective": "val_accuracy", "trial": 3, "trials": 8, "tuner": "grid"}
    digits.record.search |= {"value": 0.94, "low": 0.93, "high": 0.95, "trainings": 5}
    digits.record.search["how"] = "retrain"
    text = write(digits, plots=()).text
    assert "trial 3, the best of 8 of a grid search; this run was trained again from scr" in text
    assert "Its val accuracy is 95.00 %, that of the trial was 94.00 % [93.00, 95.00]" in text
    assert ", the mean of 5 trainings. Both are optimistic" in text


@pytest.mark.parametrize(
    ("best", "kept"),
    [
        (5, "The best epoch, 5, is one of them."),
        (2, "None was better than epoch 2, whose weights are kept."),
    ],
)
def test_features_and_fine_tuning_are_told_in_sentences(digits, best, kept):
    digits.history = {"epoch": [1, 2, 3, 4, 5], "seconds": [2.0, 0.5, 0.5, 40.0, 41.0]}
    training = digits.record.training
    training.feature_seconds, training.frozen_epochs = 49.5, 3
    training.epochs, training.best_epoch = 5, best
    text = write(digits, plots=()).text
    assert "computed once, without augmentation, in 50 s." in text
    assert "took 0.5 s: about 100 times faster than through the backbone." in text
    assert "After 3 epochs of the head alone the backbone was fine-tuned for 2 epochs" in text
    assert kept in text and "features (part of train) 50 s" in text


def test_the_time_that_steps_waited_for_data_is_told_if_it_is_known(digits):
    digits.record.training.waiting_seconds = digits.record.times["train"] * 0.004
    assert "waiting for data 0.4 % of the training time" in write(digits, plots=()).text
    digits.record.training.waiting_seconds = None  # a run of an older kpipe
    assert "waiting for data" not in write(digits, plots=()).text


def test_a_target_can_be_an_upper_limit(digits):
    target = digits.record.target
    target.metric, target.at_least, target.at_most = "log_loss", None, 0.05
    text = write(digits).text
    assert "Target at most 0.05 (lab course, exercise 1)" in text
    assert "log loss on the test split 0.0623" in text


@pytest.mark.parametrize("usage", ["IMAGE ...", "ROWS.csv", ""])
def test_the_command_that_predicts_takes_what_the_model_takes(digits, usage):
    digits.record.data.usage = usage
    text = write(digits).text
    assert ("kpipe predict" in text) == bool(usage) and usage in text


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        (None, "The export is not verified."),
        (
            ProofRecord(passed=False, max_difference=0.02),
            "✗ The export differs from the trained model: largest difference 0.02 "
            "(allowed: 1e-05).",
        ),
        (
            ProofRecord(
                passed=False,
                max_difference=0.02,
                differences={"encode": 0.0, "decode": 0.02, "reconstruct": 0.01},
                labels_agree=False,
            ),
            "largest difference 0.02 (allowed: 1e-05), in decode, predicted labels differ.",
        ),
        (
            ProofRecord(passed=False, max_difference=0.0, labels_agree=False),
            "✗ The export differs from the trained model: predicted labels differ.",
        ),
    ],
)
def test_a_missing_or_failed_proof_is_said(digits, proof, expected):
    digits.record.proof = proof
    text = write(digits).text
    assert expected in text and "Export verified" not in text


def test_the_proof_of_a_run_of_format_1_reads_well(digits):
    digits.record.proof = ProofRecord(passed=True, max_difference=2.4e-7, batches=[1, 7, 64])
    said = "it matches the trained model within 2.4e-07 (allowed: 1e-05)"
    compared = "with batches of 1, 7, 64, on all 2,000 test examples."
    assert f"✓ Export verified: {said} {compared}" in write(digits).text
    digits.record.data.examples, digits.record.proof.batches = {}, []
    assert f"{said}." in write(digits).text


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("architecture=gru", "architecture=<wbr>gru"),
        ("rate=-1, path=a/b,seed=1", "rate=<wbr>-1, path=<wbr>a/<wbr>b,<wbr>seed=<wbr>1"),
        ("1,234 of 5/6", "1,234 of 5/6"),
        ("a/été", "a/<wbr>été"),
        ("a=<b>/i", "a=<wbr>&lt;b&gt;/<wbr>i"),
    ],
)
def test_names_and_paths_in_tables_may_break_and_numbers_may_not(cell, written):
    page = tables.table(["name", "value"], [(cell, cell)])
    assert f'<th scope="row">{written}</th><td>{written}</td>' in page


def test_everything_from_outside_is_escaped(tmp_path):
    evil = '<img src=x onerror="alert(1)">&$5 $x_1$'
    run = make_run(tmp_path, (evil, "b"), channels=3)
    record = run.record
    run.name = record.title = record.command = record.plan = record.finished = evil
    record.overrides = record.hyperparameters = {evil: evil}
    record.versions = record.machine = {evil: evil}
    record.data.kind, record.data.name = "sample", evil
    record.data.get_real = record.data.description = evil
    record.target.source = record.target.verdict = evil
    record.model.layers[0].name = record.model.layers[0].type = evil
    record.proof.compared = [evil]
    run.metrics[evil] = {"value": 1.0}

    def my_plot(run):
        return matplotlib.figure.Figure()

    my_plot.__doc__ = evil
    page = write(run, [*ALL_PLOTS, my_plot])
    assert page.text.count(evil) >= 15
    assert "onerror" not in dict(page.attributes)
    assert page.tags.count("img") == 6  # five of ALL_PLOTS and my_plot
    assert page.source.count("<title>") == 1 and evil not in page.source


def test_a_record_without_optional_parts(tmp_path):
    run = make_run(tmp_path)
    data = {"kind": "real", "label_names": list(run.label_names)}
    run.record = Record.from_json({"pipeline": "x", "task": "classification", "data": data})
    run.metrics, run.history = {}, {}
    page = write(run, ALL_PLOTS)
    assert "mnist_mlp" in page.text and page.tags.count("img") == 2


def test_the_page_says_when_a_run_was_trained_and_from_which_seed(digits):
    assert "<title>mnist_mlp, seed 0</title>" in write(digits).source
    assert "trained" not in write(digits).text.split("Accuracy")[0].split("Figures")[0][:200]
    digits.record.seed, digits.record.finished = 3, "2026-11-25T14:03:59+01:00"
    page = write(digits)
    assert "<title>mnist_mlp, seed 3</title>" in page.source
    assert "· trained 2026-11-25 14:03 " in page.text
    assert ("datetime", "2026-11-25T14:03:59+01:00") in page.attributes


def test_floats_have_six_digits_but_for_those_that_are_typed_again(digits):
    digits.record.hyperparameters = {"learning_rate": 0.0012345678901}
    digits.record.trainer, digits.record.overrides = {"decay": 0.123456789}, {"l2": 1e-05}
    digits.record.machine = {"load": 0.007777777777777776}
    text = write(digits).text
    assert "learning_rate 0.0012345678901" in text and "decay 0.123456789" in text
    assert "Overridden: l2 = 1e-05." in text
    assert "load 0.00777778 " in text


def broken_plot(run):
    """A figure of mine."""
    return run.there_is_no_such_thing


def test_a_figure_that_fails_is_named_and_the_rest_is_there(digits, capsys):
    def of_axes(run):
        return matplotlib.figure.Figure().subplots()

    def of_numpy(run):
        return np.zeros(3).reshape(2)  # raises elsewhere

    (digits.folder / "figures").mkdir()
    (digits.folder / "figures" / "broken_plot.png").write_bytes(b"of an earlier report")
    page = write(digits, [broken_plot, figures.learning_curves, of_axes, of_numpy])
    assert [path.name for path in (digits.folder / "figures").iterdir()] == ["learning_curves.png"]
    first = broken_plot.__code__.co_firstlineno
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("figure broken_plot failed: AttributeError: ")
    assert lines[0].endswith(f"(test_report.py, line {first + 2})")
    assert "figure of_axes failed: TypeError: it returned Axes; expected a " in lines[1]
    assert (
        "figure of_numpy failed: ValueError: " in lines[2] and "(test_report.py, line" in lines[2]
    )
    assert all(line in page.text for line in lines) and len(lines) == 3
    assert digits.record.problems[-3:] == lines
    assert "98.31 %" in page.text and page.tags.count("img") == 1


def test_a_disk_that_is_full_is_no_figure_that_fails(digits, monkeypatch):
    def refuse(path, content):
        raise OSError("no space left")

    monkeypatch.setattr(report.page.files, "write_bytes", refuse)
    with pytest.raises(OSError, match="no space left"):
        report.write(digits, [figures.learning_curves])


def test_figures_are_in_two_columns_of_like_height(digits):
    def of_size(width, height):
        def draw(run):
            return matplotlib.figure.Figure((width, height))

        draw.__name__ = f"figure_{width}_{height}"
        draw.__doc__ = f"{width} by {height}."
        return draw

    sizes = [(5, 3), (7.5, 4), (5, 4), (5, 9), (5, 2)]
    page = write(digits, [of_size(*size) for size in sizes])
    columns = page.source.split('<div class="column">')[1:]
    columns[-1], wide = columns[-1].split("</div></div>")
    listed = [re.findall(r"<figcaption>([\d. ]+by \d)", part) for part in (*columns, wide)]
    assert listed == [["5 by 3", "5 by 4", "5 by 2"], ["5 by 9"], ["7.5 by 4"]]
    assert re.findall(r'style="order: (\d)', page.source) == ["0", "2", "4", "3", "1"]  # on a phone


def test_a_section_of_a_task_keeps_its_metrics_out_of_the_table_of_all(digits):
    head, rows = ("who", "error"), [("it", "0.1 [0.05, 0.15]")]
    shown = frozenset({"log_loss"})
    plain = report.Section("Mine", head, rows, "A <note>.", metrics=shown)
    empty = report.Section("Empty", head, [])
    page = Page(report.write(digits, (), [("A fact", "said")], [plain, empty]))
    assert (
        "A fact said" in page.text and "Mine A <note>. who error it 0.1 [0.05, 0.15]" in page.text
    )
    assert "Empty" not in page.text
    metrics = page.text.split("metric on the test split")[1].split("Architecture")[0]
    assert "log loss" not in metrics and "majority baseline 11.35 %" in metrics


def test_a_run_without_mistakes_shows_none(tmp_path):
    run = make_run(tmp_path, error=0)
    assert figures.worst_mistakes(run) is None
    assert "2,000 of 2,000 test examples are correct" in texts(figures.confusion_matrix(run))


def test_learning_curves_write_the_monitored_metric_as_the_axes_do(digits):
    digits.record.trainer["monitor"] = "val_mae"
    assert "Best validation MAE at epoch 7 of 12" in texts(figures.learning_curves(digits))


def test_learning_curves_mark_the_best_epoch(digits):
    figure = figures.learning_curves(digits)
    assert "Best validation loss at epoch 7 of 12" in texts(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert [line.get_label() for line in figure.axes[0].lines] == [
        "train",
        "validation",
        "best epoch",
    ]


def test_learning_curves_without_validation_and_with_one_epoch(digits):
    digits.history = {"epoch": [1], "learning_rate": [0.1], "loss": [0.5]}
    digits.record.training = None
    figure = figures.learning_curves(digits)
    assert "Training over 1 epoch" in texts(figure) and len(figure.axes) == 1


def test_confusion_matrix_counts(tmp_path):
    run = make_run(tmp_path, ("Female", "Male"))
    run.predictions = {
        "label": np.array([0, 0, 0, 1]),
        "probabilities": np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]]),
    }
    found = texts(figures.confusion_matrix(run))
    assert "2\n66.7 %" in found and "1\n33.3 %" in found and "1\n100.0 %" in found
    assert "3 of 4 test examples are correct" in found
    assert "Female is predicted as Male (1×)" in found


def test_many_classes_have_no_numbers(tmp_path):
    run = make_run(tmp_path, tuple(f"class {i}" for i in range(81)))
    assert not figures.confusion_matrix(run).axes[0].texts


def test_a_matrix_of_very_many_classes_shows_those_with_most_mistakes(tmp_path):
    names = tuple(f"class {i}" for i in range(5000))
    run = make_run(tmp_path, names[:2])
    run.record.data.label_names = names
    # One example of each class is correct. Seventy classes have three more, taken for three others
    # that are not shown; two of class 7 are taken for class 8, more than of any other pair.
    truth = np.concatenate([np.arange(5000), np.repeat(np.arange(100, 170), 3), [7, 7]])
    predicted = np.concatenate([np.arange(5000), np.arange(1000, 1210), [8, 8]])
    probabilities = np.zeros((len(truth), 5000), "float32")
    probabilities[np.arange(len(truth)), predicted] = 1
    run.predictions = {"label": truth, "probabilities": probabilities}
    figure = figures.confusion_matrix(run)
    title = " ".join(figure.get_suptitle().split())
    assert title == (
        "5,000 of 5,212 test examples are correct; most often class 7 is predicted as class 8 "
        "(2×); shown: the 60 of 5,000 classes with the most mistakes"
    )
    axes = figure.axes[0]
    listed = [label.get_text() for label in axes.get_yticklabels()]
    assert listed == [f"class {i}" for i in (7, 8, *range(100, 158))]
    shares = np.asarray(axes.images[0].get_array())
    expected = np.diag([1 / 3, 1, *[1 / 4] * 58])  # of all examples of the class
    expected[0, 1] = 2 / 3
    np.testing.assert_allclose(shares, expected)
    assert figure.get_figheight() < 12


def test_a_chart_of_very_many_classes_shows_the_lowest(tmp_path):
    names = tuple(f"class {i}" for i in range(2000))
    run = make_run(tmp_path, names[:2])
    run.record.data.label_names = names
    run.metrics = {
        f"{kind}/{name}": {"value": i / 2000, "low": i / 2000, "high": i / 2000}
        for kind in ("precision", "recall")
        for i, name in enumerate(names)
    }
    run.metrics["recall/class 1999"] = {"value": 0.0, "low": 0.0, "high": 0.1}
    run.metrics["precision/class 0"] = {"value": None, "low": None, "high": None}
    figure = figures.per_class(run)
    assert "shown: the 100 lowest of 2,000 classes" in texts(figure)
    listed = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert listed == [f"class {i}" for i in [*range(99), 1999]]
    assert figure.get_figheight() < 25


def test_roc_curve_takes_the_second_class_as_positive(faces):
    found = texts(figures.roc_curve(faces))
    assert "AUC 0.981 [0.975, 0.986]" in found and "Female predicted as Male" in found


def test_roc_curve_needs_both_of_two_classes(digits, faces):
    assert figures.roc_curve(digits) is None
    faces.predictions["label"][:] = 1
    assert figures.roc_curve(faces) is None


def test_worst_mistakes_come_surest_first(digits):
    positions = []
    digits.test_inputs = lambda chosen: (
        positions.extend(chosen) or np.zeros((len(chosen), 28, 28, 1), "uint8")
    )
    figure = figures.worst_mistakes(digits)
    probabilities = digits.predictions["probabilities"][positions]
    assert len(positions) == 20
    assert (np.diff(probabilities.max(axis=1)) <= 0).all()
    assert (probabilities.argmax(axis=1) != digits.predictions["label"][positions]).all()
    label = digits.predictions["label"][positions[0]]
    assert figure.axes[0].get_title().startswith(f"{label} → {(label + 1) % 10}\n")


def test_filters_are_scaled_each_on_its_own(faces):
    faces.initial_kernel = np.zeros((2, 2, 1, 2))
    faces.initial_kernel[0, 0, 0, 0] = 7  # the other filter is constant
    faces.final_kernel = faces.initial_kernel * 1.5
    figure = figures.first_layer_filters(faces)
    mosaic = figure.axes[0].images[0].get_array()
    assert mosaic[0, 0, 0] == 1 and mosaic[-1, 0, 0] == 0 and mosaic[0, -1, 0] == 0.5
    assert "changed by 50 % of their norm" in texts(figure)
    faces.initial_kernel[:] = 0
    assert "changed" not in texts(figures.first_layer_filters(faces))


def test_a_model_without_kernels_over_pixels_has_no_filters(digits):
    assert figures.first_layer_filters(digits) is None


def test_per_class_skips_what_is_not_defined(digits):
    digits.metrics["precision/3"] = {"value": None, "low": None, "high": None, "n": 0}
    figure = figures.per_class(digits)
    assert "Lowest precision: 6 (93.0 %); lowest recall: 6 (92.5 %)" in texts(figure)
    assert np.isnan(figure.axes[0].lines[0].get_xdata()[3])
    digits.metrics.clear()
    assert figures.per_class(digits) is None


def texts(figure: matplotlib.figure.Figure) -> str:
    """All text of a figure, on one line a piece, after a layout that must not warn."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    title = " ".join(figure.get_suptitle().split())
    return "\n".join([title, *found])
