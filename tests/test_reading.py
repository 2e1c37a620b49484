"""Tables in files and in memory: dialects, types, mistakes, and profiles of columns."""

import bz2
import gzip
import lzma
import os
import sys

import numpy as np
import pandas as pd
import pytest

from kpipe.datasets.columns import as_rows
from kpipe.datasets.own import dialect, profile, reading
from kpipe.errors import UserError


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path, **options):
    return pd.concat(reading.frames(path, **options))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(reading, "PIECE_ROWS", 2)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", "a,b\n1.5,x y\n,NA\n", {"encoding": "utf-8", "separator": ","}),
        ("a.csv", "a;b\n1,5;x y\n;NA\n", {"separator": ";", "decimal": ","}),
        ("a.csv", "a;b\n1.5;x y\n;NA\n", {"separator": ";", "decimal": "."}),
        ("a.tsv", "a\tb\n1.5\tx y\n\tNA\n", {"separator": "\t"}),
        ("a.csv", "a\tb\n1.5\tx y\n\tNA\n", {"separator": "\t"}),
        ("a.csv", "a|b\n1.5|x y\n|NA\n", {"separator": "|"}),
        ("a.csv", 'a,b\n"1.5","x y"\n"",?\n', {"separator": ","}),
        ("a.csv", "a, b\r\n1.5, x y \r\n\r\n, null\r\n\r\n", {"separator": ","}),
        ("a.csv", "\ufeffa,b\n1.5,x y\n,None\n", {"encoding": "utf-8-sig"}),
        ("a.csv", "a,b\n1.5,x y\n,-\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("a.csv.gz", gzip.compress(b"a,b\n1.5,x y\n,NaN\n", mtime=0), {"separator": ","}),
        ("a.csv.bz2", bz2.compress(b"a,b\n1.5,x y\n,nan\n"), {"separator": ","}),
        ("a.csv.xz", lzma.compress(b"a,b\n1.5,x y\n,N/A\n"), {"separator": ","}),
        ("a.jsonl", '{"a": 1.5, "b": "x y"}\n\n{"b": "NA"}\n', {"separator": ""}),
        ("a.ndjson", '{"a": 1.5, "b": "x y"}\n{"a": null}\n', {"separator": ""}),
        ("a.json", '[{"a": 1.5, "b": "x y"}, {"b": "NA"}]', {"separator": ""}),
        ("a.json", '{"a": 1.5, "b": "x y"}\n{"a": null}\n', {"separator": ""}),
    ],
)
def test_every_file_of_the_same_cells_is_the_same_table(name, content, found, tmp_path):
    path = write(tmp_path, name, content)
    table = read(path)
    assert table["a"].tolist() == ["1.5", None] and table["b"].tolist() == ["x y", None]
    assert found.items() <= vars(dialect.find_dialect(path)).items()


def test_a_file_that_is_not_utf_8_is_read_and_said_so(tmp_path):
    path = write(tmp_path, "a.csv", "name;size\nKöln;1,5\n".encode("cp1252"))
    assert read(path)["name"].tolist() == ["Köln"]
    assert dialect.find_dialect(path).notes == (
        "Read with separator semicolon, encoding cp1252 (a guess: it is not UTF-8), decimal comma.",
    )
    late = "a,b\n" + "x,y\n" * 400_000 + "é,\x81\n"  # not in the first bytes
    assert (
        dialect.find_dialect(write(tmp_path, "b.csv", late.encode("latin-1"))).encoding == "latin-1"
    )


def test_points_of_thousands_are_no_decimals(tmp_path):
    path = write(tmp_path, "a.csv", "n;m\n1.200;1,5\n-1.234.567;1.000,5\n12;1.5\n")
    table = read(path)
    assert table["n"].tolist() == ["1200", "-1234567", "12"]
    assert table["m"].tolist() == ["1.5", "1000.5", "1.5"]


def test_halves_of_characters_are_read(tmp_path):
    path = write(tmp_path, "a.jsonl", r'{"a": "x\ud83d"}')
    assert read(path)["a"].tolist() == ["x?"]
    assert profile.profile(path).rows == 1


def test_cells_may_contain_quotes_separators_and_lines(tmp_path):
    path = write(tmp_path, "a.csv", 'a,b\n"x, ""y""\nz",1\n,2\n5" pipe,3\n')
    table = read(path)
    assert table["a"].tolist() == ['x, "y"\nz', None, '5" pipe']
    assert table.index.tolist() == [2, 4, 5]  # lines of the file
    escaped = write(tmp_path, "b.csv", 'a,b\n"x \\"y\\", z",1\n')
    assert read(escaped)["a"].tolist() == ['x "y", z']


def test_types_do_not_depend_on_the_piece(tmp_path, small_pieces):
    path = write(tmp_path, "a.csv", "a,b\n1,01\n2,02\nx,3\n4,\n")
    pieces = list(reading.frames(path, columns=["b", "a"]))
    assert [len(piece) for piece in pieces] == [2, 2]
    assert pd.concat(pieces)["a"].tolist() == ["1", "2", "x", "4"]
    assert pd.concat(pieces)["b"].tolist() == ["01", "02", "3", None]
    assert list(pieces[0].columns) == ["b", "a"]
    later = write(tmp_path, "a.jsonl", '{"a":1}\n{"a":2}\n{"a":2.5,"b":true}\n')
    assert [list(piece.columns) for piece in reading.frames(later)] == [["a"], ["a", "b"]]
    assert read(later, columns=["b"])["b"].tolist() == [None, None, "True"]


def frame():
    return pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "gaps": pd.array([1, None, 3], "Int64"),
            "real": [1.5, None, 2.0],
            "text": ["x", None, " NA "],
            "yes": [True, False, True],
            "day": pd.to_datetime(["2024-01-31", None, "2024-02-01"]),
            "moment": pd.to_datetime(["2024-01-31 12:30", None, "2024-02-01 00:00"], utc=True),
            "kind": pd.Categorical(["u", "v", None]),
        }
    )


@pytest.mark.parametrize("parquet", [False, True])
def test_typed_columns_are_numbers_or_text(parquet, tmp_path, small_pieces):
    given = frame()
    if parquet:
        given = tmp_path / "a.parquet"
        frame().to_parquet(given)
    pieces = list(reading.frames(given))
    assert [len(piece) for piece in pieces] == [2, 1]
    table = pd.concat(pieces)
    assert table.index.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(table["gaps"].to_numpy(float), [1, np.nan, 3])
    np.testing.assert_array_equal(table["real"].to_numpy(float), [1.5, np.nan, 2])
    assert table["text"].tolist() == ["x", None, None]
    assert table["yes"].tolist() == ["True", "False", "True"]
    assert table["day"].tolist() == ["2024-01-31", None, "2024-02-01"]
    assert table["moment"].tolist()[0] == "2024-01-31T12:30:00"
    assert table["kind"].tolist() == ["u", "v", None]


def test_an_index_in_a_parquet_file_is_a_column(tmp_path):
    frame().set_index("yes").to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")["yes"].tolist() == ["True", "False", "True"]


def test_dates_may_be_far(small_pieces):
    days = ["9999-12-31", "1000-01-01"]
    table = pd.DataFrame({"day": np.array(days, "datetime64[s]")})
    assert read(table)["day"].tolist() == days


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'a\.parquet: .* pip install "kpipe\[parquet\]"$'):
        read(write(tmp_path, "a.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv: is empty"),
        ("a.csv", " \n\n", "a.csv: is empty"),
        ("a.csv", "a,b\n", "a.csv: no rows below"),
        ("a.csv", "1,2.5\n3,4\n", "a.csv:1: the first line contains only numbers; .* write a line"),
        ("a.csv", "a,b,a\n1,2,3\n", "a.csv:1: several columns are named 'a'; rename"),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "a.csv:3: 3 cells; expected 2 .* comma needs quotes"),
        ("a.csv", "a,b\n1,2\n3\n", "a.csv:3: 1 cells; expected 2"),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', "a.csv:3: a quote that is opened in this row is never"),
        ("a.csv", 'a,b\n1,2\n"x" y,4\n', "a.csv:3: text after the quote that ends a cell"),
        ("a.csv", b"a,b\n1,2\n3,\0\n", "a.csv:3: contains NUL bytes"),
        ("a.csv", b"PK\x03\x04\0\0", r"a.csv:1: contains NUL bytes.*\(it is a zip or Excel file"),
        (
            "a.csv.gz",
            gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:30],
            "a.csv.gz: cannot be read .*complete",
        ),
        ("a.csv.gz", b"a,b\n", "a.csv.gz: cannot be read"),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl:2: list; expected an object"),
        ("a.json", '[{"a": 1}, 2]', "a.json:2: int; expected an object"),
        ("a.json", '[{"a": 1},', "a.json: not JSON"),
        ("a.xlsx", "PK", "a.xlsx: expected a file that ends with .csv.*save the sheet as CSV"),
        ("a.zip", "PK", "a.zip: expected a file that ends with .csv.*; unpack it first"),
        ("a", "a,b\n", "a: expected a file that ends with .csv"),
    ],
)
def test_a_damaged_table_is_one_line_with_its_place(name, content, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        read(write(tmp_path, name, content))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"a\.csv: neither a file nor a folder"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("decimal", "cells", "numbers"),
    [
        (".", ["950", "1,234.50", "12,345,678"], ["950", "1234.50", "12345678"]),
        (".", ["5 %", "12.5%", "?"], ["5", "12.5", None]),
        (".", ["$1,234.50", "-$3", "€ 4"], ["1234.50", "-3", "4"]),
        (",", ["1.234,50 €", "-2,5 €"], ["1234.50", "-2.5"]),
        (".", ["5 %", "about 5 %"], ["5", "about 5 %"]),
        (".", ["0,123", "1,23"], ["0,123", "1,23"]),
        (".", ["a", "5 %"], ["a", "5 %"]),
    ],
)
def test_numbers_as_people_write_them_are_numbers(decimal, cells, numbers, tmp_path):
    sep = ";" if decimal == "," else ","
    path = write(tmp_path, "a.csv", "".join(f'x{sep}"{cell}"\n' for cell in ["b", *cells]))
    assert read(path)["b"].tolist() == numbers


def test_the_line_of_excel_that_names_the_separator_is_no_row(tmp_path):
    path = write(tmp_path, "a.csv", "sep=;\r\na;b\r\n1;2\r\n")
    table = read(path)
    assert table.to_dict("list") == {"a": ["1"], "b": ["2"]} and table.index.tolist() == [3]


def test_rows_that_are_all_shorter_than_the_first_line_are_no_missing_rows(tmp_path):
    path = write(tmp_path, "a.csv", "a,b,c (1 = low, 2 = high)\n1,2,3\n4,5,6\n")
    with pytest.raises(UserError, match=r"a\.csv:2: 3 cells; expected 4 .*no row is as long"):
        read(path, unreadable=[])


def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.csv: no such file"):
        read(tmp_path / "no.csv")
    path = write(tmp_path, "a.csv", "price,size\n1,2\n")
    with pytest.raises(UserError, match="no column 'prize'; did you mean 'price'"):
        read(path, columns=["prize"])
    with pytest.raises(UserError, match="several columns are named '1'"):
        read(pd.DataFrame([[1, 2]], columns=[1, "1"]))
    with pytest.raises(UserError, match="the DataFrame has no rows"):
        read(pd.DataFrame({"a": []}))


def test_rows_that_cannot_be_read_are_listed_if_asked_for(tmp_path):
    path = write(tmp_path, "a.csv", "a,b\n1\n2,3\n4,5,6\n7,8,,\n")
    bad = []
    assert read(path, unreadable=bad)["a"].tolist() == ["2", "7"]
    assert [line for line, _ in bad] == [2, 4]


def test_a_file_with_the_size_and_time_of_another_is_read(tmp_path):
    first, second = write(tmp_path, "a.csv", "a\n1\n"), write(tmp_path, "b.csv", "a\n2\n")
    before = reading.content_hash(first)
    os.utime(second, ns=(first.stat().st_mtime_ns,) * 2)
    os.replace(second, first)
    assert reading.content_hash(first) != before


def test_the_identity_is_that_of_the_content(tmp_path):
    first, second = frame(), frame()
    assert reading.content_hash(first) == reading.content_hash(second)
    second.loc[2, "text"] = "z"
    assert reading.content_hash(first) != reading.content_hash(second)
    assert reading.content_hash(first) != reading.content_hash(first.rename(columns={"real": "r"}))


# --- profiles ------------------------------------------------------------------------------------


def kinds(table):
    return {name: column.kind for name, column in profile.profile(table).columns.items()}


N = 40
DAYS = pd.date_range("2024-01-01", periods=N, freq="D")
RUN = np.arange(N)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RUN % 5 + 1, "number"),  # grades: few, but in an order
        (RUN * 7 + 3, "number"),  # whole and all different, as areas are
        (RUN / 7, "number"),
        (RUN % 2, "boolean"),
        (np.where(RUN % 2, "Yes", "no"), "boolean"),
        (RUN % 2 == 0, "boolean"),
        ([f"{n % 4:03}" for n in RUN], "category"),  # codes
        (np.where(RUN % 3, "cat", "dog"), "category"),
        ([None if n % 2 else "x" for n in RUN], "category"),  # missing or not
        ([*map(str, range(N // 2)), *["u", "v"] * (N // 4)], "category"),
        (DAYS.strftime("%Y-%m-%d"), "date"),
        (DAYS.strftime("%d %b %Y"), "date"),
        (DAYS, "date"),
        ([f"it was told in {n} ways" for n in RUN], "text"),
        ([f"今日も雨が{n}" for n in RUN], "text"),  # without spaces
        (RUN + 1, ""),  # running numbers
        (-RUN, ""),
        ((RUN * 7) % N + 1, "number"),  # ranks
        ([f"2024-{n % 12 + 1}-{n % 28 + 1}" for n in RUN], "date"),
        ([f"{n:05}" for n in RUN * 3], ""),
        ([f"user{n}@x.org" for n in RUN], ""),
        ([f"A-{n}" for n in RUN], ""),
        ([f"{n:08x}-0000-4000-8000-000000000000" for n in RUN], ""),
        (["x"] * N, ""),
        ([7] * N, ""),
        ([None] * (N - 1) + ["x"], ""),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_the_kind_of_a_column_is_that_of_its_values(values, kind, as_file, tmp_path):
    table = pd.DataFrame({"value": values, "other": RUN})
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    assert kinds(path if as_file else table)["value"][0] == kind


def test_the_name_of_a_column_of_whole_numbers_can_make_it_a_code():
    codes = 10_115 + RUN % 7
    table = pd.DataFrame(
        {
            **{"zip": codes, "size": codes, "user_id": RUN * 7, "userId": RUN * 7, "Year": RUN},
            **{"area": RUN * 7, "grid": RUN * 7},
        }
    )
    found = {name: kind for name, (kind, _) in kinds(table).items()}
    numbers = dict.fromkeys(("size", "Year", "area", "grid"), "number")
    assert found == {"zip": "category", "user_id": "", "userId": "", **numbers}
    assert kinds(table)["user_id"] == ("", "identifier")


@pytest.mark.parametrize(
    ("written", "format", "ambiguous", "time"),
    [
        ("%Y-%m-%d", "", False, False),
        ("%Y-%m-%dT%H:%M:%S", "", False, True),
        ("%Y-%m-%d %H:%M", "", False, True),
        ("%d.%m.%Y", "%d.%m.%Y", False, False),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M", False, True),
        ("%d/%m/%Y", "%d/%m/%Y", False, False),
        ("%m/%d/%Y", "%m/%d/%Y", False, False),
        ("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M %p", False, True),
        ("%d-%b-%Y", "%d-%b-%Y", False, False),
    ],
)
def test_day_and_month_are_told_apart_by_all_dates(written, format, ambiguous, time, small_pieces):
    # A day above 12 comes late, in another piece.
    moments = pd.to_datetime(["2024-02-01 06:30", "2024-03-02 07:00", "2024-04-30 08:00"])
    table = pd.DataFrame({"day": moments.strftime(written), "n": [1, 2, 2]})
    found = profile.profile(table).columns["day"]
    assert (found.kind[0], found.format, found.ambiguous, found.time) == (
        *("date", format, ambiguous, time),
    )
    (words,) = as_rows(pd.concat(reading.frames(table)), [found.column]).words
    assert words[2] == (b"2024-04-30T08:00:00" if time else b"2024-04-30")


def test_dates_of_small_days_are_ambiguous_and_month_first():
    table = pd.DataFrame({"day": ["01/02/2024", "03/04/2024", "03/04/2024"], "n": [1, 2, 3]})
    found = profile.profile(table).columns["day"]
    assert (found.format, found.ambiguous) == ("%m/%d/%Y", True)
    assert found.dates == ("2024-01-02", "2024-03-04")


def test_a_profile_counts_and_is_found_again(tmp_path, small_pieces, monkeypatch):
    path = write(tmp_path, "a.csv", "n,t\n4,x\n1,y\n,x\n3,\n2,x\n")
    found = profile.profile(path)
    number, text = found.columns["n"], found.columns["t"]
    assert (number.rows, number.missing, number.different) == (5, 1, 4)
    assert number.quartiles == (1, 1.75, 2.5, 3.25, 4)
    assert number.summary == "1 to 4, median 2.5"
    assert text.values == {"x": 3, "y": 1} and text.summary == "x (3), y (1)"
    profile._known.clear()
    monkeypatch.setattr(profile, "_measure", None)
    assert profile.profile(path) == found


def test_more_different_values_than_are_counted_are_estimated(monkeypatch, small_pieces):
    from kpipe.datasets.own import measuring

    for module in (measuring, profile):
        monkeypatch.setattr(module, "MAX_DIFFERENT", 200)
    monkeypatch.setattr(reading, "PIECE_ROWS", 500)
    table = pd.DataFrame({"all": [f"k{n}" for n in range(2000)], "some": np.arange(2000) % 900})
    found = profile.profile(table).columns
    assert 1700 <= found["all"].different <= 2000 and 750 <= found["some"].different <= 1050
    assert found["all"].kind == ("", "identifier") and found["some"].kind[0] == "number"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_column_that_no_object_has_is_refused_before_any_row(tmp_path, name):
    rows = ['{"a": 1}', '{"a": 2}', '{"a": 3, "b": 4}']
    text = f"[{', '.join(rows)}]" if name == "a.json" else "\n".join(["{", *rows])
    path, refused = write(tmp_path, name, text), []
    with pytest.raises(UserError, match="no column 'c'"):
        next(reading.frames(path, columns=["a", "c"], unreadable=refused))
    assert not refused
    (frame,) = reading.frames(path, columns=["a", "b"], unreadable=refused)
    assert [*frame["b"]] == [None, None, "4"]
    assert [line for line, _ in refused] == [1] * (name == "a.jsonl")
