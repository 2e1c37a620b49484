"""Requests of several clients computed together, each answered as if it were alone."""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import first_line
from ..export.answers import find_wrong
from .limits import Limits, bad_input, too_busy
from .requests import Request

Outputs = dict[str, np.ndarray]
# What TensorFlow raises for values that a model cannot process.
_INPUT_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.UnimplementedError,
    tf.errors.FailedPreconditionError,
)


class Queue:
    """Examples that are waiting or being computed, of all models of a server.

    Attributes:
        count: Their number.
        observe: Called with the number of examples of each batch.
    """

    def __init__(self, limit: int, observe: Callable[[int], None] = lambda count: None) -> None:
        self.count = 0
        self.observe = observe
        self._limit = limit

    def enter(self, count: int) -> None:
        """Counts some examples.

        Raises:
            Refusal: There would be too many.
        """
        if self.count + count > self._limit:
            raise too_busy(f"{self.count:,} examples are waiting; try again later")
        self.count += count

    def leave(self, count: int) -> None:
        self.count -= count


@dataclasses.dataclass(eq=False)
class _Waiting:
    request: Request
    answer: "asyncio.Future[Outputs]"


class Batcher:
    """Computes requests for the signatures of one model, those that fit together at once.

    A batch begins as soon as the one before it has ended, with all that came in the meantime. Only
    if that one had several requests, it waits up to `Limits.wait` for as many: they are probably on
    their way. A single client never waits.

    Args:
        functions: Signatures of the loaded export.
        exclusive: See `SavedModel.exclusive`.
        limits: Sizes of batches.
        queue: Counts what is waiting.
        pool: Threads in which TensorFlow computes.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Mapping[str, tf.Tensor]]],
        exclusive: bool,
        limits: Limits,
        queue: Queue,
        pool: concurrent.futures.Executor,
    ) -> None:
        self._functions = functions
        self._exclusive = exclusive
        self._limits = limits
        self._queue = queue
        self._pool = pool
        self._lanes: dict[Any, _Lane] = {}

    async def compute(self, request: Request) -> Outputs:
        """Computes a request, together with others.

        Raises:
            Refusal: The server is full, or the model cannot answer; the message names the example.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        key = _key(request)
        self._queue.enter(request.count)
        try:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane()
                lane.task = loop.create_task(self._work(key, lane))
            lane.add(waiting)
            try:
                return await waiting.answer
            except asyncio.CancelledError:  # its deadline is over: its memory is free at once
                lane.drop(waiting)
                raise
        finally:
            self._queue.leave(request.count)

    async def _work(self, key: Any, lane: "_Lane") -> None:
        """Computes what is waiting in a lane until nothing is."""
        loop = asyncio.get_running_loop()
        several = 1  # requests in the last batch
        while True:
            if several > 1:
                await lane.fill(several, self._limits)
            batch = lane.take(self._limits)
            if not batch:
                break
            several = len(batch)
            try:
                answers = await loop.run_in_executor(
                    self._pool, self.answer, [waiting.request for waiting in batch]
                )
            except Exception as error:  # an error of the server's own, told to each
                answers = [error] * len(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():  # its deadline is over
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)
        del self._lanes[key]

    def answer(self, requests: Sequence[Request]) -> list[Outputs | Exception]:
        """Computes requests for one signature at once; a wrong one does not change the others.

        Args:
            requests: Requests whose arguments can be concatenated.

        Returns:
            Outputs, or an error, for each request.
        """
        self._queue.observe(sum(request.count for request in requests))
        try:
            joined = self._call(_joined(requests))
        except tf.errors.OpError as error:
            if len(requests) > 1:
                return [self.answer([request])[0] for request in requests]
            return [self._explain(requests[0], error)]
        answers: list[Outputs | Exception] = []
        start = 0
        for request in requests:
            part = slice(start, start + request.count)
            outputs = {name: values[part] for name, values in joined.items()}
            start += request.count
            if wrong := find_wrong(outputs, self._exclusive):
                place = request.place(wrong[0])
                hint = "look for extreme values in it"
                answers.append(bad_input(f"{place}: {wrong[1]}; {hint}"))
            else:
                answers.append(outputs)
        return answers

    def _call(self, request: Request) -> Outputs:
        """Calls the signature, for large images in several parts."""
        function = self._functions[request.signature.name]
        parts = []
        for start, stop in _parts(request, self._limits.pixels):
            given = {name: tf.constant(v[start:stop]) for name, v in request.arguments.items()}
            parts.append({name: v.numpy() for name, v in function(**given).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _explain(self, request: Request, error: tf.errors.OpError) -> Exception:
        """Returns the error that names the example which a signature cannot process."""
        for i in range(request.count if request.count > 1 else 0):
            try:
                self._call(_part(request, i, i + 1))
            except tf.errors.OpError as of_one:
                return unusable(request.place(i), of_one)
        return unusable(request.place(0), error)


def unusable(place: str, error: tf.errors.OpError) -> Exception:
    """Returns the refusal of an example that a model cannot process.

    Args:
        place: Names the example.
        error: What TensorFlow raised; returned as it is if it does not come from the example.
    """
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return too_busy("not enough memory; send fewer examples", "memory")
    if not isinstance(error, _INPUT_ERRORS):
        return error
    return bad_input(f"{place}: the model cannot process it ({first_line(error, 120)})")


class _Lane:
    """Requests for one signature, in their order."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None  # a task that nothing holds may vanish
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None

    def add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._enough and len(self._waiting) >= self._wanted and not self._enough.done():
            self._enough.set_result(None)

    def drop(self, waiting: _Waiting) -> None:
        with contextlib.suppress(ValueError):  # it is being computed
            self._waiting.remove(waiting)

    async def fill(self, wanted: int, limits: Limits) -> None:
        """Waits until `wanted` requests are there, but not long."""
        examples = sum(waiting.request.count for waiting in self._waiting)
        if len(self._waiting) >= wanted or examples >= limits.batch or limits.wait <= 0:
            return
        self._wanted, self._enough = wanted, asyncio.get_running_loop().create_future()
        await asyncio.wait([self._enough], timeout=limits.wait)
        self._enough = None

    def take(self, limits: Limits) -> list[_Waiting]:
        """Takes the first requests, as many as fit into a batch."""
        batch: list[_Waiting] = []
        examples = pixels = 0
        while self._waiting:
            request = self._waiting[0].request
            examples += request.count
            pixels += sum(request.pixels)
            if batch and (examples > limits.batch or pixels > limits.pixels):
                break
            waiting = self._waiting.popleft()
            if waiting.answer.done():  # nobody waits for it any more
                examples -= request.count
                pixels -= sum(request.pixels)
                continue
            batch.append(waiting)
        return batch


def _key(request: Request) -> Any:
    """Requests with the same can be concatenated."""
    shapes = (
        values.shape[1:] for values in request.arguments.values() if isinstance(values, np.ndarray)
    )
    return (request.signature.name, *shapes)


def _joined(requests: Sequence[Request]) -> Request:
    """Concatenates the examples of requests."""
    first = requests[0]
    if len(requests) == 1:
        return first
    arguments: dict[str, Any] = {}
    for name, values in first.arguments.items():
        parts: list[Any] = [request.arguments[name] for request in requests]
        if isinstance(values, np.ndarray):
            arguments[name] = np.concatenate(parts)
        else:
            arguments[name] = [value for part in parts for value in part]
    return dataclasses.replace(
        first,
        arguments=arguments,
        count=sum(request.count for request in requests),
        pixels=[pixels for request in requests for pixels in request.pixels],
    )


def _part(request: Request, start: int, stop: int) -> Request:
    return dataclasses.replace(
        request,
        arguments={name: values[start:stop] for name, values in request.arguments.items()},
        count=stop - start,
        pixels=request.pixels[start:stop],
    )


def _parts(request: Request, max_pixels: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges of examples that are computed at once: large images few at a time."""
    start = pixels = 0
    for i, size in enumerate(request.pixels):
        if i > start and pixels + size > max_pixels:
            yield start, i
            start, pixels = i, 0
        pixels += size
    yield start, request.count
