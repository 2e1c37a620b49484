import dataclasses
from types import SimpleNamespace

import keras
import mixed
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from proving import Golden, load_proof
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kpipe
from kpipe import data, inputs, models
from kpipe.datasets.columns import (
    Column,
    TableRows,
    arguments_of,
    as_rows,
    category_sizes,
    from_lines,
    to_lines,
)
from kpipe.errors import UserError
from kpipe.export import export, write_golden, write_npz
from kpipe.inputs import TableInput
from kpipe.inputs.dates import parse_dates
from kpipe.inputs.encoding import Encoder, Table, fit_encoding
from kpipe.tasks import classification

NUMBER, WORD, DATE = Column("x", "number"), Column("c", "category", size=9), Column("d", "date")


def prepare(dataset, seed=0):
    return data.prepare(dataset, dataset.find(), seed)


@pytest.fixture(scope="module")
def prepared():
    return prepare(mixed.dataset())


# Names of columns and arguments


@pytest.mark.parametrize(
    "names, arguments",
    [
        (["age", "Age", "_id", "größe"], ("age", "Age", "id", "gr_e")),
        (["a b", "a-b", "a_b"], ("a_b", "a_b_2", "a_b_3")),
        (["2024", "€", "", "年齢"], ("column_2024", "column", "column_2", "column_3")),
        (
            ["class", "self", "None", "inputs"],
            ("column_class", "column_self", "column_None", "inputs"),
        ),
    ],
)
def test_arguments_are_names_that_tensorflow_takes(names, arguments):
    assert arguments_of([Column(name, "number") for name in names]) == arguments


def test_columns_are_read_as_they_were_written():
    names = ["a\tb", "a\\tb", "a\nb\r", "Größe, in €", "\\", "\\\\t", "\u2028"]
    columns = tuple(Column(name, "date", format="%d\t%m") for name in names)
    lines = to_lines(columns)
    assert from_lines("".join(f"{line}\n" for line in lines).split("\n")[:-1]) == columns


# From a file's values to arrays


def rows_of(values, kind, where="", **options):
    return as_rows(pd.DataFrame({"x": values}), [Column("x", kind, **options)], where)


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2], [1, 2]),
        (["1", " 2.5 ", "-1e3", "", None, " "], [1, 2.5, -1000, np.nan, np.nan, np.nan]),
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        ([True, False], [1, 0]),
        ([np.float32(0.1), float("nan")], [0.1, np.nan]),
        (pd.Categorical([3, 5]), [3, 5]),
    ],
)
def test_numbers_are_read(values, expected):
    numbers, words = rows_of(values, "number")
    assert numbers.dtype == np.float32 and words == []
    np.testing.assert_array_equal(numbers[:, 0], np.float32(expected))


def test_booleans_are_read_in_any_spelling():
    values = ["True", "yes", "1", "FALSE", "No", "0", None, "", 1.0, False]
    expected = [1, 1, 1, 0, 0, 0, np.nan, np.nan, 1, 0]
    np.testing.assert_array_equal(rows_of(values, "boolean").numbers[:, 0], expected)
    np.testing.assert_array_equal(rows_of([1.0, 0.0], "boolean").numbers[:, 0], [1, 0])


def test_a_category_is_the_same_word_whatever_pandas_made_of_it():
    assert rows_of([1, 2], "category").words == [[b"1", b"2"]]
    assert rows_of([1.0, np.nan], "category").words == [[b"1", b""]]  # a piece with a missing value
    values = ["1", " é\0 ", None, pd.NA, "", 1e20, 0.5, b"x\xff", "\ud800"]
    words = [b"1", "é".encode(), b"", b"", b"", b"1e+20", b"0.5", b"x\xff", b"?"]
    assert rows_of(values, "category").words == [words]


@pytest.mark.parametrize(
    "values, format, expected",
    [
        (
            ["2024-01-31", "2024-01-31T12:30:00", "2024-01-31 00:00:00"],
            "",
            "2024-01-31,2024-01-31T12:30:00,2024-01-31",
        ),
        (
            ["2024-01-31T01:30:00+02:00", "2024-01-31T12:30:00.9Z"],
            "",
            "2024-01-30T23:30:00,2024-01-31T12:30:00",
        ),
        (["31/01/2024", None, "2024-01-31"], "%d/%m/%Y", "2024-01-31,,2024-01-31"),
        ([20240131, 20240201.0, None], "%Y%m%d", "2024-01-31,2024-02-01,"),
        (pd.to_datetime(["2024-01-31", None]), "%d/%m/%Y", "2024-01-31,"),
        (["", " "], "", ","),
        ([None, None], "", ","),
    ],
)
def test_dates_become_iso(values, format, expected):
    assert b",".join(rows_of(values, "date", format=format).words[0]).decode() == expected


@pytest.mark.parametrize(
    "values, kind, message",
    [
        (["1", "?", "x"], "number", r"1, column 'x': '\?' \(2 such values\); expected a numb"),
        ([1.0, -np.inf], "number", r"1, column 'x': -inf; expected a finite number below"),
        (["1e39"], "number", r"0, column 'x': '1e39'; expected a finite number"),
        ([1 + 2j], "number", r"0, column 'x': \(1\+2j\); expected a number"),
        (pd.to_datetime(["2024-01-31"]), "number", "0, column 'x': .*; expected a number"),
        ([0.0, 2.0], "boolean", r"1, column 'x': 2.0; expected true, yes, 1, false, no or 0"),
        (["maybe"], "boolean", r"0, column 'x': 'maybe'; expected true, yes"),
        ([None, "31/01/2024"], "date", r"1, column 'x': '31/01/2024'; expected a date such as"),
        (["2023-02-29"], "date", r"0, column 'x': '2023-02-29'; expected a date"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(values, kind, message):
    with pytest.raises(UserError, match=f"^mine.csv:{message}") as caught:
        rows_of(values, kind, "mine.csv")
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_with_the_nearest():
    table = pd.DataFrame([[1] * 12], columns=[f"col{i}" for i in range(11)] + ["agee"])
    with pytest.raises(
        UserError, match=r"^rows: no column 'age'; did you mean 'agee'\? known:.*\.\.\.$"
    ):
        as_rows(table, [Column("age", "number")])
    twice = pd.DataFrame([[1, 2]], columns=["age", "age"])
    with pytest.raises(UserError, match=r"^a.csv: 2 columns 'age'; expected one"):
        as_rows(twice, [Column("age", "number")], "a.csv")


# Encoding


def fitted(columns, numbers=(), words=(), rows=None):
    count = len(numbers[0] if len(numbers) else words[0])
    table = Table(
        np.array(numbers, np.float32).reshape(-1, count).T,
        tuple(np.array(some, "S32") for some in words),
    )
    rows = np.arange(count) if rows is None else rows
    encoder = Encoder(columns, fit_encoding(columns, table, rows))
    return encoder(tf.constant(table.numbers), list(map(tf.constant, table.words))).numpy()


def test_numbers_are_standardized_as_scikit_learn_does():
    values = np.random.default_rng(0).lognormal(3, 2, (200, 3)).astype("float32") + 1000
    values[::7, 1] = values[::3, 2] = np.nan
    rows = np.arange(150)
    columns = [Column(name, "number") for name in "abc"]
    reference = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    expected = reference.fit(values[rows].astype(float)).transform(values).clip(-10, 10)
    np.testing.assert_allclose(fitted(columns, values.T, rows=rows), expected, atol=1e-4)


@pytest.mark.parametrize(
    "train, value, expected",
    [
        ([5, 5, 5], 5, 0),
        ([5, 5, 5], 7, 2),  # constant in train: not divided by 0
        ([0.1, 0.1, 0.1], 0.1, 0),
        ([np.nan, np.nan], np.nan, 0),
        ([np.nan, np.nan], 3, 3),
        ([0, 1, 2], 1e30, 10),
        ([0, 1, 2], -np.inf, -10),
        ([-3e38, 3e38], 3e38, 1),
        ([1e-30, 3e-30], 3e-30, 1),  # whose variance is 0 in float32
        ([1e30, 3e30], 3e30, 1),  # infinite
        ([0, 0, 1e-42], 1, 1),  # float32 takes the deviation for 0
    ],
)
def test_any_range_of_numbers_is_encoded(train, value, expected):
    values = fitted([NUMBER], [[*train, value]], rows=np.arange(len(train)))
    assert values[-1, 0] == pytest.approx(expected, abs=1e-5) and np.isfinite(values).all()


def test_a_missing_number_is_the_median_and_is_marked():
    column = dataclasses.replace(NUMBER, missing=True)
    values = fitted([column], [[1, 2, 9, np.nan]])
    assert values[3, 0] == values[1, 0] and values[:, 1].tolist() == [0, 0, 0, 1]


def test_ids_of_categories_are_ordered_by_their_frequency_in_train():
    train = (
        [b"b"] * 2 + [b"a"] * 2 + ["Köln".encode()] * 3 + [b"once", b"", b"", b"[UNK]", b"[UNK]"]
    )
    others = [b"new", b"a ", b"\xff", b"once"]
    ids = fitted([WORD], words=[[*train, *others]], rows=np.arange(len(train)))[:, 0]
    assert ids.tolist() == [4, 4, 3, 3, 2, 2, 2, 1, 0, 0, 1, 1, 1, 1, 1, 1]


def test_a_category_of_which_no_value_is_frequent_has_unknown_values_only():
    assert fitted([WORD], words=[[b"a", b"b", b""]])[:, 0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("size, limit", [(2, 9), (9, 2)])
def test_no_id_is_beyond_the_embedding(size, limit, monkeypatch):
    monkeypatch.setattr("kpipe.datasets.columns.MAX_CATEGORIES", limit)
    column = dataclasses.replace(WORD, size=size)
    words = [b"c"] * 4 + [b"b"] * 3 + [b"a"] * 2
    assert fitted([column], words=[words])[[0, 4, 7], 0].tolist() == [2, 3, 1]
    assert category_sizes([column]) == (4,)


def test_dates_are_parsed_as_numpy_does():
    days = np.arange("1890-01-01", "2110-01-01", 3, dtype="datetime64[D]")
    days = np.concatenate([days, np.array(["0001-01-01", "2000-02-29", "9999-12-31"], "M8[D]")])
    moments = days + np.timedelta64(86_399, "s")
    for texts in (days, moments):
        seconds, known = parse_dates(tf.constant(np.datetime_as_string(texts).astype("S19")))
        assert known.numpy().all()
        assert np.array_equal(seconds, texts.astype("M8[s]").astype("int64"))
    seconds, _ = parse_dates(tf.constant(["2024-02-29T12:30:01"]), time=False)
    assert seconds.numpy()[0] == np.datetime64("2024-02-29", "s").astype("int64")


@pytest.mark.parametrize(
    "text",
    ",2023-02-29,1900-02-29,2024-04-31,2024-13-01,2024-00-10,2024-01-00,2024-99-99,0000-01-01,"
    "2024-01-01T24:00:00,2024-01-01T00:60:00,2024-01-01T00:00:60,2024-01-01 10:00:00,24-01-01,x, "
    "2024-01-01 ,2024-01-01T10:00".split(","),
)  # fmt: skip
def test_what_is_no_date_is_missing(text):
    seconds, known = parse_dates(tf.constant([text]))
    assert not known.numpy()[0] and seconds.numpy()[0] == 0


def test_a_date_is_its_distance_and_the_time_of_year_week_and_day():
    column = dataclasses.replace(DATE, time=True, missing=True)
    texts = [b"2024-01-01T06:00:00", b"2024-07-01T18:00:00", b"2023-12-31T00:00:00", b"", b"x"]
    values = fitted([column], words=[texts])
    assert values.shape == (5, 8)
    # 2024-01-01 was a Monday; 182 of 366 days.
    angles = 2 * np.pi * np.array([[0.25 / 366, 0.25 / 7, 0.25], [182.75 / 366, 0.75 / 7, 0.75]])
    np.testing.assert_allclose(values[:2, [1, 3, 5]], np.sin(angles), atol=1e-5)
    np.testing.assert_allclose(values[:2, [2, 4, 6]], np.cos(angles), atol=1e-5)
    assert values[2, 1:7] == pytest.approx([np.sin(-2 * np.pi / 365), np.cos(2 * np.pi / 365),
        np.sin(-2 * np.pi / 7), np.cos(2 * np.pi / 7), 0, 1], abs=1e-5)  # fmt: skip
    assert (values[3:, 1:7] == 0).all() and values[:, 7].tolist() == [0, 0, 0, 1, 1]
    days = np.array([0, 182.5, -1.25, 0, 0])  # from the median, which missing ones have
    np.testing.assert_allclose(values[:, 0], (days - days.mean()) / days.std(), atol=1e-5)


# Preparation


def test_rows_are_encoded_in_the_order_of_the_columns(prepared):
    table, fit = mixed.frame(40, seed=1), prepared.input.fit
    values = prepared.test.inputs
    assert values.dtype == np.float32 and values.shape[1:] == prepared.input_shape == (20,)
    age = table["age"].fillna(fit.medians[0])
    np.testing.assert_allclose(values[:, 0], (age - fit.means[0]) / fit.deviations[0], atol=1e-5)
    assert np.array_equal(values[:, 1], table["age"].isna())
    income = (table["income (€)"] - fit.means[1]) / fit.deviations[1]
    np.testing.assert_allclose(values[:, 2], income.clip(-10, 10), atol=1e-5)
    assert np.array_equal(values[:, 4], table["smoker?"].isna())
    assert np.array_equal(values[:, 10], table["seen"].isna())
    ids = {"": 0, **{word: i for i, word in enumerate(fit.vocabularies[0], start=2)}}
    assert values[:, 18].tolist() == [ids[word] for word in table["city, home"].fillna("")]
    assert set(fit.vocabularies[0]) == set(mixed.CITIES)
    sizes = category_sizes(mixed.COLUMNS)
    assert (values[:, 18:].max(axis=0) < sizes).all() and sizes == (6, 4)


def test_the_encoding_is_fitted_to_train_alone(prepared):
    train = mixed.frame(120).iloc[prepared.train.rows]
    assert prepared.input.fit.medians[0] == train["age"].median()
    other = prepare(mixed.dataset(), seed=1)
    assert other.input.fit != prepared.input.fit
    assert np.array_equal(other.train.column.numbers, prepared.train.column.numbers, equal_nan=True)


def test_nothing_is_encoded_again(prepared, monkeypatch):
    monkeypatch.delattr(inputs.tables, "write_encoded")
    again = prepare(mixed.dataset())
    assert again.input == prepared.input and again.fingerprint == prepared.fingerprint
    assert isinstance(again.train.inputs, np.memmap)
    assert np.array_equal(again.test.inputs, prepared.test.inputs)


def test_columns_are_part_of_the_fingerprint(prepared):
    other = (*mixed.COLUMNS[:3], dataclasses.replace(mixed.COLUMNS[3], missing=False))
    assert prepare(mixed.dataset(columns=other)).fingerprint != prepared.fingerprint


@pytest.mark.parametrize("kind", ["number", "category", "date"])
def test_a_table_may_have_columns_of_one_kind(kind):
    columns = [column for column in mixed.COLUMNS if column.kind == kind]
    assert np.isfinite(prepare(mixed.dataset(columns=columns)).train.inputs).all()


def changed(**changes):
    dataset = mixed.dataset()
    return dataclasses.replace(dataset, fixed=dataclasses.replace(dataset.fixed, **changes))


@pytest.mark.parametrize(
    "change, message",
    [
        ("infinite", r"my rows: train row 52, column 'income \(€\)': infinite, or beyond float32"),
        ("longer", r"column 'city, home' has values longer than the 12 bytes found before"),
        ("fewer", r"my rows: train contains 100 of 120 examples"),
        ("more", r"my rows: train contains 150 of 120 examples"),
    ],
)
def test_rows_that_cannot_be_written_are_refused(change, message):
    original = mixed.dataset().fixed.pieces

    def pieces(split):
        for i, (rows, labels) in enumerate(original(split)):
            numbers, words = rows.numbers.copy(), [list(some) for some in rows.words]
            if change == "infinite" and i == 1:
                numbers[1, 1] = np.inf
            if change == "longer" and i == 1:
                words[0][0] = b"x" * 13
            if change != "fewer" or i < 2:
                yield TableRows(numbers, words), labels
        if change == "more":
            labels = np.resize(labels, 30)
            numbers = np.resize(numbers, (30, 3))
            words = [[some[0]] * 30 for some in words]
            yield TableRows(numbers, words), labels

    with pytest.raises(UserError, match=message):
        dataset = changed(pieces=pieces, identity=change)
        prepare(dataset)


def test_copies_are_counted_and_val_goes_back_into_train(prepared):
    train, test = mixed.frame(60), mixed.frame(40, seed=1)
    test = pd.concat([test, train.iloc[[3, 5, 7]]])
    own_val = prepare(
        mixed.dataset(
            tables={"train": train, "val": mixed.frame(20, 2), "test": test}, val_fraction=0
        )
    )
    assert data.count_shared(own_val.train, own_val.test) == 3
    both = own_val.with_val_in_train().train
    assert len(both) == 80 and len(both.column) == 80
    assert np.array_equal(both.inputs[60:], own_val.val.inputs)
    first = np.array([0])
    assert both.column.digests(first + 60) == own_val.val.column.digests(first)
    cut = prepared.with_val_in_train().train
    assert len(cut) == 120 and cut.column is prepared.train.column


# Export


def network(prepared, units=(8,)):
    keras.utils.set_random_seed(0)
    return models.tabular(
        prepared.input_shape, 2, category_sizes=category_sizes(mixed.COLUMNS), units=units
    )


@pytest.fixture(scope="module")
def exported(prepared, tmp_path_factory):
    """Folder of an untrained model's export with its golden cases, the model and the data."""
    folder = tmp_path_factory.mktemp("exported")
    model = network(prepared)
    arrays = classification.measure(model, prepared, 0)
    arrays |= classification.baselines(model, prepared)
    write_npz(folder / "predictions.npz", **arrays)
    export(folder, classification.endpoints(model, prepared, arrays))
    write_golden(folder, *classification.golden(model, prepared, arrays))
    return folder, model


def proven(folder, prepared, monkeypatch):
    return load_proof(monkeypatch).main(folder, *prepared.test.column.files)


def test_the_export_takes_raw_columns_by_name(exported, prepared, monkeypatch):
    folder, _ = exported
    result = proven(folder, prepared, monkeypatch)
    assert result["passed"] and result["max_difference"] < 1e-5
    assert result["batches"] == [1, 7, 64] and result["test_examples"] == 40
    assert result["compared"] == ["64 rows with missing, unknown, extreme or malformed values"]
    signature = tf.saved_model.load(str(folder / "serving" / "1")).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    assert {name: (tuple(spec.shape), spec.dtype.name) for name, spec in specs.items()} == {
        "age": ((None,), "float32"),
        "city_home": ((None,), "string"),
        "income": ((None,), "float32"),
        "smoker": ((None,), "float32"),
        "seen": ((None,), "string"),
        "city_home_2": ((None,), "string"),
        "last": ((None,), "string"),
    }
    assert Golden(folder).cases[-1]["given"]["city_home_2"] == "test/3"
    odd = Golden(folder).cases[1]["given"]
    first = {name: Golden(folder).arrays[key][0] for name, key in odd.items() if name == "age"}
    assert np.isnan(first["age"])


def renamed(columns, i, j):
    """Columns of which two have each other's name."""
    names = [column.name for column in columns]
    names[i], names[j] = names[j], names[i]
    pairs = zip(columns, names, strict=True)
    return tuple(dataclasses.replace(column, name=name) for column, name in pairs)


def moved(values, i):
    return (*values[:i], values[i] * 1.01 + 1e-3, *values[i + 1 :])


FAULTS = {
    "median": lambda fit, columns: ({"medians": moved(fit.medians, 0)}, columns),
    "mean": lambda fit, columns: ({"means": moved(fit.means, 2)}, columns),
    "deviation": lambda fit, columns: ({"deviations": moved(fit.deviations, 1)}, columns),
    "median date": lambda fit, columns: ({"medians": moved(fit.medians, 4)}, columns),
    "vocabulary": lambda fit, columns: (
        {"vocabularies": (fit.vocabularies[0][::-1], *fit.vocabularies[1:])},
        columns,
    ),
    "numbers": lambda fit, columns: ({}, renamed(columns, 0, 2)),
    "dates": lambda fit, columns: ({}, renamed(columns, 4, 6)),
    "words": lambda fit, columns: ({}, renamed(columns, 1, 4)),
    "test split": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_proof_catches(fault, exported, prepared, monkeypatch, tmp_path):
    """Without writing each faulty graph: the proof is given its function."""
    folder, model = exported
    for name in ("golden.npz", "predictions.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    faulty = prepared.input
    if fault == "test split":
        golden = Golden(tmp_path)
        given = golden.cases[-1]["given"]
        given["age"], given["income"] = given["income"], given["age"]
        golden.save()
    else:
        changes, columns = FAULTS[fault](faulty.fit, faulty.columns)
        faulty = TableInput(columns, dataclasses.replace(faulty.fit, **changes))
    splits = {n: dataclasses.replace(s, input=faulty) for n, s in prepared.splits.items()}
    endpoints = classification.endpoints(model, dataclasses.replace(prepared, splits=splits), {})
    serve, _ = endpoints.signatures["serving_default"]
    loaded = SimpleNamespace(signatures={"serving_default": lambda **given: serve(given)})
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: loaded)
    result = proven(tmp_path, prepared, monkeypatch)
    assert not result["passed"] and result["max_difference"] > 1e-4


def test_no_operation_of_the_graph_reads_files(exported):
    content = (exported[0] / "serving" / "1" / "saved_model.pb").read_bytes()
    for operation in (b"ReadFile", b"PyFunc", b"FromTextFile"):
        assert operation not in content


def test_a_report_counts_the_columns_of_each_kind(prepared):
    train = prepared.train
    about = prepared.input.describe(train.column, train.rows)
    assert about["columns"] == {"number": 2, "boolean": 1, "category": 2, "date": 2}
    ((_, value),) = prepared.input.facts(about)
    assert value.endswith("2 categories, 2 dates, encoded as 20 values")


@pytest.mark.slow  # beyond the run of test_own_data.py: columns of all kinds, averaged weights
def test_a_table_goes_the_whole_way(tmp_path, verified_here):
    path = tmp_path / "people.py"
    path.write_text('''"""People."""
import keras, mixed
from kpipe import Trainer, losses, models
task = "classification"
plots = ()
def load_data(hp):
    return mixed.dataset(piece=33)
def build_model(hp):
    data = load_data(hp)
    model = models.tabular(data.input_shape, 2, category_sizes=data.category_sizes, units=(8,))
    model.compile(keras.optimizers.Adam(0.01, use_ema=True), **losses.for_task(task))
    return model
def build_trainer(hp):
    return Trainer(batch_size=32, epochs=1, patience=0)
''')
    run = kpipe.run(path, out=tmp_path / "out")
    assert run.record.status == "finished" and run.record.proof.passed
    assert run.record.data.about["columns"] == {"number": 2, "boolean": 1, "category": 2, "date": 2}
    assert "2 categories, 2 dates, encoded as 20 values" in (run.folder / "report.html").read_text()


# Networks


def test_a_tabular_network_embeds_its_categories():
    model = models.tabular((5,), 1, category_sizes=(10, 2000), units=(4,), task="regression")
    assert [layer.output.shape[-1] for layer in model.layers if "category" in layer.name] == [6, 50]
    rows = np.float32([[0.5, 1, 2, 9, 1999], [0.5, 1, 2, 9.0001, 1998.9999]])
    same = model.predict(rows, verbose=0)["value"]
    assert same.shape == (2, 1) and same[0] == same[1]  # ids are rounded


@pytest.mark.parametrize("sizes, width", [((), 3), ((4, 5), 2)])
def test_a_tabular_network_needs_no_numbers_or_no_categories(sizes, width):
    model = models.tabular((width,), 3, category_sizes=sizes, units=())
    values = model.predict(np.ones((2, width), "float32"), verbose=0)["probabilities"]
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)


def test_a_mixed_precision_network_answers_in_float32(prepared):
    """Its operations, which are no layers, are copied too."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network(prepared)
    finally:
        keras.config.set_dtype_policy("float32")
    exact = classification.inference(model, prepared)
    assert {layer.compute_dtype for layer in exact.layers} == {"float32"}
    rows = prepared.test.inputs[:4]
    expected = model(rows)["probabilities"]
    np.testing.assert_allclose(exact(rows)["probabilities"], expected, atol=1e-2)


def test_more_categories_than_inputs_are_refused():
    with pytest.raises(ValueError, match="2 category_sizes for 1 inputs"):
        models.tabular((1,), 2, category_sizes=(3, 4))
