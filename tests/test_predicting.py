"""Predictions of any number of inputs: found, streamed, answered in order, and what is left out."""

import csv
import io
import json
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import cli, inputs
from kpipe.errors import UserError
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
    with pytest.raises(UserError, match=r"rows.csv:3: '3,oops'; expected numbers"):
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
    assert writing._reason(inputs.Bad("a.csv", 3, "a.csv:3: too long")) == "too long"
    assert writing._reason(inputs.Bad("a.png", 0, "a.png: no image")) == "no image"
    assert writing._reason(inputs.Bad("a.png", 0, "other")) == "other"


def test_progress_says_how_much_is_left(capsys, monkeypatch):
    from kpipe.predicting import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.Progress(1000, shown=True)
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
