"""How a run, and all runs of a folder, are shown in a notebook or an interpreter."""

import base64
import html.parser
import io
import json
import pathlib
import re
import shutil

import pandas as pd
import pytest
from PIL import Image

import kpipe
from kpipe import files
from kpipe.errors import UserError
from kpipe.measures import trust
from kpipe.measures.intervals import mean_of_shares, proportion
from kpipe.records import DataRecord, ProofRecord, Record, Run, TargetRecord, open_run, runs
from kpipe.report.page import _trust

FINISHED = pathlib.Path(__file__).parent / "format_1"
METRICS = {
    "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8, "n": 300},
    "simple_baseline": {"value": 0.9, "low": 0.88, "high": 0.92, "n": 300},
    "above_simple": {"value": -0.15, "low": -0.2, "high": -0.1, "n": 300},
    "majority_baseline": {"value": 0.1, "low": None, "high": None, "n": 300},
}


def run_of(folder="saved_models/mine", metrics=METRICS, **fields):
    fields = {"status": "finished", "headline": "accuracy", **fields}
    data = fields.pop("data", DataRecord(name="mine", kind="own", examples={"train": 1000}))
    record = Record(pipeline=fields.pop("pipeline", "mine"), data=data, **fields)
    return Run(record.pipeline, pathlib.Path(folder), record, metrics, {})


# --- five lines -------------------------------------------------------------------------------


def test_a_run_is_shown_in_five_lines(tmp_path):
    (tmp_path / "report.html").write_text("")
    run = run_of(
        tmp_path,
        proof=ProofRecord(passed=True, max_difference=2.4e-7),
        target=TargetRecord(metric="accuracy", at_least=0.8, verdict="not reached"),
    )
    assert repr(run).split("\n") == [
        f"mine in {tmp_path}",
        "data: mine (your own data), 1,000 train examples",
        "accuracy 75.00 % [70.00, 80.00], n = 300; simple method 90.00 % (NOT beaten); "
        "majority 10.00 %; target accuracy >= 80 %: not reached",
        "export verified: largest difference 2.4e-07 (allowed: 1e-05)",
        f"report: {tmp_path / 'report.html'}",
    ]


@pytest.mark.parametrize("kind", ["classification", "reconstruction", "texts"])
def test_a_run_of_an_older_format_is_shown(kind):
    run = open_run(FINISHED / kind)
    assert len(repr(run).split("\n")) == 5 and "no report; kpipe.load(" in repr(run)
    assert "predictions" in vars(run) and "model" not in vars(run)
    assert run.name in run._repr_html_()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"metrics": {}}, "no metrics"),
        ({"headline": ""}, "accuracy 75.00 %"),
        ({"metrics": {"accuracy": {"value": None}}}, "accuracy –"),
        ({"metrics": {"mae": {"value": 2.0}}}, "MAE 2.0000"),
        (
            {"status": "unfinished", "command": "kpipe run x"},
            "unfinished; the same call goes on: k",
        ),
        ({"proof": ProofRecord(passed=False, max_difference=1.0)}, "export NOT VERIFIED"),
        ({"data": DataRecord()}, "data: (unknown)"),
        ({"data": DataRecord(name="x", kind="real")}, "x (real data, not the official)"),
        ({"pipeline": "two\nlines"}, "two lines in"),
    ],
)
def test_whatever_is_missing_a_run_is_five_lines_and_a_card(fields, line):
    run = run_of(**fields)
    lines = repr(run).split("\n")
    assert len(lines) == 5 and any(found.startswith(line) or line in found for found in lines)
    assert run._repr_html_()


# --- the card ---------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page, with a check that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_a_card_shows_the_result_and_what_is_needed_to_judge_it(tmp_path):
    run = run_of(tmp_path, title="A title.", overrides={"units": 8}, times={"train": 65.0}, seed=3)
    said = " ".join(Page(run._repr_html_()).texts)
    for part in ("mine", "A title.", "units=8", "seed 3", "1 min 5 s", "75.00 %", "n = 300"):
        assert part in said
    for part in ("[70.00, 80.00]", "simple method 90.00 % (NOT beaten)", "export not verified"):
        assert part in said
    assert "With 300 test examples the accuracy may lie between 70.00 and 80.00 %" in said
    target = TargetRecord(metric="accuracy", at_least=0.7, verdict="reached")
    real = run_of(target=target, data=DataRecord(name="mnist", kind="real", official=True))
    said = " ".join(Page(real._repr_html_()).texts)
    assert "✓ target reached" in said and "may lie" not in said


def test_all_text_of_a_card_is_escaped():
    evil = '<script>alert("1")</script>\'"&'
    run = run_of(
        f"/{evil}",
        {evil: {"value": 1.0, "n": 3}},
        pipeline=evil,
        title=evil,
        headline=evil,
        command=evil,
        overrides={evil: evil},
        target=TargetRecord(metric=evil, at_least=0.7, verdict=evil),
        data=DataRecord(name=evil, kind=evil, examples={evil: 3}),
        finished=evil,
    )
    page = Page(run._repr_html_())
    assert {tag for tag, _ in page.tags} == {"div", "span"}
    assert {name for _, attributes in page.tags for name in attributes} == {"style"}
    assert "".join(page.texts).count('<script>alert("1")</script>') >= 7


def test_a_card_contains_the_first_figures_smaller(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("confusion_matrix", "learning_curves", "per_class"):
        Image.new("RGB", (1600, 800), "white").save(folder / f"{name}.png")
    (folder / "a_damaged_one.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    pictures = [a for tag, a in Page(run_of(tmp_path)._repr_html_()).tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["learning curves", "confusion matrix"]
    for picture in pictures:
        kind, content = picture["src"].split(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == (640, 320)


def test_a_card_takes_its_colours_from_the_page():
    text = run_of()._repr_html_()
    colors = re.findall(r"(?<![-\w])color:([^;\"]+)", text)
    assert colors == ["inherit"] and "rgba(128,128,128" in text  # no black, no white
    assert not re.search(r"<style|<script|https?:|href", text)


# --- all runs ---------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A folder of runs: finished, unfinished, damaged, and what is no run."""
    for i, name in enumerate(("first", "second", "unfinished", "damaged", "no metrics")):
        shutil.copytree(FINISHED / "classification", tmp_path / name)
        path = tmp_path / name / "run.json"
        status = "unfinished" if name == "unfinished" else "finished"
        finished = f"2026-01-0{i + 1}T10:00:00+02:00"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"status": status} | {"finished": finished})
        )
        files.write_manifest(path.parent, path.parent.rglob("*"))
    (tmp_path / "damaged" / "run.json").write_text("{")
    (tmp_path / "no metrics" / "metrics.json").unlink()
    (tmp_path / "first,search=grid").mkdir()
    shutil.copy(tmp_path / "first" / "run.json", tmp_path / "first,search=grid" / "search.json")
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


def test_runs_are_a_table_the_newest_first(saved, capsys):
    table = kpipe.runs(saved)
    assert [pathlib.Path(folder).name for folder in table["folder"]] == ["second", "first"]
    row = table.iloc[0]
    assert (row["name"], row["data"], row["seed"], row["n"]) == ("mnist_mlp", "sample", 0, 360)
    assert row["overrides"] == "num_layers=0, epochs=2, retrain=False"
    assert (row["metric"], row["proof"]) == ("accuracy", "verified")
    assert row["low"] < row["value"] < row["high"] and row["seconds"] > 0
    assert row["finished"] == pd.Timestamp("2026-01-02 08:00", tz="UTC")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" is left out: ")[0] for line in lines] == ["damaged", "no metrics"]


def test_without_runs_the_table_has_the_same_columns(saved, tmp_path_factory):
    empty, full = kpipe.runs(tmp_path_factory.mktemp("empty")), runs(str(saved))
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes.drop("finished"), full.dtypes.drop("finished"))
    with pytest.raises(UserError, match="nowhere: no such folder"):
        runs(saved / "nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such folder; expected one with run.json"),
        ("first,search=grid", "grid: not the folder of a run; expected one with run.json"),
        ("unfinished", "unfinished: the run is not finished; it is resumed by: "),
        ("damaged", "run.json: cannot be read"),
    ],
)
def test_what_is_no_finished_run_is_one_line(saved, name, message):
    assert kpipe.open_run(str(saved / "first")).name == "mnist_mlp"
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        kpipe.open_run(str(saved / name))
    assert "\n" not in str(caught.value)


# --- what an interval says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "n"), [(169, 239), (50, 100), (0, 20), (20, 20), (9866, 10_000), (1, 1)]
)
def test_the_examples_to_halve_an_accuracy_are_the_fewest(correct, n):
    entry = proportion(correct, n)
    more = trust.examples_to_halve("accuracy", entry)
    half = (entry["high"] - entry["low"]) / 2
    share = correct / n
    assert trust.wilson_width(share, n) == pytest.approx(2 * half, rel=1e-12)
    assert trust.wilson_width(share, n + more) <= half < trust.wilson_width(share, n + more - 1)


def test_the_examples_to_halve_by_hand():
    z = 1.959963984540054**2
    # at a share of 1/2 the width is sqrt(z / (n + z)): n' = 4 n + 3 z
    assert trust.examples_to_halve("accuracy", proportion(50, 100)) == 312 == -(-(300 + 3 * z) // 1)
    # at 0 it is z / (n + z): n' = 2 n + z
    assert trust.examples_to_halve("accuracy", proportion(0, 20)) == 24 == -(-(20 + z) // 1)
    # a mean of 4 labels, as certain as 400 answers to one: 1/2, as above
    mean = mean_of_shares(0.5, 0.5, 0.25 / 400, 100)
    assert trust.examples_to_halve("accuracy", mean) == 303 == -(-(300 + 3 * z / 4) // 1)
    # the width of a mean falls with the root of n
    mae = {"value": 2.0, "low": 1.5, "high": 2.5, "n": 50}
    assert trust.examples_to_halve("mae", mae) == 150
    assert trust.sentence("mae", mae) == (
        "With 50 test examples the MAE may lie between 1.5000 and 2.5000; 150 more test examples "
        "would halve this interval"
    )


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"value": 1.0},
        {"value": None, "low": None, "high": None, "n": 0},
        {"value": 1.0, "low": None, "high": None, "n": 1},
        {"value": 0.5, "low": 0.5, "high": 0.5, "n": 3},
    ],
)
def test_without_an_interval_nothing_is_said(entry):
    for metric in ("accuracy", "mae"):
        assert trust.sentence(metric, entry) == ""


def test_only_own_data_are_told_what_the_interval_says():
    assert [name for name, _ in _trust(run_of())] == ["What the interval says"]
    assert not list(_trust(run_of(data=DataRecord(name="mnist", kind="real", official=True))))
    assert not list(_trust(run_of(metrics={})))
