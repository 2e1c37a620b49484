"""Pieces of inputs, predicted several at a time and answered in their order."""

import collections
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..export.loading import SavedModel
from ..inputs import Bad, Examples, Piece

# While one thread waits for files, or converts them in Python, the others decode and compute.
THREADS = min(4, (os.cpu_count() or 1) + 1)


class Answered(NamedTuple):
    """Examples with the model's outputs, and inputs that have none.

    Attributes:
        examples: The examples; None if there are none.
        outputs: The result of `SavedModel.predict_examples`.
        bad: What was left out among or after them.
        error: The input that cannot be used, after which nothing follows; or None.
    """

    examples: Examples | None
    outputs: dict[str, np.ndarray]
    bad: tuple[Bad, ...] = ()
    error: UserError | None = None


def answer_piece(model: SavedModel, piece: Piece, keep_bad: bool) -> list[Answered]:
    """Predicts the inputs of a piece.

    An input that cannot be read, decoded or answered is found by halving the piece.

    Args:
        model: The loaded export.
        piece: The inputs.
        keep_bad: Whether such an input becomes a part of `Answered.bad`; otherwise the first one
            is the last one's `Answered.error`.
    """
    after = [Answered(None, {}, piece.bad)] if piece.bad else []
    if not len(piece):
        return after
    try:
        examples = piece.examples()
        return [Answered(examples, model.predict_examples(examples)), *after]
    except UserError as error:
        if len(piece) == 1:
            if not keep_bad:
                return [Answered(None, {}, error=error)]
            return [Answered(None, {}, (Bad(*piece.places[0], str(error)),)), *after]
    middle = len(piece) // 2
    found: list[Answered] = []
    for half in (piece.part(0, middle), piece.part(middle, len(piece))):
        found += answer_piece(model, half, keep_bad)
        if found[-1].error:
            return found
    return [*found, *after]


def answer_in_order(
    model: SavedModel, pieces: Iterator[Piece], keep_bad: bool
) -> Iterator[Answered]:
    """Yields the answers to all pieces in their order; at most `THREADS` + 1 are in memory.

    Raises:
        UserError: An input cannot be read or answered; what stands before it is yielded first.
    """
    pending: collections.deque[Future[list[Answered]]] = collections.deque()
    failed: UserError | None = None
    with ThreadPoolExecutor(THREADS, "predict") as pool:
        try:
            while True:
                while failed is None and len(pending) <= THREADS:
                    try:
                        piece = next(pieces, None)
                    except UserError as error:
                        failed = error
                        break
                    if piece is None:
                        break
                    pending.append(pool.submit(answer_piece, model, piece, keep_bad))
                if not pending:
                    break
                for answered in pending.popleft().result():
                    if answered.error:
                        raise answered.error
                    yield answered
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        raise failed
