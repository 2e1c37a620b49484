import functools
import json
import types

import numpy as np
import pytest

from kpipe import figures, files, models
from kpipe.explaining import explain_words
from kpipe.figures import compare, mistakes, texts, word_effects, words
from kpipe.records import Record, Run

VOCABULARY = ("", "[UNK]", "good", "bad", "film", "the", "king", "man", "woman", "queen", "a", "é")
TEXTS = (
    "good good film the",
    "bad film the a",
    "the good king a film",
    "bad bad queen woman a",
    "the film a",
    "good woman the bad film",
)


class FakeSplit:
    """As much of a `data.Split` as figures ask for."""

    def __init__(self, ids, labels):
        self.labels, self.rows = labels, np.arange(len(labels))
        self.column = types.SimpleNamespace(lengths=np.count_nonzero(ids, axis=1))
        self.inputs = ids

    def __len__(self):
        return len(self.labels)

    def take(self, positions):
        longest = self.column.lengths[positions].max()
        return self.inputs[positions][:, :longest], self.labels[positions]


def split_of(written, labels):
    ids = [[VOCABULARY.index(word) for word in text.split()] for text in written]
    longest = max(map(len, ids))
    return FakeSplit(np.array([row + [0] * (longest - len(row)) for row in ids]), np.array(labels))


def entry(value, half=0.02):
    return {"value": value, "low": value - half, "high": value + half, "n": 100}


@functools.cache  # a model is compiled at its first prediction
def model_of(kind):
    options = {"vocabulary_size": len(VOCABULARY), "embedding_dim": 4}
    if kind == "transformer":
        options |= {"num_heads": 2, "max_length": 16}
    return getattr(models, kind)(2, **options)


def text_run(tmp_path, kind="bag_of_embeddings", **changes):
    labels = [1, 0, 1, 0, 0, 1]
    probabilities = np.array(
        [[0.1, 0.9], [0.8, 0.2], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.9, 0.1]]
    )
    train = split_of(TEXTS * 20, labels * 20)
    run = {
        "name": "mine",
        "folder": tmp_path / "this",
        "data": types.SimpleNamespace(
            vocabulary=VOCABULARY, sequence_length=4, train=train, test=split_of(TEXTS, labels)
        ),
        "_model": model_of(kind),
        "_predictions": {"label": np.array(labels), "probabilities": probabilities},
        "metrics": {
            "accuracy": entry(0.8),
            "majority_baseline": entry(0.5),
            "bag_of_words_baseline": entry(0.75),
            "above_bag_of_words": entry(0.05),
        },
        "record": record_of("gru"),
        "history": history_of(),
    }
    run = run | changes
    return Run(**(run | {"record": Record.from_json(run["record"])}))


def record_of(value, key="architecture", **changes):
    record = {
        "status": "finished",
        "pipeline": "mine",
        "seed": 0,
        "overrides": {key: value, "units": 8},
        "hyperparameters": {key: value, "units": 8},
        "data": {"fingerprint": "f", "kind": "sample", "label_names": ["negative", "positive"]},
        "model": {"name": "mine", "parameters": 1234, "trainable_parameters": 1234},
        "training": {"epochs": 3, "best_epoch": 3},
    }
    return record | changes


def history_of(val=(0.6, 0.7, 0.75), train=(0.6, 0.8, 0.95)):
    return {
        "epoch": [1, 2, 3],
        "seconds": [10.0, 2.0, 2.0],
        "accuracy": list(train),
        "val_accuracy": list(val),
        "loss": [1.0, 0.5, 0.1],
        "val_loss": [1.0, 0.75, 0.6],
    }


def stand(tmp_path, name, record, history=None, metrics=None):
    """A run's folder beside the others."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text(json.dumps(metrics or {"accuracy": entry(0.7)}))
    history = history or history_of()
    rows = [
        ",".join(history),
        *(",".join(map(str, row)) for row in zip(*history.values(), strict=True)),
    ]
    (folder / "history.csv").write_text("\n".join(rows) + "\n")
    files.write_manifest(folder, folder.iterdir())
    return folder


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda o: hasattr(o, "get_text"))]


def title_of(figure):
    return figure.get_suptitle().replace("\n", " ")


ALL = (
    figures.text_lengths,
    figures.compare_bag_of_words,
    figures.word_importance,
    figures.explained_mistakes,
    figures.nearest_words,
    figures.analogies,
    figures.embedding_map,
)


@pytest.mark.parametrize("plot", [*ALL, figures.attention_map])
def test_every_text_fits_into_its_figure(plot, tmp_path):
    figure = plot(text_run(tmp_path, "transformer"))
    figure.draw_without_rendering()
    inside = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert inside.x0 > -0.01 and inside.y0 > -0.01
    assert inside.x1 < width + 0.01 and inside.y1 < height + 0.01


@pytest.mark.parametrize("plot", [*ALL[:1], *ALL[2:], figures.attention_map])
def test_a_run_that_was_opened_again_or_has_no_texts_has_no_such_figure(plot, tmp_path):
    assert plot(text_run(tmp_path, data=None)) is None
    other = types.SimpleNamespace(vocabulary=None, train=None, test=None, input_shape=())
    assert plot(text_run(tmp_path, data=other)) is None


def test_a_regression_on_texts_has_no_figures_of_classes(tmp_path):
    predictions = {"label": np.arange(6, dtype="float32"), "value": np.zeros(6, "float32")}
    run = text_run(tmp_path, "transformer", _predictions=predictions)
    for plot in (figures.word_importance, figures.attention_map, figures.embedding_map):
        assert plot(run) is None


def test_the_share_of_cut_texts_is_told(tmp_path):
    figure = figures.text_lengths(text_run(tmp_path))
    assert title_of(figure).startswith("50.0 % of the training texts are truncated")  # 3 of 6


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (entry(0.05), "The network is 5.00 points above TF-IDF [+3.00, +7.00]"),
        (entry(-0.05), "The network does NOT beat TF-IDF: -5.00 points [-7.00, -3.00]"),
        (
            entry(0.01),
            "No significant difference between network and TF-IDF: +1.00 points [-1.00, +3.00]",
        ),
    ],
)
def test_the_bag_of_words_is_beaten_only_where_it_is(above, said, tmp_path):
    run = text_run(tmp_path)
    run.metrics["above_bag_of_words"] = above
    assert title_of(figures.compare_bag_of_words(run)) == said
    rows = [
        label.get_text() for label in figures.compare_bag_of_words(run).axes[0].get_yticklabels()
    ]
    assert rows == ["this network", "TF-IDF with\nlogistic regression", "the most\nfrequent class"]
    del run.metrics["bag_of_words_baseline"]
    assert figures.compare_bag_of_words(run) is None


@pytest.mark.parametrize(
    ("ngrams", "said"),
    [
        (0.76, "The network is 4.00 points above n-grams [+2.00, +6.00]"),
        (0.74, "The network is 5.00 points above TF-IDF [+3.00, +7.00]"),
    ],
)
def test_the_stronger_of_two_methods_is_the_one_that_the_title_names(ngrams, said, tmp_path):
    run = text_run(tmp_path)
    run.metrics |= {"ngrams_baseline": entry(ngrams), "above_ngrams": entry(0.04)}
    figure = figures.compare_bag_of_words(run)
    assert title_of(figure) == said
    axes = figure.axes[0]
    shown = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert ngrams in shown and len(axes.get_yticklabels()) == 4
    low, high = sorted(axes.get_ylim())
    assert low < 0 and high > 3
    assert axes.get_yticklabels()[1].get_text() == "NB-weighted\nn-grams"


def test_the_effect_of_a_word_is_the_fall_of_the_log_odds_without_it(tmp_path):
    run = text_run(tmp_path)
    answers = run.model(np.array([[2, 4, 5], [1, 4, 5], [2, 1, 5], [2, 4, 1]]))["probabilities"]
    log_odds = np.log(answers.numpy()[:, 1] / answers.numpy()[:, 0])
    network = mistakes.network_of(run)
    (found,) = explain_words(network, np.array([2, 4, 5], "int32"), "abc", 1, "", ("erasure",))
    np.testing.assert_allclose(found.effects, log_odds[0] - log_odds[1:], atol=1e-4)


def test_texts_of_both_classes_and_mistakes_are_shown(tmp_path):
    run = text_run(tmp_path)
    run.data.sequence_length = 5
    titles = [axes.get_title(loc="left") for axes in figures.word_importance(run).axes]
    assert titles == [
        "negative (80.0 %), correct",
        "positive (90.0 %), correct",
        "negative (90.0 %), wrong: true class positive",
        "positive (70.0 %), wrong: true class negative",
    ]


def test_attention_is_drawn_of_transformers_alone(tmp_path):
    assert figures.attention_map(text_run(tmp_path)) is None
    run = text_run(tmp_path, "transformer")
    figure = figures.attention_map(run)
    drawn = figure.axes[0].images[0].get_array()
    tokens, _ = run.data.test.take([1])
    scores = models.attention_scores(run.model)(tokens)["attention_1"].numpy()
    np.testing.assert_allclose(drawn, scores[0].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-5)


def test_the_nearest_word_is_the_one_of_the_largest_cosine(tmp_path):
    run = text_run(tmp_path, _model=model_of.__wrapped__("bag_of_embeddings"))
    layer = run.model.get_layer("embedding")
    vectors = np.zeros((len(VOCABULARY), 4), np.float32)
    vectors[:, 0] = np.arange(len(VOCABULARY))
    vectors[:, 1] = 10.0
    vectors[3, :2] = 3 * vectors[2, :2]  # bad is good, three times as long
    layer.set_weights([vectors])
    assert title_of(figures.nearest_words(run)).startswith("Nearest to good: bad, to bad: good")


def test_the_rank_of_an_analogy_is_that_of_the_expected_word():
    vocabulary = ("", "[UNK]", "man", "king", "woman", "queen", "apple")
    vectors = np.array([[9, 9], [9, 9], [1, 0], [1, 1], [0, 1], [0.1, 2], [1, -1]], float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    question = ("man", "king", "woman", "queen")
    assert words.rank_analogy(vectors, vocabulary, question) == (1, 2, ["queen", "apple"])
    backwards = words.rank_analogy(vectors, vocabulary, (*question[:3], "apple"))
    assert backwards[0] == 2


def test_the_rank_of_queen_is_told_whatever_it_is(tmp_path):
    run = text_run(tmp_path)
    vectors = words.embedding_of(run.model, VOCABULARY)
    rank, candidates, _ = words.rank_analogy(vectors, VOCABULARY, ("man", "king", "woman", "queen"))
    assert candidates == len(VOCABULARY) - 5
    title = title_of(figures.analogies(run))
    assert f"queen ranks {rank} of {candidates}" in title
    without = types.SimpleNamespace(**(vars(run.data) | {"vocabulary": VOCABULARY[:6]}))
    assert figures.analogies(text_run(tmp_path, data=without)) is None


def test_log_odds_say_for_which_class_a_word_speaks(tmp_path):
    odds = words.class_log_odds(text_run(tmp_path).data, 2)
    good, bad, film = (VOCABULARY.index(word) for word in ("good", "bad", "film"))
    assert odds[good].argmax() == 1 and odds[bad].argmax() == 0
    np.testing.assert_allclose(odds[good, 0], -odds[good, 1], rtol=1e-6)
    # good: 4 of 14 words of the positive texts and none of 12 of the negative, 20 times
    inside, outside, total_in, total_out = 80.5, 0.5, 280 + 6, 240 + 6
    expected = np.log(inside / (total_in - inside)) - np.log(outside / (total_out - outside))
    expected /= np.sqrt(1 / inside + 1 / outside)
    np.testing.assert_allclose(odds[good, 1], expected, rtol=1e-6)
    assert abs(odds[film, 1]) < abs(odds[good, 1])


def test_log_odds_see_all_of_train_where_it_is_sorted_by_class(tmp_path):
    labels = np.tile([1, 0, 1, 0, 0, 1], 2000)
    train = split_of(TEXTS * 2000, labels)
    order = np.argsort(labels, kind="stable")
    run = text_run(tmp_path)
    run.data.train = FakeSplit(train.inputs[order], train.labels[order])
    # With one class only, no word would indicate it with certainty.
    assert words.class_log_odds(run.data, 2)[VOCABULARY.index("bad"), 0] > 20


def test_bars_hold_equally_many_lengths(tmp_path):
    run = text_run(tmp_path)
    run.data.train.column.lengths = np.tile(np.arange(1, 121), 10)
    run.data.train.rows = np.arange(1200)
    run.data.sequence_length = 120
    axes = figures.text_lengths(run).axes[0]
    assert {bar.get_height() for bar in axes.patches} == {20}
    assert axes.get_xlabel() == "tokens of a training text"
    run.data.train.column.lengths[0] = 5000
    axes = figures.text_lengths(run).axes[0]
    assert axes.patches[-1].get_height() == 21
    assert axes.get_xlabel().endswith("the last bar: 119 and more")


def test_padding_says_nothing_about_a_word(tmp_path):
    run = text_run(tmp_path)
    found = word_effects.explain_text(run, mistakes.network_of(run), 4, 0)  # the shortest
    assert found.names == ("the", "film", "a") and found.effects.shape == (3,)


def test_a_sure_answer_is_no_certain_one(tmp_path):
    run = text_run(tmp_path)
    run.predictions["probabilities"][0] = 0.00001, 0.99999
    titles = [axes.get_title(loc="left") for axes in figures.word_importance(run).axes]
    assert "positive (> 99.9 %), correct" in titles


@pytest.mark.parametrize("words_of", [("😭", "東"), ("h" * 120, "w" * 60)])
@pytest.mark.parametrize(
    "plot", [figures.word_importance, figures.nearest_words, figures.analogies]
)
def test_words_of_any_script_and_length_fit(plot, words_of, tmp_path):
    run = text_run(tmp_path)
    run.data.vocabulary = (*VOCABULARY[:2], *words_of, *VOCABULARY[4:])
    run.data.sequence_length = 5
    figure = plot(run)
    figure.draw_without_rendering()  # a missing character would warn
    inside, width = figure.get_tightbbox(), figure.get_figwidth()
    assert inside.x0 > -0.01 and inside.x1 < width + 0.01


def test_characters_that_the_font_lacks_become_boxes():
    box = "\N{WHITE SQUARE}"
    drawn = texts.printable("é 東 $x$ \N{MELTING FACE}")
    assert drawn == f"é {box} \\$x\\$ {box}"
    assert texts.printable("plain") == "plain"
    crying = "\N{LOUDLY CRYING FACE}"  # only one of the two fonts contains it
    assert texts.printable(crying) == crying
    assert texts.printable(crying, word_effects.MONOSPACE) == box


# --- runs side by side --------------------------------------------------------------------------


def test_only_runs_that_differ_in_the_key_alone_are_compared(tmp_path, capsys):
    run = text_run(tmp_path)
    stand(tmp_path, "lstm", record_of("lstm"))
    stand(tmp_path, "unfinished", record_of("a", status="unfinished"))
    stand(tmp_path, "other_seed", record_of("b", seed=1))
    stand(tmp_path, "other_budget", record_of("g", budget=60.0))
    stand(tmp_path, "set_aside~1", record_of("h"))
    stand(tmp_path, "other_data", record_of("c", data={"fingerprint": "g"}))
    stand(tmp_path, "other_name", record_of("d", pipeline="yours"))
    stand(tmp_path, "other_units", record_of("e", overrides={"architecture": "e", "units": 9}))
    # Nothing is asked of a run that is not compared.
    (stand(tmp_path, "strange", record_of("f", pipeline="x")) / "metrics.json").unlink()
    found = compare.variants(run, "architecture")
    assert list(found) == ["gru", "lstm"] and found["gru"] is run
    assert found["lstm"].history == history_of()
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", "{}"),
        ("metrics.json", "[]"),
        ("metrics.json", '{"accuracy": {"value": null, "low": null, "high": null, "n": 0}}'),
        ("history.csv", ""),
        ("history.csv", "epoch,seconds\n1,2\n2,2\n3,2\n"),
        ("history.csv", "epoch,seconds,accuracy,val_accuracy,loss,val_loss\n3,2,0.5,,1,1\n"),
        ("history.csv", "epoch,seconds,accuracy,val_accuracy,loss,val_loss\n1,2,0.5,0.5,1,1\n"),
        ("run.json", "[1]"),
        ("run.json", json.dumps({**record_of("lstm"), "model": {}})),
        ("run.json", json.dumps({**record_of("lstm"), "model": None})),
        ("run.json", json.dumps({**record_of("lstm"), "training": None})),
    ],
)
def test_a_damaged_run_is_named_and_left_out(file, content, tmp_path, capsys):
    run = text_run(tmp_path)
    folder = stand(tmp_path, "broken", record_of("lstm"))
    (folder / file).write_text(content)
    files.write_manifest(folder, folder.iterdir())  # it was damaged before it was listed
    assert figures.architectures(run) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("broken is not compared: ") and file in line


def test_an_architecture_has_one_colour_in_all_reports(tmp_path):
    colors = []
    for own, other in (("gru", "lstm"), ("lstm", "gru")):
        folder = tmp_path / own
        folder.mkdir()
        stand(folder, other, record_of(other))
        run = text_run(folder, record=record_of(own))
        lines = figures.architectures(run).axes[1].get_legend_handles_labels()
        colors.append({name: line.get_color() for line, name in zip(*lines, strict=True)})
    assert colors[0] == colors[1]


def test_architectures_are_compared_by_accuracy_size_and_time(tmp_path):
    run = text_run(tmp_path)
    assert figures.architectures(run) is None  # alone
    size = {"name": "mine", "parameters": 5_678_900, "trainable_parameters": 5_678_900}
    record = record_of("bidirectional_lstm", model=size)
    history = history_of(val=(0.5, 0.6, 0.65))
    stand(tmp_path, "lstm", record, history, {"accuracy": entry(0.9)})
    figure = figures.architectures(run)
    figure.draw_without_rendering()
    shown = texts_of(figure)
    assert title_of(figure) == (
        "Highest test accuracy of 2: bidirectional lstm, 90.00 % [88.00, 92.00]"
    )
    for cell in ("90.00 % [88.00, 92.00]", "5,678,900", "75.00 % [73.00, 77.00]"):
        assert cell in shown
    # 73 % of validation: the GRU's third epoch; the other one never gets there
    assert "time to 73.0 %" in shown and "14 s" in shown and "–" in shown


def test_regularizers_are_compared_by_the_gap_that_is_left(tmp_path):
    run = text_run(tmp_path, record=record_of("none", "regularizer"))
    assert figures.regularizers(run) is None
    early = record_of("early_stopping", "regularizer", training={"epochs": 3, "best_epoch": 2})
    stand(tmp_path, "early", early, history_of(train=(0.6, 0.72, 0.9)))
    figure = figures.regularizers(run)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "none\ngap 20.0 points\ntest 80.00 %",
        "early stopping\ngap 2.0 points\ntest 70.00 %",
        "gap 0.50",
        "gap 0.25",
    ]
    assert title_of(figure) == (
        "Validation loss is 0.50 above training loss with no regularizer, 0.25 with early stopping"
    )


def test_a_run_without_the_key_is_not_compared(tmp_path):
    run = text_run(tmp_path, record=record_of("x", "another"))
    stand(tmp_path, "lstm", record_of("lstm"))
    assert figures.architectures(run) is None and figures.regularizers(run) is None
