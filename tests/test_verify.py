"""`kpipe verify` finds every file of a run that is not as the run wrote it."""

import json
import pathlib
import random
import shutil

import numpy as np
import pytest
from proving import load_proof

import kpipe
from kpipe import cli, files, verifying
from kpipe.errors import UserError
from kpipe.experiments.reporting import write_manifest
from kpipe.records import read_record

RUNS = pathlib.Path(__file__).parent
OLD = ["format_1/classification", "format_1/texts", "format_1/reconstruction", "format_2/vectors"]


@pytest.fixture
def not_replayed(monkeypatch):
    def prove(folder, test):
        raise AssertionError("what is damaged must not be loaded")

    monkeypatch.setattr(verifying, "prove", prove)


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run.folder, tmp_path / "copied")


@pytest.mark.parametrize("name", OLD)
def test_an_older_run_is_verified_without_its_data(name, verified_here, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(RUNS / name, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {file: entry for file, entry in manifest["files"].items() if (folder / file).exists()}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": kept}))  # no figures
    result = kpipe.verify(folder)
    assert result.passed and result.lines[-1] == "verified"
    assert "does not name its prepared arrays" in result.lines[-2]


@pytest.mark.parametrize("name", OLD[:3])
def test_other_answers_of_an_older_export_are_found(name, monkeypatch):
    proof = load_proof(monkeypatch)

    class Changed(proof._Arrays):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            for key in ("probabilities", "code"):
                if key in self.arrays:
                    self.arrays[key] = self.arrays[key] + np.float32(0.01)

    monkeypatch.setattr(proof, "_Arrays", Changed)
    assert not proof.main(RUNS / name)["passed"]


def test_a_copied_linked_and_read_only_run_is_verified(copy, verified_here, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        result = kpipe.verify(link)
    finally:
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
    assert result.passed and "360 examples were replayed as well" in result.lines[-2]


def test_without_prepared_arrays_the_test_split_is_left_out(copy, verified_here, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", "~nobody_has_this_name/home")  # no home folder
    result = kpipe.verify(copy)
    assert result.passed and "does not exist any more" in result.lines[-2]


def test_damaged_missing_and_other_files_are_named(copy, not_replayed, capsys):
    variables = copy / "serving/1/variables/variables.data-00000-of-00001"
    content = bytearray(variables.read_bytes())
    content[-7] ^= 4
    variables.write_bytes(content)
    (copy / "history.csv").unlink()
    (copy / "notes.txt").write_text("mine")
    (copy / "serving" / "1" / "assets" / "planted").touch()
    assert cli.main(["verify", str(copy)]) == 1
    said = capsys.readouterr().out
    assert "missing: history.csv\n" in said
    assert "damaged or changed: serving/1/variables/variables.data-00000-of-00001\n" in said
    assert "not written by the run: serving/1/assets/planted\n" in said
    assert "not listed in manifest.json, hence not verified: notes.txt\n" in said
    assert said.endswith("NOT VERIFIED: 3 problems\n")


def plant_a_version(copy):
    shutil.copytree(copy / "serving/1", copy / "serving/2")  # whole, with a manifest of its own


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (plant_a_version, "serving/2/"),
        (lambda copy: (copy / "serving/2").mkdir(), "serving/2/"),
        (lambda copy: (copy / "serving/2").symlink_to(copy / "serving/1"), "serving/2/"),
        (lambda copy: files.write_json(copy / "serving/1/logs/x", 1), "serving/1/logs/x"),
        (lambda copy: files.write_json(copy / "serving/exports/x", 1), "serving/exports/x"),
    ],
    ids=["version", "empty_version", "linked_version", "logs", "exports"],
)
def test_what_would_be_served_and_is_not_of_the_run_is_a_problem(copy, not_replayed, plant, named):
    for folder in ("serving/1/logs", "serving/exports"):
        (copy / folder).mkdir()
    plant(copy)
    assert kpipe.verify(copy).problems == [f"files: not written by the run: {named}"]
    # Completing the run does not make it a part of it.
    if not named.startswith("serving/1/"):
        write_manifest(copy, read_record(copy / "run.json"))
        assert kpipe.verify(copy).problems


def test_an_operation_that_loading_refuses_is_replayed_only_with_trust(
    copy, verified_here, monkeypatch
):
    def refuse(folder, version):
        raise UserError(f"{folder}: refused before loading; --trust loads it")

    monkeypatch.setattr(verifying, "check_graph", refuse)
    assert kpipe.verify(copy).problems == [f"{copy}: refused before loading; --trust loads it"]
    assert kpipe.verify(copy, trust=True).passed


def test_a_file_of_ones_own_beside_the_results_does_no_harm(copy, verified_here):
    (copy / "notes.txt").write_text("mine")
    assert kpipe.verify(copy).passed


def test_what_a_verified_run_lacks_is_said(copy, verified_here):
    record = files.read_json(copy / "run.json")
    record |= {"problems": ["figure plot failed"], "command": "kpipe run x"}
    files.write_json(copy / "run.json", record)
    lines = kpipe.verify(copy).lines
    assert "run.json: incomplete: figure plot failed; it is completed by: kpipe run x" in lines


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("manifest.json", None, "manifest.json: missing"),
        ("manifest.json", "{}", "not a valid manifest"),
        ("manifest.json", '{"files": {"../x": {"sha256": ""}}}', "it lists '../x'"),
        ("manifest.json", "[", "not a valid manifest"),
        ("run.json", "[]", "not the record of a run"),
        ("run.json", '{"format_version": 99}', "written by a newer kpipe"),
        ("run.json", '{"pipeline": "x", "command": "kpipe run x"}', "resumed by: kpipe run x"),
    ],
)
def test_a_damaged_manifest_or_record_is_a_problem(
    file, content, said, copy, not_replayed, monkeypatch
):
    (copy / file).write_text(content) if content else (copy / file).unlink()
    result = kpipe.verify(copy)
    assert not result.passed and any(said in problem for problem in result.problems)


def test_an_unfinished_run_is_one_problem_with_the_command_that_goes_on(copy, not_replayed):
    (copy / "run.json").write_text('{"pipeline": "x", "command": "kpipe run x"}')
    (copy / "manifest.json").unlink()
    (said,) = kpipe.verify(copy).problems
    assert said.endswith("not finished; it is resumed by: kpipe run x")


@pytest.mark.parametrize("command", ["verify", "reproduce", "run --continue", "predict"])
def test_a_missing_folder_is_told_before_tensorflow_is_imported(command, monkeypatch, capsys):
    for name in ("verify", "reproduce", "run", "predict"):
        monkeypatch.setattr(f"kpipe.commands.{name}.start", lambda verbose: 1 / 0)
    words = [*command.split(), "nowhere"]
    assert cli.main(words) == 2
    assert "nowhere: no such folder; expected a run's folder" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="not the folder of a run"):
        kpipe.verify(tmp_path)
    assert cli.main(["verify", str(tmp_path / "missing")]) == 2
    assert cli.main(["verify"]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.slow
def test_no_changed_bit_of_a_run_is_missed(copy, not_replayed, capsys):
    found = flips = 0
    rng = random.Random(0)
    paths = [path for path in copy.rglob("*") if path.is_file() and "logs" not in path.parts]
    paths = [path for path in paths if path.stat().st_size and path.name != "manifest.json"]
    for _ in range(200):
        path = rng.choice(paths)
        before = path.read_bytes()
        after = bytearray(before)
        after[rng.randrange(len(after))] ^= 1 << rng.randrange(8)
        path.write_bytes(after)
        try:
            flips += 1
            result = verifying.Verification(copy)
            verifying._verify_files(result)
            found += not result.passed
        finally:
            path.write_bytes(before)
    capsys.readouterr()
    print(f"verify: {flips} flipped bits, {found} detected, {flips - found} silent")
    assert found == flips
