"""A user's tables and texts: what columns are used as, tasks, splits, copies, leaks and errors."""

import numpy as np
import pandas as pd
import pytest

from kpipe import data, datasets
from kpipe.datasets import splits
from kpipe.datasets.own import division, examining, leaks, profile, reading
from kpipe.datasets.own.roles import Options
from kpipe.errors import UserError


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(reading, "PIECE_ROWS", 7)


def houses(count=60):
    """Rows whose columns are of every kind."""
    random = np.random.default_rng(0)
    n = np.arange(count)
    return pd.DataFrame(
        {
            "id": n + 1,
            "area": random.normal(100, 20, count).round(1),
            "town": random.choice(["Aston", "Bray"], count),
            "built": pd.date_range("2001-01-31", periods=count, freq="31D").strftime("%Y-%m-%d"),
            "garden": random.choice(["yes", "no"], count),
            "owner": n // 3,
            "country": "IE",
            "note": [f"a house of {i} rooms" for i in n],
            "price": random.normal(3e5, 5e4, count).round(2),
            "sold": random.choice(["late", "soon"], count),
        }
    )


def pieces(source, split):
    got = list(source.pieces(split))
    assert all(isinstance(labels, np.ndarray) for _, labels in got)
    return [part for part, _ in got], np.concatenate([labels for _, labels in got])


def uses(dataset):
    return {column.name: column.use for column in dataset.find().look.columns}


def test_each_column_is_used_as_what_it_is(small_pieces):
    dataset = datasets.table(houses(), target="price", group="owner", drop="sold")
    assert uses(dataset) == {
        "id": "left out: identifier",
        "area": "number",
        "town": "category",
        "built": "date",
        "garden": "boolean",
        "owner": "group",
        "country": "left out: constant",
        "note": "left out: text",
        "price": "target",
        "sold": "left out: drop",
    }
    assert [column.name for column in dataset.columns] == ["area", "town", "built", "garden"]
    assert (dataset.task, dataset.targets, dataset.label_names) == (
        *("regression", "scaled labels", ("price",)),
    )
    source = dataset.find()
    assert (
        source.kind == "own" and source.look.reason == "price has 60 different values, all numbers"
    )
    assert source.look.notes == (
        "Left out, identifier: id.",
        "Left out, constant: country.",
        "Left out, text: note.",
    )


@pytest.mark.parametrize("as_file", [False, True])
def test_pieces_are_the_rows_of_the_split_in_order(as_file, tmp_path, small_pieces):
    table = houses()
    table.to_csv(tmp_path / "houses.csv", index=False)
    dataset = datasets.table(
        tmp_path / "houses.csv" if as_file else table, target="price", drop="sold,built"
    )
    source = dataset.find()
    assert dataset.name == ("houses" if as_file else "table")
    assert source.examples == {"train": 48, "test": 12}
    seen = []
    for split, count in source.examples.items():
        parts, labels = pieces(source, split)
        assert len(parts) > 1 and len(labels) == count and labels.dtype == np.float32
        rows = [table.index[table["price"].astype("float32") == label][0] for label in labels]
        assert rows == sorted(rows)
        areas = np.concatenate([part.numbers[:, 0] for part in parts])
        towns = [word for part in parts for word in part.words[0]]
        np.testing.assert_array_equal(areas, table["area"][rows].to_numpy("float32"))
        assert towns == [town.encode() for town in table["town"][rows]]
        seen += rows
    assert sorted(seen) == list(range(60))
    assert source.groups is None and source.times is None


RUN_200 = np.arange(200)
TARGETS = {
    "grade": np.arange(60) % 5 + 1,
    "mark": (np.arange(60) % 3) / 2,
    "word": np.where(np.arange(60) % 2, "yes", "no"),
    "weight": np.arange(60) / 7,
    "sunny": np.arange(60) % 2,
    "windy": np.arange(60) % 3 == 0,
    "code": [f"{n % 3:02}" for n in range(60)],
}


@pytest.mark.parametrize(
    ("options", "task", "names", "first"),
    [
        ({"target": "grade"}, "classification", ("1", "2", "3", "4", "5"), 0),
        ({"target": "grade", "task": "regression"}, "regression", ("grade",), 1.0),
        ({"target": "mark"}, "classification", ("0", "0.5", "1"), 0),
        ({"target": "word"}, "classification", ("no", "yes"), 0),
        ({"target": "weight"}, "regression", ("weight",), 0.0),
        ({"target": "sunny"}, "classification", ("0", "1"), 0),
        ({"target": "code"}, "classification", ("00", "01", "02"), 0),
        ({"target": "sunny,windy"}, "multilabel", ("sunny", "windy"), [0, 1]),
        ({"target": ["windy", "word"]}, "multilabel", ("windy", "word"), [1, 0]),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_the_task_follows_from_the_target(options, task, names, first, as_file, tmp_path):
    table = pd.DataFrame({"x": np.arange(60) ** 2 / 9, **TARGETS, "split": ["train", "test"] * 30})
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    others = [name for name in TARGETS if name not in options["target"]]
    dataset = datasets.table(path if as_file else table, split="split", drop=others, **options)
    assert (dataset.task, dataset.label_names) == (task, names)
    _, labels = pieces(dataset.find(), "train")
    assert labels[0].tolist() == first
    assert labels.dtype == {"classification": "int32", "regression": "float32"}.get(task, "int8")
    look = dataset.find().look
    assert bool(look.classes) == (task != "regression") == (not look.values)
    if look.values:  # exact, not those of a sample
        (of_target,) = (column for column in look.columns if column.use == "target")
        assert f"median {look.values[2]:,.6g}" in of_target.summary


def test_few_numbers_in_few_rows_are_no_classes():
    table = pd.DataFrame({"x": np.arange(30) / 7, "y": np.arange(30) % 15})
    assert datasets.table(table, target="y").task == "regression"


def test_booleans_may_be_written_as_numbers(tmp_path):
    table = pd.DataFrame(
        {
            "some": [None if n % 5 == 0 else n % 2 for n in range(60)],  # 0.0 and 1.0
            "one": np.arange(60) % 2 / 1.0,
            "two": np.where(np.arange(60) % 3, "Yes", "FALSE"),
        }
    )
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    dataset = datasets.table(path, target="one,two")
    assert [(c.kind, c.missing) for c in dataset.columns] == [("boolean", True)]
    parts, labels = pieces(dataset.find(), "train")
    numbers = np.concatenate([part.numbers for part in parts])[:, 0]
    np.testing.assert_array_equal(numbers[~np.isnan(numbers)], labels[~np.isnan(numbers), 0])


def test_a_name_may_contain_a_comma(tmp_path):
    table = houses().rename(columns={"price": "price, EUR", "sold": "sold, late\nor soon"})
    dataset = datasets.table(table, target="price, EUR", drop="sold, late\nor soon")
    assert (
        dataset.label_names == ("price, EUR",)
        and uses(dataset)["sold, late\nor soon"][-4:] == "drop"
    )
    with pytest.raises(UserError) as error:
        datasets.table(table, target="prize")
    assert "\n" not in str(error.value)


def test_numbers_of_one_class_may_be_written_in_several_ways(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "x,y\n" + "".join(f"{n / 3},{y}\n" for n, y in enumerate(["1", "1.0", "2"] * 9))
    )
    found = datasets.table(path, target="y")
    assert found.label_names == ("1", "2")
    counts = found.find().look.classes
    assert {name: sum(count.values()) for name, count in counts.items()} == {"1": 18, "2": 9}


# --- splits ----------------------------------------------------------------------------------


def test_a_random_division_is_stratified_and_does_not_depend_on_the_run():
    table = houses(200).assign(sold=["late"] * 150 + ["soon"] * 50)
    first, again, other = (
        datasets.table(table, target="sold", split_seed=seed).find() for seed in (0, 0, 1)
    )
    assert first.look.classes == {
        "late": {"train": 120, "test": 30},
        "soon": {"train": 40, "test": 10},
    }
    assert first.identity == again.identity != other.identity
    assert pieces(first, "test")[0][0].words[0] != pieces(other, "test")[0][0].words[0]
    assert first.look.divided == "at random, stratified by class"


def test_groups_copies_and_chains_of_both_stay_on_one_side(small_pieces):
    table = houses(60).drop(columns=["id", "note"])
    # Row 59 equals row 0, and row 1 is in the group of row 0: all of both owners belong together.
    table.iloc[59] = table.iloc[0]
    table.loc[59, "owner"] = 19
    source = datasets.table(table, target="price", group="owner").find()
    ids = {split: source.groups(split) for split in source.examples}
    assert (
        not set(ids["train"]) & set(ids["test"]) and len(set(ids["train"]) | set(ids["test"])) == 19
    )
    assert len(ids["train"]) == source.examples["train"]
    assert source.look.divided == "at random, each owner on one side"
    assert (source.look.copies.exact, source.look.copies.conflicting) == (1, 0)
    assert source.look.copies.examples == (("row 60", "row 1"),)


def test_rows_are_joined_by_chains():
    groups = division.joined(np.array([1, 1, 2, 3, 4]), np.array([7, 8, 8, 9, 9]))
    assert groups[0] == groups[1] == groups[2] != groups[3] == groups[4]
    assert division.joined(np.array([5, 3, 5])).tolist() == [1, 0, 1]


def test_the_latest_rows_are_test():
    table = houses(60).sample(frac=1, random_state=0)
    source = datasets.table(table, target="price", time="built").find()
    assert source.examples == {"train": 48, "test": 12}
    assert source.look.divided == "by built: the latest rows are test"
    assert source.times("train").max() < source.times("test").min()
    numbers = datasets.table(table.assign(year=np.arange(60)), target="price", time="year").find()
    assert sorted(numbers.times("test")) == list(range(48, 60))


@pytest.mark.parametrize("spelling", ["val", "VALID", "Validation"])
def test_a_column_can_divide_the_rows_itself(spelling):
    table = houses(60).assign(part=["Train"] * 30 + [spelling] * 20 + ["TEST"] * 10)
    dataset = datasets.table(table, target="price", split="part")
    assert dataset.find().examples == {"train": 30, "val": 20, "test": 10}
    assert dataset.val_fraction == 0 and dataset.find().look.divided == "by the column part"
    only = table[table["part"] != spelling]
    assert datasets.table(only, target="price", split="part").val_fraction == 0.15


def test_copies_across_given_splits_are_warned_of_and_stay():
    table = houses(60).drop(columns="id").assign(part=["train"] * 30 + ["test"] * 30)
    table.loc[40] = table.loc[3]
    table.loc[40, ["part", "sold"]] = ["test", "late" if table.loc[3, "sold"] == "soon" else "soon"]
    look = datasets.table(table, target="sold", split="part").find().look
    assert look.examples == {"train": 30, "test": 30}
    assert (look.copies.exact, look.copies.conflicting) == (1, 1)
    assert any(warning.startswith("1 rows are also in another split") for warning in look.warnings)


def test_groups_across_given_splits_are_warned_of():
    table = houses(60).assign(part=["train", "test"] * 30)
    (warning,) = (
        datasets.table(table, target="price", split="part", group="owner").find().look.warnings
    )
    assert warning.startswith("Values of owner are in several splits, 20 times")
    table["part"] = np.where(table["owner"] < 15, "train", "test")
    assert (
        not datasets.table(table, target="price", split="part", group="owner").find().look.warnings
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_belongs_together_is_in_one_of_train_val_and_test(task):
    for seed in range(5):
        random = np.random.default_rng(seed)
        table = pd.DataFrame({"a": random.integers(0, 40, 200), "b": random.choice([*"uvw"], 200)})
        table["owner"] = [None if n < 20 else f"o{n}" for n in random.integers(0, 120, 200)]
        table["y"] = random.choice([*"pqr"], 200) if task == "classification" else RUN_200 / 7
        options = Options(target=("y",), group="owner", split_seed=seed)
        found = examining.examine(table, options)
        rest = np.flatnonzero(found.codes == 0)
        _, val = splits.divide(found.labels[rest], 0.15, seed, found.groups[rest])
        sides = found.codes.copy()
        sides[rest[val]] = 1
        assert set(sides) == {0, 1, 2}
        for key in (["a", "b"], ["owner"]):
            assert (table.assign(side=sides).groupby(key)["side"].nunique() == 1).all()


def test_a_class_of_one_group_or_of_no_test_rows_is_said_so():
    table = houses(60).assign(sold=["late"] * 40 + ["soon"] * 20, owner=np.arange(60) // 4)
    table.loc[[0, 4, 8], "sold"] = "rare"  # the most frequent class of no owner
    table.loc[20:23, "sold"] = "lone"
    with pytest.raises(UserError, match=r"fewer than 3 .*'lone' \(1\)"):
        datasets.table(table, target="sold", group="owner")
    table.loc[[24, 28], "sold"] = "lone"
    look = datasets.table(table, target="sold", group="owner").find().look
    assert sum(look.classes["lone"].values()) == 6
    time = datasets.table(table, target="sold", time="id").find().look
    assert "No example of late, lone, rare is in test." in time.warnings


# --- suspicious columns ------------------------------------------------------------------------


def test_a_column_that_gives_the_target_away_is_warned_of():
    table = houses(60)
    table["euros"] = table["price"] * 0.9 + 3
    table["status"] = table["sold"].map({"late": "B", "soon": "A"})
    table.loc[5, "status"] = None
    regression = datasets.table(table, target="price").find().look
    (warning,) = regression.warnings
    assert "Column euros gives the target away" in warning and "drop=euros" in warning
    classes = datasets.table(table, target="sold").find().look
    assert ["status" in warning for warning in classes.warnings] == [True]
    assert not datasets.table(table, target="sold", drop="status").find().look.warnings


def test_unique_values_and_copies_do_not_give_the_target_away():
    determined = leaks.Determined()
    values = np.arange(40, dtype=np.uint64)
    determined.add(values, values % 2, values)  # each value once
    determined.add(values, values % 2, values)  # the same rows again
    assert not determined.found
    determined.add(values, values % 2, values + 1)
    assert determined.found
    determined.add(values[:1], values[:1] + 1, values[:1])
    assert not determined.found
    constant = leaks.Determined()
    for rows in (values, values + 1):
        constant.add(values, values * 0, rows)
    assert not constant.found


def test_a_correlation_is_exact_for_large_numbers():
    random = np.random.default_rng(0)
    values = 1e9 + random.normal(size=100)
    for noise, expected in ((0, True), (0.1, False)):
        found = leaks.Correlation()
        for part in np.split(values, 4):
            found.add(part, -3 * part + noise * random.normal(size=25))
        assert found.found is expected


def test_small_and_unbalanced_classes_are_warned_of():
    table = houses(200).assign(sold=["late"] * 185 + ["soon"] * 15)
    small, unbalanced = datasets.table(table, target="sold").find().look.warnings
    assert small.startswith("Fewer than 20 examples of soon (15)")
    assert "185 of late, 15 of soon" in unbalanced


def test_numbers_among_categories_and_ambiguous_dates_are_warned_of():
    table = houses(60).assign(
        size=["S", "M"] * 20 + ["40", "42"] * 10, day=["01/02/2024", "03/04/2023"] * 30
    )
    size, day = datasets.table(table, target="price").find().look.warnings
    assert "Column size contains numbers and text, such as 'S' in row 1" in size
    assert "day are read as %m/%d/%Y" in day


# --- texts -------------------------------------------------------------------------------------


def reviews(count=60):
    words = np.random.default_rng(0).choice(["good", "bad", "film", "plot", "long"], (count, 6))
    return pd.DataFrame(
        {"id": range(count), "body": map(" ".join, words), "stars": np.arange(count) % 3}
    )


def test_the_only_column_of_texts_is_the_input(tmp_path, small_pieces):
    path = tmp_path / "reviews.csv"
    reviews().to_csv(path, index=False)
    dataset = datasets.text_table(path, target="stars", vocabulary_size=10, max_length=4)
    assert (dataset.name, dataset.input_shape, dataset.task) == ("reviews", (), "classification")
    assert uses(dataset) == {"id": "left out: not the text", "body": "text", "stars": "target"}
    look = dataset.find().look
    assert look.what == "texts" and look.sizes == {"words per text": (6, 6, 6, 6, 6)}
    assert "over 4 words" in look.warnings[-1]
    prepared = data.prepare(dataset, dataset.find(), seed=0)
    assert prepared.kind == "own" and prepared.look == look
    texts = [prepared.test.column.texts[row].decode() for row in range(12)]
    where = [reviews()["body"].tolist().index(text) for text in texts]
    assert where == sorted(where)
    assert prepared.test.labels.tolist() == [row % 3 for row in where]
    assert prepared.examples == {"train": 40, "val": 8, "test": 12}


def test_texts_of_several_columns_are_a_choice():
    table = reviews().assign(title=lambda t: t["body"].str[::-1] + " x y")
    with pytest.raises(
        UserError, match="several columns of texts; choose one with text=: body, titl"
    ):
        datasets.text_table(table, target="stars")
    assert uses(datasets.text_table(table, target="stars", text="title"))["title"] == "text"
    with pytest.raises(UserError, match="no column of texts; choose one with text=: id"):
        datasets.text_table(table, target="stars", text="", group="title", time="body")


def test_what_a_path_is_decides_the_pipeline(tmp_path):
    reviews().to_csv(tmp_path / "reviews.csv", index=False)
    houses().to_csv(tmp_path / "houses.csv", index=False)
    assert datasets.kind_of(tmp_path) == "image_folder"
    assert datasets.kind_of(tmp_path / "reviews.csv", {"target": "stars"}) == "text_table"
    assert datasets.kind_of(str(tmp_path / "houses.csv"), {"target": "price"}) == "table"
    assert datasets.kind_of(houses(), {"target": "price", "text": "note"}) == "text_table"
    few = "area,town,built,sold,garden"
    assert datasets.kind_of(houses(), {"target": "price", "drop": few}) == "text_table"
    with pytest.raises(
        UserError, match=r"house\.csv: no such file or folder; did you mean 'houses"
    ):
        datasets.kind_of(tmp_path / "house.csv")
    with pytest.raises(UserError, match="expected a file that ends with"):
        (tmp_path / "a.pdf").touch()
        datasets.kind_of(tmp_path / "a.pdf")


# --- errors -------------------------------------------------------------------------------------


def with_cell(row, column, value):
    table = houses(60)
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (houses, {"target": "prize"}, "target=prize: no such column; did you mean 'price'"),
        (houses, {"target": ""}, "which column is the target.*known: id, area"),
        (houses, {"target": "price", "group": "ownr"}, "group=ownr: no such column; did you mean"),
        (houses, {"target": "price", "drop": "x"}, "drop=x: no such column"),
        (houses, {"target": "price", "time": "price"}, "'price' is both target and time"),
        (houses, {"target": "price", "time": "town"}, "time=town: neither numbers nor dates"),
        (houses, {"target": "price", "task": "regresion"}, "task=regresion: did you mean 'regress"),
        (houses, {"target": "town", "task": "regression"}, "in row 1 is no number"),
        (houses, {"target": "country"}, "target=country has only one value, 'IE'"),
        (houses, {"target": "price,sold"}, "are labels of 0 and 1, .*but not price, sold"),
        (
            houses,
            {"target": "price", "split": "town"},
            r"60 rows cannot be used: rows .*: town is 'bray', not train",
        ),
        (houses, {"target": "price", "test_fraction": 1}, "test_fraction=1: expected a share"),
        (
            lambda: houses(20),
            {"target": "note"},
            r"fewer than 3 examples.*'a house of 0 rooms' \(1",
        ),
        (
            lambda: houses()[["id", "country", "price"]],
            {"target": "price"},
            r"no column is left as an input: id \(left out: identifier\)",
        ),
        (
            lambda: with_cell(7, "area", "unknown"),
            {"target": "price"},
            "column 'area' contains numbers, but 'unknown' in row 8; .* skip_bad, .* drop=area",
        ),
        (
            lambda: houses().assign(area=[np.inf, *TARGETS["weight"][1:]]),
            {"target": "price"},
            "column 'area' contains numbers, but 'inf' in row 1;",
        ),
        (
            lambda: houses().assign(area=[np.inf, 2] * 30),
            {"target": "price"},
            "column 'area' contains numbers, but 'inf' in row 1;",
        ),
        (
            lambda: houses(8).assign(sold=[*"pqpqpqqp"]),
            {"target": "sold", "test_fraction": 0.1},
            "^the DataFrame: 8 examples cannot be divided",
        ),
        (
            lambda: with_cell(7, "built", "in May"),
            {"target": "price"},
            "column 'built' contains dates, but 'in May' in row 8",
        ),
        (
            lambda: with_cell([2, 4], "price", None),
            {"target": "price"},
            "2 rows cannot be used: rows 3, 5: price is missing; .*skip_bad=2$",
        ),
        (
            lambda: with_cell(3, "price", "much"),
            {"target": "price"},
            "1 row cannot be used: row 4: price is no finite number",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(make, options, message):
    with pytest.raises(UserError, match=message) as error:
        datasets.table(make(), **options)
    assert "\n" not in str(error.value)


def test_names_of_classes_have_one_line():
    table = houses().replace({"sold": {"late": "very\nlate"}})
    dataset = datasets.table(table, target="sold")
    assert dataset.label_names == ("soon", "very late")
    assert set(pieces(dataset.find(), "test")[1]) == {0, 1}


def test_an_identifier_of_several_rows_is_a_warning_unless_it_is_the_group():
    table = houses().rename(columns={"owner": "patient-nr"})
    warned = datasets.table(table, target="price").find().look.warnings
    assert any("group=patient-nr keeps the rows of one on one side" in one for one in warned)
    grouped = datasets.table(table, target="price", group="patient-nr").find().look.warnings
    assert not any("patient-nr" in one for one in grouped)
    assert not datasets.table(houses(), target="price").find().look.warnings


def test_a_test_split_that_becomes_small_is_a_warning():
    table = houses(60).assign(owner=[0] * 54 + [1, 2, 0, 0, 0, 0], day=range(60))
    look = datasets.table(table, target="price", group="owner", time="day").find().look
    assert "are test, not 20 %" in look.warnings[0]


def test_unusable_rows_are_left_out_if_that_is_asked_for(tmp_path, small_pieces):
    table = with_cell([2, 41], "price", None)
    path = tmp_path / "houses.csv"
    table.to_csv(path, index=False)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:10], "1,2\n", *lines[10:]]))
    with pytest.raises(
        UserError, match=r"3 rows .*row 11: 2 cells; expected 10 .*rows 4, 44: price is missing"
    ):
        datasets.table(path, target="price", skip_bad=2)
    source = datasets.table(path, target="price", skip_bad=3).find()
    assert source.examples == {"train": 46, "test": 12}
    assert {name for name, _ in source.look.unreadable} == {f"houses.csv:{n}" for n in (4, 11, 44)}
    assert sum(len(pieces(source, split)[1]) for split in source.examples) == 58


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("area", "unknown", "area is no finite number"),
        ("area", "inf", "area is no finite number"),
        ("area", "1e60", "area is no finite number"),
        ("built", "in May", "built is no date"),
    ],
)
def test_rows_with_words_among_numbers_or_dates_are_left_out_too(column, value, reason):
    source = datasets.table(with_cell(7, column, value), target="price", skip_bad=1).find()
    assert source.look.unreadable == (("row 8", reason),)
    assert sum(len(pieces(source, split)[1]) for split in source.examples) == 59
    table = with_cell([7, 8], column, value)
    with pytest.raises(
        UserError, match=f"2 rows cannot be used: rows 8, 9: {reason}; .*skip_bad=2"
    ):
        datasets.table(table, target="price", skip_bad=1)


def test_all_unreadable_rows_count(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{n / 7},{n % 2}\n" for n in range(60)]
    path.write_text("".join(["x,y\n", *["1\n"] * 1500, *rows]))
    with pytest.raises(UserError, match=r"1,500 rows cannot be used.*skip_bad=1500"):
        datasets.table(path, target="y", skip_bad=1000)
    assert len(datasets.table(path, target="y", skip_bad=1500).find().look.unreadable) == 1500


def test_one_class_of_copies_alone_is_too_small():
    table = houses(60).drop(columns="id").assign(sold=["late"] * 56 + ["soon"] * 4)
    for row in (57, 58, 59):
        table.loc[row] = table.loc[56]
    with pytest.raises(UserError, match=r"fewer than 3 .*'soon' \(1\)"):
        datasets.table(table, target="sold")


def test_what_was_examined_is_found_again_and_follows_the_content(tmp_path, monkeypatch):
    path = tmp_path / "houses.csv"
    houses().to_csv(path, index=False)
    first = datasets.table(path, target="price").find()
    for module in (examining, profile):
        module._known.clear()
    with monkeypatch.context() as patch:
        patch.setattr(profile, "_measure", None)
        patch.setattr(examining, "_examine", None)
        again = datasets.table(path, target="price").find()
    assert again.look == first.look and again.identity == first.identity
    houses(50).to_csv(path, index=False)
    assert datasets.table(path, target="price").find().identity != first.identity
    assert sum(first.examples.values()) == 60
    for changed in (houses(70), houses().iloc[::-1]):
        changed.to_csv(path, index=False)
        with pytest.raises(UserError, match="has changed while it was read"):
            list(first.pieces("train"))
    houses().to_csv(path, index=False)
    assert list(first.pieces("train"))  # the same content


def test_a_changed_frame_is_refused():
    table = houses()
    source = datasets.table(table, target="price").find()
    table["area"] += 1
    with pytest.raises(UserError, match="the DataFrame: has changed"):
        list(source.pieces("train"))
