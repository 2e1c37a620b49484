"""An experiment: a pipeline with every key resolved, its data and its seed."""

import dataclasses
import os
import types
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
    """A pipeline with its settings and data, to be run, searched or checked.

    Attributes:
        module: The pipeline's module.
        settings: The pipeline's keys and their values.
        source: Where its examples come from.
        seed: Random seed of weights, example order, augmentation, dropout and the val split.
        plan: The execution plan; None for the fixed rule, see `training.choose_plan`, "auto" for
            the fastest.
        budget: Seconds of training; None for no limit.
        dtype_policy: Global Keras dtype policy with which the model is built.
        precision: That policy, if it was chosen for this run and not by the pipeline.
        data_dir: Folder of real data, if one was given.
        shards: Number of shards of a batch, which devices divide among themselves; 0 for none.
    """

    module: types.ModuleType
    settings: Settings
    source: Source
    seed: int = 0
    plan: str | None = None
    budget: float | None = None
    dtype_policy: str = "float32"
    precision: str | None = None
    data_dir: str | os.PathLike | None = None
    shards: int = 0

    @property
    def name(self) -> str:
        return self.module.__name__

    @property
    def task(self) -> types.ModuleType:
        """The module of the pipeline's task."""
        return tasks.find(self.module.task)

    @property
    def task_options(self) -> dict[str, Any]:
        """Options that the pipeline sets for its task, such as `likelihood_samples`."""
        options = getattr(self.task, "OPTIONS", {})
        return {name: getattr(self.module, name, default) for name, default in options.items()}

    @property
    def fixed_plan(self) -> str | None:
        """The execution plan, unless the run has to choose it."""
        return None if self.plan == "auto" else self.plan

    @property
    def trainer(self) -> Trainer:
        return self.settings.trainer

    @property
    def dataset(self) -> Dataset:
        return self.settings.dataset

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The active keys and their values."""
        hp = self.settings.hp
        return {p.name: hp.values[p.name] for p in hp.space if hp.is_active(p)}

    def fingerprint(self) -> str:
        """Fingerprint of the prepared data; fails early on a bad embeddings path."""
        return data.fingerprint_of(self.dataset, self.source)

    def prepare(self, fraction: float = 1.0) -> Data:
        """Prepares the data, with that share of the train split, see `data.prepare`."""
        return data.prepare(self.dataset, self.source, self.seed, fraction)

    def build_model(
        self, prepared: Data | None = None, hp: keras_tuner.HyperParameters | None = None
    ) -> tuple[keras.Model, dict[str, Any]]:
        """Builds the compiled model from the seed.

        Args:
            prepared: Data whose input initializes the model, such as with word vectors; or None.
            hp: Keys of a search trial, which override those of the experiment.

        Returns:
            The model, and what the run's record contains about its initialization.
        """
        keras.utils.clear_session()  # resets the policy
        keras.config.set_dtype_policy(self.dtype_policy)
        keras.utils.set_random_seed(self.seed)
        model = self.module.build_model(self.settings.hp if hp is None else hp)
        if not prepared:
            return model, {}
        about = prepared.input.initialize(model)
        prepared.input.adapt(model, prepared.train)
        return model, about
