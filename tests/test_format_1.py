"""Runs that kpipe wrote before its records had types (format 1) open, predict and are verified.

So do those of format 2, which were not calibrated, and of format 3, whose JSON has no checksum.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest

import kpipe
from kpipe import cli, figures
from kpipe.errors import UserError
from kpipe.experiments.summary import summary
from kpipe.records import open_run

RUNS = pathlib.Path(__file__).parent / "format_1"
NAMES = ("classification", "texts", "reconstruction")


@pytest.mark.parametrize("name", NAMES)
def test_an_older_run_opens_with_all_that_it_recorded(name):
    run = open_run(RUNS / name)
    content = json.loads((RUNS / name / "run.json").read_text())
    assert run.record.format_version == 1 and run.record.status == "finished"
    assert run.metrics == json.loads((RUNS / name / "metrics.json").read_text())
    assert run.record.training.best_epoch in run.history["epoch"]
    written = json.loads(json.dumps(run.record.to_json()))
    for key in content.keys() - {"proof"}:  # that of format 1 counted other things
        if isinstance(content[key], dict):
            assert content[key].items() <= written[key].items(), key
        else:
            assert content[key] == written[key], key
    assert run.record.proof.passed and len(run.predictions["index"]) > 100


@pytest.mark.parametrize(
    ("name", "headline", "said"),
    [
        ("classification", "accuracy", "test accuracy 74.72 %"),
        ("texts", "accuracy", "TF-IDF with logistic regression"),
        ("reconstruction", "train_error_over_svd", "PSNR"),
    ],
)
def test_the_result_of_an_older_run_in_words(name, headline, said):
    run = open_run(RUNS / name)
    assert run.headline == headline
    assert said in summary(run) and "export verified" in summary(run)


def unpack(golden, name):
    content, sizes = golden[name].tobytes(), golden[f"{name}_sizes"]
    return [content[end - size : end] for end, size in zip(np.cumsum(sizes), sizes, strict=True)]


def test_an_older_export_answers_what_its_model_answered():
    golden = np.load(RUNS / "classification" / "golden.npz", allow_pickle=False)
    model = kpipe.load(RUNS / "classification")
    answers = model.predict(golden["inputs"])
    np.testing.assert_allclose(answers["probabilities"], golden["probabilities"], atol=1e-5)
    assert list(answers["label"]) == list(golden["labels"])
    texts = np.load(RUNS / "texts" / "golden.npz", allow_pickle=False)
    answers = kpipe.load(RUNS / "texts").predict(unpack(texts, "texts"))
    np.testing.assert_allclose(answers["probabilities"], texts["probabilities"], atol=1e-5)
    images = np.load(RUNS / "reconstruction" / "golden.npz", allow_pickle=False)
    model = kpipe.load(RUNS / "reconstruction")
    np.testing.assert_allclose(model.encode(images["inputs"])["code"], images["code"], atol=1e-4)
    np.testing.assert_allclose(model.decode(images["code"]), images["reconstruction"], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_older_export_that_was_changed_is_refused(name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(RUNS / name, folder)
    file = folder / "serving" / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"variables\.data.* is damaged or changed"):
        kpipe.load(folder)


def test_predictions_of_other_weights_are_refused(tmp_path):
    folder = tmp_path / "classification"
    shutil.copytree(RUNS / "classification", folder)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"run\.json is damaged or changed, according to mani"):
        open_run(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"predictions\.npz is missing or damaged"):
        open_run(folder)


def test_the_command_line_predicts_with_an_older_run(capsys):
    assert cli.main(["predict", str(RUNS / "texts"), "--text", "stocks fall again", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == "stocks fall again"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_a_run_of_format_2_opens_and_answers_without_calibration(capsys, tmp_path):
    folder = RUNS.with_name("format_2") / "vectors"
    run = open_run(folder)
    assert run.record.format_version == 2 and run.record.calibration is None
    assert "test accuracy 100.00 %" in summary(run) and "confidence" not in summary(run)
    assert figures.reliability_diagram(run) is None
    golden = np.load(folder / "predictions.npz", allow_pickle=False)
    corners = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    answers = kpipe.load(folder).predict(corners)
    assert sorted(answers) == ["label", "probabilities"]
    np.testing.assert_allclose(answers["probabilities"], golden["probabilities"], atol=1e-5)
    file = tmp_path / "corners.csv"
    file.write_text("x,y\n0,1\n")
    assert cli.main(["predict", str(folder), str(file)]) == 0
    assert "1 (" in (said := capsys.readouterr().out) and "set" not in said


def test_a_run_of_format_3_opens_answers_and_is_checked(tmp_path):
    folder = tmp_path / "vectors"
    shutil.copytree(RUNS.with_name("format_3") / "vectors", folder)
    run = open_run(folder)
    assert run.record.format_version == 3 and run.headline == "accuracy"
    corners = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    answers = kpipe.load(folder).predict(corners)
    np.testing.assert_allclose(
        answers["probabilities"], run.predictions["probabilities"], atol=1e-5
    )
    assert run.model.count_params() == 22
    with open(folder / "model.keras", "r+b") as file:
        file.seek(1000)
        file.write(b"x")
    with pytest.raises(UserError, match=r"model\.keras is damaged or changed"):
        _ = open_run(folder).model
