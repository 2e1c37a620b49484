"""Rows of arrays that are larger than memory are read from their file, with the same bits."""

import numpy as np
import pytest

from kpipe.data import Split, count_shared
from kpipe.inputs import Rows, rows_on_disk
from kpipe.inputs.arrays import load_array
from kpipe.inputs.rows_on_disk import Joined, available_memory, read_rows, take_rows
from kpipe.inputs.texts import Tokens
from kpipe.inputs.tokens import JoinedTexts, Texts

RANDOM = np.random.RandomState(0)


@pytest.fixture
def mapped(tmp_path):
    def write(values, name="values"):
        np.save(tmp_path / f"{name}.npy", values)
        return load_array(tmp_path / f"{name}.npy")

    return write


@pytest.mark.parametrize("shape", [(50, 3, 2), (50,), (50, 0), (1, 7)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "S5"])
def test_rows_are_those_of_the_array(mapped, shape, dtype):
    values = RANDOM.randint(0, 200, shape).astype(dtype)
    rows = RANDOM.randint(-len(values), len(values), 70)
    found = read_rows(mapped(values), rows)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[rows])
    np.testing.assert_array_equal(read_rows(mapped(values), rows[:0]), values[rows[:0]])


def test_only_arrays_larger_than_memory_are_read_from_their_file(mapped, monkeypatch):
    values = mapped(RANDOM.randn(30, 4))
    used = []
    monkeypatch.setattr(rows_on_disk, "read_rows", lambda values, rows: used.append(len(rows)))
    rows_on_disk._is_large.cache_clear()
    take_rows(values, np.arange(5))
    assert used == []
    rows_on_disk._is_large.cache_clear()
    monkeypatch.setattr(rows_on_disk, "available_memory", lambda: values.nbytes - 1)
    Rows(values).take(np.arange(5))
    take_rows(np.array(values), np.arange(5))  # in memory
    assert used == [5]
    rows_on_disk._is_large.cache_clear()
    assert 2**20 < available_memory() < 2**50


def test_a_file_that_was_cut_off_or_replaced_is_noticed(mapped, tmp_path):
    values = mapped(np.arange(40.0).reshape(20, 2))
    np.testing.assert_array_equal(read_rows(values, np.array([3])), [[6.0, 7.0]])
    (tmp_path / "values.npy").unlink()
    other = mapped(np.ones((20, 2)))
    np.testing.assert_array_equal(read_rows(other, np.array([3])), [[1.0, 1.0]])
    with open(tmp_path / "values.npy", "r+b") as file:
        file.truncate(file.seek(0, 2) - 16)
    with pytest.raises(OSError, match="ends before row 19"):
        read_rows(other, np.array([19]))
    with pytest.raises(IndexError):
        read_rows(other, np.array([20]))


def test_joined_arrays_are_read_when_asked_for(mapped):
    first, second = mapped(RANDOM.randn(9, 2), "first"), mapped(RANDOM.randn(7, 2), "second")
    rows, others = np.array([8, 0, 3]), np.array([6, 6, 1, 2])
    joined = Joined((first, rows), (second, others))
    expected = np.concatenate([first[rows], second[others]])
    assert (joined.shape, joined.ndim, joined.dtype, len(joined)) == ((7, 2), 2, expected.dtype, 7)
    indices = (2, -1, slice(1, 6, 2), np.array([6, 0, 3, 3]), [5, 1], np.arange(7) > 3)
    for index in (*indices, (slice(None), 1), (np.array([6, 0]), slice(1, 2))):
        np.testing.assert_array_equal(joined[index], expected[index])
    np.testing.assert_array_equal(np.asarray(joined), expected)
    with pytest.raises(IndexError):
        joined[7]


def test_splits_of_two_arrays_are_joined_without_reading_them(mapped, monkeypatch):
    first, second = mapped(RANDOM.randn(9, 2), "first"), mapped(RANDOM.randn(7, 2), "second")
    one = Split(Rows(first), np.arange(9), np.array([1, 5, 2]))
    two = Split(Rows(second), np.arange(100, 107), np.array([0, 6]))
    with monkeypatch.context() as patched:
        patched.setattr(rows_on_disk, "take_rows", lambda *arguments: pytest.fail("it was read"))
        both = one.joined(two)
    values, labels = both.take(np.array([4, 0, 2]))
    np.testing.assert_array_equal(values, [second[6], first[1], first[2]])
    np.testing.assert_array_equal(labels, [106, 1, 2])
    assert count_shared(both, one) == 3
    assert count_shared(both, Split(Rows(second), np.arange(7), np.arange(7))) == 2


def test_words_of_two_lengths_and_texts_are_joined_without_reading_them(mapped):
    first, second = (
        mapped(np.array([b"a", b"bc"]), "first"),
        mapped(np.array([b"longer"]), "second"),
    )
    words = Joined((first, np.array([1])), (second, np.array([0])))
    assert words[np.array([1, 0])].tolist() == [b"longer", b"bc"]
    texts, others = Texts.of([b"one", b"", b"three"]), Texts.of([b"four", b"five5"])
    unread = [
        Tokens(np.zeros((n, 4), "int32"), np.arange(n), t) for n, t in ((3, texts), (2, others))
    ]
    both = unread[0].joined(np.array([2, 1]), unread[1], np.array([1]))
    assert isinstance(both.texts, JoinedTexts) and isinstance(both.values, Joined)
    assert (len(both), both.lengths.tolist()) == (3, [2, 1, 1])
    assert both.texts.take([2, 0, 1]) == [b"five5", b"three", b""]
    assert both.strings(np.array([0])) == ["three"] and both.texts.size() > 0
    with pytest.raises(IndexError):
        both.texts[3]
