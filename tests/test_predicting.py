"""Predictions of any number of inputs: found, streamed, answered in order, and what is left out."""

import csv
import errno
import io
import json
import os
import resource
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import cli, inputs
from kpipe.datasets.columns import Column
from kpipe.errors import UserError, WriteError
from kpipe.export import loading
from kpipe.inputs import user_files
from kpipe.predicting import finding, predict, streaming, writing


@pytest.fixture
def photos(tmp_path, digits):
    """A folder of 12 images, two folders deep, with other files."""
    folder = tmp_path / "photos"
    for i, image in enumerate(digits.test.inputs[:12]):
        path = folder / ("b/c" if i % 3 == 1 else "a" if i % 3 else "") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    (folder / "notes.md").write_text("x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden/13.png").write_bytes(b"x")
    return folder


@pytest.fixture(scope="module")
def model(finished_run):
    return kpipe.load(finished_run.folder)


@pytest.fixture
def loaded_once(model, monkeypatch):
    from kpipe import predicting

    monkeypatch.setattr(predicting, "load", lambda folder, **_: model)


@pytest.fixture
def run(finished_run, loaded_once):
    return str(finished_run.folder)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def images_in(folder):
    found = [folder / "00.png", *sorted(folder.glob("0[3-9].png"))]
    return [*found, *sorted(folder.glob("a/*.png")), *sorted(folder.glob("b/c/*.png"))]


def test_a_folder_stands_for_its_images_in_the_order_of_names(run, photos, tmp_path, capsys, model):
    answers = tmp_path / "answers.csv"
    assert cli.main(["predict", run, str(photos), "--csv", str(answers)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"12 answers written to {answers}\n"
    assert shown.err == f"{photos}: other files are left out: 1 of .md\n"
    rows = rows_of(answers)
    assert [row["file"] for row in rows] == [str(path) for path in images_in(photos)]
    expected = model.predict_files(images_in(photos))["label"]
    assert [row["label"] for row in rows] == expected.tolist()


def test_a_pattern_and_a_table_of_files_stand_for_images(run, photos, tmp_path, capsys):
    assert cli.main(["predict", run, f"{photos}/**/0*.png", "--json"]) == 0
    names = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    assert names == sorted(str(path) for path in photos.rglob("0*.png"))
    table = photos / "list.csv"
    table.write_text("id,file\n1,00.png\n2,a/02.png\n")
    assert cli.main(["predict", run, str(table), "--json"]) == 0
    names = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    assert names == [str(photos / "00.png"), str(photos / "a/02.png")]
    table.write_text("id,name\n1,00.png\n")
    assert cli.main(["predict", run, str(table)]) == 2
    assert "no column lists images; expected one of file, path" in capsys.readouterr().err


@pytest.fixture
def standard_input(monkeypatch):
    def give(content):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return give


def test_standard_input_lists_images(run, photos, capsys, standard_input):
    paths = images_in(photos)[:3]
    standard_input("\n".join(map(str, paths)).encode() + b"\n\n")
    assert cli.main(["predict", run, "-", "--csv", "-"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in found] == [str(path) for path in paths]


@pytest.mark.parametrize(
    "argument, said",
    [("*.gone", "no file has such a name"), ("none", "no such file"), ("-", "no lines")],
)
def test_nothing_to_predict_is_said(run, argument, said, capsys, standard_input):
    standard_input(b"")
    assert cli.main(["predict", run, argument]) == 2
    assert said in capsys.readouterr().err


def test_a_bad_file_ends_it_and_what_was_answered_is_kept(
    run, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(user_files, "IMAGES", 4)
    answers = tmp_path / "answers.csv"
    (photos / "a/01.png").write_bytes(b"no image")
    assert cli.main(["predict", run, str(photos), "--csv", str(answers)]) == 2
    said = capsys.readouterr().err
    assert f"{photos / 'a/01.png'}: cannot be read as an image" in said
    assert f"4 answers before it are in {answers}.partial" in said
    assert len(rows_of(f"{answers}.partial")) == 4 and not answers.exists()
    assert not list(tmp_path.glob(".*part-*"))


def test_bad_files_are_left_out_and_listed_with_their_reasons(run, photos, tmp_path, capsys):
    answers, good = tmp_path / "answers.csv", images_in(photos)
    (photos / "a/01.png").write_bytes(b"no image")
    (photos / "05.gif").write_bytes(b"")
    (photos / "b/link.jpg").symlink_to("nowhere")
    command = ["predict", run, str(photos), "--csv", str(answers), "--skip-bad"]
    assert cli.main([*command, "3"]) == 0
    assert f"3 inputs left out, listed in {tmp_path / 'bad_files.csv'}" in capsys.readouterr().err
    assert [row["file"] for row in rows_of(answers)] == [str(path) for path in good]
    bad = {
        os.path.basename(row["file"]): row["reason"] for row in rows_of(tmp_path / "bad_files.csv")
    }
    assert set(bad) == {"01.png", "05.gif", "link.jpg"}
    assert bad["link.jpg"] == "No such file or directory"
    assert bad["01.png"].startswith("cannot be read as an image")
    assert cli.main([*command, "2"]) == 2
    assert "more than 2 inputs cannot be used, listed in" in capsys.readouterr().err


def test_a_file_without_bad_inputs_leaves_an_empty_list(run, photos, tmp_path):
    answers = tmp_path / "answers.csv"
    (tmp_path / "bad_files.csv").write_text("of an earlier run\n")
    assert cli.main(["predict", run, str(photos), "--csv", str(answers), "--skip-bad", "1"]) == 0
    assert (tmp_path / "bad_files.csv").read_text() == "file,row,reason\n"


class Halves:
    """A model that doubles numbers, and refuses negative ones."""

    def __init__(self):
        self.threads, self.sizes = set(), []

    def predict_examples(self, examples):
        self.threads.add(threading.get_ident())
        self.sizes.append(len(examples.values))
        if bad := [i for i, value in enumerate(examples.values) if value < 0]:
            raise UserError(f"{examples.names[bad[0]]}: negative")
        return {"value": 2 * np.array(examples.values)}


def piece(numbers, first=0):
    def read(items, places):
        return inputs.Examples("file", [f"n:{row}" for _, row in places], items, places)

    return inputs.Piece(list(numbers), [("n", first + i) for i in range(len(numbers))], read)


def test_pieces_are_answered_in_order_by_several_threads():
    model, given = Halves(), [np.arange(i, i + 5) for i in range(0, 500, 5)]
    found = list(streaming.answer_in_order(model, iter(map(piece, given)), False))
    np.testing.assert_array_equal(
        np.concatenate([some.outputs["value"] for some in found]), 2 * np.arange(500)
    )


def test_only_a_few_pieces_are_in_memory():
    taken = []

    def some():
        for i in range(100):
            taken.append(i)
            yield piece([i])

    answers = streaming.answer_in_order(Halves(), some(), False)
    next(answers)
    assert len(taken) <= streaming.THREADS + 2
    answers.close()


@pytest.mark.parametrize("bad", [[], [0], [3], [7], [1, 2, 6], list(range(8))])
def test_bad_inputs_are_found_by_halving_and_the_others_are_answered(bad):
    numbers = [-1 if i in bad else i for i in range(8)]
    found = streaming.answer_piece(Halves(), piece(numbers, first=1), True)
    answered = [v for some in found if some.examples for v in some.outputs["value"]]
    assert answered == [2 * i for i in range(8) if i not in bad]
    assert [b.row for some in found for b in some.bad] == [i + 1 for i in bad]


def test_what_stands_before_an_unreadable_file_is_answered_first():
    def some():
        yield piece([1, 2])
        yield piece([3])
        raise UserError("cut off")

    answers = streaming.answer_in_order(Halves(), some(), False)
    assert [next(answers).outputs["value"].tolist() for _ in range(2)] == [[2, 4], [6]]
    with pytest.raises(UserError, match="cut off"):
        next(answers)


# Rows and lines


def spec(*shape, dtype=tf.float32, name="features"):
    return tf.TensorSpec((None, *shape), dtype, name=name)


def read_all(paths, spec, **options):
    found = list(inputs.pieces(paths, spec, **options))
    return [b for some in found for b in some.bad], [some.examples() for some in found if len(some)]


def test_lines_of_a_text_file_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "ROWS", 3)
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\nfour\nfive")
    _, found = read_all([path], spec(dtype=tf.string))
    assert [part.names for part in found] == [["one", "two", ""], ["four", "five"]]
    assert found[1].places == [(str(path), 4), (str(path), 5)]


@pytest.mark.parametrize("ending", ["csv", "npy", "jsonl"])
def test_rows_of_numbers_are_read_in_pieces(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "ROWS", 2)
    values, path = np.arange(10).reshape(5, 2), tmp_path / f"rows.{ending}"
    if ending == "npy":
        np.save(path, values)
    elif ending == "csv":
        path.write_text("x,y\n" + "\n".join(f"{x},{y}" for x, y in values))
    else:
        path.write_text("\n".join(json.dumps({"x": int(x), "y": int(y)}) for x, y in values))
    _, found = read_all([path], spec(2))
    assert [len(part.values) for part in found] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([part.values for part in found]), values)
    assert found[2].names == [f"{path}:5"]


def test_a_bad_row_of_numbers_is_named_and_can_be_left_out(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,2\n3,oops\n5\n7,8\n9,1e99\n")
    (some,) = inputs.pieces([path], spec(2), keep_bad=True)
    with pytest.raises(UserError, match=r"rows.csv: row 2: '3,oops'; expected numbers"):
        some.examples()
    model = SimpleNamespace(predict_examples=lambda examples: {"value": examples.values[:, 0]})
    found = streaming.answer_piece(model, some, True)
    assert [v for part in found if part.examples for v in part.outputs["value"]] == [1, 7]
    reasons = [b.reason for part in found for b in part.bad]
    assert [b.row for part in found for b in part.bad] == [2, 3, 5]
    assert "1 numbers; expected 2" in reasons[1] and "finite" in reasons[2]


def test_a_line_that_is_not_utf8_can_be_left_out(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"good\n\xff\nfine\n")
    (some,) = inputs.pieces([path], spec(dtype=tf.string), keep_bad=True)
    model = SimpleNamespace(predict_examples=lambda examples: {"value": examples.names})
    found = streaming.answer_piece(model, some, True)
    assert [v for part in found if part.examples for v in part.outputs["value"]] == ["good", "fine"]
    assert [tuple(b)[:2] for part in found for b in part.bad] == [(str(path), 2)]


def test_a_file_that_cannot_be_read_at_all_is_one_bad_input(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1,2,3\n")
    (tmp_path / "b.npy").write_bytes(b"no array")
    np.save(tmp_path / "c.npy", np.ones((1, 2)))
    paths = [tmp_path / name for name in ("b.npy", "c.npy", "d.npy")]
    bad, found = read_all(paths, spec(2), keep_bad=True)
    assert [(os.path.basename(b.file), b.row) for b in bad] == [("b.npy", 0), ("d.npy", 0)]
    assert len(found) == 1


def test_a_table_from_standard_input_is_named_as_such(tmp_path, standard_input):
    standard_input(b"1,2\n3,x\n")
    with finding.find_inputs(["-"], spec(2)) as found:
        (some,) = inputs.pieces(found.paths, spec(2))
        (bad,) = found.as_given([inputs.Bad(*some.places[1], f"{some.places[1][0]}:2: wrong")])
    assert bad == ("-", 2, "-:2: wrong")


def test_a_reason_does_not_repeat_its_place():
    for place in ("a.csv:3: ", "a.csv: row 3: ", "a.csv: row 3, "):
        assert writing._reason(inputs.Bad("a.csv", 3, f"{place}too long")) == "too long"
    assert writing._reason(inputs.Bad("a.png", 0, "a.png: no image")) == "no image"
    assert writing._reason(inputs.Bad("a.png", 0, "other")) == "other"


def test_progress_says_how_much_is_left(capsys, monkeypatch):
    from kpipe.predicting import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Progress(1000, shown=True) as shown:
        for seconds in (1.0, 4.0, 20.0, 40.0):
            now[0] = seconds
            shown.add(100)
    assert capsys.readouterr().err.splitlines() == [
        "200 of 1,000  50 a second  16 s left",
        "400 of 1,000  10 a second  1 min left",
    ]


def test_predict_returns_how_many_were_left_out(finished_run, loaded_once, photos, tmp_path):
    (photos / "a/01.png").write_bytes(b"no image")
    answers = tmp_path / "answers.csv"
    assert predict(finished_run.folder, [photos], csv_file=answers, skip_bad=5) == 1


@pytest.mark.parametrize("count", [0, 1, 64, 65, 5000])
def test_texts_are_predicted_in_batches_of_similar_length(count):
    random = np.random.default_rng(count)
    texts = [b"x" * int(n) for n in random.geometric(0.002, count) * 5]
    batches, order = loading._batches({"texts": texts}, "serving_default", spec(dtype=tf.string))
    sizes = [stop - start for start, stop in batches]
    assert sorted(i for start, stop in batches for i in order[start:stop]) == list(range(count))
    assert all(size <= loading.ROWS_BATCH for size in sizes)
    for start, stop in batches:
        longest = max(len(texts[i]) for i in order[start:stop])
        assert stop - start <= loading.PREDICT_BATCH or (
            (stop - start) * longest <= loading.TEXT_BYTES
        )
    assert count < 5000 or len(batches) < count / loading.PREDICT_BATCH


def test_images_are_predicted_in_small_batches_and_rows_in_large_ones():
    images, rows = np.zeros((130, 2, 2, 1), np.uint8), np.zeros((2050, 3), np.float32)
    batches, order = loading._batches({"images": images}, "reconstruct", spec(2, 2, 1))
    assert batches == [(0, 64), (64, 128), (128, 130)] and order is None
    batches, _ = loading._batches({"features": rows}, "serving_default", spec(3))
    assert batches == [(0, 1024), (1024, 2048), (2048, 2050)]
    assert loading._batches({"code": rows[:65]}, "decode", spec(2, 2, 1))[0][0] == (0, 64)


# Inputs that answers would replace


@pytest.fixture
def halves(tmp_path, monkeypatch):
    """Predicts with a model that takes two numbers and answers the first, if it is not negative."""
    from kpipe import predicting

    def predict_examples(examples):
        if bad := [i for i, value in enumerate(examples.values) if value[0] < 0]:
            raise UserError(f"{examples.names[bad[0]]}: negative")
        return {"value": examples.values[:, 0]}

    model = SimpleNamespace(
        task="regression",
        outputs={"value"},
        label_names=(),
        input_spec=spec(2),
        pieces=lambda paths, texts, keep_bad: inputs.pieces(paths, spec(2), keep_bad=keep_bad),
        predict_examples=predict_examples,
    )
    monkeypatch.setattr(predicting, "load", lambda folder, **_: model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("1,2\n3,4\n")
    return lambda *given, **options: predict(tmp_path, given, **options)


@pytest.mark.parametrize("given", ["in", "in/*.csv", "in/a.csv", "."])
@pytest.mark.parametrize("target", ["in/a.csv", "in/../in/a.csv", "hard.csv", "link.csv"])
def test_answers_replace_no_input_however_it_was_given(given, target, halves):
    os.link("in/a.csv", "hard.csv")
    os.symlink("in/a.csv", "link.csv")
    with pytest.raises(UserError, match=f"--csv {target} is one of the files to predict"):
        halves(given, csv_file=target)
    assert rows_of("in/a.csv") == [{"1": "3", "2": "4"}]


def test_what_else_is_written_replaces_no_input_either(halves, tmp_path):
    (tmp_path / "in/bad_files.csv").write_text("5,6\n")
    for given in ("in", "in/*", "in/bad_files.csv"):
        with pytest.raises(
            UserError, match=r"in/bad_files.csv, .*, is one of the files to predict"
        ):
            halves(given, csv_file="in/answers.csv", skip_bad=3)
    assert (tmp_path / "in/bad_files.csv").read_text() == "5,6\n"
    assert halves("in", csv_file="answers.csv") == 0 and len(rows_of("answers.csv")) == 3
    (tmp_path / "a.partial").write_text("5,6\n")
    with pytest.raises(UserError, match=r"is one of the files to predict"):
        halves("a.partial", csv_file="a")


def test_answers_in_a_folder_that_is_read_are_refused_the_next_time(halves, tmp_path, capsys):
    assert halves("in", csv_file="in/answers.csv", skip_bad=3) == 0
    before = (tmp_path / "in/answers.csv").read_bytes()
    with pytest.raises(UserError, match=r"--csv in/answers.csv is one of the files to predict"):
        halves("in", csv_file="in/answers.csv", skip_bad=3)
    assert (tmp_path / "in/answers.csv").read_bytes() == before
    (tmp_path / "in/answers.csv").unlink()
    capsys.readouterr()
    for given in ("in", "in/*.csv"):
        assert halves(given, csv_file="answers.csv", skip_bad=3) == 0
        assert "bad_files.csv of an earlier prediction" in capsys.readouterr().err
        assert [row["file"] for row in rows_of("answers.csv")] == ["in/a.csv"] * 2


def test_reconstructions_are_no_inputs(photos, tmp_path, capsys):
    drawn, images = photos / "b/out", spec(8, 8, 1, dtype=tf.uint8)
    drawn.mkdir()
    (drawn / "0-a.png").write_bytes(b"x")
    with finding.find_inputs([str(photos)], images, drawn=drawn) as found:
        assert found.total == 12 and list(found.paths) == images_in(photos)
    assert f"all in {drawn}, where --images writes" in capsys.readouterr().err
    for given in (f"{photos}/b/**/*.png", str(drawn), str(drawn / "0-a.png")):
        with (
            pytest.raises(UserError, match=r"--images .*b/out contains .*0-a.png, which is to be"),
            finding.find_inputs([given], images, drawn=drawn),
        ):
            pass


# Rows and what a file is


@pytest.mark.parametrize(
    "ending, content",
    [
        ("csv", 'a,b\n1,"x\ny"\n1,2,3\n\n3,x\nfour,x\n1\n\n6,x\n1\n'),
        ("jsonl", '{"a":1}\n[]\n\n{"a":3}\n{"a":"four"}\n5\n{"a":6}\n\n7\n'),
    ],
)
def test_rows_are_counted_with_those_that_are_left_out(ending, content, tmp_path, monkeypatch):
    monkeypatch.setattr(user_files, "ROWS", 2)
    path, model = tmp_path / f"t.{ending}", SimpleNamespace()
    path.write_text(content)
    model.predict_examples = lambda examples: {"value": examples.values["a"]}
    found = [
        some
        for part in inputs.pieces([path], None, columns=[Column("a", "number")], keep_bad=True)
        for some in streaming.answer_piece(model, part, True)
    ]
    rows = [row for some in found if some.examples for _, row in some.examples.places]
    values = [v for some in found if some.examples for v in some.outputs["value"]]
    assert rows == values == [1, 3, 6]
    bad = {b.row: writing._reason(b) for some in found for b in some.bad}
    assert list(bad) == [2, 4, 5, 7]
    assert bad[4] == "column 'a': 'four'; expected a number, or nothing if it is missing"
    assert all("row" not in reason.partition(";")[0] for reason in bad.values())
    with pytest.raises(UserError, match=rf"t.{ending}: row 2: "):
        for part in inputs.pieces([path], None, columns=[Column("a", "number")]):
            assert part.places == [(str(path), 1)]


@pytest.mark.parametrize("name", ["r.csv", "R.CSV", "r.v2.csv.GZ", "r.TSV", "r.Jsonl"])
@pytest.mark.parametrize("column", ["body", ""])
def test_a_table_is_never_read_as_lines_of_text(name, column, tmp_path):
    import gzip

    path, used = tmp_path / name, column or "text"
    content = f"stars\t{used}\n5\tgood\n1\tbad\n"
    if name.endswith("Jsonl"):
        content = "".join(json.dumps({used: text}) + "\n" for text in ("good", "bad"))
    packed = gzip.compress(content.encode()) if name.endswith("GZ") else content.encode()
    path.write_bytes(packed)
    _, (found,) = read_all([path], spec(dtype=tf.string), text_column=column)
    assert found.names == ["good", "bad"]
    with finding.find_inputs([str(tmp_path)], spec(dtype=tf.string)) as walked:
        assert list(walked.paths) == [path]
    if not column:
        path.write_bytes(packed if name.endswith("GZ") else content.replace("text", "t").encode())
        if not name.endswith("GZ"):
            with pytest.raises(UserError, match=r"no column 'text'.*trained on no table"):
                read_all([path], spec(dtype=tf.string))


def test_the_last_ending_says_what_a_file_is(photos, tmp_path):
    image = tmp_path / "data.csv.png"
    image.write_bytes((photos / "00.png").read_bytes())
    with finding.find_inputs([str(image)], spec(8, 8, 1, dtype=tf.uint8)) as found:
        assert list(found.paths) == [image]
    text = tmp_path / "a.csv.txt"
    text.write_text("one\ntwo\n")
    assert read_all([text], spec(dtype=tf.string), text_column="t")[1][0].names == ["one", "two"]
    with open(tmp_path / "U.NPY", "wb") as file:
        np.save(file, np.ones((1, 2)))
    (tmp_path / "one.tsv").write_text("1\t2\n")
    found = read_all([tmp_path / "U.NPY", tmp_path / "one.tsv"], spec(2))[1]
    assert [part.values.tolist() for part in found] == [[[1, 1]], [[1, 2]]]


@pytest.mark.parametrize(
    "content, expected",
    [
        ("0.5,oops\n0.5,0.5\n", r"row 1: '0.5,oops'; expected numbers"),
        ("x,y\n0.5,0.5\n", [[0.5, 0.5]]),
        ("0.5,0.5\n", [[0.5, 0.5]]),
        ("x,y\nx,y\n0.5,0.5\n", r"row 1: 'x,y'"),
    ],
)
def test_only_a_line_without_numbers_is_a_header(content, expected, tmp_path):
    path = tmp_path / "n.csv"
    path.write_text(content)
    if isinstance(expected, list):
        assert read_all([path], spec(2))[1][0].values.tolist() == expected
    else:
        with pytest.raises(UserError, match=expected):
            read_all([path], spec(2))


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.ones((1, 2)))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", npz(), b"PK\3\4 damaged", b"\x93NUMPY", b"\x93NUMPY\1\0\4\0{(((", b"\x80\4N."],
)
def test_a_file_that_is_no_array_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a.npy: cannot be read .*; expected 2 numbers per row"):
        read_all([path], spec(2))
    assert [b.row for b in read_all([path], spec(2), keep_bad=True)[0]] == [0]


# What stands before a fault, and what is left out


def test_what_stands_before_a_bad_row_of_a_piece_is_answered(halves, tmp_path):
    (tmp_path / "in/a.csv").write_text("1,2\n3,4\n-5,6\n7,8\n9,oops\n")
    with pytest.raises(UserError, match=r"in/a.csv:3: negative; 2 answers before it are in o.csv"):
        halves("in", csv_file="o.csv")
    assert [row["row"] for row in rows_of("o.csv.partial")] == ["1", "2"]
    with pytest.raises(UserError, match=r"more than 1 input .*; 3 answers before it are in o.csv"):
        halves("in", csv_file="o.csv", skip_bad=1)
    assert [row["row"] for row in rows_of("bad_files.csv")] == ["3", "5"]


def test_the_first_bad_image_is_named_and_those_before_it_are_answered(run, photos, capsys):
    (photos / "06.png").write_bytes(b"no image")
    (photos / "09.png").unlink()
    (photos / "09.png").symlink_to("nowhere")
    before = images_in(photos)[:2]
    assert before == [photos / "00.png", photos / "03.png"]
    assert cli.main(["predict", run, str(photos), "--json"]) == 2
    shown = capsys.readouterr()
    assert [json.loads(line)["file"] for line in shown.out.splitlines()] == list(map(str, before))
    assert f"error: {photos / '06.png'}: cannot be read as an image" in shown.err


def test_rows_before_a_quote_that_is_never_closed_are_answered(tmp_path):
    path, options = tmp_path / "t.csv", {"columns": [Column("a", "number")]}
    path.write_text('a,b\n1,x\n2,x\n3,"open\n')
    found = inputs.pieces([path], None, **options)
    assert len(next(found)) == 2
    with pytest.raises(UserError, match="never closed"):
        next(found)


def test_linked_folders_are_read_but_not_in_a_circle(photos, tmp_path):
    (tmp_path / "other").mkdir()
    (photos / "00.png").rename(tmp_path / "other/00.png")
    (photos / "link").symlink_to(tmp_path / "other")
    (photos / "b/circle").symlink_to(photos)
    (photos / "itself").symlink_to("itself")
    with finding.find_inputs([str(photos)], spec(8, 8, 1, dtype=tf.uint8)) as found:
        paths = list(found.paths)
    assert paths[-1] == photos / "link/00.png" and len(paths) == found.total == 12


def test_a_folder_that_cannot_be_read_is_an_error_or_a_bad_input(photos, monkeypatch):
    scandir, closed = os.scandir, str(photos / "b/c")

    def scan(path):
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    images = spec(8, 8, 1, dtype=tf.uint8)
    with (
        pytest.raises(UserError, match=r"b/c: Permission denied"),
        finding.find_inputs([str(photos)], images) as found,
    ):
        list(found.paths)
    with finding.find_inputs([str(photos)], images, keep_bad=True) as found:
        (*paths, bad) = found.paths
    assert len(paths) == 8 and bad == (closed, 0, f"{closed}: Permission denied")


def test_bad_rows_of_a_list_of_images_can_be_left_out(run, photos, tmp_path, capsys):
    table, answers = photos / "list.csv", tmp_path / "answers.csv"
    table.write_text("id,file\n1,00.png\n2,a/02.png,?\n3,\n4,03.png\n")
    command = ["predict", run, str(table), "--csv", str(answers)]
    assert cli.main([*command, "--skip-bad", "2"]) == 0
    assert [row["file"] for row in rows_of(answers)] == [
        str(photos / name) for name in ("00.png", "03.png")
    ]
    bad = rows_of(tmp_path / "bad_files.csv")
    assert [(row["file"], row["row"]) for row in bad] == [(str(table), "2"), (str(table), "3")]
    assert bad[1]["reason"] == "column 'file' is empty; expected a file"
    assert cli.main(command) == 2
    assert f"{table}: row 2: 3 cells" in capsys.readouterr().err
    assert [row["file"] for row in rows_of(f"{answers}.partial")] == [str(photos / "00.png")]


def test_the_list_of_bad_inputs_is_checked_in_advance_and_always_written(
    halves, tmp_path, monkeypatch
):
    (tmp_path / "bad_files.csv").mkdir()
    with pytest.raises(UserError, match=r"bad_files.csv, .*, is a folder; expected the name"):
        halves("in", csv_file="o.csv", skip_bad=1)
    (tmp_path / "bad_files.csv").rmdir()
    (tmp_path / "bad_files.csv").write_text("of an earlier run")
    (tmp_path / "in/a.csv").write_text("-1,2\n3,4\n")

    def stop(self, count):
        raise KeyboardInterrupt

    monkeypatch.setattr("kpipe.predicting.Progress.add", stop)
    with pytest.raises(KeyboardInterrupt):
        halves("in", csv_file="o.csv", skip_bad=1)
    assert rows_of("bad_files.csv") == [{"file": "in/a.csv", "row": "1", "reason": "negative"}]
    assert not list(tmp_path.glob(".*part-*"))


def test_answers_of_nothing_have_a_head(halves, tmp_path):
    (tmp_path / "in/a.csv").write_text("-1,2\n")
    assert halves("in", csv_file="o.csv", skip_bad=1) == 1
    assert (tmp_path / "o.csv").read_text() == "file\n"


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_bad_image_is_named_in_whatever_piece_it_is(size, model, photos, monkeypatch):
    monkeypatch.setattr(user_files, "IMAGE_BYTES", size)
    (photos / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^[^,]*bad.png: cannot be read as an image"):
        model.predict_files([photos / "00.png", photos / "03.png", photos / "bad.png"])


def test_a_machine_of_a_cluster_reads_relative_paths_as_this_one(tmp_path, monkeypatch):
    from kpipe.predicting import on_cluster

    monkeypatch.chdir("/")
    monkeypatch.setattr(loading, "load", lambda folder, trust: Halves())
    predictor = on_cluster._predictor()([], {}, "", str(tmp_path), False)
    assert os.getcwd() == str(tmp_path)
    first, second = predictor._answer(piece([4, -1]))
    assert first.outputs["value"].tolist() == [8] and first.examples.values == []
    assert "negative" in str(second.error)


def test_what_a_full_disk_takes_is_whole_rows(tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    target = tmp_path / "a.csv"
    with (
        pytest.raises(WriteError, match=r"make room, and give the same command again$"),
        writing.open_output(target, False, has_files=True) as write,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        try:
            for start in range(0, 10**6, 100):
                names = [f"file{start + i}" for i in range(100)]
                some = inputs.Examples("file", names, [], [(name, 0) for name in names])
                write.write(some, [("", {"value": "x" * (i % 7)}) for i in range(100)], {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    rows = rows_of(f"{target}.partial")
    assert len(rows) % 100 == 0 and rows[-1]["file"] == f"file{len(rows) - 1}"
    assert rows[-1]["value"] == "x" and len(rows) > 1000
    assert f"{len(rows):,} answers so far: {target}.partial" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_an_answer_is_one_line(capsys):
    some = inputs.Examples("text", ["a\nb", "c\r", "d"], [], [("", 0)] * 3)
    writing.Lines(False).write(some, [("good", {})] * 3, {})
    assert capsys.readouterr().out == "a\\nb: good\nc\\r: good\nd: good\n"


def test_sigterm_keeps_the_answers_and_leaves_no_other_file(halves, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kpipe.commands.predict.check_folder", lambda folder: None)
    monkeypatch.setattr("kpipe.commands.predict.start", lambda verbose: None)
    monkeypatch.setattr(
        "kpipe.predicting.Progress.add", lambda self, count: signal.raise_signal(signal.SIGTERM)
    )
    assert cli.main(["predict", str(tmp_path), "in", "--csv", "o.csv"]) == 143
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == ["2 answers so far: o.csv.partial", "error: stopped by SIGTERM"]
    assert len(rows_of("o.csv.partial")) == 2 and not list(tmp_path.glob(".*"))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_line_of_a_terminal_is_removed_before_an_error(capsys):
    from kpipe.predicting import progress

    with pytest.raises(UserError), progress.Progress(2, shown=True) as shown:
        shown.is_terminal, shown.done = True, 1
        shown._print(1.0)
        raise UserError("x")
    assert capsys.readouterr().err.endswith("\r")
