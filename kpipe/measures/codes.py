"""Codes of a pool of examples: drawing, ranking and counting."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Codes:
    """The codes that a model assigns to a pool of examples.

    Attributes:
        continuous: float (n, d), means of the continuous latents; d may be 0.
        discrete: int (n, l), values of the categorical latents; l may be 0.

    Raises:
        ValueError: The shapes do not match, or there is no latent.
    """

    continuous: np.ndarray
    discrete: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.continuous.shape, self.discrete.shape
        if any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
            raise ValueError(f"codes have the shapes {shapes}; expected (n, d) and (n, l)")
        if not shapes[0][1] + shapes[1][1]:
            raise ValueError("codes have no latent; expected at least one")

    def __len__(self) -> int:
        return len(self.continuous)


def split(
    n: int, num_train: int, num_test: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws disjoint train and test examples, in the same proportion if there are too few."""
    if n < num_train + num_test:
        num_train, num_test = n * num_train // (num_train + num_test), n
    order = random.permutation(n)
    return order[:num_train], order[num_train : num_train + num_test]


def varying(factors: np.ndarray) -> np.ndarray:
    """Finds the columns that are not constant."""
    columns = np.flatnonzero((factors != factors[:1]).any(axis=0))
    if not columns.size:
        raise ValueError("all factors are constant; expected at least one that varies")
    return columns


def latent_columns(codes: Codes) -> list[np.ndarray]:
    """Returns the columns of each latent, (n, 1), or one-hot (n, values) of a categorical one."""
    one_hot = [latent[:, np.newaxis] == np.unique(latent) for latent in codes.discrete.T]
    return [*codes.continuous.T[:, :, np.newaxis], *(columns.astype(float) for columns in one_hot)]


def ranks(values: np.ndarray) -> np.ndarray:
    """Renumbers the values as 0, 1, 2 ..., in their order."""
    return np.unique(values, return_inverse=True)[1]


def contingency(rows: np.ndarray, columns: np.ndarray, width: int | None = None) -> np.ndarray:
    """Counts the examples in each cell; `rows` and `columns` are integers from 0."""
    width = width or int(columns.max()) + 1
    cells = np.bincount(rows * width + columns, minlength=(rows.max() + 1) * width)
    return cells.reshape(-1, width)
