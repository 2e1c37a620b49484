"""A user's own folder, file or DataFrame, from the command to the answers."""

import csv

import own_files
import pytest

import kpipe
from kpipe import cli
from kpipe.experiments import catalogue, keys, modules, own
from kpipe.experiments.new import write_pipeline
from kpipe.runs import open_run


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a user's files, where commands are typed."""
    own_files.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = {
    "photos": ["photos/", "epochs=2", "image_size=32", "filters=8", "num_blocks=2"],
    "reviews": ["reviews.csv", "target=rating", "epochs=12", "embedding_dim=16"],
    "houses": ["houses.csv", "target=price", "epochs=15", "units=16"],
}
TASKS = {"photos": "classification", "reviews": "classification", "houses": "regression"}


def run_of(folder, name):
    (path,) = (folder / "saved_models").glob(f"{name}*")
    return open_run(path)


@pytest.mark.parametrize("name", QUICK)
def test_a_users_data_are_trained_on_verified_and_predicted(name, desk, verified_here, capsys):
    assert cli.main(["run", *QUICK[name]]) == 0
    said = capsys.readouterr().out
    assert "OFFICIAL" not in said and f"{name} on your own data: test" in said
    run = run_of(desk, name)
    assert run.record.task == TASKS[name] and run.record.proof.passed
    assert run.record.data.kind == "own" and run.record.pipeline == name
    assert run.record.data.test_openings == 1 and run.record.target is None
    given = {"photos": ["photos/apple/000.png", "photos/plum/001.png"]}
    files = given.get(name, [f"new_{name}.csv"])
    assert cli.main(["predict", str(run.folder), *files, "--csv", "answers.csv"]) == 0
    with open("answers.csv", newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == (2 if name == "photos" else 5)
    assert {"value"} <= answers[0].keys() or {"label", "probability"} <= answers[0].keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "houses")) for name in QUICK]
)
def test_a_new_pipeline_trains_the_same_network(name, desk, quick_runs, capsys):
    data, *keys = QUICK[name]
    assert cli.main(["run", data, *keys]) == 0
    assert cli.main(["new", "mine", data, *keys]) == 0
    written = (desk / "mine.py").read_text()
    assert 30 <= len(written.splitlines()) <= 48 and "kpipe run mine.py" in written
    assert max(map(len, written.splitlines())) <= 100
    assert cli.main(["run", "mine.py"]) == 0
    first, second = (run_of(desk, part).record for part in (name, "mine"))
    assert first.weights_sha256 == second.weights_sha256
    assert first.data.fingerprint == second.data.fingerprint
    # It is not written over.
    assert cli.main(["new", "mine", data, *keys]) == 2
    assert "mine.py exists" in capsys.readouterr().err


OFTEN = {"epochs": "6", "batch_size": "16", "patience": "4", "gradient_accumulation_steps": "2"}
SELDOM = {
    "photos": {"class_weight": "balanced", "monitor_mode": "max", "reduce_lr_patience": "3"},
    "reviews.csv": {"target": "rating", "retrain": "true", "val_fraction": "0.3", "text": "body"},
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
    models = [part.build_model(by.hp) for part, by in ((bundled, first), (mine, second))]
    configs = [{**model.optimizer.get_config(), "name": ""} for model in models]
    assert configs[0] == configs[1] and configs[0]["gradient_accumulation_steps"] == 2


def test_a_look_trains_nothing_and_names_what_it_saw(desk, capsys, monkeypatch):
    monkeypatch.setattr(kpipe.Trainer, "fit", None)
    assert cli.main(["look", "houses.csv", "target=price"]) == 0
    said = capsys.readouterr().out
    assert "regression" in said and "missing" in said
    page = (desk / "saved_models" / "houses-look.html").read_text()
    assert "town" in page
    assert not any(loaded in page for loaded in ('src="http', 'href="http', "<script"))


def test_bad_rows_and_files_are_left_out_if_asked(desk, quick_runs, capsys):
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
    assert run_of(desk, "sold").folder.name == "sold,epochs=1,units=8"


def test_a_dataframe_is_trained_on(desk, quick_runs):
    run = kpipe.run(own_files.houses(), target="price", epochs=1, units=8)
    assert run.record.task == "regression" and run.record.data.kind == "own"
    assert run.folder.name.startswith("dataframe")


def test_a_users_data_are_searched(desk, quick_runs):
    command = ["run", "houses.csv", "target=price", "units=8,16", "epochs=1", "--search", "grid"]
    assert cli.main(command) == 0
    assert (desk / "saved_models" / "houses,epochs=1,search=grid,units=8+16").is_dir() or list(
        (desk / "saved_models").glob("houses*search*")
    )


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
