"""Predictions on the machines of a Ray cluster, by Ray Data: https://docs.ray.io/en/latest/data.

Pieces of inputs are rows of a dataset, each with its number. Ray Data hands them to processes that
have loaded the model, and gives a piece whose process or machine died to another.
"""

import heapq
import logging
import os
from collections.abc import Iterator
from typing import Any

from ..engines.cluster import Cluster
from ..errors import RunError, UserError, first_line
from ..export.loading import SavedModel
from ..inputs import Piece
from .streaming import Answered

BLOCKS = 2000  # at most: what Ray Data schedules, and repeats after a death
PIECES = 8  # at least, in a block of a large dataset


def answer_on_cluster(
    model: SavedModel, pieces: Iterator[Piece], keep_bad: bool, address: str
) -> Iterator[Answered]:
    """Yields the answers to all pieces in their order.

    Args:
        model: The loaded export, whose folder all machines see under the same path, as they do the
            files to predict; relative paths are of this process's current folder.
        pieces: The inputs, all of which are sent: paths of images, but the rows of tables, and
            texts.
        keep_bad: Whether an input that cannot be used becomes a part of `Answered.bad`.
        address: HOST:PORT, ray://HOST:PORT, or "auto" on a machine of the cluster.

    Raises:
        UserError: Ray is missing, the cluster cannot be reached, or an input cannot be used.
        RunError: Ray Data gave up.
    """
    # Of an actor's arguments that could be lost: the driver keeps them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    cluster = Cluster(address, None, cpus=1, gpus=0, shared=None)
    try:
        from ray import cloudpickle, data

        rows: list[dict[str, Any]] = []
        failed = None
        try:
            rows.extend({"key": i, "piece": cloudpickle.dumps(p)} for i, p in enumerate(pieces))
        except UserError as error:  # said after the answers before it
            failed = error
        if not rows:
            if failed:
                raise failed
            return
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        blocks = min(len(rows), max(2 * cluster.slots, min(BLOCKS, len(rows) // PIECES)))
        answered = data.from_items(rows, override_num_blocks=blocks).map_batches(
            _predictor(),
            fn_constructor_kwargs={
                "path": cluster.path,
                "settings": cluster.settings,
                "folder": os.path.abspath(model.folder),
                "current": os.getcwd(),
                "keep_bad": keep_bad,
            },
            batch_size=1,
            compute=data.ActorPoolStrategy(min_size=1, max_size=min(cluster.slots, len(rows))),
            num_cpus=1,
        )
        waiting: list[tuple[int, Any]] = []
        expected = 0
        try:
            for row in answered.iter_rows():
                heapq.heappush(waiting, (row["key"], row["answers"]))
                while waiting and waiting[0][0] == expected:
                    for some in cloudpickle.loads(heapq.heappop(waiting)[1]):
                        if some.error:
                            raise some.error
                        yield some
                    expected += 1
        except cluster.ray.exceptions.RayError as error:
            raise RunError(f"cluster {address}: {first_line(error)}") from None
        if failed:
            raise failed
    finally:
        cluster.close()


def _predictor() -> type:
    """Returns a class that Ray sends as code, since it prepares for importing kpipe."""

    class Predictor:
        """Loads a model once, and predicts pieces."""

        def __init__(
            self,
            path: list[str],
            settings: dict[str, str],
            folder: str,
            current: str,
            keep_bad: bool,
        ) -> None:
            import contextlib
            import importlib
            import os
            import sys

            sys.path += [entry for entry in path if entry not in sys.path]
            os.environ.update(settings)  # before TensorFlow is imported
            with contextlib.suppress(OSError):  # a machine may not have it: paths may be absolute
                os.chdir(current)
            loading = importlib.import_module("kpipe.export.loading")
            self.streaming = importlib.import_module("kpipe.predicting.streaming")
            self.keep_bad, self.problem = keep_bad, ""
            try:
                # Checked by the driver, which loaded it with or without trust.
                self.model = loading.load(folder, trust=True)
            except Exception as error:
                self.problem = f"a machine of the cluster does not load the model: {error}"

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            from ray import cloudpickle

            pieces = map(cloudpickle.loads, batch["piece"])
            answers = [cloudpickle.dumps(self._answer(piece)) for piece in pieces]
            return {"key": batch["key"], "answers": answers}

        def _answer(self, piece: Any) -> list:
            streaming = self.streaming
            if self.problem:
                error = streaming.UserError(self.problem)
                return [streaming.Answered(None, {}, error=error)]
            found = streaming.answer_piece(self.model, piece, self.keep_bad)
            # What was read stays there.
            return [
                some._replace(examples=some.examples._replace(values=[], explain=None))
                if some.examples
                else some
                for some in found
            ]

    return Predictor
