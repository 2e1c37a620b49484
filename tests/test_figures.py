"""Figures that ask for more than the answers of one classifier, on runs made up here."""

import dataclasses
import json
from types import SimpleNamespace

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest

from kpipe import figures, files
from kpipe.data import Split
from kpipe.datasets import Augmentation
from kpipe.figures import style
from kpipe.inputs import Rows
from kpipe.measures import classes as evaluation
from kpipe.records import Record, Run

GATE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
LONG_NAME = "God-Morgon-Orange-Red-Grapefruit-Juice"


class MadeUpRun(Run):
    """A run whose model was never trained."""

    final_kernel = None


def make_run(label, probabilities, label_names, inputs, folder=None, **data) -> Run:
    """A run whose data are `inputs`, both as train and as test split."""
    data = {"augmentation": Augmentation(), **data}
    about = {"fingerprint": "ab12", "label_names": list(label_names)}
    run = MadeUpRun(
        name="mine",
        folder=folder,
        record=Record.from_json({"pipeline": "mine", "data": about}),
        metrics={},
        history={},
        _predictions={
            "index": np.arange(len(label)),
            "label": label,
            "probabilities": probabilities.astype("float32"),
        },
        data=SimpleNamespace(
            input_shape=inputs.shape[1:],
            train=Split(Rows(inputs), label, np.arange(len(label))),
            **data,
        ),
    )
    run.test_inputs = lambda positions: inputs[positions]
    return run


def make_points(points, label, say, num_classes=2) -> Run:
    """A run on points whose model gives the class `say(x, y)`."""

    def predict(inputs, **_):
        return {"probabilities": np.eye(num_classes)[say(*inputs.T).astype(int)]}

    names = tuple(map(str, range(num_classes)))
    run = make_run(label, predict(points)["probabilities"], names, points)
    run.model = SimpleNamespace(predict=predict)
    return run


def make_images(num_classes=3, names=None, size=8, channels=3, n=60, error=0.5, **data):
    random = np.random.default_rng(0)
    label = random.integers(0, num_classes, n)
    said = np.where(random.random(n) < error, (label + 1) % num_classes, label)
    probabilities = 0.1 / num_classes + 0.9 * np.eye(num_classes)[said]
    images = random.integers(0, 256, (n, size, size, channels), "uint8")
    run = make_run(label, probabilities, names or map(str, range(num_classes)), images, **data)
    run.metrics = evaluation.classification_metrics(label, probabilities, run.label_names, 0)
    return run


def make_labels(names, folder=None, n=200, constant=0) -> Run:
    """A run with several labels; the first `constant` of them are 0 in train."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, (n, len(names)))
    label[:, :constant] = 0
    probabilities = np.clip(label + random.normal(0, 0.6, label.shape), 0, 1)
    run = make_run(label, probabilities, names, np.zeros((n, 8, 8, 3), "uint8"), folder)
    run.metrics = evaluation.multilabel_metrics(label, probabilities, run.label_names, label)
    return run


def write_single_task(run, folder, name, right, **changes):
    """A finished run beside `run`, on one of its labels, right where `right` says so."""
    folder = run.folder.parent / folder
    folder.mkdir()
    label = run.predictions["label"][:, run.label_names.index(name)]
    data = {"fingerprint": "ab12", "label_names": [f"not {name}", name]}
    record = {"pipeline": "one", "status": "finished", "data": data, "weights_sha256": "cd34"}
    (folder / "run.json").write_text(json.dumps(record | changes))
    (folder / "metrics.json").write_text("{}")
    (folder / "history.csv").write_text("epoch\n1\n")
    arrays = {**run.predictions, "label": label, "probabilities": np.eye(2)[label ^ ~right]}
    np.savez(folder / "predictions.npz", **arrays, weights_sha256="cd34")
    files.write_manifest(folder, folder.rglob("*"))
    return folder


@pytest.mark.parametrize(
    ("label", "say", "title"),
    [
        ([0, 0, 0, 1], lambda x, y: x + y > 1.5, "All 4 samples correct"),
        ([0, 1, 1, 0], lambda x, y: x + y > 0.5, "The sample (1, 1) remains misclassified"),
        ([0, 1, 1, 0], lambda x, y: x > 9, "The samples (0, 1) and (1, 0) remain misclassified"),
        ([1, 1, 1, 0], lambda x, y: x > 9, "The samples (0, 0), (0, 1) and (1, 0) remain"),
    ],
)
def test_a_truth_table_names_what_stays_misclassified(label, say, title):
    figure = figures.decision_regions(make_points(GATE, np.array(label), say))
    found = texts(figure)
    assert title in found and f"0 1 → {label[1]}" in found
    rings = [line for line in figure.axes[0].lines if line.get_markersize() > 20]
    wrong = say(*GATE.T) != np.array(label)
    assert [tuple(ring.get_xydata()[0]) for ring in rings] == list(map(tuple, GATE[wrong]))


def test_regions_lie_where_the_model_says_them():
    run = make_points(GATE, np.array([0, 0, 1, 1]), lambda x, y: x > 0.5)
    image = figures.decision_regions(run).axes[0].images[0]
    colors = image.get_array()
    assert image.origin == "lower" and (colors[0, 0] == colors[-1, 0]).all()
    assert (colors[0, -1] == colors[-1, -1]).all() and (colors[0, 0] != colors[0, -1]).any()
    left, right, bottom, top = image.get_extent()
    assert left < 0 and right > 1 and bottom < 0 and top > 1


@pytest.mark.parametrize("limit", [0.01, 0.5, 0.99])
def test_all_mistakes_are_drawn_and_a_thousand_of_the_rest(limit):
    points = np.random.default_rng(0).random((5000, 2), "float32")
    x, y = points.T
    label = (x > 0.5).astype(int)
    wrong = y < limit
    run = make_points(points, label, lambda x, y: (x > 0.5) ^ (y < limit))
    figure = figures.decision_regions(run)
    right, mistakes = figure.axes[0].collections
    assert len(right.get_offsets()) == min(1000, (~wrong).sum())
    assert len(mistakes.get_offsets()) == wrong.sum()
    assert f"the {wrong.sum():,} mistakes are circled" in texts(figure)
    expected = [matplotlib.colors.to_rgba(figures.style.CLASS_COLORS[i]) for i in (0, 1)]
    for drawn in (right, mistakes):  # in the colour of the true class
        colors = np.take(expected, (drawn.get_offsets()[:, 0] > 0.5).astype(int), axis=0)
        np.testing.assert_allclose(drawn.get_facecolors(), colors)


def test_a_legend_has_every_class_also_one_whose_name_begins_with_an_underscore():
    run = make_points(GATE, np.array([0, 0, 1, 1]), lambda x, y: x > 0.5)
    run.record = dataclasses.replace(
        run.record, data=dataclasses.replace(run.record.data, label_names=("_none", "some"))
    )
    legend = figures.decision_regions(run).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_none", "some"]
    colors = [marker.get_color() for marker in legend.legend_handles]
    assert list(map(matplotlib.colors.to_hex, colors)) == [
        color.lower() for color in figures.style.CLASS_COLORS[:2]
    ]


def test_regions_need_points_of_the_plane_at_hand():
    run = make_points(GATE, np.array([0, 0, 0, 1]), lambda x, y: x > 0.5)
    run.data.input_shape = (5,)
    assert figures.decision_regions(run) is None
    run.data = None
    assert figures.decision_regions(run) is None
    assert figures.decision_regions(make_images()) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_examples_stand_beside_their_originals(channels):
    run = make_images(channels=channels, augmentation=Augmentation(flip=True))
    figure = figures.augmented_examples(run)
    original, changed = (np.atleast_3d(axes.images[0].get_array()) for axes in figure.axes)
    assert original.shape[0] == changed.shape[0] == 8 * 8 + 7  # pixels, and gaps between
    mirrored = np.zeros((8, 6), bool)
    for row in range(8):
        image = original[9 * row : 9 * row + 8]
        for column in range(6):
            tile = changed[9 * row : 9 * row + 8, 9 * column : 9 * column + 8]
            mirrored[row, column] = (tile == image[:, ::-1]).all()
            assert mirrored[row, column] or (tile == image).all()
    assert len(np.unique(mirrored, axis=1).T) > 1  # each column is another draw
    assert "Training changes images at random: mirrored" in texts(figure)


def test_augmented_examples_say_what_changes():
    changes = {"shift": 2, "rotate": 15.0, "brightness": 0.1, "flip_at_test": True}
    said = texts(figures.augmented_examples(make_images(augmentation=Augmentation(**changes))))
    assert "shifted ± 2 pixels, rotated ± 15°, brightness ± 10 %" in said
    assert "flip" not in said and "mirror" not in said


def test_without_augmentation_there_are_no_augmented_examples():
    run = make_images(augmentation=Augmentation(flip_at_test=True))
    assert figures.augmented_examples(run) is None
    run = make_images()
    assert figures.augmented_examples(run) is None
    run.data = None
    assert figures.augmented_examples(run) is None


def test_labels_are_sorted_by_their_gain_over_the_majority():
    run = make_labels(["Male", "Young_One", "Bald"])
    for name, value, majority in (("Male", 0.9, 0.5), ("Young_One", 0.7, 0.8), ("Bald", 0.9, 0.8)):
        run.metrics[f"accuracy/{name}"] |= {"value": value, "low": value, "high": value}
        run.metrics[f"majority_baseline/{name}"]["value"] = majority
    run.metrics["accuracy"]["value"], run.metrics["majority_baseline"]["value"] = 0.8333, 0.7
    figure = figures.label_accuracies(run)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["Male", "Bald", "Young One"]
    found = texts(figure)
    assert "Mean accuracy 83.33 %; always predicting each label's majority 70.00 %" in found
    assert "left out" not in found


def test_labels_that_never_vary_are_counted():
    run = make_labels([f"label {i}" for i in range(40)], constant=38)
    assert "left out: 38 of 40 labels, constant in train" in texts(figures.label_accuracies(run))
    run.metrics = {}
    assert figures.label_accuracies(run) is None


def test_the_difference_to_a_single_task_is_paired(tmp_path):
    run = make_labels(["Male", "Young"], tmp_path / "both")
    together = (run.predictions["probabilities"][:, 0] > 0.5) == run.predictions["label"][:, 0]
    alone = together.copy()
    alone[np.flatnonzero(~together)[:6]] = True  # six of 200 more
    alone[np.flatnonzero(together)[:2]] = False
    write_single_task(run, "gender", "Male", alone)
    expected = evaluation.paired_difference(together, alone)
    assert expected["value"] == pytest.approx(-0.02)
    figure = figures.compare_single_task(run)
    low, high = 100 * expected["low"], 100 * expected["high"]
    title = f"2 outputs change the accuracy of Male by -2.00 points [{low:.2f}, {high:.2f}]"
    assert title in texts(figure) and "\ngender" in texts(figure)


def test_each_single_task_has_its_row(tmp_path):
    run = make_labels(["Male", "Young"], tmp_path / "both")
    everything = np.ones(200, bool)
    write_single_task(run, "gender", "Male", everything)
    write_single_task(run, "gender,seed=1", "Male", ~everything)
    found = texts(figures.compare_single_task(run))
    assert "2 outputs change the accuracy of Male by -" in found and "points (2 runs)" in found
    write_single_task(run, "young", "Young", everything)
    found = texts(figures.compare_single_task(run))
    assert "accuracy of single labels" in found and "Young: young" in found


def test_only_finished_runs_on_the_same_data_are_compared(tmp_path, capsys):
    run = make_labels(["Male", "Young"], tmp_path / "both")
    assert figures.compare_single_task(run) is None
    right = np.ones(200, bool)
    write_single_task(run, "unfinished", "Male", right, status="unfinished", data={})
    data = {"fingerprint": "cd34", "label_names": ["not Male", "Male"]}
    write_single_task(run, "elsewhere", "Male", right, data=data)
    data = {"fingerprint": "ab12", "label_names": ["not Bald", "Bald"]}
    write_single_task(run, "unknown", "Male", right, data=data)
    # Nothing is asked of a run that is not compared.
    (tmp_path / "unknown" / "metrics.json").write_text("")
    write_single_task(run, "set_aside~1", "Male", right)
    (tmp_path / "no_run").mkdir()
    assert figures.compare_single_task(run) is None
    assert not capsys.readouterr().out


def test_broken_folders_are_named_and_left_out(tmp_path, capsys):
    run = make_labels(["Male", "Young"], tmp_path / "both")
    right = np.ones(200, bool)
    cut = write_single_task(run, "cut", "Male", right) / "predictions.npz"
    cut.write_bytes(cut.read_bytes()[:-40])
    (write_single_task(run, "empty", "Male", right) / "run.json").write_text("")
    (write_single_task(run, "list", "Male", right) / "run.json").write_text("[1]")
    (write_single_task(run, "missing", "Male", right) / "predictions.npz").unlink()
    write_single_task(run, "other_weights", "Male", right, weights_sha256="ef56")
    run.predictions["index"] = run.predictions["index"] + 1
    write_single_task(run, "sound", "Male", right)
    run.predictions["index"] = run.predictions["index"] - 1
    assert figures.compare_single_task(run) is None
    lines = capsys.readouterr().out.splitlines()
    named = [line.partition(" is not compared: ")[0] for line in lines]
    assert named == ["cut", "empty", "list", "missing", "other_weights", "sound"]
    assert "its test examples differ" in lines[-1]
    for line, file in zip(lines, ["predictions.npz", "run.json", "run.json"], strict=False):
        assert f"{line.split()[0]}/{file}" in line


@pytest.mark.parametrize("count", [2, 3])
def test_figures_of_one_class_do_not_apply_to_several_labels(count):
    run = make_labels([f"label {i}" for i in range(count)])
    for plot in (
        figures.confusion_matrix,
        figures.per_class,
        figures.roc_curve,
        figures.worst_mistakes,
        figures.decision_regions,
    ):
        assert plot(run) is None


def test_figures_of_classes_do_not_apply_to_a_regression():
    run = make_points(GATE, np.array([0.0, 1, 1, 0], "float32"), lambda x, y: x)
    del run.predictions["probabilities"]
    for plot in (
        figures.confusion_matrix,
        figures.per_class,
        figures.roc_curve,
        figures.worst_mistakes,
        figures.decision_regions,
    ):
        assert plot(run) is None


def test_figures_of_several_labels_do_not_apply_to_one_class(tmp_path):
    run = make_images(2, folder=tmp_path / "run")
    assert figures.label_accuracies(run) is None
    assert figures.compare_single_task(run) is None


def test_mistakes_are_shown_of_images_at_hand_only():
    run = make_images()
    assert figures.worst_mistakes(run) is not None
    run.data = None  # as of a run that was opened again
    assert figures.worst_mistakes(run) is None
    points = make_points(GATE, np.array([0, 1, 1, 0]), lambda x, y: x > 9)
    assert figures.worst_mistakes(points) is None


@pytest.mark.parametrize("name", [LONG_NAME, "God-Morgon-$-Red-Grape-$-Juice"])
def test_mistakes_say_long_class_names_whole(name):
    run = make_images(2, names=(name, "Lime"), n=10)
    said = figures.worst_mistakes(run).axes[0].get_title().replace(r"\$", "$")
    assert name in said.replace("\n", "") and len(max(said.splitlines(), key=len)) <= 26


@pytest.mark.parametrize(
    ("shape", "size", "title"),
    [
        ((28, 28, 1, 900), 28, "First layer: 64 of 900 units of 28 × 28 pixels"),
        ((32, 32, 3, 100), 32, "First layer: 64 of 100 units of 32 × 32 pixels"),
        ((3, 3, 3, 32), 32, "First layer: 32 filters of 3 × 3 pixels"),
    ],
)
def test_a_dense_first_layer_has_units(shape, size, title):
    run = make_images(size=size, channels=shape[2])
    run.initial_kernel = np.random.default_rng(0).normal(size=shape)
    run.final_kernel = 2 * run.initial_kernel
    figure = figures.first_layer_filters(run)
    assert title in texts(figure) and "changed by 100 % of their norm" in texts(figure)
    heights, widths = figure.axes[0].images[0].get_array().shape[:2]
    assert heights < widths < 1000


def draw_differences(folder):
    run = make_labels(["Male", "Young"], folder / "both")
    name = "celeba_gender-sample," + ",".join(f"a_long_key_{i}=0.00{i}" for i in range(6))
    write_single_task(run, name, "Male", np.ones(200, bool))
    return figures.compare_single_task(run)


def draw_peaks(folder):
    points = np.random.default_rng(0).random((3000, 2), "float32") * [1, 5]
    return figures.decision_regions(
        make_points(points.astype("float32"), np.arange(3000) % 9, lambda x, y: 8 * x, 9)
    )


@pytest.mark.parametrize(
    "draw",
    [
        draw_differences,
        draw_peaks,
        lambda _: figures.confusion_matrix(make_images(81, [LONG_NAME] * 81, n=400)),
        lambda _: figures.confusion_matrix(make_images(16, [LONG_NAME] * 16, n=400)),
        lambda _: figures.per_class(make_images(81, [f"{LONG_NAME[:-3]}{i}" for i in range(81)])),
        lambda _: figures.worst_mistakes(make_images(2, (LONG_NAME, "Arla-Ecological-Milk"))),
        lambda _: figures.label_accuracies(make_labels([f"label {i}" for i in range(40)])),
        lambda _: figures.label_accuracies(make_labels(["Wearing_Necktie", "Young"])),
    ],
)
def test_nothing_is_cut_off(draw, tmp_path):
    figure = draw(tmp_path)
    figure.draw_without_rendering()
    inside = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert inside.x0 > -0.01 and inside.y0 > -0.01
    assert inside.x1 < width + 0.01 and inside.y1 < height + 0.01


def texts(figure: matplotlib.figure.Figure) -> str:
    """The title on one line and all other text, after a layout that must not warn."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join([" ".join(figure.get_suptitle().split()), *found])


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0.0, 0.5, 1.0], ["0 %", "50 %", "100 %"]),
        ([0.45, 0.465, 0.48], ["45.0 %", "46.5 %", "48.0 %"]),
        ([0.9825, 0.983, 0.9835], ["98.25 %", "98.30 %", "98.35 %"]),
        ([], []),
    ],
)
def test_ticks_in_percent_have_the_decimals_that_they_need(ticks, labels):
    formatter = style.PercentTicks()
    formatter.create_dummy_axis()
    assert formatter.format_ticks(ticks) == labels
