"""Batches and pairs of examples that share the value of one factor."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .codes import Codes, contingency, ranks

CHUNK = 4_000_000  # values drawn at a time: 32 MB, and as much again for their variance


@dataclasses.dataclass(frozen=True)
class Sharing:
    """Examples grouped by the value of one factor; examples with a unique value are left out.

    Attributes:
        examples: int (m,), the examples, sorted by value.
        first: int (m,), for each example the position at which its value begins.
        count: int (m,), for each example the number of examples with its value.
    """

    examples: np.ndarray
    first: np.ndarray
    count: np.ndarray

    def batches(self, number: int, size: int, random: np.random.Generator) -> np.ndarray:
        """Draws examples (number, size); those of a row share the value of a random example."""
        at = random.integers(len(self.examples), size=(number, 1))
        return self.examples[self.first[at] + random.integers(self.count[at], size=(number, size))]

    def pairs(
        self, shape: tuple[int, int], random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws examples, and for each of them another one with the same value."""
        at = random.integers(len(self.examples), size=shape)
        first, count = self.first[at], self.count[at]
        other = first + (at - first + random.integers(1, count)) % count
        return self.examples[at], self.examples[other]


def shared_values(factors: np.ndarray) -> list[Sharing]:
    """Groups the examples by each factor that has at least two values shared by examples."""
    result = []
    for factor in factors.T:
        values = ranks(factor)
        examples = np.argsort(values, kind="stable")
        count = np.bincount(values)[values[examples]]
        examples, count = examples[count > 1], count[count > 1]
        first = np.searchsorted(values[examples], values[examples])
        if first.any():
            result.append(Sharing(examples, first, count))
    if not result:
        raise ValueError("no factor has two values with two examples each; expected at least one")
    return result


def chunks(
    number: int, num_factors: int, values_each: int, random: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Distributes draws over random factors: yields a factor and a number of draws for a chunk."""
    largest = max(1, CHUNK // values_each)
    for i, left in enumerate(random.multinomial(number, np.full(num_factors, 1 / num_factors))):
        for start in range(0, left, largest):
            yield i, min(largest, left - start)


def variances(codes: Codes, batches: np.ndarray) -> np.ndarray:
    """Computes the unbiased variance, or Gini impurity, of each latent in each batch.

    Returns:
        float (batches, latents).
    """
    number, size = batches.shape
    columns = [codes.continuous[batches].var(axis=1, ddof=1)]
    for latent in codes.discrete.T:
        values = ranks(latent)
        rows = np.repeat(np.arange(number), size)
        shares = contingency(rows, values[batches].reshape(-1), int(values.max()) + 1) / size
        impurity = (1 - np.sum(shares**2, axis=1)) * size / (size - 1)
        columns.append(impurity[:, np.newaxis])
    return np.concatenate(columns, axis=1)
