import dataclasses

import numpy as np
import pandas as pd
import pytest

import kpipe
from kpipe import Trainer, cli, datasets, label_checking
from kpipe.data import prepare
from kpipe.datasets.corrections import (
    Suspect,
    read_corrections,
    read_suspects,
    write_suspects,
)
from kpipe.datasets.splits import folds_of
from kpipe.errors import RunError, UserError
from kpipe.experiments.describing import new_record
from kpipe.experiments.folders import run_folder
from kpipe.experiments.running import open_experiment
from kpipe.measures.confident_learning import label_noise
from kpipe.report.labels import SHOWN, sentence, to_picture, write_labels

WRONG = np.arange(0, 300, 20)  # of the training points
PIPELINE = '''"""Points about three centres; some labels are wrong."""
import numpy as np
import own

from kpipe import Trainer, datasets, models

task = "classification"


def load_data(hp):
    x, y = own.blobs(300)
    x = np.float32(own.CENTRES[y] + 0.1 * (x - own.CENTRES[y]))
    x[1], y[1] = x[2], y[2]  # a copy
    y[np.arange(0, 300, 20)] += 1
    test = np.full((9, 5), 7, "float32"), np.arange(9) % 3
    return own.dataset({"train": (x, y % 3), "test": test})


def build_model(hp):
    model = models.mlp((5,), 3, units=())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.1
    return model


def build_trainer(hp):
    return Trainer(epochs=2, batch_size=16, retrain=True)
'''


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "mine.py"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def check(path):
    """A check of the labels, and what each of its trainings saw."""
    seen, fit = [], Trainer.fit

    def watched(self, model, data, **options):
        seen.append((self, data))
        return fit(self, model, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", watched)
        result = kpipe.check_labels(path, folds=2, out=path.parent / "out")
    return result, seen


def test_planted_labels_are_found(check):
    result, _ = check
    assert result.record.command.startswith("kpipe.check_labels(")
    found = {int(name.split()[1]) for name in result.suspects.example}
    assert len(found & set(WRONG)) >= 0.9 * len(WRONG)
    assert len(found & set(WRONG)) >= 0.9 * len(found)
    noise = result.record.details["label_noise"]
    assert noise["suspects"] == len(found) and noise["examples"] == 300
    first = result.suspects.iloc[0]
    assert int(first.suggested_label, 36) == (int(first.given_label, 36) - 10 - 1) % 3 + 10
    assert sum(map(sum, noise["joint"])) == pytest.approx(300, abs=1)


def test_every_example_is_predicted_once_by_a_network_that_did_not_see_it_nor_its_copy(check):
    result, seen = check
    arrays = np.load(result.folder / "probabilities.npz")
    assert len(seen) == 2 and np.allclose(arrays["probabilities"].sum(axis=1), 1, atol=1e-5)
    held_out = np.concatenate([data.splits["held out"].rows for _, data in seen])
    assert sorted(held_out) == list(range(300))
    for trainer, data in seen:
        assert not trainer.retrain
        parts = [set(split.rows) for split in data.splits.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 300
        assert any({1, 2} <= part for part in parts)  # the copy
        assert len(data.val) == pytest.approx(30, abs=2)  # val_fraction of the rest


def test_test_is_never_opened(check):
    _, seen = check
    for _, data in seen:
        assert set(data.splits) == {"train", "val", "held out"}
        assert not (data.train.inputs == 7).any()


def test_a_finished_check_is_reported_and_its_table_stays(check, path, monkeypatch, capsys):
    result, _ = check
    table = result.folder / "suspects.csv"
    monkeypatch.setattr(Trainer, "fit", None)
    before = table.read_bytes()
    table.write_bytes(before + b"\r\n")
    assert kpipe.check_labels(path, folds=2, out=path.parent / "out").folder == result.folder
    assert table.read_bytes() == before + b"\r\n"
    assert "Of 300 labels about " in (shown := capsys.readouterr().out)
    assert shown.endswith(f"{result!r}\n") and len(repr(result).splitlines()) == 3
    table.write_bytes(before)


@pytest.mark.parametrize(("damaged", "again"), [(False, []), (True, ["fold-1"])])
def test_finished_folds_are_not_trained_again_unless_damaged(
    path, tmp_path, monkeypatch, damaged, again
):
    trained = []

    def interrupted(self, model, data, **options):
        trained.append(options["folder"].name)
        if len(trained) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kpipe.check_labels(path, folds=2, out=tmp_path)
    with pytest.raises(UserError, match="with different seed"):
        (tmp_path / "mine-labels,folds=2").rename(tmp_path / "mine-labels,folds=2,seed=1")
        kpipe.check_labels(path, folds=2, out=tmp_path, seed=1)
    (tmp_path / "mine-labels,folds=2,seed=1").rename(tmp_path / "mine-labels,folds=2")
    if damaged:
        (tmp_path / "mine-labels,folds=2" / "fold-1.npz").write_bytes(b"PK")
    with monkeypatch.context() as patch:
        patch.setattr(label_checking, "write_labels", None)
        with pytest.raises(RunError, match=r"suspects\.csv is written, the page is not \(TypeErr"):
            kpipe.check_labels(path, folds=2, out=tmp_path)
    table = tmp_path / "mine-labels,folds=2" / "suspects.csv"
    table.write_bytes(noted := table.read_bytes() + b"\r\n")
    result = kpipe.check_labels(path, folds=2, out=tmp_path)
    assert trained == ["fold-1", "fold-2", *again, "fold-2"]
    assert table.read_bytes() == noted
    assert {it.name for it in result.folder.iterdir()} == {
        *("labels.json", "suspects.csv", "report.html", "probabilities.npz")
    }


def test_a_vocabulary_is_that_of_the_examples_that_a_network_learns_from(tmp_path):
    texts = [f"word{i} {'good' if i % 2 else 'bad'}" for i in range(40)]
    dataset = datasets.arrays(texts, np.arange(40) % 2)
    data = prepare(dataset, dataset.find())
    pool = data.with_val_in_train().train
    train, rest = pool.rows[::2], pool.rows[1::2]
    anew = kpipe.data.divided_anew(data, dataset, pool, {"train": train, "val": rest}, tmp_path)
    learned = set(" ".join(pool.column.strings(train)).split())
    assert {word for word in anew.vocabulary if word.startswith("word")} <= learned
    assert anew.val.column.strings(rest) == pool.column.strings(rest)


def test_folds_are_stratified_and_keep_groups():
    labels, groups = np.repeat([0, 1, 2], (50, 23, 1)), np.arange(74) // 2
    folds = folds_of(labels, 5, 0, groups)
    assert (folds[0:74:2] == folds[1:74:2]).all()
    alone = folds_of(labels, 5, 0)
    assert np.ptp(np.bincount(alone)) <= 1
    assert all(np.ptp(np.bincount(alone[labels == c], minlength=5)) <= 1 for c in range(3))
    assert (folds_of(labels, 5, 1) != alone).any()
    with pytest.raises(UserError, match="there are 37 different examples or groups"):
        folds_of(labels, 38, 0, groups)


def test_noise_of_rare_and_missing_classes_is_no_warning():
    labels = np.array([0] * 6 + [1] * 5 + [3])  # no label 2, one label 3
    sure = np.eye(4)[[0] * 5 + [1] + [1] * 5 + [0]] * 0.9 + 0.025
    noise = label_noise(labels, sure)
    assert noise.suspects.tolist() == [5] and noise.suggested[5] == 1
    assert noise.joint.sum() == pytest.approx(12)


def test_the_page_shows_the_surest_suspects_and_takes_no_html_from_them(check, tmp_path):
    record, harm = check[0].record, ("<b>name.png", "<i>cat", "dog", 0.1, 0.9, "", "<s>text")
    suspects = [Suspect(*harm)] * 200
    pictures = [to_picture(np.zeros((8, 8, 3), np.uint8))] * SHOWN
    for some in (pictures, None):
        page = write_labels(tmp_path / "a.html", record, suspects, some).read_text()
        page = page.replace("\N{NO-BREAK SPACE}", " ")
        assert f"{sentence(record.details['label_noise'])}." in page
        assert page.count("&lt;i&gt;cat → dog") == SHOWN
        assert page.count("<img") == len(some or ())
        assert "<b>name" not in page and "<i>" not in page and "<s>" not in page
        assert "NOT THE OFFICIAL DATA:" in page  # the dataset of this test is none
    assert "&lt;s&gt;text" in page


SUSPECTS = [
    Suspect("a,b.png", "cat", "dog", 0.1, 0.9, "", 'he said "no",\nthen; left\r\nat once'),
    Suspect("row 2", "=1+1", "-5", 0.25, 0.75, "@me", "'=x"),
    Suspect("train 3", "Käse", "日本", 0.0, 1.0, "+Käse", "\tindented"),
]


def test_a_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "suspects.csv"
    write_suspects(path, SUSPECTS)
    assert read_suspects(path) == SUSPECTS
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    for cell in cells.to_numpy().ravel():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_table_may_come_back_from_a_spreadsheet(tmp_path):
    path = tmp_path / "suspects.csv"
    write_suspects(path, SUSPECTS)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["given_probability"] = frame["given_probability"].str.replace(".", ",")
    frame = frame.drop(columns="rank")
    frame.to_csv(path, sep=";", index=False, encoding="cp1252", errors="replace")
    read = read_suspects(path)
    assert [it[:2] for it in read] == [it[:2] for it in SUSPECTS]
    assert read[1].given_probability == 0.25


def corrected(path, rows, **options):
    """The dataset of `path` with rows of example, given and correct label."""
    write_suspects(path, [Suspect(e, given, "", 0.0, 1.0, label) for e, given, label in rows])
    x, y = np.arange(60.0)[:, None], np.repeat(["a", "b"], 30)
    dataset = datasets.arrays(x, y, **options)
    return dataset, dataclasses.replace(dataset, corrections=read_corrections(path))


def labels_of(data):
    """The label of each example, by its only input."""
    found = {}
    for split in data.splits.values():
        found |= dict(zip(split.inputs[split.rows, 0], split.labels[split.rows], strict=True))
    return found


def test_corrections_change_labels_of_train_and_val_and_the_fingerprint(tmp_path):
    table = tmp_path / "suspects.csv"
    dataset, better = corrected(table, [("train 0", "a", "b"), ("train 2", "a", "")])
    before, after = (prepare(it, it.find()) for it in (dataset, better))
    assert before.fingerprint != after.fingerprint
    was, now = labels_of(before), labels_of(after)
    assert sum(was[i] != now[i] for i in range(60)) == 1
    assert (before.test.labels == after.test.labels).all()
    _, same = corrected(table, [("train 0", "a", "b")])
    assert prepare(same, same.find()).fingerprint == after.fingerprint


def test_a_run_with_corrections_says_so(path, tmp_path, capsys):
    table = tmp_path / "mine.csv"
    write_suspects(table, [Suspect("train 0", "b", "a", 0.1, 0.9, "a")])
    experiment = open_experiment(path, {}, data="auto", data_dir=None, seed=0, corrections=table)
    assert f"corrected: 1 label of train and val, by {table}" in capsys.readouterr().out
    record = new_record(experiment)
    assert record.data.description == "my mine, 1 label corrected by mine.csv"
    assert record.command.endswith(f"corrections={str(table)!r})")
    assert run_folder(tmp_path, experiment).name == "mine,corrections=mine"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("train 2", "a", ""), ("train 0", "b", "a")], r"suspects.csv:3: train 0 has the label a"),
        ([("train 0", "a", "bb")], r"suspects.csv:2: train 0: correct_label 'bb' is no label; did"),
        ([("test 0", "a", "b")], r"suspects.csv:2: test 0: no such example in train"),
        ([("train 0", "a", "b")] * 2, r"suspects.csv:3: train 0 is also in line 2"),
        ([("train 0", "a", "")], r"suspects.csv: the column correct_label is empty"),
    ],
)
def test_wrong_corrections_are_one_line(tmp_path, rows, message):
    with pytest.raises(UserError, match=message) as caught:
        _, dataset = corrected(tmp_path / "suspects.csv", rows)
        prepare(dataset, dataset.find())
    assert "\n" not in str(caught.value)


def test_another_table_is_named_with_its_line(tmp_path):
    path = tmp_path / "suspects.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"suspects.csv:1: not a row of a suspects.csv; expected"):
        read_suspects(path)
    write_suspects(path, SUSPECTS[1:2])
    path.write_bytes(path.read_bytes() + b"2,only\r\n")
    with pytest.raises(UserError, match=r"suspects.csv:3: not a row"):
        read_suspects(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check-labels", "diabetes_mlp"], "the task of diabetes_mlp is regression; kpipe"),
        (["check-labels", "celeba_attributes", "--data", "sample"], "is multilabel;"),
        (["check-labels", "mnist_mlp", "--folds", "1"], "folds=1: expected"),
        (["check-labels", "logic_gates"], "folds=5: there are 4 different examples"),
        (["run", "mnist_mlp", "--corrections", "no.csv"], "no.csv: no such file"),
        (["run", "mnist_mlp", "--corrections", "a.csv", "--search", "grid"], "and --search: give"),
        (["run", "mnist_mlp", "--corrections", "a.csv", "--learning-curve"], "-learning-curve"),
        (["run", "diabetes_mlp", "--corrections", "a.csv"], "for classes; the task is regression"),
        (["check-labels", "mnist_mlp", "corrections=a.csv"], "use --corrections"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_suspects(tmp_path / "a.csv", [SUSPECTS[0]._replace(correct_label="b")])
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
