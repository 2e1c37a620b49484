import contextlib
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, files
from kpipe.datasets import Augmentation, Dataset, Source, Vectorization
from kpipe.datasets.base import from_arrays
from kpipe.errors import UserError
from kpipe.inputs import TextInput, Tokens, texts, tokens
from kpipe.inputs.appending import appended
from kpipe.inputs.augmentation import drop_words
from kpipe.inputs.tokens import Texts, Vectorizer
from kpipe.training import batches


def standardized(text):
    return " ".join(tokens.standardize(tf.constant([text])).numpy()[0].decode().split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A <b>good</b> film.<br /><br />Really, GOOD!", "a good film really good !"),
        ("Don’t 'quote' rock 'n' roll", "don't quote rock n roll"),
        ("Été, ЧЁРНЫЙ naïve Straße", "été чёрный naïve straße"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("so happy😊😊 ❤️", "so happy 😊 😊 ❤"),
        ("@Kitty4Peace see http://t.co/x?y=1 #fun", "@user see http fun"),
        ("the firm #39;s &quot;plan quot;", "the firm's plan"),
        ("awww... the 'good' 'bad' ('ugly')", "awww the good bad ugly"),
        ("www.x.org @josé a^b don´t", "http @user a b don't"),
        ("i <3 you; salt; at&amp;t", "i 3 you salt at t"),
        ("", "[UNK]"),
        (" \t\n", "[UNK]"),
        ("...", "[UNK]"),
        (b"\xff\xfe broken \x00 bytes", "broken bytes"),
    ],
)
def test_a_text_becomes_words_between_spaces(text, expected):
    assert standardized(text) == expected


def test_texts_are_kept_byte_by_byte_in_two_arrays():
    written = [b"one", b"", "дwa".encode(), b"\xff"]
    kept = Texts.of(written)
    assert len(kept) == 4 and kept.content.dtype == np.uint8 and kept.ends.dtype == np.int64
    assert kept.take(range(4)) == written and kept[2] == written[2]


def test_the_vocabulary_is_that_of_the_train_rows_alone():
    kept = Texts.of([b"a a b", b"c c c c", b"b a d"])
    assert tokens.adapt(kept, np.array([0, 2]), 10)[:4] == ("", "[UNK]", "a", "b")
    assert "c" not in tokens.adapt(kept, np.array([0, 2]), 10)
    assert tokens.adapt(kept, np.array([0, 1, 2]), 3) == ("", "[UNK]", "c")


def test_token_ids_are_padded_on_the_right_and_an_empty_text_is_one_unknown_word():
    vectorizer = Vectorizer(("", "[UNK]", "good", "film"), 3)
    ids = vectorizer(tf.constant(["a good good good film", "Film!", "", "?!."]))
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids, [[1, 2, 2], [3, 1, 0], [1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(vectorizer(tf.constant([""])), [[1]])


def test_the_length_holds_99_of_100_train_texts_unless_the_limit_is_smaller():
    lengths = np.arange(1, 201)
    assert tokens.choose_length(lengths, 1000) == 199
    assert tokens.choose_length(lengths, 50) == 50
    assert tokens.choose_length(np.array([1, 1]), 50) == 1


WORDS = "good bad film plot actor dull superb".split()


def made_up(count, seed):
    """Texts of very different lengths; the label is the first word's."""
    rng = np.random.default_rng(seed)
    written = []
    for length in rng.geometric(0.1, count):
        written.append(" ".join(rng.choice(WORDS, length)))
    return written, np.array([text.startswith(("good", "superb")) for text in written], int)


def text_dataset(val=False, **options):
    examples = {"train": 400, "test": 50} | ({"val": 60} if val else {})
    source = Source(
        kind="sample",
        description="made up",
        identity=json.dumps([val, *examples.values()]),
        examples=examples,
        official=False,
        read=lambda split: from_arrays(split, *made_up(examples[split], len(split))),
    )
    settings = {
        "name": "made_up",
        "version": "1.0.0",
        "input_shape": (),
        "label_names": ("bad", "good"),
        "official_examples": {},
        "make_sample": lambda: source,
        "val_fraction": 0.0 if val else 0.1,
        "vectorization": Vectorization(20, 24),
    }
    return Dataset(**(settings | options))


def texts_of(split):
    return split.column.strings(split.rows)


@pytest.fixture(scope="module")
def prepared(kpipe_home):
    dataset = text_dataset()
    return data.prepare(dataset, dataset.find("sample"), seed=0)


def test_prepared_texts_are_ids_beside_the_texts_they_were_made_of(prepared):
    assert prepared.examples == {"train": 360, "val": 40, "test": 50}
    assert set(prepared.vocabulary[2:]) == set(WORDS)
    assert prepared.sequence_length == 24 == prepared.train.inputs.shape[1]
    for split in (prepared.train, prepared.val, prepared.test):
        assert isinstance(split.column, Tokens)
        ids, _ = split.take(np.arange(len(split)))
        for row, text in zip(ids, texts_of(split), strict=True):
            words = [prepared.vocabulary[i] for i in row if i]
            assert words == text.split()[:24]
        uncut = [len(text.split()) for text in texts_of(split)]
        np.testing.assert_array_equal(split.column.lengths[split.rows], uncut)


def test_a_batch_is_padded_to_its_longest_text_alone(prepared):
    for inputs, _ in prepared.val.at(prepared.val.shortest_first()).batches(8):
        assert (np.count_nonzero(inputs, axis=1) == inputs.shape[1]).any()
    full, _ = prepared.val.take(np.arange(3), trim=False)
    assert full.shape == (3, 24)


def test_prepared_texts_are_found_again_and_another_seed_has_another_vocabulary(prepared):
    dataset = text_dataset()
    again = data.prepare(dataset, dataset.find("sample"), seed=0)
    assert again.train.inputs.filename == prepared.train.inputs.filename
    other = data.prepare(dataset, dataset.find("sample"), seed=1)
    assert other.train.inputs.filename != prepared.train.inputs.filename
    assert other.train.column.texts.content.filename == prepared.train.column.texts.content.filename
    assert other.fingerprint == prepared.fingerprint


def test_token_ids_are_written_by_one_process_while_others_wait(prepared, monkeypatch):
    dataset, seed = text_dataset(), 7
    written, lock = [], files.lock

    @contextlib.contextmanager
    def after_another(path):
        monkeypatch.setattr(files, "lock", lock)
        written.append(data.prepare(dataset, dataset.find("sample"), seed))
        monkeypatch.setattr(texts, "write_tokens", None)
        with lock(path):
            yield

    monkeypatch.setattr(files, "lock", after_another)
    ours = data.prepare(dataset, dataset.find("sample"), seed)
    assert ours.train.inputs.filename == written[0].train.inputs.filename


def test_settings_of_the_vectorization_are_part_of_the_fingerprint(tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("good 1 2\n")
    fingerprints = {
        data.fingerprint_of(dataset, dataset.find("sample"))
        for dataset in (
            text_dataset(),
            text_dataset(vectorization=Vectorization(21, 24)),
            text_dataset(vectorization=Vectorization(20, 25)),
            text_dataset(vectorization=Vectorization(20, 24, str(vectors))),
            text_dataset(train_examples=100),
        )
    }
    assert len(fingerprints) == 5
    missing = text_dataset(vectorization=Vectorization(20, 24, str(tmp_path / "no.txt")))
    with pytest.raises(UserError, match=r"embeddings=.*no\.txt: No such file"):
        data.fingerprint_of(missing, missing.find("sample"))


@pytest.mark.parametrize("val", [False, True])
def test_train_and_val_are_joined_with_their_texts(val, kpipe_home):
    dataset = text_dataset(val)
    prepared = data.prepare(dataset, dataset.find("sample"), seed=0)
    both = prepared.with_val_in_train().train
    expected = [text for split in (prepared.train, prepared.val) for text in texts_of(split)]
    joined = texts_of(both)
    assert sorted(joined) == sorted(expected)
    uncut = [len(text.split()) for text in joined]
    np.testing.assert_array_equal(both.column.lengths[both.rows], uncut)
    assert both.take(np.arange(len(both)))[0].shape == (len(expected), 24)


def test_train_examples_are_drawn_by_the_seed_and_stratified(kpipe_home):
    dataset = text_dataset(train_examples=100)
    first, again, other = (
        data.prepare(dataset, dataset.find("sample"), seed=seed) for seed in (0, 0, 1)
    )
    assert first.examples == {"train": 100, "val": 40, "test": 50}
    np.testing.assert_array_equal(first.train.rows, again.train.rows)
    assert not np.array_equal(first.train.rows, other.train.rows)
    whole = data.prepare(text_dataset(), dataset.find("sample"), seed=0).train
    shares = [split.labels[split.rows].mean() for split in (first.train, whole)]
    assert abs(shares[0] - shares[1]) < 0.01
    too_many = text_dataset(train_examples=500)
    with pytest.raises(UserError, match="train_examples=500: the train split has only 360"):
        data.prepare(too_many, dataset.find("sample"), seed=0)


@pytest.mark.parametrize("count", [1, 359])
def test_a_part_that_cannot_hold_every_class_is_refused(count, kpipe_home):
    dataset = text_dataset(train_examples=count)
    with pytest.raises(UserError, match=rf"train_examples={count}: .* cannot be divided") as caught:
        data.prepare(dataset, dataset.find("sample"), seed=0)
    assert "\n" not in str(caught.value)


def test_texts_that_train_holds_too_are_counted_by_their_bytes(prepared):
    shared = set(texts_of(prepared.train))
    assert len(texts_of(prepared.train)) == 360 and len(texts_of(prepared.test)) == 50
    expected = sum(text in shared for text in texts_of(prepared.test))
    assert data.count_shared(prepared.train, prepared.test) == expected


def epoch_of(prepared, schedule, step=0, epochs=1, seed=0):
    made = batches.training_batches(
        prepared.train, schedule, prepared.augmentation, seed, step, epochs
    )
    return [(inputs.numpy()[0], labels.numpy()[0]) for inputs, labels in made]


def test_an_epoch_of_texts_is_all_of_them_once_with_like_lengths_together(prepared, monkeypatch):
    monkeypatch.setattr(batches, "POOL", 4)
    schedule = batches.Schedule(360, 16)  # 22 full batches and one of 8
    made = epoch_of(prepared, schedule)
    assert len(made) == schedule.steps_per_epoch
    assert sorted(len(labels) for _, labels in made) == [8] + [16] * 22
    seen = sorted(tuple(row[row != 0]) for inputs, _ in made for row in inputs)
    whole, _ = prepared.train.take(np.arange(360))
    assert seen == sorted(tuple(row[row != 0]) for row in whole)
    padded = sum(inputs.size for inputs, _ in made)
    assert padded < 0.75 * whole.size
    lengths = [inputs.shape[1] for inputs, _ in made[:4]]
    assert lengths != sorted(lengths)  # batches of a pool come in a random order


def test_training_on_texts_can_start_at_any_step(prepared, monkeypatch):
    monkeypatch.setattr(batches, "POOL", 4)
    schedule = batches.Schedule(360, 16)
    whole = epoch_of(prepared, schedule, epochs=2)
    rest = epoch_of(prepared, schedule, step=30, epochs=2)
    assert len(rest) == 2 * 23 - 30
    for (inputs, labels), (again, labels_again) in zip(whole[30:], rest, strict=True):
        np.testing.assert_array_equal(inputs, again)
        np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(whole[0][1], whole[23][1])  # the next epoch has another order
    assert not np.array_equal(whole[0][1], epoch_of(prepared, schedule, seed=1)[0][1])


def test_stacked_batches_of_texts_have_one_shape(prepared):
    schedule = batches.Schedule(360, 16, stack=4)
    made = list(batches.training_batches(prepared.train, schedule, prepared.augmentation, 0, 0, 1))
    assert {inputs.shape for inputs, _ in made[:5]} == {(4, 16, 24)}


def test_dropped_words_become_unknown_and_padding_stays():
    ids = tf.constant(np.where(np.arange(50) < 40, 7, 0)[None].repeat(200, 0), tf.int32)
    quarter, seed, unknown = Augmentation(drop_words=0.25), tf.constant([3, 5]), 9
    changed = drop_words(ids, quarter, seed, unknown).numpy()
    assert set(np.unique(changed)) == {0, unknown, 7}
    assert (changed[:, 40:] == 0).all()
    assert abs((changed[:, :40] == unknown).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(changed, drop_words(ids, quarter, seed, unknown))
    assert drop_words(ids, Augmentation(), seed, unknown) is ids


def test_training_on_texts_drops_words_as_the_unknown_one(prepared):
    quarter = Augmentation(drop_words=0.25)
    made = batches.training_batches(prepared.train, batches.Schedule(360, 60), quarter, 0, 0, 1)
    plain = batches.training_batches(
        prepared.train, batches.Schedule(360, 60), Augmentation(), 0, 0, 1
    )
    dropped = words = 0
    for (changed, _), (ids, _) in zip(made, plain, strict=True):
        differs = changed.numpy() != ids.numpy()
        assert set(changed.numpy()[differs]) == {1}
        dropped, words = dropped + differs.sum(), words + np.count_nonzero(ids)
    # No word of these texts is unknown but where one was dropped.
    assert abs(dropped / words - 0.25) < 0.02


# --- in pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "row_shape"), [("uint8", ()), ("int64", ()), ("int32", (3,))])
def test_an_array_that_is_written_in_pieces_is_that_of_one_save(dtype, row_shape, tmp_path):
    whole = np.arange(1200).reshape(-1, *row_shape).astype(dtype)
    with appended(tmp_path / "pieces.npy", dtype, row_shape) as array:
        for piece in np.array_split(whole, [1, 1, 70]):
            array.append(piece)
    np.save(tmp_path / "whole.npy", whole)
    assert (tmp_path / "pieces.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_token_ids_do_not_depend_on_the_pieces_that_are_converted(tmp_path, monkeypatch):
    kept = {"train": Texts.of([b"a b a", b"", b"c a", b"b b b b a"]), "test": Texts.of([b"a d"])}
    for batch in (512, 3):
        monkeypatch.setattr(tokens, "BATCH", batch)
        (tmp_path / str(batch)).mkdir()
        tokens.write_tokens(tmp_path / str(batch), kept, np.array([0, 1, 2]), 10, 3)
    written = {path.name: path.read_bytes() for path in (tmp_path / "512").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()}
    ids, lengths = (np.load(tmp_path / "3" / f"train_{part}.npy") for part in ("tokens", "lengths"))
    # The most frequent word of the train rows, a, has the first id, 2; the empty text is unknown.
    np.testing.assert_array_equal(lengths, [3, 1, 2, 5])
    np.testing.assert_array_equal(ids[1:3], [[1, 0, 0], [ids[2, 0], 2, 0]])


def test_texts_are_written_from_pieces_of_any_size(tmp_path):
    texts, labels = [b"one", b"", "дwa".encode(), b"\xff", b"x"], np.arange(5)

    def pieces(split):
        for part in ([0], [1], [], [2, 3, 4]):
            yield [texts[i] for i in part], labels[part]

    source = Source("own", "", "", {"train": 5}, False, pieces=pieces)
    TextInput(Vectorization()).write(tmp_path, "mine", source, "train")
    assert TextInput(Vectorization()).open(tmp_path, "train").take(range(5)) == texts
    assert np.load(tmp_path / "train_labels.npy").tolist() == labels.tolist()
    with pytest.raises(UserError, match="train contains 5 of 6 examples"):
        more = dataclasses.replace(source, examples={"train": 6})
        TextInput(Vectorization()).write(tmp_path, "mine", more, "train")
