import gzip

import numpy as np
import pytest

from kpipe import models

VOCABULARY = ("", "[UNK]", "good", "bad", "london", "new york", "été")


@pytest.fixture
def model():
    return models.bag_of_embeddings(2, vocabulary_size=10, embedding_dim=3, units=())


def rows(model):
    return model.get_layer("embedding").get_weights()[0]


def write(tmp_path, content, name="vectors.txt"):
    path = tmp_path / name
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


GLOVE = "good 1 2 3\nother 9 9 9\nnew york 4 5 6\nété -1e-2 .5 7\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GLOVE, "glove.txt"),
        (GLOVE, "glove.txt.gz"),
        (GLOVE.replace("\n", "\r\n"), "windows.txt"),
        (GLOVE.replace("\n", " \n"), "spaces.txt"),  # as word2vec itself writes
        ("4 3\n" + GLOVE, "word2vec.txt"),
        ("\ufeff" + GLOVE, "byte_order_mark.txt"),
        (GLOVE.rstrip("\n"), "no_last_newline.txt"),
    ],
)
def test_known_words_get_their_vectors_and_the_others_keep_their_start(
    model, tmp_path, content, name
):
    before = rows(model)
    coverage = models.load_embeddings(model, write(tmp_path, content, name), VOCABULARY)
    after = rows(model)
    np.testing.assert_allclose(after[2], [1, 2, 3])
    np.testing.assert_allclose(after[5], [4, 5, 6])
    np.testing.assert_allclose(after[6], [-0.01, 0.5, 7])
    untouched = [0, 1, 3, 4, 7, 8, 9]
    np.testing.assert_array_equal(after[untouched], before[untouched])
    assert coverage == {"words": 5, "found": 3, "coverage": 0.6, "file_words": 4, "dim": 3}


def test_a_word_with_capitals_serves_where_there_is_none_in_lower_case(model, tmp_path):
    content = "LONDON 1 1 1\nLondon 2 2 2\nGood 3 3 3\ngood 4 4 4\nGOOD 5 5 5\n"
    coverage = models.load_embeddings(model, write(tmp_path, content), VOCABULARY)
    np.testing.assert_allclose(rows(model)[[4, 2]], [[1, 1, 1], [4, 4, 4]])
    assert coverage["found"] == 2
    models.load_embeddings(model, write(tmp_path, "good 6 6 6\nGOOD 7 7 7\n"), VOCABULARY)
    np.testing.assert_allclose(rows(model)[2], [6, 6, 6])


def test_a_vocabulary_larger_than_the_embedding_is_refused(model, tmp_path):
    words = [*VOCABULARY, "eight", "nine", "ten", "eleven"]
    with pytest.raises(ValueError, match=r"11 words .* embedding has 10 .* vocabulary_size=11"):
        models.load_embeddings(model, write(tmp_path, "eleven 1 2 3\n"), words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"vectors\.txt: contains no vectors"),
        ("good 1 2 3\nbad 1 2\n", r"vectors\.txt:2: .* expected"),
        ("good 1 2 3\nbad 1 2 3 4\n", r"vectors\.txt:2: .* expected a word and 3 finite numbers"),
        ("good\nbad 1 2 3\n", r"vectors\.txt:1: expected a word and 3 numbers"),
        ("good 1 2 3\nbad 1 2 x\n", r"vectors\.txt:2: .* expected"),
        ("good 1 2 3\nbad 1 nan 3\n", r"vectors\.txt:2: .* finite"),
        ("good 1 2 3\nbad 1 1e99 3\n", r"vectors\.txt:2: .* finite"),
        ("good 1 2 3\n\nbad 1 2 3\n", r"vectors\.txt:2: .* expected"),
        ("good 1 2 3\n1 2 3\n", r"vectors\.txt:2: .* expected"),
        (b"good 1 2 3\n\xff\xfe 1 2 3\n", r"vectors\.txt:2: .* UTF-8"),
        ("good 1 2\n", r"vectors\.txt:1: vectors of 2 numbers, .* has 3; set embedding_dim=2"),
        ("2 4\ngood 1 2 3 4\n", r"vectors\.txt:1: vectors of 4 numbers"),
        (
            "3 3\ngood 1 2 3\nbad 1 2 3\n",
            r"vectors\.txt:1: expected 3 vectors, the file contains 2",
        ),
        (b"2 3\ngood \x00\x01\xfe\x80\x90\n\x00", r"vectors\.txt:2: .* binary"),
        ("other 1 2 3\n", r"contains none of the 5 words of the vocabulary"),
    ],
)
def test_a_malformed_file_is_named_with_its_line_and_changes_nothing(
    model, tmp_path, content, message
):
    before = rows(model)
    with pytest.raises(ValueError, match=message) as caught:
        models.load_embeddings(model, write(tmp_path, content), VOCABULARY)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(rows(model), before)


def test_a_missing_or_broken_file_is_told(model, tmp_path):
    with pytest.raises(ValueError, match=r"no\.txt: No such file or directory; expected a GloVe"):
        models.load_embeddings(model, tmp_path / "no.txt", VOCABULARY)
    path = write(tmp_path, GLOVE * 100, "cut.txt.gz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"cut\.txt\.gz: "):
        models.load_embeddings(model, path, VOCABULARY)
    damaged = bytearray(write(tmp_path, GLOVE * 100, "cut.txt.gz").read_bytes())
    damaged[10] = 0xFF  # the first byte after the head: a kind of block that does not exist
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cut\.txt\.gz: .* expected a GloVe"):
        models.load_embeddings(model, path, VOCABULARY)
