"""Figures of the columns that a network's answers hang on."""

import types

import keras
import mixed
import numpy as np
import pytest

from kpipe import data, figures, models
from kpipe.explaining.columns import CURVES
from kpipe.inputs import ArrayInput, LabelTargets, Rows
from kpipe.records import Record, Run


def record_of(label_names, retrained=0):
    return {
        "status": "finished",
        "pipeline": "mine",
        "seed": 0,
        "data": {"fingerprint": "f", "kind": "own", "label_names": list(label_names)},
        "training": {"epochs": 3, "best_epoch": 3, "retrained_epochs": retrained},
    }


def run_of(folder, prepared, model, predictions, label_names, retrained=0):
    return Run(
        name="mine",
        folder=folder,
        record=Record.from_json(record_of(label_names, retrained)),
        metrics={},
        history={},
        data=prepared,
        _model=model,
        _predictions=predictions,
    )


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A network that knows whether someone is in Berlin or older than 60, and nothing else."""
    dataset = mixed.dataset()
    prepared = data.prepare(dataset, dataset.find())
    keras.utils.set_random_seed(0)
    model = models.tabular(
        prepared.input_shape, 2, category_sizes=dataset.category_sizes, units=(16,)
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    train = prepared.train
    model.fit(*train.take(np.arange(len(train))), epochs=40, verbose=0)
    test, labels = prepared.test.take(np.arange(len(prepared.test)))
    predictions = {"label": labels, **model.predict(test, verbose=0)}
    folder = tmp_path_factory.mktemp("table")
    return run_of(folder, prepared, model, predictions, ("no", "yes"))


def vector_run(folder, retrained=0, size=4):
    """The value is three times the first number, minus the second, in the unit of the labels."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, size)).astype("float32")
    y = 3000 * x[:, 0] - 1000 * x[:, 1]

    class Split(types.SimpleNamespace):
        def __len__(self):
            return len(self.rows)

    splits = [Split(column=Rows(x), rows=rows, labels=y) for rows in np.split(np.arange(60), 2)]
    inputs = keras.Input((size,), name="features")
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, {"value": layer(inputs)})
    layer.set_weights([np.array([[3000.0], [-1000.0]] + [[0.0]] * (size - 2))])
    prepared = types.SimpleNamespace(
        val=splits[0],
        test=splits[1],
        input_shape=(size,),
        input=ArrayInput((size,)),
        vocabulary=(),
        targets=LabelTargets(),
    )
    predictions = {"label": y[30:], "value": y[30:]}
    return run_of(folder, prepared, model, predictions, ("price",), retrained)


def rows_of(figure):
    axes = figure.axes[0]
    return [label.get_text() for label in axes.get_yticklabels()]


def title_of(figure):
    return figure.get_suptitle().replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def test_the_columns_that_decide_come_first(table_run):
    figure = figures.column_importance(table_run)
    assert set(rows_of(figure)[:2]) == {"age", "city, home"} and len(rows_of(figure)) == 7
    assert title_of(figure).startswith(f"Permuting {rows_of(figure)[0]} costs ")
    assert figure.axes[0].get_xlabel().endswith(" rows of val")


def test_effects_of_columns_of_every_kind_are_drawn(table_run):
    figure = figures.column_effects(table_run)
    names = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert names[:2] == rows_of(figures.column_importance(table_run))[:2] and len(names) == 6
    (city,) = (axes for axes in figure.axes if axes.get_xlabel() == "city, home")
    words = [label.get_text() for label in city.get_xticklabels()]
    heights = dict(zip(words, city.lines[0].get_ydata(), strict=True))
    assert heights["Berlin"] == max(heights.values()) and "(missing)" in heights
    assert figure.axes[0].get_ylabel() == "probability of yes"
    rows = min(len(table_run.data.val), CURVES)  # as many are averaged
    assert figure.get_supxlabel() == f"means over {rows} rows of val"


def test_importance_is_in_the_unit_of_the_labels(tmp_path):
    figure = figures.column_importance(vector_run(tmp_path))
    assert rows_of(figure)[:2] == ["1", "2"] and "30 rows of val" in figure.axes[0].get_xlabel()
    points = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert points[0][0] > 2000 and points[1][0] > 600  # 3000 and 1000 times the distance of rows
    np.testing.assert_allclose([point[0] for point in points[2:]], 0, atol=1e-3)
    axes = figures.column_effects(vector_run(tmp_path)).axes[0]
    slope = np.polyfit(*axes.lines[-1].get_data(), 1)[0]
    assert slope == pytest.approx(3000, rel=1e-3) and axes.get_ylabel() == "predicted price"


def test_rows_that_the_network_was_trained_on_are_not_used(tmp_path):
    figure = figures.column_importance(vector_run(tmp_path, retrained=3))
    assert "30 rows of test" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("size", [2, 101])
def test_points_and_long_vectors_have_no_such_figures(tmp_path, size):
    run = vector_run(tmp_path, size=size)
    assert figures.column_importance(run) is None and figures.column_effects(run) is None


def test_a_run_that_was_opened_again_has_no_such_figures(tmp_path):
    run = vector_run(tmp_path)
    run.data = None
    assert figures.column_importance(run) is None and figures.column_effects(run) is None


@pytest.mark.parametrize("plot", [figures.column_importance, figures.column_effects])
def test_every_text_fits_into_its_figure(plot, table_run):
    figure = plot(table_run)
    figure.draw_without_rendering()
    inside, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert inside.x0 > -0.01 and inside.y0 > -0.01
    assert inside.x1 < width + 0.01 and inside.y1 < height + 0.01
