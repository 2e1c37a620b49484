"""What a server holds: its models, limits and threads."""

import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ..errors import UserError, first_line
from .batching import Queue
from .limits import too_busy
from .metrics import Metrics
from .versions import Served, Settings

Result = TypeVar("Result")

COMPUTING = 4  # threads that call TensorFlow, which has threads of its own
CONVERTING = 2  # threads that read large requests and write large answers
EXPLAINING = 8  # explanations that wait for their turn; each takes many calls of the model


def say(line: str, error: bool = False) -> None:
    """Prints a line of the log; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr if error else sys.stdout, flush=True)


class Server:
    """Runs under their names, and what answering requests for them needs.

    Args:
        folders: A run's folder by name.
        settings: How they are served; None for the defaults.
        poll: Seconds between two looks for new versions.
        say: Prints a line of the log.
    """

    def __init__(
        self,
        folders: Mapping[str, pathlib.Path],
        settings: Settings | None = None,
        poll: float = 1.0,
        say: Callable[[str], None] = say,
    ) -> None:
        settings = settings or Settings()
        self.limits = settings.limits
        self.metrics = Metrics()
        self.queue = Queue(settings.limits.queue, self.metrics.count_batch)
        self.stopping = False
        self.say = say
        self.body_bytes = 0  # of the bodies in memory
        self._poll = poll
        self._threads: list[threading.Thread] = []

        def pool(size: int, name: str) -> concurrent.futures.ThreadPoolExecutor:
            began = lambda: self._threads.append(threading.current_thread())  # noqa: E731
            return concurrent.futures.ThreadPoolExecutor(size, name, began)

        self._computing = pool(COMPUTING, "compute")
        self._converting = pool(CONVERTING, "convert")
        self._explaining = pool(1, "explain")
        self._loading = pool(1, "load")
        self._explanations = 0
        self.models = {
            name: Served(name, folder, settings, self.queue, self._computing, say)
            for name, folder in folders.items()
        }

    @property
    def ready(self) -> bool:
        """Whether each model has a version, and the server is not being stopped."""
        return not self.stopping and all(model.versions for model in self.models.values())

    async def load(self) -> None:
        """Loads all models.

        Raises:
            UserError: A model has no version that can be served.
        """
        for model in self.models.values():
            await self._update(model)
            if not model.versions:
                why = "; ".join(model.refused.values())
                raise UserError(why or f"{model.folder}: no serving/1; expected a finished run")

    async def watch(self) -> None:
        """Looks for new versions until it is cancelled."""
        while True:
            await asyncio.sleep(self._poll)
            for model in self.models.values():
                try:
                    await self._update(model)
                except Exception as error:  # a folder that cannot be read at the moment
                    self.say(f"{model.name}: no look for versions ({first_line(error)})")

    async def _update(self, model: Served) -> None:
        await asyncio.get_running_loop().run_in_executor(self._loading, model.update)

    async def convert(self, is_large: bool, work: Callable[[], Result]) -> Result:
        """Reads or writes JSON: at once, or in a thread if it takes long."""
        return await _in(self._converting, work) if is_large else work()

    async def explain(self, work: Callable[[], Result]) -> Result:
        """Computes an explanation, one after the other.

        Raises:
            Refusal: Too many are waiting.
        """
        if self._explanations >= EXPLAINING:
            raise too_busy(f"{self._explanations} explanations are waiting; try again later")
        self._explanations += 1
        try:
            return await _in(self._explaining, work)
        finally:
            self._explanations -= 1

    def close(self) -> None:
        """Ends the threads, without waiting for what nobody waits for any more."""
        for pool in (self._computing, self._converting, self._explaining, self._loading):
            pool.shutdown(wait=False, cancel_futures=True)

    def is_working(self) -> bool:
        """Whether a thread still works after `close`, at what nobody waits for any more."""
        end = time.monotonic() + 0.5  # for those that have nothing to do
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return any(thread.is_alive() for thread in self._threads)


async def _in(pool: concurrent.futures.Executor, work: Callable[[], Result]) -> Result:
    """Works in a thread. What is given up before it began is held no longer, unlike in a pool."""
    held = [work]
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: held.pop()())
    finally:
        held.clear()


def names_of(runs: Sequence[str], named: Sequence[str] = ()) -> dict[str, pathlib.Path]:
    """Returns the folder of each model by its name in URLs.

    Args:
        runs: Folders of runs, each served under the folder's name.
        named: NAME=FOLDER of runs that are served under another name.

    Raises:
        UserError: Two runs have one name, or a name or folder is missing.

    Example:
        list(names_of(["saved_models/gmm"], ["other=saved_models/gmm,seed=1"]))  # ["gmm", "other"]
    """
    pairs = [(pathlib.Path(os.path.abspath(run)).name, run) for run in runs]
    for text in named:
        name, _, run = text.partition("=")
        if not name or not run or "/" in name:
            raise UserError(
                f"--name {text}: expected NAME=RUN, such as digits=saved_models/mnist_mlp"
            )
        pairs.append((name, run))
    if not pairs:
        raise UserError("nothing to serve; expected RUN ..., folders of finished runs")
    folders: dict[str, pathlib.Path] = {}
    for name, run in pairs:
        if name in folders:
            raise UserError(
                f"{folders[name]} and {run} are both named {name!r}; give one another name: "
                f"--name OTHER={run}"
            )
        folders[name] = pathlib.Path(run)
    return folders
