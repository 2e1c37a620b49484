"""Figures of the columns of a table, or the numbers of a vector, that the answers hang on."""

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from ..data import Data, Split
from ..explaining import columns as measured
from ..explaining.rows import Field, Rows, Score, fields_of, fields_of_array
from ..inputs import TableColumns, TableInput
from ..inputs.tables import as_arguments
from ..measures.intervals import sign_of
from ..records import Run
from . import style
from .regression import LARGE, interval_of
from .style import BLUE, GREY

LISTED, DRAWN = 15, 6  # columns in the chart, and with an effect
ACROSS, WIDE = 3, 7.5  # panels, inches
FEWEST_NUMBERS, MOST_NUMBERS = 3, 100  # of a vector, whose numbers are shown one by one
LINES = 40  # rows drawn
CLASSES = 7


class Table(NamedTuple):
    """Rows that a network was not trained on, and the network as a function of their columns.

    Attributes:
        fields: The columns by argument.
        rows: The values of each.
        labels: (n, ...), in their own unit.
        score: Function from rows to probabilities, or to values in the labels' unit.
        split: "val" or "test".
    """

    fields: dict[str, Field]
    rows: Rows
    labels: np.ndarray
    score: Score
    split: str


def column_importance(run: Run) -> Figure | None:
    """How much worse the network is if a column is permuted among the rows; 95 % intervals."""
    table = _table_of(run)
    if table is None:
        return None
    found = _importances(run, table)
    shown = list(found.items())[:LISTED]
    unit = 100 if style.is_classifier(run) else 1
    entries = [{key: unit * entry[key] for key in ("value", "low", "high")} for _, entry in shown]
    names = [style.shorten(table.fields[name].name, 28) for name, _ in shown]
    figure = style.new_figure(1.1 + 0.27 * len(shown))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1)
    look: Any = {"fmt": "o", "color": BLUE, "elinewidth": 2, "markersize": 5}
    for row, entry in enumerate(entries):
        value = entry["value"]
        whiskers = [[value - entry["low"]], [entry["high"] - value]]
        axes.errorbar(value, row, xerr=whiskers, **look)
    style.list_rows(axes, names, size=9)
    label = "fall of the true label's probability, points" if unit == 100 else "rise of the error"
    axes.set_xlabel(f"{label}\n{len(table.labels):,} rows of {table.split}")
    if max(abs(entry["high"]) for entry in entries) >= LARGE:
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    title = "No single column matters visibly"
    sure = [i for i, entry in enumerate(entries) if sign_of(entry) > 0]
    if sure:
        name, size = names[sure[0]], interval_of(entries[sure[0]])
        title = f"Permuting {name} adds {size} to the mean error"
        if unit == 100:
            title = f"Permuting {name} costs {size} points of probability"
    style.set_title(figure, title)
    return figure


def column_effects(run: Run) -> Figure | None:
    """Mean answer by each important column, all else unchanged; thin lines are single rows."""
    table = _table_of(run)
    if table is None:
        return None
    names = list(_importances(run, table))[:DRAWN]
    some = measured.some_rows(len(table.labels), 1, measured.CURVES)
    averaged = {name: values[some] for name, values in table.rows.items()}
    rows = -(-len(names) // ACROSS)
    figure = style.new_figure(0.8 + 2.1 * rows, WIDE)
    shown = _shown_outputs(run, table)
    grid = figure.subplots(rows, ACROSS, squeeze=False, sharey=True).ravel()
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid, names, strict=False):
        field = table.fields[name]
        _draw_effect(axes, measured.effect(table.score, averaged, name, field), field, shown)
        axes.set_xlabel(style.shorten(field.name, 28), fontsize=9)
    figure.supxlabel(f"means over {len(some):,} rows of {table.split}", fontsize=9)
    what = _answer(run, shown)
    for axes in grid[::ACROSS]:
        axes.set_ylabel(what, fontsize=9)
        if axes.get_ylim()[1] >= LARGE:
            axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    if len(shown) > 1:
        lines = [Line2D([], [], color=color, label=name) for _, name, color in shown]
        look: Any = {"frameon": False, "fontsize": 8, "ncols": min(4, len(shown))}
        figure.legend(handles=lines, loc="outside lower center", **look)
    style.set_title(figure, "How the answer changes with each column, all else unchanged")
    return figure


def _answer(run: Run, shown: list[tuple[int, str, Any]]) -> str:
    if not style.is_classifier(run):
        return f"predicted {style.shorten(run.label_names[0], 20)}" if run.label_names else "value"
    return f"probability of {shown[0][1]}" if len(shown) == 1 else "probability"


def _shown_outputs(run: Run, table: Table) -> list[tuple[int, str, Any]]:
    """Returns column, name and colour of the outputs that are drawn."""
    if not style.is_classifier(run):
        return [(0, "value", BLUE)]
    names = [style.shorten(name, 20) for name in run.label_names]
    if len(names) == 2 and style.has_classes(run):
        return [(1, names[1], BLUE)]
    columns = style.known_labels(run) if style.is_multilabel(run) else list(range(len(names)))
    if len(columns) > CLASSES:  # the most frequent ones
        means = table.score(table.rows).mean(axis=0)
        columns = sorted(sorted(columns, key=lambda i: -means[i])[:CLASSES])
    colors = style.class_colors(len(columns))
    return [(i, names[i], color) for i, color in zip(columns, colors, strict=True)]


def _draw_effect(
    axes: Axes, effect: measured.Effect, field: Field, shown: list[tuple[int, str, Any]]
) -> None:
    values, is_category = effect.values, field.kind in ("category", "boolean")
    places: Any = range(len(values))
    if not is_category:
        places = [_time_of(value) for value in values] if field.kind == "date" else values
    single = len(shown) == 1
    if single and not is_category:
        lines = np.linspace(0, effect.scores.shape[1] - 1, LINES).astype(int)
        axes.plot(
            places, effect.scores[:, np.unique(lines), shown[0][0]], color=GREY, alpha=0.25, lw=0.6
        )
    for column, _, color in shown:
        means = effect.scores[:, :, column].mean(axis=1)
        axes.plot(places, means, "o" if is_category else "-", color=color, lw=2, markersize=5)
    if is_category:
        words = [_word(value, field) for value in values]
        axes.set_xticks(range(len(words)), [style.shorten(word, 14) for word in words])
        axes.tick_params(axis="x", rotation=90 if len("".join(words)) > 24 else 0)
        axes.margins(x=0.15)
    elif field.kind == "date":
        ends = [places[0], places[-1]] if len(places) > 1 else places
        axes.set_xticks(ends, [f"{end:%Y-%m-%d}" for end in ends])
    axes.tick_params(labelsize=8)
    axes.grid(color=style.GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _word(value: Any, field: Field) -> str:
    if field.kind == "boolean":
        return "true" if value else "false"
    return bytes(value).decode(errors="replace") or "(missing)"


def _time_of(value: bytes) -> datetime.datetime:
    text = bytes(value).decode()
    return datetime.datetime.fromisoformat(text) if text else datetime.datetime(1970, 1, 1)


def _importances(run: Run, table: Table) -> dict[str, dict]:
    return measured.importances(table.score, table.rows, lambda s: _errors(run, table, s))


def _table_of(run: Run) -> Table | None:
    """Returns the rows of a table or of short vectors; None of other inputs."""
    data = run.data
    if data is None or not (style.is_classifier(run) or "value" in run.predictions):
        return None
    shape = tuple(data.input_shape)
    is_vector = len(shape) == 1 and FEWEST_NUMBERS <= (shape[0] or 0) <= MOST_NUMBERS
    if isinstance(data.input, TableInput):
        fields = fields_of(data.input.columns)
    elif is_vector and not data.vocabulary:
        fields = fields_of_array(shape)
    else:
        return None
    split, name = _held_out(run, data)
    if len(split) < measured.FEWEST_ROWS or not 1 < len(fields) <= measured.MAX_COLUMNS:
        return None
    chosen = split.rows[measured.some_rows(len(split), len(fields))]
    rows: Rows
    if isinstance(data.input, TableInput) and isinstance(split.column, TableColumns):
        given = as_arguments(data.input.columns, split.column.table.take(chosen))
        rows = {
            argument: np.asarray(given[argument], np.float32 if field.is_number else object)
            for argument, field in fields.items()
        }
    else:
        rows = measured.as_rows(split.column.take(chosen), fields)
    return Table(fields, rows, split.labels[chosen], _score_of(run, data, fields), name)


def _held_out(run: Run, data: Data) -> tuple[Split, str]:
    """Returns val, or test if the network was trained on val as well."""
    training = run.record.training
    if data.val is None or (training and training.retrained_epochs):
        return data.test, "test"
    return data.val, "val"


def _score_of(run: Run, data: Data, fields: Mapping[str, Field]) -> Score:
    """Returns the network as a function of raw columns, in the labels' unit."""
    output = "probabilities" if style.is_classifier(run) else "value"

    def answer(inputs: tf.Tensor) -> tf.Tensor:
        return run.model(inputs, training=False)[output]

    if not isinstance(data.input, TableInput):

        def encoded(rows: dict[str, tf.Tensor]) -> tf.Tensor:
            return answer(tf.stack([rows[name] for name in fields], axis=1))
    else:
        encoder, arguments = data.input.encoder, data.input.arguments

        def encoded(rows: dict[str, tf.Tensor]) -> tf.Tensor:
            return answer(encoder.of_arguments([rows[argument] for argument in arguments]))

    specs = {
        name: tf.TensorSpec((None,), tf.float32 if field.is_number else tf.string)
        for name, field in fields.items()
    }
    graph = tf.function(encoded, [specs], autograph=False)

    def score(rows: Rows) -> np.ndarray:
        values = graph({name: tf.constant(some) for name, some in rows.items()}).numpy()
        values = values.reshape(len(values), -1)
        return values if style.is_classifier(run) else np.asarray(data.targets.unscale(values))

    return score


def _errors(run: Run, table: Table, scores: np.ndarray) -> np.ndarray:
    """Returns the error of each row: what the true labels' probability lacks, or a difference."""
    if not style.is_classifier(run):
        return np.abs(scores[:, 0] - table.labels)
    if style.is_multilabel(run):
        known = style.known_labels(run)
        return np.abs(scores - table.labels)[:, known].mean(axis=1)
    return 1 - scores[np.arange(len(scores)), table.labels]
