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
        bad: What was left out before them.
    """

    examples: Examples | None
    outputs: dict[str, np.ndarray]
    bad: tuple[Bad, ...] = ()


def answer_piece(model: SavedModel, piece: Piece, keep_bad: bool) -> list[Answered]:
    """Predicts the inputs of a piece.

    An input that cannot be read, decoded or answered is found by halving the piece.

    Args:
        model: The loaded export.
        piece: The inputs.
        keep_bad: Whether such an input becomes a part of `Answered.bad`.

    Raises:
        UserError: There is one, and `keep_bad` is False; the message names it.
    """
    before = [Answered(None, {}, piece.bad)] if piece.bad else []
    if not len(piece):
        return before
    try:
        examples = piece.examples()
        return [*before, Answered(examples, model.predict_examples(examples))]
    except UserError as error:
        if not keep_bad:
            raise
        if len(piece) == 1:
            return [*before, Answered(None, {}, (Bad(*piece.places[0], str(error)),))]
    middle = len(piece) // 2
    halves = (piece.part(0, middle), piece.part(middle, len(piece)))
    return [*before, *(found for half in halves for found in answer_piece(model, half, True))]


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
                yield from pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        raise failed
