"""Figures and report, on runs made up here."""

import html.parser
import pathlib
import re
from types import SimpleNamespace

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from kpipe import figures
from kpipe.datasets import Augmentation
from kpipe.report import page as report

ALL_PLOTS = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.roc_curve,
    figures.worst_mistakes,
    figures.first_layer_filters,
    figures.per_class,
)


def make_record(name: str, num_test: int) -> dict:
    return {
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
            "encoded_files": 8,
            "test_correct": 9831,
            "expected_correct": 9831,
            "seconds": 5.0,
        },
    }


def make_run(
    folder: pathlib.Path,
    label_names: tuple[str, ...] = tuple("0123456789"),
    channels: int = 1,
    num_filters: int = 0,
    num_test: int = 2000,
    error: float = 0.03,
) -> SimpleNamespace:
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
    return SimpleNamespace(
        name="mnist_mlp",
        folder=folder,
        record=make_record("mnist_mlp", num_test),
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
        label_names=label_names,
        predictions={
            "index": np.arange(num_test),
            "label": label,
            "probabilities": probabilities.astype("float32"),
        },
        data=SimpleNamespace(input_shape=shape, augmentation=Augmentation()),
        test_inputs=lambda positions: np.stack(
            [np.random.default_rng(p).integers(0, 256, shape, "uint8") for p in positions]
        ),
        initial_kernel=kernel if num_filters else None,
        final_kernel=kernel + random.normal(0, 0.05, kernel.shape) if num_filters else None,
    )


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
        self.words += "" if tag in ("span", "strong") else " "
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(text)


def write(run, plots=()) -> Page:
    return Page(report.write(run, plots))


def test_report_is_one_file_that_needs_nothing(faces):
    page = write(faces, ALL_PLOTS)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"https?://|url\(|@import", page.source)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)


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
    assert "Loss, metrics and a varying learning rate over the epochs" in page.text
    assert "true and false positives" not in page.text.lower()
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
        "Always saying the most frequent class 11.35 %",
        "Test split opened 2 times so far",
        "Test examples that train holds too 3",
        "to 2.4e-07 (allowed: 1e-05) at batches 1, 7, 64, on 8 encoded files",
        "and on all 2,000 test examples",
        "1,115,560 parameters, all trainable",
        "dense Dense (None, 900) 706,500",
        "log loss 0.0623 2,000",
        "train 1 min 1 s",
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
    [(0.42, "0.4 s"), (59.97, "1 min 0 s"), (61.2, "1 min 1 s"), (3725, "1 h 2 min")],
)
def test_durations(digits, seconds, expected):
    digits.record["times"] = {"train": seconds}
    assert f"train {expected} " in write(digits).text


def test_sample_data_are_announced_first(digits):
    digits.record["data"]["kind"] = "sample"
    digits.record["target"]["verdict"] = "not comparable: sample data"
    text = write(digits).text
    assert text.startswith("SAMPLE DATA: these numbers say that the code runs, nothing about mnist")
    assert "kpipe run mnist_mlp --data real" in text[:200]
    assert "not comparable: sample data" in text and "target reached" not in text


def test_data_that_are_not_official_are_announced_first(digits):
    digits.record["data"]["official"] = False
    assert write(digits).text.startswith("NOT THE OFFICIAL DATA:")


def test_official_data_have_no_banner(digits):
    assert "banner" not in [value for _, value in write(digits).attributes]


def test_parameters_are_counted_where_the_record_says_how(digits):
    first, second = digits.record["model"]["layers"]
    first["formula"], second["formula"] = "784 × 900 + 900", ""
    text = write(digits).text
    assert "layer type output shape how parameters" in text
    assert "dense Dense (None, 900) 784 × 900 + 900 706,500" in text
    assert "probabilities Dense (None, 10) 4,510" in text


def test_labels_have_a_table_of_their_own(tmp_path):
    run = make_run(tmp_path, ("Male", "Young", "Bald"))
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
    assert "1 of 3 labels never vary in the training examples" in page.text
    assert "accuracy, mean over the labels, on the test split" in page.text
    assert "Always saying each label's majority 11.35 %" in page.text
    metrics = page.text.split("metric on the test split")[1].split("Architecture")[0]
    assert "Male" not in metrics and "log loss 0.0623 2,000" in metrics


def test_one_class_an_example_has_no_table_of_labels(faces):
    text = write(faces).text
    assert "majority class alone" not in text and "mean over the labels" not in text
    assert "ROC AUC 0.9812" in text.split("metric on the test split")[1]


def test_a_network_trained_anew_is_said_to_be(digits):
    digits.record["training"] |= {
        "retrained_epochs": 7,
        "retrained_examples": 60_000,
        "retraining_seconds": 423.1,
    }
    text = write(digits).text
    assert "trained anew on train and val, 60,000 examples, for 7 epochs." in text
    assert "training anew 7 min 3 s" in text and "retrained" not in text


def test_a_target_can_be_an_upper_limit(digits):
    digits.record["target"] |= {"metric": "log_loss", "at_least": None, "at_most": 0.05}
    assert "Target at most 0.0500 (lab course, exercise 1)" in write(digits).text


def test_vectors_are_not_predicted_from_image_files(digits):
    assert "kpipe predict" in write(digits).text
    digits.data.input_shape = (2,)
    assert "kpipe predict" not in write(digits).text
    digits.data = None  # a run that was opened again
    assert "kpipe predict" in write(digits).text


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        (None, "The export is not proven."),
        (
            {"passed": False, "max_difference": 0.02, "tolerance": 1e-5, "test_correct": 9000},
            "✗ The export is not the trained model: it differs by 0.02 (allowed: 1e-05)",
        ),
    ],
)
def test_a_missing_or_failed_proof_is_said(digits, proof, expected):
    digits.record["proof"] = proof
    text = write(digits).text
    assert expected in text and "Export proven" not in text


def test_everything_from_outside_is_escaped(tmp_path):
    evil = '<img src=x onerror="alert(1)">&$5 $x_1$'
    run = make_run(tmp_path, (evil, "b"), channels=3)
    run.name = run.record["title"] = run.record["command"] = run.record["plan"] = evil
    run.record["overrides"] = run.record["hyperparameters"] = {evil: evil}
    run.record["versions"] = run.record["machine"] = {evil: evil}
    run.record["data"] |= {"kind": "sample", "name": evil, "get_real": evil, "description": evil}
    run.record["target"] |= {"source": evil, "verdict": evil}
    run.record["model"]["layers"][0] |= {"name": evil, "type": evil}
    run.metrics[evil] = {"value": 1.0}

    def my_plot(run):
        return matplotlib.figure.Figure()

    my_plot.__doc__ = evil
    page = write(run, [*ALL_PLOTS, my_plot])
    assert page.text.count(evil) >= 15
    assert "onerror" not in dict(page.attributes)
    assert page.tags.count("img") == 6  # five of ALL_PLOTS and my_plot


def test_a_record_without_optional_parts(tmp_path):
    run = make_run(tmp_path)
    run.record, run.metrics, run.history = {"data": {"kind": "real"}}, {}, {}
    page = write(run, ALL_PLOTS)
    assert "mnist_mlp" in page.text and page.tags.count("img") == 2


def test_a_run_without_mistakes_shows_none(tmp_path):
    run = make_run(tmp_path, error=0)
    assert figures.worst_mistakes(run) is None
    assert "2,000 of 2,000 test examples are right" in texts(figures.confusion_matrix(run))


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
    digits.record["training"] = {}
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
    assert "3 of 4 test examples are right" in found and "Female is taken for Male (1×)" in found


def test_many_classes_have_no_numbers(tmp_path):
    run = make_run(tmp_path, tuple(f"class {i}" for i in range(81)))
    assert not figures.confusion_matrix(run).axes[0].texts


def test_roc_curve_takes_the_second_class_as_positive(faces):
    found = texts(figures.roc_curve(faces))
    assert "AUC 0.981 [0.975, 0.986]" in found and "Female taken for Male" in found


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
