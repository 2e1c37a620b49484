"""A model card says what a run's files say, keeps what people wrote, and knows what it lacks."""

import html.parser
import json
import pathlib
import re
import shutil

import markdown_it
import numpy as np
import pytest
from PIL import Image

from kpipe import cli, datasets, files, verifying
from kpipe.datasets.points import GATES
from kpipe.errors import UserError
from kpipe.experiments import reporting
from kpipe.formats import telling
from kpipe.measures.intervals import proportion
from kpipe.model_card import NAME, blanks, card, check, markdown, metadata, parts, write
from kpipe.model_card.limits import limits
from kpipe.records import (
    DataRecord,
    LayerRecord,
    ModelRecord,
    ProofRecord,
    Record,
    Run,
    TargetRecord,
    open_run,
)

FORMATS = pathlib.Path(__file__).parent
FINISHED = FORMATS / "format_1" / "classification"
EVIL = "<b>a</b> | *b* _c_ `d` [e](http://f) <!-- /kpipe:results --> \\ & $g$ #\nh"
METRICS = {
    "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8, "n": 300},
    "majority_baseline": {"value": 0.4, "low": 0.3, "high": 0.5, "n": 300},
    "log_loss": {"value": 1e-05, "low": None, "high": None, "n": 300},
    "precision/a": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100},
    "recall/a": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100},
    "precision/b": {"value": None, "low": None, "high": None, "n": 0},
    "recall/b": {"value": 0.9, "low": 0.5, "high": 0.99, "n": 9},
}
DATA = {"name": "mnist", "kind": "real", "official": True, "label_names": ("a", "b")}
DATA |= {"usage": "IMAGE ...", "examples": {"train": 1000, "test": 300}, "test_openings": 1}
DATA |= {"duplicates": 0}
LAYER = LayerRecord(name="images", type="InputLayer", output_shape=[None, 8, 8, 1], parameters=0)


def run_of(folder="saved_models/mine", metrics=METRICS, data=None, **fields):
    fields = {"status": "finished", "headline": "accuracy", "task": "classification", **fields}
    fields = {"proof": ProofRecord(passed=True, max_difference=2e-7), **fields}
    record = Record(
        pipeline=fields.pop("pipeline", "mine"),
        data=DataRecord(**{**DATA, **(data or {})}),
        model=ModelRecord(name="mlp", parameters=650, trainable_parameters=650, layers=[LAYER]),
        **fields,
    )
    predictions = {"label": np.array([1.0, 4.0])}
    return Run(record.pipeline, pathlib.Path(folder), record, metrics, {}, _predictions=predictions)


def text_of(run):
    return "".join(map(str, parts.new(card.parts_of(run))))


def front_matter(text):
    yaml = pytest.importorskip("yaml")
    start, front, _ = text.split("---\n", 2)
    assert not start
    return yaml.safe_load(front)


@pytest.fixture
def folder(tmp_path):
    """The folder of a finished run, without a card."""
    return pathlib.Path(shutil.copytree(FINISHED, tmp_path / "mnist_mlp"))


def fill(path, licence="mit"):
    """Fills in every blank, and writes between the parts, as a person would."""
    text = path.read_text().replace(blanks.NEEDED, "Said by me, with 7 words: *so it is*.")
    text = re.sub(r"# TO FILL: license.*", f"license: {licence}  # mine", text)
    path.write_text(
        text.replace("\n<!-- kpipe:limits", "\n## Mine\n\nMy words.\n\n<!-- kpipe:limits")
    )
    return path.read_text()


def change(folder, name, edit):
    """Changes a JSON file of a run as another training would have written it."""
    content = files.read_json(folder / name)
    edit(content)
    files.write_json(folder / name, content)
    listed = [path for path in folder.rglob("*") if path.suffix != ".md"]
    files.write_manifest(folder, listed, format_version=1)


# --- what a card says ---------------------------------------------------------------------------


def test_a_card_says_what_the_files_say_and_changes_none_of_them(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    written = write(folder)
    assert written.path == folder / NAME
    assert written.to_fill == ["license", *(blank.title.lower() for blank in blanks.BLANKS)]
    assert {path: path.read_bytes() for path in before} == before
    assert {*folder.rglob("*.*")} - {*before} <= {folder / NAME, folder / "serving"}
    text = written.path.read_text()
    run = open_run(folder)
    for said in (
        "accuracy 74.72 % [69.99, 78.93], n = 360",
        "> **SAMPLE DATA: these numbers show that the code runs; they say nothing about mnist.**",
        "| train examples | 1,293 |",
        "| 4 | 36 | 92.31 % [75.86, 97.86] | 66.67 % [50.33, 79.79] |",
        "with batches of 1, 7, 64",
        "not comparable: sample data",
        f"| weights | {run.record.weights_sha256} |",
        f"| `model.keras` | {(folder / 'model.keras').stat().st_size:,} | `",
        files.sha256(folder / "serving/1/saved_model.pb"),
        'model = kpipe.load("mnist_mlp")',
        "python pipelines/run.py mnist_mlp num_layers=0",
        "| learning_rate | 0.001 |",
    ):
        assert said in text, said


def test_the_front_matter_is_that_of_the_hub():
    content = front_matter(text_of(run_of(trainer={"epochs": 3})))
    assert content["library_name"] == "keras" and content["datasets"] == ["ylecun/mnist"]
    assert content["pipeline_tag"] == "image-classification" in content["tags"]
    assert content["metrics"] == ["accuracy", "log_loss"]
    assert content["model-index"] == [
        {
            "name": "mine",
            "results": [
                {
                    "task": {"type": "image-classification", "name": "one class per example"},
                    "dataset": {"type": "ylecun/mnist", "name": "mnist", "split": "test"},
                    "metrics": [
                        {
                            "type": "accuracy",
                            "value": 0.75,
                            "name": "accuracy, 95 % interval [70.00, 80.00] %, n = 300",
                        },
                        {"type": "log_loss", "value": 1e-05, "name": "log loss, n = 300"},
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        ({"kind": "sample", "official": False}, "sample-data", "SAMPLE DATA instead of mnist"),
        ({"kind": "real", "official": False}, "unofficial-data", "not the official data"),
        ({"kind": "own", "official": False}, "own-data", "own data"),
        ({"name": "xor_gate"}, "defined-data", "xor_gate (defined by kpipe)"),
        ({"name": "tweet_emotions"}, "other-data", "tweet_emotions"),
        ({"name": "a/b"}, "other-data", "a/b"),
    ],
)
def test_other_data_never_pass_for_a_published_dataset(data, kind, said):
    text = text_of(run_of(data=data))
    content = front_matter(text)
    assert "datasets" not in content
    dataset = content["model-index"][0]["results"][0]["dataset"]
    assert dataset["type"] == kind and said in dataset["name"]
    if data.get("kind", "own") != "own":  # others have nothing that they could pass for
        summary = text.partition("<!-- /kpipe:summary")[0]
        assert re.search("> [*]{2}(SAMPLE DATA|NOT THE OFFICIAL DATA): ", summary)


def test_data_that_code_defines_are_neither_real_nor_published():
    gates = [datasets.truth_table(gate) for gate in GATES]
    for defined in (*gates, datasets.one_example()):
        text = text_of(run_of(data={"name": defined.name}))
        assert f"It was trained on {defined.name} (defined by kpipe), 1,000 examples" in text
        assert "| kind | defined by kpipe |" in text and "as published" not in text
    text = text_of(run_of())
    assert "| kind | real |" in text and "| official, as published | yes |" in text


@pytest.mark.parametrize(
    ("fields", "task", "said"),
    [
        ({"data": {"usage": '--text "A"'}}, "text-classification", "2 classes to a text"),
        ({"data": {"usage": "ROWS.csv"}}, "tabular-classification", "to a row of numbers"),
        (
            {
                "task": "regression",
                "headline": "mae",
                "metrics": {"mae": {"value": 2.0, "low": 1.0, "high": 3.0, "n": 2}},
                "data": {"usage": "ROWS.csv", "label_names": ("price",), "about": {"columns": {}}},
            },
            "tabular-regression",
            "predicts a number, price, for a row of a table",
        ),
        (
            {
                "task": "reconstruction",
                "headline": "psnr",
                "metrics": {
                    name: {"value": 20.0, "n": 3} for name in ("squared_error", "psnr", "ssim")
                },
            },
            "image-to-image",
            "encodes an image as a code",
        ),
        (
            {
                "task": "multilabel",
                "metrics": {
                    name: proportion(240, 300)
                    for name in ("accuracy", "majority_baseline", "accuracy/a")
                },
            },
            "image-classification",
            "says of each of 1 labels whether an image has it",
        ),
    ],
)
def test_every_task_and_input_has_a_card(fields, task, said):
    text = text_of(run_of(**fields))
    assert front_matter(text)["model-index"][0]["results"][0]["task"]["type"] == task
    assert said in text


@pytest.mark.parametrize(
    "kind",
    "1/classification 1/reconstruction 1/texts 2/vectors 3/vectors".split(),
)
def test_runs_of_older_formats_have_a_card_that_lacks_nothing_but_the_blanks(kind, tmp_path):
    folder = shutil.copytree(FORMATS / f"format_{kind}", tmp_path / "run")
    path = write(folder).path
    fill(path)
    missing = check(folder)
    if "texts" in kind:
        assert missing.pop(0).startswith("language: missing in the front matter")
    assert missing == []


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("1/classification", {"label", "probabilities"}),
        ("1/reconstruction", {"code", "reconstruction"}),
        ("1/texts", {"label", "probabilities"}),
        ("3/vectors", {"label", "probabilities"}),
    ],
)
def test_the_code_of_a_card_runs(kind, outputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = files.read_json(FORMATS / f"format_{kind}" / "run.json")["pipeline"]
    text = write(shutil.copytree(FORMATS / f"format_{kind}", name)).path.read_text()
    Image.new("RGB", (40, 30)).save("image.jpg")
    pathlib.Path("rows.csv").write_text("0,1\n1,1\n")
    code = re.findall("```python\n(.*?)```", text, flags=re.S)
    names = {}
    for part in code[:2]:  # the last one trains again
        exec(part, names)
    assert set(names["answers"]) == outputs and len(names["answers"][min(outputs)]) in (1, 2)


def test_a_model_that_is_not_proven_is_said_to_be_none_to_use():
    for proof in (None, ProofRecord(passed=False, max_difference=0.5)):
        text = text_of(run_of(proof=proof))
        assert "> **THE EXPORT IS NOT VERIFIED: " in text
        assert "kpipe.load" not in text and "keras.models.load_model(" in text


def test_texts_are_escaped_so_that_only_kpipe_lays_out():
    names = (EVIL, "", "1. x", "---")
    metrics = METRICS | {
        f"{kind}/{name}": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40}
        for kind in ("precision", "recall")
        for name in names
    }
    run = run_of(
        pipeline=EVIL,
        title=f"# {EVIL}",
        command=EVIL,
        metrics=metrics,
        overrides={EVIL: EVIL},
        hyperparameters={EVIL: EVIL},
        data={"label_names": names, "description": EVIL, "kind": "sample", "name": EVIL},
        target=TargetRecord(metric="accuracy", at_least=0.7, source=EVIL, verdict=EVIL),
        problems=[EVIL],
    )
    text = text_of(run)
    assert front_matter(text)["model-index"][0]["name"] == EVIL
    pieces = parts.read(text, pathlib.Path(NAME))  # no marker is taken from a name
    assert "".join(map(str, pieces)) == text
    page = Page(
        markdown_it.MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    )
    assert page.tags <= set("h1 h2 h3 p ul li table thead tbody tr th td pre code".split()) | {
        *("blockquote", "strong")
    }
    line = " ".join(EVIL.split())
    assert {line, "(empty)", "1. x", "---"} <= {*page.cells}
    assert f"# {line}" in page.paragraphs and page.paragraphs[0] == line


class Page(html.parser.HTMLParser):
    """Tags of a page, and the texts of its cells and paragraphs."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.paragraphs, self.inside = set(), [], [], []
        self.feed(text)
        for texts in (self.cells, self.paragraphs):
            texts[:] = [text.strip() for text in texts]

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.inside = {"td": self.cells, "p": self.paragraphs, "h1": self.paragraphs}.get(
            tag, self.inside
        )
        if tag in ("td", "p", "h1"):
            self.inside.append("")

    def handle_data(self, data):
        if self.inside:
            self.inside[-1] += data


@pytest.mark.parametrize(
    "value",
    [
        *("keras", "no", "1.5", "null", "", EVIL, "é \u2028 \x7f \ufeff 😀", "a: b", "# c", "'"),
        *(1e-05, 1e20, -2.5e-7, 3, True, None, 0.1, [], {}, ["- a"], [["a"], ["b", "c"]]),
        {"a": [{"b": "~"}]},
    ],
)
def test_yaml_reads_back_what_was_written(value):
    yaml = pytest.importorskip("yaml")
    content = {"a": value, "list": [value, {"b": value, "c": [value]}]}
    assert yaml.safe_load(metadata.to_yaml(content)) == content


@pytest.mark.parametrize(
    ("duplicates", "said"),
    [
        (0, "Measured on the test split, on which it was not trained. "),
        (1, "Measured on the test split, of which 1 example also occurs in train. "),
        (7, "Measured on the test split, of which 7 examples also occur in train. "),
        (300, "Measured on the test split, which also occurs in train. "),
        (None, "Measured on the test split. "),
    ],
)
def test_test_examples_are_said_to_be_new_only_if_none_occurs_in_train(duplicates, said):
    text = text_of(run_of(data={"duplicates": duplicates}))
    assert said in text
    assert text.count("it was not trained") == (duplicates == 0)


def test_long_tables_are_folded():
    rows = [[str(i), "x"] for i in range(markdown.LONG + 1)]
    assert "<details>\n<summary>25 rows</summary>\n\n| a | b |" in markdown.table(("a", "b"), rows)
    assert "<details>" not in markdown.table(("a", "b"), rows[1:])


QUALITY = {
    "metric": "accuracy",
    "after": {"value": 0.98, "low": 0.97, "high": 0.99, "n": 300},
    "before": {"value": 0.981, "low": 0.97, "high": 0.99, "n": 300},
    "difference": {"value": -0.001, "low": -0.002, "high": 0.0, "n": 300},
    "changed": 0.0021,
}
EXPORT = {
    "format": "litert",
    "quantize": None,
    "bytes": 1_234_567,
    "savedmodel_bytes": 9_100_000,
    "quality": QUALITY,
    "proof": {"max_difference": 2.4e-7, "tolerance": 1e-4, "test_examples": 300, "batches": [1]},
    "speed": {"milliseconds": {"1": [1.366, 0.09021], "64": [0.05856, 0.0063]}, "threads": 1},
}


def write_export(folder, name, **changes):
    content = EXPORT | {"weights_sha256": open_run(folder).record.weights_sha256} | changes
    assert telling.table(content)  # which is written of every export: such is its record
    (folder / "exports" / name).mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "exports" / name / "export.json", content)


def test_other_formats_are_compared_with_the_trained_model(folder):
    write_export(folder, "litert")
    proof = EXPORT["proof"] | {"tolerance": None}
    write_export(folder, "small", format="onnx", quantize="int8", proof=proof)
    text = write(folder).path.read_text()
    cells = "1.2 MB | accuracy 98.00 % | -0.10 points [-0.20, +0.00] | 0.21 % | 2.4e-07"
    speed = "0.0902 (1.37) | 0.0063 (0.0586) |"
    assert f"| LiteRT | {cells}, allowed 0.0001 | {speed}" in text
    assert f"| ONNX int8 (`small`) | {cells} | {speed}" in text
    assert "Converted from the SavedModel (9.1 MB) by" in text and "OTHER WEIGHTS" not in text


def test_a_format_without_a_metric_has_no_columns_of_it(folder):
    proof = EXPORT["proof"] | {"test_examples": None}
    write_export(folder, "litert", quality=None, proof=proof)
    text = write(folder).path.read_text()
    assert "| format | size | largest difference | ms, batch of 1 | ms, batch of 64 |\n" in text
    assert "| LiteRT | 1.2 MB | 2.4e-07, allowed 0.0001, without the test split | " in text


def test_formats_of_other_weights_are_not_those_of_the_run(folder):
    write_export(folder, "litert", weights_sha256="0" * 64)
    text = write(folder).path.read_text()
    assert "> **`exports/litert` is of OTHER WEIGHTS: do not use it; export it again.**" in text
    assert "| LiteRT |" not in text
    write_export(folder, "onnx", format="onnx")
    write_export(folder, "openvino", format="openvino", weights_sha256="0" * 64)
    text = write(folder).path.read_text()
    said = "`exports/litert`, `exports/openvino` are of OTHER WEIGHTS: do not use them; "
    assert said in text and "| ONNX | 1.2 MB |" in text


@pytest.mark.parametrize("content", [[], {}, {"format": "x"}, {"proof": None}, {"speed": {}}])
def test_a_damaged_record_of_a_format_is_one_line(folder, content):
    write_export(folder, "litert")
    path = folder / "exports/litert/export.json"
    whole = files.read_json(path)
    path.write_text(json.dumps(whole | content if content else content))
    with pytest.raises(UserError, match=r"litert/export\.json: not the record of an export"):
        write(folder)


# --- limits -------------------------------------------------------------------------------------

BEATEN = {
    "simple_baseline": {"value": 0.7},
    "above_simple": {"value": 0.05, "low": 0.01, "high": 0.1},
}
REGRESSION = {"task": "regression", "headline": "mae"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": {"kind": "sample"}}, "SAMPLE DATA: "),
        ({"data": {"official": False}}, "NOT THE OFFICIAL DATA: "),
        ({"data": {"test_openings": 3}}, "The test split was opened 3 times"),
        (
            {"data": {"test_openings": None}},
            "It was not counted how often the test split was opened",
        ),
        ({"data": {"duplicates": 6}}, "6 test examples (2.00 %) also occur in train"),
        ({"data": {"duplicates": None}}, "It was not counted how many test examples"),
        ({}, "The network was not compared with a simple method"),
        (
            {"metrics": METRICS | BEATEN | {"above_simple": {"value": 0.0, "low": -1, "high": 1}}},
            "The network is not significantly better than: simple method.",
        ),
        (
            {
                "metrics": METRICS
                | BEATEN
                | {"above_simple": {"value": -0.5, "low": -1, "high": -0.1}}
            },
            "The network is significantly worse than: simple method.",
        ),
        (
            {"target": TargetRecord(metric="accuracy", at_least=0.9, verdict="not reached")},
            "The target was not reached.",
        ),
        (
            {},
            "The test split is small. With 300 test examples the accuracy may lie between",
        ),
        ({"seed": 5}, "This is one training, with seed 5"),
        (
            {},
            "The lowest recall of the 2 classes is that of “a”: 50.00 % [40.00, 60.00] of 100 test",
        ),
        ({}, "1 of 2 classes have fewer than 30 test examples, which say little about them: “b”."),
        (
            {
                "task": "multilabel",
                "metrics": {
                    "accuracy/b": proportion(80, 100),
                    "majority_baseline/b": {"value": 0.79},
                },
            },
            "1 of 2 labels do not vary in train, so that answers to them mean nothing: “a”.",
        ),
        (
            {
                "task": "multilabel",
                "metrics": {
                    "accuracy/b": proportion(80, 100),
                    "majority_baseline/b": {"value": 0.79},
                },
            },
            "1 of 2 labels are not predicted significantly more often than by always answering",
        ),
        ({**REGRESSION, "metrics": {}}, "True values of the test split lie between 1 and 4"),
        (
            {
                "task": "reconstruction",
                "metrics": {"train_error_over_svd": {"value": 2, "low": 1.5}},
            },
            "A truncated SVD with a code of the same size",
        ),
        ({"proof": None}, "The export was not verified"),
        ({"proof": ProofRecord(passed=False, max_difference=1.0)}, "The export differs from the"),
        ({"problems": ["figures: failed"]}, "Incomplete: figures: failed."),
        ({"search": {"trials": 40}}, "Its settings are the best of 40 trials on val"),
        (
            {"hyperparameters": {"weights": "/a/w.npz"}},
            "It begins with what other data taught (weights=w.",
        ),
        ({}, "Its probabilities are not calibrated."),
        ({"origin": {"corrections": "/a/suspects.csv"}}, "Labels were corrected, as suspects.csv"),
        (
            {"data": {"about": {"cut_texts": 0.25, "sequence_length": 30}}},
            "Only the first 30 tokens of a text are read; 25.00 % of the",
        ),
        ({}, "Not measured: other sources than that of the test split, later times (drift)"),
    ],
)
def test_limits_follow_from_the_record(fields, said):
    assert any(said in line for line in limits(run_of(**fields))), [*limits(run_of(**fields))]


def test_a_good_run_has_no_limits_but_those_of_every_run():
    metrics = {
        "accuracy": proportion(9900, 10_000),
        "calibrated_ece": {"value": 0.0},
        "recall/a": proportion(5000, 5000),
        "recall/b": proportion(5000, 5000),
        **BEATEN,
    }
    first, second = limits(run_of(metrics=metrics))
    assert first.startswith("Intervals are those of") and second.startswith("Not measured: ")


# --- again --------------------------------------------------------------------------------------


def test_again_keeps_what_people_wrote_and_renews_the_rest(folder):
    path = write(folder).path
    filled = fill(path)
    assert write(folder).lines == [f"model card: {path}"]
    assert path.read_text() == filled
    change(folder, "metrics.json", lambda metrics: metrics["accuracy"].update(value=0.7321))
    write(folder)
    assert path.read_text() != filled and "**73.21 %**" in path.read_text()
    for piece in parts.read(filled, path):
        if isinstance(piece, str) or piece.owner == "yours":
            assert str(piece) in path.read_text()
    assert "My words." in path.read_text()


def test_what_was_changed_by_hand_is_replaced_by_fresh_only(folder):
    path = write(folder).path
    edited = fill(path).replace("## Results", "## Great results").replace("keras", "pytorch", 1)
    edited = edited.replace("library_name: keras", "library_name: jax")
    path.write_text(edited)
    with pytest.raises(UserError, match="changed by hand since kpipe wrote it: metadata, results;"):
        write(folder)
    assert path.read_text() == edited
    assert "results: changed by hand, so that it cannot be compared with the run" in check(folder)
    write(folder, fresh=True)
    assert check(folder) == []
    assert "- pytorch" in path.read_text() and "My words." in path.read_text()  # ours to keep


def test_an_editor_may_change_spaces_and_ends_of_lines(folder):
    path = write(folder).path
    text = fill(path)
    path.write_bytes("\ufeff".encode() + text.replace("\n", "  \r\n").encode())
    assert check(folder) == []
    write(folder)
    assert path.read_text().split() == text.split()


@pytest.mark.parametrize("swapped", [False, True])
def test_sections_that_were_deleted_are_written_again_in_their_place(folder, swapped):
    """That of the first section is below the front matter, whose parts may have any order."""
    path = write(folder).path
    text = path.read_text()
    if swapped:
        pieces = parts.read(text, path)
        pieces[1:3] = pieces[2], "license: mit\n", pieces[1], "# mine\n"
        text = "".join(map(str, pieces))
    path.write_text(
        re.sub(r"\n<!-- (\w+):(contact|data|summary).*?<!-- /\1:\2 -->\n", "", text, flags=re.S)
    )
    assert "contact: the section is missing" in "\n".join(check(folder))
    assert {"summary: the part is missing", "data: the part is missing"} <= {*check(folder)}
    write(folder)
    assert path.read_text() == text
    assert front_matter(text)["library_name"] == "keras"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<!-- /kpipe:data -->", "", r"line \d+: kpipe:results begins before kpipe:data ends"),
        ("<!-- /yours:contact -->\n", "", "the end of yours:contact is missing"),
        ("<!-- yours:contact -->", "", "yours:contact ends but did not begin"),
        ("yours:contact", "yours:terms", "yours:terms is there twice"),
        ("# /yours:metadata\n# kpipe:metadata", "# kpipe:x", "begins before|not a card|ends but"),
        ("---\n# yours", "# yours", "not a card that kpipe wrote"),
        ("\n---\n\n<!-- kpipe", "\n\n<!-- kpipe", "the front matter is not closed by a line ---"),
        ("# /yours:m", "---\n# /yours:m", "/?yours:metadata is below the --- of line "),
        (
            "---\n# y",
            "---\n<!-- yours:x -->\n<!-- /yours:x -->\n# y",
            "yours:x is above the --- of",
        ),
    ],
)
def test_markers_that_do_not_fit_are_one_line(folder, old, new, said):
    path = write(folder).path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for function in (write, check):
        with pytest.raises(UserError, match=said) as caught:
            function(folder)
        assert str(path) in str(caught.value)


def test_a_file_that_is_no_card_is_never_overwritten(folder, tmp_path):
    (folder / NAME).write_text("# Mine\n")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe")
    for out, said in (
        (None, "not a card that kpipe wrote"),
        (tmp_path / "binary.md", "cannot be read"),
    ):
        with pytest.raises(UserError, match=said):
            write(folder, out, fresh=True)
    assert (folder / NAME).read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("mnist_mlp/run.json", "run.json: a file of the run"),
        ("mnist_mlp/serving/1/README.md", "README.md: a file of the run"),
        ("mnist_mlp", "mnist_mlp is a folder"),
        ("nowhere/card.md", "is in a folder that does not exist"),
    ],
)
def test_a_card_is_not_written_where_it_would_harm(folder, out, said):
    with pytest.raises(UserError, match=said):
        write(folder, folder.parent / out)
    assert open_run(folder)


def test_a_run_trained_anew_takes_what_was_filled_in_for_the_one_before(folder):
    fill(write(folder).path)
    older, newer = (folder.with_name(f"{folder.name}~{i}") for i in (9, 10))
    shutil.copytree(folder, older)
    (older / NAME).write_text((older / NAME).read_text().replace("Said by me", "Long ago"))
    shutil.copytree(folder, newer)
    (folder / NAME).unlink()
    assert write(folder).lines[1] == f"what was filled in is taken from {newer / NAME}"
    assert check(folder) == [] and "Said by me" in (folder / NAME).read_text()
    (newer / NAME).write_text("# Mine\n")
    assert write(folder, folder.parent / "other.md").to_fill  # elsewhere it begins anew


# --- check --------------------------------------------------------------------------------------


def test_a_check_lists_what_is_missing_a_line_each(folder, capsys):
    assert check(folder) == [f"{folder / NAME}: missing; kpipe card {folder} writes it"]
    path = write(folder).path
    assert [line.partition(":")[0] for line in check(folder)] == [
        *("license", "intended use", "out-of-scope use", "ethical considerations"),
        *("terms of use", "contact"),
    ]
    text = fill(path)
    assert cli.main(["card", str(folder), "--check"]) == 0
    assert capsys.readouterr().out == "complete\n"
    path.write_text(text.replace("Said by me, with 7 words: *so it is*.", "TODO"))
    assert [line.partition(": ")[2] for line in check(folder)] == ["to fill in"] * 5


def test_a_card_of_other_weights_is_found(folder, capsys):
    fill(write(folder).path)

    other = "f" * 64
    with np.load(folder / "predictions.npz") as arrays:
        np.savez(folder / "predictions.npz", **{**arrays, "weights_sha256": other})
    change(folder, "metrics.json", lambda metrics: metrics["accuracy"].update(value=0.9))
    change(folder, "run.json", lambda record: record.update(weights_sha256=other))
    assert cli.main(["card", "--check", str(folder)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *("metadata", "summary", "results", "limits", "identity"),
    ]
    assert "the card says “- test accuracy 74.72 %" in lines[1]
    assert "the run “- test accuracy 90.00 %" in lines[1]
    assert last.startswith("NOT COMPLETE: 5 things; ")
    assert cli.main(["card", str(folder)]) == 0 == cli.main(["card", str(folder), "--check"])


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("license: mit", ""),
        ('license: "cc-by-4.0"  # as the data', ""),
        ("license:", "license: missing in the front matter"),
        ("license: # mit", "license: missing"),
        ("license: Apache 2.0", "license: 'Apache 2.0' is no identifier"),
        ("license: other", "license_name: missing in the front matter, which license: other needs"),
        ("license: other\nlicense_name: mine\nlicense_link: LICENSE", ""),
        ("license: mit\ndatasets:\n- x", "datasets: twice in the front matter"),
        ("license: null\ntags:\n- a", "license: missing"),
        ("license: TODO\n\ntags:\n- a", "license: missing"),
        ("license:\n- mit", "license: a list; expected one identifier on the line"),
        (
            "license:  # one\n  - mit\n  - gpl",
            "license: a list; expected one identifier on the line",
        ),
        ("license: mit\nlanguage: English", "language: 'English' is no code; expected one of ISO"),
    ],
)
def test_the_front_matter_needs_a_licence(front, said):
    found = [*blanks.missing_in_front(front, "datasets:\n- mnist", run_of().record)]
    assert found[0].startswith(said) if said else not found


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("language: en", ""),
        ("language: [en, 'pt-BR']  # two", ""),
        ('language:\n- en\n# more\n\n- "de"\ntags:\n- x', ""),
        ("language:\n  - multilingual", ""),
        ("tags:\n- en", "language: missing in the front matter; expected that of the texts"),
        ("language:", "language: missing"),
        ("language: # en", "language: missing"),
        ("language: []", "language: missing"),
        ("language: ~", "language: missing"),
        ("language: tbd", "language: missing"),
        ("language:\ntags:\n- en", "language: missing"),
        ("language:\n-\ntags:\n- en", "language: missing"),
        ("language:\n- en\n- German", "language: 'German' is no code"),
    ],
)
def test_the_front_matter_of_texts_needs_a_language(front, said):
    record = run_of(data={"usage": '--text "A"'}).record
    found = [*blanks.missing_in_front(f"license: mit\n{front}", "datasets:\n- mnist", record)]
    assert found[0].startswith(said) if said else not found


def test_what_is_written_between_the_parts_of_the_front_matter_is_read(folder):
    path = write(folder).path
    path.write_text(fill(path).replace("license: mit  # mine\n", ""))
    assert check(folder)[0].startswith("license: missing")
    for before in ("# yours:metadata", "# kpipe:metadata", "---\n\n"):
        text = path.read_text()
        path.write_text(text.replace(before, f"license: mit\n{before}", 1))
        assert check(folder) == []
        path.write_text(path.read_text().replace("\ntags:", "\nlicense: mit\ntags:", 1))
        assert check(folder) == ["license: twice in the front matter, which YAML does not allow"]
        path.write_text(text)


@pytest.mark.parametrize(
    ("content", "filled"),
    [
        (f"## A\n\n<!-- TO FILL: x -->\n\n{blanks.NEEDED}", False),
        (f"## A\n\nSaid.\n\n{blanks.NEEDED.upper()}", False),
        ("## A\n\n<!-- TO FILL: x -->\n\n", False),
        *(
            (f"## A\n\n{said}", False)
            for said in ("*TBD*", "TBD: ask legal", "- TODO ask", "todo: x")
        ),
        *((f"## A\n\n{said}", False) for said in ("N/A", "n/a.", "*NA*", "To fill.", "…")),
        ("## A\n\nSaid.\n\n### B\n\n**TODO** errors", False),
        ("## A\n\nTodo lists: it sorts them. N/A is a word.\n\nTo fill orders.", True),
        ("## A\n\n...", False),
        ("", False),
        ("## A\n\n<!-- TO FILL: x -->\n\nSaid.", True),
        ("Nobody.", True),
    ],
)
def test_a_blank_is_filled_by_words(content, filled):
    assert blanks.is_filled(content) is filled


# --- the command, and the run's other files ------------------------------------------------------


def test_a_card_leaves_the_run_verified_and_is_not_listed_by_a_later_manifest(folder):
    write(folder)
    write(folder, folder / "README.md")
    result = verifying.Verification(folder)
    assert verifying._verify_files(result) and result.passed
    assert result.lines[0].endswith("hence not verified: MODEL_CARD.md, README.md")
    reporting.write_manifest(folder, open_run(folder).record)
    fill(folder / NAME)
    assert verifying._verify_files(result) and result.passed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder; expected a run's folder"),
        (["search"], "search: the folder of a search; expected that of a run"),
        (["empty"], "empty: not the folder of a run"),
        (["unfinished"], "the run is not finished; it is resumed by: "),
        (["mnist_mlp", "--check", "--fresh"], "--check writes nothing and --fresh replaces"),
        (["mnist_mlp", "--ou", "x"], "--ou: no such option"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(folder.parent)
    for name in ("search", "empty", "unfinished"):
        pathlib.Path(name).mkdir()
    pathlib.Path("search/search.json").write_text("{}")
    record = json.loads((folder / "run.json").read_text()) | {"status": "unfinished"}
    pathlib.Path("unfinished/run.json").write_text(json.dumps(record))
    assert cli.main(["card", *arguments]) == 2
    assert said in capsys.readouterr().err and not (folder / NAME).exists()


def test_the_command_says_where_the_card_is_and_what_to_fill_in(folder, capsys):
    assert cli.main(["card", str(folder), "--out", str(folder / "README.md")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"model card: {folder / 'README.md'}"
    assert second.startswith("to fill in by you: license, intended use, out-of-scope use, ")
