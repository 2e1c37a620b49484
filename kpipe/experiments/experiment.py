"""An experiment: a pipeline with every key resolved, its data and its seed."""

import contextlib
import dataclasses
import types
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner

from .. import data, tasks
from ..data import Data
from ..datasets import Dataset, Source
from ..training import Trainer
from .keys import Settings


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is run, searched or checked.

    Attributes:
        module: The pipeline.
        settings: Its keys.
        dataset: What the examples are.
        source: Where they come from.
        seed: Of the weights, the order of the examples, augmentation, dropout and the val split.
        plan: The execution plan; None: the fixed rule.
        budget: Seconds of training; None: no limit.
        dtype_policy: Keras' global policy in which the model is built.
    """

    module: types.ModuleType
    settings: Settings
    dataset: Dataset
    source: Source
    seed: int = 0
    plan: str | None = None
    budget: float | None = None
    dtype_policy: str = "float32"

    @property
    def name(self) -> str:
        return self.module.__name__

    @property
    def task(self) -> types.ModuleType:
        """The module of the pipeline's task."""
        return tasks.find(self.module.task)

    @property
    def task_options(self) -> dict[str, Any]:
        """What the pipeline says to its task, such as `likelihood_samples`."""
        options = getattr(self.task, "OPTIONS", {})
        return {name: getattr(self.module, name, default) for name, default in options.items()}

    @property
    def trainer(self) -> Trainer:
        return self.settings.trainer

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The active keys and their values."""
        hp = self.settings.hp
        return {p.name: hp.values[p.name] for p in hp.space if hp.is_active(p)}

    def fingerprint(self) -> str:
        """Of the prepared data; fails early on a bad path of word vectors."""
        return data.fingerprint_of(self.dataset, self.source)

    def prepare(self) -> Data:
        """The data, see `data.prepare`."""
        return data.prepare(self.dataset, self.source, self.seed)

    def build_model(
        self, prepared: Data | None = None, hp: keras_tuner.HyperParameters | None = None
    ) -> tuple[keras.Model, dict[str, Any]]:
        """The compiled model, from the seed, and what of its start is worth a record.

        Args:
            prepared: Where the input gives a start, such as word vectors, it is loaded.
            hp: Keys in place of the experiment's, in a search.
        """
        keras.utils.clear_session()  # forgets the policy
        keras.config.set_dtype_policy(self.dtype_policy)
        keras.utils.set_random_seed(self.seed)
        model = self.module.build_model(self.settings.hp if hp is None else hp)
        return model, prepared.input.initialize(model) if prepared else {}


@contextlib.contextmanager
def callers_dtype_policy() -> Iterator[None]:
    """Restores Keras' global policy at the end."""
    before = keras.config.dtype_policy().name
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
