import dataclasses
import html
import json
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from proving import Golden, change_predictions, load_proof, verified_in_this_process

import kpipe
from kpipe import cli
from kpipe.data import Split
from kpipe.errors import UserError
from kpipe.experiments.summary import summary
from kpipe.export import export
from kpipe.inputs import Tokens, standardize
from kpipe.inputs.tokens import Texts
from kpipe.measures import classes
from kpipe.measures.calibration import scale
from kpipe.measures.ngrams import NaiveBayesNgrams
from kpipe.measures.simple import simple_method
from kpipe.records import Record, read_record
from kpipe.searching import _Search, search
from kpipe.tasks import classification

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {"embedding_dim": 16, "units": 8, "dropout": 0.1, "learning_rate": 1e-2, "epochs": 2}
MIXED = ["so happy 😊😊", "", "東京 मिठाई мир", "w " * 3000, "I am sad and alone 😢", "Sad"]


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """One small run on texts, from its data to its report."""
    out = tmp_path_factory.mktemp("texts")
    with verified_in_this_process():
        return kpipe.run("emotion_rnn", data="sample", out=out, architecture="gru", **TINY)


@pytest.fixture(scope="module")
def loaded(text_run):
    return kpipe.load(text_run.folder)


@pytest.fixture
def copy(text_run, tmp_path):
    """A run's folder that may be damaged."""
    return pathlib.Path(shutil.copytree(text_run.folder, tmp_path / "run"))


def test_the_export_is_verified_from_raw_texts(text_run):
    proof = text_run.record.proof
    assert proof.passed and proof.max_difference <= 1e-5
    assert proof.compared == ["64 texts (some empty, very long or in many scripts)", "token ids"]
    endpoints = {"serving_default", "serving_tokens"}
    endpoints |= {f"{name} on the test split" for name in ("serving_default", "calibrate")}
    assert set(proof.differences) == endpoints
    assert {c["about"] for c in Golden(text_run.folder).cases} == {*proof.compared, ""}
    assert proof.test_examples == 600
    metrics = text_run.metrics
    assert metrics["accuracy"]["low"] > metrics["majority_baseline"]["high"]
    assert text_run.record.target.verdict == "not comparable: sample data"


def test_texts_are_replayed_at_three_sizes_of_a_batch(text_run):
    golden = Golden(text_run.folder)
    for endpoint in ("serving_default", "serving_tokens"):
        assert golden.case(endpoint)["batches"] == [1, 7, 64]


def test_odd_texts_are_among_the_golden_ones(text_run):
    golden = Golden(text_run.folder)
    written = golden.texts("serving_default")
    assert len(written) == 64 and b"" in written
    assert max(map(len, written)) > 10_000
    assert any("😢".encode() == text for text in written)
    assert any("東京".encode() in text and "مرحبا".encode() in text for text in written)
    for text, tokens in zip(written, golden.given("serving_tokens"), strict=True):
        if not text.strip():
            assert tokens[0] == 1 and not tokens[1:].any()


@pytest.mark.parametrize("changed", ["probabilities", "texts", "tokens", "test", "vocabulary"])
def test_the_proof_fails_when_texts_are_answered_differently(copy, text_run, changed, monkeypatch):
    proof, golden = load_proof(monkeypatch), Golden(copy)
    if changed == "probabilities":
        golden.expected("serving_default", "probabilities")[40, 1] += 2e-5
    elif changed == "texts":  # another text, the same tokens: the graph's own vectorization
        first = sum(map(len, golden.texts("serving_default")[:4]))
        golden.given("serving_default")[first:] = ord("x")
    elif changed == "tokens":  # other tokens, the same texts: serving_tokens
        golden.given("serving_tokens")[40] = 1
    elif changed == "test":
        probabilities = text_run.predictions["probabilities"].copy()
        probabilities[-1] = np.roll(probabilities[-1], 1)
        change_predictions(copy, probabilities=probabilities)
    else:  # an export whose graph numbers the words in another way
        known = text_run.data.input
        words = (*known.vocabulary[:2], *reversed(known.vocabulary[2:]))
        train = dataclasses.replace(
            text_run.data.train, input=dataclasses.replace(known, vocabulary=words)
        )
        splits = {**text_run.data.splits, "train": train}
        other = dataclasses.replace(text_run.data, splits=splits)
        export(copy, classification.endpoints(text_run.model, other, text_run.predictions))
    golden.save()
    result = proof.main(copy, *text_run.data.test.column.files)
    assert not result["passed"]
    at = "serving_default"
    at = {"tokens": "serving_tokens", "test": f"{at} on the test split"}.get(changed, at)
    assert result["differences"][at] > 1e-5


def test_signatures_take_texts_and_token_ids(text_run):
    model = tf.saved_model.load(str(text_run.folder / "serving" / "1"))
    texts = model.signatures["serving_default"].structured_input_signature[1]["texts"]
    tokens = model.signatures["serving_tokens"].structured_input_signature[1]["tokens"]
    assert texts.shape.as_list() == [None] and texts.dtype == tf.string
    assert tokens.shape.as_list() == [None, None] and tokens.dtype == tf.int32
    assert sorted(model.signatures) == ["calibrate", "serving_default", "serving_tokens"]
    vocabulary = text_run.folder / "serving" / "1" / "assets" / "vocabulary.txt"
    words = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    assert tuple(words) == text_run.data.vocabulary


def test_no_operation_of_the_graph_touches_files(text_run):
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    content.ParseFromString((text_run.folder / "serving" / "1" / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    functions = [node.op for function in graph.library.function for node in function.node_def]
    operations = set(functions) | {node.op for node in graph.node}
    assert any(operation.startswith("LookupTableFind") for operation in operations)
    assert not operations & {"ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "PrintV2"}
    assert not any("FromTextFile" in operation for operation in operations)


def test_the_export_reads_no_file_of_words(copy):
    (copy / "manifest.json").unlink()
    (copy / "serving" / "1" / "manifest.json").unlink()
    (copy / "serving" / "1" / "assets" / "vocabulary.txt").unlink()
    assert kpipe.load(copy).predict(["happy"])["label"].shape == (1,)


def test_a_loaded_model_gives_for_texts_what_the_run_predicted(loaded, text_run):
    texts = text_run.data.test.column.strings(text_run.data.test.rows)
    assert len(texts) == 600
    outputs = loaded.predict(texts)
    expected = text_run.predictions["probabilities"]
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_any_text_has_an_answer(loaded):
    outputs = loaded.predict(MIXED)
    assert outputs["probabilities"].shape == (6, 3)
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-5)
    alone = loaded.predict(MIXED[:1])["probabilities"]
    np.testing.assert_allclose(outputs["probabilities"][:1], alone, atol=1e-6)
    assert loaded.predict([])["probabilities"].shape == (0, 3)
    empty, unknown = loaded.predict(["", "zzzzunknownzzzz"])["probabilities"]
    np.testing.assert_array_equal(empty, unknown)


def test_token_ids_are_taken_as_the_vectorizer_makes_them(text_run):
    model = tf.saved_model.load(str(text_run.folder / "serving" / "1"))
    tokens = np.zeros((3, 200), np.int32)
    tokens[1, 0] = 1
    tokens[2] = np.arange(2, 202)
    answers = model.signatures["serving_tokens"](tokens=tf.constant(tokens))["probabilities"]
    assert np.isfinite(answers).all()
    np.testing.assert_array_equal(answers[0], answers[1])  # nothing is one unknown word
    length = text_run.data.sequence_length
    cut = model.signatures["serving_tokens"](tokens=tf.constant(tokens[2:, :length]))
    np.testing.assert_allclose(answers[2:], cut["probabilities"], atol=1e-6)


def test_texts_may_come_one_by_one_and_broken(loaded):
    listed = loaded.predict(["so happy", "alone"])
    streamed = loaded.predict(text for text in ("so happy", "alone"))
    np.testing.assert_array_equal(listed["probabilities"], streamed["probabilities"])
    assert loaded.predict(["\udcff"])["label"].shape == (1,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"so happy": 1}, "texts is a dict; expected a list"),
        ("one text", "texts is a str; expected a list"),
        (["a", 3], r"texts\[1\] is int; expected str"),
        ([None], r"texts\[0\] is NoneType; expected str"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(loaded, texts, message):
    with pytest.raises(ValueError, match=message):
        loaded.predict(texts)


def test_a_file_is_a_text_a_line_and_an_image_is_refused(loaded, tmp_path):
    lines, image = tmp_path / "lines.txt", tmp_path / "a.png"
    lines.write_text("so happy\n\nI am sad 😢\n", encoding="utf-8")
    image.write_bytes(tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy())
    answers = loaded.predict_files([lines])["probabilities"]
    expected = loaded.predict(["so happy", "", "I am sad 😢"])["probabilities"]
    np.testing.assert_array_equal(answers, expected)
    with pytest.raises(
        UserError, match=rf"^{image}:1: not UTF-8 at byte 0 of the line; expected one text per line"
    ):
        loaded.predict_files([lines, image])


def test_the_command_line_labels_texts_and_lines_of_files(text_run, tmp_path, capsys):
    lines = tmp_path / "lines.txt"
    lines.write_text("so happy\n\nI am sad 😢\n", encoding="utf-8")
    folder = str(text_run.folder)
    assert cli.main(["predict", folder, str(lines), "--text", "on the bus", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["text"] for entry in shown] == ["on the bus", "so happy", "", "I am sad 😢"]
    assert set(shown[0]["probabilities"]) == {"happiness", "neutral", "sadness"}
    assert cli.main(["predict", folder, "--text", "so happy"]) == 0
    assert capsys.readouterr().out.startswith("so happy: ")


def test_mistakes_of_a_prediction_are_one_line(text_run, finished_run, tmp_path, capsys):
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"good\n\xff\n")
    empty = tmp_path / "empty.txt"
    empty.touch()
    for arguments, message in (
        ([text_run.folder], "nothing to predict"),
        ([text_run.folder, tmp_path / "no.txt"], r"no.txt: no such file"),
        ([text_run.folder, broken], "broken.txt:2: not UTF-8 at byte 0 of the line"),
        ([text_run.folder, empty], "empty.txt: no lines"),
        ([finished_run.folder, "--text", "a"], "takes images, not texts"),
    ):
        assert cli.main(["predict", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_every_text_run_is_compared_with_a_bag_of_words(text_run):
    metrics, predictions = text_run.metrics, text_run.predictions
    right = predictions["bag_of_words"] == predictions["label"]
    assert metrics["bag_of_words_baseline"]["value"] == pytest.approx(right.mean())
    network = predictions["probabilities"].argmax(axis=1) == predictions["label"]
    difference = network.mean() - right.mean()
    assert metrics["above_bag_of_words"]["value"] == pytest.approx(difference)
    assert "TF-IDF with logistic regression" in summary(text_run)


def test_every_text_run_is_compared_with_weighted_ngrams_too(text_run):
    metrics, predictions = text_run.metrics, text_run.predictions
    right = predictions["ngrams"] == predictions["label"]
    assert metrics["ngrams_baseline"]["value"] == pytest.approx(right.mean())
    network = predictions["probabilities"].argmax(axis=1) == predictions["label"]
    difference = network.mean() - right.mean()
    assert metrics["above_ngrams"]["value"] == pytest.approx(difference)
    assert set(metrics) <= set(classification.metric_names(text_run.label_names))
    # Fitted to the words of the network, of train alone.
    train, test = text_run.data.train, text_run.data.test
    known, asked = (
        [text.decode() for text in standardize(part.column.strings(part.rows)).numpy()]
        for part in (train, test)
    )
    method = NaiveBayesNgrams().fit(known, train.labels[train.rows])
    np.testing.assert_array_equal(method.predict(asked), predictions["ngrams"])
    assert "naive-Bayes-weighted n-grams" in summary(text_run)
    assert dict(classification.facts(text_run))["Network vs. NB n-grams"]
    assert "naive-Bayes-weighted n-grams" in (text_run.folder / "report.html").read_text()


def test_the_bag_of_words_is_scikit_learns():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, labels = ["good film", "bad film", "good", "bad bad"], np.array([1, 0, 1, 0])
    weights = TfidfVectorizer()
    classifier = LogisticRegression(max_iter=1000).fit(weights.fit_transform(texts), labels)
    test = ["bad good bad", "film", "good"]
    expected = classifier.predict(weights.transform(test))

    def split(texts, labels):
        column = Tokens(
            np.zeros((len(texts), 1), np.int32), None, Texts.of([t.encode() for t in texts])
        )
        return Split(column, labels, np.arange(len(texts)))

    simple = simple_method([split(texts, labels)], [split(test, np.zeros(3, int))])
    assert simple.name == "TF-IDF with logistic regression"
    np.testing.assert_array_equal(simple.predicted, expected)


def test_a_network_is_said_to_beat_the_bag_of_words_only_where_it_does():
    def told(wins, losses):
        labels = np.zeros(1000, int)
        probabilities, baseline = np.zeros((1000, 2)), np.zeros(1000, int)
        probabilities[:, 0] = 1
        baseline[:wins] = 1  # the baseline is wrong
        probabilities[500 : 500 + losses] = (0, 1)  # the network is
        return classes.baseline_metrics(labels, probabilities, baseline, "bag_of_words")

    def said(wins, losses):
        record = Record(pipeline="a")
        run = SimpleNamespace(metrics=told(wins, losses), predictions={}, record=record)
        return dict(classification.facts(run))["Network vs. TF-IDF"]

    assert told(50, 10)["above_bag_of_words"]["value"] == pytest.approx(0.04)
    assert said(50, 10).startswith("beats it: +4.00 [")
    assert said(10, 50).startswith("does not beat it: -4.00 [")
    assert said(10, 10).startswith("no significant difference: +0.00 [")


def test_the_report_shows_the_baseline_and_the_mistakes_with_their_text(text_run):
    page = (text_run.folder / "report.html").read_text()
    assert "TF-IDF with logistic regression" in page and "Network vs. TF-IDF" in page
    assert "of the training texts are longer" in page
    assert "most confident mistakes" in page
    assert ">--text</span>" in page
    truth, probabilities = text_run.predictions["label"], text_run.predictions["probabilities"]
    wrong = probabilities.argmax(axis=1) != truth
    surest = np.where(wrong, probabilities.max(axis=1), 0).argmax()
    test = text_run.data.test
    text = " ".join(test.column.strings(test.rows[[surest]])[0].split())
    # Where a long address may break has a tag.
    assert text in html.unescape(page.replace("<wbr>", ""))


def test_a_run_starts_from_word_vectors_and_is_reported_without_them(tmp_path, quick_runs):
    from kpipe import datasets

    dataset = datasets.tweet_emotions(vocabulary_size=1000, max_length=64)
    prepared = kpipe.data.prepare(dataset, dataset.find("sample"), seed=0)
    known = prepared.vocabulary[2:42]
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("".join(f"{word} 1 2 3 4 5 6 7 8\n" for word in known), encoding="utf-8")
    # So small a learning rate leaves the vectors where they start.
    options = TINY | {"embedding_dim": 8, "vocabulary_size": 1000, "learning_rate": 1e-5}
    options |= {
        "data": "sample",
        "out": tmp_path / "out",
        "architecture": "simple_rnn",
        "num_layers": 1,
    }
    run = kpipe.run("emotion_rnn", embeddings=str(vectors), **options)
    coverage = run.record.data.about["embeddings"]
    assert coverage["found"] == 40 and coverage["file"] == str(vectors)
    assert coverage["coverage"] == pytest.approx(40 / coverage["words"])
    rows = run.model.get_layer("embedding").get_weights()[0]
    np.testing.assert_allclose(rows[2:42], np.arange(1, 9)[None].repeat(40, 0), atol=0.05)

    broken = vectors.read_text() + "broken 1 2\n"
    vectors.unlink()
    again = kpipe.run("emotion_rnn", embeddings=str(vectors), **options)
    assert again.folder == run.folder
    assert again.record == read_record(run.folder / "run.json")

    vectors.write_text(broken, encoding="utf-8")
    with pytest.raises(UserError, match=r"vectors\.txt:41"):
        kpipe.run("emotion_rnn", embeddings=str(vectors), fresh=True, **options)


def test_a_search_is_on_val_whatever_is_trained_by(tmp_path, monkeypatch):
    monkeypatch.setattr(_Search, "refit", lambda *_: None)  # the trial is looked at
    options = {"data": "sample", "out": tmp_path, "recipe": "overfit", "train_examples": 200}
    options |= {"embedding_dim": 8, "regularizer": "l2", "epochs": 1}
    search("ag_news_mlp", tuner="grid", trials=1, l2="1e-4,1e-2", **options)
    (table,) = tmp_path.glob("*search*/trials.csv")
    assert table.read_text().startswith("trial,status,val_loss,")


def test_a_search_with_wrong_word_vectors_ends_before_its_first_trial(tmp_path):
    with pytest.raises(UserError, match=r"embeddings=/no\.txt: No such file"):
        search(
            "emotion_rnn",
            tuner="grid",
            data="sample",
            out=tmp_path,
            units="8,16",
            embeddings="/no.txt",
        )


SEVERAL_LABELS = '''"""Texts with two labels each."""

import dataclasses

import keras
import numpy as np

from kpipe import Trainer, datasets, figures
from kpipe.datasets.base import generated

task = "multilabel"
data = "pairs"
plots = (
    figures.word_importance, figures.attention_map, figures.embedding_map, figures.text_lengths
)


def pairs(count, seed):
    labels = np.random.default_rng(seed).integers(0, 2, (count, 2))
    return [" ".join(("bad good"[4 * a :][:4], "a b"[2 * b :][:1])) for a, b in labels], labels


def load_data(hp):
    return dataclasses.replace(
        datasets.imdb_reviews(1000, 16),
        name="pairs",
        label_names=("good", "b"),
        make_sample=lambda: generated(pairs, {"train": 300, "test": 60}, "pairs"),
    )


def build_model(hp):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(1000, 8, mask_zero=True, name="embedding")(tokens)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(2, activation="sigmoid", name="probabilities")(x)
    model = keras.Model(tokens, {"probabilities": x})
    model.compile("adam", "binary_crossentropy", metrics=["binary_accuracy"])
    return model


def build_trainer(hp):
    return Trainer(epochs=1)
'''


def test_texts_with_several_labels_go_the_whole_way(tmp_path, verified_here):
    path = tmp_path / "several.py"
    path.write_text(SEVERAL_LABELS)
    run = kpipe.run(str(path), data="sample", out=tmp_path / "out")
    proof = run.record.proof
    assert proof.passed and proof.compared[0].startswith("64 texts")
    assert "bag_of_words" not in run.predictions  # it says one class
    drawn = {path.stem for path in (run.folder / "figures").iterdir()}
    assert drawn == {"text_lengths", "reliability_diagram", "explained_mistakes"}
    page = (run.folder / "report.html").read_text()
    assert "Mistakes" not in page and ">--text</span>" in page
    answers = kpipe.load(run.folder).predict(["good b"])
    assert sorted(answers) == ["calibrated", "label", "probabilities"]  # labels have no sets
    expected = scale(answers["probabilities"], run.record.calibration.temperature, several=True)
    np.testing.assert_allclose(answers["calibrated"], expected, atol=1e-6)
    assert answers["calibrated"].shape == (1, 2) and run.record.calibration.temperature != 1


@pytest.mark.slow  # a process that imports TensorFlow
def test_models_of_texts_load_with_keras_alone(text_run):
    path = str(text_run.folder / "model.keras")
    code = (
        "import sys; sys.modules['kpipe'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({path!r}, compile=False)\n"
        "print(model(np.array([[2, 3, 0]]))['probabilities'].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "(1, 3)" in done.stdout, done.stderr
