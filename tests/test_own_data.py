"""A user's own folder, file or DataFrame, from the command to the answers."""

import csv
import json
import re
import shutil

import own_files
import pytest

import kpipe
from kpipe import cli
from kpipe.experiments import catalogue, execution, keys, modules, own
from kpipe.experiments.new import write_pipeline
from kpipe.files import home
from kpipe.records import open_run
from kpipe.training import History

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A user's files, to be copied."""
    folder = tmp_path_factory.mktemp("written")
    own_files.write_all(folder)
    return folder


@pytest.fixture
def desk(written, tmp_path, monkeypatch):
    """A folder with a user's files, where commands are typed."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def untrained(quick_runs, monkeypatch):
    """Runs whose network keeps its initial weights, for tests of what surrounds the training."""

    def fit(self, model, data, **_):
        self.check(model, len(data.train), data.train)
        row = {"epoch": 1, "step": 1, "loss": 1.0, self.monitor: 1.0}
        return History([row], step=1, stopped_by="epochs", best_epoch=1)

    monkeypatch.setattr(kpipe.Trainer, "fit", fit)
    monkeypatch.setattr(execution.Execution, "_export", lambda *_: None)


QUICK = {
    "photos": [
        "photos/",
        "epochs=1",
        "batch_size=128",
        "image_size=32",
        "filters=8",
        "num_blocks=1",
    ],
    "reviews": ["reviews.csv", "target=rating", "epochs=1", "batch_size=128", "embedding_dim=8"],
    "houses": ["houses.csv", "target=price", "epochs=1", "batch_size=128", "units=8"],
}
TASKS = {"photos": "classification", "reviews": "classification", "houses": "regression"}


def run_of(folder, name):
    (path,) = (folder / "saved_models").glob(f"{name}*")
    return open_run(path)


@pytest.mark.parametrize("name", QUICK)
def test_a_users_data_are_trained_on_verified_and_predicted(
    name, desk, verified_here, capsys, monkeypatch
):
    monkeypatch.setenv("KPIPE_HOME", str(desk / "home"))  # other tests open these test splits, too
    assert cli.main(["run", *QUICK[name]]) == 0
    said = capsys.readouterr().out
    assert "OFFICIAL" not in said and f"{name} on your own data: test" in said
    run = run_of(desk, name)
    assert run.record.task == TASKS[name] and run.record.proof.passed
    assert run.record.data.kind == "own" and run.record.pipeline == name
    assert run.record.data.test_openings == 1 and run.record.target is None
    opened = json.loads((home() / "test_openings.jsonl").read_text())
    assert re.fullmatch("[0-9a-f]{32,}", opened["data"])  # by content: names repeat
    given = {"photos": ["photos/apple/000.png", "photos/plum/001.png"]}
    files = given.get(name, [f"new_{name}.csv"])
    assert cli.main(["predict", str(run.folder), *files, "--csv", "answers.csv"]) == 0
    with open("answers.csv", newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == (2 if name == "photos" else 5)
    assert {"value"} <= answers[0].keys() or {"label", "probability"} <= answers[0].keys()


def test_a_new_pipeline_builds_the_same_network(desk, untrained, capsys):
    data, *keys = QUICK["houses"]
    first, second = bundled_and_new("houses", desk)
    assert first.weights_sha256 == second.weights_sha256
    assert (first.trainer, first.seed, first.plan) == (second.trainer, second.seed, second.plan)
    assert first.data.fingerprint == second.data.fingerprint
    # It is not written over.
    assert cli.main(["new", "mine", data, *keys]) == 2
    assert "mine.py exists" in capsys.readouterr().err


@pytest.mark.slow  # equal after the training too, for data of all kinds
@pytest.mark.parametrize("name", QUICK)
def test_a_new_pipeline_trains_the_same_network(name, desk, quick_runs):
    first, second = bundled_and_new(name, desk)
    assert first.weights_sha256 == second.weights_sha256
    assert first.data.fingerprint == second.data.fingerprint


def bundled_and_new(name, desk):
    """Runs a user's data by command and by the pipeline written for them, and returns records."""
    assert cli.main(["run", *QUICK[name]]) == 0
    assert cli.main(["new", "mine", *QUICK[name]]) == 0
    written = (desk / "mine.py").read_text()
    assert 30 <= len(written.splitlines()) <= 48 and "kpipe run mine.py" in written
    assert max(map(len, written.splitlines())) <= 100
    assert cli.main(["run", "mine.py"]) == 0
    return [run_of(desk, part).record for part in (name, "mine")]


OFTEN = {"epochs": "6", "batch_size": "16", "patience": "4", "gradient_accumulation_steps": "2"}
OFTEN |= {"ema_momentum": "0.9"}
SELDOM = {
    "photos": {
        **{"class_weight": "balanced", "monitor_mode": "max", "reduce_lr_patience": "3"},
        **{"mixup": "0.2", "label_smoothing": "0.1", "flip_at_test": "true"},
        "alternating_flip": "true",  # instead of flip
    },
    "reviews.csv": {
        **{"target": "rating", "retrain": "true", "val_fraction": "0.3", "text": "body"},
        **{"ngrams": "2", "ngram_buckets": "256", "warmup_steps": "7"},
    },
    "houses.csv": {"target": 'a "price" \\', "checkpoint_seconds": "7", "num_layers": "0"},
}


@pytest.mark.parametrize("name", SELDOM)
def test_a_new_pipeline_has_every_key_that_was_given(name, desk):
    data = f'my "{name}'
    houses = own_files.houses(60)
    houses.rename(columns={"price": 'a "price" \\'}).to_csv("houses.csv", index=False)
    (desk / name).rename(desk / data)
    given = {**OFTEN, **SELDOM[name], "schedule": "constant"}
    written = write_pipeline("mine", data, given)
    bundled, mine = modules.load(*own.find(data, given))[0], modules.load(written)[0]
    first, second = keys.resolve(bundled, given), keys.resolve(mine, {})
    assert first.trainer == second.trainer
    assert first.dataset.val_fraction == second.dataset.val_fraction
    assert first.dataset.augmentation == second.dataset.augmentation
    changes = first.dataset.augmentation
    assert changes.flip_at_test is changes.alternating_flip is (name == "photos")
    assert not changes.flip
    models = [part.build_model(by.hp) for part, by in ((bundled, first), (mine, second))]
    configs = [{**model.optimizer.get_config(), "name": ""} for model in models]
    assert configs[0] == configs[1] and configs[0]["gradient_accumulation_steps"] == 2
    assert configs[0]["ema_momentum"] == 0.9 and configs[0]["use_ema"]
    if "warmup_steps" in given:
        assert configs[0]["learning_rate"]["config"]["decay_steps"] == 7
    shapes = [[weight.shape for weight in model.weights] for model in models]
    assert shapes[0] == shapes[1] and ((256, 1) in shapes[0]) is (name == "reviews.csv")


def test_a_look_trains_nothing_and_names_what_it_saw(desk, capsys, monkeypatch):
    monkeypatch.setattr(kpipe.Trainer, "fit", None)
    assert cli.main(["look", "houses.csv", "target=price"]) == 0
    said = capsys.readouterr().out
    assert "regression" in said and "missing" in said
    page = (desk / "saved_models" / "houses-look.html").read_text()
    assert "town" in page
    assert not any(loaded in page for loaded in ('src="http', 'href="http', "<script"))


def test_bad_rows_and_files_are_left_out_if_asked(desk, untrained, capsys):
    houses = own_files.houses()
    houses.loc[[3, 50], "price"] = None
    houses.to_csv("sold.csv", index=False)
    (desk / "photos" / "apple" / "bad.png").write_bytes(b"no image")
    keys = ["target=price", "epochs=1", "units=8"]
    for command, said in ((["sold.csv", *keys], "rows 5, 52"), (["photos"], "bad.png")):
        assert cli.main(["run", *command]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["look", "photos", "--skip-bad", "1"]) == 0
    assert "bad.png" in capsys.readouterr().out
    assert cli.main(["run", "sold.csv", *keys, "--skip-bad", "2"]) == 0
    record = run_of(desk, "sold").record
    assert sum(record.data.examples.values()) == 118
    run = run_of(desk, "sold")
    assert run.folder.name == "sold,epochs=1,units=8"
    missing = "price is missing"
    listed = f"path,reason\nsold.csv:5,{missing}\nsold.csv:52,{missing}\n"
    assert (run.folder / "bad_files.csv").read_text() == listed
    assert "2 left out as unreadable, listed in " in capsys.readouterr().out


def test_a_dataframe_is_trained_on(desk, untrained):
    run = kpipe.run(own_files.houses(), target="price", epochs=1, units=8)
    assert run.record.task == "regression" and run.record.data.kind == "own"
    assert run.folder.name.startswith("dataframe")


def test_a_users_data_are_searched(desk, untrained):
    command = ["run", "houses.csv", "target=price", "units=8,16", "epochs=1", "--search", "grid"]
    assert cli.main(command) == 0
    (search,) = (path for path in (desk / "saved_models").glob("houses*search=*") if path.is_dir())
    with open(search / "trials.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    assert sorted(trial["units"] for trial in trials) == ["16", "8"]
    assert {trial["status"] for trial in trials} == {"completed"}
    best = trials[0]["units"]
    assert (desk / "saved_models" / f"houses,epochs=1,units={best}" / "run.json").is_file()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "photo"], "no pipeline, file or folder 'photo'"),
        (["run", "photo/"], "photo: no such file or folder; did you mean 'photos'?"),
        (["run", "table"], "your own data: give them, kpipe run FILE target=COLUMN"),
        (["run", "image_folder"], "your own data: give them, kpipe run FOLDER"),
        (["run", "houses.csv"], "target"),
        (["run", "houses.csv", "target=prise"], "did you mean 'price'?"),
        (["run", "houses.csv", "target=price", "unit=3"], "did you mean 'units'?"),
        (["run", "houses.csv", "target=price", "--data", "sample"], "your own data"),
        (["look", "houses.csv", "target=price", "epochs=3"], "no key 'epochs'"),
        (
            ["run", "mnist_mlp", "--skip-bad", "3"],
            "has its own data, of known sizes",
        ),
        (["look", "mnist_mlp"], "expected your own folder or file"),
        (["new", "2nd", "photos"], "not a module name"),
        (["new", "mine", "photos", "filters=8,16"], "filters=8,16: expected one value"),
        (["new", "mnist_mlp", "photos"], "is the name of a bundled pipeline"),
        (["photos"], "did you mean kpipe run photos?"),
    ],
)
def test_a_mistake_is_one_line(command, said, desk, capsys):
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert not (desk / "saved_models").exists() or not any((desk / "saved_models").iterdir())


@pytest.mark.parametrize(
    ("file", "name"), [("a.csv", "a"), ("a.v2.csv", "a.v2"), ("a.csv.gz", "a"), ("b.jsonl", "b")]
)
def test_a_run_is_named_after_the_file(file, name, tmp_path):
    frame = own_files.houses()
    if file.endswith("jsonl"):
        frame.to_json(tmp_path / file, orient="records", lines=True)
    else:
        frame.to_csv(tmp_path / file, index=False)
    found = own.find(tmp_path / file, {"target": "price"})
    assert (found.name, found.file.stem) == (name, "table")


def test_pipelines_for_own_data_are_files_with_keys():
    for name in catalogue.OWN_DATA:
        entry = catalogue.read(catalogue.folder() / f"{name}.py")
        assert entry.title.startswith("Your own") and "kpipe look" in entry.docstring
        assert name not in catalogue.names()
    assert own.is_data("photos/") and own.is_data("a.csv") and own.is_data({})
    assert not own.is_data("mnist_mlp") and not own.is_data("my.py") and not own.is_data("mist")
